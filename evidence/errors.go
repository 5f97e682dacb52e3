// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"errors"
	"fmt"
	"strings"

	"github.com/assize/assize/evidence/internal/cborscan"
	"github.com/assize/assize/evidence/internal/jsonscan"
)

// Rules that are not one of CMW-01 … CMW-40, the numbered decode rules, each of
// which has its cases in the tests of this package.
const (
	RuleSyntax          = "syntax"              // not well-formed JSON or CBOR
	RuleMediaType       = "media-type"          // the declared type of the message is none that we accept
	RuleSize            = "limit-size"          // whole message
	RuleLeafSize        = "limit-leaf"          // one decoded leaf value
	RuleDepth           = "limit-depth"         // nesting, counted from the root = 0
	RuleLeaves          = "limit-leaves"        // leaves of the whole tree
	RuleLabels          = "limit-labels"        // entries of one collection
	RuleLabel           = "limit-label"         // length of one text label, or an integer label outside 64 bits
	RuleMediaTypeLength = "limit-media-type"    // length of one Content-Type text
	RuleUntrusted       = "signature-untrusted" // signed CMW and no trusted key for it
	RuleRatsd           = "ratsd"               // a ratsd token that breaks its own rules (D-49, D-54)
	RuleNVIDIA          = "nvidia-input"        // a collection of NVIDIA's verifier input that breaks its profile (D-86)
	RuleConvention      = "convention"          // a composite bound by a convention of others that breaks its form (D-93)
	RuleEncode          = "encode"              // an Item that cannot be encoded
)

// Error says which rule the input breaks and where. Callers find it with
// errors.As.
type Error struct {
	// Rule is "CMW-01" … "CMW-40" or one of the Rule constants.
	Rule string
	// Detail says in words what was expected and what was seen.
	Detail string
	// Label is the canonical path of the offending node, empty for the root.
	Label Path
	// Offset is in bytes from the start of the message; inside a base64 value
	// (an embedded CMW in JSON, a JWS) from the start of the decoded value.
	// It is -1 where no position is known.
	Offset int64
}

// Error names rule, label path and offset.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("evidence: ")
	b.WriteString(e.Detail)
	b.WriteString(" (")
	b.WriteString(e.Rule)
	if e.Label != "" {
		fmt.Fprintf(&b, ", label %q", string(e.Label))
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ", offset %d", e.Offset)
	}
	b.WriteByte(')')
	return b.String()
}

// frame is where in the tree the parser stands.
type frame struct {
	path   Path
	label  label
	depth  int
	signer *Signer
	base   int64 // offset of the current buffer in the message
	// notCMW is the rule to name when something else than a CMW stands here.
	notCMW string
}

// label is one entry label, canonical and as it was typed.
type label struct {
	canonical string
	text      string
	path      Path // the whole path where it is known, else ""
	num       int64
	isInt     bool
}

// down is the frame of a collection's entry.
func (f frame) down(l label) frame {
	if l.path == "" {
		l.path = f.path.Join(l.canonical)
	}
	f.path = l.path
	f.label = l
	f.depth++
	f.notCMW = "CMW-24"
	return f
}

// into is the frame of the content of a wrapper, whose bytes start at base.
func (f frame) into(base int64) frame {
	f.depth++
	f.base = base
	f.notCMW = RuleSyntax
	return f
}

func (f frame) fail(rule string, at int, format string, a ...any) error {
	off := int64(-1)
	if at >= 0 {
		off = f.base + int64(at)
	}
	return &Error{Rule: rule, Detail: fmt.Sprintf(format, a...), Label: f.path, Offset: off}
}

// wrap gives a scanner's error its place in the tree.
func (f frame) wrap(err error) error { return f.wrapAs(RuleSyntax, err) }

func (f frame) wrapAs(rule string, err error) error {
	if j, ok := errors.AsType[*jsonscan.Error](err); ok {
		return f.fail(rule, j.Offset, "%s", j.Detail)
	}
	if c, ok := errors.AsType[*cborscan.Error](err); ok {
		return f.fail(rule, c.Offset, "%s", c.Detail)
	}
	return err
}
