// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
)

func bytesHex(b []byte) string { return hex.EncodeToString(b) }

func hashOf384(b []byte) []byte { return digests(b)[1].Value }

// TestMixedReleases: block 1 of one release and block 2 of another are none of
// them, in both forms of reference values.
func TestMixedReleases(t *testing.T) {
	old, current := newDevice(t), newDevice(t)
	fullBlocks(old)
	fullBlocks(current)
	replace(1, 0, bytes.Repeat([]byte{1}, 48))(old)
	replace(2, 1, bytes.Repeat([]byte{2}, 48))(old)
	mix := newDevice(t)
	fullBlocks(mix)
	replace(1, 0, bytes.Repeat([]byte{1}, 48))(mix)
	v := newTest(t, trusting(t, mix.anchor, 0, "", "", ""))
	for name, form := range map[string]func(*device, string) *corim.Document{
		"mkey": func(d *device, id string) *corim.Document {
			return document(t, id, true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: d.stated(t)})
		},
		"sample": func(d *device, id string) *corim.Document { return document(t, id, true, sampleForm(d.stated(t))...) },
	} {
		x := indexOf(t, form(old, "old"), form(current, "current"))
		for _, c := range []struct {
			d    *device
			want bool
		}{{old, true}, {current, true}, {mix, false}} {
			v := v
			if c.d != mix {
				v = newTest(t, trusting(t, c.d.anchor, 0, "", "", ""))
			}
			a, found := appraise(t, v, input(t, c.d.evidence(t), c.d.nonce, x))
			if slices.Contains(found, findMatch) != c.want || (a.Vector[executables] == 3) != c.want || (a.Status() == verdict.TierAffirming) != c.want {
				t.Errorf("%s: %v %s", name, found, details(a))
			}
		}
	}
}

// TestNothingMatches: where all of the firmware differs, nothing is called a match,
// and what differs in the configuration is not called known.
func TestNothingMatches(t *testing.T) {
	other := make([]byte, 48)
	for _, c := range []struct {
		blocks func(*device)
		not    string
	}{{func(d *device) { replace(1, 0, other)(d); replace(2, 1, other)(d) }, findMatch}, {replace(4, 3, other), findConfigKnown}} {
		s := situated(t, checkCase{blocks: c.blocks})
		a, found := s.appraised(checkCase{})
		if slices.Contains(found, c.not) || a.Status() != verdict.TierWarning {
			t.Errorf("%v %s", found, details(a))
		}
	}
}

// sampleForm is the form of DMTF's sample: the environment repeated for each index,
// and no measurement key.
func sampleForm(list []corim.Measurement) (out []corim.ValueTriple) {
	id := corim.TaggedBytes(corim.TagUUID, bytes.Repeat([]byte{0xC1}, 16))
	for _, m := range list {
		n, _ := m.Key.Number()
		m.Key = corim.Key{}
		out = append(out, corim.ValueTriple{
			Environment:  corim.Environment{Class: corim.Class{ID: id, Vendor: "ACME", Model: "WIDGET", Layer: corim.Num(1), Index: corim.Num(n)}},
			Measurements: []corim.Measurement{m},
		})
	}
	return out
}

// TestSampleForm: an index that the device lacks, or has otherwise, keeps the
// whole from holding.
func TestSampleForm(t *testing.T) {
	d := newDevice(t)
	fullBlocks(d)
	v := newTest(t, trusting(t, d.anchor, 0, "", "", ""))
	good := d.stated(t)
	extra := append(slices.Clone(good), corim.Measurement{Key: corim.NumberKey(77), Value: digestOf(1)})
	wrong := slices.Clone(good)
	wrong[2].Value = digestOf(1)
	for name, c := range map[string]struct {
		list  []corim.Measurement
		claim verdict.Claim
		found string
	}{
		"all": {good, 3, findMatch}, "one more": {extra, 33, findUnproven}, "one differs": {wrong, 33, findHardware},
		"firmware differs": {append([]corim.Measurement{{Key: corim.NumberKey(1), Value: digestOf(1)}}, good[1:]...), 33, findFirmware},
		"of others":        {[]corim.Measurement{{Key: corim.NumberKey(77), Value: digestOf(1)}}, 33, findUnproven},
	} {
		a, found := appraise(t, v, input(t, d.evidence(t), d.nonce, indexOf(t, document(t, name, true, sampleForm(c.list)...))))
		if a.Vector[executables] != c.claim || !slices.Contains(found, c.found) {
			t.Errorf("%s: %v %v %s", name, found, a.Vector, details(a))
		}
	}
}

// TestSampleOfOthers: values for another vendor, model, layer or instance are none,
// and two class identifiers are two sets of values.
func TestSampleOfOthers(t *testing.T) {
	d := newDevice(t)
	fullBlocks(d)
	v := newTest(t, trusting(t, d.anchor, 0, "", "", ""))
	serial := func(s string) corim.Typed { return corim.TaggedBytes(corim.TagBytes, []byte(s)) }
	for name, c := range map[string]struct {
		change func(*corim.Environment)
		want   bool
	}{
		"as it is":         {func(e *corim.Environment) {}, true},
		"its instance":     {func(e *corim.Environment) { e.Instance = serial("1") }, true},
		"another instance": {func(e *corim.Environment) { e.Instance = serial("2") }, false},
		"a group":          {func(e *corim.Environment) { e.Group = serial("1") }, false},
		"vendor":           {func(e *corim.Environment) { e.Class.Vendor = "OTHER" }, false},
		"model":            {func(e *corim.Environment) { e.Class.Model = "OTHER" }, false},
		"layer":            {func(e *corim.Environment) { e.Class.Layer = corim.Num(2) }, false},
		"no layer":         {func(e *corim.Environment) { e.Class.Layer = corim.Number{} }, false},
		"no class id":      {func(e *corim.Environment) { e.Class.ID = corim.Typed{} }, true},
	} {
		triples := sampleForm(d.stated(t))
		for i := range triples {
			c.change(&triples[i].Environment)
		}
		if _, found := appraise(t, v, input(t, d.evidence(t), d.nonce, indexOf(t, document(t, name, true, triples...)))); slices.Contains(found, findMatch) != c.want {
			t.Errorf("%s: %v", name, found)
		}
	}
	half := sampleForm(d.stated(t))
	for i := range half {
		if i%2 == 1 {
			half[i].Environment.Class.ID = corim.TaggedBytes(corim.TagUUID, bytes.Repeat([]byte{0xC2}, 16))
		}
	}
	if _, found := appraise(t, v, input(t, d.evidence(t), d.nonce, indexOf(t, document(t, "halves", true, half...)))); slices.Contains(found, findMatch) {
		t.Error("two classes make one release")
	}
	both := sampleForm([]corim.Measurement{{Key: corim.NumberKey(1), Value: digestOf(1)}})
	both[0].Environment.Class.ID = corim.TaggedBytes(corim.TagUUID, bytes.Repeat([]byte{0xC2}, 16))
	if _, found := appraise(t, v, input(t, d.evidence(t), d.nonce, indexOf(t, document(t, "both", true, append(both, sampleForm(d.stated(t))...)...)))); !slices.Contains(found, findMatch) {
		t.Error("another class in the tag hides the release")
	}
}

// TestSampleVectors reads DMTF's own sample, for which the emulator's recording
// with SHA-512 measurements is the device.
func TestSampleVectors(t *testing.T) {
	var doc struct {
		Tags []struct {
			Triples struct {
				Reference [][2]struct {
					Class struct {
						ID           string `json:"comid_class_id"`
						Layer, Index uint64
						RawLayer     uint64 `json:"comid_layer"`
						RawIndex     uint64 `json:"comid_index"`
					} `json:"comid_class"`
					Mval struct {
						Digests [][2]any `json:"comid_digests"`
						SVN     *uint64  `json:"comid_svn"`
					} `json:"comid_mval"`
				} `json:"comid_reference_triples"`
			} `json:"comid_triples"`
		} `json:"corim_tags"`
	}
	here := func(file string) bool {
		_, err := os.Stat(filepath.Join(vectors.Dir(t), "spdm", file))
		return err == nil
	}
	if !here("sample-comid-dmtf.json") && !(here("README.md") && len(recordedNames(t)) >= recordedHere) {
		t.Skip("somebody's own recordings, without DMTF's sample")
	}
	if err := json.Unmarshal(vectors.Read(t, "spdm/sample-comid-dmtf.json"), &doc); err != nil {
		t.Fatal(err)
	}
	var triples []corim.ValueTriple
	for _, r := range doc.Tags[0].Triples.Reference {
		e := corim.Environment{Class: corim.Class{ID: corim.TaggedBytes(corim.TagUUID, unhex(t, r[0].Class.ID)), Vendor: "ACME", Model: "WIDGET",
			Layer: corim.Num(r[0].Class.RawLayer), Index: corim.Num(r[0].Class.RawIndex)}}
		var m corim.Measurement
		for _, d := range r[1].Mval.Digests {
			m.Value.Digests = append(m.Value.Digests, corim.Digest{Alg: corim.NumberedAlgorithm(int64(d[0].(float64))), Value: unhex(t, d[1].(string))})
		}
		if r[1].Mval.SVN != nil {
			m.Value.SVN = &corim.SVN{Value: *r[1].Mval.SVN}
		}
		triples = append(triples, corim.ValueTriple{Environment: e, Measurements: []corim.Measurement{m}})
	}
	x := indexOf(t, document(t, "dmtf", true, triples...))
	record := vectors.Read(t, "spdm/sample-measurement-record-sha512.bin")
	d := newDevice(t, func(d *device) { d.meas = MeasurementSHA512 })
	d.blocks, d.count = record, 7
	v := newTest(t, trusting(t, d.anchor, 0, "", "", ""))
	a, found := appraise(t, v, input(t, d.evidence(t), d.nonce, x))
	if !slices.Contains(found, findMatch) || a.Vector[executables] != 3 {
		t.Fatalf("%v %s", found, details(a))
	}
}

// TestInstances: reference values of one device are not those of another.
func TestInstances(t *testing.T) {
	d, v, in := affirmed(t)
	for serial, want := range map[string]verdict.Claim{"1": 3, "2": 33} {
		e := envOf("ACME", "WIDGET")
		e.Instance = corim.TaggedBytes(corim.TagBytes, []byte(serial))
		in.References = indexOf(t, document(t, serial, true, corim.ValueTriple{Environment: e, Measurements: d.stated(t)}))
		if a, _ := appraise(t, v, in); a.Vector[executables] != want {
			t.Errorf("%s: %s", serial, details(a))
		}
	}
}

// TestExtended: a block that extends a hash is a digest or an integrity register.
func TestExtended(t *testing.T) {
	d, v, in := affirmed(t)
	bank := func(first byte) *corim.Index {
		list := slices.Clone(d.stated(t))
		for i := range list {
			if list[i].Key == corim.NumberKey(17) {
				value := bytes.Clone(list[i].Value.Digests[0].Value)
				value[0] ^= first
				list[i].Value = corim.Values{Registers: []corim.Register{{ID: corim.NumberKey(17), Digests: []corim.Digest{{Alg: corim.SHA384, Value: value}}}}}
			}
		}
		return indexOf(t, document(t, "bank", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: list}))
	}
	in.References = bank(0)
	if a, found := appraise(t, v, in); !slices.Contains(found, findMatch) {
		t.Fatalf("%v %s", found, details(a))
	}
	in.References = bank(1)
	if a, found := appraise(t, v, in); !slices.Contains(found, findFirmware) || a.Vector[executables] != 33 {
		t.Fatalf("%v %s", found, details(a))
	}
}

// TestConnectionReferences: version, algorithms and the summary over the TCB are
// measurements too, and so is who vouches for the device.
func TestConnectionReferences(t *testing.T) {
	d, v, in := affirmed(t)
	c, err := ParseChain(d.chain, mustVCA(t, d.vca))
	if err != nil {
		t.Fatal(err)
	}
	least, most := int64(0x13), int64(0x14)
	for name, k := range map[string]struct {
		m    corim.Measurement
		want bool
	}{
		"version":        {corim.Measurement{Key: corim.TextKey(keyVersion), Value: corim.Values{Range: corim.IntValue(0x12)}}, true},
		"other version":  {corim.Measurement{Key: corim.TextKey(keyVersion), Value: corim.Values{Range: &corim.Range{Min: &least, Max: &most}}}, false},
		"algorithm":      {corim.Measurement{Key: corim.TextKey(keyAsym), Value: corim.Values{Raw: raw(le4(uint32(ECDSAP384)))}}, true},
		"other hash":     {corim.Measurement{Key: corim.TextKey(keyHash), Value: corim.Values{Raw: raw(le4(uint32(BaseSHA512)))}}, false},
		"no such key":    {corim.Measurement{Key: corim.TextKey("spdm.other"), Value: corim.Values{Raw: raw([]byte{1})}}, false},
		"its root":       {authorized(d.stated(t)[0], c.Certificates[0]), true},
		"its issuer":     {authorized(d.stated(t)[0], c.Certificates[1]), true},
		"another's root": {authorized(d.stated(t)[0], newOther(t)), false},
	} {
		list := append(d.stated(t)[1:], k.m)
		if k.m.Key != d.stated(t)[0].Key {
			list = append(list, d.stated(t)[0])
		}
		in.References = indexOf(t, document(t, "x", true, corim.ValueTriple{Environment: envOf("ACME", "WIDGET"), Measurements: list}))
		if a, found := appraise(t, v, in); slices.Contains(found, findMatch) != k.want {
			t.Errorf("%s: %v %s", name, found, details(a))
		}
	}
}

func authorized(m corim.Measurement, c *x509.Certificate) corim.Measurement {
	m.AuthorizedBy = []corim.Typed{corim.Certificate(c)}
	return m
}

// TestPCIeNames: a device without a DMTF name is found by its PCI ids.
func TestPCIeNames(t *testing.T) {
	for name, want := range map[string]string{
		"Vendor=144D:Device=A80A:CC=010802:REV=01":                  `vendor "pci:144d", model "pci:a80a"`,
		"Vendor=144D:Device=A80A:CC=010802:REV=01:0123456789ABCDEF": `vendor "pci:144d", model "pci:a80a", instance 560(30313233343536373839616263646566)`,
		"Vendor=144D:Vendor=144E:Device=A80A":                       "",
		"Device=A80A":                                               "",
		"":                                                          "",
		"Vendor=144D:Device=A80AB":                                  "",
	} {
		e, ok := environment(&Identity{CMA: name})
		if got := ""; ok {
			if got = e.String(); got != want {
				t.Errorf("%q: %s", name, got)
			}
		} else if want != "" {
			t.Errorf("%q", name)
		}
	}
	for name, want := range map[string]bool{"A:B:C": true, "A:B": true, "A:B:C:D": true, "A": false, ":B:C": false, "A::C": false} {
		if _, ok := environment(&Identity{DeviceInfo: name}); ok != want {
			t.Errorf("%q", name)
		}
	}
}

// TestNormalReport: two reports that differ in the offset of the machine alone are
// one reference value.
func TestNormalReport(t *testing.T) {
	a := interfaceReport(goodInfo, "x", Range{FirstPage: 5, Pages: 1, ID: 0}, Range{FirstPage: 9, Pages: 1, ID: 1})
	b := interfaceReport(goodInfo, "x", Range{FirstPage: 105, Pages: 1, ID: 0}, Range{FirstPage: 109, Pages: 1, ID: 1})
	other := interfaceReport(goodInfo, "x", Range{FirstPage: 105, Pages: 1, ID: 0}, Range{FirstPage: 110, Pages: 1, ID: 1})
	var got [][]byte
	for _, raw := range [][]byte{a, b, other} {
		r, err := ParseReport(raw)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, r.normal())
	}
	if !bytes.Equal(got[0], got[1]) || bytes.Equal(got[1], got[2]) || bytes.Equal(got[0], a) {
		t.Fatal("normal form")
	}
}
