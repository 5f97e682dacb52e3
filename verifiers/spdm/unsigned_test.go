// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"
	"testing"

	"github.com/assize/assize/verdict"
)

// TestUnsignedIsNoFact: a record that the device did not sign is under nobody's
// name, so no other evidence can commit to it as this device's.
func TestUnsignedIsNoFact(t *testing.T) {
	d := newDevice(t, unsigning)
	fullBlocks(d)
	e := d.evidence(t)
	if len(e.Measurements) == 0 || e.Challenge == nil {
		t.Fatal("the device has no record, or no challenge")
	}
	a, found := appraise(t, newTest(t, trusting(t, d.anchor, 0, "", "", "")), input(t, e, d.nonce, nil))
	if !slices.Contains(found, findUnsigned) || len(a.Facts.Objects) == 0 {
		t.Fatalf("%v: %+v", found, a.Facts)
	}
	for _, o := range a.Facts.Objects {
		if o.Name == verdict.ObjectMeasurements {
			t.Errorf("the unsigned record is an object: %s %s", o.Alg, o.Digest)
		}
	}
}

// TestChangeIsKept: a device that said once that its measurements changed has said
// so, whatever a later response of the same evidence says.
func TestChangeIsKept(t *testing.T) {
	d := newDevice(t)
	fullBlocks(d)
	changed := d.unsigned(d.count, d.blocks)
	changed[3] = changed[3]&0x0F | 0x10
	request := d.getMeasurements(1, 0xFF, d.nonce)
	e := d.evidence(t)
	e.Challenge = nil
	for name, m := range map[string][]byte{
		"first": append(d.measured(t, request, changed), d.measurements(t)...),
		"last":  append(d.measurements(t), d.measured(t, request, changed)...),
	} {
		e.Measurements = m
		r, err := Verify(e, d.expect())
		if err != nil || len(r.Segments) != 2 || r.Change != ChangeDetected {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
}
