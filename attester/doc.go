// SPDX-License-Identifier: Apache-2.0

// Package attester is a simulated machine: a CPU TEE (TDX, SEV-SNP, SGX, Arm CCA
// or AWS Nitro), GPUs, switches, PCIe devices, a virtual TPM and microcontrollers,
// with a test PKI of their own, that answer a challenge with composite evidence
// bit for bit like that of real ones, honest or with faults on request. Begin with
// New; BuiltIn has machines to begin with.
//
//	d, _ := attester.BuiltIn("cpu-gpu")
//	m, err := attester.New(attester.Options{Machine: d, Now: now})
//	raw, err := m.Evidence(nonce, attester.CBOR)
//	files, err := m.Files() // trust.json, endorsements, reference values
//
// Everything follows from the description, the seed, the time and the nonce:
// the same inputs give the same bytes. No verifier believes a simulated machine
// unless its roots are given to it by hand.
//
// One package per kind of device makes the evidence; this one chooses nonces,
// ties the parts together, makes the faults that concern more than one part,
// and encodes the composite.
package attester
