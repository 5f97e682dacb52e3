// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func component(label string, size int) Component {
	return Component{
		Label: evidence.Path(label), Leaf: evidence.Path(label), Scheme: "intel-tdx", NonceSize: size,
		MediaType: evidence.MediaType{Base: "a/b"}, Evidence: []byte(label),
	}
}

func anywhere(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }

func plan(t *testing.T, expr string, in Input) *Plan {
	t.Helper()
	e, err := Parse(expr)
	if err != nil {
		t.Fatal(err)
	}
	if in.Route == nil {
		in.Route = anywhere
	}
	p, err := New(e, in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// outline is one line per step: label, required, reason.
func outline(p *Plan) string {
	var out []string
	for _, s := range p.Steps {
		line := string(s.Label)
		if s.Kind == Combine {
			line = "combine"
		} else if !s.Required {
			line += "?"
		}
		if s.Reason != nil {
			line += "!" + s.Reason.Code
		}
		out = append(out, line)
	}
	return strings.Join(out, " ")
}

func TestPlans(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32), component("gpu/1", 32)}
	for _, c := range []struct{ expr, topology, steps string }{
		{"lead", "lead(cpu, gpu/0, gpu/1)", "cpu gpu/0 gpu/1 combine"},
		{"lead(gpu, cpu)", "lead(gpu/0, gpu/1, cpu)", "cpu gpu/0 gpu/1 combine"},
		{"lead(cpu, optional(gpu/*))", "lead(cpu, optional(gpu/0, gpu/1))", "cpu gpu/0? gpu/1? combine"},
		{"lead(cpu, gpu/0)", "lead(cpu, gpu/0)", "cpu gpu/0 gpu/1?!unexpected-component combine"},
		{"lead(cpu, gpu/*, nic/0)", "lead(cpu, gpu/0, gpu/1, nic/0)", "cpu gpu/0 gpu/1 nic/0!missing-component combine"},
		{"lead(cpu, gpu, optional(nic))", "lead(cpu, gpu/0, gpu/1, optional(nic))", "cpu gpu/0 gpu/1 nic?!missing-component combine"},
		{"cpu", "lead(cpu)", "cpu gpu/0?!unexpected-component gpu/1?!unexpected-component combine"},
		{"lead(cpu, lead)", "lead(cpu, lead(gpu/0, gpu/1))", "cpu gpu/0 gpu/1 combine"},
	} {
		p := plan(t, c.expr, Input{Components: parts})
		if p.Topology != c.topology || outline(p) != c.steps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.expr, p.Topology, outline(p), c.topology, c.steps)
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32)}
	for _, expr := range []string{"lead(cpu, cpu)", "lead(gpu, gpu/0)", "cascade(cpu, cpu)", "parallel(cpu, lead(cpu))", "lead(nic, nic)"} {
		e, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		var pe *ParseError
		if _, err := New(e, Input{Components: parts, Route: anywhere}); err == nil || (expr != "lead(nic, nic)" && !errors.As(err, &pe)) {
			t.Errorf("%s: %v, want an error with its position", expr, err)
		}
	}
}

func TestReservedLabels(t *testing.T) {
	for _, label := range []string{"composite", "*", "gpu/*", ""} {
		_, err := New(Expr{Head: Lead}, Input{Components: []Component{component(label, 32)}, Route: anywhere})
		if !errors.Is(err, ErrLabel) {
			t.Errorf("%q: %v", label, err)
		}
	}
}

func TestPlanPlacesAtNode(t *testing.T) {
	route := func(_, node string) []verifiers.Candidate {
		if node == "vendor-a" {
			return []verifiers.Candidate{{Site: node}}
		}
		return nil
	}
	p := plan(t, "lead(cpu, gpu/0@vendor-a)", Input{Components: []Component{component("cpu", 64), component("gpu/0", 32)}, Route: route})
	if got := outline(p); got != "cpu!no-verifier gpu/0 combine" {
		t.Fatal(got)
	}
	if p.Steps[1].Candidates[0].Site != "vendor-a" {
		t.Error("the node in the expression does not decide the candidates")
	}
}

func TestNonceRules(t *testing.T) {
	session := make([]byte, 32)
	for i := range session {
		session[i] = byte(i)
	}
	shake64 := "69f07c8840ce80024db30939882c3d5bbc9c98b3e31e4513ebd2ca9b4503cdd3c9c90742452c7173d4a75ac49163e14ee0cc24ef7035b272d19a7af1099b333f"
	parts := []Component{component("cpu", 64), component("gpu/0", 32)}
	parts[1].Leaf = "gpu"

	p := plan(t, "lead", Input{Components: parts, Nonce: session})
	if p.Steps[0].NonceRule != "shake256/64" || hex.EncodeToString(p.Steps[0].Nonce) != shake64 {
		t.Errorf("64 of 32 bytes: rule %s, nonce %x", p.Steps[0].NonceRule, p.Steps[0].Nonce)
	}
	if p.Steps[1].NonceRule != RuleSame || !bytes.Equal(p.Steps[1].Nonce, session) {
		t.Errorf("32 of 32 bytes: rule %s", p.Steps[1].NonceRule)
	}

	ratsd := &Adjustment{Function: "shake-256", Sizes: map[string]int{"cpu": 64, "gpu": 32}}
	p = plan(t, "lead", Input{Components: parts, Nonce: session, Adjust: ratsd})
	if p.Steps[1].NonceRule != "shake256/32" || hex.EncodeToString(p.Steps[1].Nonce) != shake64[:64] {
		t.Errorf("ratsd adjusts also when sizes are equal: rule %s", p.Steps[1].NonceRule)
	}

	p = plan(t, "lead", Input{Components: parts, Nonce: session, Given: map[evidence.Path][]byte{"gpu": {1, 2}}})
	if p.Steps[1].NonceRule != RuleGiven || !bytes.Equal(p.Steps[1].Nonce, []byte{1, 2}) {
		t.Errorf("a given nonce covers what is below its label: rule %s", p.Steps[1].NonceRule)
	}

	p = plan(t, "lead", Input{Components: parts})
	if p.Steps[0].NonceRule != "" || p.Steps[0].Nonce != nil {
		t.Error("a challenge out of nowhere")
	}
}

// The token must not choose how short its own challenge is.
func TestNonceSizeIsNotTheTokensChoice(t *testing.T) {
	parts := []Component{component("cpu", 64)}
	for _, a := range []*Adjustment{
		{Function: "shake-256", Sizes: map[string]int{"cpu": 8}},
		{Function: "shake-256", Sizes: map[string]int{"other": 64}},
		{Function: "md5", Sizes: map[string]int{"cpu": 64}},
	} {
		p := plan(t, "lead", Input{Components: parts, Nonce: make([]byte, 32), Adjust: a})
		if got := outline(p); got != "cpu!nonce-mismatch combine" {
			t.Errorf("%v: %s", a, got)
		}
	}
}

func TestDeriveNonce(t *testing.T) {
	session := make([]byte, 32)
	for i := range session {
		session[i] = byte(i)
	}
	for rule, want := range map[string]string{
		"shake256/16": "69f07c8840ce80024db30939882c3d5b",
		"shake128/32": "066a361dc675f856cecdc02b25218a10cec0cecf79859ec0fec3d409e5847a92",
	} {
		got, err := DeriveNonce(rule, session)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("%s: %x, %v", rule, got, err)
		}
	}
	for _, rule := range []string{"", "given", "shake256", "shake256/7", "shake256/65", "shake256/x", "sha1/32"} {
		if _, err := DeriveNonce(rule, session); err == nil {
			t.Errorf("rule %q was applied", rule)
		}
	}
	if _, err := DeriveNonce(RuleSame, nil); err == nil {
		t.Error("a nonce was derived from none")
	}
}

func TestPlanDigestNamesEverything(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32)}
	base := plan(t, "lead", Input{Components: parts, Nonce: make([]byte, 32)}).Digest()
	if again := plan(t, "lead", Input{Components: parts, Nonce: make([]byte, 32)}).Digest(); again != base {
		t.Fatal("the same input gives another digest")
	}
	changed := slices.Clone(parts)
	changed[1].Evidence = []byte("other")
	for name, p := range map[string]*Plan{
		"evidence": plan(t, "lead", Input{Components: changed, Nonce: make([]byte, 32)}),
		"nonce":    plan(t, "lead", Input{Components: parts, Nonce: bytes.Repeat([]byte{1}, 32)}),
		"required": plan(t, "lead(cpu, optional(gpu))", Input{Components: parts, Nonce: make([]byte, 32)}),
		"optional": plan(t, "lead", Input{Components: parts, Nonce: make([]byte, 32), Optional: []string{"gpu/*"}}),
		"route": plan(t, "lead", Input{Components: parts, Nonce: make([]byte, 32), Route: func(string, string) []verifiers.Candidate {
			return []verifiers.Candidate{{Site: "elsewhere"}}
		}}),
	} {
		if p.Digest() == base {
			t.Errorf("another %s does not change the digest", name)
		}
	}
}

func TestPlanKeepsUnroutedComponents(t *testing.T) {
	c := component("nic", 32)
	c.Scheme, c.Reason = "", &verdict.Reason{Code: verdict.ReasonNoVerifier}
	p := plan(t, "lead", Input{Components: []Component{component("cpu", 64), c}, Nonce: make([]byte, 64)})
	if got := outline(p); got != "cpu nic!no-verifier combine" {
		t.Fatal(got)
	}
	// A scheme that nobody serves is not dispatched either.
	nic, cpu := component("nic", 32), component("cpu", 64)
	nic.Scheme = "nobodys"
	p = plan(t, "lead", Input{Components: []Component{cpu, nic}, Nonce: make([]byte, 64), Route: func(scheme, node string) []verifiers.Candidate {
		if scheme == "nobodys" {
			return nil
		}
		return anywhere(scheme, node)
	}})
	if got := outline(p); got != "cpu nic!no-verifier combine" {
		t.Fatal(got)
	}
}

func TestUnknownHeadIsNamed(t *testing.T) {
	_, err := New(Expr{Head: "ring", Args: []Expr{{Pattern: "cpu"}}, Pos: 3}, Input{Route: anywhere})
	var pe *ParseError
	if !errors.As(err, &pe) || !strings.Contains(err.Error(), "ring") {
		t.Fatal(err)
	}
}
