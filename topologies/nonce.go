// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"crypto/sha256"
	"crypto/sha3"
	"errors"
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
	// The rules of composites that are bound by a convention of others (decision
	// D-93): of the CPU TEE and, the first one followed by "/N", of anything else.
	RuleTrustee       = evidence.RuleTrustee
	RuleTrusteeDevice = evidence.RuleTrusteeDevice
	RuleITA           = evidence.RuleITA
	RuleITADevice     = evidence.RuleITADevice
)

// ErrNeedsEvidence says that a challenge depends on bytes of the evidence of
// which nothing but digests is there.
var ErrNeedsEvidence = errors.New("topologies: the challenge cannot be derived without the evidence")

// OfComposite reports whether a rule derives challenges from what the composite
// declares about itself, and not from the session nonce alone (DeriveBound).
func OfComposite(rule string) bool {
	switch evidence.Convention(rule) {
	case evidence.ConventionAssize, evidence.ConventionTrustee, evidence.ConventionITA:
		return true
	}
	return false
}

// DeriveBound applies a rule of OfComposite for the component at a leaf; c is
// about the whole composite. An error that wraps ErrNeedsEvidence says that the
// rule could be applied by who has the evidence.
func DeriveBound(rule string, c evidence.Commitment, session []byte, leaf evidence.Path) ([]byte, error) {
	if len(session) == 0 {
		return nil, fmt.Errorf("topologies: no session nonce to apply rule %q to", rule)
	}
	convention := c.Convention
	if convention == "" {
		convention = evidence.ConventionAssize
	}
	if evidence.Convention(rule) != convention {
		return nil, fmt.Errorf("topologies: nonce rule %q in a composite of convention %q", rule, convention)
	}
	if rule == RuleCommitment {
		return DeriveCommitment(c, session, leaf)
	}
	data, err := evidence.ParseRuntimeData(convention, c.Runtime)
	if err != nil {
		return nil, err
	}
	switch rule {
	case RuleITA:
		return data.Report(session, nil)
	case RuleITADevice:
		return data.Device(session, sha256.Size)
	case RuleTrustee:
		return trusteeReport(c, data, session, leaf)
	}
	name, size, _ := strings.Cut(rule, "/")
	n, err := strconv.Atoi(size)
	if err != nil || name != RuleTrusteeDevice || strconv.Itoa(n) != size {
		return nil, fmt.Errorf("topologies: unknown nonce rule %q", rule)
	}
	return data.Device(session, n)
}

// trusteeReport: the CPU TEE commits to its additional evidence and to nothing
// else, so that no component may lie beside that.
func trusteeReport(c evidence.Commitment, data *evidence.RuntimeData, session []byte, cpu evidence.Path) ([]byte, error) {
	others := false
	for path := range c.Leaves {
		switch {
		case path == cpu:
		case !path.Under(evidence.LabelAdditionalEvidence):
			return nil, fmt.Errorf("topologies: by rule %q the CPU TEE commits to what is under %s, and %s is not", RuleTrustee, evidence.LabelAdditionalEvidence, path)
		default:
			others = true
		}
	}
	if others && c.Additional == nil {
		return nil, fmt.Errorf("%w: rule %q covers the text of %s", ErrNeedsEvidence, RuleTrustee, evidence.LabelAdditionalEvidence)
	}
	return data.Report(session, c.Additional)
}

// boundRule is the rule for a component of a composite that declares a convention,
// "" where that says nothing about it.
func boundRule(c *evidence.Commitment, cpu bool, nonceSize int) string {
	switch {
	case c == nil:
	case c.Convention == evidence.ConventionTrustee && cpu:
		return RuleTrustee
	case c.Convention == evidence.ConventionTrustee:
		return RuleTrusteeDevice + "/" + strconv.Itoa(nonceSize)
	case c.Convention == evidence.ConventionITA && cpu:
		return RuleITA
	case c.Convention == evidence.ConventionITA:
		return RuleITADevice
	case cpu:
		return RuleCommitment
	}
	return ""
}

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
