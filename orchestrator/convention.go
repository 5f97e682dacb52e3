// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

// NeedsEvidence says that a verdict holds in everything that can be repeated from
// it alone, and that the challenges of these components follow from bytes that are
// not in it (decision D-94): by Trustee's convention the CPU TEE commits to the
// text of its additional evidence. RecheckEvidence repeats them. For a relying
// party that has not got the evidence the verdict is a warning at best.
type NeedsEvidence struct {
	// Components are sorted as in the verdict.
	Components []evidence.Path
}

// Error names the components.
func (e *NeedsEvidence) Error() string {
	return fmt.Sprintf("orchestrator: the challenge of %v follows from the evidence, without which the verdict is a warning at best", e.Components)
}

// needsEvidence tells this error from those that say that a verdict is wrong.
func needsEvidence(err error) bool {
	var needs *NeedsEvidence
	return errors.As(err, &needs)
}

// recheckCommitment compares what a verdict says that its challenges depend on
// with the evidence, and repeats them.
func recheckCommitment(r *verdict.Result, c *evidence.Commitment) error {
	switch {
	case c == nil:
		return errors.New("orchestrator: the verdict states a commitment, and the evidence declares none")
	case c.Convention != r.Commitment.Convention || !bytes.Equal(c.Runtime, r.Commitment.Runtime):
		return errors.New("orchestrator: the verdict is about another convention or other runtime data than those in the evidence")
	}
	whole := *c
	whole.Signer = r.Commitment.Signer // whose signature it is, is for who reads the evidence to verify
	for _, part := range r.Components {
		if !topologies.OfComposite(part.NonceRule) {
			continue
		}
		want, err := topologies.DeriveBound(part.NonceRule, whole, r.Nonce, part.Label)
		if err != nil || !sameNonce(want, part.Nonce) {
			return fmt.Errorf("orchestrator: %s was asked with a challenge that does not follow from the evidence by rule %q", part.Label, part.NonceRule)
		}
	}
	return nil
}
