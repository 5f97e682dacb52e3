// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// items are the carried ones of a kind and media type.
func (p *replay) items(kind verdict.ItemKind, mediaTypes ...string) (out []verdict.Item) {
	for _, i := range p.bundle.Items {
		if i.Kind == kind && i.Value != nil && slices.Contains(mediaTypes, i.MediaType) {
			out = append(out, i)
		}
	}
	return out
}

// collateral is what the bundle brings, in memory: names are never looked up.
func (p *replay) collateral() (*endorsements.Bundle, error) {
	var docs []endorsements.Document
	for _, i := range p.items(verdict.ItemCollateral, itemCollateral) {
		docs = append(docs, endorsements.Document{Name: i.Name, Raw: i.Value, Digest: i.Digest})
	}
	b, warnings, err := endorsements.LoadDocuments(docs)
	for _, w := range warnings {
		if w.Kind != endorsements.WarnNoSigner { // which is so for a list that stays a loose one
			p.report.note("collateral %s is not used: %s", w.Name, w.Detail)
		}
	}
	return b, err
}

// references are the documents in the bundle, under the authorities that it names;
// nil if there were none.
func (p *replay) references(at time.Time) (verifiers.References, error) {
	if !p.request.Corim {
		return nil, nil
	}
	o := corim.Options{Now: at, Unsigned: p.request.CorimUnsigned}
	for n, i := range p.items(verdict.ItemReferences, itemAuthorities) {
		if n > 0 {
			return nil, errors.New("two files of authorities")
		}
		list, err := corim.ParseTrust(i.Value)
		if err != nil {
			return nil, err
		}
		if o.Trust, err = corim.NewTrust(list); err != nil {
			return nil, err
		}
	}
	var docs []*corim.Document
	for _, i := range p.items(verdict.ItemReferences, itemCorim, itemCorimSigned) {
		d, err := loadCorim(i.Value, o)
		if err != nil {
			p.report.note("reference values %s: %v", i.Name, err)
		}
		if d != nil {
			docs = append(docs, d)
		}
	}
	x, err := corim.NewIndex(docs...)
	if err != nil {
		return nil, err
	}
	return fixed{x}, nil
}

// schemePolicies are those of the bundle, or of --evidence-policy. A default is taken
// from the bundle only where this build has another one.
func (p *replay) schemePolicies() (map[string]*appraisal.Policy, error) {
	out, err := loadPolicies(p.flags.policies)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		p.report.note("the appraisal policy of %s is that of --evidence-policy, not that of the bundle", name)
	}
	for _, i := range p.items(verdict.ItemPolicies, itemSchemePolicy) {
		scheme, isDefault := strings.CutPrefix(i.Name, namedDefault)
		if !isDefault {
			scheme = strings.TrimPrefix(i.Name, namedEdited)
		}
		d, err := defaultsOf(scheme)
		if err != nil {
			p.report.note("appraisal policy %s is not used: %v", i.Name, err)
			continue
		}
		if out[scheme] != nil {
			continue // judged by another one on purpose
		}
		own, err := d.YAML()
		if err != nil {
			return nil, err
		}
		if isDefault && bytes.Equal(own, i.Value) {
			continue
		}
		parsed, err := d.Parse(i.Value)
		if err != nil {
			p.report.note("appraisal policy %s is not used, this build's default is: %v", i.Name, err)
			continue
		}
		if isDefault {
			p.byText[scheme] = true
			p.report.note("the default policy of %s is another one in this build; that of the bundle is used", scheme)
		}
		out[scheme] = parsed
	}
	return out, nil
}

// machinePolicy is the policy for whole machines of the bundle, or of --policy; nil
// where the verdict had none. What is not of this build is run only where this node
// has signed the verdict, or the caller says so.
func (p *replay) machinePolicy() (*policy.Policy, error) {
	if p.flags.policy != "" {
		other, err := loadPolicy(p.flags.policy)
		if err == nil {
			p.report.note("the policy for whole machines is %s of --policy, not that of the bundle", other.Statement().ID)
		}
		return other, err
	}
	if p.recorded.Policy == nil {
		return nil, nil
	}
	if own, err := policy.Library(p.recorded.Policy.ID); err == nil && own.Statement().Digest == p.recorded.Policy.Digest {
		return own, nil
	}
	carried := p.items(verdict.ItemPolicies, itemPolicy)
	if len(carried) == 0 {
		return nil, nil // said to be missing
	}
	// A policy is a program, and one that means harm can end the process.
	if !p.flags.replay.policy && p.signature() != signedHere {
		return nil, fmt.Errorf("policy %s is in no library, and came in a bundle that this node has not signed: read it, and name it (--policy FILE) or say --use-included-policy", p.recorded.Policy.ID)
	}
	return policy.Load(strings.TrimPrefix(carried[0].Name, namedMachine), carried[0].Value)
}
