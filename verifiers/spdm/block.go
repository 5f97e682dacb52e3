// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"encoding/binary"
	"fmt"
)

// ValueType is DMTFSpecMeasurementValueType without bit 7 (DSP0274).
type ValueType uint8

// The value types.
const (
	TypeImmutableROM       ValueType = 0
	TypeMutableFirmware    ValueType = 1
	TypeHardwareConfig     ValueType = 2
	TypeFirmwareConfig     ValueType = 3
	TypeManifest           ValueType = 4
	TypeDeviceMode         ValueType = 5
	TypeFirmwareVersion    ValueType = 6
	TypeSVN                ValueType = 7
	TypeHashExtend         ValueType = 8  // 1.3
	TypeInformational      ValueType = 9  // 1.3
	TypeStructuredManifest ValueType = 10 // 1.3
)

// typeNames are the names in claims and reasons.
var typeNames = [...]string{"immutable-rom", "mutable-firmware", "hardware-configuration", "firmware-configuration", "manifest", "device-mode",
	"firmware-version", "firmware-svn", "hash-extend", "informational", "structured-manifest"}

// String returns the name of the type, or its number.
func (t ValueType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Indices with a fixed meaning.
const (
	IndexManifest   uint8 = 0xFD
	IndexDeviceMode uint8 = 0xFE
)

// Block is one measurement block in DMTF format.
type Block struct {
	// Raw is the whole block with its 4+3 bytes of headers.
	Raw []byte
	// Index is 1 to 0xFE.
	Index uint8
	Type  ValueType
	// RawBits tells that Value is a raw bit stream (bit 7 of the value type);
	// otherwise it is a digest of the negotiated measurement hash.
	RawBits bool
	Value   []byte
}

const (
	sizeSVN        = 8
	sizeDeviceMode = 16
)

func parseBlock(r *reader, v *VCA) Block {
	start := r.at
	b := Block{Index: r.u8("block index")}
	specification := r.u8("block specification")
	size := int(r.u16("block size"))
	kind := r.u8("value type")
	b.Type, b.RawBits = ValueType(kind&0x7F), kind&0x80 != 0
	length := int(r.u16("value size"))
	if r.err != nil {
		return b
	}
	digest := v.MeasurementHash.Size()
	switch {
	case b.Index == 0 || b.Index == 0xFF:
		r.fail(KindMalformed, start, "0x01 to 0xfe", b.Index, "block index")
	case specification != 1:
		r.fail(KindMalformed, start+1, "0x01 (DMTF)", specification, "block specification")
	case size != length+3:
		r.fail(KindMalformed, start+2, length+3, size, "block size does not fit the value size")
	case !b.RawBits && digest == 0:
		r.fail(KindMalformed, start+4, "raw bit streams", "digest", "value although no measurement hash is negotiated")
	case !b.RawBits && length != digest:
		r.fail(KindMalformed, start+5, digest, length, "length of the digest (measurement hash %s)", v.MeasurementHash)
	case b.RawBits && b.Type == TypeSVN && length != sizeSVN:
		r.fail(KindMalformed, start+5, sizeSVN, length, "length of the security version number")
	case b.RawBits && b.Type == TypeDeviceMode && length != sizeDeviceMode:
		r.fail(KindMalformed, start+5, sizeDeviceMode, length, "length of the device mode")
	}
	b.Value = r.bytes(length, "measurement value")
	b.Raw = r.since(start)
	return b
}

// SVN returns the security version number; ok is false for other blocks.
func (b Block) SVN() (svn uint64, ok bool) {
	if !b.RawBits || b.Type != TypeSVN || len(b.Value) != sizeSVN {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b.Value), true
}

// Digest returns the digest form of a block: the value of a digest, or the
// measurement hash of a raw bit stream (DSP0274: both forms of one index agree).
// KindUnsupported if that hash cannot be computed here.
func (b Block) Digest(h MeasurementHash) ([]byte, error) {
	if !b.RawBits {
		return b.Value, nil
	}
	if _, ok := h.Hash(); !ok {
		return nil, refuse(StageMeasurements, KindUnsupported, "measurements", "measurement hash %s cannot be computed", h)
	}
	return h.base().sum(b.Value), nil
}

// DeviceMode is the value of the block with index 0xFE.
type DeviceMode struct {
	// OperationalCapabilities and Operational: the modes that the device has and
	// the one that it is in.
	OperationalCapabilities, Operational OperationalMode
	// DebugCapabilities and Debug: what the device can report, and what is so.
	DebugCapabilities, Debug DebugMode
}

// OperationalMode is a set of operational modes.
type OperationalMode uint32

// The operational modes.
const (
	ModeManufacturing  OperationalMode = 1 << 0
	ModeValidation     OperationalMode = 1 << 1
	ModeNormal         OperationalMode = 1 << 2
	ModeRecovery       OperationalMode = 1 << 3
	ModeRMA            OperationalMode = 1 << 4
	ModeDecommissioned OperationalMode = 1 << 5
)

// DebugMode is a set of facts about debugging.
type DebugMode uint32

// The facts about debugging.
const (
	DebugNonInvasive              DebugMode = 1 << 0 // active now
	DebugInvasive                 DebugMode = 1 << 1 // active now
	DebugNonInvasiveSinceReset    DebugMode = 1 << 2
	DebugInvasiveSinceReset       DebugMode = 1 << 3
	DebugInvasiveSinceManufacture DebugMode = 1 << 4
)

// Active tells whether any debugging is possible now.
func (d DebugMode) Active() bool { return d&(DebugNonInvasive|DebugInvasive) != 0 }

// DeviceMode returns the device mode; ok is false for other blocks.
func (b Block) DeviceMode() (m DeviceMode, ok bool) {
	if !b.RawBits || b.Type != TypeDeviceMode || len(b.Value) != sizeDeviceMode {
		return DeviceMode{}, false
	}
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b.Value[at:]) }
	return DeviceMode{
		OperationalCapabilities: OperationalMode(u32(0)), Operational: OperationalMode(u32(4)),
		DebugCapabilities: DebugMode(u32(8)), Debug: DebugMode(u32(12)),
	}, true
}
