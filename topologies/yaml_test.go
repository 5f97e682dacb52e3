// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
)

func TestYAMLAndTextAreOneForm(t *testing.T) {
	for yaml, text := range map[string]string{
		"cpu":                  "cpu",
		"lead":                 "lead",
		"lead@n1":              "lead@n1",
		"gpu/*@vendor-a":       "gpu/*@vendor-a",
		"lead: [cpu, 'gpu/0']": "lead(cpu, gpu/0)",
		"# the whole machine\n---\nlead: [cpu]\n...\n":                      "lead(cpu)",
		"{lead: [gpu], at: n1}":                                             "lead(gpu)@n1",
		"label: a b":                                                        `"a b"`,
		"{at: n1, label: 'a:b'}":                                            `"a:b"@n1`,
		"lead: [{label: quorum}, {label: lead}, {label: cpu}]":              `lead("quorum", "lead", cpu)`,
		"lead: ['0', \"true\", '2026-01-01', '*']":                          "lead(0, true, 2026-01-01, *)",
		"parallel: [a, b]":                                                  "parallel(a, b)",
		"parallel: {of: [a@x, a@y], quorum: 1}":                             "parallel(quorum 1: a@x, a@y)",
		"lead: [cpu, {optional: nic/*}, {optional: {lead: [dpu], at: n1}}]": "lead(cpu, optional(nic/*), optional(lead(dpu)@n1))",
		"lead:\n- cpu\n- optional: [nic/*]\n- parallel:\n    quorum: 2\n    of: [x@a, x@b]":                               "lead(cpu, optional(nic/*), parallel(quorum 2: x@a, x@b))",
		"lead: [cpu, {cascade: [gpu/*@vendor-a, switch/*@vendor-a]}, {parallel: {quorum: 2, of: [nic@x, nic@y, nic@z]}}]": "lead(cpu, cascade(gpu/*@vendor-a, switch/*@vendor-a), parallel(quorum 2: nic@x, nic@y, nic@z))",
		"lead:\n  - cpu\n  - cascade:\n      - lead: [gpu, nic]\n        at: n1\n      - dpu@n2\n":                        "lead(cpu, cascade(lead(gpu, nic)@n1, dpu@n2))",
	} {
		got, err := ParseYAML([]byte(yaml))
		if err != nil {
			t.Errorf("%q: %v", yaml, err)
			continue
		}
		want, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != text || !reflect.DeepEqual(stripped(got), stripped(want)) {
			t.Errorf("%q is %s, want %s", yaml, got, text)
		}
		in := Input{Route: anywhere, Components: []Component{{Label: "cpu", Leaf: "cpu", MediaType: evidence.MediaType{Base: "a/b"}, Scheme: "s"}}}
		one, err1 := New(got, in)
		two, err2 := New(want, in)
		if (err1 == nil) != (err2 == nil) || err1 == nil && one.Digest() != two.Digest() {
			t.Errorf("%q and %s have different plans (%v, %v)", yaml, text, err1, err2)
		}
	}
}

func TestYAMLErrors(t *testing.T) {
	deep := strings.Repeat("{lead: [", MaxDepth+1) + "x" + strings.Repeat("]}", MaxDepth+1)
	for _, c := range []struct {
		in           string
		line, column int
		says         string
	}{
		{"", 1, 1, "no expression"},
		{"# nothing\n", 1, 1, "no expression"},
		{"lead: [", 1, 1, ""},
		{"lead:\n\t- a", 2, 1, ""},
		{"[a, b]", 1, 1, "not a list"},
		{"lead:", 1, 6, "list of operands"},
		{"lead: []", 1, 7, "list of operands"},
		{"lead: cpu", 1, 7, "list of operands"},
		{"lead: {cpu: 1}", 1, 7, "list of operands"},
		{"lead: [a]\nat: N1", 2, 5, "node name"},
		{"lead: [a]\nat: 7", 2, 5, "string"},
		{"lead: [a]\non: n1", 2, 1, "unknown key"},
		{"lead: [a]\nlead: [b]", 2, 1, ""},
		{"lead: [a]\nat: x\nat: y", 3, 1, ""},
		{"lead: [a]\ncascade: [b]", 2, 1, "one head"},
		{"at: n1", 1, 1, "expected one of"},
		{"{}", 1, 1, "expected one of"},
		{"lead: [{label: a, lead: [b]}]", 1, 19, "one head"},
		{"lead: [&x a, b]", 1, 8, "anchors"},
		{"lead: [a, *a]", 1, 1, "anchor"},
		{"lead: [&x {lead: [a]}, *x]", 1, 8, "anchors"},
		{"lead: &x [a]", 1, 7, "anchors"},
		{"parallel: &x {quorum: 1, of: [a]}", 1, 11, "anchors"},
		{"<<: {lead: [a]}", 1, 1, ""},
		{"!!str cpu", 1, 1, "tags"},
		{"lead: [!x a]", 1, 8, "tags"},
		{"lead: !!seq [a]", 1, 7, "tags"},
		{"parallel: {quorum: !!int 1, of: [a]}", 1, 20, "tags"},
		{"a\n---\nb", 2, 1, "second document"},
		{"lead: [0]", 1, 8, "quotes"},
		{"lead: [cpu, true]", 1, 13, "quotes"},
		{"lead: [cpu, ~]", 1, 13, "quotes"},
		{"lead: [cpu, 2026-01-01]", 1, 13, "quotes"},
		{"lead: [cpu, gpu(0)]", 1, 13, "label path"},
		{"lead(cpu, gpu)", 1, 1, "heads are keys"},
		{"lead: [cpu, cascade]", 1, 13, "wants operands"},
		{"lead: [cpu, /gpu]", 1, 13, "not a label path"},
		{"lead: [cpu, gpu@]", 1, 13, "node name"},
		{"lead: [cpu, gpu@a@b]", 1, 13, "node name"},
		{"lead: [{label: a//b}]", 1, 16, "not a label path"},
		{"parallel: {quorum: 3, of: [a@x, a@y]}", 1, 20, "3 of 2"},
		{"parallel: {quorum: 0, of: [a]}", 1, 20, "at least 1"},
		{"parallel: {quorum: 0x1, of: [a]}", 1, 20, "at least 1"},
		{"parallel: {quorum: '1', of: [a]}", 1, 20, "at least 1"},
		{"parallel: {quorum: 1}", 1, 11, "quorum"},
		{"parallel: {of: [a]}", 1, 11, "quorum"},
		{"parallel: {of: [a], quorum: 1, at: x}", 1, 32, "unknown key"},
		{"lead: {quorum: 1, of: [a]}", 1, 7, "list of operands"},
		{"ä: [a]\n", 1, 1, "unknown key"},
		{"lead: [{label: \"ä\"}, b b]", 1, 22, "label path"},
		{deep, 1, 1 + 8*MaxDepth, "deep"},
		{"\xff", 1, 1, "UTF-8"},
		{"\ufefflead", 1, 1, "byte order"},
		{strings.Repeat("#", MaxYAML+1), 1, 1, "too long"},
		{"label: " + strings.Repeat("x", MaxText+1), 1, 1, "too long"},
		{"lead: [" + strings.Repeat("a, ", MaxTerms) + "a]", 1, 0, "terms"},
	} {
		_, err := ParseYAML([]byte(c.in))
		var at *YAMLError
		if !errors.As(err, &at) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.60q: %v, want %q", c.in, err, c.says)
			continue
		}
		if at.Line != c.line || c.column > 0 && at.Column != c.column {
			t.Errorf("%.60q: %d:%d, want %d:%d (%v)", c.in, at.Line, at.Column, c.line, c.column, err)
		}
		var pe *ParseError
		if !errors.As(err, &pe) || pe.Pos > len(c.in) {
			t.Errorf("%.60q: no offset (%v)", c.in, pe)
		}
	}
}

// Positions point into the YAML text, so that what the planner finds has a place.
func TestYAMLPositions(t *testing.T) {
	raw := "lead:\r\n  - {label: \"ü\"}\n  - cpu\n  - cpu\n"
	e, err := ParseYAML([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var at []string
	for _, a := range e.Args {
		at = append(at, strings.TrimSpace(strings.SplitAfter(raw[a.Pos:], "\n")[0]))
	}
	if got := strings.Join(at, "|"); got != "{label: \"ü\"}|cpu|cpu" {
		t.Errorf("%q", got)
	}
	_, err = New(e, Input{Route: anywhere, Components: []Component{{Label: "cpu", Leaf: "cpu"}}})
	var pe *ParseError
	if !errors.As(err, &pe) || pe.Pos != strings.LastIndex(raw, "cpu") {
		t.Errorf("%v", err)
	}
}

func TestYAMLRoundTrip(t *testing.T) {
	for _, text := range []string{
		"lead", "lead@n1", "cpu", "cpu@x", `"a b"`, `"a b"@x`, `lead("lead", "quorum", "0", true, "~", "null")`, `lead("\x00\u0085\u2028\ufeff", "'", "\"")`,
		"lead(cpu, cascade(gpu/*@vendor-a, switch/*@vendor-a), parallel(quorum 2: nic@x, nic@y, nic@z))",
		"cascade(lead(a)@n1, optional(parallel(b, lead@n2)))@n3", "lead(*)", "lead(-, ?, !x, &x, %a, #b)",
		strings.Repeat("lead(", MaxDepth) + "x" + strings.Repeat(")@n1", MaxDepth),
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(text, err)
		}
		roundTrip(t, e)
	}
}

func roundTrip(t *testing.T, e Expr) {
	t.Helper()
	text, err := e.YAML()
	if err != nil {
		t.Fatalf("%s: %v", e, err)
	}
	again, err := ParseYAML([]byte(text))
	if err != nil {
		t.Fatalf("%s is written as\n%s\nwhich cannot be read: %v", e, text, err)
	}
	if !reflect.DeepEqual(stripped(e), stripped(again)) {
		t.Fatalf("%s changes to %s:\n%s", e, again, text)
	}
}

func FuzzParseYAML(f *testing.F) {
	for _, s := range []string{
		"lead", "lead: [cpu, gpu/*]", "lead:\n  - cpu\n  - cascade: [gpu@a, switch@b]\n  - parallel: {quorum: 2, of: [nic@x, nic@y]}\n",
		"{label: 'a b', at: x}", "optional:\n- lead: [a]\n  at: n1\n", "lead: [&a x, *a]", "!!str a", "a\n---\nb", "? lead\n: [a]", "label: \"\\x01\\u2028\"",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := ParseYAML(in)
		if err != nil {
			var at *YAMLError
			if !errors.As(err, &at) || at.Line < 1 || at.Column < 1 || at.Err.Pos < 0 || at.Err.Pos > max(len(in), 0) {
				t.Fatalf("%q: an error without a place: %v", in, err)
			}
			return
		}
		roundTrip(t, e)
		again, err := Parse(e.String())
		if err != nil || !reflect.DeepEqual(stripped(e), stripped(again)) {
			t.Fatalf("%q gives %s, whose text form is another: %v", in, e, err)
		}
	})
}

// FuzzYAMLOfText: whatever the text form can say, the YAML form can.
func FuzzYAMLOfText(f *testing.F) {
	for _, s := range []string{"lead(cpu, gpu/*)", `parallel(quorum 2: "a b"@x, c)`, "cascade(a, lead(b)@n1)", `lead("\u0085")`, "<<", "lead(<<, a)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		if e, err := Parse(in); err == nil {
			roundTrip(t, e)
		}
	})
}
