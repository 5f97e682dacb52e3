// SPDX-License-Identifier: Apache-2.0

// Package coserv is the query language for reference values, endorsements and
// trust anchors (CoSERV, draft-ietf-rats-coserv): queries, results, signatures,
// and answers from an index of documents. It is pure; package api serves it and
// package endorsements/coserv asks.
//
// Who asks:
//
//	q := coserv.Query{
//		Artifacts:    coserv.ReferenceValues,
//		Environments: coserv.Environments{Classes: []coserv.ClassSelector{{Class: corim.Class{Vendor: "ACME"}}}},
//		Results:      coserv.SourceArtifacts,
//	}
//	path, err := coserv.Message{Profile: profile, Query: q}.Base64URL()
//	opened, err := coserv.Open(answer, coserv.OpenOptions{Profile: profile, Query: q, Keys: keys, Now: now})
//
// Who answers:
//
//	m, err := coserv.ParseBase64URL(path, coserv.ParseOptions{})
//	answer, err := coserv.Answer(index, m.Profile, m.Query, coserv.AnswerOptions{Now: now, Lifetime: time.Hour})
//	signed, err := coserv.Sign(rand, answer, key, kid)
//
// # Reading
//
// All maps are read strictly: definite lengths, no duplicate and no unknown
// members, nothing behind the end, within internal/limits. A query has to be in
// deterministic encoding, because its bytes are a cache key; ParseOptions can
// waive that, since the published example of a query with a state breaks the
// rule. Environments, measurements, triples and keys are read as in a CoRIM, by
// package corim.
//
// # What a query selects
//
// A class selects every statement whose class has all members of it with the
// same values; members that it does not have may be anything. An instance or a
// group selects by equality. Several entries are alternatives. A state
// (measurements) narrows: of reference values to those with such a measurement,
// where members that the state does not give may be anything; of conditional
// endorsements to those whose conditions about the environment it does not
// contradict; of attestation keys to those for an element that it names, if they
// are for one. Endorsed values hold in every state.
//
// A triple outside its document has lost the profile that says what its values
// mean. Therefore a query with a profile selects only from documents of that
// profile, and PlainProfile stands for documents without one. Queries by
// identifier select whole documents, which keep theirs.
//
// Documents that nobody has signed are never passed on. Conditional series
// cannot be said in a result; where a query selects one, Answer refuses, and the
// documents themselves can be had (SourceArtifacts).
//
// # Whom to believe
//
// Open checks all there is to check in one call: signature, key, content type,
// that profile and query are those that were asked, and that the result has not
// expired. What it returns is then either what the service says (the collected
// statements, Opened.Document), or documents that carry signatures of their own
// and want corim.Load.
package coserv
