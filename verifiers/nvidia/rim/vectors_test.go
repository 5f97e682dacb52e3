// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"encoding/hex"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/reference"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

const (
	sdk     = "nvidia/attestation-sdk/testdata/"
	edited  = sdk + "sample_rims/"
	samples = "nvidia/nvtrust/samples/"

	mockReport   = "nvidia/go-nvtrust/attestationReport.txt"
	switchReport = sdk + "switchAttestationReport.txt"
	switchRIM    = sdk + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"
	driver550    = sdk + "NV_GPU_DRIVER_GH100_550.144.03.xml"
	mockDriver   = samples + "Driver_RIM_test_no_gpu.swidtag"
	mockVBIOS    = samples + "1010_0200_882_96005E0001_test_no_gpu.swidtag"
	prodVBIOS    = samples + "1010_0200_882_96005E0001_PROD.swidtag"
	laterVBIOS   = edited + "NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml"
)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// TestRecorded has every recorded manifest, with what it is known to be.
func TestRecorded(t *testing.T) {
	vbios := []int{0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12}
	driver := append([]int{7}, span(21, 40)...)
	for _, c := range []struct {
		file, want             string
		kind                   rim.Kind
		product, version       string
		active                 []int
		issued, inside, beyond string // days
	}{
		{file: driver550, kind: rim.Driver, product: "GH100", version: "550.144.03", active: driver, issued: "2024-12-30", inside: "2026-12-29", beyond: "2026-12-31"},
		{file: switchRIM, kind: rim.BIOS, product: "LS10", version: "96.10.55.00.01", active: span(0, 30), issued: "2026-05-20", inside: "2027-11-02", beyond: "2027-11-03"},
		{file: mockDriver, kind: rim.Driver, product: "GH100", version: "545.00", active: driver, issued: "2023-06-27", inside: "2024-01-15", beyond: "2025-06-27"},
		{file: mockVBIOS, kind: rim.VBIOS, product: "GH100", version: "96.00.5E.00.01", active: vbios, issued: "2023-06-23", inside: "2024-01-15", beyond: "2025-06-23"},
		{file: prodVBIOS, kind: rim.VBIOS, product: "GH100", version: "96.00.5E.00.01", active: vbios, issued: "2023-06-23", inside: "2024-01-15", beyond: "2025-06-23"},
		// Named a mismatch, and validly signed: a later issue.
		{file: laterVBIOS, kind: rim.VBIOS, product: "GH100", version: "96.00.5E.00.01", active: vbios, issued: "2023-12-13", inside: "2025-12-12", beyond: "2025-12-13"},
		{file: sdk + "incorrect_cert_chain_driver_rim.xml", want: verdict.ReasonUnknownRoot},
		{file: sdk + "incorrect_signature_driver_rim.xml", want: verdict.ReasonSignatureInvalid},
		{file: edited + "NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml", want: verdict.ReasonSignatureInvalid},
		{file: edited + "NV_GPU_DRIVER_GH100_570.124.03_expired.xml", want: verdict.ReasonSignatureInvalid},
		{file: edited + "NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml", want: verdict.ReasonSignatureInvalid},
		{file: edited + "NV_SWITCH_BIOS_5612_0002_890_9610550001_measurement_mismatch.xml", want: verdict.ReasonSignatureInvalid},
	} {
		t.Run(filepath.Base(c.file), func(t *testing.T) {
			m, err := newVerifier(t).Verify(vectors.Read(t, c.file))
			if got := code(t, err); got != c.want {
				t.Fatalf("%v, expected %q", err, c.want)
			}
			if err != nil {
				return
			}
			if m.Kind != c.kind || m.Product != c.product || m.Version != c.version || !slices.Equal(active(m), c.active) || len(m.Measurements) != 64 {
				t.Errorf("%s: active %v", m, active(m))
			}
			if got := m.Issued().UTC().Format(time.DateOnly); got != c.issued {
				t.Errorf("issued %s, expected %s", got, c.issued)
			}
			if err := m.ValidAt(day(c.inside)); err != nil {
				t.Error(err)
			}
			for _, when := range []time.Time{day(c.beyond).Add(24*time.Hour - 1), day(c.issued)} { // signers begin later in the day
				if code(t, m.ValidAt(when)) != verdict.ReasonExpired {
					t.Errorf("valid at %s", when)
				}
			}
		})
	}
}

// TestSamples has the production VBIOS manifests of NVIDIA's samples: all good,
// all expired in 2025, and all with one golden value at index 9.
func TestSamples(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors.Dir(t), samples, "*_PROD.swidtag"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 24 {
		t.Fatalf("%d recorded manifests, expected 24", len(files))
	}
	v := newVerifier(t)
	for _, file := range files {
		name := filepath.Base(file)
		m, err := v.Verify(vectors.Read(t, samples+name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		id := "NV_GPU_VBIOS_" + strings.TrimSuffix(name, "_PROD.swidtag")
		if err := m.Answers(id); err != nil {
			t.Error(err)
		}
		if m.ValidAt(day("2024-01-15")) != nil || code(t, m.ValidAt(day("2025-09-06"))) != verdict.ReasonExpired || m.ValidAt(m.Issued().Add(-time.Second)) == nil {
			t.Errorf("%s: valid at the wrong times", name)
		}
		if got := hex.EncodeToString(m.Measurements[9].Values[0][:4]); got != "7f3e9382" || len(m.Measurements[12].Values) != 4 {
			t.Errorf("%s: index 9 begins with %s, index 12 has %d alternatives", name, got, len(m.Measurements[12].Values))
		}
	}
}

func span(from, to int) (out []int) {
	for i := from; i <= to; i++ {
		out = append(out, i)
	}
	return out
}

func active(m *rim.Manifest) (out []int) {
	for _, g := range m.Measurements {
		if g.Active {
			out = append(out, g.Index)
		}
	}
	return out
}

// measured are the measurements of a recorded report.
func measured(tb testing.TB, file string) []rim.Measurement {
	tb.Helper()
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(tb, file))))
	if err != nil {
		tb.Fatal(err)
	}
	r, err := nvidia.ParseReport(raw)
	if err != nil {
		tb.Fatal(err)
	}
	var out []rim.Measurement
	for _, b := range r.Blocks {
		out = append(out, rim.Measurement{Index: int(b.Index) - 1, Raw: b.Type&0x80 != 0, Value: b.Value})
	}
	return out
}

func recorded(tb testing.TB, files ...string) (out []*rim.Manifest) {
	tb.Helper()
	v := newVerifier(tb)
	for _, f := range files {
		m, err := v.Verify(vectors.Read(tb, f))
		if err != nil {
			tb.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// TestRecordedPairs compares recorded reports with recorded manifests.
func TestRecordedPairs(t *testing.T) {
	const gpu = sdk + "sample_attestation_data/gpu/"
	mock := rim.Device{Chip: "GH100", Driver: "545.00", VBIOS: "96.00.5E.00.01"}
	h535 := rim.Device{Chip: "GH100", Driver: "535.86.09", VBIOS: "96.00.5E.00.01"}
	h570 := rim.Device{Chip: "GH100", Driver: "570.124.03", VBIOS: "96.00.5E.00.04"}
	ls10 := rim.Device{Chip: "LS_10", Switch: true, VBIOS: "96.10.55.00.01"}
	for _, c := range []struct {
		name             string
		device           rim.Device
		report           string
		manifests        []string
		match            int
		differ           []int
		matched, vintage bool
		used             int
	}{
		{"GPU, driver and VBIOS", mock, mockReport, []string{mockDriver, mockVBIOS}, 33, nil, true, false, 2},
		{"GPU, driver alone", mock, mockReport, []string{mockDriver}, 21, nil, false, false, 1},
		{"GPU, VBIOS alone", mock, mockReport, []string{mockVBIOS}, 12, nil, false, false, 1},
		{"GPU, production VBIOS", mock, mockReport, []string{prodVBIOS}, 8, []int{1, 2, 3, 9}, false, false, 1},
		{"GPU, earlier issues of one identifier", mock, mockReport, []string{prodVBIOS, mockVBIOS, mockDriver}, 33, nil, true, false, 2},
		// The values of the mock are not those of production; the last issue has the say.
		{"GPU, all of one identifier", mock, mockReport, []string{prodVBIOS, laterVBIOS, mockVBIOS, mockDriver}, 29, []int{1, 2, 3, 9}, false, false, 2},
		{"production GPU", h535, gpu + "hopperAttestationReport.txt", []string{prodVBIOS}, 12, nil, false, false, 1},
		{"production GPU, later issue", h535, gpu + "hopperAttestationReport.txt", []string{laterVBIOS}, 11, []int{9}, false, true, 1},
		{"production GPU, both issues", h535, gpu + "hopperAttestationReport.txt", []string{laterVBIOS, prodVBIOS}, 12, nil, false, false, 1},
		{"production GPU, older issue", h570, gpu + "hopperAttestationReportExpired.txt", []string{samples + "1010_0205_862_96005E0004_PROD.swidtag"}, 11, []int{9}, false, true, 1},
		{"switch", ls10, switchReport, []string{switchRIM}, 31, nil, true, false, 1},
		{"switch, manifests of a GPU", ls10, switchReport, []string{mockDriver, mockVBIOS}, 0, nil, false, false, 0},
		{"another driver", h535, gpu + "hopperAttestationReport.txt", []string{mockDriver}, 0, nil, false, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.device.Measurements = measured(t, c.report)
			got := rim.Compare(c.device, recorded(t, c.manifests...))
			var differ []int
			for _, f := range got.Mismatches() {
				differ = append(differ, f.Index)
			}
			if got.Count(rim.Match) != c.match || !slices.Equal(differ, c.differ) || got.Matched() != c.matched || got.Vintage() != c.vintage ||
				len(got.Used) != c.used || len(got.Conflicts) != 0 || got.Mismatched() != (len(c.differ) > 0) {
				t.Errorf("%d match, %v differ, matched %v, vintage %v, used %v, conflicts %v", got.Count(rim.Match), differ, got.Matched(), got.Vintage(), got.Used, got.Conflicts)
			}
		})
	}
}

// TestReferences: a comparison of CoRIMs with reference values made from
// manifests comes to the same.
func TestReferences(t *testing.T) {
	const driverID, vbiosID = "NV_GPU_DRIVER_GH100_545.00", "NV_GPU_VBIOS_1010_0200_882_96005E0001"
	now := day("2024-01-15")
	list := recorded(t, mockDriver, mockVBIOS, prodVBIOS)
	if _, err := list[0].References(vbiosID, now); code(t, err) != verdict.ReasonIdentityMismatch {
		t.Errorf("another identifier: %v", err)
	}
	if _, err := list[0].References(driverID, day("2026-11-22")); err == nil {
		t.Error("references of an expired manifest")
	}
	var docs []*corim.Document
	for i, id := range []string{driverID, vbiosID, vbiosID} {
		d, err := list[i].References(id, now)
		if err != nil {
			t.Fatal(err)
		}
		if _, until := list[i].Window(); !d.Signed() || !d.Window().NotAfter.Equal(until) {
			t.Errorf("%s: signed %v, holds %s", id, d.Signed(), d.Window())
		}
		docs = append(docs, d)
	}
	x, err := corim.NewIndex(docs...)
	if err != nil || len(x.Conflicts()) > 0 {
		t.Fatal(err, x.Conflicts())
	}
	q := reference.Query{Index: x, Time: now}
	for _, m := range measured(t, mockReport) {
		q.Items = append(q.Items, reference.Item{Name: "m", Key: corim.NumberKey(uint64(m.Index)),
			Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: m.Value}}}})
	}
	for id, want := range map[string]int{driverID: 21, vbiosID: 12} {
		q.Environment = nvidia.Model(id)
		r := reference.Compare(q)
		n := 0
		for _, f := range r.Findings {
			if f.State == reference.Matched {
				n++
			}
		}
		if n != want || !r.Holds() {
			t.Errorf("%s: %d match, holds %v", id, n, r.Holds())
		}
	}
	q.Time = day("2026-11-22")
	if r := reference.Compare(q); r.Holds() {
		t.Error("expired references hold")
	}
}
