// SPDX-License-Identifier: Apache-2.0

package jsonscan

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestSkip(t *testing.T) {
	for in, ok := range map[string]bool{
		`{}`: true, `[]`: true, ` [1,-0.5e+3,"a\u00e9\ud83d\ude00",true,false,null,{"a":[{}]}] `: true,
		`01`: false, `-`: false, `1.`: false, `1e`: false, `+1`: false, `.5`: false, `nul`: false,
		`[1,]`: false, `{"a":1,}`: false, `{"a"}`: false, `{a:1}`: false, `[1 2]`: false, `[`: false, `"`: false, `"\`: false,
		`"\x"`: false, `"\u12"`: false, `"\ud800"`: false, `"\ud800\u0041"`: false, `"\udc00"`: false, "\"\x01\"": false, "\"\xff\"": false, "\"\\\xff\"": false,
		``: false, `[[[[[]]]]]`: false, `[[[[]]]]`: true,
	} {
		s := &Scanner{Buf: []byte(in)}
		err := s.Skip(4)
		if err == nil {
			err = s.End()
		}
		if ok != (err == nil) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestObject(t *testing.T) {
	member := func(s *Scanner) func(string) error { return func(string) error { return s.Skip(1) } }
	for in, ok := range map[string]bool{
		`{"a":1,"b":2}`: true, `{"a":1,"a":2}`: false, `{"a":1,"\u0061":2}`: false, `{"a":1,"b":2,"c":3}`: false, `[]`: false, ``: false,
	} {
		s := &Scanner{Buf: []byte(in)}
		if err := s.Object(2, member(s)); ok != (err == nil) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzSkip compares with encoding/json: what we accept it accepts, and what it
// accepts we accept but for depth, UTF-8 and surrogates. Strings agree.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"x\n\u0041",null]}`, `"\ud83d\ude00"`, `[[],{}]`, "\"\xff\"", "1e9"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := &Scanner{Buf: raw}
		err := s.Skip(32)
		if err == nil {
			err = s.End()
		}
		if err == nil && !json.Valid(raw) {
			t.Fatalf("accepted %q", raw)
		}
		if err != nil && json.Valid(raw) && utf8.Valid(raw) && !strings.Contains(err.Error(), "deeply") && !strings.Contains(err.Error(), "scalar") {
			t.Fatalf("refused %q: %v", raw, err)
		}
		var want string
		if err == nil && json.Unmarshal(raw, &want) == nil && (&Scanner{Buf: raw}).Peek() == '"' {
			if got, err := (&Scanner{Buf: raw}).Text(); err != nil || string(got) != want {
				t.Fatalf("%q is %q, want %q", raw, got, want)
			}
		}
	})
}

func TestAppendBase64(t *testing.T) {
	for in, ok := range map[string]bool{
		"": true, "AQ": true, "AQID": true, "AQIDBA": true,
		"AQID\n": false, "AQID\r": false, "\nAQID": false, "AQ\nID": false, "AQID\n\n\n\n": false, "AQID\nBA": false, "\n": false, "\r\n": false,
		"A": false, "AQIDB": false, "AQ==": false, "AQID ": false, "AQID\x00": false, "AR": false, "////": false,
	} {
		if out, got := AppendBase64([]byte{7}, []byte(in), base64.RawURLEncoding); got != ok || ok && out[0] != 7 {
			t.Errorf("%q: %v", in, got)
		}
		s := &Scanner{Buf: []byte(`"` + in + `"`)}
		if _, _, err := s.Base64URL(nil, 100); ok != (err == nil) {
			t.Errorf("%q in a string: %v", in, err)
		} else if e, is := err.(*Error); is && e.TrailingBits != (in == "AR") {
			t.Errorf("%q: trailing bits %v", in, e.TrailingBits)
		}
	}
}
