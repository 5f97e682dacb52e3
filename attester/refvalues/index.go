// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/corim"
)

// Author signs documents as one simulated authority, and knows how far that one
// is to be believed.
type Author struct {
	Signer Signer
	// Authority is that for corim.NewTrust; it may speak for everything.
	Authority corim.Authority
}

// NewAuthor makes the authority that follows from a name. It holds from a year
// before to a year after now.
func NewAuthor(name string, now time.Time) (*Author, error) {
	seed := pki.NewSeed("author of reference values").Sub(name)
	template := func(cn string, ca bool) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: seed.Sub(cn).Serial(), Subject: pkix.Name{CommonName: cn}, IsCA: ca, BasicConstraintsValid: true,
			NotBefore: now.AddDate(-1, 0, 0).UTC().Truncate(time.Second), NotAfter: now.AddDate(1, 0, 0).UTC().Truncate(time.Second),
		}
	}
	rootKey, err := seed.Sub("root").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	key, err := seed.Sub("signer").ECDSA(elliptic.P256())
	if err != nil {
		return nil, err
	}
	root, err := pki.Root(rootKey, template(name+" root", true))
	if err != nil {
		return nil, err
	}
	leaf, err := root.Issue(key, template(name+" signer", false))
	if err != nil {
		return nil, err
	}
	return &Author{
		Signer: Signer{Key: key, Chain: []*x509.Certificate{leaf.Cert}, Name: name},
		Authority: corim.Authority{
			Name: name, Roots: []*x509.Certificate{root.Cert}, Profiles: []string{corim.AnyProfile}, Scopes: []corim.Environment{{}},
		},
	}, nil
}

// Index is a set of documents that the author has signed, as a verifier has it
// that believes the author at the time now.
func (a *Author) Index(now time.Time, docs ...Document) (*corim.Index, error) {
	trust, err := corim.NewTrust([]corim.Authority{a.Authority})
	if err != nil {
		return nil, err
	}
	var accepted []*corim.Document
	for _, d := range docs {
		raw, err := Signed(d, a.Signer)
		if err != nil {
			return nil, err
		}
		c, err := corim.Load(raw, corim.Options{Trust: trust, Now: now})
		if err != nil {
			return nil, err
		}
		accepted = append(accepted, c)
	}
	return corim.NewIndex(accepted...)
}
