// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
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

// TestSummaryComparable: the summary goes over all blocks in digest form, and is
// compared with nothing else.
func TestSummaryComparable(t *testing.T) {
	d := newDevice(t)
	e := d.evidence(t)
	first := d.blocks[:4+int(d.blocks[2])]
	for name, c := range map[string]struct {
		transcript []byte
		want       SummaryStatus
	}{
		"all":        {d.measurements(t), SummaryMatches},
		"raw values": {d.measured(t, d.getMeasurements(3, 0xFF, d.nonce), d.unsigned(d.count, d.blocks)), SummaryIncomparable},
		"one index":  {d.measured(t, d.getMeasurements(1, first[0], d.nonce), d.unsigned(1, first)), SummaryIncomparable},
	} {
		e.Measurements = c.transcript
		if r, err := Verify(e, d.expect()); err != nil || r.Challenge.Summary != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnsignedIsNoObject: measurements that nobody signed are no object of the
// device that others could commit to.
func TestUnsignedIsNoObject(t *testing.T) {
	d := newDevice(t)
	fullBlocks(d)
	e := d.evidence(t)
	e.Measurements = slices.Concat(d.getMeasurements(0, 0xFF, nil), d.unsigned(d.count, d.blocks))
	a, found := appraise(t, newTest(t, trusting(t, d.anchor, 0, "", "", "")), input(t, e, d.nonce, nil))
	if !slices.Contains(found, findUnsigned) || len(a.Facts.Objects) == 0 ||
		slices.ContainsFunc(a.Facts.Objects, func(o verdict.Object) bool { return o.Name == verdict.ObjectMeasurements }) {
		t.Errorf("%v %v", found, a.Facts.Objects)
	}
}

// TestPartialReading: who collects chooses the indices. Reference values that stand
// alone do not miss the firmware that was left out, so a reading is whole or proves
// no firmware.
func TestPartialReading(t *testing.T) {
	d := newDevice(t)
	fullBlocks(d)
	var alone []corim.ValueTriple
	for _, m := range d.stated(t) {
		alone = append(alone, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: []corim.Measurement{m}})
	}
	x := indexOf(t, document(t, "alone", true, alone...))
	v := newTest(t, trusting(t, d.anchor, 0, "", "", ""))
	count := func(n byte) []byte {
		rsp := d.unsigned(0, nil)
		rsp[2] = n
		return slices.Concat(d.getMeasurements(0, 0, nil), rsp)
	}
	read := func(indices ...byte) (out []byte) {
		for i, index := range indices {
			signed := byte(0)
			if i == len(indices)-1 {
				signed = 1
			}
			out = slices.Concat(out, d.getMeasurements(signed, index, d.nonce), d.unsigned(1, d.blockOf(index)))
		}
		return out
	}
	all := []byte{1, 2, 3, 4, 5, 0x10, 17, 0xFD, 0xFE}
	for name, c := range map[string]struct {
		transcript []byte
		whole      bool
	}{
		"at once":                {slices.Concat(d.getMeasurements(1, 0xFF, d.nonce), d.unsigned(d.count, d.blocks)), true},
		"at once, and one again": {slices.Concat(d.getMeasurements(0, 0xFF, nil), d.unsigned(d.count, d.blocks), read(1)), true},
		"counted and one by one": {slices.Concat(count(d.count), read(all...)), true},
		"without the firmware":   {read(1, 0xFE), false},
		"one fewer than counted": {slices.Concat(count(d.count), read(1, 3, 4, 5, 0x10, 17, 0xFD, 0xFE)), false},
		"not counted":            {read(all...), false},
	} {
		e := d.evidence(t)
		e.Measurements = d.measured(t, c.transcript)
		a, found := appraise(t, v, input(t, e, d.nonce, x))
		if want := map[bool]verdict.Tier{true: verdict.TierAffirming, false: verdict.TierWarning}[c.whole]; a.Status() != want || slices.Contains(found, findMissing) == c.whole {
			t.Errorf("%s: %s %v %s", name, a.Status(), found, details(a))
		}
	}
}
