// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
)

// collection gathers the entries of one collection while it is read, the same
// way for JSON and CBOR.
type collection struct {
	p        *parser
	f        frame
	children []*Node
	cmwType  string
	seen     map[string]struct{} // made when a linear search would not do
	// What the parser had found before, see item.
	leaves, nodes, count int
}

func (p *parser) collection(f frame) collection {
	return collection{p: p, f: f, leaves: len(p.leaves), nodes: len(p.nodes), count: p.count}
}

const linearLabels = 16

// entry checks a label and returns the frame of its entry. dup is the rule to
// name when the label is there already.
func (c *collection) entry(l label, dup string, at int) (frame, error) {
	if c.has(l.canonical) {
		return frame{}, c.f.fail(dup, at, "label %q twice in one collection", l.canonical)
	}
	if len(c.children) >= c.p.lim.Labels {
		return frame{}, c.f.fail(RuleLabels, at, "more than %d labels in one collection", c.p.lim.Labels)
	}
	if len(c.children) >= linearLabels {
		c.remember(l.canonical)
	}
	in := c.f.down(l)
	return in, c.p.enter(in, at)
}

// typeEntry notes that the reserved label was met.
func (c *collection) typeEntry(dup string, at int) error {
	if c.has(CollectionTypeKey) {
		return c.f.fail(dup, at, "%s twice in one collection", CollectionTypeKey)
	}
	return nil
}

func (c *collection) setType(text []byte, at int) error {
	if len(text) > c.p.lim.MediaType {
		return c.f.fail("CMW-18", at, "collection type of %d bytes, limit %d", len(text), c.p.lim.MediaType)
	}
	if s := string(text); validCollectionType(s) {
		c.cmwType = s
		return nil
	}
	return c.f.fail("CMW-18", at, "collection type %q is neither an absolute URI without fragment nor an OID", text)
}

func (c *collection) has(name string) bool {
	if name == CollectionTypeKey {
		return c.cmwType != ""
	}
	if c.seen != nil {
		_, ok := c.seen[name]
		return ok
	}
	return slices.ContainsFunc(c.children, func(n *Node) bool { return n.label.canonical == name })
}

// remember keeps labels in a map once there are many.
func (c *collection) remember(name string) {
	if c.seen == nil {
		c.seen = make(map[string]struct{}, 4*linearLabels)
		for _, n := range c.children {
			c.seen[n.label.canonical] = struct{}{}
		}
	}
	c.seen[name] = struct{}{}
}

// done makes the node once the closing bracket is read; at is where raw begins.
func (c *collection) done(format Format, raw []byte, at int) (*Node, error) {
	if len(c.children) == 0 {
		return nil, c.f.fail("CMW-17", at, "collection without an entry")
	}
	if c.cmwType == nvidiaItem {
		return c.item(format, raw, at)
	}
	n := c.p.node(Node{kind: KindCollection, format: format, raw: raw, cmwType: c.cmwType, children: c.children}, c.f)
	c.p.nodes = append(c.p.nodes, n)
	if c.cmwType == nvidiaInput {
		return n, c.input(at)
	}
	if convention := conventionOf(c.cmwType); c.f.path == "" && convention != "" && convention != ConventionAssize {
		return n, c.bound(convention, at)
	}
	return n, nil
}

// textLabel checks one text label (CMW-21) and its length. text is UTF-8.
func (c *collection) textLabel(text []byte, at int) (label, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return label{}, c.f.fail("CMW-21", at, "label of %d bytes is blank", len(text))
	}
	if len(text) > c.p.lim.Label {
		return label{}, c.f.fail(RuleLabel, at, "label of %d bytes, limit %d", len(text), c.p.lim.Label)
	}
	if i := invisible(text); i >= 0 {
		return label{}, c.f.fail("CMW-21", at, "label %+q has a control character at its byte %d", text, i)
	}
	if slices.ContainsFunc(text, func(c byte) bool { return c == '~' || c == '/' || c == '#' }) {
		s := string(text)
		return label{canonical: TextLabel(s), text: s}, nil
	}
	// The common case: label and path share one string.
	var room [128]byte
	path := append(room[:0], c.f.path...)
	if len(path) > 0 {
		path = append(path, '/')
	}
	whole := string(append(path, text...))
	s := whole[len(path):]
	return label{canonical: s, text: s, path: Path(whole)}, nil
}

// invisible is the index of the first control character (C0, DEL, C1, or one
// that changes the direction of writing) in UTF-8 text, -1 if there is none.
// Labels are shown to people in logs and reports, where such a label could
// pass for another one.
func invisible(text []byte) int {
	plain := func(c byte) bool { return c >= ' ' && c <= '~' }
	i := slices.IndexFunc(text, func(c byte) bool { return !plain(c) })
	if i < 0 {
		return -1
	}
	j := bytes.IndexFunc(text[i:], func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) })
	if j < 0 {
		return -1
	}
	return i + j
}

func intLabel(n int64) label { return label{canonical: IntLabel(n), num: n, isInt: true} }

// validCollectionType accepts an absolute URI (RFC 3986 section 4.3: a scheme
// and no fragment) or an OID in dotted decimal.
func validCollectionType(s string) bool { return isOID(s) || isAbsoluteURI(s) }

func isOID(s string) bool {
	arcs := strings.Split(s, ".")
	if len(arcs[0]) != 1 || arcs[0][0] < '0' || arcs[0][0] > '2' {
		return false
	}
	for _, a := range arcs[1:] {
		if a == "" || len(a) > 1 && a[0] == '0' || strings.Trim(a, "0123456789") != "" {
			return false
		}
	}
	return true
}

func isAbsoluteURI(s string) bool {
	colon := strings.IndexByte(s, ':')
	if colon < 1 || !isAlpha(s[0]) {
		return false
	}
	for i := 1; i < colon; i++ {
		if !isAlnum(s[i]) && strings.IndexByte("+-.", s[i]) < 0 {
			return false
		}
	}
	for rest := s[colon+1:]; rest != ""; rest = rest[1:] {
		switch c := rest[0]; {
		case isAlnum(c) || strings.IndexByte("-._~:/?[]@!$&'()*+,;=", c) >= 0:
		case c == '%' && len(rest) >= 3 && isHex(rest[1]) && isHex(rest[2]):
		default:
			return false
		}
	}
	return true
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
