// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"bytes"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/assize/assize/verifiers/nvidia/rim"
)

func bytesOf(b byte) []byte {
	v, err := hex.DecodeString(value(b))
	if err != nil {
		panic(err)
	}
	return v
}

// TestCompareRules has one GPU of five measurements, of which each case changes
// something.
func TestCompareRules(t *testing.T) {
	f := newForger(t, elliptic.P384(), nil)
	v := f.verifier()
	manifest := func(product, edition, version string, resources ...string) *rim.Manifest {
		m, err := v.Verify(f.sign(content(product, edition, version, resources...), nil))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	off := func(r string) string { return strings.Replace(r, `active="True"`, `active="False"`, 1) }
	driver := manifest("GH100", "GPU", "545.00", resource(7, value(7)), resource(35, value(35), value(36)), off(resource(9, value(1))))
	vbios := manifest("GH100", "GPU", "96.00.5E.00.01", resource(0, strings.Repeat("00", 48)), resource(9, value(9)), off(resource(7, value(1))))
	overlap := manifest("GH100", "GPU", "96.00.5E.00.01", resource(7, value(7)), resource(9, value(9)))
	other := manifest("GH100", "GPU", "96.00.5E.00.01", resource(0, value(0)), resource(9, value(8)))
	bios := manifest("LS10", "SWITCH", "96.10.55.00.01", resource(9, value(9)), resource(35, value(35)))
	both := []*rim.Manifest{driver, vbios}
	for _, c := range []struct {
		name      string
		change    func(d *rim.Device)
		manifests []*rim.Manifest
		matched   bool
		states    string // of the findings, "index state"
		absent    []rim.Kind
		conflicts []int
		extra     []int // Unreferenced
		misfits   int
		vintage   bool
		words     string
	}{
		{name: "all", matched: true, states: "0 match, 7 match, 9 match, 35 match"},
		{name: "second alternative", change: func(d *rim.Device) { d.Measurements[3].Value = bytesOf(36) }, matched: true, states: "0 match, 7 match, 9 match, 35 match"},
		{name: "value differs", change: func(d *rim.Device) { d.Measurements[1].Value = bytesOf(8) }, states: "0 match, 7 mismatch, 9 match, 35 match",
			words: "measurement 7 (Measurement_7): mismatch: is 0811111111111111… (48 bytes), expected 0711111111111111… by driver manifest GH100 545.00"},
		{name: "zero expected", change: func(d *rim.Device) { d.Measurements[0].Value = bytesOf(1) }, states: "0 mismatch, 7 match, 9 match, 35 match"},
		{name: "value of an inactive index", change: func(d *rim.Device) { d.Measurements[2].Value = bytesOf(1) }, states: "0 match, 7 match, 9 mismatch, 35 match", vintage: true},
		{name: "longer value", change: func(d *rim.Device) { d.Measurements[1].Value = append(bytesOf(7), 0) }, states: "0 match, 7 mismatch, 9 match, 35 match"},
		{name: "shorter value", change: func(d *rim.Device) { d.Measurements[1].Value = bytesOf(7)[:47] }, states: "0 match, 7 mismatch, 9 match, 35 match"},
		{name: "raw value", change: func(d *rim.Device) { d.Measurements[2].Raw = true }, states: "0 match, 7 match, 9 mismatch, 35 match", words: "raw value"},
		{name: "missing", change: func(d *rim.Device) { d.Measurements = d.Measurements[1:] }, states: "0 missing, 7 match, 9 match, 35 match", words: "is not in the report"},
		{name: "index 9 missing", change: func(d *rim.Device) { d.Measurements[2].Index = 10 }, states: "0 match, 7 match, 9 missing, 35 match", extra: []int{10}},
		{name: "twice", change: func(d *rim.Device) { d.Measurements = append(d.Measurements, d.Measurements[2]) }, states: "0 match, 7 match, 9 mismatch, 35 match", words: "twice"},
		{name: "two differ", change: func(d *rim.Device) { d.Measurements[1].Value, d.Measurements[2].Value = bytesOf(1), bytesOf(1) }, states: "0 match, 7 mismatch, 9 mismatch, 35 match"},
		{name: "measured besides", change: func(d *rim.Device) {
			d.Measurements = append(d.Measurements, rim.Measurement{Index: 41, Value: bytesOf(1)}, rim.Measurement{Index: 42, Value: bytes.Repeat([]byte{0}, 48)})
		}, matched: true, states: "0 match, 7 match, 9 match, 35 match", extra: []int{41}},
		{name: "nothing measured", change: func(d *rim.Device) { d.Measurements = nil }, states: "0 missing, 7 missing, 9 missing, 35 missing"},

		{name: "engine off, its index differs", change: func(d *rim.Device) { d.Engine, d.Measurements[3].Value = rim.EngineOff, bytesOf(1) }, matched: true, states: "0 match, 7 match, 9 match, 35 skipped"},
		{name: "engine off, its index missing", change: func(d *rim.Device) { d.Engine, d.Measurements = rim.EngineOff, d.Measurements[:3] }, matched: true, states: "0 match, 7 match, 9 match, 35 skipped"},
		{name: "engine off, another differs", change: func(d *rim.Device) { d.Engine, d.Measurements[1].Value = rim.EngineOff, bytesOf(1) }, states: "0 match, 7 mismatch, 9 match, 35 skipped"},
		{name: "engine on, its index differs", change: func(d *rim.Device) { d.Measurements[3].Value = bytesOf(1) }, states: "0 match, 7 match, 9 match, 35 mismatch"},
		{name: "engine in no known state", change: func(d *rim.Device) { d.Engine = "0x00" }, states: "0 match, 7 match, 9 match, 35 mismatch", words: `the state of its engine is "0x00"`},
		{name: "nothing said of the engine", change: func(d *rim.Device) { d.Engine = rim.EngineNone }, matched: true, states: "0 match, 7 match, 9 match, 35 match"},
		{name: "nothing said of the engine, its index differs", change: func(d *rim.Device) { d.Engine, d.Measurements[3].Value = rim.EngineNone, bytesOf(1) }, states: "0 match, 7 match, 9 match, 35 mismatch"},

		{name: "index in both", manifests: []*rim.Manifest{driver, overlap}, states: "7 match, 7 match, 9 match, 35 match", conflicts: []int{7}},
		{name: "index in both, index 9 differs", manifests: []*rim.Manifest{driver, overlap}, change: func(d *rim.Device) { d.Measurements[2].Value = bytesOf(1) }, states: "7 match, 7 match, 9 mismatch, 35 match", conflicts: []int{7}},
		{name: "issue that fits less", manifests: []*rim.Manifest{other, driver, vbios}, matched: true, states: "0 match, 7 match, 9 match, 35 match"},
		{name: "issue that fits less, last", manifests: []*rim.Manifest{driver, vbios, other}, matched: true, states: "0 match, 7 match, 9 match, 35 match"},
		{name: "issue that fits not", manifests: []*rim.Manifest{driver, other}, states: "0 mismatch, 7 match, 9 mismatch, 35 match"},
		{name: "driver alone", manifests: []*rim.Manifest{driver}, states: "7 match, 35 match", absent: []rim.Kind{rim.VBIOS}, extra: []int{9}},
		{name: "VBIOS alone", manifests: []*rim.Manifest{vbios}, states: "0 match, 9 match", absent: []rim.Kind{rim.Driver}, extra: []int{7, 35}},
		{name: "none", manifests: []*rim.Manifest{}, absent: []rim.Kind{rim.Driver, rim.VBIOS}, extra: []int{7, 9, 35}},
		{name: "other driver", change: func(d *rim.Device) { d.Driver = "545.01" }, states: "0 match, 9 match", absent: []rim.Kind{rim.Driver}, extra: []int{7, 35}, misfits: 1},
		{name: "other VBIOS", change: func(d *rim.Device) { d.VBIOS = "96.00.5E.00.02" }, states: "7 match, 35 match", absent: []rim.Kind{rim.VBIOS}, extra: []int{9}, misfits: 1},
		{name: "VBIOS in lower case", change: func(d *rim.Device) { d.VBIOS = "96.00.5e.00.01" }, matched: true, states: "0 match, 7 match, 9 match, 35 match"},
		{name: "no versions", change: func(d *rim.Device) { d.VBIOS, d.Driver = "", "" }, absent: []rim.Kind{rim.Driver, rim.VBIOS}, extra: []int{7, 9, 35}, misfits: 2},
		{name: "other chip", change: func(d *rim.Device) { d.Chip = "GB100" }, absent: []rim.Kind{rim.Driver, rim.VBIOS}, extra: []int{7, 9, 35}, misfits: 2},
		{name: "manifest of a switch besides", manifests: []*rim.Manifest{driver, vbios, bios}, matched: true, states: "0 match, 7 match, 9 match, 35 match", misfits: 1},

		{name: "switch", manifests: []*rim.Manifest{bios}, change: func(d *rim.Device) { d.Switch, d.Chip, d.VBIOS, d.Driver = true, "LS_10", "96.10.55.00.01", "" },
			matched: true, states: "9 match, 35 match", extra: []int{7}},
		{name: "switch, index 9 differs", manifests: []*rim.Manifest{bios}, change: func(d *rim.Device) {
			d.Switch, d.Chip, d.VBIOS, d.Measurements[2].Value = true, "LS_10", "96.10.55.00.01", bytesOf(1)
		}, states: "9 mismatch, 35 match", extra: []int{7}},
		{name: "switch has no engine", manifests: []*rim.Manifest{bios}, change: func(d *rim.Device) {
			d.Switch, d.Chip, d.VBIOS, d.Engine, d.Measurements[3].Value = true, "LS_10", "96.10.55.00.01", rim.EngineOff, bytesOf(1)
		}, states: "9 match, 35 mismatch", extra: []int{7}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := rim.Device{Chip: "GH100", Driver: "545.00", VBIOS: "96.00.5E.00.01", Engine: rim.EngineOn, Measurements: []rim.Measurement{
				{Index: 0, Value: make48()}, {Index: 7, Value: bytesOf(7)}, {Index: 9, Value: bytesOf(9)}, {Index: 35, Value: bytesOf(35)},
			}}
			if c.change != nil {
				c.change(&d)
			}
			if c.manifests == nil {
				c.manifests = both
			}
			got := rim.Compare(d, c.manifests)
			var states, text []string
			bad := len(got.Conflicts) > 0
			for _, f := range got.Findings {
				states = append(states, strconv.Itoa(f.Index)+" "+string(f.State))
				bad = bad || f.State == rim.Mismatch || f.State == rim.Missing
			}
			for _, f := range got.Mismatches() {
				text = append(text, f.String())
			}
			if s := strings.Join(states, ", "); s != c.states {
				t.Errorf("%s\nexpected %s", s, c.states)
			}
			if got.Matched() != c.matched || got.Mismatched() != bad || got.Vintage() != c.vintage {
				t.Errorf("matched %v, mismatched %v, vintage %v", got.Matched(), got.Mismatched(), got.Vintage())
			}
			if !slices.Equal(got.Absent, c.absent) || !slices.Equal(got.Conflicts, c.conflicts) || !slices.Equal(got.Unreferenced, c.extra) || len(got.Misfits) != c.misfits {
				t.Errorf("absent %v, conflicts %v, unreferenced %v, misfits %v", got.Absent, got.Conflicts, got.Unreferenced, got.Misfits)
			}
			if !strings.Contains(strings.Join(text, "\n"), c.words) {
				t.Errorf("%q, expected %q", text, c.words)
			}
		})
	}
}

func TestNothingDoesNotMatch(t *testing.T) {
	if c := new(rim.Comparison); c.Matched() || c.Mismatched() || c.Vintage() {
		t.Error("no comparison is one that matches")
	}
}

// Of two issues that fit alike the later one is named.
func TestLaterIssue(t *testing.T) {
	early := newForger(t, elliptic.P384(), nil)
	late := newForger(t, elliptic.P384(), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.AddDate(0, 6, 0), end })
	v := newVerifier(t, early.root, late.root)
	var list []*rim.Manifest
	for _, f := range []*forger{early, late} {
		m, err := v.Verify(f.sign(content("LS10", "SWITCH", "96.10.55.00.01", resource(0, value(0))), nil))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	d := rim.Device{Chip: "LS_10", Switch: true, VBIOS: "96.10.55.00.01", Measurements: []rim.Measurement{{Index: 0, Value: bytesOf(0)}}}
	for _, order := range [][]*rim.Manifest{{list[0], list[1]}, {list[1], list[0]}} {
		if got := rim.Compare(d, order); !got.Matched() || len(got.Used) != 1 || got.Used[0] != list[1] {
			t.Errorf("used %v", got.Used)
		}
	}
}

// TestWithdrawnIssue: an issue that a later one contradicts does not count, unless
// they differ at index 9 of a VBIOS alone.
func TestWithdrawnIssue(t *testing.T) {
	var by [3]*forger // of one month each
	var roots []*x509.Certificate
	for i := range by {
		by[i] = newForger(t, elliptic.P384(), func(c *x509.Certificate) { c.NotBefore, c.NotAfter = start.AddDate(0, i, 0), end })
		roots = append(roots, by[i].root)
	}
	v := newVerifier(t, roots...)
	type issue struct {
		month     int
		tag       string // and behind "/" its version
		resources []string
	}
	zero, nine := resource(0, value(0)), resource(9, value(9))
	for _, c := range []struct {
		name    string
		edition string
		issues  []issue
		used    int
		differ  []int
	}{
		{"later one differs", "GPU", []issue{{0, "a", []string{zero, nine}}, {1, "a", []string{resource(0, value(1)), nine}}}, 1, []int{0}},
		{"later one differs at index 9 alone", "GPU", []issue{{0, "a", []string{zero, nine}}, {1, "a", []string{zero, resource(9, value(1))}}}, 0, nil},
		{"later one differs at index 9 and another", "GPU", []issue{{0, "a", []string{zero, nine}}, {1, "a", []string{resource(0, value(1)), resource(9, value(1))}}}, 1, []int{0, 9}},
		{"later one wants more", "GPU", []issue{{0, "a", []string{zero}}, {1, "a", []string{zero, nine, resource(10, value(10))}}}, 1, []int{10}},
		{"later one has more", "GPU", []issue{{0, "a", []string{zero}}, {1, "a", []string{zero, nine}}}, 1, nil},
		{"later one is another tag", "GPU", []issue{{0, "a", []string{zero, nine}}, {1, "b", []string{resource(0, value(1)), nine}}}, 0, nil},
		{"last one fits again", "GPU", []issue{{0, "a", []string{zero, nine}}, {1, "a", []string{resource(0, value(1)), nine}}, {2, "a", []string{zero, nine}}}, 2, nil},
		{"last one differs at index 9, the one before at another", "GPU",
			[]issue{{0, "a", []string{zero, nine}}, {1, "a", []string{resource(0, value(1)), nine}}, {2, "a", []string{zero, resource(9, value(1))}}}, 2, []int{9}},
		{"switch, later one differs at index 9 alone", "SWITCH", []issue{{0, "a", []string{zero, nine}}, {1, "a", []string{zero, resource(9, value(1))}}}, 1, []int{9}},
		{"corrected under the same signer", "GPU", []issue{{0, "a", []string{zero, nine}}, {0, "a/1", []string{resource(0, value(1)), nine}}}, 1, []int{0}},
		{"corrected under the same signer, fits as well", "GPU", []issue{{0, "a", []string{zero, nine}}, {0, "a/1", []string{zero, nine}}}, 1, nil},
		{"corrected, signed by an older signer", "GPU", []issue{{1, "a/1", []string{zero, nine}}, {0, "a/2", []string{resource(0, value(1)), nine}}}, 1, []int{0}},
		{"corrected back", "GPU", []issue{{1, "a", []string{resource(0, value(1)), nine}}, {0, "a/1", []string{zero, nine}}}, 1, nil},
		{"corrected at index 9 alone", "GPU", []issue{{0, "a", []string{zero, nine}}, {0, "a/1", []string{zero, resource(9, value(1))}}}, 0, nil},
		{"higher version of another tag", "GPU", []issue{{0, "a", []string{zero, nine}}, {0, "b/1", []string{resource(0, value(1)), nine}}}, 0, nil},
		{"of one time", "GPU", []issue{{0, "a", []string{zero, nine}}, {0, "a", []string{resource(0, value(1)), nine}}}, 0, nil},
	} {
		d := rim.Device{Chip: "GH100", VBIOS: "96.00.5E.00.01", Measurements: []rim.Measurement{{Index: 0, Value: bytesOf(0)}, {Index: 9, Value: bytesOf(9)}}}
		if c.edition == "SWITCH" {
			d.Chip, d.Switch = "LS_10", true
		}
		var list []*rim.Manifest
		for _, i := range c.issues {
			tag, version, corrected := strings.Cut(i.tag, "/")
			body := once(t, content(strings.ReplaceAll(d.Chip, "_", ""), c.edition, d.VBIOS, i.resources...), "abc123", tag)
			if corrected {
				body = once(t, body, `tagVersion="0"`, `tagVersion="`+version+`"`)
			}
			m, err := v.Verify(by[i.month].sign(body, nil))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, m)
		}
		want := list[c.used]
		for range 2 {
			got := rim.Compare(d, list)
			var differ []int
			for _, f := range got.Mismatches() {
				differ = append(differ, f.Index)
			}
			if c.used != 0 && len(differ) > 0 && c.issues[0].resources[0] == zero && len(c.issues[0].resources) == 2 && (len(got.Withdrawn) != 1 || got.Withdrawn[0] == want) {
				t.Errorf("%s: withdrawn %v", c.name, got.Withdrawn)
			}
			if len(got.Used) != 1 || got.Used[0] != want || !slices.Equal(differ, c.differ) {
				t.Errorf("%s: used %v, differ %v", c.name, got.Used, differ)
			}
			slices.Reverse(list)
		}
	}
}

func make48() []byte { return bytes.Repeat([]byte{0}, rim.DigestSize) }
