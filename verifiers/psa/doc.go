// SPDX-License-Identifier: Apache-2.0

// Package psa appraises PSA attestation tokens (RFC 9783), the evidence of
// microcontrollers with a PSA root of trust. Begin with Scheme.
//
// A token is a CWT in COSE_Sign1. It is read (abi.go), its signature checked with
// the key that a reference document states for this device, then lifecycle and
// nonce are judged (validate.go), and the software components compared with
// reference values (references.go). There are no certificates: without a document
// that states the key nothing in a token is proven.
//
// What a good result does not prove is in README.md.
package psa
