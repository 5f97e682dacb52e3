// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"math"

	"github.com/assize/assize/evidence/internal/cborscan"
)

// cborMessage parses a whole buffer as CBOR CMW.
func (p *parser) cborMessage(raw []byte, f frame) (*Node, error) {
	if len(raw) == 0 {
		return nil, f.fail("CMW-01", 0, "empty message")
	}
	r := &cborscan.Reader{Buf: raw}
	n, err := p.cborNode(r, f)
	if err != nil {
		return nil, err
	}
	if err := r.End(); err != nil {
		return nil, f.wrapAs("CMW-03", err)
	}
	return n, nil
}

func (p *parser) cborNode(r *cborscan.Reader, f frame) (*Node, error) {
	major, ok := r.Major()
	switch {
	case !ok:
		return nil, f.fail(RuleSyntax, r.Pos, "ends where a CMW is expected")
	case major == cborscan.Array:
		return p.cborRecord(r, f)
	case major == cborscan.Map:
		return p.cborCollection(r, f)
	case major == cborscan.Tag:
		return p.cborTag(r, f)
	}
	return nil, f.fail(f.notCMW, r.Pos, "a CBOR CMW is an array, a map or a tag, not major type %d", major)
}

func (p *parser) cborRecord(r *cborscan.Reader, f frame) (*Node, error) {
	start := r.Pos
	h, err := r.Head()
	if err != nil {
		return nil, f.wrap(err)
	}
	if !h.Indefinite && h.Arg != 2 && h.Arg != 3 {
		return nil, f.fail("CMW-16", start, "record with %d members", h.Arg)
	}
	n := p.node(Node{kind: KindRecord, format: FormatCBOR}, f)
	if err := p.cborType(r, n, f); err != nil {
		return nil, err
	}
	var at int
	if n.value, at, err = p.cborValue(r, n.media, f); err != nil {
		return nil, err
	}
	ended := h.Indefinite && r.Break()
	if h.Arg == 3 || h.Indefinite && !ended {
		if n.ind, err = p.cborIndicator(r, f); err != nil {
			return nil, err
		}
	}
	if h.Indefinite && !ended && !r.Break() {
		return nil, f.fail("CMW-16", r.Pos, "record with more than 3 members")
	}
	n.raw = r.Buf[start:r.Pos:r.Pos]
	return n, p.admit(n, f, at)
}

// cborType reads a Content-Type text or a Content-Format number.
func (p *parser) cborType(r *cborscan.Reader, n *Node, f frame) error {
	at := r.Pos
	major, _ := r.Major()
	if major == cborscan.Text {
		text, err := r.String(cborscan.Text)
		if err != nil {
			return f.wrap(err)
		}
		n.media, err = p.mediaType(text, f, at)
		return err
	}
	if at < len(r.Buf) && r.Buf[at] == 0xff {
		return f.fail("CMW-16", at, "record without members")
	}
	h, err := r.Head()
	if err != nil {
		return f.wrap(err)
	}
	switch h.Major {
	case cborscan.Uint:
		if h.Arg > math.MaxUint16 {
			return f.fail("CMW-25", at, "Content-Format %d is above 65535", h.Arg)
		}
	case cborscan.Negint:
		return f.fail("CMW-25", at, "Content-Format is negative")
	default:
		return f.fail("CMW-05", at, "record type is neither text nor an unsigned integer")
	}
	n.cf, n.hasCF = uint16(h.Arg), true
	n.media = contentFormatType(n.cf)
	return nil
}

// cborValue reads the byte string; at is where its bytes start, -1 if they
// were joined from chunks.
func (p *parser) cborValue(r *cborscan.Reader, mt MediaType, f frame) (value []byte, at int, err error) {
	at = r.Pos
	if at < len(r.Buf) && r.Buf[at] == 0xff {
		return nil, 0, f.fail("CMW-16", at, "record with 1 member")
	}
	switch major, _ := r.Major(); major {
	case cborscan.Bytes:
	case cborscan.Array:
		return nil, 0, f.fail("CMW-28", at, "value is an array, not a byte string")
	default:
		return nil, 0, f.fail("CMW-27", at, "value is not a byte string")
	}
	return p.cborBytes(r, mt, f)
}

func (p *parser) cborBytes(r *cborscan.Reader, mt MediaType, f frame) ([]byte, int, error) {
	at := r.Pos
	chunked := at < len(r.Buf) && r.Buf[at] == cborscan.Bytes<<5|31
	value, err := r.String(cborscan.Bytes)
	if err != nil {
		return nil, 0, f.wrap(err)
	}
	if len(value) == 0 {
		return nil, 0, f.fail("CMW-29", at, "empty value")
	}
	if err := p.checkLeafSize(mt, len(value), f, at); err != nil {
		return nil, 0, err
	}
	if chunked {
		return value, -1, nil
	}
	return value, r.Pos - len(value), nil
}

func (p *parser) cborIndicator(r *cborscan.Reader, f frame) (Indicator, error) {
	at := r.Pos
	h, err := r.Head()
	if err != nil {
		return 0, f.wrap(err)
	}
	if h.Major != cborscan.Uint {
		return 0, f.fail("CMW-14", at, "ind is not an unsigned integer")
	}
	return p.indicator(h.Arg, f, at)
}

func (p *parser) cborTag(r *cborscan.Reader, f frame) (*Node, error) {
	start := r.Pos
	h, err := r.Head()
	if err != nil {
		return nil, f.wrap(err)
	}
	cf, ok := ContentFormatOfTag(h.Arg)
	if !ok {
		if inTagRange(h.Arg) {
			return nil, f.fail("CMW-31", start, "tag %d is a gap: no Content-Format has it", h.Arg)
		}
		return nil, f.fail("CMW-30", start, "tag %d is no Content-Format tag", h.Arg)
	}
	if major, ok := r.Major(); !ok || major != cborscan.Bytes {
		return nil, f.fail("CMW-33", r.Pos, "tag content is not a byte string")
	}
	n := p.node(Node{kind: KindTag, format: FormatCBOR, cf: cf, hasCF: true, media: contentFormatType(cf)}, f)
	value, at, err := p.cborBytes(r, n.media, f)
	if err != nil {
		return nil, err
	}
	n.value, n.raw = value, r.Buf[start:r.Pos:r.Pos]
	if err := p.admit(n, f, at); err != nil {
		return nil, err
	}
	if n.kind == KindEmbedded && n.children[0].kind != KindCollection && n.children[0].kind != KindItem {
		return nil, f.fail("CMW-33", start, "tag %d holds a %s, only a collection is allowed", h.Arg, n.children[0].kind)
	}
	return n, nil
}

func (p *parser) cborCollection(r *cborscan.Reader, f frame) (*Node, error) {
	start := r.Pos
	h, err := r.Head()
	if err != nil {
		return nil, f.wrap(err)
	}
	c := p.collection(f)
	if !h.Indefinite && h.Arg > uint64(p.lim.Labels)+1 {
		return nil, f.fail(RuleLabels, start, "%d labels in one collection, limit %d", h.Arg, p.lim.Labels)
	}
	if !h.Indefinite {
		// An entry has at least 5 bytes, whatever the head promises.
		c.children = make([]*Node, 0, min(int(h.Arg), (len(r.Buf)-r.Pos)/5+1))
	}
	for i := uint64(0); h.Indefinite || i < h.Arg; i++ {
		if h.Indefinite && r.Break() {
			break
		}
		if err := p.cborEntry(r, &c); err != nil {
			return nil, err
		}
	}
	return c.done(FormatCBOR, r.Buf[start:r.Pos:r.Pos], start)
}

func (p *parser) cborEntry(r *cborscan.Reader, c *collection) error {
	at := r.Pos
	l, reserved, err := p.cborLabel(r, c)
	if err != nil {
		return err
	}
	if reserved {
		return p.cborCollectionType(r, c, at)
	}
	in, err := c.entry(l, "CMW-20", at)
	if err != nil {
		return err
	}
	child, err := p.cborNode(r, in)
	if err != nil {
		return err
	}
	c.children = append(c.children, child)
	return nil
}

// cborLabel reads a text or integer label (CMW-22, CMW-23).
func (p *parser) cborLabel(r *cborscan.Reader, c *collection) (l label, reserved bool, err error) {
	at := r.Pos
	if major, _ := r.Major(); major == cborscan.Text {
		text, err := r.String(cborscan.Text)
		if err != nil {
			return label{}, false, c.f.wrap(err)
		}
		if string(text) == CollectionTypeKey {
			return label{}, true, nil
		}
		l, err = c.textLabel(text, at)
		return l, false, err
	}
	h, err := r.Head()
	if err != nil {
		return label{}, false, c.f.wrap(err)
	}
	if h.Major != cborscan.Uint && h.Major != cborscan.Negint {
		return label{}, false, c.f.fail("CMW-22", at, "label is neither text nor an integer, but major type %d", h.Major)
	}
	if h.Arg > math.MaxInt64 {
		return label{}, false, c.f.fail(RuleLabel, at, "integer label does not fit 64 bits")
	}
	v := int64(h.Arg)
	if h.Major == cborscan.Negint {
		v = -1 - v
	}
	return intLabel(v), false, nil
}

func (p *parser) cborCollectionType(r *cborscan.Reader, c *collection, at int) error {
	if err := c.typeEntry("CMW-20", at); err != nil {
		return err
	}
	if major, _ := r.Major(); major != cborscan.Text {
		return c.f.fail("CMW-18", r.Pos, "collection type is not text")
	}
	at = r.Pos
	text, err := r.String(cborscan.Text)
	if err != nil {
		return c.f.wrap(err)
	}
	return c.setType(text, at)
}
