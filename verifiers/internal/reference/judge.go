// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
)

const (
	// maxMismatches is how many measurements are reported one by one,
	// maxAlternatives how many expected values each.
	maxMismatches   = 8
	maxAlternatives = 4
	// maxProofs is how many documents a claim names.
	maxProofs = 16
)

// Judge says how a claim stands that needs all of the findings: Mismatched if one
// is, else the least of them; Unknown if there are none. The reasons say why it
// is not Matched, and of Matched that it rests on unsigned documents.
func (r *Report) Judge(claim verdict.ClaimName, findings ...Finding) (State, []verdict.Reason) {
	by := map[State][]Finding{}
	worst := Matched
	var unsigned []Finding
	for _, f := range findings {
		by[f.State] = append(by[f.State], f)
		worst = min(worst, f.State)
		if f.State == Matched && !f.Sources[0].Document().Signed() {
			unsigned = append(unsigned, f)
		}
	}
	var out []verdict.Reason
	add := func(code, format string, a ...any) {
		out = append(out, verdict.Reason{Code: code, Detail: claim.String() + ": " + fmt.Sprintf(format, a...)})
	}
	for i, f := range by[Mismatched] {
		if i == maxMismatches {
			add(verdict.ReasonMeasurementMismatch, "%d more differ: %s", len(by[Mismatched])-i, names(by[Mismatched][i:]))
			break
		}
		add(verdict.ReasonMeasurementMismatch, "%s of %s is %s%s%s", f.Name, r.where(), f.Seen, f.alternatives(), r.which())
		out[len(out)-1].Against(f.compared())
	}
	if list := by[Unknown]; len(list) > 0 {
		add(verdict.ReasonNoReferenceValues, "no reference values for %s of %s%s", names(list), r.where(), r.missing())
		out[len(out)-1].Against(verdict.Comparison{Expected: "a reference value for each", Observed: values(list), Source: r.noSource()})
	}
	if list := by[Partial]; len(list) > 0 {
		add(verdict.ReasonPartialReference, "%s of %s: the value is a reference value, but what belongs to it differs%s%s",
			names(list), r.where(), r.closest(list[0]), r.which())
		out[len(out)-1].Against(r.closestCompared(list[0]))
	}
	if list := append(by[Unsigned], unsigned...); len(list) > 0 {
		add(verdict.ReasonUnsignedReference, "%s of %s: the reference values are in a document that nobody has signed, %s%s",
			names(list), r.where(), list[0].Sources[0], r.which())
		out[len(out)-1].Against(verdict.Comparison{Expected: "a signed document", Observed: "not signed", Source: "reference values of " + list[0].Sources[0].String()})
	}
	switch {
	case len(findings) == 0:
		return Unknown, out
	case len(by[Mismatched]) > 0:
		return Mismatched, out
	}
	return worst, out
}

// names lists findings, what their names begin with only once.
func names(list []Finding) string {
	var out []string
	common := ""
	for i, f := range list {
		at := strings.LastIndexByte(f.Name, ' ') + 1
		if i == 0 || f.Name[:at] != common {
			common = f.Name[:at]
			out = append(out, f.Name)
			continue
		}
		out = append(out, f.Name[at:])
	}
	return strings.Join(out, ", ")
}

func (f *Finding) alternatives() string {
	var out []string
	for i, a := range f.expected {
		if i == maxAlternatives {
			break
		}
		out = append(out, fmt.Sprintf("%s in %s", a.value, a.source))
	}
	more := ""
	if n := len(f.expected) - len(out) + f.omitted; n > 0 {
		more = fmt.Sprintf(" or one of %d more", n)
	}
	if len(out) == 0 {
		return more
	}
	return ", expected " + strings.Join(out, " or ") + more
}

// compared are the values that would have matched, and the documents that say so.
func (f *Finding) compared() verdict.Comparison {
	var right, sources []string
	for _, a := range f.expected {
		right, sources = append(right, a.value), append(sources, a.source.String())
	}
	c := verdict.Comparison{Expected: verdict.Alternatives(right, f.omitted), Observed: f.Seen, Source: "reference values"}
	if len(sources) > 0 {
		c.Source += " of " + verdict.Alternatives(sources, 0)
	}
	return c
}

// values are those of findings, in evidence.
func values(list []Finding) string {
	var out []string
	for _, f := range list {
		out = append(out, f.Name+" "+f.Seen)
	}
	if len(out) > maxAlternatives {
		out = append(out[:maxAlternatives], fmt.Sprintf("%d more", len(list)-maxAlternatives))
	}
	return strings.Join(out, ", ")
}

// noSource is where the expectation would have come from. Like missing, it does not
// depend on documents that are not about the component.
func (r *Report) noSource() string {
	if r.candidates == 0 {
		return "reference values, of which none is about it"
	}
	return "reference values of revision " + r.revision[:min(16, len(r.revision))]
}

// closestCompared is what the nearest document wants beside what matches.
func (r *Report) closestCompared(f Finding) verdict.Comparison {
	c := verdict.Comparison{Expected: "all measurements of one document", Observed: "some of them", Source: "reference values"}
	if r.nearest == nil {
		return c
	}
	c.Source = "reference values of " + r.nearest.Source.String()
	var differ []string
	for _, k := range append(slices.Clone(r.nearest.Differing), r.nearest.Missing...) {
		differ = append(differ, k.String())
	}
	if len(differ) > 0 {
		c.Observed = "all but " + strings.Join(differ, ", ")
	}
	return c
}

// where names the environments.
func (r *Report) where() string {
	out := make([]string, len(r.environments))
	for i, e := range r.environments {
		out[i] = "{" + e.String() + "}"
	}
	return strings.Join(out, " or ")
}

// which names the revision.
func (r *Report) which() string { return " (revision " + r.revision[:min(16, len(r.revision))] + ")" }

// missing says what there is instead. Where nothing is about the component it says
// no more: that must not depend on which other documents a node has, or none.
func (r *Report) missing() string {
	switch {
	case r.candidates == 0:
		return ""
	case r.expired > 0:
		return fmt.Sprintf("; %d of %d triples about it do not hold at %s%s", r.expired, r.candidates, r.time.UTC().Format(time.RFC3339), r.which())
	}
	return r.which()
}

// closest says what keeps a triple from holding.
func (r *Report) closest(f Finding) string {
	if r.nearest == nil {
		if len(f.Sources) > 0 {
			return " in " + f.Sources[0].String()
		}
		return ""
	}
	out := " in " + r.nearest.Source.String()
	for _, part := range []struct {
		what string
		keys []corim.Key
	}{{"differing", r.nearest.Differing}, {"missing", r.nearest.Missing}} {
		if len(part.keys) > 0 {
			list := make([]string, 0, maxMismatches)
			for _, k := range part.keys[:min(maxMismatches, len(part.keys))] {
				list = append(list, k.String())
			}
			out += fmt.Sprintf(", %s: %s", part.what, strings.Join(list, ", "))
		}
	}
	return out
}

// Proof names the documents by which findings are Matched, as a claim: document,
// tag, triple, author and SHA-256.
func (r *Report) Proof(findings ...Finding) []any {
	var seen []corim.Source
	var out []any
	for _, f := range findings {
		if f.State != Matched {
			continue
		}
		for _, s := range f.Sources {
			if slices.Contains(seen, s) || len(seen) == maxProofs {
				continue
			}
			seen = append(seen, s)
			d := s.Document()
			out = append(out, map[string]any{
				"document": d.ID.String(), "tag": s.Tag().String(), "triple": fmt.Sprintf("%s[%d]", s.Kind, s.Index),
				"authority": s.Authority(), "sha256": hex.EncodeToString(d.Digest[:]),
			})
		}
	}
	return out
}

// Claim is what was compared with, for the claims of an appraisal: the revision,
// and the documents that prove each claim. It is nil if nothing is about the
// component.
func (r *Report) Claim(documents map[string]any) map[string]any {
	if r.candidates == 0 {
		return nil
	}
	return map[string]any{"revision": r.revision, "documents": documents}
}
