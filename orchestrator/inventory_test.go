// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func stocked(text string) evidence.Entry {
	return evidence.Entry{Label: "inventory", Item: evidence.Record(evidence.MediaType{Base: verdict.InventoryType}, []byte(text), evidence.IndEvidence)}
}

// launcher is a CPU TEE that was launched with a digest: "host_data <hex>".
type launcher struct{}

func (launcher) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a, err := word{}.Appraise(ctx, in)
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	f := strings.Fields(string(in.Evidence))
	switch f[1] {
	case "host_data":
		a.Facts.Registers = map[string]string{"host_data": f[2]}
	case "measured", "unknown":
		a.Facts.Measured = []verdict.MeasuredEvent{{Register: "rtmr3", Digest: strings.Repeat("00", 48), Content: f[2]}}
		if f[1] == "measured" {
			a.Vector[verdict.Executables] = verdict.ClaimApproved
		}
	}
	return a, err
}

// TestInventory: what a machine says of itself that it consists of is demanded, and
// counts as known to be all only where signed evidence vouches for it.
func TestInventory(t *testing.T) {
	const one = `{"components": [{"label": "cpu"}, {"label": "gpu", "scheme": "dev", "exactly": 1}]}`
	const two = `{"components": [{"label": "cpu"}, {"label": "gpu"}, {"label": "nic", "at_least": 2}]}`
	gpu := entry("gpu", "dev", []byte(testNonce+" good"))
	nic := entry("nic", "dev", []byte(testNonce+" id:nic"))
	list := func(e ...evidence.Entry) []evidence.Entry { return e }
	sum := func(text string) string { d := sha256.Sum256([]byte(text)); return hex.EncodeToString(d[:]) }
	cpu := func(say string) evidence.Entry { return entry("cpu", "launcher", []byte(testNonce+" "+say)) }
	open := func(e ...evidence.Entry) []byte {
		raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t", e...))
		check(t, err)
		return raw
	}
	for _, c := range []struct {
		name  string
		raw   []byte
		tier  verdict.Tier
		with  string // codes that must be there
		wants string // and one that must not
	}{
		{"committed to", bound(t, testNonce, list(gpu, stocked(one)), list(gpu, stocked(one))), verdict.TierAffirming, "", verdict.ReasonInventory},
		{"replaced behind it", bound(t, testNonce, list(gpu, stocked(one)), list(gpu, stocked(two))), verdict.TierContraindicated, verdict.ReasonMissingComponent, ""},
		{"left out behind it", bound(t, testNonce, list(gpu, stocked(one)), list(gpu)), verdict.TierContraindicated, verdict.ReasonBindingBroken, ""},
		{"demands more", bound(t, testNonce, list(gpu, stocked(two)), list(gpu, stocked(two))), verdict.TierNone, verdict.ReasonMissingComponent, verdict.ReasonInventory},
		{"something extra", bound(t, testNonce, list(gpu, nic, stocked(one)), list(gpu, nic, stocked(one))), verdict.TierWarning, verdict.ReasonUnexpected, verdict.ReasonInventory},
		{"not JSON", bound(t, testNonce, list(gpu, stocked("x")), list(gpu, stocked("x"))), verdict.TierNone, verdict.ReasonMalformed, ""},
		{"source in it", bound(t, testNonce, list(stocked(`{"components":[{"label":"cpu","source":"policy"}]}`)), list(stocked(`{"components":[{"label":"cpu","source":"policy"}]}`))), verdict.TierNone, verdict.ReasonMalformed, ""},
		{"submitted, and no more", open(cpu("x"), gpu, stocked(one)), verdict.TierWarning, verdict.ReasonInventory, ""},
		{"a launch parameter", open(cpu("host_data "+sum(one)), gpu, stocked(one)), verdict.TierWarning, "", verdict.ReasonInventory},
		{"another launch parameter", open(cpu("host_data "+sum(two)), gpu, stocked(one)), verdict.TierWarning, verdict.ReasonInventory, ""},
		{"measured", open(cpu("measured "+sum(one)), gpu, stocked(one)), verdict.TierWarning, "", verdict.ReasonInventory},
		{"measured by unknown software", open(cpu("unknown "+sum(one)), gpu, stocked(one)), verdict.TierWarning, verdict.ReasonInventory, ""},
		{"no CPU", open(gpu, stocked(one)), verdict.TierNone, verdict.ReasonInventory, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			launch := testScheme("launcher", verifiers.ClassCPU)
			launch.New = func(verifiers.Deps) (verifiers.Verifier, error) { return launcher{}, nil }
			w := newWorldOf(t, nil, append(boundSchemes(), launch)...)
			res := w.appraise(t, Request{Evidence: c.raw, Nonce: []byte(testNonce)})
			got, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
			check(t, err)
			check(t, Recheck(got, w.options.Schemes))
			tree, err := evidence.Parse(c.raw, evidence.Options{})
			check(t, err)
			check(t, RecheckEvidence(got, w.options.Schemes, tree))
			if got.Outcome.Tier != c.tier || c.with != "" && !says(got.Outcome.Reasons, c.with) || c.wants != "" && says(got.Outcome.Reasons, c.wants) {
				t.Errorf("%s %v", got.Outcome.Tier, got.Outcome.Reasons)
			}
			if len(got.Requirements) == 0 && got.Inventory != nil && !says(got.Outcome.Reasons, verdict.ReasonMalformed) {
				t.Error("an inventory demands nothing")
			}
			// A lead that forgets what the inventory demands is found.
			if got.Inventory == nil || len(got.Requirements) == 0 {
				return
			}
			lie, err := w.resign(t, got, func(r *verdict.Result) { r.Inventory, r.Requirements, r.Caps = nil, nil, nil })
			if err == nil {
				err = RecheckEvidence(lie, w.options.Schemes, tree)
			}
			if err == nil {
				t.Error("a verdict without the inventory passes")
			}
		})
	}
}
