// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"slices"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// Words of edges, as package binding writes them.
const (
	strengthStrong = "strong"
	strengthNonce  = "nonce"
	strengthNone   = "none"
	statusBound    = "bound"
)

// origins from the weakest to the strongest. An edge that says nothing about who
// wrote it is weaker than one that any application could have written.
var origins = []string{"", verdict.OriginApplication, verdict.OriginMeasured, verdict.OriginHardware}

// way is how a component hangs together with the root of trust.
type way struct {
	// strength and origin are those of the weakest edge on the best path.
	strength, origin string
	// via are the kinds of the edges from the component to the root, where they are
	// asked for.
	via []string
}

// ways finds the best path of bound edges from each component to the root, the
// only CPU TEE: strong before anything weaker, then by who wrote the weakest
// commitment on it, then the shortest. It is bound here only if it is in the eyes of
// package binding. The result is by the position of the
// component; that of the root is empty. Without a single root every component has
// the strength none.
func ways(parts []verdict.Component, edges []verdict.Binding, kinds bool) []way {
	out := make([]way, len(parts))
	root, ok := rootOf(parts)
	open := len(parts)
	if ok {
		g := graphOf(parts, edges)
		open--
		for _, strong := range []bool{true, false} {
			for least := len(origins) - 1; least >= 0 && open > 0; least-- {
				open -= g.reach(root, strong, least, out, kinds)
			}
		}
	}
	for i := range out {
		if out[i].strength == "" && !(ok && i == root) {
			out[i].strength = strengthNone
		}
	}
	return out
}

// rootOf is the position of the only CPU TEE.
func rootOf(parts []verdict.Component) (root int, ok bool) {
	for i := range parts {
		if parts[i].Class != verdict.ClassCPU {
			continue
		}
		if ok {
			return 0, false
		}
		root, ok = i, true
	}
	return root, ok
}

// graph has the bound edges by the positions of the components at their ends.
type graph []edge

// edge leads from one that is vouched for to the one that vouches for it; mutual
// ones lead both ways (decision D-99).
type edge struct {
	kind           string
	ends           [2]int32
	origin         int8 // position in origins
	mutual, strong bool
}

// graphOf leaves out what is not bound, and edges of what is no component.
func graphOf(parts []verdict.Component, edges []verdict.Binding) graph {
	at := make(map[evidence.Path]int32, len(parts))
	for i := range parts {
		at[parts[i].Label] = int32(i)
	}
	g := make(graph, 0, len(edges))
	for n := range edges {
		b := &edges[n]
		from, known := at[b.From]
		to, both := at[b.To]
		origin := slices.Index(origins, b.Origin)
		if known && both && origin >= 0 && b.Status == statusBound && (b.Strength == strengthStrong || b.Strength == strengthNonce) {
			g = append(g, edge{b.Kind, [2]int32{from, to}, int8(origin), b.Mutual(), b.Strength == strengthStrong})
		}
	}
	return g
}

// reach walks from the root to what it vouches for, and on to what that vouches for,
// nearest first, over edges that are at least as good,
// and notes how it came to each component that has no better way yet. It returns
// how many these are. Of several shortest paths the one counts whose edges come
// first.
func (g graph) reach(root int, strong bool, least int, out []way, kinds bool) (found int) {
	var via [][]string
	if kinds {
		via = make([][]string, len(out))
	}
	seen := make([]bool, len(out))
	seen[root] = true
	queue := make([]int32, 1, len(out))
	queue[0] = int32(root)
	for n := 0; n < len(queue); n++ {
		from := queue[n]
		for i := range g {
			e := &g[i]
			if e.ends[1] != from && !(e.mutual && e.ends[0] == from) || strong && !e.strong || int(e.origin) < least {
				continue
			}
			to := e.ends[0] + e.ends[1] - from
			if seen[to] {
				continue
			}
			seen[to] = true
			if kinds {
				via[to] = append([]string{e.kind}, via[from]...)
			}
			queue = append(queue, to)
			if out[to].strength != "" {
				continue
			}
			found++
			w := &out[to]
			w.strength, w.origin = strengthNonce, origins[least]
			if strong {
				w.strength = strengthStrong
			}
			if kinds {
				w.via = via[to]
			}
		}
	}
	return found
}
