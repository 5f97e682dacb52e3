// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

// Verdicts on recorded evidence, with the collateral that Intel and AMD have
// published, are reproduced from their bundles: of every CPU TEE and TPM whose keys
// need no reference values.
func TestReplayOfRecordings(t *testing.T) {
	c := recordedStack(t).config
	s, err := start(t.Context(), c, slog.New(slog.DiscardHandler), role{name: "appraise", lead: true, oneShot: true}, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	f := &appraiseFlags{include: includeFlags{kinds: []string{"all"}}}
	elsewhere, reproduced := t.TempDir(), 0
	for _, r := range recordings {
		if r.mediaType == typeCCA || r.mediaType == typePSA {
			continue // their keys are reference values of this test
		}
		raw := r.read(t)
		at, err := time.Parse(time.RFC3339, r.at)
		if err != nil {
			t.Fatal(err)
		}
		q := orchestrator.Request{Evidence: one(t, r.mediaType, raw), Time: at}
		if nonce := r.challenge(t, raw); len(nonce) > 0 {
			q.Given = map[evidence.Path][]byte{"part": nonce}
		}
		res, err := s.lead.Appraise(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		b, err := s.bundleOf(t.Context(), f, q, res)
		if err != nil {
			t.Fatal(err)
		}
		text, err := verdict.EncodeBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		got, o := replayed(t, elsewhere, write(t, "b.json", text))
		if !got.Reproduced || got.Was != res.Outcome.Tier || len(got.Notes)+len(got.Missing) > 0 {
			t.Errorf("%s@%s: %s, %+v %s", r.file, r.at, res.Outcome.Tier, got, o.err)
			continue
		}
		reproduced++
	}
	if reproduced < 20 {
		t.Errorf("%d verdicts were reproduced", reproduced)
	}
}

// What was fetched for a verdict is in the bundle, so that a replay asks nobody, also
// where it could.
func TestReplayHasWhatWasFetched(t *testing.T) {
	dir, state := simulatedFolder(t, "--machine", "cpu"), t.TempDir()
	s, stop, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	o := assize(t, state, "appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"),
		"--corim", filepath.Join(dir, "reference-values"), "--corim-trust", filepath.Join(dir, "corim-trust.json"),
		"--config", config, "--online", "-o", "bundle", "--include", "all")
	if o.code != exitAffirming || len(s.requests()) != 4 {
		t.Fatalf("%d %s", o.code, o.err)
	}
	file := write(t, "b.json", []byte(o.out))
	collateral := 0
	changed(t, file, func(b *verdict.Bundle) {
		for _, i := range b.Items {
			if i.Kind == verdict.ItemCollateral && i.Value != nil {
				collateral++
			}
		}
	})
	got, again := replayed(t, t.TempDir(), file, "--config", config, "--use-included-roots")
	if !got.Reproduced || again.code != exitAffirming || collateral != 4 {
		t.Errorf("%d documents; %d %+v %s", collateral, again.code, got, again.err)
	}
	// Without it nothing is fetched, though the services are there and allowed.
	less := changed(t, file, func(b *verdict.Bundle) {
		var items []verdict.Item
		for _, i := range b.Items {
			if i.Kind != verdict.ItemCollateral {
				items = append(items, i)
			}
		}
		b.Items = items
	})
	allowed := write(t, "online.yaml", fmt.Appendf(nil, "endorsements_online: {enabled: true, intel: %q, amd: none, nvidia: {rim_url: none, ocsp_url: none}}\n", "http://127.0.0.1:9"))
	for _, c := range []string{config, allowed} {
		got, again = replayed(t, t.TempDir(), less, "--config", c, "--use-included-roots")
		if asked := s.requests(); got.Reproduced || again.code != exitWarning || len(asked) != 0 || !got.has("cpu", "trust hardware") {
			t.Errorf("asked %q; %d %+v", asked, again.code, got)
		}
	}
	stop()
}
