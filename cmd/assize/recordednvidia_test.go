// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
)

const typeNVIDIA = "application/vnd.veraison.nvidia-gpu-evidence+json"

// Folders of recordings of NVIDIA's devices.
const (
	nvTrust  = "nvidia/nvtrust/"
	nvSDK    = "nvidia/attestation-sdk/testdata/"
	nvSample = nvSDK + "sample_attestation_data/"
	nvSerial = "nvidia/attestation-sdk/serialized_test_evidence/"
)

// nvidiaRecording is one file of recorded devices: a JSON array, or a report with
// its certificates. Only these have to be the same for all devices in it.
type nvidiaRecording struct {
	file, chain, arch string
	devices           int
	at, scheme        string
	manifests         string // what is known besides, see nvidiaManifests
	// tier is that of every device, whole that of the verdict, the same if it is "": it
	// is worse where a device works with others over links in clear that are not there,
	// and where one device is there four times.
	tier, whole, fresh string
	claims             string // hardware, configuration, executables
	codes              string
}

// nvidiaManifests are folders of manifests, by name: identifier or name of a file,
// and where it is recorded.
var nvidiaManifests = map[string]map[string]string{
	"none": {},
	// What is right for the recorded devices, as a store of NVIDIA's tools has it. The
	// mock is a device before production, with a VBIOS of a number that production has.
	"right": {
		"NV_GPU_VBIOS_1010_0200_882_96005E0001.xml":   nvTrust + "samples/1010_0200_882_96005E0001_PROD.swidtag",
		"NV_GPU_VBIOS_1010_0205_862_96005E0004.xml":   nvTrust + "samples/1010_0205_862_96005E0004_PROD.swidtag",
		"NV_SWITCH_BIOS_5612_0002_890_9610550001.xml": nvSDK + "switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml",
		"NV_GPU_DRIVER_GH100_550.144.03.xml":          nvSDK + "NV_GPU_DRIVER_GH100_550.144.03.xml",
	},
	"mock": {
		"NV_GPU_DRIVER_GH100_545.00.xml":            nvTrust + "samples/Driver_RIM_test_no_gpu.swidtag",
		"NV_GPU_VBIOS_1010_0200_882_96005E0001.xml": nvTrust + "samples/1010_0200_882_96005E0001_test_no_gpu.swidtag",
	},
	// What was edited, or is of another age.
	"wrong": {
		"NV_GPU_VBIOS_1010_0200_882_96005E0001.xml":   nvSDK + "sample_rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml",
		"NV_GPU_DRIVER_GH100_535.86.09.xml":           nvSDK + "sample_rims/NV_GPU_DRIVER_GH100_535.86.09_measurement_mismatch.xml",
		"NV_GPU_DRIVER_GH100_570.124.03.xml":          nvSDK + "sample_rims/NV_GPU_DRIVER_GH100_570.124.03_expired.xml",
		"NV_SWITCH_BIOS_5612_0002_890_9610550001.xml": nvSDK + "sample_rims/NV_SWITCH_BIOS_5612_0002_890_9610550001_invalid_signature.xml",
	},
}

var nvidiaRecordings = []nvidiaRecording{
	{file: "nvidia/go-nvtrust/attestationReport.txt", chain: "nvidia/go-nvtrust/gpuAkCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "mock",
		tier: "warning", fresh: "fresh", claims: "32 36 32", codes: "no-collateral no-reference-values revocation-unknown"},
	{file: "nvidia/go-nvtrust/attestationReport.txt", chain: "nvidia/go-nvtrust/gpuAkCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "none",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: "nvidia/go-nvtrust/attestationReport.txt", chain: "nvidia/go-nvtrust/gpuAkCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "wrong",
		tier: "contraindicated", fresh: "fresh", claims: "32 36 96", codes: "claim-not-asserted measurement-mismatch no-collateral"},
	{file: "nvidia/go-nvtrust/attestationReport.txt", chain: "nvidia/go-nvtrust/gpuAkCertChain.txt", arch: "HOPPER", at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "mock",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "expired no-collateral no-reference-values"},
	{file: "nvidia/go-nvtrust/attestationReport.txt", chain: "nvidia/go-nvtrust/invalidCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "mock",
		tier: "contraindicated", fresh: "not-established", claims: "99 99 99", codes: "chain-invalid"},
	{file: nvTrust + "samples/hopperAttestationReport.txt", chain: nvTrust + "samples/hopperCertChain.txt", arch: "HOPPER", at: "2025-06-11T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSample + "gpu/hopperAttestationReport.txt", chain: nvSample + "gpu/hopperCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSample + "gpu/hopperAttestationReport.txt", chain: nvSample + "gpu/hopperCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "wrong",
		tier: "contraindicated", fresh: "fresh", claims: "32 36 96", codes: "claim-not-asserted measurement-mismatch no-collateral"},
	{file: nvSample + "gpu/hopperAttestationReportExpired.txt", chain: nvSample + "gpu/hopperCertChainExpired.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "contraindicated", fresh: "fresh", claims: "32 36 96", codes: "claim-not-asserted measurement-mismatch no-collateral"},
	{file: nvSample + "gpu/hopperAttestationReportExpired.txt", chain: nvSample + "gpu/hopperCertChainExpired.txt", arch: "HOPPER", at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "wrong",
		tier: "contraindicated", fresh: "fresh", claims: "32 36 96", codes: "collateral-invalid no-collateral no-reference-values"},
	{file: nvSample + "gpu/hopperAttestationReportInvalidSignature.txt", chain: nvSample + "gpu/hopperCertChain.txt", arch: "HOPPER", at: "2024-01-15T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "contraindicated", fresh: "not-established", claims: "99 99 99", codes: "signature-invalid"},
	{file: nvSample + "gpu/blackwellAttestationReport.txt", chain: nvSample + "gpu/blackwellCertChain.txt", arch: "BLACKWELL", at: "2025-06-11T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSDK + "switchAttestationReport.txt", chain: nvSDK + "switchCertChain.txt", arch: "LS10", at: "2026-07-01T00:00:00Z", scheme: "nvidia-nvswitch", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 32", codes: "no-collateral no-reference-values revocation-unknown"},
	{file: nvSample + "switch/switchAttestationReport.txt", chain: nvSample + "switch/switchCertChain.txt", arch: "LS10", at: "2025-07-01T00:00:00Z", scheme: "nvidia-nvswitch", manifests: "wrong",
		tier: "contraindicated", fresh: "fresh", claims: "32 36 96", codes: "collateral-invalid no-collateral no-reference-values"},
	{file: nvSample + "switch/switchAttestationReportInvalidSignature.txt", chain: nvSample + "switch/switchCertChain.txt", arch: "LS10", at: "2026-07-01T00:00:00Z", scheme: "nvidia-nvswitch", manifests: "right",
		tier: "contraindicated", fresh: "not-established", claims: "99 99 99", codes: "signature-invalid"},
	{file: nvSDK + "evidence_hopper_590_12.json", at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", whole: "contraindicated", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSerial + "hopper_evidence.json", at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", whole: "contraindicated", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSerial + "hopper_evidence_cert_hold.json", at: "2025-06-11T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSerial + "multi_gpu_hopper.json", devices: 4, at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", whole: "contraindicated", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvSerial + "switch_evidence_ls10.json", at: "2026-07-01T00:00:00Z", scheme: "nvidia-nvswitch", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 32", codes: "no-collateral no-reference-values revocation-unknown"},
	{file: nvSerial + "multi_switch_ls10.json", devices: 4, at: "2026-07-01T00:00:00Z", scheme: "nvidia-nvswitch", manifests: "right",
		tier: "warning", whole: "contraindicated", fresh: "fresh", claims: "32 36 32", codes: "no-collateral no-reference-values revocation-unknown"},
	{file: nvTrust + "ppcie/gpu_evidence.json", devices: 8, at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", whole: "contraindicated", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: nvTrust + "ppcie/switch_evidence.json", devices: 4, at: "2026-07-01T00:00:00Z", scheme: "nvidia-nvswitch", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
	{file: "nvidia/veraison-services/blackwell-evidence.json", at: "2026-07-01T00:00:00Z", scheme: "nvidia-gpu", manifests: "right",
		tier: "warning", fresh: "fresh", claims: "32 36 33", codes: "no-collateral no-reference-values"},
}

// The name of a recording in messages.
func (r *nvidiaRecording) name() string { return r.file + "@" + r.at + "+" + r.manifests }

// leaf is the evidence and the challenge that its devices answer.
func (r *nvidiaRecording) leaf(t *testing.T) (raw, nonce []byte) {
	t.Helper()
	raw = vectors.Read(t, r.file)
	if r.chain != "" {
		report, err := hex.DecodeString(strings.TrimSpace(string(raw)))
		if err != nil {
			t.Fatal(err)
		}
		raw, err = json.Marshal([]map[string]string{{
			"arch": r.arch, "nonce": hex.EncodeToString(report[4:36]),
			"evidence": base64.StdEncoding.EncodeToString(report), "certificate": base64.StdEncoding.EncodeToString(vectors.Read(t, r.chain)),
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var devices []struct{ Evidence []byte }
	if err := json.Unmarshal(raw, &devices); err != nil {
		t.Fatal(err)
	}
	return raw, devices[0].Evidence[4:36]
}

// Every recording of a GPU or an NVSwitch says what its PROVENANCE table says,
// through the whole program, with manifests and without.
func TestNVIDIARecordings(t *testing.T) {
	folders := map[string]string{}
	for name, files := range nvidiaManifests {
		dir := t.TempDir()
		for as, file := range files {
			if err := os.WriteFile(filepath.Join(dir, as), vectors.Read(t, file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		folders[name] = dir
	}
	state := t.TempDir()
	for _, r := range nvidiaRecordings {
		t.Run(r.name(), func(t *testing.T) {
			raw, nonce := r.leaf(t)
			file := write(t, "evidence.cmw", one(t, typeNVIDIA, raw))
			o := assize(t, state, "appraise", file, "--at", r.at, "--endorsements", folders[r.manifests], "-o", "json",
				"--component-nonce", "part="+hex.EncodeToString(nonce))
			d := parse(t, o)
			if len(d.Components) != max(r.devices, 1) {
				t.Fatalf("%d components: %s", len(d.Components), o.err)
			}
			if whole := cmp.Or(r.whole, r.tier); d.Verdict.Tier != whole {
				t.Errorf("the verdict is %s, expected %s: %v", d.Verdict.Tier, whole, d.Verdict.Reasons)
			}
			for label, c := range d.Components {
				var codes []string
				for _, why := range c.Reasons {
					codes = append(codes, why.Code)
				}
				slices.Sort(codes)
				v := c.TrustVector
				got := fmt.Sprintf("%s, %s, %s, %d %d %d, %s", c.Scheme, c.Tier, c.Freshness, v["hardware"], v["configuration"], v["executables"], strings.Join(slices.Compact(codes), " "))
				if want := fmt.Sprintf("%s, %s, %s, %s, %s", r.scheme, r.tier, r.fresh, r.claims, r.codes); got != want {
					t.Errorf("%s: %s\nwant %s\n%v", label, got, want, c.Reasons)
				}
			}
		})
	}
}
