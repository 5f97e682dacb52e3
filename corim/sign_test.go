// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"testing"
	"time"
)

func ecKey(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func nicDocument(t *testing.T) []byte {
	return encoded(t, module("acme-nic", Comid{Reference: []ValueTriple{{acme("NIC"), []Measurement{digestOf(NumberKey(1), 1)}}}}))
}

func TestSignWithKeyID(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	payload := nicDocument(t)
	for name, key := range map[string]crypto.Signer{
		"Ed25519": testKey(1), "P-256": ecKey(t, elliptic.P256()), "P-384": ecKey(t, elliptic.P384()),
		"P-521": ecKey(t, elliptic.P521()), "RSA": rsaKey,
	} {
		raw, err := Sign(rand.Reader, payload, Signer{Key: key, KeyID: []byte("k1"), Name: "ACME", URI: "https://acme.example/"})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		trust, err := NewTrust([]Authority{{
			Name: "ACME", Keys: []SigningKey{{ID: []byte("k1"), Public: key.Public()}}, Profiles: []string{NoProfile}, Scopes: []Environment{acme("NIC")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := Load(raw, Options{Trust: trust, Now: testTime})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if d.Signature.Signer != "ACME" || d.Signature.SignerURI != "https://acme.example/" || !d.Signed() {
			t.Errorf("%s: %+v", name, d.Signature)
		}
		bad := bytes.Clone(raw)
		bad[len(bad)-1] ^= 1
		if _, err := Load(bad, Options{Trust: trust, Now: testTime}); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: changed signature: %v", name, err)
		}
	}
}

func TestSignWithChain(t *testing.T) {
	rootKey, midKey, leafKey := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	root := certificate(t, "root", rootKey.Public(), true, nil, rootKey)
	mid := certificate(t, "mid", midKey.Public(), true, root, rootKey)
	leaf := certificate(t, "leaf", leafKey.Public(), false, mid, midKey)
	short := certificate(t, "short", leafKey.Public(), false, root, rootKey)
	trust, err := NewTrust([]Authority{{Name: "ACME", Roots: []*x509.Certificate{root}, Profiles: []string{NoProfile}, Scopes: []Environment{acme("NIC")}}})
	if err != nil {
		t.Fatal(err)
	}
	until := Period{NotBefore: testTime.Add(-time.Hour), NotAfter: testTime.Add(time.Hour)}
	for name, chain := range map[string][]*x509.Certificate{"one certificate": {short}, "two certificates": {leaf, mid}} {
		raw, err := Sign(rand.Reader, nicDocument(t), Signer{Key: leafKey, Chain: chain, Name: "ACME", Validity: until})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		d, err := Load(raw, Options{Trust: trust, Now: testTime})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !d.Signature.Validity.NotAfter.Equal(until.NotAfter) || !d.Signature.Validity.NotBefore.Equal(until.NotBefore) {
			t.Errorf("%s: %s", name, d.Signature.Validity)
		}
		if _, err := Load(raw, Options{Trust: trust, Now: testTime.Add(2 * time.Hour)}); !errors.Is(err, ErrPeriod) {
			t.Errorf("%s: after its end: %v", name, err)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	other := ecKey(t, elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Log("weak keys cannot be made:", err)
		weak = nil
	}
	payload := nicDocument(t)
	good := Signer{Key: key, KeyID: []byte("k"), Name: "ACME"}
	once, err := Sign(rand.Reader, payload, good)
	if err != nil {
		t.Fatal(err)
	}
	with := func(change func(*Signer)) Signer {
		s := good
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		raw []byte
		s   Signer
	}{
		"no document":    {nil, good},
		"cut document":   {payload[:len(payload)-1], good},
		"signed twice":   {once, good},
		"no key":         {payload, with(func(s *Signer) { s.Key = nil })},
		"no name":        {payload, with(func(s *Signer) { s.Name = "" })},
		"no identifier":  {payload, with(func(s *Signer) { s.KeyID = nil })},
		"long kid":       {payload, with(func(s *Signer) { s.KeyID = make([]byte, maxKeyID+1) })},
		"P-224":          {payload, with(func(s *Signer) { s.Key = ecKey(t, elliptic.P224()) })},
		"open beginning": {payload, with(func(s *Signer) { s.Validity.NotBefore = testTime })},
		"ends before":    {payload, with(func(s *Signer) { s.Validity = Period{testTime, testTime.Add(-time.Hour)} })},
		"wrong certificate": {payload, with(func(s *Signer) {
			s.Chain = []*x509.Certificate{certificate(t, "other", other.Public(), true, nil, other)}
		})},
	} {
		if _, err := Sign(rand.Reader, c.raw, c.s); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if weak != nil {
		if _, err := Sign(rand.Reader, payload, with(func(s *Signer) { s.Key = weak })); err == nil {
			t.Error("RSA of 1024 bits: signed")
		}
	}
}
