// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

// invariants are what holds whatever a scenario is about (decision D-16):
//
//   - the order of arrival leaves no trace in the signed verdict;
//   - an answer that gets worse never makes the verdict better, and neither does
//     one that is missing, unless it was worse than silence; and that never
//     gives affirming;
//   - a head with one operand is that operand;
//   - an operand less never makes affirming what was not, as long as the same
//     is asked for;
//   - optional turns none into warning at most, and nothing else.
func (s *scenario) invariants(t *testing.T, c *cast, base *performance) {
	s.orderLeavesNoTrace(t, c, base)
	s.worseIsNeverBetter(t, c, base)
	s.lostHopsNeverHelp(t, c, base)
	s.oneOperandIsItself(t, c, base)
	s.fewerOperandsNeverAffirm(t, c, base)
	s.optionalIsWarningAtMost(t, c, base)
	s.everythingIsThere(t, base)
}

func (s *scenario) orderLeavesNoTrace(t *testing.T, c *cast, base *performance) {
	want := signed(t, base.res, false)
	for seed := uint64(1); seed <= 3; seed++ {
		p := s.run(t, c, variation{seed: seed})
		if got := signed(t, p.res, false); got != want {
			t.Errorf("order %d gives another verdict: %s", seed, difference(got, want))
		}
		if !slices.Equal(p.asks, base.asks) || !slices.Equal(p.sent, base.sent) {
			t.Errorf("order %d: other messages: %q %q", seed, p.asks, p.sent)
		}
	}
}

// worsenings are answers in the place of a better one; those that are none take
// part as what a verifier says and as what the lead refuses.
var worsenings = []struct {
	kind string
	tier verdict.Tier
}{
	{"warning", verdict.TierWarning}, {"none", verdict.TierNone}, {"silence", verdict.TierNone},
	{"bad-signature", verdict.TierNone}, {"contraindicated", verdict.TierContraindicated},
}

func (s *scenario) worseIsNeverBetter(t *testing.T, c *cast, base *performance) {
	tier := base.res.Outcome.Tier
	for _, a := range slices.SortedFunc(maps.Keys(base.answered), func(a, b ask) int { return strings.Compare(a.label+"@"+a.site, b.label+"@"+b.site) }) {
		was := base.answered[a]
		for _, w := range worsenings {
			if testing.Short() && w.kind == "bad-signature" { // the lead treats it as silence
				continue
			}
			missing := w.kind == "silence" || w.kind == "bad-signature"
			if !missing && (!w.tier.WorseThan(was) || strings.HasPrefix(s.script(nil, a), "foreign")) {
				continue // it would be signed by another than what it replaces
			}
			now := s.run(t, c, variation{answers: map[ask]string{a: w.kind}}).res.Outcome.Tier
			switch {
			case !tier.WorseThan(now):
			case missing && now != verdict.TierAffirming && (was == verdict.TierNone || was == verdict.TierContraindicated):
			case missing && now != verdict.TierAffirming && contradicted(base.res):
			default:
				t.Errorf("%s at %s is %s: with %s instead the verdict is %s, not %s", a.label, a.site, was, w.kind, now, tier)
			}
		}
	}
}

// contradicted: no answer is contraindicated, but two contradict each other.
func contradicted(r *verdict.Result) bool {
	return r.Outcome.Tier == verdict.TierContraindicated &&
		!slices.ContainsFunc(r.Components, func(c verdict.Component) bool { return c.Tier() == verdict.TierContraindicated })
}

// lostHopsNeverHelp: a relay that gets lost is every answer behind it that does.
func (s *scenario) lostHopsNeverHelp(t *testing.T, c *cast, base *performance) {
	for _, hop := range slices.Compact(slices.Clone(base.sent)) {
		for _, kind := range []string{"silence", "answer-changed"} {
			now := s.run(t, c, variation{hops: map[string]string{hop: kind}}).res.Outcome.Tier
			if tier := base.res.Outcome.Tier; tier.WorseThan(now) && (tier != verdict.TierContraindicated || now == verdict.TierAffirming) {
				t.Errorf("with %s on %s the verdict is %s, not %s", kind, hop, now, tier)
			}
		}
	}
}

func (s *scenario) oneOperandIsItself(t *testing.T, c *cast, base *performance) {
	if s.expr.Head == topologies.Label && s.expr.Node != "" {
		return // where a label is placed means depends on the head around it
	}
	want := signed(t, base.res, true)
	for _, h := range []topologies.Head{topologies.Lead, topologies.Parallel, topologies.Cascade} {
		e := topologies.Expr{Head: h, Args: []topologies.Expr{s.expr}}
		if got := signed(t, s.run(t, c, variation{topology: &e}).res, true); got != want {
			t.Errorf("%s is not %s: %s", e, s.expr, difference(got, want))
		}
	}
}

func (s *scenario) fewerOperandsNeverAffirm(t *testing.T, c *cast, base *performance) {
	if base.res.Outcome.Tier == verdict.TierAffirming {
		return
	}
	for _, e := range shorter(s.expr) {
		if !s.plannable(t, e) {
			continue
		}
		now := s.run(t, c, variation{topology: &e}).res
		if now.Outcome.Tier == verdict.TierAffirming && asked(now) == asked(base.res) {
			t.Errorf("%s is %s, and %s is affirming, though both ask for %s", s.expr, base.res.Outcome.Tier, e, asked(now))
		}
	}
}

// shorter are all expressions with one operand less, and one operand left.
func shorter(e topologies.Expr) []topologies.Expr {
	var out []topologies.Expr
	for i, a := range e.Args {
		if len(e.Args) > 1 && e.Quorum < len(e.Args) {
			x := e
			x.Args = slices.Delete(slices.Clone(e.Args), i, i+1)
			out = append(out, x)
		}
		for _, b := range shorter(a) {
			x := e
			x.Args = slices.Clone(e.Args)
			x.Args[i] = b
			out = append(out, x)
		}
	}
	return out
}

// plannable: some expressions with one operand less cannot be carried out.
func (s *scenario) plannable(t *testing.T, e topologies.Expr) bool {
	t.Helper()
	again, err := topologies.Parse(e.String())
	if err != nil {
		return false
	}
	in := topologies.Input{Route: sites, Self: "me"}
	for _, p := range s.parts {
		in.Components = append(in.Components, topologies.Component{Label: evidence.Path(p.label), Leaf: evidence.Path(p.label)})
	}
	_, err = topologies.New(again, in)
	return err == nil
}

// asked is what a verdict had to be about, and by how many verifiers.
func asked(r *verdict.Result) string {
	var out []string
	for _, c := range r.Components {
		out = append(out, fmt.Sprint(c.Label, " ", c.Required, " ", c.Quorum, "/", c.Asked))
	}
	return strings.Join(out, ", ")
}

func (s *scenario) optionalIsWarningAtMost(t *testing.T, c *cast, base *performance) {
	judge := func(what string, now verdict.Tier) {
		tier := base.res.Outcome.Tier
		if now != tier && (tier != verdict.TierNone || now != verdict.TierWarning) {
			t.Errorf("with %s the verdict is %s, not %s", what, now, tier)
		}
	}
	for _, part := range base.res.Components {
		now := s.run(t, c, variation{optional: []string{string(part.Label)}}).res
		judge("--optional "+string(part.Label), now.Outcome.Tier)
		if i := slices.IndexFunc(now.Components, func(c verdict.Component) bool { return c.Label == part.Label }); i < 0 || now.Components[i].Required {
			t.Errorf("--optional %s leaves it required", part.Label)
		}
	}
	for _, e := range relaxed(s.expr) {
		if s.plannable(t, e) {
			judge(e.String(), s.run(t, c, variation{topology: &e}).res.Outcome.Tier)
		}
	}
}

// relaxed are all expressions with one operand made optional, where that does
// not change who answers for it.
func relaxed(e topologies.Expr) []topologies.Expr {
	out := []topologies.Expr{}
	quorum := e.Quorum > 0 || slices.ContainsFunc(e.Args, func(a topologies.Expr) bool {
		return a.Head == topologies.Label && a.Pattern == e.Args[0].Pattern && len(e.Args) > 1
	})
	if e.Head == topologies.Parallel && quorum {
		return nil
	}
	for i, a := range e.Args {
		for _, b := range append([]topologies.Expr{{Head: topologies.Optional, Args: []topologies.Expr{a}}}, relaxed(a)...) {
			x := e
			x.Args = slices.Clone(e.Args)
			x.Args[i] = b
			out = append(out, x)
		}
	}
	return out
}

// everythingIsThere: each submitted part is in the verdict, and what is not
// affirming says why.
func (s *scenario) everythingIsThere(t *testing.T, base *performance) {
	for _, part := range s.parts {
		if !slices.ContainsFunc(base.res.Components, func(c verdict.Component) bool { return string(c.Label) == part.label }) {
			t.Errorf("%s was submitted and is not in the verdict", part.label)
		}
	}
	for _, c := range base.res.Components {
		if len(c.Partials()) == 0 && len(c.Reasons) == 0 {
			t.Errorf("%s is %s without a reason", c.Label, c.Tier())
		}
	}
}

// signed is what the lead signed, with the results inside taken apart, without
// what differs from run to run: times, durations and random identifiers. bare
// leaves the topology out as well.
func signed(t *testing.T, r *verdict.Result, bare bool) string {
	t.Helper()
	raw, err := json.MarshalIndent(stripped(string(r.Token), bare), "", " ")
	check(t, err)
	return string(raw)
}

var randomID = regexp.MustCompile(`\b[0-9a-f]{32}\b`)

func stripped(v any, bare bool) any {
	switch v := v.(type) {
	case string:
		if parts := strings.Split(v, "."); len(parts) == 3 && strings.HasPrefix(v, "eyJ") {
			token := make([]any, 2) // header, with the kid, and claims
			for i := range token {
				raw, err := base64.RawURLEncoding.DecodeString(parts[i])
				if err != nil || json.Unmarshal(raw, &token[i]) != nil {
					return v
				}
			}
			return stripped(token, bare)
		}
		return randomID.ReplaceAllString(v, "random")
	case []any:
		for i := range v {
			v[i] = stripped(v[i], bare)
		}
	case map[string]any:
		for name := range v {
			switch name {
			case "iat", "exp", "assize.session", "assize.request", "request", "duration_us":
				delete(v, name)
				continue
			case "assize.topology", "assize.plan-sha256":
				if bare {
					delete(v, name)
					continue
				}
			}
			v[name] = stripped(v[name], bare)
		}
	}
	return v
}

// difference is the first line in which two texts differ.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d: %s, not %s", i+1, strings.TrimSpace(a[i]), strings.TrimSpace(b[i]))
		}
	}
	return fmt.Sprintf("%d lines, not %d", len(a), len(b))
}
