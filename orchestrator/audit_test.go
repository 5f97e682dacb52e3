// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/verdict"
)

// noted is an Auditor in memory, or one that cannot write.
type noted struct {
	mu     sync.Mutex
	events []audit.Event
	err    error
	// ctx is what the last call was given.
	ctx context.Context
}

func (n *noted) Record(ctx context.Context, e audit.Event) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err != nil {
		return n.err
	}
	n.events, n.ctx = append(n.events, e), ctx
	return ctx.Err()
}

// Without its record a verdict is none where records are required; elsewhere it
// is counted.
func TestAuditFailsClosed(t *testing.T) {
	for _, required := range []bool{true, false} {
		reader := sdk.NewManualReader()
		w := newWorld(t, func(o *Options) {
			o.Auditor, o.AuditRequired = &noted{err: errors.New("disk full")}, required
			o.Meter = sdk.NewMeterProvider(sdk.WithReader(reader))
		})
		res, err := w.orch.Appraise(t.Context(), Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
		if required != errors.Is(err, ErrAudit) || required != (res == nil) {
			t.Errorf("required %t: %v, %v", required, res, err)
		}
		// An error stays what it was, whatever becomes of its record.
		if _, err := w.orch.Appraise(t.Context(), Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)}); !errors.Is(err, ErrNonceSpent) {
			t.Errorf("required %t: %v", required, err)
		}
		if got := counted(t, reader); got != 2 {
			t.Errorf("required %t: %d failures counted", required, got)
		}
	}
	w := newWorld(t, nil)
	w.options.AuditRequired = true
	if _, err := New(w.options); err == nil {
		t.Error("records are required and nobody keeps them")
	}
}

func counted(t *testing.T, reader *sdk.ManualReader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	check(t, reader.Collect(t.Context(), &all))
	var n int64
	for _, s := range all.ScopeMetrics {
		for _, m := range s.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "assize.audit.failures" {
				for _, p := range sum.DataPoints {
					n += p.Value
				}
			}
		}
	}
	return n
}

// An answer to another node is held back as a verdict is.
func TestAuditOfRelaysFailsClosed(t *testing.T) {
	for _, required := range []bool{true, false} {
		f := newFederation(t, nil, "me", "n1")
		o := f.members["n1"].lead.o
		o.Auditor, o.AuditRequired = &noted{err: errors.New("disk full")}, required
		var err error
		f.members["n1"].lead, err = New(o)
		check(t, err)
		want := map[bool]string{true: "a=affirming b=none | none", false: "a=affirming b=affirming | warning"}[required]
		if got := outcomes(f.appraise("lead(a, lead(b)@n1)", "a cpu good", "b dev good")); got != want {
			t.Errorf("required %t: %s", required, got)
		}
	}
}

// Every way in which an appraisal can end is recorded, with a word for it, also
// for who goes away meanwhile.
func TestAuditOfErrors(t *testing.T) {
	n := &noted{}
	w := newWorld(t, func(o *Options) { o.Auditor = n })
	raw := composite(t, "a cpu good", "b dev bad")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, r := range []Request{
		{Evidence: raw, Nonce: []byte(testNonce)}, {Evidence: raw, Nonce: []byte(testNonce)}, {Evidence: raw, Nonce: []byte("short")},
		{Evidence: raw[1:], Nonce: []byte(testNonce)},
	} {
		_, _ = w.orch.Appraise(gone, r)
		if n.ctx.Err() != nil && len(n.events) == 0 {
			t.Error("the record ends with the caller")
		}
	}
	var got []string
	for _, e := range n.events {
		if e.Composite == "" || e.Nonce == "" {
			t.Errorf("%s without digests", e.Kind)
		}
		got = append(got, string(e.Kind)+" "+e.Error)
	}
	want := []string{"verdict ", "request-refused nonce-spent", "request-refused nonce-size", "request-refused malformed"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	w = newWorld(t, func(o *Options) { o.Auditor, o.Spender = n, noStore{} })
	_, _ = w.orch.Appraise(t.Context(), Request{Evidence: raw, Nonce: []byte(testNonce)})
	if e := n.events[len(n.events)-1]; e.Kind != audit.KindNoVerdict || e.Error != "nonce-store" || e.Topology == "" || e.Composite != audit.Sum(raw) {
		t.Errorf("%+v", e)
	}
}

// A record says of each component who was to answer for it, and how it ended.
func TestAuditOfComponents(t *testing.T) {
	n := &noted{}
	w := newWorld(t, func(o *Options) { o.Auditor = n })
	res, err := w.orch.Appraise(t.Context(), Request{Evidence: composite(t, "a cpu good", "b dev bad", "c nobody good"), Nonce: []byte(testNonce)})
	check(t, err)
	e := n.events[0]
	if e.Verdict != audit.Sum(res.Token) || e.Tier != "contraindicated" || e.Session != res.Session || len(e.Components) != 3 {
		t.Fatalf("%+v", e)
	}
	for i, c := range e.Components {
		r := res.Components[i]
		asked := c.Label != "c"
		if c.Label != string(r.Label) || c.Tier != r.Tier().String() || c.Evidence != audit.DigestOf(r.Evidence) || c.Request != r.Request ||
			(len(c.At) == 1 && c.At[0] == "any") != asked || (len(c.Partials) == 1) != asked || asked && c.Partials[0].Digest != audit.Sum(r.Partial.Token()) {
			t.Errorf("%+v", c)
		}
	}
	if !slices.Equal(e.Components[2].Reasons, []string{verdict.ReasonNoVerifier}) {
		t.Errorf("c: %q", e.Components[2].Reasons)
	}
}

// What an appraisal pays for its record.
func BenchmarkAudit(b *testing.B) {
	for name, a := range map[string]Auditor{"off": nil, "on": mute{}} {
		b.Run(name, func(b *testing.B) {
			w := newWorld(b, func(o *Options) { o.Auditor, o.Spender = a, nil })
			raw := composite(b, "a cpu good", "b dev good")
			b.ReportAllocs()
			for b.Loop() {
				_, err := w.orch.Appraise(b.Context(), Request{Evidence: bytes.Clone(raw), Nonce: []byte(testNonce)})
				check(b, err)
			}
		})
	}
}

type mute struct{}

func (mute) Record(context.Context, audit.Event) error { return nil }

// The event alone, without the appraisal that it is about.
func BenchmarkAuditEvent(b *testing.B) {
	w := newWorld(b, nil)
	t := &trail{}
	r := Request{Evidence: composite(b, "a cpu good", "b dev good"), Nonce: []byte(testNonce)}
	res, err := w.orch.judged(b.Context(), r, t)
	check(b, err)
	w.orch.o.Auditor = mute{}
	b.ReportAllocs()
	for b.Loop() {
		_, err := w.orch.auditVerdict(b.Context(), r, t, 0, res, nil)
		check(b, err)
	}
}
