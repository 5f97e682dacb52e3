// SPDX-License-Identifier: Apache-2.0

// Package inteltdx appraises Intel TDX quotes of formats 4 and 5 (ECDSA P-256).
// Begin with Scheme.
//
// A quote is taken out of its container (container.go) and parsed (quote.go), and
// its PCK chain, QE report and signature are checked against Intel's pinned root;
// then the platform's TCB is judged with Intel-signed collateral, if there is
// some. All that is what TDX has in common with SGX, and done by package dcap.
// Here the TD's attributes are judged (validate.go), REPORTDATA is compared with
// the challenge (runtime.go), the event log is replayed (events.go), and the
// measurements are compared with reference values (references.go). What each
// finding costs is in policy.go, and an operator may change it.
//
// The cryptography is done in this module and not by go-tdx-guest: that library
// accepts platforms that Intel calls out of date, knows one of two PCK CAs, ignores
// issue dates, and verifies all collateral again for every quote. It serves as
// second parser (crosscheck.go), and as oracle in tests: library_test.go lists every
// known difference.
//
// What a good result does not prove is in README.md.
package inteltdx
