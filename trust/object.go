// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"
)

// ParseObject reads one JSON object strictly: valid UTF-8, no duplicate
// members at any level (compared after unescaping), at most depth nested
// objects and arrays (the outermost counts as 1), nothing behind it. Values are
// string, bool, nil, json.Number, []any and map[string]any; numbers keep their
// spelling. Member names compare with case (RFC 8259, RFC 7493).
//
// The caller bounds the size of b. Errors name the byte offset.
func ParseObject(b []byte, depth int) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("trust: JSON is not valid UTF-8")
	}
	// The scanner below relies on correct syntax, which Valid has established.
	if !json.Valid(b) {
		var x json.RawMessage
		return nil, fmt.Errorf("trust: not JSON: %w", json.Unmarshal(b, &x))
	}
	s := scanner{b: string(b), left: depth}
	s.space()
	if s.peek() != '{' {
		return nil, errors.New("trust: JSON is not an object")
	}
	v, err := s.value()
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// scanner walks JSON whose syntax is known to be correct. Texts without escapes
// are slices of the one copy of it: results have hundreds of them.
type scanner struct {
	b    string
	i    int
	left int // levels of nesting that remain
}

func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

func (s *scanner) value() (any, error) {
	switch c := s.peek(); c {
	case '{':
		return s.object()
	case '[':
		return s.array()
	case '"':
		return s.text()
	case 't':
		s.i += len("true")
		return true, nil
	case 'f':
		s.i += len("false")
		return false, nil
	case 'n':
		s.i += len("null")
		return nil, nil
	}
	return s.number(), nil
}

func (s *scanner) object() (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	out := make(map[string]any)
	for s.space(); s.peek() != '}'; s.space() {
		at := s.i
		name, err := s.text()
		if err != nil {
			return nil, err
		}
		if _, dup := out[name]; dup {
			return nil, fmt.Errorf("trust: JSON member %q at offset %d appears twice", name, at)
		}
		s.space()
		s.i++ // colon
		s.space()
		if out[name], err = s.value(); err != nil {
			return nil, err
		}
		s.comma()
	}
	s.leave()
	return out, nil
}

func (s *scanner) array() (any, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	out := []any{}
	for s.space(); s.peek() != ']'; s.space() {
		v, err := s.value()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		s.comma()
	}
	s.leave()
	return out, nil
}

func (s *scanner) enter() error {
	if s.left == 0 {
		return fmt.Errorf("trust: JSON nested too deeply at offset %d", s.i)
	}
	s.left--
	s.i++
	return nil
}

func (s *scanner) leave() {
	s.left++
	s.i++
}

func (s *scanner) comma() {
	if s.space(); s.peek() == ',' {
		s.i++
	}
}

// quoted moves behind a text and reports whether it has escapes.
func (s *scanner) quoted() (escaped bool) {
	for s.i++; s.i < len(s.b) && s.b[s.i] != '"'; s.i++ {
		if s.b[s.i] == '\\' {
			escaped = true
			s.i++
		}
	}
	s.i = min(s.i+1, len(s.b))
	return escaped
}

func (s *scanner) text() (string, error) {
	start := s.i
	escaped := s.quoted()
	raw := s.b[start:s.i]
	if !escaped {
		return raw[1 : len(raw)-1], nil
	}
	var out string
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		return "", fmt.Errorf("trust: JSON text at offset %d: %w", start, err)
	}
	return out, nil
}

func (s *scanner) number() json.Number {
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			s.i++
			continue
		}
		break
	}
	return json.Number(s.b[start:s.i])
}
