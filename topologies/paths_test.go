// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"errors"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func TestParsePathsRefuses(t *testing.T) {
	for text, pos := range map[string]int{
		"": 0, "  # only a comment": 18, ";;": 2, ">": 0, "a >": 3, "a > > b": 4, "a b": 2, "a > B": 4, "a > b,": 5, "a > *** > b": 4,
		"a > ** > b": 0, "a > b > a": 0, "a > b max": 6, "a > b max 0": 6, "a > b max 1": 6, "a > b max 02": 6, "a > b max 11": 6, "a > b maximum 3": 6,
		"/x: a": 0, `"": a`: 0, "x: ": 3, "x: y: a": 4, "a\n> b": 2, "a > b\nb > ": 10, "a@b": 1, strings.Repeat("a>", 10) + "b": 0,
		"a > " + strings.Repeat("x", 33): 4, `"a > b`: 0,
	} {
		p, err := ParsePaths(text)
		var pe *ParseError
		if !errors.As(err, &pe) || pe.Pos != pos || p != nil {
			t.Errorf("%q: %v, want position %d", text, err, pos)
		}
	}
	long := strings.Repeat("a\n", MaxPathRules)
	if _, err := ParsePaths(long); err != nil {
		t.Error(err)
	}
	if _, err := ParsePaths(long + "a"); err == nil {
		t.Error("too many rules")
	}
	if _, err := ParsePaths(strings.Repeat(" ", MaxText) + "a"); err == nil {
		t.Error("too long")
	}
}

func TestPathsAllow(t *testing.T) {
	for _, c := range []struct {
		rules, label, path string
		want               bool
	}{
		{"entry > a", "x", "entry,a", true},
		{"entry > a", "x", "entry", false},
		{"entry > a", "x", "entry,a,b", false},
		{"entry > a", "x", "entry,b", false},
		{"entry > a > *", "x", "entry,a,b", true},
		{"entry > a > *", "x", "entry,a", false},
		{"entry > a > *", "x", "entry,a,b,c", false},
		{"entry > **", "x", "entry", true},
		{"entry > **", "x", "entry,a,b,c,d,e,f,g,h", true},
		{"entry > **", "x", "entry,a,b,c,d,e,f,g,h,i,j", false},
		{"entry > ** max 2", "x", "entry,a", true},
		{"entry > ** max 2", "x", "entry,a,b", false},
		{"entry>a;entry>b", "x", "entry,b", true},
		{"gpu/*: entry > a", "gpu/0", "entry,a", true},
		{"gpu/*: entry > a", "gpu/0/1", "entry,a", true},
		{"gpu/*: entry > a", "gpu", "entry,a", false},
		{"gpu/*: entry > a", "nic/0", "entry,a", false},
		{"gpu/*: entry > a\n*: entry", "nic", "entry", true},
		{`"a b": entry`, "a b", "entry", true},
		{"* > a", "x", ",a", true},
		{"entry > a", "x", ",a", false},
		{"**", "x", "", true},
		{"# none\nentry # but this", "x", "entry", true},
	} {
		p, err := ParsePaths(c.rules)
		if err != nil {
			t.Errorf("%q: %v", c.rules, err)
			continue
		}
		if got := p.Allows(c.label, strings.Split(c.path, ",")); got != c.want {
			t.Errorf("%q, %s by %q: %t", c.rules, c.label, c.path, got)
		}
		again, err := ParsePaths(p.String())
		if err != nil || again.String() != p.String() {
			t.Errorf("%q is written as %q: %v", c.rules, p, err)
		}
	}
	var nobody *Paths
	if !nobody.Allows("x", []string{"a", "b"}) || (&Paths{}).Allows("x", []string{"a"}) {
		t.Error("nil allows everything, a policy without rules nothing")
	}
	if p, err := ParsePaths("**"); err != nil || p.Allows("x", nil) {
		t.Errorf("no path at all is allowed: %v", err)
	}
}

// A step knows by which nodes it goes, and does not go by those that the policy
// leaves out: neither does it stand in what is handed on.
func TestPlanPaths(t *testing.T) {
	var parts []Component
	for _, label := range []evidence.Path{"a", "b", "c"} {
		parts = append(parts, Component{Label: label, Leaf: label, Scheme: "dev", Evidence: []byte(label)})
	}
	anywhere := func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }
	for _, c := range []struct{ topology, policy, want, exprs string }{
		{"lead(a, b@s, c)", "", "a:me b:me>s c:me", ""},
		{"cascade(a, b@n1, c@n2)", "", "a:me b:me>n1 c:me>n1>n2", "cascade(b, c@n2)"},
		{"cascade(a, b@n1, c)", "", "a:me b:me>n1 c:me>n1", "cascade(b, c)"},
		{"cascade(a, b@n1, c@n2)", "me > n1", "a:me b:me>n1 c:refused", "cascade(b)"},
		{"cascade(a, b@n1, c@n2)", "me > n1 > n2", "a:me b:refused c:me>n1>n2", "cascade(c@n2)"},
		{"lead(a, lead(b, c@s)@n1)", "", "a:me b:me>n1 c:me>n1>s", "lead(b, c@s)"},
		{"lead(a, lead(b, c@s)@n1)", "me > n1", "a:me b:me>n1 c:refused", "lead(b)"},
		{"lead(a, lead(b, lead(c)@n2)@n1)", "", "a:me b:me>n1 c:me>n1>n2", "lead(b, lead(c)@n2)"},
		{"lead(a, lead(b, optional(c)@n2)@n1)", "", "a:me b:me>n1 c:me>n1>n2", "lead(b, lead(optional(c))@n2)"},
		{"lead(a, optional(b, c)@n1)", "", "a:me b:me>n1 c:me>n1", "optional(b, c)"},
		{"lead(a, cascade(b, c@n2)@n1)", "", "a:me b:me>n1 c:me>n1>n2", "cascade(b, c@n2)"},
		{"lead(a, b, parallel(quorum 1: c@s, c@t))", "me > s; me > t", "a:me b:me c:me>s c:me>t", ""},
		{"lead(a, b, parallel(quorum 1: c@s, c@t))", "me > s", "a:me b:me c:refused", ""},
		{"lead(a, b, parallel(quorum 1: c@s, c@t)@n1)", "me > n1 > s", "a:me b:me c:refused", ""},
	} {
		e, err := Parse(c.topology)
		if err != nil {
			t.Fatal(err)
		}
		in := Input{Components: parts, Route: anywhere, Self: "me", Passed: []string{"me"}}
		if c.policy != "" {
			if in.Paths, err = ParsePaths(c.policy); err != nil {
				t.Fatal(err)
			}
		}
		p, err := New(e, in)
		if err != nil {
			t.Errorf("%s: %v", c.topology, err)
			continue
		}
		var got, exprs []string
		for _, st := range p.Steps {
			if st.Kind != Appraise {
				continue
			}
			if st.Reason != nil {
				if st.Reason.Code != verdict.ReasonPathDeviation || st.Candidates != nil || st.Sources != nil {
					t.Errorf("%s, %q: %+v", c.topology, c.policy, st)
				}
				got = append(got, string(st.Label)+":refused")
				continue
			}
			for _, way := range st.Routes(in.Passed) {
				got = append(got, string(st.Label)+":"+strings.Join(way, ">"))
			}
		}
		for _, r := range p.Relays {
			if len(r.Labels) > 0 {
				exprs = append(exprs, r.Expr.String())
			}
		}
		if strings.Join(got, " ") != c.want || strings.Join(exprs, "; ") != c.exprs {
			t.Errorf("%s, %q: %s, %s, want %s, %s", c.topology, c.policy, got, exprs, c.want, c.exprs)
		}
		// What the plan shows is planned again to the same ways.
		shown, err := Parse(p.Topology)
		if err != nil {
			t.Fatal(err)
		}
		again, err := New(shown, in)
		if err != nil || again.Topology != p.Topology {
			t.Errorf("%s: shown as %s: %v", c.topology, p.Topology, err)
		}
	}
}

func FuzzParsePaths(f *testing.F) {
	for _, s := range []string{"entry > vendor-a > *", "gpu/*: ** max 3\n\"a b\": x > y # z", "a;b;c", "*", `"#x;": a`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePaths(text)
		var pe *ParseError
		if err != nil {
			if !errors.As(err, &pe) || pe.Pos < 0 || pe.Pos > len(text) && len(text) <= MaxText {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := ParsePaths(p.String())
		if err != nil || again.String() != p.String() {
			t.Fatalf("%q is written as %q: %v", text, p, err)
		}
		p.Allows("a/b", []string{"x", "y"})
	})
}
