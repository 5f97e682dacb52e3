// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

func TestRelayRoundTrip(t *testing.T) {
	s := newServer(t, embed.Options{})
	left := make(chan time.Duration, 1)
	h := handles(func(ctx context.Context, m []byte) ([]byte, error) {
		end, _ := ctx.Deadline()
		left <- time.Until(end)
		return append([]byte("signed "), m...), nil
	})
	other := echoes()
	nodeOn(t, newBusOn(t, s), h)
	nodeOn(t, newBusOn(t, s), other, func(o *RelayOptions) { o.Node = "node-c" })
	out, err := newBusOn(t, s).RelayCaller(RelayCallerOptions{}).Relay(within(t, 5*time.Second), testNode, newID(), []byte("message"))
	if err != nil || string(out) != "signed message" {
		t.Fatalf("%q, %v", out, err)
	}
	if d := <-left; d <= 0 || d > 5*time.Second {
		t.Errorf("the handler has %v", d)
	}
	if other.calls.Load() != 0 {
		t.Error("another node got the message")
	}
}

func TestInstancesOfANodeShareTheLoad(t *testing.T) {
	s := newServer(t, embed.Options{})
	one, two := echoes(), echoes()
	nodeOn(t, newBusOn(t, s), one)
	nodeOn(t, newBusOn(t, s), two)
	c := newBusOn(t, s).RelayCaller(RelayCallerOptions{})
	const n = 64
	for i := range n {
		message := []byte("message " + strconv.Itoa(i))
		if out, err := c.Relay(within(t, 5*time.Second), testNode, newID(), message); err != nil || !bytes.Equal(out, message) {
			t.Fatalf("%q, %v", out, err)
		}
	}
	a, b := one.calls.Load(), two.calls.Load()
	if a+b != n || a == 0 || b == 0 {
		t.Errorf("%d and %d of %d messages", a, b, n)
	}
}

func TestMalformedRelay(t *testing.T) {
	s := newServer(t, embed.Options{})
	h := echoes()
	nodeOn(t, newBusOn(t, s), h)
	c := newBusOn(t, s).RelayCaller(RelayCallerOptions{})
	if _, err := c.Relay(context.Background(), testNode, newID(), []byte("m")); !errors.Is(err, ErrNoDeadline) {
		t.Errorf("without a deadline: %v", err)
	}
	for name, call := range map[string]struct{ node, id, message string }{
		"node":    {"*", newID(), "m"},
		"tokens":  {"a.b", newID(), "m"},
		"id":      {testNode, "1", "m"},
		"message": {testNode, newID(), ""},
	} {
		var f *verifiers.Failure
		if _, err := c.Relay(within(t, time.Second), call.node, call.id, []byte(call.message)); err == nil || errors.As(err, &f) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if h.calls.Load() != 0 {
		t.Error("a malformed call was sent")
	}
}

func TestRelayUpToThePayloadLimit(t *testing.T) {
	s := newServer(t, embed.Options{})
	h := echoes()
	nodeOn(t, newBusOn(t, s), h)
	c := newBusOn(t, s).RelayCaller(RelayCallerOptions{})
	message := bytes.Repeat([]byte{0x5a}, limits.FabricPayload-limits.FabricHeaderReserve)
	out, err := c.Relay(within(t, 10*time.Second), testNode, newID(), message)
	if err != nil || !bytes.Equal(out, message) {
		t.Fatalf("%d bytes, %v", len(out), err)
	}
	_, err = c.Relay(within(t, 10*time.Second), testNode, newID(), append(message, 0))
	wantReason(t, err, verdict.ReasonTooLarge)
	if h.calls.Load() != 1 {
		t.Error("the oversize message was sent")
	}
}

func TestRelayHonoursTheServersPayloadLimit(t *testing.T) {
	s := listening(t, &server.Options{MaxPayload: 64 << 10})
	url := []string{s.ClientURL()}
	h := handles(func(_ context.Context, m []byte) ([]byte, error) { return append(m, 0), nil })
	nodeOn(t, newTestBus(t, Config{Name: "n", URLs: url}), h)
	c := newTestBus(t, Config{Name: "s", URLs: url}).RelayCaller(RelayCallerOptions{})
	most := 64<<10 - limits.FabricHeaderReserve
	_, err := c.Relay(within(t, 10*time.Second), testNode, newID(), make([]byte, most+1))
	wantReason(t, err, verdict.ReasonTooLarge)
	// The answer is one byte too large: an error at once, not a lost answer.
	_, err = c.Relay(within(t, 10*time.Second), testNode, newID(), make([]byte, most))
	wantReason(t, err, verdict.ReasonMalfunction)
	if out, err := c.Relay(within(t, 10*time.Second), testNode, newID(), make([]byte, most-1)); err != nil || len(out) != most {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}

func TestUnknownNodeIsReportedAtOnce(t *testing.T) {
	c := newBusOn(t, newServer(t, embed.Options{})).RelayCaller(RelayCallerOptions{})
	fastest(t, func() {
		_, err := c.Relay(within(t, 20*time.Second), "nobody", newID(), []byte("message"))
		wantReason(t, err, verdict.ReasonUnreachable)
	})
}

func TestMissingNodeIsTriedOnceMore(t *testing.T) {
	s := newServer(t, embed.Options{})
	b, node := newBusOn(t, s), newBusOn(t, s)
	id, end := newID(), time.Now().Add(20*time.Second)
	ctx := within(t, 20*time.Second)
	r := &relay{
		bus: b, op: relaying(testNode), node: testNode, id: id, deadline: end,
		parcel:   parcel{header: baseHeaders(id, relayScheme, RelayType, digestOf([]byte("m"))), body: []byte("m")},
		patience: patience{grace: end, tries: 1},
	}
	_, err := r.run(ctx)
	wantReason(t, err, verdict.ReasonUnreachable)
	if !r.patience.used || r.patience.tries != 0 {
		t.Errorf("not tried once more: %+v", r.patience)
	}
	r.patience = patience{grace: end, tries: 16} // a node may take a while to start
	done := make(chan error, 1)
	go func() {
		_, err := r.run(ctx)
		done <- err
	}()
	time.Sleep(5 * time.Millisecond)
	nodeOn(t, node, echoes())
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBusyNodeIsTriedOnceMore(t *testing.T) {
	for _, tc := range []struct {
		refusals int64
		reason   string // empty: an answer
		calls    int64
	}{{1, "", 2}, {100, verdict.ReasonBusy, 2}} {
		s := newServer(t, embed.Options{})
		var n atomic.Int64
		h := handles(func(_ context.Context, m []byte) ([]byte, error) {
			if n.Add(1) <= tc.refusals {
				return nil, RelayRefusal{Code: CodeBusy}
			}
			return m, nil
		})
		nodeOn(t, newBusOn(t, s), h)
		_, err := newBusOn(t, s).RelayCaller(RelayCallerOptions{}).Relay(within(t, 20*time.Second), testNode, newID(), []byte("message"))
		if tc.reason != "" {
			wantReason(t, err, tc.reason)
		} else if err != nil {
			t.Error(err)
		}
		if got := h.calls.Load(); got != tc.calls {
			t.Errorf("%d calls, want %d", got, tc.calls)
		}
	}
}

// A retry that the deadline does not allow is not made.
func TestBusyNodeWithoutTime(t *testing.T) {
	s := newServer(t, embed.Options{})
	b := newBusOn(t, s)
	var asked atomic.Int64
	if _, err := b.bulk.Subscribe(b.subj.cascade(testNode), func(m *nats.Msg) {
		asked.Add(1)
		_ = m.RespondMsg(&nats.Msg{Header: nats.Header{"Nats-Service-Error-Code": {"503"}, HeaderRetryAfter: {"60000"}}})
	}); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := b.RelayCaller(RelayCallerOptions{}).Relay(within(t, 20*time.Second), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonBusy)
	if d := time.Since(start); asked.Load() != 1 || d > 5*time.Second {
		t.Errorf("asked %d times in %v", asked.Load(), d)
	}
}

func TestEmptyAnswerIsAMalfunction(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	if _, err := b.bulk.Subscribe(b.subj.cascade(testNode), func(m *nats.Msg) { _ = m.Respond(nil) }); err != nil {
		t.Fatal(err)
	}
	if err := b.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := b.RelayCaller(RelayCallerOptions{}).Relay(within(t, 20*time.Second), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonMalfunction)
}

func TestSlowNodePastTheDeadline(t *testing.T) {
	s := newServer(t, embed.Options{})
	release := make(chan struct{})
	stubborn := handles(func(context.Context, []byte) ([]byte, error) { // does not obey its context
		<-release
		return []byte("late"), nil
	})
	nodeOn(t, newBusOn(t, s), stubborn)
	t.Cleanup(func() { close(release) })
	start := time.Now()
	_, err := newBusOn(t, s).RelayCaller(RelayCallerOptions{}).Relay(within(t, 100*time.Millisecond), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonTimeout)
	if d := time.Since(start); d < 90*time.Millisecond || d > 5*time.Second {
		t.Errorf("gave up after %v", d)
	}
}

func TestCancelledRelayReachesTheHandler(t *testing.T) {
	s := newServer(t, embed.Options{})
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	nodeOn(t, newBusOn(t, s), holds(started, ended))
	b := newBusOn(t, s)
	strangers, err := b.bulk.SubscribeSync(b.subj.cancelRelay("node-c"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	go func() {
		<-started
		cancel()
	}()
	_, err = b.RelayCaller(RelayCallerOptions{}).Relay(ctx, testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonCancelled)
	// Long before the node's own budget would end it.
	if err := <-ended; !errors.Is(err, errCancelled) {
		t.Errorf("ended with %v", err)
	}
	if n, _, _ := strangers.Pending(); n != 0 {
		t.Error("another node was told")
	}
}

// midway starts a server and a node, and returns when a message is being
// handled; the outcome follows.
func midway(t *testing.T, o RelayCallerOptions) (s *embed.Server, h *relayFunc, outcome <-chan error) {
	t.Helper()
	s, err := embed.Start(embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	arrived, done := make(chan struct{}, 4), make(chan error, 1)
	h = handles(func(ctx context.Context, m []byte) ([]byte, error) {
		arrived <- struct{}{}
		return m, sleep(ctx, 300*time.Millisecond)
	})
	nodeOn(t, newBusOn(t, s), h)
	c, ctx := newBusOn(t, s).RelayCaller(o), within(t, 30*time.Second)
	go func() {
		_, err := c.Relay(ctx, testNode, newID(), []byte("message"))
		done <- err
	}()
	<-arrived
	return s, h, done
}

func TestLinkCutWithRelayInFlight(t *testing.T) {
	for name, wait := range map[string]time.Duration{"short wait": 50 * time.Millisecond, "no wait": -1} {
		t.Run(name, func(t *testing.T) {
			s, _, outcome := midway(t, RelayCallerOptions{Reconnect: wait})
			start := time.Now()
			shutdown(t, s)
			wantReason(t, <-outcome, verdict.ReasonUnreachable)
			if d := time.Since(start); d > 15*time.Second { // half of the deadline
				t.Errorf("took %v", d)
			}
		})
	}
}

// A message whose connection broke is sent again with the same id, so that the
// node's work of the first time counts.
func TestServerRestartWithRelayInFlight(t *testing.T) {
	s, h, outcome := midway(t, RelayCallerOptions{Reconnect: 10 * time.Second})
	shutdown(t, s)
	newServer(t, embed.Options{Provider: s.Provider()})
	if err := <-outcome; err != nil {
		t.Fatal(err)
	}
	if n := h.calls.Load(); n != 1 {
		t.Errorf("handled %d times", n)
	}
}

func TestRelayPermissionDeniedFailsAtOnce(t *testing.T) {
	user, seed := nkeyUser(t, t.TempDir(), "a", &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"att.v1.*.cascade.>"}}})
	s := listening(t, &server.Options{Nkeys: []*server.NkeyUser{user}})
	b := newTestBus(t, Config{Name: "x", NKeyFile: seed, URLs: []string{s.ClientURL()}})
	start := time.Now()
	_, err := b.RelayCaller(RelayCallerOptions{}).Relay(within(t, 20*time.Second), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonRefused)
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestConcurrentRelays(t *testing.T) {
	s := newServer(t, embed.Options{})
	nodeOn(t, newBusOn(t, s), echoes(), func(o *RelayOptions) { o.Workers = 2 })
	c := newBusOn(t, s).RelayCaller(RelayCallerOptions{})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			message := bytes.Repeat([]byte{byte(i)}, 4096)
			if out, err := c.Relay(ctx, testNode, newID(), message); err != nil || !bytes.Equal(out, message) {
				t.Errorf("%d: another answer, %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestRelayTelemetry(t *testing.T) {
	exporter, reader := tracetest.NewInMemoryExporter(), sdkmetric.NewManualReader()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter))
	mp := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	s := newServer(t, embed.Options{})
	observed := func(c *Config) { c.Tracer, c.Meter = tp, mp }
	svc := nodeOn(t, newBusOn(t, s, observed), echoes())
	c := newBusOn(t, s, observed).RelayCaller(RelayCallerOptions{})
	if _, err := c.Relay(within(t, 5*time.Second), testNode, newID(), []byte("message")); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Relay(within(t, 5*time.Second), "nobody", newID(), []byte("message"))
	if err := svc.Stop(within(t, 5*time.Second)); err != nil { // the server span has ended
		t.Fatal(err)
	}
	parents := map[trace.SpanKind]trace.SpanID{}
	ids := map[trace.SpanKind]trace.SpanID{}
	for _, span := range exporter.GetSpans() {
		if _, seen := ids[span.SpanKind]; seen {
			continue
		}
		ids[span.SpanKind], parents[span.SpanKind] = span.SpanContext.SpanID(), span.Parent.SpanID()
		if span.Name != "relay composite" {
			t.Errorf("a span is called %q", span.Name)
		}
	}
	if !ids[trace.SpanKindClient].IsValid() || parents[trace.SpanKindServer] != ids[trace.SpanKindClient] {
		t.Error("the trace does not cross")
	}
	var rm metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	outcomes := map[string]uint64{}
	for _, m := range rm.ScopeMetrics[0].Metrics {
		if data, ok := m.Data.(metricdata.Histogram[float64]); ok {
			for _, p := range data.DataPoints {
				side, _ := p.Attributes.Value(attrSide)
				what, _ := p.Attributes.Value(attrOutcome)
				outcomes[m.Name+" "+side.AsString()+" "+what.AsString()] += p.Count
			}
		}
	}
	for _, want := range []string{"sender answer", "node answer", "sender unreachable"} {
		if outcomes["assize.relay.duration "+want] != 1 {
			t.Errorf("%s is not counted once: %v", want, outcomes)
		}
	}
	if len(outcomes) != 3 {
		t.Errorf("relays are mixed with appraisals: %v", outcomes)
	}
}

func BenchmarkRelay150KiB(b *testing.B) {
	s := newServer(b, embed.Options{})
	nodeOn(b, newBusOn(b, s), echoes())
	c := newBusOn(b, s).RelayCaller(RelayCallerOptions{})
	ctx := within(b, time.Minute)
	message := make([]byte, 150<<10)
	b.ReportAllocs()
	b.SetBytes(int64(len(message)))
	for b.Loop() {
		if _, err := c.Relay(ctx, testNode, newID(), message); err != nil {
			b.Fatal(err)
		}
	}
}
