// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// Sizes of a real transcript in bytes: 52 blocks and no opaque data.
const (
	fspRecord = 1842
	fspReport = 2017
)

// fspIdentifiers answers QueryDeviceIdentifiers: vendor, UUID, APSKU 0x065C and
// the PCI ids.
func fspIdentifiers() []byte {
	descriptors := strings.Join([]string{
		"0100040047160000", "02001000" + strings.Repeat("a5", 16), "ffff0b000105" + hex.EncodeToString([]byte(apskuTag)) + "5c060000",
		"00000200de10", "000102004129", "01010200de10", "010202004620",
	}, "")
	b, _ := hex.DecodeString("004300000007" + descriptors)
	return b
}

// fspBlocks are the blocks of a real transcript by type and size, with made-up
// digests and the id of the fake device.
func fspBlocks() []nvidiatest.Block {
	var out []nvidiatest.Block
	add := func(typ uint8, value []byte, indices ...uint8) {
		for _, i := range indices {
			out = append(out, nvidiatest.Block{Index: i, Type: typ, Value: value})
		}
	}
	digest := func(typ uint8, indices ...uint8) {
		for _, i := range indices {
			add(typ, bytes.Repeat([]byte{i}, 48), i)
		}
	}
	none, off := make([]byte, 48), []byte{0xFF}
	add(0x83, make([]byte, 4), 1)
	add(0x82, off, 2, 19, 20, 21, 22, 23, 24, 25)
	digest(0x02, 3, 13)
	digest(0x01, 4, 5, 6)
	digest(0x03, 7, 8, 11, 12)
	add(0x01, none, 9, 10, 27, 28, 29, 30, 31, 32, 33, 34)
	add(0x02, none, 14, 15, 16, 17)
	add(0x82, []byte{0}, 18)
	add(0x82, fakePDI, blockDevice)
	add(0x83, off, 35, 36, 37, 38, 39, 40, 41, 42, 43)
	add(0x83, make([]byte, 16), 44)
	add(0x81, off, 45, 46)
	add(0x03, none, 47, 48, 49)
	add(0x83, make([]byte, 108), 50)
	add(0x81, []byte{0}, 51)
	add(0x81, fspIdentifiers(), blockIdentifiers)
	slices.SortFunc(out, func(a, b nvidiatest.Block) int { return int(a.Index) - int(b.Index) })
	return out
}

// newFSP is a Blackwell GPU whose FSP answers.
func newFSP(tb testing.TB) *fake {
	f := newFakeOf(tb, "BLACKWELL", "GB100", engineFSP, 0x40)
	f.Ext = nvidiatest.TCBInfo(0x80000001)
	return f
}

// block replaces, adds or, with a nil value, removes one.
func (f *fake) block(index, typ uint8, v []byte) *fake {
	f.Blocks = slices.DeleteFunc(f.Blocks, func(b nvidiatest.Block) bool { return b.Index == index })
	if v != nil {
		f.Blocks = append(f.Blocks, nvidiatest.Block{Index: index, Type: typ, Value: v})
	}
	return f
}

// proof is what describe needs of f.
func (f *fake) proof(h container.Hints) *nvidia.Proof {
	f.TB.Helper()
	r, err := ParseReport(f.Report())
	if err != nil {
		f.TB.Fatal(err)
	}
	return &nvidia.Proof{
		Device: &container.Device{Hints: h}, Report: r,
		Chain: &nvidia.Chain{ID: nvidia.Identity{Family: "GB100", Engine: engineFSP, PDI: hex.EncodeToString(fakePDI)}},
	}
}

func TestFSPTranscript(t *testing.T) {
	f := newFSP(t)
	f.Members = map[string]any{"firmware_version": "97.00.F3.00.07"}
	report := f.Report()
	if record := int(report[42]) | int(report[43])<<8; len(report) != fspReport || record != fspRecord || report[41] != 52 {
		t.Fatalf("%d bytes, record of %d, %d blocks", len(report), record, report[41])
	}
	a := f.appraise()
	if a.Vector[verdict.Hardware] == verdict.ClaimUnknownDevice || a.Claims["apsku"] != "065C" || a.Claims["firmware-hint"] != "97.00.F3.00.07" || a.Claims["engine"] != engineFSP {
		t.Fatalf("vector %v, claims %v", a.Vector, a.Claims)
	}
	d := describe(f.proof(container.Hints{Firmware: "97.00.f3.00.07"}))
	if d.odd != nil || d.impostor != "" || d.hinted != "" || d.manifest || len(d.raw) != 26 {
		t.Fatalf("%+v", d)
	}
	if got := d.fspManifest("GB100"); got != "NV_GPU_VBIOS_GB100_065C_9700F30007" {
		t.Errorf("manifest %q", got)
	}
	// A manifest of the other blocks is one of them, and hides none.
	f.block(blockManifest, 0x83, []byte{0xD9, 0x02, 0x3A, 0xA0})
	if d := describe(f.proof(container.Hints{})); !d.manifest || len(d.raw) != 27 || d.fspManifest("GB100") != "" {
		t.Errorf("%+v", d)
	}
}

// The transcript of one device under the certificates of another is nobody's.
func TestFSPOfAnotherDevice(t *testing.T) {
	other := bytes.Clone(fakePDI)
	other[7] ^= 1
	f := newFSP(t).block(blockDevice, 0x82, other)
	a := f.appraise()
	if a.Vector[verdict.Hardware] != verdict.ClaimUnknownDevice || a.Status() != verdict.TierContraindicated || !slices.Contains(codes(a), verdict.ReasonIdentityMismatch) {
		t.Fatalf("vector %v, reasons %v", a.Vector, a.Reasons)
	}
}

// What cannot be read is said, and is no parse failure.
func TestFSPBlocks(t *testing.T) {
	ids := fspIdentifiers()
	at := bytes.Index(ids, []byte(apskuTag)) + len(apskuTag)
	for name, c := range map[string]struct {
		index, typ uint8
		value      []byte
		want       string
	}{
		"no device":         {blockDevice, 0, nil, "block 26 is missing"},
		"short device":      {blockDevice, 0x82, fakePDI[:7], "7 bytes, expected 8"},
		"long device":       {blockDevice, 0x82, append([]byte{0x40}, fakePDI...), "9 bytes, expected 8"},
		"digest for device": {blockDevice, 0x02, fakePDI, "is a digest (type 0x02)"},
		"no identifiers":    {blockIdentifiers, 0, nil, "block 52 is missing"},
		"digest for them":   {blockIdentifiers, 0x01, ids, "is a digest (type 0x01)"},
		"no SKU":            {blockIdentifiers, 0x81, bytes.Replace(ids, []byte(apskuTag), []byte("ECSKU"), 1), "no APSKU"},
		"two":               {blockIdentifiers, 0x81, slices.Concat(ids, ids), "more than one APSKU"},
		"cut":               {blockIdentifiers, 0x81, ids[:at+1], "ends 1 bytes behind APSKU"},
	} {
		f := newFSP(t).block(c.index, c.typ, c.value)
		d := describe(f.proof(container.Hints{Firmware: "97.00.F3.00.07"}))
		if len(d.odd) != 1 || !strings.Contains(d.odd[0], c.want) {
			t.Errorf("%s: odd %q, expected %q", name, d.odd, c.want)
		}
		if c.index == blockIdentifiers && d.fspManifest("GB100") != "" {
			t.Errorf("%s: manifest %q", name, d.fspManifest("GB100"))
		}
		if a := f.appraise(); a.Vector[verdict.Configuration] <= verdict.ClaimApprovedBoot || !strings.Contains(fmt.Sprint(a.Reasons), c.want) {
			t.Errorf("%s: vector %v, reasons %v", name, a.Vector, a.Reasons)
		}
	}
	d := describe(newFSP(t).block(blockIdentifiers, 0x81, ids[:at+2]).proof(container.Hints{}))
	if d.apsku != "065C" || d.odd != nil {
		t.Errorf("nothing behind the SKU: %+v", d)
	}
}

// A hint counts only in the form of a version, and never against the device.
func TestFSPHint(t *testing.T) {
	for _, c := range []struct{ hint, member, signed, want, ignored string }{
		{"97.00.F3.00.07", "", "", "97.00.F3.00.07", ""},
		{"97.00.f3.00.07", "x", "", "97.00.F3.00.07", ""}, // the hint comes first
		{"", "97.00.F3.00.07", "", "97.00.F3.00.07", ""},
		{"", "", "", "", ""},
		{"97.00.F3.00", "", "", "", "not five groups"},
		{"97.00.F3.00.07.01", "", "", "", "not five groups"},
		{"../../etc", "", "", "", "not five groups"},
		{"97.00.F3.00.0G", "", "", "", "not five groups"},
		{"97.00.F3.00.07", "", "97.00.F3.00.07", "97.00.F3.00.07", ""},
		{"97.00.F3.00.06", "", "97.00.F3.00.07", "", "the device 97.00.F3.00.07"},
		{"", "", "97.00.F3.00.07", "97.00.F3.00.07", ""},
	} {
		d := &details{fsp: true, apsku: "065C", vbios: c.signed}
		d.hint(c.hint, c.member)
		if d.firmware != c.want || !strings.Contains(d.hinted, c.ignored) || (d.hinted == "") != (c.ignored == "") {
			t.Errorf("%+v: firmware %q, %q", c, d.firmware, d.hinted)
		}
	}
}

// The certificates say which engine answers, not the look of the report.
func TestEngineDecidesHowAReportIsRead(t *testing.T) {
	p := newFSP(t).proof(container.Hints{Firmware: "97.00.F3.00.07"})
	p.Chain.ID.Engine = "GSP"
	if d := describe(p); d.fsp || d.apsku != "" || d.firmware != "" || d.fspManifest("GB100") != "" {
		t.Errorf("GSP: %+v", d)
	}
	f := newFSP(t)
	f.Blocks, f.Fields = newFake(t).Blocks, newFake(t).Fields
	if d := describe(f.proof(container.Hints{})); !d.fsp || len(d.odd) != 2 || d.driver != "590.12" {
		t.Errorf("FSP with the report of a GSP: %+v", d)
	}
}

// Mixed types and sizes do not make the parser less strict.
func TestFSPReportIsStrict(t *testing.T) {
	f := newFSP(t)
	good := f.Report()
	if _, err := ParseReport(good); err != nil {
		t.Fatal(err)
	}
	twice := newFSP(t)
	twice.Blocks[8] = twice.Blocks[7]
	for name, raw := range map[string][]byte{
		"index twice": twice.Report(), "index 255": newFSP(t).block(255, 0x83, []byte{1}).Report(), "index 0": newFSP(t).block(0, 0x83, []byte{1}).Report(),
		"field 255": newFSP(t).with(255, []byte{1}).Report(), "padding": append(bytes.Clone(good), 1), "cut": good[:len(good)-1],
		"fields twice": append(nvidiatest.Unsigned(f.Nonce, f.Blocks, []nvidiatest.Field{{Type: 3, Value: []byte("1")}, {Type: 3, Value: []byte("1")}}), make([]byte, SignatureSize)...),
	} {
		if _, err := ParseReport(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if r, err := ParseReport(append(bytes.Clone(good), 0)); err != nil || r.Padding != 1 || len(r.Opaque) != 0 || len(r.Blocks) != 52 {
		t.Errorf("padded: %v", err)
	}
}

// An H200 has the layout of an H100; only the board in its names is another.
func TestH200(t *testing.T) {
	f := newFake(t).with(nvidia.OpaqueVBIOS, []byte{0, 0xA5, 0, 0x96, 3, 0, 0, 0}).
		with(opaqueProject, []byte("G520\x00")).with(opaqueProjectSKU, []byte("0280\x00")).with(opaqueChipSKU, []byte("895\x00"))
	r, err := ParseReport(f.Report())
	if err != nil {
		t.Fatal(err)
	}
	d := readDetails(r.Opaque)
	id, err := rim.VBIOSID(d.project, d.projectSKU, d.chipSKU, d.vbios)
	if err != nil || id != "NV_GPU_VBIOS_G520_0280_895_9600A50003" || d.odd != nil {
		t.Fatalf("%q, %v, %+v", id, err, d)
	}
	if id, err = rim.DriverID("GH100", d.chipInfo, d.driver); err != nil || id != "NV_GPU_DRIVER_GH100_590.12" {
		t.Fatalf("%q, %v", id, err)
	}
}

// What a transcript says becomes part of a name only in one form.
func FuzzTranscript(f *testing.F) {
	good := newFSP(f)
	f.Add(good.Report(), "97.00.F3.00.07")
	f.Add(good.block(blockManifest, 0x83, []byte{0xD9, 0x02, 0x3A, 0xA0}).Report(), "")
	f.Add(recorded(f), "96.00.5E.00.01")
	name := regexp.MustCompile(`^NV_GPU_VBIOS_GB100_[0-9A-F]{4}_[0-9A-F]{10}$`)
	f.Fuzz(func(t *testing.T, raw []byte, hint string) {
		r, err := ParseReport(raw)
		if err != nil {
			return
		}
		d := describe(&nvidia.Proof{
			Device: &container.Device{Hints: container.Hints{Firmware: hint}}, Report: r,
			Chain: &nvidia.Chain{ID: nvidia.Identity{Engine: engineFSP, PDI: hex.EncodeToString(fakePDI)}},
		})
		if id := d.fspManifest("GB100"); id != "" && !name.MatchString(id) {
			t.Fatalf("manifest %q", id)
		}
		if d.impostor == "" && !slices.ContainsFunc(r.Blocks, func(b nvidia.Block) bool { return b.Index == blockDevice && bytes.Equal(b.Value, fakePDI) }) && len(d.odd) == 0 {
			t.Fatal("a transcript of no device")
		}
	})
}
