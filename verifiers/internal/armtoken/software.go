// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/reference"
)

// Group is a prefix of findings that have to do with one kind of reference
// value. A scheme declares for each of its groups what it can reach of the names
// group + "-unknown", "-mismatch", "-partial", "-unsigned".
type Group string

// maxSigners is how many components with another signer id a reason names.
const maxSigners = 4

// GroupSoftware has the two further findings "-signer" and "-missing".
const GroupSoftware Group = "software"

// Judge reports how a claim stands that needs all of the findings: the reasons
// are those of reference.Report.Judge, and the rows of the group say what they
// cost. What only unsigned documents say, where they count, costs nothing.
func (g Group) Judge(p *appraisal.Policy, a *verdict.Appraisal, r *reference.Report, claim verdict.ClaimName, list ...reference.Finding) reference.State {
	state, reasons := r.Judge(claim, list...)
	for _, why := range reasons {
		if state == reference.Matched {
			a.FailComparing(why.Code, why.Detail, why.Comparison())
			continue
		}
		p.Apply(a, string(g)+suffix(why.Code), why.Detail).Against(why.Comparison())
	}
	return state
}

func suffix(code string) string {
	switch code {
	case verdict.ReasonMeasurementMismatch:
		return "-mismatch"
	case verdict.ReasonPartialReference:
		return "-partial"
	case verdict.ReasonUnsignedReference:
		return "-unsigned"
	}
	return "-unknown"
}

// Software compares the software components of a device.
type Software struct {
	Index       *corim.Index
	Environment corim.Environment
	// Key is the measurement key of all components ("psa.software-component").
	Key        string
	Components []Component
	// Extra are further measurements that reference values may speak about.
	Extra     []reference.Item
	Authority []corim.Typed
	Time      time.Time
	// Unsigned lets documents count that nobody has signed.
	Unsigned bool
	// AnySigner leaves signer ids out of the comparison.
	AnySigner bool
}

// Compare compares components and further measurements, in this order.
func (s *Software) Compare() *reference.Report {
	triples := s.triples()
	items := make([]reference.Item, 0, len(s.Components)+len(s.Extra))
	for i := range s.Components {
		c := &s.Components[i]
		v := corim.Values{
			Digests: []corim.Digest{{Alg: c.Alg, Value: c.Value}},
			Keys:    []corim.Typed{corim.TaggedBytes(corim.TagBytes, c.Signer)},
		}
		if c.Type != "" {
			v.Name = &c.Type
		}
		if c.Version != "" {
			v.Version = &corim.Version{Text: c.Version}
		}
		s.adopt(c, &v, triples)
		items = append(items, reference.Item{Name: c.Describe(i), Key: corim.TextKey(s.Key), Value: v})
	}
	return reference.Compare(reference.Query{
		Index: s.Index, Environment: s.Environment, Items: append(items, s.Extra...), Authority: s.Authority, Time: s.Time, Unsigned: s.Unsigned,
	})
}

// triples are the reference triples about the device that count.
func (s *Software) triples() []*corim.ValueTriple {
	if s.Index == nil {
		return nil
	}
	var out []*corim.ValueTriple
	for _, source := range s.Index.References(s.Time, s.Environment) {
		if s.Unsigned || source.Document().Signed() {
			out = append(out, source.Values())
		}
	}
	return out
}

// adopt takes over of a reference value for the same component what tokens do not
// say: the scheme of a version, and the signer where it does not matter.
func (s *Software) adopt(c *Component, v *corim.Values, triples []*corim.ValueTriple) {
	for _, t := range triples {
		for i := range t.Measurements {
			m := &t.Measurements[i]
			if !s.same(m, c) {
				continue
			}
			if m.Value.Version != nil {
				v.Version = m.Value.Version
			}
			if s.AnySigner && m.Value.Keys != nil {
				v.Keys = m.Value.Keys
			}
			if c.signedAs(&m.Value) {
				return
			}
		}
	}
}

// same tells whether a reference value is of this very component: digest, type
// and version, whoever signed it.
func (s *Software) same(m *corim.Measurement, c *Component) bool {
	key, ok := m.Key.Text()
	return ok && key == s.Key &&
		slices.ContainsFunc(m.Value.Digests, func(d corim.Digest) bool { return d.Alg == c.Alg && bytes.Equal(d.Value, c.Value) }) &&
		(m.Value.Name == nil || *m.Value.Name == c.Type) &&
		(m.Value.Version == nil || m.Value.Version.Text == c.Version)
}

func (c *Component) signedAs(v *corim.Values) bool {
	return len(v.Keys) == 0 || v.Keys[0] == corim.TaggedBytes(corim.TagBytes, c.Signer)
}

// Judge judges the components of a report that Compare made. They are proven if
// the state is reference.Matched.
func (s *Software) Judge(p *appraisal.Policy, a *verdict.Appraisal, r *reference.Report) reference.State {
	var rest []reference.Finding
	var signers []string
	triples := s.triples()
	for i := range s.Components {
		f := r.Findings[i]
		if want := s.signers(&s.Components[i], triples); f.State == reference.Mismatched && want != nil {
			signers = append(signers, fmt.Sprintf("%s by %x, expected %s", f.Name, s.Components[i].Signer, strings.Join(want, " or ")))
			continue
		}
		rest = append(rest, f)
	}
	if n := len(signers); n > 0 {
		more := ""
		if n > maxSigners {
			more = fmt.Sprintf(", and %d more", n-maxSigners)
		}
		p.Apply(a, string(GroupSoftware)+"-signer", "executables: the digests are right, and the signer ids are not: "+
			strings.Join(signers[:min(n, maxSigners)], "; ")+more)
	}
	state := GroupSoftware.Judge(p, a, r, verdict.Executables, rest...)
	switch {
	case len(signers) > 0:
		return min(state, reference.Mismatched)
	case state != reference.Matched:
		return state
	}
	if missing := s.missing(r); len(missing) > 0 {
		p.Apply(a, string(GroupSoftware)+"-missing", fmt.Sprintf("executables: all software components are known, and %s, which belong to them, were not measured",
			strings.Join(missing, ", ")))
		return reference.Partial
	}
	return state
}

// signers are the signer ids of reference values that match a component in
// everything else.
func (s *Software) signers(c *Component, triples []*corim.ValueTriple) []string {
	var out []string
	for _, t := range triples {
		for i := range t.Measurements {
			m := &t.Measurements[i]
			if !s.same(m, c) || c.signedAs(&m.Value) {
				continue
			}
			if id := hex.EncodeToString([]byte(m.Value.Keys[0].Data)); !slices.Contains(out, id) && len(out) < 4 {
				out = append(out, id)
			}
		}
	}
	return out
}

// missing are the components of which a triple that holds speaks, and evidence
// does not: nil if some triple has all. Several values of one type are
// alternatives; of values without a type nobody can tell, so each has to be there.
func (s *Software) missing(r *reference.Report) []string {
	var least []string
	for _, record := range r.Records {
		t := record.Source.Values()
		if t == nil || !s.Unsigned && !record.Source.Document().Signed() {
			continue
		}
		out, any := s.lacking(t)
		if !any {
			continue
		}
		if len(out) == 0 {
			return nil
		}
		if least == nil || len(out) < len(least) {
			least = out
		}
	}
	return least
}

// lacking are the components of one triple that were not measured, and whether the
// triple speaks of components at all.
func (s *Software) lacking(t *corim.ValueTriple) (out []string, any bool) {
	for i := range t.Measurements {
		m := &t.Measurements[i]
		if key, ok := m.Key.Text(); !ok || key != s.Key {
			continue
		}
		any = true
		if name := s.absent(m); name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, any
}

// absent names the component of a value if it was not measured, else "".
func (s *Software) absent(m *corim.Measurement) string {
	switch {
	case m.Value.Name != nil:
		if !slices.ContainsFunc(s.Components, func(c Component) bool { return c.Type == *m.Value.Name }) {
			return fmt.Sprintf("%q", *m.Value.Name)
		}
	case len(m.Value.Digests) > 0 && !slices.ContainsFunc(s.Components, func(c Component) bool { return s.same(m, &c) }):
		return fmt.Sprintf("the one with digest %s", m.Value.Digests[0])
	}
	return ""
}
