// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"crypto"
	"fmt"
	"slices"
	"strconv"
)

// Measurement block indices of the simulated devices. 1..4 and 16, 17, 253,
// 254 are where DMTF's reference responder has them.
const (
	indexROM            = 1
	indexFirmware       = 2
	indexHardwareConfig = 3
	indexFirmwareConfig = 4
	indexVersion        = 5
	indexSVN            = 16
	indexLog            = 17
	indexManifest       = 0xfd
	indexMode           = 0xfe
)

// DMTF measurement value types (DSP0274); bit 7 says that the value is raw.
const (
	typeROM            = 0
	typeFirmware       = 1
	typeHardwareConfig = 2
	typeFirmwareConfig = 3
	typeManifest       = 4
	typeMode           = 5
	typeVersion        = 6
	typeSVN            = 7
	typeHashExtend     = 8
	typeInformational  = 9
	rawValue           = 0x80
)

const (
	honestSVN    = 7
	outdatedSVN  = 3
	manifestSize = 128
)

// Measurement is one reference value. Exactly one of Digest, Raw and SVN is set.
type Measurement struct {
	// Name is the block index in decimal ("2"), or the text key of an
	// interface property ("tdisp.interface-info").
	Name string
	// Alg is "sha-256", "sha-384" or "sha-512" where Digest is set.
	Alg    string
	Digest []byte
	// Raw is the value as the device reports it; Mask, of the same length if
	// set, says which of its bits matter.
	Raw, Mask []byte
	// SVN is the lowest acceptable security version number.
	SVN *uint64
}

// block is one DMTF measurement block before encoding.
type block struct {
	index byte
	kind  byte // value type with the raw bit
	value []byte
}

// algName is the name of a hash in the IANA Named Information registry.
func algName(h crypto.Hash) string {
	return map[crypto.Hash]string{crypto.SHA256: "sha-256", crypto.SHA384: "sha-384", crypto.SHA512: "sha-512"}[h]
}

// honestBlocks are the blocks of a device in good order, ascending by index.
// They follow from the vendor and the product, so devices of one model agree.
func honestBlocks(o Options, log []byte) []block {
	model := o.Vendor.Sub("spdm", "model", o.Product)
	digest := func(what string) []byte { return sum(o.MeasurementHash, model.Sub(what).Bytes(72)) }
	out := []block{
		{indexROM, typeROM, digest("rom")},
		{indexFirmware, typeFirmware, digest("firmware")},
		{indexHardwareConfig, typeHardwareConfig, digest("hardware configuration")},
		{indexFirmwareConfig, typeFirmwareConfig, digest("firmware configuration")},
		{indexVersion, typeVersion | rawValue, []byte(firmware)},
		{indexSVN, typeSVN | rawValue, le.AppendUint64(nil, honestSVN)},
	}
	if log != nil {
		out = append(out, block{indexLog, typeHashExtend, extend(o.MeasurementHash, log)})
	}
	return append(out,
		block{indexManifest, typeManifest | rawValue, manifest(o)},
		block{indexMode, typeMode | rawValue, deviceMode(0)})
}

// manifest is a freeform manifest: text, padded with zeros to 128 bytes.
func manifest(o Options) []byte {
	out := make([]byte, manifestSize)
	copy(out, "vendor="+maker+";firmware="+firmware+";product="+o.Product)
	return out
}

// deviceMode is block 0xFE: operational capabilities, operational state
// (normal), device mode capabilities, device mode state.
func deviceMode(debug uint32) []byte {
	out := le.AppendUint32(nil, 0x3f)
	out = le.AppendUint32(out, 1<<2)
	out = le.AppendUint32(out, 0x1f)
	return le.AppendUint32(out, debug)
}

// reportedBlocks are the blocks with the faults that o asks for.
func reportedBlocks(o Options, honest []block) []block {
	out := slices.Clone(honest)
	for i := range out {
		switch b := &out[i]; {
		case b.index == indexMode && o.Debug:
			b.value = deviceMode(0x0f) // both debug modes active now, and so since reset
		case b.index == indexSVN && o.OutdatedTCB:
			b.value = le.AppendUint64(nil, outdatedSVN)
		case b.index == indexFirmware && o.Measurement:
			b.value = bytes.Clone(b.value)
			b.value[0] ^= 1
		}
	}
	return out
}

// record encodes blocks: index, specification (1 = DMTF), size, then value
// type, value size and value.
func record(blocks []block) []byte {
	var out []byte
	for _, b := range blocks {
		out = append(out, b.index, 1)
		out = le.AppendUint16(out, uint16(len(b.value)+3))
		out = append(out, b.kind)
		out = le.AppendUint16(out, uint16(len(b.value)))
		out = append(out, b.value...)
	}
	return out
}

// eventLog is a measurement extension log (SPDM 1.3) whose entries extend
// block 17: header of entry count, length of the entries and 8 reserved bytes.
func eventLog(o Options) []byte {
	model := o.Vendor.Sub("spdm", "model", o.Product)
	var entries []byte
	for i := range uint32(2) {
		value := fmt.Sprintf("load %d %x", i+1, model.Sub("module", strconv.Itoa(int(i))).Bytes(16))
		entries = le.AppendUint32(entries, i+1)
		entries = append(entries, indexLog, 0, 0, 0, typeInformational|rawValue)
		entries = le.AppendUint16(entries, uint16(len(value)))
		entries = append(entries, value...)
	}
	out := le.AppendUint32(nil, 2)
	out = le.AppendUint32(out, uint32(len(entries)))
	out = append(out, make([]byte, 8)...)
	return append(out, entries...)
}

// extend replays a log made by eventLog: v = H(v ‖ entry), beginning with zeros.
func extend(h crypto.Hash, log []byte) []byte {
	v := make([]byte, h.Size())
	for rest := log[16:]; len(rest) > 0; {
		n := 11 + int(le.Uint16(rest[9:]))
		v = sum(h, v, rest[:n])
		rest = rest[n:]
	}
	return v
}

// Measurements are the honest reference values of the measurement blocks, in
// the order of their index. Name is the index in decimal. Device mode (254)
// carries the mask of draft CoRIM profiles: operational state must be normal
// alone, debug must be inactive. The slices belong to the caller.
func (d *Device) Measurements() []Measurement {
	var out []Measurement
	for _, b := range d.honest {
		m := Measurement{Name: strconv.Itoa(int(b.index))}
		switch {
		case b.kind == typeSVN|rawValue:
			svn := le.Uint64(b.value)
			m.SVN = &svn
		case b.kind&rawValue != 0:
			m.Raw = bytes.Clone(b.value)
		default:
			m.Alg, m.Digest = algName(d.o.MeasurementHash), bytes.Clone(b.value)
		}
		if b.index == indexMode {
			m.Mask = []byte{0, 0, 0, 0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0}
		}
		out = append(out, m)
	}
	return out
}
