// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"errors"
	"fmt"
	"slices"
)

// PolicyStatement says by which policy for whole machines a result was made.
type PolicyStatement struct {
	// ID names the policy, Digest is the SHA-256 of its text in hexadecimal.
	ID     string `json:"id"`
	Digest string `json:"sha256"`
	// Accepts are the rules that the policy relaxes, each by the code of the reason
	// that it would give: ReasonUnboundComponent where a common nonce is to do.
	Accepts []string `json:"accepts,omitempty"`
	// Acceptable is the worst tier with which the policy takes a machine, Accepted
	// whether this result has it. Neither changes the tier.
	Acceptable Tier `json:"acceptable"`
	Accepted   bool `json:"accepted"`
	// Annotations are texts of the policy for whoever reads the verdict.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Bounds of what a policy adds to a result.
const (
	MaxAnnotations  = 32
	MaxRequirements = 256
	MaxAccepts      = 8
)

// Relaxes reports whether a policy gives up the rule with this reason code. Nil
// gives up nothing.
func (p *PolicyStatement) Relaxes(code string) bool {
	return p != nil && slices.Contains(p.Accepts, code)
}

// checkPolicy holds for every signed result: what the policy accepts follows
// from the tier, and what it relaxes can be relaxed.
func (r *Result) checkPolicy() error {
	if len(r.Requirements) > MaxRequirements {
		return fmt.Errorf("%d requirements, at most %d", len(r.Requirements), MaxRequirements)
	}
	for _, q := range r.Requirements {
		if err := q.Check(); err != nil {
			return err
		}
	}
	if r.Inventory != nil {
		if err := r.Inventory.check(); err != nil {
			return err
		}
	}
	if r.Inventory == nil && slices.ContainsFunc(r.Requirements, func(q Requirement) bool { return q.Source == SourceLeadEvidence }) {
		return errors.New("requirements of an inventory that is not there")
	}
	if r.Lead != nil && (!hexOf(r.Lead.SPKI, 32) || r.Lead.Thumbprint == "") {
		return errors.New("the key that signed the composite has no SHA-256 or thumbprint")
	}
	p := r.Policy
	switch {
	case p == nil:
		return nil
	case p.ID == "" || !hexOf(p.Digest, 32):
		return errors.New("a policy without name or digest")
	case len(p.Annotations) > MaxAnnotations || len(p.Accepts) > MaxAccepts:
		return errors.New("a policy with too many annotations or relaxations")
	case slices.ContainsFunc(p.Accepts, func(code string) bool { return code != ReasonUnboundComponent }):
		return fmt.Errorf("policy %s relaxes %v, and only %s can be relaxed", p.ID, p.Accepts, ReasonUnboundComponent)
	case p.Accepted && r.Outcome.Tier.WorseThan(p.Acceptable):
		return fmt.Errorf("policy %s takes %s or better, and the result is %s", p.ID, p.Acceptable, r.Outcome.Tier)
	}
	return nil
}

// Lower is the worse of two vectors, claim by claim: nothing gets better, and a
// good word in by counts for nothing, also where v is silent.
func (v Vector) Lower(by Vector) Vector {
	for n, c := range by {
		switch {
		case c == ClaimNone, c.Tier() == TierAffirming:
		case v[n] == ClaimNone, c.Tier().WorseThan(v[n].Tier()):
			v[n] = c
		}
	}
	return v
}

// LeadSignature is the key that signed a composite as a whole.
type LeadSignature struct {
	// SPKI is the SHA-256 of its SubjectPublicKeyInfo (DER), in hexadecimal, as in
	// Facts.SignerSPKI; Thumbprint is its RFC 7638 thumbprint.
	SPKI       string `json:"spki"`
	Thumbprint string `json:"thumbprint"`
}

func (o object) leadSignature(name string) (*LeadSignature, error) {
	if _, ok := o[name]; !ok {
		return nil, nil
	}
	m, err := o.object(name)
	if err != nil {
		return nil, err
	}
	var l LeadSignature
	if l.SPKI, err = m.text("spki"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if l.Thumbprint, err = m.text("thumbprint"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &l, nil
}

func (o object) policyStatement(name string) (*PolicyStatement, error) {
	if _, ok := o[name]; !ok {
		return nil, nil
	}
	m, err := o.object(name)
	if err != nil {
		return nil, err
	}
	var p PolicyStatement
	if p.ID, err = m.text("id"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if p.Digest, err = m.text("sha256"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if p.Accepts, err = m.texts("accepts"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if p.Acceptable, err = m.tier("acceptable"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if p.Accepted, err = m.optionalBool("accepted"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	notes, err := m.optionalObject("annotations")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for key := range notes {
		if p.Annotations == nil {
			p.Annotations = map[string]string{}
		}
		if p.Annotations[key], err = notes.text(key); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return &p, nil
}

// lowered reads claims that a policy made worse, each with a name and a value
// that mean something.
func (o object) lowered(name string) (v Vector, err error) {
	m, err := o.optionalObject(name)
	if err != nil {
		return v, err
	}
	for claim := range m {
		n, err := ParseClaimName(claim)
		if err != nil {
			return v, fmt.Errorf("%s: %w", name, err)
		}
		if v[n], err = m.claim(claim); err != nil {
			return v, fmt.Errorf("%s: %w", name, err)
		}
	}
	return v, nil
}
