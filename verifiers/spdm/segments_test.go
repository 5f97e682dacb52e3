// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"
	"testing"
)

// TestSeveralReadings: of several signed readings, the worst word about a change
// counts, and the number of indices has to stay what it was.
func TestSeveralReadings(t *testing.T) {
	d := newDevice(t)
	e := d.evidence(t)
	one := func(change byte) []byte {
		rsp := d.unsigned(d.count, d.blocks)
		rsp[3] = rsp[3]&0x0F | change<<4
		return d.measured(t, d.getMeasurements(1, 0xFF, d.nonce), rsp)
	}
	for _, c := range [][2]byte{{1, 2}, {2, 1}} {
		e.Measurements = slices.Concat(one(c[0]), one(c[1]))
		if r, err := Verify(e, d.expect()); err != nil || r.Change != ChangeDetected {
			t.Errorf("%v: %v", c, err)
		}
	}
	count := func(n byte) []byte {
		rsp := d.unsigned(0, nil)
		rsp[2] = n
		return d.measured(t, d.getMeasurements(1, 0, d.nonce), rsp)
	}
	e.Measurements = slices.Concat(count(d.count), d.measurements(t), count(d.count))
	if _, err := Verify(e, d.expect()); err != nil {
		t.Error(err)
	}
	e.Measurements = slices.Concat(count(d.count), d.measurements(t), count(d.count+1))
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
}

// TestReservedModel: with one key for each slot, the model in CERTIFICATE is
// reserved, and a signed DIGESTS says that it is so.
func TestReservedModel(t *testing.T) {
	d := newDevice(t, versionOf(Version13), func(d *device) { d.model = ModelDevice })
	d.model = ModelAlias
	if _, err := Verify(d.evidence(t), d.expect()); err != nil {
		t.Error(err)
	}
}
