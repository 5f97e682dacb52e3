// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/assize/assize/attester/pki"
)

// Offsets and sizes of the report in bytes (AMD 56860, ATTESTATION_REPORT).
// Numbers are little-endian; what is not named here is zero.
const (
	// ReportSize is the length of a report.
	ReportSize = 0x4a0
	// ReportDataSize is the length of REPORT_DATA.
	ReportDataSize = 64

	offPolicy       = 0x08
	offVMPL         = 0x30
	offAlgorithm    = 0x34
	offCurrentTCB   = 0x38
	offPlatform     = 0x40
	offSigner       = 0x48
	offReportData   = 0x50
	offMeasurement  = 0x90
	offHostData     = 0xc0
	offReportID     = 0x140
	offReportIDMA   = 0x160
	offReportedTCB  = 0x180
	offCPUID        = 0x188
	offChipID       = 0x1a0
	offCommittedTCB = 0x1e0
	offCurrent      = 0x1e8
	offCommitted    = 0x1ec
	offLaunchTCB    = 0x1f0
	offLaunchMit    = 0x1f8
	offCurrentMit   = 0x200
	offSignature    = 0x2a0

	sizeHostData = 32
	sizeChipID   = 64
	sizeHalf     = 72 // R and S, each
)

const (
	// policyHonest allows SMT, asks for ABI 0.31 and has the bit that must be 1.
	policyHonest = 1<<17 | 1<<16 | 0x1f
	policyDebug  = 1 << 19
	// platformHonest is SMT and ECC on, alias check complete.
	platformHonest = 1<<5 | 1<<2 | 1<<0
	// signerVLEK is SIGNING_KEY 1.
	signerVLEK = 1 << 2
	// algECDSA is ECDSA P-384 with SHA-384.
	algECDSA = 1
	// mitigations are those of firmware that writes version 5.
	mitigations = 0x3f
)

// firmware is build, minor and major version of the firmware.
var firmware = [3]byte{0x29, 55, 1}

// body lays out everything below the signature except REPORT_DATA.
func (d *Device) body(o *Options, tcb TCB, chip []byte) []byte {
	b := make([]byte, offSignature)
	le := binary.LittleEndian
	le.PutUint32(b, o.version())
	le.PutUint64(b[offPolicy:], policyHonest)
	if o.Debug {
		le.PutUint64(b[offPolicy:], policyHonest|policyDebug)
	}
	le.PutUint32(b[offVMPL:], o.VMPL)
	le.PutUint32(b[offAlgorithm:], algECDSA)
	le.PutUint64(b[offPlatform:], platformHonest)
	copy(b[offMeasurement:], d.measurement[:])
	if o.Measurement {
		b[offMeasurement] ^= 1
	}
	copy(b[offHostData:offHostData+sizeHostData], o.HostData)
	copy(b[offReportID:], o.Device.Sub("report id").Bytes(32))
	for i := range 32 { // no migration agent
		b[offReportIDMA+i] = 0xff
	}
	for _, at := range []int{offCurrentTCB, offReportedTCB, offCommittedTCB, offLaunchTCB} {
		le.PutUint64(b[at:], tcb.Uint64(o.Product))
	}
	if d.vlek {
		le.PutUint32(b[offSigner:], signerVLEK)
	}
	if l := &lines[o.Product]; o.version() >= 3 {
		copy(b[offCPUID:], []byte{l.family, l.model, l.stepping})
	}
	copy(b[offChipID:], chip)
	copy(b[offCurrent:], firmware[:])
	copy(b[offCommitted:], firmware[:])
	if o.version() >= 5 {
		le.PutUint64(b[offLaunchMit:], mitigations)
		le.PutUint64(b[offCurrentMit:], mitigations)
	}
	if o.Provisional {
		b[offCurrentTCB+7]++ // microcode
		b[offCurrent]++
	}
	if o.Edit != nil {
		o.Edit(b)
	}
	return b
}

// Report is the signed report alone, ReportSize bytes, with reportData as its
// REPORT_DATA of exactly ReportDataSize bytes.
func (d *Device) Report(reportData []byte) ([]byte, error) {
	return d.appendReport(make([]byte, 0, ReportSize), reportData)
}

func (d *Device) appendReport(out, reportData []byte) ([]byte, error) {
	if len(reportData) != ReportDataSize {
		return nil, fmt.Errorf("amdsnp: report data has %d bytes, not %d", len(reportData), ReportDataSize)
	}
	start := len(out)
	out = append(out, d.template...)
	copy(out[start+offReportData:], reportData)
	digest := sha512.Sum384(out[start:])
	sig, err := reportSignature(d.signer, digest[:])
	if err != nil {
		return nil, err
	}
	out = append(out, sig...)
	return append(out, make([]byte, start+ReportSize-len(out))...), nil
}

// reportSignature is R and S, little-endian, each in 72 bytes.
func reportSignature(key *ecdsa.PrivateKey, digest []byte) ([]byte, error) {
	sig, err := pki.SignFixed(key, crypto.SHA384, digest)
	if err != nil {
		return nil, fmt.Errorf("amdsnp: sign report: %w", err)
	}
	half := len(sig) / 2
	slices.Reverse(sig[:half])
	slices.Reverse(sig[half:])
	out := make([]byte, 2*sizeHalf)
	copy(out, sig[:half])
	copy(out[sizeHalf:], sig[half:])
	return out, nil
}
