// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"cmp"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
)

// Component is one component of a composite in the eyes of the lead: what was
// asked, what came back, and what the lead itself has to say.
type Component struct {
	Label     evidence.Path
	Scheme    string
	MediaType string
	// Class is the component's place in the machine: "cpu-tee", "device" or
	// empty when nobody knows.
	Class    string
	Required bool
	// Request, Nonce, NonceRule and Evidence (SHA-256) are what was sent.
	Request   string
	Nonce     []byte
	NonceRule string
	Evidence  [32]byte
	// Partial is zero when there is no verdict; Reasons then say why. Of the
	// results of redundant verifiers it is one of the worst.
	Partial Partial
	// Quorum is how many redundant verifiers had to answer, at most MaxAsked;
	// zero for one verifier. The worst answer counts (decision D-26), with fewer
	// answers than Quorum nothing is better than none, and where fewer than Asked
	// answered nothing is better than warning.
	//
	// So to worsen an answer never helps, and neither does it to suppress one
	// that is affirming or warning. To suppress one that is worse can help, as it
	// does with a lone verifier: if the quorum is reached without it, up to
	// warning, otherwise up to none. It never gives affirming: that takes an
	// affirming answer from everyone who was asked.
	Quorum int
	// Asked is how many redundant verifiers were asked: Quorum or more, or zero
	// where none could be (a missing component, no verifier). Zero without Quorum.
	Asked int
	// Others are the results of the other redundant verifiers about the same
	// component, request, nonce and evidence; SetPartials sorts them.
	Others []Partial
	// Path are the nodes that the component was handed through, the lead first and
	// the one that asked the verifiers last: each but the last led what came behind
	// it. Nil where the lead itself asked them. Names and keys of nodes that the
	// lead does not know are the word of the nodes in between.
	Path []Hop
	// Site is where the last node was told to ask: a site or a node. Empty where
	// that was its own business. Sites are those of redundant verifiers instead.
	Site  string
	Sites []string
	// Reasons are the lead's own. Each can only lower the tier, to
	// ReasonCeiling of its code.
	Reasons []Reason
	// Lowered are claims that the lead's policy sets to something worse than the
	// partial result has; zero leaves a claim as it is. It never makes one better.
	Lowered Vector
	// Duration is how long the lead waited; whole microseconds are reported.
	Duration time.Duration
}

// Tier is TierNone without a Partial for this label, otherwise the Partial's
// status or worse: if that of another verifier is worse or missing (see Quorum),
// or if a reason of the lead lowers it.
func (c Component) Tier() Tier {
	var t Tier
	switch {
	case c.Partial.IsZero() && len(c.Others) == 0:
		return TierNone
	case c.Quorum != 0 || c.Asked != 0 || len(c.Others) > 0:
		t = c.redundantTier()
	case c.Partial.Label() != c.Label:
		return TierNone
	default:
		t = c.Partial.Status()
	}
	for _, r := range c.Reasons {
		t = Worst(t, ReasonCeiling(r.Code))
	}
	for _, claim := range c.Lowered {
		if claim != ClaimNone {
			t = Worst(t, claim.Tier())
		}
	}
	return t
}

// effect is the tier that a component allows the composite: its own, except
// that an optional component without a verdict only caps at warning.
func (c Component) effect() Tier {
	t := c.Tier()
	if !c.Required && t == TierNone {
		return TierWarning
	}
	return t
}

// Cap limits the composite to a tier, for a reason that no single component
// has (an unbound component, a policy, an unexpected component). A cap with
// TierAffirming lowers nothing and adds its reason as a remark. The zero Cap
// limits to TierNone.
type Cap struct {
	Tier   Tier   `json:"tier"`
	Reason Reason `json:"reason"`
}

// Outcome is the cross-component result.
type Outcome struct {
	Tier    Tier
	Reasons []Reason
	// Vector asserts two claims: SourcedData from the components' tiers (2 all
	// affirming, 32 any warning or none, 96 any contraindicated) and
	// Configuration from the caps (0 none lowers, 36 one caps at warning or
	// none, 96 one contraindicates) (decision D-37).
	Vector Vector
}

// Combine joins components and caps (decision D-16). Any contraindicated
// component, required or not, makes the composite contraindicated; else a
// required one without verdict makes it none; else a warning, or an optional
// component without verdict, makes it warning. If no component at all has a
// verdict the composite is none. It is never better than any cap.
//
// Combine is pure and total, does not depend on the order of its arguments, and
// is monotone in the order affirming, warning, none, contraindicated: a worse
// component, a component that becomes required, or one more cap never gives a
// better outcome. Leaving a component out can: which components there must be
// is not decided here.
func Combine(parts []Component, caps []Cap) Outcome {
	sourced, appraised := TierAffirming, false
	var reasons []Reason
	for _, c := range parts {
		t := c.Tier()
		appraised = appraised || t != TierNone
		sourced = Worst(sourced, c.effect())
		if t != TierAffirming {
			reasons = append(reasons, Reason{Code: ReasonComponentTier, Detail: string(c.Label) + ": " + t.String()})
		}
	}
	if !appraised {
		sourced = Worst(sourced, TierNone)
	}
	if len(parts) == 0 {
		reasons = append(reasons, Reason{Code: ReasonNoComponents, Detail: "nothing was appraised"})
	}
	capped := TierAffirming
	for _, c := range caps {
		capped = Worst(capped, c.Tier.known())
		reasons = append(reasons, c.Reason)
	}
	o := Outcome{Tier: Worst(sourced, capped), Reasons: sortReasons(reasons)}
	o.Vector[SourcedData] = sourcedClaim(sourced)
	o.Vector[Configuration] = capClaim(capped)
	return o
}

// known maps a number that is no tier to the worst one.
func (t Tier) known() Tier {
	switch t {
	case TierNone, TierAffirming, TierWarning:
		return t
	}
	return TierContraindicated
}

func sourcedClaim(t Tier) Claim {
	switch t {
	case TierAffirming:
		return ClaimApproved
	case TierContraindicated:
		return ClaimContraindicate
	}
	return ClaimUnsafe
}

func capClaim(t Tier) Claim {
	switch t {
	case TierAffirming:
		return ClaimNone
	case TierContraindicated:
		return ClaimContraindicate
	}
	return ClaimNoVisibility
}

// sortReasons orders by code and detail and drops repetitions.
func sortReasons(list []Reason) []Reason {
	slices.SortFunc(list, func(a, b Reason) int {
		return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Detail, b.Detail),
			cmp.Compare(a.Expected, b.Expected), cmp.Compare(a.Observed, b.Observed), cmp.Compare(a.Source, b.Source))
	})
	return slices.Compact(list)
}
