// SPDX-License-Identifier: Apache-2.0

// Package topologies turns an expression and an evidence tree into a plan:
// who appraises which component, with which nonce by which rule, and how the
// answers are combined. Begin with Parse and New. Planning is pure: no clock,
// no network, no randomness, so the same input gives the same plan and digest.
//
// The grammar, in one line of text:
//
//	expr     = ( head | path ) [ "@" node ]
//	head     = "lead" [ args ] | "cascade" args | "optional" args
//	         | "parallel" "(" [ "quorum" count ":" ] list ")"
//	args     = "(" list ")"
//	list     = expr { "," expr }
//
// A path is a canonical label path; "*" stands for one whole label. A path
// names the component there and everything below it. A path that contains
// white space or one of ( ) , : @ " is written in double quotes.
package topologies

import (
	"slices"
	"strconv"
	"strings"
)

// Head is the operator of an expression.
type Head string

// Heads of the grammar. Label is the leaf of the expression tree.
const (
	Label    Head = ""
	Lead     Head = "lead"
	Cascade  Head = "cascade"
	Parallel Head = "parallel"
	Optional Head = "optional"
)

// Expr is one parsed expression. Expressions are values and never change.
type Expr struct {
	Head Head
	// Args are the operands of a head. Nil for a bare "lead", which stands for
	// everything that was submitted.
	Args []Expr
	// Quorum is the number of agreeing operands of "parallel"; 0 means all.
	Quorum int
	// Pattern belongs to a label: a path, "*" standing for one label.
	Pattern string
	// Node is where the expression is placed, "" for anywhere: the site of the
	// component verifier for a label under lead and parallel, otherwise the
	// node that receives the expression, plans it and runs it.
	Node string
	// Pos is the byte offset in the text it was parsed from.
	Pos int
}

// String renders the canonical form: one space behind each comma, quotes only
// where needed. Parse(e.String()) gives an equal expression.
func (e Expr) String() string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

// AsSubmitted reports whether no label stands in the expression: then nothing
// has to be there but what was submitted, and what was left out is not missed.
func (e Expr) AsSubmitted() bool {
	return e.Head != Label && !slices.ContainsFunc(e.Args, func(a Expr) bool { return !a.AsSubmitted() })
}

func (e Expr) write(b *strings.Builder) {
	if e.Head == Label {
		b.WriteString(quoteIfNeeded(e.Pattern))
		e.writeNode(b)
		return
	}
	b.WriteString(string(e.Head))
	if e.Args == nil {
		e.writeNode(b)
		return
	}
	b.WriteByte('(')
	if e.Quorum > 0 {
		b.WriteString("quorum " + strconv.Itoa(e.Quorum) + ": ")
	}
	for i, a := range e.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		a.write(b)
	}
	b.WriteByte(')')
	e.writeNode(b)
}

func (e Expr) writeNode(b *strings.Builder) {
	if e.Node != "" {
		b.WriteString("@" + e.Node)
	}
}

func quoteIfNeeded(s string) string {
	if s == "" || isReserved(s) {
		return strconv.Quote(s)
	}
	for _, r := range s {
		if !isBare(r) {
			return strconv.Quote(s)
		}
	}
	return s
}

func isReserved(s string) bool {
	switch Head(s) {
	case Lead, Cascade, Parallel, Optional, "quorum":
		return true
	}
	return false
}

func isBare(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune(`(),:@"`, r)
}
