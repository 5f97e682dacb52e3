// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
)

// Request asks for the appraisal of one component. It travels as one CBOR CMW
// collection (EncodeRequest), so that everything that matters for the verdict
// is in the body and a header is never more than a hint.
type Request struct {
	// ID is 16 random bytes in lower-case hexadecimal, the same for every
	// retry of one component; the PAR repeats it.
	ID      string
	Session string
	Label   evidence.Path
	Scheme  string
	// MediaType is refined (see Set.Route).
	MediaType evidence.MediaType
	Evidence  []byte
	// Nonce is the challenge to find in the evidence, nil when none was given;
	// NonceRule says how it follows from the session nonce.
	Nonce     []byte
	NonceRule string
	// Time overrides the verifier's clock for recorded evidence. A node
	// refuses it unless it was started to accept it.
	Time time.Time
	// Composite is the SHA-256 of the composite that the component is part of,
	// zero where it is not said. Only a signed request carries it.
	Composite [sha256.Size]byte
	// Sender and SenderKID are the node that signed the request, and its key. Who
	// receives a request fills them in; they are not encoded, and empty for an
	// unsigned one or a signature that was not checked.
	Sender, SenderKID string
}

// Types on the wire.
const (
	RequestType      = "tag:github.com,2026:assize/request"
	requestMediaType = "application/vnd.assize.request+json"
)

// statement is the JSON record that accompanies the evidence.
type statement struct {
	ID        string     `json:"id"`
	Session   string     `json:"session"`
	Label     string     `json:"label"`
	Scheme    string     `json:"scheme"`
	Nonce     string     `json:"nonce,omitempty"` // base64url, unpadded
	NonceRule string     `json:"nonce_rule,omitempty"`
	Time      *time.Time `json:"time,omitempty"`
	// In a signed request only, see SignRequest.
	From      string `json:"from,omitempty"`
	To        string `json:"to,omitempty"`
	Issued    string `json:"issued,omitempty"`
	Expires   string `json:"expires,omitempty"`
	Composite string `json:"composite,omitempty"` // hexadecimal
}

// EncodeRequest renders r as a deterministic CBOR CMW collection of type
// RequestType with the records "evidence" and "request".
func EncodeRequest(r Request) ([]byte, error) { return encodeRequest(r, newStatement(r)) }

func newStatement(r Request) statement {
	st := statement{ID: r.ID, Session: r.Session, Label: string(r.Label), Scheme: r.Scheme, NonceRule: r.NonceRule}
	if r.Nonce != nil {
		st.Nonce = base64.RawURLEncoding.EncodeToString(r.Nonce)
	}
	if !r.Time.IsZero() {
		t := r.Time.UTC()
		st.Time = &t
	}
	return st
}

func encodeRequest(r Request, st statement) ([]byte, error) {
	body, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("verifiers: encode request: %w", err)
	}
	mt := evidence.MediaType{Base: requestMediaType}
	return evidence.EncodeCBOR(evidence.Collection(RequestType,
		evidence.Entry{Label: "evidence", Item: evidence.Record(r.MediaType, r.Evidence, evidence.IndEvidence)},
		evidence.Entry{Label: "request", Item: evidence.Record(mt, body, 0)},
	))
}

// DecodeRequest is the strict inverse of EncodeRequest. Every error means that
// the message is malformed. Evidence is a slice of raw.
func DecodeRequest(raw []byte) (Request, error) {
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: evidence.TypeCMWCBOR, Limits: requestLimits(1)})
	if err != nil {
		return Request{}, fmt.Errorf("verifiers: request: %w", err)
	}
	r, st, err := readRequest(tree.Root())
	if err == nil && (st.From != "" || st.To != "" || st.Issued != "" || st.Expires != "" || st.Composite != "") {
		err = errors.New("verifiers: request: the statement is that of a signed request")
	}
	return r, err
}

// requestLimits bound a request as a message; the depth is that of its records.
func requestLimits(depth int) limits.Evidence {
	lim := limits.Default()
	lim.Composite, lim.Depth, lim.Labels, lim.Leaves = limits.FabricPayload, depth, 2, 2
	return lim
}

// readRequest reads the collection of either form.
func readRequest(root *evidence.Node) (Request, statement, error) {
	entries, err := requestEntries(root)
	if err != nil {
		return Request{}, statement{}, err
	}
	st, err := decodeStatement(entries["request"].Value())
	if err != nil {
		return Request{}, st, err
	}
	r := Request{
		ID: st.ID, Session: st.Session, Label: evidence.Path(st.Label), Scheme: st.Scheme, NonceRule: st.NonceRule,
		MediaType: entries["evidence"].MediaType(), Evidence: entries["evidence"].Value(),
	}
	if st.Time != nil {
		r.Time = *st.Time
	}
	if st.Nonce != "" {
		if r.Nonce, err = base64.RawURLEncoding.Strict().DecodeString(st.Nonce); err != nil {
			return Request{}, st, fmt.Errorf("verifiers: request nonce: %w", err)
		}
	}
	return r, st, r.check()
}

// requestEntries reads the outer map without descending into the evidence,
// which is opaque here even when it is a CMW itself.
func requestEntries(root *evidence.Node) (map[string]*evidence.Node, error) {
	if root.CollectionType() != RequestType {
		return nil, errors.New("verifiers: request: not a collection of type " + RequestType)
	}
	out := map[string]*evidence.Node{}
	for _, n := range root.Children() {
		out[n.Label()] = n
	}
	ev, st := out["evidence"], out["request"]
	if len(out) != 2 || ev == nil || st == nil || st.MediaType().Base != requestMediaType {
		return nil, errors.New(`verifiers: request: wants exactly the records "evidence" and "request"`)
	}
	if ev.Indicator() != evidence.IndEvidence || len(ev.Children()) > 0 {
		return nil, errors.New(`verifiers: request: "evidence" is not one evidence record`)
	}
	return out, nil
}

func decodeStatement(raw []byte) (statement, error) {
	var st statement
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&st); err != nil {
		return st, fmt.Errorf("verifiers: request: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return st, errors.New("verifiers: request: data behind the statement")
	}
	// One canonical spelling only: duplicate members and odd encodings do not
	// survive a round trip.
	again, err := json.Marshal(st)
	if err != nil || !bytes.Equal(again, raw) {
		return st, errors.New("verifiers: request: the statement is not in canonical form")
	}
	return st, nil
}

func (r Request) check() error {
	if b, err := hex.DecodeString(r.ID); err != nil || len(b) != 16 {
		return errors.New("verifiers: request: id is not 16 bytes in hexadecimal")
	}
	if !slug.MatchString(r.Scheme) || r.Label == "" || len(r.Label) > 4096 || len(r.Session) > 64 {
		return errors.New("verifiers: request: scheme, label or session is missing or too long")
	}
	if r.Nonce != nil && (len(r.Nonce) < limits.NonceMin || len(r.Nonce) > limits.NonceMax) {
		return fmt.Errorf("verifiers: request: a nonce has %d..%d bytes, not %d", limits.NonceMin, limits.NonceMax, len(r.Nonce))
	}
	return nil
}

// Candidate is one place at which a component can be appraised.
type Candidate struct {
	// Site is "any" or the slug of a site (data residency, locality).
	Site string
	// Why says why this candidate stands where it stands, for the plan.
	Why string
}

// Call is one component on its way to a verifier: the request, the candidates
// in order, and the check that an answer must pass before it counts.
type Call struct {
	Request    Request
	Candidates []Candidate
	// Verify turns a signed answer into a Partial, or says why not. The first
	// candidate whose answer passes wins; one that fails is a refusal.
	Verify func(token []byte) (verdict.Partial, error)
}

// Failure is why a component has no verdict. Reason is one of the codes of
// package verdict; Detail is from a fixed vocabulary and leaks no policy.
type Failure struct {
	Reason string
	Detail string
}

// Error implements error.
func (f *Failure) Error() string { return "verifiers: " + f.Reason + ": " + f.Detail }
