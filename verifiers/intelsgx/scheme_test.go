// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"context"
	"crypto/x509"
	"testing"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/verifiertest"
)

func TestConformance(t *testing.T) {
	mt := evidence.MediaType{Base: typeQuote}
	for name, form := range forms {
		m := newMachine(t, func(o *sim.Options) { o.Quote = form })
		verifiertest.Run(t, Scheme(), verifiertest.Fixture{
			Name: name, MediaType: mt, Evidence: m.raw, Nonce: nonce, Time: now, Before: now.AddDate(-3, 0, 0), Deps: m.deps(), Want: verdict.TierWarning,
		})
	}
	// The recorded quote ends in a zero byte inside its certification data.
	t.Run("recorded", func(t *testing.T) {
		raw := vectors.Read(t, recordedQuote)
		verifiertest.Run(t, Scheme(), verifiertest.Fixture{
			Name: "v3", MediaType: mt, Evidence: raw, Nonce: raw[48+320 : 48+384], Time: at("2025-07-01"), Before: at("2020-01-01"),
			Want: verdict.TierWarning, Deps: verifiers.Deps{Endorsements: bundle(t, vectors.Read(t, recordedCollateral))},
		})
	})
}

// TestFreshness: all 64 bytes, or nothing.
func TestFreshness(t *testing.T) {
	m := newMachine(t, nil)
	v := newTest(t, m.deps())
	other := bytes.Clone(nonce)
	other[63] ^= 1
	for _, c := range []struct {
		nonce []byte
		want  verdict.Freshness
		code  string
	}{
		{nonce, verdict.FreshnessFresh, ""}, {nil, verdict.FreshnessNotEstablished, verdict.ReasonNonceNotEstablished},
		{nonce[:32], verdict.FreshnessMismatch, verdict.ReasonNonceMismatch}, {other, verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
		{append(bytes.Clone(nonce), 0), verdict.FreshnessMismatch, verdict.ReasonNonceMismatch},
	} {
		a, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: typeQuote}, Evidence: m.raw, Nonce: c.nonce, Time: now, References: indexOf(t, entryOf(m)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Freshness != c.want || (c.code == "") != (len(a.Reasons) == 0) || c.code != "" && a.Reasons[0].Code != c.code ||
			(a.Status() == verdict.TierAffirming) != (c.code == "") {
			t.Errorf("%d bytes: %s %s %v", len(c.nonce), a.Freshness, a.Status(), a.Reasons)
		}
	}
}

// TestRefusedDeps: a verifier with nonsense does not start.
func TestRefusedDeps(t *testing.T) {
	m := newMachine(t, nil)
	d := m.deps()
	d.ExtraRoots[Name] = append(d.ExtraRoots[Name], nil)
	if _, err := Scheme().New(d); err == nil {
		t.Error("a nil root is accepted")
	}
	other := policy()
	other.Scheme = "intel-tdx"
	p, err := other.Policy()
	if err != nil {
		t.Fatal(err)
	}
	d = m.deps()
	d.Policies = map[string]*appraisal.Policy{Name: p}
	if _, err := Scheme().New(d); err == nil {
		t.Error("the policy of another scheme is accepted")
	}
	d = m.deps()
	d.ExtraRoots = map[string][]*x509.Certificate{"intel-tdx": {m.Root()}}
	expectRejected(t, "root of another scheme", appraise(t, newTest(t, d), m.raw, now, nil), verdict.ReasonUnknownRoot)
}

// TestMediaType: content under another name is not looked at.
func TestMediaType(t *testing.T) {
	m := newMachine(t, nil)
	a, err := newTest(t, m.deps()).Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: "application/vnd.assize.tdx-quote"}, Evidence: m.raw, Nonce: nonce, Time: now,
	})
	if err != nil {
		t.Fatal(err)
	}
	expectRejected(t, "TDX media type", a, verdict.ReasonMalformed)
}
