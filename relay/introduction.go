// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Collection types of an introduction and its answer.
const (
	IntroductionType       = "tag:github.com,2026:assize/introduction"
	IntroductionAnswerType = "tag:github.com,2026:assize/introduction-answer"
)

const (
	typeIntroduction       = "application/vnd.assize.introduction+json"
	typeIntroductionAnswer = "application/vnd.assize.introduction-answer+json"

	entryOwnEvidence = "evidence"
)

// What an Error of an introduction can have found beside the others.
const (
	// CheckKeys: the lists of keys are not of their form.
	CheckKeys = "keys"
)

// Introduction asks a node to show what it runs on, before anything else is
// exchanged with it.
type Introduction struct {
	// ID is 16 random bytes in lower-case hexadecimal.
	ID string
	// From and To are the names of the node that asks and of the one that is
	// asked, [a-z0-9-]{1,32}, not the same.
	From, To string
	// Nonce is ChallengeSize random bytes, new for every introduction.
	Nonce []byte
	// Issued and Deadline are cut to milliseconds when signing. The deadline is
	// at most limits.Session after the issue.
	Issued, Deadline time.Time
}

// IntroductionAnswer is how a node introduces itself.
type IntroductionAnswer struct {
	// ID is that of the introduction, Digest the SHA-256 of the signed message
	// in which it was received. From is the node that answers, To who asked.
	ID       string
	Digest   [32]byte
	From, To string
	// Issued is cut to milliseconds when signing.
	Issued time.Time
	// Keys are those that the evidence speaks for.
	Keys Keys
	// MediaType is the declared type of the plain evidence, "" to go by content.
	MediaType string
	// Of is the SHA-256 of the plain evidence.
	Of [32]byte
	// Evidence is 1 to limits.Evidence.Leaf bytes: a composite for the challenge
	// that Keys.Challenge gives, plain, or sealed to the asker's key with the id
	// Sealed.
	Evidence []byte
	Sealed   string
}

type introductionJSON struct {
	ID       string `json:"id"`
	From     string `json:"from"`
	To       string `json:"to"`
	Nonce    string `json:"nonce"`
	Issued   string `json:"issued"`
	Deadline string `json:"deadline"`
}

type keysJSON struct {
	Node      []string `json:"node"`
	Verifiers []string `json:"verifiers"`
	Seal      []string `json:"seal"`
}

type introductionAnswerJSON struct {
	ID        string   `json:"id"`
	Digest    string   `json:"digest"`
	From      string   `json:"from"`
	To        string   `json:"to"`
	Issued    string   `json:"issued"`
	Keys      keysJSON `json:"keys"`
	MediaType string   `json:"media_type"`
	Evidence  string   `json:"evidence"`
	Sealed    string   `json:"sealed,omitempty"`
}

func (in Introduction) check() *Error {
	for _, m := range []struct {
		name string
		ok   bool
	}{
		{"id", hexID.MatchString(in.ID)}, {"from", slug.MatchString(in.From)}, {"to", slug.MatchString(in.To) && in.To != in.From},
		{"nonce", len(in.Nonce) == ChallengeSize}, {"issued", writable(in.Issued)}, {"deadline", writable(in.Deadline)},
	} {
		if !m.ok {
			return fail(CheckMembers, "%s is not of its form", m.name)
		}
	}
	if d := in.Deadline.Sub(in.Issued); d <= 0 || d > limits.Session {
		return fail(CheckDeadline, "deadline %s after the issue, want more than 0 and at most %s", d, limits.Session)
	}
	return nil
}

func (in Introduction) statement() ([]byte, error) {
	return marshal(introductionJSON{
		ID: in.ID, From: in.From, To: in.To, Nonce: b64.EncodeToString(in.Nonce),
		Issued: in.Issued.UTC().Format(formMillis), Deadline: in.Deadline.UTC().Format(formMillis),
	})
}

// Sign makes the signed message. s must have a key that the recipient knows as
// one of the node From. Errors wrap *Error: what OpenIntroduction would refuse
// for its contents is not signed.
func (in Introduction) Sign(s *trust.Signer, random io.Reader) ([]byte, error) {
	in.Issued, in.Deadline = in.Issued.Truncate(time.Millisecond), in.Deadline.Truncate(time.Millisecond)
	err := in.check()
	var raw []byte
	if err == nil {
		raw, err = signStatement(s, random, IntroductionType, typeIntroduction, in.statement)
	}
	if err != nil {
		return nil, fmt.Errorf("relay: sign introduction: %w", err.as(nil, verdict.ReasonMalfunction, ""))
	}
	return raw, nil
}

func signStatement(s *trust.Signer, random io.Reader, collection, mediaType string, statement func() ([]byte, error), more ...evidence.Entry) ([]byte, *Error) {
	st, err := statement()
	if err != nil {
		return nil, fail(CheckStatement, "%v", err)
	}
	return sign(s, random, collection, append(more, entry(entryStatement, mediaType, st, 0)))
}

// NodeFinder finds the name of a node and its key by the id of the key.
type NodeFinder func(kid string) (node string, key trust.Key, ok bool)

// OpenIntroduction checks a received introduction and returns what it asks. find
// knows the keys of the nodes that may ask; a key without RoleNode, or past its
// end, does not count. to is the receiver's own name. A clock skew of
// limits.ClockSkew is tolerated. Whether the same message came before is for
// the caller to remember, by ID. Every error is an *Error with the code
// "refused", or "timeout" for one out of time.
func OpenIntroduction(raw []byte, find NodeFinder, to string, now time.Time) (*Introduction, error) {
	if find == nil || to == "" || now.IsZero() {
		return nil, fail(CheckArguments, "the receiver has no keys, no name or no time").as(nil, verdict.ReasonRefused, "")
	}
	m, err := open(raw, IntroductionType, finder{now: now, find: func(kid string) (trust.Key, bool) {
		_, key, ok := find(kid)
		return key, ok
	}})
	var in *Introduction
	if err == nil {
		in, err = openIntroduction(m, find, to, now)
	}
	if err != nil {
		kid := ""
		if m != nil {
			kid = m.kid
		}
		return nil, err.as(map[string]string{CheckDeadline: verdict.ReasonTimeout}, verdict.ReasonRefused, kid)
	}
	return in, nil
}

func openIntroduction(m *message, find NodeFinder, to string, now time.Time) (*Introduction, *Error) {
	in, err := readIntroduction(m)
	if err != nil {
		return nil, err
	}
	if name, _, ok := find(m.kid); !ok || name != in.From {
		return nil, fail(CheckSender, "the signer is not the node that it says")
	}
	if in.To != to {
		return nil, fail(CheckRecipient, "meant for %.32q", in.To)
	}
	if err := in.check(); err != nil {
		return nil, err
	}
	if in.Issued.After(now.Add(limits.ClockSkew)) {
		return nil, fail(CheckFuture, "issued at %s, which is in the future", in.Issued.Format(formMillis))
	}
	if now.After(in.Deadline.Add(limits.ClockSkew)) {
		return nil, fail(CheckDeadline, "the deadline was %s", in.Deadline.Format(formMillis))
	}
	return in, nil
}

func readIntroduction(m *message) (*Introduction, *Error) {
	st := m.take(entryStatement, typeIntroduction, 0)
	if st == nil {
		return nil, fail(CheckMessage, "no statement")
	}
	if err := m.done(); err != nil {
		return nil, err
	}
	return parseIntroduction(st)
}

func parseIntroduction(st []byte) (*Introduction, *Error) {
	var w introductionJSON
	if err := unmarshal(st, &w); err != nil {
		return nil, err
	}
	var r reader
	in := &Introduction{
		ID: w.ID, From: w.From, To: w.To, Nonce: r.bytes(w.Nonce, "nonce"),
		Issued: r.time(w.Issued, formMillis, "issued"), Deadline: r.time(w.Deadline, formMillis, "deadline"),
	}
	if r.err != nil {
		return nil, r.err
	}
	again, err := in.statement()
	return in, same(st, again, err)
}

func (a IntroductionAnswer) check() *Error {
	most := limits.Default()
	for _, m := range []struct {
		name string
		ok   bool
	}{
		{"id", hexID.MatchString(a.ID)}, {"digest", a.Digest != [32]byte{}}, {"from", slug.MatchString(a.From)},
		{"to", slug.MatchString(a.To) && a.To != a.From}, {"issued", writable(a.Issued)},
		{"media type", a.MediaType == "" || text(a.MediaType, most.MediaType)}, {"digest of the evidence", a.Of != [32]byte{}},
		{"sealed", a.Sealed == "" || thumbprint(a.Sealed)},
	} {
		if !m.ok {
			return fail(CheckMembers, "%s is not of its form", m.name)
		}
	}
	if len(a.Evidence) == 0 || len(a.Evidence) > most.Leaf {
		return fail(CheckEvidence, "%d bytes of evidence, want 1 to %d", len(a.Evidence), most.Leaf)
	}
	if a.Sealed == "" && sha256.Sum256(a.Evidence) != a.Of {
		return fail(CheckEvidence, "the evidence has not the digest that is stated")
	}
	return a.Keys.check()
}

func (a IntroductionAnswer) statement() ([]byte, error) {
	list := func(s []string) []string { return append([]string{}, s...) }
	return marshal(introductionAnswerJSON{
		ID: a.ID, Digest: hex.EncodeToString(a.Digest[:]), From: a.From, To: a.To, Issued: a.Issued.UTC().Format(formMillis),
		Keys:      keysJSON{list(a.Keys.Node), list(a.Keys.Verifiers), list(a.Keys.Seal)},
		MediaType: a.MediaType, Evidence: hex.EncodeToString(a.Of[:]), Sealed: a.Sealed,
	})
}

// Sign makes the signed message. The key of s must be among Keys.Node, so that
// the evidence speaks for the key that signs. Errors wrap *Error.
func (a IntroductionAnswer) Sign(s *trust.Signer, random io.Reader) ([]byte, error) {
	a.Issued = a.Issued.Truncate(time.Millisecond)
	err := a.check()
	if err == nil && (s == nil || !a.vouches(s.KID())) {
		err = fail(CheckSender, "the signer is not among the keys")
	}
	var raw []byte
	if err == nil {
		raw, err = signStatement(s, random, IntroductionAnswerType, typeIntroductionAnswer, a.statement,
			entry(entryOwnEvidence, typeEvidence, a.Evidence, evidence.IndEvidence))
	}
	if err != nil {
		return nil, fmt.Errorf("relay: sign introduction answer: %w", err.as(nil, verdict.ReasonMalfunction, ""))
	}
	return raw, nil
}

func (a IntroductionAnswer) vouches(mark string) bool {
	return len(Keys{Node: []string{mark}}.Without(a.Keys)) == 0
}

// OpenIntroductionAnswer checks what came back for the introduction sent, whose
// signed message was sentRaw. find must know the keys of the node sent.To and
// no other; a key without RoleNode, or past its end, does not count. Every
// error is an *Error with the code "peer-not-attested".
//
// The evidence is not looked at: the caller opens it, if it is sealed, holds it
// to Of, and appraises it for Keys.Challenge(sent.Nonce, sent.From, sent.To).
// Nor are Keys compared with those by which the node is known: the caller does
// that with Keys.Without.
func OpenIntroductionAnswer(raw []byte, sent *Introduction, sentRaw []byte, find func(kid string) (trust.Key, bool), now time.Time) (*IntroductionAnswer, error) {
	if sent == nil || len(sentRaw) == 0 || now.IsZero() {
		return nil, fail(CheckArguments, "nothing was sent, or there is no time").as(nil, verdict.ReasonPeerNotAttested, "")
	}
	m, err := open(raw, IntroductionAnswerType, finder{find: find, now: now})
	var a *IntroductionAnswer
	if err == nil {
		a, err = openIntroductionAnswer(m, sent, sentRaw, find, now)
	}
	if err != nil {
		kid := ""
		if m != nil {
			kid = m.kid
		}
		return nil, err.as(nil, verdict.ReasonPeerNotAttested, kid)
	}
	return a, nil
}

func openIntroductionAnswer(m *message, sent *Introduction, sentRaw []byte, find func(string) (trust.Key, bool), now time.Time) (*IntroductionAnswer, *Error) {
	a, err := readIntroductionAnswer(m)
	if err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	issued := a.Issued.Format(formMillis)
	switch {
	case a.ID != sent.ID || a.Digest != sha256.Sum256(sentRaw):
		return nil, fail(CheckSubject, "the answer is to another introduction")
	case a.From != sent.To:
		return nil, fail(CheckSender, "the answer is from another node")
	case a.To != sent.From:
		return nil, fail(CheckRecipient, "meant for %.32q", a.To)
	case a.Issued.After(now.Add(limits.ClockSkew)):
		return nil, fail(CheckFuture, "issued at %s, which is in the future", issued)
	case a.Issued.Before(sent.Issued.Add(-limits.ClockSkew)):
		return nil, fail(CheckStale, "issued at %s, before the introduction", issued)
	case now.After(sent.Deadline): // our own clock on both sides
		return nil, fail(CheckDeadline, "the deadline was %s", sent.Deadline.UTC().Format(formMillis))
	}
	key, _ := find(m.kid)
	if mark, err := key.Thumbprint(); err != nil || !a.vouches(mark) {
		return nil, fail(CheckSender, "the signer is not among the keys")
	}
	return a, nil
}

func readIntroductionAnswer(m *message) (*IntroductionAnswer, *Error) {
	st := m.take(entryStatement, typeIntroductionAnswer, 0)
	if st == nil {
		return nil, fail(CheckMessage, "no statement")
	}
	a, err := parseIntroductionAnswer(st)
	if err != nil {
		return nil, err
	}
	a.Evidence = m.take(entryOwnEvidence, typeEvidence, evidence.IndEvidence)
	return a, m.done()
}

func parseIntroductionAnswer(st []byte) (*IntroductionAnswer, *Error) {
	var w introductionAnswerJSON
	if err := unmarshal(st, &w); err != nil {
		return nil, err
	}
	var r reader
	a := &IntroductionAnswer{
		ID: w.ID, From: w.From, To: w.To, Issued: r.time(w.Issued, formMillis, "issued"),
		Keys:      Keys{Node: w.Keys.Node, Verifiers: w.Keys.Verifiers, Seal: w.Keys.Seal},
		MediaType: w.MediaType, Sealed: w.Sealed,
	}
	r.digest(a.Digest[:], w.Digest, "digest")
	r.digest(a.Of[:], w.Evidence, "evidence")
	if r.err != nil {
		return nil, r.err
	}
	again, err := a.statement()
	return a, same(st, again, err)
}
