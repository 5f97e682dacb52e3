// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestMembers(t *testing.T) {
	doc := []byte(` {"a\"}": [1, {"x": "}"}], "s" : { "one/0" : {"st\u0061tus": "x\\", "v": {"n":-1.5e3 , "m":[]}, "t":true,"e":{}, "l" : null } } } `)
	got, err := Members(doc, "s", "one/0")
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{
		{"status", json.RawMessage(`"x\\"`)}, {"v", json.RawMessage(`{"n":-1.5e3 , "m":[]}`)}, {"t", json.RawMessage("true")},
		{"e", json.RawMessage("{}")}, {"l", json.RawMessage("null")},
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if got[i].Name != want[i].Name || !bytes.Equal(got[i].Raw, want[i].Raw) {
			t.Errorf("%d: %q, want %q", i, got[i], want[i])
		}
	}
	for _, path := range [][]string{{"x"}, {"s", "two"}, {"s", "one/0", "t"}, {"a\"}"}} {
		if m, err := Members(doc, path...); err == nil {
			t.Errorf("%q: %q", path, m)
		}
	}
}

// What is sliced out must be what a JSON library finds there.
func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1,"c":[{"d":"\""}]}}`))
	f.Add([]byte(`{"x":1,"a":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParseObject(b, 16); err != nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil {
			t.Fatal(err)
		}
		check := func(got []Member, want map[string]json.RawMessage) {
			if len(got) != len(want) {
				t.Fatalf("%d members, want %d", len(got), len(want))
			}
			for _, m := range got {
				if !bytes.Equal(m.Raw, want[m.Name]) {
					t.Fatalf("%q: %q, want %q", m.Name, m.Raw, want[m.Name])
				}
			}
		}
		top, err := Members(b)
		if err != nil {
			t.Fatal(err)
		}
		check(top, all)
		for name, raw := range all {
			var inner map[string]json.RawMessage
			isObject := raw[0] == '{'
			if isObject {
				if err := json.Unmarshal(raw, &inner); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Members(b, name)
			if isObject != (err == nil) {
				t.Fatalf("%q: %v", name, err)
			}
			check(got, inner)
		}
	})
}
