// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/veraison/psatoken"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

func vouched(tb testing.TB, raw []byte) (*corim.Document, error) {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	return corim.LoadVouched(raw, corim.Vouching{
		Authority: author.Authority, Key: corim.SigningKey{Public: author.Signer.Key.Public()},
		Validity: corim.Period{NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0)},
	}, corim.Options{Now: now})
}

func decoded(tb testing.TB, raw []byte) *token {
	tb.Helper()
	t, err := parse(newTest(tb, verifiers.Deps{}).decoder, raw)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func keyOnly(tb testing.TB, raw []byte, k *ecdsa.PublicKey) *corim.Index {
	tb.Helper()
	t := decoded(tb, raw)
	l := &library{until: now.AddDate(0, 1, 0), keys: []refvalues.KeyEntry{{
		Environment: refvalues.Environment{ClassBytes: t.implementation, UEID: t.instance}, Key: k,
	}}}
	return l.index(tb)
}

func jwkKey(tb testing.TB, raw []byte) *ecdsa.PublicKey {
	tb.Helper()
	var j struct{ X, Y string }
	err := json.Unmarshal(raw, &j)
	x, err1 := base64.RawURLEncoding.DecodeString(j.X)
	y, err2 := base64.RawURLEncoding.DecodeString(j.Y)
	k, err3 := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err := errors.Join(err, err1, err2, err3); err != nil {
		tb.Fatal(err)
	}
	return k
}

// moduleTokens are those of TF-M that come with the module veraison/psatoken.
func moduleTokens(tb testing.TB) (tokens map[string][]byte, k *ecdsa.PublicKey, dir string) {
	tb.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/veraison/psatoken").Output()
	if err != nil {
		tb.Skip("no module folder: ", err)
	}
	dir = filepath.Join(strings.TrimSpace(string(out)), "testvectors")
	tokens = map[string][]byte{}
	for _, name := range []string{"psa-iot-1_sign1.bin", "psa-2_0_0_sign1.bin", "psa-2_0_0_mac0.bin", "psa-iot-1_mac0.bin", "public.pem"} {
		if tokens[name], err = os.ReadFile(filepath.Join(dir, "tf-m", name)); err != nil {
			tb.Fatal(err)
		}
	}
	block, _ := pem.Decode(tokens["public.pem"])
	if block == nil {
		tb.Fatal("no PEM")
	}
	any, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	delete(tokens, "public.pem")
	return tokens, any.(*ecdsa.PublicKey), dir
}

// The recorded token of veraison/services, with its key alone, with no key, and with
// a wrong one. Nothing in it depends on time.
func TestVectors(t *testing.T) {
	raw := vectors.Read(t, "cca/psa/psa-evidence.cbor")
	k := jwkKey(t, vectors.Read(t, "cca/psa/psa_iak_p256_public.jwk"))
	tok := decoded(t, raw)
	if tok.profile != profile2 || tok.lifecycle != 0x3000 || len(tok.components) != 3 {
		t.Errorf("%+v", tok)
	}
	v := newTest(t, verifiers.Deps{})
	for _, c := range []struct {
		name string
		x    *corim.Index
		want want
	}{
		{"key", keyOnly(t, raw, k), want{verdict.TierWarning, claims{iid: 2, hw: 2, cfg: 2, rto: 2, sto: 2, exe: 33}, []string{verdict.ReasonNoReferenceValues}}},
		{"no key", nil, want{verdict.TierContraindicated, claims{iid: 97, hw: 97, exe: 0}, []string{verdict.ReasonNoCollateral}}},
		{"wrong key", keyOnly(t, raw, &key(t, "wrong", elliptic.P256()).PublicKey),
			want{verdict.TierContraindicated, claims{iid: 99, hw: 99, exe: 99}, []string{verdict.ReasonSignatureInvalid}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, judge(t, v, verifiers.Input{Evidence: raw, Nonce: tok.nonce, References: c.x}), c.want)
		})
	}
}

// The document of veraison/services for its own token: key and components fit, the
// signer ids in it are others, which Veraison does not compare.
func TestRecordedDocuments(t *testing.T) {
	raw := vectors.Read(t, "cca/psa/psa-evidence.cbor")
	d, err := vouched(t, vectors.Read(t, "psa/veraison-services/corim/corim-psa-valid.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := corim.NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	in := verifiers.Input{Evidence: raw, Nonce: decoded(t, raw).nonce, References: x}
	check(t, judge(t, newTest(t, verifiers.Deps{}), in),
		want{verdict.TierWarning, claims{iid: 2, hw: 2, cfg: 2, rto: 2, exe: 33}, []string{verdict.ReasonMeasurementMismatch}})
	check(t, judge(t, newTest(t, policyOf(t, SignersIgnore, "")), in),
		want{verdict.TierAffirming, claims{iid: 2, hw: 2, cfg: 2, rto: 2, exe: 2}, nil})
	bad, err := filepath.Glob(filepath.Join(vectors.Dir(t), "psa/veraison-services/corim/corim-psa-bad-*.cbor"))
	if err != nil || len(bad) < 7 {
		t.Fatal(len(bad), err)
	}
	for _, path := range bad {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := vouched(t, raw); !errors.Is(err, corim.ErrRule) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	other, err := vouched(t, vectors.Read(t, "corim/veraison-corim/profiles/psa/testcases/psa-valid.cbor"))
	if err != nil {
		t.Fatal(err)
	}
	if in.References, err = corim.NewIndex(other); err != nil {
		t.Fatal(err)
	}
	check(t, judge(t, newTest(t, verifiers.Deps{}), in), want{verdict.TierContraindicated, claims{hw: 97}, []string{verdict.ReasonNoCollateral}})
}

// Tokens of TF-M, for a plain clone: both profiles, and the same with a MAC.
func TestModuleVectors(t *testing.T) {
	tokens, k, _ := moduleTokens(t)
	for name, raw := range tokens {
		if strings.Contains(name, "mac0") {
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw})
			check(t, a, want{verdict.TierContraindicated, claims{hw: 99}, []string{verdict.ReasonMalformed}})
			continue
		}
		in := verifiers.Input{Evidence: raw, Nonce: make([]byte, 64), References: keyOnly(t, raw, k)}
		a := judge(t, newTest(t, verifiers.Deps{}), in)
		check(t, a, want{verdict.TierWarning, claims{iid: 2, hw: 2, cfg: 2, exe: 33}, []string{verdict.ReasonNoReferenceValues}})
		e, err := psatoken.DecodeAndValidateEvidenceFromCOSE(raw)
		if err != nil || e.Verify(k) != nil {
			t.Fatal(name, err)
		}
		tok := decoded(t, raw)
		nonce, err1 := e.Claims.GetNonce()
		seed, err2 := e.Claims.GetBootSeed()
		ref, err3 := e.Claims.GetCertificationReference()
		client, err4 := e.Claims.GetClientID()
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(nonce, tok.nonce) || !bytes.Equal(seed, tok.seed) || ref != tok.reference || client != tok.client ||
			!bytes.Equal(*e.GetInstanceID(), tok.instance) || !bytes.Equal(*e.GetImplementationID(), tok.implementation) {
			t.Errorf("%s: the library reads something else", name)
		}
	}
}

// Every byte of a token counts.
func TestEveryByteFlip(t *testing.T) {
	tokens, k, _ := moduleTokens(t)
	raw := tokens["psa-2_0_0_sign1.bin"]
	v, x := newTest(t, verifiers.Deps{}), keyOnly(t, raw, k)
	for i := range raw {
		if testing.Short() && i%13 != 0 {
			continue
		}
		for bit := range 8 {
			changed := bytes.Clone(raw)
			changed[i] ^= 1 << bit
			a := judge(t, v, verifiers.Input{Evidence: changed, Nonce: make([]byte, 64), References: x})
			if a.Status() != verdict.TierContraindicated || len(a.Reasons) == 0 || a.Vector[hw] != 99 && a.Vector[hw] != 97 {
				t.Fatalf("byte %d: %s, %v", i, a.Status(), a.Reasons)
			}
		}
	}
}

// The claims sets that come with the module, signed: the invalid ones are refused.
func TestModuleClaims(t *testing.T) {
	_, _, dir := moduleTokens(t)
	files, err := filepath.Glob(filepath.Join(dir, "json/test-*.json"))
	if err != nil || len(files) < 25 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var in map[string]any
		if err := json.Unmarshal(raw, &in); err != nil {
			t.Fatal(file, err)
		}
		_, eat := in["eat-profile"]
		_, legacy := in["psa-profile"]
		if eat {
			readsJSON(t, filepath.Base(file), in, formTFM(),
				"test-token-valid-full.json", "test-token-valid-minimalist-p2.json", "test-boot-seed-invalid-missing.json")
		}
		if legacy || !eat {
			readsJSON(t, filepath.Base(file), in, formLegacy(),
				"test-token-valid-full.json", "test-token-valid-minimalist-no-sw-measurements.json", "test-token-valid-minimalist-p1.json",
				"test-profile-valid-missing.json", "test-profile-invalid-missing.json")
		}
	}
}

// readsJSON reads a claims set in one form; only the valid ones are accepted.
func readsJSON(t *testing.T, name string, in map[string]any, f form, valid ...string) {
	t.Helper()
	d := newDevice(t, profileTFM)
	d.claims = fromJSON(in, f)
	tok, err := parse(newTest(t, verifiers.Deps{}).decoder, d.token(t))
	switch {
	case name == "test-security-lifecycle-invalid-state.json" && err == nil: // a finding
		if tok.lifecycle.State() != armtoken.Reserved {
			t.Error(name, tok.lifecycle)
		}
	case slices.Contains(valid, name) != (err == nil):
		t.Errorf("%s in form %d: %v", name, f.profile, err)
	}
}

func fromJSON(in map[string]any, f form) map[int64]any {
	names := map[string]int64{"eat-profile": f.profile, "psa-certification-reference": f.reference}
	if f.none != 0 {
		names = map[string]int64{"psa-profile": f.profile, "psa-hwver": f.reference, "psa-no-software-measurements": f.none}
	}
	maps.Copy(names, map[string]int64{
		"psa-client-id": f.client, "psa-security-lifecycle": f.lifecycle,
		"psa-implementation-id": f.implementation, "psa-boot-seed": f.seed, "psa-software-components": f.components,
		"psa-nonce": f.nonce, "psa-instance-id": f.instance, "psa-verification-service-indicator": f.service,
	})
	out := map[int64]any{}
	for name, v := range in {
		if k := names[name]; k != 0 {
			out[k] = convert(name, v)
		}
	}
	return out
}

func convert(name string, v any) any {
	members := map[string]int64{"measurement-type": 1, "measurement-value": 2, "version": 4, "signer-id": 5, "measurement-description": 6}
	switch v := v.(type) {
	case float64:
		return int64(v)
	case string:
		for _, text := range []string{"profile", "hwver", "reference", "type", "version", "description", "indicator"} {
			if strings.HasSuffix(name, text) {
				return v
			}
		}
		b, err := base64.StdEncoding.DecodeString(v)
		if err != nil {
			return v
		}
		return b
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = convert(name, v[i])
		}
		return out
	case map[string]any:
		out := map[int64]any{}
		for n, x := range v {
			out[members[n]] = convert(n, x)
		}
		return out
	}
	return v
}
