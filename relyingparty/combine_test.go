// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func partialsOf(r *verdict.Result) (out [][]byte) {
	for _, c := range r.Components {
		out = append(out, c.Partial.Token())
	}
	return out
}

func (w *world) combine(t testing.TB, topology string, tokens [][]byte, change func(*Options)) *Verdict {
	t.Helper()
	o := w.options
	want, err := topologies.Parse(topology)
	check0(t, err)
	o.Topology = &want
	change(&o)
	v, err := Combine(context.Background(), tokens, o)
	check0(t, err)
	return v
}

// stocked is a composite whose CPU commits to the devices and to an inventory.
func stocked(t testing.TB, inventory string, parts ...string) []byte {
	t.Helper()
	var entries []evidence.Entry
	c := evidence.Commitment{Nonce: []byte(testNonce), Leaves: map[evidence.Path]evidence.LeafDigest{"inventory": sha512.Sum384([]byte(inventory))}}
	tree, err := evidence.Parse(loose(t, parts...), evidence.Options{})
	check0(t, err)
	for _, n := range tree.Leaves() {
		c.Leaves[n.Path()] = sha512.Sum384(n.Value())
		entries = append(entries, evidence.Entry{Label: n.Label(), Item: evidence.Record(n.MediaType(), n.Value(), evidence.IndEvidence)})
	}
	sum, err := c.Sum()
	check0(t, err)
	entries = append(entries, entry("cpu", "binder", string(sum[:])), evidence.Entry{Label: "inventory",
		Item: evidence.Record(evidence.MediaType{Base: verdict.InventoryType}, []byte(inventory), evidence.IndEvidence)})
	raw, err := evidence.EncodeCBOR(evidence.Collection(evidence.BoundCollection, entries...))
	check0(t, err)
	return raw
}

// TestCombineInventory: what the evidence demands is demanded without a lead too.
func TestCombineInventory(t *testing.T) {
	w := newWorld(t, nil)
	const topology = "parallel(cpu, gpu)"
	for inventory, c := range map[string]struct {
		tier verdict.Tier
		code string
	}{
		`{"components": [{"label": "cpu"}, {"label": "gpu", "exactly": 1}]}`:     {verdict.TierAffirming, ""},
		`{"components": [{"label": "cpu"}, {"label": "gpu"}, {"label": "nic"}]}`: {verdict.TierNone, verdict.ReasonMissingComponent},
		`{"components": []}`: {verdict.TierNone, verdict.ReasonMalformed},
	} {
		raw := stocked(t, inventory, "gpu dev good")
		tokens := partialsOf(w.appraise(t, raw))
		v := w.combine(t, topology, tokens, func(o *Options) { o.Evidence = raw })
		if v.Tier != c.tier || c.code != "" && !says(v.Reasons, c.code) {
			t.Errorf("%s: %s %v", inventory, v.Tier, v.Reasons)
		}
		own := w.combine(t, topology, tokens, func(o *Options) { o.Evidence, o.Policy = raw, library(t, "default") })
		if own.Tier != c.tier {
			t.Errorf("%s, own policy: %s %v", inventory, own.Tier, own.Reasons)
		}
	}
}

// TestCombineForeignSession: a token around the evidence that names another session
// contradicts that of the relying party, whatever the components answer.
func TestCombineForeignSession(t *testing.T) {
	w := newWorld(t, nil)
	value := string(sha3.SumSHAKE256([]byte(testNonce), 64))
	token := func(nonce string) []byte {
		inner, err := evidence.EncodeJSON(evidence.Collection("tag:github.com,2025:veraison/ratsd/cmw",
			evidence.Entry{Label: "a", Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test.binder"}, []byte(value), 0)}))
		check0(t, err)
		raw, err := json.Marshal(map[string]any{
			"eat_profile": "tag:github.com,2024:veraison/ratsd", "eat_nonce": []byte(nonce), "cmw": inner,
			"vnd.veraison.nonce_adjust_function": "shake-256", "vnd.veraison.nonce_adjust_map": map[string]int{"a": 64},
		})
		check0(t, err)
		return raw
	}
	own, foreign := token(testNonce), token(strings.Repeat("f", len(testNonce)))
	tokens := partialsOf(w.appraise(t, own))
	for _, c := range []struct {
		raw  []byte
		tier verdict.Tier
	}{{own, verdict.TierAffirming}, {foreign, verdict.TierContraindicated}} {
		v := w.combine(t, "parallel(a)", tokens, func(o *Options) { o.Evidence = c.raw })
		if v.Tier != c.tier || c.tier == verdict.TierContraindicated && !says(v.Reasons, verdict.ReasonNonceMismatch) {
			t.Errorf("%s %v", v.Tier, v.Reasons)
		}
	}
}

// TestCombineBrokenSignature: that another key than the machine's own signed the
// composite, only who had it has seen, and it stays without it.
func TestCombineBrokenSignature(t *testing.T) {
	attester, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check0(t, err)
	w := newWorld(t, func(o *orchestrator.Options, _ *verifiers.Deps) { o.LeadKeys = leadKeys{attester.Public()} })
	raw, err := evidence.SignCOSE(rand.Reader, loose(t, fmt.Sprintf("a cpu key:%064x", 1)), attester, evidence.SignOptions{})
	check0(t, err)
	res := w.appraise(t, raw)
	token, err := w.resign(t, res, func(r *verdict.Result) {
		r.Caps = append(r.Caps, verdict.Cap{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
			Code: verdict.ReasonBindingBroken, Detail: "the composite is signed by another key"}})
		r.Outcome = verdict.Combine(r.Components, r.Caps)
	})
	check0(t, err)
	for _, p := range []orchestrator.Policy{nil, library(t, "default")} {
		v := w.combine(t, "parallel(a)", [][]byte{token}, func(o *Options) { o.Policy = p })
		if v.Tier != verdict.TierContraindicated || !says(v.Reasons, verdict.ReasonBindingBroken) {
			t.Errorf("%s %v", v.Tier, v.Reasons)
		}
	}
}

// TestCombineSaysWhatItNeeds: results that answer a commitment to the composite are
// of no use without it, and the reason is not that they answer something else.
func TestCombineSaysWhatItNeeds(t *testing.T) {
	w := newWorld(t, nil)
	v := w.combine(t, "parallel(cpu, gpu)", partialsOf(w.appraise(t, bound(t, "gpu dev good"))), func(*Options) {})
	i := slices.IndexFunc(v.Own.Components, func(c verdict.Component) bool { return c.Label == "cpu" })
	if reasons := v.Own.Components[i].Reasons; v.Tier != verdict.TierNone || len(reasons) == 0 || !strings.Contains(reasons[0].Detail, "without the evidence") {
		t.Errorf("%s %v", v.Tier, reasons)
	}
}
