// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"maps"

	"github.com/open-policy-agent/opa/v1/ast"
)

// sections are the parts of the input that a query can see.
type sections struct {
	// input is what the rules write behind "input".
	input *seen
	// names are the members of components that are made at once. What else a rule may
	// come to is made only when it does.
	names map[string]bool
	// whole: a rule may come to members of a component by names that are not in its
	// text.
	whole bool
}

func newSections() sections { return sections{input: &seen{}, names: map[string]bool{}} }

// join adds what another query sees.
func (s *sections) join(other sections) {
	s.input.join(other.input)
	maps.Copy(s.names, other.names)
	s.whole = s.whole || other.whole
}

// seen is what rules can come to below one place of the input, nil for nothing. It is
// never less than that: where a rule goes on by a name that is not in its text, it is
// everything.
type seen struct {
	all     bool
	members map[string]*seen
	list    []named // the members once more, to go through
}

type named struct {
	name  string
	below *seen
}

// maxPaths is how many claims rules may name for their values to be made at once, for
// every component. With more they are made when a rule comes to them.
const maxPaths = 64

// anyLabel stands for the label of a component, whatever it is.
const anyLabel = ""

// add notes a reference of a rule, without "input" itself.
func (s *seen) add(ref ast.Ref) {
	components := false
	for i, t := range ref {
		name, ok := t.Value.(ast.String)
		switch {
		case i == 1 && components:
			name = anyLabel
		case !ok:
			s.all = true
			return
		case i == 0:
			components = name == inComponents
		}
		s = s.member(string(name))
	}
	s.all = true
}

// member is what can be seen of one, added if it is new.
func (s *seen) member(name string) *seen {
	below := s.members[name]
	if below == nil {
		if s.members == nil {
			s.members = map[string]*seen{}
		}
		below = &seen{}
		s.members[name] = below
		s.list = append(s.list, named{name, below})
	}
	return below
}

func (s *seen) join(other *seen) {
	s.all = s.all || other.all
	for _, m := range other.list {
		s.member(m.name).join(m.below)
	}
}

// at is what can be seen of a member.
func (s *seen) at(name string) *seen {
	if s == nil || s.all {
		return s
	}
	return s.members[name]
}

// has: something of a member can be seen.
func (s *seen) has(name string) bool { return s.at(name) != nil }

// something can be seen.
func (s *seen) something() bool { return s.all || len(s.members) > 0 }

// places counts those that can be seen.
func (s *seen) places() int {
	n := 1
	for _, m := range s.list {
		n += m.below.places()
	}
	return n
}

// claims are what the rules can see of those of a component.
func (s sections) claims() *seen {
	out := s.input.at(inComponents).at(anyLabel).at(inClaims)
	if out != nil && !out.all && out.places() > maxPaths {
		return &seen{all: true}
	}
	return out
}

// of makes the parts of a value that can be seen, and nothing else. It is false where
// one is a list or an object: these are not made before a rule looks at them.
func (s *seen) of(v any) (ast.Value, bool) {
	object, composite := v.(map[string]any)
	if s.all || !composite {
		if !single(v) {
			return nil, false
		}
		out, err := ast.InterfaceToValue(v)
		return out, err == nil
	}
	pairs := make([][2]*ast.Term, 0, len(s.list))
	for _, m := range s.list {
		member, ok := object[m.name]
		if !ok {
			continue
		}
		value, ok := m.below.of(member)
		if !ok {
			return nil, false
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(m.name), ast.NewTerm(value)})
	}
	return ast.NewObject(pairs...), true
}

// same: a rule cannot tell two values from one another. It is false where of is.
func (s *seen) same(a, b any) bool {
	x, composite := a.(map[string]any)
	y, both := b.(map[string]any)
	if composite != both {
		return false
	}
	if s.all || !composite {
		return single(a) && single(b) && a == b
	}
	for _, m := range s.list {
		v, ok := x[m.name]
		w, also := y[m.name]
		if ok != also || ok && !m.below.same(v, w) {
			return false
		}
	}
	return true
}

// single: a value without members.
func single(v any) bool {
	switch v.(type) {
	case nil, bool, string, json.Number, float64, int, int64, uint64:
		return true
	}
	return false
}
