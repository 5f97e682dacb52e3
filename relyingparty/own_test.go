// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// strictLead caps everything and lowers a claim.
const strictLead = `component contains {"label": "a", "claims": {"executables": 33}, "tier": "warning", "detail": "not ours"}
composite contains {"tier": "none", "detail": "never"}
require contains {"label": "a"}
require contains {"label": "b"}`

// TestOwnPolicy: whose rules hold. Without rules of its own a relying party takes the
// worse of two verdicts; with them the lead's policy neither helps nor hinders.
func TestOwnPolicy(t *testing.T) {
	strict := func(o *orchestrator.Options, _ *verifiers.Deps) { o.Policy = rego(t, strictLead) }
	lax := func(o *orchestrator.Options, _ *verifiers.Deps) { o.Policy = library(t, "accept-nonce-binding") }
	own := func(text string) func(*Options) { return func(o *Options) { o.Policy = rego(t, text) } }
	demand := func(text string) func(*Options) {
		return func(o *Options) {
			q, err := verdict.ParseRequirement(text, verdict.SourcePolicy)
			check0(t, err)
			o.Require = append(o.Require, q)
		}
	}
	for _, c := range []struct {
		name      string
		lead      func(*orchestrator.Options, *verifiers.Deps)
		parts     string
		change    func(*Options)
		lays, own verdict.Tier
		code      string
		accepted  bool
	}{
		{"a strict lead", strict, "a cpu good", nil, verdict.TierNone, verdict.TierNone, verdict.ReasonMissingComponent, false},
		{"a strict lead, own policy", strict, "a cpu good", own(`annotations["k"] := "v"`), verdict.TierNone, verdict.TierAffirming, "", true},
		{"a strict lead, own demand", strict, "a cpu good", demand("a:cpu=1"), verdict.TierNone, verdict.TierNone, verdict.ReasonMissingComponent, false},
		{"a lax lead", lax, "a cpu good,b dev good", nil, verdict.TierAffirming, verdict.TierWarning, verdict.ReasonUnboundComponent, false},
		{"a lax lead, own policy", lax, "a cpu good,b dev good", own(`annotations["k"] := "v"`), verdict.TierAffirming, verdict.TierWarning, verdict.ReasonUnboundComponent, false},
		{"a lax lead, own demand", lax, "a cpu good,b dev good", demand("*"), verdict.TierAffirming, verdict.TierWarning, verdict.ReasonUnboundComponent, false},
		{"lax ourselves", nil, "a cpu good,b dev good", own(`accept contains "unbound-component"`), verdict.TierWarning, verdict.TierAffirming, verdict.ReasonNonceBound, true},
		{"a warning will do", nil, "a cpu warn", own(`acceptable := "warning"`), verdict.TierWarning, verdict.TierWarning, verdict.ReasonComponentTier, true},
		{"but not worse", nil, "a cpu bad", own(`acceptable := "warning"`), verdict.TierContraindicated, verdict.TierContraindicated, verdict.ReasonComponentTier, false},
		{"an own cap", nil, "a cpu good", own(`composite contains {"tier": "warning", "detail": "so"}`), verdict.TierAffirming, verdict.TierWarning, verdict.ReasonPolicy, false},
		{"an own finding", nil, "a cpu good", own(`component contains {"label": "a", "tier": "contraindicated", "detail": "so"}`), verdict.TierAffirming, verdict.TierContraindicated, verdict.ReasonComponentTier, false},
		{"an own policy that fails", nil, "a cpu good", own(`component contains {"label": "z", "tier": "warning", "detail": "so"}`), verdict.TierAffirming, verdict.TierNone, verdict.ReasonPolicyError, false},
		{"one that is not there", nil, "a cpu good", demand("gpu/*>=2"), verdict.TierAffirming, verdict.TierNone, verdict.ReasonMissingComponent, false},
		{"one that nobody expects", nil, "a cpu good,b dev good", demand("a"), verdict.TierWarning, verdict.TierWarning, verdict.ReasonUnexpected, false},
		{"judged by another scheme", nil, "a cpu good", demand("a:dev"), verdict.TierAffirming, verdict.TierNone, verdict.ReasonMissingComponent, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.lead)
			res := w.appraise(t, loose(t, strings.Split(c.parts, ",")...))
			if res.Outcome.Tier != c.lays {
				t.Fatalf("the lead says %s %v", res.Outcome.Tier, res.Outcome.Reasons)
			}
			v := w.mustAsk(t, res.Token, c.change)
			if v.Tier != c.own || v.Accepted != c.accepted || c.code != "" && !says(v.Reasons, c.code) {
				t.Errorf("%s, accepted %t: %v", v.Tier, v.Accepted, v.Reasons)
			}
			if v.Lead.Outcome.Tier != c.lays {
				t.Errorf("the lead's verdict became %s", v.Lead.Outcome.Tier)
			}
			if d := v.Difference(); d.Was != c.lays || d.Tier != c.own {
				t.Errorf("difference from %s to %s", d.Was, d.Tier)
			}
			if v.Tier != c.lays && !v.Differs() {
				t.Error("no difference is said")
			}
			for _, q := range v.Own.Requirements {
				if q.Source != verdict.SourceRelyingParty {
					t.Errorf("a demand of %s binds the relying party", q.Source)
				}
			}
		})
	}
}

// TestLyingLead: what a lead states is refused, or does not help it.
func TestLyingLead(t *testing.T) {
	affirm := func(r *verdict.Result) {
		r.Outcome = verdict.Combine(r.Components, r.Caps)
		r.Outcome.Tier = verdict.TierAffirming
		r.Outcome.Vector[verdict.SourcedData], r.Outcome.Vector[verdict.Configuration] = verdict.ClaimApproved, verdict.ClaimNone
	}
	dropCaps := func(r *verdict.Result) { r.Caps, r.Bindings = nil, nil; affirm(r) }
	for _, c := range []struct {
		name   string
		lead   string // a policy of the lead
		parts  []string
		change func(*verdict.Result)
		code   string
	}{
		{"a better tier", "", []string{"a cpu warn"}, affirm, "sign"},
		{"a cap removed", "", []string{"a cpu good", "b dev good"}, dropCaps, verdict.ReasonLyingAAR},
		{"one device twice", "", []string{"a cpu good", "b dev id:7", "c dev id:7"}, dropCaps, verdict.ReasonLyingAAR},
		{"a device as CPU", "", []string{"a dev good"}, func(r *verdict.Result) { r.Components[0].Class = verdict.ClassCPU; dropCaps(r) }, verdict.ReasonLyingAAR},
		{"accepted, though worse", strictLead, []string{"a cpu good"}, func(r *verdict.Result) { r.Policy.Accepted = true }, "sign"},
		{"its demand removed with the cap", `require contains {"label": "b"}` + "\n" + `require contains {"label": "a"}`, []string{"a cpu good"},
			func(r *verdict.Result) { r.Caps = nil; affirm(r) }, verdict.ReasonLyingAAR},
		{"another nonce", "", []string{"a cpu good"}, func(r *verdict.Result) { r.Nonce = []byte("fedcba9876543210") }, "sign"},
		{"another topology", "", []string{"a cpu good"}, func(r *verdict.Result) { r.Topology = "lead(b)" }, verdict.ReasonPathDeviation},
		// What it may say, and what does not help.
		{"relaxations that nobody has", "", []string{"a cpu good", "b dev good"}, func(r *verdict.Result) {
			r.Policy = &verdict.PolicyStatement{ID: "default", Digest: strings.Repeat("ab", 32), Acceptable: verdict.TierAffirming, Accepted: true, Accepts: []string{verdict.ReasonUnboundComponent}}
			dropCaps(r)
		}, ""},
		{"acceptable, whatever it is", "", []string{"a cpu warn"}, func(r *verdict.Result) {
			r.Policy = &verdict.PolicyStatement{ID: "x", Digest: strings.Repeat("ab", 32), Acceptable: verdict.TierContraindicated, Accepted: true,
				Annotations: map[string]string{"trust": "me"}}
		}, ""},
		{"what its evidence is said to expect", "", []string{"a cpu good", "b dev good"}, func(r *verdict.Result) {
			r.Policy = &verdict.PolicyStatement{ID: "x", Digest: strings.Repeat("ab", 32), Acceptable: verdict.TierAffirming, Accepts: []string{verdict.ReasonUnboundComponent}}
			r.Requirements = []verdict.Requirement{{Label: "*", Optional: true, Source: verdict.SourceConfiguration}}
			dropCaps(r)
		}, ""},
		{"simulated machines are fine", "", []string{"a cpu warn"}, func(r *verdict.Result) {
			r.Caps = append(r.Caps, verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{Code: verdict.ReasonExtraRoots}})
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, func(o *orchestrator.Options, _ *verifiers.Deps) {
				if c.lead != "" {
					o.Policy = rego(t, c.lead)
				}
			})
			token, err := w.resign(t, w.appraise(t, loose(t, c.parts...)), c.change)
			if (err != nil) != (c.code == "sign") {
				t.Fatalf("signing: %v", err)
			}
			if err != nil {
				return // and VerifyResult makes the same check (verdict.TestResultForgeries)
			}
			v, err := w.ask(token, nil)
			if refused(err) != c.code {
				t.Fatalf("%v, want %q", err, c.code)
			}
			if err == nil && (v.Tier == verdict.TierAffirming || v.Accepted || v.Own.Policy.ID != "default" || v.Own.Policy.Annotations != nil) {
				t.Errorf("the lie helps: %s %v, policy %+v", v.Tier, v.Reasons, v.Own.Policy)
			}
		})
	}
}

// TestSilentAboutSimulated: a lead has to repeat what its verifiers say of themselves.
func TestSilentAboutSimulated(t *testing.T) {
	w := newWorld(t, simulated)
	token, err := w.resign(t, w.appraise(t, loose(t, "a cpu good")), func(r *verdict.Result) {
		r.Caps = nil
		r.Outcome = verdict.Combine(r.Components, nil)
	})
	check0(t, err)
	if _, err := w.ask(token, func(o *Options) { o.AllowSimulated = true }); refused(err) != verdict.ReasonLyingAAR {
		t.Errorf("%v", err)
	}
}

// TestHiddenComponent: a lead cannot leave out a component to which the CPU commits.
func TestHiddenComponent(t *testing.T) {
	w := newWorld(t, nil)
	raw := bound(t, "gpu dev bad")
	token, err := w.resign(t, w.appraise(t, raw), func(r *verdict.Result) {
		r.Components = slices.DeleteFunc(r.Components, func(c verdict.Component) bool { return c.Label == "gpu" })
		r.Caps, r.Bindings = nil, nil
		r.Outcome = verdict.Combine(r.Components, nil)
	})
	check0(t, err)
	if v := w.mustAsk(t, token, nil); v.Tier != verdict.TierWarning || !says(v.Reasons, verdict.ReasonMissingComponent) {
		t.Errorf("%s %v", v.Tier, v.Reasons)
	}
	if _, err := w.ask(token, func(o *Options) { o.Evidence = raw }); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("beside the evidence: %v", err)
	}
	alone := bound(t)
	if v := w.mustAsk(t, w.appraise(t, alone).Token, nil); !v.Accepted {
		t.Errorf("a CPU that commits to nothing else: %s %v", v.Tier, v.Reasons)
	}
}

// TestLoweredStays: a claim that the lead's policy lowered counts as long as nobody
// has a policy of one's own.
func TestLoweredStays(t *testing.T) {
	w := newWorld(t, func(o *orchestrator.Options, _ *verifiers.Deps) {
		o.Policy = rego(t, `component contains {"label": "a", "claims": {"executables": 33}, "detail": "not ours"}`)
	})
	res := w.appraise(t, loose(t, "a cpu good"))
	if v := w.mustAsk(t, res.Token, nil); v.Tier != verdict.TierWarning {
		t.Errorf("%s %v", v.Tier, v.Reasons)
	}
	v := w.mustAsk(t, res.Token, func(o *Options) { o.Policy = library(t, "default") })
	if v.Tier != verdict.TierAffirming || v.Own.Components[0].Lowered != (verdict.Vector{}) || v.Difference().Components["a"].Was != verdict.TierWarning {
		t.Errorf("%s %v", v.Tier, v.Own.Components[0])
	}
}

// TestNeverBetterThanResults is a property: whatever leads do and relying parties
// say, the outcome is not better than what the verifiers have signed, and where the
// relying party has no rules of its own, not better than the lead's.
func TestNeverBetterThanResults(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 5))
	pick := func(list ...string) string { return list[random.IntN(len(list))] }
	policies := append(policy.Names(), "")
	for range 60 {
		name := pick(policies...)
		w := newWorld(t, func(o *orchestrator.Options, d *verifiers.Deps) {
			if name != "" {
				o.Policy = library(t, name)
			}
			if random.IntN(3) == 0 {
				simulated(o, d)
				o.Simulated = random.IntN(2) == 0
			}
		})
		parts := []string{"b dev " + pick("good", "warn", "bad", "id:1"), "c dev " + pick("good", "good", "id:1")}
		var raw []byte
		if random.IntN(2) == 0 {
			raw = bound(t, parts...)
		} else {
			raw = loose(t, append(parts[:random.IntN(3)], "a cpu "+pick("good", "good", "warn"))...)
		}
		res := w.appraise(t, raw)
		o := w.options
		o.AllowSimulated, o.AllowRecorded = random.IntN(2) == 0, random.IntN(2) == 0
		if own := pick(policies...); own != "" {
			o.Policy = library(t, own)
		}
		if random.IntN(3) == 0 {
			q, err := verdict.ParseRequirement(pick("a", "*", "b?", "c:dev=1", "cpu:binder>=1"), verdict.SourceRelyingParty)
			check0(t, err)
			o.Require = []verdict.Requirement{q}
		}
		if random.IntN(2) == 0 {
			o.Evidence = raw
		}
		v, err := Check(context.Background(), res.Token, o)
		check0(t, err)
		var bare []verdict.Component
		for _, c := range res.Components {
			bare = append(bare, verdict.Component{Label: c.Label, Required: c.Required, Partial: c.Partial})
		}
		what := fmt.Sprintf("lead policy %q, %+v", name, o.Require)
		if best := verdict.Combine(bare, nil).Tier; best.WorseThan(v.Tier) {
			t.Errorf("%s: %s, and the results give %s", what, v.Tier, best)
		}
		if !o.explicit() && res.Outcome.Tier.WorseThan(v.Tier) {
			t.Errorf("%s: %s, and the lead says %s", what, v.Tier, res.Outcome.Tier)
		}
		if v.Own.Policy.Accepted && v.Tier.WorseThan(v.Own.Policy.Acceptable) || v.Accepted != v.Own.Policy.Accepted {
			t.Errorf("%s: %s is accepted, %+v", what, v.Tier, v.Own.Policy)
		}
		checkEvidenceHelpsOnly(t, res.Token, o, v, raw)
	}
}

// checkEvidenceHelpsOnly: without the evidence an outcome is never better than with it.
func checkEvidenceHelpsOnly(t *testing.T, token []byte, o Options, v *Verdict, raw []byte) {
	t.Helper()
	o.Evidence = raw
	with, err := Check(context.Background(), token, o)
	check0(t, err)
	if with.Tier.WorseThan(v.Tier) {
		t.Errorf("%s with the evidence, %s without", with.Tier, v.Tier)
	}
}

// TestCombine: results that were collected without a lead are judged by the same rules.
func TestCombine(t *testing.T) {
	w := newWorld(t, nil)
	raw := bound(t, "gpu dev good")
	res := w.appraise(t, raw)
	var tokens [][]byte
	for _, c := range res.Components {
		tokens = append(tokens, c.Partial.Token())
	}
	slices.Reverse(tokens)
	want, err := topologies.Parse("parallel(cpu, gpu)")
	check0(t, err)
	ask := func(tokens [][]byte, change func(*Options)) *Verdict {
		t.Helper()
		o := w.options
		o.Topology = &want
		if change != nil {
			change(&o)
		}
		v, err := Combine(context.Background(), tokens, o)
		check0(t, err)
		return v
	}
	if v := ask(tokens, func(o *Options) { o.Evidence = raw }); !v.Accepted || v.Own.Policy.ID != "default" {
		t.Errorf("%s %v", v.Tier, v.Reasons)
	}
	if v := ask([][]byte{res.Token}, nil); v.Tier != verdict.TierWarning || !says(v.Reasons, verdict.ReasonUnboundComponent) {
		t.Errorf("a lead's verdict without the evidence: %s %v", v.Tier, v.Reasons)
	}
	q, err := verdict.ParseRequirement("nic", verdict.SourcePolicy)
	check0(t, err)
	if v := ask(tokens, func(o *Options) { o.Evidence, o.Require = raw, []verdict.Requirement{q} }); v.Tier != verdict.TierNone || v.Own.Requirements[0].Source != verdict.SourceRelyingParty {
		t.Errorf("what is missing: %s %v", v.Tier, v.Reasons)
	}
	if v := ask(tokens, func(o *Options) {
		o.Evidence, o.Policy = raw, rego(t, `composite contains {"tier": "contraindicated", "detail": "so"}`)
	}); v.Tier != verdict.TierContraindicated {
		t.Errorf("an own policy: %s %v", v.Tier, v.Reasons)
	}
	for name, change := range map[string]func(*Options){
		"no topology": func(o *Options) { o.Topology = nil }, "no nonce": func(o *Options) { o.Nonce = nil },
		"no evidence": func(o *Options) { o.RequireEvidence = true },
	} {
		o := w.options
		o.Topology = &want
		change(&o)
		if _, err := Combine(context.Background(), tokens, o); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	sim := newWorld(t, simulated)
	res = sim.appraise(t, loose(t, "a cpu good"))
	alone, err := topologies.Parse("parallel(a)")
	check0(t, err)
	for allow, want := range map[bool]verdict.Tier{false: verdict.TierWarning, true: verdict.TierAffirming} {
		o := sim.options
		o.Topology, o.AllowSimulated = &alone, allow
		v, err := Combine(context.Background(), [][]byte{res.Components[0].Partial.Token()}, o)
		check0(t, err)
		if v.Tier != want {
			t.Errorf("simulated, allowed %t: %s %v", allow, v.Tier, v.Reasons)
		}
	}
}

// ratsd wraps a composite as an unsigned token that names a session.
func ratsd(t testing.TB, nonce []byte, parts ...string) []byte {
	t.Helper()
	tree, err := evidence.Parse(loose(t, parts...), evidence.Options{})
	check0(t, err)
	var entries []evidence.Entry
	for _, n := range tree.Leaves() {
		entries = append(entries, evidence.Entry{Label: n.Label(), Item: evidence.Record(n.MediaType(), n.Value(), 0)})
	}
	return ratsdToken(t, nonce, entries)
}
