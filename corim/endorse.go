// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/internal/limits"
)

// ErrRunaway is for endorsements that go on leading to further ones.
var ErrRunaway = errors.New("endorsements do not come to an end")

// Endorsement is a claim that a document adds to what is known.
type Endorsement struct {
	// Environment is the one that the document speaks of.
	Environment Environment
	Measurement Measurement
	// Components are the queries that it is about, by their index: those that the
	// environment covers, and, if there are conditions about that environment,
	// that meet them themselves. It is empty for an environment that is no
	// component, as a domain.
	Components []int
	Source     Source
}

// Endorse adds what documents endorse, for the components of one composite
// together, because a condition may be about several of them (phases 3 and 4 of
// draft-ietf-rats-corim). Reference values that hold as a whole add their
// authority to the measurements they corroborate. Then endorsed values,
// conditional endorsements and conditional series are applied, each at most once
// for a component, until nothing is added any more. All queries have to be for
// one time.
//
// A condition holds by one component: what it asks for is not put together from
// several of one class, and a component that does not meet a condition about its
// class gets nothing from it. Of a series the first entry that holds counts.
// Values of two endorsements that contradict each other are both in the result.
func (x *Index) Endorse(components ...Query) ([]Endorsement, error) {
	if len(components) == 0 {
		return nil, nil
	}
	s := claims{x: x, components: components, fired: map[firing]bool{}}
	for i, q := range components {
		if !q.Time.Equal(components[0].Time) {
			return nil, fmt.Errorf("corim: components 0 and %d are for different times", i)
		}
		s.evidence(i)
	}
	for range limits.CorimRounds {
		n := len(s.out)
		s.round(components[0].Time)
		if len(s.out) == n {
			return s.out, nil
		}
	}
	return nil, fmt.Errorf("corim: after %d rounds: %w", limits.CorimRounds, ErrRunaway)
}

// claims is the appraisal claims set of the draft.
type claims struct {
	x          *Index
	components []Query
	entries    []claim
	fired      map[firing]bool
	out        []Endorsement
}

// firing is a triple that has been applied to a component, or to none (nobody).
type firing struct {
	source    Source
	part      int // of several endorsements of one triple
	component int
}

// nobody is the component of a claim about an environment that is none.
const nobody = -1

// claim is one measurement of one environment, or only the environment.
type claim struct {
	component    int
	environments []Environment
	measurement  *Measurement
	authority    []Typed
}

func (c claim) about(e Environment) bool { return slices.ContainsFunc(c.environments, e.Covers) }

// evidence enters a component.
func (s *claims) evidence(component int) {
	q := s.components[component]
	own := make([]Typed, 0, len(q.Authority))
	for _, k := range q.Authority {
		own = append(own, k.comparableKey())
	}
	r := s.x.Match(q)
	whole := claim{component: component, environments: q.Environments, authority: slices.Clone(own)}
	for _, record := range r.Records {
		whole.authority = append(whole.authority, record.Source.keys()...)
	}
	s.entries = append(s.entries, whole)
	for i := range q.Measurements {
		c := claim{component, q.Environments, &q.Measurements[i], slices.Clone(own)}
		if r.Findings[i].State == Matched {
			for _, m := range r.Findings[i].Matches {
				c.authority = append(c.authority, m.keys()...)
			}
		}
		s.entries = append(s.entries, c)
	}
}

// keys are those of the authority behind a statement.
func (s Source) keys() []Typed {
	if v := s.tag.document.Authority; v != nil {
		return v.Keys
	}
	return nil
}

// add enters an endorsement for components, or for nobody.
func (s *claims) add(e Environment, list []Measurement, components []int, source Source) {
	for i := range list {
		s.out = append(s.out, Endorsement{e, list[i], components, source})
		if len(components) == 0 {
			s.entries = append(s.entries, claim{nobody, []Environment{e}, &list[i], source.keys()})
		}
		for _, c := range components {
			names := append([]Environment{e}, s.components[c].Environments...)
			s.entries = append(s.entries, claim{c, names, &list[i], source.keys()})
		}
	}
}

// fire tells whether the triple has not been applied to the component yet, and
// from now on it has.
func (s *claims) fire(source Source, part, component int) bool {
	f := firing{source, part, component}
	if s.fired[f] {
		return false
	}
	s.fired[f] = true
	return true
}

// round applies what can be applied. Series come last, when nothing else adds
// anything, because their order depends on what is known.
func (s *claims) round(t time.Time) {
	var environments []Environment
	for _, c := range s.entries {
		environments = append(environments, c.environments...)
	}
	before := len(s.out)
	for _, l := range find(s.x.endorsed, t, environments) {
		if s.fire(l.source, 0, nobody) {
			e := l.triple.Environment
			s.add(e, l.triple.Measurements, s.covered(e), l.source)
		}
	}
	for _, l := range find(s.x.conditional, t, environments) {
		s.conditional(l)
	}
	if len(s.out) > before {
		return
	}
	for _, l := range find(s.x.series, t, environments) {
		for component := nobody; component < len(s.components); component++ {
			s.series(l, component)
		}
	}
}

// covered lists the components that e is about.
func (s *claims) covered(e Environment) []int {
	var out []int
	for i, q := range s.components {
		if slices.ContainsFunc(q.Environments, e.Covers) {
			out = append(out, i)
		}
	}
	return out
}

// conditional applies the endorsements of a triple all of whose conditions hold.
func (s *claims) conditional(l located[ConditionalTriple]) {
	for i := range l.triple.Conditions {
		c := &l.triple.Conditions[i]
		somebody := false
		for component := nobody; component < len(s.components); component++ {
			somebody = somebody || s.hold(c.Environment, c.Measurements, nil, l.source, component)
		}
		if !somebody {
			return
		}
	}
	for part, e := range l.triple.Endorsements {
		covered := s.covered(e.Environment)
		if len(covered) == 0 {
			if s.fire(l.source, part, nobody) {
				s.add(e.Environment, e.Measurements, nil, l.source)
			}
			continue
		}
		var meet []int
		for _, i := range covered {
			if s.meets(l, i) && s.fire(l.source, part, i) {
				meet = append(meet, i)
			}
		}
		if len(meet) > 0 {
			s.add(e.Environment, e.Measurements, meet, l.source)
		}
	}
}

// meets tells whether a component meets the conditions that are about it.
func (s *claims) meets(l located[ConditionalTriple], component int) bool {
	for i := range l.triple.Conditions {
		c := &l.triple.Conditions[i]
		if slices.ContainsFunc(s.components[component].Environments, c.Environment.Covers) &&
			!s.hold(c.Environment, c.Measurements, nil, l.source, component) {
			return false
		}
	}
	return true
}

// series applies the first entry of a series that holds for the component.
func (s *claims) series(l located[SeriesTriple], component int) {
	c := &l.triple.Condition
	if !s.hold(c.Environment, c.Measurements, l.triple.AuthorizedBy, l.source, component) {
		return
	}
	for i := range l.triple.Series {
		e := &l.triple.Series[i]
		if !s.hold(c.Environment, e.Selection, l.triple.AuthorizedBy, l.source, component) {
			continue
		}
		if s.fire(l.source, 0, component) {
			var who []int
			if component != nobody {
				who = []int{component}
			}
			s.add(c.Environment, e.Addition, who, l.source)
		}
		return
	}
}

// hold tells whether for each of the conditions there is a claim of the component
// about the environment that matches, under all the authorities asked for.
// Without conditions the environment has to be there, under those authorities.
func (s *claims) hold(e Environment, conditions []Measurement, by []Typed, source Source, component int) bool {
	if len(conditions) == 0 {
		return slices.ContainsFunc(s.entries, func(c claim) bool {
			return c.component == component && c.about(e) && authorized(by, c.authority)
		})
	}
	for i := range conditions {
		want := &conditions[i]
		cmp := comparison{profile: source.tag.document.Profile, bytewise: bytewiseSVN(e, want.Key)}
		found := slices.ContainsFunc(s.entries, func(c claim) bool {
			return c.component == component && c.measurement != nil && c.measurement.Key == want.Key && c.about(e) &&
				authorized(by, c.authority) && authorized(want.AuthorizedBy, c.authority) && cmp.match(&want.Value, &c.measurement.Value)
		})
		if !found {
			return false
		}
	}
	return true
}
