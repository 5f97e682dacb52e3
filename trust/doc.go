// SPDX-License-Identifier: Apache-2.0

// Package trust says who may sign results and signs our own.
//
// Anchors are an immutable set of public keys, each with the roles it may act
// in: RoleLead may sign aggregated results (AAR), RoleVerifier may sign
// partial results (PAR) for the schemes that the key names, and for no other
// (draft-ietf-rats-multi-verifier: one trust anchor list per component
// verifier), RoleAttester may sign composite evidence. A key never gets a role by default except that of a lead, and
// only when it comes from a JWK Set without the member assize_roles.
//
// Signer holds one private key; SignJWT and VerifyJWT make and check compact
// JWS tokens. VerifyJWT understands exactly the header parameters alg, kid, typ
// and cty and refuses everything else: a header parameter that changes what a
// signature means can therefore not be smuggled in (RFC 8725). The algorithm
// is a property of the key and the header may only repeat it.
//
// ParseObject is the JSON reader for signed statements: it refuses duplicate
// members at every level, invalid UTF-8 and deep nesting, so that two readers
// of one token cannot see two statements.
//
// Begin with ParseJWKS or NewAnchors on the receiving side and with
// GenerateSigner or ParseSigner on the signing side. Nothing here reads a
// clock: times are parameters.
package trust
