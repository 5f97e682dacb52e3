// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

// TestRecheckCommitmentCovers: a verdict whose commitment leaves a component out
// is refused, though the challenge of the CPU follows from that commitment.
func TestRecheckCommitmentCovers(t *testing.T) {
	session := []byte(testNonce)
	for covered, ok := range map[string]bool{"b": true, "c": false} {
		c := evidence.Commitment{Leaves: map[evidence.Path]evidence.LeafDigest{"a": {1}, evidence.Path(covered): {2}}}
		challenge, err := topologies.DeriveCommitment(c, session, "a")
		check(t, err)
		r := &verdict.Result{Nonce: session, Commitment: &c, Components: []verdict.Component{
			{Label: "a", Nonce: challenge, NonceRule: topologies.RuleCommitment, Evidence: [32]byte{1}},
			{Label: "b", Nonce: session, NonceRule: topologies.RuleSame, Evidence: [32]byte{2}},
		}}
		if err := RecheckNonces(r); (err == nil) != ok {
			t.Errorf("a commitment to a and %s, a verdict about a and b: %v", covered, err)
		}
	}
}
