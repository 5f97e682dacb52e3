// SPDX-License-Identifier: Apache-2.0

// Package reference is how schemes compare what evidence shows with reference
// values: Compare asks an index once for one environment, and Report says, for
// each measurement alone, how it stands, in words that name environment,
// measurement, seen and expected values, document, author and revision.
//
// It is stricter than the matching of corim in two points. A bank of registers
// is one measurement in a CoRIM, and a document that speaks of one register
// matches it as a whole; here each register needs a value of its own. And what
// only unsigned documents say counts where the verifier was told so, and nowhere
// else.
package reference

import (
	"slices"
	"time"

	"github.com/assize/assize/corim"
)

// State is how one measurement stands.
type State byte

// States. The zero State is the one of which nobody knows anything.
const (
	// Unknown: there is no reference value.
	Unknown State = iota
	// Mismatched: there are reference values, and it is none of them.
	Mismatched
	// Partial: there is one that matches, and what belongs together with it does
	// not.
	Partial
	// Unsigned: it matches, and nobody has signed the document.
	Unsigned
	// Matched: it is proven.
	Matched
)

// Item is one measurement. An item with registers stands for all of them.
type Item struct {
	// Name is for people; the name of a register is this and its number.
	Name  string
	Key   corim.Key
	Value corim.Values
}

// Query is one component as reference values know it.
type Query struct {
	// Index is nil where no reference values were given.
	Index       *corim.Index
	Environment corim.Environment
	Items       []Item
	// Authority are the keys that vouch for the evidence.
	Authority []corim.Typed
	// Time is that of the appraisal.
	Time time.Time
	// Unsigned lets documents count that nobody has signed.
	Unsigned bool
}

// Finding is how one measurement stands.
type Finding struct {
	Name  string
	State State
	// Sources are the triples with the value, if State is better than Mismatched;
	// if some of them are signed, those alone.
	Sources []corim.Source
	// Seen is the value in evidence.
	Seen string

	expected []alternative
	omitted  int
}

// alternative is a value that would have matched.
type alternative struct {
	value  string
	values *corim.Values // of the whole measurement
	source corim.Source
}

// Expected are values that would have matched, if State is Mismatched: at most
// corim.MaxExpected for each environment.
func (f Finding) Expected() []*corim.Values {
	out := make([]*corim.Values, len(f.expected))
	for i, a := range f.expected {
		out[i] = a.values
	}
	return out
}

// Incomparable is the finding of a measurement that cannot be compared though it
// has a reference value.
func (f Finding) Incomparable(why string) Finding {
	return Finding{Name: f.Name, State: Mismatched, Seen: f.Seen + " and cannot be compared, because " + why}
}

// Report is the outcome of Compare.
type Report struct {
	// Findings are in the order of the items, registers in their place.
	Findings []Finding
	// Records are the triples that hold as a whole.
	Records []corim.Record

	time         time.Time
	revision     string
	environments []corim.Environment
	nearest      *corim.Record
	candidates   int
	expired      int
}

// Compare compares one component with the reference values of its environment.
func Compare(q Query) *Report {
	r := &Report{time: q.Time, environments: []corim.Environment{q.Environment}}
	if q.Index == nil {
		for _, it := range q.Items {
			r.Findings = append(r.Findings, it.unknown()...)
		}
		return r
	}
	m := q.measurements()
	result := q.match(m)
	r.revision, r.Records, r.nearest = result.Revision, result.Records, result.Nearest
	r.candidates, r.expired = result.Candidates, result.Expired
	for i, it := range q.Items {
		f := &result.Findings[i]
		if it.Value.Registers != nil {
			r.Findings = append(r.Findings, q.registers(m, i, f)...)
			continue
		}
		one := Finding{Name: it.Name, Seen: it.Value.String()}
		one.settle(q.Unsigned, f.State, f.Matches)
		for _, e := range f.Expected {
			one.expected = append(one.expected, alternative{e.Values.String(), e.Values, e.Source})
		}
		one.omitted = f.Omitted
		r.Findings = append(r.Findings, one)
	}
	return r
}

func (q *Query) measurements() []corim.Measurement {
	out := make([]corim.Measurement, len(q.Items))
	for i, it := range q.Items {
		out[i] = corim.Measurement{Key: it.Key, Value: it.Value}
	}
	return out
}

func (q *Query) match(m []corim.Measurement) *corim.Result {
	return q.Index.Match(corim.Query{
		Environments: []corim.Environment{q.Environment}, Measurements: m, Authority: q.Authority, Time: q.Time,
	})
}

// unknown are the findings of an item without reference values.
func (it *Item) unknown() []Finding {
	if it.Value.Registers == nil {
		return []Finding{{Name: it.Name, Seen: it.Value.String()}}
	}
	out := make([]Finding, len(it.Value.Registers))
	for i, reg := range it.Value.Registers {
		out[i] = Finding{Name: it.Name + reg.ID.String(), Seen: text(reg.Digests)}
	}
	return out
}

// settle sets the state by what matched.
func (f *Finding) settle(unsigned bool, s corim.State, sources []corim.Source) {
	f.Sources = sources
	switch s {
	case corim.Mismatched:
		f.State = Mismatched
	case corim.Partial:
		f.State = Partial
	case corim.Matched:
		f.State = Matched
		signed := slices.DeleteFunc(slices.Clone(sources), func(s corim.Source) bool { return !s.Document().Signed() })
		switch {
		case len(signed) > 0:
			f.Sources = signed
		case !unsigned:
			f.State = Unsigned
		}
	}
}

// Find returns the finding of that name, an unknown one if there is none.
func (r *Report) Find(name string) Finding {
	for _, f := range r.Findings {
		if f.Name == name {
			return f
		}
	}
	return Finding{Name: name}
}

// Holds tells whether a triple holds as a whole.
func (r *Report) Holds() bool { return len(r.Records) > 0 }

// Merge joins reports about the same items from several environments, whose
// values are alternatives: the best state of each measurement counts.
func Merge(first *Report, more ...*Report) *Report {
	out := *first
	out.Findings, out.Records = slices.Clone(first.Findings), slices.Clone(first.Records)
	out.environments = slices.Clone(first.environments)
	for _, r := range more {
		out.Records = append(out.Records, r.Records...)
		out.environments = append(out.environments, r.environments...)
		out.candidates += r.candidates
		out.expired += r.expired
		if out.nearest == nil {
			out.nearest = r.nearest
		}
		for i, f := range r.Findings {
			have := &out.Findings[i]
			switch {
			case f.State > have.State:
				*have = f
			case f.State == have.State && f.State == Mismatched:
				have.expected = append(slices.Clone(have.expected), f.expected...)
				have.omitted += f.omitted
			case f.State == have.State:
				have.Sources = append(slices.Clone(have.Sources), f.Sources...)
			}
		}
	}
	return &out
}
