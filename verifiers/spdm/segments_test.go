// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"slices"
	"testing"

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
