// SPDX-License-Identifier: Apache-2.0

// Package relyingparty is for programs that rely on verdicts. One call does
// everything that a relying party can do itself, offline:
//
//	v, err := relyingparty.Check(ctx, token, relyingparty.Options{
//		JWKS: jwks, Schemes: schemes, Nonce: nonce, Now: time.Now(),
//	})
//	if err != nil || !v.Accepted {
//		return errors.New("not this machine")
//	}
//
// token is a signed verdict in any format that verdict.VerifyResult reads, or a
// bundle with its evidence. The set of schemes is that of package verifiers/all, or
// a smaller one.
//
// Check first asks whether the verdict is true: signatures of the lead and of every
// verifier, nonce, age, that no part says better than its results allow, that every
// challenge follows from the nonce, and, with the evidence, that all of it is about
// these bytes. If not, there is no verdict but a *Refusal.
//
// Then it forms its own outcome, from the signed results of the verifiers and under
// its own policy and its own demands (decision D-102). Nothing that the lead says
// makes that better:
//
//   - What the lead's policy relaxed or demanded, what its configuration demanded,
//     and who it says is simulated, do not bind the relying party. Neither does what
//     its policy lowered: a policy of one's own may come to a better verdict than a
//     strict lead. Whatever else the lead found stays.
//   - Demands of signed evidence stay, and make nothing expected.
//   - Without the evidence the lead's word counts for nothing where only the evidence
//     would show it (decision D-103): who signed the composite, and to which bytes the
//     CPU TEE commits. What rests on these is a warning at best.
//
// Without Policy and Require the relying party has nothing of its own to say. The
// outcome is then the worse one of the lead's and of the policy "default".
//
// The zero Options are strict: no nonce, no trusted key, no time or no scheme is an
// error; simulated machines and recordings are warnings.
package relyingparty
