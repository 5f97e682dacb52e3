// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
)

// Bounds in bytes.
const (
	maxLabel  = 4096
	maxExpr   = 16 << 10
	maxKID    = 255
	maxDetail = 512
)

var (
	hexID     = regexp.MustCompile(`^[0-9a-f]{32}$`)
	slug      = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	session   = regexp.MustCompile(`^[!-~]{1,64}$`)
	nonceRule = regexp.MustCompile(`^[a-z0-9/-]{0,64}$`)
	token     = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
	step      = regexp.MustCompile(`^(#(0|-?[1-9][0-9]*)|(~[012]|[^~/#])(~[01]|[^~/])*)$`)
)

// text reports UTF-8 of 1 to most bytes without anything invisible.
func text(s string, most int) bool {
	return s != "" && len(s) <= most && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	})
}

// label reports a canonical label path that is not the root (decision D-12).
func label(p evidence.Path) bool {
	if !text(string(p), maxLabel) {
		return false
	}
	for s := range strings.SplitSeq(string(p), "/") {
		if !step.MatchString(s) {
			return false
		}
	}
	return true
}

func nonce(n []byte) bool {
	return n == nil || len(n) >= limits.NonceMin && len(n) <= limits.NonceMax
}

// mediaType reports the canonical spelling of a Content-Type, or "cf:<n>".
func mediaType(s string) bool {
	if n, ok := strings.CutPrefix(s, "cf:"); ok {
		v, err := strconv.ParseUint(n, 10, 16)
		return err == nil && strconv.FormatUint(v, 10) == n
	}
	mt, err := evidence.ParseMediaType(s)
	return err == nil && mt.String() == s && len(s) <= limits.Default().MediaType
}

func thumbprint(s string) bool {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(raw) == sha256.Size
}

// writable reports whether a time has a form on the wire.
func writable(t time.Time) bool { return t.Unix() > 0 && t.UTC().Year() <= 9999 }

// checkVia holds for both messages.
func checkVia(via []string, most int) *Error {
	if len(via) == 0 || len(via) > most {
		return fail(CheckVia, "%d nodes on the path, want 1 to %d", len(via), most)
	}
	for i, kid := range via {
		if !text(kid, maxKID) {
			return fail(CheckVia, "key id %d of the path is not of its form", i)
		}
		if slices.Contains(via[:i], kid) {
			return fail(CheckLoop, "node %.64q is on the path twice", kid)
		}
	}
	return nil
}

func (e Envelope) check() *Error {
	for _, f := range []func() *Error{e.checkMembers, e.checkPath, e.checkTimes, e.checkCommit, e.checkComponents, e.checkPartials} {
		if err := f(); err != nil {
			return err
		}
	}
	if e.Evidence != nil && sha256.Sum256(e.Evidence) != e.Composite {
		return fail(CheckComposite, "the composite has not the digest that is stated")
	}
	return nil
}

func (e Envelope) checkMembers() *Error {
	for _, m := range []struct {
		name string
		ok   bool
	}{
		{"id", hexID.MatchString(e.ID)}, {"session", session.MatchString(e.Session)}, {"to", slug.MatchString(e.To)},
		{"expr", text(e.Expr, maxExpr)}, {"nonce", nonce(e.Nonce)}, {"composite", e.Composite != [32]byte{}},
		{"evidence", e.Evidence == nil || len(e.Evidence) > 0},
		{"verification_time", e.VerificationTime.IsZero() || writable(e.VerificationTime)},
	} {
		if !m.ok {
			return fail(CheckMembers, "%s is not of its form", m.name)
		}
	}
	return nil
}

// checkPath looks at names as well: a node that has changed its key, or has
// several, is still the same node.
func (e Envelope) checkPath() *Error {
	if err := checkVia(e.Via, MaxHops); err != nil {
		return err
	}
	if len(e.Path) != len(e.Via) {
		return fail(CheckVia, "%d names for %d nodes", len(e.Path), len(e.Via))
	}
	for i, name := range e.Path {
		if !slug.MatchString(name) && (i > 0 || name != "") {
			return fail(CheckVia, "name %d of the path is not of its form", i)
		}
		if slices.Contains(e.Path[:i], name) || name == e.To {
			return fail(CheckLoop, "node %s is on the path twice", name)
		}
	}
	return nil
}

func (e Envelope) checkTimes() *Error {
	if !writable(e.Issued) || !writable(e.Deadline) {
		return fail(CheckMembers, "time of issue or deadline is missing")
	}
	if d := e.Deadline.Sub(e.Issued); d <= 0 || d > limits.Session {
		return fail(CheckDeadline, "deadline %s after the issue, want more than 0 and at most %s", d, limits.Session)
	}
	return nil
}

func (e Envelope) checkCommit() *Error {
	c := e.Commit
	if c == nil {
		return nil
	}
	if len(c.Nonce) > 0 || len(c.Leaves) > limits.Default().Leaves || c.Signer != "" && !thumbprint(c.Signer) {
		return fail(CheckMembers, "commit has a nonce, too many leaves, or a signer that is no thumbprint")
	}
	for path := range c.Leaves {
		if !label(path) {
			return fail(CheckMembers, "commit has a leaf at %.100q, which is no label path", string(path))
		}
	}
	return nil
}

func (e Envelope) checkComponents() *Error {
	most := limits.Default().Leaves
	if len(e.Components) == 0 || len(e.Components) > most {
		return fail(CheckComponents, "%d components, want 1 to %d", len(e.Components), most)
	}
	requests := make(map[string]bool, len(e.Components))
	for i, c := range e.Components {
		if i > 0 && e.Components[i-1].Label >= c.Label {
			return fail(CheckComponents, "%.100q is there twice or not in its place", string(c.Label))
		}
		if requests[c.Request] {
			return fail(CheckComponents, "%.100q has the request of another component", string(c.Label))
		}
		requests[c.Request] = true
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Component) check() *Error {
	most := limits.Default()
	for _, m := range []struct {
		name string
		ok   bool
	}{
		{"label", label(c.Label)}, {"leaf", (c.Leaf == "" || label(c.Leaf)) && c.Label.Under(c.Leaf)},
		{"scheme", c.Scheme == "" || slug.MatchString(c.Scheme)}, {"media type", mediaType(c.MediaType)},
		{"class", c.Class == "" || slug.MatchString(c.Class)}, {"request", hexID.MatchString(c.Request)},
		{"nonce", nonce(c.Nonce)}, {"nonce rule", nonceRule.MatchString(c.NonceRule)},
		{"number of sources", c.Sources >= 0 && c.Sources <= most.Leaves}, {"digest", c.Digest != [32]byte{}},
		{"evidence", c.Evidence == nil || len(c.Evidence) > 0 && len(c.Evidence) <= most.Leaf},
		{"seal", (c.Sealed == "") == (c.For == "") && (c.Sealed == "" || text(c.Sealed, maxKID) && slug.MatchString(c.For) && c.Evidence != nil)},
	} {
		if !m.ok {
			return fail(CheckComponents, "%s of %.100q is not of its form", m.name, string(c.Label))
		}
	}
	if c.Evidence != nil && c.Sealed == "" && sha256.Sum256(c.Evidence) != c.Digest {
		return fail(CheckEvidence, "the evidence of %.100q has not the digest that is stated", string(c.Label))
	}
	return nil
}

func (e Envelope) checkPartials() *Error {
	for _, p := range e.Partials {
		if slices.ContainsFunc(e.Components, func(c Component) bool { return c.Label == p.Label }) {
			return fail(CheckPartials, "%.100q has a partial result and is asked for", string(p.Label))
		}
	}
	return checkPartials(e.Partials)
}

// checkPartials holds for both messages.
func checkPartials(partials []Partial) *Error {
	seen := make(map[string]bool, len(partials))
	for _, p := range partials {
		if !label(p.Label) {
			return fail(CheckPartials, "%.100q is no label path", string(p.Label))
		}
		if len(p.Token) > limits.Result || !token.Match(p.Token) {
			return fail(CheckPartials, "the partial result of %.100q is no compact JWS of at most %d bytes", string(p.Label), limits.Result)
		}
		if seen[string(p.Token)] {
			return fail(CheckPartials, "the partial result of %.100q is there twice", string(p.Label))
		}
		seen[string(p.Token)] = true
	}
	return nil
}

func (a Answer) check() *Error {
	if !hexID.MatchString(a.ID) || !session.MatchString(a.Session) || !writable(a.Issued) || a.Digest == [32]byte{} {
		return fail(CheckMembers, "id, session, time of issue or digest is not of its form")
	}
	if err := checkVia(a.Via, MaxNodes); err != nil {
		return err
	}
	if most := limits.Default().Leaves; len(a.Failures) > most {
		return fail(CheckFailures, "%d failures, at most %d", len(a.Failures), most)
	}
	for _, f := range a.Failures {
		if !label(f.Label) || !NoVerdict(f.Code) || f.Detail != "" && !text(f.Detail, maxDetail) {
			return fail(CheckFailures, "failure of %.100q: %.64q is no code for it, or the text is longer than %d bytes", string(f.Label), f.Code, maxDetail)
		}
	}
	if err := a.checkReceipts(); err != nil {
		return err
	}
	return checkPartials(a.Partials)
}

func (a Answer) checkReceipts() *Error {
	if len(a.Receipts) > verdict.MaxReceipts {
		return fail(CheckReceipts, "%d receipts, at most %d", len(a.Receipts), verdict.MaxReceipts)
	}
	seen := make(map[string]bool, len(a.Receipts))
	for _, one := range a.Receipts {
		token := string(one.Token())
		if token == "" || seen[token] || one.Session != a.Session {
			return fail(CheckReceipts, "a receipt is not signed, is there twice, or is of another session")
		}
		seen[token] = true
	}
	return nil
}
