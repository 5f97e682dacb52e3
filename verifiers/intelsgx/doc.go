// SPDX-License-Identifier: Apache-2.0

// Package intelsgx appraises Intel SGX quotes of formats 3, 4 and 5 (ECDSA
// P-256). Begin with Scheme.
//
// Quotes, their signatures, collateral and Intel's algorithm are those of
// verifiers/internal/dcap, which this scheme shares with that for TDX. What is
// left is the enclave itself: its attributes are judged by policy.go and
// validate.go, its identity by reference values (references.go): MRENCLAVE, or
// MRSIGNER with product and lowest security version.
//
// What a good result does not prove is in README.md.
package intelsgx
