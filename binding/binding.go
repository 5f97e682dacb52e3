// SPDX-License-Identifier: Apache-2.0

// Package binding asks whether the components of a composite belong to one
// machine. Checkers read facts of verified results, challenges that the lead
// derived and digests of evidence that it computed, and never an unsigned claim.
// Begin with Check; Checkers says what each of them compares, as docs/binding.md
// does.
//
// The result is a graph. What no path of strong edges joins to the root of trust,
// the CPU TEE, keeps the composite at warning; an edge whose two ends contradict
// each other contraindicates it. A common or derived nonce is freshness and not
// co-location.
//
// Interconnects are the boards whose devices work with one another over links in
// clear: see Interconnects and decision D-77.
package binding

import (
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
)

// Origins of a commitment: who could have written it.
const (
	OriginApplication = verdict.OriginApplication
	OriginMeasured    = verdict.OriginMeasured
	OriginHardware    = verdict.OriginHardware
)

// Checker is one way in which components can be tied to one machine.
type Checker struct {
	// Kind is the name of its edges (verdict.Binding.Kind).
	Kind string
	// Needs says what has to be there for the checker to say anything.
	Needs string
	// Strength is the best that one of its edges can be.
	Strength string
	// Origin says who wrote what is compared.
	Origin string
	// Compares says what exactly is held against what.
	Compares string
	// Mutual: both ends of an edge vouch for each other (verdict.Binding.Mutual).
	// Otherwise To vouches for From, and what nothing vouches for vouches for nobody:
	// whoever adds a component can have it commit to the public key of another
	// (decision D-99).
	Mutual bool

	find func(*composite) ([]verdict.Binding, []verdict.Cap)
}

// Checkers are all of them, in the order of docs/binding.md; a new one is one file
// and one line.
func Checkers() []Checker {
	return []Checker{
		nonceChecker(), derivedChecker(), reportDataChecker(), attestedKeyChecker(), leadSignatureChecker(), eventLogChecker(),
		tsmChecker(), interconnectChecker(), chainChecker(), platformChecker(), identityChecker(),
	}
}

// Input is what is known about a composite.
type Input struct {
	// Components are sorted by label.
	Components []verdict.Component
	// Lead is the key that signed the composite as a whole, nil for none.
	Lead *verdict.LeadSignature
	// AcceptNonce takes a common nonce for a binding: a component that answers the
	// challenge of the session, and that nothing stronger joins to the root, caps
	// nothing then. A policy has to say so (verdict.ReasonUnboundComponent).
	AcceptNonce bool
}

// composite is what checkers look at: components sorted by label, the one that
// everything has to be bound to, nil for none, and who signed the whole.
type composite struct {
	root  *node
	parts []*node
	lead  *verdict.LeadSignature
	// components are those of the parts.
	components []verdict.Component
}

// node is a component and what its verifiers say, taken out once.
type node struct {
	*verdict.Component
	all []verdict.Appraisal
	// signers are the keys that signed the evidence by each verifier, "" by one that
	// does not say. chain and platforms are what all of them found.
	signers, chain, platforms []string
}

func newComposite(list []verdict.Component, lead *verdict.LeadSignature) *composite {
	c := &composite{lead: lead, components: list}
	for i := range list {
		p := &node{Component: &list[i], all: appraisals(list[i])}
		for _, a := range p.all {
			if !slices.Contains(p.signers, a.Facts.SignerSPKI) {
				p.signers = append(p.signers, a.Facts.SignerSPKI)
			}
		}
		p.chain = common(p.all, func(f verdict.Facts) []string { return f.ChainKeys })
		p.platforms = common(p.all, func(f verdict.Facts) []string {
			return slices.DeleteFunc(slices.Clone(f.Device), func(id string) bool { return kindOf(id) != kindIntelPlatform })
		})
		c.parts = append(c.parts, p)
	}
	if c.root = rootOf(c.parts); c.root != nil && slices.ContainsFunc(c.root.all, needsKey) {
		var unknown verdict.Vector
		unknown[verdict.Executables] = verdict.ClaimUnrecognized
		for i := range c.root.all { // nobody vouches for the root, so nobody does for its key
			c.root.all[i].Vector = c.root.all[i].Vector.Lower(unknown)
		}
	}
	return c
}

// common is what every result says, sorted, nil without results.
func common(all []verdict.Appraisal, of func(verdict.Facts) []string) []string {
	var out []string
	for i, a := range all {
		list := of(a.Facts)
		if i == 0 {
			out = sorted(list)
		}
		out = slices.DeleteFunc(out, func(s string) bool { return !slices.Contains(list, s) })
	}
	return out
}

// isRoot: the part is the root of trust.
func (c *composite) isRoot(p *node) bool { return p == c.root }

// Check runs every checker and returns the edges, sorted, with the caps that
// follow from them: a component without a strong path to the root of trust
// keeps the composite at warning; a broken edge contraindicates.
//
// It is monotone: a worse vector, freshness or tier of a component never gives a
// strong edge that was not there before.
func Check(in Input) ([]verdict.Binding, []verdict.Cap) {
	c := newComposite(in.Components, in.Lead)
	var edges []verdict.Binding
	var caps []verdict.Cap
	for _, k := range Checkers() {
		e, found := k.find(c)
		// No machine has more. What is dropped joins nothing, and what contradicts is a cap.
		edges, caps = append(edges, e[:min(len(e), maxLinks)]...), append(caps, found...)
	}
	reached := reach(c.root, edges)
	caps = append(caps, uncovered(c.root, edges, reached)...)
	caps = append(caps, unbound(c.root, c.parts, edges, reached, in.AcceptNonce)...)
	slices.SortFunc(edges, func(a, b verdict.Binding) int {
		return strings.Compare(string(a.From)+"\x00"+string(a.To)+"\x00"+a.Kind, string(b.From)+"\x00"+string(b.To)+"\x00"+b.Kind)
	})
	return edges, caps
}

// rootOf is the component that everything else has to be bound to: the only
// CPU TEE. Of several, which must be on one platform, it is the one that commits
// to the others, or the first; without that there is no root.
func rootOf(parts []*node) *node {
	all := slices.DeleteFunc(slices.Clone(parts), func(p *node) bool { return p.Class != verdict.ClassCPU })
	if len(all) == 0 {
		return nil
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if onePlatform(a, b) == "" {
				return nil
			}
		}
	}
	if i := slices.IndexFunc(all, commits); i >= 0 {
		return all[i]
	}
	return all[0]
}

// commits: the challenge of the component commits to the rest of the composite.
func commits(p *node) bool { return evidence.CommitsToEvidence(p.NonceRule) }

// reach are the components that a path of strong edges joins to the root.
func reach(root *node, edges []verdict.Binding) map[evidence.Path]bool {
	reached := map[evidence.Path]bool{}
	if root == nil {
		return reached
	}
	reached[root.Label] = true
	for grown := true; grown; {
		grown = false
		for _, e := range edges {
			if e.Strength != StrengthStrong || e.Status != StatusBound {
				continue
			}
			if reached[e.To] && !reached[e.From] {
				reached[e.From], grown = true, true
			}
			if e.Mutual() && reached[e.From] && !reached[e.To] {
				reached[e.To], grown = true, true
			}
		}
	}
	return reached
}

// uncovered caps for components to which the machine should commit, by the
// convention that it declares or as it does for others, and does not.
func uncovered(root *node, edges []verdict.Binding, reached map[evidence.Path]bool) []verdict.Cap {
	if root == nil {
		return nil
	}
	var who []string
	for _, e := range edges {
		if e.To == root.Label && e.Status == StatusAbsent && !reached[e.From] && (e.Kind == KindReportData || e.Kind == KindMeasuredEvent) {
			who = append(who, string(e.From))
		}
	}
	if who == nil {
		return nil
	}
	return []verdict.Cap{capped(verdict.TierWarning, verdict.Reason{
		Code:   verdict.ReasonBindingAbsent,
		Detail: string(root.Label) + " should commit to these, and it is not established that it does: " + strings.Join(sorted(who), ", "),
		Source: "convention of the composite",
	})}
}

// unbound caps for every component that no strong edge path joins to the root.
// Only a lone CPU TEE has nothing to be bound to: a lone device says nothing
// about the machine around it.
func unbound(root *node, parts []*node, edges []verdict.Binding, reached map[evidence.Path]bool, acceptNonce bool) []verdict.Cap {
	var loose, fresh []string
	for _, p := range parts {
		switch {
		case reached[p.Label]:
		case acceptNonce && root != nil && nonceBound(edges, p.Label, root.Label):
			fresh = append(fresh, string(p.Label))
		default:
			loose = append(loose, string(p.Label))
		}
	}
	var caps []verdict.Cap
	if fresh != nil {
		caps = append(caps, capped(verdict.TierAffirming, verdict.Reason{
			Code:   verdict.ReasonNonceBound,
			Detail: "the policy takes a common nonce for a binding, which a relay between two machines has as well: " + strings.Join(fresh, ", "),
		}))
	}
	if len(loose) == 0 {
		return caps
	}
	detail := "nothing proves that these belong to one machine with the CPU: " + strings.Join(loose, ", ")
	if root == nil {
		detail = "no single CPU TEE is the root of trust for: " + strings.Join(loose, ", ")
	}
	return append(caps, capped(verdict.TierWarning, verdict.Reason{Code: verdict.ReasonUnboundComponent, Detail: detail}))
}

func capped(t verdict.Tier, r verdict.Reason) verdict.Cap { return verdict.Cap{Tier: t, Reason: r} }

// contradiction is a commitment that does not hold: what was expected, what was
// seen, and where the expectation came from.
func contradiction(detail, expected, observed, source string) verdict.Cap {
	return capped(verdict.TierContraindicated, verdict.Reason{
		Code: verdict.ReasonBindingBroken, Detail: detail, Expected: expected, Observed: observed, Source: source})
}

// rated fills in a bound edge by who wrote the commitment, and says what that
// costs. What hardware wrote is as good as the signature around it. What software
// wrote is only as good as that software, measured software too, since a
// measurement that nobody knows could be anybody's. all are the results about
// the component that commits, what names the commitment in a sentence.
func rated(e *verdict.Binding, origin string, all []verdict.Appraisal, what string) []verdict.Cap {
	e.Status, e.Strength, e.Origin = StatusBound, StrengthStrong, origin
	switch {
	case origin == OriginHardware:
		return nil
	case slices.ContainsFunc(all, unknownSoftware):
		e.Strength = StrengthNonce
		return []verdict.Cap{capped(verdict.TierWarning, verdict.Reason{
			Code: verdict.ReasonBindingWeak, Detail: what + ", but the software that wrote that is not known to be good"})}
	case origin == OriginMeasured:
		return nil
	}
	return []verdict.Cap{capped(verdict.TierAffirming, verdict.Reason{
		Code: verdict.ReasonApplicationBound, Detail: what + ": an application wrote that, and the software there is known"})}
}

// unknownSoftware: this verifier does not call the software good. With several
// verifiers, each of them has to.
func unknownSoftware(a verdict.Appraisal) bool {
	return a.Vector[verdict.Executables].Tier() != verdict.TierAffirming
}

// appraisals are those of all verifiers of a component, without the good words that
// the lead takes back: what any of them found counts against it, what all of them found
// counts for it. A TPM for whose key nobody vouches is software, and what software
// says that it has measured binds nothing (decision D-124).
func appraisals(c verdict.Component) []verdict.Appraisal {
	var out []verdict.Appraisal
	for _, p := range c.Partials() {
		a := p.Appraisal()
		a.Vector = c.VectorOf(a.Vector)
		out = append(out, a)
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

// lesser is the less trustworthy of two origins, "" where one is not known.
func lesser(a, b string) string {
	order := []string{"", OriginApplication, OriginMeasured, OriginHardware}
	return order[min(max(slices.Index(order, a), 0), max(slices.Index(order, b), 0))]
}

func sorted(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
