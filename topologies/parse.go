// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/assize/assize/evidence"
)

// Bounds of an expression.
const (
	MaxText  = 16 << 10 // bytes
	MaxDepth = 8        // nested heads
	MaxTerms = 1024     // heads and labels together
)

// ParseError says where an expression is wrong: Pos is a byte offset.
type ParseError struct {
	Pos    int
	Detail string
}

// Error implements error.
func (e *ParseError) Error() string {
	return fmt.Sprintf("topologies: at position %d: %s", e.Pos+1, e.Detail)
}

// Parse reads the text form of an expression. Errors are *ParseError.
func Parse(text string) (Expr, error) {
	if len(text) > MaxText {
		return Expr{}, &ParseError{MaxText, "the expression is too long"}
	}
	p := &parser{text: text}
	e, err := p.expr(0)
	if err != nil {
		return Expr{}, err
	}
	if p.skip(); p.pos < len(p.text) {
		return Expr{}, p.fail(p.pos, "unexpected %q behind the expression", p.text[p.pos:min(p.pos+1, len(p.text))])
	}
	return e, nil
}

type parser struct {
	text  string
	pos   int
	terms int
}

func (p *parser) fail(pos int, format string, args ...any) error {
	return &ParseError{Pos: pos, Detail: fmt.Sprintf(format, args...)}
}

func (p *parser) skip() {
	for p.pos < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.pos]) >= 0 {
		p.pos++
	}
}

// take consumes one punctuation byte if it is next.
func (p *parser) take(c byte) bool {
	p.skip()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) expr(depth int) (Expr, error) {
	p.skip()
	start := p.pos
	if p.terms++; p.terms > MaxTerms {
		return Expr{}, p.fail(start, "more than %d terms", MaxTerms)
	}
	word, quoted, err := p.word()
	if err != nil {
		return Expr{}, err
	}
	if quoted || !isReserved(word) {
		return p.label(word, start)
	}
	if depth >= MaxDepth {
		return Expr{}, p.fail(start, "nested more than %d deep", MaxDepth)
	}
	e := Expr{Head: Head(word), Pos: start}
	if e.Head == "quorum" {
		return Expr{}, p.fail(start, `"quorum" belongs inside "parallel(…)"`)
	}
	if !p.take('(') {
		if e.Head == Lead {
			return p.placed(e)
		}
		return Expr{}, p.fail(p.pos, "%q wants operands in parentheses", word)
	}
	return p.operands(e, depth)
}

func (p *parser) operands(e Expr, depth int) (Expr, error) {
	if err := p.quorum(&e); err != nil {
		return Expr{}, err
	}
	for {
		a, err := p.expr(depth + 1)
		if err != nil {
			return Expr{}, err
		}
		e.Args = append(e.Args, a)
		if p.take(',') {
			continue
		}
		if !p.take(')') {
			return Expr{}, p.fail(p.pos, "expected ',' or ')'")
		}
		if e.Quorum > len(e.Args) {
			return Expr{}, p.fail(e.Pos, "quorum %d of %d operands", e.Quorum, len(e.Args))
		}
		return p.placed(e)
	}
}

// quorum reads "quorum N:" at the start of the operands of "parallel".
func (p *parser) quorum(e *Expr) error {
	save := p.pos
	word, quoted, err := p.word()
	if err != nil || quoted || word != "quorum" {
		p.pos = save
		return nil
	}
	if e.Head != Parallel {
		return p.fail(save, `"quorum" belongs inside "parallel(…)"`)
	}
	at := p.pos
	count, _, err := p.word()
	n, convErr := strconv.Atoi(count)
	if err != nil || convErr != nil || n < 1 || n > MaxTerms || strconv.Itoa(n) != count {
		return p.fail(at, "quorum wants a count of at least 1")
	}
	if !p.take(':') {
		return p.fail(p.pos, "expected ':' behind the quorum")
	}
	e.Quorum = n
	return nil
}

// word reads a bare word or a double-quoted string.
func (p *parser) word() (s string, quoted bool, err error) {
	p.skip()
	if p.pos >= len(p.text) {
		return "", false, p.fail(p.pos, "the expression ends here, expected a label or a head")
	}
	if p.text[p.pos] == '"' {
		q, err := strconv.QuotedPrefix(p.text[p.pos:])
		if err != nil {
			return "", true, p.fail(p.pos, "the quoted label does not end")
		}
		s, err = strconv.Unquote(q)
		if err != nil || !utf8.ValidString(s) {
			return "", true, p.fail(p.pos, "the quoted label is not valid")
		}
		p.pos += len(q)
		return s, true, nil
	}
	start := p.pos
	for p.pos < len(p.text) && isBare(rune(p.text[p.pos])) {
		p.pos++
	}
	if p.pos == start {
		return "", false, p.fail(start, "expected a label or a head, not %q", p.text[start:start+1])
	}
	return p.text[start:p.pos], false, nil
}

var nodeName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func (p *parser) label(path string, start int) (Expr, error) {
	if !isPath(path) {
		return Expr{}, p.fail(start, "%q is not a label path", path)
	}
	e := Expr{Head: Label, Pattern: path, Pos: start}
	return p.placed(e)
}

// isPath: labels with one slash between them, none of them empty.
func isPath(s string) bool {
	return s != "" && !strings.HasPrefix(s, "/") && !strings.HasSuffix(s, "/") && !strings.Contains(s, "//")
}

// placed reads "@node" behind an expression, if it is there.
func (p *parser) placed(e Expr) (Expr, error) {
	err := p.node(&e)
	return e, err
}

func (p *parser) node(e *Expr) error {
	if !p.take('@') {
		return nil
	}
	at := p.pos
	node, quoted, err := p.word()
	if err != nil {
		return err
	}
	if quoted || !nodeName.MatchString(node) {
		return p.fail(at, "%q is not a node name ([a-z0-9-]{1,32})", node)
	}
	e.Node = node
	return nil
}

// Match reports whether a canonical label path is named by a pattern: equal
// label by label, "*" matching any one label, and everything below included.
func Match(pattern, path string) bool { return evidence.Match(pattern, path) }
