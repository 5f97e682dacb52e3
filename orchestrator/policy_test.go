// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/verdict"
)

// rule is a policy in Go.
type rule struct {
	statement    verdict.PolicyStatement
	requirements []verdict.Requirement
	components   func(*verdict.Result) ([]policy.Finding, error)
	composite    func(*verdict.Result) (policy.Decision, error)
}

func (p rule) Statement() verdict.PolicyStatement {
	s := p.statement
	if s.ID == "" {
		s.ID, s.Acceptable = "test", verdict.TierAffirming
	}
	s.Digest = strings.Repeat("ab", 32)
	return s
}

func (p rule) Requirements() []verdict.Requirement { return p.requirements }

func (p rule) Components(_ context.Context, r *verdict.Result) ([]policy.Finding, error) {
	if p.components == nil {
		return nil, nil
	}
	return p.components(r)
}

func (p rule) Composite(_ context.Context, r *verdict.Result) (policy.Decision, error) {
	if p.composite == nil {
		return policy.Decision{}, nil
	}
	return p.composite(r)
}

func about(label string, tier verdict.Tier, lowered ...verdict.Claim) func(*verdict.Result) ([]policy.Finding, error) {
	f := policy.Finding{Label: evidence.Path(label), Tier: tier, Detail: "as asked"}
	for _, c := range lowered {
		f.Lowered[verdict.Executables] = c
	}
	return func(*verdict.Result) ([]policy.Finding, error) { return []policy.Finding{f}, nil }
}

func capped(t verdict.Tier) func(*verdict.Result) (policy.Decision, error) {
	return func(*verdict.Result) (policy.Decision, error) {
		return policy.Decision{Caps: []verdict.Cap{{Tier: t, Reason: verdict.Reason{Code: verdict.ReasonPolicy, Detail: "as asked"}}}, Annotations: map[string]string{"k": "v"}}, nil
	}
}

// TestPolicyJudges: a policy lowers, demands and fails closed; what it did stands
// in the signed verdict, and a relying party reads the same.
func TestPolicyJudges(t *testing.T) {
	broken := errors.New("boom")
	two := 2
	for _, c := range []struct {
		name  string
		p     rule
		parts []string
		want  verdict.Tier
		code  string
	}{
		{"nothing to say", rule{}, []string{"cpu cpu good"}, verdict.TierAffirming, ""},
		{"a remark", rule{components: about("cpu", verdict.TierAffirming)}, []string{"cpu cpu good"}, verdict.TierAffirming, ""},
		{"a component lowered", rule{components: about("cpu", verdict.TierWarning)}, []string{"cpu cpu good"}, verdict.TierWarning, "component-tier"},
		{"to none", rule{components: about("cpu", verdict.TierNone)}, []string{"cpu cpu good"}, verdict.TierNone, "component-tier"},
		{"refused", rule{components: about("cpu", verdict.TierContraindicated)}, []string{"cpu cpu good"}, verdict.TierContraindicated, "component-tier"},
		{"a claim lowered", rule{components: about("cpu", verdict.TierAffirming, 33)}, []string{"cpu cpu good"}, verdict.TierWarning, "component-tier"},
		{"a claim praised", rule{components: about("cpu", verdict.TierAffirming, 2)}, []string{"cpu cpu warn"}, verdict.TierWarning, "component-tier"},
		{"good words for bad", rule{components: about("cpu", verdict.TierAffirming)}, []string{"cpu cpu bad"}, verdict.TierContraindicated, "component-tier"},
		{"about nobody", rule{components: about("gpu", verdict.TierAffirming)}, []string{"cpu cpu good"}, verdict.TierNone, verdict.ReasonPolicyError},
		{"the whole capped", rule{composite: capped(verdict.TierWarning)}, []string{"cpu cpu good"}, verdict.TierWarning, verdict.ReasonPolicy},
		{"the whole praised", rule{composite: capped(verdict.TierAffirming)}, []string{"cpu cpu warn"}, verdict.TierWarning, verdict.ReasonPolicy},
		{"first hook fails", rule{components: func(*verdict.Result) ([]policy.Finding, error) { return nil, broken }}, []string{"cpu cpu good"}, verdict.TierNone, verdict.ReasonPolicyError},
		{"second hook fails", rule{composite: func(*verdict.Result) (policy.Decision, error) { return policy.Decision{}, broken }}, []string{"cpu cpu good"}, verdict.TierNone, verdict.ReasonPolicyError},
		{"a failure is no excuse", rule{composite: func(*verdict.Result) (policy.Decision, error) { return policy.Decision{}, broken }}, []string{"cpu cpu bad"}, verdict.TierContraindicated, verdict.ReasonPolicyError},
		{"demands what lacks", rule{requirements: []verdict.Requirement{{Label: "cpu", Source: verdict.SourcePolicy}, {Label: "gpu/*", Exactly: &two, Source: verdict.SourcePolicy}}}, []string{"cpu cpu good"}, verdict.TierNone, verdict.ReasonMissingComponent},
		{"unbound", rule{}, []string{"cpu cpu good", "gpu dev good"}, verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"a nonce will do", rule{statement: verdict.PolicyStatement{ID: "nonce", Acceptable: verdict.TierAffirming, Accepts: []string{verdict.ReasonUnboundComponent}}}, []string{"cpu cpu good", "gpu dev good"}, verdict.TierAffirming, verdict.ReasonNonceBound},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.Policy = c.p })
			res := w.appraise(t, Request{Evidence: composite(t, c.parts...), Nonce: []byte(testNonce)})
			got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
			check(t, err)
			check(t, Recheck(got, w.options.Schemes))
			if got.Outcome.Tier != c.want || c.code != "" && !says(got.Outcome.Reasons, c.code) {
				t.Errorf("%s %v, want %s with %q", got.Outcome.Tier, got.Outcome.Reasons, c.want, c.code)
			}
			if p := got.Policy; p == nil || p.ID != c.p.Statement().ID || p.Accepted != (c.want == verdict.TierAffirming) {
				t.Errorf("policy %+v", p)
			}
		})
	}
}

func says(reasons []verdict.Reason, code string) bool {
	for _, r := range reasons {
		if r.Code == code {
			return true
		}
	}
	return false
}

// A nonce does for a binding where every component has it, and only there.
func TestNonceBindingNeedsTheNonce(t *testing.T) {
	p := rule{statement: verdict.PolicyStatement{ID: "nonce", Acceptable: verdict.TierAffirming, Accepts: []string{verdict.ReasonUnboundComponent}}}
	w := newWorld(t, func(o *Options) { o.Policy = p })
	given := map[evidence.Path][]byte{"gpu": []byte(testNonce)}
	for name, r := range map[string]Request{
		"no session": {Evidence: composite(t, "cpu cpu good", "gpu dev good")},
		"given":      {Evidence: composite(t, "cpu cpu good", "gpu dev good"), Nonce: []byte(testNonce), Given: given},
		"no CPU":     {Evidence: composite(t, "gpu dev good"), Nonce: []byte("fedcba9876543210")},
	} {
		res := w.appraise(t, r)
		if res.Outcome.Tier == verdict.TierAffirming || !says(res.Outcome.Reasons, verdict.ReasonUnboundComponent) {
			t.Errorf("%s: %s %v", name, res.Outcome.Tier, res.Outcome.Reasons)
		}
	}
}

// What a policy took from the software of the CPU, it took from everything that
// rests on that software.
func TestPolicyBeforeBinding(t *testing.T) {
	w := assignedWorld(t)
	o := w.options
	o.Policy = rule{components: about("cpu", verdict.TierAffirming, 33)}
	orch, err := New(o)
	check(t, err)
	res, err := orch.Appraise(context.Background(), Request{Evidence: composite(t, "cpu taker known A,R,T", "nic tdi A,R,T"), Nonce: []byte(testNonce)})
	check(t, err)
	if !unauthenticated(find(t, res, "nic")) || !says(res.Outcome.Reasons, verdict.ReasonBindingWeak) {
		t.Errorf("%v, nic %v", res.Outcome.Reasons, find(t, res, "nic").Reasons)
	}
	if _, vector := flat(t, res.Token, "cpu"); vector["executables"] != 33 {
		t.Errorf("the flat copy says %v", vector)
	}
	got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
	check(t, err)
	check(t, Recheck(got, w.options.Schemes))
	// Without the policy, what followed from it is forgotten as well.
	again := Rejudge(context.Background(), got, w.options.Schemes, Rejudgement{})
	if again.Outcome.Tier != verdict.TierAffirming || unauthenticated(find(t, again, "nic")) || !unauthenticated(find(t, got, "nic")) {
		t.Errorf("without the policy %s %v", again.Outcome.Tier, again.Outcome.Reasons)
	}
}

// TestLeadCannotForgetThePolicy: what stands in a verdict about its policy holds
// it: a lead that drops a demand's cap, or says more than its tier allows, is found.
func TestLeadCannotForgetThePolicy(t *testing.T) {
	two := 2
	w := newWorld(t, func(o *Options) {
		o.Requirements = []verdict.Requirement{{Label: "cpu", Source: verdict.SourceConfiguration}, {Label: "gpu/*", AtLeast: &two, Source: verdict.SourceConfiguration}}
		o.Policy = rule{components: about("cpu", verdict.TierWarning, 33)}
	})
	res := w.appraise(t, Request{Evidence: composite(t, "cpu cpu good"), Nonce: []byte(testNonce)})
	if res.Outcome.Tier != verdict.TierNone {
		t.Fatalf("%s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	for name, change := range map[string]func(*verdict.Result){
		"the cap of a demand": func(r *verdict.Result) { r.Caps = nil },
		"accepted": func(r *verdict.Result) {
			p := *r.Policy
			p.Accepted = true
			r.Policy = &p
		},
		"another relaxation": func(r *verdict.Result) {
			p := *r.Policy
			p.Accepts = []string{verdict.ReasonBindingBroken}
			r.Policy = &p
		},
		"a policy without digest": func(r *verdict.Result) { r.Policy = &verdict.PolicyStatement{ID: "x"} },
		"a demand of nobody":      func(r *verdict.Result) { r.Requirements = []verdict.Requirement{{Label: "cpu", Source: "me"}} },
	} {
		got, err := w.resign(t, res, change)
		if err == nil {
			err = Recheck(got, w.options.Schemes)
		}
		if err == nil {
			t.Errorf("%s: passes", name)
		}
	}
}

// TestRejudge: a result is judged again by another policy and another demand;
// what the first policy said is forgotten, whatever else was found is not.
func TestRejudge(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.Policy = rule{components: about("cpu", verdict.TierWarning, 33), composite: capped(verdict.TierWarning)}
	})
	res := w.appraise(t, Request{Evidence: composite(t, "cpu cpu good"), Nonce: []byte(testNonce)})
	ask := func(r *verdict.Result, j Rejudgement) *verdict.Result {
		again := Rejudge(context.Background(), r, w.options.Schemes, j)
		if again.Token != nil {
			t.Error("a result that nobody signed has a signature")
		}
		return again
	}
	if got := ask(res, Rejudgement{}); res.Outcome.Tier != verdict.TierWarning || got.Outcome.Tier != verdict.TierAffirming || got.Policy != nil {
		t.Errorf("without policy %s %v, was %s", got.Outcome.Tier, got.Outcome.Reasons, res.Outcome.Tier)
	}
	if got := ask(res, Rejudgement{Policy: rule{composite: capped(verdict.TierContraindicated)}}); got.Outcome.Tier != verdict.TierContraindicated || got.Policy.Annotations["k"] != "v" {
		t.Errorf("under another policy %s %+v", got.Outcome.Tier, got.Policy)
	}
	demand := []verdict.Requirement{{Label: "gpu/*", Source: verdict.SourceRelyingParty}}
	if got := ask(res, Rejudgement{Requirements: demand}); got.Outcome.Tier != verdict.TierNone || !says(got.Outcome.Reasons, verdict.ReasonMissingComponent) {
		t.Errorf("with another demand %s %v", got.Outcome.Tier, got.Outcome.Reasons)
	}
	// What does not follow from the results, the lead alone knows.
	known := *res
	known.Caps = append(known.Caps, verdict.Cap{Tier: verdict.TierContraindicated, Reason: verdict.Reason{Code: verdict.ReasonNonceMismatch, Detail: "the token was made for another session nonce"}})
	if got := ask(&known, Rejudgement{}); got.Outcome.Tier != verdict.TierContraindicated {
		t.Errorf("what the lead knows is forgotten: %v", got.Outcome.Reasons)
	}
	two := newWorld(t, func(o *Options) {
		o.Policy = rule{statement: verdict.PolicyStatement{ID: "nonce", Acceptable: verdict.TierAffirming, Accepts: []string{verdict.ReasonUnboundComponent}}}
	})
	lax := two.appraise(t, Request{Evidence: composite(t, "cpu cpu good", "gpu dev good"), Nonce: []byte(testNonce)})
	if got := ask(lax, Rejudgement{}); lax.Outcome.Tier != verdict.TierAffirming || got.Outcome.Tier != verdict.TierWarning {
		t.Errorf("a relaxation of the lead binds the relying party: %s", got.Outcome.Tier)
	}
}
