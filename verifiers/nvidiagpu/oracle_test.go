// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verifiers/internal/nvidia"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// oracle is the output of NVIDIA's own parser for a response, oracleRequest that
// for a request.
type oracle struct {
	SPDMVersion, RequestResponseCode, Param1, Param2      string
	NumberOfBlocks, MeasurementRecordLength, OpaqueLength int
	Nonce, Signature                                      string
	MeasurementRecord                                     struct {
		NumberOfBlocks    int
		MeasurementBlocks map[string]struct {
			Type  int    `json:"DMTFSpecMeasurementValueType"`
			Size  int    `json:"DMTFSpecMeasurementValueSize"`
			Value string `json:"DMTFSpecMeasurementValue"`
		}
	}
	OpaqueData struct {
		OpaqueDataField map[string]json.RawMessage
	}
}

type oracleRequest struct {
	SPDMVersion, RequestResponseCode, Param1, Param2, Nonce, SlotIDParam string
}

// readOracle wants every member of the file to have a place in v, so that nothing
// that NVIDIA says goes uncompared.
func readOracle(t *testing.T, name string, v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(vectors.Read(t, sdkDir+"testdata/"+name)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatal(err)
	}
}

func zeroX(b ...byte) string { return "0x" + hex.EncodeToString(b) }

func same[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v, NVIDIA's parser says %v", what, got, want)
	}
}

func (o oracleRequest) compare(t *testing.T, raw []byte, r *Report) {
	t.Helper()
	same(t, "request version", zeroX(raw[0]), o.SPDMVersion)
	same(t, "request code", zeroX(raw[1]), o.RequestResponseCode)
	same(t, "request param1", zeroX(raw[2]), o.Param1)
	same(t, "request param2", zeroX(raw[3]), o.Param2)
	same(t, "nonce", zeroX(r.Nonce...), o.Nonce)
	same(t, "slot", zeroX(raw[36]), o.SlotIDParam)
}

// compare checks a parsed report against the oracle field by field, and that
// neither has a field that the other has not, but for those in unsaid.
func (o oracle) compare(t *testing.T, raw []byte, r *Report, unsaid ...uint16) {
	t.Helper()
	resp := raw[37:]
	same(t, "version", zeroX(resp[0]), o.SPDMVersion)
	same(t, "code", zeroX(resp[1]), o.RequestResponseCode)
	same(t, "param1", zeroX(resp[2]), o.Param1)
	same(t, "param2", zeroX(resp[3]), o.Param2)
	same(t, "responder nonce", zeroX(r.ResponderNonce...), o.Nonce)
	same(t, "signature", zeroX(r.Signature...), o.Signature)
	same(t, "number of blocks", len(r.Blocks), o.NumberOfBlocks)
	same(t, "number of blocks of the record", len(r.Blocks), o.MeasurementRecord.NumberOfBlocks)
	same(t, "number of blocks on record", len(r.Blocks), len(o.MeasurementRecord.MeasurementBlocks))
	size := 0
	for _, b := range r.Blocks {
		want := o.MeasurementRecord.MeasurementBlocks[strconv.Itoa(int(b.Index))]
		same(t, fmt.Sprintf("block %d", b.Index), zeroX(b.Value...), want.Value)
		same(t, fmt.Sprintf("size of block %d", b.Index), len(b.Value), want.Size)
		same(t, fmt.Sprintf("type of block %d", b.Index), int(b.Type), want.Type)
		size += 7 + len(b.Value)
	}
	same(t, "length of the record", size, o.MeasurementRecordLength)
	size = 0
	left := maps.Clone(o.OpaqueData.OpaqueDataField)
	for _, f := range r.Opaque {
		size += 4 + len(f.Value)
		if slices.Contains(unsaid, f.Type) {
			continue
		}
		said := printed(t, f)
		if len(said) == 0 {
			t.Errorf("opaque field %d has no name in NVIDIA's parser", f.Type)
		}
		for name, value := range said {
			got, err := json.Marshal(value)
			if err != nil {
				t.Fatal(err)
			}
			var want bytes.Buffer
			if err := json.Compact(&want, left["OPAQUE_FIELD_ID_"+name]); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			same(t, name, string(got), want.String())
			delete(left, "OPAQUE_FIELD_ID_"+name)
		}
	}
	same(t, "length of the opaque data", size, o.OpaqueLength)
	if len(left) > 0 {
		t.Errorf("NVIDIA's parser has %v besides", slices.Sorted(maps.Keys(left)))
	}
}

// fieldNames are the names of NVIDIA's parser for fields that it prints as they are.
var fieldNames = map[uint16]string{
	nvidia.OpaqueVBIOS: "VBIOS_VERSION", opaqueBoard: "BOARD_ID", opaqueChipSKU: "CHIP_SKU", opaqueChipSKUMod: "CHIP_SKU_MOD",
	opaqueProject: "PROJECT", opaqueProjectSKU: "PROJECT_SKU", opaqueProjectSKUMod: "PROJECT_SKU_MOD", nvidia.OpaqueDriver: "DRIVER_VERSION",
	opaqueGPUInfo: "GPU_INFO", opaqueCPRInfo: "CPRINFO", opaqueNVDEC0: "NVDEC0_STATUS", nvidia.OpaqueFWID: "FWID",
	opaqueProtectedPCIe: "PROTECTED_PCIE_STATUS", nvidia.OpaquePDI: "DEVICE_PDI", nvidia.OpaquePosition: "SWITCH_POSITION_ID",
	nvidia.OpaqueLock: "SWITCH_LOCK_STATUS",
}

// printed is a field as NVIDIA's parser prints it, under one or two names.
func printed(t *testing.T, f Field) map[string]any {
	t.Helper()
	const disabledPorts = 23
	switch f.Type {
	case nvidia.OpaqueMSRSCNT:
		var n []uint32
		for c := range slices.Chunk(f.Value, 4) {
			n = append(n, binary.LittleEndian.Uint32(c))
		}
		return map[string]any{"MSRSCNT": n}
	case nvidia.OpaqueGPUs:
		var gpus, ports []string
		for c := range slices.Chunk(f.Value[:64], 8) {
			gpus = append(gpus, zeroX(c...))
		}
		for _, p := range f.Value[64:] {
			ports = append(ports, zeroX(p))
		}
		return map[string]any{"SWITCH_GPU_PDIS": gpus, "SWITCH_PORT": ports}
	case disabledPorts:
		// One bit for four ports, the highest bit first.
		var ports []int
		for _, c := range f.Value {
			for bit := 7; bit >= 0; bit-- {
				ports = append(ports, slices.Repeat([]int{int(c >> bit & 1)}, 4)...)
			}
		}
		return map[string]any{"DISABLED_PORTS": ports}
	}
	if name, ok := fieldNames[f.Type]; ok {
		return map[string]any{name: zeroX(f.Value...)}
	}
	return nil
}

// NVIDIA's parser on a report of a switch that is on record: one layout.
func TestParserAgreesWithNVIDIA(t *testing.T) {
	raw := unhex(t, string(vectors.Read(t, sdkDir+"testdata/switchAttestationReport.txt")))
	r, err := ParseReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	var o oracle
	readOracle(t, "switch_spdm_parsed_output.json", &o)
	o.compare(t, raw, r)
	var q oracleRequest
	readOracle(t, "switch_spdm_req_parsed_output.json", &q)
	q.compare(t, raw, r)
}

// decoded is the field of an oracle as bytes again.
func (o oracle) decoded(t *testing.T, typ uint16) []byte {
	t.Helper()
	raw := o.OpaqueData.OpaqueDataField["OPAQUE_FIELD_ID_"+fieldNames[typ]]
	if typ == nvidia.OpaqueMSRSCNT {
		var n []uint32
		if err := json.Unmarshal(o.OpaqueData.OpaqueDataField["OPAQUE_FIELD_ID_MSRSCNT"], &n); err != nil {
			t.Fatal(err)
		}
		var out []byte
		for _, v := range n {
			out = binary.LittleEndian.AppendUint32(out, v)
		}
		return out
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatalf("field %d: %v", typ, err)
	}
	return unhex(t, strings.TrimPrefix(s, "0x"))
}

// NVIDIA's parser on a GPU report that is not on record itself: encoded again
// from what the parser said, in the order in which GPUs write the fields. The
// parser does not print the version and the feature flag, which the length that it
// prints has a place for.
func TestDetailsAgreeWithNVIDIA(t *testing.T) {
	var o oracle
	var q oracleRequest
	readOracle(t, "spdm_parsed_output.json", &o)
	readOracle(t, "spdm_req_parsed_output.json", &q)
	var fields []nvidiatest.Field
	for _, typ := range []uint16{
		nvidia.OpaqueVBIOS, opaqueBoard, opaqueChipSKU, opaqueChipSKUMod, opaqueProject, opaqueProjectSKU, opaqueProjectSKUMod,
		nvidia.OpaqueDriver, opaqueGPUInfo, nvidia.OpaqueMSRSCNT, opaqueCPRInfo, opaqueNVDEC0, nvidia.OpaqueFWID, opaqueProtectedPCIe,
	} {
		fields = append(fields, nvidiatest.Field{Type: typ, Value: o.decoded(t, typ)})
	}
	fields = append(fields, nvidiatest.Field{Type: nvidia.OpaqueVersion, Value: []byte{1, 0}}, nvidiatest.Field{Type: opaqueFeature, Value: []byte{0, 0}})
	var blocks []nvidiatest.Block
	for i := 1; i <= o.NumberOfBlocks; i++ {
		b := o.MeasurementRecord.MeasurementBlocks[strconv.Itoa(i)]
		blocks = append(blocks, nvidiatest.Block{Index: uint8(i), Type: uint8(b.Type), Value: unhex(t, strings.TrimPrefix(b.Value, "0x"))})
	}
	raw := nvidiatest.Unsigned(unhex(t, strings.TrimPrefix(q.Nonce, "0x")), blocks, fields)
	copy(raw[37+8+o.MeasurementRecordLength:], unhex(t, strings.TrimPrefix(o.Nonce, "0x")))
	raw = append(raw, unhex(t, strings.TrimPrefix(o.Signature, "0x"))...)
	r, err := ParseReport(raw)
	if err != nil {
		t.Fatal(err)
	}
	o.compare(t, raw, r, nvidia.OpaqueVersion, opaqueFeature)
	q.compare(t, raw, r)
	d := readDetails(r.Opaque)
	if d.odd != nil || d.unknown != nil || d.vbios != "96.00.74.00.20" || d.driver != "580.159.03" || d.protectedPCIe != "off" ||
		d.project != "1010" || d.projectSKU != "0205" || d.projectSKUMod != "" || d.chipSKU != "862" || d.chipSKUMod != "0" ||
		d.nvdec0 != "off" || d.board != "a1040000" || d.gpuInfo != "8001000000000000" || d.cprInfo != "00c00100" ||
		d.counter != hex.EncodeToString(o.decoded(t, nvidia.OpaqueMSRSCNT)) || !bytes.Equal(d.fwid, o.decoded(t, nvidia.OpaqueFWID)) {
		t.Fatalf("%+v", d)
	}
}
