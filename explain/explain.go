// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
)

// Explanation is why a verdict is what it is. schemas/explain.schema.json describes
// it as JSON.
type Explanation struct {
	// Input says what was explained and whether anybody verified it. Of leaves it
	// empty.
	Input *Input       `json:"input,omitempty"`
	Tier  verdict.Tier `json:"tier"`
	// Summary is one sentence.
	Summary string `json:"summary"`
	// Causes are about the whole, the one that costs most first.
	Causes []Cause `json:"causes"`
	// Components are the worst first, then by label.
	Components    []Component    `json:"components"`
	Edges         []Edge         `json:"edges"`
	Interconnects []Interconnect `json:"interconnects,omitempty"`
	Requirements  []Requirement  `json:"requirements,omitempty"`
	Policy        *Policy        `json:"policy,omitempty"`
	// Unproven is what the verdict does not prove, whatever its tier.
	Unproven []string `json:"not_proven"`
}

// Input is what was explained.
type Input struct {
	// Form is "bundle", "signed verdict" or "document".
	Form     string `json:"form"`
	Verified bool   `json:"verified"`
	// Note says in a sentence how far it can be believed.
	Note string `json:"note"`
}

// Cause is one reason, taken apart.
type Cause struct {
	Code string `json:"code"`
	// Costs is the best tier that the reason leaves, Blocking that it keeps what it
	// is about from the next better tier. One that costs nothing is a remark.
	Costs    verdict.Tier `json:"costs"`
	Blocking bool         `json:"blocking"`
	// Meaning is what the code says everywhere, Detail what was found here.
	Meaning  string `json:"meaning"`
	Detail   string `json:"detail,omitempty"`
	Expected string `json:"expected,omitempty"`
	Observed string `json:"observed,omitempty"`
	// Source is where the expectation comes from.
	Source string `json:"source"`
	Remedy string `json:"remedy"`
}

// Component is one component and its causes.
type Component struct {
	Label    string       `json:"label"`
	Scheme   string       `json:"scheme,omitempty"`
	Tier     verdict.Tier `json:"tier"`
	Required bool         `json:"required"`
	Summary  string       `json:"summary"`
	// Claims are the trustworthiness claims that are not affirming.
	Claims map[string]verdict.Claim `json:"claims,omitempty"`
	Causes []Cause                  `json:"causes"`
}

// explainer knows the list of codes.
type explainer struct {
	doc   verdict.Document
	codes map[string]schemas.Reason
}

// Of explains a document. It is pure: the same document gives the same explanation.
// The error is that the embedded list of codes cannot be read, a fault of the build.
func Of(doc verdict.Document) (Explanation, error) {
	list, err := schemas.Reasons()
	if err != nil {
		return Explanation{}, fmt.Errorf("explain: %w", err)
	}
	e := explainer{doc: doc, codes: make(map[string]schemas.Reason, len(list))}
	for _, r := range list {
		e.codes[r.Code] = r
	}
	out := Explanation{
		Tier: doc.Verdict.Tier, Causes: e.whole(), Components: e.components(), Edges: e.edges(),
		Interconnects: e.interconnects(), Requirements: e.requirements(), Policy: e.policy(), Unproven: e.unproven(),
	}
	out.Summary = e.summary(out)
	return out, nil
}

// whole are the causes that are about no single component. That a component lowers
// the verdict is said there.
func (e explainer) whole() []Cause {
	var list []verdict.Reason
	for _, r := range e.doc.Verdict.Reasons {
		if r.Code == verdict.ReasonComponentTier && e.known(r) {
			continue
		}
		list = append(list, r)
	}
	return e.causes(list, e.doc.Verdict.Tier, e.componentsAllow(), func(r verdict.Reason) string {
		switch {
		case strings.HasPrefix(r.Code, verdict.ReasonPolicy) && e.doc.Policy != nil:
			return "policy " + e.doc.Policy.ID
		case r.Code == verdict.ReasonMissingComponent || r.Code == verdict.ReasonUnexpected || r.Code == verdict.ReasonAsSubmitted:
			return "topology " + e.doc.Topology
		}
		return "rules for whole machines"
	}, "")
}

// known: the reason names a component that is in the document.
func (e explainer) known(r verdict.Reason) bool {
	label, _, _ := strings.Cut(r.Detail, ": ")
	_, ok := e.doc.Components[label]
	return ok
}

// componentsAllow is the best tier that the components leave for the whole.
func (e explainer) componentsAllow() verdict.Tier {
	t := verdict.TierAffirming
	for _, c := range e.doc.Components {
		effect := c.Tier
		if !c.Required && effect == verdict.TierNone {
			effect = verdict.TierWarning
		}
		t = verdict.Worst(t, effect)
	}
	return t
}

func (e explainer) components() []Component {
	out := []Component{}
	for _, label := range slices.Sorted(maps.Keys(e.doc.Components)) {
		c := e.doc.Components[label]
		one := Component{Label: label, Scheme: c.Scheme, Tier: c.Tier, Required: c.Required}
		for name, claim := range c.TrustVector {
			if claim.Tier() == verdict.TierWarning || claim.Tier() == verdict.TierContraindicated || claim == verdict.ClaimMalfunction {
				if one.Claims == nil {
					one.Claims = map[string]verdict.Claim{}
				}
				one.Claims[name] = claim
			}
		}
		one.Causes = e.causes(c.Reasons, c.Tier, verdict.TierAffirming, func(r verdict.Reason) string { return e.sourceIn(c, r) }, c.Scheme)
		e.commitments(label, one.Causes)
		one.Summary = componentSummary(c, one)
		out = append(out, one)
	}
	slices.SortStableFunc(out, func(a, b Component) int { return byTier(a.Tier, b.Tier) })
	return out
}

// commitments: where the challenge of a component was a commitment to the others,
// that it is another one says that one of these is, and that is what has to be mended.
func (e explainer) commitments(label string, causes []Cause) {
	for i := range causes {
		c := &causes[i]
		for _, b := range e.doc.Bindings {
			if c.Code == verdict.ReasonNonceMismatch && b.Status == statusBroken && string(b.To) == label &&
				c.Expected != "" && c.Expected == b.Expected && c.Observed == b.Observed {
				c.Source = fmt.Sprintf("commitment to the challenge and to the other components, which is what %s was asked with (binding %s)", label, b.Kind)
				c.Remedy = e.codes[verdict.ReasonBindingBroken].Remedy
			}
		}
	}
}

// sourceIn is where the expectation behind a reason of a component comes from, if
// the reason does not say it.
func (e explainer) sourceIn(c verdict.ComponentDocument, r verdict.Reason) string {
	listed := e.codes[r.Code]
	switch {
	case strings.HasPrefix(r.Code, verdict.ReasonPolicy+"-") && e.doc.Policy != nil:
		return "policy " + e.doc.Policy.ID
	case !slices.Contains(listed.SaidBy, schemas.SaidByVerifier):
		return "rules of the lead"
	case c.AppraisalPolicy != "":
		return "appraisal policy " + c.AppraisalPolicy
	}
	return "rules of scheme " + c.Scheme
}

// causes explains reasons about something that has a tier, of which others allow a
// best one. The order is by cost, and of equal ones that of the reasons.
func (e explainer) causes(list []verdict.Reason, tier, others verdict.Tier, source func(verdict.Reason) string, scheme string) []Cause {
	out := []Cause{}
	worst := others
	for _, r := range list {
		c := e.cause(r, tier, scheme)
		switch {
		case c.Source == "":
			c.Source = source(r)
		case c.Source == verdict.SourcePolicy && e.doc.Policy != nil:
			c.Source = "policy " + e.doc.Policy.ID
		}
		worst = verdict.Worst(worst, c.Costs)
		out = append(out, c)
	}
	if tier.WorseThan(worst) { // some reason costs more than such a one usually does
		for i := range out {
			if out[i].Costs == worst && worst != verdict.TierAffirming {
				out[i].Costs = tier
			}
		}
	}
	for i := range out {
		out[i].Blocking = tier != verdict.TierAffirming && out[i].Costs == tier
	}
	slices.SortStableFunc(out, func(a, b Cause) int { return byTier(a.Costs, b.Costs) })
	return out
}

// byTier orders the worse one first.
func byTier(a, b verdict.Tier) int {
	switch {
	case a.WorseThan(b):
		return -1
	case b.WorseThan(a):
		return 1
	}
	return 0
}

// cause takes one reason apart. It never costs more than the tier of what it is about.
func (e explainer) cause(r verdict.Reason, tier verdict.Tier, scheme string) Cause {
	out := Cause{
		Code: r.Code, Detail: r.Detail, Expected: r.Expected, Observed: r.Observed, Source: r.Source,
		Costs: verdict.ReasonCeiling(r.Code),
	}
	listed, ok := e.codes[r.Code]
	if !ok {
		out.Meaning = "This release does not know the code."
		out.Remedy = "Explain the verdict with a release that is as new as the one that made it (assize version)."
	} else {
		out.Meaning, out.Remedy = listed.Meaning, listed.RemedyIn(scheme)
		if usual, err := verdict.ParseTier(listed.Usual); err == nil {
			out.Costs = verdict.Worst(out.Costs, usual)
		}
	}
	if r.Code == verdict.ReasonExtraRoots && r.Expected != "" { // the lead caps with it, where it was not told to take simulated machines
		out.Costs = verdict.TierWarning
	}
	if out.Costs.WorseThan(tier) {
		out.Costs = tier
	}
	return out
}

// componentSummary is one line about a component.
func componentSummary(c verdict.ComponentDocument, e Component) string {
	n := 0
	for _, cause := range e.Causes {
		if cause.Blocking {
			n++
		}
	}
	var text string
	switch {
	case c.Tier == verdict.TierAffirming:
		text = "it is what it should be"
		if c.Freshness == verdict.FreshnessFresh {
			text += ", and its evidence answers the challenge"
		}
	case c.Verifier == nil:
		text = "no verifier's result about it is used"
	default:
		text = fmt.Sprintf("%d reason(s) keep it from a better tier", n)
	}
	if len(e.Claims) > 0 {
		var claims []string
		for _, name := range slices.Sorted(maps.Keys(e.Claims)) {
			claims = append(claims, fmt.Sprintf("%s %d", name, e.Claims[name]))
		}
		text += "; claims that are not affirming: " + strings.Join(claims, ", ")
	}
	if !c.Required {
		text += "; optional"
	}
	return text
}

// summary is one sentence about the whole.
func (e explainer) summary(out Explanation) string {
	count := func(n int, what string) string { return fmt.Sprintf("%d %s", n, what) }
	if out.Tier == verdict.TierAffirming {
		bound := map[evidence.Path]bool{}
		for _, b := range e.doc.Bindings {
			if b.Status == statusBound && b.Strength == strengthStrong {
				bound[b.From] = true
			}
		}
		return fmt.Sprintf("Affirming: all %s are affirming, nothing caps the verdict, and strong bindings lead from %s.",
			count(len(out.Components), "component(s)"), count(len(bound), "of them to another"))
	}
	var parts []string
	blocking := 0
	for _, c := range out.Causes {
		if c.Blocking {
			blocking++
		}
	}
	if blocking > 0 {
		parts = append(parts, count(blocking, "cause(s) about the whole"))
	}
	var labels []string
	for _, c := range out.Components {
		effect := c.Tier
		if !c.Required && effect == verdict.TierNone {
			effect = verdict.TierWarning
		}
		if effect == out.Tier {
			labels = append(labels, c.Label)
		}
	}
	if len(labels) > 0 {
		parts = append(parts, count(len(labels), "component(s)")+", "+verdict.Alternatives(labels, 0))
	}
	if parts == nil {
		parts = []string{"nothing that is in it by itself"}
	}
	name := out.Tier.String()
	return strings.ToUpper(name[:1]) + name[1:] + " because of " + strings.Join(parts, " and ") + "."
}

// sortedBy is a copy in order.
func sortedBy[T any, K cmp.Ordered](list []T, key func(T) K) []T {
	out := slices.Clone(list)
	slices.SortStableFunc(out, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return out
}
