// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/rand"
	"slices"
	"testing"
	"time"

	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// witnessed is a verdict on one good CPU that a second verifier judged as well,
// signed by a lead that draws no conclusion from what that one says.
func witnessed(t *testing.T, w *world, anchors *trust.Anchors, says func(*verdict.Appraisal)) *verdict.Result {
	t.Helper()
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	c := &res.Components[0]
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: c.Nonce}
	says(&a)
	token, err := verdict.SignPartial(w.signer, verdict.Issue{
		Verifier: w.options.Identity, Label: c.Label, Scheme: c.Scheme, MediaType: c.MediaType, Request: c.Request,
		Nonce: c.Nonce, NonceRule: c.NonceRule, Evidence: c.Evidence, IssuedAt: time.Now(),
	}, a)
	check(t, err)
	p, err := verdict.VerifyPartial(token, verdict.Expect{
		Label: c.Label, Scheme: c.Scheme, Request: c.Request, Nonce: c.Nonce, NonceRule: c.NonceRule,
		Evidence: c.Evidence, MediaType: c.MediaType,
	}, verdict.Intake{Now: time.Now()}, anchors)
	check(t, err)
	c.Quorum, c.Asked, c.Sites = 2, 2, []string{"x", "y"}
	verdict.SetPartials(c, []verdict.Partial{c.Partial, p})
	res.Outcome = verdict.Combine(res.Components, res.Caps)
	_, err = verdict.SignResult(w.lead, res, time.Minute)
	check(t, err)
	res, err = verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, anchors)
	check(t, err)
	return res
}

// TestEveryVerifierIsRechecked: what follows from the result of any of several
// verifiers follows for the relying party, wherever that result stands.
func TestEveryVerifierIsRechecked(t *testing.T) {
	for _, c := range []struct {
		name string
		says func(*verdict.Appraisal)
		ok   bool
	}{
		{"a second good answer", func(a *verdict.Appraisal) { a.Vector[verdict.Hardware] = verdict.ClaimApproved }, true},
		{"a required claim left open", func(a *verdict.Appraisal) { a.Vector[verdict.FileSystem] = verdict.ClaimApproved }, false},
	} {
		for range 4 { // kids are drawn, so either result can be the first
			w := newWorld(t, nil)
			var err error
			w.signer, err = trust.GenerateSigner("ES256", rand.Reader)
			check(t, err)
			anchors, err := trust.Merge(w.anchors, mustAnchors(t, w.signer.Key("x", []string{"cpu"}, trust.RoleVerifier)))
			check(t, err)
			res := witnessed(t, w, anchors, c.says)
			if res.Outcome.Tier != verdict.TierAffirming {
				t.Fatalf("%s: %s %v", c.name, res.Outcome.Tier, res.Outcome.Reasons)
			}
			if err := Recheck(res, w.options.Schemes); (err == nil) != c.ok {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

func TestRedundantResultsBeyondTheFirst(t *testing.T) {
	w := newWorld(t, nil)
	var err error
	w.signer, err = trust.GenerateSigner("ES256", rand.Reader)
	check(t, err)
	anchors, err := trust.Merge(w.anchors, mustAnchors(t, w.signer.Key("x", []string{"cpu"}, trust.RoleVerifier)))
	check(t, err)
	res := witnessed(t, w, anchors, func(a *verdict.Appraisal) {
		a.Vector[verdict.Hardware] = verdict.ClaimApproved
		a.Reasons = []verdict.Reason{{Code: verdict.ReasonExtraRoots}}
	})
	for range 2 {
		_, caps := judge(res, false)
		if !slices.ContainsFunc(caps, func(c verdict.Cap) bool { return c.Reason.Code == verdict.ReasonExtraRoots }) {
			t.Errorf("extra roots of one verifier are not said: %v", caps)
		}
		c := &res.Components[0]
		c.Partial, c.Others[0] = c.Others[0], c.Partial
	}
	for expr, ok := range map[string]bool{
		"lead(a)":                            true,
		"parallel(quorum 2: a@x, a@y)":       true,
		"parallel(a@x, a@y)":                 true,
		"parallel(quorum 1: a@x, a@y)":       true,
		"parallel(quorum 2: a@x, a@y, a@z)":  false, // asked too few
		"parallel(a@x, a@y, a@z)":            false,
		"lead(parallel(quorum 2: a@x, a@y))": true,
	} {
		want, err := topologies.Parse(expr)
		check(t, err)
		if err := RecheckTopology(res, want); (err == nil) != ok {
			t.Errorf("%s: %v", expr, err)
		}
	}
	res.Components[0].Quorum, res.Components[0].Asked = 1, 3
	want, err := topologies.Parse("parallel(quorum 2: a@x, a@y)")
	check(t, err)
	if RecheckTopology(res, want) == nil {
		t.Error("a smaller quorum passes")
	}
	maybe, err := topologies.Parse("lead(optional(parallel(quorum 2: a@x, a@y)))")
	check(t, err)
	if RecheckTopology(res, maybe) == nil {
		t.Error("a smaller quorum of an optional component passes")
	}
	lone := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte("fedcba9876543210")})
	if RecheckTopology(lone, want) == nil {
		t.Error("one verifier passes for two")
	}
}
