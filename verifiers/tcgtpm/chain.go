// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Identifiers in certificates of TPMs (TCG EK credential profile).
var (
	oidEK  = asn1.ObjectIdentifier{2, 23, 133, 8, 1} // tcg-kp-EKCertificate
	oidAK  = asn1.ObjectIdentifier{2, 23, 133, 8, 3} // tcg-kp-AIKCertificate
	oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}
)

// anchors are what chains end in, with what helps to find and to doubt them. It
// is immutable.
type anchors struct {
	roots *x509.CertPool
	// pinned are the roots of Google, by SHA-256; only below them the usage for
	// endorsement keys is one for attestation keys.
	pinned map[[32]byte]bool
	// middle are issuers that evidence need not bring along. They are no anchors.
	middle []*x509.Certificate
	lists  []*x509.RevocationList
}

func newAnchors(p parameters, d verifiers.Deps) (*anchors, error) {
	a := &anchors{roots: x509.NewCertPool(), pinned: map[[32]byte]bool{}}
	if err := a.pin(p.PinnedRoots); err != nil {
		return nil, err
	}
	own, err := p.roots()
	if err != nil {
		return nil, err
	}
	for i, c := range append(own, d.ExtraRoots[Name]...) {
		if c == nil || !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("root %d is not a CA certificate", i)
		}
		a.roots.AddCert(c)
	}
	for c := range d.Endorsements.Certificates() {
		if c.IsCA {
			a.middle = append(a.middle, c.Certificate)
		}
	}
	for l := range d.Endorsements.RevocationLists() {
		a.lists = append(a.lists, l.RevocationList)
	}
	return a, nil
}

// pin checks the embedded certificates and uses them, unless the policy says not to.
func (a *anchors) pin(use bool) error {
	for i, text := range []struct {
		pem, sum string
		root     bool
	}{{googleRoot2018, googleRoot2018Sum, true}, {googleRoot2022, googleRoot2022Sum, true}, {googleIssuer2020, googleIssuer2020Sum, false}} {
		block, _ := pem.Decode([]byte(text.pem))
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return fmt.Errorf("embedded certificate %d: %w", i, err)
		}
		sum := sha256.Sum256(c.Raw)
		switch {
		case hex.EncodeToString(sum[:]) != text.sum:
			return fmt.Errorf("embedded certificate %d is not the pinned one", i)
		case !use:
		case text.root:
			a.pinned[sum] = true
			a.roots.AddCert(c)
		default:
			a.middle = append(a.middle, c)
		}
	}
	return nil
}

// chain is a certification path whose signatures hold, the AK's certificate first
// and the anchor last. It is immutable; what depends on time is asked at each use.
type chain struct {
	certs []*x509.Certificate
	// lists are the revocation lists by the issuers of the path: entry i is about
	// certificate i.
	lists [][]*x509.RevocationList
	root  string // SHA-256, hexadecimal
}

// unknownRootError: the certificates are in order as far as anybody can tell, and
// nobody to whom they lead is trusted.
type unknownRootError struct{ detail string }

func (e *unknownRootError) Error() string { return e.detail }

// verify finds a path from the first certificate to an anchor at time t. It is an
// *unknownRootError if there is none to any anchor.
func (a *anchors) verify(certs []*x509.Certificate, t time.Time) (*chain, error) {
	middle := x509.NewCertPool()
	for _, c := range slices.Concat(certs[1:], a.middle) {
		middle.AddCert(c)
	}
	leaf := withoutDirectoryNames(certs[0])
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.roots, Intermediates: middle, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			return nil, &unknownRootError{fmt.Sprintf("certificate of the attestation key (issuer %q): %v", certs[0].Issuer, err)}
		}
		return nil, err
	}
	c := &chain{certs: paths[0]}
	sum := sha256.Sum256(c.certs[len(c.certs)-1].Raw)
	c.root = hex.EncodeToString(sum[:])
	if err := purpose(certs[0], a.pinned[sum]); err != nil {
		return nil, err
	}
	for i, cert := range c.certs[:len(c.certs)-1] {
		c.lists = append(c.lists, a.listsOf(cert, c.certs[i+1]))
	}
	return c, nil
}

// purpose wants a certificate for an attestation key. That of an endorsement key
// is for a key that decrypts, except with Google, who gives both kinds one usage.
func purpose(leaf *x509.Certificate, pinned bool) error {
	has := func(oid asn1.ObjectIdentifier) bool {
		return slices.ContainsFunc(leaf.UnknownExtKeyUsage, oid.Equal)
	}
	switch {
	case leaf.IsCA, leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0, leaf.KeyUsage&x509.KeyUsageCertSign != 0:
		return errors.New("the certificate is not one for digital signatures")
	case !has(oidAK) && !(pinned && has(oidEK)):
		return fmt.Errorf("the extended key usage of the certificate is not tcg-kp-AIKCertificate (%s)", oidAK)
	}
	return nil
}

// withoutDirectoryNames takes the subject alternative name off the critical
// extensions that nobody handled, if it holds directory names only: those say
// which TPM it is (TCG EK credential profile) and are critical where the subject
// is empty.
func withoutDirectoryNames(c *x509.Certificate) *x509.Certificate {
	at := slices.IndexFunc(c.UnhandledCriticalExtensions, oidSAN.Equal)
	if at < 0 || !directoryNames(c) {
		return c
	}
	again := *c
	again.UnhandledCriticalExtensions = slices.Delete(slices.Clone(c.UnhandledCriticalExtensions), at, at+1)
	return &again
}

func directoryNames(c *x509.Certificate) bool {
	const directoryName = 4
	at := slices.IndexFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidSAN) })
	if at < 0 {
		return false
	}
	var names []asn1.RawValue
	rest, err := asn1.Unmarshal(c.Extensions[at].Value, &names)
	return err == nil && len(rest) == 0 && len(names) > 0 && !slices.ContainsFunc(names, func(n asn1.RawValue) bool {
		return n.Class != asn1.ClassContextSpecific || n.Tag != directoryName
	})
}

// listsOf are the revocation lists that the issuer of a certificate has signed.
func (a *anchors) listsOf(cert, issuer *x509.Certificate) []*x509.RevocationList {
	var out []*x509.RevocationList
	for _, l := range a.lists {
		if bytes.Equal(l.RawIssuer, cert.RawIssuer) && l.CheckSignatureFrom(issuer) == nil {
			out = append(out, l)
		}
	}
	return out
}

// valid holds the windows of all certificates against t.
func (c *chain) valid(t time.Time) bool {
	return !slices.ContainsFunc(c.certs, func(cert *x509.Certificate) bool {
		return t.Before(cert.NotBefore) || t.After(cert.NotAfter)
	})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// revocation says what is known at time t. A certificate that any list names is
// revoked, also if the list is old or not valid yet; that it is on none counts
// only where there is a list that is valid now.
func (c *chain) revocation(t time.Time) (out []found) {
	for i, lists := range c.lists {
		cert, current := c.certs[i], false
		for _, l := range lists {
			current = current || !t.Before(l.ThisUpdate) && !t.After(l.NextUpdate)
			for _, e := range l.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(cert.SerialNumber) == 0 {
					return []found{{keyRevoked, fmt.Sprintf("certificate %d (%q, serial %s) is on the revocation list of %q of %s",
						i, cert.Subject, cert.SerialNumber.Text(16), l.Issuer, stamp(l.ThisUpdate))}}
				}
			}
		}
		if !current && out == nil {
			out = []found{{keyRevocation, fmt.Sprintf("no revocation list of %q is valid at %s, so whether certificate %d (%q) is revoked is unknown",
				cert.Issuer, stamp(t), i, cert.Subject)}}
		}
	}
	return out
}

// certificates finds the path of a leaf's certificates. The chain is nil, without
// a failure, if they lead to no trusted root; then a finding says so.
func (v *verifier) certificates(in verifiers.Input, l *leaf, s *statement) (*chain, []found, *failure) {
	key := chainKey(l.certs, s)
	c, ok := v.chains.Get(key)
	if !ok || !c.valid(in.Time) {
		certs, f := parseCerts(l, s)
		if f != nil {
			return nil, nil, f
		}
		var err error
		if c, err = v.anchors.verify(certs, in.Time); err != nil {
			return chainless(err)
		}
		v.chains.Put(key, c) // its key has signed a quote
	}
	return c, append(c.revocation(in.Time), found{name: keyCertified}), nil
}

func parseCerts(l *leaf, s *statement) ([]*x509.Certificate, *failure) {
	var certs []*x509.Certificate
	for i, der := range l.certs {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, failf(verdict.ReasonMalformed, "certificate %d: %v", i, err)
		}
		certs = append(certs, c)
	}
	if !bytes.Equal(certs[0].RawSubjectPublicKeyInfo, s.spki) {
		return nil, failf(verdict.ReasonIdentityMismatch, "certificate 0 (%q) is of another key than ak_public", certs[0].Subject)
	}
	return certs, nil
}

// chainKey hashes certificates, each of which carries its own length, and the key
// that the first of them has to be of.
func chainKey(ders [][]byte, s *statement) (k lru.Key) {
	h := sha256.New()
	h.Write(s.spki)
	for _, d := range ders {
		h.Write(d)
	}
	h.Sum(k[:0])
	return k
}

// chainless says what to make of certificates without a path.
func chainless(err error) (*chain, []found, *failure) {
	var u *unknownRootError
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, &u):
		return nil, []found{{keyUnknownRoot, u.detail}}, nil
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return nil, nil, failf(verdict.ReasonExpired, "chain of the attestation key: %v", err)
	}
	return nil, nil, failf(verdict.ReasonChainInvalid, "chain of the attestation key: %v", err)
}
