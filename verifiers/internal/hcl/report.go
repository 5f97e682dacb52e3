// SPDX-License-Identifier: Apache-2.0

package hcl

import (
	"crypto"
	_ "crypto/sha256" // hash types 1
	_ "crypto/sha512" // and 2, 3
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
)

// Layout of the report, little-endian, in bytes.
const (
	signature    = "HCLA"
	hardwareAt   = 32
	hardwareSize = 1184
	requestAt    = hardwareAt + hardwareSize
	requestSize  = 20
	runtimeAt    = requestAt + requestSize
	maxReport    = 64 << 10
	version      = 1
)

// ReportType says what hardware report there is.
type ReportType uint32

// Types of reports.
const (
	// SNP: the hardware report is an attestation report of AMD SEV-SNP.
	SNP ReportType = 2
	// TDX: the hardware report is a TDREPORT (1024 bytes and zeros), which only
	// the same platform can verify; evidence has a quote made of it beside it.
	TDX ReportType = 4
)

// Report is the content of the NV index. Its slices are those of what was parsed.
type Report struct {
	Type ReportType
	// Hardware are the 1184 bytes of the CPU's report.
	Hardware []byte
	// Hash is what the report data are made with: SHA-256, SHA-384 or SHA-512.
	Hash crypto.Hash
	// RuntimeData are the bytes that are hashed: see ParseRuntimeData.
	RuntimeData []byte
}

// ParseReport reads the content of the NV index: header, hardware report, request
// data, runtime data, and nothing but zeros behind.
func ParseReport(raw []byte) (*Report, error) {
	le := binary.LittleEndian
	switch {
	case len(raw) < runtimeAt || len(raw) > maxReport:
		return nil, fmt.Errorf("hcl: report of %d bytes, expected %d to %d", len(raw), runtimeAt, maxReport)
	case string(raw[:4]) != signature:
		return nil, fmt.Errorf("hcl: report begins with %x, expected %q", raw[:4], signature)
	case le.Uint32(raw[4:]) != version:
		return nil, fmt.Errorf("hcl: report of version %d, expected %d", le.Uint32(raw[4:]), version)
	case le.Uint32(raw[16:]) != 0:
		return nil, fmt.Errorf("hcl: report has status %d", le.Uint32(raw[16:]))
	case [12]byte(raw[20:hardwareAt]) != [12]byte{}:
		return nil, errors.New("hcl: reserved bytes of the header are not zero")
	}
	request := raw[requestAt:]
	if n := le.Uint32(raw[12:]); n != uint32(SNP) && n != le.Uint32(request[8:]) {
		return nil, fmt.Errorf("hcl: request type %d, expected %d or the report type", n, SNP)
	}
	if n := le.Uint32(request[4:]); n != version {
		return nil, fmt.Errorf("hcl: request data of version %d, expected %d", n, version)
	}
	r := &Report{Type: ReportType(le.Uint32(request[8:])), Hardware: raw[hardwareAt:requestAt:requestAt]}
	if r.Type != SNP && r.Type != TDX {
		return nil, fmt.Errorf("hcl: report type %d, expected %d (SNP) or %d (TDX)", r.Type, SNP, TDX)
	}
	switch n := le.Uint32(request[12:]); n {
	case 1:
		r.Hash = crypto.SHA256
	case 2:
		r.Hash = crypto.SHA384
	case 3:
		r.Hash = crypto.SHA512
	default:
		return nil, fmt.Errorf("hcl: hash type %d, expected 1 to 3", n)
	}
	n := le.Uint32(request[16:])
	if n == 0 || uint64(n) > uint64(len(raw)-runtimeAt) {
		return nil, fmt.Errorf("hcl: runtime data of %d bytes, %d are there", n, len(raw)-runtimeAt)
	}
	end := runtimeAt + int(n)
	// Nothing signs these two, and whoever changes them changes nothing: so that no
	// two reports have one meaning, they must be right.
	if a, b := le.Uint32(raw[8:]), le.Uint32(request); a != uint32(end) || b != requestSize+n {
		return nil, fmt.Errorf("hcl: report says that it has %d bytes and its request data %d, expected %d and %d", a, b, end, requestSize+n)
	}
	r.RuntimeData = raw[runtimeAt:end:end]
	for i, c := range raw[end:] {
		if c != 0 {
			return nil, fmt.Errorf("hcl: byte %d behind the runtime data is not zero", end+i)
		}
	}
	return r, nil
}

// Commits says whether the report data of the CPU's signed report, 64 bytes, are
// the hash of the runtime data and zeros behind it.
func (r *Report) Commits(reportData []byte) bool { return Commits(r.Hash, r.RuntimeData, reportData) }

// Commits says whether report data are the hash of runtime data, as they stand,
// and zeros behind it. A hash that is longer than the report data never is.
func Commits(h crypto.Hash, runtimeData, reportData []byte) bool {
	if !h.Available() || len(reportData) < h.Size() {
		return false
	}
	want := make([]byte, len(reportData))
	d := h.New()
	d.Write(runtimeData)
	d.Sum(want[:0])
	return subtle.ConstantTimeCompare(want, reportData) == 1
}
