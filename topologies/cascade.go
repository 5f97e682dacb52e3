// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"slices"

	"github.com/assize/assize/evidence"
)

// Relay is a part of the topology that another node carries out: it receives
// the evidence of its components, plans and runs the expression with its own
// schemes and routes, and returns signed partial results.
type Relay struct {
	// Node is who is asked.
	Node string
	// Expr is what it has to carry out, with patterns resolved to labels.
	Expr Expr
	// Labels are the components that it has to answer for, sorted; those that
	// it hands on are among them.
	Labels []evidence.Path
	// Needs are the components whose results go along, in the order of the
	// cascade: the relay begins when they are there, or have failed.
	Needs []evidence.Path
}

// remote is the state of planning inside a relay: nothing is routed here, only
// who answers for what is noted.
type remote struct {
	relay int      // index in Plan.Relays
	owner string   // node that appraises what is named now
	path  []string // the nodes up to that one
}

// at names the node that appraises what comes now, behind those before it.
func (r *remote) at(node string) {
	if node != r.owner {
		r.owner, r.path = node, append(slices.Clone(r.path), node)
	}
}

// cascade plans the chain of draft-ietf-rats-multi-verifier: this node
// appraises the operands up to the first that is placed at another node, and
// hands the rest of the chain to that node with the results so far. An operand
// that is not placed belongs to whoever holds the chain then.
func (s *scope) cascade(e Expr, required bool) (Expr, error) {
	if err := s.straight(e); err != nil {
		return Expr{}, err
	}
	if s.via != nil {
		return s.chain(e, required)
	}
	out := e
	out.Args = nil
	first := len(s.steps)
	for i, a := range e.Args {
		node := s.nodeOf(a)
		if node == "" {
			r, err := s.expr(unplaced(a), required)
			if err != nil {
				return Expr{}, err
			}
			out.Args = appendGroup(out.Args, r)
			continue
		}
		var needs []evidence.Path
		for _, st := range s.steps[first:] {
			if st.Reason == nil {
				needs = append(needs, st.Label)
			}
		}
		rest := e
		rest.Args = s.held(e.Args[i:], node)
		r, err := s.relayed(node, rest, required, needs)
		if err != nil {
			return Expr{}, err
		}
		for _, a := range r.Args { // shown as this node sees it
			if a.Node != "" {
				node = a.Node
			}
			out.Args = append(out.Args, placed(a, node))
		}
		return out, nil
	}
	return out, nil
}

// chain notes who answers for what in a cascade that another node begins.
func (s *scope) chain(e Expr, required bool) (Expr, error) {
	out := e
	out.Args = nil
	start, path := s.via.owner, s.via.path
	defer func() { s.via.owner, s.via.path = start, path }()
	for _, a := range e.Args {
		node := s.nodeOf(a)
		if node != "" {
			s.via.at(node)
		}
		r, err := s.expr(unplaced(a), required)
		if err != nil {
			return Expr{}, err
		}
		if node != "" && node != start {
			r = placed(r, node) // the receiver has to see it
		}
		out.Args = appendGroup(out.Args, r)
	}
	return out, nil
}

// straight refuses a chain that comes back to a node it has left.
func (s *scope) straight(e Expr) error {
	holder, left := "", []string{}
	if s.via != nil {
		holder = s.via.owner
	}
	for _, a := range e.Args {
		node := explicit(a)
		if node == "" || node == holder || node == s.in.Self && holder == "" {
			continue
		}
		left = append(left, holder)
		if slices.Contains(left, node) || node == s.in.Self {
			return &ParseError{a.Pos, "the cascade comes back to " + node}
		}
		holder = node
	}
	return nil
}

// held are the operands as the node that now holds the chain sees them: its own
// are not placed.
func (s *scope) held(args []Expr, node string) []Expr {
	out := slices.Clone(args)
	for i := range out {
		switch s.nodeOf(out[i]) {
		case node:
			out[i] = unplaced(out[i])
		case "":
		default:
			return out
		}
	}
	return out
}

// relayed plans a sub-expression that another node carries out.
func (s *scope) relayed(node string, e Expr, required bool, needs []evidence.Path) (Expr, error) {
	index, first := len(s.relays), len(s.steps)
	s.relays = append(s.relays, Relay{Node: node, Needs: needs})
	s.via = &remote{relay: index, owner: node, path: []string{node}}
	r, err := s.expr(e, required)
	s.via = nil
	if err != nil {
		return Expr{}, err
	}
	s.deviations()
	relay := &s.relays[index]
	for _, st := range s.steps[first:] {
		if st.Reason == nil {
			relay.Labels = append(relay.Labels, st.Label)
		}
	}
	slices.Sort(relay.Labels)
	relay.Expr, _ = s.pruned(r)
	if relay.Expr.Head == Label { // a group has no text of its own
		relay.Expr = Expr{Head: Lead, Args: appendGroup(nil, relay.Expr), Pos: e.Pos}
	}
	return r, nil
}

// ownedBy plans an operand inside a relay that a further node answers for. The
// expression keeps the placement: the receiver of the relay has to see it.
func (s *scope) ownedBy(node string, e Expr, required bool) (Expr, error) {
	was, path := s.via.owner, s.via.path
	s.via.at(node)
	r, err := s.expr(unplaced(e), required)
	s.via.owner, s.via.path = was, path
	if err != nil {
		return Expr{}, err
	}
	return handed(r, node), nil
}

// handed shows that an operand is handed to a node as a whole. Written at the
// operands of optional, the node would be the site of their verifiers.
func handed(r Expr, node string) Expr {
	if r.Head == Optional {
		r = Expr{Head: Lead, Args: []Expr{r}, Pos: r.Pos}
	}
	return placed(r, node)
}

// pruned leaves out what cannot be dispatched: missing components and leaves
// that nobody can appraise. false means that nothing is left.
func (s *scope) pruned(e Expr) (Expr, bool) {
	if e.Head == Label && e.Args == nil {
		for _, st := range s.steps {
			if string(st.Label) == e.Pattern {
				return e, st.Reason == nil
			}
		}
		return e, false
	}
	out := e
	out.Args = nil
	for _, a := range e.Args {
		if a, ok := s.pruned(a); ok {
			out.Args = append(out.Args, a)
		}
	}
	if out.Quorum > len(out.Args) {
		return out, false
	}
	return out, len(out.Args) > 0
}

// nodeOf is the node at which an operand is placed, "" for this one.
func (s *scope) nodeOf(e Expr) string {
	if node := explicit(e); node != s.in.Self {
		return node
	}
	return ""
}

// explicit is the placement in the text: that of an expression, or the one that
// all operands of optional have.
func explicit(e Expr) string {
	if e.Head != Optional || e.Node != "" || len(e.Args) == 0 {
		return e.Node
	}
	node := explicit(e.Args[0])
	for _, a := range e.Args[1:] {
		if explicit(a) != node {
			return ""
		}
	}
	return node
}

// unplaced takes the placement away, from the operands of optional as well.
func unplaced(e Expr) Expr {
	e.Node = ""
	if e.Head != Optional {
		return e
	}
	args := make([]Expr, len(e.Args))
	for i, a := range e.Args {
		args[i] = unplaced(a)
	}
	e.Args = args
	return e
}

// placed puts a resolved operand at a node.
func placed(e Expr, node string) Expr {
	switch {
	case e.Node != "":
		return e
	case e.Head == Optional || e.Head == Label && e.Pattern == "":
		args := make([]Expr, len(e.Args))
		for i, a := range e.Args {
			args[i] = placed(a, node)
		}
		e.Args = args
		return e
	}
	e.Node = node
	return e
}

// appendGroup adds a resolved operand; a group of labels is spread out.
func appendGroup(args []Expr, r Expr) []Expr {
	if r.Head == Label && r.Pattern == "" {
		return append(args, r.Args...)
	}
	return append(args, r)
}
