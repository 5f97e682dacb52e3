// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"math"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers/internal/reference"
)

// DMTF's sample CoMID does not use measurement keys. It repeats the environment
// for each block: vendor and model, a class identifier of the author's choice,
// layer 1, and the measurement index as index of the class. This is read too, and
// never written.

// sampleLayer is the layer of such an environment.
const sampleLayer = 1

// maxSampleTags bounds how many tags are looked at for one device.
const maxSampleTags = 4096

// maxSampleClasses bounds how many class identifiers of one tag are told apart.
const maxSampleClasses = 16

// sample is what one tag says about a device under one class identifier, by
// measurement index.
type sample struct {
	class corim.Typed
	about map[uint8]corim.Environment
}

// samples are those of a tag about a device.
func samples(t *corim.Comid, device corim.Environment) (out []sample) {
	for i := range t.Reference {
		e := t.Reference[i].Environment
		c := e.Class
		if c.Vendor != device.Class.Vendor || c.Model != device.Class.Model || !c.Layer.Set || c.Layer.Value != sampleLayer ||
			!c.Index.Set || c.Index.Value == 0 || c.Index.Value > uint64(IndexDeviceMode) || e.Group.Set() || e.Instance.Set() && e.Instance != device.Instance {
			continue
		}
		n := slices.IndexFunc(out, func(s sample) bool { return s.class == c.ID })
		if n < 0 {
			if len(out) == maxSampleClasses {
				continue
			}
			n = len(out)
			out = append(out, sample{c.ID, map[uint8]corim.Environment{}})
		}
		// Of values for the model and for this instance both are found by the latter.
		if have, ok := out[n].about[uint8(c.Index.Value)]; !ok || !have.Instance.Set() {
			out[n].about[uint8(c.Index.Value)] = e
		}
	}
	return out
}

// compareSample compares with tags of that form; nil if there are none about the
// device. One tag is one release: it holds if all of its indices are there and
// match, and values of several tags are not mixed.
func (v *verifier) compareSample(p *proof, e corim.Environment) *comparison {
	var best *comparison
	rank, looked := -1, 0
	for t := range p.in.References.Active(p.in.Time) {
		if looked++; looked > maxSampleTags {
			break
		}
		if t.Comid == nil {
			continue
		}
		for _, s := range samples(t.Comid, e) {
			if c, n := v.sampleTag(p, t, s.about); n > rank {
				best, rank = c, n
			}
		}
	}
	return best
}

// sampleTag compares a device with one tag. n counts what matches; it is the
// highest if all does.
func (v *verifier) sampleTag(p *proof, t corim.Active, triples map[uint8]corim.Environment) (c *comparison, n int) {
	c = &comparison{items: p.items(false)}
	var whole *reference.Report
	list := make([]reference.Finding, len(c.items))
	holds := true
	for i, it := range c.items {
		list[i] = reference.Finding{Name: it.Name, Seen: it.Value.String()}
		about, stated := triples[it.index]
		if it.index == 0 || !stated {
			continue
		}
		delete(triples, it.index)
		anonymous := it.Item
		anonymous.Key = corim.Key{}
		r := reference.Compare(reference.Query{
			Index: p.in.References, Environment: about, Items: []reference.Item{anonymous}, Time: p.in.Time, Unsigned: v.unsigned,
		})
		if whole == nil {
			whole = r
		}
		f := r.Findings[0]
		f.Sources = slices.DeleteFunc(slices.Clone(f.Sources), func(s corim.Source) bool { return s.Document() != t.Document || s.Tag() != t.Comid.Identity })
		if f.State > reference.Partial && len(f.Sources) == 0 {
			f.State = reference.Partial // right in another release
		}
		if list[i] = f; f.State > reference.Partial {
			n++
		} else {
			holds = false
		}
	}
	if whole == nil { // nothing of the tag is in evidence
		return nil, -1
	}
	if holds = holds && len(triples) == 0; holds {
		n = math.MaxInt
	}
	for i := range list {
		if !holds && list[i].State > reference.Partial {
			list[i].State = reference.Partial
		}
	}
	r := *whole
	r.Findings = list
	c.report = &r
	return c, n
}
