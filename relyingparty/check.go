// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Verdict is what a relying party concludes.
type Verdict struct {
	// Tier and Reasons are those of Own.
	Tier    verdict.Tier
	Reasons []verdict.Reason
	// Accepted: the policy takes a machine with this tier, which for most policies is
	// verdict.TierAffirming alone.
	Accepted bool
	// Own is the relying party's own result. Nobody has signed it.
	Own *verdict.Result
	// Lead is the verdict as the lead signed it, verified; of several results that
	// were combined (Combine) what follows from them without a policy, not signed.
	Lead *verdict.Result
	// Evidence reports that all of it was compared with the evidence.
	Evidence bool
}

// Refusal is why a verdict must not be believed. Code is lying-aar where the lead
// says better than its parts allow, else another reason code that says what is wrong
// with the verdict: bad-aar, bad-aar-signature, aar-stale, nonce-mismatch,
// missing-component, path-deviation, par-subject-mismatch …
type Refusal struct {
	Code string
	Err  error
}

// Error implements error.
func (r *Refusal) Error() string { return "relyingparty: " + r.Code + ": " + r.Err.Error() }

// Unwrap gives the finding of the check that failed.
func (r *Refusal) Unwrap() error { return r.Err }

func refuse(code string, err error) error {
	if err == nil {
		return nil
	}
	return &Refusal{Code: code, Err: err}
}

// Check verifies a signed verdict, or a bundle with one, and judges by the options
// what follows from it. See the package comment.
//
// An error that wraps ErrOptions is about the options; every other one means that
// the verdict must not be believed, and is a *Refusal.
func Check(ctx context.Context, token []byte, o Options) (*Verdict, error) {
	anchors, err := o.anchors()
	if err != nil {
		return nil, err
	}
	bundle, err := open(token)
	if err != nil {
		return nil, refuse(verdict.ReasonBadAAR, err)
	}
	lead, err := verdict.VerifyResult(bundle.Verdict, verdict.Intake{Now: o.Now, MaxAge: o.maxAge()}, anchors)
	if err != nil {
		return nil, refusal(err)
	}
	if bundle.Format != "" {
		if err := bundle.CheckFormat(); err != nil {
			return nil, refuse(verdict.ReasonBadAAR, err)
		}
	}
	if age := o.Now.Sub(lead.Time); o.MaxAge > 0 && age > o.MaxAge {
		return nil, refuse(verdict.ReasonAARStale, fmt.Errorf("the verdict is %s old, older than %s", age, o.MaxAge))
	}
	if !o.NoNonce && !lead.HasNonce(o.Nonce) {
		return nil, refuse(verdict.ReasonNonceMismatch, errors.New("the verdict is for another session nonce"))
	}
	c := check{o: o, anchors: anchors, lead: lead}
	if err := c.honest(bundle); err != nil {
		return nil, err
	}
	if err := c.demands(); err != nil {
		return nil, err
	}
	return c.conclude(ctx)
}

// open tells a bundle (JSON) from a verdict.
func open(token []byte) (verdict.Bundle, error) {
	trimmed := bytes.Trim(token, " \t\r\n") // the space of JSON, and no other
	switch {
	case bytes.HasPrefix(trimmed, []byte("{")):
		return verdict.DecodeBundle(trimmed)
	case trust.IsCWT(token): // binary: what looks like space is none
		return verdict.Bundle{Verdict: token}, nil
	}
	return verdict.Bundle{Verdict: trimmed}, nil
}

// refusal keeps the code of a verdict that does not verify.
func refusal(err error) error {
	var why *verdict.VerifyError
	if errors.As(err, &why) {
		return refuse(why.Code, err)
	}
	return refuse(verdict.ReasonBadAAR, err)
}

// check is the state of Check.
type check struct {
	o       Options
	anchors *trust.Anchors
	lead    *verdict.Result
	// tree is the evidence, nil if it is not at hand; signed: the relying party has
	// itself verified who signed it.
	tree   *evidence.Tree
	signed bool
}

// honest refuses a verdict that does not follow from what is in it, by the rules
// that its lead says it has applied, and one that is about something else than the
// evidence.
func (c *check) honest(bundle verdict.Bundle) error {
	if err := orchestrator.RecheckStated(c.lead, c.o.Schemes); err != nil {
		return refuse(verdict.ReasonLyingAAR, err)
	}
	for _, e := range []struct {
		raw       []byte
		mediaType string
	}{{bundle.Evidence, bundle.EvidenceType}, {c.o.Evidence, c.o.EvidenceType}} {
		if e.raw == nil {
			continue
		}
		tree, err := c.o.tree(e.raw, e.mediaType, c.anchors)
		if err != nil {
			return refuse(verdict.ReasonPARSubject, fmt.Errorf("evidence: %w", err))
		}
		if err := orchestrator.RecheckEvidence(c.lead, c.o.Schemes, tree); err != nil {
			return refuse(verdict.ReasonPARSubject, err)
		}
		if c.signed, err = orchestrator.RecheckLeadSignature(c.lead, tree); err != nil {
			return refuse(verdict.ReasonLyingAAR, err)
		}
		c.tree = tree
	}
	if c.o.References == nil {
		return nil
	}
	at := c.lead.VerificationTime
	if at.IsZero() {
		at = c.lead.Time
	}
	x, err := c.o.References(at)
	if err != nil {
		return fmt.Errorf("%w: References: %w", ErrOptions, err)
	}
	return refuse(verdict.ReasonLyingAAR, orchestrator.RecheckReferences(c.lead, x))
}

// demands refuses a verdict that is not about what the relying party asks for.
func (c *check) demands() error {
	if c.o.RequireEvidence && c.tree == nil {
		return refuse(verdict.ReasonPARSubject, errors.New("the evidence is not at hand, and it is required"))
	}
	if c.o.Topology != nil {
		if err := orchestrator.RecheckTopology(c.lead, *c.o.Topology); err != nil {
			return refuse(verdict.ReasonMissingComponent, err)
		}
	}
	if err := orchestrator.RecheckPlaces(c.lead, c.o.Nodes, c.lead.Time); err != nil {
		return refuse(verdict.ReasonPathDeviation, err)
	}
	if c.o.Paths == nil {
		return nil
	}
	return refuse(verdict.ReasonPathDeviation, orchestrator.RecheckPaths(c.lead, c.o.Paths))
}

// Difference says how the relying party's own result differs from the lead's: Was is
// the lead's tier. Reasons that the lead gave and that do not hold here are Removed,
// those that hold for the relying party alone are Added.
func (v *Verdict) Difference() verdict.Difference { return v.Lead.Compare(v.Own) }

// Caps are those that lower one of the two results and not the other, or not as far.
func (v *Verdict) Caps() (own, lead []verdict.Cap) {
	only := func(a, b []verdict.Cap) []verdict.Cap {
		return slices.DeleteFunc(slices.Clone(a), func(c verdict.Cap) bool { return c.Tier == verdict.TierAffirming || slices.Contains(b, c) })
	}
	return only(v.Own.Caps, v.Lead.Caps), only(v.Lead.Caps, v.Own.Caps)
}

// Differs reports whether a tier, of the whole or of a component, or a cap is another
// one than the lead's.
func (v *Verdict) Differs() bool {
	d := v.Difference()
	own, lead := v.Caps()
	return d.Tier != d.Was || len(d.Components)+len(own)+len(lead) > 0
}
