// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

func endorsementsOf(t *testing.T, m *Machine) map[string][]byte {
	t.Helper()
	out, err := m.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A trust file has, under the name of each of NVIDIA's schemes, the root of devices
// and the root of manifests.
func TestTrustHasBothRoots(t *testing.T) {
	raw, err := made(t, Description{Name: "t", GPUs: GPUs{Count: 2}, Switches: Set{Count: 1}}).Trust()
	if err != nil {
		t.Fatal(err)
	}
	roots, err := trust.ParseRoots(raw)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []Kind{KindGPU, KindSwitch} {
		var names []string
		for _, c := range roots.Schemes[string(kind)] {
			names = append(names, c.Subject.CommonName)
		}
		if want := []string{"Assize Simulated NVIDIA Device Identity CA", "Assize Simulated CoRIM signing Root CA"}; !slices.Equal(names, want) {
			t.Errorf("%s: %q, expected %q", kind, names, want)
		}
	}
}

// Manifests of a GPU are one file for all of them, also when that of one is faulty;
// answers about a certificate are one file each.
func TestCollateralFaults(t *testing.T) {
	d := Description{Name: "c", CPU: CPU{Kind: "none"}, GPUs: GPUs{Count: 2}, Switches: Set{Count: 1}}
	honest := endorsementsOf(t, made(t, d))
	const vbios, bios = "NV_GPU_VBIOS_G520_0200_885_9600A50001.xml", "NV_SWITCH_BIOS_5612_0002_890_9610730001.xml"
	for _, name := range []string{vbios, bios, "NV_GPU_DRIVER_GH100_590.12.xml"} {
		if honest[name] == nil {
			t.Errorf("no %s among %v", name, slices.Sorted(maps.Keys(honest)))
		}
	}
	for _, c := range []struct {
		fault         string
		changed, gone int
		file          string
	}{
		{"gpu/0:rim-missing", 0, 1, vbios}, {"gpu/0:rim-altered", 1, 0, vbios}, {"gpu/1:rim-wrong-signer", 1, 0, vbios},
		{"gpu/0:rim-vintage", 1, 0, vbios}, {"gpu/0:rim-other-version", 1, 0, vbios}, {"gpu/0:rim-conflict", 1, 0, vbios},
		{"switch/0:rim-missing", 0, 1, bios}, {"switch/0:rim-altered", 1, 0, bios}, {"gpu/0:rim-revoked", 1, 0, "nvidia-ocsp-"},
		{"gpu/0:held", 1, 0, "nvidia-ocsp-41"}, {"gpu/0:revoked", 1, 0, "nvidia-ocsp-41"}, {"gpu/1:status-stale", 1, 0, "nvidia-ocsp-41"},
		{"gpu/1:status-unknown", 1, 0, "nvidia-ocsp-41"}, {"gpu/1:status-missing", 0, 1, "nvidia-ocsp-41"}, {"switch/0:status-missing", 0, 1, "nvidia-ocsp-50"},
	} {
		f, err := ParseFault(c.fault)
		if err != nil {
			t.Fatal(err)
		}
		files := endorsementsOf(t, made(t, d, f))
		changed, gone := 0, 0
		for name, raw := range honest {
			got, there := files[name]
			switch {
			case !there:
				gone++
			case !bytes.Equal(got, raw):
				changed++
			default:
				continue
			}
			if !strings.HasPrefix(name, c.file) {
				t.Errorf("%s: %s is another", c.fault, name)
			}
		}
		if changed != c.changed || gone != c.gone || len(files) != len(honest)-gone {
			t.Errorf("%s: %d files are others, %d are gone, %d of %d", c.fault, changed, gone, len(files), len(honest))
		}
	}
	for _, text := range []string{"gpu/0:other-mode", "gpu/0:rim-conflict", "gpu/0:rim-vintage"} {
		f, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(Options{Machine: Description{Name: "x", GPUs: GPUs{Count: 1, Kind: "blackwell-fsp"}}, Now: testNow, Faults: []Fault{f}}); err == nil {
			t.Errorf("%s of a Blackwell with FSP", text)
		}
	}
	if _, err := New(Options{Machine: Description{Name: "x", GPUs: GPUs{Count: 1}}, Now: testNow, Faults: []Fault{{"gpu/0", OneSidedLink}}}); err == nil {
		t.Error("a fault of links without switches")
	}
}

// The kinds of GPUs, and that their documents go where each belongs.
func TestKindsOfGPUs(t *testing.T) {
	for kind, manifest := range map[string]string{
		"hopper": "NV_GPU_VBIOS_G520_0200_885_9600A50001.xml", "h200": "NV_GPU_VBIOS_G520_0280_895_9600A50003.xml",
		"blackwell": "NV_GPU_CC_DRIVER_GB100_590.48.01.xml", "blackwell-fsp": "NV_GPU_VBIOS_GB100_065C_0100000001.corim",
	} {
		m := made(t, Description{Name: "k", CPU: CPU{Kind: "none"}, GPUs: GPUs{Count: 1, Kind: kind}})
		files, err := m.Files()
		if err != nil {
			t.Fatal(err)
		}
		_, corim := files["reference-values/nvidia-gpu.corim"]
		if files["endorsements/"+manifest] == nil || corim == (kind == "blackwell-fsp") {
			t.Errorf("%s: %v", kind, slices.Sorted(maps.Keys(files)))
		}
	}
}

// With roots and endorsements alone, and no CoRIM of ours, an honest device of every
// kind is genuine and its firmware proven. An FSP does not say in which mode of
// confidential computing the GPU is, so its configuration is open.
func TestManifestsProveFirmware(t *testing.T) {
	for _, c := range []struct {
		d    Description
		conf verdict.Claim
	}{
		{Description{GPUs: GPUs{Count: 1}}, verdict.ClaimApprovedBoot},
		{Description{GPUs: GPUs{Count: 1, Kind: "h200"}}, verdict.ClaimApprovedBoot},
		{Description{GPUs: GPUs{Count: 1, Kind: "blackwell"}}, verdict.ClaimApprovedBoot},
		{Description{GPUs: GPUs{Count: 1, Kind: "blackwell-fsp"}}, verdict.ClaimNoVisibility},
		{Description{GPUs: GPUs{Count: 1}, Switches: Set{Count: 1}}, verdict.ClaimApprovedBoot},
	} {
		c.d.Name, c.d.CPU.Kind = "p", "none"
		m := made(t, c.d)
		w := worldOf(t, m)
		w.index = nil
		composite, err := m.Attest(testNonce[:32])
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range composite.Leaves {
			a, ok := w.appraise(t, l, testNonce[:32])
			v := a.Vector
			if !ok || v[verdict.Hardware] != verdict.ClaimApproved || v[verdict.Executables] != verdict.ClaimApprovedBoot || v[verdict.Configuration] != c.conf {
				t.Errorf("%+v, %s: %v %v", c.d, l.Path, v, a.Reasons)
			}
		}
		w.deps.ExtraRoots = nil
		if a, _ := w.appraise(t, composite.Leaves[0], testNonce[:32]); a.Status() != verdict.TierContraindicated {
			t.Errorf("%+v without roots: %v", c.d, a.Vector)
		}
	}
}
