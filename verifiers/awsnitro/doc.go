// SPDX-License-Identifier: Apache-2.0

// Package awsnitro appraises attestation documents of AWS Nitro enclaves
// (COSE_Sign1 with ES384, PCRs of SHA-384). Begin with Scheme.
//
// A document is read strictly (abi.go); its signature and the chain from the
// pinned AWS root G1 to the enclave's certificate are checked as of the time in
// the document, which must lie within bounds of the time of the appraisal
// (verify.go, chain.go); revocation lists count where they were given
// (revocation.go); the PCRs tell a debug enclave (validate.go) and are compared
// with reference values (references.go). What each finding costs is the policy
// (policy.go).
//
// The cryptography is done here and not by hf/nitrite: that library panics on a
// curve that whoever sends the document chooses, and verifies five P-384
// signatures for every document. It serves as oracle in tests.
//
// What a good result does not prove is in README.md.
package awsnitro
