// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
)

// retryCoRIM is how much later a manifest that did not hold is looked at again.
const retryCoRIM = time.Minute

// corimIndex is the index of the manifests in the form of CoRIMs that are
// verified and held at some time for which was asked, nil if there is none. The
// index compares times again. Besides, those are named that lay under one of the
// identifiers and cannot be used.
func (v *Verifier) corimIndex(now time.Time, ids []string) (*corim.Index, []left) {
	s := v.store
	if len(s.corims) == 0 {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.loadCoRIMs(now) {
		s.reindex()
	}
	var refused []left
	for _, c := range s.corims {
		if c.document == nil && slices.ContainsFunc(ids, func(id string) bool { return strings.EqualFold(id, c.ID) }) {
			refused = append(refused, c.refused(now))
		}
	}
	return s.index, refused
}

// refused says why a manifest cannot be used: it is not valid at this time, or
// nobody who may has signed it.
func (c *corimManifest) refused(now time.Time) left {
	for _, cert := range c.Chain() {
		if now.Before(cert.NotBefore) || now.After(cert.NotAfter) {
			return left{flawExpired, fmt.Sprintf("manifest %s: %q is valid from %s to %s", c.Name, cert.Subject.CommonName, stamp(cert.NotBefore), stamp(cert.NotAfter))}
		}
	}
	return left{flawInvalid, fmt.Sprintf("%s: %v", c.Name, c.err)}
}

// loadCoRIMs verifies what is not verified yet, and reports whether there is more
// than before.
func (v *Verifier) loadCoRIMs(now time.Time) (changed bool) {
	s := v.store
	for _, c := range s.corims {
		if c.document != nil {
			continue
		}
		if d := now.Sub(c.tried); c.err != nil && d < retryCoRIM && d > -retryCoRIM {
			continue
		}
		c.tried = now
		if d, ok := v.corimCache.Get(c.Digest); ok {
			c.document = d
		} else if c.document, c.err = v.loadCoRIM(c.Raw, now); c.err == nil {
			v.corimCache.Put(c.Digest, c.document)
		}
		changed = changed || c.document != nil
	}
	return changed
}

// oidDICE begins the names of extensions of device certificates (TCG DICE
// Attestation Architecture, section 6).
var oidDICE = asn1.ObjectIdentifier{2, 23, 133, 5, 4}

// loadCoRIM verifies one manifest. Who signs it has a certificate for signatures
// alone, as with manifests in XML: the same CAs issue those of OCSP responders.
func (v *Verifier) loadCoRIM(raw []byte, now time.Time) (*corim.Document, error) {
	d, err := corim.Load(raw, corim.Options{Trust: v.authority, Now: now})
	if err != nil {
		return nil, err
	}
	if d.Signature == nil || len(d.Signature.Chain) == 0 {
		return nil, fmt.Errorf("nvidia: manifest %s has no certificates", d.ID)
	}
	leaf := d.Signature.Chain[0]
	if leaf.IsCA || leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 {
		return nil, fmt.Errorf("nvidia: manifest %s: the certificate of %q is not one for signatures of manifests", d.ID, leaf.Subject.CommonName)
	}
	if slices.ContainsFunc(leaf.Extensions, func(e pkix.Extension) bool { return len(e.Id) > len(oidDICE) && oidDICE.Equal(e.Id[:len(oidDICE)]) }) {
		return nil, fmt.Errorf("nvidia: manifest %s: the certificate of %q is that of a device, which must not vouch for itself", d.ID, leaf.Subject.CommonName)
	}
	return d, nil
}

// reindex makes the index of all manifests that are verified.
func (s *store) reindex() {
	var all []*corim.Document
	for _, c := range s.corims {
		if c.document != nil && !slices.ContainsFunc(all, func(d *corim.Document) bool { return d.Digest == c.document.Digest }) {
			all = append(all, c.document)
		}
	}
	index, err := corim.NewIndex(all...)
	if err != nil {
		index = nil
	}
	s.index = index
}

// corimChains are the chains from who signed a CoRIM to a root, at a time when they
// are valid. Beside the signature may stand more than these need, in any order, so
// that only a path that verifies says whose status counts.
func (v *Verifier) corimChains(d *corim.Document, at time.Time) [][]*x509.Certificate {
	if d.Signature == nil || len(d.Signature.Chain) == 0 {
		return nil
	}
	o := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range v.rimRoots {
		o.Roots.AddCert(c)
	}
	for _, c := range d.Signature.Chain[1:] {
		o.Intermediates.AddCert(c)
	}
	chains, err := d.Signature.Chain[0].Verify(o)
	if err != nil {
		return nil
	}
	return chains
}

// corimStatus is what is known about the certificates of who signed a CoRIM. One
// without a chain to ask about is of unknown status.
func (v *Verifier) corimStatus(d *corim.Document, at time.Time) *revocation {
	out := &revocation{}
	for _, chain := range v.corimChains(d, at) {
		r := v.revocation(chain, at, v.params.manifestPolicy())
		out.results, out.ignored = append(out.results, r.results...), append(out.ignored, r.ignored...)
	}
	if len(out.results) == 0 {
		out.results = []ocsp.Result{{Certificate: &x509.Certificate{}, Status: ocsp.Missing, Why: "there is no chain of certificates to a root at this time"}}
	}
	return out
}
