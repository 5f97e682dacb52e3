// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"errors"

	"github.com/assize/assize/verdict"
)

// Local appraises in this process, without a fabric: for programs that embed
// the library, and for tests. It checks the answer of its own node like any
// other's.
type Local struct {
	Node *Node
}

// Appraise has the node appraise the component and verifies the result. An
// error is a *Failure.
func (l Local) Appraise(ctx context.Context, call Call) (verdict.Partial, error) {
	token, _, err := l.Node.Appraise(ctx, call.Request)
	if err != nil {
		return verdict.Partial{}, failureOf(err)
	}
	p, err := call.Verify(token)
	if err != nil {
		var intake *verdict.IntakeError
		if errors.As(err, &intake) {
			return p, &Failure{Reason: intake.Code, Detail: intake.Detail}
		}
		return p, &Failure{Reason: verdict.ReasonBadPAR, Detail: "the result was not accepted"}
	}
	return p, nil
}

func failureOf(err error) *Failure {
	var r *Refusal
	if !errors.As(err, &r) {
		return &Failure{Reason: verdict.ReasonMalfunction, Detail: "the verifier is broken"}
	}
	return &Failure{Reason: FailureReason(r.Code), Detail: r.Text}
}

// FailureReason maps an error code of the message contract to the reason that
// stands in a verdict.
func FailureReason(code int) string {
	switch code {
	case 400, 401, 403, 409, 415:
		return verdict.ReasonRefused
	case 413:
		return verdict.ReasonTooLarge
	case 429, 503:
		return verdict.ReasonBusy
	case 504:
		return verdict.ReasonTimeout
	}
	return verdict.ReasonMalfunction
}
