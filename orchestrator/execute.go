// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// minReserve is kept of the budget for combining and signing.
const minReserve = 50 * time.Millisecond

// plan takes the tree apart into components and plans the topology over them.
func (o *Orchestrator) plan(ctx context.Context, tree *evidence.Tree, r Request) (*topologies.Plan, error) {
	_, span := o.tracer.Start(ctx, "plan")
	defer span.End()
	parts, err := o.components(tree)
	if err != nil {
		return nil, err
	}
	for p := range r.Given {
		if !slices.ContainsFunc(parts, func(c topologies.Component) bool { return c.Label.Under(p) }) {
			return nil, fmt.Errorf("%w: a nonce was given for %s, which was not submitted", ErrRequest, p)
		}
	}
	plan, err := topologies.New(o.expression(r), topologies.Input{
		Components: parts, Nonce: r.Nonce, Given: r.Given, Optional: r.Optional,
		Adjust: adjustment(tree), Commit: commitment(tree), Route: o.o.Route,
	})
	switch {
	case errors.Is(err, topologies.ErrLabel):
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrTopology, err)
	}
	return plan, nil
}

// expression is the topology of a request.
func (o *Orchestrator) expression(r Request) topologies.Expr {
	if r.Topology != nil {
		return *r.Topology
	}
	return *o.o.Topology
}

// components routes every leaf by its media type and splits those that carry
// several devices. What nobody can appraise stays in, with the reason.
func (o *Orchestrator) components(tree *evidence.Tree) ([]topologies.Component, error) {
	var out []topologies.Component
	for _, leaf := range tree.Leaves() {
		label := leaf.Path()
		if label == "" {
			label = "evidence" // a bare record has no label of its own
		}
		c := topologies.Component{Label: label, Leaf: label, MediaType: leaf.MediaType(), Evidence: leaf.Value()}
		if why := notEvidence(leaf.Indicator()); why != "" {
			c.Reason = &verdict.Reason{Code: verdict.ReasonNoVerifier, Detail: why}
			out = append(out, c)
			continue
		}
		out = append(out, o.split(c)...)
	}
	if len(out) > o.o.Limits.Leaves {
		return nil, fmt.Errorf("%w: more than %d components", ErrRequest, o.o.Limits.Leaves)
	}
	return out, nil
}

// notEvidence says why a record is not appraised as evidence, or nothing. A
// record without indicator is what its media type says.
func notEvidence(ind evidence.Indicator) string {
	switch {
	case ind == 0 || ind == evidence.IndEvidence:
		return ""
	case ind.Ambiguous():
		return "the record is marked as evidence and as a result, so what it is cannot be told"
	}
	return "the record is not marked as evidence alone"
}

// split routes a leaf, or each of the devices in it.
func (o *Orchestrator) split(c topologies.Component) []topologies.Component {
	parts, split, err := o.o.Schemes.Parts(c.MediaType, c.Evidence)
	if err != nil {
		c.Reason = routeReason(err)
		return []topologies.Component{c}
	}
	out := make([]topologies.Component, len(parts))
	for i, p := range parts {
		out[i] = c
		out[i].MediaType, out[i].Evidence = p.MediaType, p.Evidence
		if split {
			out[i].Label = c.Leaf.Index(i)
		}
		if p.Err != nil {
			out[i].Reason = routeReason(p.Err)
			continue
		}
		out[i].Scheme, out[i].Class, out[i].NonceSize = p.Scheme.Name, p.Scheme.Class, p.Scheme.NonceSize
	}
	return out
}

func routeReason(err error) *verdict.Reason {
	if errors.Is(err, verifiers.ErrMalformed) {
		return &verdict.Reason{Code: verdict.ReasonMalformed, Detail: err.Error()}
	}
	return &verdict.Reason{Code: verdict.ReasonNoVerifier, Detail: err.Error()}
}

// commitment is what a composite says of itself that its CPU TEE commits to.
func commitment(tree *evidence.Tree) *evidence.Commitment {
	if !tree.Commits() {
		return nil
	}
	return &evidence.Commitment{Leaves: tree.LeafDigests(), Signer: tree.LeadSigner()}
}

func adjustment(tree *evidence.Tree) *topologies.Adjustment {
	t := tree.Ratsd()
	if t == nil || t.Function == "" {
		return nil
	}
	a := &topologies.Adjustment{Function: t.Function, Sizes: map[string]int{}}
	for p, n := range t.Sizes {
		a.Sizes[string(p)] = n
	}
	return a
}

// execute runs every appraisal of the plan at once under one deadline and
// returns the components in the order of their labels.
func (o *Orchestrator) execute(ctx context.Context, plan *topologies.Plan, session string, at time.Time) ([]verdict.Component, error) {
	ctx, cancel := context.WithTimeout(ctx, o.callBudget(ctx))
	defer cancel()
	parts := make([]verdict.Component, 0, len(plan.Steps))
	for _, st := range plan.Steps {
		if st.Kind != topologies.Appraise {
			continue
		}
		id, err := o.random()
		if err != nil {
			return nil, err
		}
		parts = append(parts, verdict.Component{
			Label: st.Label, Scheme: st.Scheme, MediaType: st.MediaType.String(), Class: string(st.Class),
			Required: st.Required, Evidence: st.Digest, Nonce: st.Nonce, NonceRule: st.NonceRule, Request: id,
		})
	}
	width := make(chan struct{}, o.o.Width)
	var wg sync.WaitGroup
	for i := range parts {
		st := plan.Steps[i]
		if st.Reason != nil {
			parts[i].Reasons = append(parts[i].Reasons, *st.Reason)
			continue
		}
		wg.Go(func() { o.step(ctx, width, st, &parts[i], session, at) })
	}
	wg.Wait()
	return parts, nil
}

// callBudget is what the components may take: the whole budget or the caller's
// deadline, whichever is nearer, less a reserve for combining and signing.
func (o *Orchestrator) callBudget(ctx context.Context) time.Duration {
	budget := o.o.Budget
	if d, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(d))
	}
	return budget - max(budget/5, min(minReserve, budget/2))
}

// step appraises one component and never fails: no answer is a reason.
func (o *Orchestrator) step(ctx context.Context, width chan struct{}, st topologies.Step, c *verdict.Component, session string, at time.Time) {
	start := time.Now()
	ctx, span := o.tracer.Start(ctx, "appraise "+st.Scheme, trace.WithAttributes(
		attribute.String("assize.scheme", st.Scheme), attribute.String("assize.component", string(st.Label))))
	defer func() {
		c.Duration = time.Since(start)
		span.SetAttributes(attribute.String("assize.tier", c.Tier().String()))
		span.End()
	}()
	for _, sem := range []chan struct{}{width, o.slots} {
		select {
		case sem <- struct{}{}:
			defer func() { <-sem }()
		case <-ctx.Done():
			c.Reasons = append(c.Reasons, verdict.Reason{Code: verdict.ReasonTimeout, Detail: "the budget ended before it could be sent"})
			return
		}
	}
	p, err := o.await(ctx, st, *c, session, at)
	if err != nil {
		c.Reasons = append(c.Reasons, failureReason(err))
		return
	}
	c.Partial = p
}

// await bounds a call by the deadline even where the Appraiser does not mind
// it, and keeps a panic in it from ending the process.
func (o *Orchestrator) await(ctx context.Context, st topologies.Step, c verdict.Component, session string, at time.Time) (verdict.Partial, error) {
	type answer struct {
		p   verdict.Partial
		err error
	}
	done := make(chan answer, 1)
	go func() {
		a := answer{err: errors.New("orchestrator: the appraiser panicked")}
		defer func() {
			_ = recover() // a is what stands when the call did not return
			done <- a
		}()
		a.p, a.err = o.call(ctx, st, &c, session, at)
	}()
	select {
	case a := <-done:
		return a.p, a.err
	case <-ctx.Done():
	}
	select { // an answer at the last moment still counts
	case a := <-done:
		return a.p, a.err
	default:
		return verdict.Partial{}, ctx.Err()
	}
}

func (o *Orchestrator) call(ctx context.Context, st topologies.Step, c *verdict.Component, session string, at time.Time) (verdict.Partial, error) {
	expect := verdict.Expect{
		Label: st.Label, Scheme: st.Scheme, Request: c.Request, Nonce: st.Nonce, NonceRule: st.NonceRule,
		Evidence: st.Digest, MediaType: c.MediaType, VerificationTime: at,
	}
	return o.o.Appraiser.Appraise(ctx, verifiers.Call{
		Request: verifiers.Request{
			ID: c.Request, Session: session, Label: st.Label, Scheme: st.Scheme, MediaType: st.MediaType,
			Evidence: st.Evidence, Nonce: st.Nonce, NonceRule: st.NonceRule, Time: at,
		},
		Candidates: st.Candidates,
		Verify: func(token []byte) (verdict.Partial, error) {
			return verdict.VerifyPartial(token, expect, verdict.Intake{Now: o.o.Clock()}, o.o.Anchors)
		},
	})
}

func failureReason(err error) verdict.Reason {
	var f *verifiers.Failure
	if errors.As(err, &f) {
		return verdict.Reason{Code: f.Reason, Detail: f.Detail}
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return verdict.Reason{Code: verdict.ReasonTimeout, Detail: "no answer within the budget"}
	case errors.Is(err, context.Canceled):
		return verdict.Reason{Code: verdict.ReasonCancelled, Detail: "the caller went away"}
	}
	return verdict.Reason{Code: verdict.ReasonMalfunction, Detail: "the verifier cannot be used"}
}

// conclusion is everything that the verdict is made of.
type conclusion struct {
	request Request
	tree    *evidence.Tree
	plan    *topologies.Plan
	session string
	parts   []verdict.Component
	// asSubmitted: the topology names nothing that has to be there.
	asSubmitted bool
}

// conclude binds, combines and signs.
func (o *Orchestrator) conclude(ctx context.Context, c conclusion) (*verdict.Result, error) {
	_, span := o.tracer.Start(ctx, "combine")
	defer span.End()
	slices.SortFunc(c.parts, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
	requireClaims(o.o.Schemes, c.parts)
	res := &verdict.Result{
		Verifier: o.o.Identity, Time: o.o.Clock(), VerificationTime: c.request.Time,
		Session: c.session, Topology: c.plan.Topology, PlanDigest: c.plan.Digest(),
		Nonce: c.request.Nonce, Composite: c.tree.Digest(), Components: c.parts,
	}
	if slices.ContainsFunc(c.parts, func(p verdict.Component) bool { return p.NonceRule == topologies.RuleCommitment }) {
		res.Commitment = commitment(c.tree)
	}
	res.Bindings, res.Caps = judge(res)
	res.Caps = append(res.Caps, foreignSession(c.tree, res.Nonce)...)
	if c.asSubmitted {
		res.Caps = append(res.Caps, verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{
			Code: verdict.ReasonAsSubmitted, Detail: "the topology asks for what was submitted, so a component that was left out is not missed"}})
	}
	res.Outcome = verdict.Combine(res.Components, res.Caps)
	if _, err := verdict.SignResult(o.o.Signer, res, o.o.Lifetime); err != nil {
		return nil, err
	}
	return res, nil
}
