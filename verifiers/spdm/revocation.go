// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
)

// maxPerIssuer is how many revocation lists of one issuer are looked at. With
// more, a revocation might be among those left out, so none counts as valid.
const maxPerIssuer = 64

// reasonRemove is the reason code of an entry that lifts another (RFC 5280,
// section 5.3.1).
const reasonRemove = 8

// lists are the loose revocation lists of a bundle by the name of their issuer.
type lists struct {
	byIssuer map[string][]endorsements.RevocationList
	checked  *lru.Cache[*checkedList]
}

type checkedList struct {
	err     error
	revoked map[string]x509.RevocationListEntry // by serial number
}

func newLists(b *endorsements.Bundle) *lists {
	l := &lists{byIssuer: map[string][]endorsements.RevocationList{}, checked: lru.New[*checkedList](maxLists)}
	for r := range b.RevocationLists() {
		l.byIssuer[string(r.RawIssuer)] = append(l.byIssuer[string(r.RawIssuer)], r)
	}
	return l
}

// check verifies the signature of a list once for each issuer. A critical
// extension changes what a list means, so one with any is none.
func (l *lists) check(r endorsements.RevocationList, issuer *x509.Certificate) *checkedList {
	sum := sha256.Sum256(issuer.Raw)
	key := lru.Key(sha256.Sum256(append(sum[:], r.Digest[:]...)))
	if c, ok := l.checked.Get(key); ok {
		return c
	}
	c := &checkedList{revoked: map[string]x509.RevocationListEntry{}}
	for _, e := range r.Extensions {
		if e.Critical {
			c.err = fmt.Errorf("critical extension %s is not known", e.Id)
		}
	}
	if c.err == nil {
		c.err = r.CheckSignatureFrom(issuer)
	}
	if c.err == nil {
		for _, e := range r.RevokedCertificateEntries {
			if e.ReasonCode != reasonRemove {
				c.revoked[string(e.SerialNumber.Bytes())] = e
			}
		}
	}
	l.checked.Put(key, c)
	return c
}

// status is what lists say about a path.
type status struct {
	revoked  string
	ignored  []string
	open     []string // issuers without a list that holds now
	current  []string // names of lists that do
	earliest time.Time
}

// look asks for every certificate below the anchor. What a list revokes stays
// revoked when it has expired, so that an old list cannot be used to hide it;
// that nothing is revoked needs a list that holds now.
func (l *lists) look(path []*x509.Certificate, now time.Time) (s status) {
	for i, c := range path[:len(path)-1] {
		issuer, known := path[i+1], false
		candidates := l.byIssuer[string(c.RawIssuer)]
		for n, r := range candidates {
			if n == maxPerIssuer {
				s.ignored = append(s.ignored, fmt.Sprintf("more than %d lists of %q", maxPerIssuer, clip(issuer.Subject.CommonName)))
				known = false
				break
			}
			checked := l.check(r, issuer)
			if checked.err != nil {
				s.ignored = append(s.ignored, fmt.Sprintf("%s: %v", r.Name, checked.err))
				continue
			}
			if e, ok := checked.revoked[string(c.SerialNumber.Bytes())]; ok && s.revoked == "" {
				s.revoked = fmt.Sprintf("certificate %q, serial %x, was revoked at %s (reason %d), says %s of %s",
					clip(c.Subject.CommonName), c.SerialNumber, stamp(e.RevocationTime), e.ReasonCode, r.Name, stamp(r.ThisUpdate))
			}
			if r.NextUpdate.IsZero() || now.Before(r.ThisUpdate) || now.After(r.NextUpdate) {
				s.ignored = append(s.ignored, fmt.Sprintf("%s holds from %s to %s", r.Name, stamp(r.ThisUpdate), stamp(r.NextUpdate)))
				continue
			}
			known = true
			if !slices.Contains(s.current, r.Name) {
				s.current = append(s.current, r.Name)
			}
			if s.earliest.IsZero() || r.NextUpdate.Before(s.earliest) {
				s.earliest = r.NextUpdate
			}
		}
		if !known {
			s.open = append(s.open, clip(issuer.Subject.CommonName))
		}
	}
	return s
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// revocation judges the status of the chain.
func (v *verifier) revocation(a *verdict.Appraisal, p *proof) {
	s := v.lists.look(p.Identity.Path, p.in.Time)
	claim := map[string]any{"checked": len(s.open) == 0}
	if len(s.current) > 0 {
		claim["lists"], claim["next_update"] = texts(s.current), stamp(s.earliest)
	}
	a.Claims["revocation"] = claim
	v.when(a, s.revoked != "", findRevoked, "%s", s.revoked)
	for _, why := range s.ignored[:min(len(s.ignored), 8)] {
		v.find(a, findListIgnored, "%s", why)
	}
	v.when(a, len(s.open) > 0 && v.params.Revocation == revocationRequired, findListMissing, "no valid revocation list of %q was given", s.open)
}
