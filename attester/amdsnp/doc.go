// SPDX-License-Identifier: Apache-2.0

// Package amdsnp simulates an AMD SEV-SNP guest: the attestation report that
// the AMD secure processor would sign, the endorsement key certificate that
// the AMD key distribution service (KDS) would issue, and the revocation list
// beside it. Names, sizes and encodings are those of AMD's documents 56860
// (SEV-SNP firmware ABI), 57230 (VCEK certificate and KDS) and 56421 (GHCB,
// certificate table); the keys are worth nothing.
//
// A Vendor holds the authorities, whose RSA-4096 keys take seconds to derive:
// make one and share it. A Device is one guest on one chip:
//
//	vendor := amdsnp.NewVendor(pki.NewSeed("vendor"), now)
//	guest, err := amdsnp.New(amdsnp.Options{Vendor: vendor, Device: pki.NewSeed("guest"), Now: now})
//	leaf, err := guest.Evidence(reportData) // application/vnd.assize.snp-report
//	leaf, err = guest.TSMReport(reportData) // application/vnd.veraison.tsm-report+json
//
// The key that signs is that of the chip (VCEK) or, with Options.Provider, one
// that all chips of a cloud provider share (VLEK). Whatever else a report may say
// is changed by Options.Edit, before it is signed.
//
// Everything follows from the options: the same options and report data give
// the same bytes. A fault changes the one thing that it names and is made
// before the report is signed, so that only WrongSigner has a bad signature.
//
// Subject names, the CRL address and product names are AMD's own, because
// verifiers insist on them; nothing else in the certificates is. Endorsement
// keys have serial number 0, as those of the KDS do: a CRL cannot name one of
// them, it names their issuer (ASK).
package amdsnp
