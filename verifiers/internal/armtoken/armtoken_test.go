// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func decoder(tb testing.TB) *Decoder {
	tb.Helper()
	d, err := NewDecoder()
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func key(tb testing.TB, name string, curve elliptic.Curve) *ecdsa.PrivateKey {
	tb.Helper()
	k, err := pki.NewSeed("armtoken test").Sub(name).ECDSA(curve)
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

func message(tb testing.TB, k *ecdsa.PrivateKey) []byte {
	tb.Helper()
	s, err := cose.NewSigner(cose.AlgorithmES256, k)
	if err != nil {
		tb.Fatal(err)
	}
	m := cose.NewSign1Message()
	m.Payload = []byte{0xa1, 1, 2}
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmES256)
	if err := m.Sign(pki.NewSeed("nonces").Reader(), nil, s); err != nil {
		tb.Fatal(err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestLifecycle(t *testing.T) {
	for l, want := range map[Lifecycle]State{
		0: Unknown, 0xff: Unknown, 0x100: Reserved, 0x1000: AssemblyAndTest, 0x10ff: AssemblyAndTest, 0x1100: Reserved, 0x2001: Provisioning,
		0x3000: Secured, 0x30ff: Secured, 0x3100: Reserved, 0x2fff: Reserved, 0x4000: OtherDebug, 0x40ff: OtherDebug, 0x5000: RecoverableDebug,
		0x50af: RecoverableDebug, 0x6000: Decommissioned, 0x60ff: Decommissioned, 0x6100: Reserved, 0x7000: Reserved, 0xf000: Reserved, 0xffff: Reserved,
	} {
		if got := l.State(); got != want {
			t.Errorf("%#04x is %s, want %s", uint16(l), got, want)
		}
	}
	if Secured.String() != "secured" || Decommissioned.String() != "decommissioned" || Reserved.String() != "reserved" {
		t.Error("names are off by one")
	}
}

func spki(tb testing.TB, public any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func TestPublicKey(t *testing.T) {
	k := &key(t, "a", elliptic.P256()).PublicKey
	der := spki(t, k)
	block := func(name string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: b}))
	}
	edwards, _, err := ed25519.GenerateKey(pki.NewSeed("ed").Reader())
	if err != nil {
		t.Fatal(err)
	}
	r, err := pki.NewSeed("rsa").RSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		in   corim.Typed
		ok   bool
	}{
		{"PEM", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", der)), true},
		{"PEM without a line end", corim.TaggedText(corim.TagPKIXKey, strings.TrimSpace(block("PUBLIC KEY", der))), true},
		{"base64", corim.TaggedText(corim.TagPKIXKey, base64.StdEncoding.EncodeToString(der)), true},
		{"P-521", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", spki(t, &key(t, "b", elliptic.P521()).PublicKey))), true},
		{"P-224", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", spki(t, &key(t, "c", elliptic.P224()).PublicKey))), false},
		{"another tag", corim.TaggedText(corim.TagPKIXCert, block("PUBLIC KEY", der)), false},
		{"bytes", corim.TaggedBytes(corim.TagPKIXKey, der), false},
		{"another block", corim.TaggedText(corim.TagPKIXKey, block("EC PUBLIC KEY", der)), false},
		{"two blocks", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", der)+block("PUBLIC KEY", der)), false},
		{"DER with more", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", append(bytes.Clone(der), 0))), false},
		{"Ed25519", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", spki(t, edwards))), false},
		{"RSA", corim.TaggedText(corim.TagPKIXKey, block("PUBLIC KEY", spki(t, r.Public().(*rsa.PublicKey)))), false},
		{"nonsense", corim.TaggedText(corim.TagPKIXKey, "key"), false},
	} {
		if _, err := PublicKey(c.in); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Only a key that is stated for the very device counts, without conditions.
func TestAnchors(t *testing.T) {
	k := key(t, "a", elliptic.P256())
	m, err := decoder(t).Sign1(message(t, k))
	if err != nil {
		t.Fatal(err)
	}
	text := corim.TaggedText(corim.TagPKIXKey, base64.StdEncoding.EncodeToString(spki(t, &k.PublicKey)))
	device := Device(bytes.Repeat([]byte{1}, 32), append([]byte{1}, bytes.Repeat([]byte{2}, 32)...))
	group := device
	group.Group = corim.TaggedBytes(corim.TagBytes, []byte("group"))
	instance := corim.Environment{Instance: device.Instance}
	vendor := device
	vendor.Class.Vendor = "ACME"
	for _, c := range []struct {
		name   string
		triple corim.KeyTriple
		ok     bool
	}{
		{"device", corim.KeyTriple{Environment: device, Keys: []corim.Typed{text}}, true},
		{"class", corim.KeyTriple{Environment: corim.Environment{Class: device.Class}, Keys: []corim.Typed{text}}, false},
		{"instance of any class", corim.KeyTriple{Environment: instance, Keys: []corim.Typed{text}}, false},
		{"group", corim.KeyTriple{Environment: group, Keys: []corim.Typed{text}}, false},
		{"class with a vendor", corim.KeyTriple{Environment: vendor, Keys: []corim.Typed{text}}, false},
		{"one element", corim.KeyTriple{Environment: device, Keys: []corim.Typed{text}, Element: corim.TextKey("x")}, false},
		{"authorized by somebody", corim.KeyTriple{Environment: device, Keys: []corim.Typed{text}, AuthorizedBy: []corim.Typed{text}}, false},
		{"not a key", corim.KeyTriple{Environment: device, Keys: []corim.Typed{corim.TaggedText(corim.TagPKIXKey, "key")}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: "doc"}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
				Identity: corim.TagIdentity{ID: corim.ID{Text: "tag"}}, AttestKeys: []corim.KeyTriple{c.triple},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			d, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			x, err := corim.NewIndex(d)
			if err != nil {
				t.Fatal(err)
			}
			a, missing, f := NewKeys().Verify(m, Search{Index: x, Time: now, Device: device, Unsigned: true})
			if (a.Key != nil) != c.ok || (missing == nil) != c.ok || f != nil {
				t.Errorf("%+v, %+v, %v", a, missing, f)
			}
			if _, missing, _ = NewKeys().Verify(m, Search{Index: x, Time: now, Device: device}); missing == nil || c.ok && missing.Finding != FindingKeyUnsigned {
				t.Errorf("unsigned: %+v", missing)
			}
		})
	}
}

// TestRepeatedKeys: a key that many documents repeat keeps none of the others from
// being tried.
func TestRepeatedKeys(t *testing.T) {
	k := key(t, "a", elliptic.P256())
	m, err := decoder(t).Sign1(message(t, k))
	if err != nil {
		t.Fatal(err)
	}
	device := Device(bytes.Repeat([]byte{1}, 32), append([]byte{1}, bytes.Repeat([]byte{2}, 32)...))
	index := func(names ...string) *corim.Index {
		var docs []*corim.Document
		for i, name := range names {
			id := fmt.Sprintf("doc %d", i)
			text := corim.TaggedText(corim.TagPKIXKey, base64.StdEncoding.EncodeToString(spki(t, &key(t, name, elliptic.P256()).PublicKey)))
			raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
				Identity: corim.TagIdentity{ID: corim.ID{Text: id}}, AttestKeys: []corim.KeyTriple{{Environment: device, Keys: []corim.Typed{text}}},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			d, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			docs = append(docs, d)
		}
		x, err := corim.NewIndex(docs...)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	before := strings.Split(strings.Repeat("b ", maxAnchors), " ")[:maxAnchors]
	for name, x := range map[string]*corim.Index{
		"first": index(append([]string{"a"}, before...)...), "last": index(append(before, "a")...),
	} {
		if a, missing, f := NewKeys().Verify(m, Search{Index: x, Time: now, Device: device, Unsigned: true}); a.Key == nil || missing != nil || f != nil {
			t.Errorf("%s: %+v, %v", name, missing, f)
		}
	}
	if _, _, f := NewKeys().Verify(m, Search{Index: index(before...), Time: now, Device: device, Unsigned: true}); f == nil || !strings.Contains(f.Error(), "none of the 1 keys") {
		t.Errorf("another key: %v", f)
	}
}

func TestAlgorithm(t *testing.T) {
	for _, c := range []struct {
		description string
		size        int
		want        corim.Algorithm
	}{
		{"", 32, corim.SHA256}, {"", 48, corim.SHA384}, {"", 64, corim.SHA512}, {"sha-256", 32, corim.SHA256}, {"SHA256", 32, corim.SHA256},
		{"SHA_384", 48, corim.SHA384}, {"boot loader", 64, corim.SHA512},
		{"sha-256", 48, ""}, {"sha-512", 32, ""}, {"sha-1", 32, ""}, {"MD5", 32, ""}, {"sha3-256", 32, ""}, {"shake256", 64, ""}, {"sm3", 32, ""},
	} {
		got, err := algorithm(c.description, c.size)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q, %d bytes: %q, %v", c.description, c.size, got, err)
		}
	}
}

// A signature of any other algorithm, curve or length is refused before anything
// is computed.
func TestSign1(t *testing.T) {
	k := key(t, "a", elliptic.P256())
	d := decoder(t)
	good := message(t, k)
	m, err := d.Sign1(good)
	if err != nil || m.Verify(&k.PublicKey) != nil || m.Algorithm() != "ES256" {
		t.Fatal(m, err)
	}
	if m.Verify(&key(t, "a", elliptic.P384()).PublicKey) == nil || m.Verify(&key(t, "b", elliptic.P256()).PublicKey) == nil {
		t.Error("another key verifies")
	}
	var parts []any
	if err := cbor.Unmarshal(good[1:], &parts); err != nil {
		t.Fatal(err)
	}
	with := func(i int, v any) []byte {
		changed := append([]any{}, parts...)
		changed[i] = v
		return encode(t, cbor.Tag{Number: 18, Content: changed})
	}
	for name, raw := range map[string][]byte{
		"no protected headers":  with(0, []byte{}),
		"protected map":         with(0, map[int64]any{1: -7}),
		"algorithm as a text":   with(0, encode(t, map[int64]any{1: "ES256"})),
		"algorithm Ed25519":     with(0, encode(t, map[int64]any{1: -8})),
		"critical":              with(0, encode(t, map[int64]any{1: -7, 2: []int{4}})),
		"headers with more":     with(0, append(encode(t, map[int64]any{1: -7}), 0)),
		"algorithm unprotected": with(1, map[int64]any{1: -7}),
		"long kid":              with(1, map[int64]any{4: make([]byte, 65)}),
		"kid as a text":         with(1, map[int64]any{4: "kid"}),
		"unprotected list":      with(1, []any{}),
		"text payload":          with(2, "x"),
		"short signature":       with(3, make([]byte, 63)),
		"long signature":        with(3, make([]byte, 65)),
		"three elements":        encode(t, cbor.Tag{Number: 18, Content: parts[:3]}),
		"five elements":         encode(t, cbor.Tag{Number: 18, Content: append(append([]any{}, parts...), 1)}),
		"tag 98":                encode(t, cbor.Tag{Number: 98, Content: parts}),
	} {
		if _, err := d.Sign1(raw); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := d.Sign1(with(1, map[int64]any{4: []byte("kid")})); err != nil {
		t.Error("kid:", err)
	}
}

func TestRejected(t *testing.T) {
	a := Rejected(Failf(verdict.ReasonMalformed, "x %d", 1))
	if a.Status() != verdict.TierContraindicated || a.Vector != verdict.AllClaims(99) || len(a.Reasons) != 1 || a.Reasons[0].Detail != "x 1" {
		t.Errorf("%+v", a)
	}
}

func FuzzSign1(f *testing.F) {
	k := key(f, "a", elliptic.P256())
	d := decoder(f)
	good := message(f, k)
	f.Add(good)
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := d.Sign1(raw)
		if err != nil {
			return
		}
		c := d.Claims(m.Payload)
		c.Components(2399, true)
		c.Int32(2394, "client")
		c.List(44239, "list")
		if m.Verify(&k.PublicKey) == nil && !bytes.Contains(good, m.Payload) {
			t.Fatalf("forged: %x", raw)
		}
	})
}

func FuzzCOSEKey(f *testing.F) {
	d := decoder(f)
	point, err := key(f, "a", elliptic.P256()).PublicKey.Bytes()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encode(f, map[int64]any{1: 2, -1: 1, -2: point[1:33], -3: point[33:], 3: -7}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		k, err := d.COSEKey(raw)
		if err == nil {
			if _, _, err := SPKI(k); err != nil {
				t.Fatalf("a key that cannot be named: %x", raw)
			}
		}
	})
}
