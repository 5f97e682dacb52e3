// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/ocsp"
)

// reasonNames are the reasons of a revocation (RFC 5280, section 5.3.1).
var reasonNames = map[int]string{
	0: "unspecified", 1: "keyCompromise", 2: "cACompromise", 3: "affiliationChanged", 4: "superseded", 5: "cessationOfOperation",
	6: "certificateHold", 8: "removeFromCRL", 9: "privilegeWithdrawn", 10: "aACompromise",
}

const (
	reasonHold   = 6
	reasonRemove = 8
)

// revokedList is a revocation list whose signature was checked.
type revokedList struct {
	err     error // why it does not hold
	entries map[string]x509.RevocationListEntry
}

// revocation is what is known about the certificates of one verified chain.
type revocation struct {
	results []ocsp.Result
	// ignored are revocation lists that name an issuer and do not hold.
	ignored []string
}

// revocation asks responses and revocation lists about a chain, leaf first and
// root last. Nothing is remembered that depends on the time.
func (v *Verifier) revocation(chain []*x509.Certificate, at time.Time, p ocsp.Policy) *revocation {
	r := &revocation{results: v.checker.Check(v.store.responses, chain, at, nil, p)}
	for i := range r.results {
		s := &r.results[i]
		endless(s, at)
		r.lists(v, s, chain[s.Position+1])
		s.Excused = s.Status == ocsp.Hold && slices.Contains(p.HoldAllowed, s.Position)
	}
	return r
}

// endless lets a response that does not say until when it holds count for
// endorsements.StatusAge, as for who keeps it, whatever the policy says of others.
func endless(s *ocsp.Result, at time.Time) {
	if s.Status != ocsp.Good || !s.NextUpdate.IsZero() {
		return
	}
	end := s.ThisUpdate.Add(endorsements.StatusAge)
	if at.After(end) {
		s.Status, s.Until = ocsp.Stale, time.Time{}
		s.Why = fmt.Sprintf("the response of %s does not say until when it holds, and is older than %s", stamp(s.ThisUpdate), endorsements.StatusAge)
	} else if end.Before(s.Until) {
		s.Until = end
	}
}

// lists lets the revocation lists of the issuer have their say: a list never makes
// a certificate good, and one that revokes it does whatever its dates and whatever
// a response says. A hold counts unless a newer list or response lifts it. With more
// lists than are looked at nothing is known to be good: leaving one out could be
// leaving out a revocation.
func (r *revocation) lists(v *Verifier, s *ocsp.Result, issuer *x509.Certificate) {
	var hold, newest *endorsements.RevocationList
	for i, l := range v.store.lists[string(issuer.RawSubject)] {
		if i == maxLists {
			if s.Status == ocsp.Good {
				s.Status, s.Until = ocsp.Invalid, time.Time{}
				s.Why = fmt.Sprintf("there are more than %d revocation lists of %q, which are not all looked at", maxLists, issuer.Subject.CommonName)
			}
			break
		}
		checked := v.list(l, issuer)
		if checked.err != nil {
			r.ignored = append(r.ignored, fmt.Sprintf("%s: %v", l.Name, checked.err))
			continue
		}
		if newest == nil || l.ThisUpdate.After(newest.ThisUpdate) {
			newest = &l
		}
		e, listed := checked.entries[string(s.Certificate.SerialNumber.Bytes())]
		switch {
		case !listed || e.ReasonCode == reasonRemove:
		case e.ReasonCode != reasonHold:
			r.revoked(s, ocsp.Revoked, l, e)
			return
		case hold == nil || l.ThisUpdate.After(hold.ThisUpdate):
			hold = &l
		}
	}
	lifted := hold != nil && (newest.ThisUpdate.After(hold.ThisUpdate) || s.Status == ocsp.Good && s.ThisUpdate.After(hold.ThisUpdate))
	if hold != nil && !lifted && s.Status != ocsp.Revoked {
		e := v.list(*hold, issuer).entries[string(s.Certificate.SerialNumber.Bytes())]
		r.revoked(s, ocsp.Hold, *hold, e)
	}
}

func (r *revocation) revoked(s *ocsp.Result, status ocsp.Status, l endorsements.RevocationList, e x509.RevocationListEntry) {
	s.Status, s.Reason, s.RevokedAt, s.ThisUpdate, s.NextUpdate = status, e.ReasonCode, e.RevocationTime, l.ThisUpdate, l.NextUpdate
	s.Responder, s.ResponderSHA256, s.Response, s.Until = "", "", "", time.Time{}
	s.Why = fmt.Sprintf("revoked at %s for reason %d (%s), says the list %s of %s", stamp(e.RevocationTime), e.ReasonCode, reasonNames[e.ReasonCode], l.Name, stamp(l.ThisUpdate))
}

// list checks the signature of a revocation list once. A critical extension
// changes what a list means, so one with any is none.
func (v *Verifier) list(l endorsements.RevocationList, issuer *x509.Certificate) *revokedList {
	key := listKey(l, issuer)
	if known, ok := v.lists.Get(key); ok {
		return known
	}
	out := &revokedList{}
	for _, e := range l.Extensions {
		if e.Critical {
			out.err = fmt.Errorf("critical extension %s is not known", e.Id)
		}
	}
	if out.err == nil {
		out.err = l.CheckSignatureFrom(issuer)
	}
	if out.err == nil {
		out.entries = make(map[string]x509.RevocationListEntry, len(l.RevokedCertificateEntries))
		for _, e := range l.RevokedCertificateEntries {
			serial := string(e.SerialNumber.Bytes())
			// Of two entries about one certificate the one that cannot be lifted counts.
			if old, twice := out.entries[serial]; !twice || old.ReasonCode == reasonHold || old.ReasonCode == reasonRemove {
				out.entries[serial] = e
			}
		}
	}
	v.lists.Put(key, out)
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// name is a certificate in a reason.
func name(r ocsp.Result) string {
	return fmt.Sprintf("certificate %d (%q)", r.Position, r.Certificate.Subject.CommonName)
}

// in are the certificates with a status, one sentence.
func (r *revocation) in(is func(ocsp.Result) bool) string {
	var out []string
	for _, s := range r.results {
		if is(s) {
			out = append(out, name(s)+": "+s.Why)
		}
	}
	return strings.Join(out, "; ")
}

func isRevoked(r ocsp.Result) bool   { return r.Status == ocsp.Revoked }
func isHeld(r ocsp.Result) bool      { return r.Status == ocsp.Hold && !r.Excused }
func isTolerated(r ocsp.Result) bool { return r.Status == ocsp.Hold && r.Excused }

// isOpen holds for a certificate of which nothing is known that counts.
func isOpen(r ocsp.Result) bool {
	return r.Status != ocsp.Good && r.Status != ocsp.Revoked && r.Status != ocsp.Hold
}

// status says what the device chain is worth.
func (p *Proof) status(a *verdict.Appraisal) {
	r := p.verifier.revocation(p.Chain.certs[:], p.Time, p.verifier.params.devicePolicy())
	if err := p.verifier.store.unusable; err != nil {
		p.Find(a, findResponsesUnusable, "%v", err)
	}
	for _, f := range []struct {
		finding string
		is      func(ocsp.Result) bool
	}{{findRevoked, isRevoked}, {findHold, isHeld}, {findHoldTolerated, isTolerated}} {
		if why := r.in(f.is); why != "" {
			p.Find(a, f.finding, "device chain: %s", why)
		}
	}
	if why := r.in(isOpen); why != "" {
		finding := findRevocationUnknown
		if p.verifier.params.Revocation == optional {
			finding = findRevocationNotNeeded
		}
		p.Find(a, finding, "the revocation status of the device chain is not known: %s", why)
	}
	for _, why := range r.ignored {
		p.Find(a, findListIgnored, "%s", why)
	}
	if list := p.verifier.store.unread; len(list) > 0 {
		p.Find(a, findResponseUnreadable, "OCSP responses that cannot be read, whatever they say: %s", strings.Join(list, ", "))
	}
	a.Claims["revocation"] = r.claims()
	if c, ok := a.Claims[p.kind.ReportClaim("cert-chain")].(map[string]any); ok {
		r.describe(c)
	}
}

// claims lists the status of each certificate with the window of its answer.
func (r *revocation) claims() []any {
	var out []any
	for _, s := range r.results {
		c := map[string]any{"position": s.Position, "subject": s.Certificate.Subject.CommonName, "status": string(s.Status)}
		for key, t := range map[string]time.Time{"this_update": s.ThisUpdate, "next_update": s.NextUpdate, "good_until": s.Until} {
			if !t.IsZero() {
				c[key] = stamp(t)
			}
		}
		if s.Responder != "" {
			c["responder"] = s.Responder
		}
		if s.Status == ocsp.Revoked || s.Status == ocsp.Hold {
			c["reason"] = reasonNames[s.Reason]
		}
		out = append(out, c)
	}
	return out
}

// describe adds what is known about revocation to a certificate-chain object of
// NVIDIA's claims. What was not answered has the status unknown, and a response
// is only called valid if there is one about each certificate.
func (r *revocation) describe(c map[string]any) {
	status, answered, usable := "good", false, true
	for _, s := range r.results {
		answered = answered || s.Response != "" || s.Status == ocsp.Revoked || s.Status == ocsp.Hold
		usable = usable && (s.Status == ocsp.Good || s.Status == ocsp.Unknown || s.Status == ocsp.Revoked || s.Status == ocsp.Hold)
		switch {
		case s.Status == ocsp.Revoked || s.Status == ocsp.Hold:
			status = "revoked"
			if old, ok := c["x-nvidia-cert-revocation-reason"]; !ok || old == reasonNames[reasonHold] {
				c["x-nvidia-cert-revocation-reason"] = reasonNames[s.Reason]
			}
		case s.Status != ocsp.Good && status == "good":
			status = "unknown"
		}
	}
	if len(r.results) == 0 {
		status = "unknown"
	}
	c["x-nvidia-cert-ocsp-status"] = status
	if status == "revoked" {
		c["x-nvidia-cert-status"] = "revoked"
	}
	if answered {
		c["x-nvidia-cert-ocsp-response-valid"] = usable
	}
}
