// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"
)

const (
	driverRIM = "NV_GPU_DRIVER_GH100_590.12"
	vbiosRIM  = "NV_GPU_VBIOS_1010_0200_882_96009F0001"
)

// measuring is a GPU with measurements 0 to 40, of which 0 and 10 are zero.
func measuring(tb testing.TB) *fake {
	f := newFake(tb)
	f.Blocks = nil
	for i := range 41 {
		v := bytes.Repeat([]byte{byte(i)}, 48)
		if i == 10 {
			clear(v)
		}
		f.Blocks = append(f.Blocks, nvidiatest.Block{Index: uint8(i + 1), Type: 1, Value: v})
	}
	f.with(opaqueProjectSKU, []byte("0200\x00")).with(opaqueChipSKU, []byte("882\x00"))
	return f.with(opaqueNVDEC0, []byte{0xAA})
}

// values are reference values for indices of the GPU's own measurements.
func (f *fake) values(model string, indices ...int) refvalues.Entry {
	e := refvalues.Entry{Environment: refvalues.Environment{Vendor: "NVIDIA", Model: model}}
	for _, i := range indices {
		e.Values = append(e.Values, refvalues.Value{Key: uint64(i), Digests: []refvalues.Digest{{Alg: "sha-384", Value: bytes.Clone(f.Blocks[i].Value)}}})
	}
	return e
}

func span(a, b int) (out []int) {
	for ; a <= b; a++ {
		out = append(out, a)
	}
	return out
}

func indexOf(tb testing.TB, entries ...refvalues.Entry) *corim.Index {
	tb.Helper()
	return indexAt(tb, at, entries...)
}

func indexAt(tb testing.TB, at time.Time, entries ...refvalues.Entry) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", at)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(at, refvalues.Document{
		ID: "release", TagID: "values", Profile: refvalues.Profile, NotBefore: at.Add(-time.Hour), NotAfter: at.Add(time.Hour), Entries: entries,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func (f *fake) compare(x *corim.Index, when time.Time) verdict.Appraisal {
	f.TB.Helper()
	raw := f.Leaf()
	a, err := newTest(f.TB, f.roots()).Appraise(f.TB.Context(), verifiers.Input{
		MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: f.Nonce, Time: when, References: x,
	})
	if err != nil {
		f.TB.Fatal(err)
	}
	return a
}

func TestReferences(t *testing.T) {
	early, late := append(span(0, 6), span(8, 12)...), append([]int{7}, span(13, 40)...)
	chip := func(f *fake) []refvalues.Entry { return []refvalues.Entry{f.values("GH100", span(0, 40)...)} }
	parts := func(f *fake) []refvalues.Entry {
		return []refvalues.Entry{f.values(driverRIM, late...), f.values(vbiosRIM, early...)}
	}
	for _, c := range []struct {
		name          string
		device        func(f *fake)
		values        func(f *fake) []refvalues.Entry
		after         func(f *fake)
		later         time.Duration
		executables   verdict.Claim
		configuration verdict.Claim
		reasons       []string
	}{
		{name: "the chip's", values: chip, executables: 3, configuration: 3},
		{name: "driver and VBIOS", values: parts, executables: 3, configuration: 3},
		{name: "driver alone", values: func(f *fake) []refvalues.Entry { return parts(f)[:1] }, executables: 33, configuration: 36,
			reasons: []string{"no-reference-values measurement 1, 2, 3, 4, 5, 6, 8, 9, 11, 12 of", "no-reference-values " + vbiosRIM}},
		{name: "VBIOS alone", values: func(f *fake) []refvalues.Entry { return parts(f)[1:] }, executables: 33, configuration: 36,
			reasons: []string{"no-reference-values measurement 7, 13", "no-reference-values " + driverRIM}},
		{name: "one index without a value", values: func(f *fake) []refvalues.Entry { return []refvalues.Entry{f.values("GH100", span(0, 39)...)} },
			executables: 33, configuration: 36, reasons: []string{"no-reference-values measurement 40 of"}},
		{name: "zeros without a value", values: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{f.values("GH100", append(span(1, 9), span(11, 40)...)...)}
		}, executables: 3, configuration: 3},
		{name: "zeros that are expected", values: chip, executables: 3, configuration: 3},
		{name: "zeros where something is expected", values: chip, after: func(f *fake) { clear(f.Blocks[20].Value) }, executables: 96, configuration: 36,
			reasons: []string{"measurement-mismatch measurement 20 of", "claim-not-asserted configuration"}},
		{name: "nothing but zeros", device: func(f *fake) {
			for _, b := range f.Blocks {
				clear(b.Value)
			}
		}, executables: 33, configuration: 36, reasons: []string{"no-reference-values all measurements are zero"}},
		{name: "nothing but zeros, and a driver that expects them", device: func(f *fake) {
			for _, b := range f.Blocks {
				clear(b.Value)
			}
		}, values: func(f *fake) []refvalues.Entry { return parts(f)[:1] }, executables: 33, configuration: 36,
			reasons: []string{"no-reference-values reference values of a part"}},
		{name: "one bit", values: parts, after: func(f *fake) { f.Blocks[9].Value[0] ^= 1 }, executables: 96, configuration: 36,
			reasons: []string{"measurement-mismatch measurement 9 of", "reference-values-partial measurement 0, 1"}},
		{name: "expected and not reported", values: chip, after: func(f *fake) { f.Blocks = f.Blocks[:40] }, executables: 33, configuration: 36,
			reasons: []string{"reference-values-partial missing: 40"}},
		{name: "an index in driver and VBIOS", values: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{f.values(driverRIM, append(slices.Clone(late), 12)...), f.values(vbiosRIM, early...)}
		}, executables: 96, configuration: 36, reasons: []string{"reference-values-conflict measurement 12"}},
		{name: "of a switch", values: func(f *fake) []refvalues.Entry { return []refvalues.Entry{f.values("LS10", span(0, 40)...)} }, executables: 33, configuration: 36},
		{name: "of Blackwell", values: func(f *fake) []refvalues.Entry { return []refvalues.Entry{f.values("GB100", span(0, 40)...)} }, executables: 33, configuration: 36},
		{name: "of another vendor", values: func(f *fake) []refvalues.Entry {
			e := f.values("GH100", span(0, 40)...)
			e.Environment.Vendor = "ACME"
			return []refvalues.Entry{e}
		}, executables: 33, configuration: 36},
		{name: "of another driver", values: func(f *fake) []refvalues.Entry {
			return []refvalues.Entry{f.values("NV_GPU_DRIVER_GH100_590.13", late...), f.values(vbiosRIM, early...)}
		}, executables: 33, configuration: 36},
		{name: "expired", values: chip, later: 2 * time.Hour, executables: 33, configuration: 36, reasons: []string{"no-reference-values do not hold at"}},
		{name: "two releases mixed", values: func(f *fake) []refvalues.Entry {
			old, young := f.values("GH100", span(0, 40)...), f.values("GH100", span(0, 40)...)
			old.Values[5].Digests[0].Value[0] ^= 1
			young.Values[6].Digests[0].Value[0] ^= 1
			return []refvalues.Entry{old, young}
		}, executables: 33, configuration: 36, reasons: []string{"reference-values-partial measurement 0, 1"}},
		{name: "NVDEC off, its index differs", device: func(f *fake) { f.with(opaqueNVDEC0, []byte{0x55}) }, values: chip,
			after: func(f *fake) { f.Blocks[35].Value[0] ^= 1 }, executables: 3, configuration: 3},
		{name: "NVDEC off, its index and another differ", device: func(f *fake) { f.with(opaqueNVDEC0, []byte{0x55}) }, values: chip,
			after: func(f *fake) { f.Blocks[35].Value[0] ^= 1; f.Blocks[34].Value[0] ^= 1 }, executables: 96, configuration: 36},
		{name: "NVDEC on, its index differs", values: chip, after: func(f *fake) { f.Blocks[35].Value[0] ^= 1 }, executables: 96, configuration: 36,
			reasons: []string{"measurement-mismatch measurement 35"}},
		{name: "NVDEC in no known state", device: func(f *fake) { f.with(opaqueNVDEC0, []byte{0}) }, values: chip, executables: 96, configuration: 36,
			reasons: []string{"measurement-mismatch its engine is unknown (0x00)"}},
		{name: "a raw value in place of a digest", device: func(f *fake) { f.Blocks[3].Type = 0x81 }, values: chip, executables: 96, configuration: 36,
			reasons: []string{"measurement-mismatch measurement 3 of"}},
		{name: "protected PCIe", device: func(f *fake) { f.with(opaqueFeature, []byte{2, 0}).with(opaqueProtectedPCIe, []byte{0xAA}) }, values: chip,
			executables: 3, configuration: 3},
		{name: "protected PCIe, says one field", device: func(f *fake) { f.with(opaqueProtectedPCIe, []byte{0xAA}) }, values: chip,
			executables: 3, configuration: 3},
		{name: "protected PCIe in no known state", device: func(f *fake) { f.with(opaqueProtectedPCIe, []byte{1}) }, values: chip,
			executables: 3, configuration: 36, reasons: []string{"configuration protected PCIe is unknown (0x01)"}},
		{name: "another mode", device: func(f *fake) { f.with(opaqueFeature, []byte{9, 0}) }, values: chip,
			executables: 3, configuration: 36, reasons: []string{"configuration unknown (9)"}},
		{name: "no mode", device: func(f *fake) { f.Without(opaqueFeature) }, values: chip, executables: 3, configuration: 36, reasons: []string{"configuration does not say in which mode"}},
		{name: "newer opaque data", device: func(f *fake) { f.with(nvidia.OpaqueVersion, []byte{2, 0}) }, values: chip, executables: 3, configuration: 96,
			reasons: []string{"configuration opaque data of version 2"}},
		{name: "a field that cannot be read", device: func(f *fake) { f.with(opaqueBoard, []byte{1}) }, values: chip, executables: 3, configuration: 36,
			reasons: []string{"configuration cannot be read"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := measuring(t)
			if c.device != nil {
				c.device(f)
			}
			var entries []refvalues.Entry
			if c.values != nil {
				entries = c.values(f)
			} else {
				entries = []refvalues.Entry{f.values("other", 1)}
			}
			x := indexOf(t, entries...)
			if c.after != nil {
				c.after(f)
			}
			a := f.compare(x, at.Add(c.later))
			if a.Vector[verdict.Executables] != c.executables || a.Vector[verdict.Configuration] != c.configuration || a.Vector[verdict.Hardware] != 32 {
				t.Errorf("%v: %v", a.Vector, a.Reasons)
			}
			for _, want := range c.reasons {
				code, words, _ := strings.Cut(want, " ")
				if !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return r.Code == code && strings.Contains(r.Detail, words) }) {
					t.Errorf("no reason %q: %v", want, a.Reasons)
				}
			}
			if c.executables == 3 && c.configuration == 3 {
				if !slices.Equal(codes(a), []string{verdict.ReasonNoCollateral}) || a.Vector[verdict.RuntimeOpaque] != verdict.ClaimNone || a.Claims["measres"] != "success" || a.Claims["dbgstat"] != "disabled" {
					t.Errorf("%v, reasons %v", a.Vector, a.Reasons)
				}
			}
			if c.executables != 3 && (a.Claims["secboot"] != nil || a.Claims["dbgstat"] != nil || a.Claims["measres"] == "success" || a.Vector[verdict.RuntimeOpaque] != 0) {
				t.Errorf("claims of firmware that is not proven: %v %v", a.Vector, a.Claims)
			}
			if a.Facts.PeersRequired != strings.HasPrefix(c.name, "protected PCIe") {
				t.Errorf("peers required: %t", a.Facts.PeersRequired)
			}
			if (a.Claims["not-compared"] != nil) != (c.name == "NVDEC off, its index differs") {
				t.Errorf("not compared: %v", a.Claims["not-compared"])
			}
			values, _ := a.Claims["reference_values"].(map[string]any)
			said, _ := values["documents"].(map[string]any)
			if (said["executables"] != nil) != (c.executables == 3) || len(a.Facts.Environments) != 3 && c.name != "newer opaque data" {
				t.Errorf("%v, environments %v", said, a.Facts.Environments)
			}
		})
	}
}

// Reference values that nobody has signed, by a verifier of NVIDIA's root alone
// and of one that believes test roots.
func TestUnsignedReferences(t *testing.T) {
	f := measuring(t)
	raw, err := refvalues.Unsigned(refvalues.Document{ID: "d", TagID: "t", Profile: refvalues.Profile, Entries: []refvalues.Entry{f.values("GH100", span(0, 40)...)}})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: at})
	if err != nil {
		t.Fatal(err)
	}
	x, err := corim.NewIndex(doc)
	if err != nil {
		t.Fatal(err)
	}
	if a := f.compare(x, at); a.Vector[verdict.Executables] != 3 || !slices.Contains(codes(a), verdict.ReasonUnsignedReference) {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
	leaf, nonce := mockLeaf(t)
	p, err := nvidia.ParseReport(unhex(t, string(mocks.AttestationReportData)))
	if err != nil {
		t.Fatal(err)
	}
	e := refvalues.Entry{Environment: refvalues.Environment{Vendor: "NVIDIA", Model: "GH100"}}
	for _, b := range p.Blocks {
		e.Values = append(e.Values, refvalues.Value{Key: uint64(b.Index - 1), Digests: []refvalues.Digest{{Alg: "sha-384", Value: b.Value}}})
	}
	if raw, err = refvalues.Unsigned(refvalues.Document{ID: "d", TagID: "t", Profile: refvalues.Profile, Entries: []refvalues.Entry{e}}); err != nil {
		t.Fatal(err)
	}
	if doc, err = corim.Load(raw, corim.Options{Unsigned: true, Now: at}); err != nil {
		t.Fatal(err)
	}
	if x, err = corim.NewIndex(doc); err != nil {
		t.Fatal(err)
	}
	for want, x := range map[verdict.Claim]*corim.Index{33: x, 3: indexOf(t, e)} {
		a, err := newTest(t, verifiers.Deps{}).Appraise(t.Context(), verifiers.Input{
			MediaType: evidence.MediaType{Base: MediaType}, Evidence: leaf, Nonce: nonce, Time: at, References: x,
		})
		if err != nil || a.Vector[verdict.Executables] != want || slices.Contains(codes(a), verdict.ReasonUnsignedReference) != (want == 33) {
			t.Errorf("%v %v %v", a.Vector, a.Reasons, err)
		}
	}
}

// A report that is about another kind of device is not made good by values.
func TestReferencesOfForeignContents(t *testing.T) {
	f := measuring(t).with(nvidia.OpaqueLock, []byte{1, 0})
	if a := f.compare(indexOf(t, f.values("GH100", span(0, 40)...)), at); a.Status() != verdict.TierContraindicated {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}
