// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

var rewrite = flag.Bool("rewrite", false, "rewrite what testdata/scenarios expects; read the difference before you commit it")

// scenario is one case of testdata/scenarios; the README there has the format.
type scenario struct {
	name  string
	lines []string // the script as written
	want  string

	nodes, sites, noSeal, unserved, optional []string
	parts                                    []scenarioPart
	topology                                 string
	expr                                     topologies.Expr
	answers                                  map[ask]string
	hops                                     map[string]string
	strangers                                map[string]bool // "who whom": who does not know whom
	loose, noNonce, expose                   bool
}

type scenarioPart struct {
	label, scheme string
	words         []string
}

// TestScenarios performs every scenario, compares the verdict with the one that
// is written down, and checks on each the invariants of scenario_invariants_test.go.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/scenarios/*.txt")
	check(t, err)
	count := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		check(t, err)
		head, list := parseScenarios(t, file, string(raw))
		count += len(list)
		for _, s := range list {
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				c := newCast(t, s)
				base := s.run(t, c, variation{})
				got := base.describe()
				if *rewrite {
					s.want = got
				} else if got != s.want {
					t.Errorf("got:\n%swant:\n%s", got, s.want)
				}
				s.invariants(t, c, base)
			})
		}
		if *rewrite {
			t.Cleanup(func() { check(t, os.WriteFile(file, []byte(formatScenarios(head, list)), 0o644)) })
		}
	}
	if count < 25 {
		t.Errorf("%d scenarios", count)
	}
}

// parseScenarios splits a file: comments at the top, then scenarios that begin
// with "scenario NAME", each with a script, "----" and the expected verdict.
func parseScenarios(t *testing.T, file, text string) (head string, list []*scenario) {
	t.Helper()
	blocks := regexp.MustCompile(`(?m)^scenario `).Split(text, -1)
	names := map[string]bool{}
	for _, b := range blocks[1:] {
		script, want, _ := strings.Cut(b, "\n----\n")
		s := &scenario{
			lines: strings.Split(strings.TrimSpace(script), "\n"), want: strings.TrimRight(want, "\n") + "\n",
			answers: map[ask]string{}, hops: map[string]string{}, strangers: map[string]bool{},
		}
		s.name = s.lines[0]
		if names[s.name] {
			t.Fatalf("%s: scenario %q stands there twice", file, s.name)
		}
		names[s.name] = true
		for _, l := range s.lines[1:] {
			if err := s.directive(l); err != nil {
				t.Fatalf("%s: scenario %s: %q: %v", file, s.name, l, err)
			}
		}
		if err := s.complete(); err != nil {
			t.Fatalf("%s: scenario %s: %v", file, s.name, err)
		}
		list = append(list, s)
	}
	return blocks[0], list
}

func formatScenarios(head string, list []*scenario) string {
	var b strings.Builder
	b.WriteString(head)
	for i, s := range list {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "scenario %s\n----\n%s", strings.Join(s.lines, "\n"), s.want)
	}
	return b.String()
}

// directive reads one line of a script.
func (s *scenario) directive(line string) error {
	line, _, _ = strings.Cut(line, "#")
	f := strings.Fields(line)
	if len(f) == 0 {
		return nil
	}
	word, rest := f[0], f[1:]
	switch word {
	case "nodes":
		s.nodes = append(s.nodes, rest...)
	case "sites":
		s.sites = append(s.sites, rest...)
	case "no-seal-key":
		s.noSeal = append(s.noSeal, rest...)
	case "optional":
		s.optional = append(s.optional, rest...)
	case "unbound":
		s.loose = true
	case "no-nonce":
		s.noNonce = true
	case "expose-composite":
		s.expose = true
	case "topology":
		s.topology = strings.TrimSpace(strings.TrimPrefix(line, "topology"))
	default:
		if len(rest) < 2 {
			return fmt.Errorf("unknown, or too short")
		}
		return s.relation(word, rest)
	}
	return nil
}

// relation reads a line that names two things.
func (s *scenario) relation(word string, f []string) error {
	switch word {
	case "part":
		s.parts = append(s.parts, scenarioPart{f[0], f[1], f[2:]})
	case "answer":
		label, site, _ := strings.Cut(f[0], "@")
		kind := strings.Join(f[1:], " ")
		if !answerKinds[f[1]] {
			return fmt.Errorf("no such answer")
		}
		s.answers[ask{label, site}] = kind
	case "hop":
		if !hopKinds[f[1]] {
			return fmt.Errorf("no such fault")
		}
		s.hops[f[0]] = f[1]
	case "unserved":
		s.unserved = append(s.unserved, f[0]+" "+f[1])
	case "stranger":
		s.strangers[f[0]+" "+f[1]] = true
	default:
		return fmt.Errorf("unknown")
	}
	return nil
}

var answerKinds = set("affirming warning none contraindicated open unknown-software malfunction panic silence late unreachable busy refused " +
	"bad-signature foreign wrong-nonce other-evidence other-label replay")

var hopKinds = set("unreachable silence late envelope-changed answer-changed nothing twice")

func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(words) {
		out[w] = true
	}
	return out
}

func (s *scenario) complete() error {
	var err error
	s.expr, err = topologies.Parse(s.topology)
	if err != nil {
		return err
	}
	for _, p := range s.parts {
		if !slices.Contains([]string{"cpu", "dev", "nobody"}, p.scheme) {
			return fmt.Errorf("%s: no scheme %s", p.label, p.scheme)
		}
	}
	return nil
}

// describe is a run as stable text: every component with its tier, whether it is
// required, who signed for it and every reason, then the composite, then who
// asked whom, and what was handed on.
func (p *performance) describe() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "topology  %s\n", p.res.Topology)
	for _, c := range p.res.Components {
		need, who := "optional", "-"
		if c.Required {
			need = "required"
		}
		var names []string
		reasons := slices.Clone(c.Reasons)
		for _, one := range c.Partials() {
			_, kid := one.Verifier()
			names = append(names, p.cast.whose(kid))
			reasons = append(reasons, one.Appraisal().Reasons...)
		}
		slices.Sort(names)
		if names != nil {
			who = strings.Join(names, "+")
		}
		if c.Quorum > 0 {
			who += fmt.Sprintf(" (%d of %d)", c.Quorum, c.Asked)
		}
		fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("  %s\t%s\t%s\t%s\t%s", c.Label, c.Tier(), need, who, codes(reasons)), " \t"))
	}
	_ = w.Flush()
	lines := append([]string{
		strings.TrimSuffix(b.String(), "\n"),
		"verdict   " + p.res.Outcome.Tier.String() + "  " + outcomeCodes(p.res),
		"asks      " + strings.Join(p.asks, ", "),
	}, "hands on  "+strings.Join(p.sent, ", "))
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

// outcomeCodes are the reasons of the composite, with the remarks.
func outcomeCodes(r *verdict.Result) string {
	var out []string
	for _, x := range r.Outcome.Reasons {
		out = append(out, x.Code)
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}
