// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestParseCanonicalForm(t *testing.T) {
	for in, want := range map[string]string{
		"lead":                                   "lead",
		"  lead ( cpu , gpu/* ) ":                "lead(cpu, gpu/*)",
		"cpu":                                    "cpu",
		"cascade(cpu, gpu/*@vendor-a)":           "cascade(cpu, gpu/*@vendor-a)",
		"parallel(quorum 2: a@x, a@y, a@z)":      "parallel(quorum 2: a@x, a@y, a@z)",
		"parallel(gpu/0, gpu/1)":                 "parallel(gpu/0, gpu/1)",
		`lead("lead", "a b", "q\"x")`:            `lead("lead", "a b", "q\"x")`,
		"lead(cpu, optional(nic/*), #1)":         "lead(cpu, optional(nic/*), #1)",
		"lead(cpu, cascade(gpu, parallel(a,b)))": "lead(cpu, cascade(gpu, parallel(a, b)))",
		"\tlead(\n cpu)":                         "lead(cpu)",
		"lead(a~1b)":                             "lead(a~1b)",
	} {
		e, err := Parse(in)
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if e.String() != want {
			t.Errorf("%q renders as %q, want %q", in, e, want)
		}
		again, err := Parse(e.String())
		if err != nil || again.String() != want {
			t.Errorf("%q does not survive a round trip: %v", want, err)
		}
	}
}

func TestParseErrorsHavePositions(t *testing.T) {
	deep := strings.Repeat("lead(", MaxDepth+1) + "x" + strings.Repeat(")", MaxDepth+1)
	for in, pos := range map[string]int{
		"":                         0,
		"lead(":                    5,
		"lead()":                   5,
		"lead(cpu":                 8,
		"lead(cpu,)":               9,
		"lead(cpu gpu)":            9,
		"lead)":                    4,
		"cascade":                  7,
		"parallel(quorum 0: a)":    15,
		"parallel(quorum 3: a, b)": 0,
		"parallel(quorum 1 a)":     18,
		"lead(quorum 1: a)":        5,
		"lead(/a)":                 5,
		"lead(a//b)":               5,
		"lead(a/)":                 5,
		"lead(a@)":                 7,
		"lead(a@B)":                7,
		`lead("abc)`:               5,
		`lead("")`:                 5,
		`lead("\xff")`:             5,
		"lead(ä)":                  5,
		"quorum":                   0,
		deep:                       5 * MaxDepth,
	} {
		_, err := Parse(in)
		var pe *ParseError
		if !errors.As(err, &pe) {
			t.Errorf("%.40q: got %v, want a ParseError", in, err)
			continue
		}
		if pe.Pos != pos {
			t.Errorf("%.40q: position %d, want %d (%v)", in, pe.Pos, pos, err)
		}
	}
}

func TestParseIsBounded(t *testing.T) {
	if _, err := Parse(strings.Repeat("x", MaxText+1)); err == nil {
		t.Error("a text beyond the limit was accepted")
	}
	if _, err := Parse("lead(" + strings.Repeat("a,", MaxTerms) + "a)"); err == nil {
		t.Error("more terms than the limit were accepted")
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"cpu", "cpu", true}, {"cpu", "cpu2", false}, {"gpu", "gpu/0", true}, {"gpu/*", "gpu/0", true},
		{"gpu/*", "gpu", false}, {"gpu/*", "gpu/0/x", true}, {"*", "anything", true}, {"*/0", "gpu/0", true},
		{"*/0", "gpu/1", false}, {"gpu/0", "gpu/00", false},
	} {
		if got := Match(c.pattern, c.path); got != c.want {
			t.Errorf("Match(%q, %q) = %t", c.pattern, c.path, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"lead", "lead(cpu, gpu/*)", "parallel(quorum 2: a@x, b)", `lead("a b", optional(c))`, "cascade(a, lead(b))"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		e, err := Parse(in)
		if err != nil {
			return
		}
		again, err := Parse(e.String())
		if err != nil {
			t.Fatalf("%q was accepted, its canonical form %q is not: %v", in, e, err)
		}
		if !reflect.DeepEqual(stripped(e), stripped(again)) {
			t.Fatalf("%q changes in a round trip: %q", in, again)
		}
	})
}

// stripped removes positions, which differ between spellings.
func stripped(e Expr) Expr {
	e.Pos = 0
	args := e.Args
	e.Args = nil
	for _, a := range args {
		e.Args = append(e.Args, stripped(a))
	}
	return e
}
