// SPDX-License-Identifier: Apache-2.0

// Package appraisal holds the Appraisal Policy for Evidence (RFC 9334, section
// 8.5) of a scheme: a table that says what every finding costs, and the numbers
// by which findings are made. A scheme declares its Defaults; an operator edits
// a copy of them as YAML; Defaults.Parse checks the copy.
//
// A finding is a named outcome of an appraisal, "tcb-out-of-date" for example.
// Its row lowers claims of the trust vector and gives a reason. What must never
// be excused has a floor: no row makes it better.
package appraisal

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/assize/assize/verdict"
)

// Effect is what a finding makes of claims of the trust vector: the values to
// which they are lowered. A claim that is not named stays as it is.
type Effect map[verdict.ClaimName]verdict.Claim

// Finding is one row of a scheme's table.
type Finding struct {
	// Name is the slug of the finding, [a-z0-9-]{1,64}.
	Name string
	// Code is the reason code that is reported (schemas/reasons.yaml); empty for
	// a finding that needs no explanation, such as "tcb-up-to-date".
	Code string
	// Effect is the default.
	Effect Effect
	// Floor are claims with the best values that an operator may give them; a
	// claim in it cannot be left out of a row.
	Floor Effect
	// Text says in a sentence what was found, for operators.
	Text string
}

// Defaults is the policy that a scheme declares.
type Defaults struct {
	// Scheme is the slug of the scheme.
	Scheme string
	// Findings is the whole table: a name that is not in it cannot be reported.
	Findings []Finding
	// Parameters is a struct, by value, whose fields have yaml tags and the
	// default values; nil for a scheme without. If it has a method
	// Check() error, that is called for what an operator wrote.
	Parameters any
}

var findingName = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// Check says what is wrong with a declaration; a test of every scheme calls it.
func (d Defaults) Check() error {
	if d.Scheme == "" || len(d.Findings) == 0 {
		return errors.New("appraisal: a declaration without scheme or findings")
	}
	seen := map[string]bool{}
	for _, f := range d.Findings {
		switch {
		case !findingName.MatchString(f.Name) || seen[f.Name]:
			return fmt.Errorf("appraisal: %s: finding %q has no proper name, or it is there twice", d.Scheme, f.Name)
		case f.Text == "":
			return fmt.Errorf("appraisal: %s: finding %s says nothing to operators", d.Scheme, f.Name)
		case f.Code == "" && f.Effect.worst() != verdict.TierNone && f.Effect.worst() != verdict.TierAffirming:
			return fmt.Errorf("appraisal: %s: finding %s lowers claims without a reason", d.Scheme, f.Name)
		}
		if err := f.allows(f.Effect); err != nil {
			return fmt.Errorf("appraisal: %s: %w", d.Scheme, err)
		}
		seen[f.Name] = true
	}
	return nil
}

// worst is the worst tier among the values.
func (e Effect) worst() verdict.Tier {
	worst, first := verdict.TierNone, true
	for _, c := range e {
		if t := c.Tier(); first || t.WorseThan(worst) {
			worst, first = t, false
		}
	}
	return worst
}

// allows holds a row against the floor.
func (f Finding) allows(e Effect) error {
	for name, floor := range f.Floor {
		if c, ok := e[name]; !ok || floor.Tier().WorseThan(c.Tier()) {
			return fmt.Errorf("finding %s: %s must be %d or worse, whatever the policy", f.Name, name, floor)
		}
	}
	for name, c := range e {
		if !validClaim(c) {
			return fmt.Errorf("finding %s: %s cannot be %d", f.Name, name, c)
		}
	}
	return nil
}

// validClaim holds for values that say something a policy may say: an affirming,
// warning or contraindicated one. 0, 1 and -1 are about verifier and evidence.
func validClaim(c verdict.Claim) bool { return c.Tier() != verdict.TierNone }

// Policy is a checked policy of one scheme. It is immutable and safe for
// concurrent use.
type Policy struct {
	scheme     string
	rows       map[string]Finding
	parameters any
	digest     string // of an edited policy, hexadecimal; "" for the defaults
}

// Policy returns the defaults as a policy. The error is that of Check: a scheme
// that declares nonsense must not start.
func (d Defaults) Policy() (*Policy, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	p := &Policy{scheme: d.Scheme, rows: map[string]Finding{}, parameters: d.Parameters}
	for _, f := range d.Findings {
		f.Effect = maps.Clone(f.Effect)
		p.rows[f.Name] = f
	}
	return p, nil
}

// Or returns p, or the defaults if p is nil. A policy of another scheme is an
// error.
func (d Defaults) Or(p *Policy) (*Policy, error) {
	switch {
	case p == nil:
		return d.Policy()
	case p.scheme != d.Scheme:
		return nil, fmt.Errorf("appraisal: policy is for scheme %s, not for %s", p.scheme, d.Scheme)
	}
	return p, nil
}

// Scheme is the slug of the scheme whose policy this is.
func (p *Policy) Scheme() string { return p.scheme }

// ID names the policy in results (EAR ear.appraisal-policy-id): "<scheme>" for
// the defaults of this build, "<scheme>:sha-256:<hex>" for an edited one.
func (p *Policy) ID() string {
	if p.digest == "" {
		return p.scheme
	}
	return p.scheme + ":sha-256:" + p.digest
}

// Apply lowers the claims that the row of a finding names and reports its
// reason with the detail. A claim that is as bad already stays. A finding that
// the scheme did not declare is reported as a malfunction, which gives no verdict.
//
// It returns the reason, until the next one is reported, so that the caller can
// say what was compared (Reason.Against); nil for a finding without one.
func (p *Policy) Apply(a *verdict.Appraisal, finding, detail string) *verdict.Reason {
	f, ok := p.rows[finding]
	if !ok {
		a.Vector = verdict.AllClaims(verdict.ClaimMalfunction)
		a.Fail(verdict.ReasonMalfunction, fmt.Sprintf("the scheme %s knows no finding %q", p.scheme, finding))
		return &a.Reasons[len(a.Reasons)-1]
	}
	for _, name := range slices.Sorted(maps.Keys(f.Effect)) {
		Lower(a, name, f.Effect[name])
	}
	if f.Code == "" {
		return nil
	}
	a.Fail(f.Code, detail)
	return &a.Reasons[len(a.Reasons)-1]
}

// Effect is the row of a finding, nil if there is none.
func (p *Policy) Effect(finding string) Effect { return maps.Clone(p.rows[finding].Effect) }

// Lower sets a claim to c unless it is as bad already.
func Lower(a *verdict.Appraisal, name verdict.ClaimName, c verdict.Claim) {
	if have := a.Vector[name]; have == verdict.ClaimNone || c.Tier().WorseThan(have.Tier()) {
		a.Vector[name] = c
	}
}

// Parameters returns the parameters, which have the type that the scheme
// declared.
func Parameters[T any](p *Policy) T { return p.parameters.(T) }

func digestOf(raw []byte) string {
	d := sha256.Sum256(raw)
	return hex.EncodeToString(d[:])
}
