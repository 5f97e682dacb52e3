// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// said is a verifier that answers one thing.
type said struct {
	token []byte
	err   error
}

func (s said) Appraise(context.Context, verifiers.Request) ([]byte, verdict.Tier, error) {
	return s.token, verdict.TierAffirming, s.err
}

// kept are the records of a test.
type kept struct {
	events []audit.Event
	err    error
}

func (k *kept) Record(_ context.Context, e audit.Event) error {
	k.events = append(k.events, e)
	return k.err
}

func TestVerifierKeepsRecords(t *testing.T) {
	r := verifiers.Request{
		ID: strings.Repeat("0a", 16), Session: "s-1", Label: "gpu/0", Scheme: "nvidia-gpu", Evidence: []byte("secret evidence"),
		Nonce: []byte("challenge"), Sender: "entry", SenderKID: "kid-of-entry",
	}
	full := errors.New("disk full")
	for name, c := range map[string]struct {
		answer   said
		store    error
		required bool
		kind     audit.Kind
		word     string
		result   bool
	}{
		"answered":              {said{token: []byte("token")}, nil, false, audit.KindAppraised, "", true},
		"refused":               {said{err: &verifiers.Refusal{Code: 415}}, nil, false, audit.KindAppraisalRefused, "no-verifier", false},
		"broken":                {said{err: errors.New("x")}, nil, false, audit.KindAppraisalRefused, "malfunction", false},
		"not recorded":          {said{token: []byte("token")}, full, false, audit.KindAppraised, "", true},
		"not recorded, but due": {said{token: []byte("token")}, full, true, audit.KindAppraised, "", false},
	} {
		k := &kept{err: c.store}
		a := auditedVerifier{node: c.answer, kid: func(string) string { return "kid-of-scheme" }, site: "site-a", records: k, required: c.required}
		token, tier, err := a.Appraise(t.Context(), r)
		if got := err == nil && string(token) == "token" && tier == verdict.TierAffirming; got != c.result {
			t.Errorf("%s: %q, %s, %v", name, token, tier, err)
		}
		var refusal *verifiers.Refusal
		if c.required && (!errors.As(err, &refusal) || refusal.Code != 500 || !errors.Is(err, full)) {
			t.Errorf("%s: %v", name, err)
		}
		if len(k.events) != 1 {
			t.Fatalf("%s: %d records", name, len(k.events))
		}
		e := k.events[0]
		one := e.Components[0]
		if e.Kind != c.kind || e.Error != c.word || e.Session != "s-1" || e.Received.Node != "entry" || e.Received.KID != "kid-of-entry" {
			t.Errorf("%s: %+v", name, e)
		}
		if one.Label != "gpu/0" || one.Request != r.ID || one.Evidence != audit.Sum(r.Evidence) || one.At[0] != "site-a" {
			t.Errorf("%s: %+v", name, one)
		}
		if c.word == "" && (one.Tier != "affirming" || len(one.Partials) != 1 || one.Partials[0] != audit.Partial{KID: "kid-of-scheme", Digest: audit.Sum([]byte("token"))}) {
			t.Errorf("%s: %+v", name, one)
		}
		if c.word != "" && (one.Tier != "none" || one.Partials != nil) {
			t.Errorf("%s: %+v", name, one)
		}
	}
}
