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
	typeStructured     = 10
	rawValue           = 0x80
)

const (
	honestSVN    = 7
	outdatedSVN  = 3
	manifestSize = 128
	indexUnknown = 9 // where no honest device has a block
)

// Measurement is one reference value. Exactly one of Digest, Raw and SVN is set.
type Measurement struct {
	// Name is the block index in decimal ("2"), or the text key of an
	// interface property ("tdisp.interface-info").
	Name string
	// Alg is "sha-256", "sha-384", "sha-512" or one of "sha3-…" where Digest is set.
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
	// raw is what value is the digest of, nil for blocks without a raw form.
	raw []byte
}

// inForm is the block as asked for: digest, or raw bit stream.
func (b block) inForm(raw bool) block {
	if raw && b.raw != nil {
		b.kind, b.value = b.kind|rawValue, b.raw
	}
	return b
}

// algName is the name of a hash in the IANA Named Information registry.
func algName(h crypto.Hash) string {
	return map[crypto.Hash]string{crypto.SHA256: "sha-256", crypto.SHA384: "sha-384", crypto.SHA512: "sha-512",
		crypto.SHA3_256: "sha3-256", crypto.SHA3_384: "sha3-384", crypto.SHA3_512: "sha3-512"}[h]
}

// honestBlocks are the blocks of a device in good order, ascending by index.
// They follow from the vendor and the product, so devices of one model agree.
func honestBlocks(o Options, log []byte) []block {
	model := o.Vendor.Sub("spdm", "model", o.Product)
	digest := func(index, kind byte, what string) block {
		raw := model.Sub(what).Bytes(72)
		return block{index: index, kind: kind, value: sum(o.MeasurementHash, raw), raw: raw}
	}
	out := []block{
		digest(indexROM, typeROM, "rom"), digest(indexFirmware, typeFirmware, "firmware"),
		digest(indexHardwareConfig, typeHardwareConfig, "hardware configuration"),
		digest(indexFirmwareConfig, typeFirmwareConfig, "firmware configuration"),
		{index: indexVersion, kind: typeVersion | rawValue, value: []byte(firmware)},
		{index: indexSVN, kind: typeSVN | rawValue, value: le.AppendUint64(nil, honestSVN)},
	}
	if log != nil {
		out = append(out, block{index: indexLog, kind: typeHashExtend, value: extend(o.MeasurementHash, log)})
	}
	list := block{index: indexManifest, kind: typeManifest | rawValue, value: manifest(o)}
	if o.StructuredManifest {
		list.kind, list.value = typeStructured|rawValue, append([]byte{registryPCISIG, 2, 0xf4, 0x1a}, list.value...)
	}
	return append(out, list, block{index: indexMode, kind: typeMode | rawValue, value: deviceMode(modeNormal, 0)})
}

// registryPCISIG is the id of PCI-SIG in a standards body or vendor-defined header
// (DSP0274): id, length of the vendor id, vendor id.
const registryPCISIG = 3

// Operational states of the device mode, and bits of its debug state.
const (
	modeManufacturing = 1 << 0
	modeNormal        = 1 << 2
	modeRecovery      = 1 << 3
	debugAllNow       = 0x0f // both debug modes active now, and so since reset
	debugSinceReset   = 0x0c
)

// manifest is a freeform manifest: text, padded with zeros to 128 bytes.
func manifest(o Options) []byte {
	out := make([]byte, manifestSize)
	copy(out, "vendor="+maker+";firmware="+firmware+";product="+o.Product)
	return out
}

// deviceMode is block 0xFE: operational capabilities, operational state,
// device mode capabilities, device mode state.
func deviceMode(state, debug uint32) []byte {
	out := le.AppendUint32(nil, 0x3f)
	out = le.AppendUint32(out, state)
	out = le.AppendUint32(out, 0x1f)
	return le.AppendUint32(out, debug)
}

// reportedBlocks are the blocks with the faults that o asks for.
func reportedBlocks(o Options, honest []block) []block {
	var out []block
	for _, b := range honest {
		switch {
		case b.index == indexMode && o.has(ModeMissing), b.index == indexSVN && o.has(BlockMissing):
			continue
		case b.index == indexMode:
			b.value = reportedMode(o)
		case b.index == indexSVN && o.OutdatedTCB:
			b.value = le.AppendUint64(nil, outdatedSVN)
		case b.index == indexVersion && o.has(FirmwareVersion):
			b.value = []byte("assize-simfw 1.4.1")
		case b.index == indexFirmware && o.Measurement, b.index == indexROM && o.has(ROM), b.index == indexHardwareConfig && o.has(HardwareConfig),
			b.index == indexFirmwareConfig && o.has(FirmwareConfig), b.index == indexManifest && o.has(Manifest):
			b.value, b.raw = flipped(b.value), flipped(b.raw)
		}
		if b.index > indexUnknown && len(out) > 0 && out[len(out)-1].index < indexUnknown && o.has(BlockUnknown) {
			out = append(out, block{index: indexUnknown, kind: typeFirmware, value: sum(o.MeasurementHash, []byte("unknown"))})
		}
		out = append(out, b)
	}
	return out
}

// flipped is a copy with another last bit.
func flipped(b []byte) []byte {
	out := bytes.Clone(b)
	if len(out) > 0 {
		out[len(out)-1] ^= 1
	}
	return out
}

func reportedMode(o Options) []byte {
	state, debug := uint32(modeNormal), uint32(0)
	switch {
	case o.has(Recovery):
		state = modeRecovery
	case o.has(Manufacturing):
		state = modeManufacturing
	}
	switch {
	case o.Debug:
		debug = debugAllNow
	case o.has(DebugWas):
		debug = debugSinceReset
	}
	return deviceMode(state, debug)
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

// malformed encodes all blocks as no device should, and says how many there are.
func malformed(o Options, blocks []block) (out []byte, count int) {
	count = len(blocks)
	switch {
	case o.has(BlockTwice):
		blocks = append(slices.Clone(blocks), blocks[count-1])
		count++
	case o.has(BlockOrder):
		blocks = append([]block{blocks[1], blocks[0]}, blocks[2:]...)
	case o.has(BlockCount):
		count++
	}
	out = record(blocks)
	if o.has(BlockSize) {
		out[2]++
	}
	if o.has(BlockSpecification) {
		out[1] = 2
	}
	return out, count
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

// cut is a log without its last entry.
func cut(log []byte) []byte {
	at := 16
	for at < len(log) {
		n := 11 + int(le.Uint16(log[at+9:]))
		if at+n == len(log) {
			break
		}
		at += n
	}
	out := bytes.Clone(log[:at])
	le.PutUint32(out, le.Uint32(log)-1)
	le.PutUint32(out[4:], uint32(at-16))
	return out
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
