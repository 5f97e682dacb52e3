// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"fmt"
	"slices"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/reference"
)

// comparison is a device and what reference values say about it.
type comparison struct {
	items  []item
	report *reference.Report
}

// found are the findings of the items of some groups.
func (c *comparison) found(groups ...group) (out []reference.Finding) {
	for i, it := range c.items {
		if slices.Contains(groups, it.group) {
			out = append(out, c.report.Findings[i])
		}
	}
	return out
}

// in keeps the findings with one of the states.
func in(list []reference.Finding, states ...reference.State) []reference.Finding {
	return slices.DeleteFunc(slices.Clone(list), func(f reference.Finding) bool { return !slices.Contains(states, f.State) })
}

// compare asks for the environment of the device. A block that extends a hash is
// a digest for some authors and an integrity register for others.
func (v *verifier) compare(p *proof, e corim.Environment) *comparison {
	q := reference.Query{Index: p.in.References, Environment: e, Time: p.in.Time, Unsigned: v.unsigned}
	if q.Index != nil {
		q.Authority = append(q.Authority, corim.Certificate(p.Identity.Leaf))
		if k, err := corim.PublicKey(p.Identity.Leaf.PublicKey); err == nil {
			q.Authority = append(q.Authority, k)
		}
		for _, c := range p.Identity.Path[1:] {
			q.Authority = append(q.Authority, corim.Certificate(c))
		}
	}
	ask := func(banks bool) *comparison {
		c := &comparison{items: p.items(banks)}
		q.Items = nil
		for _, it := range c.items {
			q.Items = append(q.Items, it.Item)
		}
		c.report = reference.Compare(q)
		return c
	}
	c := ask(false)
	extended := slices.ContainsFunc(p.Blocks, func(b Block) bool { return b.Type == TypeHashExtend && !b.RawBits })
	if extended && len(in(c.found(groupLoaded), reference.Mismatched)) > 0 {
		if banks := ask(true); len(in(banks.report.Findings, reference.Mismatched)) < len(in(c.report.Findings, reference.Mismatched)) {
			c = banks
		}
	}
	return c
}

// references compares the blocks with reference values. What a device says about
// its own state counts only where its firmware is proven.
func (v *verifier) references(a *verdict.Appraisal, p *proof) {
	if len(p.Blocks) == 0 {
		return // measurements-unsigned says more
	}
	e, ok := environment(p.Identity)
	if !ok {
		v.find(a, findUnproven, "the certificate has no name by which reference values could be found")
		v.find(a, findConfigUnproven, "configuration: the firmware is not proven")
		return
	}
	a.Facts.Environments = reference.Names(e)
	c := v.compare(p, e)
	if p.in.References != nil && c.report.Claim(nil) == nil {
		if again := v.compareSample(p, e); again != nil {
			c = again
		}
	}
	proofs := map[string]any{}
	v.firmware(a, c, proofs)
	v.configured(a, p, c, proofs)
	v.mismatches(a, c)
	v.specific(a, p, c)
	if claim := c.report.Claim(proofs); claim != nil {
		a.Claims["reference_values"] = claim
	}
}

// firmware: every block of ROM and firmware has to be proven, and whatever else
// reference values say of versions and of what was loaded.
func (v *verifier) firmware(a *verdict.Appraisal, c *comparison, proofs map[string]any) {
	must := c.found(groupFirmware)
	stated := slices.Concat(must, in(c.found(groupLevel, groupLoaded, groupConnection), reference.Partial, reference.Unsigned, reference.Matched))
	if wrong := in(c.found(groupFirmware, groupLoaded), reference.Mismatched); len(wrong) > 0 {
		_, why := c.report.Judge(executables, wrong...)
		v.settle(a, findFirmware, why)
	}
	if old := in(c.found(groupLevel), reference.Mismatched); len(old) > 0 {
		_, why := c.report.Judge(executables, old...)
		for i := range why {
			why[i].Code = verdict.ReasonTCBOutOfDate
		}
		v.settle(a, findSVNReference, why)
	}
	state, why := c.report.Judge(executables, slices.DeleteFunc(slices.Clone(stated), func(f reference.Finding) bool { return f.State == reference.Mismatched })...)
	switch {
	case len(must) == 0:
		v.find(a, findUnproven, "executables: the device measures neither ROM nor firmware")
	case state != reference.Matched && len(in(must, reference.Mismatched)) < len(must):
		v.settle(a, findUnproven, why)
	case state == reference.Matched && len(in(must, reference.Mismatched)) == 0:
		v.find(a, findMatch, "")
		a.Reasons = append(a.Reasons, why...)
		proofs[executables.String()] = c.report.Proof(stated...)
	}
}

// configured: firmware and its configuration have to be proven, and the device
// mode has to be there, or the device has no visible configuration.
func (v *verifier) configured(a *verdict.Appraisal, p *proof, c *comparison, proofs map[string]any) {
	list := c.found(groupConfig)
	state, why := c.report.Judge(config, slices.Concat(list, c.found(groupFirmware))...)
	if wrong := in(c.found(groupConfig, groupMode), reference.Mismatched); len(wrong) > 0 {
		_, why := c.report.Judge(config, wrong...)
		v.settle(a, findConfig, why)
	}
	switch _, known := p.deviceMode(); {
	case a.Vector[executables].Tier() != verdict.TierAffirming && a.Vector[executables].Tier() != verdict.TierNone:
		v.find(a, findConfigUnproven, "configuration: the firmware is not proven, so what the device says about its state proves nothing")
	case state != reference.Matched && len(in(list, reference.Mismatched)) == 0:
		v.settle(a, findConfigUnproven, why)
	case state == reference.Matched && known:
		v.find(a, findConfigKnown, "")
		if len(list) > 0 {
			proofs[config.String()] = c.report.Proof(list...)
		}
	}
}

// mismatches are the rest: nobody has to state it, and what is stated has to be
// right.
func (v *verifier) mismatches(a *verdict.Appraisal, c *comparison) {
	for _, g := range []struct {
		finding string
		claim   verdict.ClaimName
		groups  []group
	}{
		{findHardware, hardware, []group{groupHardware}},
		{findOther, executables, []group{groupOther}},
		{findInterface, config, []group{groupInterface, groupConnection}},
	} {
		if wrong := in(c.found(g.groups...), reference.Mismatched); len(wrong) > 0 {
			_, why := c.report.Judge(g.claim, wrong...)
			v.settle(a, g.finding, why)
		}
	}
	if !v.params.Measurements.Strict {
		return
	}
	var open []string
	for i, f := range c.report.Findings {
		if it := c.items[i]; it.index != 0 && it.index != IndexDeviceMode && f.State == reference.Unknown {
			open = append(open, fmt.Sprint(it.index))
		}
	}
	v.when(a, len(open) > 0, findUnreferenced, "no reference value speaks of the indices %s", open)
}

// specific judges the device-specific information of an interface report, which
// has a form of the vendor's own.
func (v *verifier) specific(a *verdict.Appraisal, p *proof, c *comparison) {
	if p.Report == nil || len(p.Report.Specific) == 0 || v.allowsSpecific(p.Report.Specific) {
		return
	}
	if f := c.found(groupSpecific); len(in(f, reference.Matched)) == 1 {
		return
	}
	v.find(a, findSpecific, "the device-specific information %s is neither accepted nor a reference value", hexText(p.Report.Specific))
}
