// SPDX-License-Identifier: Apache-2.0

// Package spdm verifies what a PCIe device says about itself over SPDM
// (DMTF DSP0274, versions 1.0 to 1.4) and reads TDISP interface reports.
//
// Scheme is the scheme for such devices, with reference values and a policy; see
// README.md. Below it is a core that makes no claims and applies no policy, and
// that may be used alone: bytes in, proved facts or a typed refusal out.
//
// # Use of the core
//
//	e, err := spdm.Decode(leaf) // the container, or fill Evidence yourself
//	r, err := spdm.Verify(e, spdm.Expect{Anchors: anchors, Time: now, Nonce: nonce})
//
// An error is an *Error: Stage says how far the verification came, Kind what is
// wrong, Offset where, Expected and Seen the values. A Result means that all of
// this holds, and nothing less:
//
//   - the six negotiation messages are complete, consistent, of one version that
//     the device offers, and select algorithms that the requester offered;
//   - the certificate chain of the slot that signed leads through every one of
//     its certificates to an anchor configured for that slot, at the given time,
//     its root hash is the anchor's, and the leaf is fit to sign as a responder;
//   - every byte of the measurement transcript is covered by a signature of that
//     leaf, every requester nonce is the expected one (if one was given), the
//     context is echoed, the slots agree, no index has two values;
//   - the same for the challenge, if there is one; the chains and digests that it
//     read are those of the evidence, and its chain hash is the signer's;
//   - DIGESTS, if there, agrees with the chains and lets the key sign measurements;
//   - the extension log, if there, folds into signed hash-extend blocks.
//
// # Other carriers
//
// ConvertToken makes evidence of the devices in a Device Assignment Token (package
// eatda), FromKernel of the objects that Linux gives, and Complete rebuilds the
// request where a kernel keeps only the response. TokenDevice and EncodeToken go
// the other way.
//
// # What the caller must judge
//
// Result.Fresh is false without an expected nonce. DeviceMode may report active
// debugging, the version may be old, the summary hash may differ
// (ChallengeResult.Summary), a block may have no reference value. The owner of a
// slot other than 0 can vouch for anything: give its anchors the slots that they
// may speak for, and no others. Evidence.Device, Evidence.Nonce and Evidence.TSM
// are unsigned words of the collector.
//
// The interface report is not signed by the device at all. Result.Objects gives
// the exact bytes, and Objects.Digest their hashes, to compare with what a TSM or
// the platform's own evidence commits to. Nor does a measurement signature name a
// session, an IDE stream, a function or a virtual machine: without that
// comparison the device may be anywhere.
//
// # Transcripts
//
// L1 is the negotiation (from 1.2) and all GET_MEASUREMENTS exchanges since the
// last reset; M1 is the negotiation, what GET_DIGESTS and GET_CERTIFICATE read, and
// CHALLENGE. Transcripts hold SPDM messages only: transport headers, padding, chunks
// and retries never enter them. A Recorder applies the rules of reset to a running
// connection; TrimPadding cuts what PCI DOE adds. The signing prefix of 1.2 and
// later is built from the negotiated version, never taken from evidence.
//
// In Verify the negotiation is part of M1 in every version. Responders that left
// it out, because the requester used a cached negotiation, are refused.
//
// # Not supported
//
// These give KindUnsupported and are never skipped: SM2, Ed448, ML-DSA, SLH-DSA
// and external algorithms, SM3 as base hash, and keys that were
// provisioned without a certificate (slot 15). As measurement hash SM3 may appear
// in digests, where only its length matters. SPDM
// 1.0 and 1.1 leave the byte order of ECDSA signatures open: this package reads
// big-endian only.
//
// Anchors must be the root that the chain names: a chain that goes on above a
// pinned intermediate is refused, because part of it would stay unverified.
//
// # Limits
//
// See the Max constants. Parsers slice their input and keep it alive; do not
// change it while results are in use.
package spdm
