// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/sha256"
	"fmt"

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

// RecheckNonces repeats, on the relying party's side, the derivation of every
// component's challenge from the session nonce that the verdict names. A
// component whose challenge was given by hand (rule "given") has none to
// repeat. The result must have passed verdict.VerifyResult.
func RecheckNonces(r *verdict.Result) error {
	for _, c := range r.Components {
		if c.NonceRule == "" || c.NonceRule == topologies.RuleGiven {
			continue
		}
		want, err := topologies.DeriveNonce(c.NonceRule, r.Nonce)
		if err != nil || !sameNonce(want, c.Nonce) {
			return fmt.Errorf("orchestrator: %s was asked with a challenge that does not follow from the session nonce by rule %q", c.Label, c.NonceRule)
		}
	}
	return nil
}

// RecheckEvidence compares a verdict with the composite evidence that it
// claims to be about: the digest of the whole, and for every component label
// the digest of exactly the bytes that were appraised. A component that is in
// the evidence and not in the verdict is an error.
func RecheckEvidence(r *verdict.Result, schemes *verifiers.Set, tree *evidence.Tree) error {
	if tree.Digest() != r.Composite {
		return fmt.Errorf("orchestrator: the evidence (sha-256 %x) is not what the verdict is about (%x)", tree.Digest(), r.Composite)
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
		delete(stated, p.Label)
	}
	for label, c := range stated {
		if !c.Partial.IsZero() {
			return fmt.Errorf("orchestrator: the verdict speaks about %s, which is not in the evidence", label)
		}
	}
	return nil
}
