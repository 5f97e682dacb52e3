// SPDX-License-Identifier: Apache-2.0

// Package inteltdx simulates a trust domain on a server with Intel TDX: a test
// PKI shaped like Intel's, the signed collateral of the platform, and quotes of
// formats 4 and 5 whose layout is that of real ones to the byte.
//
//	d, err := inteltdx.New(inteltdx.Options{Vendor: v, Device: s, Now: now})
//	quote, err := d.Evidence(reportData) // 64 bytes
//	root := d.Root()                     // for the trust file of a verifier
//	files, err := d.Endorsements()       // collateral for --endorsements
//	refs := d.Measurements()             // honest reference values
//
// TSMReport and JSON wrap a quote for transport; EventLog is the event log of
// the boot, whose replay gives the runtime registers.
//
// Everything follows from the options: same options and same report data, same
// bytes. The root, the PCK Platform CA and the TCB signing certificate follow
// from Options.Vendor alone. The PCK certificate follows from device, TCB level
// and year; the collateral from vendor, day and what is revoked, so that healthy
// machines of one vendor share one file.
//
// The subject common names, the SGX extension of the PCK certificate and the
// signers of quoting enclave and TDX module are what verifiers look for and
// therefore Intel's own; every other name is fictitious, and so is the FMSPC.
// Nothing here chains to a root that a verifier trusts by itself.
//
// Layouts: Intel TDX DCAP Quoting Library API (quotes), Intel SGX PCK
// Certificate and CRL Profile Specification (certificates), Intel PCS API
// version 4 (collateral), TCG PC Client Platform Firmware Profile with the
// register numbering of the UEFI CC measurement protocol (event log).
package inteltdx
