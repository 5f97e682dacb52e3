// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/assize/assize/endorsements"
)

const (
	// maxIntermediates bounds how many loose intermediates are verified when a
	// verifier is made, maxLists the same for revocation lists.
	maxIntermediates = 64
	maxLists         = 64
	// maxCandidates is how many loose endorsement keys are tried for one report.
	// More than one fits only where chip or provider are not known.
	maxCandidates = 8
)

// store is the collateral of one bundle that is of AMD, immutable.
type store struct {
	// issuers are the pinned intermediates and those in the bundle that a
	// trusted root has issued.
	issuers []*authority
	// loose are certificates that call themselves endorsement keys, unverified.
	loose []looseVEK
	lists []*revocationList
	// complaints are lists that name a trusted root as issuer and are not its.
	complaints []listComplaint
}

type looseVEK struct {
	kind keyKind
	tcb  tcbBytes
	hwid []byte
	der  []byte
}

// revocationList is a CRL whose signature holds.
type revocationList struct {
	name   string
	issuer *authority
	list   *x509.RevocationList
}

type listComplaint struct {
	product product
	text    string
}

// newStore verifies what a bundle has of AMD, and nothing about time.
func newStore(rs *roots, b *endorsements.Bundle) *store {
	s := &store{issuers: append([]*authority(nil), rs.chain...)}
	for c := range b.Certificates() {
		switch cn := c.Subject.CommonName; {
		case cn == "SEV-VCEK":
			s.addLoose(c.Certificate, kindVCEK)
		case cn == "SEV-VLEK":
			s.addLoose(c.Certificate, kindVLEK)
		case c.IsCA && strings.HasPrefix(cn, commonASK) && len(s.issuers) < len(rs.chain)+maxIntermediates && rs.pinned(c.Digest) == nil:
			if a, err := rs.authorityOf(c.Certificate); err == nil {
				s.issuers = append(s.issuers, a)
			}
		}
	}
	n := 0
	for l := range b.RevocationLists() {
		if strings.HasPrefix(l.Issuer.CommonName, commonRoot) || strings.HasPrefix(l.Issuer.CommonName, commonASK) {
			if n++; n <= maxLists {
				s.addList(rs, l)
			}
		}
	}
	return s
}

func (s *store) addLoose(c *x509.Certificate, kind keyKind) {
	if id, err := parseIdentity(c, kind); err == nil {
		s.loose = append(s.loose, looseVEK{kind, id.tcb, id.hwid, c.Raw})
	}
}

// addList takes a list that one of the authorities has signed. A critical
// extension is one that changes what the list means, so such a list is none.
func (s *store) addList(rs *roots, l endorsements.RevocationList) {
	var p product
	err := fmt.Errorf("no trusted authority is named %.64q", l.Issuer.CommonName)
	for _, e := range l.Extensions {
		if e.Critical {
			s.complaints = append(s.complaints, listComplaint{productOfAuthority(l.Issuer.CommonName), fmt.Sprintf("%s: critical extension %s is not known", l.Name, e.Id)})
			return
		}
	}
	for _, a := range append(append([]*authority(nil), rs.arks...), s.issuers...) {
		if !bytes.Equal(a.cert.RawSubject, l.RawIssuer) {
			continue
		}
		if p = a.product; l.SignatureAlgorithm != x509.SHA384WithRSAPSS {
			err = fmt.Errorf("signature algorithm %s, expected SHA384-RSAPSS", l.SignatureAlgorithm)
			continue
		}
		if err = l.CheckSignatureFrom(a.cert); err == nil {
			s.lists = append(s.lists, &revocationList{l.Name, a, l.RevocationList})
			return
		}
	}
	if p != productUnknown {
		s.complaints = append(s.complaints, listComplaint{p, fmt.Sprintf("%s: %v", l.Name, err)})
	}
}

func productOfAuthority(cn string) product {
	return productOf(cn[strings.LastIndexByte(cn, '-')+1:])
}

// candidates are loose endorsement keys that may have signed a report: of its
// kind and TCB, and of its chip if that is known.
func (s *store) candidates(r *report) [][]byte {
	var out [][]byte
	for _, l := range s.loose {
		fits := l.kind == r.signer() && l.tcb == r.reportedTCB() &&
			(l.kind == kindVLEK || r.chipMasked() || bytes.Equal(r.chipID()[:len(l.hwid)], l.hwid) && allZero(r.chipID()[len(l.hwid):]))
		if fits && len(out) < maxCandidates {
			out = append(out, l.der)
		}
	}
	return out
}

// revocation is what the lists say about one chain at one time.
type revocation struct {
	// revoked says what is revoked and by which list, "" if nothing is.
	revoked string
	// current is a valid list of the root, nil if there is none; ignored are
	// lists that do not hold at this time, or are not what they say.
	current *revocationList
	ignored []string
}

// revocation looks every certificate below the root up in the lists of its
// issuer. What a list revokes stays revoked when the list has expired, so that an
// old list cannot be used to hide it; that nothing is revoked counts only of a
// list that holds now.
func (s *store) revocation(v *vek, now time.Time) revocation {
	var out revocation
	for _, l := range s.lists {
		for _, pair := range []struct {
			c      *x509.Certificate
			issuer *authority
		}{{v.issuer.cert, v.issuer.root}, {v.cert, v.issuer}} {
			if pair.issuer.digest != l.issuer.digest {
				continue
			}
			if l.names(pair.c.SerialNumber) && out.revoked == "" {
				out.revoked = fmt.Sprintf("%s, serial %s, is revoked by %s of %s", pair.c.Subject.CommonName,
					pair.c.SerialNumber.Text(16), l.name, l.list.ThisUpdate.UTC().Format(time.RFC3339))
			}
			if why := l.outside(now); why != "" {
				out.ignored = append(out.ignored, why)
			} else if pair.issuer == v.issuer.root || pair.issuer.digest == v.issuer.root.digest {
				if out.current == nil || l.list.ThisUpdate.After(out.current.list.ThisUpdate) {
					out.current = l
				}
			}
		}
	}
	for _, c := range s.complaints {
		if c.product == v.product {
			out.ignored = append(out.ignored, c.text)
		}
	}
	return out
}

func (l *revocationList) names(serial *big.Int) bool {
	for _, e := range l.list.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(serial) == 0 {
			return true
		}
	}
	return false
}

func (l *revocationList) outside(now time.Time) string {
	from, to := l.list.ThisUpdate, l.list.NextUpdate
	if to.IsZero() {
		return fmt.Sprintf("%s has no date of the next update", l.name)
	}
	if now.Before(from) || now.After(to) {
		return fmt.Sprintf("%s holds from %s to %s, not at %s", l.name, from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return ""
}
