// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
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

// What NVIDIA's own service said about one report, wherever both say something.
func TestClaimsAgreeWithNVIDIA(t *testing.T) {
	var token map[string]map[string]any
	if err := json.Unmarshal(vectors.Read(t, sampled+"switch_decoded.json"), &token); err != nil {
		t.Fatal(err)
	}
	leaf, nonce := wrapped(t, "LS10", sampled+"switch/switchAttestationReport.txt", sampled+"switch/switchCertChain.txt")
	a := appraise(t, newTest(t, verifiers.Deps{}), leaf, nonce, at)
	compared := 0
	for name, want := range token["SWITCH-0"] {
		got, ok := a.Claims[name]
		if !ok {
			continue
		}
		compared++
		if name == switchClaim+"attestation-report-cert-chain" {
			for _, k := range []string{"x-nvidia-cert-status", "x-nvidia-cert-expiration-date"} {
				if got.(map[string]any)[k] != want.(map[string]any)[k] {
					t.Errorf("%s is %v, NVIDIA says %v", k, got, want)
				}
			}
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, NVIDIA says %v", name, got, want)
		}
	}
	if compared != 9 {
		t.Errorf("%d claims compared", compared)
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
	step := 4
	if testing.Short() {
		step = 64
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
