// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"fmt"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Source is one of several verifiers of one component.
type Source struct {
	Node       string
	Candidates []verifiers.Candidate
}

// parallel plans independent operands at once. Operands that name the same
// component are redundant verifiers of it: quorum of them have to answer, all
// where none is given, and the worst answer counts.
func (s *scope) parallel(e Expr, required bool) (Expr, error) {
	if e.Quorum == 0 && !redundant(e.Args) {
		return s.args(e, required)
	}
	if len(e.Args) > verdict.MaxAsked {
		return Expr{}, &ParseError{e.Pos, fmt.Sprintf("more than %d redundant verifiers", verdict.MaxAsked)}
	}
	for i, a := range e.Args {
		if a.Head != Label {
			return Expr{}, &ParseError{a.Pos, "redundant verifiers are given as labels with nodes"}
		}
		if a.Pattern != e.Args[0].Pattern {
			return Expr{}, &ParseError{a.Pos, fmt.Sprintf("%s is another component than %s, so they cannot stand in for each other", a.Pattern, e.Args[0].Pattern)}
		}
		for _, b := range e.Args[:i] {
			if b.Node == a.Node {
				return Expr{}, &ParseError{a.Pos, "two redundant verifiers at the same node are one"}
			}
		}
	}
	first := len(s.steps)
	group, err := s.label(Expr{Head: Label, Pattern: e.Args[0].Pattern, Pos: e.Args[0].Pos}, required)
	if err != nil {
		return Expr{}, err
	}
	need := e.Quorum
	if need == 0 {
		need = len(e.Args)
	}
	for i := first; i < len(s.steps); i++ {
		s.redundancy(&s.steps[i], e.Args, need)
	}
	return quorums(e, group, need), nil
}

// redundant reports whether two operands are labels with one pattern.
func redundant(args []Expr) bool {
	for i, a := range args {
		if a.Head == Label && slices.ContainsFunc(args[:i], func(b Expr) bool { return b.Head == Label && b.Pattern == a.Pattern }) {
			return true
		}
	}
	return false
}

// redundancy gives a step its sources.
func (s *scope) redundancy(st *Step, args []Expr, need int) {
	st.Quorum, st.Candidates = need, nil
	if st.Reason != nil {
		return
	}
	for _, a := range args {
		src := Source{Node: a.Node}
		if s.via == nil {
			src.Candidates = s.in.Route(st.Scheme, a.Node)
		}
		st.Sources = append(st.Sources, src)
	}
}

// quorums is the resolved form: one quorum for every component of the pattern.
func quorums(e, group Expr, need int) Expr {
	labels := group.Args
	if labels == nil { // missing
		labels = []Expr{group}
	}
	var out []Expr
	for _, l := range labels {
		q := Expr{Head: Parallel, Quorum: need, Pos: e.Pos}
		for _, a := range e.Args {
			q.Args = append(q.Args, Expr{Head: Label, Pattern: l.Pattern, Node: a.Node, Pos: a.Pos})
		}
		out = append(out, q)
	}
	if len(out) == 1 {
		return out[0]
	}
	return Expr{Head: Label, Args: out, Pos: e.Pos} // a group, to be spread out
}
