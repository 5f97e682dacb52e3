// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/reference"
)

// stated are the findings of a claim that documents speak about.
func (c *comparison) stated(claim verdict.ClaimName, except ...string) []reference.Finding {
	var out []reference.Finding
	for _, f := range fields {
		if f.claim != claim || slices.Contains(except, f.name) {
			continue
		}
		if found := c.find(f); found.State != reference.Unknown {
			out = append(out, found)
		}
	}
	return out
}

// find is the finding of a field, unknown where all that speak of it speak of
// something else: of other guests, once this one is identified, because triples are
// alternatives, each as a whole; or of a field that was not compared, in documents of
// the profile of 2024. Other documents about such a field count.
func (c *comparison) find(f field) reference.Finding {
	excluded := slices.Contains(c.excluded, f.name)
	found := c.reference.Find(f.name)
	if excluded {
		found = c.strict.Find(f.name)
	}
	identified := c.reference.Find("MEASUREMENT").State == reference.Matched
	if found.State == reference.Unknown || !excluded && (!identified || found.State == reference.Matched) {
		return found
	}
	for _, s := range c.query.Index.References(c.query.Time, c.list...) {
		switch t := s.Values(); {
		case !slices.ContainsFunc(t.Measurements, func(m corim.Measurement) bool { return m.Key == corim.NumberKey(f.key) }):
		case excluded && s.Document().Profile == corim.ProfileSNP2024:
		case identified && c.elsewhere(t):
		default:
			return found
		}
	}
	return reference.Finding{Name: f.name, Seen: found.Seen}
}

// elsewhere tells whether a triple is about a guest with another MEASUREMENT.
func (c *comparison) elsewhere(t *corim.ValueTriple) bool {
	named := false
	for _, m := range t.Measurements {
		if m.Key != corim.NumberKey(keyMeasurement) {
			continue
		}
		for _, d := range m.Value.Digests {
			if d.Alg == corim.SHA384 && bytes.Equal(d.Value, c.guest) {
				return false
			}
			named = true
		}
	}
	return named
}
