// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"fmt"
	"net/textproto"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/assize/assize/fabric"

// Attribute keys; semantic conventions have no value for NATS yet, so all keys
// are here. Evidence, nonces, claims and subjects with ids are never values.
const (
	attrSystem      = attribute.Key("messaging.system")
	attrOperation   = attribute.Key("messaging.operation.type")
	attrTemplate    = attribute.Key("messaging.destination.template")
	attrGroup       = attribute.Key("messaging.consumer.group.name")
	attrBodySize    = attribute.Key("messaging.message.body.size")
	attrErrorType   = attribute.Key("error.type")
	attrScheme      = attribute.Key("assize.scheme")
	attrOutcome     = attribute.Key("assize.outcome")
	attrTier        = attribute.Key("assize.tier")
	attrAttempt     = attribute.Key("assize.attempt")
	attrHedge       = attribute.Key("assize.hedge")
	attrCandidate   = attribute.Key("assize.candidate")
	attrInstance    = attribute.Key("assize.instance")
	attrSide        = attribute.Key("assize.side")
	outcomeVerdict  = "verdict"
	outcomeAnswer   = "answer"
	messagingSystem = "nats"
)

// operation is a kind of request, as spans, metrics and the texts of failures
// name it.
type operation struct {
	verb, noun       string
	scheme           string // value of assize.scheme
	asker, responder string // values of assize.side
	template, group  string
	succeeded        string // outcome of a success
	recorder         func(*telemetry) metric.Float64Histogram
}

func appraising(scheme string) operation {
	return operation{
		verb: "appraise", noun: "appraisal", scheme: scheme, asker: "lead", responder: "verifier",
		template: appraiseTemplate, group: queueGroup, succeeded: outcomeVerdict,
		recorder: func(t *telemetry) metric.Float64Histogram { return t.duration },
	}
}

func relaying(node string) operation {
	return operation{
		verb: "relay", noun: "relay", scheme: relayScheme, asker: "sender", responder: "node",
		template: cascadeTemplate, group: relayGroup(node), succeeded: outcomeAnswer,
		recorder: func(t *telemetry) metric.Float64Histogram { return t.relays },
	}
}

// propagator is W3C trace context, whatever the process has set globally: it
// is part of the message contract.
var propagator = propagation.TraceContext{}

// carrier is a NATS header as a carrier of trace context. NATS headers keep
// their case and peers in other languages look up lower case, so lower case is
// written and either is read.
type carrier nats.Header

// Get implements propagation.TextMapCarrier.
func (c carrier) Get(key string) string {
	if v := c[key]; len(v) > 0 {
		return v[0]
	}
	return first(nats.Header(c), textproto.CanonicalMIMEHeaderKey(key))
}

// Set implements propagation.TextMapCarrier.
func (c carrier) Set(key, value string) { c[key] = []string{value} }

// Keys implements propagation.TextMapCarrier.
func (c carrier) Keys() []string {
	out := make([]string, 0, len(c))
	for k := range c {
		out = append(out, k)
	}
	return out
}

// telemetry is the tracer and the instruments of one bus.
type telemetry struct {
	tracer        trace.Tracer
	duration      metric.Float64Histogram
	relays        metric.Float64Histogram
	hedges        metric.Int64Counter
	cancels       metric.Int64Counter
	busy          metric.Int64Counter
	badSignatures metric.Int64Counter
	replays       metric.Int64Counter
	inFlight      metric.Int64UpDownCounter
}

func newTelemetry(tp trace.TracerProvider, mp metric.MeterProvider) (*telemetry, error) {
	if tp == nil {
		tp = otel.GetTracerProvider()
	}
	if mp == nil {
		mp = otel.GetMeterProvider()
	}
	t := &telemetry{tracer: tp.Tracer(scope)}
	m := mp.Meter(scope)
	var err error
	for _, h := range []struct {
		to         *metric.Float64Histogram
		name, text string
	}{
		{&t.duration, "assize.appraisal.duration", "Time from request to outcome, by scheme, side, outcome and tier."},
		{&t.relays, "assize.relay.duration", "Time from a relayed message to its outcome, by side and outcome."},
	} {
		*h.to, err = m.Float64Histogram(h.name, metric.WithUnit("s"), metric.WithDescription(h.text),
			metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30))
		if err != nil {
			return nil, fmt.Errorf("fabric: metrics: %w", err)
		}
	}
	for _, c := range []struct {
		to         *metric.Int64Counter
		name, text string
	}{
		{&t.hedges, "assize.fabric.hedges", "Requests sent to a further verifier because the first was slow."},
		{&t.cancels, "assize.fabric.cancels", "Cancellations sent or obeyed."},
		{&t.busy, "assize.fabric.busy", "Requests turned away because a verifier was full or draining."},
		{&t.badSignatures, "assize.fabric.bad_signatures", "Answers that did not verify."},
		{&t.replays, "assize.fabric.replays", "Requests answered from the idempotency cache."},
	} {
		if *c.to, err = m.Int64Counter(c.name, metric.WithDescription(c.text)); err != nil {
			return nil, fmt.Errorf("fabric: metrics: %w", err)
		}
	}
	t.inFlight, err = m.Int64UpDownCounter("assize.fabric.in_flight", metric.WithDescription("Requests in progress on a verifier or node."))
	if err != nil {
		return nil, fmt.Errorf("fabric: metrics: %w", err)
	}
	return t, nil
}

// record takes the duration of one request. The outcome is that of a success,
// or a reason code (who asks) or an error code (who answers); tier is empty
// without one.
func (t *telemetry) record(ctx context.Context, op operation, side string, since time.Time, outcome, tier string) {
	op.recorder(t).Record(ctx, time.Since(since).Seconds(), metric.WithAttributes(
		attrSide.String(side), attrScheme.String(op.scheme), attrOutcome.String(outcome), attrTier.String(tier)))
}

// count adds one to a counter of a scheme.
func count(ctx context.Context, c metric.Int64Counter, scheme string) {
	c.Add(ctx, 1, metric.WithAttributes(attrScheme.String(scheme)))
}

// clientSpan starts the span of one attempt and injects its context into h.
func (t *telemetry) clientSpan(ctx context.Context, h nats.Header, op operation, to, attempt string, size int) (context.Context, trace.Span) {
	ctx, span := t.tracer.Start(ctx, op.verb+" "+op.scheme, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attrSystem.String(messagingSystem), attrOperation.String("send"), attrTemplate.String(op.template),
		attrBodySize.Int(size), attrScheme.String(op.scheme), attrCandidate.String(to),
		attrAttempt.String(attempt), attrHedge.Bool(attempt == hedgeAttempt)))
	propagator.Inject(ctx, carrier(h))
	return ctx, span
}

// serverSpan starts the span of one admitted request under the caller's span.
func (t *telemetry) serverSpan(ctx context.Context, h nats.Header, op operation, instance string, size int) (context.Context, trace.Span) {
	ctx = propagator.Extract(ctx, carrier(h))
	return t.tracer.Start(ctx, op.verb+" "+op.scheme, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attrSystem.String(messagingSystem), attrOperation.String("process"), attrTemplate.String(op.template),
		attrGroup.String(op.group), attrBodySize.Int(size), attrScheme.String(op.scheme), attrInstance.String(instance)))
}

// endSpan closes a span with its outcome; outcome is of a closed set.
func endSpan(span trace.Span, outcome, tier string) {
	if tier != "" {
		span.SetAttributes(attrTier.String(tier))
	}
	if outcome != outcomeVerdict && outcome != outcomeAnswer {
		span.SetAttributes(attrErrorType.String(outcome))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}
