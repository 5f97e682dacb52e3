// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// found is one word per problem: code, offset, and "?" for a warning.
func found(problems []Problem) string {
	var out []string
	for _, p := range problems {
		word := fmt.Sprintf("%s@%d", p.Code, p.Offset)
		if p.Severity == SeverityWarning {
			word += "?"
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func TestLintAlone(t *testing.T) {
	deep := strings.Repeat("lead(", MaxDepth+1) + "x" + strings.Repeat(")", MaxDepth+1)
	for text, want := range map[string]string{
		"lead":                                    "",
		"lead(cpu, gpu/*)":                        "",
		"lead(cpu, optional(nic/*))":              "",
		"parallel(quorum 2: a@x, a@y)":            "",
		"":                                        "syntax@0",
		"lead(":                                   "syntax@5",
		"lead()":                                  "syntax@5",
		"lead(cpu,, gpu, /a, b@B)":                "syntax@9 syntax@16 syntax@22",
		"lead(cpu gpu, nic//x)":                   "syntax@9 syntax@14",
		"lead(a) b":                               "syntax@8",
		`lead("abc, b)`:                           "syntax@5",
		`lead(/x, "a,(b" c, d)`:                   "syntax@5 syntax@16",
		"cascade":                                 "syntax@7",
		"lead(parallel(quorum 3: a, a@y), b//)":   "quorum@5 syntax@33",
		"parallel(quorum 0: a, b//)":              "quorum@15 syntax@22",
		"lead(quorum 1: a, lead(quorum 2: b))":    "quorum@5 quorum@23",
		"lead(cpu, quorum, gpu)":                  "quorum@10",
		deep:                                      "nesting@40",
		"lead(cpu, cpu, gpu, gpu)":                "owned-twice@10 owned-twice@20",
		"lead(gpu, lead(gpu/0), gpu/*)":           "owned-twice@15 owned-twice@23",
		"lead(gpu/*, */0)":                        "overlap@12?",
		"lead(a, parallel(quorum 1: a@x, a@y))":   "owned-twice@27",
		"parallel(quorum 1: a, b, a)":             "plan@22 plan@25",
		"parallel(a@x, a@x)":                      "plan@14",
		"cascade(a@x, b@y, c@x, d@y)":             "cycle@18",
		"lead(cascade(a@x, b@y, c@x), cpu, cpu)":  "cycle@23 owned-twice@34",
		"cascade(a@x, b//, c@y, d@x)":             "syntax@13 cycle@23",
		"lead(a, lead(b, a), lead(a))":            "owned-twice@16 owned-twice@25",
		strings.Repeat("x", MaxText+1):            fmt.Sprintf("syntax@%d", MaxText),
		"lead(" + strings.Repeat("/,", 100) + "a": "",
	} {
		got := Lint(text, LintInput{Peers: []string{"x", "y"}})
		if len(got) > MaxProblems || len(text) > 100 && strings.HasPrefix(text, "lead(/") && len(got) != MaxProblems {
			t.Errorf("%.40q: %d problems", text, len(got))
		}
		if strings.HasPrefix(text, "lead(/,/") {
			continue
		}
		if found(got) != want {
			t.Errorf("%.60q:\n got %s\nwant %s", text, found(got), want)
		}
	}
}

func TestLintAgainstEvidence(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32), component("gpu/1", 32)}
	broken := component("nic", 32)
	broken.Reason = &verdict.Reason{Code: verdict.ReasonMalformed, Detail: "no header"}
	route := func(_, node string) []verifiers.Candidate {
		if node == "empty" {
			return nil
		}
		return anywhere("", "")
	}
	for _, c := range []struct {
		text string
		more []Component
		want string
	}{
		{"lead", nil, ""},
		{"lead(cpu, lead)", nil, ""},
		{"lead(cpu, gpu/*)", nil, ""},
		{"lead(cpu)", nil, "unnamed-component@0 unnamed-component@0"},
		{"lead(cpu, gpu, tpm)", nil, "unknown-label@15"},
		{"lead(cpu, gpu, optional(tpm))", nil, "unknown-label@24?"},
		{"lead(cpu, gpu, dpu)", nil, "unknown-label@15?"}, // optional by the caller
		{"lead(tpm, gpu, cpu, tpm)", nil, "unknown-label@5 owned-twice@20 unknown-label@20"},
		{"lead(cpu, gpu/0, gpu)", nil, "owned-twice@17"},
		{"lead(gpu, cpu, gpu/1, gpu/0)", nil, "owned-twice@15 owned-twice@22"},
		{"lead(cpu, gpu/0, gpu/*, gpu//)", nil, "owned-twice@17 syntax@24"},
		{"lead(cpu//, gpu)", nil, "syntax@5"}, // cpu may have been meant: no more is said
		{"lead(cpu, gpu@far)", nil, "unknown-node@10?"},
		{"lead(cpu, gpu@x, lead(tpm)@far)", nil, "unknown-node@17? unknown-label@22"},
		{"lead(cpu@me, gpu@x)", nil, ""},
		{"lead(cpu@empty, gpu)", nil, "no-verifier@5"},
		{"lead(cpu, parallel(quorum 1: gpu@x, gpu@empty))", nil, "no-verifier@29? no-verifier@29?"},
		{"lead(cpu, parallel(gpu/0@x, gpu/0@empty), gpu/1)", nil, "no-verifier@19"},
		{"lead(cpu, gpu, nic)", []Component{broken}, "no-verifier@15"},
		{"lead(cpu, gpu)", []Component{broken}, "unnamed-component@0"},
		{"lead", []Component{component("composite", 32)}, "plan@0"},
	} {
		in := LintInput{Submitted: true, Peers: []string{"x", "empty"}}
		in.Components, in.Self, in.Route, in.Optional = slices.Concat(parts, c.more), "me", route, []string{"dpu"}
		slices.SortFunc(in.Components, func(a, b Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
		problems := Lint(c.text, in)
		slices.SortFunc(problems, func(a, b Problem) int {
			if a.Offset != b.Offset {
				return a.Offset - b.Offset
			}
			return strings.Compare(a.Code, b.Code)
		})
		if found(problems) != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.text, found(problems), c.want)
		}
	}
}

func TestLintCountsCharacters(t *testing.T) {
	got := Lint("lead(\"ä\",\n \"öö\", /x)", LintInput{})
	if len(got) != 1 || got[0].Line != 2 || got[0].Column != 8 {
		t.Errorf("%+v, want line 2 column 8", got)
	}
}

// Warnings, however many, do not hide an error.
func TestLintPutsErrorsFirst(t *testing.T) {
	var terms []string
	for i := range 2 * MaxProblems {
		terms = append(terms, fmt.Sprintf("c%d@far", i))
	}
	in := LintInput{Submitted: true}
	for i := range terms {
		in.Components = append(in.Components, component(fmt.Sprintf("c%d", i), 32))
	}
	got := Lint("lead("+strings.Join(terms, ", ")+", gone)", in)
	if len(got) != MaxProblems || got[len(got)-1].Code != ProblemUnknownLabel {
		t.Errorf("%d problems, the last %+v", len(got), got[len(got)-1])
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"gpu", "gpu/0", true}, {"gpu/*", "gpu/0", true}, {"gpu/*", "*/0", true}, {"gpu/1", "*/0", false}, {"gpu", "gpux", false}, {"*", "a/b", true},
	} {
		if overlap(c.a, c.b) != c.want || overlap(c.b, c.a) != c.want {
			t.Errorf("%s %s: not %t", c.a, c.b, c.want)
		}
	}
}

// Lint never accepts what Parse or New refuse, and never calls what New accepts
// unplannable.
func FuzzLint(f *testing.F) {
	for _, s := range []string{
		"lead", "lead(cpu, gpu/*)", "cascade(cpu, gpu@a, nic@b, x@a)", "parallel(quorum 2: gpu@a, gpu@b)", `lead("a,(", /x, b@`,
		"lead(cpu, cpu, parallel(cpu@a, cpu@b))", "optional(gpu/0@a, gpu)", "lead(quorum 1: a)", "parallel(quorum 9: a", "lead(nic, nic)", "lead(lead, lead(cpu)@a)",
		"parallel(gpu/0@a, gpu/0@b, gpu/0@a, nic)", "lead(parallel(nic@a, nic@b), nic)",
	} {
		f.Add(s)
	}
	parts := []Component{component("cpu", 64), component("gpu/0", 32), component("gpu/1", 32)}
	f.Fuzz(func(t *testing.T, text string) {
		in := LintInput{Submitted: true, Input: Input{Components: parts, Route: anywhere}}
		problems := Lint(text, in)
		bad, unplannable := false, false
		for _, p := range problems {
			if p.Offset < 0 || p.Offset > len(text) || p.Line < 1 || p.Column < 1 {
				t.Fatalf("%q: a problem at %+v", text, p)
			}
			bad = bad || p.Severity == SeverityError
			unplannable = unplannable || slices.Contains([]string{ProblemTwice, ProblemCycle, ProblemPlan, ProblemSyntax, ProblemQuorum, ProblemNesting}, p.Code)
		}
		Lint(text, LintInput{})
		e, err := Parse(text)
		if err == nil {
			_, err = New(e, in.Input)
		}
		if (err != nil) != unplannable || err != nil && !bad {
			t.Fatalf("%q: %v, but lint says %s", text, err, found(problems))
		}
	})
}

// Relays that other nodes would refuse are found before they are sent.
func TestLintRelays(t *testing.T) {
	var parts []Component
	chain, labels := []string{}, "abcdefghi"
	for i, c := range labels {
		parts = append(parts, component(string(c), 32))
		chain = append(chain, fmt.Sprintf("%c@n%d", c, i+1))
	}
	var peers []string
	for i := range 9 {
		peers = append(peers, fmt.Sprintf("n%d", i+1))
	}
	for text, want := range map[string]string{
		"lead(a, lead(b, lead(c)@me)@n1)":                "loop@21",
		"lead(a, lead(b, lead(c, lead(d)@n1)@n2)@n1)":    "loop@29",
		"lead(a, lead(b, lead(c)@n1)@n1)":                "", // the node itself
		"lead(a, lead(b, cascade(c@n2, d@me))@n1)":       "cycle@30",
		"lead(a, cascade(b@n1, c@n2), lead(d, e@me))":    "",
		"lead(lead(a)@n1, lead(b)@n1)":                   "",
		"cascade(" + strings.Join(chain[:8], ", ") + ")": "",
		"cascade(" + strings.Join(chain[:9], ", ") + ")": "hops@56",
		"lead(a, lead(b)@n3)":                            "no-seal-key@8?",
	} {
		in := LintInput{Peers: peers, Input: Input{Components: parts, Self: "me", Route: anywhere}}
		if strings.Contains(text, "n3)") {
			in.NoSeal = []string{"n3"}
		}
		for range 2 { // with components, and without
			if got := found(Lint(text, in)); got != want {
				t.Errorf("%s:\n got %s\nwant %s", text, got, want)
			}
			in.Components = nil
		}
	}
}

// The YAML form has the same findings, at the places in its own text.
func TestLintYAML(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32)}
	for _, c := range []struct{ text, want string }{
		{"lead: [cpu, gpu/*]", ""},
		{"lead:\n- cpu\n- cpu\n- gpu\n", "owned-twice 3:3"},
		{"lead:\n- cpu\n- lead: [gpu]\n  at: far\n- nic\n", "unknown-node 3:3, unknown-label 5:3"},
		{"cascade:\n- cpu@x\n- gpu@y\n- nic@x\n", "cycle 4:3, unknown-label 4:3"},
		{"lead: [cpu]\n", "unnamed-component 1:1"},
		{"lead:\n  - parallel: {quorum: 3, of: [cpu@x, cpu@y]}\n", "quorum 2:24"},
		{"lead: [cpu]\nfoo: bar\n", "syntax 2:1"},
		{"lead: [cpu\n", "syntax 1:1"},
		{"", "syntax 1:1"},
	} {
		var got []string
		for _, p := range LintYAML([]byte(c.text), LintInput{Submitted: true, Peers: []string{"x", "y"}, Input: Input{Components: parts, Route: anywhere}}) {
			got = append(got, fmt.Sprintf("%s %d:%d", p.Code, p.Line, p.Column))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%q:\n got %s\nwant %s", c.text, strings.Join(got, ", "), c.want)
		}
	}
}
