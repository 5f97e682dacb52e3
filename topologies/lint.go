// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// MaxProblems is how many problems Lint reports at most.
const MaxProblems = 64

// Severity says whether a problem is in the way of a good verdict.
type Severity string

// An error keeps the expression from being carried out, or its verdict from
// being affirming. A warning may.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Codes of problems.
const (
	ProblemSyntax       = "syntax"            // not in the grammar
	ProblemNesting      = "nesting"           // deeper than MaxDepth, more than MaxTerms
	ProblemQuorum       = "quorum"            // no count, or larger than its operands
	ProblemTwice        = "owned-twice"       // a component has two owners
	ProblemOverlap      = "overlap"           // two patterns may name one component
	ProblemCycle        = "cycle"             // a chain comes back to a node
	ProblemPlan         = "plan"              // another reason for which it cannot be planned
	ProblemUnknownLabel = "unknown-label"     // the evidence has no such component
	ProblemUnnamed      = "unnamed-component" // nobody names it, so it caps
	ProblemNoVerifier   = "no-verifier"       // nobody can appraise it, or only some of a quorum
	ProblemUnknownNode  = "unknown-node"      // no peer of this node
	ProblemLoop         = "loop"              // a relay would pass a node twice, and is refused there
	ProblemHops         = "hops"              // a relay would pass more nodes than an envelope may
	ProblemNoSealKey    = "no-seal-key"       // a peer that evidence cannot be sealed to
)

// Problem is one thing that is wrong with an expression. Offset counts bytes
// from 0; Line and Column count from 1, Column in characters.
type Problem struct {
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`
	Offset   int      `json:"offset"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	Detail   string   `json:"detail"`
}

// LintInput is what an expression is held against. The zero value checks the
// expression alone.
type LintInput struct {
	// Input is that of New; without Route every scheme has a verifier everywhere.
	Input
	// Submitted says that Components are those of an evidence tree, so that
	// labels can be compared with it.
	Submitted bool
	// Peers are the names of the nodes that this one knows, NoSeal those among
	// them that get no evidence because there is no key to seal it to.
	Peers, NoSeal []string
}

// Lint returns every problem of an expression in the order of their positions,
// nil if there is none, and at most MaxProblems. It has an error if and only if
// Parse or New refuse the expression, other nodes would refuse what is handed on,
// or Submitted components do not fit it;
// behind an error in the syntax it goes on with the rest of the text. Without
// Submitted it also calls two patterns an error of which one names everything
// that the other does.
func Lint(text string, in LintInput) []Problem {
	l := &linter{parser: parser{text: text}}
	e, err := Parse(text)
	whole := err == nil
	if !whole {
		e = l.recover(err)
	}
	return l.check(e, in, whole)
}

// check holds the expression against everything else, and sorts what was found.
func (l *linter) check(e Expr, in LintInput, whole bool) []Problem {
	if in.Route == nil {
		in.Route = func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }
	}
	l.meaning(e, in, whole)
	slices.SortStableFunc(l.found, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Code, b.Code))
	})
	return l.found
}

// LintYAML is Lint for the YAML form. What cannot be read ends at the first error.
func LintYAML(raw []byte, in LintInput) []Problem {
	e, err := ParseYAML(raw)
	var at *YAMLError
	switch {
	case err == nil:
	case errors.As(err, &at):
		return []Problem{{SeverityError, codeOf(at.Err.Detail), at.Err.Pos, at.Line, at.Column, at.Err.Detail}}
	default:
		return []Problem{{SeverityError, ProblemSyntax, 0, 1, 1, err.Error()}}
	}
	l := &linter{parser: parser{text: string(raw)}}
	return l.check(e, in, true)
}

// linter is a parser that goes on behind an error.
type linter struct {
	parser
	found []Problem
}

func (l *linter) add(s Severity, code string, pos int, format string, args ...any) {
	if len(l.found) >= MaxProblems { // no warning may be in the way of an error
		i := slices.IndexFunc(l.found, func(p Problem) bool { return p.Severity == SeverityWarning })
		if s == SeverityWarning || i < 0 {
			return
		}
		l.found = slices.Delete(l.found, i, i+1)
	}
	p := Problem{Severity: s, Code: code, Offset: pos, Detail: fmt.Sprintf(format, args...)}
	p.Line, p.Column = place(l.text, pos)
	l.found = append(l.found, p)
}

// place is line and column of a byte offset.
func place(text string, pos int) (line, column int) {
	before := text[:min(pos, len(text))]
	start := strings.LastIndexByte(before, '\n') + 1
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[start:]) + 1
}

// where is a place in words.
func (l *linter) where(pos int) string {
	line, column := place(l.text, pos)
	if strings.Contains(l.text, "\n") {
		return fmt.Sprintf("line %d, column %d", line, column)
	}
	return fmt.Sprintf("column %d", column)
}

// meaning holds the expression against plan, evidence and nodes. whole means
// that nothing of the text was left out.
func (l *linter) meaning(e Expr, in LintInput, whole bool) {
	list := terms(e, false)
	rest, usable := l.repeated(e, list, in.Submitted)
	if usable {
		l.planned(rest, list, in)
	}
	l.nodes(e, in)
	if in.Submitted {
		l.labels(e, list, in, whole)
	}
}

// term is what owns components: a label, or a group of redundant ones.
type term struct {
	pattern  string
	pos      int
	optional bool
}

// terms are the terms of an expression, in the order of the text.
func terms(e Expr, optional bool) []term {
	if e.Head == Label {
		return []term{{e.Pattern, e.Pos, optional}}
	}
	optional = optional || e.Head == Optional
	group := e.Head == Parallel && (e.Quorum > 0 || redundant(e.Args))
	var out []term
	for _, a := range e.Args {
		if group && a.Head == Label && slices.ContainsFunc(out, func(t term) bool { return t.pattern == a.Pattern }) {
			continue
		}
		out = append(out, terms(a, optional)...)
	}
	return out
}

// repeated reports terms that name what an earlier one does, as far as the text
// tells, and returns the expression without those that New would not place.
func (l *linter) repeated(e Expr, list []term, submitted bool) (Expr, bool) {
	usable := true
	for i, t := range list {
		j := slices.IndexFunc(list[:i], func(s term) bool {
			return s.pattern == t.pattern || !submitted && overlap(s.pattern, t.pattern)
		})
		if j < 0 {
			continue
		}
		first := list[j]
		there := l.where(first.pos)
		switch {
		case first.pattern == t.pattern, Match(first.pattern, t.pattern), Match(t.pattern, first.pattern):
			l.add(SeverityError, ProblemTwice, t.pos, "%s is already named as %s in %s", t.pattern, first.pattern, there)
			if usable {
				e, usable = without(e, t.pos)
			}
		default:
			l.add(SeverityWarning, ProblemOverlap, t.pos, "%s may name a component that %s in %s names", t.pattern, first.pattern, there)
		}
	}
	return e, usable
}

// overlap reports whether there is a path that both patterns name.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := range min(len(x), len(y)) {
		if x[i] != y[i] && x[i] != "*" && y[i] != "*" {
			return false
		}
	}
	return true
}

// without takes away the operand at a position, and every head that has none
// left; a group of redundant labels goes with its first, which stands for it.
// false means that nothing is left.
func without(e Expr, pos int) (Expr, bool) {
	if e.Head == Label || e.Args == nil {
		return e, e.Pos != pos
	}
	out := e
	out.Args = make([]Expr, 0, len(e.Args))
	for i, a := range e.Args {
		if a.Pos == pos {
			if i == 0 && e.Head == Parallel && (e.Quorum > 0 || redundant(e.Args)) {
				return e, false
			}
			continue
		}
		if a, ok := without(a, pos); ok {
			out.Args = append(out.Args, a)
		}
	}
	return out, e.Pos != pos && len(out.Args) > 0
}

// planned asks the planner itself, without each operand that it refuses, until
// it plans.
func (l *linter) planned(e Expr, list []term, in LintInput) {
	for range MaxProblems {
		p, err := New(e, in.Input)
		if err == nil {
			l.steps(p, list)
			if len(in.Components) == 0 {
				p = standIn(e, p, list, in)
			}
			l.relays(p, list, in.Self)
			return
		}
		var pe *ParseError
		if !errors.As(err, &pe) {
			l.add(SeverityError, ProblemPlan, e.Pos, "%s", strings.TrimPrefix(err.Error(), "topologies: "))
			return
		}
		code := ProblemPlan
		switch {
		case strings.Contains(pe.Detail, "already named"):
			code = ProblemTwice
		case strings.Contains(pe.Detail, "comes back"):
			code = ProblemCycle
		}
		l.add(SeverityError, code, pe.Pos, "%s", pe.Detail)
		var ok bool
		if e, ok = without(e, pe.Pos); !ok {
			return
		}
	}
}

// steps reports what the plan has without anybody to appraise it.
func (l *linter) steps(p *Plan, list []term) {
	for _, st := range p.Steps {
		if st.Kind != Appraise {
			continue
		}
		pos := named(list, st)
		if r := st.Reason; r != nil {
			if r.Code != verdict.ReasonMissingComponent && r.Code != verdict.ReasonUnexpected {
				l.add(SeverityError, ProblemNoVerifier, pos, "%s: %s: %s", st.Label, r.Code, r.Detail)
			}
			continue
		}
		if st.Relay > 0 {
			continue
		}
		able := len(st.Sources)
		for _, src := range st.Sources {
			if len(src.Candidates) == 0 {
				able--
			}
		}
		switch {
		case able < st.Quorum:
			l.add(SeverityError, ProblemNoVerifier, pos, "%s: a quorum of %d cannot be reached, %d of %d nodes serve %s", st.Label, st.Quorum, able, len(st.Sources), st.Scheme)
		case able < len(st.Sources):
			l.add(SeverityWarning, ProblemNoVerifier, pos, "%s: %d of %d nodes serve %s, so it is never better than warning", st.Label, able, len(st.Sources), st.Scheme)
		}
	}
}

// standIn is the plan with a component for every term: without evidence there
// are none, and so no way that one would take.
func standIn(e Expr, p *Plan, list []term, in LintInput) *Plan {
	for _, t := range list {
		label := evidence.Path(strings.ReplaceAll(t.pattern, "*", "0"))
		in.Components = append(in.Components, Component{Label: label, Leaf: label, Scheme: "any"})
	}
	in.Route = func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }
	if full, err := New(e, in.Input); err == nil {
		return full
	}
	return p
}

// named is the position of the term that names the component of a step.
func named(list []term, st Step) int {
	if i := slices.IndexFunc(list, func(t term) bool { return Match(t.pattern, string(st.Label)) }); i >= 0 {
		return list[i].pos
	}
	return 0
}

// relays reports what is handed on in a way that is refused, decision D-43.
func (l *linter) relays(p *Plan, list []term, self string) {
	for _, st := range p.Steps {
		for i, node := range st.Path {
			if node == self && self != "" || slices.Contains(st.Path[:i], node) {
				l.add(SeverityError, ProblemLoop, named(list, st), "%s comes back to %s on its way: %s", st.Label, node, strings.Join(st.Path, " > "))
				break
			}
		}
		if most := MaxPathNodes - 2; len(st.Path) > most { // without the entry, and without a site
			l.add(SeverityError, ProblemHops, named(list, st), "%s passes %d nodes on its way, more than %d", st.Label, len(st.Path), most)
		}
	}
}

// nodes warns of places that this node knows nothing about.
func (l *linter) nodes(e Expr, in LintInput) {
	if e.Node != "" && e.Node != in.Self && !slices.Contains(in.Peers, e.Node) {
		l.add(SeverityWarning, ProblemUnknownNode, e.Pos, "%s is not among the peers of this node: nothing is handed on to it, and as the site of a verifier it counts as one of our own", e.Node)
	}
	if slices.Contains(in.NoSeal, e.Node) {
		l.add(SeverityWarning, ProblemNoSealKey, e.Pos, "%s has no key to seal to: no evidence is handed on to it", e.Node)
	}
	for _, a := range e.Args {
		l.nodes(a, in)
	}
}

// labels compares the terms with what was submitted.
func (l *linter) labels(e Expr, list []term, in LintInput, whole bool) {
	for _, t := range list {
		if slices.ContainsFunc(in.Components, func(c Component) bool { return Match(t.pattern, string(c.Label)) }) {
			continue
		}
		s := SeverityError
		if t.optional || slices.Contains(in.Optional, t.pattern) {
			s = SeverityWarning
		}
		l.add(s, ProblemUnknownLabel, t.pos, "the evidence has no component %s", t.pattern)
	}
	if !whole || everything(e) {
		return
	}
	for _, c := range in.Components {
		if !slices.ContainsFunc(list, func(t term) bool { return Match(t.pattern, string(c.Label)) }) {
			l.add(SeverityError, ProblemUnnamed, e.Pos, "nobody names component %s: it is not appraised and caps the verdict at warning", c.Label)
		}
	}
}

// everything reports whether a bare "lead" takes what nobody else names.
func everything(e Expr) bool {
	return e.Head == Lead && e.Args == nil || slices.ContainsFunc(e.Args, everything)
}
