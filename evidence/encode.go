// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Item is a CMW to be encoded: a record, a tag or a collection. It is built
// with the functions below and checked when it is encoded.
type Item struct {
	media      MediaType
	cf         uint16
	hasCF, tag bool
	value      []byte
	ind        Indicator
	collection bool
	cmwType    string
	entries    []Entry
}

// Entry is one labelled member of a collection. Int, if set, is the label and
// Label must be empty; only CBOR has integer labels.
type Entry struct {
	Label string
	Int   *int64
	Item  Item
}

// Record is `[type, value, ind]` with the type as text; ind 0 is left out.
func Record(mt MediaType, value []byte, ind Indicator) Item {
	return Item{media: mt, value: value, ind: ind}
}

// ContentFormatRecord is a record whose type is a CoAP Content-Format number
// in CBOR, and the media type it stands for in JSON.
func ContentFormatRecord(cf uint16, value []byte, ind Indicator) Item {
	return Item{media: contentFormatType(cf), cf: cf, hasCF: true, value: value, ind: ind}
}

// Tag is the CBOR tag form of a Content-Format, at most 65024. JSON has no
// tags: there it becomes a record with the media type.
func Tag(cf uint16, value []byte) Item {
	return Item{media: contentFormatType(cf), cf: cf, hasCF: true, tag: true, value: value}
}

// Collection has a type (an absolute URI or OID, "" for none) and at least one
// entry. The order of entries does not matter.
func Collection(cmwType string, entries ...Entry) Item {
	return Item{collection: true, cmwType: cmwType, entries: entries}
}

// Item is the node as it would be built. Wrappers keep the wrapped message
// byte for byte, as a record of its media type; the envelope of a ratsd token
// is left away.
func (n *Node) Item() Item {
	switch {
	case n.kind == KindCollection:
		it := Item{collection: true, cmwType: n.cmwType, entries: make([]Entry, 0, len(n.children))}
		for _, c := range n.children {
			e := Entry{Label: c.label.text, Item: c.Item()}
			if c.label.isInt {
				num := c.label.num
				e.Int = &num
			}
			it.entries = append(it.entries, e)
		}
		return it
	case len(n.children) == 1 && isRatsdType(n.media):
		return n.children[0].Item()
	}
	return Item{media: n.media, cf: n.cf, hasCF: n.hasCF, tag: n.isTag(), value: n.value, ind: n.ind}
}

// isTag reports the tag form also of a wrapper.
func (n *Node) isTag() bool {
	return n.kind == KindTag || len(n.raw) > 0 && n.format == FormatCBOR && n.hasCF && n.raw[0]>>5 == 6
}

func encodeError(path Path, format string, a ...any) error {
	return frame{path: path}.fail(RuleEncode, -1, format, a...)
}

// check holds the rules that do not depend on the encoding.
func (it *Item) check(path Path) error {
	if it.collection {
		if it.cmwType != "" && !validCollectionType(it.cmwType) {
			return encodeError(path, "collection type %q is neither an absolute URI without fragment nor an OID", it.cmwType)
		}
		if len(it.entries) == 0 {
			return encodeError(path, "collection without an entry")
		}
		return nil
	}
	switch {
	case len(it.value) == 0:
		return encodeError(path, "empty value")
	case it.ind&^indRegistered != 0:
		return encodeError(path, "ind %#x has unregistered bits", uint32(it.ind))
	case it.tag && it.cf > cfMax:
		return encodeError(path, "Content-Format %d has no tag", it.cf)
	case it.tag && it.ind != 0:
		return encodeError(path, "a tag carries no ind")
	}
	return nil
}

// typeText is the canonical Content-Type; an unknown Content-Format has none.
func (it *Item) typeText(path Path) (string, error) {
	s := it.media.String()
	m, err := ParseMediaType(s)
	if err != nil || !m.Equal(it.media) {
		return "", encodeError(path, "type %q is not a Content-Type", s)
	}
	return s, nil
}

// checkLabel refuses what a decoder would refuse and returns the path below.
func (e *Entry) checkLabel(path Path) (Path, error) {
	if e.Int != nil {
		if e.Label != "" {
			return "", encodeError(path, "entry with text label %q and integer label %d", e.Label, *e.Int)
		}
		return path.Join(IntLabel(*e.Int)), nil
	}
	switch {
	case strings.TrimSpace(e.Label) == "":
		return "", encodeError(path, "blank label")
	case e.Label == CollectionTypeKey:
		return "", encodeError(path, "label %q is reserved", e.Label)
	case !utf8.ValidString(e.Label):
		return "", encodeError(path, "label %q is not UTF-8", e.Label)
	case invisible([]byte(e.Label)) >= 0:
		return "", encodeError(path, "label %+q has a control character", e.Label)
	}
	return path.Join(TextLabel(e.Label)), nil
}

// EncodeCBOR renders it in core deterministic encoding (RFC 8949 section
// 4.2.1). Every error is an *Error of RuleEncode.
func EncodeCBOR(it Item) ([]byte, error) { return appendCBOR(nil, &it, "") }

func appendCBOR(dst []byte, it *Item, path Path) ([]byte, error) {
	if err := it.check(path); err != nil {
		return nil, err
	}
	if it.collection {
		return appendMap(dst, it, path)
	}
	if it.tag {
		tn, _ := TagNumber(it.cf) // checked above
		return appendBytes(appendHead(dst, 6, tn), 2, it.value), nil
	}
	members := uint64(2)
	if it.ind != 0 {
		members = 3
	}
	dst = appendHead(dst, 4, members)
	if it.hasCF {
		dst = appendHead(dst, 0, uint64(it.cf))
	} else {
		text, err := it.typeText(path)
		if err != nil {
			return nil, err
		}
		dst = appendBytes(dst, 3, []byte(text))
	}
	dst = appendBytes(dst, 2, it.value)
	if it.ind != 0 {
		dst = appendHead(dst, 0, uint64(it.ind))
	}
	return dst, nil
}

type cborPair struct {
	key   []byte
	entry *Entry // nil for the collection type
}

func appendMap(dst []byte, it *Item, path Path) ([]byte, error) {
	pairs := make([]cborPair, 0, len(it.entries)+1)
	if it.cmwType != "" {
		pairs = append(pairs, cborPair{key: appendBytes(nil, 3, []byte(CollectionTypeKey))})
	}
	for i := range it.entries {
		e := &it.entries[i]
		if _, err := e.checkLabel(path); err != nil {
			return nil, err
		}
		key := appendBytes(nil, 3, []byte(e.Label))
		if e.Int != nil {
			key = appendInt(nil, *e.Int)
		}
		pairs = append(pairs, cborPair{key: key, entry: e})
	}
	slices.SortFunc(pairs, func(a, b cborPair) int { return bytes.Compare(a.key, b.key) })
	dst = appendHead(dst, 5, uint64(len(pairs)))
	for i, p := range pairs {
		if i > 0 && bytes.Equal(p.key, pairs[i-1].key) {
			return nil, encodeError(path, "two entries with one label")
		}
		dst = append(dst, p.key...)
		if p.entry == nil {
			dst = appendBytes(dst, 3, []byte(it.cmwType))
			continue
		}
		below, err := p.entry.checkLabel(path)
		if err != nil {
			return nil, err
		}
		if dst, err = appendCBOR(dst, &p.entry.Item, below); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func appendInt(dst []byte, v int64) []byte {
	if v < 0 {
		return appendHead(dst, 1, uint64(-1-v))
	}
	return appendHead(dst, 0, uint64(v))
}

func appendBytes(dst []byte, major byte, b []byte) []byte {
	return append(appendHead(dst, major, uint64(len(b))), b...)
}

// appendHead writes the shortest head.
func appendHead(dst []byte, major byte, v uint64) []byte {
	m := major << 5
	switch {
	case v < 24:
		return append(dst, m|byte(v))
	case v <= math.MaxUint8:
		return append(dst, m|24, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, m|25), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, m|26), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(dst, m|27), v)
}

// EncodeJSON renders it compact, with labels in bytewise order. It fails for
// integer labels and for Content-Formats without a known media type, which
// JSON cannot express. Every error is an *Error of RuleEncode.
func EncodeJSON(it Item) ([]byte, error) { return appendJSON(nil, &it, "") }

func appendJSON(dst []byte, it *Item, path Path) ([]byte, error) {
	if err := it.check(path); err != nil {
		return nil, err
	}
	if it.collection {
		return appendObject(dst, it, path)
	}
	text, err := it.typeText(path)
	if err != nil {
		return nil, err
	}
	dst = appendJSONString(append(dst, '['), text)
	dst = append(dst, `,"`...)
	dst = base64.RawURLEncoding.AppendEncode(dst, it.value)
	dst = append(dst, '"')
	if it.ind != 0 {
		dst = strconv.AppendUint(append(dst, ','), uint64(it.ind), 10)
	}
	return append(dst, ']'), nil
}

func appendObject(dst []byte, it *Item, path Path) ([]byte, error) {
	entries := slices.Clone(it.entries)
	for i := range entries {
		below, err := entries[i].checkLabel(path)
		if err != nil {
			return nil, err
		}
		if entries[i].Int != nil {
			return nil, encodeError(below, "JSON has no integer labels")
		}
	}
	if it.cmwType != "" {
		entries = append(entries, Entry{Label: CollectionTypeKey})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Label, b.Label) })
	dst = append(dst, '{')
	for i := range entries {
		e := &entries[i]
		if i > 0 {
			if e.Label == entries[i-1].Label {
				return nil, encodeError(path, "two entries with label %q", e.Label)
			}
			dst = append(dst, ',')
		}
		dst = append(appendJSONString(dst, e.Label), ':')
		if e.Label == CollectionTypeKey {
			dst = appendJSONString(dst, it.cmwType)
			continue
		}
		var err error
		if dst, err = appendJSON(dst, &e.Item, path.Join(TextLabel(e.Label))); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendJSONString escapes only what RFC 8259 demands; s is UTF-8 without
// control characters, which neither a label nor a type has.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}
