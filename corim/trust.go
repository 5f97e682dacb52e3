// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Errors of Load, for errors.Is.
var (
	// ErrUnsigned is for a document without a signature where one is required.
	ErrUnsigned = errors.New("not signed")
	// ErrUntrusted is for a signature that no authority has made.
	ErrUntrusted = errors.New("not signed by a trusted authority")
	// ErrSignature is for a signature that is wrong under the key it names.
	ErrSignature = errors.New("signature is wrong")
	// ErrScope is for an authority that speaks of what is not its business.
	ErrScope = errors.New("beyond what the authority may speak for")
	// ErrPeriod is for a document that does not hold at the time.
	ErrPeriod = errors.New("not valid at this time")
	// ErrProfile is for a profile that is not known.
	ErrProfile = errors.New("profile is not known")
	// ErrRule is for a document that breaks a rule of its profile.
	ErrRule = errors.New("breaks a rule of its profile")
)

// AnyProfile in Authority.Profiles lets the authority use every profile that is
// known, and none.
const AnyProfile = "*"

// NoProfile in Authority.Profiles lets the authority sign documents without a
// profile.
const NoProfile = ""

// SigningKey is a public key by its identifier.
type SigningKey struct {
	// ID is compared with kid.
	ID []byte
	// Public is *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey.
	Public crypto.PublicKey
}

// Authority is somebody whose documents are believed, and how far.
type Authority struct {
	// Name stands in results. It is unique in a Trust.
	Name string
	// Keys are for documents that name a kid and bring no certificates, Roots for
	// those that bring x5chain. At least one of both.
	Keys  []SigningKey
	Roots []*x509.Certificate
	// Profiles are those it may use: AnyProfile, NoProfile, or profiles as in
	// Document.Profile. At least one.
	Profiles []string
	// Scopes are the environments it may speak for. An environment is within a
	// scope if it has everything that the scope has: vendor "ACME" is all of
	// ACME's. The zero Environment is everything. At least one.
	Scopes []Environment
	// Validity is when the authority is believed; the zero Period is always.
	Validity Period
	// Simulated says that the authority speaks of machines that do not exist, so
	// that whoever believes it has to say so (Index.Simulated).
	Simulated bool
}

// Trust is an immutable set of authorities. Build it with NewTrust.
type Trust struct {
	authorities []*authority
}

type authority struct {
	Authority
	pool *x509.CertPool
}

// NewTrust checks authorities and keeps a copy. An authority that could say
// nothing, because it lacks keys, profiles or scopes, is an error, and so are
// two of one name and two that have the same kid.
func NewTrust(list []Authority) (*Trust, error) {
	t := new(Trust)
	var ids [][]byte
	for i, a := range list {
		switch {
		case a.Name == "":
			return nil, fmt.Errorf("corim: authority %d without a name", i)
		case slices.ContainsFunc(list[:i], func(b Authority) bool { return b.Name == a.Name }):
			return nil, fmt.Errorf("corim: two authorities %q", a.Name)
		case len(a.Keys) == 0 && len(a.Roots) == 0:
			return nil, fmt.Errorf("corim: authority %q without keys and roots", a.Name)
		case len(a.Profiles) == 0:
			return nil, fmt.Errorf("corim: authority %q may use no profile", a.Name)
		case len(a.Scopes) == 0:
			return nil, fmt.Errorf("corim: authority %q may speak for nothing", a.Name)
		}
		for _, k := range a.Keys {
			if len(k.ID) == 0 || k.Public == nil {
				return nil, fmt.Errorf("corim: authority %q: key without an identifier or a value", a.Name)
			}
			if slices.ContainsFunc(ids, func(id []byte) bool { return bytes.Equal(id, k.ID) }) {
				return nil, fmt.Errorf("corim: authority %q: key identifier %x is given twice", a.Name, k.ID)
			}
			ids = append(ids, k.ID)
		}
		own := &authority{Authority: a, pool: x509.NewCertPool()}
		own.Keys, own.Roots = slices.Clone(a.Keys), slices.Clone(a.Roots)
		own.Profiles, own.Scopes = slices.Clone(a.Profiles), slices.Clone(a.Scopes)
		for _, c := range a.Roots {
			own.pool.AddCert(c)
		}
		t.authorities = append(t.authorities, own)
	}
	return t, nil
}

// Voucher is who has signed a document, as it turned out.
type Voucher struct {
	// Name is that of the Authority.
	Name string
	// Signer is the name that the signature gives itself.
	Signer string
	// Keys are the ways to name the key that signed, for authorized-by: the key
	// (554), and with certificates each of the path (562, and so 555).
	Keys []Typed
	// Simulated is that of the Authority.
	Simulated bool
}

// authorize finds the authority that has signed d and whether it holds at now.
func (t *Trust) authorize(d *Document, now time.Time) (*authority, *Voucher, Period, error) {
	s := d.Signature
	if t == nil {
		return nil, nil, Period{}, fmt.Errorf("corim: %s: no authorities: %w", d.ID, ErrUntrusted)
	}
	if s.Chain != nil {
		return t.byChain(d, now)
	}
	if s.KeyID == nil {
		return nil, nil, Period{}, fmt.Errorf("corim: %s: neither certificates nor a key identifier: %w", d.ID, ErrUntrusted)
	}
	for _, a := range t.authorities {
		for _, k := range a.Keys {
			if !bytes.Equal(k.ID, s.KeyID) {
				continue
			}
			if err := s.verify(k.Public); err != nil {
				return nil, nil, Period{}, fmt.Errorf("corim: %s: key %x of %q: %w: %v", d.ID, k.ID, a.Name, ErrSignature, err)
			}
			v, err := voucher(a, s, k.Public, nil)
			return a, v, a.Validity, err
		}
	}
	return nil, nil, Period{}, fmt.Errorf("corim: %s: key %x: %w", d.ID, s.KeyID, ErrUntrusted)
}

// byChain is authorize for a signature with certificates.
func (t *Trust) byChain(d *Document, now time.Time) (*authority, *Voucher, Period, error) {
	s := d.Signature
	if err := s.verify(s.Chain[0].PublicKey); err != nil {
		return nil, nil, Period{}, fmt.Errorf("corim: %s: certificate of %q: %w: %v", d.ID, s.Chain[0].Subject, ErrSignature, err)
	}
	var reason error
	for _, a := range t.authorities {
		if len(a.Roots) == 0 {
			continue
		}
		path, err := s.path(a.pool, now)
		if err != nil {
			reason = err
			continue
		}
		window := a.Validity
		for _, c := range path {
			window = window.and(Period{NotBefore: c.NotBefore, NotAfter: c.NotAfter})
		}
		v, err := voucher(a, s, s.Chain[0].PublicKey, path)
		return a, v, window, err
	}
	if reason == nil {
		reason = errors.New("no authority has roots")
	}
	return nil, nil, Period{}, fmt.Errorf("corim: %s: certificate of %q: %w: %v", d.ID, s.Chain[0].Subject, ErrUntrusted, reason)
}

func voucher(a *authority, s *Signature, key crypto.PublicKey, path []*x509.Certificate) (*Voucher, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("corim: key of %q: %w", a.Name, err)
	}
	v := &Voucher{Name: a.Name, Signer: s.Signer, Simulated: a.Simulated, Keys: []Typed{TaggedBytes(TagPKIXKey, der)}}
	for _, c := range path {
		v.Keys = append(v.Keys, TaggedBytes(TagDERCert, c.Raw))
	}
	return v, nil
}

// PublicKey is a public key as a value for Query.Authority.
func PublicKey(key crypto.PublicKey) (Typed, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return Typed{}, fmt.Errorf("corim: %w", err)
	}
	return TaggedBytes(TagPKIXKey, der), nil
}

// Certificate is a certificate as a value for Query.Authority.
func Certificate(c *x509.Certificate) Typed { return TaggedBytes(TagDERCert, c.Raw) }

// comparableKey is one form for keys that have several: a PEM text becomes the DER
// in it, so that line ends do not matter.
func (t Typed) comparableKey() Typed {
	if t.Form != Text || t.Tag != TagPKIXKey && t.Tag != TagPKIXCert {
		return t
	}
	block, rest := pem.Decode([]byte(t.Data))
	if block == nil || len(bytes.TrimSpace(rest)) > 0 {
		return t
	}
	switch {
	case t.Tag == TagPKIXKey && block.Type == "PUBLIC KEY":
		return TaggedBytes(TagPKIXKey, block.Bytes)
	case t.Tag == TagPKIXCert && block.Type == "CERTIFICATE":
		return TaggedBytes(TagDERCert, block.Bytes)
	}
	return t
}

// may checks that every statement of d is the business of a.
func (a *authority) may(d *Document) error {
	if !slices.Contains(a.Profiles, d.Profile) && !slices.Contains(a.Profiles, AnyProfile) {
		return fmt.Errorf("corim: %s: %q may not use profile %q: %w", d.ID, a.Name, d.Profile, ErrScope)
	}
	for i, t := range d.Tags {
		if t.Comid == nil {
			continue
		}
		var err error
		t.Comid.subjects(func(kind Kind, n int, e Environment) bool {
			if !slices.ContainsFunc(a.Scopes, e.within) {
				err = fmt.Errorf("corim: %s: tags[%d].%s[%d]: %q speaks for %s: %w", d.ID, i, kind, n, a.Name, e, ErrScope)
			}
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// subjects yields every environment that the tag says something about, with the
// kind and index of the triple. Conditions, members and trustees are not: the
// statement is about the domain, and what a condition names is not changed.
func (m *Comid) subjects(yield func(kind Kind, i int, e Environment) bool) {
	values := func(kind Kind, list []ValueTriple) bool {
		for i, t := range list {
			if !yield(kind, i, t.Environment) {
				return false
			}
		}
		return true
	}
	keys := func(kind Kind, list []KeyTriple) bool {
		for i, t := range list {
			if !yield(kind, i, t.Environment) {
				return false
			}
		}
		return true
	}
	domains := func(kind Kind, list []DomainTriple) bool {
		for i, t := range list {
			if !yield(kind, i, t.Domain) {
				return false
			}
		}
		return true
	}
	if !values(Reference, m.Reference) || !values(Endorsed, m.Endorsed) || !keys(IdentityKey, m.Identities) || !keys(AttestKey, m.AttestKeys) ||
		!domains(Dependency, m.Dependency) || !domains(Membership, m.Membership) {
		return
	}
	for i, t := range m.Software {
		if !yield(Software, i, t.Environment) {
			return
		}
	}
	for i, t := range m.Series {
		if !yield(ConditionalSeries, i, t.Condition.Environment) {
			return
		}
	}
	for i, t := range m.Conditional {
		for _, e := range t.Endorsements {
			if !yield(ConditionalEndorsed, i, e.Environment) {
				return
			}
		}
	}
}
