// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// relayMargin is what the sender keeps of the budget for reading an answer.
const relayMargin = 50 * time.Millisecond

// relay hands one part of the topology to another node and takes its answer
// in. It never fails: every component that it is about gets a result or a
// reason.
func (r *run) relay(ctx context.Context, index int) {
	rel := r.plan.Relays[index]
	mine := r.relayed(index)
	defer func() {
		for _, i := range mine {
			close(r.done[i])
		}
	}()
	if len(mine) == 0 {
		return
	}
	ctx, span := r.o.tracer.Start(ctx, "relay "+rel.Node, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("assize.node", rel.Node), attribute.Int("assize.components", len(mine))))
	defer span.End()
	start := time.Now()
	err := r.handOn(ctx, index, mine)
	for _, i := range mine {
		c := &r.parts[i]
		c.Duration = time.Since(start)
		if err != nil {
			c.Reasons = append(c.Reasons, failureReason(err))
		}
	}
}

// relayed are the positions of the components that a relay has to bring.
func (r *run) relayed(index int) []int {
	var out []int
	for i := range r.parts {
		if st := r.plan.Steps[i]; st.Relay == index+1 && st.Reason == nil {
			out = append(out, i)
		}
	}
	return out
}

func (r *run) handOn(ctx context.Context, index int, mine []int) error {
	p := r.o.o.Peers
	rel := r.plan.Relays[index]
	if p == nil || p.Relayer == nil {
		return refused("this node hands nothing on")
	}
	if _, known := p.Nodes.Lookup(rel.Node); !known {
		return refused("node " + rel.Node + " is not known here")
	}
	if err := r.onwards(rel.Node); err != nil {
		return err
	}
	strangers, err := r.strangers(ctx, rel.Node, mine)
	if err != nil {
		return err
	}
	earlier, err := r.awaitNeeds(ctx, rel.Needs)
	if err != nil {
		return err
	}
	env, err := r.envelope(ctx, rel, mine, earlier, strangers)
	if err != nil || env == nil {
		return err
	}
	message, err := env.Sign(p.Signer, r.o.o.Rand)
	if err != nil {
		return fmt.Errorf("orchestrator: envelope: %w", err)
	}
	sent := r.note(rel.Node, env, message)
	raw, err := r.exchange(ctx, rel.Node, env.ID, message)
	if err != nil {
		return sent.failed(err)
	}
	answer, kid, err := relay.OpenAnswer(raw, env, message, p.signers(rel.Node, r.o), r.o.o.Clock())
	if err != nil {
		return sent.failed(relayFailure(err))
	}
	sent.answered(kid, raw)
	r.passed(answer.Via[len(env.Via):])
	r.takeIn(answer, env, mine)
	return nil
}

// onwards refuses what the next node would refuse, so that the component says
// why: a way that comes back, or is too long (decision D-43).
func (r *run) onwards(next string) error {
	self := r.o.o.Peers.Self
	if next == self || r.origin != nil && slices.Contains(r.origin.Path, next) {
		return &verifiers.Failure{Reason: verdict.ReasonLoop, Detail: "it would come back to node " + next}
	}
	if r.origin != nil && len(r.origin.Path) >= relay.MaxHops {
		return &verifiers.Failure{Reason: verdict.ReasonPathDeviation, Detail: fmt.Sprintf("it has passed %d nodes and may not go further", len(r.origin.Path)+1)}
	}
	return nil
}

// exchange bounds the relayer by the deadline even where it does not mind it,
// and keeps a panic in it from ending the process.
func (r *run) exchange(ctx context.Context, node, id string, message []byte) ([]byte, error) {
	type reply struct {
		raw []byte
		err error
	}
	done := make(chan reply, 1)
	go func() {
		a := reply{err: errors.New("orchestrator: the relayer panicked")}
		defer func() {
			_ = recover() // a is what stands when the call did not return
			done <- a
		}()
		a.raw, a.err = r.o.o.Peers.Relayer.Relay(ctx, node, id, message)
	}()
	select {
	case a := <-done:
		return a.raw, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// awaitNeeds waits for the results that go along and gives their tokens in the
// order of the cascade. One that has none is left out: its reason stays here. So
// is one that takes more than half of the time that is left: who is silent must
// not keep the rest of the chain from an answer.
func (r *run) awaitNeeds(ctx context.Context, needs []evidence.Path) ([]relay.Partial, error) {
	var out []relay.Partial
	if r.origin != nil {
		out = append(out, r.origin.Partials...)
	}
	patience := ctx
	if d, ok := ctx.Deadline(); ok {
		half, cancel := context.WithTimeout(ctx, time.Until(d)/2)
		defer cancel()
		patience = half
	}
	for _, label := range needs {
		i := slices.IndexFunc(r.plan.Steps, func(st topologies.Step) bool { return st.Label == label })
		select {
		case <-r.done[i]:
		case <-patience.Done():
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			select { // one that is there still goes along
			case <-r.done[i]:
			default:
				continue
			}
		}
		for _, p := range r.parts[i].Partials() {
			out = append(out, relay.Partial{Label: label, Token: p.Token()})
		}
	}
	return out, nil
}

// envelope is what the next node gets to see. There is none where nothing could
// be handed on; each component then has its reason.
func (r *run) envelope(ctx context.Context, rel topologies.Relay, mine []int, earlier []relay.Partial, strangers map[evidence.Path]error) (*relay.Envelope, error) {
	p := r.o.o.Peers
	id, err := r.o.random()
	if err != nil {
		return nil, err
	}
	now := r.o.o.Clock()
	env := &relay.Envelope{
		ID: id, Session: r.session, To: rel.Node, Expr: rel.Expr.String(), Issued: now, Deadline: r.deadline(ctx, now),
		VerificationTime: r.at, Composite: r.composite, Nonce: r.nonce, Commit: r.commit, Partials: earlier,
	}
	if r.origin != nil {
		env.Via, env.Path = slices.Clone(r.origin.Via), slices.Clone(r.origin.Path)
	}
	env.Via, env.Path = append(env.Via, p.Signer.KID()), append(env.Path, p.Self)
	if p.Expose {
		env.Evidence = r.whole
	}
	withheld := 0
	for _, i := range mine {
		c, err := r.handed(r.plan.Steps[i], &r.parts[i], strangers[r.plan.Steps[i].Label])
		if err != nil { // what cannot be handed on does not keep back the others
			c.Evidence, c.Sealed, c.For = nil, "", ""
			r.parts[i].Reasons = append(r.parts[i].Reasons, failureReason(err))
			withheld++
		}
		env.Components = append(env.Components, c)
	}
	if withheld == len(mine) {
		return nil, nil
	}
	return env, nil
}

// deadline leaves the sender time to read the answer.
func (r *run) deadline(ctx context.Context, now time.Time) time.Time {
	left := r.o.o.Budget
	if d, ok := ctx.Deadline(); ok {
		left = time.Until(d)
	}
	return now.Add(left - min(relayMargin, left/4))
}

// handed is one component on its way to the node that answers for it: sealed
// to that node, or as the entry node has sealed it.
func (r *run) handed(st topologies.Step, c *verdict.Component, stranger error) (relay.Component, error) {
	out := relay.Component{
		Label: st.Label, Leaf: st.Leaf, Scheme: st.Scheme, MediaType: c.MediaType, Class: c.Class, Request: c.Request,
		Nonce: st.Nonce, NonceRule: st.NonceRule, Required: st.Required, Digest: st.Digest, For: st.Node, Sources: len(st.Sources),
	}
	if r.origin != nil {
		sealed := func(c relay.Component) bool { return c.Label == st.Label && c.Sealed != "" && c.For == st.Node }
		if i := slices.IndexFunc(r.origin.Components, sealed); i >= 0 {
			was := r.origin.Components[i]
			out.Evidence, out.Sealed = was.Evidence, was.Sealed
			return out, nil
		}
	}
	if stranger != nil { // whoever hands it on has no evidence for it either
		return out, stranger
	}
	p := r.o.o.Peers
	if st.Evidence == nil {
		return out, refused("the evidence of " + string(st.Label) + " is not for this node to hand on")
	}
	node, known := p.Nodes.Lookup(st.Node)
	if !known {
		return out, refused("node " + st.Node + " is not known here")
	}
	key, ok := node.SealKey(r.o.o.Clock())
	switch {
	case ok:
		sealed, err := key.Seal(sealInfo(r.session, out), st.Evidence)
		if err != nil {
			return out, fmt.Errorf("orchestrator: seal: %w", err)
		}
		out.Evidence, out.Sealed = sealed, key.KID
	case p.Expose:
		out.Evidence, out.For = st.Evidence, ""
	default:
		return out, refused("node " + st.Node + " has no key to seal evidence to")
	}
	return out, nil
}

// sealInfo binds sealed evidence to its place.
func sealInfo(session string, c relay.Component) trust.SealInfo {
	return trust.SealInfo{
		Session: session, Request: c.Request, Scheme: c.Scheme, MediaType: c.MediaType, Label: string(c.Label),
		Nonce: c.Nonce, Digest: c.Digest, To: c.For,
	}
}

// takeIn verifies every new partial result of an answer, each under the keys of
// the node that answers for its component, and gives the others their reason.
func (r *run) takeIn(a *relay.Answer, env *relay.Envelope, mine []int) {
	earlier, room := len(env.Partials), r.keep(a.Receipts)
	for _, i := range mine {
		st, c := r.plan.Steps[i], &r.parts[i]
		if len(c.Reasons) > 0 {
			continue // its evidence stayed here
		}
		var all []verdict.Partial
		var why []verdict.Reason
		own := r.owners(st)
		for _, p := range a.Partials[earlier:] {
			if p.Label != st.Label {
				continue
			}
			got, err := own.verify(p.Token, r.expect(st, c), verdict.Intake{Now: r.o.o.Clock()})
			var intake *verdict.IntakeError
			switch {
			case errors.As(err, &intake):
				why = append(why, verdict.Reason{Code: intake.Code, Detail: intake.Detail}.Compared(intake.Compared))
			case err != nil:
				why = append(why, verdict.Reason{Code: verdict.ReasonBadPAR, Detail: "the result cannot be read"})
			default:
				all = append(all, got)
			}
		}
		for _, f := range a.Failures {
			if f.Label == st.Label {
				why = append(why, verdict.Reason{Code: f.Code, Detail: "node " + st.Node + ": " + f.Detail})
			}
		}
		if len(all) > 0 {
			path, wrong := r.way(env, st, c.Request, a.Receipts)
			if !room {
				wrong = "more receipts than can be kept"
			}
			if wrong != "" {
				all, why = nil, append(why, verdict.Reason{Code: verdict.ReasonPathDeviation, Detail: wrong})
			}
			c.Path = path
		}
		settle(st, c, all, why)
	}
}

// owners are those whose results count for a relayed component, a set for each
// verifier that was asked: the verifiers of the site that the expression names,
// where that is a node that we know, else those of the node that answers.
type owners []*trust.Anchors

func (r *run) owners(st topologies.Step) owners {
	sites := []string{st.Site}
	if st.Sources != nil {
		sites = nil
		for _, src := range st.Sources {
			sites = append(sites, src.Node)
		}
	}
	nodes := r.o.o.Peers.Nodes
	var out owners
	for _, site := range sites {
		n, ok := nodes.Lookup(site)
		if !ok {
			n, ok = nodes.Lookup(st.Node)
		}
		if ok {
			out = append(out, n.Verifiers())
		}
	}
	return out
}

// verify takes a result in under one of the sets, which then is used up: two
// verifiers of one site are not two that were asked.
func (o *owners) verify(token []byte, want verdict.Expect, in verdict.Intake) (verdict.Partial, error) {
	var first error
	for i, anchors := range *o {
		p, err := verdict.VerifyPartial(token, want, in, anchors)
		if err == nil {
			*o = slices.Delete(*o, i, i+1)
			return p, nil
		}
		var intake *verdict.IntakeError
		if !errors.As(err, &intake) || intake.Code != verdict.ReasonBadPARSignature {
			return p, err
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = &verdict.IntakeError{Code: verdict.ReasonBadPARSignature, Detail: "no keys are known for this result"}
	}
	return verdict.Partial{}, first
}

// passed notes nodes behind the one that was asked.
func (r *run) passed(kids []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, kid := range kids {
		if !slices.Contains(r.via, kid) {
			r.via = append(r.via, kid)
		}
	}
}

func refused(detail string) error {
	return &verifiers.Failure{Reason: verdict.ReasonRefused, Detail: detail}
}

// relayFailure is the reason in a message that does not open.
func relayFailure(err error) error {
	var e *relay.Error
	if errors.As(err, &e) {
		return &verifiers.Failure{Reason: e.Code, Detail: e.Detail}
	}
	return &verifiers.Failure{Reason: verdict.ReasonMalfunction, Detail: "the answer cannot be read"}
}
