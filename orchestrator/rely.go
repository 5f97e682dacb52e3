// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// RecheckStated is Recheck for those who judge the result again (Rejudge), or take
// what the lead openly relaxed as its own business: a verdict in which the lead says
// itself that it was told to believe simulated machines is no lie, and neither is one
// with challenges that only the evidence can repeat (Unrepeatable).
func RecheckStated(r *verdict.Result, schemes *verifiers.Set) error {
	err := recheck(r, schemes, saysSimulated(r))
	if needsEvidence(err) {
		return nil
	}
	return err
}

// saysSimulated: the lead states that extra roots cost nothing with it.
func saysSimulated(r *verdict.Result) bool {
	return slices.ContainsFunc(r.Caps, func(c verdict.Cap) bool {
		return c.Reason.Code == verdict.ReasonExtraRoots && c.Tier == verdict.TierAffirming
	})
}

// Unrepeatable are caps for what a relying party cannot repeat without the evidence
// (decision D-103): challenges that follow from its bytes, and that the components
// are those to which the CPU TEE commits. The verdict has their digests, and that
// these are of the evidence behind the results is the word of the lead. The result
// must have passed verdict.VerifyResult.
func Unrepeatable(r *verdict.Result) []verdict.Cap {
	var caps []verdict.Cap
	var needs *NeedsEvidence
	if errors.As(RecheckNonces(r), &needs) {
		caps = append(caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code: verdict.ReasonNonceNotEstablished, Source: "relying party",
			Detail: "the challenges of these follow from the evidence, which is not at hand: " + joinPaths(needs.Components)}})
	}
	if others := committed(r); others != nil {
		caps = append(caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code: verdict.ReasonUnboundComponent, Source: "relying party",
			Detail: "that the CPU TEE commits to the evidence of these is the word of the lead without the evidence: " + joinPaths(others)}})
	}
	if hidden := unspoken(r); hidden != nil {
		caps = append(caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
			Code: verdict.ReasonMissingComponent, Source: "relying party",
			Detail: "the CPU TEE commits to these, and the verdict says nothing about them: " + joinPaths(hidden)}})
	}
	if i := r.Inventory; i != nil && r.Commitment != nil {
		if _, ok := r.Commitment.Leaves[i.Label]; ok { // any leaf could be called so, to hide it
			caps = append(caps, verdict.Cap{Tier: verdict.TierWarning, Reason: verdict.Reason{
				Code: verdict.ReasonInventory, Source: "relying party",
				Detail: "that this is an inventory, and what it demands, is the word of the lead without the evidence: " + string(i.Label)}})
		}
	}
	return caps
}

// unspoken are leaves to which the CPU TEE commits and that are no component of the
// verdict: a lead that leaves one out cannot leave it out of the commitment.
func unspoken(r *verdict.Result) []evidence.Path {
	if r.Commitment == nil || r.Commitment.Convention != "" && r.Commitment.Convention != evidence.ConventionAssize {
		return nil
	}
	var out []evidence.Path
	for _, leaf := range slices.Sorted(maps.Keys(r.Commitment.Leaves)) {
		spoken := slices.ContainsFunc(r.Components, func(c verdict.Component) bool { return c.Label.Under(leaf) })
		if !spoken && leaf != "" && (r.Inventory == nil || r.Inventory.Label != leaf) {
			out = append(out, leaf)
		}
	}
	return out
}

// committed are the components that another one commits to with its challenge.
func committed(r *verdict.Result) []evidence.Path {
	var out []evidence.Path
	for _, by := range r.Components {
		if !evidence.CommitsToEvidence(by.NonceRule) || len(by.Partials()) == 0 {
			continue
		}
		for _, c := range r.Components {
			if c.Label != by.Label && c.Evidence != ([32]byte{}) && !slices.Contains(out, c.Label) {
				out = append(out, c.Label)
			}
		}
	}
	return out
}

func joinPaths(paths []evidence.Path) string {
	var out []string
	for _, p := range paths {
		out = append(out, string(p))
	}
	return strings.Join(out, ", ")
}

// RecheckLeadSignature holds what a verdict says about who signed the composite as a
// whole to the composite. It reports whether the relying party may say so too: only
// where the evidence was parsed with its own keys for signed composites, and one of
// them is the key that the verdict names. An error means that the verdict is wrong.
func RecheckLeadSignature(r *verdict.Result, tree *evidence.Tree) (bool, error) {
	if r.Lead == nil {
		if leadSignature(tree) != nil { // a lead that reads such a composite knows whose it is
			return false, errors.New("orchestrator: the verdict does not name the key that signed the composite")
		}
		return false, nil
	}
	if tree.Root().Content().Signer() == nil {
		return false, errors.New("orchestrator: the verdict names a key that signed the composite, which nobody signed")
	}
	own := leadSignature(tree)
	if own == nil {
		return false, nil
	}
	if *own != *r.Lead {
		return false, errors.New("orchestrator: the composite was signed with another key than the verdict names")
	}
	return true, nil
}

// recheckSession holds a verdict to what the composite says about its session.
func recheckSession(r *verdict.Result, tree *evidence.Tree) error {
	caps := foreignSession(tree, r.Nonce)
	if caps == nil || !verdict.Combine(r.Components, append(slices.Clone(r.Caps), caps...)).Tier.WorseThan(r.Outcome.Tier) {
		return nil
	}
	return errors.New("orchestrator: the composite was made for another session nonce, and the verdict does not say so")
}
