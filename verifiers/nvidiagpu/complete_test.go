// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	shared "github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
)

// simulatedAt is when the simulated machines are.
var simulatedAt = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// sharedMachines keeps what simulated machines have in common.
var sharedMachines = new(nvidia.Shared)

var simulatedDevice = pki.NewSeed("device")

// machine is a simulated GPU with its collateral.
type machine struct {
	tb    testing.TB
	gpu   *nvidia.Device
	files map[string][]byte
	item  bool
}

func simulate(tb testing.TB, o nvidia.Options) *machine {
	tb.Helper()
	o.Vendor, o.Device, o.Now = pki.NewSeed("vendor"), simulatedDevice, simulatedAt
	o.Shared = sharedMachines
	gpu, err := nvidia.NewGPU(o)
	if err != nil {
		tb.Fatal(err)
	}
	files, err := gpu.Endorsements()
	if err != nil {
		tb.Fatal(err)
	}
	return &machine{tb: tb, gpu: gpu, files: files, item: o.FSP}
}

// without removes files by a part of their name.
func (m *machine) without(part string) *machine {
	for name := range m.files {
		if strings.Contains(name, part) {
			delete(m.files, name)
		}
	}
	return m
}

func (m *machine) bundle() *endorsements.Bundle {
	m.tb.Helper()
	fsys := fstest.MapFS{}
	for name, raw := range m.files {
		if raw != nil {
			fsys[name] = &fstest.MapFile{Data: raw}
		}
	}
	b, warnings, err := endorsements.Load(fsys)
	if err != nil || len(warnings) > 0 {
		m.tb.Fatal(warnings, err)
	}
	return b
}

var simulatedNonce = bytes.Repeat([]byte{0x42}, NonceSize)

func (m *machine) input(when time.Time) verifiers.Input {
	m.tb.Helper()
	in := verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Nonce: simulatedNonce, Time: when}
	var err error
	if m.item {
		in.MediaType.Base = container.ItemType
		in.Evidence, err = m.gpu.Item(simulatedNonce)
	} else {
		in.Evidence, err = m.gpu.Evidence(simulatedNonce)
		in.Evidence = nvidia.Array(in.Evidence)
	}
	if err != nil {
		m.tb.Fatal(err)
	}
	return in
}

func (m *machine) verifier(policy string, b *endorsements.Bundle) *shared.Verifier {
	m.tb.Helper()
	roots, err := m.gpu.Roots()
	if err != nil {
		m.tb.Fatal(err)
	}
	d := verifiers.Deps{Endorsements: b, ExtraRoots: map[string][]*x509.Certificate{Name: roots}}
	if policy != "" {
		p, err := defaults().Parse([]byte("scheme: " + Name + "\n" + policy))
		if err != nil {
			m.tb.Fatal(err)
		}
		d.Policies = map[string]*appraisal.Policy{Name: p}
	}
	return newTest(m.tb, d).(*shared.Verifier)
}

func (m *machine) appraise(policy string) verdict.Appraisal {
	m.tb.Helper()
	a, err := m.verifier(policy, m.bundle()).Appraise(m.tb.Context(), m.input(simulatedAt))
	if err != nil {
		m.tb.Fatal(err)
	}
	return a
}

// vectorOf is hardware, configuration, executables, runtime-opaque and
// instance-identity.
func vectorOf(a verdict.Appraisal) string {
	return fmt.Sprint(a.Vector[verdict.Hardware], a.Vector[verdict.Configuration], a.Vector[verdict.Executables], a.Vector[verdict.RuntimeOpaque], a.Vector[verdict.InstanceIdentity])
}

const lenient = "parameters: {hopper_memory_encrypted: true}\n"

// TestComplete: with the status of the certificates and manifests nothing is
// missing, and no CoRIM of an operator is needed.
func TestComplete(t *testing.T) {
	for _, c := range []struct {
		name, policy string
		o            nvidia.Options
		want         string
		tier         verdict.Tier
		codes        []string
	}{
		{"Hopper", "", nvidia.Options{}, "2 3 3 0 0", verdict.TierAffirming, nil},
		{"Hopper, encrypted", lenient, nvidia.Options{}, "2 3 3 2 0", verdict.TierAffirming, nil},
		{"Hopper, isolated", "findings: {memory-isolated: {runtime-opaque: 32}}\n", nvidia.Options{}, "2 3 3 32 0", verdict.TierWarning, []string{"configuration"}},
		{"H200", lenient, nvidia.Options{H200: true}, "2 3 3 2 0", verdict.TierAffirming, nil},
		{"Blackwell", "", nvidia.Options{Arch: nvidia.Blackwell}, "2 3 3 2 0", verdict.TierAffirming, nil},
		{"FSP", "", nvidia.Options{Arch: nvidia.Blackwell, FSP: true}, "2 36 3 0 0", verdict.TierWarning, []string{"configuration"}},
		{"protected PCIe", "", nvidia.Options{Peers: []nvidia.PDI{{1}, {2}, {3}, {4}}}, "2 3 3 0 0", verdict.TierAffirming, nil},
		{"versions and mode on lists", "parameters: {allowed_drivers: ['590.48.01'], allowed_vbios: [97.00.e4.00.11], modes: [mpt]}\n",
			nvidia.Options{Arch: nvidia.Blackwell}, "2 2 3 2 0", verdict.TierAffirming, nil},
		{"versions on lists, any mode", "parameters: {allowed_drivers: ['590.48.01'], allowed_vbios: [97.00.E4.00.11]}\n",
			nvidia.Options{Arch: nvidia.Blackwell}, "2 3 3 2 0", verdict.TierAffirming, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := simulate(t, c.o).appraise(c.policy)
			if vectorOf(a) != c.want || a.Status() != c.tier || !slices.Equal(codes(a), c.codes) || a.PolicyID == "" {
				t.Errorf("%s %s %v", vectorOf(a), a.Status(), a.Reasons)
			}
			if a.Facts.PeersRequired != (c.name == "protected PCIe") {
				t.Errorf("peers required: %t", a.Facts.PeersRequired)
			}
		})
	}
}

// TestCompleteClaims: NVIDIA's claims, as version 3 of its service has them.
func TestCompleteClaims(t *testing.T) {
	a := simulate(t, nvidia.Options{}).appraise("")
	for name, want := range map[string]any{
		"measres": "success", "secboot": true, "dbgstat": "disabled", "oemid": "5703", gpuClaim + "mode": "spt",
		gpuClaim + "driver-rim-fetched": true, gpuClaim + "driver-rim-signature-verified": true, gpuClaim + "driver-rim-schema-validated": true,
		gpuClaim + "driver-rim-version-match": true, gpuClaim + "driver-rim-measurements-available": true,
		gpuClaim + "vbios-rim-fetched": true, gpuClaim + "vbios-rim-signature-verified": true, gpuClaim + "vbios-rim-version-match": true,
		gpuClaim + "vbios-index-no-conflict": true, gpuClaim + "attestation-report-nonce-match": true,
	} {
		if a.Claims[name] != want {
			t.Errorf("claim %s is %v", name, a.Claims[name])
		}
	}
	for _, name := range []string{"driver-rim-cert-chain", "vbios-rim-cert-chain", "attestation-report-cert-chain"} {
		c, _ := a.Claims[gpuClaim+name].(map[string]any)
		if c["x-nvidia-cert-status"] != "valid" || c["x-nvidia-cert-ocsp-status"] != "good" || c["x-nvidia-cert-ocsp-response-valid"] != true || c["x-nvidia-cert-expiration-date"] == nil {
			t.Errorf("%s: %v", name, c)
		}
	}
	if a.Claims["x-nvidia-mismatch-measurement-records"] != nil {
		t.Error("records of mismatches without one")
	}
	first := a.Claims["revocation"].([]any)[0].(map[string]any)
	if first["position"] != 1 || first["status"] != "good" || first["next_update"] != "2026-11-21T12:00:00Z" || first["this_update"] == nil || first["responder"] == nil {
		t.Errorf("%v", first)
	}
}

// TestStatusAgesWithTime: what was good is asked again at every use, by a verifier
// that remembers the responses.
func TestStatusAgesWithTime(t *testing.T) {
	m := simulate(t, nvidia.Options{Arch: nvidia.Blackwell})
	v := m.verifier("", m.bundle())
	for _, c := range []struct {
		after time.Duration
		want  string
		words string
	}{
		{0, "2 3 3 2 0", ""}, {23 * time.Hour, "2 3 3 2 0", ""},
		{25 * time.Hour, "32 36 32 0 0", "the response of 2026-11-20T12:00:00Z ended at 2026-11-21T12:00:00Z"},
		{0, "2 3 3 2 0", ""}, {-24 * time.Hour, "32 36 32 0 0", "not valid yet"},
	} {
		a, err := v.Appraise(t.Context(), m.input(simulatedAt.Add(c.after)))
		if err != nil || vectorOf(a) != c.want || !strings.Contains(fmt.Sprint(a.Reasons), c.words) {
			t.Errorf("after %s: %s %v %v", c.after, vectorOf(a), a.Reasons, err)
		}
		if c.words != "" && (a.Claims[gpuClaim+"attestation-report-cert-chain"].(map[string]any)["x-nvidia-cert-ocsp-response-valid"] != false) {
			t.Errorf("after %s: %v", c.after, a.Claims)
		}
	}
}

// TestRenew: another bundle counts at once, and the old verifier stays as it was.
func TestRenew(t *testing.T) {
	m := simulate(t, nvidia.Options{Arch: nvidia.Blackwell})
	empty := m.verifier("", nil)
	next, err := empty.Renew(m.bundle())
	if err != nil {
		t.Fatal(err)
	}
	last, err := next.(verifiers.Renewer).Renew(nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range []verifiers.Verifier{empty, next, last, next, empty} {
		want := "32 36 33 0 0"
		if v == next {
			want = "2 3 3 2 0"
		}
		if a, err := v.Appraise(t.Context(), m.input(simulatedAt)); err != nil || vectorOf(a) != want {
			t.Errorf("%d: %s %v %v", i, vectorOf(a), a.Reasons, err)
		}
	}
}

// TestNeeds: what a component needs is named, in the form that a source takes, and
// nothing of what cannot be read.
func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		o    nvidia.Options
		rims string
	}{
		{nvidia.Options{}, "[NV_GPU_DRIVER_GH100_590.12 NV_GPU_VBIOS_G520_0200_885_9600A50001]"},
		{nvidia.Options{H200: true}, "[NV_GPU_DRIVER_GH100_590.12 NV_GPU_VBIOS_G520_0280_895_9600A50003]"},
		{nvidia.Options{Arch: nvidia.Blackwell}, "[NV_GPU_CC_DRIVER_GB100_590.48.01 NV_GPU_VBIOS_G525_0220_886_9700E40011]"},
		{nvidia.Options{Arch: nvidia.Blackwell, FSP: true}, "[NV_GPU_VBIOS_GB100_065C_0100000001]"},
	} {
		m := simulate(t, c.o)
		in := m.input(simulatedAt)
		var rims []string
		status := 0
		for _, n := range Scheme().Needs(in.MediaType, in.Evidence) {
			switch n.Kind {
			case endorsements.NeedNVIDIARIM:
				rims = append(rims, n.RIM)
			case endorsements.NeedNVIDIAOCSP:
				want, err := endorsements.OCSPNeed(m.gpu.Chain()[status+1], m.gpu.Chain()[status+2])
				if err != nil || n != want {
					t.Errorf("%+v, expected %+v, %v", n, want, err)
				}
				status++
			}
			if _, err := n.Items(); err != nil {
				t.Errorf("%+v: %v", n, err)
			}
		}
		if fmt.Sprint(rims) != c.rims || status != 3 {
			t.Errorf("%v and %d certificates, expected %s", rims, status, c.rims)
		}
		for n := range len(in.Evidence) / 97 {
			Scheme().Needs(in.MediaType, in.Evidence[:n*97]) // must not panic
		}
	}
	f := newFake(t).with(opaqueChipSKU, []byte("../x\x00"))
	for _, n := range Scheme().Needs(evidence.MediaType{Base: MediaType}, f.Leaf()) {
		if strings.Contains(n.RIM, "VBIOS") {
			t.Errorf("%+v", n)
		}
	}
}
