// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/internal/vectors"
)

// shared spares making the vendor's certificates more than once.
var shared nvidia.Shared

var simNow = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// gpu is a simulated device and the folder that goes with it.
func gpu(t *testing.T, arch string, status nvidia.OCSPFault) (*nvidia.Device, fstest.MapFS) {
	t.Helper()
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: simNow, Arch: arch, Status: status, Shared: &shared})
	if err != nil {
		t.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	for name, raw := range files {
		if raw != nil {
			out[name] = &fstest.MapFile{Data: raw}
		}
	}
	return d, out
}

func loaded(t *testing.T, files fstest.MapFS) *endorsements.Bundle {
	t.Helper()
	b, w, err := endorsements.Load(files)
	if err != nil || len(w) != 0 {
		t.Fatal(w, err)
	}
	return b
}

func withRoots(t *testing.T, d *nvidia.Device) *check.Checker {
	t.Helper()
	roots, err := d.Roots()
	if err != nil {
		t.Fatal(err)
	}
	c, err := check.New(roots...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Recorded manifests hold up to NVIDIA's root; altered ones and those of another
// identifier do not.
func TestRecordedManifests(t *testing.T) {
	const dir = "nvidia/attestation-sdk/testdata/"
	files := fstest.MapFS{}
	for file, name := range map[string]string{
		dir + "NV_GPU_DRIVER_GH100_550.144.03.xml":                                        "NV_GPU_DRIVER_GH100_550.144.03.xml",
		dir + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml":                "NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
		"nvidia/nvtrust/samples/1010_0200_882_96005E0001_PROD.swidtag":                    "nameless.swidtag",
		dir + "sample_rims/NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml": "bad1.xml",
		dir + "incorrect_signature_driver_rim.xml":                                        "bad2.xml",
		dir + "incorrect_cert_chain_driver_rim.xml":                                       "bad3.xml",
	} {
		files[name] = &fstest.MapFile{Data: vectors.Read(t, file)}
	}
	files["NV_GPU_DRIVER_GH100_550.90.07.xml"] = files["NV_GPU_DRIVER_GH100_550.144.03.xml"] // of another version
	n := 0
	for _, r := range checker(t).All(loaded(t, files)) {
		n++
		bad := strings.HasPrefix(r.Name, "bad") || strings.Contains(r.Name, "550.90.07")
		if bad != errors.Is(r.Err, check.ErrSignature) || !bad && r.Root != "NVIDIA CoRIM signing Root CA" || errors.Is(r.Err, check.ErrNoIssuer) {
			t.Errorf("%s: %q %v", r.Name, r.Root, r.Err)
		}
	}
	if n != len(files) {
		t.Errorf("%d of %d documents", n, len(files))
	}
}

// A simulated device: its manifests hold, and so do the responses about who signed
// them, whose issuers are beside the manifests. Those about the device can only be
// checked with its certificates.
func TestSimulatedCollateral(t *testing.T) {
	for _, arch := range []string{nvidia.Hopper, nvidia.Blackwell} {
		d, files := gpu(t, arch, nvidia.OCSPHonest)
		count := func(c *check.Checker, files fstest.MapFS) (holds, unknown, bad int) {
			for _, r := range c.All(loaded(t, files)) {
				if ocsp := r.Item.Kind == endorsements.ItemNVOCSP; ocsp != (r.Status == endorsements.StatusGood) {
					t.Errorf("%s: status %q", r.Name, r.Status)
				}
				switch {
				case r.Err == nil && r.Root != "":
					holds++
				case errors.Is(r.Err, check.ErrNoIssuer) && !errors.Is(r.Err, check.ErrSignature):
					unknown++
				default:
					bad++
				}
			}
			return holds, unknown, bad
		}
		c := withRoots(t, d)
		holds, unknown, bad := count(c, files)
		if holds < 5 || unknown != 2 || bad != 0 {
			t.Errorf("%s: %d hold, of %d the issuer is not known, %d are bad", arch, holds, unknown, bad)
		}
		whole := maps.Clone(files)
		whole["chain.pem"] = &fstest.MapFile{Data: pki.PEM(d.Chain()...)}
		if now, unknown, bad := count(c, whole); now != holds+2 || unknown != 0 || bad != 0 {
			t.Errorf("%s, with the chain: %d hold, %d unknown, %d bad", arch, now, unknown, bad)
		}
		// Without the roots nothing holds, also what chains to what lies in the folder.
		if holds, _, bad := count(checker(t), whole); holds != 0 || bad == 0 {
			t.Errorf("%s, roots of nobody: %d hold", arch, holds)
		}
	}
}

// Who may not answer for the issuer is found out where the issuer is known, and a
// bad signature in any case.
func TestResponders(t *testing.T) {
	for fault, bad := range map[nvidia.OCSPFault]bool{
		nvidia.OCSPWrongResponder: true, nvidia.OCSPNoUsage: true, nvidia.OCSPForged: true,
		nvidia.OCSPRevoked: false, nvidia.OCSPUnknown: false, nvidia.OCSPEndless: false,
	} {
		d, files := gpu(t, nvidia.Hopper, fault)
		serial := hex.EncodeToString(d.Chain()[1].SerialNumber.Bytes())
		found := func(files fstest.MapFS) error {
			for _, r := range withRoots(t, d).All(loaded(t, files)) {
				if r.Item.Serial == serial {
					return r.Err
				}
			}
			t.Fatal("no response about certificate 1")
			return nil
		}
		alone := found(files)
		if want := fault == nvidia.OCSPForged; want != errors.Is(alone, check.ErrSignature) || !want && !errors.Is(alone, check.ErrNoIssuer) {
			t.Errorf("fault %d without the issuer: %v", fault, alone)
		}
		files["chain.pem"] = &fstest.MapFile{Data: pki.PEM(d.Chain()...)}
		if err := found(files); bad != errors.Is(err, check.ErrSignature) || !bad && err != nil {
			t.Errorf("fault %d: %v", fault, err)
		}
	}
}

// A cache keeps a response whose issuer it does not know, and no forged one.
func TestDocumentsOfNVIDIA(t *testing.T) {
	d, files := gpu(t, nvidia.Hopper, nvidia.OCSPHonest)
	_, forged := gpu(t, nvidia.Hopper, nvidia.OCSPForged)
	own := withRoots(t, d)
	kinds := map[endorsements.ItemKind]int{}
	for name, f := range files {
		b := loaded(t, fstest.MapFS{name: f})
		for st := range b.Statements() {
			kinds[st.Item.Kind]++
			if err := own.Document(st.Item, b); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			// A response names no root, a manifest does.
			if err := checker(t).Document(st.Item, b); (err == nil) != (st.Item.Kind == endorsements.ItemNVOCSP) {
				t.Errorf("%s with the roots of nobody: %v", name, err)
			}
		}
	}
	if kinds[endorsements.ItemNVRIM] < 2 || kinds[endorsements.ItemNVOCSP] < 5 {
		t.Errorf("%v", kinds)
	}
	refused := 0
	for name, f := range forged {
		if bytes.Equal(f.Data, files[name].Data) {
			continue
		}
		b := loaded(t, fstest.MapFS{name: f})
		for st := range b.Statements() {
			if err := own.Document(st.Item, b); errors.Is(err, check.ErrSignature) {
				refused++
			}
		}
	}
	if refused != 1 {
		t.Errorf("%d forged documents are refused", refused)
	}
}

// A CoRIM of which a byte was changed is nobody's, whoever is in its chain.
func TestAlteredCoRIM(t *testing.T) {
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: simNow, Arch: nvidia.Blackwell, FSP: true, Shared: &shared})
	if err != nil {
		t.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	c := withRoots(t, d)
	n := 0
	for name, file := range files {
		b, err := endorsements.Parse(name, file)
		if err != nil {
			t.Fatal(err)
		}
		if m := b.Manifests(); len(m) != 1 || m[0].Format != endorsements.ManifestCoRIM {
			continue
		}
		n++
		if r := checker(t).All(b); len(r) != 1 || !errors.Is(r[0].Err, check.ErrSignature) {
			t.Errorf("%s without the roots: %v", name, r)
		}
		// The last byte is of the signature, the first of these letters of what is signed.
		for _, at := range []int{len(file) - 1, bytes.Index(file, []byte("NV_"))} {
			raw := bytes.Clone(file)
			raw[at] ^= 1
			for _, r := range c.All(loaded(t, fstest.MapFS{name: {Data: raw}})) {
				if !errors.Is(r.Err, check.ErrSignature) {
					t.Errorf("%s, byte %d: %v", name, at, r.Err)
				}
			}
		}
	}
	if n == 0 {
		t.Error("no CoRIM")
	}
}
