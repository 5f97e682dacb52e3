// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// Forms of times: issue and deadline to the millisecond, the verification time
// exactly.
const (
	formMillis = "2006-01-02T15:04:05.000Z"
	formExact  = "2006-01-02T15:04:05.999999999Z"
)

// How a component's evidence is in the message.
const (
	evidencePlain  = "plain"
	evidenceSealed = "sealed"
)

type hopJSON struct {
	KID  string `json:"kid"`
	Node string `json:"node"`
}

type componentJSON struct {
	Label     string `json:"label"`
	Leaf      string `json:"leaf"`
	Scheme    string `json:"scheme"`
	MediaType string `json:"media_type"`
	Class     string `json:"class"`
	Request   string `json:"request"`
	Nonce     string `json:"nonce,omitempty"`
	NonceRule string `json:"nonce_rule,omitempty"`
	Required  bool   `json:"required"`
	Sources   int    `json:"sources,omitempty"`
	Digest    string `json:"digest"`
	Evidence  string `json:"evidence,omitempty"`
	Sealed    string `json:"sealed,omitempty"`
	For       string `json:"for,omitempty"`
}

type commitJSON struct {
	Leaves map[string]string `json:"leaves"`
	Signer string            `json:"signer"`
}

type envelopeJSON struct {
	ID               string          `json:"id"`
	Session          string          `json:"session"`
	To               string          `json:"to"`
	Expr             string          `json:"expr"`
	Hops             []hopJSON       `json:"hops"`
	Issued           string          `json:"issued"`
	Deadline         string          `json:"deadline"`
	VerificationTime string          `json:"verification_time,omitempty"`
	Composite        string          `json:"composite"`
	Exposed          bool            `json:"exposed,omitempty"`
	Nonce            string          `json:"nonce,omitempty"`
	Commit           *commitJSON     `json:"commit,omitempty"`
	Components       []componentJSON `json:"components"`
	Partials         []string        `json:"partials"`
}

type failureJSON struct {
	Label  string `json:"label"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

type answerJSON struct {
	ID       string        `json:"id"`
	Session  string        `json:"session"`
	Digest   string        `json:"digest"`
	Via      []string      `json:"via"`
	Issued   string        `json:"issued"`
	Partials []string      `json:"partials"`
	Failures []failureJSON `json:"failures"`
	Receipts []string      `json:"receipts,omitempty"`
}

var b64 = base64.RawURLEncoding.Strict()

func (e Envelope) statement() ([]byte, error) {
	out := envelopeJSON{
		ID: e.ID, Session: e.Session, To: e.To, Expr: e.Expr, Hops: make([]hopJSON, 0, len(e.Via)),
		Issued: e.Issued.UTC().Format(formMillis), Deadline: e.Deadline.UTC().Format(formMillis),
		Composite: hex.EncodeToString(e.Composite[:]), Exposed: e.Evidence != nil, Nonce: b64.EncodeToString(e.Nonce),
		Components: make([]componentJSON, 0, len(e.Components)), Partials: labelsOf(e.Partials),
	}
	if !e.VerificationTime.IsZero() {
		out.VerificationTime = e.VerificationTime.UTC().Format(formExact)
	}
	for i, kid := range e.Via {
		out.Hops = append(out.Hops, hopJSON{KID: kid, Node: e.Path[i]})
	}
	if e.Commit != nil {
		out.Commit = &commitJSON{Leaves: make(map[string]string, len(e.Commit.Leaves)), Signer: e.Commit.Signer}
		for path, digest := range e.Commit.Leaves {
			out.Commit.Leaves[string(path)] = hex.EncodeToString(digest[:])
		}
	}
	for _, c := range e.Components {
		out.Components = append(out.Components, c.wire())
	}
	return marshal(out)
}

func (c Component) wire() componentJSON {
	out := componentJSON{
		Label: string(c.Label), Leaf: string(c.Leaf), Scheme: c.Scheme, MediaType: c.MediaType, Class: c.Class,
		Request: c.Request, Nonce: b64.EncodeToString(c.Nonce), NonceRule: c.NonceRule, Required: c.Required,
		Sources: c.Sources, Digest: hex.EncodeToString(c.Digest[:]), Sealed: c.Sealed, For: c.For,
	}
	switch {
	case c.Evidence != nil && c.Sealed != "":
		out.Evidence = evidenceSealed
	case c.Evidence != nil:
		out.Evidence = evidencePlain
	}
	return out
}

func (a Answer) statement() ([]byte, error) {
	out := answerJSON{
		ID: a.ID, Session: a.Session, Digest: hex.EncodeToString(a.Digest[:]), Via: append([]string{}, a.Via...),
		Issued: a.Issued.UTC().Format(formMillis), Partials: labelsOf(a.Partials),
		Failures: make([]failureJSON, 0, len(a.Failures)),
	}
	for _, f := range a.Failures {
		out.Failures = append(out.Failures, failureJSON{Label: string(f.Label), Code: f.Code, Detail: f.Detail})
	}
	for _, one := range a.Receipts {
		out.Receipts = append(out.Receipts, string(one.Token()))
	}
	return marshal(out)
}

func labelsOf(partials []Partial) []string {
	out := make([]string, 0, len(partials))
	for _, p := range partials {
		out = append(out, string(p.Label))
	}
	return out
}

// marshal is compact JSON without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// unmarshal reads one JSON value. What it lets pass, such as members twice or
// in other letters, does not survive the comparison with the one spelling that
// the caller makes afterwards.
func unmarshal(raw []byte, v any) *Error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fail(CheckStatement, "%v", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fail(CheckStatement, "data behind the statement")
	}
	return nil
}

// same requires that what was read is spelled as we would write it.
func same(raw, again []byte, err error) *Error {
	if err != nil || !bytes.Equal(raw, again) {
		return fail(CheckStatement, "not in the one form that is read (duplicate or missing members, order, spelling)")
	}
	return nil
}

// reader converts texts of a statement and keeps the first error.
type reader struct{ err *Error }

func (r *reader) wrong(what string) {
	if r.err == nil {
		r.err = fail(CheckStatement, "%s is not of its form", what)
	}
}

func (r *reader) digest(out []byte, s, what string) {
	if n, err := hex.DecodeString(s); err != nil || copy(out, n) != len(out) || len(n) != len(out) {
		r.wrong(what)
	}
}

// bytes are nil for the empty text.
func (r *reader) bytes(s, what string) []byte {
	if s == "" {
		return nil
	}
	out, err := b64.DecodeString(s)
	if err != nil {
		r.wrong(what)
	}
	return out
}

func (r *reader) time(s, form, what string) time.Time {
	t, err := time.Parse(form, s)
	if err != nil {
		r.wrong(what)
	}
	return t
}

// readEnvelope decodes a statement and takes the bytes that it announces out of
// the message.
func readEnvelope(raw []byte, m *message) (*Envelope, *Error) {
	var in envelopeJSON
	if err := unmarshal(raw, &in); err != nil {
		return nil, err
	}
	var r reader
	e := &Envelope{
		ID: in.ID, Session: in.Session, To: in.To, Expr: in.Expr,
		Issued: r.time(in.Issued, formMillis, "issued"), Deadline: r.time(in.Deadline, formMillis, "deadline"),
		Nonce: r.bytes(in.Nonce, "nonce"), Commit: r.commit(in.Commit),
	}
	if in.VerificationTime != "" {
		e.VerificationTime = r.time(in.VerificationTime, formExact, "verification_time")
	}
	r.digest(e.Composite[:], in.Composite, "composite")
	for _, h := range in.Hops {
		e.Via, e.Path = append(e.Via, h.KID), append(e.Path, h.Node)
	}
	if r.err != nil {
		return nil, r.err
	}
	if in.Exposed {
		e.Evidence = m.take(entryComposite, typeComposite, evidence.IndEvidence)
	}
	for i, c := range in.Components {
		e.Components = append(e.Components, r.component(c, i, m))
	}
	e.Partials = m.partials(in.Partials)
	if r.err != nil {
		return nil, r.err
	}
	if err := m.done(); err != nil {
		return nil, err
	}
	again, err := e.statement()
	return e, same(raw, again, err)
}

func (r *reader) commit(in *commitJSON) *evidence.Commitment {
	if in == nil {
		return nil
	}
	out := &evidence.Commitment{Leaves: make(map[evidence.Path]evidence.LeafDigest, len(in.Leaves)), Signer: in.Signer}
	for path, text := range in.Leaves {
		var digest evidence.LeafDigest
		r.digest(digest[:], text, "commit.leaves")
		out.Leaves[evidence.Path(path)] = digest
	}
	return out
}

func (r *reader) component(in componentJSON, i int, m *message) Component {
	c := Component{
		Label: evidence.Path(in.Label), Leaf: evidence.Path(in.Leaf), Scheme: in.Scheme, MediaType: in.MediaType,
		Class: in.Class, Request: in.Request, Nonce: r.bytes(in.Nonce, "nonce of a component"), NonceRule: in.NonceRule,
		Required: in.Required, Sources: in.Sources, Sealed: in.Sealed, For: in.For,
	}
	r.digest(c.Digest[:], in.Digest, "digest of a component")
	switch in.Evidence {
	case "":
	case evidencePlain, evidenceSealed:
		c.Evidence = m.take(numbered(entryEvidence, i), typeEvidence, evidence.IndEvidence)
	default:
		r.wrong("evidence of a component")
	}
	return c
}

// readAnswer is readEnvelope for answers.
func readAnswer(raw []byte, m *message) (*Answer, *Error) {
	var in answerJSON
	if err := unmarshal(raw, &in); err != nil {
		return nil, err
	}
	var r reader
	a := &Answer{ID: in.ID, Session: in.Session, Via: in.Via, Issued: r.time(in.Issued, formMillis, "issued")}
	r.digest(a.Digest[:], in.Digest, "digest")
	if r.err != nil {
		return nil, r.err
	}
	for _, f := range in.Failures {
		a.Failures = append(a.Failures, Failure{Label: evidence.Path(f.Label), Code: f.Code, Detail: f.Detail})
	}
	if len(in.Receipts) > verdict.MaxReceipts {
		return nil, fail(CheckReceipts, "%d receipts, at most %d", len(in.Receipts), verdict.MaxReceipts)
	}
	for _, token := range in.Receipts {
		one, err := verdict.ParseReceipt([]byte(token))
		if err != nil {
			return nil, fail(CheckReceipts, "%v", err)
		}
		a.Receipts = append(a.Receipts, one)
	}
	a.Partials = m.partials(in.Partials)
	if err := m.done(); err != nil {
		return nil, err
	}
	again, err := a.statement()
	return a, same(raw, again, err)
}
