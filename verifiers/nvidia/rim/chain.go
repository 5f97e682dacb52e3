// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/verdict"
)

// NVIDIA's roots of reference values. Each is pinned twice, so that neither a
// reissued certificate nor another key under the same name passes unnoticed.
const (
	// signingRoot is "NVIDIA CoRIM signing Root CA", 2023-03-16 .. 2053-03-08, under
	// which all SWID manifests are signed.
	signingRoot = `-----BEGIN CERTIFICATE-----
MIICKTCCAbCgAwIBAgIQRdrjoA5QN73fh1N17LXicDAKBggqhkjOPQQDAzBFMQsw
CQYDVQQGEwJVUzEPMA0GA1UECgwGTlZJRElBMSUwIwYDVQQDDBxOVklESUEgQ29S
SU0gc2lnbmluZyBSb290IENBMCAXDTIzMDMxNjE1MzczNFoYDzIwNTMwMzA4MTUz
NzM0WjBFMQswCQYDVQQGEwJVUzEPMA0GA1UECgwGTlZJRElBMSUwIwYDVQQDDBxO
VklESUEgQ29SSU0gc2lnbmluZyBSb290IENBMHYwEAYHKoZIzj0CAQYFK4EEACID
YgAEuECyi9vNM+Iw2lfUzyBldHAwaC1HF7TCgp12QcEyUTm3Tagxwr48d55+K2VI
lWYIDk7NlAIQdcV/Ff7euGLI+Qauj93HsSI4WX298PpW54RTgz9tC+Q684caR/BX
WEeZo2MwYTAdBgNVHQ4EFgQUpaXrOPK4ZDAk08DBskn594zeZjAwHwYDVR0jBBgw
FoAUpaXrOPK4ZDAk08DBskn594zeZjAwDwYDVR0TAQH/BAUwAwEB/zAOBgNVHQ8B
Af8EBAMCAQYwCgYIKoZIzj0EAwMDZwAwZAIwHGDyscDP6ihHqRvZlI3eqZ4YkvjE
1duaN84tAHRVgxVMvNrp5Tnom3idHYGW/dskAjATvjIx6VzHm/4e2GiZAyZEIUBD
OKPzp5ei/A0iUZpdvngenDwV8Qa/wGdiTmJ7Bp4=
-----END CERTIFICATE-----
`
	signingRootSHA256 = "12977b5115acb0381179279fffeb5a8c4d264971ebb32298023a465fa41df5d1"
	signingRootSPKI   = "dec1dc316477aa851eebdf51327ae9f864bc8d89254657ed1e7eb9168af1e1a3"

	// secondRoot is "NVIDIA CoRIM Root CA001", 2026-01-01 .. 2056-01-01.
	secondRoot = `-----BEGIN CERTIFICATE-----
MIICPDCCAcKgAwIBAgIUQVecRW4AyfEMXWn6U3Kt5twnzmYwCgYIKoZIzj0EAwMw
TDELMAkGA1UEBhMCVVMxGzAZBgNVBAoMEk5WSURJQSBDb3Jwb3JhdGlvbjEgMB4G
A1UEAwwXTlZJRElBIENvUklNIFJvb3QgQ0EwMDEwIBcNMjYwMTAxMDgwMDAwWhgP
MjA1NjAxMDEwODAwMDBaMEwxCzAJBgNVBAYTAlVTMRswGQYDVQQKDBJOVklESUEg
Q29ycG9yYXRpb24xIDAeBgNVBAMMF05WSURJQSBDb1JJTSBSb290IENBMDAxMHYw
EAYHKoZIzj0CAQYFK4EEACIDYgAEneyNIggrloxxBUBcjOVcSSBmhP+zMZq9DpYN
V0CT7UkNA7j/6vjsm5PH5y1zbiWRK9v2FXTvtfk/uctZhQT2qEY3QC85q6UutG9r
luVwdjTA7OK0UQVUCE/8ycDQt90so2MwYTAdBgNVHQ4EFgQUU9NrcBqgtQ3SOK41
6a5YE6xEAlIwHwYDVR0jBBgwFoAUU9NrcBqgtQ3SOK416a5YE6xEAlIwDwYDVR0T
AQH/BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwCgYIKoZIzj0EAwMDaAAwZQIxAOea
N+Z6ajjUUgn3E6tQf3GIWU/enEmOJssqeSsnwbrsRuDGYSkDScIYRXqtdeQYvgIw
K6ulNEjmE05+F7XTLdB2UyPLpBnilwbD7KN3KQ9lZKCwAr3gGS6lLI1Bz4YLj/wi
-----END CERTIFICATE-----
`
	secondRootSHA256 = "35e7a947caff230efc27ba93dd75af135077af4cd244ce465e111e2bae663e5e"
	secondRootSPKI   = "07dce9b11783fc6a7f11f8f4b10c1244ca7840be5d2bfaa640a491324bfe75b9"
)

// Roots are the pinned certificates, for documents that are signed under them
// in another form: signed CoRIMs bring a chain to them (corim.Authority.Roots).
func Roots() ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for i, pin := range [][3]string{{signingRoot, signingRootSHA256, signingRootSPKI}, {secondRoot, secondRootSHA256, secondRootSPKI}} {
		block, _ := pem.Decode([]byte(pin[0]))
		if block == nil {
			return nil, fmt.Errorf("rim: embedded root %d is no PEM", i)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("rim: embedded root %d: %w", i, err)
		}
		whole, spki := sha256.Sum256(c.Raw), sha256.Sum256(c.RawSubjectPublicKeyInfo)
		if hex.EncodeToString(whole[:]) != pin[1] || hex.EncodeToString(spki[:]) != pin[2] {
			return nil, fmt.Errorf("rim: embedded root %d is not the pinned one", i)
		}
		out = append(out, c)
	}
	return out, nil
}

// anchors are the roots by SHA-256 of their SubjectPublicKeyInfo.
type anchors map[[sha256.Size]byte]*x509.Certificate

func newAnchors(extra []*x509.Certificate) (anchors, error) {
	roots, err := Roots()
	if err != nil {
		return nil, err
	}
	a := anchors{}
	for i, c := range append(roots, extra...) {
		if c == nil || !c.IsCA {
			return nil, fmt.Errorf("rim: extra root %d is not a CA certificate", i-len(roots))
		}
		k := sha256.Sum256(c.RawSubjectPublicKeyInfo)
		if _, known := a[k]; !known { // an extra root never replaces a pinned one
			a[k] = c
		}
	}
	return a, nil
}

// chain is a verified chain, leaf first, with our copy of the root.
type chain struct {
	certs     []*x509.Certificate
	key       *ecdsa.PublicKey // of the leaf
	notBefore time.Time
	notAfter  time.Time
}

// parse reads the certificates and looks up the root: of the one in the
// document only the key counts.
func (a anchors) parse(ders [][]byte) (*chain, error) {
	c := new(chain)
	for i, der := range ders {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, refuse(verdict.ReasonChainInvalid, "certificate %d: %v", i, err)
		}
		c.certs = append(c.certs, cert)
	}
	last := len(c.certs) - 1
	root := a[sha256.Sum256(c.certs[last].RawSubjectPublicKeyInfo)]
	if root == nil {
		return nil, refuse(verdict.ReasonUnknownRoot, "the chain ends in %q, whose key is not that of a root of NVIDIA's reference values",
			clip(c.certs[last].Subject.CommonName))
	}
	c.certs[last] = root
	if err := c.leaf(); err != nil {
		return nil, err
	}
	c.periods()
	return c, nil
}

// oidDICE are the extensions of device certificates (TCG DICE Attestation
// Architecture, section 6), FWIDs among them.
var oidDICE = asn1.ObjectIdentifier{2, 23, 133, 5, 4}

// leaf wants a certificate for signatures alone, with a key of the one form. The
// same CAs issue those of OCSP responders, which have an extended key usage;
// NVIDIA's signers of manifests have none. The attestation key of a device, too, has
// a certificate for signatures alone, which matters if extra roots are those of
// simulated devices as well.
func (c *chain) leaf() error {
	leaf := c.certs[0]
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok || key.Curve != elliptic.P384():
		return refuse(verdict.ReasonChainInvalid, "certificate 0 (%q) does not have a P-384 key", clip(leaf.Subject.CommonName))
	case leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature:
		return refuse(verdict.ReasonChainInvalid, "certificate 0 (%q) is not one for signatures alone", clip(leaf.Subject.CommonName))
	case len(leaf.ExtKeyUsage) > 0 || len(leaf.UnknownExtKeyUsage) > 0:
		return refuse(verdict.ReasonChainInvalid, "certificate 0 (%q) is for another purpose than manifests, by its extended key usage", clip(leaf.Subject.CommonName))
	case slices.ContainsFunc(leaf.Extensions, func(e pkix.Extension) bool { return len(e.Id) > len(oidDICE) && oidDICE.Equal(e.Id[:len(oidDICE)]) }):
		return refuse(verdict.ReasonChainInvalid, "certificate 0 (%q) is that of a device, which must not vouch for itself", clip(leaf.Subject.CommonName))
	}
	c.key = key
	return nil
}

// periods computes when all certificates are valid. If that is never, verify
// fails.
func (c *chain) periods() {
	c.notBefore, c.notAfter = c.certs[0].NotBefore, c.certs[0].NotAfter
	for _, cert := range c.certs[1:] {
		if cert.NotBefore.After(c.notBefore) {
			c.notBefore = cert.NotBefore
		}
		if cert.NotAfter.Before(c.notAfter) {
			c.notAfter = cert.NotAfter
		}
	}
}

// verify checks the signatures and constraints, at a time when all are valid:
// whether they are at the time of an appraisal is for Manifest.ValidAt. Each
// certificate must be issued by the next.
func (c *chain) verify() error {
	roots, inter := x509.NewCertPool(), x509.NewCertPool()
	last := len(c.certs) - 1
	roots.AddCert(c.certs[last])
	for _, cert := range c.certs[1:last] {
		inter.AddCert(cert)
	}
	found, err := c.certs[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: inter, CurrentTime: c.notBefore, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return refuse(verdict.ReasonChainInvalid, "certificate 0 (%q) does not verify: %v", clip(c.certs[0].Subject.CommonName), err)
	}
	same := func(a, b *x509.Certificate) bool { return bytes.Equal(a.Raw, b.Raw) }
	if !slices.ContainsFunc(found, func(f []*x509.Certificate) bool { return slices.EqualFunc(f, c.certs, same) }) {
		return refuse(verdict.ReasonChainInvalid, "certificate 0 (%q) verifies only in another order", clip(c.certs[0].Subject.CommonName))
	}
	return nil
}

// validAt names the certificate that is not valid at t.
func (c *chain) validAt(t time.Time) error {
	for i, cert := range c.certs {
		if t.Before(cert.NotBefore) || t.After(cert.NotAfter) {
			return refuse(verdict.ReasonExpired, "certificate %d (%q) is valid from %s to %s, not at %s", i, clip(cert.Subject.CommonName),
				cert.NotBefore.UTC().Format(time.RFC3339), cert.NotAfter.UTC().Format(time.RFC3339), t.UTC().Format(time.RFC3339))
		}
	}
	return nil
}
