// SPDX-License-Identifier: Apache-2.0

package explain

import "slices"

// About is the part of an explanation that is about one component: its causes, and
// the edges and interconnects that it is in. What is said about the whole stays, as
// it is about each part. It reports false for a label that is no component.
func (e Explanation) About(label string) (Explanation, bool) {
	i := slices.IndexFunc(e.Components, func(c Component) bool { return c.Label == label })
	if i < 0 {
		return Explanation{}, false
	}
	e.Components = []Component{e.Components[i]}
	edges := []Edge{}
	for _, x := range e.Edges {
		if x.From == label || x.To == label {
			edges = append(edges, x)
		}
	}
	e.Edges = edges
	e.Interconnects = slices.DeleteFunc(slices.Clone(e.Interconnects), func(x Interconnect) bool { return !slices.Contains(x.Members, label) })
	if len(e.Interconnects) == 0 {
		e.Interconnects = nil
	}
	return e, true
}
