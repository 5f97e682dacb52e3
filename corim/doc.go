// SPDX-License-Identifier: Apache-2.0

// Package corim reads reference values and endorsements (CoRIM,
// draft-ietf-rats-corim), decides whom to believe, and compares evidence with
// them. It is pure: keys and time are arguments.
//
//	trust, err := corim.NewTrust([]corim.Authority{{
//		Name: "ACME", Roots: roots, Profiles: []string{corim.NoProfile},
//		Scopes: []corim.Environment{{Class: corim.Class{Vendor: "ACME"}}},
//	}})
//	doc, err := corim.Load(raw, corim.Options{Trust: trust, Now: now})
//	index, err := corim.NewIndex(doc)
//
//	result := index.Match(corim.Query{
//		Environments: []corim.Environment{{Class: corim.Class{Vendor: "ACME", Model: "NIC"}}},
//		Measurements: []corim.Measurement{{
//			Key:   corim.NumberKey(1),
//			Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: seen}}},
//		}},
//		Time: now,
//	})
//	switch result.Worst() {
//	case corim.Matched: // result.Records says by which documents
//	case corim.Unknown: // no reference value: a warning, never silence
//	}
//
// # Reading
//
// Parse reads a document, tagged 501 or signed with COSE_Sign1, into a model of
// our own: all triples, also those that veraison/corim does not know, profiles
// with tag 32, bare security version numbers, digest algorithms in every
// spelling, masked raw values in both forms, ranges. It keeps the bytes and
// their SHA-256, and every statement can be named by document, tag, triple
// (Source). Encode writes the model, FromTemplates makes a document from the
// JSON templates of veraison/corim, Templates is the reverse, and Sign signs.
//
// Load believes a document. A signature has to be by an Authority, which may
// speak only for its scopes and with its profiles; document, signature,
// certificates and authority have to hold at the time. A profile has to be known,
// and its rules kept. What is not understood, and could change what matches, is
// an error: members of environments, classes and measurements, conditions,
// critical headers. Triples of unknown kinds are ignored, as the draft wants.
//
// # Matching
//
// An Index is a set of loaded documents with a revision. Match takes one
// component, by the names (environments) that its scheme gives it, and says for
// each measurement: Matched, Partial, Mismatched, Unknown. Class, instance and
// group of a reference value are each compared as a whole with those of the
// component; one that it does not have does not matter. A triple holds as a
// whole or not at all, so that values of two releases cannot be mixed: Partial is
// a measurement that is right in a triple that does not hold. Values compare as
// the draft says, and by its prose where its pseudo code differs (decision D-62).
// Two things are for profiles: the TCB versions of AMD, eight numbers in one, are
// compared number by number, and expressions of Intel's profile are evaluated.
// Members of other profiles match nothing.
//
// Endorse applies endorsed values, series and conditional endorsements for all
// components of a machine together. Topology evaluates domain membership and
// trust dependency. Cycles are refused when a document is read, and again across
// documents when an Index is built.
package corim
