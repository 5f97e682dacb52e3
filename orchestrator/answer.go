// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Errors of HandleRelay. None says more than its words.
var (
	// ErrRelayRefused: the envelope is not from a node that may hand something
	// to us, not for us, out of date, seen before, or went in a circle.
	ErrRelayRefused = errors.New("orchestrator: the envelope is refused")
	// ErrRelayMalformed: the envelope cannot be read or carried out.
	ErrRelayMalformed = errors.New("orchestrator: the envelope is malformed")
)

// HandleRelay carries out the part of a topology that another node hands to
// this one, and returns a signed answer: the results that came along, unchanged
// and first, then a result or a reason for every component. An error means that
// there is no answer; it wraps ErrRelayRefused, ErrRelayMalformed or
// ErrNonceStore.
func (o *Orchestrator) HandleRelay(ctx context.Context, message []byte) ([]byte, error) {
	t, start := &trail{}, time.Now()
	answer, err := o.handleRelay(ctx, message, t)
	return o.auditRelay(ctx, message, t, time.Since(start), answer, err)
}

func (o *Orchestrator) handleRelay(ctx context.Context, message []byte, t *trail) ([]byte, error) {
	p := o.o.Peers
	if p == nil || p.Self == "" || p.Seen == nil {
		return nil, fmt.Errorf("%w: nobody hands anything to this node", ErrRelayRefused)
	}
	env, kid, err := relay.OpenEnvelope(message, p.signers("", o), relay.Expect{To: p.Self, KID: p.Signer.KID(), Now: o.o.Clock()})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRelayRefused, err)
	}
	t.env, t.kid = env, kid
	if err := o.once(ctx, env); err != nil {
		return nil, err
	}
	if err := o.earlier(env); err != nil {
		return nil, err
	}
	if err := o.exposed(env); err != nil {
		return nil, err
	}
	ctx, span := o.tracer.Start(ctx, "answer relay")
	defer span.End()
	ctx, cancel := context.WithDeadline(ctx, env.Deadline)
	defer cancel()
	// The name is ours for the key, not the one that the sender gives itself.
	if sender, _, _ := p.Nodes.Signer(kid, o.o.Clock()); o.attested(ctx, sender.Name) != nil {
		return o.decline(env, message)
	}
	r, err := o.received(env)
	if err != nil {
		return nil, err
	}
	t.run = r
	if err := r.execute(ctx); err != nil {
		return nil, err
	}
	return r.answer(message)
}

// once refuses an envelope that was seen before. A sender that repeats one gets
// the same answer from the fabric.
func (o *Orchestrator) once(ctx context.Context, env *relay.Envelope) error {
	return o.spendOnce(ctx, "relay:", env.ID)
}

// spendOnce refuses an id of one kind of message that was seen before.
func (o *Orchestrator) spendOnce(ctx context.Context, kind, hexID string) error {
	id, err := hex.DecodeString(hexID)
	if err != nil {
		return fmt.Errorf("%w: id", ErrRelayMalformed)
	}
	// Session nonces are in the same store: the prefix keeps them apart.
	err = o.o.Peers.Seen.Spend(ctx, append([]byte(kind), id...), limits.Session+limits.ClockSkew)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNonceSpent):
		return fmt.Errorf("%w: it was seen before", ErrRelayRefused)
	}
	return fmt.Errorf("%w: %w", ErrNonceStore, err)
}

// earlier refuses a chain in which an earlier result does not bear the
// signature of a verifier that we know: everybody in a cascade checks what it
// hands on.
func (o *Orchestrator) earlier(env *relay.Envelope) error {
	for _, p := range env.Partials {
		_, _, err := trust.VerifyJWT(p.Token, func(kid string) (trust.Key, bool) { return o.knownVerifier(kid) })
		if err != nil {
			return fmt.Errorf("%w: the result about %s: %w", ErrRelayRefused, p.Label, err)
		}
	}
	return nil
}

// knownVerifier finds a verifier's key, ours or that of any node that we know.
func (o *Orchestrator) knownVerifier(kid string) (trust.Key, bool) {
	sets := []*trust.Anchors{o.o.Anchors}
	for _, name := range o.o.Peers.Nodes.Names() {
		if n, ok := o.o.Peers.Nodes.Lookup(name); ok {
			sets = append(sets, n.Verifiers())
		}
	}
	now := o.o.Clock()
	for _, set := range sets {
		for _, k := range set.Keys() {
			if k.KID == kid && slices.Contains(k.Roles, trust.RoleVerifier) && (k.NotAfter.IsZero() || now.Before(k.NotAfter)) {
				return k, true
			}
		}
	}
	return trust.Key{}, false
}

// received plans what an envelope asks for.
func (o *Orchestrator) received(env *relay.Envelope) (*run, error) {
	expr, err := topologies.Parse(env.Expr)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRelayMalformed, err)
	}
	r := &run{
		o: o, session: env.Session, at: env.VerificationTime, composite: env.Composite, whole: env.Evidence,
		nonce: env.Nonce, commit: env.Commit, origin: env, requests: map[evidence.Path]string{},
	}
	in := topologies.Input{Route: o.o.Route, Self: o.o.Peers.Self, Preset: map[evidence.Path]topologies.Challenge{},
		Paths: o.o.Peers.Paths, Passed: append(slices.Clone(env.Path), o.o.Peers.Self)}
	for _, c := range env.Components {
		part, err := o.component(env, c)
		if err != nil {
			return nil, err
		}
		in.Components = append(in.Components, part)
		in.Preset[c.Label] = topologies.Challenge{Nonce: c.Nonce, Rule: c.NonceRule}
		r.requests[c.Label] = c.Request
	}
	if r.plan, err = topologies.New(expr, in); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRelayMalformed, err)
	}
	return r, nil
}

// component is one component of an envelope as the planner sees it: with its
// evidence if it is for this node, else with the digest alone.
func (o *Orchestrator) component(env *relay.Envelope, c relay.Component) (topologies.Component, error) {
	mt, err := evidence.ParseMediaType(c.MediaType)
	if err != nil {
		return topologies.Component{}, fmt.Errorf("%w: media type of %s", ErrRelayMalformed, c.Label)
	}
	out := topologies.Component{Label: c.Label, Leaf: c.Leaf, MediaType: mt, Digest: c.Digest}
	sc, known := o.o.Schemes.Lookup(c.Scheme)
	if !known {
		out.Reason = &verdict.Reason{Code: verdict.ReasonNoVerifier, Detail: "no such scheme here"}
	}
	// What the class and the size of the challenge are is ours to know.
	out.Scheme, out.Class, out.NonceSize = sc.Name, sc.Class, sc.NonceSize
	if c.For != o.o.Peers.Self && (c.Sealed != "" || c.Evidence == nil) {
		if !known { // somebody behind us may have it
			out.Scheme, out.Reason = c.Scheme, nil
		}
		return out, nil
	}
	raw := c.Evidence
	if c.Sealed != "" {
		if o.o.Peers.Seal == nil || o.o.Peers.Seal.KID() != c.Sealed {
			return out, fmt.Errorf("%w: evidence is sealed to a key that this node does not have", ErrRelayRefused)
		}
		if raw, err = o.o.Peers.Seal.Open(sealInfo(env.Session, c), raw); err != nil {
			return out, fmt.Errorf("%w: sealed evidence does not open", ErrRelayRefused)
		}
	}
	if sha256.Sum256(raw) != c.Digest {
		return out, fmt.Errorf("%w: the evidence of %s is not what its digest says", ErrRelayMalformed, c.Label)
	}
	out.Evidence = raw
	return out, nil
}

// answer signs what was found.
func (r *run) answer(message []byte) ([]byte, error) {
	p := r.o.o.Peers
	a := relay.Answer{
		ID: r.origin.ID, Session: r.session, Digest: sha256.Sum256(message), Issued: r.o.o.Clock(),
		Via:      append(append(slices.Clone(r.origin.Via), p.Signer.KID()), r.via...),
		Partials: slices.Clone(r.origin.Partials),
	}
	own, err := r.receipt()
	if err != nil {
		return nil, err
	}
	a.Receipts = append([]verdict.Receipt{own}, r.kept()...)
	for i := range r.parts {
		c := &r.parts[i]
		for _, one := range c.Partials() {
			a.Partials = append(a.Partials, relay.Partial{Label: c.Label, Token: one.Token()})
		}
		asked := max(1, len(r.plan.Steps[i].Sources))
		for range asked - len(c.Partials()) {
			a.Failures = append(a.Failures, failure(c))
		}
	}
	return a.Sign(p.Signer, r.o.o.Rand)
}

// failure is the first reason that a component has no result for.
func failure(c *verdict.Component) relay.Failure {
	f := relay.Failure{Label: c.Label, Code: verdict.ReasonMalfunction, Detail: "no result"}
	if len(c.Reasons) > 0 {
		f.Code, f.Detail = c.Reasons[0].Code, c.Reasons[0].Detail
	}
	if !relay.NoVerdict(f.Code) {
		f.Code = verdict.ReasonMalfunction
	}
	const most = 512
	if len(f.Detail) > most {
		f.Detail = strings.ToValidUTF8(f.Detail[:most], "")
	}
	return f
}
