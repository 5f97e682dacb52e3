// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/assize/assize/verdict"
)

// static is what a policy says whatever the machine is.
type static struct {
	requirements []verdict.Requirement
	accepts      []string
	acceptable   verdict.Tier
}

// evaluateStatic evaluates the rules that do not see the input. One that does is
// refused: what has to be there never comes from what was submitted.
func (p *Policy) evaluateStatic(rules *ruleSet) (s static, err error) {
	s.acceptable = verdict.TierAffirming
	for _, one := range []struct {
		name string
		read func(ast.Value) error
	}{
		{ruleRequire, func(v ast.Value) (err error) { s.requirements, err = requirements(v); return err }},
		{ruleAccept, func(v ast.Value) (err error) { s.accepts, err = accepts(v); return err }},
		{ruleAcceptable, func(v ast.Value) (err error) { s.acceptable, err = acceptable(v); return err }},
	} {
		if !rules.has(one.name) {
			continue
		}
		if rules.sees(one.name).input.something() {
			return s, at(rules.byName[one.name][0].Location, "rule %s is the same for every machine, and must not see the input", one.name)
		}
		q, err := p.engine.prepare(rules, one.name)
		if err != nil {
			return s, err
		}
		out, err := p.evaluate(context.Background(), q, nil)
		if err == nil {
			err = one.read(out[one.name])
		}
		if err != nil {
			return s, fmt.Errorf("%s: %w", one.name, err)
		}
	}
	return s, nil
}

var requireMembers = []string{"label", "scheme", "exactly", "at_least", "optional"}

var schemeName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

func requirements(v ast.Value) ([]verdict.Requirement, error) {
	set, err := bounded(v, verdict.MaxRequirements)
	if err != nil {
		return nil, err
	}
	var out []verdict.Requirement
	for _, t := range set.Slice() {
		o, ok := t.Value.(ast.Object)
		if !ok {
			return nil, fmt.Errorf("%.80s is no object", t)
		}
		if err := only(o, requireMembers); err != nil {
			return nil, err
		}
		q, err := requirement(o)
		if err != nil {
			return nil, err
		}
		out = append(out, q)
	}
	slices.SortFunc(out, func(a, b verdict.Requirement) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

func requirement(o ast.Object) (q verdict.Requirement, err error) {
	q.Source = verdict.SourcePolicy
	if q.Label, err = text(o, "label"); err != nil {
		return q, err
	}
	if q.Scheme, err = text(o, "scheme"); err != nil {
		return q, err
	}
	if q.Label == "" && q.Scheme == "" {
		return q, errors.New("neither label nor scheme")
	}
	if q.Label == "" {
		q.Label = "*"
	}
	for segment := range strings.SplitSeq(q.Label, "/") {
		if segment == "" || len(segment) > 1 && strings.Contains(segment, "*") {
			return q, fmt.Errorf("%q is no pattern of labels: * stands for one whole label, and none is empty", q.Label)
		}
	}
	if q.Scheme != "" && !schemeName.MatchString(q.Scheme) {
		return q, fmt.Errorf("%.40q is no name of a scheme", q.Scheme)
	}
	for name, to := range map[string]**int{"exactly": &q.Exactly, "at_least": &q.AtLeast} {
		t := o.Get(ast.StringTerm(name))
		if t == nil {
			continue
		}
		n, ok := t.Value.(ast.Number)
		count, whole := n.Int()
		if !ok || !whole {
			return q, fmt.Errorf("%s is %.40s, which is no number of components", name, t)
		}
		*to = &count
	}
	if t := o.Get(ast.StringTerm("optional")); t != nil {
		b, ok := t.Value.(ast.Boolean)
		if !ok {
			return q, errors.New("optional is neither true nor false")
		}
		q.Optional = bool(b)
	}
	return q, q.Check()
}

func accepts(v ast.Value) ([]string, error) {
	set, err := bounded(v, verdict.MaxAccepts)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range set.Slice() {
		s, ok := t.Value.(ast.String)
		if !ok || string(s) != verdict.ReasonUnboundComponent {
			return nil, fmt.Errorf("%.80s cannot be relaxed, only %q can", t, verdict.ReasonUnboundComponent)
		}
		out = append(out, string(s))
	}
	return out, nil
}

func acceptable(v ast.Value) (verdict.Tier, error) {
	s, _ := v.(ast.String)
	switch t, err := verdict.ParseTier(string(s)); {
	case err == nil && (t == verdict.TierAffirming || t == verdict.TierWarning):
		return t, nil
	}
	return verdict.TierAffirming, fmt.Errorf("%.80s is neither \"affirming\" nor \"warning\"", v)
}
