// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/internal/lru"
)

// Status is what is known about the revocation of one certificate.
type Status string

const (
	// Good means: a usable response says that the certificate is not revoked.
	Good Status = "good"
	// Revoked for good: an authorised response says so, however old it is.
	Revoked Status = "revoked"
	// Hold is a revocation that can be lifted (reason certificateHold).
	Hold Status = "hold"
	// Unknown means: the responder does not know the certificate.
	Unknown Status = "unknown"
	// Missing means: there is no response about the certificate.
	Missing Status = "missing"
	// Stale means: an authorised response does not count at this time: out of date, older
	// than the policy allows, or not valid yet.
	Stale Status = "stale"
	// Invalid means: nobody who may answer for the issuer has signed the response, or it
	// does not have the nonce.
	Invalid Status = "invalid"
)

// reasonHold is certificateHold (RFC 5280, section 5.3.1).
const reasonHold = 6

// First certificates whose status is asked for, leaf is 0. That of a device's leaf
// is not: the device made it, and NVIDIA does not know it.
const (
	DeviceFrom = 1
	RIMFrom    = 0
)

// Policy says what is asked of a chain. The zero value asks for everything below
// the root and excuses nothing.
type Policy struct {
	// From is the position of the first certificate that needs a status, DeviceFrom
	// or RIMFrom.
	From int
	// MaxAge is how long after thisUpdate a response counts at most, zero for as long
	// as it says itself. One without nextUpdate then needs the nonce.
	MaxAge time.Duration
	// HoldAllowed are the positions of certificates that may be on hold. It changes
	// no status: such a Result is Excused.
	HoldAllowed []int
	// UncheckedResponder lets responders count whose certificate lacks
	// id-pkix-ocsp-nocheck although there is no status of their own (RFC 6960,
	// section 4.2.2.2.1, leaves this to local policy). One that is revoked or on
	// hold never counts.
	UncheckedResponder bool
}

// Result is the status of one certificate. Times are zero, and the responder is
// empty, where no authorised response stands behind it.
type Result struct {
	// Position in the chain; Certificate is the one there.
	Position    int
	Certificate *x509.Certificate
	Status      Status
	// Why explains a status other than Good.
	Why string
	// Reason and RevokedAt are those of Revoked and Hold (RFC 5280, section 5.3.1).
	Reason    int
	RevokedAt time.Time
	// Excused: on hold, which the policy allows here.
	Excused bool

	ThisUpdate, NextUpdate, ProducedAt time.Time
	// Until is when a Good ends to count: the end of the response, of MaxAge or of
	// the responder's certificate.
	Until time.Time
	// Nonce tells whether the response repeats the nonce that was asked for.
	Nonce bool
	// Responder is the subject of who signed, ResponderSHA256 the SHA-256 of its
	// certificate in hexadecimal, Delegated whether it is another than the issuer.
	Responder, ResponderSHA256 string
	Delegated                  bool
	// Response is the SHA-256 of the response, in hexadecimal.
	Response string
}

// AllGood tells whether there are results and every one is Good. Excused ones are not.
func AllGood(results []Result) bool {
	return len(results) > 0 && !slices.ContainsFunc(results, func(r Result) bool { return r.Status != Good })
}

// Checker verifies responses and remembers, by the SHA-256 of the response and of
// the issuer's certificate, which signatures held. Times are compared at every
// use. It is safe for concurrent use.
type Checker struct {
	proofs *lru.Cache[*proof]
}

// NewChecker remembers at most entries verified responses, about 2 KiB each.
func NewChecker(entries int) *Checker { return &Checker{lru.New[*proof](entries)} }

// Check gives the status at time at of all certificates of a verified chain, leaf
// first, from p.From up to the one below the root. With a nonce (not nil), only responses
// that repeat it are usable. Without any response every status is Missing; a nil
// set is an empty one.
func (c *Checker) Check(set *Set, chain []*x509.Certificate, at time.Time, nonce []byte, p Policy) []Result {
	var out []Result
	for i := max(p.From, 0); i+1 < len(chain); i++ {
		q := query{c, set, chain[i+1], at, nonce, p, map[[sha256.Size]byte]Status{}}
		r := q.status(chain[i])
		r.Position, r.Certificate = i, chain[i]
		r.Excused = r.Status == Hold && slices.Contains(p.HoldAllowed, i)
		out = append(out, r)
	}
	return out
}

// query asks about certificates of one issuer.
type query struct {
	*Checker
	set    *Set
	issuer *x509.Certificate
	at     time.Time
	nonce  []byte
	policy Policy
	// responders are the statuses of responders that were found so far, by the
	// SHA-256 of their certificates; nil in the query about a responder, which asks
	// about no other.
	responders map[[sha256.Size]byte]Status
}

// candidate is one response about the certificate.
type candidate struct {
	*Response
	proof *proof
	// flaw is Stale or Invalid, empty if the response is usable; why explains it.
	flaw Status
	why  string
}

// status chooses between all responses about a certificate.
func (q query) status(cert *x509.Certificate) Result {
	if !bytes.Equal(cert.RawIssuer, q.issuer.RawSubject) {
		return Result{Status: Invalid, Why: fmt.Sprintf("the certificate was issued by %q, not by %q", name(cert.Issuer), name(q.issuer.Subject))}
	}
	responses, err := q.set.about(cert, q.issuer)
	if err != nil {
		return Result{Status: Invalid, Why: err.Error()}
	}
	if len(responses) == 0 {
		return Result{Status: Missing, Why: "there is no OCSP response about it"}
	}
	var best, hold, flawed *candidate
	for _, r := range responses { // newest first
		n := q.judge(r)
		switch {
		case n.proof != nil && r.status == Revoked:
			return q.result(n, Revoked)
		case n.proof != nil && r.status == Hold && hold == nil:
			hold = n
		}
		switch {
		case n.flaw == "" && (best == nil || r.this.Equal(best.this) && worse(r.status, best.status)):
			best = n
		case n.flaw != "" && (flawed == nil || flawed.flaw == Invalid && n.flaw == Stale):
			flawed = n
		}
	}
	switch {
	case hold != nil && (best == nil || !best.this.After(hold.this)):
		return q.result(hold, Hold)
	case best != nil:
		return q.result(best, best.status)
	default:
		return q.result(flawed, flawed.flaw)
	}
}

// worse ranks statuses of two usable responses of the same time.
func worse(a, b Status) bool {
	rank := map[Status]int{Good: 0, Unknown: 1, Hold: 2}
	return rank[a] > rank[b]
}

// judge finds out what one response is worth at the time of the query.
func (q query) judge(r *Response) *candidate {
	n := &candidate{Response: r}
	p, err := q.prove(r, q.issuer)
	if err != nil {
		n.flaw, n.why = Invalid, cut(err.Error(), maxMessage)
		return n
	}
	own := q.responder(p)
	if own == Revoked || own == Hold {
		n.flaw, n.why = Invalid, fmt.Sprintf("the certificate of responder %q is itself revoked or on hold", name(p.signer.Subject))
		return n
	}
	n.proof = p
	switch {
	case own != Good && !q.policy.UncheckedResponder:
		n.flaw, n.why = Invalid, fmt.Sprintf("the certificate of responder %q lacks id-pkix-ocsp-nocheck, and its own status is %s", name(p.signer.Subject), own)
	case q.at.Before(p.signer.NotBefore) || q.at.After(p.signer.NotAfter):
		n.flaw, n.why = Invalid, fmt.Sprintf("the certificate of responder %q is valid from %s to %s", name(p.signer.Subject), stamp(p.signer.NotBefore), stamp(p.signer.NotAfter))
	case q.nonce != nil && !q.repeated(r):
		n.flaw, n.why = Invalid, "the response does not repeat the nonce that was asked for"
	default:
		n.flaw, n.why = q.window(r)
	}
	return n
}

// repeated tells whether a response has the nonce that was asked for. An empty
// nonce is none that anybody could repeat.
func (q query) repeated(r *Response) bool {
	return len(q.nonce) > 0 && subtle.ConstantTimeCompare(q.nonce, r.nonce) == 1
}

// responder is the status of the responder's certificate: good with nocheck, unless
// it is known to be revoked or on hold. The issuer's own is not asked for here: it
// is another certificate of the chain.
func (q query) responder(p *proof) Status {
	if !p.delegated {
		return Good
	}
	own := Missing
	if found := q.responders; found != nil {
		key := sha256.Sum256(p.signer.Raw)
		var known bool
		if own, known = found[key]; !known {
			q.responders, q.nonce, q.policy = nil, nil, Policy{MaxAge: q.policy.MaxAge}
			own = q.status(p.signer).Status
			found[key] = own
		}
	}
	if p.noCheck && own != Revoked && own != Hold {
		return Good
	}
	return own
}

// window compares the times of a response with that of the query.
func (q query) window(r *Response) (Status, string) {
	latest := q.at.Add(limits.ClockSkew)
	switch {
	case r.this.After(latest) || r.produced.After(latest):
		return Stale, fmt.Sprintf("the response is of %s (produced %s) and not valid yet", stamp(r.this), stamp(r.produced))
	case !r.next.IsZero() && q.at.After(r.next):
		return Stale, fmt.Sprintf("the response of %s ended at %s", stamp(r.this), stamp(r.next))
	case q.policy.MaxAge < 0 || q.policy.MaxAge > 0 && q.at.Sub(r.this) > q.policy.MaxAge:
		return Stale, fmt.Sprintf("the response of %s is older than %s", stamp(r.this), q.policy.MaxAge)
	case r.next.IsZero() && q.policy.MaxAge == 0 && q.nonce == nil:
		return Stale, fmt.Sprintf("the response of %s does not say until when it holds", stamp(r.this))
	}
	return "", ""
}

// result reports a candidate under a status.
func (q query) result(n *candidate, s Status) Result {
	r := Result{Status: s, Why: n.why, Response: hex.EncodeToString(n.digest[:])}
	if n.proof == nil {
		return r
	}
	r.ThisUpdate, r.NextUpdate, r.ProducedAt = n.this, n.next, n.produced
	sum := sha256.Sum256(n.proof.signer.Raw)
	r.Responder, r.ResponderSHA256, r.Delegated = name(n.proof.signer.Subject), hex.EncodeToString(sum[:]), n.proof.delegated
	r.Nonce = q.repeated(n.Response)
	switch s {
	case Revoked, Hold:
		r.Reason, r.RevokedAt = n.reason, n.revokedAt
		r.Why = fmt.Sprintf("revoked at %s for reason %d, says the response of %s", stamp(n.revokedAt), n.reason, stamp(n.this))
		if n.why != "" {
			r.Why += " (which does not count for anything better: " + n.why + ")"
		}
	case Unknown:
		r.Why = fmt.Sprintf("the responder does not know the certificate, says the response of %s", stamp(n.this))
	case Good:
		r.Until = q.until(n)
	}
	return r
}

// until is the first of the ends of a usable response. One that names no end, and
// gets none from the policy, holds for this nonce only.
func (q query) until(n *candidate) time.Time {
	if n.next.IsZero() && q.policy.MaxAge == 0 {
		return q.at
	}
	end := n.proof.signer.NotAfter
	if !n.next.IsZero() && n.next.Before(end) {
		end = n.next
	}
	if age := n.this.Add(q.policy.MaxAge); q.policy.MaxAge > 0 && age.Before(end) {
		end = age
	}
	return end
}

// name shortens a name in a certificate that may not be verified.
func name(n pkix.Name) string { return cut(n.String(), 200) }

// cut shortens what was made from an unverified response for a message.
func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "�")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
