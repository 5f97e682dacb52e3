// SPDX-License-Identifier: Apache-2.0

package endorsements

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"testing/fstest"
	"time"
)

// authority makes a certificate and a CRL in DER.
func authority(tb testing.TB) (cert, crl []byte) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	now := time.Unix(1750000000, 0)
	t := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "CA"}, NotBefore: now, NotAfter: now.Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}
	if cert, err = x509.CreateCertificate(rand.Reader, t, t, key.Public(), key); err != nil {
		tb.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(cert)
	if err != nil {
		tb.Fatal(err)
	}
	crl, err = x509.CreateRevocationList(rand.Reader, &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: now, NextUpdate: now.Add(time.Hour)}, issuer, key)
	if err != nil {
		tb.Fatal(err)
	}
	return cert, crl
}

func pemOf(typ string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der})
}

func TestLoadX509(t *testing.T) {
	cert, crl := authority(t)
	other, _ := authority(t)
	both := append(append([]byte("\n"), pemOf("CERTIFICATE", cert)...), append([]byte(" \r\n"), pemOf("X509 CRL", crl)...)...)
	b, warnings := load(t, fstest.MapFS{
		"a.der": {Data: cert}, "b.crl": {Data: crl}, "c.pem": {Data: both}, "d.pem": {Data: pemOf("CERTIFICATE", other)},
	})
	if len(warnings) != 0 || b.Len() != 3 {
		t.Fatalf("%d parts, warnings %v", b.Len(), warnings)
	}
	names := ""
	for c := range b.Certificates() {
		names += c.Name + " "
	}
	for l := range b.RevocationLists() {
		names += l.Name + " "
	}
	if names != "a.der d.pem b.crl " {
		t.Errorf("loaded %s", names)
	}
	for range (*Bundle)(nil).Certificates() {
		t.Error("a certificate in no bundle")
	}
	for range (*Bundle)(nil).RevocationLists() {
		t.Error("a list in no bundle")
	}
}

func TestLoadX509Refuses(t *testing.T) {
	cert, crl := authority(t)
	good := pemOf("CERTIFICATE", cert)
	many := []byte{}
	for range maxBlocks + 1 {
		many = append(many, good...)
	}
	for name, c := range map[string]struct {
		raw  []byte
		want WarningKind
	}{
		"cut DER":            {cert[:len(cert)-1], WarnNotUnderstood},
		"DER and more":       {append(append([]byte{}, cert...), 0), WarnNotUnderstood},
		"CRL and more":       {append(append([]byte{}, crl...), 0), WarnNotUnderstood},
		"two CRLs":           {append(append([]byte{}, crl...), crl...), WarnNotUnderstood},
		"text before":        {append([]byte("hello\n"), good...), WarnNotUnderstood},
		"text behind":        {append(append([]byte{}, good...), "hello\n"...), WarnMalformed},
		"text between":       {append(append(append([]byte{}, good...), "hello\n"...), good...), WarnMalformed},
		"a private key":      {append(append([]byte{}, good...), pemOf("PRIVATE KEY", []byte{1})...), WarnMalformed},
		"only a key":         {pemOf("PRIVATE KEY", []byte{1}), WarnNotUnderstood},
		"wrong type":         {append(append([]byte{}, good...), pemOf("CERTIFICATE", crl)...), WarnMalformed},
		"certificate as CRL": {pemOf("X509 CRL", cert), WarnMalformed},
		"headers":            {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Headers: map[string]string{"a": "b"}, Bytes: cert}), WarnMalformed},
		"no certificate":     {pemOf("CERTIFICATE", []byte{0x30, 0}), WarnMalformed},
		"too many":           {many, WarnMalformed},
	} {
		b, warnings := load(t, fstest.MapFS{"f": {Data: c.raw}})
		if b.Len() != 0 || len(warnings) != 1 || warnings[0].Kind != c.want {
			t.Errorf("%s: %d parts, %v", name, b.Len(), warnings)
		}
	}
}

func FuzzX509(f *testing.F) {
	cert, crl := authority(f)
	for _, raw := range [][]byte{cert, crl, pemOf("CERTIFICATE", cert), pemOf("X509 CRL", crl)} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !looksLikeX509(raw) {
			return
		}
		var b Bundle
		if err := b.parseX509("f", raw); err != nil && b.Len() > 0 {
			t.Fatal("a refused file left something behind")
		}
	})
}
