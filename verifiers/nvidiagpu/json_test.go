// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
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
		if len(want) <= MaxDevices && !strings.Contains(err.Error(), "UTF-8") {
			t.Fatalf("%q: %v", raw, err)
		}
		return
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %q, expected %q", raw, got, want)
	}
	for _, e := range got {
		members, unknown, err := readMembers(e)
		if err != nil {
			continue
		}
		var m map[string]any
		if err := json.Unmarshal(e, &m); err != nil || len(m) != len(members)+len(unknown) {
			t.Fatalf("%q: members %v and %v: %v", e, members, unknown, err)
		}
		for k, v := range members {
			if m[k] != v {
				t.Fatalf("%q: member %q is %q, expected %q", e, k, v, m[k])
			}
		}
	}
}

var jsonSeeds = []string{
	`[]`, `[1]`, ` [ 1 , "a,]}\"\\" , {"a":[{"b":"]"}],"c" : null} ,[ [ ] ],-1.5e3,true] `, `[1,]`, `[{"arch":"x\u0041\\","nonce" : "\"" }]`,
	`[{"a":1,"b":"c","d":false}]`, "[\"\\ud800\"]", "null", "{}", "[", "\"", "",
}

func TestElementsAgreeWithEncodingJSON(t *testing.T) {
	leaf, _ := mockLeaf(t)
	checkElements(t, leaf)
	for _, s := range jsonSeeds {
		checkElements(t, []byte(s))
		checkElements(t, bytes.ReplaceAll([]byte(s), []byte(" "), []byte("\r\n\t ")))
	}
}

func FuzzElements(f *testing.F) {
	for _, s := range jsonSeeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) { checkElements(t, raw) })
}
