// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// anywhere routes everything: a relying party plans to compare, not to send.
func anywhere(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }

// RecheckPlaces holds the way that each result took to the topology that the
// verdict names, and, where nodes are given, to what these have signed. The result
// must have passed verdict.VerifyResult at the time at.
//
// Without nodes it compares the lead's own words: every component was appraised
// at the place, and through the nodes, that the topology has for it.
//
// With nodes (nil for none) every place that the topology names has to be one of
// them, and a result counts only under the verifier keys of the node at its place,
// as for the lead; a result of the lead's own verifiers under the keys of the node
// with the lead's name, or, where that is not given, under a key that is no other
// node's. Every node on a path has to be known by its key and to have signed a
// receipt about that component along that path.
func RecheckPlaces(r *verdict.Result, nodes *trust.Nodes, at time.Time) error {
	steps, err := restage(r)
	if err != nil {
		return err
	}
	for _, c := range r.Components {
		if len(c.Partials()) == 0 {
			continue
		}
		st, ok := steps[c.Label]
		if !ok {
			return fmt.Errorf("orchestrator: %s has a result, and the topology of the verdict does not name it", c.Label)
		}
		if err := samePlace(r, c, st); err != nil {
			return err
		}
		if len(nodes.Names()) == 0 {
			continue
		}
		if err := placed(r, c, nodes, at); err != nil {
			return err
		}
		if err := received(r, c, nodes, at); err != nil {
			return err
		}
	}
	return nil
}

// RecheckPaths refuses a verdict in which a component was appraised by a way that
// the policy does not allow, one that the lead or its own verifiers judged
// included: its path is the lead alone. Whether the way is true is for
// RecheckPlaces. A nil policy allows everything.
func RecheckPaths(r *verdict.Result, policy *topologies.Paths) error {
	for _, c := range r.Components {
		if len(c.Partials()) == 0 {
			continue
		}
		for _, path := range Ways(r, c) {
			if !policy.Allows(string(c.Label), path) {
				return fmt.Errorf("orchestrator: %s: %s was appraised by way of %s, which the policy of paths does not allow",
					verdict.ReasonPathDeviation, c.Label, topologies.PathText(path))
			}
		}
	}
	return nil
}

// Ways are the paths of a component in a verdict in the sense of
// topologies.Paths: from the lead to the place where its verifier was asked, one
// for each of several verifiers.
func Ways(r *verdict.Result, c verdict.Component) [][]string {
	st := topologies.Step{Node: c.Site}
	for _, site := range c.Sites {
		st.Sources = append(st.Sources, topologies.Source{Node: site})
	}
	passed := []string{r.Node}
	if len(c.Path) > 0 {
		passed = verdict.Names(c.Path)
	}
	return st.Routes(passed)
}

// restage plans the topology of a verdict again over the components in it.
func restage(r *verdict.Result) (map[evidence.Path]topologies.Step, error) {
	expr, err := topologies.Parse(r.Topology)
	if err != nil {
		return nil, fmt.Errorf("orchestrator: topology of the verdict: %w", err)
	}
	in := topologies.Input{Route: anywhere, Self: r.Node}
	for _, c := range r.Components {
		if c.Evidence != ([32]byte{}) {
			in.Components = append(in.Components, topologies.Component{Label: c.Label, Leaf: c.Label, Scheme: c.Scheme})
		}
	}
	plan, err := topologies.New(expr, in)
	if err != nil {
		return nil, fmt.Errorf("orchestrator: topology of the verdict: %w", err)
	}
	out := make(map[evidence.Path]topologies.Step, len(plan.Steps))
	for _, st := range plan.Steps {
		if st.Kind == topologies.Appraise && st.Reason == nil {
			out[st.Label] = st
		}
	}
	return out, nil
}

// samePlace compares what the lead says of one component with its topology.
func samePlace(r *verdict.Result, c verdict.Component, st topologies.Step) error {
	var planned []string
	if st.Relay > 0 {
		planned = append([]string{r.Node}, st.Path...)
	}
	if !slices.Equal(verdict.Names(c.Path), planned) {
		return fmt.Errorf("orchestrator: the verdict says that %s went by way of %s, and its topology that it goes by %s",
			c.Label, topologies.PathText(Ways(r, c)[0]), topologies.PathText(st.Routes([]string{r.Node})[0]))
	}
	var sites []string
	for _, src := range st.Sources {
		sites = append(sites, src.Node)
	}
	want := site(st)
	if st.Sources != nil {
		want = ""
	}
	if c.Site != want || len(c.Sites) > 0 && !slices.Equal(c.Sites, sites) ||
		len(c.Sites) == 0 && slices.ContainsFunc(sites, func(s string) bool { return s != "" }) {
		return fmt.Errorf("orchestrator: the verdict says that %s was judged at %q %q, and its topology %q %q", c.Label, c.Site, c.Sites, want, sites)
	}
	return nil
}

// placed requires every result about a component under the keys of a place that
// was asked, each place once.
func placed(r *verdict.Result, c verdict.Component, nodes *trust.Nodes, at time.Time) error {
	sites := c.Sites
	if sites == nil {
		sites = []string{c.Site}
	}
	left := make([]string, len(sites))
	for i, s := range sites {
		if left[i] = s; s == "" { // its own business
			left[i] = r.Node
			if n := len(c.Path); n > 0 {
				left[i] = c.Path[n-1].Node
			}
		}
	}
	for _, p := range c.Partials() {
		i := slices.IndexFunc(left, func(place string) bool { return placeOf(r, nodes, place, p, at) == nil })
		if i < 0 {
			_, kid := p.Verifier()
			why := "several verifiers cannot share a place"
			if len(left) > 0 {
				why = placeOf(r, nodes, left[0], p, at).Error()
			}
			return fmt.Errorf("orchestrator: the result about %s with key %s is not one of those that were asked (%q): %s", c.Label, kid, sites, why)
		}
		left = slices.Delete(left, i, i+1)
	}
	return nil
}

// placeOf says why a result is not one of the verifiers at a place.
func placeOf(r *verdict.Result, nodes *trust.Nodes, place string, p verdict.Partial, at time.Time) error {
	_, kid := p.Verifier()
	if n, ok := nodes.Lookup(place); ok {
		if _, ok := n.Verifiers().Verifier(kid, p.Scheme(), at); !ok {
			return fmt.Errorf("node %s has no such key for %s", place, p.Scheme())
		}
		return nil
	}
	if place != r.Node {
		return fmt.Errorf("node %s is not known", place)
	}
	for _, name := range nodes.Names() {
		n, _ := nodes.Lookup(name)
		for _, k := range n.Keys.Keys() {
			if k.KID == kid {
				return errors.New("the key is that of node " + name)
			}
		}
	}
	return nil
}

// received requires the receipts for a path, each signed by the node that it ends
// with.
func received(r *verdict.Result, c verdict.Component, nodes *trust.Nodes, at time.Time) error {
	if len(c.Path) == 0 {
		return nil
	}
	entry := c.Path[0]
	signer, _, known := nodes.Signer(entry.KID, at)
	_, named := nodes.Lookup(entry.Node)
	if known && signer.Name != entry.Node || named && !known {
		return fmt.Errorf("orchestrator: the way of %s begins with a key that is not one of node %q", c.Label, entry.Node)
	}
	for n := 2; n <= len(c.Path); n++ {
		path := c.Path[:n]
		last := path[n-1]
		signed := slices.ContainsFunc(r.Receipts, func(one verdict.Receipt) bool {
			return one.Covers(r.Session, c.Request, path) && one.Verify(func(kid string) (trust.Key, bool) {
				node, key, ok := nodes.Signer(kid, at)
				return key, ok && node.Name == last.Node
			}) == nil
		})
		if !signed {
			return fmt.Errorf("orchestrator: nothing that node %s has signed says that %s came by way of %s",
				last.Node, c.Label, topologies.PathText(verdict.Names(path)))
		}
	}
	return nil
}
