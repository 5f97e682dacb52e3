// SPDX-License-Identifier: Apache-2.0

package rim

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/beevik/etree"

	"github.com/assize/assize/verdict"
)

const (
	// MaxSize is the largest document in bytes; NVIDIA's have 20 to 26 kB.
	MaxSize = 128 << 10
	// maxMarkup is the number of "<", so that elements have half of it.
	maxMarkup = 1024
	// maxDepth counts nested elements; six is the longest line, down to Transform.
	maxDepth = 16
	// maxAttrs is the number of attributes of one element, namespaces included.
	maxAttrs = 48
)

const blank = " \t\r\n"

// readTree makes the tree that is canonicalised. What the canonical form of a
// manifest cannot contain is refused by its octets, before a parser sees it:
// "<" stands for nothing but markup in well-formed XML, so "<!" and "<?" are all
// comments, CDATA sections, document types and processing instructions. That it
// is UTF-8 the parser sees to.
func readTree(raw []byte) (*etree.Element, error) {
	switch {
	case len(raw) > MaxSize:
		return nil, refuse(verdict.ReasonTooLarge, "document of %d bytes, at most %d", len(raw), MaxSize)
	case bytes.HasPrefix(raw, []byte("\xef\xbb\xbf")):
		return nil, malformed("byte order mark")
	case bytes.Contains(raw, []byte("<!")) || bytes.Contains(raw, []byte("<?")):
		return nil, malformed("comment, CDATA section, document type or processing instruction")
	case bytes.IndexByte(raw, '&') >= 0:
		return nil, malformed("reference to an entity or a character")
	case bytes.Count(raw, []byte("<")) > maxMarkup:
		return nil, refuse(verdict.ReasonTooLarge, "more than %d tags", maxMarkup)
	}
	doc := etree.NewDocument()
	doc.ReadSettings = etree.ReadSettings{
		PreserveDuplicateAttrs: true, // so that they can be refused
		MaxDepth:               maxDepth,
		CharsetReader:          func(string, io.Reader) (io.Reader, error) { return nil, errors.New("not UTF-8") },
	}
	if err := doc.ReadFromBytes(raw); err != nil {
		return nil, malformed("%v", err)
	}
	var root *etree.Element
	for _, c := range doc.Child {
		switch c := c.(type) {
		case *etree.Element:
			if root != nil {
				return nil, malformed("more than one root element")
			}
			root = c
		case *etree.CharData:
			if strings.Trim(c.Data, blank) != "" {
				return nil, malformed("text outside of the root element")
			}
		default:
			return nil, malformed("neither element nor white space beside the root element")
		}
	}
	if root == nil {
		return nil, malformed("no root element")
	}
	return root, checkAttributes(root)
}

// checkAttributes refuses attributes that XML does not allow and the parser
// lets pass, and more than there can be.
func checkAttributes(e *etree.Element) error {
	if len(e.Attr) > maxAttrs {
		return refuse(verdict.ReasonTooLarge, "element %q has %d attributes, at most %d", clip(e.FullTag()), len(e.Attr), maxAttrs)
	}
	for i, a := range e.Attr {
		if slices.ContainsFunc(e.Attr[:i], func(b etree.Attr) bool { return a.Space == b.Space && a.Key == b.Key }) {
			return malformed("element %q has attribute %q twice", clip(e.FullTag()), clip(a.FullKey()))
		}
	}
	for _, c := range e.ChildElements() {
		if err := checkAttributes(c); err != nil {
			return err
		}
	}
	return nil
}

// node is an element as it is in canonical octets, its names resolved.
type node struct {
	name     xml.Name
	attrs    map[xml.Name]string // without namespace declarations
	children []*node
	text     string // of the element itself, without its children's
}

// readNode reads canonical octets: one element, and nothing that readTree
// refuses.
func readNode(canonical []byte) (*node, error) {
	d := xml.NewDecoder(bytes.NewReader(canonical))
	var top node
	open := []*node{&top}
	for {
		token, err := d.Token()
		if err == io.EOF && len(open) == 1 && len(top.children) == 1 && top.text == "" {
			return top.children[0], nil
		}
		if err != nil {
			return nil, malformed("canonical form: %v", err)
		}
		last := open[len(open)-1]
		switch t := token.(type) {
		case xml.StartElement:
			n := &node{name: t.Name, attrs: map[xml.Name]string{}}
			for _, a := range t.Attr {
				if a.Name.Space == "xmlns" || a.Name == (xml.Name{Local: "xmlns"}) {
					continue
				}
				if _, twice := n.attrs[a.Name]; twice {
					return nil, malformed("element %q has attribute %q twice", clip(t.Name.Local), clip(a.Name.Local))
				}
				n.attrs[a.Name] = a.Value
			}
			last.children = append(last.children, n)
			open = append(open, n)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			last.text += string(t)
		default:
			return nil, malformed("canonical form: neither element nor text")
		}
	}
}

// only wants exactly these attributes, none with a namespace, given as name and
// value in turn, children with exactly these names in space, and no text beside
// them. Without children the text is the element's value, and not looked at.
func (n *node) only(space string, attrs []string, children ...string) error {
	if len(n.attrs) != len(attrs)/2 {
		return unsupported("%q has %d attributes, expected %d", clip(n.name.Local), len(n.attrs), len(attrs)/2)
	}
	for i := 0; i < len(attrs); i += 2 {
		if got, ok := n.attrs[xml.Name{Local: attrs[i]}]; !ok || got != attrs[i+1] {
			return unsupported("%q has %s %q, expected %q", clip(n.name.Local), attrs[i], clip(got), attrs[i+1])
		}
	}
	if len(n.children) != len(children) {
		return unsupported("%q has %d elements, expected %s", clip(n.name.Local), len(n.children), strings.Join(children, ", "))
	}
	for i, c := range n.children {
		if c.name != (xml.Name{Space: space, Local: children[i]}) {
			return unsupported("%q has element %q of %q, expected %s", clip(n.name.Local), clip(c.name.Local), clip(c.name.Space), children[i])
		}
	}
	if len(children) > 0 {
		return n.noText()
	}
	return nil
}

func (n *node) noText() error {
	if strings.Trim(n.text, blank) != "" {
		return malformed("text in element %q", clip(n.name.Local))
	}
	return nil
}
