// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/internal/limits"
)

func testKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func acme(model string) Environment {
	return Environment{Class: Class{Vendor: "ACME", Model: model}}
}

func sum(b byte, alg Algorithm) Digest {
	return Digest{Alg: alg, Value: bytes.Repeat([]byte{b}, alg.Size())}
}

func digestOf(key Key, b byte) Measurement {
	return Measurement{Key: key, Value: Values{Digests: []Digest{sum(b, SHA384)}}}
}

// module is a document with one CoMID.
func module(id string, m Comid) *Document {
	if m.Identity.ID == (ID{}) {
		m.Identity.ID = ID{Text: id + "-tag"}
	}
	return &Document{ID: ID{Text: id}, Tags: []Tag{{Number: TagComid, Comid: &m}}}
}

func encoded(t testing.TB, d *Document) []byte {
	t.Helper()
	raw, err := Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// loaded is d as an accepted unsigned document.
func loaded(t testing.TB, d *Document) *Document {
	t.Helper()
	out, err := Load(encoded(t, d), Options{Unsigned: true, Now: testTime})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func metaHeader(t testing.TB, from, to time.Time) []byte {
	t.Helper()
	enc, err := encoding()
	if err != nil {
		t.Fatal(err)
	}
	m := members{0: members{0: "ACME signer"}}
	if !to.IsZero() {
		m[1] = periodItem(Period{from, to})
	}
	raw, err := enc.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// signed signs payload; change may alter the message before it is signed.
func signed(t testing.TB, payload []byte, key ed25519.PrivateKey, change func(*cose.Sign1Message)) []byte {
	t.Helper()
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmEdDSA)
	m.Headers.Protected[cose.HeaderLabelContentType] = MediaTypeUnsigned
	m.Headers.Protected[labelMeta] = metaHeader(t, time.Time{}, time.Time{})
	m.Headers.Protected[cose.HeaderLabelKeyID] = []byte("key-1")
	if change != nil {
		change(m)
	}
	s, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Sign(rand.Reader, nil, s); err != nil {
		t.Fatal(err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func certificate(t testing.TB, name string, pub crypto.PublicKey, ca bool, parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: testTime.AddDate(-1, 0, 0), NotAfter: testTime.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	if ca {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	}
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLoadTrust(t *testing.T) {
	payload := encoded(t, module("doc", Comid{Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1)}}}}))
	key, other := testKey(1), testKey(2)
	root := certificate(t, "root", other.Public(), true, nil, other)
	leaf := certificate(t, "leaf", key.Public(), false, root, other)
	stranger := certificate(t, "stranger", key.Public(), false, certificate(t, "root", testKey(3).Public(), true, nil, testKey(3)), testKey(3))
	base := Authority{
		Name: "ACME", Keys: []SigningKey{{ID: []byte("key-1"), Public: key.Public()}}, Roots: []*x509.Certificate{root},
		Profiles: []string{NoProfile}, Scopes: []Environment{{Class: Class{Vendor: "ACME"}}},
	}
	with := func(label int64, v any) func(*cose.Sign1Message) {
		return func(m *cose.Sign1Message) { m.Headers.Protected[label] = v }
	}
	chain := func(c ...*x509.Certificate) func(*cose.Sign1Message) {
		return func(m *cose.Sign1Message) {
			delete(m.Headers.Protected, cose.HeaderLabelKeyID)
			if len(c) == 1 {
				m.Headers.Unprotected[cose.HeaderLabelX5Chain] = c[0].Raw
				return
			}
			m.Headers.Protected[cose.HeaderLabelX5Chain] = []any{c[0].Raw, c[1].Raw}
		}
	}
	broken := signed(t, payload, key, nil)
	broken[len(broken)-1] ^= 1
	inner := func(d *Document) []byte { return signed(t, encoded(t, d), key, nil) }
	for _, c := range []struct {
		name string
		raw  []byte
		edit func(*Authority)
		now  time.Time
		want error
		text string
	}{
		{name: "key", raw: signed(t, payload, key, nil)},
		{name: "older tags", raw: append([]byte{0xd9, 1, 0xf4, 0xd9, 1, 0xf6}, signed(t, payload, key, nil)...)},
		{name: "chain", raw: signed(t, payload, key, chain(leaf))},
		{name: "chain with root", raw: signed(t, payload, key, chain(leaf, root))},
		{name: "cwt claims", raw: signed(t, payload, key, func(m *cose.Sign1Message) {
			delete(m.Headers.Protected, labelMeta)
			m.Headers.Protected[labelCWTClaims] = map[any]any{1: "ACME", 4: testTime.Unix() + 5}
		})},
		{name: "signature", raw: broken, want: ErrSignature},
		{name: "unsigned", raw: payload, want: ErrUnsigned},
		{name: "other key", raw: signed(t, payload, other, nil), want: ErrSignature},
		{name: "unknown kid", raw: signed(t, payload, key, with(cose.HeaderLabelKeyID, []byte("key-2"))), want: ErrUntrusted},
		{name: "no kid", raw: signed(t, payload, key, func(m *cose.Sign1Message) { delete(m.Headers.Protected, cose.HeaderLabelKeyID) }), want: ErrUntrusted},
		{name: "stranger", raw: signed(t, payload, key, chain(stranger)), want: ErrUntrusted},
		{name: "certificate of another key", raw: signed(t, payload, other, chain(leaf)), want: ErrSignature},
		{name: "a CA is no signer", raw: signed(t, payload, other, chain(root)), want: ErrUntrusted},
		{name: "chain expired", raw: signed(t, payload, key, chain(leaf)), now: testTime.AddDate(2, 0, 0), want: ErrUntrusted},
		{name: "authority expired", raw: signed(t, payload, key, nil), edit: func(a *Authority) { a.Validity.NotAfter = testTime.Add(-1) }, want: ErrPeriod},
		{name: "signature expired", raw: signed(t, payload, key, with(labelMeta, metaHeader(t, time.Time{}, testTime.Add(-time.Second)))), want: ErrPeriod},
		{name: "signature not yet", raw: signed(t, payload, key, with(labelMeta, metaHeader(t, testTime.Add(time.Second), testTime.Add(time.Hour)))), want: ErrPeriod},
		{name: "cwt expired", raw: signed(t, payload, key, with(labelCWTClaims, map[any]any{1: "ACME signer", 4: testTime.Unix() - 1})), want: ErrPeriod},
		{name: "cwt and meta disagree", raw: signed(t, payload, key, with(labelCWTClaims, map[any]any{1: "Mallory"})), text: "corim-meta names"},
		{name: "document expired", raw: inner(&Document{ID: ID{Text: "d"}, Tags: module("d", Comid{Membership: nil, Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1)}}}}).Tags,
			Validity: Period{NotAfter: testTime.Add(-time.Second)}}), want: ErrPeriod},
		{name: "scope", raw: signed(t, payload, key, nil), edit: func(a *Authority) { a.Scopes[0].Class.Vendor = "Other" }, want: ErrScope},
		{name: "scope of a key", raw: inner(module("k", Comid{AttestKeys: []KeyTriple{{Environment: Environment{Class: Class{Vendor: "Other"}}, Keys: []Typed{TaggedBytes(TagBytes, []byte{1})}}}})), want: ErrScope},
		{name: "scope of a domain", raw: inner(module("m", Comid{Membership: []DomainTriple{{Environment{Class: Class{Vendor: "Other"}}, []Environment{acme("NIC")}}}})), want: ErrScope},
		{name: "scope of an endorsement", raw: inner(module("c", Comid{Conditional: []ConditionalTriple{{
			Conditions:   []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1)}}},
			Endorsements: []ValueTriple{{Environment{Class: Class{Vendor: "Other"}}, []Measurement{digestOf(NumberKey(1), 1)}}},
		}}})), want: ErrScope},
		{name: "profile not allowed", raw: signed(t, payload, key, nil), edit: func(a *Authority) { a.Profiles = []string{ProfileSNP} }, want: ErrScope},
		{name: "profile unknown", raw: inner(&Document{ID: ID{Text: "d"}, Profile: "https://example.com/p", Tags: module("d", Comid{Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1)}}}}).Tags}),
			edit: func(a *Authority) { a.Profiles = []string{AnyProfile} }, want: ErrProfile},
		{name: "content type", raw: signed(t, payload, key, with(cose.HeaderLabelContentType, "text/plain")), text: "content type"},
		{name: "no meta", raw: signed(t, payload, key, func(m *cose.Sign1Message) { delete(m.Headers.Protected, labelMeta) }), text: "neither corim-meta"},
		{name: "hash envelope", raw: signed(t, payload, key, with(labelHashAlgorithm, -16)), text: "hash envelope"},
		{name: "critical", raw: signed(t, payload, key, func(m *cose.Sign1Message) {
			m.Headers.Protected[int64(77)] = 1
			m.Headers.Protected[cose.HeaderLabelCritical] = []any{int64(77)}
		}), text: "critical header"},
		{name: "kid twice", raw: signed(t, payload, key, func(m *cose.Sign1Message) { m.Headers.Unprotected[cose.HeaderLabelKeyID] = []byte("key-1") }), text: ""},
		{name: "payload is not a CoRIM", raw: signed(t, []byte{0xa0}, key, nil), text: "payload"},
		{name: "bytes after the payload", raw: signed(t, append(bytes.Clone(payload), 0), key, nil), text: "payload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := base
			a.Scopes = []Environment{base.Scopes[0]}
			if c.edit != nil {
				c.edit(&a)
			}
			trust, err := NewTrust([]Authority{a})
			if err != nil {
				t.Fatal(err)
			}
			if c.now.IsZero() {
				c.now = testTime
			}
			d, err := Load(c.raw, Options{Trust: trust, Now: c.now})
			switch {
			case c.want != nil && !errors.Is(err, c.want):
				t.Errorf("%v, want %v", err, c.want)
			case c.text != "" && (err == nil || !strings.Contains(err.Error(), c.text)):
				t.Errorf("%v, want %q", err, c.text)
			case c.name == "kid twice" && err == nil:
				t.Error("accepted")
			case c.want == nil && c.text == "" && c.name != "kid twice" && (err != nil || !d.Signed() || d.Authority.Name != "ACME"):
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
	if _, err := Load(signed(t, payload, key, nil), Options{Now: testTime, Unsigned: true}); !errors.Is(err, ErrUntrusted) {
		t.Errorf("signature that nobody can check, where unsigned will do: %v", err)
	}
	d, err := Parse(payload)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewIndex(d); err == nil {
		t.Error("index of a document that was only parsed")
	}
}

func TestNewTrust(t *testing.T) {
	good := Authority{Name: "a", Keys: []SigningKey{{[]byte{1}, testKey(1).Public()}}, Profiles: []string{AnyProfile}, Scopes: []Environment{{}}}
	for name, edit := range map[string]func(a *Authority){
		"name": func(a *Authority) { a.Name = "" }, "keys": func(a *Authority) { a.Keys = nil }, "profiles": func(a *Authority) { a.Profiles = nil },
		"scopes": func(a *Authority) { a.Scopes = nil }, "kid": func(a *Authority) { a.Keys = []SigningKey{{nil, testKey(1).Public()}} },
		"kid twice": func(a *Authority) { a.Keys = append(a.Keys, a.Keys[0]) },
	} {
		a := good
		edit(&a)
		if _, err := NewTrust([]Authority{a}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := NewTrust([]Authority{good, good}); err == nil {
		t.Error("one name twice: accepted")
	}
}

func TestParseRefuses(t *testing.T) {
	enc, err := encoding()
	if err != nil {
		t.Fatal(err)
	}
	env := members{0: members{1: "ACME"}}
	mval := func(v any) any { return []any{[]any{env, []any{members{1: v}}}} }
	comid := func(triples any) any { return members{1: members{0: "tag"}, 4: triples} }
	doc := func(tag any) []byte {
		inner, err := enc.Marshal(tag)
		if err != nil {
			t.Fatal(err)
		}
		return inner
	}
	digests := func(list ...any) any { return comid(members{0: mval(members{2: list})}) }
	d32 := bytes.Repeat([]byte{1}, 32)
	for name, c := range map[string]struct {
		comid any
		want  string
	}{
		"no identity":             {members{4: members{0: mval(members{1: 1})}}, "without an identity"},
		"no triples":              {members{1: members{0: "tag"}}, "without triples"},
		"empty triples":           {comid(members{}), "empty map"},
		"empty environment":       {comid(members{0: []any{[]any{members{}, []any{members{1: members{1: 1}}}}}}), "empty map"},
		"unknown in env":          {comid(members{0: []any{[]any{members{0: members{1: "A"}, 9: 1}, []any{members{1: members{1: 1}}}}}}), "environment member 9"},
		"unknown in class":        {comid(members{0: []any{[]any{members{0: members{1: "A", 9: 1}}, []any{members{1: members{1: 1}}}}}}), "class member 9"},
		"unknown in element":      {comid(members{0: []any{[]any{env, []any{members{1: members{1: 1}, 7: 1}}}}}), "measurement member 7"},
		"no measurements":         {comid(members{0: []any{[]any{env, []any{}}}}), "array of 0"},
		"empty values":            {comid(members{0: mval(members{})}), "empty map"},
		"digest length":           {digests([]any{1, []byte{1}}), "sha-256 digest has 1 bytes"},
		"digest twice":            {digests([]any{1, d32}, []any{"sha-256", d32}), "two sha-256 digests"},
		"digest twice, by COSE":   {digests([]any{1, d32}, []any{-16, d32}), "two sha-256 digests"},
		"svn tag":                 {comid(members{0: mval(members{1: cbor.Tag{Number: 560, Content: 1}})}), "tag 560"},
		"mask without value":      {comid(members{0: mval(members{5: []byte{1}})}), "mask of 1 bytes"},
		"mask of other length":    {comid(members{0: mval(members{4: cbor.Tag{Number: 560, Content: []byte{1, 2}}, 5: []byte{1}})}), "mask of 1 bytes"},
		"masked, other length":    {comid(members{0: mval(members{4: cbor.Tag{Number: 563, Content: []any{[]byte{1, 2}, []byte{1}}}})}), "mask of 1 bytes"},
		"range upside down":       {comid(members{0: mval(members{15: cbor.Tag{Number: 564, Content: []any{2, 1}}})}), "range from 2 to 1"},
		"register named by bytes": {comid(members{0: mval(members{14: map[any]any{cbor.ByteString("a"): []any{[]any{1, d32}}}})}), "not named by"},
		"flag that is a number":   {comid(members{0: mval(members{3: members{0: 1}})}), "not true or false"},
		"self membership":         {comid(members{5: []any{[]any{env, []any{env}}}}), "cyclic domain membership"},
		"uuid of 15 bytes":        {comid(members{0: []any{[]any{members{1: cbor.Tag{Number: 37, Content: d32[:15]}}, []any{members{1: members{1: 1}}}}}}), "UUID"},
	} {
		_, err := Parse(wrap(t, doc(c.comid)))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	good := wrap(t, doc(comid(members{0: mval(members{1: 1})})))
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{
		"nothing": {}, "trailing": append(bytes.Clone(good), 0), "cut off": good[:len(good)-1], "other tag": append([]byte{0xd9, 1, 0xf6}, good[3:]...),
		"indefinite": append(append([]byte{0xd9, 1, 0xf5, 0xbf}, good[4:]...), 0xff), "duplicate key": append([]byte{0xd9, 1, 0xf5, 0xa3, 0, 0x61, 'a'}, good[4:]...),
		"too large": make([]byte, limits.CorimDocument+1), "deep": append(bytes.Repeat([]byte{0x81}, 100), 1), "older tags for ever": bytes.Repeat([]byte{0xd9, 1, 0xf4}, 10),
	} {
		if _, err := Parse(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := Parse(make([]byte, limits.CorimDocument+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("too large: %v", err)
	}
}
