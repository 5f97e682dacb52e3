// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/assize/assize/verdict"
)

// Failure is a check that did not hold: a reason code of the verdict package
// and a sentence.
type Failure struct {
	Code, Detail string
	// Compared is what was held against what, where that was it.
	Compared verdict.Comparison
}

// Error implements error.
func (f *Failure) Error() string { return f.Code + ": " + f.Detail }

// Failf makes a failure.
func Failf(code, format string, args ...any) *Failure {
	return &Failure{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// window is the time in which one signed thing is valid, both ends included.
type window struct {
	what     string
	from, to time.Time
}

func (w window) holds(t time.Time) bool { return !t.Before(w.from) && !t.After(w.to) }

// check says how t lies outside of the window; empty if it lies inside.
func (w window) check(t time.Time) string {
	switch {
	case w.holds(t):
		return ""
	case t.Before(w.from):
		return fmt.Sprintf("%s is not valid before %s", w.what, w.from.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("%s expired at %s", w.what, w.to.UTC().Format(time.RFC3339))
}

// firstOutside returns the complaint of the first window that t lies outside
// of, empty if there is none.
func firstOutside(ws []window, t time.Time) string {
	for _, w := range ws {
		if s := w.check(t); s != "" {
			return s
		}
	}
	return ""
}

// outsideOf is the first window that t lies outside of, as a comparison.
func outsideOf(ws []window, t time.Time) verdict.Comparison {
	for _, w := range ws {
		if !w.holds(t) {
			return verdict.Comparison{
				Expected: "from " + w.from.UTC().Format(time.RFC3339) + " to " + w.to.UTC().Format(time.RFC3339),
				Observed: t.UTC().Format(time.RFC3339), Source: "validity of the " + w.what,
			}
		}
	}
	return verdict.Comparison{}
}

// Expired is the failure of a PCK chain that is not valid at t, nil if it is.
func (p *PCK) Expired(t time.Time) *Failure {
	s := p.Outside(t)
	if s == "" {
		return nil
	}
	return &Failure{Code: verdict.ReasonExpired, Detail: "PCK chain: " + s, Compared: outsideOf(p.windows, t)}
}

// roots are the trust anchors of one verifier.
type roots []*x509.Certificate

func newRoots(extra []*x509.Certificate) (roots, error) {
	if slices.Contains(extra, nil) {
		return nil, errors.New("dcap: extra root is nil")
	}
	block, _ := pem.Decode([]byte(intelRootPEM))
	if block == nil {
		return nil, errors.New("dcap: pinned root is not PEM")
	}
	pinned, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("dcap: pinned root: %w", err)
	}
	return append(roots{pinned}, extra...), nil
}

// anchor finds the trusted root that issued c, or that c is a copy of. Where
// several roots bear the name, as simulated ones do, the signature decides.
func (rs roots) anchor(c *x509.Certificate) *x509.Certificate {
	var named roots
	for _, r := range rs {
		switch {
		case !bytes.Equal(r.RawSubject, c.RawIssuer):
		case selfIssued(c) && !bytes.Equal(r.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo):
		default:
			named = append(named, r)
		}
	}
	if len(named) == 0 {
		return nil
	}
	for _, r := range named[1:] {
		if c.CheckSignatureFrom(r) == nil {
			return r
		}
	}
	return named[0]
}

func selfIssued(c *x509.Certificate) bool { return bytes.Equal(c.RawSubject, c.RawIssuer) }

// verified is a chain whose signatures hold up to a trusted root. It says
// nothing about time: windows must be compared at every use.
type verified struct {
	certs   []*x509.Certificate // target first, trusted root last
	windows []window
}

// issuerID stands for one CA: its root, its name and its key. Two certificates
// of one CA have one issuerID.
type issuerID [32]byte

func newIssuerID(root, ca *x509.Certificate) issuerID {
	return digestOf(root.Raw, ca.RawSubject, ca.RawSubjectPublicKeyInfo)
}

// verify checks a chain, target first, whose root may be left out.
func (rs roots) verify(certs []*x509.Certificate) (*verified, *Failure) {
	for _, c := range certs {
		if _, ok := p256Key(c); !ok || c.SignatureAlgorithm != x509.ECDSAWithSHA256 {
			return nil, Failf(verdict.ReasonChainInvalid, "certificate %q is not ECDSA P-256 with SHA-256", c.Subject.CommonName)
		}
	}
	last := certs[len(certs)-1]
	root := rs.anchor(last)
	if root == nil {
		return nil, Failf(verdict.ReasonUnknownRoot, "chain ends at issuer %q (SHA-256 of the last certificate %x), which is no trusted root",
			last.Issuer.CommonName, sha256.Sum256(last.Raw))
	}
	path := certs
	if selfIssued(last) {
		// Its key is that of the trusted root, which counts; but a copy that is not
		// even signed by that key was altered.
		if !last.Equal(root) && root.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature) != nil {
			return nil, Failf(verdict.ReasonChainInvalid, "the root certificate in the chain is not signed by its own key")
		}
		path = certs[:len(certs)-1]
	}
	if len(path) == 0 {
		return nil, Failf(verdict.ReasonChainInvalid, "chain has no certificate but the root")
	}
	v := &verified{certs: append(append([]*x509.Certificate(nil), path...), root)}
	for _, c := range v.certs {
		v.windows = append(v.windows, window{fmt.Sprintf("certificate %q", c.Subject.CommonName), c.NotBefore, c.NotAfter})
	}
	if f := v.checkPath(); f != nil {
		return nil, f
	}
	return v, nil
}

// checkPath verifies the signatures at a time when all certificates are valid,
// so that the outcome does not depend on the time of the appraisal.
func (v *verified) checkPath() *Failure {
	at := v.windows[0].from
	for _, w := range v.windows {
		if w.from.After(at) {
			at = w.from
		}
	}
	if s := firstOutside(v.windows, at); s != "" {
		return Failf(verdict.ReasonChainInvalid, "the certificates are never valid together: %s", s)
	}
	n := len(v.certs)
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	opts.Roots.AddCert(v.certs[n-1])
	for _, c := range v.certs[1 : n-1] {
		opts.Intermediates.AddCert(c)
	}
	chains, err := v.certs[0].Verify(opts)
	if err != nil {
		return Failf(verdict.ReasonChainInvalid, "certificate chain: %v", err)
	}
	for _, c := range chains {
		if sameChain(c, v.certs) {
			return nil
		}
	}
	return Failf(verdict.ReasonChainInvalid, "certificate chain holds certificates that are not part of the path")
}

func sameChain(a, b []*x509.Certificate) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !a[i].Equal(b[i]) {
			return false
		}
	}
	return true
}

func p256Key(c *x509.Certificate) (*ecdsa.PublicKey, bool) {
	k, ok := c.PublicKey.(*ecdsa.PublicKey)
	return k, ok && k.Curve == elliptic.P256()
}

// verifyP256 checks a raw r||s signature (64 bytes, big-endian) over the
// SHA-256 of msg.
func verifyP256(key *ecdsa.PublicKey, msg, sig []byte) bool {
	if len(sig) != signatureSize {
		return false
	}
	digest := sha256.Sum256(msg)
	return ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}
