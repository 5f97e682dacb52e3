// SPDX-License-Identifier: Apache-2.0

// Package spdm simulates PCIe devices that answer SPDM 1.1 to 1.4 (DMTF DSP0274)
// and that are assigned to a confidential VM through TDISP.
//
// New makes one device: its vendor's root and intermediate authority, its
// leaf certificate with the DMTF identifiers, its measurements and its
// interface report. Evidence then runs what a collector would have run
// (version, capabilities, algorithms, digests, certificates, challenge,
// measurements), signs the two transcripts and packs everything into the raw
// SPDM container, media type application/vnd.assize.spdm-evidence+cbor. Only
// the signatures and what they cover depend on the nonce.
//
// Options choose version, algorithms, certificate model, forms of measurements and
// the kind of TEE security manager; Options.Faults, one of Faults, is what is wrong,
// and Fault.Check the check of verifiers/spdm that has to see it. Submodule and
// Token restate the same evidence as a Device Assignment Token, in the liberties of
// TokenOptions.
//
//	dev, err := spdm.New(spdm.Options{Vendor: v, Device: d, Now: now, TSM: spdm.TSMSEVTIO})
//	raw, err := dev.Evidence(nonce) // 32 bytes
//	sums, err := dev.Digests(raw)   // what the platform's TSM measured
//
// Integers of SPDM and TDISP are little endian. Nothing made here is secret:
// all keys follow from the seeds. A verifier accepts such a device only when
// Root is among its configured anchors.
package spdm
