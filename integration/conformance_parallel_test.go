// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/sha256"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// parallels are independent components at once, and one component at several
// verifiers.
var parallels = []string{
	"parallel(a, b@n1, c@n2)", "parallel(a, lead(b)@n1, lead(c)@n2)",
	"lead(a, parallel(b@me, b@n1, b@n2), c)", "lead(a, parallel(quorum 2: b@me, b@n1, b@n2), c)",
}

// PAR-1: one challenge for all.
func TestPAR1OneChallenge(t *testing.T) {
	for _, topology := range parallels {
		f := newFederation(t, options{})
		seen := map[string]int{}
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			f.mu.Lock()
			seen[string(call.Request.Nonce)]++
			f.mu.Unlock()
			return next.Appraise(context.Background(), call)
		}
		f.appraise(topology, abc(t))
		if len(seen) != 1 || seen[wordNonce] != len(f.questions) {
			t.Errorf("%s: %v", topology, seen)
		}
	}
}

// PAR-2: all verifiers are asked at once: each waits for the others here.
func TestPAR2AllAtOnce(t *testing.T) {
	for _, topology := range parallels {
		f := newFederation(t, options{})
		want := 3
		if strings.HasPrefix(topology, "lead") {
			want = 5
		}
		var met sync.WaitGroup
		met.Add(want)
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			met.Done()
			met.Wait()
			return next.Appraise(context.Background(), call)
		}
		if got := tiers(f.appraise(topology, abc(t))); got != "a=affirming b=affirming c=affirming | warning" {
			t.Errorf("%s: %s", topology, got)
		}
	}
}

// PAR-3: no verifier sees another one's result.
func TestPAR3NobodySeesOthers(t *testing.T) {
	f := newFederation(t, options{})
	f.appraise("parallel(a, lead(b)@n1, lead(c)@n2)", abc(t))
	if f.sent() != "me>n1 me>n2" {
		t.Fatal(f.sent())
	}
	for _, p := range f.passages {
		if env := f.read(p.to, p.message); len(env.Partials) != 0 || len(env.Components) != 1 {
			t.Errorf("%s gets %d results and %d components", p.to, len(env.Partials), len(env.Components))
		}
	}
}

// found has the verifiers at a place find something else than the others.
func (f *federation) found(at string, claim verdict.Claim) {
	f.ask = func(_, where string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
		switch {
		case where != at:
			return next.Appraise(context.Background(), call)
		case claim == verdict.ClaimNone:
			return verdict.Partial{}, &verifiers.Failure{Reason: verdict.ReasonTimeout, Detail: "silent"}
		}
		token, err := signed(f.members[at].verifiers[call.Request.Scheme], call.Request, claim)
		must(f.t, err)
		return call.Verify(token)
	}
}

func signed(s *trust.Signer, r verifiers.Request, claim verdict.Claim) ([]byte, error) {
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: r.Nonce}
	a.Vector[verdict.Hardware] = claim
	return verdict.SignPartial(s, verdict.Issue{
		Verifier: identity, Label: r.Label, Scheme: r.Scheme, MediaType: r.MediaType.String(), Request: r.ID, Nonce: r.Nonce,
		NonceRule: r.NonceRule, Evidence: sha256.Sum256(r.Evidence), IssuedAt: time.Now(), Expires: time.Now().Add(time.Minute),
	}, a)
}

// PAR-4 to PAR-6: the rule is that of the expression; disagreement is said and
// the worst answer counts; a verifier that does not answer affirms nothing.
func TestPAR4RuleIsConfiguration(t *testing.T) {
	for _, c := range []struct {
		topology string
		n2       verdict.Claim
		tier     verdict.Tier
		code     string
	}{
		{"lead(a, parallel(b@me, b@n1, b@n2))", verdict.ClaimApproved, verdict.TierAffirming, ""},
		{"lead(a, parallel(b@me, b@n1, b@n2))", verdict.ClaimNone, verdict.TierNone, verdict.ReasonQuorumNotReached},
		{"lead(a, parallel(quorum 2: b@me, b@n1, b@n2))", verdict.ClaimNone, verdict.TierWarning, verdict.ReasonQuorumIncomplete},
		{"lead(a, parallel(quorum 3: b@me, b@n1, b@n2))", verdict.ClaimNone, verdict.TierNone, verdict.ReasonQuorumNotReached},
		{"parallel(a, b@n2)", verdict.ClaimNone, verdict.TierNone, verdict.ReasonTimeout},
		{"parallel(a, optional(b@n2))", verdict.ClaimNone, verdict.TierNone, verdict.ReasonTimeout},
	} {
		f := newFederation(t, options{})
		f.found("n2", c.n2)
		b := part(t, f.appraise(c.topology, words(t, wordNonce, "a cpu good", "b dev good")), "b")
		if b.Tier() != c.tier || c.code != "" && !strings.Contains(reasonCodes(b.Reasons), c.code) {
			t.Errorf("%s, n2 says %d: %s %v", c.topology, c.n2, b.Tier(), b.Reasons)
		}
	}
}

func TestPAR5DisagreementIsSaid(t *testing.T) {
	for _, topology := range []string{"lead(a, parallel(b@me, b@n1, b@n2))", "lead(a, parallel(quorum 2: b@me, b@n1, b@n2))"} {
		for claim, want := range map[verdict.Claim]verdict.Tier{
			verdict.ClaimUnsafe: verdict.TierWarning, verdict.ClaimContraindicate: verdict.TierContraindicated,
		} {
			f := newFederation(t, options{})
			f.found("n2", claim)
			res := f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev good"))
			b := part(t, res, "b")
			if b.Tier() != want || !strings.Contains(reasonCodes(b.Reasons), verdict.ReasonDisagreement) || len(b.Partials()) != 3 {
				t.Errorf("%s: %s %v, %d results", topology, b.Tier(), b.Reasons, len(b.Partials()))
			}
		}
	}
}

func TestPAR6SilenceIsNone(t *testing.T) {
	for _, topology := range []string{"parallel(a, b@n1, c@n2)", "parallel(a, b@n1, lead(c)@n2)"} {
		f := newFederation(t, options{})
		f.found("n2", verdict.ClaimNone)
		res := f.appraise(topology, abc(t))
		if got := tiers(res); got != "a=affirming b=affirming c=none | none" {
			t.Errorf("%s: %s", topology, got)
		}
	}
}

// PAR-7: a relying party that asks the verifiers itself needs none of our
// services to put their answers together, only pure functions.
func TestPAR7WithoutService(t *testing.T) {
	f := newFederation(t, options{})
	aggregate := func(claims map[string]verdict.Claim) verdict.Outcome {
		r := verifiers.Request{
			ID: strings.Repeat("0", 32), Session: "s", Label: "b", Scheme: "dev", MediaType: evidence.MediaType{Base: "application/vnd.test.dev"},
			Evidence: []byte(wordNonce + " good"), Nonce: []byte(wordNonce), NonceRule: "same",
		}
		c := verdict.Component{Label: r.Label, Scheme: r.Scheme, MediaType: r.MediaType.String(), Required: true, Request: r.ID,
			Nonce: r.Nonce, NonceRule: r.NonceRule, Evidence: sha256.Sum256(r.Evidence), Quorum: 2, Asked: 3}
		var all []verdict.Partial
		for at, claim := range claims {
			token, err := signed(f.members[at].verifiers["dev"], r, claim)
			must(t, err)
			p, err := verdict.VerifyPartial(token, verdict.Expect{Label: c.Label, Scheme: c.Scheme, Request: c.Request, Nonce: c.Nonce,
				NonceRule: c.NonceRule, Evidence: c.Evidence, MediaType: c.MediaType}, verdict.Intake{Now: time.Now()}, f.members[at].own)
			must(t, err)
			all = append(all, p)
		}
		verdict.SetPartials(&c, all)
		return verdict.Combine([]verdict.Component{c}, nil)
	}
	good, bad := verdict.ClaimApproved, verdict.ClaimContraindicate
	for _, c := range []struct {
		claims map[string]verdict.Claim
		want   verdict.Tier
	}{
		{map[string]verdict.Claim{"me": good, "n1": good, "n2": good}, verdict.TierAffirming},
		{map[string]verdict.Claim{"me": good, "n1": good}, verdict.TierWarning},
		{map[string]verdict.Claim{"me": good}, verdict.TierNone},
		{map[string]verdict.Claim{"me": good, "n1": good, "n2": bad}, verdict.TierContraindicated},
	} {
		if got := aggregate(c.claims); got.Tier != c.want {
			t.Errorf("%v: %s, want %s", c.claims, got.Tier, c.want)
		}
	}
}
