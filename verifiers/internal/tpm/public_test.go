// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"testing"

	"github.com/google/go-tpm/tpm2"

	"github.com/assize/assize/verdict"
)

func TestCheckWantsAnAttestationKey(t *testing.T) {
	for _, c := range []struct {
		name, words string
		change      func(*fake)
	}{
		{"not restricted", "restricted is not set", func(f *fake) { f.attribute &^= Restricted }},
		{"not signing", "sign is not set", func(f *fake) { f.attribute &^= Sign }},
		{"can be moved to another TPM", "fixedTPM is not set", func(f *fake) { f.attribute &^= FixedTPM }},
		{"can be moved to another parent", "fixedParent is not set", func(f *fake) { f.attribute &^= FixedParent }},
		{"imported", "sensitiveDataOrigin is not set", func(f *fake) { f.attribute &^= SensitiveDataOrigin }},
		{"decrypts", "decrypt is set", func(f *fake) { f.attribute |= Decrypt }},
		{"nothing at all", "fixedTPM is not set, fixedParent", func(f *fake) { f.attribute = 0 }},
	} {
		f := newFake(t, algECDSA, algSHA256)
		c.change(f)
		p, err := ParsePublic(f.public())
		if err != nil {
			t.Fatal(err)
		}
		wants(t, c.name, p.Check(f.signature(f.attest())), verdict.ReasonWrongSigner, c.words)
	}
	f := newFake(t, algRSASSA, algSHA256)
	p, err := ParsePublic(f.public())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range [][2]uint16{{algRSAPSS, algSHA256}, {algRSASSA, algSHA384}} {
		wants(t, "a scheme that the key has not", p.Check(Signature{scheme: s[0], Hash: hashOf(s[1])}), verdict.ReasonWrongSigner, "signs by scheme 0014")
	}
}

func TestPublicForm(t *testing.T) {
	rs, ec := newFake(t, algRSASSA, algSHA256).public(), newFake(t, algECDSA, algSHA256).public()
	at := func(raw []byte, i int, b ...byte) []byte {
		out := bytes.Clone(raw)
		copy(out[i:], b)
		return out
	}
	for name, c := range map[string]struct {
		raw         []byte
		code, words string
	}{
		"empty":              {nil, verdict.ReasonMalformed, "type"},
		"keyed hash":         {at(rs, 0, 0, 8), verdict.ReasonUnsupported, "type 0008"},
		"name by SHA-1":      {at(rs, 2, 0, 4), verdict.ReasonUnsupported, "nameAlg 0004"},
		"reserved bit":       {at(rs, 4, 0x80), verdict.ReasonMalformed, "reserved bits 80000000"},
		"a storage key":      {at(rs, 10, 0, 6), verdict.ReasonUnsupported, "symmetric algorithm 0006"},
		"encryption scheme":  {at(rs, 12, 0, 0x15), verdict.ReasonUnsupported, "scheme 0015"},
		"scheme with SHA-1":  {at(rs, 14, 0, 4), verdict.ReasonUnsupported, "hash 0004"},
		"policy of 1 byte":   {append(append(bytes.Clone(rs[:8]), 0, 1, 9), rs[10:]...), verdict.ReasonMalformed, "authPolicy has 1 bytes"},
		"another size":       {at(rs, 16, 4, 0), verdict.ReasonMalformed, "keyBits is 1024"},
		"a small modulus":    {at(rs, 24, 0), verdict.ReasonMalformed, "keyBits is 2048"},
		"an even exponent":   {at(rs, 18, 0, 1, 0, 0), verdict.ReasonUnsupported, "exponent 65536"},
		"exponent one":       {at(rs, 18, 0, 0, 0, 1), verdict.ReasonUnsupported, "exponent 1"},
		"a large exponent":   {at(rs, 18, 0x80, 0, 0, 1), verdict.ReasonUnsupported, "exponent"},
		"trailing":           {append(bytes.Clone(rs), 1), verdict.ReasonMalformed, "1 bytes behind"},
		"short":              {rs[:len(rs)-1], verdict.ReasonMalformed, "modulus"},
		"P-521":              {at(ec, 16, 0, 5), verdict.ReasonUnsupported, "curve 0005"},
		"key derivation":     {at(ec, 18, 0, 7), verdict.ReasonUnsupported, "key derivation 0007"},
		"not on the curve":   {at(ec, len(ec)-1, ec[len(ec)-1]^1), verdict.ReasonMalformed, "not on the curve"},
		"P-256 for P-384":    {at(ec, 16, 0, 4), verdict.ReasonMalformed, "not on the curve"},
		"too long to be one": {make([]byte, MaxPublic+1), verdict.ReasonTooLarge, "at most"},
	} {
		_, err := ParsePublic(c.raw)
		wants(t, name, err, c.code, c.words)
	}
	short := append(at(rs, 16, 4, 0)[:22], 0, 128) // 1024 bits
	_, err := ParsePublic(append(append(short, 0x80), make([]byte, 127)...))
	wants(t, "RSA-1024", err, verdict.ReasonUnsupported, "RSA key of 1024 bits")
}

// A key without a scheme is no attestation key: a restricted one has to have one.
func TestKeyWithoutScheme(t *testing.T) {
	f := newFake(t, algRSASSA, algSHA256)
	raw := f.public()
	raw = append(append(bytes.Clone(raw[:12]), 0, 0x10), raw[16:]...)
	p, err := ParsePublic(raw)
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "no scheme", p.Check(f.signature(f.attest())), verdict.ReasonWrongSigner, "with no hash only")
}

func TestHierarchy(t *testing.T) {
	p, err := ParsePublic(newFake(t, algECDSA, algSHA256).public())
	if err != nil {
		t.Fatal(err)
	}
	d := sha256.Sum256(append([]byte{0x40, 0, 0, 1}, p.Name...))
	if got := p.Hierarchy(append([]byte{0, 0x0b}, d[:]...)); got != "owner" {
		t.Errorf("%q", got)
	}
	if got := p.Hierarchy(p.Name); got != "" {
		t.Errorf("%q", got)
	}
}

func FuzzPublic(f *testing.F) {
	for _, s := range schemes {
		f.Add(newFake(f, s[0], s[1]).public())
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := ParsePublic(raw)
		if err != nil {
			return
		}
		a, err := tpm2.Unmarshal[tpm2.TPMTPublic](raw)
		if err != nil {
			t.Fatalf("go-tpm: %v", err)
		}
		name, err := tpm2.ObjectName(a)
		if err != nil {
			t.Fatal(err)
		}
		o := a.ObjectAttributes
		for bit, set := range map[Attributes]bool{
			FixedTPM: o.FixedTPM, FixedParent: o.FixedParent, SensitiveDataOrigin: o.SensitiveDataOrigin,
			Restricted: o.Restricted, Decrypt: o.Decrypt, Sign: o.SignEncrypt,
		} {
			if (p.Attributes&bit != 0) != set {
				t.Fatalf("go-tpm reads other attributes than %x", p.Attributes)
			}
		}
		key, err := tpm2.Pub(*a)
		if err != nil {
			return
		}
		if k, ok := key.(interface{ Equal(crypto.PublicKey) bool }); ok && !k.Equal(p.Key) || !bytes.Equal(name.Buffer, p.Name) {
			t.Fatalf("go-tpm reads another key or name")
		}
	})
}
