// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"

	xocsp "golang.org/x/crypto/ocsp"
)

const (
	minRSA = 2048 // bits
	// maxRSA bounds what one verification costs.
	maxRSA = 8192 // bits
)

// algorithms are the signatures that count, of responses and of responders'
// certificates. Parameters are absent with ECDSA and NULL with RSA (RFC 5758,
// section 3.2; RFC 4055, section 5).
var algorithms = []struct {
	oid asn1.ObjectIdentifier
	alg x509.SignatureAlgorithm
	rsa bool
}{
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}, x509.ECDSAWithSHA256, false},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 3}, x509.ECDSAWithSHA384, false},
	{asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 4}, x509.ECDSAWithSHA512, false},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, x509.SHA256WithRSA, true},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 12}, x509.SHA384WithRSA, true},
	{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 13}, x509.SHA512WithRSA, true},
}

// signatureAlgorithm is zero for one that does not count.
func signatureAlgorithm(a algorithmID) x509.SignatureAlgorithm {
	for _, known := range algorithms {
		if known.oid.Equal(a.oid) && (known.rsa && a.null() || !known.rsa && a.params == nil) {
			return known.alg
		}
	}
	return x509.UnknownSignatureAlgorithm
}

func counts(alg x509.SignatureAlgorithm) bool {
	for _, known := range algorithms {
		if known.alg == alg {
			return true
		}
	}
	return false
}

// strong is nil for a key whose signatures count.
func strong(key any) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("a key on %s, expected P-256 or P-384", k.Curve.Params().Name)
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("an RSA key of %d bits, expected %d to %d", n, minRSA, maxRSA)
		}
		return nil
	}
	return fmt.Errorf("a key of type %T, expected ECDSA or RSA", key)
}

// proof says who has signed a response. It does not depend on time and is immutable.
type proof struct {
	signer *x509.Certificate
	// delegated: the signer is not the issuer itself.
	delegated bool
	// noCheck: the issuer says that its responder's status need not be asked for.
	noCheck bool
}

// proofKey names a response and the certificate of the issuer that it has to hold for.
func proofKey(r *Response, issuer *x509.Certificate) [32]byte {
	sum := sha256.Sum256(issuer.Raw)
	return sha256.Sum256(append(r.digest[:], sum[:]...))
}

// prove verifies that a response was signed by one who may answer for the issuer.
func (c *Checker) prove(r *Response, issuer *x509.Certificate) (*proof, error) {
	key := proofKey(r, issuer)
	if p, ok := c.proofs.Get(key); ok {
		return p, nil
	}
	p, err := authorise(r, issuer)
	if err != nil {
		return nil, err
	}
	c.proofs.Put(key, p)
	return p, nil
}

// authorise applies RFC 6960, section 4.2.2.2.
func authorise(r *Response, issuer *x509.Certificate) (*proof, error) {
	p := &proof{signer: issuer}
	if r.responder != nil && !r.responder.Equal(issuer) {
		p.signer, p.delegated = r.responder, true
		p.noCheck = slices.ContainsFunc(r.responder.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNoCheck) })
		if err := delegated(r.responder, issuer); err != nil {
			return nil, fmt.Errorf("responder %q %w", name(r.responder.Subject), err)
		}
	}
	if err := r.names(p.signer); err != nil {
		return nil, err
	}
	if !counts(r.algorithm) {
		return nil, fmt.Errorf("the response is not signed with ECDSA or RSA and SHA-256 or better")
	}
	for _, c := range []*x509.Certificate{issuer, p.signer} {
		if err := strong(c.PublicKey); err != nil {
			return nil, fmt.Errorf("%q has %w", name(c.Subject), err)
		}
	}
	// An embedded certificate is verified by the issuer's key, the response by
	// that of the certificate. The issuer's own certificate is not signed by it.
	by := issuer
	if r.responder != nil && !p.delegated {
		by = nil
	}
	other, err := xocsp.ParseResponse(r.raw, by)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return p, r.agrees(other)
}

// delegated tells why a certificate does not make its holder a responder for the
// issuer, but for signatures.
func delegated(cert, issuer *x509.Certificate) error {
	switch {
	case !bytes.Equal(cert.RawIssuer, issuer.RawSubject):
		return fmt.Errorf("has a certificate issued by %q, not by %q itself", name(cert.Issuer), name(issuer.Subject))
	case !issuer.IsCA || !issuer.BasicConstraintsValid || issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("has a certificate of %q, which may not issue any", name(issuer.Subject))
	case !counts(cert.SignatureAlgorithm):
		return fmt.Errorf("has a certificate signed with %v", cert.SignatureAlgorithm)
	case !slices.Contains(cert.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning):
		return fmt.Errorf("has a certificate without the extended key usage id-kp-OCSPSigning")
	case cert.IsCA:
		return fmt.Errorf("has the certificate of a CA")
	case cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return fmt.Errorf("has a certificate that is not for digital signatures")
	}
	for _, oid := range cert.UnhandledCriticalExtensions {
		if !oid.Equal(oidNoCheck) {
			return fmt.Errorf("has a certificate with the unknown critical extension %v", oid)
		}
	}
	return nil
}

// names tells whether the responderID is that of the signer.
func (r *Response) names(signer *x509.Certificate) error {
	if r.responderName != nil {
		if !bytes.Equal(r.responderName, signer.RawSubject) {
			return fmt.Errorf("the response names another responder than %q", name(signer.Subject))
		}
		return nil
	}
	key, err := keyBits(signer)
	if err != nil {
		return err
	}
	if sum := sha1.Sum(key); !bytes.Equal(sum[:], r.responderKey) {
		return fmt.Errorf("the response names a responder with key %x…, %q has %x…", r.responderKey[:4], name(signer.Subject), sum[:4])
	}
	return nil
}

// agrees compares what was read here with what the other reader found in the same
// bytes: whatever one of them misreads must not decide anything.
func (r *Response) agrees(o *xocsp.Response) error {
	status := xocsp.Revoked
	switch r.status {
	case Good:
		status = xocsp.Good
	case Unknown:
		status = xocsp.Unknown
	}
	for _, c := range []struct {
		what string
		same bool
	}{
		{"certificate of the responder", (r.responder == nil) == (o.Certificate == nil) && (r.responder == nil || r.responder.Equal(o.Certificate))},
		{"signed bytes", bytes.Equal(r.tbs, o.TBSResponseData)},
		{"status", status == o.Status && r.reason == o.RevocationReason && r.revokedAt.Equal(o.RevokedAt)},
		{"serial number", r.id.serial == serialOf(o.SerialNumber) && o.SerialNumber.Sign() >= 0},
		{"hash algorithm", r.id.hash == o.IssuerHash && r.id.hash != crypto.Hash(0)},
		{"times", r.produced.Equal(o.ProducedAt) && r.this.Equal(o.ThisUpdate) && r.next.Equal(o.NextUpdate)},
		{"signature algorithm", r.algorithm == o.SignatureAlgorithm},
	} {
		if !c.same {
			return fmt.Errorf("two readers differ about the %s", c.what)
		}
	}
	return nil
}
