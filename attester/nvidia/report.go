// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strconv"
)

// Types of the opaque data of reports.
const (
	opaqueDriver        = 3
	opaqueGPUInfo       = 4
	opaqueVBIOS         = 6
	opaqueNVDEC0        = 11
	opaqueCounters      = 12
	opaqueCPRInfo       = 13
	opaqueBoard         = 14
	opaqueChipSKU       = 15
	opaqueChipSKUMod    = 16
	opaqueProject       = 17
	opaqueProjectSKU    = 18
	opaqueProjectSKUMod = 19
	opaqueFWID          = 20
	opaqueProtectedPCIe = 21
	opaquePDI           = 22 // of the switches behind the links, or of the switch itself
	opaqueFloorswept    = 23
	opaquePosition      = 24
	opaqueLock          = 25
	opaqueGPUPDIs       = 26
	opaqueSysEnable     = 33
	opaqueVersion       = 34
	opaqueChipInfo      = 35
	opaqueFeature       = 36
)

// Sizes in bytes of the two SPDM 1.1 messages (DSP0274).
const (
	nonceAt      = 4
	requestSize  = 37
	headerSize   = 8
	responderLen = 32
)

// opaque is a list of {type, size, data} with little-endian 16-bit numbers.
type opaque []byte

func (o *opaque) add(typ uint16, v ...byte) {
	*o = binary.LittleEndian.AppendUint16(*o, typ)
	*o = binary.LittleEndian.AppendUint16(*o, uint16(len(v)))
	*o = append(*o, v...)
}

func (o *opaque) number(typ, n uint16) { o.add(typ, byte(n), byte(n>>8)) }

// padded is ASCII filled up with NUL to n bytes.
func padded(s string, n int) []byte { return append([]byte(s), make([]byte, n-len(s))...) }

// counterField widens the counters to 32 bits.
func counterField(text string) ([]byte, error) {
	raw, err := hex.DecodeString(text)
	if err != nil {
		return nil, err
	}
	out := make([]byte, 4*len(raw))
	for i, c := range raw {
		out[4*i] = c
	}
	return out, nil
}

// gpuOpaque is what a GPU says, in the order in which GPUs say it.
func (d *Device) gpuOpaque(o Options, fw firmware) ([]byte, error) {
	version, err := vbiosBytes(fw.vbios)
	if err != nil {
		return nil, err
	}
	counts, err := counterField(fw.counters)
	if err != nil {
		return nil, err
	}
	m := d.model
	var out opaque
	out.add(opaqueVBIOS, version...)
	out.add(opaqueBoard, m.board...)
	out.add(opaqueChipSKU, padded(m.chipSKU, 9)...)
	out.add(opaqueChipSKUMod, padded("0", 5)...)
	out.add(opaqueProject, padded(m.project, 5)...)
	out.add(opaqueProjectSKU, padded(m.sku, 5)...)
	out.add(opaqueProjectSKUMod, m.skuMod...)
	out.add(opaqueDriver, padded(fw.driver, len(fw.driver)+1)...)
	out.add(opaqueGPUInfo, m.info...)
	out.add(opaqueCounters, counts...)
	out.add(opaqueCPRInfo, m.cpr...)
	out.add(opaqueNVDEC0, stateOff)
	out.add(opaqueFWID, d.fwid...)
	d.gpuState(&out, o, fw)
	return out, nil
}

const (
	stateOn  = 0xAA
	stateOff = 0x55
	// Values of FEATURE_FLAG.
	featureSingle, featureMulti, featureProtectedPCIe = 0, 1, 2
)

// gpuState appends the fields behind the FWID: mode and links.
func (d *Device) gpuState(out *opaque, o Options, fw firmware) {
	feature := uint16(featureSingle)
	if d.model.arch == Blackwell {
		out.add(opaqueSysEnable, 7, 7)
		if fw.chipInfo {
			out.add(opaqueChipInfo, padded(d.model.chip, 6)...)
		}
		feature = featureMulti
	} else if (len(o.Peers) == 0) != o.OtherMode {
		out.add(opaqueProtectedPCIe, stateOff)
	} else {
		feature = featureProtectedPCIe
		out.add(opaqueProtectedPCIe, stateOn)
		out.add(opaquePDI, links(o)...)
	}
	out.number(opaqueVersion, uint16(fw.version))
	if fw.feature {
		out.number(opaqueFeature, feature)
	}
}

// links are the PDIs of the switches behind the 18 links, little-endian; a link
// to a switch that is not there is disabled, which is zero.
func links(o Options) []byte {
	var out []byte
	peers := o.linked()
	for _, position := range gpuLinks[o.Position] {
		var pdi PDI
		if p := int(position - '0'); p < len(peers) {
			pdi = peers[p]
		}
		out = binary.LittleEndian.AppendUint64(out, binary.BigEndian.Uint64(pdi[:]))
	}
	return out
}

// switchOpaque is what a switch says, in the order in which switches say it.
func (d *Device) switchOpaque(o Options, fw firmware) ([]byte, error) {
	counts, err := counterField(fw.counters)
	if err != nil {
		return nil, err
	}
	var out opaque
	out.add(opaqueVBIOS, []byte(fw.vbios)...)
	out.add(opaquePDI, d.pdi[:]...)
	out.add(opaqueCounters, counts...)
	out.add(opaqueGPUPDIs, ports(o)...)
	out.add(opaqueFloorswept, 0xEC, 0)
	out.number(opaquePosition, uint16(o.Position))
	out.number(opaqueLock, 1)
	return out, nil
}

// ports are the PDIs of eight GPUs, big-endian, and for each of 64 ports the
// place of its GPU in that list, 0xFF for none.
func ports(o Options) []byte {
	out := make([]byte, maxGPUs*len(PDI{}))
	peers := o.linked()
	for i, pdi := range peers {
		copy(out[i*len(pdi):], pdi[:])
	}
	for _, c := range switchPorts[o.Position] {
		gpu := byte(0xFF)
		if c != '.' && int(c-'0') < len(peers) && peers[c-'0'] != (PDI{}) {
			gpu = byte(c - '0')
		}
		out = append(out, gpu)
	}
	return out
}

// record writes the measurement blocks: DMTF and, without forms, all of them the
// SHA-384 of mutable firmware.
func record(forms []block, values [][]byte) []byte {
	var out []byte
	for i, v := range values {
		typ := byte(typeDigest)
		if forms != nil {
			typ = forms[i].typ
		}
		out = append(out, byte(i+1), 1, byte(len(v)+3), 0, typ, byte(len(v)), 0)
		out = append(out, v...)
	}
	return out
}

// message writes GET_MEASUREMENTS and MEASUREMENTS up to the signature, with
// zeros for both nonces, and says where the responder's is.
func message(forms []block, values [][]byte, data []byte) (msg []byte, responderAt int) {
	blocks := record(forms, values)
	msg = append([]byte{0x11, 0xE0, 1, 0xFF}, make([]byte, requestSize-nonceAt)...)
	msg = append(msg, 0x11, 0x60, 0, 0, byte(len(values)), byte(len(blocks)), byte(len(blocks)>>8), byte(len(blocks)>>16))
	msg = append(msg, blocks...)
	responderAt = len(msg)
	msg = append(msg, make([]byte, responderLen)...)
	msg = binary.LittleEndian.AppendUint16(msg, uint16(len(data)))
	return append(msg, data...), responderAt
}

// values are the measurement blocks of a firmware, without any fault.
func (d *Device) values(fw firmware) [][]byte {
	if d.model.forms != nil {
		return d.fspValues(fw)
	}
	out := make([][]byte, d.model.blocks)
	for i := range out {
		out[i] = make([]byte, digestSize)
	}
	for _, i := range fw.measured {
		out[i] = d.golden(fw, i, "production")
	}
	return out
}

// golden is what the vendor's firmware measures at an index.
func (d *Device) golden(fw firmware, index int, fused string) []byte {
	return d.vendor.Sub("measurement", d.model.rimOf(fw, index), fused, strconv.Itoa(index)).Bytes(digestSize)
}

// disturb applies the faults that measurements show.
func (d *Device) disturb(values [][]byte, o Options, fw firmware) {
	if o.Debug {
		for _, i := range d.model.debugBlocks {
			values[i] = d.golden(fw, i, "debug")
		}
	}
	if o.Measurement {
		i := fw.measured[len(fw.measured)/2]
		values[i] = bytes.Clone(values[i])
		values[i][0] ^= 1
	}
}
