// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"crypto"
	"reflect"
	"testing"

	"github.com/assize/assize/attester/spdm"
	core "github.com/assize/assize/verifiers/spdm"
)

// verified runs this repository's verification core.
func verified(d *spdm.Device, raw []byte) (*core.Result, error) {
	e, err := core.Decode(raw)
	if err != nil {
		return nil, err
	}
	return core.Verify(e, core.Expect{
		Anchors: []core.Anchor{{Certificate: d.Root(), Slots: 0xff}}, Time: now, Nonce: nonce, ChallengeNonce: nonce,
	})
}

func TestVerifierAcceptsEveryVariant(t *testing.T) {
	for name, o := range further() {
		t.Run(name, func(t *testing.T) {
			d := device(t, o)
			raw := evidence(t, d)
			r, err := verified(d, raw)
			if err != nil {
				t.Fatal(err)
			}
			if again := evidence(t, device(t, o)); !bytes.Equal(raw, again) {
				t.Error("the same device gives other bytes")
			}
			change := core.ChangeNone
			if o.Version == spdm.Version11 {
				change = core.ChangeUnknown // no such field
			}
			if r.Identity.DeviceInfo != d.Identity() || r.Identity.Slot != o.Slot || !r.Fresh || r.Change != change || r.Recomputed != o.Recompute {
				t.Errorf("identity %q slot %d, fresh %t, change %v", r.Identity.DeviceInfo, r.Identity.Slot, r.Fresh, r.Change)
			}
			if o.NoChallenge != (r.Challenge == nil) || (r.Challenge != nil && (r.Challenge.Summary != summaryOf(o) || !r.Challenge.Fresh)) {
				t.Errorf("challenge %+v", r.Challenge)
			}
			checkModel(t, o, r)
			checkForms(t, o, d, r)
			checkTSM(t, o, raw, r)
			sums, err := d.Digests(raw)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.Objects.Digest(crypto.SHA384); !reflect.DeepEqual(got, core.ObjectDigests{VCA: sums.VCA, Chain: sums.Certificates, Measurements: sums.Measurements, Report: sums.Report}) {
				t.Error("the verifier binds other objects than the TSM measured")
			}
		})
	}
}

func summaryOf(o spdm.Options) core.SummaryStatus {
	switch {
	case o.Summary == spdm.SummaryOfNone:
		return core.SummaryAbsent
	case o.Summary == spdm.SummaryOfTCB || o.Raw || o.Single:
		return core.SummaryIncomparable
	}
	return core.SummaryMatches
}

func checkModel(t *testing.T, o spdm.Options, r *core.Result) {
	t.Helper()
	want := core.ModelDevice
	switch {
	case o.Alias:
		want = core.ModelAlias
	case o.Generic:
		want = core.ModelGeneric
	}
	if r.Identity.Model != want || o.Alias != r.Identity.Mutable || r.Identity.HardwareIdentity == o.Generic {
		t.Errorf("model %v, mutable %t, hardware identity %t", r.Identity.Model, r.Identity.Mutable, r.Identity.HardwareIdentity)
	}
	if eku := len(r.Identity.Leaf.UnknownExtKeyUsage) > 0; eku != !(o.NoEKU || o.Generic) {
		t.Errorf("extended key usage %t", eku)
	}
	if o.Version != 0 && byte(r.VCA.Version) != byte(o.Version) || r.VCA.BaseAsym.String() != coreName(o.Suite) {
		t.Errorf("SPDM %s with %s", r.VCA.Version, r.VCA.BaseAsym)
	}
}

func coreName(s spdm.Suite) string {
	if name := s.String(); name[0] == 'P' {
		return "ECDSA-P" + name[2:]
	}
	return s.String()
}

// checkForms: what is raw, and that every form has the digest of the reference.
func checkForms(t *testing.T, o spdm.Options, d *spdm.Device, r *core.Result) {
	t.Helper()
	want := d.Measurements()
	if len(r.Blocks) != len(want) {
		t.Fatalf("%d blocks, %d reference values", len(r.Blocks), len(want))
	}
	for i, b := range r.Blocks {
		digest, err := b.Digest(r.VCA.MeasurementHash)
		if err != nil || want[i].Digest != nil && !bytes.Equal(digest, want[i].Digest) {
			t.Errorf("index %d has the digest %x, expected %x: %v", b.Index, digest, want[i].Digest, err)
		}
		if digests := b.Index <= 4; digests && b.RawBits != o.Raw {
			t.Errorf("index %d raw %t", b.Index, b.RawBits)
		}
		if b.Index == core.IndexManifest && (b.Type == core.TypeStructuredManifest) != o.StructuredManifest {
			t.Errorf("manifest of %s", b.Type)
		}
	}
	if o.Single != (r.Total == len(r.Blocks)) || len(r.Segments) != 1 {
		t.Errorf("%d segments, total %d", len(r.Segments), r.Total)
	}
}

// checkTSM: the TSM contradicts nothing. What it leaves open is no fault.
func checkTSM(t *testing.T, o spdm.Options, raw []byte, r *core.Result) {
	t.Helper()
	if (r.Report != nil) != (o.TSM != "") || (r.Report != nil && r.Report.CheckRanges() != nil) {
		t.Errorf("report %+v", r.Report)
	}
	e, err := core.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range core.CheckTSM(e.TSM, r) {
		if f.Check != core.TSMPartial {
			t.Errorf("%s: %s", f.Check, f.Detail)
		}
	}
}

func TestVerifierSeesEveryFault(t *testing.T) {
	for _, version := range []spdm.Version{spdm.Version11, spdm.Version12, spdm.Version13, spdm.Version14} {
		base := spdm.Options{Version: version, TSM: spdm.TSMSEVTIO}
		honest := device(t, base)
		reference, err := verified(honest, evidence(t, honest))
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range map[string]struct {
			set    func(*spdm.Options)
			kind   core.Kind
			block  uint8
			report bool // differs from what the TSM measured
		}{
			"wrong signer":   {set: func(o *spdm.Options) { o.WrongSigner = true }, kind: core.KindSignature},
			"expired":        {set: func(o *spdm.Options) { o.Expired = true }, kind: core.KindExpired},
			"revoked":        {set: func(o *spdm.Options) { o.Revoked = true }}, // for who has the CRL
			"debug":          {set: func(o *spdm.Options) { o.Debug = true }, block: 254},
			"outdated":       {set: func(o *spdm.Options) { o.OutdatedTCB = true }, block: 16},
			"measurement":    {set: func(o *spdm.Options) { o.Measurement = true }, block: 2},
			"report swapped": {set: func(o *spdm.Options) { o.ReportSwapped = true }, report: true},
			"unlocked":       {set: func(o *spdm.Options) { o.Unlocked = true }},
		} {
			o := base
			c.set(&o)
			d := device(t, o)
			raw := evidence(t, d)
			r, err := verified(honest, raw) // same root
			if core.KindOf(err) != c.kind || (err != nil && c.kind == "") {
				t.Errorf("%02x %s: %v", byte(version), name, err)
			}
			if err != nil {
				continue
			}
			for i, b := range r.Blocks {
				if same := bytes.Equal(b.Raw, reference.Blocks[i].Raw); same == (b.Index == c.block) {
					t.Errorf("%02x %s: block %d same %t", byte(version), name, b.Index, same)
				}
			}
			sums, err := d.Digests(raw)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(sums.Report, r.Objects.Digest(crypto.SHA384).Report) == c.report {
				t.Errorf("%02x %s: report differs %t, expected %t", byte(version), name, !c.report, c.report)
			}
		}
	}
}

// Relay and replay: another vendor's anchor, another nonce, another slot policy.
func TestVerifierRefusesForeignEvidence(t *testing.T) {
	d := device(t, spdm.Options{Version: spdm.Version13, Slots: []uint8{0, 1}, Slot: 1})
	e, err := core.Decode(evidence(t, d))
	if err != nil {
		t.Fatal(err)
	}
	all := []core.Anchor{{Certificate: d.Root(), Slots: 0xff}}
	for name, c := range map[string]struct {
		x    core.Expect
		kind core.Kind
	}{
		"nonce":   {core.Expect{Anchors: all, Time: now, Nonce: make([]byte, 32)}, core.KindNonce},
		"anchor":  {core.Expect{Anchors: []core.Anchor{{Certificate: device(t, spdm.Options{Suite: spdm.SuiteP256}).Root(), Slots: 0xff}}, Time: now}, core.KindUnknownAnchor},
		"slot":    {core.Expect{Anchors: []core.Anchor{{Certificate: d.Root(), Slots: core.SlotFactory}}, Time: now}, core.KindUnknownAnchor},
		"too old": {core.Expect{Anchors: all, Time: now.AddDate(-2, 0, 0)}, core.KindExpired},
	} {
		if _, err := core.Verify(e, c.x); core.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}
