// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// reader walks over JSON in one pass that checks the grammar on its way. That
// is several times faster than encoding/json on members of many kilobytes, and
// keeps original bytes and member names as they are written: encoding/json
// would match names without regard to case.
type reader struct {
	b  []byte
	at int // the next unread byte
}

// maxDepth bounds what may be nested in one device; none needs any nesting.
const maxDepth = 32

func (r *reader) fail(what string) error {
	return fmt.Errorf("nvidia: evidence is not JSON at offset %d: %s", r.at, what)
}

// peek steps over white space and returns the next byte, 0 at the end.
func (r *reader) peek() byte {
	for ; r.at < len(r.b); r.at++ {
		if c := r.b[r.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
	}
	return 0
}

func (r *reader) expect(c byte) error {
	if r.peek() != c {
		return r.fail(fmt.Sprintf("expected %q", c))
	}
	r.at++
	return nil
}

// more reports whether an array or object whose opening bracket is read goes
// on, and consumes the comma or the closing bracket.
func (r *reader) more(closing byte, first bool) (bool, error) {
	if r.peek() == closing {
		r.at++
		return false, nil
	}
	if first {
		return true, nil
	}
	return true, r.expect(',')
}

// end wants nothing but white space behind the value.
func (r *reader) end() error {
	if r.peek(); r.at != len(r.b) {
		return r.fail("data behind the value")
	}
	return nil
}

// text reads a string. Without escapes the result is a part of the input.
func (r *reader) text() ([]byte, error) {
	if r.peek() != '"' {
		return nil, r.fail("expected a string")
	}
	start := r.at + 1
	n := bytes.IndexByte(r.b[start:], '"')
	if n < 0 {
		return nil, r.fail("a string that does not end")
	}
	if inner := r.b[start : start+n : start+n]; plain(inner) {
		r.at = start + n + 1
		return inner, nil
	}
	end := start
	for ; end < len(r.b) && r.b[end] != '"'; end++ {
		if r.b[end] == '\\' {
			end++
		}
	}
	if end >= len(r.b) {
		return nil, r.fail("a string that does not end")
	}
	quoted := r.b[r.at : end+1]
	if !utf8.Valid(quoted) {
		return nil, r.fail("a string that is not UTF-8")
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, r.fail(err.Error())
	}
	r.at = end + 1
	return []byte(s), nil
}

// plain reports that b is printable ASCII (or DEL) without a backslash, eight
// bytes at a time: subtracting a blank from a control character borrows.
func plain(b []byte) bool {
	if bytes.IndexByte(b, '\\') >= 0 {
		return false
	}
	const blanks, high = 0x2020202020202020, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		if w := binary.LittleEndian.Uint64(b); (w|(w-blanks))&high != 0 {
			return false
		}
	}
	for _, c := range b {
		if c < ' ' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// name reads the name of a member with its colon.
func (r *reader) name() (string, error) {
	text, err := r.text()
	if err != nil {
		return "", err
	}
	return string(text), r.expect(':')
}

// object reads an object that has members of the given names alone, each once,
// and returns the original bytes of their values.
func (r *reader) object(names ...string) (map[string][]byte, error) {
	if err := r.expect('{'); err != nil {
		return nil, err
	}
	out := make(map[string][]byte, len(names))
	for first := true; ; first = false {
		more, err := r.more('}', first)
		if err != nil || !more {
			return out, err
		}
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		if _, dup := out[name]; dup {
			return nil, fmt.Errorf("nvidia: member %q occurs twice", Clip(name))
		}
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("nvidia: member %q is none of %q", Clip(name), names)
		}
		if out[name], err = r.skip(maxDepth); err != nil {
			return nil, err
		}
	}
}

// skip reads one value of any kind and returns its original bytes.
func (r *reader) skip(depth int) ([]byte, error) {
	c := r.peek()
	start := r.at
	var err error
	switch c {
	case '"':
		_, err = r.text()
	case '[', '{':
		err = r.skipInside(c, depth)
	default:
		n := bytes.IndexAny(r.b[start:], ",:]}[{\" \t\r\n")
		if n < 0 {
			n = len(r.b) - start
		}
		if !json.Valid(r.b[start : start+n]) {
			return nil, r.fail("expected a value")
		}
		r.at += n
	}
	return r.b[start:r.at:r.at], err
}

func (r *reader) skipInside(opening byte, depth int) error {
	if depth == 0 {
		return r.fail("nested too deeply")
	}
	r.at++
	closing := opening + 2 // '[' and ']', '{' and '}' are two apart
	for first := true; ; first = false {
		more, err := r.more(closing, first)
		if err != nil || !more {
			return err
		}
		if closing == '}' {
			if _, err := r.text(); err != nil {
				return err
			}
			if err := r.expect(':'); err != nil {
				return err
			}
		}
		if _, err := r.skip(depth - 1); err != nil {
			return err
		}
	}
}
