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
	"github.com/assize/assize/verifiers/internal/nvidia"
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

// What NVIDIA's own service said about one report, wherever both say something.
func TestClaimsAgreeWithNVIDIA(t *testing.T) {
	var token map[string]map[string]any
	if err := json.Unmarshal(vectors.Read(t, sdkDir+"testdata/sample_attestation_data/hopperClaimsv3_decoded.json"), &token); err != nil {
		t.Fatal(err)
	}
	leaf, nonce := wrapText(t, "HOPPER", vectors.Read(t, nvtrust+"hopperAttestationReport.txt"), vectors.Read(t, nvtrust+"hopperCertChain.txt"))
	a := appraise(t, newTest(t, verifiers.Deps{}), leaf, nonce, at)
	compared := 0
	for name, want := range token["GPU-0"] {
		got, ok := a.Claims[name]
		if !ok {
			continue
		}
		if chain, is := want.(map[string]any); is {
			ours := got.(map[string]any)
			if ours["x-nvidia-cert-ocsp-status"] != "unknown" {
				t.Errorf("%s: OCSP status %v", name, ours)
			}
			for _, k := range []string{"x-nvidia-cert-status", "x-nvidia-cert-expiration-date"} {
				if ours[k] != chain[k] {
					t.Errorf("%s: %s is %v, NVIDIA says %v", name, k, ours[k], chain[k])
				}
			}
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, NVIDIA says %v", name, got, want)
		}
		compared++
	}
	if compared != 12 {
		t.Errorf("%d claims compared", compared)
	}
}

// oracle is the output of NVIDIA's own parser.
type oracle struct {
	NumberOfBlocks, MeasurementRecordLength, OpaqueLength int
	Nonce, Signature                                      string
	MeasurementRecord                                     struct {
		MeasurementBlocks map[string]struct {
			Type  int    `json:"DMTFSpecMeasurementValueType"`
			Size  int    `json:"DMTFSpecMeasurementValueSize"`
			Value string `json:"DMTFSpecMeasurementValue"`
		}
	}
	OpaqueData struct{ OpaqueDataField map[string]any }
}

func readOracle(t *testing.T, name string) (o oracle) {
	t.Helper()
	if err := json.Unmarshal(vectors.Read(t, sdkDir+"testdata/"+name), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// compare checks a parsed report against the oracle field by field.
func (o oracle) compare(t *testing.T, r *Report, types map[string]uint16) {
	t.Helper()
	eq := func(what, want string, got []byte) {
		t.Helper()
		if want != "0x"+hex.EncodeToString(got) {
			t.Errorf("%s is %x, expected %s", what, got, want)
		}
	}
	eq("responder nonce", o.Nonce, r.ResponderNonce)
	eq("signature", o.Signature, r.Signature)
	if len(r.Blocks) != o.NumberOfBlocks || len(o.MeasurementRecord.MeasurementBlocks) != o.NumberOfBlocks {
		t.Fatalf("%d blocks, expected %d", len(r.Blocks), o.NumberOfBlocks)
	}
	size := 0
	for _, b := range r.Blocks {
		want := o.MeasurementRecord.MeasurementBlocks[fmt.Sprint(b.Index)]
		eq(fmt.Sprintf("block %d", b.Index), want.Value, b.Value)
		if want.Size != len(b.Value) || want.Type != int(b.Type) {
			t.Errorf("block %d: type %d, size %d", b.Index, b.Type, len(b.Value))
		}
		size += 7 + len(b.Value)
	}
	if size != o.MeasurementRecordLength {
		t.Errorf("record of %d bytes, expected %d", size, o.MeasurementRecordLength)
	}
	opaque := map[uint16][]byte{}
	size = 0
	for _, f := range r.Opaque {
		opaque[f.Type] = f.Value
		size += 4 + len(f.Value)
	}
	if size != o.OpaqueLength {
		t.Errorf("opaque data of %d bytes, expected %d", size, o.OpaqueLength)
	}
	for name, want := range o.OpaqueData.OpaqueDataField {
		if s, ok := want.(string); ok {
			eq(name, s, opaque[types[name]])
		}
	}
}

// NVIDIA's parser on a report that is on record (of a switch: one layout).
func TestParserAgreesWithNVIDIA(t *testing.T) {
	r, err := ParseReport(unhex(t, string(vectors.Read(t, sdkDir+"testdata/switchAttestationReport.txt"))))
	if err != nil {
		t.Fatal(err)
	}
	readOracle(t, "switch_spdm_parsed_output.json").compare(t, r, map[string]uint16{
		"OPAQUE_FIELD_ID_DEVICE_PDI": 22, "OPAQUE_FIELD_ID_SWITCH_LOCK_STATUS": 25,
		"OPAQUE_FIELD_ID_SWITCH_POSITION_ID": 24, "OPAQUE_FIELD_ID_VBIOS_VERSION": 6,
	})
	var req struct{ Nonce string }
	if err := json.Unmarshal(vectors.Read(t, sdkDir+"testdata/switch_spdm_req_parsed_output.json"), &req); err != nil {
		t.Fatal(err)
	}
	if req.Nonce != "0x"+hex.EncodeToString(r.Nonce) {
		t.Errorf("nonce %x, expected %s", r.Nonce, req.Nonce)
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

// NVIDIA's parser on a GPU report that is not on record itself: encoded again
// from what the parser said, in the order in which GPUs write the fields.
func TestDetailsAgreeWithNVIDIA(t *testing.T) {
	o := readOracle(t, "spdm_parsed_output.json")
	names := []struct {
		name string
		typ  uint16
	}{
		{"VBIOS_VERSION", 6}, {"BOARD_ID", 14}, {"CHIP_SKU", 15}, {"CHIP_SKU_MOD", 16}, {"PROJECT", 17}, {"PROJECT_SKU", 18},
		{"PROJECT_SKU_MOD", 19}, {"DRIVER_VERSION", 3}, {"GPU_INFO", 4}, {"CPRINFO", 13}, {"NVDEC0_STATUS", 11}, {"FWID", 20}, {"PROTECTED_PCIE_STATUS", 21},
	}
	types := map[string]uint16{}
	// The parser prints the counters as numbers and does not print the version
	// and the feature flag at all, which its opaque length counts.
	fields := []nvidiatest.Field{
		{Type: nvidia.OpaqueMSRSCNT, Value: make([]byte, 256)}, {Type: nvidia.OpaqueVersion, Value: []byte{1, 0}}, {Type: opaqueFeature, Value: []byte{0, 0}},
	}
	for _, n := range names {
		types["OPAQUE_FIELD_ID_"+n.name] = n.typ
		fields = append(fields, nvidiatest.Field{Type: n.typ, Value: unhex(t, strings.TrimPrefix(o.OpaqueData.OpaqueDataField["OPAQUE_FIELD_ID_"+n.name].(string), "0x"))})
	}
	var blocks []nvidiatest.Block
	for i := 1; i <= o.NumberOfBlocks; i++ {
		b := o.MeasurementRecord.MeasurementBlocks[fmt.Sprint(i)]
		blocks = append(blocks, nvidiatest.Block{Index: uint8(i), Type: uint8(b.Type), Value: unhex(t, strings.TrimPrefix(b.Value, "0x"))})
	}
	msg := nvidiatest.Unsigned(make([]byte, NonceSize), blocks, fields)
	r, err := ParseReport(append(msg, unhex(t, strings.TrimPrefix(o.Signature, "0x"))...))
	if err != nil {
		t.Fatal(err)
	}
	r.ResponderNonce = unhex(t, strings.TrimPrefix(o.Nonce, "0x"))
	o.compare(t, r, types)
	d := readDetails(r.Opaque)
	if d.odd != nil || d.unknown != nil || d.vbios != "96.00.74.00.20" || d.driver != "580.159.03" || d.protectedPCIe != "off" || d.chipSKU != "862" || d.nvdec0 != "off" || d.board != "a1040000" {
		t.Fatalf("%+v", d)
	}
}
