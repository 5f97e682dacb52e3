// SPDX-License-Identifier: Apache-2.0

// Package tcgtpm simulates a virtual TPM 2.0 and the machine that booted with
// it: an attestation key (AK) with a certificate, quotes of the SHA-256 PCRs,
// and the firmware's event log that replays to exactly these PCRs. Structures
// are those of the TCG TPM 2.0 library (part 2) and the TCG PC client platform
// firmware profile; the keys are worth nothing.
//
//	tpm, err := tcgtpm.New(tcgtpm.Options{Vendor: vendor, Device: device, Now: now})
//	leaf, err := tpm.Evidence(nonce)     // application/vnd.assize.tpm-evidence+cbor
//	leaf, err = tpm.EvidenceJSON(nonce)  // application/vnd.assize.tpm-evidence+json
//	digest := sha256.Sum256(tpm.RuntimeData()) // to be put into a CPU report
//
// # Evidence
//
// The CBOR form is one map with text keys, in deterministic encoding (RFC 8949
// section 4.2). All members are required but ak_certificate, which an AK that
// a CPU report vouches for does not have, and event_log:
//
//	quote           bstr   TPMS_ATTEST, type TPM_ST_ATTEST_QUOTE; extraData is the nonce
//	signature       bstr   TPMT_SIGNATURE over quote
//	pcrs            map    bank ("sha256") to map of PCR index (uint) to value (bstr);
//	                       exactly the PCRs that the quote selects
//	ak_public       bstr   TPMT_PUBLIC of the key that signed
//	ak_certificate  array  of bstr: X.509 certificates in DER, the AK's first, the root absent
//	event_log       bstr   TCG2 crypto-agile event log
//
// The grammar is schemas/tpm-evidence.cddl. The JSON form has the same members: bstr is unpadded base64url, and a PCR
// index is its decimal text.
//
// # Faults
//
// A fault changes the one thing that it names. Measurement is an honest TPM in
// a changed machine: the log replays and the quote is signed. LogTampered is
// the opposite: the PCRs are honest and the log tells another story.
package tcgtpm
