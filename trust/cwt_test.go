// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

const cwtType = `application/eat+cwt; eat_profile="tag:example,2026:x"`

// cborMap is {1: 2}.
var cborMap = []byte{0xa1, 1, 2}

func TestSignAndVerifyCWT(t *testing.T) {
	for _, alg := range []string{ES256, ES384, EdDSA} {
		s := signer(t, alg)
		a := anchors(t, s.Key("lead", nil, RoleLead))
		find := func(kid string) (Key, bool) { return a.Lead(kid, now) }
		token, err := s.SignCWT(cborMap, cwtType)
		if err != nil {
			t.Fatal(err)
		}
		for name, token := range map[string][]byte{"tag 18": token, "tags 61 and 18": append([]byte{0xd8, 0x3d}, token...)} {
			claims, key, err := VerifyCWT(token, find)
			if err != nil || !bytes.Equal(claims, cborMap) || key.KID != s.KID() || !IsCWT(token) {
				t.Errorf("%s, %s: claims %x, key %v, error %v", alg, name, claims, key, err)
			}
		}
		if _, _, err := VerifyCWT(token, func(kid string) (Key, bool) { return a.Verifier(kid, "x", now) }); !errors.Is(err, ErrUnknownKey) {
			t.Errorf("%s as a verifier: %v", alg, err)
		}
		other := signer(t, alg).Key("", nil, RoleLead)
		if _, _, err := VerifyCWT(token, func(string) (Key, bool) { return other, true }); !errors.Is(err, ErrSignature) {
			t.Errorf("%s, another key: %v", alg, err)
		}
		// An independent reader: the library alone.
		var m cose.Sign1Message
		if err := m.UnmarshalCBOR(token); err != nil {
			t.Fatal(err)
		}
		own, err := m.Headers.Protected.Algorithm()
		if err != nil {
			t.Fatal(err)
		}
		v, err := cose.NewVerifier(own, s.Key("", nil).Public)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(nil, v); err != nil || string(m.Headers.Protected[cose.HeaderLabelKeyID].([]byte)) != s.KID() {
			t.Errorf("%s by the library: %v", alg, err)
		}
	}
	for _, claims := range [][]byte{nil, {1}, []byte(`{"a":1}`), {0x80}} {
		if _, err := signer(t, EdDSA).SignCWT(claims, cwtType); err == nil {
			t.Errorf("%x was signed", claims)
		}
	}
	jwt, err := signer(t, EdDSA).SignJWT([]byte("{}"))
	if err != nil || IsCWT(jwt) || IsCWT(nil) || IsCWT([]byte{0xd8, 0x3d}) {
		t.Error("IsCWT")
	}
}

// No byte of a token can be changed, left out or added.
func TestCWTFlips(t *testing.T) {
	s := signer(t, EdDSA)
	find := func(kid string) (Key, bool) { return s.Key("", nil, RoleLead), kid == s.KID() }
	token, err := s.SignCWT(cborMap, cwtType)
	if err != nil {
		t.Fatal(err)
	}
	for i := range token {
		for bit := range 8 {
			bad := slices.Clone(token)
			bad[i] ^= 1 << bit
			if _, _, err := VerifyCWT(bad, find); err == nil {
				t.Errorf("bit %d of byte %d changed", bit, i)
			}
		}
		if _, _, err := VerifyCWT(token[:i], find); !errors.Is(err, ErrMalformed) {
			t.Errorf("the first %d bytes: %v", i, err)
		}
	}
	for name, bad := range map[string][]byte{
		"trailing byte":   append(slices.Clone(token), 0),
		"tag 61 twice":    append([]byte{0xd8, 0x3d, 0xd8, 0x3d}, token...),
		"tag 61 at 16 b":  append([]byte{0xd9, 0, 0x3d}, token...),
		"another tag":     append([]byte{0xd8, 0x3e}, token...),
		"no tag":          token[1:],
		"tag of COSE_Mac": append([]byte{0xd1}, token[1:]...),
	} {
		if _, _, err := VerifyCWT(bad, find); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rawCWT signs headers that SignCWT would not write.
func rawCWT(tb testing.TB, s *Signer, protected cose.ProtectedHeader, unprotected cose.UnprotectedHeader) []byte {
	tb.Helper()
	m := cose.NewSign1Message()
	m.Payload = cborMap
	m.Headers.Protected, m.Headers.Unprotected = protected, unprotected
	alg, err := coseAlgorithm(s.alg)
	if err != nil {
		tb.Fatal(err)
	}
	if err := m.Sign(nil, nil, coseSigner{s, alg}); err != nil {
		tb.Fatal(err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestCWTHeaders(t *testing.T) {
	s := signer(t, EdDSA)
	find := func(kid string) (Key, bool) { return s.Key("", nil, RoleLead), kid == s.KID() }
	type headers = cose.ProtectedHeader
	for _, c := range []struct {
		name   string
		change func(headers) cose.UnprotectedHeader
		want   error
	}{
		{"as signed", func(headers) cose.UnprotectedHeader { return nil }, nil},
		{"a plain CWT", func(h headers) cose.UnprotectedHeader { h[int64(3)] = "Application/CWT"; return nil }, nil},
		{"no content type", func(h headers) cose.UnprotectedHeader { delete(h, int64(3)); return nil }, nil},
		{"content type of another token", func(h headers) cose.UnprotectedHeader { h[int64(3)] = "application/cwtx"; return nil }, ErrMalformed},
		{"content type by number", func(h headers) cose.UnprotectedHeader { h[int64(3)] = int64(61); return nil }, ErrMalformed},
		{"no kid", func(h headers) cose.UnprotectedHeader { delete(h, int64(4)); return nil }, ErrMalformed},
		{"empty kid", func(h headers) cose.UnprotectedHeader { h[int64(4)] = []byte{}; return nil }, ErrMalformed},
		{"kid without protection", func(h headers) cose.UnprotectedHeader {
			delete(h, int64(4))
			return cose.UnprotectedHeader{int64(4): []byte(s.KID())}
		}, ErrMalformed},
		{"an unprotected header", func(headers) cose.UnprotectedHeader { return cose.UnprotectedHeader{int64(99): "x"} }, ErrMalformed},
		{"another kid", func(h headers) cose.UnprotectedHeader { h[int64(4)] = []byte("x"); return nil }, ErrUnknownKey},
		{"a chain", func(h headers) cose.UnprotectedHeader { h[int64(33)] = []byte{1}; return nil }, ErrMalformed},
		{"a name", func(h headers) cose.UnprotectedHeader { h["x"] = 1; return nil }, ErrMalformed},
		{"critical", func(h headers) cose.UnprotectedHeader {
			h[int64(2)] = []any{int64(99)}
			h[int64(99)] = 1
			return nil
		}, ErrMalformed},
	} {
		h := headers{int64(1): cose.AlgorithmEdDSA, int64(3): cwtType, int64(4): []byte(s.KID())}
		if _, _, err := VerifyCWT(rawCWT(t, s, h, c.change(h)), find); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for name, h := range map[string]headers{
		"a long header": {int64(1): cose.AlgorithmEdDSA, int64(3): "application/cwt; x=" + strings.Repeat("x", maxHeader), int64(4): []byte(s.KID())},
		"a long kid":    {int64(1): cose.AlgorithmEdDSA, int64(4): make([]byte, maxKID+1)},
	} {
		if _, _, err := VerifyCWT(rawCWT(t, s, h, nil), find); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := VerifyCWT(append([]byte{0xd2}, make([]byte, MaxToken)...), find); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too large: %v", err)
	}
	// A key whose algorithm does not fit it is unusable, whoever hands it in.
	good, err := s.SignCWT(cborMap, cwtType)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := VerifyCWT(good, func(kid string) (Key, bool) { return Key{KID: kid, Public: s.pub, Alg: ES256}, true }); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unfit key: %v", err)
	}
	// The algorithm is the key's.
	ec := signer(t, ES256)
	token := rawCWT(t, ec, headers{int64(1): cose.AlgorithmES256, int64(4): []byte(s.KID())}, nil)
	if _, _, err := VerifyCWT(token, find); !errors.Is(err, ErrSignature) {
		t.Errorf("another algorithm: %v", err)
	}
}

// A message can be written in more than one way; one of them is a token.
func TestCWTHasOneSpelling(t *testing.T) {
	s := signer(t, EdDSA)
	find := func(kid string) (Key, bool) { return s.Key("", nil, RoleLead), kid == s.KID() }
	token, err := s.SignCWT(cborMap, cwtType)
	if err != nil {
		t.Fatal(err)
	}
	var parts []cbor.RawMessage
	if err := cbor.Unmarshal(token[1:], &parts); err != nil {
		t.Fatal(err)
	}
	join := func(parts ...[]byte) []byte { return slices.Concat(append([][]byte{{0xd2, 0x84}}, parts...)...) }
	payload := parts[2][1:]
	for name, bad := range map[string][]byte{
		"long form of a length": join(parts[0], parts[1], append([]byte{0x58, byte(len(payload))}, payload...), parts[3]),
		"payload in chunks":     join(parts[0], parts[1], slices.Concat([]byte{0x5f}, parts[2], []byte{0xff}), parts[3]),
		"no payload":            join(parts[0], parts[1], []byte{0xf6}, parts[3]),
		"empty payload":         join(parts[0], parts[1], []byte{0x40}, parts[3]),
		"unprotected chunks":    join(parts[0], []byte{0xbf, 0xff}, parts[2], parts[3]),
		"a fifth part":          append(slices.Concat([]byte{0xd2, 0x85}, parts[0], parts[1], parts[2], parts[3]), 0),
		"header twice":          join(append([]byte{0x44}, 0xa2, 1, 0x27, 1), parts[1], parts[2], parts[3]),
	} {
		if _, _, err := VerifyCWT(bad, find); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again := join(parts[0], parts[1], parts[2], parts[3]); !bytes.Equal(again, token) {
		t.Error("the parts are not those of the token")
	}
}

func FuzzVerifyCWT(f *testing.F) {
	s, err := NewSigner(ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		f.Fatal(err)
	}
	token, err := s.SignCWT(cborMap, cwtType)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add(append([]byte{0xd8, 0x3d}, token...))
	f.Add(rawCWT(f, s, cose.ProtectedHeader{int64(1): cose.AlgorithmEdDSA, int64(4): []byte(s.KID())}, cose.UnprotectedHeader{int64(5): []byte{1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		claims, key, err := VerifyCWT(b, func(kid string) (Key, bool) { return s.Key("", nil, RoleLead), kid == s.KID() })
		if err != nil {
			if claims != nil || !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknownKey) && !errors.Is(err, ErrSignature) {
				t.Fatalf("%x, %v", claims, err)
			}
			return
		}
		if !bytes.Equal(claims, cborMap) || key.KID != s.KID() {
			t.Fatalf("accepted %x", claims)
		}
	})
}
