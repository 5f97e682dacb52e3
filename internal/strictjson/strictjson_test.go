// SPDX-License-Identifier: Apache-2.0

package strictjson

import (
	"encoding/json"
	"testing"
)

func TestMembers(t *testing.T) {
	m, err := Members([]byte(" {\"a\": 1, \"b\": {\"a\":2, \"a\":3}, \"\\u0063\": null}\n"))
	if err != nil || len(m) != 3 || string(m["a"]) != "1" || string(m["b"]) != `{"a":2, "a":3}` || string(m["c"]) != "null" {
		t.Fatalf("%s, %v", m, err)
	}
	for _, text := range []string{
		"", "null", "[]", "1", `"x"`, "{", `{"a"}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`,
		`{"a":1} x`, `{"a":1}{}`, `{1:2}`, `{"a":}`, `{"a":01}`, "{\"a\":\"\n\"}",
	} {
		if _, err := Members([]byte(text)); err == nil {
			t.Errorf("%q: accepted", text)
		}
	}
}

func FuzzMembers(f *testing.F) {
	f.Add([]byte(`{"a": 1, "b": {"c": []}}`))
	f.Add([]byte(`{"a": 1, "a": 2}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Members(raw)
		if err != nil {
			return
		}
		var plain map[string]json.RawMessage
		if json.Unmarshal(raw, &plain) != nil || len(plain) != len(m) {
			t.Fatalf("encoding/json reads %d members, not %d", len(plain), len(m))
		}
	})
}
