// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// binder is a CPU TEE with 64 bytes of report data; its evidence is these and
// nothing else, and its software is known.
type binder struct{}

func (binder) Appraise(_ context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a := verdict.Appraisal{Freshness: verdict.FreshnessMismatch, NonceSeen: in.Evidence}
	if string(in.Nonce) == string(in.Evidence) {
		a.Freshness = verdict.FreshnessFresh
	}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	a.Vector[verdict.Executables] = verdict.ClaimApproved
	return a, nil
}

// boundWorld has the scheme "binder" beside those of newWorld.
func boundWorld(t *testing.T) *world { return newWorldOf(t, nil, boundSchemes()...) }

func boundSchemes() []verifiers.Scheme {
	return append(testSchemes(), verifiers.Scheme{
		Name: "binder", Class: verifiers.ClassCPU, Version: "1.0.0", MaxEvidence: 1024, NonceSize: 64,
		Accepts:  []evidence.MediaType{{Base: "application/vnd.test.binder"}},
		Required: []verdict.ClaimName{verdict.Hardware, verdict.Executables},
		New:      func(verifiers.Deps) (verifiers.Verifier, error) { return binder{}, nil },
	})
}

func entry(label, scheme string, value []byte) evidence.Entry {
	return evidence.Entry{Label: label, Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test." + scheme}, value, evidence.IndEvidence)}
}

// bound makes a composite whose CPU commits to want, and which then carries parts.
func bound(t *testing.T, nonce string, want, parts []evidence.Entry) []byte {
	t.Helper()
	c := evidence.Commitment{Nonce: []byte(nonce), Leaves: map[evidence.Path]evidence.LeafDigest{}}
	for _, e := range want {
		raw, err := evidence.EncodeCBOR(evidence.Collection("", e))
		check(t, err)
		tree, err := evidence.Parse(raw, evidence.Options{})
		check(t, err)
		for p, d := range tree.LeafDigests() {
			c.Leaves[p] = d
		}
	}
	sum, err := c.Sum()
	check(t, err)
	raw, err := evidence.EncodeCBOR(evidence.Collection(evidence.BoundCollection, append(slices.Clone(parts), entry("cpu", "binder", sum[:]))...))
	check(t, err)
	return raw
}

func TestCommitment(t *testing.T) {
	gpu := entry("gpu", "dev", []byte(testNonce+" good"))
	other := entry("gpu", "dev", []byte(testNonce+" id:foreign"))
	nic := entry("nic", "dev", []byte(testNonce+" id:nic"))
	moved := entry("gpu2", "dev", []byte(testNonce+" good"))
	list := func(e ...evidence.Entry) []evidence.Entry { return e }
	for _, c := range []struct {
		name        string
		nonce       string // in the commitment
		want, parts []evidence.Entry
		tier        verdict.Tier
		codes       string
	}{
		{"honest", testNonce, list(gpu), list(gpu), verdict.TierAffirming, "application-binding-accepted"},
		{"two devices", testNonce, list(gpu, nic), list(gpu, nic), verdict.TierAffirming, "application-binding-accepted"},
		{"replaced", testNonce, list(gpu), list(other), verdict.TierContraindicated, "binding-broken component-tier unbound-component"},
		{"added", testNonce, list(gpu), list(gpu, nic), verdict.TierContraindicated, "binding-broken component-tier unbound-component"},
		{"left out", testNonce, list(gpu, nic), list(gpu), verdict.TierContraindicated, "binding-broken component-tier unbound-component"},
		{"under another label", testNonce, list(gpu), list(moved), verdict.TierContraindicated, "binding-broken component-tier unbound-component"},
		{"another session", "fedcba9876543210", list(gpu), list(gpu), verdict.TierContraindicated, "binding-broken component-tier unbound-component"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := boundWorld(t)
			raw := bound(t, c.nonce, c.want, c.parts)
			res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
			if res.Outcome.Tier != c.tier || codes(res.Outcome.Reasons) != c.codes {
				t.Errorf("%s %q, want %s %q", res.Outcome.Tier, codes(res.Outcome.Reasons), c.tier, c.codes)
			}
			checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: res.Time}, w.anchors)
			check(t, err)
			check(t, Recheck(checked, w.options.Schemes))
			tree, err := evidence.Parse(raw, evidence.Options{})
			check(t, err)
			check(t, RecheckEvidence(checked, w.options.Schemes, tree))
		})
	}
}

// Evidence that says it is bound and is not, and the other way round, answers
// no challenge.
func TestCommitmentHasToBeDeclared(t *testing.T) {
	gpu := entry("gpu", "dev", []byte(testNonce+" good"))
	w := boundWorld(t)
	sum, err := evidence.Commitment{Nonce: []byte(testNonce), Leaves: map[evidence.Path]evidence.LeafDigest{"gpu": sha512.Sum384([]byte(testNonce + " good"))}}.Sum()
	check(t, err)
	plain, err := topologies.DeriveNonce("shake256/64", []byte(testNonce))
	check(t, err)
	for typ, reportData := range map[string][]byte{"tag:test.example,2026:t": sum[:], evidence.BoundCollection: plain} {
		raw, err := evidence.EncodeCBOR(evidence.Collection(typ, gpu, entry("cpu", "binder", reportData)))
		check(t, err)
		w.options.Spender.(spent)[testNonce] = false
		if res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)}); res.Outcome.Tier != verdict.TierContraindicated {
			t.Errorf("%s: %s", typ, res.Outcome.Tier)
		}
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection(evidence.BoundCollection, entry("cpu", "binder", sum[:]), entry("cpu2", "binder", sum[:])))
	check(t, err)
	w.options.Spender.(spent)[testNonce] = false
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
	c := find(t, res, "cpu")
	if !c.Partial.IsZero() || len(c.Reasons) != 1 || !strings.Contains(c.Reasons[0].Detail, "has two") {
		t.Errorf("two CPU TEEs that each commit to the other: %v", c.Reasons)
	}
	// A CPU TEE with too little room for a commitment, and one without a challenge.
	raw, err = evidence.EncodeCBOR(evidence.Collection(evidence.BoundCollection, entry("a", "cpu", []byte(testNonce+" good")), gpu))
	check(t, err)
	w.options.Spender.(spent)[testNonce] = false
	if c := find(t, w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)}), "a"); !c.Partial.IsZero() {
		t.Error("16 bytes cannot hold a commitment")
	}
	raw = bound(t, testNonce, []evidence.Entry{gpu}, []evidence.Entry{gpu})
	if res := w.appraise(t, Request{Evidence: raw}); res.Outcome.Tier == verdict.TierAffirming || res.Commitment != nil {
		t.Errorf("without a session nonce: %s", res.Outcome.Tier)
	}
}

// A lead that lies about what was committed to is found by whoever repeats it.
func TestRecheckFindsLyingCommitment(t *testing.T) {
	gpu := entry("gpu", "dev", []byte(testNonce+" good"))
	other := entry("gpu", "dev", []byte(testNonce+" id:foreign"))
	raw := bound(t, testNonce, []evidence.Entry{gpu}, []evidence.Entry{other})
	for name, change := range map[string]func(*verdict.Result){
		"none stated":       func(r *verdict.Result) { r.Commitment = nil },
		"not about the GPU": func(r *verdict.Result) { delete(r.Commitment.Leaves, "gpu") },
		"everything": func(r *verdict.Result) {
			delete(r.Commitment.Leaves, "gpu")
			r.Commitment.Leaves[""] = evidence.LeafDigest{}
		},
		"another digest": func(r *verdict.Result) { r.Commitment.Leaves["gpu"] = evidence.LeafDigest{} },
		"another signer": func(r *verdict.Result) { r.Commitment.Signer = strings.Repeat("A", 43) },
		"no thumbprint":  func(r *verdict.Result) { r.Commitment.Signer = "x" },
	} {
		w := boundWorld(t)
		honest := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
		lie, err := w.resign(t, honest, change)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if RecheckNonces(lie) == nil {
			t.Errorf("%s: the lie passes", name)
		}
	}
	// With the right digests and other evidence it is the evidence that shows it.
	w := boundWorld(t)
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
	tree, err := evidence.Parse(raw, evidence.Options{})
	check(t, err)
	res.Commitment.Leaves["gpu"] = sha512.Sum384([]byte(testNonce + " good"))
	if RecheckEvidence(res, w.options.Schemes, tree) == nil {
		t.Error("a commitment to other leaves passes beside the evidence")
	}
}

// A verifier that trusts extra roots does not make a verdict affirming unless
// the lead was told so too, and never for a relying party.
func TestExtraRootsCap(t *testing.T) {
	gpu := entry("gpu", "dev", []byte(testNonce+" good"))
	raw := bound(t, testNonce, []evidence.Entry{gpu}, []evidence.Entry{gpu})
	for simulated, want := range map[bool]verdict.Tier{false: verdict.TierWarning, true: verdict.TierAffirming} {
		w := newWorldWith(t, verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"dev": {{}}}}, func(o *Options) { o.Simulated = simulated }, boundSchemes()...)
		res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
		if res.Outcome.Tier != want || !strings.Contains(codes(res.Outcome.Reasons), verdict.ReasonExtraRoots) {
			t.Errorf("simulated %t: %s %v", simulated, res.Outcome.Tier, res.Outcome.Reasons)
		}
		if err := Recheck(res, w.options.Schemes); (err == nil) == simulated {
			t.Errorf("simulated %t: the relying party says %v", simulated, err)
		}
	}
}
