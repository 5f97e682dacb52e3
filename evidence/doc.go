// SPDX-License-Identifier: Apache-2.0

// Package evidence turns one message of composite evidence into a tree and
// back. It is a strict decoder for the Conceptual Message Wrapper (CMW, RFC
// 9999) in JSON and CBOR, for signed CMWs (COSE_Sign1, JWS), and for the tokens
// of Veraison's ratsd.
//
// # Reading
//
//	tree, err := evidence.Parse(raw, evidence.Options{MediaType: contentType, Keys: anchors})
//	for _, leaf := range tree.Leaves() { // sorted by label path
//		route(leaf.Path(), leaf.MediaType(), leaf.Value())
//	}
//
// Parse walks the input once, within the limits of internal/limits, and either
// understands all of it or returns one *Error with the broken rule, the label
// path and the byte offset. Nodes keep slices of the original bytes, so that
// digests and signatures speak about what was sent (decision D-14); only base64
// and chunked strings are copied. Depth of the root is 0; each collection,
// embedded CMW and signature adds 1 (decision D-11).
//
// # Shape of the tree
//
// Leaves are records and tags, and the collections of devices in NVIDIA's
// verifier input (decision D-86). A leaf whose type is itself a CMW is descended
// into (decision D-09): such a wrapper, and every signed CMW, has one child
// with the same path. Lookup finds the innermost node of a path, Root the
// outermost. A signature speaks for the subtree under it and for nothing else
// (decision D-10): Node.Signer. Labels are canonical paths (decision D-12),
// where the integer 1 is "#1" and the text "1" is "1".
//
// # Choices where RFC 9999 leaves one
//
// Well-formed CBOR is accepted in every encoding: non-preferred heads (CMW-32,
// CMW-34), indefinite lengths. Two labels are equal if their values are, however
// they are encoded. Whitespace around JSON is accepted also when the form is
// sniffed (CMW-02); whitespace around a compact JWS is not. Integer labels
// must fit 64 signed bits; text labels have no control characters and none that
// change the direction of writing (CMW-21). A bare COSE_Sign1 array is only recognised where a
// type says that it is one (decision D-05). In an envelope of ratsd, one zero
// byte instead of a signature means unsigned, not invalid (decision D-49).
//
// # Writing
//
// Record, ContentFormatRecord, Tag and Collection build an Item; Node.Item
// turns a node into one. EncodeCBOR is core deterministic, EncodeJSON compact
// and sorted. SignCOSE and SignJWS wrap the result.
package evidence
