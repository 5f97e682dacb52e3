// SPDX-License-Identifier: Apache-2.0

package cddl

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var token = regexp.MustCompile(`^(?:` +
	`(?P<space>[ \t\r\n]+|;[^\n]*)|` +
	`(?P<text>"[^"]*")|` +
	`(?P<occurrence>[0-9]*\*[0-9]*|[?+])|` +
	`(?P<number>-?(?:0x[0-9a-fA-F]+|[0-9]+))|` +
	`(?P<tag>#6\.[0-9]+)|` +
	`(?P<control>\.[a-z]+)|` +
	`(?P<sign>\.\.|=>|=|/|[{}\[\]():,])|` +
	`(?P<name>[A-Za-z_][A-Za-z0-9_-]*))`)

type lexeme struct{ kind, text string }

func scan(text string) ([]lexeme, error) {
	var out []lexeme
	for rest := text; rest != ""; {
		m := token.FindStringSubmatch(rest)
		if m == nil {
			return nil, fmt.Errorf("cddl: cannot read %.20q", rest)
		}
		rest = rest[len(m[0]):]
		for i, kind := range token.SubexpNames() {
			if kind != "" && kind != "space" && m[i] != "" {
				out = append(out, lexeme{kind, m[i]})
				break
			}
		}
	}
	return out, nil
}

// Parse reads a grammar. Every name has to be defined, or a type of the prelude
// that is known here.
func Parse(text string) (*Grammar, error) {
	list, err := scan(text)
	if err != nil {
		return nil, err
	}
	p := &parser{in: list, used: map[string]bool{}}
	g := &Grammar{rules: map[string]*rule{}}
	for len(p.in) > 0 && p.err == nil {
		name := p.take("name")
		p.expect("=")
		if g.rules[name] != nil {
			p.fail("rule %q twice", name)
		}
		if g.first == "" {
			g.first = name
		}
		g.rules[name] = p.rule()
	}
	if p.err != nil {
		return nil, p.err
	}
	for name := range p.used {
		if g.rules[name] == nil && !slices.Contains(prelude, name) {
			return nil, fmt.Errorf("cddl: %q is not defined", name)
		}
	}
	for name := range g.rules {
		if name != g.first && !p.used[name] {
			return nil, fmt.Errorf("cddl: %q is not used", name)
		}
	}
	return g, nil
}

var prelude = []string{"any", "uint", "int", "bytes", "bstr", "text", "tstr"}

type parser struct {
	in   []lexeme
	used map[string]bool
	err  error
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("cddl: "+format, args...)
	}
	p.in = nil
}

// at tells whether the next lexeme is this one.
func (p *parser) at(text string) bool { return len(p.in) > 0 && p.in[0].text == text }

func (p *parser) kind(n int) string {
	if n >= len(p.in) {
		return ""
	}
	return p.in[n].kind
}

func (p *parser) take(kind string) string {
	if p.kind(0) != kind {
		p.fail("expected a %s, seen %v", kind, p.in[:min(3, len(p.in))])
		return ""
	}
	text := p.in[0].text
	p.in = p.in[1:]
	return text
}

func (p *parser) expect(text string) {
	if !p.at(text) {
		p.fail("expected %q, seen %v", text, p.in[:min(3, len(p.in))])
		return
	}
	p.in = p.in[1:]
}

func (p *parser) rule() *rule {
	r := &rule{choices: []typ{p.typ()}}
	for p.at("/") {
		p.expect("/")
		r.choices = append(r.choices, p.typ())
	}
	return r
}

func (p *parser) typ() (t typ) {
	switch {
	case p.at("{"):
		t.isMap, t.entries = true, p.entries("{", "}")
	case p.at("["):
		t.isArray, t.entries = true, p.entries("[", "]")
	case p.at("("):
		p.expect("(")
		t.inner = p.rule()
		p.expect(")")
	case p.kind(0) == "tag":
		n, err := strconv.ParseUint(strings.TrimPrefix(p.take("tag"), "#6."), 10, 64)
		if err != nil {
			p.fail("%v", err)
		}
		t.tag = &n
		p.expect("(")
		t.inner = p.rule()
		p.expect(")")
	case p.kind(0) == "text":
		t.literal = strings.Trim(p.take("text"), `"`)
	case p.kind(0) == "number":
		n := p.number()
		if t.literal = n; p.at("..") {
			p.expect("..")
			t.literal, t.isRange, t.from, t.to = nil, true, n, p.number()
		}
	default:
		t.name = p.take("name")
		p.used[t.name] = true
	}
	if p.kind(0) == "control" {
		t.control = p.take("control")[1:]
		if !slices.Contains([]string{"size", "cbor", "and"}, t.control) {
			p.fail("control .%s", t.control)
		}
		operand := p.typ()
		t.operand = &rule{choices: []typ{operand}}
	}
	return t
}

func (p *parser) number() int64 {
	n, err := strconv.ParseInt(p.take("number"), 0, 64)
	if err != nil {
		p.fail("%v", err)
	}
	return n
}

func (p *parser) entries(open, end string) (out []entry) {
	p.expect(open)
	for p.err == nil && !p.at(end) {
		out = append(out, p.entry(open == "{"))
		if p.at(",") {
			p.expect(",")
		}
	}
	p.expect(end)
	return out
}

func (p *parser) entry(inMap bool) entry {
	e := entry{least: 1, most: 1}
	if p.kind(0) == "occurrence" {
		e.least, e.most = occurrence(p.take("occurrence"))
	}
	named := (p.kind(0) == "name" || p.kind(0) == "text" || p.kind(0) == "number") && len(p.in) > 1 && p.in[1].text == ":"
	switch {
	case named && p.kind(0) == "name": // a bare word is a text, and in arrays a comment
		e.cut, e.key = true, &rule{choices: []typ{{literal: p.take("name")}}}
		p.expect(":")
	case named:
		e.cut, e.key = true, p.rule()
		p.expect(":")
	case inMap:
		e.key = p.rule()
		p.expect("=>")
	}
	e.value = p.rule()
	return e
}

func occurrence(s string) (least, most int) {
	switch s {
	case "?":
		return 0, 1
	case "+":
		return 1, math.MaxInt
	}
	from, to, _ := strings.Cut(s, "*")
	least, _ = strconv.Atoi(from) // empty is 0
	if most = math.MaxInt; to != "" {
		most, _ = strconv.Atoi(to)
	}
	return least, most
}
