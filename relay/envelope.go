// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Sign makes the signed message, at most limits.Evidence.Composite bytes with at
// most limits.Evidence.Leaves entries (statement, composite, evidence and
// partial results together). s must be the last of Via and must not be nil.
// Errors wrap *Error: an envelope that OpenEnvelope would refuse for its
// contents is not signed.
func (e Envelope) Sign(s *trust.Signer, random io.Reader) ([]byte, error) {
	raw, err := e.sign(s, random)
	if err != nil {
		return nil, fmt.Errorf("relay: sign envelope: %w", err.as(nil, verdict.ReasonMalfunction, ""))
	}
	return raw, nil
}

func (e Envelope) sign(s *trust.Signer, random io.Reader) ([]byte, *Error) {
	e.Issued, e.Deadline = e.Issued.Truncate(time.Millisecond), e.Deadline.Truncate(time.Millisecond)
	if err := e.check(); err != nil {
		return nil, err
	}
	if s == nil || s.KID() != e.Via[len(e.Via)-1] {
		return nil, fail(CheckSender, "the signer is not the last node of the path")
	}
	st, err := e.statement()
	if err != nil {
		return nil, fail(CheckStatement, "%v", err)
	}
	entries := append(partialEntries(e.Partials), entry(entryStatement, typeEnvelope, st, 0))
	if e.Evidence != nil {
		entries = append(entries, entry(entryComposite, typeComposite, e.Evidence, evidence.IndEvidence))
	}
	for i, c := range e.Components {
		if c.Evidence != nil {
			entries = append(entries, entry(numbered(entryEvidence, i), typeEvidence, c.Evidence, evidence.IndEvidence))
		}
	}
	return sign(s, random, EnvelopeType, entries)
}

// Expect is what a receiver knows of an envelope before it reads it.
type Expect struct {
	// To is the receiver's own name, KID the id of its own key. Both are needed.
	To  string
	KID string
	Now time.Time
	// Skew is the tolerated difference of clocks; zero means limits.ClockSkew.
	Skew time.Duration
}

// OpenEnvelope checks a received message and returns what it says and the key
// id of the node that signed it. find knows the keys of the nodes that may ask;
// a key without RoleNode, or past its end, does not count. Byte slices of the
// result are slices of raw, which must not change. Every error is an *Error:
//
//   - "refused": signature, form, contents, or another recipient
//   - "path-deviation": the path is none, or does not end with the signer
//   - "loop": a node is on the path twice, or it is the receiver
//   - "timeout": the deadline has passed, or is too far away
func OpenEnvelope(raw []byte, find func(kid string) (trust.Key, bool), x Expect) (*Envelope, string, error) {
	m, err := open(raw, EnvelopeType, finder{find: find, now: x.Now})
	if m == nil {
		return nil, "", err.as(nil, verdict.ReasonRefused, "")
	}
	var e *Envelope
	if err == nil {
		e, err = openEnvelope(m, x)
	}
	if err != nil {
		return nil, "", err.as(map[string]string{
			CheckSender: verdict.ReasonPathDeviation, CheckVia: verdict.ReasonPathDeviation,
			CheckLoop: verdict.ReasonLoop, CheckDeadline: verdict.ReasonTimeout,
		}, verdict.ReasonRefused, m.kid)
	}
	return e, m.kid, nil
}

func openEnvelope(m *message, x Expect) (*Envelope, *Error) {
	if x.To == "" || x.KID == "" || x.Now.IsZero() {
		return nil, fail(CheckArguments, "the receiver has no name, no key or no time")
	}
	st := m.take(entryStatement, typeEnvelope, 0)
	if st == nil {
		return nil, fail(CheckMessage, "no statement")
	}
	e, err := readEnvelope(st, m)
	if err != nil {
		return nil, err
	}
	if len(e.Via) == 0 || e.Via[len(e.Via)-1] != m.kid {
		return nil, fail(CheckSender, "the signer is not the last node of the path")
	}
	if e.To != x.To {
		return nil, fail(CheckRecipient, "meant for %.32q", e.To)
	}
	if slices.Contains(e.Via, x.KID) {
		return nil, fail(CheckLoop, "the envelope has been here before")
	}
	if err := e.check(); err != nil {
		return nil, err
	}
	skew := x.Skew
	if skew == 0 {
		skew = limits.ClockSkew
	}
	if e.Issued.After(x.Now.Add(skew)) {
		return nil, fail(CheckFuture, "issued at %s, which is in the future", e.Issued.Format(formMillis))
	}
	if x.Now.After(e.Deadline.Add(skew)) {
		return nil, fail(CheckDeadline, "the deadline was %s", e.Deadline.Format(formMillis))
	}
	return e, nil
}
