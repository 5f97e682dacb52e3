// SPDX-License-Identifier: Apache-2.0

// Package armtoken is what the tokens of Arm have in common: the PSA attestation
// token (RFC 9783) and the two halves of a CCA token (Arm Realm Management
// Monitor specification, DEN0137, "Attestation"). Both are CWTs in COSE_Sign1 by
// an ECDSA key, list software components in one form, tell a security lifecycle
// in the same numbers, and are verified by keys for which reference documents
// vouch (attest-key triples of a CoRIM).
//
// Begin with NewDecoder. The decoder is stricter than the libraries for these
// tokens: no duplicate keys, no indefinite lengths, no trailing bytes, nothing
// outside of the signature but a key identifier, limits on everything. The
// signature itself is go-cose's. Comparing software components with reference
// values is Components.
package armtoken

import (
	"fmt"

	"github.com/assize/assize/verdict"
)

// Failure is a check without which evidence proves nothing.
type Failure struct {
	// Code is a reason code of package verdict, Detail a sentence.
	Code, Detail string
}

// Error implements error.
func (f *Failure) Error() string { return f.Code + ": " + f.Detail }

// Failf makes a Failure.
func Failf(code, format string, args ...any) *Failure {
	return &Failure{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99 in
// all claims. Nothing of the contents is repeated.
func Rejected(f *Failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector: verdict.AllClaims(verdict.ClaimCryptoFailed), Freshness: verdict.FreshnessNotEstablished,
	}
	a.Fail(f.Code, f.Detail)
	return a
}
