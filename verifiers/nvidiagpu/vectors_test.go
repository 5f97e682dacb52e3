// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/container"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"
)

const recordedNonce = "4cff7f5380ead8fad8ec2c531c110aca4302a88f603792801a8ca29ee151af2e"

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// wrapText makes a leaf of a hexadecimal report and a PEM chain.
func wrapText(tb testing.TB, arch string, report, chain []byte) (leaf, nonce []byte) {
	tb.Helper()
	raw := unhex(tb, string(report))
	nonce = raw[4 : 4+NonceSize]
	return nvidiatest.Array(tb, map[string]any{
		"arch": arch, "nonce": hex.EncodeToString(nonce),
		"evidence": base64.StdEncoding.EncodeToString(raw), "certificate": base64.StdEncoding.EncodeToString(chain),
	}), nonce
}

func mockLeaf(tb testing.TB) (leaf, nonce []byte) {
	return wrapText(tb, "HOPPER", mocks.AttestationReportData, mocks.ValidCertChainData)
}

func TestModuleMock(t *testing.T) {
	leaf, nonce := mockLeaf(t)
	if hex.EncodeToString(nonce) != recordedNonce {
		t.Fatalf("nonce %x", nonce)
	}
	v := newTest(t, verifiers.Deps{})
	for range 2 { // cold and warm
		a := appraise(t, v, leaf, nonce, at)
		wantGood(t, a, nonce)
		if want := []string{"nvidia-ueid:460032006552296075780760406069494258829212062021", "nvidia-pdi:ffeeb20009e0be49"}; !reflect.DeepEqual(a.Facts.Device, want) {
			t.Errorf("device %v", a.Facts.Device)
		}
		if a.Claims["hwmodel"] != "GH100 A01 GSP BROM" || a.Claims["root_sha256"] != pinnedRoot || a.Claims["fwid"] != "absent" || len(a.Claims["measurements"].(map[string]any)) < 26 {
			t.Errorf("claims %v", a.Claims)
		}
	}
	broken, _ := wrapText(t, "HOPPER", mocks.AttestationReportData, mocks.InvalidCertChainData)
	wantRefused(t, appraise(t, v, broken, nonce, at), verdict.ReasonChainInvalid)
	wantRefused(t, appraise(t, v, leaf, nonce, time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC)), verdict.ReasonExpired)
}

// The pinned root is the one that real devices send, byte for byte, and no
// other certificate with its name is.
func TestPinnedRoot(t *testing.T) {
	var last []byte
	for rest := mocks.ValidCertChainData; ; {
		block, more := pem.Decode(rest)
		if block == nil {
			break
		}
		last, rest = block.Bytes, more
	}
	if hexSum(last) != pinnedRoot {
		t.Fatalf("the recorded chain ends in %s", hexSum(last))
	}
	leaf, nonce := mockLeaf(t)
	if a := appraise(t, newTest(t, verifiers.Deps{}), leaf, nonce, at); a.Claims["root_sha256"] != pinnedRoot {
		t.Errorf("%v", a.Claims)
	}
	f := newFake(t)
	wantRefused(t, appraise(t, newTest(t, verifiers.Deps{}), f.Leaf(), f.Nonce, at), verdict.ReasonUnknownRoot)
}

const (
	sdkDir   = "nvidia/attestation-sdk/"
	sampled  = sdkDir + "testdata/sample_attestation_data/gpu/"
	serial   = sdkDir + "serialized_test_evidence/"
	nvtrust  = "nvidia/nvtrust/samples/"
	ppcieDir = "nvidia/nvtrust/ppcie/"
)

func TestRecordedReports(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for _, c := range []struct{ arch, report, chain, code, driver, vbios string }{
		{"HOPPER", nvtrust + "hopperAttestationReport.txt", nvtrust + "hopperCertChain.txt", "", "550.90.07", "96.00.9F.00.01"},
		{"HOPPER", sampled + "hopperAttestationReport.txt", sampled + "hopperCertChain.txt", "", "535.86.09", "96.00.5E.00.01"},
		{"HOPPER", sampled + "hopperAttestationReportExpired.txt", sampled + "hopperCertChainExpired.txt", "", "570.124.03", "96.00.5E.00.04"},
		{"HOPPER", sampled + "hopperAttestationReportInvalidSignature.txt", sampled + "hopperCertChain.txt", "signature-invalid", "", ""},
		{"BLACKWELL", sampled + "blackwellAttestationReport.txt", sampled + "blackwellCertChain.txt", "", "575.32", "97.00.88.00.0F"},
		{"HOPPER", sampled + "blackwellAttestationReport.txt", sampled + "blackwellCertChain.txt", "identity-mismatch", "", ""},
		{"HOPPER", sampled + "hopperAttestationReport.txt", nvtrust + "hopperCertChain.txt", "signature-invalid", "", ""},
		{"LS10", sdkDir + "testdata/switchAttestationReport.txt", sdkDir + "testdata/switchCertChain.txt", "unsupported-evidence", "", ""},
		{"HOPPER", sdkDir + "testdata/switchAttestationReport.txt", sdkDir + "testdata/switchCertChain.txt", "identity-mismatch", "", ""},
	} {
		t.Run(c.report+" as "+c.arch, func(t *testing.T) {
			leaf, nonce := wrapText(t, c.arch, vectors.Read(t, c.report), vectors.Read(t, c.chain))
			a := appraise(t, v, leaf, nonce, at)
			if c.code != "" {
				wantRefused(t, a, c.code)
				return
			}
			wantGood(t, a, nonce)
			if a.Claims[gpuClaim+"driver-version"] != c.driver || a.Claims[gpuClaim+"vbios-version"] != c.vbios {
				t.Errorf("claims %v", a.Claims)
			}
		})
	}
}

func TestRecordedLeaves(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for _, c := range []struct {
		file, code string
		devices    int
	}{
		{serial + "hopper_evidence.json", "", 1}, {serial + "hopper_evidence_cert_hold.json", "", 1},
		{serial + "multi_gpu_hopper.json", "", 4}, {sdkDir + "testdata/evidence_hopper_590_12.json", "", 1},
		{ppcieDir + "gpu_evidence.json", "", 8}, {"nvidia/veraison-services/blackwell-evidence.json", "", 1},
		{serial + "switch_evidence_ls10.json", "unsupported-evidence", 1}, {serial + "multi_switch_ls10.json", "unsupported-evidence", 4},
		{ppcieDir + "switch_evidence.json", "unsupported-evidence", 4},
	} {
		t.Run(c.file, func(t *testing.T) {
			raw := vectors.Read(t, c.file)
			parts, err := Scheme().Components(evidence.MediaType{Base: MediaType}, raw)
			if err != nil || len(parts) != c.devices {
				t.Fatalf("%d devices: %v", len(parts), err)
			}
			seen := map[string]bool{}
			for _, p := range parts {
				if !bytes.Contains(raw, p[1:len(p)-1]) {
					t.Fatal("the bytes of an element changed")
				}
				if c.code != "" {
					wantRefused(t, appraise(t, v, p, nil, at), c.code)
					continue
				}
				d, err := container.Decode(p)
				if err != nil {
					t.Fatal(err)
				}
				a := appraise(t, v, p, d.Nonce, at)
				wantGood(t, a, d.Nonce)
				for _, id := range a.Facts.Device {
					if seen[id] {
						t.Errorf("%s occurs twice", id)
					}
					seen[id] = true
				}
			}
			if c.devices > 1 && c.code == "" {
				wantRefused(t, appraise(t, v, raw, nil, at), pick(len(raw) > MaxEvidence, verdict.ReasonTooLarge, verdict.ReasonMalformed))
			}
		})
	}
}

func pick(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

// Eight GPUs and four switches of one machine: every GPU lists the four
// switches, by the PDI that is in the certificates of the switches.
func TestPeersAreTheSwitches(t *testing.T) {
	var switches []struct{ Certificate []byte }
	if err := json.Unmarshal(vectors.Read(t, ppcieDir+"switch_evidence.json"), &switches); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, s := range switches {
		_, rest := pem.Decode(s.Certificate)
		device, _ := pem.Decode(rest)
		if device == nil {
			t.Fatal("no second certificate")
		}
		// Certificate 1's serial number is 0x50 and the PDI.
		want = append(want, "nvidia-pdi:"+serialOf(t, device.Bytes)[2:])
	}
	slices.Sort(want)
	parts, err := Scheme().Components(evidence.MediaType{Base: MediaType}, vectors.Read(t, ppcieDir+"gpu_evidence.json"))
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, verifiers.Deps{})
	for i, p := range parts {
		a := appraise(t, v, p, nil, at)
		got := slices.Sorted(slices.Values(a.Facts.Peers))
		if !slices.Equal(got, want) {
			t.Errorf("gpu %d: peers %v, switches %v", i, got, want)
		}
		if a.Claims["feature-flag"] != "ppcie" || a.Claims["protected-pcie"] != "on" {
			t.Errorf("gpu %d: %v", i, a.Claims)
		}
	}
}

// serialOf is the serial number of a certificate in lower-case hexadecimal.
func serialOf(t *testing.T, der []byte) string {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", c.SerialNumber)
}
