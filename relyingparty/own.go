// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/verdict"
)

// conclude judges the signed results once more, by the relying party's own rules.
func (c *check) conclude(ctx context.Context) (*Verdict, error) {
	p := c.o.Policy
	if p == nil {
		var err error
		if p, err = policy.Library("default"); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOptions, err)
		}
	}
	own := orchestrator.Rejudge(ctx, c.lead, c.o.Schemes, orchestrator.Rejudgement{
		Policy: p, Requirements: c.o.require(), Simulated: c.o.AllowSimulated, Unsigned: !c.signed, Caps: c.caps(p),
	})
	if !c.o.explicit() {
		asStrict(own, c.lead)
	}
	return &Verdict{
		Tier: own.Outcome.Tier, Reasons: own.Outcome.Reasons, Accepted: own.Policy.Accepted,
		Own: own, Lead: c.lead, Evidence: c.tree != nil,
	}, nil
}

// caps are those that hold for a relying party and not for a lead: for what it
// cannot repeat, and for recordings.
func (c *check) caps(p orchestrator.Policy) []verdict.Cap {
	var caps []verdict.Cap
	if c.tree == nil {
		s := p.Statement()
		caps = slices.DeleteFunc(orchestrator.Unrepeatable(c.lead), func(x verdict.Cap) bool { return s.Relaxes(x.Reason.Code) })
	}
	if at := c.lead.VerificationTime; !at.IsZero() && !c.o.AllowRecorded {
		caps = append(caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code: verdict.ReasonTimeOverridden, Source: "relying party",
			Detail: "the verdict was made as of " + at.UTC().Format(time.RFC3339) + ", which this relying party does not take for now"}})
	}
	return caps
}

// asStrict makes an outcome no better than that of the lead, whose reasons are then
// given as well.
func asStrict(own, lead *verdict.Result) {
	if !lead.Outcome.Tier.WorseThan(own.Outcome.Tier) {
		return
	}
	own.Outcome.Tier = lead.Outcome.Tier
	own.Outcome.Vector = own.Outcome.Vector.Lower(lead.Outcome.Vector)
	for _, r := range lead.Outcome.Reasons {
		if !slices.Contains(own.Outcome.Reasons, r) {
			own.Outcome.Reasons = append(own.Outcome.Reasons, r)
		}
	}
	own.Policy.Accepted = !own.Outcome.Tier.WorseThan(own.Policy.Acceptable)
}

// Combine puts results together that were collected without a lead
// (orchestrator.CombineCollected), and judges them as Check does. Results are
// partial results, and verdicts of which every one is taken. Options.Topology, what
// has to be there and judged by how many, must be set; Paths and References are not
// looked at.
func Combine(ctx context.Context, results [][]byte, o Options) (*Verdict, error) {
	anchors, err := o.anchors()
	if err != nil {
		return nil, err
	}
	if o.Topology == nil {
		return nil, fmt.Errorf("%w: no Topology: what has to be there is not for the results to say", ErrOptions)
	}
	c := check{o: o, anchors: anchors}
	if o.Evidence != nil {
		if c.tree, err = o.tree(o.Evidence, o.EvidenceType, anchors); err != nil {
			return nil, refuse(verdict.ReasonPARSubject, fmt.Errorf("evidence: %w", err))
		}
	}
	c.lead, err = orchestrator.CombineCollected(orchestrator.Collected{
		Topology: *o.Topology, Results: results, Nonce: o.Nonce, Evidence: c.tree, Anchors: anchors, Nodes: o.Nodes, Schemes: o.Schemes,
		Intake: verdict.Intake{Now: o.Now, MaxAge: o.MaxAge}, Simulated: o.AllowSimulated,
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if o.RequireEvidence && c.tree == nil {
		return nil, fmt.Errorf("%w: the evidence is required, and there is none", ErrOptions)
	}
	c.signed = c.lead.Lead != nil
	return c.conclude(ctx)
}
