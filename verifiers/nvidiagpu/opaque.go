// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assize/assize/verifiers/internal/nvidia"
)

// Opaque field types of GPU reports besides those that switches have too.
const (
	opaqueGPUInfo       = 4
	opaqueNVDEC0        = 11
	opaqueCPRInfo       = 13
	opaqueBoard         = 14
	opaqueChipSKU       = 15
	opaqueChipSKUMod    = 16
	opaqueProject       = 17
	opaqueProjectSKU    = 18
	opaqueProjectSKUMod = 19
	opaqueProtectedPCIe = 21
	opaqueSysEnable     = 33
	opaqueChipInfo      = 35
	opaqueFeature       = 36
)

// maxOpaqueVersion is the newest OPAQUE_DATA_VERSION whose meaning is known.
const maxOpaqueVersion = 1

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
	// unused are fields that have a name and that no known device reports, in
	// hexadecimal by that name; see unusedName.
	unused map[string]string
	// odd says which fields of a known type cannot be read, and why.
	odd []string
	// foreign are the field types by which a switch describes itself.
	foreign []int

	// The following are only of a GPU whose FSP answers, see describe.
	fsp bool
	// apsku is four upper-case hexadecimal digits, firmware five groups of two
	// ("97.00.F3.00.07"); "" if not known. The firmware is a hint, see hint.
	apsku, firmware string
	// hinted says why a hint does not count.
	hinted string
	// impostor says that the transcript is of another device than the
	// certificates.
	impostor string
	// raw are the SPDM indices of values that are no digests: state and identity,
	// for which there need not be reference values.
	raw []int
	// manifest: there is an SPDM measurement manifest.
	manifest bool
}

// readDetails gives the opaque fields of a signed report their meaning. It does
// not fail: the device has signed what is there. A field of an unknown type is
// listed only, so that new firmware is not a parse failure; one of a known type
// with a wrong size, or text outside [A-Za-z0-9._-], counts as not there and is
// named in odd. The version comes first, because it decides what the others mean.
func readDetails(fields []nvidia.Field) *details {
	d := &details{}
	for _, f := range fields {
		if f.Type != nvidia.OpaqueVersion {
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
		case f.Type == nvidia.OpaqueVersion:
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

func (d *details) misread(f nvidia.Field, err error) {
	d.odd = append(d.odd, nvidia.Misread(f, err))
}

// defined reports whether the version says what a field is. Of a newer one only
// what identifies the firmware is taken to have stayed, in its known form: a
// later format may mean something else by the same numbers.
func (d *details) defined(f nvidia.Field) bool {
	if !d.newer() {
		return f.Type != opaqueFeature || d.version >= 1
	}
	switch f.Type {
	case nvidia.OpaqueDriver, nvidia.OpaqueVBIOS, nvidia.OpaqueFWID:
		return (&details{}).read(f) == nil
	}
	return false
}

func (d *details) read(f nvidia.Field) (err error) {
	v := f.Value
	switch f.Type {
	case nvidia.OpaqueDriver:
		d.driver, err = nvidia.Text(v, true)
	case nvidia.OpaqueVBIOS:
		d.vbios, err = vbios(v)
	case opaqueProject:
		d.project, err = nvidia.Text(v, false)
	case opaqueProjectSKU:
		d.projectSKU, err = nvidia.Text(v, false)
	case opaqueProjectSKUMod:
		d.projectSKUMod, err = nvidia.Text(v, false)
	case opaqueChipSKU:
		d.chipSKU, err = nvidia.Text(v, false)
	case opaqueChipSKUMod:
		d.chipSKUMod, err = nvidia.Text(v, false)
	case opaqueChipInfo:
		d.chipInfo, err = nvidia.Text(v, false)
	case opaqueBoard:
		d.board, err = nvidia.Octets(v, 4)
	case opaqueGPUInfo:
		d.gpuInfo, err = nvidia.Octets(v, 8)
	case opaqueCPRInfo:
		d.cprInfo, err = nvidia.Octets(v, 4)
	case opaqueSysEnable:
		d.sysEnable, err = nvidia.Octets(v, 2)
	case nvidia.OpaqueMSRSCNT:
		d.counter, err = nvidia.Octets(v, 256)
	default:
		return d.readState(f)
	}
	return err
}

// readState reads the fields that describe state rather than identity.
func (d *details) readState(f nvidia.Field) (err error) {
	v := f.Value
	switch f.Type {
	case opaqueNVDEC0:
		d.nvdec0, err = state(v)
	case opaqueProtectedPCIe:
		d.protectedPCIe, err = state(v)
	case nvidia.OpaqueFWID:
		// Also of another size it is there, and differs from the certificate's.
		if d.fwid = v; len(v) != nvidia.FWIDSize {
			err = fmt.Errorf("FWID of %d bytes, expected %d", len(v), nvidia.FWIDSize)
		}
	case nvidia.OpaquePDI:
		d.switches, err = switchPDIs(v)
	case opaqueFeature:
		if len(v) != 2 {
			return fmt.Errorf("%d bytes, expected 2", len(v))
		}
		d.feature = feature(int(binary.LittleEndian.Uint16(v)))
	case nvidia.OpaquePosition, nvidia.OpaqueLock, nvidia.OpaqueGPUs:
		d.foreign = append(d.foreign, int(f.Type))
	default:
		return d.readUnused(f)
	}
	return err
}

// readUnused keeps a field of which no more is known than its name, or not even
// that.
func (d *details) readUnused(f nvidia.Field) error {
	name := unusedName(f.Type)
	switch {
	case name == "":
		d.unknown = append(d.unknown, int(f.Type))
		return nil
	case len(f.Value) > maxUnused:
		return fmt.Errorf("%d bytes, at most %d", len(f.Value), maxUnused)
	case d.unused == nil:
		d.unused = map[string]string{}
	}
	d.unused[name] = hex.EncodeToString(f.Value)
	return nil
}

// maxUnused is room for a key identifier, a name or a word for each of 18 links,
// in bytes.
const maxUnused = 256

// unusedName is the name of a type of field in NVIDIA's verifiers whose contents
// are told nowhere, "" for one that has none.
func unusedName(typ uint16) string {
	switch typ {
	case 1:
		return "cert-issuer-name"
	case 2:
		return "cert-authority-key-identifier"
	case 5:
		return "sku"
	case 7:
		return "manufacturer-id"
	case 8:
		return "tamper-detection"
	case 9:
		return "smc"
	case 10:
		return "vpr"
	case 32:
		return "gpu-link-conn"
	}
	return ""
}

// vbios renders the version as NVIDIA prints it: bytes 3, 2, 1, 0 and 4 in
// upper-case hexadecimal, joined by dots; bytes 5..7 have no place in it.
func vbios(v []byte) (string, error) {
	if len(v) != 8 {
		return "", fmt.Errorf("VBIOS version of %d bytes, expected 8", len(v))
	}
	return fmt.Sprintf("%02X.%02X.%02X.%02X.%02X", v[3], v[2], v[1], v[0], v[4]), nil
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

// Modes of confidential computing, as FEATURE_FLAG numbers them from 0.
const (
	modeSingle        = "spt"
	modeMulti         = "mpt"
	modeProtectedPCIe = "ppcie"
)

func feature(n int) string {
	names := []string{modeSingle, modeMulti, modeProtectedPCIe}
	if n < len(names) {
		return names[n]
	}
	return fmt.Sprintf("unknown (%d)", n)
}

// switchPDIs reads one little-endian PDI per NVLink; certificates and switches
// write the same number big-endian, which is the spelling used here.
func switchPDIs(v []byte) ([]string, error) {
	if len(v)%nvidia.PDISize != 0 {
		return nil, fmt.Errorf("%d bytes are no list of 8-byte PDIs", len(v))
	}
	var out []string
	for link := range slices.Chunk(v, nvidia.PDISize) {
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
