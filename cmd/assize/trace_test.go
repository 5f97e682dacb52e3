// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/assize/assize/samples"
)

// TestOneTracePerAppraisal: every step of an appraisal is in one trace, also
// beyond NATS, and no span carries evidence or challenges.
func TestOneTracePerAppraisal(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(exporter))
	otel.SetTracerProvider(provider)
	t.Cleanup(func() {
		otel.SetTracerProvider(noop.NewTracerProvider())
		if err := provider.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if o := assize(t, t.TempDir(), "appraise", sample(t), "--component-nonce", gpuNonce()); o.code != exitWarning {
		t.Fatal(o.err)
	}
	spans := exporter.GetSpans()
	names := map[string]int{}
	var servers int
	nonce := hex.EncodeToString(samples.GPUNonce())
	for _, s := range spans {
		names[s.Name]++
		if s.SpanContext.TraceID() != spans[0].SpanContext.TraceID() {
			t.Errorf("span %q is in another trace", s.Name)
		}
		if s.SpanKind == oteltrace.SpanKindServer && s.Parent.IsRemote() {
			servers++
		}
		for _, a := range s.Attributes {
			if strings.Contains(a.Value.String(), nonce) {
				t.Errorf("span %q: %s carries a challenge", s.Name, a.Key)
			}
		}
	}
	for _, want := range []string{"appraise", "plan", "combine", "appraise intel-tdx", "appraise nvidia-gpu"} {
		if names[want] == 0 {
			t.Errorf("no span %q among %v", want, names)
		}
	}
	if servers != 2 {
		t.Errorf("%d spans of verifiers beyond NATS, want 2: %v", servers, names)
	}
}
