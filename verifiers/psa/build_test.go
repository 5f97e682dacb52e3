// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

var (
	now       = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	tokenType = evidence.MediaType{Base: typeToken}
)

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func key(tb testing.TB, name string, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := pki.NewSeed("psa test").Sub(name).ECDSA(curve)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func encode(tb testing.TB, v any) []byte {
	tb.Helper()
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := mode.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func sign(tb testing.TB, k *ecdsa.PrivateKey, payload []byte) []byte {
	tb.Helper()
	alg := map[elliptic.Curve]cose.Algorithm{
		elliptic.P256(): cose.AlgorithmES256, elliptic.P384(): cose.AlgorithmES384, elliptic.P521(): cose.AlgorithmES512,
	}[k.Curve]
	s, err := cose.NewSigner(alg, k)
	if err != nil {
		tb.Fatal(err)
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(alg)
	if err := m.Sign(pki.NewSeed("nonces").Reader(), nil, s); err != nil {
		tb.Fatal(err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// device is a device whose claims a test may change.
type device struct {
	iak    *ecdsa.PrivateKey
	claims map[int64]any
	form   form
}

func component(name string, b byte, more ...any) map[int64]any {
	c := map[int64]any{1: name, 2: fill(b, 32), 4: "1.0", 5: fill(0x51, 32), 6: "sha-256"}
	for i := 0; i < len(more); i += 2 {
		k := int64(more[i].(int))
		if c[k] = more[i+1]; more[i+1] == nil {
			delete(c, k)
		}
	}
	return c
}

func newDevice(tb testing.TB, profile string) *device {
	d := &device{iak: key(tb, "iak", elliptic.P256()), form: formTFM()}
	if profile == profileLegacy {
		d.form = formLegacy()
	}
	f := d.form
	d.claims = map[int64]any{
		f.profile: profile, f.nonce: fill(0xab, 32), f.instance: append([]byte{1}, fill(0x2d, 32)...), f.client: -3, f.lifecycle: 0x3000,
		f.implementation: fill(0x1d, 32), f.seed: fill(0x5e, 32), f.reference: "1234567890123-12345", f.service: "https://verifier.example/",
		f.components: []any{component("BL", 1), component("PRoT", 2), component("ARoT", 3)},
	}
	return d
}

func (d *device) token(tb testing.TB) []byte { return sign(tb, d.iak, encode(tb, d.claims)) }

func (d *device) nonce() []byte { return d.claims[d.form.nonce].([]byte) }

// library is what documents say about an honest device.
type library struct {
	values   refvalues.Entry
	keys     []refvalues.KeyEntry
	unsigned string // "k" keys, "v" values
	until    time.Time
}

func software(name string, b byte) refvalues.Value {
	return refvalues.Value{
		Key: keyComponent, Repeat: true, Digests: []refvalues.Digest{{Alg: "sha-256", Value: fill(b, 32)}}, Name: name, Version: "1.0", Keys: [][]byte{fill(0x51, 32)},
	}
}

func newLibrary(d *device) *library {
	impl := fill(0x1d, 32)
	return &library{
		until: now.AddDate(0, 6, 0),
		values: refvalues.Entry{Environment: refvalues.Environment{ClassBytes: impl}, Values: []refvalues.Value{
			software("BL", 1), software("PRoT", 2), software("ARoT", 3),
		}},
		keys: []refvalues.KeyEntry{{
			Environment: refvalues.Environment{ClassBytes: impl, UEID: append([]byte{1}, fill(0x2d, 32)...)}, Key: &d.iak.PublicKey,
		}},
	}
}

func (l *library) index(tb testing.TB) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", now)
	if err != nil {
		tb.Fatal(err)
	}
	trust, err := corim.NewTrust([]corim.Authority{author.Authority})
	if err != nil {
		tb.Fatal(err)
	}
	var docs []*corim.Document
	add := func(id string, entries []refvalues.Entry, keys []refvalues.KeyEntry) {
		if len(keys) == 0 && (len(entries) == 0 || len(entries[0].Values) == 0) {
			return
		}
		d := refvalues.Document{
			ID: id, TagID: id + "-tag", Profile: refvalues.ProfilePSA, NotBefore: now.Add(-time.Hour), NotAfter: l.until, Entries: entries, Keys: keys,
		}
		raw, err := refvalues.Unsigned(d)
		if err == nil && !strings.Contains(l.unsigned, id[:1]) {
			raw, err = refvalues.Signed(d, author.Signer)
		}
		if err != nil {
			tb.Fatal(err)
		}
		doc, err := corim.Load(raw, corim.Options{Trust: trust, Now: now, Unsigned: true})
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, doc)
	}
	add("keys", nil, l.keys)
	add("values", []refvalues.Entry{l.values}, nil)
	x, err := corim.NewIndex(docs...)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func testRoot(tb testing.TB) map[string][]*x509.Certificate {
	tb.Helper()
	author, err := refvalues.NewAuthor("root", now)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string][]*x509.Certificate{Name: author.Authority.Roots}
}

// policyOf is the policy with parameters of its own, and with a mark at one
// finding: a claim that nothing else here asserts.
func policyOf(tb testing.TB, signers, mark string) verifiers.Deps {
	tb.Helper()
	d := Policy()
	d.Parameters = Parameters{SignerIDs: signers}
	for i := range d.Findings {
		if f := &d.Findings[i]; f.Name == mark {
			f.Effect = maps.Clone(f.Effect)
			f.Effect[verdict.FileSystem] = verdict.ClaimApproved
		}
	}
	p, err := d.Policy()
	if err != nil {
		tb.Fatal(err)
	}
	return verifiers.Deps{Policies: map[string]*appraisal.Policy{Name: p}}
}

func judge(tb testing.TB, v *verifier, in verifiers.Input) verdict.Appraisal {
	tb.Helper()
	if in.Time.IsZero() {
		in.Time = now
	}
	if in.MediaType.Base == "" {
		in.MediaType = tokenType
	}
	a, err := v.Appraise(context.Background(), in)
	if err != nil {
		tb.Fatal(err)
	}
	if a.PolicyID == "" {
		tb.Error("appraisal without a policy")
	}
	return a
}

func codes(a verdict.Appraisal) []string {
	var out []string
	for _, r := range a.Reasons {
		if !slices.Contains(out, r.Code) {
			out = append(out, r.Code)
		}
	}
	slices.Sort(out)
	return out
}

type claims = map[verdict.ClaimName]verdict.Claim

// Short names for the tables.
const (
	iid = verdict.InstanceIdentity
	cfg = verdict.Configuration
	exe = verdict.Executables
	hw  = verdict.Hardware
	rto = verdict.RuntimeOpaque
	sto = verdict.StorageOpaque
)

type want struct {
	tier   verdict.Tier
	claims claims
	codes  []string
}

func check(tb testing.TB, a verdict.Appraisal, w want) {
	tb.Helper()
	slices.Sort(w.codes)
	if a.Status() != w.tier || !slices.Equal(codes(a), w.codes) {
		tb.Errorf("tier %s, want %s; reasons %v, want codes %v", a.Status(), w.tier, a.Reasons, w.codes)
	}
	for _, n := range slices.Sorted(maps.Keys(w.claims)) {
		if a.Vector[n] != w.claims[n] {
			tb.Errorf("%s is %d, want %d", n, a.Vector[n], w.claims[n])
		}
	}
}
