// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"crypto"
	_ "crypto/sha256" // TPM_ALG_SHA256
	_ "crypto/sha512" // TPM_ALG_SHA384, TPM_ALG_SHA512
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/verdict"
)

// Sizes in bytes.
const (
	// MaxQuote is the longest TPMS_ATTEST that is read, a quote of a few banks.
	MaxQuote = 1 << 10
	// MaxSignature is the longest TPMT_SIGNATURE: RSA with 4096 bits.
	MaxSignature = 6 + 512
	// MaxPublic is the longest TPMT_PUBLIC.
	MaxPublic = 1 << 10

	maxName      = 2 + 64 // hash algorithm and digest
	maxExtraData = 64     // a TPM takes as much as its longest digest
	maxBanks     = 16
	// PCRCount is how many registers a bank has (PC Client Platform).
	PCRCount = 24
)

// Algorithm identifiers (TCG algorithm registry).
const (
	algRSA    = 0x0001
	algSHA256 = 0x000b
	algSHA384 = 0x000c
	algSHA512 = 0x000d
	algNull   = 0x0010
	algRSASSA = 0x0014
	algRSAPSS = 0x0016
	algECDSA  = 0x0018
	algECC    = 0x0023

	curveP256 = 0x0003
	curveP384 = 0x0004
)

// Error is why something is not accepted.
type Error struct {
	// Code is a reason code (verdict.ReasonMalformed …).
	Code string
	// Detail says it in the words of the TPM.
	Detail string
}

// Error implements error.
func (e *Error) Error() string { return "tpm: " + e.Detail }

func errorf(code, format string, a ...any) error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, a...)}
}

// hashOf is the hash of an algorithm identifier; 0 for one that is not accepted,
// SHA-1 among them.
func hashOf(alg uint16) crypto.Hash {
	switch alg {
	case algSHA256:
		return crypto.SHA256
	case algSHA384:
		return crypto.SHA384
	case algSHA512:
		return crypto.SHA512
	}
	return 0
}

// reader takes a structure apart, big-endian. The first error stays.
type reader struct {
	what string // the structure
	raw  []byte
	at   int
	err  error
}

func (r *reader) fail(code, format string, a ...any) {
	if r.err == nil {
		r.err = errorf(code, "%s, byte %d: %s", r.what, r.at, fmt.Sprintf(format, a...))
	}
}

// take returns the next n bytes, nil after an error.
func (r *reader) take(n int, field string) []byte {
	if r.err == nil && n > len(r.raw)-r.at {
		r.fail(verdict.ReasonMalformed, "%s has %d bytes, there are %d", field, n, len(r.raw)-r.at)
	}
	if r.err != nil {
		return nil
	}
	b := r.raw[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *reader) u8(field string) byte {
	if b := r.take(1, field); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) u16(field string) uint16 {
	if b := r.take(2, field); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) u32(field string) uint32 {
	if b := r.take(4, field); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) u64(field string) uint64 {
	if b := r.take(8, field); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// sized reads a TPM2B: two bytes of length, and so many bytes.
func (r *reader) sized(most int, field string) []byte {
	n := int(r.u16("size of " + field))
	if r.err == nil && n > most {
		r.fail(verdict.ReasonMalformed, "%s has %d bytes, at most %d", field, n, most)
	}
	return r.take(n, field)
}

// end wants nothing behind the structure.
func (r *reader) end() error {
	if r.err == nil && r.at != len(r.raw) {
		r.fail(verdict.ReasonMalformed, "%d bytes behind the structure", len(r.raw)-r.at)
	}
	return r.err
}
