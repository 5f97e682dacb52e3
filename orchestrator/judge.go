// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// judge is what the whole says beyond its parts: bindings, and caps for what is
// not established. It depends only on what stands in the signed result, so that
// a relying party can repeat it. simulated says that results of verifiers with
// extra roots may be affirming; it was asked for, or it is not so.
func judge(r *verdict.Result, simulated bool) ([]verdict.Binding, []verdict.Cap) {
	edges, caps := binding.Check(binding.Input{
		Components: r.Components, Lead: r.Lead, AcceptNonce: r.Policy.Relaxes(verdict.ReasonUnboundComponent),
	})
	caps = append(caps, verdict.Complete(r.Requirements, r.Components)...)
	caps = append(caps, unvouched(r)...)
	caps = append(caps, freshness(r)...)
	caps = append(caps, extraRoots(r, simulated)...)
	if !r.VerificationTime.IsZero() {
		caps = append(caps, verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{
			Code: verdict.ReasonTimeOverridden, Detail: "verified as of " + r.VerificationTime.UTC().Format(time.RFC3339)}})
	}
	return edges, caps
}

// freshness caps a composite whose components did not all answer this session:
// without a session nonce, and for every component that was asked with a
// challenge of its own.
func freshness(r *verdict.Result) []verdict.Cap {
	if r.Nonce == nil {
		return []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code: verdict.ReasonNonceNotEstablished, Detail: "no session nonce was given, so the evidence may be a replay"}}}
	}
	var own []string
	for _, c := range r.Components {
		if c.NonceRule == topologies.RuleGiven {
			own = append(own, string(c.Label))
		}
	}
	if own == nil {
		return nil
	}
	return []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{
		Code:   verdict.ReasonNonceNotEstablished,
		Detail: "asked with a challenge of its own and not with that of the session: " + strings.Join(own, ", ")}}}
}

// extraRoots repeats at the top what verifiers say of themselves: that they
// would believe a simulated machine. That a verifier somewhere was told to does
// not make it the lead's or the relying party's decision: it caps at warning.
func extraRoots(r *verdict.Result, simulated bool) []verdict.Cap {
	var who []string
	for _, c := range r.Components {
		if slices.ContainsFunc(c.Partials(), believesSimulated) {
			who = append(who, string(c.Label))
		}
	}
	if who == nil {
		return nil
	}
	why := verdict.Reason{Code: verdict.ReasonExtraRoots, Detail: "roots beyond those of the vendors were trusted for: " + strings.Join(who, ", ")}
	if simulated {
		return []verdict.Cap{{Tier: verdict.TierAffirming, Reason: why}}
	}
	return []verdict.Cap{{Tier: verdict.TierWarning, Reason: why.Compared(verdict.Comparison{
		Expected: "roots of the vendors alone", Observed: "further roots", Source: "nobody accepted simulated machines"})}}
}

func believesSimulated(p verdict.Partial) bool {
	return slices.ContainsFunc(p.Appraisal().Reasons, func(x verdict.Reason) bool { return x.Code == verdict.ReasonExtraRoots })
}

// foreignSession contraindicates a ratsd token, and runtime data, that name another
// session.
func foreignSession(tree *evidence.Tree, nonce []byte) []verdict.Cap {
	if d := tree.RuntimeData(); d != nil && nonce != nil && !sameNonce(d.Nonce(), nonce) {
		return []verdict.Cap{{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
			Code: verdict.ReasonNonceMismatch, Detail: "the runtime data of the composite are about another session nonce"}}}
	}
	t := tree.Ratsd()
	if t == nil || nonce == nil || sameNonce(t.Nonce, nonce) {
		return nil
	}
	return []verdict.Cap{{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
		Code: verdict.ReasonNonceMismatch, Detail: "the token was made for another session nonce"}}}
}

// requireClaims lowers every component for which a verifier left open a claim
// that its scheme requires: a verifier elsewhere may have forgotten to. What one
// of several redundant verifiers established does not fill the gap of another.
func requireClaims(schemes *verifiers.Set, parts []verdict.Component) {
	for i := range parts {
		sc, ok := schemes.Lookup(parts[i].Scheme)
		if !ok {
			continue
		}
		open := func(p verdict.Partial, n verdict.ClaimName) bool {
			claim := p.Appraisal().Vector[n]
			return claim == verdict.ClaimNone || claim == verdict.ClaimUnexpected
		}
		for _, name := range sc.Required {
			why := verdict.Reason{Code: verdict.ReasonClaimNotAsserted, Detail: fmt.Sprintf("the verifier says nothing about %s", name)}
			if slices.ContainsFunc(parts[i].Partials(), func(p verdict.Partial) bool { return open(p, name) }) && !slices.Contains(parts[i].Reasons, why) {
				parts[i].Reasons = append(parts[i].Reasons, why)
			}
		}
	}
}
