// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxYAML bounds the YAML form of an expression in bytes. The expression itself
// has the bounds of the text form, among them MaxText for its canonical text.
const MaxYAML = 8 * MaxText

// YAMLError says where the YAML form of an expression is wrong. Line and Column
// count from 1, Column in characters. It unwraps to a *ParseError with the byte
// offset.
type YAMLError struct {
	Line, Column int
	Err          *ParseError
}

// Error implements error.
func (e *YAMLError) Error() string {
	return fmt.Sprintf("topologies: line %d, column %d: %s", e.Line, e.Column, e.Err.Detail)
}

// Unwrap gives the offset.
func (e *YAMLError) Unwrap() error { return e.Err }

// ParseYAML reads the YAML form of an expression: the same expression, with the
// same canonical text, as the text form; Pos counts bytes in raw.
//
//	lead:
//	  - cpu
//	  - cascade: [gpu/*@vendor-a, switch/*@vendor-b]
//	  - parallel: {quorum: 2, of: [nic@x, nic@y, nic@z]}
//	  - optional: [dpu]
//	  - lead: [ssd/*]
//	    at: storage
//
// A string is a path with an optional "@node", or "lead" for everything that was
// submitted; a path that the text form would quote is written {label: PATH, at:
// NODE}. There is one document of plain YAML: unknown and repeated keys, anchors,
// aliases and tags are errors. Errors are *YAMLError.
func ParseYAML(raw []byte) (Expr, error) {
	y := &yamlReader{raw: raw}
	switch {
	case len(raw) > MaxYAML:
		return Expr{}, y.at(1, 1, "the expression is too long")
	case !utf8.Valid(raw) || bytes.HasPrefix(raw, []byte("\ufeff")):
		return Expr{}, y.at(1, 1, "the text is not UTF-8, or begins with a byte order mark")
	}
	doc, err := y.document()
	if err != nil {
		return Expr{}, err
	}
	return y.whole(doc)
}

// FromYAML is ParseYAML for a value within a larger document, the configuration
// for example; Pos is 0 everywhere, and lines and columns are those of the document.
func FromYAML(n *yaml.Node) (Expr, error) { return (&yamlReader{}).whole(n) }

// yamlReader turns nodes into expressions. raw is nil where only nodes are known.
type yamlReader struct {
	raw   []byte
	lines []int // where the lines begin
	terms int
}

func (y *yamlReader) whole(n *yaml.Node) (Expr, error) {
	if n == nil {
		return Expr{}, y.at(1, 1, "there is no expression")
	}
	e, err := y.expr(n, 0)
	if err == nil && len(e.String()) > MaxText {
		err = y.fail(n, "the expression is too long")
	}
	if err != nil {
		return Expr{}, err
	}
	return e, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s*)?line (\d+): (.*)`)

// document is the only document of the text.
func (y *yamlReader) document() (*yaml.Node, error) {
	d := yaml.NewDecoder(bytes.NewReader(y.raw))
	var doc, more yaml.Node
	switch err := d.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, y.at(1, 1, "there is no expression")
	case err != nil:
		return nil, y.syntax(err)
	}
	switch err := d.Decode(&more); {
	case err == nil:
		return nil, y.fail(&more, "there is a second document")
	case !errors.Is(err, io.EOF):
		return nil, y.syntax(err)
	}
	return doc.Content[0], nil
}

// syntax is an error of the YAML library, which knows the line.
func (y *yamlReader) syntax(err error) error {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			return y.at(line, 1, "%s", m[2])
		}
	}
	return y.at(1, 1, "%s", strings.TrimPrefix(err.Error(), "yaml: "))
}

func (y *yamlReader) at(line, column int, format string, args ...any) error {
	return &YAMLError{line, column, &ParseError{Pos: y.offset(line, column), Detail: fmt.Sprintf(format, args...)}}
}

func (y *yamlReader) fail(n *yaml.Node, format string, args ...any) error {
	return y.at(max(1, n.Line), max(1, n.Column), format, args...)
}

// offset is the byte offset of a place, the nearest where there is no such one.
func (y *yamlReader) offset(line, column int) int {
	if y.lines == nil {
		y.lines = lineStarts(y.raw)
	}
	pos := y.lines[min(max(line, 1), len(y.lines))-1]
	for ; column > 1 && pos < len(y.raw); column-- {
		r, size := utf8.DecodeRune(y.raw[pos:])
		if endsLine(r) {
			break
		}
		pos += size
	}
	return pos
}

// lineStarts are the offsets at which lines begin, as YAML counts them.
func lineStarts(raw []byte) []int {
	starts := []int{0}
	for i, r := range string(raw) {
		if endsLine(r) && !(r == '\r' && bytes.HasPrefix(raw[i+1:], []byte("\n"))) {
			starts = append(starts, i+utf8.RuneLen(r))
		}
	}
	return starts
}

// endsLine: carriage return and line feed together are one end.
func endsLine(r rune) bool {
	return r == '\n' || r == '\r' || r == '\u0085' || r == '\u2028' || r == '\u2029'
}

// plain refuses what YAML can do beyond lists, mappings and values.
func (y *yamlReader) plain(n *yaml.Node) error {
	switch {
	case n.Kind == yaml.AliasNode:
		return y.fail(n, "aliases are not allowed")
	case n.Anchor != "":
		return y.fail(n, "anchors are not allowed")
	case n.Style&yaml.TaggedStyle != 0:
		return y.fail(n, "tags are not allowed")
	}
	return nil
}

func (y *yamlReader) expr(n *yaml.Node, depth int) (Expr, error) {
	if err := y.plain(n); err != nil {
		return Expr{}, err
	}
	if y.terms++; y.terms > MaxTerms {
		return Expr{}, y.fail(n, "more than %d terms", MaxTerms)
	}
	switch n.Kind {
	case yaml.ScalarNode:
		return y.term(n)
	case yaml.MappingNode:
		return y.mapping(n, depth)
	}
	return Expr{}, y.fail(n, "expected a label, or a mapping with a head, not a list")
}

// text is the value of a string.
func (y *yamlReader) text(n *yaml.Node, what string) (string, error) {
	if err := y.plain(n); err != nil {
		return "", err
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return "", y.fail(n, "expected %s; a value that YAML does not read as a string is written in quotes", what)
	}
	if !utf8.ValidString(n.Value) {
		return "", y.fail(n, "the text is not UTF-8")
	}
	return n.Value, nil
}

// term is a path with an optional "@node", or "lead" for everything.
func (y *yamlReader) term(n *yaml.Node) (Expr, error) {
	text, err := y.text(n, "a label or a head")
	if err != nil {
		return Expr{}, err
	}
	path, node, placed := strings.Cut(text, "@")
	e := Expr{Head: Label, Pattern: path, Pos: y.offset(n.Line, n.Column)}
	switch {
	case placed && !nodeName.MatchString(node):
		return Expr{}, y.fail(n, "%q is not a node name ([a-z0-9-]{1,32})", node)
	case path == string(Lead):
		e.Head, e.Pattern = Lead, ""
	case isReserved(path):
		return Expr{}, y.fail(n, "%q wants operands: write it as a key with a list", path)
	case quoteIfNeeded(path) != path:
		return Expr{}, y.fail(n, "%q is not a plain label path: heads are keys here, and a path with special characters is written {label: …}", path)
	case !isPath(path):
		return Expr{}, y.fail(n, "%q is not a label path", path)
	}
	e.Node = node
	return e, nil
}

// mapping is one head with its operands, or a label, and where it is placed.
func (y *yamlReader) mapping(n *yaml.Node, depth int) (Expr, error) {
	keys, err := y.keys(n, "label", "at", string(Lead), string(Cascade), string(Parallel), string(Optional))
	if err != nil {
		return Expr{}, err
	}
	e := Expr{Pos: y.offset(n.Line, n.Column)}
	var value *yaml.Node
	for _, k := range keys {
		switch {
		case k.name == "at":
			node, err := y.text(k.value, "the name of a node")
			if err != nil {
				return Expr{}, err
			}
			if !nodeName.MatchString(node) {
				return Expr{}, y.fail(k.value, "%q is not a node name ([a-z0-9-]{1,32})", node)
			}
			e.Node = node
		case value != nil:
			return Expr{}, y.fail(k.key, "a mapping has one head, and this is the second")
		default:
			value = k.value
			if k.name != "label" {
				e.Head = Head(k.name)
			}
		}
	}
	switch {
	case value == nil:
		return Expr{}, y.fail(n, "expected one of label, lead, cascade, parallel, optional")
	case e.Head == Label:
		if e.Pattern, err = y.text(value, "a label path"); err == nil && !isPath(e.Pattern) {
			err = y.fail(value, "%q is not a label path", e.Pattern)
		}
		return e, err
	case depth >= MaxDepth:
		return Expr{}, y.fail(n, "nested more than %d deep", MaxDepth)
	case e.Head == Parallel && value.Kind == yaml.MappingNode:
		return y.quorum(e, value, depth)
	}
	return y.operands(e, value, depth)
}

// quorum reads {quorum: N, of: [...]}.
func (y *yamlReader) quorum(e Expr, n *yaml.Node, depth int) (Expr, error) {
	keys, err := y.keys(n, "quorum", "of")
	if err != nil {
		return Expr{}, err
	}
	var count, of *yaml.Node
	for _, k := range keys {
		if k.name == "of" {
			of = k.value
		} else {
			count = k.value
		}
	}
	if count == nil || of == nil {
		return Expr{}, y.fail(n, `expected "quorum" and "of", or a list of operands`)
	}
	if err := y.plain(count); err != nil {
		return Expr{}, err
	}
	q, err := strconv.Atoi(count.Value)
	if err != nil || count.Tag != "!!int" || q < 1 || q > MaxTerms || strconv.Itoa(q) != count.Value {
		return Expr{}, y.fail(count, "quorum wants a count of at least 1")
	}
	e.Quorum = q
	if e, err = y.operands(e, of, depth); err != nil {
		return Expr{}, err
	}
	if q > len(e.Args) {
		return Expr{}, y.fail(count, "quorum %d of %d operands", q, len(e.Args))
	}
	return e, nil
}

func (y *yamlReader) operands(e Expr, n *yaml.Node, depth int) (Expr, error) {
	if err := y.plain(n); err != nil {
		return Expr{}, err
	}
	if e.Head == Optional && n.Kind != yaml.SequenceNode { // it has one operand more often than not
		n = &yaml.Node{Kind: yaml.SequenceNode, Line: n.Line, Column: n.Column, Content: []*yaml.Node{n}}
	}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return Expr{}, y.fail(n, "%q wants a list of operands", string(e.Head))
	}
	for _, c := range n.Content {
		a, err := y.expr(c, depth+1)
		if err != nil {
			return Expr{}, err
		}
		e.Args = append(e.Args, a)
	}
	return e, nil
}

// entry is one key of a mapping.
type entry struct {
	name       string
	key, value *yaml.Node
}

// keys are the entries of a mapping, each of them known, and there once.
func (y *yamlReader) keys(n *yaml.Node, known ...string) ([]entry, error) {
	if err := y.plain(n); err != nil {
		return nil, err
	}
	var out []entry
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		name, err := y.text(k, "a key")
		switch {
		case err != nil:
			return nil, err
		case !slices.Contains(known, name):
			return nil, y.fail(k, "unknown key %q, expected one of %s", name, strings.Join(known, ", "))
		case slices.ContainsFunc(out, func(e entry) bool { return e.name == name }):
			return nil, y.fail(k, "key %q stands here twice", name)
		}
		out = append(out, entry{name, k, n.Content[i+1]})
	}
	return out, nil
}
