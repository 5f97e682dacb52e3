// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"errors"
	"fmt"
)

// Stage is the step of Verify that stopped, in the order of the steps.
type Stage string

// The stages.
const (
	StageContainer    Stage = "container"    // CBOR container, see Decode
	StageVCA          Stage = "vca"          // the six negotiation messages
	StageMeasurements Stage = "measurements" // GET_MEASUREMENTS and MEASUREMENTS
	StageDigests      Stage = "digests"      // DIGESTS response
	StageChain        Stage = "chain"        // certificate chain structure and path
	StageLeaf         Stage = "leaf"         // rules for the leaf certificate
	StageChallenge    Stage = "challenge"    // CHALLENGE and what goes before it
	StageReport       Stage = "report"       // TDISP DEVICE_INTERFACE_REPORT
	StageTDISP        Stage = "tdisp"        // TDISP messages
	StageLog          Stage = "log"          // measurement extension log
	StageInput        Stage = "input"        // what the caller gave, not the evidence
	StageTSM          Stage = "tsm"          // what the TEE security manager says
)

// Kind says what is wrong, so that a caller can choose claims and a reason.
type Kind string

// The kinds.
const (
	// KindMalformed: the bytes do not have the form that the standard asks for,
	// or exceed a limit of this package.
	KindMalformed Kind = "malformed"
	// KindUnsupported: well formed, but an algorithm, version or mode that this
	// package cannot check. Nothing is concluded from such evidence.
	KindUnsupported Kind = "unsupported"
	// KindUnsigned: the device does not sign measurements, or this one is not signed.
	KindUnsigned Kind = "unsigned"
	// KindMissing: a part without which nothing can be verified is not there.
	KindMissing Kind = "missing"
	// KindSignature: a signature of the device does not verify.
	KindSignature Kind = "signature"
	// KindNonce: a nonce is not the expected one, or a context is not echoed.
	KindNonce Kind = "nonce"
	// KindSlot: request, response, chain or key usage disagree about the slot.
	KindSlot Kind = "slot"
	// KindContradiction: two parts that must agree do not (digest of a chain,
	// certificate portions, extension log).
	KindContradiction Kind = "contradiction"
	// KindUnknownAnchor: the chain does not end in an anchor for this slot.
	KindUnknownAnchor Kind = "unknown-anchor"
	// KindChainSignature: a certificate is not signed by the one before it.
	KindChainSignature Kind = "chain-signature"
	// KindExpired: a certificate is not valid at the given time.
	KindExpired Kind = "expired"
	// KindRootHash: the root hash of the chain structure is not the anchor's.
	KindRootHash Kind = "root-hash"
	// KindCertificate: a certificate breaks a rule of SPDM or RFC 5280.
	KindCertificate Kind = "certificate"
)

// Error is why evidence was refused. It carries no secret and is safe to show.
type Error struct {
	Stage Stage
	Kind  Kind
	// Object names the bytes that Offset counts in, for example "vca" or "chain 0".
	Object string
	// Offset is the position in Object in bytes, or -1.
	Offset int
	// Expected and Seen are readable forms of the values, or empty.
	Expected, Seen string
	// Detail is the sentence.
	Detail string
	// Err is the cause in a library, or nil.
	Err error
}

// Error implements error.
func (e *Error) Error() string {
	s := "spdm: " + e.Object
	if e.Offset >= 0 {
		s += fmt.Sprintf(" at offset %d", e.Offset)
	}
	s += ": " + e.Detail
	if e.Expected != "" || e.Seen != "" {
		s += fmt.Sprintf(" (expected %s, seen %s)", e.Expected, e.Seen)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause in a library.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the Kind of an error of this package, or "" for any other.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// refuse is an Error without an offset.
func refuse(s Stage, k Kind, object, format string, args ...any) *Error {
	return &Error{Stage: s, Kind: k, Object: object, Offset: -1, Detail: fmt.Sprintf(format, args...)}
}

// differ is an Error without an offset about two values.
func differ(s Stage, k Kind, object, detail string, expected, seen any) *Error {
	return &Error{Stage: s, Kind: k, Object: object, Offset: -1, Detail: detail, Expected: show(expected), Seen: show(seen)}
}

func show(v any) string {
	switch v := v.(type) {
	case []byte:
		return fmt.Sprintf("%x", v)
	case uint8:
		return fmt.Sprintf("0x%02x", v)
	case uint16:
		return fmt.Sprintf("0x%04x", v)
	case uint32:
		return fmt.Sprintf("0x%08x", v)
	default:
		return fmt.Sprint(v)
	}
}
