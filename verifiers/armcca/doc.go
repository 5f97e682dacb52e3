// SPDX-License-Identifier: Apache-2.0

// Package armcca appraises attestation tokens of Arm CCA (Realm Management
// Monitor specification, DEN0137). Begin with Scheme.
//
// A token is a collection of two: the platform token, which the platform's
// attestation key (IAK, CPAK) signs, and the realm token, which the key of the
// realm manager signs (RAK). The platform token has the hash of the RAK as its
// challenge, the realm token that of the verifier. Both are read (abi.go), the
// hash and both signatures are checked (verify.go), then lifecycle and challenge
// (validate.go), and measurements against reference values (references.go).
//
// There are no certificates. The public key of each platform comes out of a
// reference document (attest-key triple of a CoRIM), and without one nothing in a
// token is proven: hardware and instance-identity are then 97, and nothing else
// is said.
//
// What a good result does not prove is in README.md.
package armcca
