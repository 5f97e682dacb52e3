// SPDX-License-Identifier: Apache-2.0

// Package amdsnp appraises AMD SEV-SNP attestation reports of versions 2 to 5,
// from Milan, Genoa (with Bergamo and Siena) and Turin (with Turin Dense), signed
// by a VCEK or a VLEK. Begin with Scheme.
//
// A report and its certificate table are parsed (abi.go, table.go). The
// certificate of the endorsement key (VEK) comes from the table or from the
// collateral and has to chain to a pinned AMD root (roots.go, chain.go), to
// belong to the report, and to bear its signature out (verify.go). What the
// report then says of firmware, guest policy and platform is judged by the
// scheme's policy (policy.go, validate.go, tcb.yaml), and what was launched by
// reference values (references.go). Revocation lists are verified once, when the
// verifier is made (store.go).
//
// The cryptography is done here and not by go-sev-guest: that library knows no
// Turin certificates, needs help with VLEKs, compares no certificate with its
// report when it verifies, and refuses platforms by bits that it does not know.
// It gives the bytes of AMD's roots, which are compared with digests kept here,
// and is the oracle in tests.
//
// What a good result does not prove is in README.md.
package amdsnp
