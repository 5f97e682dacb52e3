// SPDX-License-Identifier: Apache-2.0

// Package inteltdx appraises Intel TDX quotes of formats 4 and 5 (ECDSA P-256).
// Begin with Scheme.
//
// A quote is parsed (abi.go), its PCK chain, QE report and signature are
// checked against Intel's pinned root (verify.go), then the platform's TCB is
// judged with Intel-signed collateral, if there is some, and the TD's
// attributes by fixed rules (validate.go), and its measurements by reference
// values (references.go). Collateral is verified once, when the
// verifier is made (store.go); an appraisal chooses what is valid and newest
// (collateral.go) and judges by it (tcb.go). The
// cryptography is done here and not by go-tdx-guest: that library accepts
// platforms that Intel calls out of date, knows one of two PCK CAs, ignores
// issue dates, and verifies all collateral again for every quote. It serves as
// second parser, and as oracle in tests.
//
// What a good result does not prove is in README.md.
package inteltdx
