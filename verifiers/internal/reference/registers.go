// SPDX-License-Identifier: Apache-2.0

package reference

import (
	"bytes"
	"slices"
	"strings"

	"github.com/assize/assize/corim"
)

// registers are the findings of a bank, item i of the query, of which f is what
// the index says of the bank as a whole.
//
// Which registers a triple speaks of is found out by asking again with one of
// them changed: a triple that matches nevertheless says nothing about it. So it
// does not matter how the document spells its values, or whether it has several.
func (q *Query) registers(m []corim.Measurement, i int, f *corim.Finding) []Finding {
	it := q.Items[i]
	out := it.unknown()
	switch f.State {
	case corim.Matched, corim.Partial:
		for n := range out {
			still := q.match(changed(m, i, n)).Findings[i]
			covering := slices.Clone(f.Matches)
			if still.State == f.State {
				covering = slices.DeleteFunc(covering, func(s corim.Source) bool { return slices.Contains(still.Matches, s) })
			}
			if len(covering) > 0 {
				out[n].settle(q.Unsigned, f.State, covering)
			}
		}
	case corim.Mismatched:
		differing(it.Value.Registers, f, out)
	}
	return out
}

// changed is a copy of the measurements in which register n of measurement i has
// another value.
func changed(m []corim.Measurement, i, n int) []corim.Measurement {
	out := slices.Clone(m)
	regs := slices.Clone(m[i].Value.Registers)
	digests := slices.Clone(regs[n].Digests)
	for d := range digests {
		digests[d].Value = bytes.Clone(digests[d].Value)
		digests[d].Value[0] ^= 0xff
	}
	regs[n].Digests = digests
	out[i].Value.Registers = regs
	return out
}

// differing finds the registers because of which a bank matches nothing: those
// that are as in none of the alternatives. If each of them is as in some, they
// are a mixture, or a register is named that evidence does not have, and all
// differ.
func differing(seen []corim.Register, f *corim.Finding, out []Finding) {
	any := false
	for n, reg := range seen {
		equal := false
		for _, e := range f.Expected {
			want := register(e.Values, reg.ID)
			if want == nil {
				continue
			}
			out[n].expected = append(out[n].expected, alternative{text(want), e.Values, e.Source})
			if same(want, reg.Digests) {
				equal = true
				out[n].Sources = append(out[n].Sources, e.Source)
			}
		}
		out[n].omitted = f.Omitted
		switch {
		case equal:
			out[n].State = Partial
		case len(out[n].expected) > 0:
			out[n].State, any = Mismatched, true
		}
	}
	if any {
		return
	}
	for n := range out {
		out[n].Sources = nil
		if out[n].State = Mismatched; len(out[n].expected) > 0 {
			for i := range out[n].expected {
				a := &out[n].expected[i]
				a.value += lacking(a.values, seen)
			}
			continue
		}
		for _, e := range f.Expected {
			out[n].expected = append(out[n].expected, alternative{e.Values.String(), e.Values, e.Source})
		}
	}
}

// lacking names the registers of a value that evidence does not have: without
// them "expected" would be what was seen.
func lacking(want *corim.Values, seen []corim.Register) string {
	var out []string
	for _, r := range want.Registers {
		if !slices.ContainsFunc(seen, func(s corim.Register) bool { return s.ID == r.ID }) {
			out = append(out, r.ID.String())
		}
	}
	if out == nil {
		return ""
	}
	return " together with register " + strings.Join(out, ", ") + ", which evidence does not have,"
}

func register(v *corim.Values, id corim.Key) []corim.Digest {
	for _, r := range v.Registers {
		if r.ID == id {
			return r.Digests
		}
	}
	return nil
}

// same tells whether two lists have a digest in common. It decides which
// register a report names, and never whether one is right.
func same(want, seen []corim.Digest) bool {
	for _, w := range want {
		for _, s := range seen {
			if w.Alg == s.Alg && bytes.Equal(w.Value, s.Value) {
				return true
			}
		}
	}
	return false
}

func text(list []corim.Digest) string {
	out := make([]string, len(list))
	for i, d := range list {
		out[i] = d.String()
	}
	return strings.Join(out, ", ")
}
