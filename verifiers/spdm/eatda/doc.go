// SPDX-License-Identifier: Apache-2.0

// Package eatda reads and writes Device Assignment Tokens: an EAT in CBOR in
// which a lead attester collects what devices said over SPDM
// (draft-poirier-rats-eat-da). It knows form only; verifiers/spdm makes evidence
// of what it reads and verifies it.
//
// Begin with Decode, Split for a leaf of several devices, or Encode. The grammar,
// as it is read here, is schemas/eat-da.cddl.
//
// A token is a COSE_Sign1 (TypeCWT) or a claims set without protection of its own
// (TypeUCS), both with the parameter eat_profile. The signature of the former is
// that of the lead attester. It is not verified here: what a device has signed
// proves itself in whatever envelope, and what it has not signed is no better for
// the lead's signature until other evidence vouches for the lead (decision D-79).
//
// # Defects of the draft
//
// The draft contradicts SPDM or itself in places. Each that is coded around leaves
// a Flag with the device, see Defect.
//
// # Strictness
//
// Heads of any width and maps in any order are read, indefinite lengths and
// duplicate keys are not, neither in claims that mean nothing here and are
// ignored. What is wrong with one device (Device.Err) leaves the others alone;
// what is wrong with the CBOR, or with the token, refuses it all. One leaf
// certificate in two devices does too: one device must not answer twice.
package eatda
