// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// TestRegisterThatIsNotThere: a register that reference values name and the document
// does not have is the one that differs, and no other.
func TestRegisterThatIsNotThere(t *testing.T) {
	d := enclave(t, nil)
	raw := document1(t, d)
	values := maps.Clone(pcrsOf(t, raw, 0, 1, 2))
	values[16] = bytes.Repeat([]byte{7}, pcrSize)
	in := input(raw, testNonce, now)
	in.References = indexOf(t, now, values)
	a := appraise(t, newTest(t, deps(t, d, true)), in)
	if a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
		t.Fatalf("%v", a.Vector)
	}
	for _, r := range a.Reasons {
		if blamed := r.Code == verdict.ReasonMeasurementMismatch; blamed != strings.Contains(r.Detail, "PCR16") {
			t.Errorf("%s blames a register that is right, or says nothing of the one that is not there: %s", r.Code, r.Detail)
		}
	}
}

// TestPartsOfAnImage: what names less than image, kernel and application affirms
// none of them.
func TestPartsOfAnImage(t *testing.T) {
	d := enclave(t, nil)
	raw := document1(t, d)
	for name, pcrs := range map[string][]uint64{
		"PCR0": {0}, "PCR1": {1}, "PCR2": {2}, "PCR0 and PCR1": {0, 1}, "PCR0 and PCR2": {0, 2}, "PCR1 and PCR2": {1, 2}, "the signer": {8}, "role and parent": {3, 4},
	} {
		in := input(raw, testNonce, now)
		in.References = indexOf(t, now, pcrsOf(t, raw, pcrs...))
		a := appraise(t, newTest(t, deps(t, d, true)), in)
		if a.Vector[verdict.Executables] != verdict.ClaimUnrecognized || a.Status() == verdict.TierAffirming {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
	}
	// Nor do two documents that each name a part of another image.
	one, two := pcrsOf(t, raw, 0, 1, 2), pcrsOf(t, raw, 0, 1, 2)
	one[0], two[2] = bytes.Repeat([]byte{7}, pcrSize), bytes.Repeat([]byte{7}, pcrSize)
	in := input(raw, testNonce, now)
	in.References = indexOf(t, now, one, two)
	if a := appraise(t, newTest(t, deps(t, d, true)), in); a.Vector[verdict.Executables].Tier() == verdict.TierAffirming {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}
