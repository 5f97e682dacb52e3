// SPDX-License-Identifier: Apache-2.0

// Package dcap is what the schemes for Intel's TEEs share: quotes of SGX and TDX,
// their signatures, and what Intel's signed collateral says of the platform (DCAP,
// Intel's Data Center Attestation Primitives). It is no scheme itself.
//
// A scheme opens its container and then does, with a verifier that it made once
// with NewVerifier(extraRoots, bundle, dcap.SGX):
//
//	q, err := dcap.Parse(raw)                    // malformed-evidence
//	p, key, f := v.VerifyQuote(q)                // f.Code: malformed, chain-invalid, unknown-root, signature-invalid
//	if s := p.Outside(in.Time); s != "" { … }    // expired
//	j := v.Judge(q, p, in.Time, params.Grace())
//	j.Apply(policy, params.Parameters, &a, p, in.Time)
//
// Up to Outside, a failure means that the quote proves nothing. Judge never fails:
// Apply reports by the rows of Findings, which a scheme has in its own
// appraisal.Defaults, and gives the hardware claim and the claim "tcb". Parameters
// are embedded in those of the scheme. Everything else about a quote is for the
// scheme: q.TD() or q.Enclave() is the body, q.QEReport.Debug() is not part of any
// judgement, p.Device() is a fact.
//
// Renew takes another bundle and keeps what was verified. Needs names the collateral
// that a quote asks for.
//
// Files: abi.go and report.go read quotes, chain.go, pem.go and pck.go verify
// chains, verifier.go quotes; tcbinfo.go, levels.go and members.go read collateral,
// store.go verifies it, collateral.go chooses what is newest; status.go and judge.go
// are Intel's algorithm, policy.go and claims.go what comes of it. Package dcaptest
// simulates platforms for tests.
package dcap
