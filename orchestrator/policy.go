// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Policy judges whole machines (package policy). It lowers, demands and explains;
// nothing that it says makes a verdict better, except for what its statement
// openly relaxes.
type Policy interface {
	// Statement and Requirements say what is fixed about the policy.
	Statement() verdict.PolicyStatement
	Requirements() []verdict.Requirement
	// Components judges each component, before anything is said about the whole.
	Components(ctx context.Context, r *verdict.Result) ([]policy.Finding, error)
	// Composite judges the whole: components, edges, what is missing.
	Composite(ctx context.Context, r *verdict.Result) (policy.Decision, error)
}

// judgement is by what a composite is judged beyond its components.
type judgement struct {
	policy       Policy
	requirements []verdict.Requirement
	simulated    bool
	// others are caps that do not follow from what stands in a signed result.
	others []verdict.Cap
}

// pass judges the whole: the components under the policy, the edges between them,
// what is missing, and what the policy says of all that. It fills in Policy,
// Requirements, Bindings, Interconnects, Caps and Outcome.
func pass(ctx context.Context, r *verdict.Result, j judgement) {
	r.Requirements = slices.Clone(j.requirements)
	caps := j.others
	if j.policy != nil {
		s := j.policy.Statement()
		r.Policy = &s
		r.Requirements = append(r.Requirements, j.policy.Requirements()...)
		found, err := j.policy.Components(ctx, r)
		if err == nil {
			err = apply(r.Components, found)
		}
		if err != nil {
			caps = append(caps, policyFailed(s, err))
		}
		requireRelays(r.Components) // of software that the policy does not call good nothing is believed
	}
	var judged []verdict.Cap
	r.Bindings, judged = judge(r, j.simulated)
	r.Interconnects = binding.Interconnects(r.Components)
	r.Caps = append(judged, caps...)
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	if j.policy == nil {
		return
	}
	d, err := j.policy.Composite(ctx, r)
	if err != nil {
		d = policy.Decision{Caps: []verdict.Cap{policyFailed(*r.Policy, err)}}
	}
	r.Policy.Annotations = d.Annotations
	r.Caps = append(r.Caps, d.Caps...)
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	r.Policy.Accepted = !r.Outcome.Tier.WorseThan(r.Policy.Acceptable)
}

// policyFailed is what a policy that cannot be evaluated costs: there is no
// verdict without it.
func policyFailed(s verdict.PolicyStatement, err error) verdict.Cap {
	return verdict.Cap{Tier: verdict.TierNone, Reason: verdict.Reason{
		Code: verdict.ReasonPolicyError, Detail: fmt.Sprintf("policy %s cannot be evaluated: %v", s.ID, err), Source: "policy " + s.ID}}
}

// apply lowers components as a policy found. A finding about something that is no
// component is an error: the policy means something that is not there.
func apply(parts []verdict.Component, found []policy.Finding) error {
	for _, f := range found {
		i := slices.IndexFunc(parts, func(c verdict.Component) bool { return c.Label == f.Label })
		if i < 0 {
			return fmt.Errorf("it finds something about %q, which is no component", f.Label)
		}
		parts[i].Lowered = parts[i].Lowered.Lower(f.Lowered)
		parts[i].Reasons = append(parts[i].Reasons, verdict.Reason{Code: policy.Code(f.Tier), Detail: f.Detail, Source: sourcePolicy})
	}
	return nil
}

// sourcePolicy is the source of what a policy says of a component.
const sourcePolicy = "policy"

// ofPolicy: a policy gave this reason.
func ofPolicy(r verdict.Reason) bool {
	return slices.Contains([]string{
		verdict.ReasonPolicy, verdict.ReasonPolicyBad, verdict.ReasonPolicyError, verdict.ReasonPolicyNone, verdict.ReasonPolicyRemark,
	}, r.Code)
}

// leadSignature is the key that signed the whole composite, nil if nobody did
// whose signature was verified.
func leadSignature(tree *evidence.Tree) *verdict.LeadSignature {
	s := tree.Root().Content().Signer()
	if s == nil || !s.Verified {
		return nil
	}
	der, err := x509.MarshalPKIXPublicKey(s.Public)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(der)
	return &verdict.LeadSignature{SPKI: hex.EncodeToString(sum[:]), Thumbprint: s.Thumbprint}
}

// Rejudgement is by what a verified result is judged once more.
type Rejudgement struct {
	// Policy is the one to judge by, nil for the rules of this package alone.
	Policy Policy
	// Requirements replace those of the lead's policy and configuration; what signed
	// evidence demands stays.
	Requirements []verdict.Requirement
	// Simulated lets the result be affirming though verifiers trust extra roots.
	Simulated bool
	// Unsigned drops the lead's word about who signed the composite as a whole, which
	// nobody can repeat without the evidence.
	Unsigned bool
	// Caps are further ones of whoever judges again.
	Caps []verdict.Cap
}

// Rejudge combines the verified components of a result once more, under another
// policy and another demand: that of a relying party, or one that is tried beside
// the active one. What the lead's policy said is forgotten, also where it was
// stricter; whatever else the lead holds against the machine stays. The result is
// not signed. r must have passed verdict.VerifyResult, or be the lead's own.
func Rejudge(ctx context.Context, r *verdict.Result, schemes *verifiers.Set, j Rejudgement) *verdict.Result {
	again := *r
	again.Token, again.KID, again.Policy = nil, "", nil
	again.Components = slices.Clone(r.Components)
	for i := range again.Components {
		c := &again.Components[i]
		c.Lowered = verdict.Vector{}
		c.Reasons = slices.DeleteFunc(slices.Clone(c.Reasons), func(x verdict.Reason) bool {
			return ofPolicy(x) && x.Source == sourcePolicy || ofRelays(x.Code)
		})
	}
	if j.Unsigned {
		again.Lead = nil
	}
	requireClaims(schemes, again.Components)
	requireRelays(again.Components)
	demanded := slices.DeleteFunc(slices.Clone(r.Requirements), func(q verdict.Requirement) bool { return q.Source != verdict.SourceLeadEvidence })
	pass(ctx, &again, judgement{
		policy: j.Policy, requirements: append(demanded, j.Requirements...), simulated: j.Simulated, others: append(lasting(r), j.Caps...),
	})
	return &again
}

// lasting are the caps of a result that do not depend on its policy and its
// requirements, and so bind whoever judges it again.
func lasting(r *verdict.Result) []verdict.Cap {
	// What judge says anew from the results alone, and what can differ with the policy:
	// of software that the lead's policy did not call good nothing was believed.
	again := []string{
		verdict.ReasonUnboundComponent, verdict.ReasonNonceBound, verdict.ReasonExtraRoots, verdict.ReasonBindingWeak, verdict.ReasonBindingAbsent,
	}
	demands := verdict.Complete(r.Requirements, r.Components)
	return slices.DeleteFunc(slices.Clone(r.Caps), func(c verdict.Cap) bool {
		return ofPolicy(c.Reason) || slices.Contains(again, c.Reason.Code) || slices.Contains(demands, c)
	})
}
