// SPDX-License-Identifier: Apache-2.0

// Package trust says who may sign results and signs our own.
//
// Anchors are an immutable set of public keys, each with the roles it may act
// in: RoleLead may sign aggregated results (AAR), RoleVerifier may sign
// partial results (PAR) for the schemes that the key names, and for no other
// (draft-ietf-rats-multi-verifier: one trust anchor list per component
// verifier), RoleAttester may sign composite evidence, RoleNode may sign what
// one verifier node sends to another. A key never gets a role by default except
// that of a lead, and only when it comes from a JWK Set without the member
// assize_roles.
//
// A Node is a peer: its keys, and the keys that evidence for it is sealed to.
// Nodes answers who may have signed a relay; Node.Verifiers are the anchors for
// the partial results of that peer alone. SealKey.Seal encrypts with HPKE
// (RFC 9180) so that no one between two nodes reads the evidence (decision
// D-27), and SealInfo binds the message to session, request, component,
// challenge and recipient. Sealing does not say who sent something: sign first.
// Keys rotate by overlap: a node file lists several, the newest that has not
// expired is used, and none after its end.
//
// Signer holds one private key; SignJWT and VerifyJWT make and check compact
// JWS tokens. VerifyJWT understands exactly the header parameters alg, kid, typ
// and cty and refuses everything else: a header parameter that changes what a
// signature means can therefore not be smuggled in (RFC 8725). The algorithm
// is a property of the key and the header may only repeat it. SignCWT and VerifyCWT
// do the same for CWT (COSE_Sign1), by the same keys and roles.
//
// ParseObject is the JSON reader for signed statements: it refuses duplicate
// members at every level, invalid UTF-8 and deep nesting, so that two readers
// of one token cannot see two statements.
//
// Begin with ParseJWKS or NewAnchors on the receiving side and with
// GenerateSigner or ParseSigner on the signing side; between nodes with
// ParseNode and NewNodes, and with ParseSealPrivate at the recipient. Nothing
// here reads a clock: times are parameters.
package trust
