// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// What the collector says about the firmware of an FSP satisfies no demand of the
// operator: whoever hides old firmware says that it is new. That it is bad is
// believed.
func TestHintSatisfiesNoDemand(t *testing.T) {
	const hint = "97.00.F3.00.07"
	for params, want := range map[string]string{
		"minimum_vbios: {BLACKWELL: 97.00.F3.00.07}":                   verdict.ReasonTCBOutOfDate,
		"minimum_vbios: {GB100: 90.00.00.00.00}":                       verdict.ReasonTCBOutOfDate,
		"allowed_vbios: [97.00.F3.00.07]":                              verdict.ReasonPolicy,
		"known_bad_vbios: [97.00.f3.00.07]":                            verdict.ReasonPolicy,
		"minimum_vbios: {HOPPER: 97.00.F3.00.07}":                      "",
		"known_bad_vbios: [97.00.F3.00.08]":                            "",
		"allowed_vbios: [97.00.F3.00.08, 97.00.f3.00.07, 97.00.F3.00]": verdict.ReasonPolicy,
	} {
		f := newFSP(t)
		f.Members = map[string]any{"firmware_version": hint}
		raw := f.Leaf()
		d := f.roots()
		d.Policies = policyOf(t, params)
		a := appraise(t, newTest(t, d), raw, f.Nonce, at)
		var seen []string
		for _, r := range a.Reasons {
			if strings.Contains(r.Detail, "VBIOS or BIOS") {
				seen = append(seen, r.Code)
			}
		}
		if strings.Join(seen, " ") != want {
			t.Errorf("%s: %q, expected %q: %v", params, seen, want, a.Reasons)
		}
		if bad := strings.Contains(params, "known_bad") && want != ""; bad != (a.Vector[verdict.Configuration] == verdict.ClaimContraindicate) {
			t.Errorf("%s: %v", params, a.Vector)
		}
	}
}
