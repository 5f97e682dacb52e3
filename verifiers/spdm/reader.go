// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"encoding/binary"
	"fmt"
)

// reader walks through little-endian bytes without copying. It keeps the first
// error; after it every read returns zero values and does not move.
type reader struct {
	stage  Stage
	object string
	b      []byte
	at     int
	err    error
}

func newReader(stage Stage, object string, b []byte, most int) *reader {
	r := &reader{stage: stage, object: object, b: b}
	if len(b) > most {
		r.b = nil
		r.fail(KindMalformed, 0, fmt.Sprintf("at most %d bytes", most), fmt.Sprintf("%d bytes", len(b)), "too large")
	}
	return r
}

// fail keeps the first error. Expected and seen may be nil.
func (r *reader) fail(k Kind, offset int, expected, seen any, format string, args ...any) {
	if r.err != nil {
		return
	}
	e := &Error{Stage: r.stage, Kind: k, Object: r.object, Offset: offset, Detail: fmt.Sprintf(format, args...)}
	if expected != nil || seen != nil {
		e.Expected, e.Seen = show(expected), show(seen)
	}
	r.err = e
}

// bytes returns the next n bytes.
func (r *reader) bytes(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.at {
		r.fail(KindMalformed, r.at, fmt.Sprintf("%d bytes", n), fmt.Sprintf("%d bytes", len(r.b)-r.at), "%s is cut off", what)
		return nil
	}
	out := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return out
}

func (r *reader) u8(what string) uint8 {
	if b := r.bytes(1, what); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if b := r.bytes(2, what); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u24(what string) int {
	if b := r.bytes(3, what); b != nil {
		return int(b[0]) | int(b[1])<<8 | int(b[2])<<16
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if b := r.bytes(4, what); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if b := r.bytes(8, what); b != nil {
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// peek returns the byte at the given distance without moving; ok is false
// behind the end or after an error.
func (r *reader) peek(distance int) (b byte, ok bool) {
	if r.err != nil || r.at+distance >= len(r.b) {
		return 0, false
	}
	return r.b[r.at+distance], true
}

// more tells whether bytes are left and nothing failed.
func (r *reader) more() bool { return r.err == nil && r.at < len(r.b) }

// since returns the bytes from start to the current position.
func (r *reader) since(start int) []byte {
	if r.err != nil {
		return nil
	}
	return r.b[start:r.at:r.at]
}

// end fails if bytes are left.
func (r *reader) end() {
	if r.err == nil && r.at != len(r.b) {
		r.fail(KindMalformed, r.at, nil, nil, "%d bytes too many", len(r.b)-r.at)
	}
}

// zero fails unless the next n bytes are zero.
func (r *reader) zero(n int, what string) {
	start := r.at
	for i, c := range r.bytes(n, what) {
		if c != 0 {
			r.fail(KindMalformed, start+i, uint8(0), c, "%s is not zero", what)
			return
		}
	}
}

// header reads the four bytes that start every SPDM message and checks version
// and code.
func (r *reader) header(v Version, c Code) (param1, param2 uint8) {
	start := r.at
	h := r.bytes(4, c.String())
	if h == nil {
		return 0, 0
	}
	if h[0] != byte(v) {
		r.fail(KindMalformed, start, byte(v), h[0], "version of %s", c)
	}
	if h[1] != byte(c) {
		r.fail(KindMalformed, start+1, c, Code(h[1]), "message code")
	}
	return h[2], h[3]
}
