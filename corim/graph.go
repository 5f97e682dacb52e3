// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// CycleError is for domains that contain themselves, or environments that have
// to trust themselves, on whatever way.
type CycleError struct {
	// Kind is Membership or Dependency.
	Kind Kind
	// Path begins and ends with the same environment.
	Path []Environment
}

// Error implements error.
func (e *CycleError) Error() string {
	what := "cyclic domain membership"
	if e.Kind == Dependency {
		what = "cyclic trust dependency"
	}
	var path []string
	for _, env := range e.Path {
		path = append(path, "{"+env.String()+"}")
	}
	return "corim: " + what + ": " + short(strings.Join(path, " -> "), 2000)
}

// acyclic checks the graphs of one document.
func (d *Document) acyclic() error {
	for _, kind := range []Kind{Membership, Dependency} {
		var all []located[DomainTriple]
		for i := range d.Tags {
			c := d.Tags[i].Comid
			if c == nil {
				continue
			}
			list := c.Membership
			if kind == Dependency {
				list = c.Dependency
			}
			for j := range list {
				all = append(all, located[DomainTriple]{triple: &list[j], source: Source{Kind: kind}})
			}
		}
		if err := acyclic(all); err != nil {
			return err
		}
	}
	return nil
}

// acyclic walks the graph from every domain in depth, without recursion.
func acyclic(list []located[DomainTriple]) error {
	if len(list) == 0 {
		return nil
	}
	next := map[Environment][]Environment{}
	for _, l := range list {
		next[l.triple.Domain] = append(next[l.triple.Domain], l.triple.Members...)
	}
	const open, done = 1, 2
	color := map[Environment]int{}
	type step struct {
		e Environment
		i int
	}
	for _, l := range list {
		if color[l.triple.Domain] == done {
			continue
		}
		path := []step{{e: l.triple.Domain}}
		color[l.triple.Domain] = open
		for len(path) > 0 {
			top := &path[len(path)-1]
			if top.i == len(next[top.e]) {
				color[top.e] = done
				path = path[:len(path)-1]
				continue
			}
			to := next[top.e][top.i]
			top.i++
			switch color[to] {
			case done:
			case open:
				at := slices.IndexFunc(path, func(s step) bool { return s.e == to })
				err := &CycleError{Kind: l.source.Kind}
				for _, s := range path[at:] {
					err.Path = append(err.Path, s.e)
				}
				err.Path = append(err.Path, to)
				return err
			default:
				color[to] = open
				path = append(path, step{e: to})
			}
		}
	}
	return nil
}

// Domain is a membership triple, as it stands with the components that are
// there.
type Domain struct {
	Environment Environment
	Members     []Environment
	// Missing are members that match neither a component nor an accepted domain.
	// The domain is accepted if there are none.
	Missing []Environment
	Source  Source
}

// Accepted tells whether every member is there.
func (d Domain) Accepted() bool { return len(d.Missing) == 0 }

// TrustDependency is a trust dependency triple, as it stands with the components that are
// there.
type TrustDependency struct {
	Subject  Environment
	Trustees []Environment
	// Absent are trustees that match neither a component nor an accepted domain.
	Absent []Environment
	// Outside are the subject and trustees that are not members of any accepted
	// domain.
	Outside []Environment
	// Accepted tells whether the subject is a component or an accepted domain,
	// nothing is absent, and nothing outside. A dependency does not make a domain.
	Accepted bool
	Source   Source
}

// Topology is what documents say about how components belong together.
type Topology struct {
	// Domains are in the order of evaluation: one that is a member of another
	// comes first.
	Domains []Domain
	// Dependencies are ordered so that a trustee's own dependencies come before
	// those of who trusts it: appraise in this order, and let no subject be better
	// than its worst trustee (decision D-66).
	Dependencies []TrustDependency
	// Extra are components that are in no accepted domain, if there are domains
	// (decision D-65).
	Extra []Environment
}

// Topology evaluates membership and trust dependency for the components that
// are there, at time t, from the leaves upwards: a domain is accepted only if
// each of its members matches a component or a domain that is accepted already.
func (x *Index) Topology(t time.Time, components []Environment) *Topology {
	out := new(Topology)
	accepted := slices.Clone(components)
	member := func(e Environment) bool {
		return slices.ContainsFunc(accepted, e.Covers)
	}
	inside := map[Environment]bool{}
	for _, l := range inOrder(x.membership, t) {
		d := Domain{Environment: l.triple.Domain, Members: l.triple.Members, Source: l.source}
		for _, e := range d.Members {
			if !member(e) {
				d.Missing = append(d.Missing, e)
			}
		}
		if d.Accepted() {
			accepted = append(accepted, d.Environment)
			for _, e := range d.Members {
				inside[e] = true
			}
		}
		out.Domains = append(out.Domains, d)
	}
	in := func(e Environment) bool {
		for m := range inside {
			if m.Covers(e) {
				return true
			}
		}
		return false
	}
	for _, l := range inOrder(x.dependency, t) {
		d := TrustDependency{Subject: l.triple.Domain, Trustees: l.triple.Members, Source: l.source}
		for _, e := range d.Trustees {
			if !member(e) {
				d.Absent = append(d.Absent, e)
			}
		}
		for _, e := range append([]Environment{d.Subject}, d.Trustees...) {
			if !in(e) {
				d.Outside = append(d.Outside, e)
			}
		}
		d.Accepted = member(d.Subject) && len(d.Absent) == 0 && len(d.Outside) == 0
		out.Dependencies = append(out.Dependencies, d)
	}
	if len(out.Domains) > 0 {
		for _, e := range components {
			if !in(e) {
				out.Extra = append(out.Extra, e)
			}
		}
	}
	return out
}

// inOrder sorts triples so that those about a member come before those that
// have it as a member. The graph has no cycles.
func inOrder(list []located[DomainTriple], t time.Time) []located[DomainTriple] {
	by := map[Environment][]int{}
	for i, l := range list {
		if l.source.tag.live(t) {
			by[l.triple.Domain] = append(by[l.triple.Domain], i)
		}
	}
	type step struct {
		triples []int
		i, j    int
	}
	var out []located[DomainTriple]
	seen := map[Environment]bool{}
	for _, l := range list {
		if seen[l.triple.Domain] || by[l.triple.Domain] == nil {
			continue
		}
		seen[l.triple.Domain] = true
		path := []step{{triples: by[l.triple.Domain]}}
		for len(path) > 0 {
			top := &path[len(path)-1]
			if top.i == len(top.triples) { // everything below is out
				for _, i := range top.triples {
					out = append(out, list[i])
				}
				path = path[:len(path)-1]
				continue
			}
			members := list[top.triples[top.i]].triple.Members
			if top.j == len(members) {
				top.i, top.j = top.i+1, 0
				continue
			}
			e := members[top.j]
			top.j++
			for d, triples := range covered(by, e) {
				if !seen[d] {
					seen[d] = true
					path = append(path, step{triples: triples})
				}
			}
		}
	}
	return out
}

// covered lists the domains that e, as a member, stands for.
func covered(by map[Environment][]int, e Environment) map[Environment][]int {
	if triples, ok := by[e]; ok {
		return map[Environment][]int{e: triples}
	}
	out := map[Environment][]int{}
	for d, triples := range by {
		if e.Covers(d) {
			out[d] = triples
		}
	}
	return out
}

// String names domain and members, for reports.
func (d Domain) String() string {
	return fmt.Sprintf("{%s} of %d members, %d missing", d.Environment, len(d.Members), len(d.Missing))
}
