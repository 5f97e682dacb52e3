// SPDX-License-Identifier: Apache-2.0

package container

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/samples"
)

// The walk agrees with encoding/json on every array.
func checkElements(t *testing.T, raw []byte) {
	t.Helper()
	got, err := elements(raw)
	var want []json.RawMessage
	if json.Unmarshal(raw, &want) != nil || len(want) == 0 {
		if err == nil {
			t.Fatalf("%q has %d elements", raw, len(got))
		}
		return
	}
	if err != nil {
		if len(want) <= MaxDevices && !strings.Contains(err.Error(), "UTF-8") && !strings.Contains(err.Error(), "deeply") {
			t.Fatalf("%q: %v", raw, err)
		}
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %q, expected %q", raw, got, want)
	}
	for _, e := range got {
		members, unknown, err := (&reader{b: e}).members()
		if err != nil {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal(e, &m); err != nil || len(m) != len(members)+len(unknown) {
			t.Fatalf("%q: members %v and %v: %v", e, members, unknown, err)
		}
		for k, v := range members {
			if m[k] != string(v) {
				t.Fatalf("%q: member %q is %q, expected %q", e, k, v, m[k])
			}
		}
	}
}

var jsonSeeds = []string{
	`[]`, `[1]`, ` [ 1 , "a,]}\"\\" , {"a":[{"b":"]"}],"c" : null} ,[ [ ] ],-1.5e3,true] `, `[1,]`, `[{"arch":"x\u0041\\","nonce" : "\"" }]`,
	`[{"a":1,"b":"c","d":false}]`, "[\"\\ud800\"]", "null", "{}", "[", "\"", "", `[01]`, `[1 2]`, `[1:2]`, `[tru]`, `[nullnull]`, `[1"a"]`, `[{"a" 1}]`, `[{1:2}]`, `[{"a":1,}]`, `[,]`,
	"[\"\x1f1234567\"]", "[\"12345678\x00\"]", "[\"\x7f\"]", "[\"1234567\xff\"]", "[\"\\", "[\"\\\"", `[{"\u00e9é":1}]`, "[1]\x00", "\xef\xbb\xbf[1]",
}

func TestElementsAgreeWithEncodingJSON(t *testing.T) {
	leaf, err := samples.GPUEvidence()
	if err != nil {
		t.Fatal(err)
	}
	checkElements(t, leaf)
	for _, s := range jsonSeeds {
		checkElements(t, []byte(s))
		checkElements(t, bytes.ReplaceAll([]byte(s), []byte(" "), []byte("\r\n\t ")))
	}
}

func TestNesting(t *testing.T) {
	for depth, ok := range map[int]bool{1: true, maxDepth: true, maxDepth + 1: false, 1 << 16: false} {
		raw := "[" + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "]"
		if _, err := elements([]byte(raw)); (err == nil) != ok {
			t.Errorf("%d levels: %v", depth, err)
		}
	}
}

func FuzzElements(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkElements(t, raw) })
}
