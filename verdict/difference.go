// SPDX-License-Identifier: Apache-2.0

package verdict

import "slices"

// Difference is what one result has and another one about the same components
// has not.
type Difference struct {
	// Policy is that of the other result, nil for none.
	Policy *PolicyStatement `json:"policy,omitempty"`
	// Tier is what the other result says, Was what this one does.
	Tier Tier `json:"tier"`
	Was  Tier `json:"was"`
	// Components are those with another tier, by label.
	Components map[string]Change `json:"components,omitempty"`
	// Added and Removed are reasons of the whole that only the other result gives,
	// and that it does not give.
	Added   []Reason `json:"added,omitempty"`
	Removed []Reason `json:"removed,omitempty"`
}

// Change is a tier before and after.
type Change struct {
	Was  Tier `json:"was"`
	Tier Tier `json:"tier"`
	// Reasons are what only the other result says of the component.
	Reasons []Reason `json:"reasons,omitempty"`
}

// Compare says how the other result differs from this one.
func (r *Result) Compare(other *Result) Difference {
	d := Difference{
		Policy: other.Policy, Tier: other.Outcome.Tier, Was: r.Outcome.Tier,
		Added:   without(other.Outcome.Reasons, r.Outcome.Reasons),
		Removed: without(r.Outcome.Reasons, other.Outcome.Reasons),
	}
	for _, c := range other.Components {
		i := slices.IndexFunc(r.Components, func(x Component) bool { return x.Label == c.Label })
		if i < 0 || r.Components[i].Tier() == c.Tier() {
			continue
		}
		if d.Components == nil {
			d.Components = map[string]Change{}
		}
		d.Components[string(c.Label)] = Change{Was: r.Components[i].Tier(), Tier: c.Tier(), Reasons: without(c.Reasons, r.Components[i].Reasons)}
	}
	return d
}

// without are the reasons of a list that another one does not have.
func without(list, other []Reason) []Reason {
	var out []Reason
	for _, r := range list {
		if !slices.Contains(other, r) {
			out = append(out, r)
		}
	}
	return out
}
