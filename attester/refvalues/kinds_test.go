// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/corim/comid"
	"github.com/veraison/corim/corim"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/attester/tcgtpm"
)

// facts are the values of a document as the library sees them, one line each:
// environment, key and value.
type facts map[string]bool

func read(t *testing.T, u *corim.UnsignedCorim) facts {
	t.Helper()
	out := facts{}
	seq, failed := u.IterRefVals()
	for triple := range seq {
		if err := triple.Valid(); err != nil {
			t.Error(err)
		}
		env := environment(triple.Environment)
		for _, m := range triple.Measurements.Values {
			key := "-"
			if m.Key != nil {
				key = m.Key.Type() + " " + m.Key.Value.String()
			}
			for _, line := range values(t, m.Val) {
				out[env+" | "+key+" | "+line] = true
			}
		}
	}
	if err := failed(); err != nil {
		t.Fatal(err)
	}
	return out
}

func environment(e comid.Environment) string {
	var parts []string
	if c := e.Class; c != nil {
		if c.ClassID != nil {
			text := c.ClassID.String()
			if c.ClassID.Type() == comid.BytesType {
				text = string(c.ClassID.Bytes())
			}
			parts = append(parts, c.ClassID.Type()+" "+text)
		}
		if c.Vendor != nil {
			parts = append(parts, "vendor "+c.GetVendor())
		}
		if c.Model != nil {
			parts = append(parts, "model "+c.GetModel())
		}
	}
	if e.Instance != nil {
		parts = append(parts, fmt.Sprintf("instance %x", e.Instance.Bytes()))
	}
	return strings.Join(parts, ", ")
}

func values(t *testing.T, v comid.Mval) (out []string) {
	t.Helper()
	if v.Digests != nil {
		for _, d := range *v.Digests {
			out = append(out, fmt.Sprintf("digest %d %x", d.HashAlgID, d.HashValue))
		}
	}
	if v.SVN != nil {
		out = append(out, fmt.Sprint("svn ", v.SVN.Value.Type(), " ", v.SVN.Value))
	}
	if v.Flags != nil && v.Flags.IsDebug != nil {
		out = append(out, fmt.Sprint("debug ", *v.Flags.IsDebug))
	}
	if v.RawValue != nil {
		raw, err := v.RawValue.GetBytes()
		if err != nil {
			t.Error(err)
		}
		line := fmt.Sprintf("raw %x", raw)
		if v.RawValueMask != nil {
			line += fmt.Sprintf(" mask %x", *v.RawValueMask)
		}
		out = append(out, line)
	}
	if v.IntegrityRegisters != nil {
		for index, list := range v.IntegrityRegisters.IndexMap {
			for _, d := range list {
				out = append(out, fmt.Sprintf("register %v digest %d %x", index, d.HashAlgID, d.HashValue))
			}
		}
	}
	if v.Name != nil || v.Ver != nil {
		out = append(out, "name or version")
	}
	return out
}

// algs are the numbers of the IANA Named Information registry.
var algs = map[string]int{"sha-256": 1, "sha-384": 7, "sha-512": 8}

func hash(alg string, digest []byte) string { return fmt.Sprintf("digest %d %x", algs[alg], digest) }

// check writes the entry in both forms, reads it with the library and compares.
func check(t *testing.T, profile string, e Entry, want facts) {
	t.Helper()
	d := Document{ID: "simulated", TagID: "simulated-1", NotBefore: now, NotAfter: now.AddDate(1, 0, 0), Entries: []Entry{e}}
	raw, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	u, err := corim.UnmarshalAndValidateUnsignedCorimFromCBOR(raw)
	if err != nil {
		t.Fatal(err)
	}
	if u.GetID() != "simulated" {
		t.Errorf("id %q", u.GetID())
	}
	compare(t, read(t, u), want)

	s := signer(t)
	if raw, err = Signed(d, s); err != nil {
		t.Fatal(err)
	}
	m, err := corim.UnmarshalAndValidateSignedCorimFromCBOR(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(s.Key.Public()); err != nil {
		t.Error(err)
	}
	compare(t, read(t, &m.UnsignedCorim), want)
	checkProfile(t, d, profile)
	checkReading(t, d, profile)
}

// checkProfile compares the document with and without a profile. The library
// cannot read a profile with the tag that the draft and the published CoRIMs
// give it, so what it reads in these tests has none.
func checkProfile(t *testing.T, d Document, profile string) {
	t.Helper()
	without, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	d.Profile = profile
	with, err := Unsigned(d)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, _ := Unsigned(d); !bytes.Equal(with, again) {
			t.Fatal("two encodings differ")
		}
	}
	got, want := content(t, with), content(t, without)
	if p, ok := got[uint64(3)].(cbor.Tag); !ok || p.Number != 32 || p.Content != profile {
		t.Errorf("profile %v", got[uint64(3)])
	}
	delete(got, uint64(3))
	if !reflect.DeepEqual(got, want) {
		t.Error("the profile changes other members")
	}
}

// content is the corim-map below tag 501.
func content(t *testing.T, raw []byte) map[any]any {
	t.Helper()
	tag, ok := decode(t, raw).(cbor.Tag)
	if !ok || tag.Number != 501 {
		t.Fatalf("document begins %x", raw[:3])
	}
	return tag.Content.(map[any]any)
}

func compare(t *testing.T, got, want facts) {
	t.Helper()
	if reflect.DeepEqual(got, want) {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if !want[k] {
			t.Errorf("unexpected: %s", k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if !got[k] {
			t.Errorf("missing: %s", k)
		}
	}
}

func TestIntelTDX(t *testing.T) {
	entries := map[bool]Entry{}
	for _, faulty := range []bool{false, true} {
		d, err := inteltdx.New(inteltdx.Options{
			Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now,
			MRConfigID: bytes.Repeat([]byte{7}, 48), Measurement: faulty, OutdatedTCB: faulty,
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := IntelTDX(d.Measurements())
		if err != nil {
			t.Fatal(err)
		}
		entries[faulty] = e
		want := facts{}
		const env = "bytes tag:assize.dev,2026:intel-tdx, vendor Intel Corporation, model TDX | "
		for _, m := range d.Measurements() {
			switch {
			case strings.HasPrefix(m.Name, "rtmr"):
				want[env+"- | register "+m.Name[4:]+" "+hash("sha-384", m.Digest)] = true
			case m.Name == "tee_tcb_svn":
			case m.Digest != nil:
				want[env+"string "+m.Name+" | "+hash("sha-384", m.Digest)] = true
			default:
				want[env+"string "+m.Name+" | "+fmt.Sprintf("raw %x", m.Raw)] = true
			}
		}
		if len(want) != 10 {
			t.Errorf("%d values, want 10", len(want))
		}
		check(t, Profile, e, want)
	}
	if !reflect.DeepEqual(entries[false], entries[true]) {
		t.Error("a fault changes the reference values")
	}
}

func TestAMDSNP(t *testing.T) {
	vendor := amdsnp.NewVendor(pki.NewSeed("v"), now)
	for _, product := range []amdsnp.Product{amdsnp.Milan, amdsnp.Turin} {
		d, err := amdsnp.New(amdsnp.Options{
			Vendor: vendor, Device: pki.NewSeed("d"), Now: now, Product: product,
			Image: "test", HostData: bytes.Repeat([]byte{3}, 32), Measurement: true, OutdatedTCB: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		e, err := AMDSNP(d.Measurements(), d.ChipID())
		if err != nil {
			t.Fatal(err)
		}
		ms := d.Measurements()
		env := fmt.Sprintf("oid 1.3.6.1.4.1.3704.3.1, instance %x | ", d.ChipID())
		check(t, ProfileAMD, e, facts{
			env + "uint 641 | " + hash("sha-384", ms[0].Digest):                                     true,
			env + "uint 647 | svn min-value " + fmt.Sprint(binary.LittleEndian.Uint64(ms[1].Raw)):   true,
			env + "uint 642 | raw 0303030303030303030303030303030303030303030303030303030303030303": true,
		})
		if e, err = AMDSNP(ms, nil); err != nil || e.Environment.Instance != nil {
			t.Errorf("values of every chip: %v %v", e.Environment, err)
		}
	}
	if _, err := AMDSNP(nil, []byte{1}); err == nil {
		t.Error("accepts a CHIP_ID of one byte")
	}
}

func TestNVIDIA(t *testing.T) {
	vendor := pki.NewSeed("v")
	for _, c := range []struct {
		model string
		make  func() (*nvidia.Device, error)
		entry func([]nvidia.Measurement) (Entry, error)
	}{
		{"GH100", func() (*nvidia.Device, error) {
			return nvidia.NewGPU(nvidia.Options{Vendor: vendor, Device: pki.NewSeed("d"), Now: now})
		}, func(ms []nvidia.Measurement) (Entry, error) { return NVIDIAGPU(ms, "") }},
		{"GB100", func() (*nvidia.Device, error) {
			return nvidia.NewGPU(nvidia.Options{Vendor: vendor, Device: pki.NewSeed("d"), Now: now, Arch: nvidia.Blackwell})
		}, func(ms []nvidia.Measurement) (Entry, error) { return NVIDIAGPU(ms, nvidia.Blackwell) }},
		{"LS10", func() (*nvidia.Device, error) {
			return nvidia.NewSwitch(nvidia.Options{Vendor: vendor, Device: pki.NewSeed("d"), Now: now})
		}, NVSwitch},
	} {
		d, err := c.make()
		if err != nil {
			t.Fatal(err)
		}
		e, err := c.entry(d.Measurements())
		if err != nil {
			t.Fatal(err)
		}
		want := facts{}
		for _, m := range d.Measurements() {
			want["vendor NVIDIA, model "+c.model+" | uint "+m.Name+" | "+hash("sha-384", m.Digest)] = true
		}
		if len(want) < 31 {
			t.Errorf("%s: only %d values", c.model, len(want))
		}
		check(t, Profile, e, want)
	}
	if _, err := NVIDIAGPU(nil, "AMPERE"); err == nil {
		t.Error("accepts an unknown architecture")
	}
}

func TestSPDM(t *testing.T) {
	d, err := spdm.New(spdm.Options{
		Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now, Version: spdm.Version13,
		MeasurementHash: crypto.SHA512, TSM: spdm.TSMTDX, Debug: true, OutdatedTCB: true, Measurement: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	texts := slices.Concat(d.ConnectionReferences(), d.InterfaceReferences())
	e, err := SPDM(d.Identity(), d.Measurements(), texts)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.Split(d.Identity(), ":")
	env := fmt.Sprintf("vendor %s, model %s, instance %x | ", id[0], id[1], id[2])
	want := facts{env + "uint 254 | debug false": true}
	for _, m := range slices.Concat(d.Measurements(), texts) {
		key := "uint " + m.Name
		if strings.Contains(m.Name, ".") {
			key = "string " + m.Name
		}
		line := fmt.Sprintf("raw %x", m.Raw)
		switch {
		case m.SVN != nil:
			line = fmt.Sprint("svn min-value ", *m.SVN)
		case m.Digest != nil:
			line = hash("sha-512", m.Digest)
		case m.Mask != nil:
			line += fmt.Sprintf(" mask %x", m.Mask)
		}
		want[env+key+" | "+line] = true
	}
	if !want[env+"uint 254 | raw 3f000000040000001f00000000000000 mask 000000003f0000000000000003000000"] ||
		!want[env+"string tdisp.interface-info | raw 0100 mask 1900"] || !want[env+"string spdm.version | raw 13"] || len(want) != 20 {
		t.Errorf("%d values: %v", len(want), want)
	}
	check(t, Profile, e, want)

	if e, err = SPDM(id[0]+":"+id[1], d.Measurements(), nil); err != nil || e.Environment.Instance != nil {
		t.Errorf("values of the model: %v %v", e.Environment, err)
	}
	for _, bad := range []string{"", "A", "A:", ":B", "A:B:", "A::C"} {
		if _, err := SPDM(bad, d.Measurements(), nil); err == nil {
			t.Errorf("accepts the identity %q", bad)
		}
	}
}

func TestTPM(t *testing.T) {
	d, err := tcgtpm.New(tcgtpm.Options{
		Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now, PCRs: []int{0, 7, 11, 23}, Image: "test", Measurement: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	e, err := TPM(d.Measurements())
	if err != nil {
		t.Fatal(err)
	}
	want := facts{}
	for _, m := range d.Measurements() {
		want["bytes tag:assize.dev,2026:tcg-tpm | - | register "+m.Name+" "+hash("sha-256", m.Digest)] = true
	}
	if len(want) != 4 {
		t.Errorf("%d values, want 4", len(want))
	}
	check(t, Profile, e, want)
}

func TestRefusedMeasurements(t *testing.T) {
	for name, build := range map[string]func() (Entry, error){
		"no TDX values":        func() (Entry, error) { return IntelTDX(nil) },
		"no SNP values":        func() (Entry, error) { return AMDSNP(nil, nil) },
		"no NVIDIA values":     func() (Entry, error) { return NVSwitch(nil) },
		"no SPDM values":       func() (Entry, error) { return SPDM("A:B", nil, nil) },
		"no PCRs":              func() (Entry, error) { return TPM(nil) },
		"unknown TDX register": func() (Entry, error) { return IntelTDX([]inteltdx.Measurement{{Name: "rtmr4", Raw: []byte{1}}}) },
		"short MRTD": func() (Entry, error) {
			return IntelTDX([]inteltdx.Measurement{{Name: "mrtd", Alg: "sha-384", Digest: []byte{1}}})
		},
		"short TCB": func() (Entry, error) {
			return AMDSNP([]amdsnp.Measurement{{Name: "reported-tcb", MKey: 647, Raw: []byte{1}}}, nil)
		},
		"index in words": func() (Entry, error) { return NVSwitch([]nvidia.Measurement{{Name: "one"}}) },
		"index twice": func() (Entry, error) {
			m := nvidia.Measurement{Name: "1", Alg: "sha-384", Digest: make([]byte, 48)}
			return NVSwitch([]nvidia.Measurement{m, m})
		},
		"SPDM index 256":     func() (Entry, error) { return SPDM("A:B", []spdm.Measurement{{Name: "256", Raw: []byte{1}}}, nil) },
		"interface property": func() (Entry, error) { return SPDM("A:B", nil, []spdm.Measurement{{Name: "x", Raw: []byte{1}}}) },
		"PCR in words":       func() (Entry, error) { return TPM([]tcgtpm.Measurement{{Name: "x"}}) },
		"short PCR": func() (Entry, error) {
			return TPM([]tcgtpm.Measurement{{Name: "1", Alg: "sha-256", Digest: []byte{1}}})
		},
	} {
		if e, err := build(); err == nil {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
