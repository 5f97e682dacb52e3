// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

var (
	componentMembers = []string{"label", "claims", "tier", "detail"}
	compositeMembers = []string{"tier", "detail"}
)

// worse are the values that AR4SI gives to a claim that is not good; 99, that
// cryptography failed, is one of every claim. A policy sets no other: with the
// good ones it would mean to raise something, and the private ones say nothing to
// whoever reads them.
var worse = map[verdict.ClaimName][]verdict.Claim{
	verdict.InstanceIdentity: {verdict.ClaimContraindicate, verdict.ClaimUnknownDevice},
	verdict.Configuration:    {verdict.ClaimUnsafe, verdict.ClaimNoVisibility, verdict.ClaimContraindicate},
	verdict.Executables:      {verdict.ClaimUnsafe, verdict.ClaimUnrecognized, verdict.ClaimContraindicate},
	verdict.FileSystem:       {verdict.ClaimUnsafe, verdict.ClaimContraindicate},
	verdict.Hardware:         {verdict.ClaimUnsafe, verdict.ClaimContraindicate, verdict.ClaimUnknownDevice},
	verdict.RuntimeOpaque:    {verdict.ClaimUnsafe, verdict.ClaimContraindicate},
	verdict.StorageOpaque:    {verdict.ClaimUnsafe, verdict.ClaimContraindicate},
	verdict.SourcedData:      {verdict.ClaimUnsafe, verdict.ClaimContraindicate},
}

func claimName(s ast.String) (verdict.ClaimName, error) {
	name, err := verdict.ParseClaimName(string(s))
	if err != nil {
		return 0, fmt.Errorf("%.40q is no trustworthiness claim", string(s))
	}
	return name, nil
}

// claimValue reads a value that lowers a claim.
func claimValue(name verdict.ClaimName, n ast.Number) (verdict.Claim, error) {
	i, ok := n.Int()
	if ok && i >= -128 && i <= 127 {
		c := verdict.Claim(i)
		if c == verdict.ClaimCryptoFailed || slices.Contains(worse[name], c) {
			return c, nil
		}
	}
	return 0, fmt.Errorf("%.40s is no value of %s that lowers it: %d or %d", n, name, worse[name], verdict.ClaimCryptoFailed)
}

// bounded is a set with at most so many members.
func bounded(v ast.Value, most int) (ast.Set, error) {
	set, ok := v.(ast.Set)
	if !ok {
		return nil, errors.New("not a set")
	}
	if set.Len() > most {
		return nil, fmt.Errorf("%d of them, at most %d", set.Len(), most)
	}
	return set, nil
}

// text reads a member that is a text; "" when it is not there.
func text(o ast.Object, name string) (string, error) {
	t := o.Get(ast.StringTerm(name))
	if t == nil {
		return "", nil
	}
	s, ok := t.Value.(ast.String)
	if !ok {
		return "", fmt.Errorf("%s is no text", name)
	}
	if len(s) == 0 || len(s) > MaxDetail {
		return "", fmt.Errorf("%s has %d bytes, want 1 to %d", name, len(s), MaxDetail)
	}
	return string(s), nil
}

// findingOf reads what all findings have: the members that there may be, a detail,
// and a tier.
func findingOf(t *ast.Term, members []string) (o ast.Object, detail string, tier *verdict.Tier, err error) {
	o, ok := t.Value.(ast.Object)
	if !ok {
		return nil, "", nil, errors.New("a finding is no object")
	}
	if err := only(o, members); err != nil {
		return nil, "", nil, err
	}
	if detail, err = text(o, "detail"); err != nil {
		return nil, "", nil, err
	}
	if detail == "" {
		return nil, "", nil, errors.New("a finding without detail")
	}
	word, err := text(o, "tier")
	if err != nil || word == "" {
		return o, detail, nil, err
	}
	parsed, err := verdict.ParseTier(word)
	if err != nil {
		return nil, "", nil, fmt.Errorf("%.40q is no tier", word)
	}
	return o, detail, &parsed, nil
}

func componentFindings(v ast.Value, r *verdict.Result) ([]Finding, error) {
	set, err := bounded(v, MaxFindings)
	if err != nil {
		return nil, err
	}
	var out []Finding
	for _, t := range set.Slice() {
		f, err := componentFinding(t, r)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b Finding) int {
		return cmp.Or(strings.Compare(string(a.Label), string(b.Label)), compareTiers(a.Tier, b.Tier), strings.Compare(a.Detail, b.Detail))
	})
	return out, nil
}

func componentFinding(t *ast.Term, r *verdict.Result) (Finding, error) {
	o, detail, tier, err := findingOf(t, componentMembers)
	if err != nil {
		return Finding{}, err
	}
	f := Finding{Detail: detail, Tier: verdict.TierAffirming}
	if tier != nil {
		f.Tier = *tier
	}
	label, err := text(o, "label")
	if err != nil {
		return f, err
	}
	f.Label = evidence.Path(label)
	if !slices.ContainsFunc(r.Components, func(c verdict.Component) bool { return c.Label == f.Label }) {
		return f, fmt.Errorf("a finding about %.80q, which is no component", label)
	}
	if o.Get(ast.StringTerm("claims")) == nil {
		return f, nil
	}
	claims, ok := o.Get(ast.StringTerm("claims")).Value.(ast.Object)
	if !ok {
		return f, errors.New("claims are no object")
	}
	return f, claims.Iter(func(k, v *ast.Term) error {
		s, ok := k.Value.(ast.String)
		n, number := v.Value.(ast.Number)
		if !ok || !number {
			return errors.New("claims are names with numbers")
		}
		name, err := claimName(s)
		if err != nil {
			return err
		}
		f.Lowered[name], err = claimValue(name, n)
		return err
	})
}

// caps are the findings about the whole.
func (p *Policy) caps(v ast.Value) ([]verdict.Cap, error) {
	if v == nil {
		return nil, nil
	}
	set, err := bounded(v, MaxFindings)
	if err != nil {
		return nil, err
	}
	var out []verdict.Cap
	for _, t := range set.Slice() {
		_, detail, tier, err := findingOf(t, compositeMembers)
		switch {
		case err != nil:
			return nil, err
		case tier == nil:
			return nil, errors.New("a finding without tier")
		}
		out = append(out, verdict.Cap{Tier: *tier, Reason: verdict.Reason{Code: Code(*tier), Detail: detail, Source: "policy " + p.id}})
	}
	slices.SortStableFunc(out, func(a, b verdict.Cap) int {
		return cmp.Or(compareTiers(a.Tier, b.Tier), strings.Compare(a.Reason.Detail, b.Reason.Detail))
	})
	return out, nil
}

// Code is the reason code of a finding with this tier: the one of which it is the
// ceiling (verdict.ReasonCeiling).
func Code(t verdict.Tier) string {
	switch t {
	case verdict.TierAffirming:
		return verdict.ReasonPolicyRemark
	case verdict.TierWarning:
		return verdict.ReasonPolicy
	case verdict.TierNone:
		return verdict.ReasonPolicyNone
	}
	return verdict.ReasonPolicyBad
}

// compareTiers sorts good before bad.
func compareTiers(a, b verdict.Tier) int {
	switch {
	case b.WorseThan(a):
		return -1
	case a.WorseThan(b):
		return 1
	}
	return 0
}

func annotations(v ast.Value) (map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	o, ok := v.(ast.Object)
	if !ok {
		return nil, errors.New("not an object")
	}
	if o.Len() > verdict.MaxAnnotations {
		return nil, fmt.Errorf("%d of them, at most %d", o.Len(), verdict.MaxAnnotations)
	}
	var out map[string]string
	err := o.Iter(func(k, v *ast.Term) error {
		key, ok := k.Value.(ast.String)
		value, is := v.Value.(ast.String)
		switch {
		case !ok || !is:
			return errors.New("something other than a text")
		case len(key) == 0 || len(key) > MaxAnnotation || len(value) > MaxAnnotation:
			return fmt.Errorf("a key of %d bytes with a text of %d, at most %d", len(key), len(value), MaxAnnotation)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[string(key)] = string(value)
		return nil
	})
	return out, err
}
