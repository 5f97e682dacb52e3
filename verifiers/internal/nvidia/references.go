// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/reference"
)

// vendor is the vendor of all environments.
const vendor = "NVIDIA"

// Model is the environment of a model: the name of a chip ("GH100"), or the
// identifier of a reference integrity manifest (RIM).
func Model(name string) corim.Environment {
	return corim.Environment{Class: corim.Class{Vendor: vendor, Model: name}}
}

// Expected is where a scheme looks for the reference values of a device. The
// measurement keys are NVIDIA's indices, which are the SPDM indices less one.
type Expected struct {
	// Whole is the environment of the chip: its triples have all indices of a
	// release.
	Whole corim.Environment
	// Parts are those of the manifests that together have all indices, each for
	// what it is named after. No index is in two. Empty if the device does not say
	// which they are.
	Parts []corim.Environment
	// Engine is the index that only counts while an engine is on, State whether
	// it is; see EngineState. Without an Engine that is "".
	Engine int
	State  EngineState
	// Switch: the device has a BIOS and no driver.
	Switch bool
	// Optional are indices of values that need no reference value: state and
	// identity rather than firmware. One that has a value is compared.
	Optional []int
	// Transcript, unless it is zero, is an environment whose triples have all blocks
	// by their SPDM index, as NVIDIA's CoRIMs do.
	Transcript corim.Environment
	// Driver and VBIOS (or BIOS) are the versions in the report, and DriverID and
	// VBIOSID the identifiers of their manifests; "" where the device does not say.
	Driver, VBIOS, DriverID, VBIOSID string
}

// Manifests are the identifiers of the manifests of a device.
func (e *Expected) Manifests() []string {
	return slices.DeleteFunc([]string{e.DriverID, e.VBIOSID}, func(s string) bool { return s == "" })
}

// EngineState is whether the engine with an index of its own is on.
type EngineState string

// States of an engine. Any other value makes its index one that does not match.
const (
	EngineOn   EngineState = "on"
	EngineOff  EngineState = "off"
	EngineNone EngineState = "" // nothing is said, or there is no such index
)

// corimComparison is what one set of CoRIMs says about a device.
type corimComparison struct {
	whole *reference.Report
	parts []*reference.Report
	all   *reference.Report
	need  []reference.Finding
	// matched: one triple of the chip, or one of each part, holds as a whole, and
	// every measurement that is not zero is proven.
	matched bool
	// mismatched: something differs. byParts tells both for the parts alone, which
	// speak of this very release.
	mismatched, byParts bool
	// conflict are indices in two parts.
	conflict []string
	reasons  []verdict.Reason
	// skipped: the index of the engine that is off differs.
	skipped bool
	// tolerated are indices that differ and may; all else matches then.
	tolerated []int
}

// byReferences compares the measurements with the CoRIMs of an index. A value of
// zeros without a reference value is an index that nothing was measured into;
// with one it is compared. An index that two parts speak of is a contradiction,
// as NVIDIA's own verifiers have it.
func (p *Proof) byReferences(index *corim.Index, e Expected, unsigned bool) *corimComparison {
	c := p.compareItems(index, e, unsigned, p.items(0))
	if e.Transcript == (corim.Environment{}) || c.speaks() {
		return c
	}
	whole := Expected{Whole: e.Transcript, Optional: e.Optional}
	if t := p.compareItems(index, whole, unsigned, p.items(1)); t.speaks() {
		return t
	}
	return c
}

func (p *Proof) compareItems(index *corim.Index, e Expected, unsigned bool, items []reference.Item) *corimComparison {
	q := reference.Query{Index: index, Items: items, Time: p.Time, Unsigned: unsigned}
	if index != nil {
		for _, c := range p.Chain.certs {
			q.Authority = append(q.Authority, corim.Certificate(c))
		}
	}
	c := p.compareWith(q, e, nil)
	if tolerated := p.verifier.params.ToleratedMismatches; c.mismatched && len(tolerated) > 0 {
		if again := p.compareWith(q, e, tolerated); again.matched {
			c.tolerated = again.tolerated
		}
	}
	return c
}

// compareWith compares with all environments; what differs at the free indices
// is passed over if all else then matches.
func (p *Proof) compareWith(q reference.Query, e Expected, free []int) *corimComparison {
	c := &corimComparison{}
	if e.State == EngineOff {
		free = append(slices.Clone(free), e.Engine)
	}
	look := func(env corim.Environment) *reference.Report {
		q.Environment = env
		budget := maxRelaxed
		r, passed := relax(q, reference.Compare(q), free, &budget)
		for _, i := range passed {
			if e.State == EngineOff && i == e.Engine {
				c.skipped = true
			} else if !slices.Contains(c.tolerated, i) {
				c.tolerated = append(c.tolerated, i)
			}
		}
		return r
	}
	c.whole = look(e.Whole)
	for _, env := range e.Parts {
		c.parts = append(c.parts, look(env))
	}
	c.all = reference.Merge(c.whole, c.parts...)
	c.judge(p, e)
	return c
}

// maxRelaxed is how many values are tried in place of measurements that may
// differ, for one environment.
const maxRelaxed = 64

// relax puts expected values in the place of measurements that may differ, as long
// as it takes for a triple to hold as a whole. It returns the report and the
// indices, or the report as it was.
func relax(q reference.Query, r *reference.Report, free []int, budget *int) (*reference.Report, []int) {
	for n, index := range free {
		f := r.Find(itemName(index))
		if f.State != reference.Mismatched {
			continue
		}
		i := slices.IndexFunc(q.Items, func(it reference.Item) bool { return it.Name == f.Name })
		for _, want := range f.Expected() {
			if *budget--; *budget < 0 {
				return r, nil
			}
			again := q
			again.Items = slices.Clone(q.Items)
			again.Items[i].Value = *want
			better, more := relax(again, reference.Compare(again), free[n+1:], budget)
			if better.Find(f.Name).State > reference.Partial {
				return better, append(more, index)
			}
		}
		return r, nil // as long as this one differs, nothing holds
	}
	return r, nil
}

// judge says how the measurements stand.
func (c *corimComparison) judge(p *Proof, e Expected) {
	c.need = p.needed(e, c.all)
	state, reasons := c.all.Judge(verdict.Executables, c.need...)
	c.reasons = reasons
	if len(c.need) == 0 {
		c.add(verdict.ReasonNoReferenceValues, "executables: all measurements are zero, and none has a reference value")
	}
	c.mismatched, c.matched = state == reference.Mismatched, state == reference.Matched
	if c.conflict = conflicts(c.parts); len(c.conflict) > 0 {
		c.matched, c.mismatched = false, true
		c.add(verdict.ReasonReferenceConflict, "executables: %s in reference values of more than one of %s, which must not overlap",
			strings.Join(c.conflict, ", "), environments(e.Parts))
	}
	covers := len(c.parts) > 0
	for _, r := range c.parts {
		covers = covers && r.Holds()
		c.byParts = c.byParts || slices.ContainsFunc(r.Findings, func(f reference.Finding) bool { return f.State == reference.Mismatched })
	}
	if c.matched && !c.whole.Holds() && !covers {
		c.matched = false
		c.add(verdict.ReasonNoReferenceValues, "executables: what matches are reference values of a part; nothing matches as a whole for %s, nor for each of %s",
			environments([]corim.Environment{e.Whole}), environments(e.Parts))
	}
	c.byParts = c.matched && covers || c.mismatched && c.byParts
}

func (c *corimComparison) add(code, format string, args ...any) {
	c.reasons = append(c.reasons, verdict.Reason{Code: code, Detail: fmt.Sprintf(format, args...)})
}

// speaks tells whether anything is about the device.
func (c *corimComparison) speaks() bool { return c.all != nil && c.all.Claim(nil) != nil }

// documents are those that prove the measurements.
func (c *corimComparison) documents() (out []*corim.Document) {
	for _, f := range c.need {
		if f.State != reference.Matched {
			continue
		}
		for _, s := range f.Sources {
			if d := s.Document(); !slices.Contains(out, d) {
				out = append(out, d)
			}
		}
	}
	return out
}

func environments(list []corim.Environment) string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = "{" + e.String() + "}"
	}
	return strings.Join(out, ", ")
}

// itemName is what an index is called in reasons.
func itemName(index int) string { return fmt.Sprintf("measurement %d", index) }

// items are the measurements; first is the number of the first key.
func (p *Proof) items(first uint64) []reference.Item {
	out := make([]reference.Item, len(p.Report.Blocks))
	for i, b := range p.Report.Blocks {
		index := int(b.Index) - 1
		out[i] = reference.Item{Name: itemName(index), Key: corim.NumberKey(uint64(index) + first)}
		if b.Type&rawValue != 0 || len(b.Value) != digestSize {
			out[i].Value.Raw = &corim.RawValue{Tag: corim.TagBytes, Value: b.Value}
			continue
		}
		out[i].Value.Digests = []corim.Digest{{Alg: corim.SHA384, Value: b.Value}}
	}
	return out
}

const (
	// rawValue is the bit of Block.Type for a value that is no digest.
	rawValue   = 0x80
	digestSize = 48
)

// needed are the findings that have to be Matched: those of all measurements
// that are not zero, and those of which reference values speak.
func (p *Proof) needed(e Expected, r *reference.Report) []reference.Finding {
	var out []reference.Finding
	for i, b := range p.Report.Blocks {
		f := r.Findings[i]
		if e.State != EngineNone && e.State != EngineOn && e.State != EngineOff && f.Name == itemName(e.Engine) && f.State != reference.Unknown {
			f = f.Incomparable("the state of its engine is " + string(e.State))
		}
		if f.State == reference.Unknown && slices.Contains(e.Optional, int(b.Index)-1) {
			continue
		}
		if f.State != reference.Unknown || slices.ContainsFunc(b.Value, func(c byte) bool { return c != 0 }) {
			out = append(out, f)
		}
	}
	return out
}

// conflicts are the indices that two reports have reference values for.
func conflicts(parts []*reference.Report) []string {
	var out []string
	for i, first := range parts {
		for _, second := range parts[i+1:] {
			for n, f := range first.Findings {
				if f.State != reference.Unknown && second.Findings[n].State != reference.Unknown {
					out = append(out, f.Name)
				}
			}
		}
	}
	return out
}
