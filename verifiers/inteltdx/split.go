// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// split takes one JSON object apart, as strictjson.Members does, whose answers a
// fuzz test compares: duplicate members and anything behind the object are
// errors. It differs in cost, since an event log is a text of some 300 KiB through
// which encoding/json goes several times, byte by byte. And a text without escapes
// is not looked into: whoever takes it has to refuse what may not stand in one.
func split(raw []byte) (map[string]json.RawMessage, error) {
	s := &splitter{raw: raw}
	if s.next() != '{' {
		return nil, errors.New("not a JSON object")
	}
	s.at++
	out := map[string]json.RawMessage{}
	for more := s.next() != '}'; more; {
		name, err := s.name()
		if err != nil {
			return nil, s.fail(err)
		}
		if _, dup := out[name]; dup {
			return nil, s.fail(fmt.Errorf("duplicate member %.64q", name))
		}
		if out[name], err = s.value(); err != nil {
			return nil, s.fail(err)
		}
		if more = s.next() == ','; more {
			s.at++
		}
	}
	if s.next() != '}' {
		return nil, s.fail(errors.New("object is not closed"))
	}
	s.at++
	if s.next(); s.at != len(raw) {
		return nil, s.fail(errors.New("data behind the object"))
	}
	return out, nil
}

type splitter struct {
	raw []byte
	at  int
}

func (s *splitter) fail(err error) error { return fmt.Errorf("at byte %d: %w", s.at, err) }

// next passes over white space and returns the byte behind it, 0 at the end.
func (s *splitter) next() byte {
	for ; s.at < len(s.raw); s.at++ {
		switch c := s.raw[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

// name reads the name of a member and the colon.
func (s *splitter) name() (string, error) {
	if s.next() != '"' {
		return "", errors.New("no member name")
	}
	raw, err := s.value()
	if err != nil {
		return "", err
	}
	var name string
	if err := json.Unmarshal(raw, &name); err != nil {
		return "", err
	}
	if s.next() != ':' {
		return "", errors.New("no colon behind a member name")
	}
	s.at++
	return name, nil
}

// value reads one value, without white space around it.
func (s *splitter) value() (json.RawMessage, error) {
	if s.next() == '"' {
		if end := bytes.IndexByte(s.raw[s.at+1:], '"'); end >= 0 && bytes.IndexByte(s.raw[s.at+1:s.at+1+end], '\\') < 0 {
			out := s.raw[s.at : s.at+end+2 : s.at+end+2]
			s.at += end + 2
			return out, nil
		}
	}
	dec := json.NewDecoder(bytes.NewReader(s.raw[s.at:]))
	var v json.RawMessage
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	s.at += int(dec.InputOffset())
	return v, nil
}
