// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"maps"
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// owner is the name of the node whose verifiers have a key, "" for our own.
func (p *planner) owner(kid string) string {
	for _, name := range p.nodes.Names() {
		n, _ := p.nodes.Lookup(name)
		if slices.ContainsFunc(n.Verifiers().Keys(), func(k trust.Key) bool { return k.KID == kid }) {
			return name
		}
	}
	return ""
}

// lost says of one node which results go with it: for each label those signed
// with these keys, or all where the list is nil.
type lost map[evidence.Path][]string

// losses are the nodes of a run by name: those that something is handed to, with
// all that passes them, and of the others those that signed a result.
func losses(plan *topologies.Plan, flow *topologies.Flow, res *verdict.Result, owner func(kid string) string) map[string]lost {
	out := map[string]lost{}
	add := func(node string, label evidence.Path, kid string) {
		if out[node] == nil {
			out[node] = lost{}
		}
		kids, known := out[node][label]
		switch {
		case kid == "" || known && kids == nil:
			out[node][label] = nil
		default:
			out[node][label] = append(kids, kid)
		}
	}
	for _, m := range flow.Messages {
		if m.Kind == topologies.HandOn && m.Refused == "" {
			for _, label := range slices.Concat(m.Clear, m.Sealed) {
				add(m.To, label, "")
			}
		}
	}
	for _, st := range plan.Steps {
		i := slices.IndexFunc(res.Components, func(c verdict.Component) bool { return c.Label == st.Label })
		if st.Kind != topologies.Appraise || i < 0 || st.Relay > 0 {
			continue
		}
		for _, p := range res.Components[i].Partials() {
			_, kid := p.Verifier()
			add(cmp.Or(st.Node, owner(kid), "verifier "+st.Scheme+" "+kid), st.Label, kid)
		}
	}
	return out
}

// failures combines again without what each node brought. A component without a
// result stays in, as one that nobody answered for.
func failures(res *verdict.Result, nodes map[string]lost) []failureJSON {
	out := []failureJSON{}
	silent := verdict.Reason{Code: verdict.ReasonTimeout, Detail: "the node has failed"}
	for _, node := range slices.Sorted(maps.Keys(nodes)) {
		f := failureJSON{Node: node}
		parts := slices.Clone(res.Components)
		for i, c := range parts {
			kids, hit := nodes[node][c.Label]
			if !hit {
				continue
			}
			f.Labels = append(f.Labels, c.Label)
			left := slices.DeleteFunc(c.Partials(), func(p verdict.Partial) bool {
				_, kid := p.Verifier()
				return kids == nil || slices.Contains(kids, kid)
			})
			if len(left) == len(c.Partials()) {
				continue
			}
			if c.Quorum > 0 {
				verdict.SetPartials(&parts[i], left, silent)
				continue
			}
			parts[i].Partial = verdict.Partial{}
			parts[i].Reasons = append(slices.Clone(c.Reasons), silent)
		}
		f.Tier = verdict.Combine(parts, res.Caps).Tier
		f.Changes = f.Tier != res.Outcome.Tier
		out = append(out, f)
	}
	return out
}
