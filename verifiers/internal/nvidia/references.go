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
}

// EngineState is whether the engine with an index of its own is on.
type EngineState string

// States of an engine. Any other value makes its index one that does not match.
const (
	EngineOn   EngineState = "on"
	EngineOff  EngineState = "off"
	EngineNone EngineState = "" // nothing is said, or there is no such index
)

// Compared is what reference values say about a device.
type Compared struct {
	// Matched: all that was measured is proven.
	Matched bool
	// Mismatched: something differs, or documents contradict each other.
	Mismatched bool
}

// Compare compares the measurements with the reference values and sets the claim
// executables: 3, approved at boot, if every measurement that is not zero is
// proven and the documents that prove it cover the whole of the firmware. It is
// never 2: nothing here measures what runs on the device.
//
// A value of zeros without a reference value is an index that nothing was
// measured into; with one it is compared. An index that two parts speak of is a
// contradiction, as NVIDIA's own verifiers have it.
func (p *Proof) Compare(e Expected, a *verdict.Appraisal) Compared {
	a.Facts.Environments = reference.Names(append([]corim.Environment{e.Whole}, e.Parts...)...)
	q := reference.Query{Index: p.References, Items: p.items(), Time: p.Time, Unsigned: p.unsigned}
	if q.Index != nil {
		for _, c := range p.Chain.certs {
			q.Authority = append(q.Authority, corim.Certificate(c))
		}
	}
	whole, skipped := p.look(q, e, e.Whole)
	var parts []*reference.Report
	for _, env := range e.Parts {
		r, skip := p.look(q, e, env)
		parts, skipped = append(parts, r), skipped || skip
	}
	if skipped {
		a.Claims["not-compared"] = []any{e.Engine}
	}
	all := reference.Merge(whole, parts...)
	need := p.needed(e, all)
	state, reasons := all.Judge(verdict.Executables, need...)
	if len(need) == 0 {
		reasons = append(reasons, verdict.Reason{Code: verdict.ReasonNoReferenceValues, Detail: "executables: all measurements are zero, and none has a reference value"})
	}
	out := Compared{Mismatched: state == reference.Mismatched, Matched: state == reference.Matched}
	if twice := conflicts(parts); len(twice) > 0 {
		out = Compared{Mismatched: true}
		reasons = append(reasons, verdict.Reason{Code: verdict.ReasonReferenceConflict, Detail: fmt.Sprintf(
			"executables: %s in reference values of more than one of %s, which must not overlap", strings.Join(twice, ", "), environments(e.Parts))})
	}
	covers := len(parts) > 0
	for _, r := range parts {
		covers = covers && r.Holds()
	}
	if out.Matched && !whole.Holds() && !covers {
		out.Matched = false
		reasons = append(reasons, verdict.Reason{Code: verdict.ReasonNoReferenceValues, Detail: fmt.Sprintf(
			"executables: what matches are reference values of a part; nothing matches as a whole for %s, nor for each of %s",
			environments([]corim.Environment{e.Whole}), environments(e.Parts))})
	}
	a.Reasons = append(a.Reasons, reasons...)
	a.Vector[verdict.Executables] = verdict.ClaimUnrecognized
	proofs := map[string]any{}
	switch {
	case out.Matched:
		a.Vector[verdict.Executables] = verdict.ClaimApprovedBoot
		proofs[verdict.Executables.String()] = all.Proof(need...)
	case out.Mismatched:
		a.Vector[verdict.Executables] = verdict.ClaimContraindicate
	}
	if c := all.Claim(proofs); c != nil {
		a.Claims["reference_values"] = c
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

func (p *Proof) items() []reference.Item {
	out := make([]reference.Item, len(p.Report.Blocks))
	for i, b := range p.Report.Blocks {
		index := int(b.Index) - 1
		out[i] = reference.Item{Name: itemName(index), Key: corim.NumberKey(uint64(index))}
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

// look compares with one environment. The index of an engine that is off is not
// compared: any of its reference values will do, if it is all that differs.
func (p *Proof) look(q reference.Query, e Expected, env corim.Environment) (r *reference.Report, skipped bool) {
	q.Environment = env
	r = reference.Compare(q)
	if e.State != EngineOff || r.Find(itemName(e.Engine)).State != reference.Mismatched {
		return r, false
	}
	i := slices.IndexFunc(q.Items, func(it reference.Item) bool { return it.Name == itemName(e.Engine) })
	for _, want := range r.Find(itemName(e.Engine)).Expected() {
		again := q
		again.Items = slices.Clone(q.Items)
		again.Items[i].Value = *want
		if better := reference.Compare(again); better.Find(itemName(e.Engine)).State > reference.Partial {
			return better, true
		}
	}
	return r, false
}

// needed are the findings that have to be Matched: those of all measurements
// that are not zero, and those of which reference values speak.
func (p *Proof) needed(e Expected, r *reference.Report) []reference.Finding {
	var out []reference.Finding
	for i, b := range p.Report.Blocks {
		f := r.Findings[i]
		if e.State != EngineNone && e.State != EngineOn && e.State != EngineOff && f.Name == itemName(e.Engine) && f.State != reference.Unknown {
			f = f.Incomparable("the state of its engine is " + string(e.State))
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
