// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers"
)

// found is a finding of the policy with its detail.
type found struct{ name, detail string }

// voucher says who vouches for an attestation key.
type voucher struct {
	// chain is nil without a certificate under a trusted root.
	chain *chain
	// documents name the key.
	documents []corim.Source
	findings  []found
}

// vouch looks for somebody who says that the key is one of a TPM. A failure means
// that the certificates contradict themselves or the key.
func (v *verifier) vouch(in verifiers.Input, l *leaf, s *statement) (*voucher, *failure) {
	w := &voucher{documents: v.documents(in, s)}
	if l.certs != nil {
		var f *failure
		if w.chain, w.findings, f = v.certificates(in, l, s); f != nil {
			return nil, f
		}
	}
	endorsed := found{name: keyEndorsed}
	switch {
	case len(w.documents) > 0 && w.chain == nil:
		w.findings = []found{endorsed} // whoever issued the certificate
	case len(w.documents) > 0:
		w.findings = append(w.findings, endorsed)
	case l.certs == nil:
		w.findings = []found{{keyUnvouched, fmt.Sprintf(
			"the attestation key %s… has no certificate, and no signed document names it: only a CPU's report that commits to it could", s.id[:16])}}
	}
	return w, nil
}

// documents are the signed ones that name the key for this environment by an
// attest-key triple without conditions.
func (v *verifier) documents(in verifiers.Input, s *statement) []corim.Source {
	if in.References == nil {
		return nil
	}
	var out []corim.Source
	for _, k := range in.References.AttestKeys(in.Time, environment()) {
		bare := k.Element == (corim.Key{}) && len(k.AuthorizedBy) == 0
		if names(k.Key, s.spki) && bare && k.Source.Document().Signed() {
			out = append(out, k.Source)
		}
	}
	return out
}

// names says whether a key of a document, PEM (RFC 7468) as the draft wants it, is
// the one with this SubjectPublicKeyInfo.
func names(key corim.Typed, spki []byte) bool {
	block, rest := pem.Decode([]byte(key.Data))
	return key.Tag == corim.TagPKIXKey && block != nil && block.Type == "PUBLIC KEY" && len(bytes.TrimSpace(rest)) == 0 && bytes.Equal(block.Bytes, spki)
}

// vouched: a chain or a document says that the key is one of a TPM.
func (w *voucher) vouched() bool { return w.chain != nil || len(w.documents) > 0 }

// certs are those of the trusted chain.
func (w *voucher) certs() []*x509.Certificate {
	if w.chain == nil {
		return nil
	}
	return w.chain.certs
}
