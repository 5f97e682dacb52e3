// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// TestComponents: only whole events of one register commit to the evidence of
// components, the last one about each, and one that cannot be read commits to
// nothing and takes the word of earlier ones back.
func TestComponents(t *testing.T) {
	short, long := strings.Repeat("0a", 32), strings.Repeat("0b", 48)
	const register = 4
	event := func(label, more string) entry {
		return entry{index: register, kind: 6, data: fmt.Appendf(nil, `{"assize.component":%q%s}`, label, more)}
	}
	ours := event("gpu/0", `,"sha256":"`+short+`"`)
	other := event("gpu/0", `,"sha256":"`+strings.Repeat("0c", 32)+`"`)
	both := event("gpu/0", `,"sha256":"`+short+`","sha384":"`+long+`","more":[1]`)
	elsewhere, partly := ours, ours
	elsewhere.index = 3
	partly.measured = []byte("something else")
	const ok = "gpu/0 evidence sha-256 0a0a event-log measured"
	for _, c := range []struct {
		name, want, refused string
		events              []entry
	}{
		{"one digest", ok, "", []entry{ours}},
		{"two digests", ok + "; gpu/0 evidence sha-384 0b0b event-log measured", "", []entry{both}},
		{"two parts", ok + "; nic evidence sha-256 0a0a event-log measured", "", []entry{ours, event("nic", `,"sha256":"`+short+`"`)}},
		{"the last one counts", ok, "", []entry{other, ours}},
		{"and no earlier one", "gpu/0 evidence sha-256 0c0c event-log measured", "", []entry{ours, other}},
		{"a last one without digest", "", "no digest", []entry{ours, event("gpu/0", "")}},
		{"another register", "", "", []entry{elsewhere}},
		{"not measured as a whole", "", "", []entry{partly}},
		{"other data", "", "", []entry{{index: register, kind: 6, data: []byte(`{ "assize.component":"gpu/0"}`)}}},
		{"no label", "", "label of 0 bytes", []entry{event("", `,"sha256":"`+short+`"`)}},
		{"a long label", "", "label of 257 bytes", []entry{event(strings.Repeat("x", 257), `,"sha256":"`+short+`"`)}},
		{"a label that is no text", "", "no text", []entry{{index: register, kind: 6, data: []byte(`{"assize.component":1}`)}}},
		{"twice", "", "duplicate", []entry{event("gpu/0", `,"sha256":"`+short+`","sha256":"`+short+`"`)}},
		{"upper case", "", "no digest of 32 bytes", []entry{event("gpu/0", `,"sha256":"`+strings.ToUpper(short)+`"`)}},
		{"short", "", "no digest of 48 bytes", []entry{event("gpu/0", `,"sha256":"`+short+`","sha384":"`+short+`"`)}},
		{"null", "", "no text", []entry{event("gpu/0", `,"sha256":null`)}},
	} {
		list, refused := matched(t, build([]Alg{SHA384}, c.events...), CC, SHA384).Components(register)
		var got []string
		for _, x := range list {
			got = append(got, fmt.Sprintf("%s %s %s %.4s %s %s", x.Subject, x.Object, x.Alg, x.Digest, x.Via, x.Origin))
			if x.Object != verdict.ObjectEvidence {
				t.Errorf("%s: %+v", c.name, x)
			}
		}
		if strings.Join(got, "; ") != c.want || !strings.Contains(strings.Join(refused, "; "), c.refused) || (refused == nil) != (c.refused == "") {
			t.Errorf("%s: %v, refused %v", c.name, got, refused)
		}
	}
}

// FuzzReadComponent: what is accepted has a label and digests that facts may hold.
func FuzzReadComponent(f *testing.F) {
	f.Add([]byte(`{"assize.component":"gpu/0","sha256":"` + strings.Repeat("0a", 32) + `","sha384":"` + strings.Repeat("0b", 48) + `"}`))
	f.Add([]byte(`{"assize.component":"gpu/0","sha256":null}`))
	f.Add([]byte(componentPrefix))
	f.Fuzz(func(t *testing.T, data []byte) {
		label, list, err := readComponent(data)
		if err != nil {
			if list != nil {
				t.Fatal("digests beside an error")
			}
			return
		}
		if label == "" || len(label) > maxComponentName || len(list) == 0 || len(list) > 2 {
			t.Fatalf("%q: %+v", label, list)
		}
		for _, c := range list {
			if size := map[string]int{verdict.AlgSHA256: 64, verdict.AlgSHA384: 96}[c.Alg]; len(c.Digest) != size || strings.ToLower(c.Digest) != c.Digest || c.Subject != label {
				t.Fatalf("%+v", c)
			}
		}
	})
}

// TestSoftware: what is measured of components at the end of a register is taken
// off it, and only there.
func TestSoftware(t *testing.T) {
	const register = 4
	part := entry{index: register, kind: 6, data: []byte(`{"assize.component":"gpu","sha256":"` + strings.Repeat("0a", 32) + `"}`)}
	odd, other, program, elsewhere, manifest := part, part, part, part, part
	manifest.data = []byte(`{"assize.component":"gpu","sha256":"` + strings.Repeat("0a", 32) + `","services":"something that known software runs when it has measured it"}`)
	odd.data = []byte(`{"assize.component":"gpu"}`)
	other.measured = []byte("something else")
	program.data = []byte("a program")
	elsewhere.index = 3
	after := func(events ...entry) string {
		values, err := parse(t, build([]Alg{SHA384}, events...), CC).Replay(SHA384)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", values[register])
	}
	zero := strings.Repeat("00", 48)
	for name, c := range map[string]struct {
		want   string
		events []entry
	}{
		"parts alone":                   {zero, []entry{part, part}},
		"a program before them":         {after(program), []entry{program, part, part}},
		"a program behind them":         {"", []entry{part, program}},
		"a program between them":        {"", []entry{part, program, part}},
		"none":                          {"", []entry{program}},
		"something that cannot be read": {"", []entry{part, odd}},
		"data that were not measured":   {"", []entry{part, other}},
		"a program that looks like one": {"", []entry{manifest}},
		"one of them behind a part":     {"", []entry{part, manifest}},
		"one of them before a part":     {after(manifest), []entry{manifest, part}},
		"another register between":      {zero, []entry{part, elsewhere, part}},
	} {
		if got := fmt.Sprintf("%x", matched(t, build([]Alg{SHA384}, c.events...), CC, SHA384).Software(register)); got != c.want {
			t.Errorf("%s: %s, expected %s", name, got, c.want)
		}
	}
}
