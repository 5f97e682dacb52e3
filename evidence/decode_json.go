// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"encoding/base64"
	"errors"
	"math"
	"strconv"

	"github.com/assize/assize/evidence/internal/jsonscan"
)

// jsonReader reads one JSON message; all its values are decoded into one
// arena, which is allocated once for what the message can hold at most.
type jsonReader struct {
	jsonscan.Scanner
	arena []byte
}

// jsonMessage parses a whole buffer as JSON CMW.
func (p *parser) jsonMessage(raw []byte, f frame) (*Node, error) {
	if len(raw) >= 3 && raw[0] == 0xef && raw[1] == 0xbb && raw[2] == 0xbf {
		return nil, f.fail("CMW-02", 0, "byte order mark")
	}
	r := &jsonReader{Scanner: jsonscan.Scanner{Buf: raw}}
	r.Space()
	if r.Pos == len(raw) {
		return nil, f.fail("CMW-01", r.Pos, "empty message")
	}
	n, err := p.jsonNode(r, f)
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, f.wrapAs("CMW-03", err)
	}
	return n, nil
}

func (p *parser) jsonNode(r *jsonReader, f frame) (*Node, error) {
	switch c := r.Peek(); {
	case c == '[':
		return p.jsonRecord(r, f)
	case c == '{':
		return p.jsonCollection(r, f)
	}
	return nil, f.fail(f.notCMW, r.Pos, "a JSON CMW is an array or an object")
}

func (p *parser) jsonRecord(r *jsonReader, f frame) (*Node, error) {
	start := r.Pos
	r.Pos++ // the bracket
	n := p.node(Node{kind: KindRecord, format: FormatJSON}, f)
	var err error
	if n.media, err = p.jsonType(r, f); err != nil {
		return nil, err
	}
	if r.Peek() == ']' {
		return nil, f.fail("CMW-16", r.Pos, "record with 1 member")
	}
	if err := r.Expect(','); err != nil {
		return nil, f.wrap(err)
	}
	if n.value, err = p.jsonValue(r, n.media, f); err != nil {
		return nil, err
	}
	more, err := r.More(']', false)
	if err != nil {
		return nil, f.wrap(err)
	}
	if more {
		if n.ind, err = p.jsonIndicator(r, f); err != nil {
			return nil, err
		}
		if r.Peek() == ',' {
			return nil, f.fail("CMW-16", r.Pos, "record with more than 3 members")
		}
		if err := r.Expect(']'); err != nil {
			return nil, f.wrap(err)
		}
	}
	n.raw = r.Buf[start:r.Pos:r.Pos]
	return n, p.admit(n, f, -1)
}

func (p *parser) jsonType(r *jsonReader, f frame) (MediaType, error) {
	switch c := r.Peek(); {
	case c == ']':
		return MediaType{}, f.fail("CMW-16", r.Pos, "record without members")
	case c == '-' || isDigit(c):
		return MediaType{}, f.fail("CMW-04", r.Pos, "a JSON record has no integer type")
	case c != '"':
		return MediaType{}, f.fail("CMW-05", r.Pos, "record type is not text")
	}
	at := r.Pos
	text, err := r.Text()
	if err != nil {
		return MediaType{}, f.wrap(err)
	}
	return p.mediaType(text, f, at)
}

// jsonValue decodes the value straight from the input into the arena.
func (p *parser) jsonValue(r *jsonReader, mt MediaType, f frame) ([]byte, error) {
	if c := r.Peek(); c != '"' {
		rule := "CMW-09"
		if isDigit(c) && r.Pos+1 < len(r.Buf) && !isDigit(r.Buf[r.Pos+1]) {
			rule = "CMW-10"
		}
		return nil, f.fail(rule, r.Pos, "value is not a string")
	}
	at := r.Pos
	limit := p.lim.Leaf
	if isCMW(mt) {
		limit = math.MaxInt
	}
	if r.arena == nil {
		r.arena = make([]byte, 0, base64.RawURLEncoding.DecodedLen(len(r.Buf)-at))
	}
	used := len(r.arena)
	out, tooLong, err := r.Base64URL(r.arena, limit)
	if err != nil {
		return nil, f.wrapAs(base64Rule(err), err)
	}
	if tooLong {
		return nil, f.fail(RuleLeafSize, at, "value longer than %d bytes", p.lim.Leaf)
	}
	if len(out) == used {
		return nil, f.fail("CMW-08", at, "empty value")
	}
	r.arena = out
	return out[used:len(out):len(out)], nil
}

func base64Rule(err error) string {
	if e, ok := errors.AsType[*jsonscan.Error](err); ok && e.TrailingBits {
		return "CMW-07"
	}
	return "CMW-06"
}

func (p *parser) jsonIndicator(r *jsonReader, f frame) (Indicator, error) {
	c := r.Peek()
	at := r.Pos
	if c == 'n' {
		return 0, f.fail("CMW-15", at, "ind is null")
	}
	if !isDigit(c) {
		return 0, f.fail("CMW-14", at, "ind is not an unsigned integer")
	}
	text, err := r.Number()
	if err != nil {
		return 0, f.wrap(err)
	}
	for _, d := range text {
		if !isDigit(d) {
			return 0, f.fail("CMW-14", at, "ind %.20s is not an unsigned integer", text)
		}
	}
	v, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil {
		return 0, f.fail("CMW-13", at, "ind %.20s does not fit 32 bits", text)
	}
	return p.indicator(v, f, at)
}

func (p *parser) jsonCollection(r *jsonReader, f frame) (*Node, error) {
	start := r.Pos
	r.Pos++ // the brace
	c := p.collection(f)
	for first := true; ; first = false {
		more, err := r.More('}', first)
		if err != nil {
			return nil, f.wrap(err)
		}
		if !more {
			return c.done(FormatJSON, r.Buf[start:r.Pos:r.Pos], start)
		}
		if err := p.jsonEntry(r, &c); err != nil {
			return nil, err
		}
	}
}

func (p *parser) jsonEntry(r *jsonReader, c *collection) error {
	at := r.Pos
	name, err := r.Text()
	if err != nil {
		return c.f.wrap(err)
	}
	if err := r.Expect(':'); err != nil {
		return c.f.wrap(err)
	}
	if string(name) == CollectionTypeKey {
		return p.jsonCollectionType(r, c, at)
	}
	l, err := c.textLabel(name, at)
	if err != nil {
		return err
	}
	in, err := c.entry(l, "CMW-19", at)
	if err != nil {
		return err
	}
	child, err := p.jsonNode(r, in)
	if err != nil {
		return err
	}
	c.children = append(c.children, child)
	return nil
}

func (p *parser) jsonCollectionType(r *jsonReader, c *collection, at int) error {
	if err := c.typeEntry("CMW-19", at); err != nil {
		return err
	}
	if r.Peek() != '"' {
		return c.f.fail("CMW-18", r.Pos, "collection type is not text")
	}
	at = r.Pos
	text, err := r.Text()
	if err != nil {
		return c.f.wrap(err)
	}
	return c.setType(text, at)
}
