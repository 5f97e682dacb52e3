// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/binary"
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
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
	"github.com/assize/assize/verifiers/verifiertest"
)

const (
	sdkDir   = "nvidia/attestation-sdk/"
	sampled  = sdkDir + "testdata/sample_attestation_data/"
	serial   = sdkDir + "serialized_test_evidence/"
	nvtrust  = "nvidia/nvtrust/samples/"
	ppcieDir = "nvidia/nvtrust/ppcie/"

	// pinnedRoot is the SHA-256 of the certificate "NVIDIA Device Identity CA".
	pinnedRoot = "102bf659d5419614c9d8e6aecebc80454eb26b1df6a769ac720b9a690b167b48"
)

// wrapped makes a leaf of a recorded hexadecimal report and PEM chain.
func wrapped(t *testing.T, arch, report, chain string) (leaf, nonce []byte) {
	t.Helper()
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, report))))
	if err != nil {
		t.Fatal(err)
	}
	return nvidiatest.Array(t, nvidiatest.Object(arch, raw, vectors.Read(t, chain))), raw[4 : 4+NonceSize]
}

func TestRecordedReports(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for _, c := range []struct{ arch, report, chain, code string }{
		{"LS10", sdkDir + "testdata/switchAttestationReport.txt", sdkDir + "testdata/switchCertChain.txt", ""},
		{"LS10", sampled + "switch/switchAttestationReport.txt", sampled + "switch/switchCertChain.txt", ""},
		{"LS10", sampled + "switch/switchAttestationReportInvalidSignature.txt", sampled + "switch/switchCertChain.txt", "signature-invalid"},
		{"HOPPER", sampled + "switch/switchAttestationReport.txt", sampled + "switch/switchCertChain.txt", "unsupported-evidence"},
		{"LS10", nvtrust + "hopperAttestationReport.txt", nvtrust + "hopperCertChain.txt", "identity-mismatch"},
		{"LS10", sampled + "gpu/blackwellAttestationReport.txt", sampled + "gpu/blackwellCertChain.txt", "identity-mismatch"},
		{"LS10", nvtrust + "hopperAttestationReport.txt", sampled + "switch/switchCertChain.txt", "signature-invalid"},
		{"LS10", sampled + "switch/switchAttestationReport.txt", nvtrust + "hopperCertChain.txt", "identity-mismatch"},
	} {
		t.Run(c.report+" as "+c.arch, func(t *testing.T) {
			leaf, nonce := wrapped(t, c.arch, c.report, c.chain)
			a := appraise(t, v, leaf, nonce, at)
			if c.code != "" {
				wantRefused(t, a, c.code)
				return
			}
			wantGood(t, a, nonce)
			if a.Claims["root_sha256"] != pinnedRoot || a.Claims["x-nvidia-switch-bios-version"] != "96.10.55.00.01" ||
				a.Claims["lock-status"] != "locked" || a.Claims["opaque-unknown"] != nil || a.Claims["measurement-blocks"] != 31 {
				t.Errorf("claims %v", a.Claims)
			}
		})
	}
}

func TestRecordedConformance(t *testing.T) {
	leaf, nonce := wrapped(t, "LS10", sampled+"switch/switchAttestationReport.txt", sampled+"switch/switchCertChain.txt")
	verifiertest.Run(t, Scheme(), verifiertest.Fixture{
		Name: "LS10", MediaType: evidence.MediaType{Base: MediaTypeAlias}, Evidence: leaf, Nonce: nonce,
		Time: at, Before: at.AddDate(-30, 0, 0), Want: verdict.TierWarning,
	})
}

func TestRecordedLeaves(t *testing.T) {
	v := newTest(t, verifiers.Deps{})
	for _, c := range []struct {
		file, code string
		devices    int
	}{
		{serial + "switch_evidence_ls10.json", "", 1}, {serial + "multi_switch_ls10.json", "", 4}, {ppcieDir + "switch_evidence.json", "", 4},
		{serial + "hopper_evidence.json", "unsupported-evidence", 1}, {ppcieDir + "gpu_evidence.json", "unsupported-evidence", 8},
		{"nvidia/veraison-services/blackwell-evidence.json", "unsupported-evidence", 1},
	} {
		t.Run(c.file, func(t *testing.T) {
			raw := vectors.Read(t, c.file)
			parts, err := Scheme().Components(evidence.MediaType{Base: MediaType}, raw)
			if err != nil || len(parts) != c.devices {
				t.Fatalf("%d devices: %v", len(parts), err)
			}
			for _, p := range parts {
				var d []struct{ Nonce string }
				if err := json.Unmarshal(p, &d); err != nil {
					t.Fatal(err)
				}
				nonce, err := hex.DecodeString(d[0].Nonce)
				if err != nil {
					t.Fatal(err)
				}
				a := appraise(t, v, p, nonce, at)
				if c.code != "" {
					wantRefused(t, a, c.code)
					continue
				}
				wantGood(t, a, nonce)
			}
		})
	}
}

// Eight GPUs and four switches of one machine: every switch lists the eight
// GPUs, by the PDI that is in the certificates of the GPUs, and they have the
// four places of a board.
func TestPeersAreTheGPUs(t *testing.T) {
	var gpus []struct{ Certificate []byte }
	if err := json.Unmarshal(vectors.Read(t, ppcieDir+"gpu_evidence.json"), &gpus); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, g := range gpus {
		_, rest := pem.Decode(g.Certificate)
		block, _ := pem.Decode(rest)
		if block == nil {
			t.Fatal("no second certificate")
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, "nvidia-pdi:"+hex.EncodeToString(c.SerialNumber.Bytes()[1:]))
	}
	slices.Sort(want)
	parts, err := Scheme().Components(evidence.MediaType{Base: MediaType}, vectors.Read(t, ppcieDir+"switch_evidence.json"))
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, verifiers.Deps{})
	places := map[any]bool{}
	for i, p := range parts {
		a := appraise(t, v, p, nil, at)
		if got := slices.Sorted(slices.Values(a.Facts.Peers)); !slices.Equal(got, want) {
			t.Errorf("switch %d: peers %v, GPUs %v", i, got, want)
		}
		places[a.Claims["position"]] = true
	}
	if !reflect.DeepEqual(places, map[any]bool{0: true, 1: true, 2: true, 3: true}) {
		t.Errorf("places %v", places)
	}
}

// Every bit of the signed report counts.
func TestEveryReportByteFlip(t *testing.T) {
	leaf, nonce := wrapped(t, "LS10", sampled+"switch/switchAttestationReport.txt", sampled+"switch/switchCertChain.txt")
	v := newTest(t, verifiers.Deps{})
	wantGood(t, appraise(t, v, leaf, nonce, at), nonce)
	report, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, sampled+"switch/switchAttestationReport.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	chain := vectors.Read(t, sampled+"switch/switchCertChain.txt")
	step := 1
	if testing.Short() {
		step = 61
	}
	for i := 0; i < len(report); i += step {
		bad := bytes.Clone(report)
		bad[i] ^= 1 << (i / step % 8)
		m := nvidiatest.Object("LS10", bad, chain)
		m["nonce"] = hex.EncodeToString(nonce)
		if a := appraise(t, v, nvidiatest.Array(t, m), nonce, at); a.Status() != verdict.TierContraindicated {
			t.Fatalf("byte %d: %v", i, a.Status())
		}
	}
}

// Every byte of every certificate, with a cache that knows the good chain.
func TestEveryCertificateByteFlip(t *testing.T) {
	leaf, nonce := wrapped(t, "LS10", sampled+"switch/switchAttestationReport.txt", sampled+"switch/switchCertChain.txt")
	v := newTest(t, verifiers.Deps{})
	wantGood(t, appraise(t, v, leaf, nonce, at), nonce)
	report, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, sampled+"switch/switchAttestationReport.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []*pem.Block
	for rest := vectors.Read(t, sampled+"switch/switchCertChain.txt"); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		blocks = append(blocks, b)
	}
	step := 1
	if testing.Short() {
		step = 61
	}
	for pos := range blocks {
		for i := 0; i < len(blocks[pos].Bytes); i += step {
			var chain []byte
			for n, b := range blocks {
				der := bytes.Clone(b.Bytes)
				if n == pos {
					der[i] ^= 1 << (i % 8)
				}
				chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: b.Type, Bytes: der})...)
			}
			a := appraise(t, v, nvidiatest.Array(t, nvidiatest.Object("LS10", report, chain)), nonce, at)
			if a.Status() != verdict.TierContraindicated || len(a.Facts.Device) > 0 {
				t.Fatalf("certificate %d, byte %d: %v, facts %v", pos, i, a.Status(), a.Facts)
			}
		}
	}
	if len(blocks) != 5 {
		t.Errorf("%d certificates", len(blocks))
	}
}

// What a switch says about itself, against the output of NVIDIA's own parser for
// the same report. That the report is split alike is a test of the scheme for GPUs.
func TestDetailsAgreeWithNVIDIA(t *testing.T) {
	var o struct {
		OpaqueData struct {
			OpaqueDataField struct {
				PDI      string   `json:"OPAQUE_FIELD_ID_DEVICE_PDI"`
				Disabled []int    `json:"OPAQUE_FIELD_ID_DISABLED_PORTS"`
				Counters []uint32 `json:"OPAQUE_FIELD_ID_MSRSCNT"`
				GPUs     []string `json:"OPAQUE_FIELD_ID_SWITCH_GPU_PDIS"`
				Lock     string   `json:"OPAQUE_FIELD_ID_SWITCH_LOCK_STATUS"`
				Ports    []string `json:"OPAQUE_FIELD_ID_SWITCH_PORT"`
				Position string   `json:"OPAQUE_FIELD_ID_SWITCH_POSITION_ID"`
				BIOS     string   `json:"OPAQUE_FIELD_ID_VBIOS_VERSION"`
			}
		}
	}
	if err := json.Unmarshal(vectors.Read(t, sdkDir+"testdata/switch_spdm_parsed_output.json"), &o); err != nil {
		t.Fatal(err)
	}
	want := o.OpaqueData.OpaqueDataField
	leaf, nonce := wrapped(t, "LS10", sdkDir+"testdata/switchAttestationReport.txt", sdkDir+"testdata/switchCertChain.txt")
	a := appraise(t, newTest(t, verifiers.Deps{}), leaf, nonce, at)
	wantGood(t, a, nonce)

	var counters []byte
	for _, n := range want.Counters {
		counters = binary.LittleEndian.AppendUint32(counters, n)
	}
	var peers []string
	for _, g := range want.GPUs {
		if name := "nvidia-pdi:" + strings.TrimPrefix(g, "0x"); !slices.Contains(peers, name) { // the parser repeats one, as the switch does
			peers = append(peers, name)
		}
	}
	for name, c := range map[string]struct{ got, want any }{
		"pdi":             {a.Claims[switchClaim+"pdi"], strings.TrimPrefix(want.PDI, "0x")},
		"counters":        {a.Claims["measurement-counters"], hex.EncodeToString(counters)},
		"GPUs":            {a.Facts.Peers, peers},
		"BIOS version":    {"0x" + hex.EncodeToString([]byte(a.Claims[switchClaim+"bios-version"].(string))), want.BIOS},
		"lock status":     {map[string]string{"0x0000": "unlocked", "0x0100": "locked"}[want.Lock], a.Claims["lock-status"]},
		"position":        {fmt.Sprintf("0x%02x00", a.Claims["position"]), want.Position},
		"number of GPUs":  {len(want.GPUs), maxGPUs},
		"number of ports": {len(want.Ports), portCount},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("%s: %v and %v", name, c.got, c.want)
		}
	}
	// NVIDIA's parser prints one bit for four ports, the highest first, and by that
	// ports are disabled that lead to GPUs. With the lowest first none is. Nothing is
	// derived from them here: the claim is the two bytes.
	raw, err := hex.DecodeString(a.Claims["disabled-ports"].(string))
	if err != nil {
		t.Fatal(err)
	}
	clash := map[string]int{}
	for port, gpu := range want.Ports {
		group := port / 4
		highest, lowest := int(raw[group/8]>>(7-group%8)&1), int(raw[group/8]>>(group%8)&1)
		if highest != want.Disabled[port] {
			t.Errorf("port %d: %d, NVIDIA's parser says %d", port, highest, want.Disabled[port])
		}
		if gpu != "0xff" {
			clash["highest first"] += highest
			clash["lowest first"] += lowest
		}
	}
	if clash["highest first"] == 0 || clash["lowest first"] != 0 {
		t.Errorf("disabled ports that lead to GPUs: %v", clash)
	}
}

// BenchmarkAppraiseHot knows the device's chain: one signature check remains,
// of which the time is reported as a multiple.
func BenchmarkAppraiseHot(b *testing.B) {
	f := newFake(b)
	raw := f.Leaf()
	v := newTest(b, f.roots())
	msg := nvidiatest.Unsigned(f.Nonce, f.Blocks, f.Fields)
	sum := sha512.Sum384(msg)
	sig, err := ecdsa.SignASN1(rand.Reader, f.Keys[0], sum[:])
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 50
	start := time.Now()
	for range rounds {
		sum := sha512.Sum384(msg)
		if !ecdsa.VerifyASN1(&f.Keys[0].PublicKey, sum[:], sig) {
			b.Fatal("signature")
		}
	}
	floor := time.Since(start) / rounds
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		appraise(b, v, raw, f.Nonce, at)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(floor), "x-bare")
}
