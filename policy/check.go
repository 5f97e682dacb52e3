// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/assize/assize/verdict"
)

// packageName is the package of every policy.
const packageName = "assize"

// Rules that mean something.
const (
	ruleComponent   = "component"
	ruleComposite   = "composite"
	ruleAnnotations = "annotations"
	ruleRequire     = "require"
	ruleAccept      = "accept"
	ruleAcceptable  = "acceptable"
)

// known has every rule that means something, with the form that it has to have.
var known = map[string]string{
	ruleComponent:   "component contains {…} if …",
	ruleComposite:   "composite contains {…} if …",
	ruleAnnotations: "annotations[key] := text if …",
	ruleRequire:     "require contains {…}",
	ruleAccept:      "accept contains code",
	ruleAcceptable:  "acceptable := tier",
}

// ruleSet is the rules of a policy by their names.
type ruleSet struct {
	byName map[string][]*ast.Rule
}

func (r *ruleSet) has(name string) bool { return len(r.byName[name]) > 0 }

// at says where something stands in the text.
func at(l *ast.Location, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if l == nil {
		return errors.New(text)
	}
	return fmt.Errorf("line %d: %s", l.Row, text)
}

// check holds a parsed module to what a policy is: one package, no imports, no
// documents, rules of the known forms, and words that mean something.
func check(m *ast.Module) (*ruleSet, error) {
	if want := ast.DefaultRootRef.Append(ast.StringTerm(packageName)); !m.Package.Path.Equal(want) {
		return nil, at(m.Package.Location, "the package is %s, not %s", strings.TrimPrefix(m.Package.Path.String(), "data."), packageName)
	}
	for _, i := range m.Imports {
		if i.Path.String() != "rego.v1" {
			return nil, at(i.Location, "import of %s: a policy imports nothing but rego.v1", i.Path)
		}
	}
	if err := foreign(m); err != nil {
		return nil, err
	}
	rules := &ruleSet{byName: map[string][]*ast.Rule{}}
	for _, r := range m.Rules {
		name, err := form(r)
		if err != nil {
			return nil, err
		}
		rules.byName[name] = append(rules.byName[name], r)
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(known)), rules.has) {
		return nil, fmt.Errorf("none of the rules %s", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
	}
	if err := used(m, rules); err != nil {
		return nil, err
	}
	return rules, words(m, rules)
}

// foreign refuses what a policy has no use for: documents, other inputs than its
// own.
func foreign(m *ast.Module) error {
	var err error
	for _, r := range m.Rules {
		ast.WalkExprs(r, func(e *ast.Expr) bool {
			switch {
			case err != nil:
			case len(e.With) > 0:
				err = at(e.Location, "with: a policy judges the input that it gets")
			case e.IsCall() && e.Operator().String() == "print":
				err = at(e.Location, "print: a policy says what it has to say in findings")
			}
			return err != nil
		})
		ast.WalkTerms(r, func(t *ast.Term) bool {
			if t.Equal(ast.DefaultRootDocument) && err == nil {
				err = at(t.Location, "data: a policy sees its input alone, and names its own rules without it")
			}
			return err != nil
		})
	}
	return err
}

// form is the name of a rule, if its form is the one that it has to have.
func form(r *ast.Rule) (string, error) {
	ref := r.Head.Ref()
	name := strings.Trim(ref[0].Value.String(), `"`)
	if builtin(name) {
		return "", at(r.Location, "a rule named as the built-in function %s", name)
	}
	want, ok := known[name]
	if !ok {
		return name, nil
	}
	set := r.Head.RuleKind() == ast.MultiValue
	good := len(r.Head.Args) == 0
	switch name {
	case ruleAcceptable:
		good = good && !set && len(ref) == 1
	case ruleAnnotations:
		good = good && !set && len(ref) == 2 && !r.Default
	default:
		good = good && set && len(ref) == 1
	}
	if !good {
		return "", at(r.Location, "rule %s has to have the form: %s", name, want)
	}
	return name, nil
}

// builtin: a function, or the first word of one, has this name.
func builtin(name string) bool {
	for have := range ast.BuiltinMap {
		if first, _, _ := strings.Cut(have, "."); first == name {
			return true
		}
	}
	return strings.HasPrefix(name+".", guardedPrefix)
}

// used refuses rules that nothing comes to: most of them are a name that was
// misspelt, and a rule that was meant to judge would never do so.
func used(m *ast.Module, rules *ruleSet) error {
	seen := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, r := range rules.byName[name] {
			ast.WalkVars(r, func(v ast.Var) bool {
				if other := string(v); rules.has(other) {
					follow(other)
				}
				return false
			})
		}
	}
	for name := range known {
		if rules.has(name) {
			follow(name)
		}
	}
	for _, r := range m.Rules {
		if name := strings.Trim(r.Head.Ref()[0].Value.String(), `"`); !seen[name] {
			return at(r.Location, "rule %s is none of %s, and none of these comes to it", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	return nil
}

// words checks literals where they stand: claims, tiers, and the members of what
// the rules say. What is computed is checked when it is.
func words(m *ast.Module, rules *ruleSet) error {
	var err error
	ast.WalkTerms(m, func(t *ast.Term) bool {
		if o, ok := t.Value.(ast.Object); ok && err == nil {
			err = literal(o)
			if err != nil {
				err = at(t.Location, "%v", err)
			}
		}
		return err != nil
	})
	if err != nil {
		return err
	}
	for name, members := range map[string][]string{ruleComponent: componentMembers, ruleComposite: compositeMembers, ruleRequire: requireMembers} {
		for _, r := range rules.byName[name] {
			o, ok := r.Head.Key.Value.(ast.Object)
			if !ok {
				continue
			}
			if err := only(o, members); err != nil {
				return at(r.Location, "%s: %v", name, err)
			}
		}
	}
	return nil
}

// literal checks an object as it is written: what stands under "claims" and
// "tier".
func literal(o ast.Object) error {
	if t := o.Get(ast.StringTerm("tier")); t != nil {
		if s, ok := t.Value.(ast.String); ok {
			if _, err := verdict.ParseTier(string(s)); err != nil {
				return fmt.Errorf("%q is no tier", string(s))
			}
		}
	}
	t := o.Get(ast.StringTerm("claims"))
	if t == nil {
		return nil
	}
	claims, ok := t.Value.(ast.Object)
	if !ok {
		return nil
	}
	return claims.Iter(func(k, v *ast.Term) error {
		s, ok := k.Value.(ast.String)
		if !ok {
			return nil
		}
		name, err := claimName(s)
		if err != nil {
			return err
		}
		if n, ok := v.Value.(ast.Number); ok {
			_, err = claimValue(name, n)
		}
		return err
	})
}

// only refuses members that an object does not have.
func only(o ast.Object, members []string) error {
	return o.Iter(func(k, _ *ast.Term) error {
		s, ok := k.Value.(ast.String)
		switch {
		case !ok && ast.IsConstant(k.Value):
			return fmt.Errorf("a member with the key %s", k)
		case ok && !slices.Contains(members, string(s)):
			return fmt.Errorf("unknown member %.40q, there are %s", string(s), strings.Join(members, ", "))
		}
		return nil
	})
}

// compiled replaces the rules by what the compiler made of them.
func (r *ruleSet) compiled(c *ast.Compiler) {
	r.byName = map[string][]*ast.Rule{}
	for _, m := range c.Modules {
		if !m.Package.Path.Equal(ast.DefaultRootRef.Append(ast.StringTerm(packageName))) {
			continue
		}
		for _, rule := range m.Rules {
			name := strings.Trim(rule.Head.Ref()[0].Value.String(), `"`)
			r.byName[name] = append(r.byName[name], rule)
		}
	}
}

// sees is what a rule can see of the input, itself or by way of others.
func (r *ruleSet) sees(name string) sections {
	out := newSections()
	behind := map[string]bool{} // members that stand behind the name of a component
	seen := map[string]bool{}
	var follow func(name string)
	var visit func(x any) bool
	visit = func(x any) bool {
		switch x := x.(type) {
		case ast.String:
			out.names[string(x)] = true
		case ast.Var: // by itself, and not as the head of a reference
			if x.Equal(ast.InputRootDocument.Value) {
				out.input.all, out.whole = true, true
			}
		case ast.Ref:
			switch {
			case x[0].Equal(ast.InputRootDocument):
				out.input.add(x[1:])
				if name := first(x, 1); name == "" || name == inComponents && first(x, 3) == "" {
					out.whole = true // which members it comes to is not in the text
				} else if name == inComponents {
					behind[first(x, 3)] = true
				}
			case x[0].Equal(ast.DefaultRootDocument):
				follow(first(x, 2))
			default:
				ast.NewGenericVisitor(visit).Walk(x[0])
			}
			for _, t := range x[1:] {
				ast.NewGenericVisitor(visit).Walk(t)
			}
			return true
		}
		return false
	}
	follow = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, rule := range r.byName[name] {
			ast.NewGenericVisitor(visit).Walk(rule)
		}
	}
	follow(name)
	if !out.whole {
		out.names = behind
	}
	return out
}

// first is the text at a position of a reference, "" for anything else.
func first(ref ast.Ref, at int) string {
	if len(ref) <= at {
		return ""
	}
	s, _ := ref[at].Value.(ast.String)
	return string(s)
}
