// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/assize/assize/attester/spdm"
	core "github.com/assize/assize/verifiers/spdm"
)

// outcome is what the core has to say of a fault: a kind of error, or, where the
// cryptography holds, what is seen in the result. Written by hand.
type outcome struct {
	kind core.Kind
	// seen are the blocks that are not as in honest evidence.
	blocks []uint8
	// tsm is the check of the TSM's information, ranges that of the report's ranges.
	tsm    core.TSMCheck
	ranges bool
	see    func(*core.Evidence, *core.Result) bool
}

func info(bit core.InterfaceInfo, on bool) func(*core.Evidence, *core.Result) bool {
	return func(_ *core.Evidence, r *core.Result) bool { return (r.Report.Info&bit != 0) == on }
}

func attribute(bit core.RangeAttributes) func(*core.Evidence, *core.Result) bool {
	return func(_ *core.Evidence, r *core.Result) bool { return r.Report.Ranges[0].Attributes&bit != 0 }
}

func outcomes() map[spdm.Fault]outcome {
	malformed, leaf, slot := outcome{kind: core.KindMalformed}, outcome{kind: core.KindCertificate}, outcome{kind: core.KindSlot}
	signature, nonce, contradiction := outcome{kind: core.KindSignature}, outcome{kind: core.KindNonce}, outcome{kind: core.KindContradiction}
	block := func(i ...uint8) outcome { return outcome{blocks: i} }
	return map[spdm.Fault]outcome{
		spdm.ContainerTrailing: malformed, spdm.ContainerDuplicate: malformed, spdm.ContainerIndefinite: malformed,
		spdm.VCAPadding: malformed, spdm.VCAVersion: malformed, spdm.VersionNotOffered: malformed,
		spdm.Downgrade: {see: func(_ *core.Evidence, r *core.Result) bool {
			return len(r.VCA.Versions) == 2 && r.VCA.Versions[1]>>8 == uint16(r.VCA.Version)+1
		}},
		spdm.AlgorithmNotOffered: malformed, spdm.TwoAlgorithms: malformed,
		spdm.Unsigned: {kind: core.KindUnsigned}, spdm.SignatureStripped: {kind: core.KindUnsigned},
		spdm.Padding: malformed, spdm.BlockTwice: malformed, spdm.BlockOrder: malformed, spdm.BlockSize: malformed, spdm.BlockCount: malformed, spdm.BlockSpecification: malformed,
		spdm.RootHash: {kind: core.KindRootHash}, spdm.UnknownAnchor: {kind: core.KindUnknownAnchor}, spdm.ChainSignature: {kind: core.KindChainSignature},
		spdm.LeafEKU: leaf, spdm.LeafCA: leaf, spdm.LeafKeyUsage: leaf, spdm.LeafKey: leaf, spdm.LeafConstraints: leaf, spdm.LeafHardwareIdentity: leaf, spdm.GenericSlot0: leaf,
		spdm.ChainMissing: slot, spdm.Slot: slot, spdm.ChallengeSlot: slot, spdm.KeyUsage: slot,
		spdm.Nonce: nonce, spdm.Context: nonce, spdm.ChallengeNonce: nonce,
		spdm.WrongVCA: signature, spdm.WrongPrefix: signature, spdm.WrongPurpose: signature, spdm.SignatureBit: signature, spdm.ChallengeSignature: signature,
		spdm.ChainHash: contradiction, spdm.ChallengeChain: contradiction, spdm.DigestsFault: contradiction, spdm.Log: contradiction,
		spdm.Summary: {see: func(_ *core.Evidence, r *core.Result) bool { return r.Challenge.Summary == core.SummaryDiffers }},
		spdm.Name:    {see: func(e *core.Evidence, r *core.Result) bool { return e.Device != "spdm:"+r.Identity.DeviceInfo }},
		spdm.CMA:     {see: func(_ *core.Evidence, r *core.Result) bool { return r.Identity.CMA[:11] == "Vendor=1AF5" }},

		spdm.ROM: block(1), spdm.HardwareConfig: block(3), spdm.FirmwareConfig: block(4), spdm.FirmwareVersion: block(5), spdm.Manifest: block(0xfd),
		spdm.BlockMissing: block(16), spdm.BlockUnknown: block(9), spdm.ModeMissing: block(0xfe),
		spdm.DebugWas: block(0xfe), spdm.Recovery: block(0xfe), spdm.Manufacturing: block(0xfe),
		spdm.Changed: {see: func(_ *core.Evidence, r *core.Result) bool { return r.Change == core.ChangeDetected }},

		spdm.ReportReserved: malformed, spdm.ReportTrailing: malformed,
		spdm.ReportMissing: {see: func(_ *core.Evidence, r *core.Result) bool { return r.Report == nil }},
		spdm.TSMMissing:    {tsm: core.TSMAbsent}, spdm.TSMUnknown: {tsm: core.TSMUnknownKind}, spdm.TSMMalformed: {tsm: core.TSMMalformed},
		spdm.TSMCertificates: {tsm: core.TSMCertificates}, spdm.TSMVCA: {tsm: core.TSMVCA}, spdm.TSMMeasurements: {tsm: core.TSMMeasurements},
		// Which encoding of a key is hashed nobody says: what the chain says counts.
		spdm.TSMPublicKey: {tsm: core.TSMPartial},
		spdm.TSMInvalid:   {tsm: core.TSMNotValid}, spdm.TSMStale: {tsm: core.TSMNotFresh}, spdm.TSMNonce: {tsm: core.TSMNonce}, spdm.TSMContradiction: {tsm: core.TSMContradiction},
		spdm.FirmwareUpdate: {see: info(core.InterfaceNoFirmwareUpdate, false)}, spdm.FirmwareUpdateLock: {tsm: core.TSMFirmwareUpdate},
		spdm.NonTEERange: {see: attribute(core.RangeNonTEE)}, spdm.UpdatableRange: {see: attribute(core.RangeUpdatable)},
		spdm.ATS: {see: info(core.InterfaceATS, true)}, spdm.PRS: {see: info(core.InterfacePRS, true)},
		spdm.PASID: {see: info(core.InterfaceDMAWithPASID, true)}, spdm.XT: {see: info(core.InterfaceXT, true)},
		spdm.MSIXUnlocked: {tsm: core.TSMMSIX}, spdm.RangeOverlap: {ranges: true}, spdm.RangeEmpty: {ranges: true}, spdm.RangeOverflow: {ranges: true},
		spdm.RangeID: {see: func(_ *core.Evidence, r *core.Result) bool { return r.Report.Ranges[0].ID > 6 }},
		spdm.DeviceSpecific: {see: func(_ *core.Evidence, r *core.Result) bool {
			return string(r.Report.Specific) == "assize_sim_???\x00\x00"
		}},
	}
}

// bases are devices of one version; every fault applies to one of them, unless
// its version has it not.
func bases(v spdm.Version) []spdm.Options {
	out := []spdm.Options{{Version: v, TSM: spdm.TSMSEVTIO}, {Version: v, TSM: spdm.TSMCCA}, {Version: v, Slots: []uint8{0, 1}, Slot: 1}}
	if v >= spdm.Version12 {
		out = append(out, spdm.Options{Version: v, Alias: true})
	}
	if v >= spdm.Version13 {
		out = append(out, spdm.Options{Version: v, MultiKey: true})
	}
	return out
}

func TestVerifierSeesEveryListedFault(t *testing.T) {
	want := outcomes()
	seen, honest := map[spdm.Fault]bool{}, map[string]reference{}
	for _, v := range []spdm.Version{spdm.Version11, spdm.Version12, spdm.Version13, spdm.Version14} {
		for n, f := range spdm.Faults() {
			w, ok := want[f]
			if !ok || f.Check() == "" {
				t.Fatalf("%s has no expectation", f)
			}
			i := slices.IndexFunc(bases(v), f.Applies)
			if i < 0 {
				continue
			}
			seen[f] = true
			if testing.Short() && n%13 != 0 { // a sample under the race detector
				continue
			}
			o := bases(v)[i]
			key := fmt.Sprintf("%+v", o)
			if _, ok := honest[key]; !ok {
				honest[key] = honestly(t, o)
			}
			t.Run(fmt.Sprintf("%s %x", f, byte(v)), func(t *testing.T) { checkFault(t, honest[key], f, o, w) })
		}
	}
	if len(seen) != len(spdm.Faults()) || len(want) != len(spdm.Faults()) {
		t.Errorf("%d of %d faults, %d expectations", len(seen), len(spdm.Faults()), len(want))
	}
}

// reference is an honest device and its verified evidence.
type reference struct {
	d *spdm.Device
	r *core.Result
}

func honestly(t *testing.T, o spdm.Options) reference {
	t.Helper()
	d := device(t, o)
	r, err := verified(d, evidence(t, d))
	if err != nil {
		t.Fatal(err)
	}
	return reference{d, r}
}

func checkFault(t *testing.T, honest reference, f spdm.Fault, o spdm.Options, w outcome) {
	t.Helper()
	o.Faults = []spdm.Fault{f}
	raw := evidence(t, device(t, o))
	r, err := verified(honest.d, raw)
	if core.KindOf(err) != w.kind || (err != nil && w.kind == "") {
		t.Fatalf("%v, expected %q", err, w.kind)
	}
	if err != nil {
		return
	}
	if got := different(honest.r.Blocks, r.Blocks); !slices.Equal(got, w.blocks) {
		t.Errorf("blocks %v differ, expected %v", got, w.blocks)
	}
	e, err := core.Decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if w.see != nil && !w.see(e, r) {
		t.Errorf("not to be seen in %+v", r)
	}
	found := core.CheckTSM(e.TSM, r)
	for _, g := range found {
		if g.Check != w.tsm && g.Check != core.TSMPartial && g.Check != core.TSMState {
			t.Errorf("%s: %s", g.Check, g.Detail)
		}
	}
	if w.tsm != "" && !slices.ContainsFunc(found, func(g core.TSMFinding) bool { return g.Check == w.tsm }) {
		t.Errorf("%v, expected %s", found, w.tsm)
	}
	if r.Report != nil && (r.Report.CheckRanges() != nil) != w.ranges {
		t.Errorf("ranges: %v", r.Report.CheckRanges())
	}
}

// different are the indices of blocks that only one has, or that differ.
func different(a, b []core.Block) (out []uint8) {
	find := func(list []core.Block, i uint8) []byte {
		for _, x := range list {
			if x.Index == i {
				return x.Raw
			}
		}
		return nil
	}
	for i := range uint8(0xff) {
		if !bytes.Equal(find(a, i), find(b, i)) {
			out = append(out, i)
		}
	}
	return out
}
