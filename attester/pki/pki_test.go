// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

func template(cn string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: NewSeed("t").Serial(), Subject: pkix.Name{CommonName: cn},
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(1900000000, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func TestSameSeedSameBytes(t *testing.T) {
	make1 := func(alg x509.SignatureAlgorithm, key crypto.Signer) []byte {
		tm := template("root")
		tm.SignatureAlgorithm = alg
		a, err := Root(key, tm)
		if err != nil {
			t.Fatal(err)
		}
		crl, err := a.CRL(1, tm.NotBefore, tm.NotAfter, big.NewInt(7))
		if err != nil {
			t.Fatal(err)
		}
		return append(a.Cert.Raw, crl...)
	}
	for _, c := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		one, err := NewSeed("a").ECDSA(c)
		if err != nil {
			t.Fatal(err)
		}
		two, _ := NewSeed("a").ECDSA(c)
		other, _ := NewSeed("b").ECDSA(c)
		if !one.Equal(two) || one.Equal(other) {
			t.Errorf("%s: keys do not follow from the seed alone", c.Params().Name)
		}
		if !bytes.Equal(make1(0, one), make1(0, two)) {
			t.Errorf("%s: certificates differ", c.Params().Name)
		}
		digest := sha256.Sum256([]byte("x"))
		sig, err := SignFixed(one, crypto.SHA256, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		half := len(sig) / 2
		if !ecdsa.Verify(&one.PublicKey, digest[:], new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])) {
			t.Errorf("%s: signature does not verify", c.Params().Name)
		}
	}
	one, err := NewSeed("a").RSA(2048)
	if err != nil {
		t.Fatal(err)
	}
	two, _ := NewSeed("a").RSA(2048)
	if !one.Equal(two) || !bytes.Equal(make1(x509.SHA384WithRSAPSS, one), make1(x509.SHA384WithRSAPSS, two)) {
		t.Error("RSA: not the same for the same seed")
	}
}

func TestSeedsAreSeparate(t *testing.T) {
	s := NewSeed("a")
	if s.Sub("a", "b") == s.Sub("ab") || s.Sub("a") == s {
		t.Error("seeds run together")
	}
	if !bytes.HasPrefix(s.Bytes(64), s.Bytes(8)) || s.Uint64() == s.Sub("x").Uint64() {
		t.Error("streams do not follow from the seed alone")
	}
}

func TestIssue(t *testing.T) {
	k1, _ := NewSeed("root").ECDSA(elliptic.P384())
	k2, _ := NewSeed("leaf").ECDSA(elliptic.P256())
	root, err := Root(k1, template("root"))
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := root.Issue(k2, template("leaf"))
	if err != nil {
		t.Fatal(err)
	}
	if err := leaf.Cert.CheckSignatureFrom(root.Cert); err != nil {
		t.Error(err)
	}
	if _, err := root.Issue(k2, &x509.Certificate{}); err == nil {
		t.Error("a random serial number was chosen")
	}
}
