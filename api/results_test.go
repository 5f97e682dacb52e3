// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// Bare results are for parallel topologies, and never what a client gets that did
// not ask for them.
func TestBareResults(t *testing.T) {
	nothing := lead(func(context.Context, orchestrator.Request) (*verdict.Result, error) {
		return &verdict.Result{Outcome: verdict.Outcome{Tier: verdict.TierNone}, Token: []byte("a.b.c"), Topology: "parallel(cpu)", Time: time.Unix(1750000000, 0)}, nil
	})
	parallel := handler(t, nothing, func(o *Options) { o.Parallel = true })
	for accept, want := range map[string]string{"": typeJSON, "*/*": typeJSON, "application/*": typeJSON, "application/cmw+json": typeCMW} {
		if w := post(parallel, "/v1/appraise", "application/cmw+json", accept, "{}"); w.Header().Get("Content-Type") != want {
			t.Errorf("Accept %q: %q", accept, w.Header().Get("Content-Type"))
		}
	}
	// No verifier answered: that is no empty collection.
	w := post(parallel, "/v1/appraise", "application/cmw+json", typeResults, "{}")
	if p := problemOf(t, w); w.Code != http.StatusServiceUnavailable || p.Code != "no-results" {
		t.Errorf("%d %s", w.Code, p.Code)
	}
	openapi(t).declared(t, http.MethodPost, "/v1/appraise", w)
	if w := post(handler(t, nothing, nil), "/v1/appraise", "application/cmw+json", typeResults, "{}"); w.Code != http.StatusNotAcceptable {
		t.Errorf("results of another topology: %d", w.Code)
	}
}
