// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/assize/assize/binding"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Components takes a tree apart as the lead does: every leaf by its media
// type, leaves with several devices split. More than max components are an
// error.
func Components(schemes *verifiers.Set, tree *evidence.Tree, max int) ([]topologies.Component, error) {
	o := Orchestrator{o: Options{Schemes: schemes, Limits: limits.Evidence{Leaves: max}}}
	return o.components(tree)
}

// Recheck repeats on the relying party's side what the lead had to conclude
// from the results that it signed over: that challenges follow from the session
// nonce, what class of component each scheme judges, that required claims are
// asserted, and what bindings and freshness cap. The result must have passed
// verdict.VerifyResult; schemes are the relying party's own. A *NeedsEvidence
// says that everything else holds, and that the verdict is better than a warning.
func Recheck(r *verdict.Result, schemes *verifiers.Set) error { return recheck(r, schemes, false) }

// recheck is Recheck; simulated says that the relying party takes extra roots.
func recheck(r *verdict.Result, schemes *verifiers.Set, simulated bool) error {
	nonces := RecheckNonces(r)
	if nonces != nil && !needsEvidence(nonces) {
		return nonces
	}
	again := *r
	again.Components = slices.Clone(r.Components)
	for i := range again.Components {
		c := &again.Components[i]
		if len(c.Partials()) == 0 {
			continue
		}
		sc, ok := schemes.Lookup(c.Scheme)
		if !ok {
			return fmt.Errorf("orchestrator: %s was judged by scheme %q, which is not known here", c.Label, c.Scheme)
		}
		if c.Class != string(sc.Class) {
			return fmt.Errorf("orchestrator: the verdict calls %s a %q, but scheme %s judges a %q", c.Label, c.Class, c.Scheme, sc.Class)
		}
		c.Reasons = slices.Clone(c.Reasons)
	}
	requireClaims(schemes, again.Components)
	if err := recheckRelays(r.Components, binding.Unauthenticated(r.Components)); err != nil {
		return err
	}
	if err := recheckInterconnects(r.Interconnects, binding.Interconnects(again.Components)); err != nil {
		return err
	}
	_, caps := judge(&again, simulated)
	allowed := verdict.Combine(again.Components, append(slices.Clone(r.Caps), caps...))
	if allowed.Tier.WorseThan(r.Outcome.Tier) {
		return fmt.Errorf("orchestrator: the verdict says %s, but its own results give %s: %v", r.Outcome.Tier, allowed.Tier, allowed.Reasons)
	}
	if verdict.TierWarning.WorseThan(r.Outcome.Tier) {
		return nonces
	}
	return nil
}

// recheckInterconnects holds what the verdict says about links in clear to what
// its own results give: the same devices, and nothing better about them.
func recheckInterconnects(stated, allowed []verdict.Interconnect) error {
	if len(stated) != len(allowed) {
		return fmt.Errorf("orchestrator: the verdict knows %d interconnects, but its own results give %d", len(stated), len(allowed))
	}
	for n, a := range allowed {
		s := stated[n]
		if !slices.Equal(s.Devices, a.Devices) || !slices.Equal(s.Switches, a.Switches) || !slices.Equal(s.Unattested, a.Unattested) {
			return fmt.Errorf("orchestrator: the verdict says that %v form an interconnect, but its own results give %v", s.Members(), a.Members())
		}
		if a.Configuration.Tier().WorseThan(s.Configuration.Tier()) || a.Tier.WorseThan(s.Tier) {
			return fmt.Errorf("orchestrator: the verdict says that the interconnect of %v is %s with configuration %d, but its own results give %s with %d",
				s.Members(), s.Tier, s.Configuration, a.Tier, a.Configuration)
		}
	}
	return nil
}

// RecheckNonces repeats, on the relying party's side, the derivation of every
// component's challenge from the session nonce that the verdict names. A
// component whose challenge was given by hand (rule "given") has none to
// repeat. The result must have passed verdict.VerifyResult. A *NeedsEvidence says
// that all others do follow.
func RecheckNonces(r *verdict.Result) error {
	var needs []evidence.Path
	for _, c := range r.Components {
		if c.NonceRule == "" && len(c.Nonce) > 0 {
			return fmt.Errorf("orchestrator: %s was asked with a challenge, and no rule says where it comes from", c.Label)
		}
		if c.NonceRule == "" || c.NonceRule == topologies.RuleGiven {
			continue
		}
		want, err := rederive(r, c)
		if errors.Is(err, topologies.ErrNeedsEvidence) {
			needs = append(needs, c.Label)
			continue
		}
		if err != nil || !sameNonce(want, c.Nonce) {
			return fmt.Errorf("orchestrator: %s was asked with a challenge that does not follow from the session nonce by rule %q", c.Label, c.NonceRule)
		}
	}
	if needs != nil {
		return &NeedsEvidence{Components: needs}
	}
	return nil
}

// rederive repeats a derivation. A commitment covers every component that the
// verdict speaks about, or it would not be one.
func rederive(r *verdict.Result, c verdict.Component) ([]byte, error) {
	if !topologies.OfComposite(c.NonceRule) {
		return topologies.DeriveNonce(c.NonceRule, r.Nonce)
	}
	if r.Commitment == nil {
		return nil, errors.New("orchestrator: the verdict does not say what the commitment is to")
	}
	for _, p := range r.Components {
		if !evidence.CommitsToEvidence(c.NonceRule) {
			break
		}
		if p.Evidence != ([sha256.Size]byte{}) && !covered(r.Commitment, p.Label) {
			return nil, fmt.Errorf("orchestrator: the commitment of %s does not cover %s", c.Label, p.Label)
		}
	}
	return topologies.DeriveBound(c.NonceRule, *r.Commitment, r.Nonce, c.Label)
}

// covered: the component is a leaf, or one device of a leaf.
func covered(c *evidence.Commitment, label evidence.Path) bool {
	for path := range c.Leaves {
		if path != "" && label.Under(path) {
			return true
		}
	}
	return false
}

// RecheckTopology holds a verdict to what the relying party itself demands to be
// there: every component that the expression names and requires must be in the
// verdict, and as a required one; where it wants redundant verifiers, as many
// must have been asked, and as many must have had to answer. Where it says at
// which place, or through which nodes, a component has to be appraised, the
// verdict has to say the same (whether that is true is for RecheckPlaces); where
// it names no place, every one will do.
func RecheckTopology(r *verdict.Result, want topologies.Expr) error {
	in := topologies.Input{Route: anywhere, Self: r.Node}
	stated := map[evidence.Path]verdict.Component{}
	for _, c := range r.Components {
		stated[c.Label] = c
		if c.Evidence != ([sha256.Size]byte{}) { // one that was missing stands under its pattern
			in.Components = append(in.Components, topologies.Component{Label: c.Label, Leaf: c.Label, Scheme: c.Scheme})
		}
	}
	plan, err := topologies.New(want, in)
	if err != nil {
		return err
	}
	for _, st := range plan.Steps {
		if st.Kind != topologies.Appraise {
			continue
		}
		c, ok := stated[st.Label]
		switch {
		case st.Required && !ok:
			return fmt.Errorf("orchestrator: %s must be there, and the verdict does not know it", st.Label)
		case st.Required && !c.Required:
			return fmt.Errorf("orchestrator: %s must be there, and the verdict calls it optional", st.Label)
		case len(c.Partials()) > 0 && (c.Quorum < st.Quorum || c.Asked < len(st.Sources)):
			return fmt.Errorf("orchestrator: %s must be judged by %d of %d verifiers, and the verdict says %d of %d",
				st.Label, st.Quorum, len(st.Sources), c.Quorum, c.Asked)
		case len(c.Partials()) > 0 && namesPlace(st):
			if err := samePlace(r, c, st); err != nil {
				return fmt.Errorf("%w, which the relying party wants", err)
			}
		}
	}
	return nil
}

// namesPlace reports whether an expression says where a component is appraised.
func namesPlace(st topologies.Step) bool {
	return st.Relay > 0 || st.Node != "" || slices.ContainsFunc(st.Sources, func(s topologies.Source) bool { return s.Node != "" })
}

// RecheckEvidence compares a verdict with the composite evidence that it
// claims to be about: the digest of the whole, and for every component label
// the digest of exactly the bytes that were appraised. A component that is in
// the evidence and not in the verdict is an error.
func RecheckEvidence(r *verdict.Result, schemes *verifiers.Set, tree *evidence.Tree) error {
	if tree.Digest() != r.Composite {
		return fmt.Errorf("orchestrator: the evidence (sha-256 %x) is not what the verdict is about (%x)", tree.Digest(), r.Composite)
	}
	if r.Commitment != nil {
		if c := commitment(tree); c == nil || !maps.Equal(c.Leaves, r.Commitment.Leaves) {
			return errors.New("orchestrator: the commitment in the verdict is to other leaves than those in the evidence")
		}
		if err := recheckCommitment(r, commitment(tree)); err != nil {
			return err
		}
	}
	if err := recheckInventory(r, tree); err != nil {
		return err
	}
	parts, err := Components(schemes, tree, limits.Default().Leaves)
	if err != nil {
		return err
	}
	stated := map[evidence.Path]verdict.Component{}
	for _, c := range r.Components {
		stated[c.Label] = c
	}
	for _, p := range parts {
		c, ok := stated[p.Label]
		if !ok {
			return fmt.Errorf("orchestrator: %s is in the evidence and not in the verdict", p.Label)
		}
		if c.Evidence != sha256.Sum256(p.Evidence) {
			return fmt.Errorf("orchestrator: the verdict about %s was made from other bytes than those in the evidence", p.Label)
		}
		if len(c.Partials()) > 0 && (c.Scheme != p.Scheme || c.MediaType != p.MediaType.String() || c.Class != string(p.Class)) {
			return fmt.Errorf("orchestrator: %s was judged by %s as %s, but it belongs to %s as %s", p.Label, c.Scheme, c.MediaType, p.Scheme, p.MediaType)
		}
		delete(stated, p.Label)
	}
	for label, c := range stated {
		if len(c.Partials()) > 0 {
			return fmt.Errorf("orchestrator: the verdict speaks about %s, which is not in the evidence", label)
		}
	}
	return recheckSession(r, tree)
}
