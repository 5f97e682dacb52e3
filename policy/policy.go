// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/assize/assize/verdict"
)

// Bounds of policies and of what they say (decision D-97).
const (
	// MaxText is the largest policy in bytes.
	MaxText = 256 << 10
	// MaxFindings is how many findings one hook can have.
	MaxFindings = 256
	// MaxDetail is the longest detail of a finding in bytes.
	MaxDetail = 1 << 10
	// MaxAnnotation is the longest text of an annotation, and the longest key, in
	// bytes; verdict.MaxAnnotations bounds their number.
	MaxAnnotation = 256
	// DefaultBudget is what one hook may take by the clock on the wall: thousands of times
	// what the library takes, so that none fails because a machine is busy (decision D-126).
	DefaultBudget = time.Second
)

// loadBudget is the longest time that compiling may take: there are short texts for
// which the compiler needs years.
const loadBudget = 10 * time.Second

// ErrBudget says that the policy was stopped because it took longer than it may.
var ErrBudget = errors.New("stopped after its budget of time")

// Policy is a policy that was compiled and checked. It is immutable and safe for
// concurrent use.
type Policy struct {
	id, digest string
	text       string
	static     static
	engine     *engine
	component  *query // nil where the policy has no such hook
	composite  *query
	// stuck counts evaluations that did not end when they were told to.
	stuck atomic.Int32
}

// Options are those of loading.
type Options struct {
	// Budget is the longest time that one hook may take; zero is DefaultBudget.
	Budget time.Duration
}

var slug = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,63}$`)

// ID is the name of a policy in a file: the last element of the path without
// ".rego", in lower case, and with "-" for everything that is no letter or digit.
func ID(file string) string {
	name := strings.ToLower(strings.TrimSuffix(path.Base(strings.ReplaceAll(file, `\`, "/")), ".rego"))
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, name)
	name = strings.Trim(name[:min(len(name), 64)], "-")
	if name == "" {
		return "policy"
	}
	return name
}

// Load compiles the text of a policy with the default options. The id is a slug
// ([a-z0-9-], at most 64 characters; see ID) and becomes part of every verdict.
func Load(id string, text []byte) (*Policy, error) { return Options{}.Load(id, text) }

// Load compiles and checks a policy: that it is one module of package assize with
// rules that are known, calls nothing but pure functions, and names claims, tiers
// and labels that there are. The static rules are evaluated. An error says where
// in the text the problem is.
func (o Options) Load(id string, text []byte) (*Policy, error) {
	if !slug.MatchString(id) {
		return nil, fmt.Errorf("policy: %.80q is no name of a policy ([a-z0-9-], at most 64 characters)", id)
	}
	if o.Budget <= 0 {
		o.Budget = DefaultBudget
	}
	type answer struct {
		p   *Policy
		err error
	}
	done := make(chan answer, 1)
	go func() {
		var a answer
		defer func() {
			if r := recover(); r != nil {
				a = answer{err: fmt.Errorf("it makes the compiler panic: %v", r)}
			}
			done <- a
		}()
		a.p, a.err = o.load(id, text)
	}()
	limit := time.NewTimer(loadBudget)
	defer limit.Stop()
	select {
	case a := <-done:
		if a.err != nil {
			return nil, fmt.Errorf("policy: %s: %w", id, a.err)
		}
		return a.p, nil
	case <-limit.C:
		return nil, fmt.Errorf("policy: %s: compiling it takes longer than %s", id, loadBudget)
	}
}

func (o Options) load(id string, text []byte) (*Policy, error) {
	e, rules, err := compile(id, text)
	if err != nil {
		return nil, err
	}
	e.budget = o.Budget
	sum := sha256.Sum256(text)
	p := &Policy{id: id, digest: hex.EncodeToString(sum[:]), text: string(text), engine: e}
	if p.static, err = p.evaluateStatic(rules); err != nil {
		return nil, err
	}
	if rules.has(ruleComponent) {
		if p.component, err = e.prepare(rules, ruleComponent); err != nil {
			return nil, err
		}
	}
	if rules.has(ruleComposite) || rules.has(ruleAnnotations) {
		if p.composite, err = e.prepare(rules, ruleComposite, ruleAnnotations); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Statement says by which policy a result is made. What depends on the result,
// Accepted and Annotations, is empty.
func (p *Policy) Statement() verdict.PolicyStatement {
	return verdict.PolicyStatement{
		ID: p.id, Digest: p.digest, Accepts: slices.Clone(p.static.accepts), Acceptable: p.static.acceptable,
	}
}

// Requirements are what the policy demands to be there, sorted; nil where it
// demands nothing. Their source is verdict.SourcePolicy.
func (p *Policy) Requirements() []verdict.Requirement {
	out := slices.Clone(p.static.requirements)
	for i, q := range out {
		if q.Exactly != nil {
			n := *q.Exactly
			out[i].Exactly = &n
		}
		if q.AtLeast != nil {
			n := *q.AtLeast
			out[i].AtLeast = &n
		}
	}
	return out
}

// Text is the policy as it was loaded.
func (p *Policy) Text() string { return p.text }

// Hooks names the hooks that the policy has: component, composite, annotations.
func (p *Policy) Hooks() []string {
	var out []string
	if p.component != nil {
		out = append(out, ruleComponent)
	}
	if p.composite != nil {
		out = append(out, p.composite.names...)
	}
	return out
}

// Components evaluates the hook for components, before anything is said about the
// whole: it sees r.Components and the session. Findings are sorted by label, and
// each is about a component of r. It is an error when the policy cannot be
// evaluated, takes longer than its budget (ErrBudget) or ctx allows, or finds
// something that is none of its findings.
func (p *Policy) Components(ctx context.Context, r *verdict.Result) ([]Finding, error) {
	if p.component == nil {
		return nil, nil
	}
	values, err := p.evaluate(ctx, p.component, input(r, p.component.sections))
	if err != nil {
		return nil, fmt.Errorf("policy: %s: %w", p.id, err)
	}
	out, err := componentFindings(values[ruleComponent], r)
	if err != nil {
		return nil, fmt.Errorf("policy: %s: %s: %w", p.id, ruleComponent, err)
	}
	return out, nil
}

// Composite evaluates the hook for the whole: everything in r, which the policy
// has not judged yet. Errors are those of Components.
func (p *Policy) Composite(ctx context.Context, r *verdict.Result) (Decision, error) {
	if p.composite == nil {
		return Decision{}, nil
	}
	values, err := p.evaluate(ctx, p.composite, input(r, p.composite.sections))
	if err != nil {
		return Decision{}, fmt.Errorf("policy: %s: %w", p.id, err)
	}
	var d Decision
	if d.Caps, err = p.caps(values[ruleComposite]); err != nil {
		return Decision{}, fmt.Errorf("policy: %s: %s: %w", p.id, ruleComposite, err)
	}
	if d.Annotations, err = annotations(values[ruleAnnotations]); err != nil {
		return Decision{}, fmt.Errorf("policy: %s: %s: %w", p.id, ruleAnnotations, err)
	}
	return d, nil
}

// values are what the rules of a query evaluate to, by the name of the rule.
type values map[string]ast.Value
