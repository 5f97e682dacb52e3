// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/internal/vectors"
	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/certs"
	"github.com/confidentsecurity/go-nvtrust/pkg/gonvtrust/mocks"
)

// layout is a report read again by fixed offsets and the lengths in it
// (DSP0274 1.1), with nothing of the verifier's parser.
type layout struct {
	size     int
	headers  string // request without nonce, response header
	blocks   []string
	values   [][]byte
	measured []int
	opaque   []tlv
	message  []byte
	r, s     *big.Int
}

type tlv struct {
	typ   int
	value []byte
}

func read(t *testing.T, b []byte) (l layout) {
	t.Helper()
	le := binary.LittleEndian
	l.size = len(b)
	l.headers = fmt.Sprintf("%x %x %x", b[:4], b[36:37], b[37:45])
	record := int(le.Uint32(append(bytes.Clone(b[42:45]), 0)))
	at, end := 45, 45+record
	for at < end {
		n := int(le.Uint16(b[at+5:]))
		l.blocks = append(l.blocks, hex.EncodeToString(b[at:at+7]))
		v := b[at+7 : at+7+n]
		l.values = append(l.values, v)
		if !bytes.Equal(v, make([]byte, n)) {
			l.measured = append(l.measured, len(l.values)-1)
		}
		at += 7 + n
	}
	at += 32 // responder nonce
	end = at + 2 + int(le.Uint16(b[at:]))
	for at += 2; at < end; {
		n := int(le.Uint16(b[at+2:]))
		l.opaque = append(l.opaque, tlv{int(le.Uint16(b[at:])), b[at+4 : at+4+n]})
		at += 4 + n
	}
	if at != end || len(b) != end+96 || len(l.values) != int(b[41]) {
		t.Fatalf("%d blocks, opaque data to %d of %d, %d bytes", len(l.values), at, end, len(b))
	}
	l.message, l.r, l.s = b[:end], new(big.Int).SetBytes(b[end:end+48]), new(big.Int).SetBytes(b[end+48:])
	return l
}

// shape is the sequence of opaque types and sizes.
func (l layout) shape() (out []string) {
	for _, o := range l.opaque {
		out = append(out, fmt.Sprintf("%d:%d", o.typ, len(o.value)))
	}
	return out
}

func (l layout) field(t *testing.T, typ int) []byte {
	t.Helper()
	for _, o := range l.opaque {
		if o.typ == typ {
			return o.value
		}
	}
	t.Fatalf("no opaque field %d", typ)
	return nil
}

// same compares a simulated report with a recorded one: everything but
// nonces, digests, device numbers and signature.
func same(t *testing.T, got, want layout) {
	t.Helper()
	if got.size != want.size || got.headers != want.headers || !slices.Equal(got.blocks, want.blocks) || !slices.Equal(got.shape(), want.shape()) {
		t.Fatalf("size %d, headers %s, fields %v, recorded %d, %s, %v", got.size, got.headers, got.shape(), want.size, want.headers, want.shape())
	}
	if !slices.Equal(got.measured, want.measured) {
		t.Errorf("measured %v, recorded %v", got.measured, want.measured)
	}
	for i, o := range got.opaque {
		switch o.typ {
		case 20, 22, 26: // FWID and PDIs
		default:
			if !bytes.Equal(o.value, want.opaque[i].value) {
				t.Errorf("field %d is %x, recorded %x", o.typ, o.value, want.opaque[i].value)
			}
		}
	}
}

type recorded struct {
	Arch                  string
	Evidence, Certificate []byte
}

func recordings(t *testing.T, name string) (out []recorded) {
	t.Helper()
	if err := json.Unmarshal(vectors.Read(t, name), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func hexReport(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(strings.TrimSpace(string(vectors.Read(t, name))))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

const (
	ppcieDir  = "nvidia/nvtrust/ppcie/"
	sdkDir    = "nvidia/attestation-sdk/testdata/"
	blackwell = "nvidia/veraison-services/blackwell-evidence.json"
)

// pdiIn is the PDI in certificate 1 of a PEM chain.
func pdiIn(t *testing.T, text []byte) nvidia.PDI {
	t.Helper()
	serial := parse(t, text)[1].SerialNumber.Bytes()
	if len(serial) != 9 {
		t.Fatalf("serial number %x", serial)
	}
	return nvidia.PDI(serial[1:])
}

func parse(t *testing.T, text []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for part := range strings.SplitSeq(string(text), "-----END CERTIFICATE-----") {
		_, body, ok := strings.Cut(part, "-----BEGIN CERTIFICATE-----")
		if !ok {
			continue
		}
		der, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\n", ""))
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// A whole simulated node against a whole recorded one: layout, and the same
// wiring when each PDI is replaced by its owner.
func TestNodeAsRecorded(t *testing.T) {
	gpus, switches := node(t)
	realGPUs, realSwitches := recordings(t, ppcieDir+"gpu_evidence.json"), recordings(t, ppcieDir+"switch_evidence.json")
	names, realNames := map[nvidia.PDI]string{{}: "none"}, map[nvidia.PDI]string{{}: "none"}
	for i, r := range realGPUs {
		names[gpus[i].PDI()], realNames[pdiIn(t, r.Certificate)] = fmt.Sprint("gpu", i), fmt.Sprint("gpu", i)
	}
	position := func(r recorded) int { return int(read(t, r.Evidence).field(t, 24)[0]) }
	for i, r := range realSwitches {
		names[switches[i].PDI()], realNames[pdiIn(t, r.Certificate)] = fmt.Sprint("switch", i), fmt.Sprint("switch", position(r))
	}
	if len(names) != 13 || len(realNames) != 13 {
		t.Fatalf("%v, %v", names, realNames)
	}
	for i, r := range realGPUs {
		got, want := read(t, report(t, gpus[i])), read(t, r.Evidence)
		same(t, got, want)
		if g, w := behind(got.field(t, 22), names), behind(want.field(t, 22), realNames); !slices.Equal(g, w) {
			t.Errorf("gpu %d: links to %v, recorded %v", i, g, w)
		}
	}
	for _, r := range realSwitches {
		d := switches[position(r)]
		got, want := read(t, report(t, d)), read(t, r.Evidence)
		same(t, got, want)
		if g, w := ports(got.field(t, 26), names), ports(want.field(t, 26), realNames); !slices.Equal(g, w) {
			t.Errorf("switch %d: ports to %v, recorded %v", position(r), g, w)
		}
		if nvidia.PDI(got.field(t, 22)) != d.PDI() || nvidia.PDI(want.field(t, 22)) != pdiIn(t, r.Certificate) {
			t.Errorf("switch %d: own PDI", position(r))
		}
	}
}

// behind names the owners of little-endian PDIs.
func behind(v []byte, names map[nvidia.PDI]string) (out []string) {
	for link := range slices.Chunk(v, 8) {
		p := nvidia.PDI(link)
		slices.Reverse(p[:])
		out = append(out, names[p])
	}
	return out
}

// ports names the GPU at each of 64 ports.
func ports(v []byte, names map[nvidia.PDI]string) (out []string) {
	for _, i := range v[64:] {
		if i == 0xFF {
			out = append(out, "unused")
			continue
		}
		out = append(out, names[nvidia.PDI(v[8*i:8*i+8])])
	}
	return out
}

func TestOthersAsRecorded(t *testing.T) {
	o := options("b")
	o.Arch = nvidia.Blackwell
	same(t, read(t, report(t, gpu(t, o))), read(t, recordings(t, blackwell)[0].Evidence))
	o.OutdatedTCB = true
	same(t, read(t, report(t, gpu(t, o))), read(t, hexReport(t, sdkDir+"sample_attestation_data/gpu/blackwellAttestationReport.txt")))
	o = options("s")
	o.OutdatedTCB, o.Position = true, 2
	same(t, read(t, report(t, nvswitch(t, o))), read(t, hexReport(t, sdkDir+"switchAttestationReport.txt")))
}

// NVIDIA's parser printed a report of a GPU by itself: version 580, no links.
func TestSingleAsNVIDIAPrints(t *testing.T) {
	var want struct {
		OpaqueLength, NumberOfBlocks int
		MeasurementRecord            struct {
			MeasurementBlocks map[string]struct {
				Value string `json:"DMTFSpecMeasurementValue"`
			}
		}
		OpaqueData struct{ OpaqueDataField map[string]any }
	}
	if err := json.Unmarshal(vectors.Read(t, sdkDir+"spdm_parsed_output.json"), &want); err != nil {
		t.Fatal(err)
	}
	o := options("single")
	o.OutdatedTCB = true
	l := read(t, report(t, gpu(t, o)))
	length := 0
	for _, f := range l.opaque {
		length += 4 + len(f.value)
	}
	driver := len(l.field(t, 3)) - len("580.159.03\x00")
	if length != want.OpaqueLength+driver || len(l.values) != want.NumberOfBlocks {
		t.Errorf("opaque data of %d bytes, printed %d", length, want.OpaqueLength)
	}
	for i := range l.values {
		zero := strings.Trim(want.MeasurementRecord.MeasurementBlocks[fmt.Sprint(i+1)].Value, "0x") == ""
		if zero == slices.Contains(l.measured, i) {
			t.Errorf("index %d: printed zero is %v", i, zero)
		}
	}
	for typ, field := range map[int]string{4: "GPU_INFO", 11: "NVDEC0_STATUS", 13: "CPRINFO", 21: "PROTECTED_PCIE_STATUS", 16: "CHIP_SKU_MOD", 19: "PROJECT_SKU_MOD"} {
		if got := "0x" + hex.EncodeToString(l.field(t, typ)); got != want.OpaqueData.OpaqueDataField["OPAQUE_FIELD_ID_"+field] {
			t.Errorf("%s is %s", field, got)
		}
	}
	counts := l.field(t, 12)
	for i, n := range want.OpaqueData.OpaqueDataField["OPAQUE_FIELD_ID_MSRSCNT"].([]any) {
		if float64(binary.LittleEndian.Uint32(counts[4*i:])) != n {
			t.Errorf("counter %d is %x, printed %v", i, counts[4*i:4*i+4], n)
		}
	}
}

// The recording in a Go module, so that a plain clone has one: headers, blocks
// and every field of driver 545 at its place in the order of ours.
func TestAsModuleMock(t *testing.T) {
	raw, err := hex.DecodeString(strings.TrimSpace(string(mocks.AttestationReportData)))
	if err != nil {
		t.Fatal(err)
	}
	got, want := read(t, report(t, gpu(t, options("m")))), read(t, raw)
	if got.headers != want.headers || !slices.Equal(got.blocks, want.blocks) {
		t.Errorf("headers %s, recorded %s", got.headers, want.headers)
	}
	at := 0
	for _, o := range want.opaque {
		for at < len(got.opaque) && got.opaque[at].typ != o.typ {
			at++
		}
		if at == len(got.opaque) {
			t.Fatalf("field %d is not at its place: %v, recorded %v", o.typ, got.shape(), want.shape())
		}
	}
	d := gpu(t, options("m"))
	sameCertificates(t, d.Chain(), parse(t, mocks.ValidCertChainData), true)
	if err := certs.NewCertChainFromData(pki.PEM(d.Chain()...)).Verify(); err != nil {
		t.Errorf("go-nvtrust: %v", err)
	}
	short := slices.Delete(d.Chain(), 2, 3)
	if certs.NewCertChainFromData(pki.PEM(short...)).Verify() == nil {
		t.Error("go-nvtrust accepts a chain without the provisioner")
	}
}

// What the bytes after the key say: FWID of report and certificate are one, the
// signature is r||s over all before it by the key of certificate 0.
func TestSignatureByOffsets(t *testing.T) {
	o := options("o")
	o.Arch = nvidia.Blackwell
	for _, c := range []struct {
		d    *nvidia.Device
		fwid bool
	}{{gpu(t, options("o")), true}, {gpu(t, o), true}, {nvswitch(t, options("o")), false}} {
		l := read(t, report(t, c.d))
		leaf := c.d.Chain()[0]
		sum := sha512.Sum384(l.message)
		if !ecdsa.Verify(leaf.PublicKey.(*ecdsa.PublicKey), sum[:], l.r, l.s) {
			t.Error("signature")
		}
		ext := leaf.Extensions[len(leaf.Extensions)-1].Value
		if c.fwid && !bytes.Contains(ext, append([]byte{4, 48}, l.field(t, 20)...)) {
			t.Errorf("FWID of the report is not in %x", ext)
		}
		if !bytes.Equal(l.message[4:36], nonce) {
			t.Error("nonce")
		}
	}
}
