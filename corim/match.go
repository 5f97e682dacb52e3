// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"slices"
	"time"
)

// Query is one component, as its evidence shows it.
type Query struct {
	// Environments are the names under which the component is known; usually one.
	// A reference triple is about the component if its environment covers one of
	// them.
	Environments []Environment
	// Measurements are what evidence shows.
	Measurements []Measurement
	// Authority are keys that vouch for the evidence (PublicKey, Certificate), for
	// reference values that ask for them by authorized-by.
	Authority []Typed
	// Time is that of the appraisal. Documents that do not hold then do not count.
	Time time.Time
}

// State is what reference values say about one measurement.
type State byte

// States of a Finding, the worst first.
const (
	// Unknown: no reference value for the environment and the key.
	Unknown State = iota
	// Mismatched: there are reference values, and none matches.
	Mismatched
	// Partial: a value matches, and no triple that has it holds as a whole, as
	// when one block is of an older release than the others.
	Partial
	// Matched: a triple holds as a whole, and this is in it.
	Matched
)

// String is a word for reports.
func (s State) String() string {
	switch s {
	case Mismatched:
		return "mismatched"
	case Partial:
		return "partial"
	case Matched:
		return "matched"
	}
	return "unknown"
}

// Finding is the outcome for one measurement.
type Finding struct {
	Key   Key
	State State
	// Matches says which triples have the value: those that hold as a whole if
	// State is Matched, those that do not if it is Partial.
	Matches []Source
	// Expected are values that do not match, if State is Mismatched: at most
	// MaxExpected, and Omitted counts the rest.
	Expected []Expectation
	Omitted  int
}

// MaxExpected is the number of alternatives that a Finding shows.
const MaxExpected = 8

// Expectation is a reference value that does not match.
type Expectation struct {
	Source Source
	Values *Values
	// Difference names the first member that differs, or says that the evidence
	// is not vouched for as the value asks.
	Difference string
}

// Record is a reference triple and how far it holds.
type Record struct {
	Source Source
	// Missing are keys of the triple that the evidence does not have, Differing
	// those with other values. Both are empty if the triple holds.
	Missing, Differing []Key
}

// Holds tells whether the triple holds as a whole.
func (r Record) Holds() bool { return len(r.Missing) == 0 && len(r.Differing) == 0 }

// Result is what reference values say about one component.
type Result struct {
	// Revision is that of the Index.
	Revision string
	// Environments are those of the Query.
	Environments []Environment
	// Findings are in the order of Query.Measurements.
	Findings []Finding
	// Records are the triples that hold as a whole.
	Records []Record
	// Nearest is, if none does, the one of which most holds; nil if nothing does.
	Nearest *Record
	// Candidates counts the triples that are about the component, Expired those
	// among them whose document does not hold at the time.
	Candidates, Expired int
}

// Worst is the worst state of all findings, Unknown if there are none.
func (r *Result) Worst() State {
	if len(r.Findings) == 0 {
		return Unknown
	}
	worst := Matched
	for i := range r.Findings {
		worst = min(worst, r.Findings[i].State)
	}
	return worst
}

// Match compares one component with all reference triples about it. A triple
// holds as a whole if for each of its measurement keys the evidence has a
// measurement, and all of that key match; several values of one key in a triple
// are alternatives. Several triples are alternatives, too. Reference values
// never add anything to the evidence; what they corroborate is in the result.
func (x *Index) Match(q Query) *Result {
	m := matching{x: x, q: &q, result: &Result{Revision: x.revision, Environments: q.Environments}}
	m.authority = make([]Typed, 0, len(q.Authority))
	for _, k := range q.Authority {
		m.authority = append(m.authority, k.comparableKey())
	}
	m.order = make([]int, len(q.Measurements))
	m.prints = make([]fingerprint, len(q.Measurements))
	for i := range m.order {
		m.order[i] = i
		m.prints[i] = q.Measurements[i].Value.fingerprint()
	}
	if !uniqueKeys(q.Measurements) {
		slices.SortStableFunc(m.order, func(a, b int) int { return compareKeys(q.Measurements[a].Key, q.Measurements[b].Key) })
	}
	var buf [7]Environment
	var seen []Environment
	for _, e := range q.Environments {
		for _, v := range e.variants(buf[:]) {
			r := x.references[v]
			if r == nil || slices.Contains(seen, v) {
				continue
			}
			seen = append(seen, v)
			m.compare(v, r)
		}
	}
	m.finish()
	return m.result
}

// matching is the state of one call of Match.
type matching struct {
	x         *Index
	q         *Query
	authority []Typed
	order     []int // measurements, those of one key together
	prints    []fingerprint
	parts     []part
	result    *Result
}

// part is what one environment contributes.
type part struct {
	environment Environment
	refs        *references
	live        []bool
	satisfied   []int // by triple: how many of its keys
	hits        []hit
}

type hit struct{ measurement, triple int }

func (m *matching) compare(e Environment, r *references) {
	p := part{environment: e, refs: r, live: make([]bool, len(r.triples)), satisfied: make([]int, len(r.triples))}
	p.hits = make([]hit, 0, 2*len(m.order))
	for i := range r.triples {
		p.live[i] = r.triples[i].source.tag.live(m.q.Time)
		if !p.live[i] {
			m.result.Expired++
		}
	}
	m.result.Candidates += len(r.triples)
	for from := 0; from < len(m.order); {
		key := m.q.Measurements[m.order[from]].Key
		to := from + 1
		for to < len(m.order) && m.q.Measurements[m.order[to]].Key == key {
			to++
		}
		m.group(&p, m.order[from:to], r.values[key])
		from = to
	}
	m.parts = append(m.parts, p)
}

// group compares the measurements of one key with the values of that key.
func (m *matching) group(p *part, group []int, values []value) {
	if len(group) == 1 {
		m.single(p, group[0], values)
		return
	}
	for len(values) > 0 {
		t := values[0].triple
		n := 1
		for n < len(values) && values[n].triple == t {
			n++
		}
		if p.live[t] {
			matched := 0
			for _, i := range group {
				if m.any(p, t, values[:n], i) {
					p.hits = append(p.hits, hit{measurement: i, triple: t})
					matched++
				}
			}
			if matched == len(group) {
				p.satisfied[t]++
			}
		}
		values = values[n:]
	}
}

// single is group for a key that evidence has once, as nearly all.
func (m *matching) single(p *part, i int, values []value) {
	seen := &m.q.Measurements[i]
	own := m.prints[i]
	last := -1
	for j := range values {
		v := &values[j]
		if v.print.differs(own) || v.triple == last || !p.live[v.triple] {
			continue
		}
		if m.comparison(p, v.triple, v.m).match(&v.m.Value, &seen.Value) && authorized(v.m.AuthorizedBy, m.authority) {
			p.hits = append(p.hits, hit{measurement: i, triple: v.triple})
			p.satisfied[v.triple]++
			last = v.triple
		}
	}
}

// any tells whether a measurement matches one of the values, which are of one
// triple.
func (m *matching) any(p *part, triple int, values []value, measurement int) bool {
	seen := &m.q.Measurements[measurement]
	for i := range values {
		v := &values[i]
		if v.print.differs(m.prints[measurement]) {
			continue
		}
		if m.comparison(p, triple, v.m).match(&v.m.Value, &seen.Value) && authorized(v.m.AuthorizedBy, m.authority) {
			return true
		}
	}
	return false
}

func (m *matching) comparison(p *part, triple int, want *Measurement) comparison {
	c := comparison{profile: p.refs.triples[triple].source.tag.document.Profile}
	if want.Value.SVN != nil && want.Value.SVN.Minimum {
		c.bytewise = bytewiseSVN(p.environment, want.Key)
	}
	return c
}

// finish forms the findings.
func (m *matching) finish() {
	r := m.result
	r.Findings = make([]Finding, len(m.q.Measurements))
	for i := range r.Findings {
		r.Findings[i].Key = m.q.Measurements[i].Key
	}
	for i := range m.parts {
		p := &m.parts[i]
		for t := range p.refs.triples {
			if p.live[t] && p.holds(t) {
				r.Records = append(r.Records, Record{Source: p.refs.triples[t].source})
			}
		}
		for _, h := range p.hits {
			f := &r.Findings[h.measurement]
			f.State = max(f.State, p.state(h))
		}
	}
	m.sources()
	for i := range r.Findings {
		if r.Findings[i].State == Unknown {
			m.expect(&r.Findings[i], i)
		}
	}
	if len(r.Records) == 0 {
		r.Nearest = m.nearest()
	}
}

func (p *part) holds(triple int) bool { return p.satisfied[triple] == p.refs.triples[triple].distinct }

func (p *part) state(h hit) State {
	if p.holds(h.triple) {
		return Matched
	}
	return Partial
}

// sources fills Finding.Matches; all of them share one array.
func (m *matching) sources() {
	findings := m.result.Findings
	start := make([]int, len(findings)+1)
	for i := range m.parts {
		p := &m.parts[i]
		for _, h := range p.hits {
			if p.state(h) == findings[h.measurement].State {
				start[h.measurement+1]++
			}
		}
	}
	for i := range findings {
		start[i+1] += start[i]
	}
	all := make([]Source, start[len(findings)])
	for i := range findings {
		if start[i+1] > start[i] {
			findings[i].Matches = all[start[i]:start[i]:start[i+1]]
		}
	}
	for i := range m.parts {
		p := &m.parts[i]
		for _, h := range p.hits {
			if f := &findings[h.measurement]; p.state(h) == f.State {
				f.Matches = append(f.Matches, p.refs.triples[h.triple].source)
			}
		}
	}
}

// expect lists what would have matched.
func (m *matching) expect(f *Finding, i int) {
	seen := &m.q.Measurements[i].Value
	for j := range m.parts {
		p := &m.parts[j]
		for _, v := range p.refs.values[f.Key] {
			if !p.live[v.triple] {
				continue
			}
			f.State = Mismatched
			if len(f.Expected) == MaxExpected {
				f.Omitted++
				continue
			}
			difference := m.comparison(p, v.triple, v.m).difference(&v.m.Value, seen)
			if difference == "" {
				difference = "authorized-by"
			}
			f.Expected = append(f.Expected, Expectation{p.refs.triples[v.triple].source, &v.m.Value, difference})
		}
	}
}

// nearest is the triple of which most holds.
func (m *matching) nearest() *Record {
	var best *part
	at, most := 0, 0
	for i := range m.parts {
		for t, n := range m.parts[i].satisfied {
			if n > most {
				best, at, most = &m.parts[i], t, n
			}
		}
	}
	if best == nil {
		return nil
	}
	out := &Record{Source: best.refs.triples[at].source}
	s := out.Source
	for _, w := range s.tag.comid.Reference[s.Index].Measurements {
		if slices.Contains(out.Missing, w.Key) || slices.Contains(out.Differing, w.Key) {
			continue
		}
		have, match := 0, 0
		for i := range m.q.Measurements {
			if m.q.Measurements[i].Key != w.Key {
				continue
			}
			have++
			if slices.Contains(best.hits, hit{measurement: i, triple: at}) {
				match++
			}
		}
		switch {
		case have == 0:
			out.Missing = append(out.Missing, w.Key)
		case match < have:
			out.Differing = append(out.Differing, w.Key)
		}
	}
	return out
}

func compareKeys(a, b Key) int {
	switch {
	case a == b:
		return 0
	case a.kind != b.kind:
		return int(a.kind) - int(b.kind)
	case a.num != b.num:
		if a.num < b.num {
			return -1
		}
		return 1
	case a.data < b.data:
		return -1
	}
	return 1
}

// uniqueKeys tells whether no key is there twice; ascending keys, as devices
// report them, are seen at once.
func uniqueKeys(list []Measurement) bool {
	for i := 1; i < len(list); i++ {
		if compareKeys(list[i-1].Key, list[i].Key) >= 0 {
			seen := make(map[Key]bool, len(list))
			for j := range list {
				if seen[list[j].Key] {
					return false
				}
				seen[list[j].Key] = true
			}
			return true
		}
	}
	return true
}
