// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestTraceContextCrosses(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	s := newServer(t, embed.Options{})
	traced := func(c *Config) { c.Tracer = tp }
	inside := make(chan trace.SpanContext, 1)
	a := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		inside <- trace.SpanContextFromContext(ctx)
		return []byte("good"), nil
	}}
	svc := serviceOn(t, newBusOn(t, s, traced), a)
	ctx, root := tp.Tracer("test").Start(within(t, 5*time.Second), "root")
	call := newCall(AnySite)
	if _, err := newBusOn(t, s, traced).Caller(CallerOptions{}).Appraise(ctx, call); err != nil {
		t.Fatal(err)
	}
	root.End()
	if got := <-inside; got.TraceID() != root.SpanContext().TraceID() {
		t.Errorf("the appraiser is in trace %v", got.TraceID())
	}
	if err := svc.Stop(within(t, time.Second)); err != nil { // the server span has ended
		t.Fatal(err)
	}
	byKind := map[trace.SpanKind]tracetest.SpanStub{}
	for _, span := range exporter.GetSpans() {
		byKind[span.SpanKind] = span
		text := fmt.Sprint(span.Attributes, span.Name, span.Events)
		for _, secret := range []string{hex.EncodeToString(call.Request.Nonce), string(call.Request.Nonce), call.Request.ID} {
			if strings.Contains(text, secret) {
				t.Errorf("span %s tells a secret or has an id as a value", span.Name)
			}
		}
	}
	client, server := byKind[trace.SpanKindClient], byKind[trace.SpanKindServer]
	if client.Parent.SpanID() != root.SpanContext().SpanID() {
		t.Error("the client span is not a child of the caller's span")
	}
	if server.Parent.SpanID() != client.SpanContext.SpanID() {
		t.Error("the server span is not a child of the client span")
	}
	if client.Name != "appraise "+testScheme || server.Name != client.Name {
		t.Errorf("names %q and %q", client.Name, server.Name)
	}
}

func TestCarrierReadsEitherCase(t *testing.T) {
	const tp = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, key := range []string{"traceparent", "Traceparent"} {
		ctx := propagator.Extract(context.Background(), carrier(nats.Header{key: {tp}}))
		if !trace.SpanContextFromContext(ctx).IsValid() {
			t.Errorf("%s was not read", key)
		}
		h := nats.Header{}
		propagator.Inject(ctx, carrier(h))
		if _, ok := h["traceparent"]; !ok {
			t.Errorf("wrote %v", h)
		}
	}
}

func TestMetrics(t *testing.T) {
	reader := metric.NewManualReader()
	mp := metric.NewMeterProvider(metric.WithReader(reader))
	s := newServer(t, embed.Options{})
	metered := func(c *Config) { c.Meter = mp }
	serviceOn(t, newBusOn(t, s, at("one")), says("forged"))
	svc := serviceOn(t, newBusOn(t, s, at("two"), metered), says("good"))
	lead := newBusOn(t, s, metered)
	if _, err := lead.Caller(CallerOptions{}).Appraise(within(t, time.Second), newCall("one", "two")); err != nil {
		t.Fatal(err)
	}
	_, _ = lead.Caller(CallerOptions{}).Appraise(within(t, time.Second), newCall("nobody"))
	if err := svc.Stop(within(t, time.Second)); err != nil {
		t.Fatal(err)
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	outcomes, forged := map[string]uint64{}, int64(0)
	for _, m := range rm.ScopeMetrics[0].Metrics {
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range data.DataPoints {
				side, _ := p.Attributes.Value(attrSide)
				what, _ := p.Attributes.Value(attribute.Key(attrOutcome))
				outcomes[side.AsString()+" "+what.AsString()] += p.Count
			}
		case metricdata.Sum[int64]:
			if m.Name == "assize.fabric.bad_signatures" {
				forged = data.DataPoints[0].Value
			}
		}
	}
	if outcomes["lead verdict"] != 1 || outcomes["lead unreachable"] != 1 || outcomes["verifier verdict"] != 1 || forged != 1 {
		t.Errorf("outcomes %v, forged %d", outcomes, forged)
	}
}
