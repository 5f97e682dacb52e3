// SPDX-License-Identifier: Apache-2.0

// Package binding asks whether the components of a composite belong to one
// machine. Checkers read facts of verified results only and never an unsigned
// claim. Begin with Check.
//
// It knows a common or derived nonce, which is freshness and not co-location;
// the CPU's commitment to everything else in its report data, and to keys; the
// lists in which devices of one board name each other; and the collision of two
// device identities.
//
// Interconnects are the boards whose devices work with one another over links in
// clear: see Interconnects and decision D-77.
package binding

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// Words of an edge (design: semantics, binding).
const (
	StrengthStrong = "strong"
	StrengthNonce  = "nonce"
	StrengthNone   = "none"

	StatusBound  = "bound"
	StatusBroken = "broken"
	StatusAbsent = "absent"

	// KindNonce: both components answer the same challenge, or challenges
	// derived from the same one.
	KindNonce = "common-nonce"
	// KindIdentity: two components claim to be the same device.
	KindIdentity = "identity-collision"
)

// checker finds edges and caps among components sorted by label.
type checker func(root *verdict.Component, parts []verdict.Component) ([]verdict.Binding, []verdict.Cap)

// checkers is the explicit list; a new check is one file and one line.
func checkers() []checker {
	return []checker{commonNonce, reportData, attestedKey, tsmDigest, interconnect, identityCollision}
}

// Check runs every checker and returns the edges, sorted, with the caps that
// follow from them: a component without a strong path to the root of trust
// keeps the composite at warning; a broken edge contraindicates.
func Check(parts []verdict.Component) ([]verdict.Binding, []verdict.Cap) {
	root := rootOf(parts)
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, check := range checkers() {
		e, c := check(root, parts)
		edges, caps = append(edges, e...), append(caps, c...)
	}
	caps = append(caps, unbound(root, parts, edges)...)
	slices.SortFunc(edges, func(a, b verdict.Binding) int {
		return strings.Compare(string(a.From)+"\x00"+string(a.To)+"\x00"+a.Kind, string(b.From)+"\x00"+string(b.To)+"\x00"+b.Kind)
	})
	return edges, caps
}

// rootOf is the component that everything else has to be bound to: the only
// CPU TEE. With none or several there is no root.
func rootOf(parts []verdict.Component) *verdict.Component {
	var root *verdict.Component
	for i := range parts {
		if parts[i].Class != verdict.ClassCPU {
			continue
		}
		if root != nil {
			return nil
		}
		root = &parts[i]
	}
	return root
}

// unbound caps for every component that no strong edge path joins to the root.
// Only a lone CPU TEE has nothing to be bound to: a lone device says nothing
// about the machine around it.
func unbound(root *verdict.Component, parts []verdict.Component, edges []verdict.Binding) []verdict.Cap {
	reached := map[evidence.Path]bool{}
	if root != nil {
		reached[root.Label] = true
		for range parts {
			for _, e := range edges {
				if e.Strength == StrengthStrong && e.Status == StatusBound && (reached[e.From] || reached[e.To]) {
					reached[e.From], reached[e.To] = true, true
				}
			}
		}
	}
	var loose []string
	for _, p := range parts {
		if !reached[p.Label] {
			loose = append(loose, string(p.Label))
		}
	}
	if len(loose) == 0 {
		return nil
	}
	detail := "nothing proves that these belong to one machine with the CPU: " + strings.Join(loose, ", ")
	if root == nil {
		detail = "no single CPU TEE is the root of trust for: " + strings.Join(loose, ", ")
	}
	return []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{Code: verdict.ReasonUnboundComponent, Detail: detail}}}
}

// fresh reports whether every verified result about a component, and at least
// one, found a challenge that the lead derived from the session nonce.
func fresh(c verdict.Component) bool {
	return freshness(appraisals(c)) == verdict.FreshnessFresh && c.NonceRule != "" && c.NonceRule != "given"
}

// appraisals are those of all verifiers of a component: what any of them found
// counts against it, what all of them found counts for it.
func appraisals(c verdict.Component) []verdict.Appraisal {
	var out []verdict.Appraisal
	for _, p := range c.Partials() {
		out = append(out, p.Appraisal())
	}
	return out
}

// freshness is the worst of all, and not established by nobody.
func freshness(all []verdict.Appraisal) verdict.Freshness {
	switch {
	case slices.ContainsFunc(all, func(a verdict.Appraisal) bool { return a.Freshness == verdict.FreshnessMismatch }):
		return verdict.FreshnessMismatch
	case len(all) == 0, slices.ContainsFunc(all, func(a verdict.Appraisal) bool { return a.Freshness != verdict.FreshnessFresh }):
		return verdict.FreshnessNotEstablished
	}
	return verdict.FreshnessFresh
}

func commonNonce(root *verdict.Component, parts []verdict.Component) ([]verdict.Binding, []verdict.Cap) {
	if root == nil {
		return nil, nil
	}
	var edges []verdict.Binding
	for _, p := range parts {
		if p.Label == root.Label {
			continue
		}
		e := verdict.Binding{From: p.Label, To: root.Label, Kind: KindNonce, Strength: StrengthNone, Status: StatusAbsent}
		if fresh(*root) && fresh(p) {
			e.Strength, e.Status = StrengthNonce, StatusBound
		}
		edges = append(edges, e)
	}
	return edges, nil
}

// identityCollision refuses one device that answers under two labels.
func identityCollision(_ *verdict.Component, parts []verdict.Component) ([]verdict.Binding, []verdict.Cap) {
	first := map[string]evidence.Path{}
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, p := range parts {
		hit := map[evidence.Path]bool{}
		for _, id := range devices(p) {
			other, seen := first[id]
			if !seen {
				first[id] = p.Label
				continue
			}
			if other == p.Label || hit[other] {
				continue
			}
			hit[other] = true
			edges = append(edges, verdict.Binding{From: p.Label, To: other, Kind: KindIdentity, Strength: StrengthNone, Status: StatusBroken})
			caps = append(caps, verdict.Cap{Tier: verdict.TierContraindicated, Reason: verdict.Reason{
				Code:   verdict.ReasonDuplicateIdentity,
				Detail: fmt.Sprintf("%s and %s are the same device (%s)", other, p.Label, id),
			}})
		}
	}
	return edges, caps
}

// devices are the identities that any verifier of a component found.
func devices(c verdict.Component) []string {
	var out []string
	for _, a := range appraisals(c) {
		out = append(out, a.Facts.Device...)
	}
	return out
}
