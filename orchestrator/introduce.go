// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Introducer carries a signed introduction to a node and brings its answer. The
// context has a deadline.
type Introducer interface {
	Introduce(ctx context.Context, node, id string, message []byte) ([]byte, error)
}

// Attester makes evidence of the machine that this process runs on: a composite
// for the challenge, with its declared media type or "".
type Attester interface {
	Attest(ctx context.Context, challenge []byte) (composite []byte, mediaType string, err error)
}

// Bounds of an introduction.
const (
	// DefaultIntroductionTTL is how long a node counts as attested.
	DefaultIntroductionTTL = 5 * time.Minute
	// MaxIntroductionTTL is the longest time for that.
	MaxIntroductionTTL = 24 * time.Hour
)

// Introductions are the rules by which nodes attest themselves to each other
// before they exchange anything. All fields but those said are optional.
type Introductions struct {
	// Require is the worst tier that is good enough for the evidence of another
	// node: TierAffirming, TierWarning, or TierNone to ask for none. Each has the
	// requirement for single nodes by name.
	Require verdict.Tier
	Each    map[string]verdict.Tier
	// TTL is how long a node counts as attested; zero means
	// DefaultIntroductionTTL. It ends earlier when one of its keys does.
	TTL time.Duration
	// Introducer is mandatory where anything is required.
	Introducer Introducer
	// Attester answers the introductions of others; nil: nobody gets an answer.
	Attester Attester
	// Own describes this node as its peers know it. It is mandatory with an
	// Attester, for its evidence speaks for these keys.
	Own trust.Node
	// Report hears the outcome of every introduction that was asked for; the
	// error has the cause, which no message has. It must not block.
	Report func(node string, err error)
}

// require is the tier that a node needs.
func (i *Introductions) require(node string) verdict.Tier {
	if tier, ok := i.Each[node]; ok {
		return tier
	}
	return i.Require
}

func (i *Introductions) check(p *Peers) error {
	if i == nil {
		return nil
	}
	asks := false
	tiers := []verdict.Tier{i.Require}
	for name, tier := range i.Each {
		if _, known := p.Nodes.Lookup(name); !known {
			return fmt.Errorf("orchestrator: introductions: node %q is not known", name)
		}
		tiers = append(tiers, tier)
	}
	for _, tier := range tiers {
		if tier != verdict.TierNone && tier != verdict.TierWarning && tier != verdict.TierAffirming {
			return fmt.Errorf("orchestrator: introductions: %s cannot be required", tier)
		}
		asks = asks || tier != verdict.TierNone
	}
	switch {
	case i.TTL < 0 || i.TTL > MaxIntroductionTTL:
		return fmt.Errorf("orchestrator: introductions: %s is not within 0 to %s", i.TTL, MaxIntroductionTTL)
	case asks && i.Introducer == nil:
		return errors.New("orchestrator: introductions are required, and nothing carries them")
	case (asks || i.Attester != nil) && p.Self == "":
		return errors.New("orchestrator: introductions want a name of this node")
	case i.Attester == nil:
		return nil
	}
	if _, _, ok := ownSigner(i.Own, p); !ok || i.Own.Name != p.Self {
		return errors.New("orchestrator: introductions: the description of this node has another name or not its key")
	}
	return nil
}

// ownSigner finds the signing key of this node in its own description.
func ownSigner(n trust.Node, p *Peers) (trust.Node, trust.Key, bool) {
	set, err := trust.NewNodes(n)
	if err != nil {
		return trust.Node{}, trust.Key{}, false
	}
	return set.Signer(p.Signer.KID(), time.Time{})
}

// ErrAttester says that this node cannot make evidence of itself now.
var ErrAttester = errors.New("orchestrator: no evidence of this node can be made")

// attested reports whether a node may be sent something, or something of it be
// read: it has introduced itself lately, or nothing is required of it. The
// error is a *verifiers.Failure with the reason "peer-not-attested". A name
// that is no other node's is not asked.
func (o *Orchestrator) attested(ctx context.Context, name string) error {
	p := o.o.Peers
	if p == nil || p.Introductions == nil || name == p.Self {
		return nil
	}
	node, known := p.Nodes.Lookup(name)
	if !known || p.Introductions.require(name) == verdict.TierNone {
		return nil
	}
	keys, err := relay.KeysOf(node, o.o.Clock())
	if err != nil {
		return notAttested(name, "its keys cannot be read")
	}
	return o.met.wait(ctx, name, keys.Mark(), func() (time.Time, error) { return o.meet(ctx, node) })
}

func notAttested(node, why string) error {
	return &verifiers.Failure{Reason: verdict.ReasonPeerNotAttested, Detail: "node " + node + " is not attested: " + why}
}

// meet has a node introduce itself and gives the time until which that holds.
// It goes on when the appraisal that began it ends: others may wait as well.
func (o *Orchestrator) meet(ctx context.Context, node trust.Node) (until time.Time, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.o.Budget/2)
	defer cancel()
	ctx, span := o.tracer.Start(ctx, "introduction", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attribute.String("assize.node", node.Name)))
	err = errors.New("orchestrator: the introduction panicked")
	defer func() {
		_ = recover() // err is what stands when introduce did not return
		if err != nil {
			span.SetStatus(otelcodes.Error, verdict.ReasonPeerNotAttested)
		}
		span.End()
		if report := o.o.Peers.Introductions.Report; report != nil {
			report(node.Name, err)
		}
	}()
	until, err = o.introduce(ctx, node)
	return until, err
}

func (o *Orchestrator) introduce(ctx context.Context, node trust.Node) (time.Time, error) {
	p := o.o.Peers
	id, err := o.random()
	if err != nil {
		return time.Time{}, err
	}
	nonce := make([]byte, relay.ChallengeSize)
	if _, err := io.ReadFull(o.o.Rand, nonce); err != nil {
		return time.Time{}, fmt.Errorf("orchestrator: no randomness: %w", err)
	}
	now := o.o.Clock()
	deadline, _ := ctx.Deadline()
	in := &relay.Introduction{ID: id, From: p.Self, To: node.Name, Nonce: nonce, Issued: now, Deadline: now.Add(time.Until(deadline))}
	message, err := in.Sign(p.Signer, o.o.Rand)
	if err != nil {
		return time.Time{}, err
	}
	raw, err := within(ctx, func() ([]byte, error) { return p.Introductions.Introducer.Introduce(ctx, node.Name, id, message) })
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", errNoIntroduction, err)
	}
	a, err := relay.OpenIntroductionAnswer(raw, in, message, p.signers(node.Name, o), o.o.Clock())
	if err != nil {
		return time.Time{}, err
	}
	return o.accept(ctx, node, in, a)
}

// errNoIntroduction: the node did not answer.
var errNoIntroduction = errors.New("orchestrator: no answer to the introduction")

// within bounds a port by the context even where it does not mind it.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type reply struct {
		v   T
		err error
	}
	done := make(chan reply, 1)
	go func() {
		r := reply{err: errors.New("orchestrator: a port panicked")}
		defer func() {
			_ = recover() // r is what stands when the call did not return
			done <- r
		}()
		r.v, r.err = f()
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// accept holds an answer to what is known of the node and to the policy.
func (o *Orchestrator) accept(ctx context.Context, node trust.Node, in *relay.Introduction, a *relay.IntroductionAnswer) (time.Time, error) {
	p := o.o.Peers
	now := o.o.Clock()
	known, err := relay.KeysOf(node, now)
	if err != nil {
		return time.Time{}, err
	}
	if open := known.Without(a.Keys); len(open) > 0 {
		return time.Time{}, fmt.Errorf("%w: %d, the first %s", errNotVouched, len(open), open[0])
	}
	raw := a.Evidence
	if a.Sealed != "" {
		if p.Seal == nil || p.Seal.KID() != a.Sealed {
			return time.Time{}, errors.New("orchestrator: the evidence is sealed to a key that this node does not have")
		}
		if raw, err = p.Seal.Open(introductionSeal(in, a), raw); err != nil {
			return time.Time{}, err
		}
	}
	if sha256.Sum256(raw) != a.Of {
		return time.Time{}, errors.New("orchestrator: the evidence is not what its digest says")
	}
	// Only what is here appraises it: an introduction never leads to another.
	res, err := o.appraise(ctx, Request{
		Evidence: raw, MediaType: a.MediaType, Nonce: a.Keys.Challenge(in.Nonce, in.From, in.To), Topology: &topologies.Expr{Head: topologies.Lead},
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %w", errEvidence, err)
	}
	if err := goodEnough(res, p.Introductions.require(node.Name)); err != nil {
		return time.Time{}, err
	}
	return o.until(node, now), nil
}

var (
	errNotVouched = errors.New("orchestrator: keys that the evidence does not speak for")
	errEvidence   = errors.New("orchestrator: the evidence of the node")
)

// goodEnough wants the tier, and a CPU TEE that answers the challenge: without
// one nothing says what holds the keys, and a device answers anybody.
func goodEnough(res *verdict.Result, need verdict.Tier) error {
	tier := res.Outcome.Tier
	if tier != verdict.TierAffirming && (tier != verdict.TierWarning || need != verdict.TierWarning) {
		return fmt.Errorf("%w is %s, %s is required: %s", errEvidence, tier, need, codesOf(res))
	}
	tees := 0
	for i := range res.Components {
		c := &res.Components[i]
		if c.Class != verdict.ClassCPU {
			continue
		}
		if c.Partial.IsZero() || c.Partial.Appraisal().Freshness != verdict.FreshnessFresh {
			return fmt.Errorf("%w: %s does not answer the challenge", errEvidence, c.Label)
		}
		tees++
	}
	if tees == 0 {
		return fmt.Errorf("%w has no CPU TEE", errEvidence)
	}
	return nil
}

// codesOf are the reason codes of a verdict and its parts, for a log.
func codesOf(res *verdict.Result) []string {
	var out []string
	for _, r := range res.Outcome.Reasons {
		out = append(out, r.Code)
	}
	for i := range res.Components {
		c := &res.Components[i]
		list := c.Reasons
		if !c.Partial.IsZero() {
			list = append(list[:len(list):len(list)], c.Partial.Appraisal().Reasons...)
		}
		for _, r := range list {
			out = append(out, string(c.Label)+":"+r.Code)
		}
	}
	return out
}

// until is when a node has to introduce itself again: after the TTL, or when
// the first of its keys ends.
func (o *Orchestrator) until(node trust.Node, now time.Time) time.Time {
	ttl := o.o.Peers.Introductions.TTL
	if ttl == 0 {
		ttl = DefaultIntroductionTTL
	}
	end := now.Add(ttl)
	sooner := func(t time.Time) {
		if !t.IsZero() && !now.After(t) && t.Before(end) {
			end = t
		}
	}
	for _, k := range node.Keys.Keys() {
		sooner(k.NotAfter)
	}
	for _, k := range node.Seal {
		sooner(k.NotAfter)
	}
	return end
}

// introductionSeal binds sealed evidence to its introduction.
func introductionSeal(in *relay.Introduction, a *relay.IntroductionAnswer) trust.SealInfo {
	return trust.SealInfo{Request: in.ID, MediaType: a.MediaType, Nonce: in.Nonce, Digest: a.Of, To: in.From}
}

// HandleIntroduction answers a node that asks what this one runs on: with
// evidence for a challenge that follows from its nonce, both names and the keys
// of this node. An error means that there is no answer; it wraps
// ErrRelayRefused, ErrNonceStore or ErrAttester.
//
// Nothing is asked of the node that asks beyond its key: one of two has to
// begin.
func (o *Orchestrator) HandleIntroduction(ctx context.Context, message []byte) ([]byte, error) {
	p := o.o.Peers
	if p == nil || p.Introductions == nil || p.Introductions.Attester == nil {
		return nil, fmt.Errorf("%w: this node does not introduce itself", ErrRelayRefused)
	}
	in, err := relay.OpenIntroduction(message, func(kid string) (string, trust.Key, bool) {
		n, key, ok := p.Nodes.Signer(kid, o.o.Clock())
		return n.Name, key, ok
	}, p.Self, o.o.Clock())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRelayRefused, err)
	}
	if p.Seen != nil { // a process of one appraisal remembers nothing
		if err := o.spendOnce(ctx, "introduction:", in.ID); err != nil {
			return nil, err
		}
	}
	ctx, span := o.tracer.Start(ctx, "answer introduction")
	defer span.End()
	// What the asker's clock says is not ours: only how long it waits counts.
	ctx, cancel := context.WithTimeout(ctx, in.Deadline.Sub(in.Issued))
	defer cancel()
	keys, err := relay.KeysOf(p.Introductions.Own, o.o.Clock())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	a := &relay.IntroductionAnswer{ID: in.ID, Digest: sha256.Sum256(message), From: p.Self, To: in.From, Keys: keys}
	if err := o.ownEvidence(ctx, in, a); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	a.Issued = o.o.Clock()
	raw, err := a.Sign(p.Signer, o.o.Rand)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	return raw, nil
}

// ownEvidence has the evidence made and seals it to who asked.
func (o *Orchestrator) ownEvidence(ctx context.Context, in *relay.Introduction, a *relay.IntroductionAnswer) error {
	p := o.o.Peers
	type made struct {
		raw       []byte
		mediaType string
	}
	m, err := within(ctx, func() (made, error) {
		raw, mediaType, err := p.Introductions.Attester.Attest(ctx, a.Keys.Challenge(in.Nonce, in.From, in.To))
		return made{raw, mediaType}, err
	})
	if err != nil {
		return err
	}
	a.Evidence, a.MediaType, a.Of = m.raw, m.mediaType, sha256.Sum256(m.raw)
	asker, _ := p.Nodes.Lookup(in.From)
	key, ok := asker.SealKey(o.o.Clock())
	switch {
	case ok:
		a.Sealed = key.KID
		a.Evidence, err = key.Seal(introductionSeal(in, a), m.raw)
		return err
	case p.Expose:
		return nil
	}
	return fmt.Errorf("node %s has no key to seal evidence to", in.From)
}

// decline answers an envelope of a node that is not attested here: a reason for
// every component, and nothing of it was looked at.
func (o *Orchestrator) decline(env *relay.Envelope, message []byte) ([]byte, error) {
	p := o.o.Peers
	a := relay.Answer{
		ID: env.ID, Session: env.Session, Digest: sha256.Sum256(message), Issued: o.o.Clock(),
		Via: append(env.Via[:len(env.Via):len(env.Via)], p.Signer.KID()), Partials: env.Partials,
	}
	for _, c := range env.Components {
		for range max(1, c.Sources) {
			a.Failures = append(a.Failures, relay.Failure{
				Label: c.Label, Code: verdict.ReasonPeerNotAttested, Detail: "the sender has not introduced itself to this node",
			})
		}
	}
	return a.Sign(p.Signer, o.o.Rand)
}

// strangers is an error when the next node is not attested, and says by
// component that one behind it is not: the one that the evidence would be
// sealed to, or one whose result would count. What is for it stays here. What
// another node has sealed, that one answers for.
func (r *run) strangers(ctx context.Context, next string, mine []int) (map[evidence.Path]error, error) {
	names := []string{next}
	for _, i := range mine {
		if st := r.plan.Steps[i]; st.Evidence != nil {
			names = append(names, nodesOf(st)...)
		}
	}
	failed := r.o.introductions(ctx, names)
	if err := failed[next]; err != nil {
		return nil, err
	}
	out := map[evidence.Path]error{}
	for _, i := range mine {
		for _, name := range nodesOf(r.plan.Steps[i]) {
			if err := failed[name]; err != nil {
				out[r.plan.Steps[i].Label] = err
			}
		}
	}
	return out, nil
}

// introductions has several nodes introduce themselves at once and returns the
// failures.
func (o *Orchestrator) introductions(ctx context.Context, names []string) map[string]error {
	if o.o.Peers == nil || o.o.Peers.Introductions == nil {
		return nil
	}
	slices.Sort(names)
	names = slices.Compact(names)
	failed := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { failed[i] = o.attested(ctx, name) })
	}
	wg.Wait()
	out := map[string]error{}
	for i, name := range names {
		if failed[i] != nil {
			out[name] = failed[i]
		}
	}
	return out
}

// nodesOf are the nodes and sites that have to do with a step; some may be "",
// or no node that is known.
func nodesOf(st topologies.Step) []string {
	out := []string{st.Node, st.Site}
	for _, src := range st.Sources {
		out = append(out, src.Node)
	}
	return out
}
