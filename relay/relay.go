// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// Collection types of the two messages.
const (
	EnvelopeType = "tag:github.com,2026:assize/relay"
	AnswerType   = "tag:github.com,2026:assize/relay-answer"
)

// MaxHops is the number of nodes that an envelope may have passed (decision D-43).
const MaxHops = 8

// MaxNodes is the number of nodes that an answer may come from altogether: the
// one that answers may have asked many, each by a way of its own.
const MaxNodes = 64

// Component is one thing that the next node has to answer for. It has the
// facts that a partial result is held against (verdict.Expect).
type Component struct {
	// Label is the canonical path of the component, 1 to 4096 bytes, and Leaf
	// that of the leaf it came from: equal to Label, or above it where the leaf
	// was split.
	Label, Leaf evidence.Path
	// Scheme is a slug of at most 32 characters, "" where the sender knows none.
	Scheme string
	// MediaType is the canonical spelling of the refined type, or "cf:<n>" for
	// a Content-Format without a known type (decision D-04).
	MediaType string
	// Class is the place in the machine ("cpu-tee", "device"), "" if unknown.
	Class string
	// Request is the identifier that the partial result has to repeat: 16 bytes
	// in lower-case hexadecimal, unique in the envelope.
	Request string
	// Nonce is the challenge to find in the evidence, nil or 8 to 64 bytes;
	// NonceRule says how it follows from the session nonce (decision D-22).
	Nonce     []byte
	NonceRule string
	// Required is whether the whole needs this component.
	Required bool
	// Sources is the number of verifiers that the expression has for this
	// component: 0 or 1 for one, more for a quorum (decision D-26). It bounds
	// what an answer may say about it.
	Sources int
	// Digest is the SHA-256 of the plain component bytes, also where the
	// evidence is sealed or missing.
	Digest [32]byte
	// Evidence is nil where this receiver does not get it. It is plain, or
	// sealed to the key with the id Sealed, for the node with the name For; both
	// are "" for plain evidence. At most limits.Evidence.Leaf bytes.
	Evidence []byte
	Sealed   string
	For      string
}

// Partial is a signed partial result as it travels: a compact JWS (EAR) about
// one component. Its signature is not checked here.
type Partial struct {
	Label evidence.Path
	Token []byte
}

// Envelope asks a node to carry out the rest of a topology (decision D-20).
type Envelope struct {
	// ID is 16 random bytes in lower-case hexadecimal.
	ID string
	// Session is 1 to 64 printable ASCII characters.
	Session string
	// To is the name of the node that is asked, [a-z0-9-]{1,32}.
	To string
	// Expr is what it has to carry out, in the canonical text of package
	// topologies, at most 16 KiB.
	Expr string
	// Via are the key ids of the nodes that the envelope passed, 1 to MaxHops
	// without repeats: the entry node first, the sender last. Path are their
	// names, as many, without repeats; the first may be "".
	Via, Path []string
	// Issued and Deadline are cut to milliseconds when signing. The deadline is
	// at most limits.Session after the issue.
	Issued, Deadline time.Time
	// VerificationTime is the time at which collateral has to be valid, zero
	// for the receiver's clock.
	VerificationTime time.Time
	// Composite is the SHA-256 of the composite as it was submitted.
	Composite [32]byte
	// Nonce is the session nonce, nil or 8 to 64 bytes.
	Nonce []byte
	// Commit is what the CPU TEE commits to, without the nonce, nil where it
	// does not (decision D-28).
	Commit *evidence.Commitment
	// Components are sorted bytewise by label, 1 to limits.Evidence.Leaves.
	Components []Component
	// Partials are the results so far in the order of the hops, about other
	// labels than those of Components.
	Partials []Partial
	// Evidence is the composite byte for byte, nil unless it is exposed: a
	// cascade in clear text has to be switched on (decision D-27). At most
	// limits.Evidence.Leaf bytes.
	Evidence []byte
}

// Failure is why a node brings no partial result for a component.
type Failure struct {
	Label evidence.Path
	// Code is a reason for which NoVerdict holds.
	Code string
	// Detail has at most 512 bytes and leaks no policy.
	Detail string
}

// Error implements error.
func (f Failure) Error() string { return fmt.Sprintf("relay: %s: %s: %s", f.Label, f.Code, f.Detail) }

// Answer is what comes back for an envelope.
type Answer struct {
	// ID and Session are those of the envelope, Digest the SHA-256 of the
	// signed message in which it was received.
	ID      string
	Session string
	Digest  [32]byte
	// Via is the whole path: that of the envelope, then the node that answers,
	// then the nodes that it asked in turn, each once, at most MaxNodes.
	Via []string
	// Issued is cut to milliseconds when signing.
	Issued time.Time
	// Partials are those of the envelope, unchanged and first, then the new
	// ones: as many per component as it has Sources.
	Partials []Partial
	// Failures are why the other ones are missing.
	Failures []Failure
	// Receipts are those of the node that answers and of the nodes behind it
	// (verdict.Receipt), at most verdict.MaxReceipts, all of this session. Their
	// signatures are not checked here.
	Receipts []verdict.Receipt
}

// NoVerdict reports whether a reason code can stand in a Failure: it says that
// a component was not appraised, and nothing about how good it is.
func NoVerdict(code string) bool {
	switch code {
	case verdict.ReasonTooLarge, verdict.ReasonMalformed, verdict.ReasonUnsupported, verdict.ReasonUnexpected:
		return true
	}
	return verdict.ReasonCeiling(code) == verdict.TierNone
}

// What an Error can have found, see Error.Check.
const (
	// CheckSignature: not a COSE_Sign1 that a known, current node key verifies.
	CheckSignature = "signature"
	// CheckMessage: signed, but not a collection of the expected type with the
	// expected entries, or larger than the limits.
	CheckMessage = "message"
	// CheckStatement: the statement has not the one form that is read.
	CheckStatement = "statement"
	// CheckEntries: evidence or partial results without a place in the
	// statement, or announced there and missing.
	CheckEntries = "entries"
	// CheckSender: the signer is not the node that the path says.
	CheckSender = "sender"
	// CheckRecipient: meant for another node.
	CheckRecipient = "recipient"
	// CheckFuture: issued later than now and the clock skew.
	CheckFuture = "future"
	// CheckDeadline: too late, or a deadline that is too far away or none.
	CheckDeadline = "deadline"
	// CheckStale: an answer that is older than its envelope.
	CheckStale = "stale"
	// CheckVia: the path is empty, too long, or not the one of the envelope.
	CheckVia = "via"
	// CheckLoop: a node is on the path twice, or meets itself.
	CheckLoop = "loop"
	// CheckMembers: an identifier, text, nonce or time is not of its form.
	CheckMembers = "members"
	// CheckComponents: components are missing, too many, unsorted, doubled, or
	// one is not of its form.
	CheckComponents = "components"
	// CheckEvidence: plain evidence has not the digest of its component.
	CheckEvidence = "evidence"
	// CheckComposite: the exposed composite has not the digest that is stated.
	CheckComposite = "composite"
	// CheckPartials: a partial result is not a compact JWS, is there twice, or
	// is about a label that it may not be about.
	CheckPartials = "partials"
	// CheckFailures: a failure without a usable code or with too long a text.
	CheckFailures = "failures"
	// CheckReceipts: a receipt is not of its form, is there twice, or is of another
	// session.
	CheckReceipts = "receipts"
	// CheckSubject: the answer is to another envelope.
	CheckSubject = "subject"
	// CheckEarlier: a partial result of an earlier hop was dropped, altered or
	// moved by the node that answered.
	CheckEarlier = "earlier"
	// CheckUnasked: the answer is about a component that was not asked for.
	CheckUnasked = "unasked"
	// CheckCoverage: a component has no outcome, or more than it has sources.
	CheckCoverage = "coverage"
	// CheckArguments: the caller passed something unusable.
	CheckArguments = "arguments"
)

// Error is why a message was refused. Every error of the openers is one, and
// every error of the signing methods wraps one.
type Error struct {
	// Code is a reason code of package verdict that means no verdict.
	Code string
	// Check is one of the Check constants.
	Check  string
	Detail string
	// KID is the key that signed, "" before the signature was checked.
	KID string
}

// Error names code, check and what was found.
func (e *Error) Error() string {
	s := "relay: " + e.Code + ": " + e.Check + ": " + e.Detail
	if e.KID != "" {
		s += fmt.Sprintf(" (signed by %.64q)", e.KID)
	}
	return s
}

func fail(check, format string, args ...any) *Error {
	return &Error{Check: check, Detail: fmt.Sprintf(format, args...)}
}

// as completes an error with the code for its check and who signed.
func (e *Error) as(codes map[string]string, rest, kid string) *Error {
	e.KID = kid
	if e.Code = codes[e.Check]; e.Code == "" {
		e.Code = rest
	}
	return e
}
