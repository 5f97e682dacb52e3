// SPDX-License-Identifier: Apache-2.0

// Package orchestrator runs the appraisal of one composite: it parses the
// evidence once, plans, sends every component to a verifier under one
// deadline, combines what comes back and signs the verdict. It knows neither
// NATS nor HTTP; the outside is behind Appraiser and Spender. Begin with New.
package orchestrator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Appraiser gets one component appraised somewhere. An error that is no
// *verifiers.Failure counts as a malfunction of that component's verifier.
type Appraiser interface {
	Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error)
}

// Spender remembers nonces. Spend returns ErrNonceSpent (wrapped) when the
// nonce was used before, and any other error when it cannot know.
type Spender interface {
	Spend(ctx context.Context, nonce []byte, ttl time.Duration) error
}

// Errors of Appraise. All of them mean that there is no verdict.
var (
	// ErrNonceSpent: the session nonce was used before.
	ErrNonceSpent = errors.New("orchestrator: the nonce has been used before")
	// ErrNonceStore: single use cannot be guaranteed now.
	ErrNonceStore = errors.New("orchestrator: the store of used nonces does not answer")
	// ErrNonceSize: a nonce has 8 to 64 bytes.
	ErrNonceSize = fmt.Errorf("orchestrator: a nonce has %d to %d bytes", limits.NonceMin, limits.NonceMax)
	// ErrTopology: the expression cannot be planned.
	ErrTopology = errors.New("orchestrator: topology")
	// ErrRequest: the request contradicts itself.
	ErrRequest = errors.New("orchestrator: request")
)

// Options configure an Orchestrator. Fields are mandatory unless said.
type Options struct {
	// Schemes describes what can be routed, local or remote.
	Schemes   *verifiers.Set
	Appraiser Appraiser
	// Anchors are the keys of component verifiers, per scheme.
	Anchors  *trust.Anchors
	Signer   *trust.Signer
	Identity verdict.Identity
	// Spender makes nonces single-use. Nil only where the process ends after
	// one appraisal with a nonce.
	Spender Spender
	// Route gives the candidates for a scheme at a node ("" = anywhere).
	Route func(scheme, node string) []verifiers.Candidate
	// Topology is used when a request names none; nil means "lead".
	Topology *topologies.Expr
	// LeadKeys verify signed composites; nil: a signed composite is refused.
	LeadKeys evidence.KeyFinder
	Clock    func() time.Time
	Rand     io.Reader
	// Simulated lets a verdict be affirming though verifiers trust extra roots;
	// otherwise that caps at warning. Relying parties never go along with it.
	Simulated bool
	// Peers are the nodes that parts of a topology can be handed to, and that
	// can hand something to us; nil for none.
	Peers *Peers
	// Limits, Budget, Width and Lifetime have defaults when zero: the limits
	// of internal/limits, 10 s for a whole appraisal, 16 components at once,
	// and the session's length for the signed verdict.
	Limits   limits.Evidence
	Budget   time.Duration
	Width    int
	Lifetime time.Duration
	// References are documents about which components belong to a machine and which
	// depends on which; nil for none.
	References References
	// Policy judges whole machines; nil for the rules of this package alone.
	Policy Policy
	// DryRun is a policy that is tried beside the active one: how the verdict would
	// differ stands in Result.DryRun and changes nothing. Nil for none.
	DryRun Policy
	// Requirements are what has to be there, by the configuration; nil where only
	// the topology and the policy say so.
	Requirements []verdict.Requirement
	// Auditor records every request and what came of it; nil for nobody. With
	// AuditRequired there is no verdict without a record (ErrAudit).
	Auditor       Auditor
	AuditRequired bool
	// Tracer and Meter are the global providers when nil.
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
}

// Orchestrator appraises composites. It is safe for concurrent use.
type Orchestrator struct {
	o       Options
	tracer  trace.Tracer
	metrics instruments
	slots   chan struct{} // bounds components in flight over all appraisals
	// unaudited counts what should have been recorded.
	unaudited metric.Int64Counter
	met       *acquaintances
}

// New checks the options.
func New(o Options) (*Orchestrator, error) {
	if o.Schemes == nil || o.Appraiser == nil || o.Anchors == nil || o.Signer == nil || o.Route == nil || o.Clock == nil || o.Rand == nil {
		return nil, errors.New("orchestrator: incomplete options")
	}
	if err := o.Peers.check(); err != nil {
		return nil, err
	}
	if o.AuditRequired && o.Auditor == nil {
		return nil, errors.New("orchestrator: records are required, but nobody keeps them")
	}
	if o.Topology == nil {
		o.Topology = &topologies.Expr{Head: topologies.Lead}
	}
	if o.Limits == (limits.Evidence{}) {
		o.Limits = limits.Default()
	}
	if o.Budget <= 0 {
		o.Budget = 10 * time.Second
	}
	if o.Width <= 0 {
		o.Width = 16
	}
	if o.Lifetime <= 0 {
		o.Lifetime = limits.Session
	}
	if o.Tracer == nil {
		o.Tracer = otel.GetTracerProvider()
	}
	if o.Meter == nil {
		o.Meter = otel.GetMeterProvider()
	}
	metrics, err := newInstruments(o.Meter)
	if err != nil {
		return nil, err
	}
	unaudited, err := newUnaudited(o.Meter)
	if err != nil {
		return nil, err
	}
	return &Orchestrator{
		o: o, metrics: metrics, unaudited: unaudited, tracer: o.Tracer.Tracer("github.com/assize/assize/orchestrator"),
		slots: make(chan struct{}, 8*o.Width), met: newAcquaintances(o.Clock),
	}, nil
}

// Request is one composite to appraise.
type Request struct {
	Evidence []byte
	// MediaType is the declared type of the whole message, "" to go by content.
	MediaType string
	// Nonce is the session nonce (8..64 bytes), nil when there is none.
	Nonce []byte
	// Given holds challenges of single components, for recorded evidence.
	Given map[evidence.Path][]byte
	// Time overrides the verification time, for recorded evidence.
	Time     time.Time
	Topology *topologies.Expr
	Optional []string
}

// Appraise returns the signed verdict on one composite. What is wrong with a
// component is in the verdict; an error means that there is none:
// *evidence.Error for a message that is no well-formed CMW, or one of the
// errors above.
func (o *Orchestrator) Appraise(ctx context.Context, r Request) (*verdict.Result, error) {
	ctx, span := o.tracer.Start(ctx, "appraise", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	start := time.Now()
	res, err := o.appraise(ctx, r)
	if err != nil {
		o.metrics.failure(ctx, err)
		span.SetStatus(otelcodes.Error, errorClass(err))
		return nil, err
	}
	o.metrics.verdict(ctx, res, time.Since(start))
	span.SetAttributes(
		attribute.String("assize.session", res.Session),
		attribute.String("assize.topology", res.Topology),
		attribute.Int("assize.components", len(res.Components)),
		attribute.String("assize.tier", res.Outcome.Tier.String()),
	)
	return res, nil
}

func (o *Orchestrator) judged(ctx context.Context, r Request, t *trail) (*verdict.Result, error) {
	if r.Nonce != nil && (len(r.Nonce) < limits.NonceMin || len(r.Nonce) > limits.NonceMax) {
		return nil, ErrNonceSize
	}
	tree, err := evidence.Parse(r.Evidence, evidence.Options{MediaType: r.MediaType, Limits: o.o.Limits, Keys: o.o.LeadKeys})
	if err != nil {
		return nil, err
	}
	hashAhead(tree)
	t.composite = tree.Digest()
	plan, err := o.plan(ctx, tree, r)
	if err != nil {
		return nil, err
	}
	t.plan = plan
	if err := o.spend(ctx, r.Nonce); err != nil {
		return nil, err
	}
	session, err := o.random()
	if err != nil {
		return nil, err
	}
	planDigest := sync.OnceValue(plan.Digest)
	go planDigest() // while the components are waited for
	run := &run{
		o: o, plan: plan, session: session, at: r.Time,
		composite: tree.Digest(), whole: r.Evidence, nonce: r.Nonce, commit: commitment(tree),
	}
	t.run = run
	if err := run.execute(ctx); err != nil {
		return nil, err
	}
	parts := run.parts
	expr := o.expression(r)
	return o.conclude(ctx, conclusion{
		request: r, tree: tree, plan: plan, planDigest: planDigest, session: session, parts: parts, receipts: run.kept(),
		asSubmitted: expr.AsSubmitted(),
	})
}

// hashAhead begins to hash a composite while it is taken apart: with hundreds
// of kilobytes that takes as long as the rest of the planning.
func hashAhead(tree *evidence.Tree) {
	if tree.Convention() != "" {
		go tree.LeafDigests()
	}
	go tree.Digest()
}

// spend makes the nonce single-use before anything is dispatched.
func (o *Orchestrator) spend(ctx context.Context, nonce []byte) error {
	if nonce == nil || o.o.Spender == nil {
		return nil
	}
	err := o.o.Spender.Spend(ctx, nonce, limits.Session+limits.ClockSkew)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNonceSpent):
		return ErrNonceSpent
	}
	return fmt.Errorf("%w: %w", ErrNonceStore, err)
}

// random returns 16 random bytes in hexadecimal.
func (o *Orchestrator) random() (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(o.o.Rand, b[:]); err != nil {
		return "", fmt.Errorf("orchestrator: no randomness: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// errorClass is the closed set of span statuses.
func errorClass(err error) string {
	var malformed *evidence.Error
	switch {
	case errors.As(err, &malformed):
		return "malformed"
	case errors.Is(err, ErrNonceSpent):
		return "nonce-spent"
	case errors.Is(err, ErrNonceStore):
		return "nonce-store"
	case errors.Is(err, ErrTopology):
		return "topology"
	case errors.Is(err, ErrAudit):
		return "audit"
	}
	return "error"
}
