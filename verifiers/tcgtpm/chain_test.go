// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/verifiers"
)

// authority is a root that is trusted by policy or as an extra one.
func authority(tb testing.TB) *pki.Authority {
	tb.Helper()
	key, err := pki.NewSeed("root").ECDSA(elliptic.P256())
	if err != nil {
		tb.Fatal(err)
	}
	root, err := pki.Root(key, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return root
}

// names is a subject alternative name with one name, critical.
func alternative(tag int, content []byte) pkix.Extension {
	raw, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: true, Bytes: content}})
	if err != nil {
		panic(err)
	}
	return pkix.Extension{Id: oidSAN, Critical: true, Value: raw}
}

// What a certificate has to be for, and which critical extensions are understood.
func TestPurpose(t *testing.T) {
	d, root := device(t, nil), authority(t)
	l, f := open(inputOf(asCBOR, leafOf(t, d)))
	if f != nil {
		t.Fatal(f)
	}
	s, f := verify(l)
	if f != nil {
		t.Fatal(f)
	}
	for _, c := range []struct {
		name   string
		change func(*x509.Certificate)
		want   string // "" where only the list of revocations is missing
	}{
		{"for attestation keys", func(*x509.Certificate) {}, ""},
		{"for more than that", func(c *x509.Certificate) { c.UnknownExtKeyUsage = append(c.UnknownExtKeyUsage, oidEK) }, ""},
		{"for endorsement keys", func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidEK} }, "chain-invalid tcg-kp-AIKCertificate"},
		{"for anything", func(c *x509.Certificate) { c.UnknownExtKeyUsage = nil }, "chain-invalid tcg-kp-AIKCertificate"},
		{"for servers", func(c *x509.Certificate) {
			c.UnknownExtKeyUsage, c.ExtKeyUsage = nil, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}, "chain-invalid tcg-kp-AIKCertificate"},
		{"for encryption", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, "chain-invalid digital signatures"},
		{"for any use of the key", func(c *x509.Certificate) { c.KeyUsage = 0 }, "chain-invalid digital signatures"},
		{"for certificates as well", func(c *x509.Certificate) { c.KeyUsage |= x509.KeyUsageCertSign }, "chain-invalid digital signatures"},
		{"of an authority", func(c *x509.Certificate) { c.IsCA = true }, "chain-invalid digital signatures"},
		{"names the TPM, critical", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{alternative(4, []byte{0x30, 0})} }, ""},
		{"names something else, critical", func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{alternative(0, []byte{6, 1, 1})} }, "chain-invalid unhandled critical"},
		{"unknown critical extension", func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, "chain-invalid unhandled critical"},
	} {
		t.Run(c.name, func(t *testing.T) {
			template := &x509.Certificate{
				SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "ak"}, NotBefore: now.AddDate(0, -1, 0), NotAfter: now.AddDate(0, 1, 0),
				BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidAK},
			}
			c.change(template)
			der, err := x509.CreateCertificate(nil, template, root.Cert, s.public.Key, root.Key)
			if err != nil {
				t.Fatal(err)
			}
			raw := edited(t, leafOf(t, d), func(m map[string]any) { m["ak_certificate"] = [][]byte{der} })
			v := newTest(t, verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{Name: {root.Cert}}})
			a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce(), References: indexOf(t, entry(t, d))})
			if c.want != "" {
				wants(t, a, 99, 99, 99, c.want)
				return
			}
			wants(t, a, 32, 3, 2, "revocation-unknown")
		})
	}
}
