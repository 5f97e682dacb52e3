// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
)

func machineParts() []Component {
	return []Component{component("cpu", 64), component("gpu/0", 32), component("gpu/1", 32), component("nic/0", 32), component("switch/0", 32)}
}

// relays is one line per relay: node, expression, what it needs.
func relays(p *Plan) string {
	var out []string
	for _, r := range p.Relays {
		line := r.Node + ": " + r.Expr.String()
		if len(r.Needs) > 0 {
			line += fmt.Sprintf(" after %v", r.Needs)
		}
		out = append(out, line)
	}
	return strings.Join(out, "; ")
}

// owners is one word per component that another node answers for.
func owners(p *Plan) string {
	var out []string
	for _, s := range p.Steps {
		if s.Relay > 0 {
			out = append(out, fmt.Sprintf("%s@%s/%d", s.Label, s.Node, s.Relay))
		}
	}
	return strings.Join(out, " ")
}

func TestRelays(t *testing.T) {
	for _, c := range []struct{ expr, topology, relays, owners string }{
		{"cascade(cpu, gpu, nic, switch)", "cascade(cpu, gpu/0, gpu/1, nic/0, switch/0)", "", ""},
		{"cascade(cpu, gpu/*@a, nic@b)", "cascade(cpu, gpu/0@a, gpu/1@a, nic/0@b)",
			"a: cascade(gpu/0, gpu/1, nic/0@b) after [cpu]", "gpu/0@a/1 gpu/1@a/1 nic/0@b/1"},
		{"cascade(gpu@a, switch@a, nic@b)", "cascade(gpu/0@a, gpu/1@a, switch/0@a, nic/0@b)",
			"a: cascade(gpu/0, gpu/1, switch/0, nic/0@b)", "gpu/0@a/1 gpu/1@a/1 nic/0@b/1 switch/0@a/1"},
		{"cascade(cpu, gpu@a, switch, nic@b)", "cascade(cpu, gpu/0@a, gpu/1@a, switch/0@a, nic/0@b)",
			"a: cascade(gpu/0, gpu/1, switch/0, nic/0@b) after [cpu]", "gpu/0@a/1 gpu/1@a/1 nic/0@b/1 switch/0@a/1"},
		{"cascade(cpu@me, gpu@a, nic@b, switch)", "cascade(cpu, gpu/0@a, gpu/1@a, nic/0@b, switch/0@b)",
			"a: cascade(gpu/0, gpu/1, nic/0@b, switch/0) after [cpu]", "gpu/0@a/1 gpu/1@a/1 nic/0@b/1 switch/0@b/1"},
		{"lead(cpu, cascade(gpu@a, switch@a), nic)", "lead(cpu, cascade(gpu/0@a, gpu/1@a, switch/0@a), nic/0)",
			"a: cascade(gpu/0, gpu/1, switch/0)", "gpu/0@a/1 gpu/1@a/1 switch/0@a/1"},
		{"lead(cpu, lead(gpu)@a, lead(nic, switch)@b)", "lead(cpu, lead(gpu/0, gpu/1)@a, lead(nic/0, switch/0)@b)",
			"a: lead(gpu/0, gpu/1); b: lead(nic/0, switch/0)", "gpu/0@a/1 gpu/1@a/1 nic/0@b/2 switch/0@b/2"},
		{"lead(cpu, lead(gpu, cascade(nic@b, switch))@a)", "lead(cpu, lead(gpu/0, gpu/1, cascade(nic/0@b, switch/0))@a)",
			"a: lead(gpu/0, gpu/1, cascade(nic/0@b, switch/0))", "gpu/0@a/1 gpu/1@a/1 nic/0@b/1 switch/0@b/1"},
		{"cascade(cpu, lead(gpu, switch)@a, optional(nic@b))", "cascade(cpu, lead(gpu/0, gpu/1, switch/0)@a, optional(nic/0@b))",
			"a: cascade(lead(gpu/0, gpu/1, switch/0), optional(nic/0@b)) after [cpu]", "gpu/0@a/1 gpu/1@a/1 nic/0@b/1 switch/0@a/1"},
		{"lead(cpu, lead(gpu)@me)", "lead(cpu, lead(gpu/0, gpu/1))", "", ""},
		{"lead@a", "lead(cpu, gpu/0, gpu/1, nic/0, switch/0)@a", "a: lead(cpu, gpu/0, gpu/1, nic/0, switch/0)",
			"cpu@a/1 gpu/0@a/1 gpu/1@a/1 nic/0@a/1 switch/0@a/1"},
		{"cascade(cpu, gpu@a, missing@b)", "cascade(cpu, gpu/0@a, gpu/1@a, missing@b)",
			"a: cascade(gpu/0, gpu/1) after [cpu]", "gpu/0@a/1 gpu/1@a/1"},
		{"lead(cpu, parallel(quorum 1: nic@x, nic@y)@a)", "lead(cpu, parallel(quorum 1: nic/0@x, nic/0@y)@a)",
			"a: parallel(quorum 1: nic/0@x, nic/0@y)", "nic/0@a/1"},
	} {
		p := plan(t, c.expr, Input{Components: machineParts(), Self: "me"})
		if p.Topology != c.topology || relays(p) != c.relays || owners(p) != c.owners {
			t.Errorf("%s:\n got %s | %s | %s\nwant %s | %s | %s", c.expr, p.Topology, relays(p), owners(p), c.topology, c.relays, c.owners)
		}
		for _, r := range p.Relays { // what is handed on can be read, and says the same
			again, err := Parse(r.Expr.String())
			if err != nil || again.String() != r.Expr.String() {
				t.Errorf("%s: relay %s: %v", c.expr, r.Expr, err)
			}
			for _, s := range p.Steps {
				if s.Relay > 0 && len(s.Candidates) > 0 {
					t.Errorf("%s: %s is routed here and elsewhere", c.expr, s.Label)
				}
			}
		}
		if again, err := Parse(p.Topology); err != nil || again.String() != p.Topology {
			t.Errorf("%s: topology %s: %v", c.expr, p.Topology, err)
		}
	}
}

// What a relay asks for, its receiver plans in the same way: the same labels,
// and the same further node for what is not its own.
func TestReceiverPlansTheRest(t *testing.T) {
	for _, expr := range []string{
		"cascade(cpu, gpu/*@a, nic@b, switch)", "lead(cpu, lead(gpu, cascade(nic@b, switch))@a)", "cascade(cpu, lead(gpu, switch)@a, optional(nic@b))",
	} {
		p := plan(t, expr, Input{Components: machineParts(), Self: "me"})
		var parts []Component
		for _, c := range machineParts() {
			for _, l := range p.Relays[0].Labels {
				if c.Label == l {
					parts = append(parts, c)
				}
			}
		}
		next := plan(t, p.Relays[0].Expr.String(), Input{Components: parts, Self: "a"})
		for _, s := range next.Steps[:len(next.Steps)-1] {
			owner := s.Node
			if s.Relay == 0 {
				owner = "a"
			}
			i := 0
			for p.Steps[i].Label != s.Label {
				i++
			}
			if p.Steps[i].Node != owner || s.Reason != nil {
				t.Errorf("%s: %s belongs to %s here and to %s there (%v)", expr, s.Label, p.Steps[i].Node, owner, s.Reason)
			}
		}
	}
}

func TestQuorums(t *testing.T) {
	for _, c := range []struct{ expr, topology, sources string }{
		{"lead(cpu, parallel(quorum 2: nic@x, nic@y, nic@z))", "lead(cpu, parallel(quorum 2: nic/0@x, nic/0@y, nic/0@z))", "nic/0 2 of x y z"},
		{"lead(cpu, parallel(nic@x, nic@y))", "lead(cpu, parallel(quorum 2: nic/0@x, nic/0@y))", "nic/0 2 of x y"},
		{"lead(cpu, parallel(quorum 1: gpu/*@x, gpu/*@y))",
			"lead(cpu, parallel(quorum 1: gpu/0@x, gpu/0@y), parallel(quorum 1: gpu/1@x, gpu/1@y))", "gpu/0 1 of x y, gpu/1 1 of x y"},
		{"parallel(cpu, gpu, nic)", "parallel(cpu, gpu/0, gpu/1, nic/0)", ""},
	} {
		p := plan(t, c.expr, Input{Components: machineParts()})
		var got []string
		for _, s := range p.Steps {
			if s.Quorum == 0 {
				continue
			}
			line := fmt.Sprintf("%s %d of", s.Label, s.Quorum)
			for _, src := range s.Sources {
				line += " " + src.Node
			}
			got = append(got, line)
			if s.Candidates != nil {
				t.Errorf("%s: %s has candidates beside its sources", c.expr, s.Label)
			}
		}
		if p.Topology != c.topology || strings.Join(got, ", ") != c.sources {
			t.Errorf("%s:\n got %s | %v\nwant %s | %s", c.expr, p.Topology, got, c.topology, c.sources)
		}
	}
}

func TestChainsThatCannotBe(t *testing.T) {
	many := "parallel(quorum 1: nic@n0"
	for i := range 256 {
		many += fmt.Sprintf(", nic@n%d", i+1)
	}
	for expr, pos := range map[string]int{
		many + ")":                                      0,
		"cascade(cpu@a, gpu@b, nic@a)":                  22,
		"cascade(cpu, gpu@b, nic@me)":                   20,
		"cascade(gpu@b, cpu@me)":                        15,
		"lead(cascade(cpu, gpu@b, lead(nic)@c, x@b))":   38,
		"parallel(quorum 2: nic@x, gpu@y)":              26,
		"parallel(quorum 2: nic@x, nic@x)":              26,
		"parallel(quorum 1: nic, lead(gpu))":            24,
		"lead(lead(cascade(cpu, gpu@b, nic@a))@a, nic)": 30,
	} {
		e, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		_, err = New(e, Input{Components: machineParts(), Route: anywhere, Self: "me"})
		var pe *ParseError
		if !errors.As(err, &pe) || pe.Pos != pos {
			t.Errorf("%s: %v, want position %d", expr, err, pos+1)
		}
	}
}

// A sender derives challenges once; whoever it hands on to takes them over.
func TestPresetChallenges(t *testing.T) {
	p := plan(t, "lead", Input{
		Components: []Component{component("gpu/0", 32)}, Nonce: make([]byte, 32),
		Preset: map[evidence.Path]Challenge{"gpu/0": {Nonce: []byte("12345678"), Rule: "shake256/8"}},
	})
	if s := p.Steps[0]; string(s.Nonce) != "12345678" || s.NonceRule != "shake256/8" {
		t.Errorf("%x by %s", s.Nonce, s.NonceRule)
	}
}

func TestDigestCoversRelaysAndSources(t *testing.T) {
	seen := map[[32]byte]string{}
	for _, expr := range []string{
		"cascade(cpu, gpu@a, nic@b)", "cascade(cpu, gpu@a, nic@c)", "cascade(gpu@a, nic@b, cpu)", "lead(cpu, gpu@a, nic@b)",
		"lead(cpu, gpu, parallel(quorum 1: nic@a, nic@b))", "lead(cpu, gpu, parallel(quorum 2: nic@a, nic@b))",
	} {
		d := plan(t, expr, Input{Components: machineParts()}).Digest()
		if was, twice := seen[d]; twice {
			t.Errorf("%s has the digest of %s", expr, was)
		}
		seen[d] = expr
	}
}
