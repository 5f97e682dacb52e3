// SPDX-License-Identifier: Apache-2.0

// Package jsonscan reads JSON (RFC 8259) token by token from one buffer,
// without building values and without copying what needs no copy. It is
// stricter than encoding/json: invalid UTF-8 and lone surrogates are errors.
// Nothing in it recurses except Skip, which is bounded by its caller.
package jsonscan

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// Error is malformed JSON at one offset (bytes from the start of the buffer).
type Error struct {
	Offset int
	Detail string
	// TrailingBits marks base64url whose only fault is a non-zero rest in the
	// last character.
	TrailingBits bool
}

// Error names the offset.
func (e *Error) Error() string { return fmt.Sprintf("json: %s at offset %d", e.Detail, e.Offset) }

// Scanner walks Buf; Pos is the next unread byte.
type Scanner struct {
	Buf []byte
	Pos int
}

func (s *Scanner) fail(at int, format string, a ...any) error {
	return &Error{Offset: at, Detail: fmt.Sprintf(format, a...)}
}

// Space skips insignificant whitespace.
func (s *Scanner) Space() {
	for s.Pos < len(s.Buf) {
		switch s.Buf[s.Pos] {
		case ' ', '\t', '\n', '\r':
			s.Pos++
		default:
			return
		}
	}
}

// Peek skips whitespace and returns the next byte, 0 at the end.
func (s *Scanner) Peek() byte {
	s.Space()
	if s.Pos >= len(s.Buf) {
		return 0
	}
	return s.Buf[s.Pos]
}

// Expect skips whitespace and consumes exactly c.
func (s *Scanner) Expect(c byte) error {
	if got := s.Peek(); s.Pos >= len(s.Buf) {
		return s.fail(s.Pos, "ends where %q is expected", c)
	} else if got != c {
		return s.fail(s.Pos, "%q where %q is expected", got, c)
	}
	s.Pos++
	return nil
}

// More steps through an array or object whose opening bracket is consumed:
// it reports whether another element follows, and consumes the comma or the
// closing bracket.
func (s *Scanner) More(closing byte, first bool) (bool, error) {
	if s.Peek() == closing && s.Pos < len(s.Buf) {
		s.Pos++
		return false, nil
	}
	if first {
		return true, nil
	}
	if err := s.Expect(','); err != nil {
		return false, err
	}
	if s.Peek() == closing {
		return false, s.fail(s.Pos, "comma before %q", closing)
	}
	return true, nil
}

// End requires that only whitespace is left.
func (s *Scanner) End() error {
	s.Space()
	if s.Pos != len(s.Buf) {
		return s.fail(s.Pos, "%d bytes behind the value", len(s.Buf)-s.Pos)
	}
	return nil
}

// Text reads a string and returns it unescaped; without escapes the result is
// a sub-slice of Buf, limited in capacity.
func (s *Scanner) Text() ([]byte, error) {
	if err := s.Expect('"'); err != nil {
		return nil, err
	}
	start := s.Pos
	end, plain, err := s.stringEnd(start)
	if err != nil {
		return nil, err
	}
	s.Pos = end + 1
	body := s.Buf[start:end:end]
	if plain {
		return body, nil
	}
	return s.unescape(body, start)
}

// stringEnd finds the closing quote; plain means that nothing is escaped.
func (s *Scanner) stringEnd(start int) (end int, plain bool, err error) {
	plain = true
	ascii := true
	for i := start; i < len(s.Buf); i++ {
		switch c := s.Buf[i]; {
		case c == '"':
			if !ascii && !utf8.Valid(s.Buf[start:i]) {
				return 0, false, s.fail(start, "string is not UTF-8")
			}
			return i, plain, nil
		case c == '\\':
			plain = false
			i++
		case c < 0x20:
			return 0, false, s.fail(i, "control character %#02x in a string", c)
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return 0, false, s.fail(len(s.Buf), "ends inside a string")
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func (s *Scanner) unescape(body []byte, at int) ([]byte, error) {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' {
			out = append(out, body[i])
			continue
		}
		i++
		if c := body[i]; c != 'u' {
			if escapes[c] == 0 {
				return nil, s.fail(at+i, "unknown escape %q", c)
			}
			out = append(out, escapes[c])
			continue
		}
		r, n, ok := unicodeEscape(body[i+1:])
		if !ok {
			return nil, s.fail(at+i, "escape is no Unicode scalar value")
		}
		out = utf8.AppendRune(out, r)
		i += n
	}
	return out, nil
}

// unicodeEscape reads what follows \u: four hex digits, or a surrogate pair.
func unicodeEscape(b []byte) (r rune, n int, ok bool) {
	hi, ok := hex4(b)
	if !ok {
		return 0, 0, false
	}
	if !utf16.IsSurrogate(hi) {
		return hi, 4, true
	}
	if len(b) < 10 || b[4] != '\\' || b[5] != 'u' {
		return 0, 0, false
	}
	lo, ok := hex4(b[6:])
	if !ok {
		return 0, 0, false
	}
	r = utf16.DecodeRune(hi, lo)
	return r, 10, r != utf8.RuneError
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Base64URL reads a string of unpadded canonical base64url (RFC 4648 section
// 5) and appends the decoded bytes to dst. limit bounds the decoded size.
// Encoded text of an allowed length is decoded straight from Buf. tooLong is
// reported separately so that the caller can name its limit.
func (s *Scanner) Base64URL(dst []byte, limit int) (out []byte, tooLong bool, err error) {
	if err := s.Expect('"'); err != nil {
		return nil, false, err
	}
	start := s.Pos
	n := bytes.IndexByte(s.Buf[start:], '"')
	if n < 0 {
		return nil, false, s.fail(len(s.Buf), "ends inside a string")
	}
	text := s.Buf[start : start+n]
	if bytes.IndexByte(text, '\\') >= 0 {
		s.Pos = start - 1
		if text, err = s.Text(); err != nil {
			return nil, false, err
		}
	} else {
		s.Pos = start + n + 1
	}
	size := base64.RawURLEncoding.DecodedLen(len(text))
	if size > limit {
		return nil, true, nil
	}
	out, ok := AppendBase64(dst, text, base64.RawURLEncoding)
	if !ok {
		n, err := base64.RawURLEncoding.Decode(make([]byte, size), text)
		if err == nil && n == size && !lineBreak(text) {
			return nil, false, &Error{Offset: start, Detail: "base64url with non-zero trailing bits", TrailingBits: true}
		}
		return nil, false, s.fail(start, "value is not unpadded base64url")
	}
	return out, false, nil
}

// AppendBase64 decodes unpadded text canonically: no byte outside the alphabet,
// also no line break, and no non-zero trailing bits. It reports false for
// anything else.
func AppendBase64(dst, text []byte, enc *base64.Encoding) ([]byte, bool) {
	if lineBreak(text) {
		return nil, false
	}
	size := enc.DecodedLen(len(text))
	at := len(dst)
	if cap(dst)-at < size {
		grown := make([]byte, at, at+size)
		copy(grown, dst)
		dst = grown
	}
	n, err := enc.Strict().Decode(dst[at:at+size], text)
	if err != nil || n != size {
		return nil, false
	}
	return dst[: at+size : cap(dst)], true
}

// lineBreak finds the two bytes outside the alphabet that encoding/base64
// steps over. The length of the result does not show them: one of them behind
// 4k characters promises no more than those.
func lineBreak(text []byte) bool {
	return bytes.IndexByte(text, '\n') >= 0 || bytes.IndexByte(text, '\r') >= 0
}

// Number reads a number token and returns its text.
func (s *Scanner) Number() ([]byte, error) {
	s.Space()
	start := s.Pos
	s.accept('-')
	if !s.accept('0') && s.digits() == 0 {
		return nil, s.fail(s.Pos, "no number")
	}
	if s.accept('.') && s.digits() == 0 {
		return nil, s.fail(s.Pos, "no digit behind the decimal point")
	}
	if s.accept('e') || s.accept('E') {
		if !s.accept('+') {
			s.accept('-')
		}
		if s.digits() == 0 {
			return nil, s.fail(s.Pos, "no digit in the exponent")
		}
	}
	return s.Buf[start:s.Pos:s.Pos], nil
}

func (s *Scanner) accept(c byte) bool {
	if s.Pos < len(s.Buf) && s.Buf[s.Pos] == c {
		s.Pos++
		return true
	}
	return false
}

func (s *Scanner) digits() int {
	start := s.Pos
	for s.Pos < len(s.Buf) && s.Buf[s.Pos] >= '0' && s.Buf[s.Pos] <= '9' {
		s.Pos++
	}
	return s.Pos - start
}

// Skip reads one value of any type, nested at most depth levels.
func (s *Scanner) Skip(depth int) error {
	switch c := s.Peek(); {
	case c == '"':
		_, err := s.Text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := s.Number()
		return err
	case c == '{' || c == '[':
		if depth <= 0 {
			return s.fail(s.Pos, "nested too deeply")
		}
		s.Pos++
		return s.skipInside(c+2, depth-1) // '{'+2 is '}', '['+2 is ']'
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.Buf[s.Pos:], []byte(word)) {
			s.Pos += len(word)
			return nil
		}
	}
	return s.fail(s.Pos, "no JSON value")
}

func (s *Scanner) skipInside(closing byte, depth int) error {
	for first := true; ; first = false {
		more, err := s.More(closing, first)
		if err != nil || !more {
			return err
		}
		if closing == '}' {
			if _, err := s.Text(); err != nil {
				return err
			}
			if err := s.Expect(':'); err != nil {
				return err
			}
		}
		if err := s.Skip(depth); err != nil {
			return err
		}
	}
}

// Object reads one object and calls member for each name with the scanner in
// front of the value, which member must consume. Two equal names (after
// unescaping) are an error, and so are more than limit members.
func (s *Scanner) Object(limit int, member func(name string) error) error {
	if err := s.Expect('{'); err != nil {
		return err
	}
	seen := make(map[string]struct{}, 8)
	for first := true; ; first = false {
		more, err := s.More('}', first)
		if err != nil || !more {
			return err
		}
		at := s.Pos
		name, err := s.Text()
		if err != nil {
			return err
		}
		if _, dup := seen[string(name)]; dup {
			return s.fail(at, "duplicate member %.64q", name)
		}
		if len(seen) >= limit {
			return s.fail(at, "more than %d members", limit)
		}
		seen[string(name)] = struct{}{}
		if err := s.Expect(':'); err != nil {
			return err
		}
		if err := member(string(name)); err != nil {
			return err
		}
	}
}
