// SPDX-License-Identifier: Apache-2.0

package cddl

import (
	"testing"

	"github.com/fxamacker/cbor/v2"
)

func TestCheck(t *testing.T) {
	g, err := Parse(`
; a comment
thing = { 1: bytes .size (1..2), ? "two": 0..7 / 9, 1*2 slot => text, ? 3: pair, ? 4: bytes .cbor inner, ? 5: (uint .and 5..6), * -9..-1 => any }
      / #6.18(inner)
slot = 10..12
pair = [first: uint, * text]
inner = { name: "a" }
`)
	if err != nil {
		t.Fatal(err)
	}
	type m = map[any]any
	b := []byte{1}
	inner := m{"name": "a"}
	for i, c := range []struct {
		v  any
		ok bool
	}{
		{m{1: b, 10: "x"}, true}, {m{1: b, 10: "x", 12: "y"}, true}, {m{1: b, 10: "x", "two": 7}, true}, {m{1: b, 10: "x", "two": 9}, true},
		{m{1: b, 10: "x", 3: []any{1, "a", "b"}}, true}, {m{1: b, 10: "x", -3: 1.5}, true}, {m{1: b, 10: "x", 5: 6}, true}, {cbor.Tag{Number: 18, Content: inner}, true},
		{m{1: b}, false}, {m{10: "x"}, false}, {m{1: []byte{}, 10: "x"}, false}, {m{1: []byte{1, 2, 3}, 10: "x"}, false}, {m{1: "a", 10: "x"}, false},
		{m{1: b, 10: "x", 11: "x", 12: "x"}, false}, {m{1: b, 13: "x"}, false}, {m{1: b, 10: "x", "two": 8}, false}, {m{1: b, 10: "x", 3: []any{"a"}}, false},
		{m{1: b, 10: "x", 3: []any{1, 2}}, false}, {m{1: b, 10: "x", 5: 7}, false}, {m{1: b, 10: "x", 20: 1}, false}, {m{1: b, 10: "x", 4: b}, false},
		{cbor.Tag{Number: 17, Content: inner}, false}, {cbor.Tag{Number: 18, Content: m{"name": "b"}}, false}, {inner, false}, {5, false},
	} {
		raw, err := cbor.Marshal(c.v)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Check("", raw); (err == nil) != c.ok {
			t.Errorf("%d: %v: %v", i, c.v, err)
		}
	}
	raw, err := cbor.Marshal(inner)
	if err != nil {
		t.Fatal(err)
	}
	nested, err := cbor.Marshal(m{1: b, 10: "x", 4: raw})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Check("thing", nested); err != nil {
		t.Error(err)
	}
	if g.Check("inner", raw) != nil || g.Check("other", raw) == nil || !g.Has("pair") {
		t.Error("rules by name")
	}
}

func TestParseErrors(t *testing.T) {
	for _, s := range []string{
		"a = b", "a = uint\na = int", "a = {", "a = uint\nb = uint", "a =", "= uint", "a = uint .regexp text", "a = #6.18 uint", "a = $b", "a = { uint }", "a = 0..",
	} {
		if _, err := Parse(s); err == nil {
			t.Errorf("%q was read", s)
		}
	}
}
