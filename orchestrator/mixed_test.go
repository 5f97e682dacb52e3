// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// One leaf may hold devices of several schemes; one that nobody can appraise
// stays in with the reason and does not take the others with it.
func TestMixedLeaf(t *testing.T) {
	const base = "application/vnd.veraison.nvidia-gpu-evidence+json"
	scheme := func(name, arch string) verifiers.Scheme {
		return verifiers.Scheme{
			Name: name, Class: verifiers.ClassDevice, Version: "1.0.0", MaxEvidence: 64, NonceSize: 32,
			Required: []verdict.ClaimName{verdict.Hardware},
			Accepts:  []evidence.MediaType{evidence.MediaType{Base: base}.With("arch", arch)},
			Split:    func(evidence.MediaType, []byte) ([][]byte, error) { t.Error("split as a whole"); return nil, nil },
			New:      func(verifiers.Deps) (verifiers.Verifier, error) { return nil, nil },
		}
	}
	set, err := verifiers.NewSet(scheme("gpu", "HOPPER"), scheme("switch", "LS10"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := evidence.EncodeCBOR(evidence.Record(evidence.MediaType{Base: base},
		[]byte(`[{"arch":"HOPPER"},{"arch":"LS10"},{"arch":"VOLTA"},null]`), evidence.IndEvidence))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := evidence.Parse(raw, evidence.Options{})
	if err != nil {
		t.Fatal(err)
	}
	parts, err := Components(set, tree, 8)
	if err != nil || len(parts) != 4 {
		t.Fatalf("%d components, %v", len(parts), err)
	}
	for i, want := range []struct{ scheme, reason string }{
		{"gpu", ""}, {"switch", ""}, {"", verdict.ReasonNoVerifier}, {"", verdict.ReasonMalformed},
	} {
		c, reason := parts[i], ""
		if c.Reason != nil {
			reason = c.Reason.Code
		}
		if c.Scheme != want.scheme || reason != want.reason || c.Label != c.Leaf.Index(i) {
			t.Errorf("component %d (%s): scheme %q, reason %q", i, c.Label, c.Scheme, reason)
		}
	}
}
