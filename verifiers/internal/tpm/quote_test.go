// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/assize/assize/verdict"
)

// wants fails unless the error has the code and the words.
func wants(t *testing.T, what string, err error, code, words string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Detail, words) {
		t.Errorf("%s: %v, want %s %q", what, err, code, words)
	}
}

func TestVerifyQuote(t *testing.T) {
	for _, s := range schemes {
		f := newFake(t, s[0], s[1])
		raw := f.attest()
		q, err := VerifyQuote(f.key.Public(), raw, f.signature(raw), bank())
		if err != nil {
			t.Fatalf("%04x: %v", s, err)
		}
		if !slices.Equal(q.Selected, []int{0, 4, 7, 23}) || q.Bank != crypto.SHA256 || q.Firmware != 0x20260101 ||
			q.Clock != (Clock{Milliseconds: 123456, Resets: 3, Restarts: 2, Safe: true}) || len(q.Signer) != 34 {
			t.Errorf("%+v", q)
		}
		public, err := ParsePublic(f.public())
		if err != nil {
			t.Fatal(err)
		}
		if err := public.Check(f.signature(raw)); err != nil {
			t.Error(err)
		}
	}
}

func TestAnswers(t *testing.T) {
	q := Quote{ExtraData: []byte("challenge")}
	for nonce, want := range map[string]bool{"challenge": true, "challeng": false, "challengeX": false, "Challenge": false, "": false} {
		if q.Answers([]byte(nonce)) != want {
			t.Errorf("%q", nonce)
		}
	}
	if (&Quote{}).Answers(nil) || (&Quote{}).Answers([]byte{}) {
		t.Error("no challenge is answered by an empty one")
	}
}

func TestQuoteRefusals(t *testing.T) {
	const bad, unsupported = verdict.ReasonMalformed, verdict.ReasonUnsupported
	for _, c := range []struct {
		name, code, words string
		change            func(*fake)
	}{
		{"magic", bad, "no TPM made this", func(f *fake) { f.magic++ }},
		{"certify", bad, "type is 8017", func(f *fake) { f.kind = 0x8017 }},
		{"creation", bad, "type is 801a", func(f *fake) { f.kind = 0x801a }},
		{"time", bad, "type is 8014", func(f *fake) { f.kind = 0x8014 }},
		{"long extraData", bad, "extraData has 65 bytes", func(f *fake) { f.extra = make([]byte, 65) }},
		{"safe", bad, "neither YES nor NO", func(f *fake) { f.safe = 2 }},
		{"trailing", bad, "1 bytes behind", func(f *fake) { f.tail = []byte{0} }},
		{"no banks", bad, "a quote of 0 banks", func(f *fake) { f.banks = nil }},
		{"many banks", bad, "a quote of 17 banks", func(f *fake) { f.banks = make([]fakeBank, 17) }},
		{"empty selection", bad, "no register is selected", func(f *fake) { f.banks = []fakeBank{{algSHA256, []byte{0, 0, 0}}} }},
		{"two banks", unsupported, "two banks", func(f *fake) { f.banks = append(f.banks, fakeBank{algSHA384, []byte{1}}) }},
		{"the same bank twice", unsupported, "two banks", func(f *fake) { f.banks = append(f.banks, f.banks[0]) }},
		{"SHA-1", unsupported, "algorithm 0004", func(f *fake) { f.banks[0].alg = 4 }},
		{"PCR 24", unsupported, "PCR 24", func(f *fake) { f.banks[0].bitmap = []byte{0, 0, 0, 1} }},
	} {
		f := newFake(t, algRSASSA, algSHA256)
		c.change(f)
		raw := f.attest()
		_, err := VerifyQuote(f.key.Public(), raw, f.signature(raw), bank())
		wants(t, c.name, err, c.code, c.words)
	}
	_, err := ParseQuote(make([]byte, MaxQuote+1))
	wants(t, "too long", err, verdict.ReasonTooLarge, "at most")
	f := newFake(t, algRSASSA, algSHA256)
	f.banks = []fakeBank{{4, []byte{0, 0, 0}}, f.banks[0], {algSHA384, nil}}
	raw := f.attest()
	if _, err := VerifyQuote(f.key.Public(), raw, f.signature(raw), bank()); err != nil {
		t.Errorf("banks of which nothing is quoted: %v", err)
	}
}

// Neither more, nor fewer, nor other registers than those that are quoted.
func TestRegisters(t *testing.T) {
	const code = verdict.ReasonSignatureInvalid
	f := newFake(t, algRSASSA, algSHA256)
	raw := f.attest()
	sig := f.signature(raw)
	for _, c := range []struct {
		name, code, words string
		change            func(*Bank)
	}{
		{"fewer", code, "PCR 7 is quoted", func(b *Bank) { delete(b.PCRs, 7) }},
		{"more", code, "5 registers are presented, 4 are quoted", func(b *Bank) { b.PCRs[8] = make([]byte, 32) }},
		{"others", code, "PCR 0 is quoted", func(b *Bank) { b.PCRs[1] = b.PCRs[0]; delete(b.PCRs, 0) }},
		{"another value", code, "hash to", func(b *Bank) { b.PCRs[4] = make([]byte, 32) }},
		{"another order", code, "hash to", func(b *Bank) { b.PCRs[4], b.PCRs[7] = b.PCRs[7], b.PCRs[4] }},
		{"a border moved", verdict.ReasonMalformed, "PCR 0 has 31 bytes", func(b *Bank) {
			b.PCRs[0], b.PCRs[4] = b.PCRs[0][:31], append(b.PCRs[0][31:32:32], b.PCRs[4]...)
		}},
		{"another bank", code, "the registers are those of SHA-384", func(b *Bank) { b.Hash = crypto.SHA384 }},
	} {
		b := bank()
		b.PCRs = maps.Clone(b.PCRs)
		c.change(&b)
		_, err := VerifyQuote(f.key.Public(), raw, sig, b)
		wants(t, c.name, err, c.code, c.words)
	}
	f.digest = bytes.Repeat([]byte{1}, 32)
	raw = f.attest()
	_, err := VerifyQuote(f.key.Public(), raw, f.signature(raw), bank())
	wants(t, "another digest", err, code, "hash to")
}

func TestSignatures(t *testing.T) {
	const bad = verdict.ReasonSignatureInvalid
	for _, s := range schemes {
		f := newFake(t, s[0], s[1])
		raw := f.attest()
		sig := f.signature(raw)
		for i := range raw {
			other := bytes.Clone(raw)
			other[i] ^= 1
			if err := sig.verify(f.key.Public(), other); err == nil {
				t.Fatalf("%04x: byte %d of the quote is not signed", s, i)
			}
		}
		_, err := VerifyQuote(newKeyLike(t, f.key.Public()), raw, sig, bank())
		wants(t, "another key", err, bad, "does not verify")
		for _, other := range schemes {
			if other == s || other[0] != algECDSA && s[0] == algECDSA || other[0] == algECDSA && s[0] != algECDSA {
				continue
			}
			wrong := sig
			wrong.scheme, wrong.Hash = other[0], hashOf(other[1])
			if err := wrong.verify(f.key.Public(), raw); err == nil {
				t.Errorf("%04x passes for %04x", s, other)
			}
		}
	}
	rs, ec := newFake(t, algRSASSA, algSHA256), newFake(t, algECDSA, algSHA256)
	raw := ec.attest()
	wants(t, "ECDSA under RSA", ec.signature(raw).verify(rs.key.Public(), raw), bad, "")
	wants(t, "RSA under ECDSA", rs.signature(raw).verify(ec.key.Public(), raw), bad, "")
	zero := Signature{Hash: crypto.SHA256, scheme: algECDSA, r: []byte{}, s: []byte{}}
	wants(t, "r and s are zero", zero.verify(ec.key.Public(), raw), bad, "")
	wants(t, "no signature at all", Signature{Hash: crypto.SHA256}.verify(rs.key.Public(), raw), bad, "")
	sig := rs.sign(raw)
	if err := RSASSA(sig[6:]).verify(rs.key.Public(), raw); err != nil {
		t.Errorf("a bare signature: %v", err)
	}
}

func newKeyLike(t *testing.T, k crypto.PublicKey) crypto.PublicKey {
	t.Helper()
	if _, ok := k.(*rsa.PublicKey); ok {
		other, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			t.Fatal(err)
		}
		return other.Public()
	}
	other, err := ecdsa.GenerateKey(k.(*ecdsa.PublicKey).Curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return other.Public()
}

func TestSignatureForm(t *testing.T) {
	good := newFake(t, algRSASSA, algSHA256).sign([]byte("x"))
	curve := newFake(t, algECDSA, algSHA256).sign([]byte("x"))
	for name, c := range map[string]struct {
		raw         []byte
		code, words string
	}{
		"empty":       {nil, verdict.ReasonMalformed, "sigAlg"},
		"HMAC":        {append([]byte{0, 5}, good[2:]...), verdict.ReasonUnsupported, "algorithm 0005"},
		"SHA-1":       {append([]byte{0, 0x14, 0, 4}, good[4:]...), verdict.ReasonUnsupported, "hash 0004"},
		"SHA-512":     {append([]byte{0, 0x14, 0, 0xd}, good[4:]...), verdict.ReasonUnsupported, "hash 000d"},
		"short":       {good[:len(good)-1], verdict.ReasonMalformed, "there are 255"},
		"trailing":    {append(bytes.Clone(good), 0), verdict.ReasonMalformed, "1 bytes behind"},
		"ECDSA short": {curve[:len(curve)-1], verdict.ReasonMalformed, "signatureS"},
		"ECDSA more":  {append(bytes.Clone(curve), 1, 2), verdict.ReasonMalformed, "2 bytes behind"},
		"long r":      {append([]byte{0, 0x18, 0, 0xb, 0, 49}, make([]byte, 60)...), verdict.ReasonMalformed, "at most 48"},
		"too long":    {make([]byte, MaxSignature+1), verdict.ReasonTooLarge, "at most"},
	} {
		_, err := ParseSignature(c.raw)
		wants(t, name, err, c.code, c.words)
	}
}

func TestKeys(t *testing.T) {
	raw := newFake(t, algRSASSA, algSHA256).attest()
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{"none": nil, "text": "key", "P-521": p521.Public()} {
		wants(t, name, RSASSA(make([]byte, 256)).verify(key, raw), verdict.ReasonUnsupported, "")
	}
}

// What we read, go-tpm reads as well, to the last byte and with the same meaning.
func agrees(tb testing.TB, raw []byte, q *Quote) {
	tb.Helper()
	a, err := tpm2.Unmarshal[tpm2.TPMSAttest](raw)
	if err != nil {
		tb.Fatalf("go-tpm: %v", err)
	}
	if again := tpm2.Marshal(*a); !bytes.Equal(again, raw) {
		tb.Fatalf("go-tpm writes %x, not %x", again, raw)
	}
	info, err := a.Attested.Quote()
	if err != nil {
		tb.Fatal(err)
	}
	c := a.ClockInfo
	if !bytes.Equal(a.ExtraData.Buffer, q.ExtraData) || !bytes.Equal(info.PCRDigest.Buffer, q.Digest) || a.FirmwareVersion != q.Firmware ||
		!bytes.Equal(a.QualifiedSigner.Buffer, q.Signer) || (Clock{c.Clock, c.ResetCount, c.RestartCount, bool(c.Safe)}) != q.Clock {
		tb.Fatalf("go-tpm reads %+v, we %+v", a, q)
	}
	var selected []int
	for _, s := range info.PCRSelect.PCRSelections {
		for i, b := range s.PCRSelect {
			for bit := range 8 {
				if b>>bit&1 == 1 {
					selected = append(selected, 8*i+bit)
				}
			}
		}
	}
	if !slices.Equal(selected, q.Selected) {
		tb.Fatalf("go-tpm selects %v, we %v", selected, q.Selected)
	}
}

func FuzzQuote(f *testing.F) {
	fake := newFake(f, algRSASSA, algSHA256)
	f.Add(fake.attest())
	fake.banks = append(fake.banks, fakeBank{algSHA384, []byte{0, 0, 0}})
	f.Add(fake.attest())
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := ParseQuote(raw); err == nil {
			agrees(t, raw, q)
		}
	})
}

func FuzzSignature(f *testing.F) {
	for _, s := range schemes {
		f.Add(newFake(f, s[0], s[1]).sign([]byte("x")))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseSignature(raw)
		if err != nil {
			return
		}
		if a, err := tpm2.Unmarshal[tpm2.TPMTSignature](raw); err != nil || !bytes.Equal(tpm2.Marshal(*a), raw) || uint16(a.SigAlg) != s.scheme {
			t.Fatalf("go-tpm reads another signature: %v", err)
		}
	})
}
