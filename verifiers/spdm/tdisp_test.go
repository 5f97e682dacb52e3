// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/sha512"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

func tdispFiles(t testing.TB, folder string) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectors.Dir(t), "spdm", folder, "tdisp", "??-*.bin"))
	if err != nil || len(files) != 22 {
		t.Fatalf("%d TDISP messages, %v", len(files), err)
	}
	out := make(map[string][]byte)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		out[strings.TrimSuffix(filepath.Base(f), ".bin")] = raw
	}
	return out
}

func TestRecordedTDISP(t *testing.T) {
	for _, folder := range []string{"v12-p384", "v13-p384"} {
		files := tdispFiles(t, folder)
		m := make(map[string]*TDISPMessage)
		for name, raw := range files {
			var err error
			if m[name], err = ParseTDISP(raw); err != nil {
				t.Fatal(name, err)
			}
			if m[name].Function != 0xBEEF || strings.Contains(name, "-req-") != (m[name].Code&0x80 != 0) {
				t.Fatalf("%s: %+v", name, m[name])
			}
			for n := range len(raw) {
				if _, err := ParseTDISP(raw[:n:n]); err == nil {
					t.Fatalf("%s: %d of %d bytes", name, n, len(raw))
				}
			}
			if _, err := ParseTDISP(append(bytes.Clone(raw), 0)); err == nil {
				t.Fatal(name, "trailing")
			}
		}
		caps, lock := m["03-rsp-capabilities"], m["06-req-lock_interface_req"]
		if caps.LockFlags != 7 || caps.AddressWidth != 0x30 || lock.MMIOOffset != 0xD0000000 || lock.LockFlags != 7 {
			t.Fatalf("%+v %+v", caps, lock)
		}
		if !bytes.Equal(m["07-rsp-lock_interface_rsp"].Nonce, m["14-req-start_interface_req"].Nonce) {
			t.Fatal("nonces")
		}
		for name, state := range map[string]InterfaceState{"05": StateUnlocked, "09": StateLocked, "17": StateRun, "21": StateUnlocked} {
			if got := m[name+"-rsp-device_interface_state"].State; got != state {
				t.Fatal(name, got)
			}
		}
		pairs := [][2]*TDISPMessage{{m["10-req-get_device_interface_report"], m["11-rsp-device_interface_report"]},
			{m["12-req-get_device_interface_report"], m["13-rsp-device_interface_report"]}}
		raw, err := Assemble(pairs)
		if err != nil || !bytes.Equal(raw, vectors.Read(t, "spdm/"+folder+"/tdisp/interface-report.bin")) {
			t.Fatal(err)
		}
		checkReport(t, recording(t, folder), raw)
		for name, bad := range map[string][][2]*TDISPMessage{
			"none": nil, "order": {pairs[1], pairs[0]}, "twice": {pairs[0], pairs[0]}, "first only": pairs[:1],
			"not a report": {{m["00-req-get_version"], m["01-rsp-version"]}},
		} {
			if _, err := Assemble(bad); err == nil {
				t.Fatal(name)
			}
		}
	}
}

func checkReport(t *testing.T, r *recorded, raw []byte) {
	t.Helper()
	e := r.evidence()
	e.Report = raw
	res, err := through(t, e, Expect{Anchors: r.anchors, Time: at})
	if err != nil {
		t.Fatal(err)
	}
	p := res.Report
	if p.Info != InterfaceNoFirmwareUpdate|InterfaceDMAWithoutPASID || len(p.Ranges) != 4 ||
		p.Ranges[0] != (Range{0, 1, RangeNonTEE, 1}) || p.Ranges[3] != (Range{0x20000, 8, RangeUpdatable, 4}) ||
		string(p.Specific) != "tdisp_dev_emu\x00\x00\x00" || p.CheckRanges() != nil {
		t.Fatalf("%+v", p)
	}
	sum := sha512.Sum384(raw)
	if hex.EncodeToString(sum[:]) != r.expected.TDISP.SHA384 || !bytes.Equal(res.Objects.Report, raw) {
		t.Fatal("digest")
	}
}

// TestRecordedVendor unwraps the TDISP messages of the recorded session.
func TestRecordedVendor(t *testing.T) {
	r := recording(t, "v13-p384")
	files := tdispFiles(t, "v13-p384")
	found := 0
	for _, m := range r.index {
		if m.Session == nil || !strings.HasPrefix(m.Name, "VENDOR_DEFINED") {
			continue
		}
		v, err := ParseVendor(r.messages[m.Offset:m.Offset+m.Length], Version13)
		if err != nil {
			t.Fatal(m.N, err)
		}
		raw, ok := v.TDISP()
		if !ok {
			continue
		}
		if _, err := ParseTDISP(raw); err != nil {
			t.Fatal(m.N, err)
		}
		for _, f := range files {
			if bytes.Equal(f, raw) {
				found++
				break
			}
		}
	}
	if found < 22 {
		t.Fatal(found)
	}
}

func TestVendorLarge(t *testing.T) {
	b := []byte{0x14, 0xFE, 0x80, 0, 3, 0, 2, 1, 0, 0, 0, 3, 0, 0, 0, 1, 0x10, 0x81}
	m, err := ParseVendor(b, Version14)
	if err != nil || len(m.Payload) != 3 {
		t.Fatal(m, err)
	}
	if raw, ok := m.TDISP(); !ok || len(raw) != 2 {
		t.Fatal(raw, ok)
	}
	copy(b[11:], []byte{0xFF, 0xFF, 0xFF, 0xFF})
	if _, err := ParseVendor(b, Version14); err == nil {
		t.Fatal("length of 4 GiB")
	}
}

func TestReportRules(t *testing.T) {
	good := sampleReport()
	if p, err := ParseReport(good); err != nil || string(p.Specific) != "abc" || p.Ranges[0] != (Range{1, 4, 0, 0}) {
		t.Fatal(p, err)
	}
	change := func(at int, b ...byte) []byte { out := bytes.Clone(good); copy(out[at:], b); return out }
	for name, b := range map[string][]byte{
		"2^32-1 ranges":          change(12, 0xFF, 0xFF, 0xFF, 0xFF),
		"2^28 ranges":            change(12, 0, 0, 0, 0x10),
		"two ranges":             change(12, 2),
		"no range":               change(12, 0),
		"reserved info bit":      change(0, 0x43),
		"high info bit":          change(1, 0x80),
		"reserved bytes":         change(2, 1),
		"reserved attribute":     change(28, 0x10),
		"2^32-1 specific bytes":  change(32, 0xFF, 0xFF, 0xFF, 0xFF),
		"specific info cut":      change(32, 4),
		"bytes behind the info":  change(32, 2),
		"nothing":                nil,
		"more than a report has": append(bytes.Clone(good), make([]byte, MaxReport)...),
	} {
		if _, err := ParseReport(b); KindOf(err) != KindMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, ranges := range map[string][]Range{
		"empty":        {{1, 0, 0, 0}},
		"overlap":      {{0, 4, 0, 0}, {3, 1, 0, 1}},
		"overlap 2":    {{8, 4, 0, 0}, {0, 9, 0, 1}},
		"end of space": {{1<<52 - 1, 2, 0, 0}},
		"overflow":     {{1<<64 - 1, 0xFFFFFFFF, 0, 0}},
	} {
		if err := (&InterfaceReport{Ranges: ranges}).CheckRanges(); KindOf(err) != KindContradiction {
			t.Errorf("%s: %v", name, err)
		}
	}
	fine := &InterfaceReport{Ranges: []Range{{1<<52 - 1, 1, 0, 0}, {0, 4, 0, 1}, {4, 4, 0, 2}}}
	if err := fine.CheckRanges(); err != nil {
		t.Fatal(err)
	}
}

func TestLogRules(t *testing.T) {
	good := sampleLog()
	if e, err := ParseLog(good); err != nil || len(e) != 3 || string(e[1].Value) != "Boot FW" || e[0].Index != 17 {
		t.Fatal(e, err)
	}
	for _, c := range []struct {
		name string
		at   int
		b    byte
	}{{"count", 0, 2}, {"length", 4, 1}, {"length of 2^32", 7, 0xFF}, {"number twice", 16 + 14, 1}, {"value size", 16 + 9, 200}} {
		b := bytes.Clone(good)
		b[c.at] = c.b
		if _, err := ParseLog(b); KindOf(err) != KindMalformed {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// Nothing signed covers the entry.
	d := newDevice(t)
	e := d.evidence(t)
	e.Log = good
	_, err := Verify(e, d.expect())
	wantKind(t, err, KindContradiction)
	if _, err := Extend(nil, 1, MeasurementSM3); KindOf(err) != KindUnsupported {
		t.Fatal(err)
	}
}
