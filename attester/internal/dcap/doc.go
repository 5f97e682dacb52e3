// SPDX-License-Identifier: Apache-2.0

// Package dcap is what simulated platforms of Intel's have in common, whether
// they run a trust domain or an enclave: the authorities of a vendor
// (NewAuthorities), the PCK certificate of a platform (Authorities.PCK), signed
// collateral (Collateral) and quotes (NewQuotes).
//
// Everything follows from seeds. The subject common names and the SGX extension
// of the PCK certificate are what verifiers look for and therefore Intel's own;
// every other name is fictitious.
//
// Layouts: Intel SGX ECDSA Quote Library API and Intel TDX DCAP Quoting Library
// API (quotes), Intel SGX PCK Certificate and CRL Profile Specification
// (certificates), Intel PCS API version 4 (collateral).
package dcap
