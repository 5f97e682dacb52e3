// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"crypto/sha512"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestHiddenAsInventory: a lead cannot leave out a component to which the CPU
// commits by calling it an inventory.
func TestHiddenAsInventory(t *testing.T) {
	w := newWorld(t, nil)
	raw := bound(t, "gpu dev bad")
	tree, err := evidence.Parse(raw, evidence.Options{})
	check0(t, err)
	digest := ""
	for _, n := range tree.Leaves() {
		if n.Path() == "gpu" {
			d := sha512.Sum384(n.Value())
			digest = hex.EncodeToString(d[:])
		}
	}
	token, err := w.resign(t, w.appraise(t, raw), func(r *verdict.Result) {
		r.Components = slices.DeleteFunc(r.Components, func(c verdict.Component) bool { return c.Label == "gpu" })
		r.Caps, r.Bindings = nil, nil
		r.Inventory = &verdict.Inventory{Label: "gpu", SHA256: strings.Repeat("00", 32), SHA384: digest}
		r.Requirements = []verdict.Requirement{{Label: "cpu", Source: verdict.SourceLeadEvidence}}
		r.Outcome = verdict.Combine(r.Components, nil)
	})
	check0(t, err)
	if v := w.mustAsk(t, token, nil); v.Tier != verdict.TierWarning || v.Accepted || !says(v.Reasons, verdict.ReasonInventory) {
		t.Errorf("%s %v", v.Tier, v.Reasons)
	}
	if _, err := w.ask(token, func(o *Options) { o.Evidence = raw }); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("beside the evidence: %v", err)
	}
}
