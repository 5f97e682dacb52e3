// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/veraison/ccatoken"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// vouched is a recorded document, which nobody signed, as what the test's author
// says.
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

// keyOnly are documents that state the key of a token's platform, and nothing else.
func keyOnly(tb testing.TB, raw []byte, k *ecdsa.PublicKey) *corim.Index {
	tb.Helper()
	t := decoded(tb, raw)
	l := &library{until: now.AddDate(0, 1, 0), keys: []refvalues.KeyEntry{{
		Environment: refvalues.Environment{ClassBytes: t.platform.implementation, UEID: t.platform.instance}, Key: k,
	}}}
	return l.index(tb)
}

func decoded(tb testing.TB, raw []byte) *token {
	tb.Helper()
	d, err := armtoken.NewDecoder()
	if err != nil {
		tb.Fatal(err)
	}
	t, err := parse(d, raw)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func pemKey(tb testing.TB, raw []byte) *ecdsa.PublicKey {
	tb.Helper()
	block, _ := pem.Decode(raw)
	if block == nil {
		tb.Fatal("no PEM")
	}
	k, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		tb.Fatal(err)
	}
	return k.(*ecdsa.PublicKey)
}

func jwkKey(tb testing.TB, raw []byte) *ecdsa.PublicKey {
	tb.Helper()
	var j struct{ X, Y string }
	if err := json.Unmarshal(raw, &j); err != nil {
		tb.Fatal(err)
	}
	x, err1 := base64.RawURLEncoding.DecodeString(j.X)
	y, err2 := base64.RawURLEncoding.DecodeString(j.Y)
	k, err3 := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, x...), y...))
	if err := errors.Join(err1, err2, err3); err != nil {
		tb.Fatal(err)
	}
	return k
}

func moduleDir(tb testing.TB, module string) string {
	tb.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		tb.Skip("no module folder: ", err)
	}
	return strings.TrimSpace(string(out))
}

func read(tb testing.TB, path ...string) []byte {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// Every recorded token, with the key that belongs to it and no reference values.
// Tokens do not depend on time, the documents that the test makes hold now.
func TestVectors(t *testing.T) {
	tfRMM := vectors.Read(t, "cca/ccatoken/cca_platform.pub")
	good, ratsd := vectors.Read(t, "cca/veraison-services/cca-good.cbor"), vectors.Read(t, "cca/ratsd/ex-basic-arm-cca.outblob.cbor")
	legacy := vectors.Read(t, "cca/ccatoken/cca_token.cbor")
	for _, c := range []struct {
		name  string
		media evidence.MediaType
		raw   []byte
		token []byte
		key   *ecdsa.PublicKey
		life  uint16
		parts int
		alg   string
	}{
		{"TF-RMM, legacy", tokenType, legacy, legacy, pemKey(t, tfRMM), 0x3003, 4, "ES384"},
		{"veraison/services", tokenType, good, good, jwkKey(t, vectors.Read(t, "cca/veraison-services/iak_p256_public.jwk")), 0x3000, 4, "ES256"},
		{"ratsd", tokenType, ratsd, ratsd, pemKey(t, tfRMM), 0x3003, 13, "ES384"},
		{"ratsd, TSM report", evidence.MediaType{Base: tsm.TypeJSON, Params: map[string]string{"provider": tsmProvider}},
			vectors.Read(t, "cca/ratsd/ex-basic-arm-cca.json"), ratsd, pemKey(t, tfRMM), 0x3003, 13, "ES384"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tok := decoded(t, c.token)
			if uint16(tok.platform.lifecycle) != c.life || len(tok.platform.components) != c.parts || tok.platform.message.Algorithm() != c.alg {
				t.Errorf("lifecycle %#x, %d components, %s", tok.platform.lifecycle, len(tok.platform.components), tok.platform.message.Algorithm())
			}
			v, x := newTest(t, verifiers.Deps{}), keyOnly(t, c.token, c.key)
			a := judge(t, v, verifiers.Input{MediaType: c.media, Evidence: c.raw, Nonce: tok.realm.challenge, References: x})
			check(t, a, want{verdict.TierWarning, claims{iid: 2, hw: 2, rto: 2, sto: 2, cfg: 36, exe: 33}, []string{verdict.ReasonNoReferenceValues}})
			if a.Freshness != verdict.FreshnessFresh {
				t.Error(a.Freshness)
			}
			a = judge(t, v, verifiers.Input{MediaType: c.media, Evidence: c.raw, Nonce: tok.realm.challenge})
			check(t, a, want{verdict.TierContraindicated, claims{iid: 97, hw: 97, rto: 0, sto: 0, cfg: 0, exe: 0}, []string{verdict.ReasonNoCollateral}})
			a = judge(t, v, verifiers.Input{
				MediaType: c.media, Evidence: c.raw, Nonce: tok.realm.challenge, References: keyOnly(t, c.token, &key(t, "wrong", elliptic.P384()).PublicKey),
			})
			check(t, a, want{verdict.TierContraindicated, claims{iid: 99, hw: 99, rto: 99, sto: 99, cfg: 99, exe: 99}, []string{verdict.ReasonSignatureInvalid}})
		})
	}
}

// The documents of veraison/services for its own token: key, realm and configuration
// fit. The signer ids in them are not those of the token, which Veraison does
// not compare; so it is affirming where the policy does not either.
func TestRecordedDocuments(t *testing.T) {
	raw := vectors.Read(t, "cca/veraison-services/cca-good.cbor")
	var docs []*corim.Document
	for _, name := range []string{"corim-cca-platform-valid.cbor", "corim-cca-realm-valid.cbor"} {
		d, err := vouched(t, vectors.Read(t, "cca/veraison-services/"+name))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	both, err1 := corim.NewIndex(docs...)
	platform, err2 := corim.NewIndex(docs[0])
	realm, err3 := corim.NewIndex(docs[1])
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	nonce := decoded(t, raw).realm.challenge
	ignore := policyOf(t, Parameters{NonceExact, SignersIgnore})
	for _, c := range []struct {
		name string
		deps verifiers.Deps
		x    *corim.Index
		want want
	}{
		{"signers compared", verifiers.Deps{}, both, want{verdict.TierWarning, claims{iid: 2, hw: 2, rto: 2, sto: 2, cfg: 36, exe: 33},
			[]string{verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference}}},
		{"signers ignored", ignore, both, want{verdict.TierAffirming, claims{iid: 2, hw: 2, rto: 2, sto: 2, cfg: 2, exe: 2}, nil}},
		{"platform alone", ignore, platform, want{verdict.TierWarning, claims{hw: 2, cfg: 2, exe: 33}, []string{verdict.ReasonNoReferenceValues}}},
		{"realm alone", ignore, realm, want{verdict.TierContraindicated, claims{hw: 97, iid: 97, exe: 0}, []string{verdict.ReasonNoCollateral}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			check(t, judge(t, newTest(t, c.deps), verifiers.Input{Evidence: raw, Nonce: nonce, References: c.x}), c.want)
		})
	}
	for _, name := range []string{"cca/ccatoken/cca_token.cbor", "cca/ratsd/ex-basic-arm-cca.outblob.cbor"} {
		a := judge(t, newTest(t, ignore), verifiers.Input{Evidence: vectors.Read(t, name), References: both})
		check(t, a, want{verdict.TierContraindicated, claims{hw: 97}, []string{verdict.ReasonNoCollateral}})
	}
}

// Documents that break a rule of Arm's profiles are refused, so that they prove
// nothing; those of veraison/corim are about other platforms.
func TestBadDocuments(t *testing.T) {
	dir := filepath.Join(vectors.Dir(t), "cca/veraison-services")
	bad, err := filepath.Glob(filepath.Join(dir, "corim-cca-*-bad-*.cbor"))
	if err != nil || len(bad) < 14 {
		t.Fatalf("%d documents, %v", len(bad), err)
	}
	for _, path := range bad {
		if _, err := vouched(t, read(t, path)); !errors.Is(err, corim.ErrRule) {
			t.Errorf("%s: %v", filepath.Base(path), err)
		}
	}
	var docs []*corim.Document
	for _, name := range []string{"cca-platform-valid.cbor", "cca-realm-valid.cbor"} {
		d, err := vouched(t, vectors.Read(t, "corim/veraison-corim/profiles/cca/testcases/"+name))
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	x, err := corim.NewIndex(docs...)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cca/veraison-services/cca-good.cbor", "cca/ratsd/ex-basic-arm-cca.outblob.cbor"} {
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: vectors.Read(t, name), References: x})
		check(t, a, want{verdict.TierContraindicated, claims{hw: 97}, []string{verdict.ReasonNoCollateral}})
	}
}

// The token that comes with the module veraison/ccatoken, for a plain clone.
func TestModuleVector(t *testing.T) {
	dir := filepath.Join(moduleDir(t, "github.com/veraison/ccatoken"), "realm/testvectors/tf-rmm")
	raw, k := read(t, dir, "cca_token.cbor"), pemKey(t, read(t, dir, "cca_platform.pub"))
	a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw, Nonce: fill(0xab, 64), References: keyOnly(t, raw, k)})
	check(t, a, want{verdict.TierWarning, claims{iid: 2, hw: 2, exe: 33, cfg: 36}, []string{verdict.ReasonNoReferenceValues}})
}

// Every byte of a token counts: one bit changed, and nothing is proven.
func TestEveryByteFlip(t *testing.T) {
	raw, k := func() ([]byte, *ecdsa.PublicKey) {
		dir := filepath.Join(moduleDir(t, "github.com/veraison/ccatoken"), "realm/testvectors/tf-rmm")
		return read(t, dir, "cca_token.cbor"), pemKey(t, read(t, dir, "cca_platform.pub"))
	}()
	v, x := newTest(t, verifiers.Deps{}), keyOnly(t, raw, k)
	for i := range raw {
		if testing.Short() && i%13 != 0 {
			continue
		}
		changed := bytes.Clone(raw)
		changed[i] ^= 1 << (i % 8)
		a := judge(t, v, verifiers.Input{Evidence: changed, Nonce: fill(0xab, 64), References: x})
		if a.Status() != verdict.TierContraindicated || len(a.Reasons) == 0 {
			t.Fatalf("byte %d: %s, %v", i, a.Status(), a.Reasons)
		}
		if a.Vector[hw] != 99 && a.Vector[hw] != 97 {
			t.Fatalf("byte %d: hardware %d", i, a.Vector[hw])
		}
	}
}

// What is accepted here is accepted by veraison/ccatoken, and means the same.
func TestSameAsLibrary(t *testing.T) {
	m := newMachine(t)
	legacy := newMachine(t)
	legacy.platform[claimProfile] = platformProfileLegacy
	delete(legacy.realm, claimProfile)
	legacy.realm[claimRAK], _ = legacy.rak.PublicKey.Bytes()
	for name, m := range map[string]*machine{"new": m, "legacy": legacy} {
		raw := m.token(t)
		e, err := ccatoken.DecodeAndValidateEvidenceFromCBOR(raw)
		if err != nil {
			t.Fatal(name, err)
		}
		if err := e.Verify(&m.iak.PublicKey); err != nil {
			t.Error(name, err)
		}
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw, Nonce: m.nonce(), References: newLibrary(m).index(t)})
		if a.Status() != verdict.TierAffirming {
			t.Error(name, a.Reasons)
		}
		tok := decoded(t, raw)
		challenge, err1 := e.RealmClaims.GetChallenge()
		rim, err2 := e.RealmClaims.GetInitialMeasurement()
		config, err3 := e.PlatformClaims.GetConfig()
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(challenge, tok.realm.challenge) || !bytes.Equal(rim, tok.realm.rim) || !bytes.Equal(config, tok.platform.config) ||
			!bytes.Equal(*e.GetInstanceID(), tok.platform.instance) || !bytes.Equal(*e.GetImplementationID(), tok.platform.implementation) {
			t.Errorf("%s: the library reads something else", name)
		}
	}
}
