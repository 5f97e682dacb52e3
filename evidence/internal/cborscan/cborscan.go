// SPDX-License-Identifier: Apache-2.0

// Package cborscan reads CBOR (RFC 8949) head by head from one buffer and
// hands out sub-slices of it. It accepts every well-formed encoding, also
// non-preferred heads and indefinite lengths (decision D-14).
package cborscan

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Major types of RFC 8949 section 3.1.
const (
	Uint   = 0
	Negint = 1
	Bytes  = 2
	Text   = 3
	Array  = 4
	Map    = 5
	Tag    = 6
	Simple = 7
)

const breakByte = 0xff

// Error is malformed CBOR at one offset (bytes from the start of the buffer).
type Error struct {
	Offset int
	Detail string
}

// Error names the offset.
func (e *Error) Error() string { return fmt.Sprintf("cbor: %s at offset %d", e.Detail, e.Offset) }

// Head is the start of one data item. Arg is the value, length or tag number;
// it means nothing when Indefinite.
type Head struct {
	Major      byte
	Arg        uint64
	Indefinite bool
}

// Reader walks Buf; Pos is the next unread byte.
type Reader struct {
	Buf []byte
	Pos int
}

func (r *Reader) fail(at int, format string, a ...any) error {
	return &Error{Offset: at, Detail: fmt.Sprintf(format, a...)}
}

// Major returns the major type of the next item; false at the end of Buf.
func (r *Reader) Major() (byte, bool) {
	if r.Pos >= len(r.Buf) {
		return 0, false
	}
	return r.Buf[r.Pos] >> 5, true
}

// Head reads one head. A break code is an error here, see Break.
func (r *Reader) Head() (Head, error) {
	at := r.Pos
	if at >= len(r.Buf) {
		return Head{}, r.fail(at, "ends where an item is expected")
	}
	b := r.Buf[at]
	h := Head{Major: b >> 5}
	info := b & 0x1f
	r.Pos++
	switch {
	case info < 24:
		h.Arg = uint64(info)
	case info <= 27:
		n := 1 << (info - 24)
		if len(r.Buf)-r.Pos < n {
			r.Pos = at
			return Head{}, r.fail(at, "ends inside an item head")
		}
		var wide [8]byte
		copy(wide[8-n:], r.Buf[r.Pos:r.Pos+n])
		h.Arg = binary.BigEndian.Uint64(wide[:])
		r.Pos += n
	case info == 31 && h.Major >= Bytes && h.Major <= Map:
		h.Indefinite = true
	default:
		r.Pos = at
		return Head{}, r.fail(at, "head %#02x is not well-formed", b)
	}
	if h.Major == Simple && info == 24 && h.Arg < 32 {
		return Head{}, r.fail(at, "simple value %d in two bytes", h.Arg)
	}
	return h, nil
}

// Break consumes a break code if one is next.
func (r *Reader) Break() bool {
	if r.Pos < len(r.Buf) && r.Buf[r.Pos] == breakByte {
		r.Pos++
		return true
	}
	return false
}

// String reads a byte or text string of the given major type. A definite one
// is a sub-slice of Buf limited in capacity; chunks are joined into a copy.
func (r *Reader) String(major byte) ([]byte, error) {
	at := r.Pos
	h, err := r.Head()
	if err != nil {
		return nil, err
	}
	if h.Major != major {
		return nil, r.fail(at, "major type %d where %d is expected", h.Major, major)
	}
	if !h.Indefinite {
		return r.take(at, h.Arg, major)
	}
	var joined []byte
	for !r.Break() {
		at := r.Pos
		h, err := r.Head()
		if err != nil {
			return nil, err
		}
		if h.Major != major || h.Indefinite {
			return nil, r.fail(at, "string chunk of another type")
		}
		chunk, err := r.take(at, h.Arg, major)
		if err != nil {
			return nil, err
		}
		joined = append(joined, chunk...)
	}
	return joined[:len(joined):len(joined)], nil
}

func (r *Reader) take(at int, n uint64, major byte) ([]byte, error) {
	if n > uint64(len(r.Buf)-r.Pos) {
		return nil, r.fail(at, "string of %d bytes, %d left", n, len(r.Buf)-r.Pos)
	}
	end := r.Pos + int(n)
	s := r.Buf[r.Pos:end:end]
	if major == Text && !utf8.Valid(s) {
		return nil, r.fail(at, "text is not UTF-8")
	}
	r.Pos = end
	return s, nil
}

// Skip reads one item of any type, nested at most depth levels.
func (r *Reader) Skip(depth int) error {
	at := r.Pos
	h, err := r.Head()
	if err != nil {
		return err
	}
	switch h.Major {
	case Bytes, Text:
		r.Pos = at
		_, err := r.String(h.Major)
		return err
	case Array, Map, Tag:
		if depth <= 0 {
			return r.fail(at, "nested too deeply")
		}
	}
	switch h.Major {
	case Tag:
		return r.Skip(depth - 1)
	case Array:
		return r.skipItems(h, 1, depth-1)
	case Map:
		return r.skipItems(h, 2, depth-1)
	}
	return nil
}

func (r *Reader) skipItems(h Head, per int, depth int) error {
	for n := uint64(0); h.Indefinite || n < h.Arg; n++ {
		if h.Indefinite && r.Break() {
			return nil
		}
		for range per {
			if err := r.Skip(depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// End requires that nothing is left.
func (r *Reader) End() error {
	if r.Pos != len(r.Buf) {
		return r.fail(r.Pos, "%d bytes behind the item", len(r.Buf)-r.Pos)
	}
	return nil
}
