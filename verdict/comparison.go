// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxCompared bounds each part of a Comparison in bytes, so that no evidence makes
// a result large: what is longer is cut, and ends with "…".
const MaxCompared = 512

// maxAlternatives is how many expected values a reason names.
const maxAlternatives = 4

// Sources of expectations that are no document.
const (
	SourceChallenge       = "challenge of the session"
	SourceAppraisalPolicy = "appraisal policy"
	SourceVerifyTime      = "verification time"
	SourceSignedEvidence  = "signed evidence"
)

// Comparison is what was held against what where that failed: the members of a
// Reason that are for explanations. Nothing secret belongs in it.
type Comparison struct {
	// Expected and Observed are digests in hexadecimal, versions, names or times.
	// Source says where the expectation comes from.
	Expected, Observed, Source string
}

// Challenged is the comparison of a challenge with what the evidence answers, in
// hexadecimal.
func Challenged(expected, observed []byte) Comparison {
	return Comparison{Expected: hex.EncodeToString(expected), Observed: hex.EncodeToString(observed), Source: SourceChallenge}
}

// Compared is the reason with a comparison, each part cut to MaxCompared bytes.
func (r Reason) Compared(c Comparison) Reason {
	r.Expected, r.Observed, r.Source = clipped(c.Expected), clipped(c.Observed), clipped(c.Source)
	return r
}

// Against adds a comparison to a reason that was reported, and nothing to none (nil).
func (r *Reason) Against(c Comparison) {
	if r != nil {
		*r = r.Compared(c)
	}
}

// Comparison is what the reason says was compared.
func (r Reason) Comparison() Comparison {
	return Comparison{Expected: r.Expected, Observed: r.Observed, Source: r.Source}
}

// clipped is valid UTF-8 of at most MaxCompared bytes.
func clipped(s string) string {
	const mark = "…"
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxCompared {
		return s
	}
	n := MaxCompared - len(mark)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + mark
}

// FailComparing is Fail for a comparison that failed.
func (a *Appraisal) FailComparing(code, detail string, c Comparison) *Appraisal {
	a.Reasons = append(a.Reasons, Reason{Code: code, Detail: detail}.Compared(c))
	return a
}

// Alternatives joins values any of which would have been right: each once, the
// first four, and how many there are beside them; more are some that are not listed.
func Alternatives(values []string, more int) string {
	var out []string
	for _, v := range values {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if len(out) > maxAlternatives {
		more += len(out) - maxAlternatives
		out = out[:maxAlternatives]
	}
	switch {
	case more > 0 && len(out) == 0:
		return fmt.Sprintf("%d values", more)
	case more > 0:
		return fmt.Sprintf("%s … %d more", strings.Join(out, " or "), more)
	}
	return strings.Join(out, " or ")
}
