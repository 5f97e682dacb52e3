// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

func manifests(tb testing.TB, d *nvidia.Device) []nvidia.Manifest {
	tb.Helper()
	out, err := d.Manifests()
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func manifestVerifier(tb testing.TB, d *nvidia.Device) *rim.Verifier {
	tb.Helper()
	roots, err := d.Roots()
	if err != nil {
		tb.Fatal(err)
	}
	v, err := rim.New(roots)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// swids are the kinds of devices whose manifests are SWID tags.
func swids(tb testing.TB) map[string]*nvidia.Device {
	o := options("manifests")
	o.Arch = nvidia.Blackwell
	return map[string]*nvidia.Device{nvidia.Hopper: gpu(tb, options("manifests")), nvidia.Blackwell: gpu(tb, o), nvidia.LS10: nvswitch(tb, options("manifests"))}
}

// The verifier of this repository believes the manifests, under their identifiers,
// and what the device measures is in them.
func TestManifestsVerify(t *testing.T) {
	for arch, d := range swids(t) {
		v := manifestVerifier(t, d)
		l := read(t, report(t, d))
		seen := map[int]bool{}
		for _, m := range manifests(t, d) {
			got, err := v.Verify(m.Raw)
			if err != nil {
				t.Fatalf("%s: %v", m.ID, err)
			}
			if err := got.Answers(m.ID); err != nil {
				t.Error(err)
			}
			if err := got.ValidAt(now); err != nil {
				t.Error(err)
			}
			if m.File() != m.ID+".xml" || len(got.Chain()) != 4 {
				t.Errorf("%s: file %s, %d certificates", m.ID, m.File(), len(got.Chain()))
			}
			for _, g := range got.Measurements {
				if !g.Active {
					continue
				}
				if seen[g.Index] {
					t.Errorf("%s: index %d is in two manifests", arch, g.Index)
				}
				seen[g.Index] = true
				if !contains(g.Values, l.values[g.Index]) {
					t.Errorf("%s: index %d: %x is none of %x", m.ID, g.Index, l.values[g.Index], g.Values)
				}
			}
		}
		for _, i := range l.measured {
			if !seen[i] && !(arch == nvidia.Hopper && i == 41) { // as with NVIDIA's of these drivers
				t.Errorf("%s: index %d is measured and in no manifest", arch, i)
			}
		}
	}
}

func contains(values [][]byte, v []byte) bool {
	for _, one := range values {
		if bytes.Equal(one, v) {
			return true
		}
	}
	return false
}

var (
	hexRun    = regexp.MustCompile(`[0-9a-f]{96}`)
	base64Run = regexp.MustCompile(`(DigestValue|SignatureValue)>[A-Za-z0-9+/=]+<`)
	certRun   = regexp.MustCompile(`X509Certificate>[A-Za-z0-9+/=\n]+</`)
	version   = regexp.MustCompile(`colloquialVersion="[^"]*"`)
)

// shape is a manifest without values: everything between them, white space and
// order of attributes included, must be the same.
func shape(raw []byte) string {
	s := hexRun.ReplaceAllString(string(raw), "HEX")
	s = base64Run.ReplaceAllString(s, "$1>B64<")
	s = certRun.ReplaceAllStringFunc(s, func(c string) string { // lines, but for the length of the last ones
		lines := strings.Split(c, "\n")
		return fmt.Sprintf("X509Certificate>%d characters a line</", len(strings.TrimPrefix(lines[0], "X509Certificate>")))
	})
	return version.ReplaceAllString(s, `colloquialVersion=""`)
}

func TestManifestsAsRecorded(t *testing.T) {
	for _, c := range []struct {
		d    *nvidia.Device
		kind string
		file string
	}{
		{gpu(t, options("layout")), "NV_GPU_DRIVER_GH100_", sdkDir + "NV_GPU_DRIVER_GH100_550.144.03.xml"},
		{gpu(t, options("layout")), "NV_GPU_VBIOS_", "nvidia/nvtrust/samples/1010_0200_882_96005E0001_PROD.swidtag"},
		{nvswitch(t, options("layout")), "NV_SWITCH_BIOS_", sdkDir + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml"},
	} {
		want := vectors.Read(t, c.file)
		found := false
		for _, m := range manifests(t, c.d) {
			if !strings.HasPrefix(m.ID, c.kind) {
				continue
			}
			found = true
			a, b := strings.Split(strings.TrimRight(shape(m.Raw), "\n"), "\n"), strings.Split(strings.TrimRight(shape(want), "\n"), "\n")
			if len(a) != len(b) {
				t.Fatalf("%s: %d lines, recorded %d", c.file, len(a), len(b))
			}
			for i := range a {
				if a[i] != b[i] {
					t.Errorf("%s, line %d:\n%s\nrecorded\n%s", c.file, i+1, a[i], b[i])
				}
			}
			if n := len(m.Raw) - len(want); n < -400 || n > 400 { // names in certificates are longer or shorter
				t.Errorf("%s: %d bytes, recorded %d", c.file, len(m.Raw), len(want))
			}
		}
		if !found {
			t.Errorf("no manifest %s", c.kind)
		}
	}
}

// The same seeds give the same bytes, with and without Shared.
func TestManifestsAreDeterministic(t *testing.T) {
	for _, fault := range []nvidia.RIMFault{nvidia.RIMHonest, nvidia.RIMVintage, nvidia.RIMExpired} {
		o := options("same")
		o.RIM = fault
		a := manifests(t, gpu(t, o))
		o.Device, o.Shared = options("another").Device, new(nvidia.Shared)
		for range 2 {
			for i, m := range manifests(t, gpu(t, o)) {
				if m.ID != a[i].ID || !bytes.Equal(m.Raw, a[i].Raw) {
					t.Errorf("fault %d, %s: other bytes", fault, m.ID)
				}
			}
		}
	}
}

// Each fault of a manifest is what its name says, and the driver's stays honest.
func TestManifestFaults(t *testing.T) {
	honest := manifests(t, gpu(t, options("rim")))
	for fault, code := range map[nvidia.RIMFault]string{
		nvidia.RIMWrongSigner: verdict.ReasonSignatureInvalid, nvidia.RIMAltered: verdict.ReasonSignatureInvalid, nvidia.RIMExpired: verdict.ReasonExpired,
		nvidia.RIMOtherVersion: verdict.ReasonIdentityMismatch, nvidia.RIMRevoked: "", nvidia.RIMVintage: "", nvidia.RIMConflict: "",
	} {
		o := options("rim")
		o.RIM = fault
		d := gpu(t, o)
		if !bytes.Equal(report(t, d), report(t, gpu(t, options("rim")))) {
			t.Errorf("fault %d: the report changed", fault)
		}
		all := manifests(t, d)
		if len(all) != 2 || !bytes.Equal(all[0].Raw, honest[0].Raw) || all[1].ID != honest[1].ID || bytes.Equal(all[1].Raw, honest[1].Raw) != (fault == nvidia.RIMRevoked) {
			t.Errorf("fault %d: not one other manifest", fault)
		}
		v := manifestVerifier(t, d)
		m, err := v.Verify(all[1].Raw)
		if err == nil {
			err = errors.Join(m.ValidAt(now), m.Answers(all[1].ID))
		}
		var e *rim.Error
		if got := errors.As(err, &e); got != (code != "") || got && e.Code != code {
			t.Errorf("fault %d: %v, expected %q", fault, err, code)
		}
		if fault != nvidia.RIMVintage {
			continue
		}
		first, err := v.Verify(honest[1].Raw)
		if err != nil {
			t.Fatal(err)
		}
		for i := range m.Measurements {
			if same := bytes.Equal(m.Measurements[i].Values[0], first.Measurements[i].Values[0]); same != (i != 9) {
				t.Errorf("vintage: index %d the same: %t", i, same)
			}
		}
	}
	o := options("rim")
	o.RIM = nvidia.RIMMissing
	if all := manifests(t, gpu(t, o)); len(all) != 1 || all[0].ID != honest[0].ID {
		t.Errorf("missing: %d manifests", len(all))
	}
	if files, err := gpu(t, o).Endorsements(); err != nil || files[honest[1].File()] != nil || files[honest[0].File()] == nil {
		t.Errorf("missing: %v", err)
	}
	o = options("rim")
	o.RIM = nvidia.RIMConflict
	if _, err := nvidia.NewSwitch(o); err == nil {
		t.Error("a switch with two manifests")
	}
}

// Every manifest is well-formed for a reader that knows nothing of it.
func TestManifestsAreXML(t *testing.T) {
	for _, d := range swids(t) {
		for _, m := range manifests(t, d) {
			resources := 0
			dec := xml.NewDecoder(bytes.NewReader(m.Raw))
			for {
				tok, err := dec.Token()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("%s: %v", m.ID, err)
				}
				if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "Resource" {
					for _, a := range e.Attr {
						if a.Name.Local == "index" && a.Value != strconv.Itoa(resources) {
							t.Errorf("%s: index %s at %d", m.ID, a.Value, resources)
						}
					}
					resources++
				}
			}
			if resources != 64 {
				t.Errorf("%s: %d resources", m.ID, resources)
			}
		}
	}
}

func BenchmarkEndorsements(b *testing.B) {
	d := gpu(b, options("bench"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Endorsements(); err != nil {
			b.Fatal(err)
		}
	}
}
