// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"encoding/hex"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

const (
	// KindNonce says that both components answer the challenge of the session.
	KindNonce = "common-nonce"
	// KindDerivedNonce says that the component answers a challenge that the lead derived from
	// that of the session, by a rule.
	KindDerivedNonce = "derived-nonce"
)

// ruleSame and ruleGiven are the rules that derive nothing: the session nonce
// itself, and a challenge of the component's own.
const (
	ruleSame  = "same"
	ruleGiven = "given"
)

func nonceChecker() Checker {
	return Checker{
		Kind: KindNonce, Strength: StrengthNonce, Origin: "-",
		Needs:    "a session nonce that fits the component as it is",
		Compares: "the session nonce with what the component has signed, as with the root",
		find:     func(c *composite) ([]verdict.Binding, []verdict.Cap) { return answers(c, KindNonce), nil },
	}
}

func derivedChecker() Checker {
	return Checker{
		Kind: KindDerivedNonce, Strength: StrengthNonce, Origin: "-",
		Needs:    "a session nonce and a rule that derives the component's challenge from it",
		Compares: "the challenge that the lead derived with what the component has signed, as with the root",
		find:     func(c *composite) ([]verdict.Binding, []verdict.Cap) { return answers(c, KindDerivedNonce), nil },
	}
}

// answers are the edges of components whose challenge came about in one way. One
// that answers another challenge contradicts nothing here: it is contraindicated
// by itself.
func answers(c *composite, kind string) []verdict.Binding {
	if c.root == nil {
		return nil
	}
	var edges []verdict.Binding
	for _, p := range c.parts {
		if c.isRoot(p) || nonceKind(p) != kind {
			continue
		}
		e := verdict.Binding{From: p.Label, To: c.root.Label, Kind: kind, Strength: StrengthNone, Status: StatusAbsent,
			Compared: "the challenge of the session with the one in the signed evidence"}
		e.Expected, e.Observed = hex.EncodeToString(p.Nonce), seen(p.all)
		if fresh(c.root) && fresh(p) {
			e.Strength, e.Status = StrengthNonce, StatusBound
		}
		edges = append(edges, e)
	}
	return edges
}

func nonceKind(p *node) string {
	switch p.NonceRule {
	case "", ruleSame, ruleGiven:
		return KindNonce
	}
	return KindDerivedNonce
}

// seen is the challenge that the verifiers of a component found: that of the first
// of them that found another one than was asked for.
func seen(all []verdict.Appraisal) string {
	out := ""
	for i, a := range all {
		if i == 0 || a.Freshness == verdict.FreshnessMismatch {
			out = hex.EncodeToString(a.NonceSeen)
		}
		if a.Freshness == verdict.FreshnessMismatch {
			break
		}
	}
	return out
}

// fresh reports whether every verified result about a component, and at least
// one, found a challenge that the lead derived from the session nonce.
func fresh(p *node) bool {
	return freshness(p.all) == verdict.FreshnessFresh && p.NonceRule != "" && p.NonceRule != ruleGiven
}

// nonceBound: a common nonce, at least, joins a component to the root, and
// nothing about the two is broken.
func nonceBound(edges []verdict.Binding, label, root evidence.Path) bool {
	found := false
	for _, e := range edges {
		if e.From != label && e.To != label {
			continue
		}
		if e.Status == StatusBroken {
			return false
		}
		found = found || (e.Kind == KindNonce || e.Kind == KindDerivedNonce) && e.To == root && e.Status == StatusBound
	}
	return found
}
