// SPDX-License-Identifier: Apache-2.0

// Package verdict holds what verifiers say: trust tiers and trustworthiness
// vectors (AR4SI), signed results (EAR) and the rules that combine them.
//
// A component verifier fills an Appraisal and SignPartial makes it a partial
// attestation result (PAR). The lead turns the token into a Partial with
// VerifyPartial, and there is no other way to make one: whoever holds a Partial
// knows that its signature, scheme, label, request, evidence digest, nonce and
// age were right. Combine joins components and caps to an Outcome; SignResult
// makes the aggregated result (AAR), which carries every PAR as it was signed,
// and VerifyResult lets a relying party redo every step with its own anchors.
//
// Aggregated results can be had in other formats (Format, SignFormat), and are
// checked by the same code in each of those that carry the PARs. The first one, and
// that of every PAR, are compact JWS of the EAR profile ProfileP23, readable by
// existing clients. What this profile has no claim for is in the claim
// "ear.veraison.policy-claims" under names that begin with "assize.", and the
// PARs are in the private claim "ear.assize.partials". Where redundant verifiers
// judged one component, the worst of their PARs is there and the others are in
// "ear.assize.witnesses" (SetPartials, decision D-26).
//
// An aggregate states through which nodes each component went (Component.Path). In
// "ear.assize.receipts" it carries what these nodes have signed about that
// (Receipt), so that whoever knows the nodes need not believe the lead. Results can
// also travel without an aggregate around them (EncodeResults), for a relying party
// that combines them itself.
//
// Order of tiers, from good to bad: affirming, warning, none, contraindicated
// (decision D-16). Nothing in this package reads a clock or draws randomness,
// except for the randomness inside an ECDSA signature.
package verdict
