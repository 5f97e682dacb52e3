// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Opaque field types of GPU reports. Which of them occur depends on driver and
// firmware, so nothing but a field's own type says what it is.
const (
	opaqueDriver        = 3
	opaqueGPUInfo       = 4
	opaqueVBIOS         = 6
	opaqueNVDEC0        = 11
	opaqueMSRSCNT       = 12
	opaqueCPRInfo       = 13
	opaqueBoard         = 14
	opaqueChipSKU       = 15
	opaqueChipSKUMod    = 16
	opaqueProject       = 17
	opaqueProjectSKU    = 18
	opaqueProjectSKUMod = 19
	opaqueFWID          = 20
	opaqueProtectedPCIe = 21
	opaqueSwitchPDI     = 22
	opaqueSysEnable     = 33
	opaqueVersion       = 34
	opaqueChipInfo      = 35
	opaqueFeature       = 36
)

const (
	fwidSize = 48
	pdiSize  = 8
	// maxOpaqueVersion is the newest OPAQUE_DATA_VERSION whose meaning is known.
	maxOpaqueVersion = 1
	maxText          = 64
)

// details is what a GPU says about itself in the opaque data of its report.
type details struct {
	driver, vbios                               string
	project, projectSKU, projectSKUMod          string
	chipSKU, chipSKUMod, chipInfo               string
	board, gpuInfo, cprInfo, sysEnable, counter string // hexadecimal
	nvdec0, protectedPCIe, feature              string
	fwid                                        []byte
	// switches are the PDIs of the NVSwitches behind the links, 16 hex digits,
	// without disabled links and repetitions.
	switches []string
	// version is OPAQUE_DATA_VERSION, 0 without that field, -1 if it cannot be
	// read.
	version int
	// unknown are the field types without a known meaning in a GPU report of
	// this version.
	unknown []int
	// odd says which fields of a known type cannot be read, and why.
	odd []string
}

// readDetails gives the opaque fields of a signed report their meaning. It does
// not fail: the device has signed what is there. A field of an unknown type is
// listed only, so that new firmware is not a parse failure; one of a known type
// with a wrong size, or text outside [A-Za-z0-9._-], counts as not there and is
// named in odd. The version comes first, because it decides what the others mean.
func readDetails(fields []Field) *details {
	d := &details{}
	for _, f := range fields {
		if f.Type != opaqueVersion {
			continue
		}
		if len(f.Value) == 2 {
			d.version = int(binary.LittleEndian.Uint16(f.Value))
			continue
		}
		d.version = -1
		d.misread(f, fmt.Errorf("%d bytes, expected 2", len(f.Value)))
	}
	for _, f := range fields {
		switch {
		case f.Type == opaqueVersion:
		case !d.defined(f):
			d.unknown = append(d.unknown, int(f.Type))
		default:
			if err := d.read(f); err != nil {
				d.misread(f, err)
			}
		}
	}
	return d
}

// newer reports a version whose fields are not known, or none that can be read.
func (d *details) newer() bool { return d.version < 0 || d.version > maxOpaqueVersion }

func (d *details) misread(f Field, err error) {
	d.odd = append(d.odd, fmt.Sprintf("field %d of %d bytes: %v", f.Type, len(f.Value), err))
}

// defined reports whether the version says what a field is. Of a newer one only
// what identifies the firmware is taken to have stayed, in its known form: a
// later format may mean something else by the same numbers.
func (d *details) defined(f Field) bool {
	if !d.newer() {
		return f.Type != opaqueFeature || d.version >= 1
	}
	switch f.Type {
	case opaqueDriver, opaqueVBIOS, opaqueFWID:
		return (&details{}).read(f) == nil
	}
	return false
}

func (d *details) read(f Field) (err error) {
	v := f.Value
	switch f.Type {
	case opaqueDriver:
		d.driver, err = text(v, true)
	case opaqueVBIOS:
		d.vbios, err = vbios(v)
	case opaqueProject:
		d.project, err = text(v, false)
	case opaqueProjectSKU:
		d.projectSKU, err = text(v, false)
	case opaqueProjectSKUMod:
		d.projectSKUMod, err = text(v, false)
	case opaqueChipSKU:
		d.chipSKU, err = text(v, false)
	case opaqueChipSKUMod:
		d.chipSKUMod, err = text(v, false)
	case opaqueChipInfo:
		d.chipInfo, err = text(v, false)
	case opaqueBoard:
		d.board, err = octets(v, 4)
	case opaqueGPUInfo:
		d.gpuInfo, err = octets(v, 8)
	case opaqueCPRInfo:
		d.cprInfo, err = octets(v, 4)
	case opaqueSysEnable:
		d.sysEnable, err = octets(v, 2)
	case opaqueMSRSCNT:
		d.counter, err = octets(v, 256)
	default:
		return d.readState(f)
	}
	return err
}

// readState reads the fields that describe state rather than identity.
func (d *details) readState(f Field) (err error) {
	v := f.Value
	switch f.Type {
	case opaqueNVDEC0:
		d.nvdec0, err = state(v)
	case opaqueProtectedPCIe:
		d.protectedPCIe, err = state(v)
	case opaqueFWID:
		// Also of another size it is there, and differs from the certificate's.
		if d.fwid = v; len(v) != fwidSize {
			err = fmt.Errorf("FWID of %d bytes, expected %d", len(v), fwidSize)
		}
	case opaqueSwitchPDI:
		d.switches, err = switchPDIs(v)
	case opaqueFeature:
		if len(v) != 2 {
			return fmt.Errorf("%d bytes, expected 2", len(v))
		}
		d.feature = feature(int(binary.LittleEndian.Uint16(v)))
	default:
		d.unknown = append(d.unknown, int(f.Type))
	}
	return err
}

// text reads NUL-terminated or NUL-padded ASCII. What comes out may end up in
// file names and URLs, so the alphabet is small.
func text(v []byte, required bool) (string, error) {
	s := strings.TrimRight(string(v), "\x00")
	if len(s) > maxText || (required && s == "") {
		return "", fmt.Errorf("text of %d bytes", len(s))
	}
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') && c != '.' && c != '_' && c != '-' {
			return "", fmt.Errorf("byte 0x%02x in text", c)
		}
	}
	return s, nil
}

// vbios renders the version as NVIDIA prints it: bytes 3, 2, 1, 0 and 4 in
// upper-case hexadecimal, joined by dots; bytes 5..7 have no place in it.
func vbios(v []byte) (string, error) {
	if len(v) != 8 {
		return "", fmt.Errorf("VBIOS version of %d bytes, expected 8", len(v))
	}
	return fmt.Sprintf("%02X.%02X.%02X.%02X.%02X", v[3], v[2], v[1], v[0], v[4]), nil
}

func octets(v []byte, n int) (string, error) {
	if len(v) != n {
		return "", fmt.Errorf("%d bytes, expected %d", len(v), n)
	}
	return hex.EncodeToString(v), nil
}

func state(v []byte) (string, error) {
	if len(v) != 1 {
		return "", fmt.Errorf("state of %d bytes, expected 1", len(v))
	}
	switch v[0] {
	case 0xAA:
		return "on", nil
	case 0x55:
		return "off", nil
	}
	return fmt.Sprintf("unknown (0x%02x)", v[0]), nil
}

func feature(n int) string {
	names := []string{"spt", "mpt", "ppcie"}
	if n < len(names) {
		return names[n]
	}
	return fmt.Sprintf("unknown (%d)", n)
}

// switchPDIs reads one little-endian PDI per NVLink; certificates and switches
// write the same number big-endian, which is the spelling used here.
func switchPDIs(v []byte) ([]string, error) {
	if len(v)%pdiSize != 0 {
		return nil, fmt.Errorf("%d bytes are no list of 8-byte PDIs", len(v))
	}
	var out []string
	for link := range slices.Chunk(v, pdiSize) {
		if binary.LittleEndian.Uint64(link) == 0 {
			continue // link disabled
		}
		pdi := fmt.Sprintf("%016x", binary.LittleEndian.Uint64(link))
		if !slices.Contains(out, pdi) {
			out = append(out, pdi)
		}
	}
	return out, nil
}
