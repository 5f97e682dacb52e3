// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
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
	tokenType = evidence.MediaType{Base: typeCollection, Params: map[string]string{"profile": mediaProfile}}
)

func fill(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }

func key(tb testing.TB, name string, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := pki.NewSeed("armcca test").Sub(name).ECDSA(curve)
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

func algorithmOf(k *ecdsa.PrivateKey) cose.Algorithm {
	switch k.Curve {
	case elliptic.P256():
		return cose.AlgorithmES256
	case elliptic.P521():
		return cose.AlgorithmES512
	}
	return cose.AlgorithmES384
}

// sign makes a COSE_Sign1 of any payload.
func sign(tb testing.TB, k *ecdsa.PrivateKey, payload []byte) []byte {
	tb.Helper()
	s, err := cose.NewSigner(algorithmOf(k), k)
	if err != nil {
		tb.Fatal(err)
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(algorithmOf(k))
	if err := m.Sign(pki.NewSeed("nonces").Reader(), nil, s); err != nil {
		tb.Fatal(err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// machine is a platform with a realm, whose claims a test may change.
type machine struct {
	iak, rak        *ecdsa.PrivateKey
	platform, realm map[int64]any
	// unbound leaves the platform's challenge as it is.
	unbound bool
	tag     uint64
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

func newMachine(tb testing.TB) *machine {
	m := &machine{iak: key(tb, "iak", elliptic.P384()), rak: key(tb, "rak", elliptic.P384()), tag: tagCollection}
	m.platform = map[int64]any{
		claimProfile: platformProfile, claimImplementation: fill(0x1d, 32), claimInstance: append([]byte{1}, fill(0x2d, 32)...),
		claimConfig: []byte{1, 2, 3}, claimLifecycle: 0x3000, claimHash: "sha-256", claimService: "https://verifier.example/",
		claimComponents: []any{component("BL", 1), component("M1", 2), component("RMM", 3)},
	}
	m.realm = map[int64]any{
		claimProfile: realmProfile, claimNonce: fill(0xab, 64), claimRPV: fill(0x41, 64), claimRIM: fill(0x50, 48),
		claimREM: [][]byte{fill(0x60, 48), fill(0x61, 48), fill(0, 48), fill(0, 48)}, claimRealmHash: "sha-384", claimRAKHash: "sha-256",
	}
	m.realm[claimRAK] = coseKey(tb, m.rak)
	return m
}

func coseKey(tb testing.TB, k *ecdsa.PrivateKey) []byte {
	tb.Helper()
	point, err := k.PublicKey.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	crv := map[elliptic.Curve]int{elliptic.P256(): 1, elliptic.P384(): 2, elliptic.P521(): 3}[k.Curve]
	half := len(point) / 2
	return encode(tb, map[int64]any{1: 2, -1: crv, -2: point[1 : 1+half], -3: point[1+half:]})
}

// halves are the signed tokens.
func (m *machine) halves(tb testing.TB) (platform, realm []byte) {
	if raw, ok := m.realm[claimRAK].([]byte); ok && !m.unbound {
		d := sha256.Sum256(raw)
		m.platform[claimNonce] = d[:]
	}
	return sign(tb, m.iak, encode(tb, m.platform)), sign(tb, m.rak, encode(tb, m.realm))
}

func (m *machine) token(tb testing.TB) []byte {
	tb.Helper()
	p, r := m.halves(tb)
	if m.tag == tagCMW {
		return encode(tb, cbor.Tag{Number: m.tag, Content: map[int64]any{labelPlatform: []any{formatEATCWT, p}, labelRealm: []any{formatEATCWT, r}}})
	}
	return encode(tb, cbor.Tag{Number: m.tag, Content: map[int64]any{labelPlatform: p, labelRealm: r}})
}

// tagged puts two tokens together.
func tagged(tag uint64, platform, realm []byte) cbor.Tag {
	return cbor.Tag{Number: tag, Content: map[int64]any{labelPlatform: platform, labelRealm: realm}}
}

func (m *machine) nonce() []byte { return m.realm[claimNonce].([]byte) }

// library is what documents say about an honest machine.
type library struct {
	platform, realm refvalues.Entry
	realms          []refvalues.Entry // further ones
	keys            []refvalues.KeyEntry
	// unsigned are documents by their first letter: "k" keys, "p" platform, "r" realm.
	unsigned string
	until    time.Time
}

func sum(alg string, b []byte) []refvalues.Digest { return []refvalues.Digest{{Alg: alg, Value: b}} }

func software(name string, b byte) refvalues.Value {
	return refvalues.Value{Key: keyComponent, Repeat: true, Digests: sum("sha-256", fill(b, 32)), Name: name, Version: "1.0", Keys: [][]byte{fill(0x51, 32)}}
}

func newLibrary(m *machine) *library {
	impl := fill(0x1d, 32)
	l := &library{until: now.AddDate(0, 6, 0)}
	l.platform = refvalues.Entry{Environment: refvalues.Environment{ClassBytes: impl}, Values: []refvalues.Value{
		software("BL", 1), software("M1", 2), software("RMM", 3), {Key: keyConfig, Raw: []byte{1, 2, 3}},
	}}
	l.realm = refvalues.Entry{Environment: refvalues.Environment{ClassBytes: fill(0x50, 48)}, Values: []refvalues.Value{
		{Key: keyRIM, Digests: sum("sha-384", fill(0x50, 48))},
		{Key: keyREM + "0", Digests: sum("sha-384", fill(0x60, 48))}, {Key: keyREM + "1", Digests: sum("sha-384", fill(0x61, 48))},
		{Key: keyREM + "2", Digests: sum("sha-384", fill(0, 48))}, {Key: keyREM + "3", Digests: sum("sha-384", fill(0, 48))},
		{Key: keyRPV, Raw: fill(0x41, 64)},
	}}
	l.keys = []refvalues.KeyEntry{{
		Environment: refvalues.Environment{ClassBytes: impl, UEID: append([]byte{1}, fill(0x2d, 32)...)}, Key: &m.iak.PublicKey,
	}}
	return l
}

// index is the library as a verifier has it that believes its author.
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
	add := func(id, profile string, entries []refvalues.Entry, keys []refvalues.KeyEntry) {
		if len(entries)+len(keys) == 0 || len(entries) == 1 && len(entries[0].Values) == 0 {
			return
		}
		d := refvalues.Document{
			ID: id, TagID: id + "-tag", Profile: profile, NotBefore: now.Add(-time.Hour), NotAfter: l.until, Entries: entries, Keys: keys,
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
	add("keys", "", nil, l.keys)
	add("platform", refvalues.ProfileCCAPlatform, []refvalues.Entry{l.platform}, nil)
	add("realm", refvalues.ProfileCCARealm, append([]refvalues.Entry{l.realm}, l.realms...), nil)
	x, err := corim.NewIndex(docs...)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// another adds a second triple about the realm.
func (l *library) another(change func(*refvalues.Entry)) {
	e := refvalues.Entry{Environment: l.realm.Environment, Values: slices.Clone(l.realm.Values)}
	change(&e)
	l.realms = append(l.realms, e)
}

// drop leaves values of a key out, or the component of a name.
func drop(e *refvalues.Entry, what string) {
	e.Values = slices.DeleteFunc(e.Values, func(v refvalues.Value) bool { return v.Key == what || v.Name == what })
}

func change(e *refvalues.Entry, what string, f func(*refvalues.Value)) {
	for i := range e.Values {
		if v := &e.Values[i]; v.Key == what || v.Name == what {
			f(v)
		}
	}
}

// testRoot lets unsigned documents count.
func testRoot(tb testing.TB) map[string][]*x509.Certificate {
	tb.Helper()
	author, err := refvalues.NewAuthor("root", now)
	if err != nil {
		tb.Fatal(err)
	}
	return map[string][]*x509.Certificate{Name: author.Authority.Roots}
}

func newTest(tb testing.TB, d verifiers.Deps) *verifier {
	tb.Helper()
	v, err := newVerifier(d)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// policyOf is the policy with parameters of its own.
func policyOf(tb testing.TB, p Parameters) verifiers.Deps {
	tb.Helper()
	d := Policy()
	d.Parameters = p
	if err := p.Check(); err != nil {
		tb.Fatal(err)
	}
	policy, err := d.Policy()
	if err != nil {
		tb.Fatal(err)
	}
	return verifiers.Deps{Policies: map[string]*appraisal.Policy{Name: policy}}
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

// want is an outcome: tier, claims by name, reason codes.
type want struct {
	tier   verdict.Tier
	claims map[verdict.ClaimName]verdict.Claim
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
