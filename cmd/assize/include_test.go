// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// Two bundles of one run are the same bytes, and those of two runs differ in what
// has to differ: the verdict and the time in the request.
func TestBundlesAreDeterministic(t *testing.T) {
	r := newSimulatedRun(t, "cpu-gpu")
	c, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.StateDir, c.Endorsements = t.TempDir(), r.path("endorsements")
	log := slog.New(slog.DiscardHandler)
	f := &appraiseFlags{trust: r.path("trust.json"), corim: corimFlags{paths: []string{r.dir}, trust: r.path("corim-trust.json")}, include: includeFlags{kinds: []string{"all"}}}
	given, err := f.corim.load(log, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s, err := start(t.Context(), c, log, role{name: "appraise", lead: true, oneShot: true, references: given}, f.trust)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	raw, err := os.ReadFile(r.path("evidence.cmw"))
	if err != nil {
		t.Fatal(err)
	}
	q := orchestrator.Request{Evidence: raw, Nonce: []byte("0123456789abcdef")}
	var texts [][]byte
	var bundles []verdict.Bundle
	for range 2 {
		res, err := s.lead.Appraise(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			b, err := s.bundleOf(t.Context(), f, q, res)
			if err != nil {
				t.Fatal(err)
			}
			text, err := verdict.EncodeBundle(b)
			if err != nil {
				t.Fatal(err)
			}
			texts, bundles = append(texts, text), append(bundles, b)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) || !bytes.Equal(texts[2], texts[3]) || bytes.Equal(texts[0], texts[2]) {
		t.Error("bundles of one run differ, or those of two do not")
	}
	if len(bundles[0].Items) != len(bundles[2].Items) {
		t.Fatal("other items")
	}
	for n, i := range bundles[0].Items {
		if o := bundles[2].Items[n]; i.Name != o.Name || i.Digest != o.Digest && !(i.Kind == verdict.ItemRequest && i.Name == "request") {
			t.Errorf("%s %s differs between two runs", i.Kind, i.Name)
		}
	}
}

// FuzzReplayRequest: what is accepted is spelled in the one way.
func FuzzReplayRequest(f *testing.F) {
	two := 2
	for _, q := range []replayRequest{
		{Kind: replayRequestKind, Time: "2026-11-22T17:36:32Z", Topology: "lead", Schemes: []string{"intel-tdx"}, Corim: true},
		{
			Kind: replayRequestKind, Time: "2026-11-22T17:36:32.5Z", VerificationTime: "2026-01-01T00:00:00Z", MediaType: "a/b", Nonce: "AAECAwQFBgc",
			ComponentNonces: map[string]string{"gpu/0": "AAECAwQFBgc"}, Topology: "lead(cpu)", Optional: []string{"gpu/*"}, Remote: []string{"nvidia-gpu"},
			Requirements: []verdict.Requirement{{Label: "gpu/*", Exactly: &two, Source: verdict.SourceConfiguration}}, CorimUnsigned: true, Others: true,
		},
	} {
		raw, err := q.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var q replayRequest
		if q.decode(raw) != nil {
			return
		}
		again, err := q.encode()
		if err != nil || !bytes.Equal(again, raw) || q.Kind != replayRequestKind {
			t.Fatalf("%s\n%s\n%v", raw, again, err)
		}
	})
}
