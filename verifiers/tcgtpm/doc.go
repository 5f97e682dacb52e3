// SPDX-License-Identifier: Apache-2.0

// Package tcgtpm appraises quotes of TPM 2.0, discrete, in firmware or virtual
// (scheme tcg-tpm). Begin with Scheme.
//
// A leaf is taken apart (abi.go); the quote is verified by verifiers/internal/tpm
// under the key that the leaf brings; then the question is who vouches for that
// key (vouch.go, chain.go): a certificate under a root that is trusted here, or a
// signed document that names it. The event log is used if it replays to the
// quoted registers (package measuredboot), and these are compared with reference values
// (the same package). What each outcome costs is in the scheme's appraisal policy
// (policy.go).
//
// A TPM is no trusted execution environment: nothing here ever says anything of
// the claim hardware. Where a CPU's report commits to the key, package binding
// says so.
//
// What a good result does not prove is in README.md.
package tcgtpm
