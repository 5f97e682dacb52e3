// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"encoding/binary"
	"fmt"
)

// Layout of ATTESTATION_REPORT (AMD 56860), offsets and sizes in bytes; numbers
// are little-endian.
const (
	reportSize = 0x4a0
	signedSize = 0x2a0

	// halfSize is what R and S take each, scalarSize what a P-384 number does.
	halfSize   = 72
	scalarSize = 48

	chipIDSize    = 64
	turinChipSize = 8

	minVersion     = 2
	cpuidVersion   = 3 // the first with CPUID
	mitigationsVer = 5 // the first with mitigation vectors
	maxVersion     = 5

	// algorithmECDSA is ECDSA P-384 with SHA-384.
	algorithmECDSA = 1
	maxVMPL        = 3
)

// Bits of the word at 0x48.
const (
	signerAuthorKey = 1 << 0
	signerMaskChip  = 1 << 1
	signerKnown     = 0x1f
)

// keyKind is who signs reports: the field SIGNING_KEY.
type keyKind uint32

const (
	kindVCEK keyKind = 0
	kindVLEK keyKind = 1
	kindNone keyKind = 7
)

func (k keyKind) String() string {
	switch k {
	case kindVCEK:
		return "VCEK"
	case kindVLEK:
		return "VLEK"
	case kindNone:
		return "none"
	}
	return fmt.Sprintf("SIGNING_KEY %d", uint32(k))
}

// report is one report; raw is a slice of the evidence, of reportSize bytes.
type report struct {
	raw     []byte
	version uint32
}

// formError is a report of another form than the ABI gives it. Version tells
// apart what is unknown from what is broken.
type formError struct {
	unsupported bool
	detail      string
}

func (e *formError) Error() string { return e.detail }

func broken(format string, a ...any) error { return &formError{detail: fmt.Sprintf(format, a...)} }

// parseReport checks form and reserved fields and copies nothing.
func parseReport(raw []byte) (*report, error) {
	if len(raw) != reportSize {
		return nil, broken("%d bytes, expected %d", len(raw), reportSize)
	}
	r := &report{raw: raw, version: binary.LittleEndian.Uint32(raw)}
	switch {
	case r.version < minVersion || r.version > maxVersion:
		return nil, &formError{true, fmt.Sprintf("version %d, known are %d to %d", r.version, minVersion, maxVersion)}
	case r.u32(0x34) != algorithmECDSA:
		return nil, &formError{true, fmt.Sprintf("SIGNATURE_ALGO %d, expected %d (ECDSA P-384 with SHA-384)", r.u32(0x34), algorithmECDSA)}
	case r.vmpl() > maxVMPL:
		return nil, broken("VMPL %d, at most %d", r.vmpl(), maxVMPL)
	case r.u32(0x48)&^signerKnown != 0:
		return nil, broken("reserved bits at 0x48: 0x%08x", r.u32(0x48))
	}
	for _, z := range r.reserved() {
		for i := z[0]; i < z[1]; i++ {
			if raw[i] != 0 {
				return nil, broken("reserved byte 0x%x is 0x%02x, expected 0", i, raw[i])
			}
		}
	}
	return r, nil
}

// reserved are the ranges that must be zero, which depend on the version.
func (r *report) reserved() [][2]int {
	cpuid, mitigations := 0x188, 0x1f8
	if r.version >= cpuidVersion {
		cpuid = 0x18b
	}
	if r.version >= mitigationsVer {
		mitigations = 0x208
	}
	return [][2]int{
		{0x4c, 0x50}, {cpuid, 0x1a0}, {0x1eb, 0x1ec}, {0x1ef, 0x1f0}, {mitigations, signedSize}, {signedSize + 2*halfSize, reportSize},
	}
}

func (r *report) u32(at int) uint32 { return binary.LittleEndian.Uint32(r.raw[at:]) }
func (r *report) u64(at int) uint64 { return binary.LittleEndian.Uint64(r.raw[at:]) }

func (r *report) guestSVN() uint32        { return r.u32(0x04) }
func (r *report) policy() uint64          { return r.u64(0x08) }
func (r *report) familyID() []byte        { return r.raw[0x10:0x20] }
func (r *report) imageID() []byte         { return r.raw[0x20:0x30] }
func (r *report) vmpl() uint32            { return r.u32(0x30) }
func (r *report) currentTCB() tcbBytes    { return tcbBytes(r.raw[0x38:0x40]) }
func (r *report) platformInfo() uint64    { return r.u64(0x40) }
func (r *report) signer() keyKind         { return keyKind(r.u32(0x48) >> 2 & 7) }
func (r *report) authorKey() bool         { return r.u32(0x48)&signerAuthorKey != 0 }
func (r *report) chipKeyMasked() bool     { return r.u32(0x48)&signerMaskChip != 0 }
func (r *report) reportData() []byte      { return r.raw[0x50:0x90] }
func (r *report) measurement() []byte     { return r.raw[0x90:0xc0] }
func (r *report) hostData() []byte        { return r.raw[0xc0:0xe0] }
func (r *report) idKeyDigest() []byte     { return r.raw[0xe0:0x110] }
func (r *report) authorKeyDigest() []byte { return r.raw[0x110:0x140] }
func (r *report) reportID() []byte        { return r.raw[0x140:0x160] }
func (r *report) reportIDMA() []byte      { return r.raw[0x160:0x180] }
func (r *report) reportedTCB() tcbBytes   { return tcbBytes(r.raw[0x180:0x188]) }
func (r *report) chipID() []byte          { return r.raw[0x1a0:0x1e0] }
func (r *report) committedTCB() tcbBytes  { return tcbBytes(r.raw[0x1e0:0x1e8]) }
func (r *report) launchTCB() tcbBytes     { return tcbBytes(r.raw[0x1f0:0x1f8]) }

// cpuid is family, model and stepping; ok is false before version 3.
func (r *report) cpuid() (family, model, stepping byte, ok bool) {
	return r.raw[0x188], r.raw[0x189], r.raw[0x18a], r.version >= cpuidVersion
}

// firmware is a version of the firmware as numbers that compare: major, minor,
// build.
type firmware [3]byte

func (f firmware) String() string { return fmt.Sprintf("%d.%d.%d", f[0], f[1], f[2]) }

func (r *report) currentFirmware() firmware {
	return firmware{r.raw[0x1ea], r.raw[0x1e9], r.raw[0x1e8]}
}

func (r *report) committedFirmware() firmware {
	return firmware{r.raw[0x1ee], r.raw[0x1ed], r.raw[0x1ec]}
}

// mitigations are the vectors at launch and now; zero before version 5.
func (r *report) mitigations() (launch, current uint64) {
	if r.version < mitigationsVer {
		return 0, 0
	}
	return r.u64(0x1f8), r.u64(0x200)
}

// chipMasked tells that the host hides CHIP_ID.
func (r *report) chipMasked() bool { return allZero(r.chipID()) }

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
