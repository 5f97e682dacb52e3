// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

// Auditor keeps a record of what was done: one event for every call of Appraise
// and HandleRelay, whatever came of it.
type Auditor interface {
	Record(ctx context.Context, e audit.Event) error
}

// ErrAudit says that what was done cannot be recorded, and has to be.
var ErrAudit = errors.New("orchestrator: the audit record cannot be written")

// auditTimeout bounds the writing of one record. It does not end with the
// caller: who goes away does not keep his request out of the records.
const auditTimeout = 2 * time.Second

// trail is what is known of a request so far, also where it ends in an error.
type trail struct {
	composite [32]byte
	plan      *topologies.Plan
	run       *run
	// env is the envelope that was opened, kid who signed it.
	env *relay.Envelope
	kid string
}

func newUnaudited(p metric.MeterProvider) (metric.Int64Counter, error) {
	return p.Meter("github.com/assize/assize/orchestrator").Int64Counter("assize.audit.failures",
		metric.WithDescription("Audit records that could not be written, by kind"))
}

// keep writes one event. An error means that nothing may go out.
func (o *Orchestrator) keep(ctx context.Context, e audit.Event) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditTimeout)
	defer cancel()
	err := o.o.Auditor.Record(ctx, e)
	if err == nil {
		return nil
	}
	o.unaudited.Add(ctx, 1, metric.WithAttributes(attribute.String("kind", string(e.Kind))))
	if !o.o.AuditRequired {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrAudit, err)
}

// appraise appraises a composite and records that, also where this node wants to
// know something for itself.
func (o *Orchestrator) appraise(ctx context.Context, r Request) (*verdict.Result, error) {
	t, start := &trail{}, time.Now()
	res, err := o.judged(ctx, r, t)
	return o.auditVerdict(ctx, r, t, time.Since(start), res, err)
}

// auditVerdict records how an appraisal ended, and makes it end without a
// verdict where that cannot be recorded and has to be.
func (o *Orchestrator) auditVerdict(ctx context.Context, r Request, t *trail, took time.Duration, res *verdict.Result, err error) (*verdict.Result, error) {
	if o.o.Auditor == nil {
		return res, err
	}
	var plan [32]byte
	if err == nil {
		plan = res.PlanDigest
	}
	e := t.event(plan)
	e.Duration = took.Microseconds()
	if e.Composite == "" {
		e.Composite = audit.Sum(r.Evidence)
	}
	if r.Nonce != nil {
		e.Nonce = audit.Sum(r.Nonce)
	}
	switch {
	case err != nil:
		e.Kind, e.Error = refusal(err)
	default:
		e.Kind, e.Tier, e.Verdict = audit.KindVerdict, res.Outcome.Tier.String(), audit.Sum(res.Token)
		e.Reasons = auditCodes(res.Outcome.Reasons)
	}
	if kept := o.keep(ctx, e); kept != nil {
		return nil, errors.Join(err, kept)
	}
	return res, err
}

// refusal says whether the requester or this node is why there is no verdict,
// and why in one word.
func refusal(err error) (audit.Kind, string) {
	var malformed *evidence.Error
	switch {
	case errors.As(err, &malformed):
		return audit.KindRequestRefused, "malformed"
	case errors.Is(err, ErrNonceSpent):
		return audit.KindRequestRefused, "nonce-spent"
	case errors.Is(err, ErrNonceSize):
		return audit.KindRequestRefused, "nonce-size"
	case errors.Is(err, ErrRequest):
		return audit.KindRequestRefused, "request"
	case errors.Is(err, ErrTopology):
		return audit.KindRequestRefused, "topology"
	case errors.Is(err, ErrNonceStore):
		return audit.KindNoVerdict, "nonce-store"
	}
	return audit.KindNoVerdict, "error"
}

// auditRelay records what became of an envelope, and makes it end without an
// answer where that cannot be recorded and has to be.
func (o *Orchestrator) auditRelay(ctx context.Context, message []byte, t *trail, took time.Duration, answer []byte, err error) ([]byte, error) {
	if o.o.Auditor == nil {
		return answer, err
	}
	e := t.event([32]byte{})
	e.Kind, e.Duration = audit.KindRelayAnswered, took.Microseconds()
	in := &audit.Relay{KID: t.kid, Envelope: audit.Sum(message)}
	e.Received = in
	if t.env != nil {
		in.ID, in.Expr, in.Via, in.Path = t.env.ID, t.env.Expr, slices.Clone(t.env.Via), slices.Clone(t.env.Path)
		e.Session, e.Composite = t.env.Session, audit.DigestOf(t.env.Composite)
		if t.env.Nonce != nil {
			e.Nonce = audit.Sum(t.env.Nonce)
		}
	}
	if err == nil {
		in.Answer = audit.Sum(answer)
		if t.run == nil { // an answer that only says no
			e.Kind, in.Error = audit.KindRelayRefused, verdict.ReasonRefused
		}
	} else {
		e.Kind, in.Error = audit.KindRelayRefused, relayRefusal(err)
		var refused *relay.Error
		if errors.As(err, &refused) && in.KID == "" {
			in.KID = refused.KID
		}
	}
	if p := o.o.Peers; p != nil && in.KID != "" {
		if n, _, ok := p.Nodes.Signer(in.KID, o.o.Clock()); ok {
			in.Node = n.Name
		}
	}
	if kept := o.keep(ctx, e); kept != nil {
		return nil, errors.Join(err, kept)
	}
	return answer, err
}

// relayRefusal is why there is no answer, in one word.
func relayRefusal(err error) string {
	var e *relay.Error
	switch {
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, ErrRelayMalformed):
		return verdict.ReasonMalformed
	case errors.Is(err, ErrRelayRefused):
		return verdict.ReasonRefused
	case errors.Is(err, ErrNonceStore):
		return "nonce-store"
	}
	return verdict.ReasonMalfunction
}

// event is what a trail says, whatever it ended in. digest is that of the plan
// where it has been computed already, otherwise zero.
func (t *trail) event(digest [32]byte) audit.Event {
	e := audit.Event{Composite: audit.DigestOf(t.composite)}
	plan := t.plan
	if t.run != nil {
		e.Session = t.run.session
		if plan == nil {
			plan = t.run.plan
		}
		e.Handed = t.run.exchanged()
	}
	if plan == nil {
		return e
	}
	if digest == ([32]byte{}) {
		digest = plan.Digest()
	}
	e.Topology, e.Plan = plan.Topology, audit.DigestOf(digest)
	if t.run != nil {
		e.Components = make([]audit.Component, len(t.run.parts))
		for i := range t.run.parts {
			e.Components[i] = audited(plan, &t.run.parts[i])
		}
	}
	return e
}

// audited is one component as it is recorded: digests and codes.
func audited(plan *topologies.Plan, c *verdict.Component) audit.Component {
	out := audit.Component{
		Label: string(c.Label), Scheme: c.Scheme, Request: c.Request, Evidence: audit.DigestOf(c.Evidence),
		Tier: c.Tier().String(), Duration: c.Duration.Microseconds(),
	}
	var reasons []verdict.Reason
	for _, p := range c.Partials() {
		_, kid := p.Verifier()
		out.Partials = append(out.Partials, audit.Partial{KID: kid, Digest: audit.Sum(p.Token())})
		reasons = append(reasons, p.Appraisal().Reasons...)
	}
	out.Reasons = auditCodes(append(reasons, c.Reasons...))
	i, ok := slices.BinarySearchFunc(plan.Steps[:len(plan.Steps)-1], string(c.Label), func(s topologies.Step, label string) int {
		return strings.Compare(string(s.Label), label)
	})
	if !ok || plan.Steps[i].Reason != nil {
		return out
	}
	out.Relay, out.At = placement(plan, plan.Steps[i])
	return out
}

// placement says to whom a component was handed on, and where it was to be
// appraised.
func placement(plan *topologies.Plan, st topologies.Step) (node string, at []string) {
	if st.Relay > 0 {
		node = plan.Relays[st.Relay-1].Node
	}
	switch {
	case st.Sources != nil:
		for _, s := range st.Sources {
			at = append(at, s.Node)
		}
	case st.Site != "":
		at = []string{st.Site}
	case st.Node != "":
		at = []string{st.Node}
	default:
		for _, c := range st.Candidates {
			if !slices.Contains(at, c.Site) {
				at = append(at, c.Site)
			}
		}
	}
	return node, at
}

// auditCodes are the codes of reasons, sorted and each once; nil for none.
func auditCodes(list []verdict.Reason) []string {
	var out []string
	for _, r := range list {
		out = append(out, r.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// note remembers an envelope that goes out.
func (r *run) note(node string, env *relay.Envelope, message []byte) *passage {
	p := &passage{audit.Relay{Node: node, ID: env.ID, Expr: env.Expr, Via: slices.Clone(env.Via), Path: slices.Clone(env.Path), Envelope: audit.Sum(message)}}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.passages = append(r.passages, p)
	return p
}

// passage is one envelope on its way.
type passage struct{ audit.Relay }

// failed notes why no answer counts, and gives the error back.
func (p *passage) failed(err error) error {
	p.Error = failureReason(err).Code
	return err
}

// answered notes the answer and who signed it.
func (p *passage) answered(kid string, raw []byte) { p.KID, p.Answer = kid, audit.Sum(raw) }

// exchanged are the envelopes that went out, in the order of their addressees.
func (r *run) exchanged() []audit.Relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []audit.Relay
	for _, p := range r.passages {
		out = append(out, p.Relay)
	}
	slices.SortFunc(out, func(a, b audit.Relay) int {
		if c := strings.Compare(a.Node, b.Node); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}
