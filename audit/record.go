// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
)

// Version is the version of the record format.
const Version = 1

// MaxRecord is the longest record in bytes: one has to fit into a message of
// the fabric.
const MaxRecord = limits.FabricPayload - 2*limits.FabricHeaderReserve

// timeForm is RFC 3339 in UTC with microseconds.
const timeForm = "2006-01-02T15:04:05.000000Z"

// Kind says what a record is about.
type Kind string

// Kinds of records.
const (
	// KindVerdict: a verdict was signed.
	KindVerdict Kind = "verdict"
	// KindNoVerdict: the node could not give a verdict.
	KindNoVerdict Kind = "no-verdict"
	// KindRequestRefused: what was submitted could not be appraised.
	KindRequestRefused Kind = "request-refused"
	// KindRelayAnswered: a part that another node handed on was carried out.
	KindRelayAnswered Kind = "relay-answered"
	// KindRelayRefused: another node, or nobody known, got no answer.
	KindRelayRefused Kind = "relay-refused"
	// KindAppraised: a verifier signed a result about one component.
	KindAppraised Kind = "appraised"
	// KindAppraisalRefused: a verifier gave no result about one component.
	KindAppraisalRefused Kind = "appraisal-refused"
	// KindStarted: the log was begun or goes on.
	KindStarted Kind = "started"
	// KindStopped: the log was ended in order.
	KindStopped Kind = "stopped"
	// KindCheckpoint: everything before was signed.
	KindCheckpoint Kind = "checkpoint"
)

func (k Kind) known() bool {
	switch k {
	case KindVerdict, KindNoVerdict, KindRequestRefused, KindRelayAnswered, KindRelayRefused, KindAppraised, KindAppraisalRefused, KindStarted, KindStopped, KindCheckpoint:
		return true
	}
	return false
}

// Digest is a SHA-256 in lower-case hexadecimal, 64 characters; "" for none.
type Digest string

// none stands before the first record.
var none = Digest(strings.Repeat("0", 2*sha256.Size))

// Sum is the digest of bytes.
func Sum(b []byte) Digest { return DigestOf(sha256.Sum256(b)) }

// DigestOf writes a sum; "" for the zero one.
func DigestOf(sum [sha256.Size]byte) Digest {
	if sum == ([sha256.Size]byte{}) {
		return ""
	}
	return Digest(hex.EncodeToString(sum[:]))
}

func (d Digest) valid() bool { return isHex(string(d), 2*sha256.Size) }

func isHex(s string, n int) bool {
	return len(s) == n && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && (r < 'a' || r > 'f') })
}

// Event is what somebody has to say for a record. All but Kind may be empty.
type Event struct {
	Kind Kind `json:"kind"`
	// Session is the identifier that all nodes use for one appraisal.
	Session string `json:"session,omitempty"`
	// Composite is the digest of the composite as received, Nonce that of the
	// session nonce.
	Composite Digest `json:"composite_sha256,omitempty"`
	Nonce     Digest `json:"nonce_sha256,omitempty"`
	// Topology is the expression that was carried out, Plan the digest of the
	// plan.
	Topology string `json:"topology,omitempty"`
	Plan     Digest `json:"plan_sha256,omitempty"`
	// Received is the envelope that the node answered or refused, Handed are
	// those that it sent.
	Received   *Relay      `json:"received,omitempty"`
	Handed     []Relay     `json:"handed,omitempty"`
	Components []Component `json:"components,omitempty"`
	// Tier and Reasons (codes) are those of the whole, Verdict is the digest of
	// the signed verdict.
	Tier    string   `json:"tier,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	Verdict Digest   `json:"verdict_sha256,omitempty"`
	// Error is why there is no verdict or no answer, a word of a closed set.
	Error string `json:"error,omitempty"`
	// Duration is how long it took, in whole microseconds.
	Duration int64 `json:"duration_us,omitempty"`
	// Torn is how many bytes of an unfinished record were cut off at the end of
	// the log before it went on.
	Torn int `json:"torn_bytes,omitempty"`
	// Shortened says that something was left out because the record was longer
	// than MaxRecord: Topology is empty, lists have at most eight entries, a long
	// label is "sha256:" and its digest, and, where that is not enough,
	// Components and Handed are missing.
	Shortened bool `json:"shortened,omitempty"`
}

// Component is one component and what became of it.
type Component struct {
	Label  string `json:"label"`
	Scheme string `json:"scheme,omitempty"`
	// Relay is the node to which it was handed on, "" where the verifiers were
	// asked directly. At are the nodes or sites that were to answer for it; "any"
	// leaves the choice to the fabric. Both are empty where nobody was asked.
	Relay string   `json:"relay,omitempty"`
	At    []string `json:"at,omitempty"`
	// Request identifies the request, 16 bytes in hexadecimal.
	Request  string `json:"request,omitempty"`
	Evidence Digest `json:"evidence_sha256,omitempty"`
	// Tier is affirming, warning, none or contraindicated; Reasons are the codes
	// of the verifiers, then those of this node, sorted and each once.
	Tier    string   `json:"tier"`
	Reasons []string `json:"reasons,omitempty"`
	// Partials are the signed results.
	Partials []Partial `json:"partials,omitempty"`
	// Duration is how long the node waited, in whole microseconds.
	Duration int64 `json:"duration_us"`
}

// Partial is a signed partial result: who signed it, and the digest of the
// token.
type Partial struct {
	KID    string `json:"kid"`
	Digest Digest `json:"sha256"`
}

// Relay is one exchange between two nodes.
type Relay struct {
	// Node and KID are the other node: who sent the envelope, or who got it and
	// signed the answer. Empty where that was not established.
	Node string `json:"node,omitempty"`
	KID  string `json:"kid,omitempty"`
	// ID is the identifier of the envelope, Expr what it asks for.
	ID   string `json:"id,omitempty"`
	Expr string `json:"expr,omitempty"`
	// Via are the key ids of the nodes that the envelope had passed, Path their
	// names; the first may be "".
	Via  []string `json:"via,omitempty"`
	Path []string `json:"path,omitempty"`
	// Envelope and Answer are digests of the signed messages.
	Envelope Digest `json:"envelope_sha256,omitempty"`
	Answer   Digest `json:"answer_sha256,omitempty"`
	// Error is the code of the reason why there is no answer that counts.
	Error string `json:"error,omitempty"`
}

// Record is one line of a log.
type Record struct {
	Version int `json:"v"`
	// Log is the random id of the log, 16 bytes in hexadecimal. Seq counts its
	// records from 1.
	Log string `json:"log"`
	Seq uint64 `json:"seq"`
	// Previous is the digest of the bytes of the record before, without the line
	// feed; zeros for the first.
	Previous Digest `json:"prev"`
	// Time is RFC 3339 in UTC with microseconds, and never before that of the
	// record before.
	Time string `json:"time"`
	// Node is the name of the node that wrote it, "" if it has none; KID is the
	// key with which it signs checkpoints.
	Node string `json:"node,omitempty"`
	KID  string `json:"kid"`
	Event
	// Checkpoint is the signed statement about the record before (JWS).
	Checkpoint string `json:"checkpoint,omitempty"`
}

// At is the time of the record.
func (r *Record) At() (time.Time, error) {
	t, err := time.Parse(timeForm, r.Time)
	if err != nil {
		return t, fmt.Errorf("audit: time %.40q is not of the form %s", r.Time, timeForm)
	}
	return t, nil
}

// ErrTooLarge says that a record has more than MaxRecord bytes, even shortened.
var ErrTooLarge = fmt.Errorf("audit: a record has more than %d bytes", MaxRecord)

// encode makes the one form of a record, shortened if it has to be.
func (r *Record) encode() ([]byte, error) {
	raw, err := json.Marshal(r)
	if err == nil && len(raw) > MaxRecord {
		r.Event = r.Event.shortened()
		raw, err = json.Marshal(r)
	}
	if err == nil && len(raw) > MaxRecord { // the verdict and the plan have them
		r.Components, r.Handed = nil, nil
		raw, err = json.Marshal(r)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("audit: %w", err)
	case len(raw) > MaxRecord:
		return nil, ErrTooLarge
	}
	return raw, nil
}

// Bounds of a shortened record.
const (
	longText  = 128 // bytes of a label, a key id or an expression
	longCodes = 8   // reasons, places and results of one component
)

// shortened leaves out what somebody could have blown up with what he submits,
// so that nothing can be too long to be recorded.
func (e Event) shortened() Event {
	e.Shortened, e.Topology = true, ""
	e.Reasons = head(e.Reasons, longCodes)
	e.Components = slices.Clone(e.Components)
	for i := range e.Components {
		c := &e.Components[i]
		c.Label = abbreviated(c.Label)
		c.At, c.Reasons, c.Partials = head(c.At, longCodes), head(c.Reasons, longCodes), slices.Clone(head(c.Partials, longCodes))
		for j := range c.Partials {
			c.Partials[j].KID = abbreviated(c.Partials[j].KID)
		}
	}
	e.Handed = slices.Clone(e.Handed)
	for i := range e.Handed {
		e.Handed[i].Expr = abbreviated(e.Handed[i].Expr)
	}
	if e.Received != nil {
		r := *e.Received
		r.Expr = abbreviated(r.Expr)
		e.Received = &r
	}
	return e
}

func abbreviated(s string) string {
	if len(s) <= longText {
		return s
	}
	return "sha256:" + string(Sum([]byte(s)))
}

func head[T any](list []T, n int) []T { return list[:min(n, len(list))] }

// Decode reads one record without its line feed. It accepts only what a Log
// writes, byte for byte: no other order, spelling, member or trailing data.
func Decode(raw []byte) (*Record, error) {
	if len(raw) > MaxRecord {
		return nil, ErrTooLarge
	}
	var r Record
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, fmt.Errorf("audit: not a record: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	again, err := json.Marshal(&r)
	if err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	if !bytes.Equal(raw, again) {
		return nil, errors.New("audit: the record is not in its one form")
	}
	return &r, nil
}

// check holds for every record.
func (r *Record) check() error {
	switch {
	case r.Version != Version:
		return fmt.Errorf("audit: version %d is not %d", r.Version, Version)
	case !isHex(r.Log, 32):
		return errors.New("audit: the id of the log is not 16 bytes in hexadecimal")
	case r.Seq == 0:
		return errors.New("audit: records count from 1")
	case !r.Previous.valid():
		return errors.New("audit: the digest of the record before is none")
	case (r.Seq == 1) != (r.Previous == none):
		return errors.New("audit: only the first record has no record before it")
	case r.KID == "":
		return errors.New("audit: a record without key id")
	case (r.Kind == KindCheckpoint) != (r.Checkpoint != ""):
		return errors.New("audit: a checkpoint has a signature, and nothing else has")
	}
	t, err := r.At()
	if err != nil {
		return err
	}
	if t.Format(timeForm) != r.Time {
		return fmt.Errorf("audit: time %.40q is not in its one form", r.Time)
	}
	return r.Event.check()
}

// check holds for every event.
func (e *Event) check() error {
	if !e.Kind.known() {
		return fmt.Errorf("audit: unknown kind %.32q", string(e.Kind))
	}
	digests := []Digest{e.Composite, e.Nonce, e.Plan, e.Verdict}
	tiers := []string{e.Tier}
	for _, c := range e.Components {
		digests = append(digests, c.Evidence)
		for _, p := range c.Partials {
			if p.Digest == "" {
				return errors.New("audit: a partial result without digest")
			}
			digests = append(digests, p.Digest)
		}
		if c.Tier == "" {
			return fmt.Errorf("audit: component %.64q without tier", c.Label)
		}
		tiers = append(tiers, c.Tier)
	}
	for _, r := range e.relays() {
		digests = append(digests, r.Envelope, r.Answer)
	}
	for _, d := range digests {
		if d != "" && !d.valid() {
			return fmt.Errorf("audit: %.80q is no SHA-256", string(d))
		}
	}
	for _, t := range tiers {
		if t != "" && !tier(t) {
			return fmt.Errorf("audit: %.32q is no tier", t)
		}
	}
	if e.Duration < 0 || e.Torn < 0 {
		return errors.New("audit: a negative number")
	}
	return nil
}

func (e *Event) relays() []Relay {
	out := e.Handed
	if e.Received != nil {
		out = append(slices.Clone(out), *e.Received)
	}
	return out
}

func tier(word string) bool {
	for _, t := range []verdict.Tier{verdict.TierAffirming, verdict.TierWarning, verdict.TierNone, verdict.TierContraindicated} {
		if t.String() == word {
			return true
		}
	}
	return false
}

// clean makes every text valid UTF-8, which JSON cannot do without.
func (e *Event) clean() {
	text(&e.Session, &e.Topology, &e.Error)
	for i := range e.Components {
		c := &e.Components[i]
		text(&c.Label, &c.Scheme, &c.Relay, &c.Request)
		texts(c.At, c.Reasons)
		for j := range c.Partials {
			text(&c.Partials[j].KID)
		}
	}
	for i := range e.Handed {
		e.Handed[i].clean()
	}
	if e.Received != nil {
		e.Received.clean()
	}
	texts(e.Reasons)
}

func (r *Relay) clean() {
	text(&r.Node, &r.KID, &r.ID, &r.Expr, &r.Error)
	texts(r.Via, r.Path)
}

func texts(lists ...[]string) {
	for _, list := range lists {
		for i := range list {
			text(&list[i])
		}
	}
}

func text(list ...*string) {
	for _, s := range list {
		if !utf8.ValidString(*s) {
			*s = strings.ToValidUTF8(*s, "\uFFFD")
		}
	}
}
