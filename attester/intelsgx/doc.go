// SPDX-License-Identifier: Apache-2.0

// Package intelsgx simulates an enclave on a platform with Intel SGX: a test PKI
// shaped like Intel's, the signed collateral of the platform, and quotes of
// formats 3, 4 and 5 whose layout is that of real ones to the byte.
//
//	d, err := intelsgx.New(intelsgx.Options{Vendor: v, Device: s, Now: now})
//	quote, err := d.Evidence(reportData) // 64 bytes
//	root := d.Root()                     // for the trust file of a verifier
//	files, err := d.Endorsements()       // collateral for --endorsements
//	refs := d.Measurements()             // honest reference values
//
// Everything follows from the options: same options and same report data, same
// bytes. Authorities follow from Options.Vendor alone and are those of
// attester/inteltdx; the platforms of the two packages are different ones.
//
// The subject common names, the SGX extension of the PCK certificate and the
// signer of the quoting enclave are what verifiers look for and therefore
// Intel's own; every other name is fictitious, and so are the FMSPCs. Nothing
// here chains to a root that a verifier trusts by itself.
//
// Layouts: Intel SGX ECDSA Quote Library API (quotes), Intel SDM volume 3D
// (REPORT), Intel SGX PCK Certificate and CRL Profile Specification
// (certificates), Intel PCS API version 4 (collateral).
package intelsgx
