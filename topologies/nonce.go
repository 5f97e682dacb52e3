// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"crypto/sha3"
	"fmt"
	"strconv"
	"strings"

	"github.com/assize/assize/evidence"
)

// Names of nonce rules. A rule says how the challenge in one component's
// evidence follows from the session nonce; it is part of the plan.
const (
	// RuleGiven: the caller named this component's challenge itself.
	RuleGiven = "given"
	// RuleSame: the session nonce, unchanged.
	RuleSame = "same"
	// RuleShake256 and RuleShake128 are followed by "/N": the first N bytes of
	// the XOF over the raw session nonce, as ratsd does it.
	RuleShake256 = "shake256"
	RuleShake128 = "shake128"
	// RuleCommitment: a commitment of the CPU TEE to the session nonce and to
	// every other leaf (decision D-28).
	RuleCommitment = evidence.CommitmentRule
)

// DeriveCommitment is the challenge that the CPU TEE at a leaf must have
// answered: c is about the whole composite, and a leaf does not commit to itself.
func DeriveCommitment(c evidence.Commitment, session []byte, cpu evidence.Path) ([]byte, error) {
	if len(session) == 0 {
		return nil, fmt.Errorf("topologies: no session nonce to apply rule %q to", RuleCommitment)
	}
	rest := make(map[evidence.Path]evidence.LeafDigest, len(c.Leaves))
	for path, digest := range c.Leaves {
		if path != cpu {
			rest[path] = digest
		}
	}
	sum, err := evidence.Commitment{Nonce: session, Leaves: rest, Signer: c.Signer}.Sum()
	if err != nil {
		return nil, err
	}
	return sum[:], nil
}

// DeriveNonce applies a named rule to the session nonce. RuleGiven derives
// nothing and is an error here.
func DeriveNonce(rule string, session []byte) ([]byte, error) {
	if len(session) == 0 {
		return nil, fmt.Errorf("topologies: no session nonce to apply rule %q to", rule)
	}
	if rule == RuleSame {
		return session, nil
	}
	name, size, _ := strings.Cut(rule, "/")
	n, err := strconv.Atoi(size)
	if err != nil || n < 8 || n > 64 {
		return nil, fmt.Errorf("topologies: nonce rule %q: size must be 8..64 bytes", rule)
	}
	switch name {
	case RuleShake256:
		return sha3.SumSHAKE256(session, n), nil
	case RuleShake128:
		return sha3.SumSHAKE128(session, n), nil
	}
	return nil, fmt.Errorf("topologies: unknown nonce rule %q", rule)
}

// Adjustment is the nonce rule that signed or unsigned lead evidence declares
// (ratsd: one XOF, and a size per label). Sizes are checked against what the
// scheme's evidence really carries, never believed.
type Adjustment struct {
	Function string // "shake-256" or "shake-128"
	Sizes    map[string]int
}

// rule chooses the rule for a leaf: what the lead attester declares, else the
// nonce itself where its size fits the evidence, else SHAKE-256 to that size.
func (a *Adjustment) rule(leaf string, nonceSize, sessionLen int) (string, error) {
	if a == nil {
		if sessionLen == nonceSize {
			return RuleSame, nil
		}
		return RuleShake256 + "/" + strconv.Itoa(nonceSize), nil
	}
	size, ok := a.Sizes[leaf]
	if !ok || size != nonceSize {
		return "", fmt.Errorf("the token declares a %d-byte nonce for %s, its evidence carries %d", size, leaf, nonceSize)
	}
	switch a.Function {
	case "shake-256":
		return RuleShake256 + "/" + strconv.Itoa(size), nil
	case "shake-128":
		return RuleShake128 + "/" + strconv.Itoa(size), nil
	}
	return "", fmt.Errorf("unknown nonce adjustment %q", a.Function)
}
