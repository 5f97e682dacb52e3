// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// revocationList is one list as it was loaded; who signed it is another matter.
type revocationList struct {
	file    string
	list    *x509.RevocationList
	serials map[string]bool
}

func newLists(b *endorsements.Bundle) []*revocationList {
	var out []*revocationList
	for l := range b.RevocationLists() {
		r := &revocationList{file: l.Name, list: l.RevocationList, serials: map[string]bool{}}
		for _, e := range l.RevokedCertificateEntries {
			r.serials[e.SerialNumber.String()] = true
		}
		out = append(out, r)
	}
	return out
}

// listsOf are the lists that an authority has signed.
func (v *verifier) listsOf(ca *x509.Certificate) []*revocationList {
	var out []*revocationList
	for _, l := range v.lists {
		if bytes.Equal(l.list.RawIssuer, ca.RawSubject) && l.list.CheckSignatureFrom(ca) == nil {
			out = append(out, l)
		}
	}
	return out
}

// current tells whether what is not in the list is known not to be revoked.
func (l *revocationList) current(now time.Time) bool {
	return !now.Before(l.list.ThisUpdate) && !now.After(l.list.NextUpdate)
}

// revocations asks every list that an authority of the chain has signed. A
// revocation counts whatever the dates of its list are; that there is none takes
// a list that is current, for each certificate that names a place of one.
func revocations(a *verdict.Appraisal, p *appraisal.Policy, c chain, now time.Time) {
	var unknown []string
	status := map[string]any{}
	for i, l := range c[1:] {
		known, file := false, ""
		for _, r := range c[i].lists {
			if r.serials[l.cert.SerialNumber.String()] {
				file = r.file
				p.Apply(a, findRevoked, fmt.Sprintf("certificate %q (serial number %x) is on the revocation list %s of %q",
					l.cert.Subject.CommonName, l.cert.SerialNumber, r.file, c[i].cert.Subject.CommonName))
				break
			}
			known = known || r.current(now)
		}
		switch name := l.cert.Subject.CommonName; {
		case file != "":
			status[name] = "revoked"
		case known:
			status[name] = "not revoked"
		case len(l.cert.CRLDistributionPoints) > 0:
			unknown = append(unknown, fmt.Sprintf("%q", name))
			status[name] = "unknown"
		}
	}
	if len(unknown) > 0 {
		p.Apply(a, findRevocationUnknown, "no current revocation list says anything about "+strings.Join(unknown, " and "))
	}
	a.Claims["revocation"] = status
}
