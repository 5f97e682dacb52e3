// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"fmt"
)

// Member is one member of a JSON object with its value as it was written.
type Member struct {
	Name string
	Raw  json.RawMessage
}

// Members finds the object at a path of member names and slices its members
// out of b, in their order. It is for passing on what was received without
// encoding it again. b must be JSON that ParseObject accepts: Members relies on
// correct syntax, and on there being no duplicates.
func Members(b []byte, path ...string) ([]Member, error) {
	s := scanner{b: string(b)}
	s.space()
	var out []Member
	for depth := 0; ; depth++ {
		if s.peek() != '{' {
			return nil, fmt.Errorf("trust: JSON has no object at %q", path[:depth])
		}
		s.i++
		found := false
		for s.space(); s.peek() != '}' && s.peek() != 0; s.space() {
			name, err := s.text()
			if err != nil {
				return nil, err
			}
			s.space()
			s.i++ // colon
			s.space()
			if depth < len(path) && name == path[depth] {
				found = true
				break
			}
			start := s.i
			s.skip()
			if depth == len(path) {
				out = append(out, Member{name, b[start:s.i:s.i]})
			}
			s.comma()
		}
		if depth == len(path) {
			return out, nil
		}
		if !found {
			return nil, fmt.Errorf("trust: JSON has no member %q", path[:depth+1])
		}
	}
}

// skip moves behind a value.
func (s *scanner) skip() {
	for open := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			s.quoted()
		case '{', '[':
			open++
			s.i++
		case '}', ']':
			open--
			s.i++
		case ',', ':', ' ', '\t', '\n', '\r':
			if open == 0 {
				return
			}
			s.i++
			continue
		default: // true, false, null or a number
			for s.i++; s.i < len(s.b) && !structural(s.b[s.i]); s.i++ {
			}
		}
		if open == 0 {
			return
		}
	}
}

func structural(c byte) bool {
	switch c {
	case ',', '}', ']', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}
