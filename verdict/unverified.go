// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// UnverifiedDocument is what a signed result says, of any format that VerifyResult
// reads, without a look at any signature: for people who want to read a verdict
// whose keys they do not have. It is no Result, and nothing may be decided by it:
// whoever wrote the token chose every word. Tiers are never better than the reasons
// and the vectors beside them allow.
func UnverifiedDocument(token []byte) (Document, error) {
	if len(token) > limits.AggregateResult {
		return Document{}, fmt.Errorf("verdict: %d bytes, at most %d", len(token), limits.AggregateResult)
	}
	d, err := unverifiedDocument(token)
	if err != nil {
		return Document{}, fmt.Errorf("verdict: %w", err)
	}
	return d, nil
}

func unverifiedDocument(token []byte) (Document, error) {
	claims, err := unverifiedClaims(token)
	if err != nil {
		return Document{}, err
	}
	h, _, err := parseAggregate(token, claims)
	if err != nil {
		return Document{}, err
	}
	v := aggregate{head: h}
	r := &Result{Verifier: h.verifier, Time: h.issued}
	composite, err := v.open()
	if err != nil {
		return Document{}, err
	}
	if err := v.describe(r, composite); err != nil {
		return Document{}, err
	}
	d := r.Document()
	statements, err := v.policy.object("assize.components")
	if err != nil {
		return Document{}, err
	}
	for _, label := range slices.Sorted(maps.Keys(statements)) {
		c, err := v.unverifiedComponent(label, statements)
		if err != nil {
			return Document{}, fmt.Errorf("component %.64q: %w", label, err)
		}
		d.Components[label] = c
	}
	for _, c := range d.Components {
		effect := c.Tier
		if !c.Required && effect == TierNone {
			effect = TierWarning
		}
		d.Verdict.Tier = Worst(d.Verdict.Tier, effect)
	}
	return d, nil
}

// unverifiedClaims is the payload of a JWT or a CWT whose signature nobody has
// looked at.
func unverifiedClaims(token []byte) ([]byte, error) {
	if !trust.IsCWT(token) {
		return unverified(token)
	}
	var m struct {
		_           struct{} `cbor:",toarray"`
		Protected   []byte
		Unprotected map[any]any
		Payload     []byte
		Signature   []byte
	}
	inner := bytes.TrimPrefix(bytes.TrimPrefix(token, []byte{0xd8, 61}), []byte{0xd2}) // tags of CWT and COSE_Sign1
	if err := cbor.Unmarshal(inner, &m); err != nil || len(m.Payload) == 0 {
		return nil, errors.New("not a CWT")
	}
	return m.Payload, nil
}

// unverifiedComponent joins what the lead states and what is in the partial result.
func (v *aggregate) unverifiedComponent(label string, statements object) (ComponentDocument, error) {
	var c Component
	m, err := statements.object(label)
	if err == nil {
		err = c.readStatement(m)
	}
	if err != nil {
		return ComponentDocument{}, err
	}
	d := ComponentDocument{
		Scheme: c.Scheme, MediaType: c.MediaType, Class: c.Class, Required: c.Required,
		TrustVector: map[string]Claim{}, Claims: map[string]any{}, Freshness: FreshnessNotEstablished,
		DurationUS: c.Duration.Microseconds(), Path: c.Path, Site: c.Site, Sites: c.Sites,
	}
	if _, ok := v.partials[label]; ok {
		token, err := v.partials.text(label)
		if err != nil {
			return d, err
		}
		if err := d.readUnverified(label, token, c); err != nil {
			return d, fmt.Errorf("partial result: %w", err)
		}
	}
	d.Reasons = append(append([]Reason{}, d.Reasons...), c.Reasons...)
	for _, r := range c.Reasons {
		d.Tier = Worst(d.Tier, ReasonCeiling(r.Code))
	}
	if d.Tier != TierAffirming && len(d.Reasons) == 0 {
		d.Reasons = append(d.Reasons, Reason{Code: ReasonUnexplained, Detail: "neither lead nor verifier gave a reason"})
	}
	return d, nil
}

// readUnverified fills in what a partial result says.
func (d *ComponentDocument) readUnverified(label, token string, c Component) error {
	raw, err := unverified([]byte(token))
	if err != nil {
		return err
	}
	h, err := parseResult(raw)
	if err != nil {
		return err
	}
	p := Partial{verifier: h.verifier}
	if p.submod, err = h.submods.object(label); err != nil {
		return err
	}
	policy, err := p.submod.object(claimPolicy)
	if err != nil {
		return err
	}
	if err := p.readAppraisal(policy); err != nil {
		return err
	}
	a := p.appraisal
	who := p.signatory()
	d.Verifier, d.TrustVector, d.Freshness = &who, c.VectorOf(a.Vector).members(false), a.Freshness
	d.References, d.AppraisalPolicy, d.Reasons = p.revision, a.PolicyID, a.Reasons
	if a.Claims != nil {
		d.Claims = a.Claims
	}
	d.Tier = Worst(p.status, a.Status())
	for _, claim := range p.unknown {
		d.Tier = Worst(d.Tier, claim.Tier())
	}
	for _, claim := range c.Lowered {
		if claim != ClaimNone {
			d.Tier = Worst(d.Tier, claim.Tier())
		}
	}
	return nil
}
