// SPDX-License-Identifier: Apache-2.0

// Package rim verifies NVIDIA's reference integrity manifests (RIMs) and
// compares measurements with them. A RIM is a SWID tag (ISO/IEC 19770-2:2015)
// with the golden values of one release of a GPU driver, a VBIOS or an NVSwitch
// BIOS, signed with XML Signature.
//
// Begin with New, then Verifier.Verify, then Compare. A Manifest can also be
// had as reference values of a CoRIM, with Manifest.References, so that
// manifests and CoRIMs meet in one comparison.
//
// What is believed of a manifest:
//
//   - One form of signature, that of NVIDIA: enveloped, one reference to the
//     whole document, Canonical XML 1.1, ECDSA P-384 with SHA-384, r||s. Anything
//     else, as a second reference, another transform or an Id, is refused.
//   - Contents are read only from the octets that the signed digest is of, and
//     the digest only from the octets that the signature is over. Nothing else in
//     the document has a meaning, so there is nothing to wrap.
//   - The chain beside the signature must end in the key of a pinned root, in
//     order, and its first certificate must have the key that signed and be for
//     signatures alone: neither that of a CA, nor of an OCSP responder under the
//     same CAs, nor of a device.
//   - Comments, processing instructions, CDATA, document types and references to
//     entities are refused before anything is parsed. NVIDIA's manifests have none.
//
// What a manifest does not say: the name of the board. Signed are the product
// (GH100, GB100, LS10) and the version, not the identifier under which NVIDIA's
// RIM service hands it out; see Manifest.Answers.
//
// What stays with the caller: whoever chooses the manifests can leave out the
// latest issue, and an old release with its own manifest matches like a new one.
// Expiry and revocation of signers and a minimum version are what stands against
// that. NVIDIA has signed values of firmware that is not for production, too, under
// the identifier and version of one that is; only that its signer expired in 2025,
// or a later issue beside it, tells them apart.
//
// Nothing here has a clock. Manifest.Window and Manifest.ValidAt are for the
// time of each appraisal; a verified manifest may be long expired, and most that
// are in use are. Whether the certificates are revoked is for the caller to ask,
// with Manifest.Chain.
package rim
