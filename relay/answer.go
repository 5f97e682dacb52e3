// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Sign makes the signed message, within the bounds of Envelope.Sign. s must be
// in Via, behind the entry node. Errors wrap *Error.
func (a Answer) Sign(s *trust.Signer, random io.Reader) ([]byte, error) {
	raw, err := a.sign(s, random)
	if err != nil {
		return nil, fmt.Errorf("relay: sign answer: %w", err.as(nil, verdict.ReasonMalfunction, ""))
	}
	return raw, nil
}

func (a Answer) sign(s *trust.Signer, random io.Reader) ([]byte, *Error) {
	a.Issued = a.Issued.Truncate(time.Millisecond)
	if err := a.check(); err != nil {
		return nil, err
	}
	if s == nil || slices.Index(a.Via, s.KID()) < 1 {
		return nil, fail(CheckSender, "the signer is not on the path, or begins it")
	}
	st, err := a.statement()
	if err != nil {
		return nil, fail(CheckStatement, "%v", err)
	}
	return sign(s, random, AnswerType, append(partialEntries(a.Partials), entry(entryStatement, typeAnswer, st, 0)))
}

// OpenAnswer checks what came back for the envelope sent, whose signed message
// was sentRaw, and returns it with the key id of the node that signed. find must
// know the keys of the node sent.To and no other; a key without RoleNode, or
// past its end, does not count. A clock skew of limits.ClockSkew is tolerated
// between the nodes. Byte slices of the result are slices of raw. Every error is
// an *Error:
//
//   - "bad-par-signature": no node that was asked signed it
//   - "bad-par": form or contents; a component without an outcome, or with more
//     than it has sources
//   - "par-subject-mismatch": for another envelope, or about a component that
//     was not asked for
//   - "par-stale": older than the envelope, or from the future
//   - "timeout": it came behind the deadline and is not merged (decision D-24)
//   - "path-deviation": not along the path, or the node that answered dropped,
//     altered or moved a partial result of an earlier one
//   - "loop": a node is on the path twice
func OpenAnswer(raw []byte, sent *Envelope, sentRaw []byte, find func(kid string) (trust.Key, bool), now time.Time) (*Answer, string, error) {
	m, err := open(raw, AnswerType, finder{find: find, now: now})
	if m == nil {
		return nil, "", err.as(map[string]string{CheckSignature: verdict.ReasonBadPARSignature}, verdict.ReasonBadPAR, "")
	}
	var a *Answer
	if err == nil {
		a, err = openAnswer(m, sent, sentRaw, now)
	}
	if err != nil {
		return nil, "", err.as(map[string]string{
			CheckSubject: verdict.ReasonPARSubject, CheckUnasked: verdict.ReasonPARSubject,
			CheckFuture: verdict.ReasonPARStale, CheckStale: verdict.ReasonPARStale, CheckDeadline: verdict.ReasonTimeout,
			CheckVia: verdict.ReasonPathDeviation, CheckSender: verdict.ReasonPathDeviation,
			CheckEarlier: verdict.ReasonPathDeviation, CheckLoop: verdict.ReasonLoop,
		}, verdict.ReasonBadPAR, m.kid)
	}
	return a, m.kid, nil
}

func openAnswer(m *message, sent *Envelope, sentRaw []byte, now time.Time) (*Answer, *Error) {
	if sent == nil || len(sentRaw) == 0 || now.IsZero() {
		return nil, fail(CheckArguments, "nothing was sent, or there is no time")
	}
	st := m.take(entryStatement, typeAnswer, 0)
	if st == nil {
		return nil, fail(CheckMessage, "no statement")
	}
	a, err := readAnswer(st, m)
	if err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	if a.ID != sent.ID || a.Session != sent.Session || a.Digest != sha256.Sum256(sentRaw) {
		return nil, fail(CheckSubject, "the answer is to another envelope")
	}
	for _, f := range []func() *Error{
		func() *Error { return a.checkPath(sent, m.kid) },
		func() *Error { return a.checkTimes(sent, now) },
		func() *Error { return a.checkEarlier(sent) },
		func() *Error { return a.checkCoverage(sent) },
	} {
		if err := f(); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// checkPath requires that the answer comes from where the envelope went.
func (a *Answer) checkPath(sent *Envelope, kid string) *Error {
	n := len(sent.Via)
	if len(a.Via) <= n || !slices.Equal(a.Via[:n], sent.Via) {
		return fail(CheckVia, "the path does not begin with that of the envelope")
	}
	if a.Via[n] != kid {
		return fail(CheckSender, "the signer is not the node that the path goes on with")
	}
	return nil
}

func (a *Answer) checkTimes(sent *Envelope, now time.Time) *Error {
	issued := a.Issued.Format(formMillis)
	switch {
	case a.Issued.After(now.Add(limits.ClockSkew)):
		return fail(CheckFuture, "issued at %s, which is in the future", issued)
	case a.Issued.Before(sent.Issued.Add(-limits.ClockSkew)):
		return fail(CheckStale, "issued at %s, before the envelope", issued)
	case now.After(sent.Deadline): // our own clock on both sides
		return fail(CheckDeadline, "the deadline was %s", sent.Deadline.UTC().Format(formMillis))
	}
	return nil
}

// checkEarlier requires the results of the earlier hops first, complete, in
// order and byte for byte. The node that signed the answer had them whole.
func (a *Answer) checkEarlier(sent *Envelope) *Error {
	for i, p := range sent.Partials {
		if i >= len(a.Partials) || a.Partials[i].Label != p.Label || !bytes.Equal(a.Partials[i].Token, p.Token) {
			return fail(CheckEarlier, "the partial result of %.100q was dropped, altered or moved", string(p.Label))
		}
	}
	return nil
}

// checkCoverage requires at least one outcome, a new partial result or a
// failure, for every component, at most one per source, and none about anything
// else.
func (a *Answer) checkCoverage(sent *Envelope) *Error {
	left := make(map[evidence.Path]int, len(sent.Components))
	for _, c := range sent.Components {
		left[c.Label] = max(1, c.Sources)
	}
	count := func(p evidence.Path) *Error {
		n, asked := left[p]
		if !asked {
			return fail(CheckUnasked, "%.100q was not asked for", string(p))
		}
		if n == 0 {
			return fail(CheckCoverage, "%.100q has more outcomes than sources", string(p))
		}
		left[p] = n - 1
		return nil
	}
	for _, p := range a.Partials[len(sent.Partials):] {
		if err := count(p.Label); err != nil {
			return err
		}
	}
	for _, f := range a.Failures {
		if err := count(f.Label); err != nil {
			return err
		}
	}
	for _, c := range sent.Components {
		if left[c.Label] == max(1, c.Sources) {
			return fail(CheckCoverage, "%.100q has neither a partial result nor a failure", string(c.Label))
		}
	}
	return nil
}
