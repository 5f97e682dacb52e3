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
	"github.com/assize/assize/relay"
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
	in := PlanInput(tree, parts)
	in.Nonce, in.Given, in.Optional = r.Nonce, r.Given, r.Optional
	in.Route, in.Self = o.o.Route, o.o.Peers.self()
	in.Paths, in.Passed = o.o.Peers.paths(), []string{o.o.Peers.self()}
	plan, err := topologies.New(o.expression(r), in)
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
		if isInventory(leaf) {
			continue // which the lead reads itself
		}
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

// PlanInput is what a plan has from the evidence: its components, and what the
// composite says about its challenges. Everything else is the caller's.
func PlanInput(tree *evidence.Tree, parts []topologies.Component) topologies.Input {
	return topologies.Input{Components: parts, Adjust: adjustment(tree), Commit: commitment(tree)}
}

// commitment is what the challenges depend on by what a composite says of itself.
func commitment(tree *evidence.Tree) *evidence.Commitment { return tree.Commitment() }

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

// run is the execution of one plan.
type run struct {
	o       *Orchestrator
	plan    *topologies.Plan
	session string
	at      time.Time // verification time, zero for now
	parts   []verdict.Component
	// done is closed for a component when its result is there, or its reason.
	done []chan struct{}
	// composite, whole, nonce and commit are about the message as a whole; whole
	// is nil where this node has not got it.
	composite [32]byte
	whole     []byte
	nonce     []byte
	commit    *evidence.Commitment
	// origin is the envelope that this node answers, nil at the entry.
	origin *relay.Envelope
	// requests are the identifiers that a sender has given to its components.
	requests map[evidence.Path]string
	// mu guards via, the further nodes that something passed, and what these and
	// others have signed about that.
	mu       sync.Mutex
	via      []string
	receipts []verdict.Receipt
	// passages are the envelopes that went out; mu guards them too.
	passages []*passage
}

// execute runs every appraisal and every relay of the plan at once under one
// deadline. A relay that needs results waits for them.
func (r *run) execute(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.o.callBudget(ctx))
	defer cancel()
	for _, st := range r.plan.Steps {
		if st.Kind != topologies.Appraise {
			continue
		}
		id := r.requests[st.Label]
		if id == "" {
			var err error
			if id, err = r.o.random(); err != nil {
				return err
			}
		}
		r.parts = append(r.parts, verdict.Component{
			Label: st.Label, Scheme: st.Scheme, MediaType: st.MediaType.String(), Class: string(st.Class),
			Required: st.Required, Evidence: st.Digest, Nonce: st.Nonce, NonceRule: st.NonceRule, Request: id,
			Site: site(st),
		})
		r.done = append(r.done, make(chan struct{}))
	}
	width := make(chan struct{}, r.o.o.Width)
	var wg sync.WaitGroup
	for i := range r.parts {
		st := r.plan.Steps[i]
		switch {
		case st.Reason != nil:
			r.parts[i].Reasons = append(r.parts[i].Reasons, *st.Reason)
			close(r.done[i])
		case st.Relay == 0:
			wg.Go(func() {
				defer close(r.done[i])
				r.step(ctx, width, st, &r.parts[i])
			})
		}
	}
	for i := range r.plan.Relays {
		wg.Go(func() { r.relay(ctx, i) })
	}
	wg.Wait()
	return nil
}

// site is where the verifier of a step is asked, by the node that asks it.
func site(st topologies.Step) string {
	if st.Relay > 0 {
		return st.Site
	}
	return st.Node
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
func (r *run) step(ctx context.Context, width chan struct{}, st topologies.Step, c *verdict.Component) {
	o := r.o
	start := time.Now()
	ctx, span := o.tracer.Start(ctx, "appraise "+st.Scheme, trace.WithAttributes(
		attribute.String("assize.scheme", st.Scheme), attribute.String("assize.component", string(st.Label))))
	defer func() {
		c.Duration = time.Since(start)
		span.SetAttributes(attribute.String("assize.tier", c.Tier().String()))
		span.End()
	}()
	// Before a slot is taken: to appraise what a node shows takes slots as well.
	strangers := o.introductions(ctx, nodesOf(st))
	for _, sem := range []chan struct{}{width, o.slots} {
		select {
		case sem <- struct{}{}:
			defer func() { <-sem }()
		case <-ctx.Done():
			c.Reasons = append(c.Reasons, verdict.Reason{Code: verdict.ReasonTimeout, Detail: "the budget ended before it could be sent"})
			return
		}
	}
	if st.Sources != nil {
		r.sources(ctx, st, c, strangers)
		return
	}
	if err := strangers[st.Node]; err != nil {
		c.Reasons = append(c.Reasons, failureReason(err))
		return
	}
	p, err := r.await(ctx, st, *c)
	if err != nil {
		c.Reasons = append(c.Reasons, failureReason(err))
		return
	}
	c.Partial = p
}

// sources asks redundant verifiers of one component at once.
func (r *run) sources(ctx context.Context, st topologies.Step, c *verdict.Component, strangers map[string]error) {
	type answer struct {
		p   verdict.Partial
		err error
	}
	answers := make([]answer, len(st.Sources))
	var wg sync.WaitGroup
	for i, src := range st.Sources {
		one := st
		one.Node, one.Candidates = src.Node, src.Candidates
		if answers[i].err = strangers[src.Node]; answers[i].err != nil {
			continue
		}
		if len(src.Candidates) == 0 {
			answers[i].err = &verifiers.Failure{Reason: verdict.ReasonNoVerifier, Detail: "no node serves " + st.Scheme + " at " + src.Node}
			continue
		}
		wg.Go(func() { answers[i].p, answers[i].err = r.await(ctx, one, *c) })
	}
	wg.Wait()
	var all []verdict.Partial
	var why []verdict.Reason
	for i, a := range answers {
		if a.err == nil {
			all = append(all, a.p)
			continue
		}
		reason := failureReason(a.err)
		reason.Detail = "verifier at " + st.Sources[i].Node + ": " + reason.Detail
		why = append(why, reason)
	}
	settle(st, c, all, why)
}

// settle puts results and the reasons of those who gave none in their places.
// In a group of redundant verifiers the quorum decides what a silent one means.
func settle(st topologies.Step, c *verdict.Component, all []verdict.Partial, why []verdict.Reason) {
	if st.Quorum > 0 {
		c.Quorum, c.Asked, c.Sites = st.Quorum, len(st.Sources), nil
		if slices.ContainsFunc(st.Sources, func(s topologies.Source) bool { return s.Node != "" }) {
			for _, src := range st.Sources {
				c.Sites = append(c.Sites, src.Node)
			}
		}
		verdict.SetPartials(c, all, why...)
		return
	}
	c.Reasons = append(c.Reasons, why...)
	if len(all) == 1 && len(why) == 0 {
		c.Partial = all[0]
		return
	}
	if len(why) == 0 {
		c.Reasons = append(c.Reasons, verdict.Reason{Code: verdict.ReasonBadPAR, Detail: "not one result"})
	}
}

// await bounds a call by the deadline even where the Appraiser does not mind
// it, and keeps a panic in it from ending the process.
func (r *run) await(ctx context.Context, st topologies.Step, c verdict.Component) (verdict.Partial, error) {
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
		a.p, a.err = r.call(ctx, st, &c)
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

// expect is what a partial result about a component has to be.
func (r *run) expect(st topologies.Step, c *verdict.Component) verdict.Expect {
	return verdict.Expect{
		Label: st.Label, Scheme: st.Scheme, Request: c.Request, Nonce: st.Nonce, NonceRule: st.NonceRule,
		Evidence: st.Digest, MediaType: c.MediaType, VerificationTime: r.at,
	}
}

func (r *run) call(ctx context.Context, st topologies.Step, c *verdict.Component) (verdict.Partial, error) {
	expect, anchors := r.expect(st, c), r.o.verifiersOf(st.Node)
	return r.o.o.Appraiser.Appraise(ctx, verifiers.Call{
		Request: verifiers.Request{
			ID: c.Request, Session: r.session, Label: st.Label, Scheme: st.Scheme, MediaType: st.MediaType,
			Evidence: st.Evidence, Nonce: st.Nonce, NonceRule: st.NonceRule, Time: r.at, Composite: r.composite,
		},
		Candidates: st.Candidates,
		Verify: func(token []byte) (verdict.Partial, error) {
			return verdict.VerifyPartial(token, expect, verdict.Intake{Now: r.o.o.Clock()}, anchors)
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
	// planDigest is that of plan, which may be in the making.
	planDigest func() [32]byte
	session    string
	parts      []verdict.Component
	// receipts are what other nodes have signed about what they received.
	receipts []verdict.Receipt
	// asSubmitted: the topology names nothing that has to be there.
	asSubmitted bool
}

// conclude binds, combines and signs.
func (o *Orchestrator) conclude(ctx context.Context, c conclusion) (*verdict.Result, error) {
	_, span := o.tracer.Start(ctx, "combine")
	defer span.End()
	slices.SortFunc(c.parts, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
	requireClaims(o.o.Schemes, c.parts)
	requireRelays(c.parts)
	now := o.o.Clock()
	revision, related := o.consult(now, c.request.Time, c.parts)
	res := &verdict.Result{
		Verifier: o.o.Identity, Time: now, VerificationTime: c.request.Time, References: revision,
		Session: c.session, Topology: c.plan.Topology, PlanDigest: c.planDigest(),
		Nonce: c.request.Nonce, Composite: c.tree.Digest(), Components: c.parts,
		Node: o.o.Peers.self(), Receipts: c.receipts,
	}
	if slices.ContainsFunc(c.parts, func(p verdict.Component) bool { return topologies.OfComposite(p.NonceRule) }) {
		res.Commitment = commitment(c.tree)
	}
	res.Lead = leadSignature(c.tree)
	others := append(related, foreignSession(c.tree, res.Nonce)...)
	if c.asSubmitted {
		others = append(others, verdict.Cap{Tier: verdict.TierAffirming, Reason: verdict.Reason{
			Code: verdict.ReasonAsSubmitted, Detail: "the topology asks for what was submitted, so a component that was left out is not missed"}})
	}
	demanded, unreadable := stock(res, c.tree)
	pass(ctx, res, judgement{
		policy: o.o.Policy, requirements: append(demanded, o.o.Requirements...), simulated: o.o.Simulated, others: append(others, unreadable...),
	})
	if _, err := verdict.SignResult(o.o.Signer, res, o.o.Lifetime); err != nil {
		return nil, err
	}
	if o.o.DryRun != nil {
		other := Rejudge(ctx, res, o.o.Schemes, Rejudgement{Policy: o.o.DryRun, Requirements: o.o.Requirements, Simulated: o.o.Simulated})
		d := res.Compare(other)
		res.DryRun = &d
	}
	return res, nil
}
