// SPDX-License-Identifier: Apache-2.0

// Package relay has the two messages by which one node hands the rest of a
// topology to the next: the Envelope that asks, and the Answer that comes back
// (the cascade, and every expression that is placed at another node). It is
// pure: time and randomness are arguments, and nothing here sends anything.
//
// The asking node fills an Envelope, signs it and keeps both the value and the
// bytes:
//
//	raw, err := envelope.Sign(signer, random)
//
// The node that is asked opens it, appraises what it owns, may relay the rest
// to a further node in the same way, and answers:
//
//	e, from, err := relay.OpenEnvelope(raw, find, relay.Expect{To: name, KID: signer.KID(), Now: now})
//	answer := relay.Answer{ID: e.ID, Session: e.Session, Digest: sha256.Sum256(raw), Via: append(e.Via, signer.KID()), …}
//	reply, err := answer.Sign(signer, random)
//
// The asking node then takes the answer in:
//
//	a, by, err := relay.OpenAnswer(reply, &envelope, raw, find, now)
//
// # On the wire
//
// A message is a COSE_Sign1 (application/cmw+cose) of the node, with its key id
// in the protected header, around a CBOR CMW collection of type EnvelopeType or
// AnswerType (decision D-19). Its entries are
//
//   - "statement": application/vnd.assize.relay+json, respectively
//     application/vnd.assize.relay-answer+json, without ind
//   - "composite": application/vnd.assize.relay-composite, ind evidence; the
//     composite byte for byte, only where it is exposed
//   - "evidence/<n>": application/vnd.assize.relay-evidence, ind evidence; the
//     bytes of the n-th component, plain or sealed (decision D-27)
//   - "par/<n>": application/eat+jwt, ind results; partial results in the order
//     of the hops
//
// Composite and evidence have types of their own so that no reader descends
// into them, whatever they are. The statement is described by
// schemas/relay.schema.json and has one spelling only: compact JSON with the
// members in the order of the schema, "<", ">" and "&" not escaped, binary
// values as unpadded base64url, digests in lower-case hexadecimal, issue and
// deadline in UTC with milliseconds. Anything else, and so every unknown or
// duplicate member, is refused.
//
// # What is checked
//
// Nothing is read before the signature is right, by a key with RoleNode that
// find knows and that has not expired. Then the recipient learns that the
// signer is the node that the envelope says it passed last, that it is meant
// for the recipient, in time, and not on its second visit (decision D-43), and
// that its parts fit each other. The asking node learns that the answer is to
// this envelope in these bytes, along a path that begins with its own, that
// earlier partial results came back unchanged, complete and first, and that
// each component has a new partial result or a failure.
//
// An answer that speaks about a component that was not asked for is refused as
// a whole: only the signer of the answer can have put that in, and no honest
// node does (decision D-26; the caller records the refusal). So is one that
// comes after the deadline (decision D-24).
//
// Errors are *Error: Code for a verdict, Check for logs and tests.
//
// # What is not checked
//
// The signatures of receipts: the caller knows the nodes (verdict.Receipt.Verify).
//
// The signatures of partial results: the caller passes each to
// verdict.VerifyPartial with the anchors of the node that owns the label. The
// expression: the caller parses and plans it. Whether the evidence of a
// component is what the composite has under its label: the caller looks, where
// the composite is exposed. Whether the same envelope came before: the caller
// remembers the ID until the deadline and the clock skew have passed. That the
// key belongs to the node that was asked: for an answer, find must know the
// keys of the node Envelope.To and no other.
package relay
