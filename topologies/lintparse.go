// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"errors"
	"slices"
	"strings"
)

// note adds an error of the parser, unless there is one at its place: what
// follows from an error is no error of its own.
func (l *linter) note(err error) {
	var pe *ParseError
	if !errors.As(err, &pe) || slices.ContainsFunc(l.found, func(p Problem) bool { return p.Offset == pe.Pos }) {
		return
	}
	l.add(SeverityError, codeOf(pe.Detail), pe.Pos, "%s", pe.Detail)
}

// codeOf is the code of what a parser says.
func codeOf(detail string) string {
	switch {
	case strings.HasPrefix(detail, "quorum"), strings.HasPrefix(detail, `"quorum"`):
		return ProblemQuorum
	case strings.HasPrefix(detail, "nested"), strings.HasPrefix(detail, "more than"):
		return ProblemNesting
	}
	return ProblemSyntax
}

// recover reads a text that Parse refuses and returns what is usable of it.
func (l *linter) recover(refusal error) Expr {
	if len(l.text) > MaxText {
		l.note(refusal)
		return Expr{Head: Lead}
	}
	e, ok := l.operand(0)
	if ok {
		if l.skip(); l.pos < len(l.text) {
			l.note(l.fail(l.pos, "unexpected %q behind the expression", l.text[l.pos:l.pos+1]))
		}
	}
	l.note(refusal) // whatever recovery makes of the text, this stands
	if !ok {
		e = Expr{Head: Lead, Args: []Expr{}}
	}
	return e
}

// operand is expr with recovery: false means that the text up to the next
// separator is not usable.
func (l *linter) operand(depth int) (Expr, bool) {
	l.skip()
	start := l.pos
	if l.terms++; l.terms > MaxTerms {
		l.note(l.fail(start, "more than %d terms", MaxTerms))
		l.pos = len(l.text)
		return Expr{}, false
	}
	word, quoted, err := l.word()
	if err != nil {
		return l.unusable(err)
	}
	if quoted || !isReserved(word) {
		e, err := l.label(word, start)
		var pe *ParseError
		if errors.As(err, &pe) && pe.Pos > start { // only the node is wrong
			l.note(err)
			return Expr{Head: Label, Pattern: word, Pos: start}, true
		}
		if err != nil {
			return l.unusable(err)
		}
		return e, true
	}
	switch e := (Expr{Head: Head(word), Pos: start}); {
	case depth >= MaxDepth:
		return l.unusable(l.fail(start, "nested more than %d deep", MaxDepth))
	case word == "quorum":
		return l.unusable(l.fail(start, `"quorum" belongs inside "parallel(…)"`))
	case l.take('('):
		return l.list(e, depth)
	case e.Head == Lead:
		l.placement(&e)
		return e, true
	}
	return l.unusable(l.fail(l.pos, "%q wants operands in parentheses", word))
}

// list is operands with recovery.
func (l *linter) list(e Expr, depth int) (Expr, bool) {
	if err := l.quorum(&e); err != nil {
		l.note(err)
		if i := strings.IndexAny(l.text[l.pos:], ":,()"); i >= 0 && l.text[l.pos+i] == ':' {
			l.pos += i + 1
		}
	}
	e.Args = []Expr{}
	complete := true
	for {
		a, ok := l.operand(depth + 1)
		if complete = complete && ok; ok {
			e.Args = append(e.Args, a)
		}
		if l.skip(); ok && (l.pos >= len(l.text) || !strings.ContainsRune(",)", rune(l.text[l.pos]))) {
			l.note(l.fail(l.pos, "expected ',' or ')'"))
			l.resync()
		}
		if l.take(',') {
			continue
		}
		l.take(')')
		if complete && e.Quorum > len(e.Args) {
			l.note(l.fail(e.Pos, "quorum %d of %d operands", e.Quorum, len(e.Args)))
		}
		l.placement(&e)
		return e, len(e.Args) > 0
	}
}

func (l *linter) placement(e *Expr) {
	if err := l.node(e); err != nil {
		l.note(err)
		e.Node = ""
	}
}

func (l *linter) unusable(err error) (Expr, bool) {
	l.note(err)
	l.resync()
	return Expr{}, false
}

// resync goes to the next separator of the list that is being read.
func (l *linter) resync() {
	for open := 0; l.pos < len(l.text); {
		switch l.text[l.pos] {
		case '"':
			if _, _, err := l.word(); err != nil {
				l.pos = len(l.text)
			}
			continue
		case '(':
			open++
		case ',':
			if open == 0 {
				return
			}
		case ')':
			if open == 0 {
				return
			}
			open--
		}
		l.pos++
	}
}
