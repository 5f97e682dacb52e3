// SPDX-License-Identifier: Apache-2.0

package spdm

import "fmt"

// Version is the version byte of an SPDM message: major in bits 7:4, minor in
// bits 3:0 (DSP0274, SPDM message header).
type Version uint8

// The versions that this package reads.
const (
	Version10 Version = 0x10
	Version11 Version = 0x11
	Version12 Version = 0x12
	Version13 Version = 0x13
	Version14 Version = 0x14
)

// String returns "1.2" for Version12.
func (v Version) String() string { return fmt.Sprintf("%d.%d", v>>4, v&0x0F) }

// Code is the RequestResponseCode of a message. Bit 7 is set in requests.
type Code uint8

// The message codes that this package knows (DSP0274, request and response codes).
const (
	CodeGetDigests          Code = 0x81
	CodeDigests             Code = 0x01
	CodeGetCertificate      Code = 0x82
	CodeCertificate         Code = 0x02
	CodeChallenge           Code = 0x83
	CodeChallengeAuth       Code = 0x03
	CodeGetVersion          Code = 0x84
	CodeVersion             Code = 0x04
	CodeGetMeasurements     Code = 0xE0
	CodeMeasurements        Code = 0x60
	CodeGetCapabilities     Code = 0xE1
	CodeCapabilities        Code = 0x61
	CodeNegotiateAlgorithms Code = 0xE3
	CodeAlgorithms          Code = 0x63
	CodeVendorRequest       Code = 0xFE
	CodeVendorResponse      Code = 0x7E
	CodeError               Code = 0x7F
)

var codeNames = map[Code]string{
	CodeGetDigests: "GET_DIGESTS", CodeDigests: "DIGESTS",
	CodeGetCertificate: "GET_CERTIFICATE", CodeCertificate: "CERTIFICATE",
	CodeChallenge: "CHALLENGE", CodeChallengeAuth: "CHALLENGE_AUTH",
	CodeGetVersion: "GET_VERSION", CodeVersion: "VERSION",
	CodeGetMeasurements: "GET_MEASUREMENTS", CodeMeasurements: "MEASUREMENTS",
	CodeGetCapabilities: "GET_CAPABILITIES", CodeCapabilities: "CAPABILITIES",
	CodeNegotiateAlgorithms: "NEGOTIATE_ALGORITHMS", CodeAlgorithms: "ALGORITHMS",
	CodeVendorRequest: "VENDOR_DEFINED_REQUEST", CodeVendorResponse: "VENDOR_DEFINED_RESPONSE",
	CodeError: "ERROR",
}

// String returns the name in the standard, or the number.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return fmt.Sprintf("code 0x%02x", uint8(c))
}

// Limits of this package in bytes, and counts. They are far above what devices
// send and far below what could hurt.
const (
	// MaxVCA bounds the six negotiation messages together.
	MaxVCA = 4 << 10
	// MaxChain bounds one certificate chain structure.
	MaxChain = 64 << 10
	// MaxTranscript bounds the measurement and the challenge transcript each.
	MaxTranscript = 512 << 10
	// MaxRecord bounds one measurement record; the wire field has 24 bits.
	MaxRecord = 64 << 10
	// MaxReport bounds a reassembled DEVICE_INTERFACE_REPORT.
	MaxReport = 64 << 10
	// MaxLog bounds a measurement extension log.
	MaxLog = 256 << 10
	// MaxOpaque is the limit of the standard for one opaque data field.
	MaxOpaque = 1024
	// MaxSlots is the number of certificate slots, 0 to 7.
	MaxSlots = 8
	// MaxCertificates bounds the number of certificates in one chain.
	MaxCertificates = 16
	// MaxExchanges bounds request/response pairs in one transcript.
	MaxExchanges = 512
	// NonceSize is the length of both nonces.
	NonceSize = 32
	// ContextSize is the length of the requester context from SPDM 1.3.
	ContextSize = 8
)

// maxMessage bounds a message that is parsed alone.
const maxMessage = MaxTranscript
