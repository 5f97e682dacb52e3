// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"reflect"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/types"
)

// Bounds of what a policy puts together (decision D-118). Values share their
// parts, so a few lines can make one of 2^60 members out of a few kilobytes.
// Whatever goes through such a value member by member (a comparison, a
// unification, an error that shows it) never comes to its end, and a unification
// ends the process, because it needs stack for every member.
const (
	// maxBuilt is how many members everything that one evaluation puts together has
	// as a tree, what it contains counted each time. Tests of a policy, which evaluate
	// it many times, have maxBuiltByTests.
	maxBuilt        = 1 << 17
	maxBuiltByTests = 1 << 21
	// ofInput is what a part of the input counts that is no value yet (see input): it
	// is not made one for being counted.
	ofInput = 256
	// maxOpen is how many parts the pattern has that stands for what a function returns.
	maxOpen = 8
	// maxRules and maxExpressions bound a module: the compiler takes far more than
	// linear time.
	maxRules       = 1 << 10
	maxExpressions = 1 << 10
	// maxTerms bounds its values and names.
	maxTerms = 1 << 15
)

// builtName is the function that counts what is put together: see instrument.
const builtName = guardedPrefix + "built"

var builtRef = ast.MustParseRef(builtName)

// builtKey is where the count is among what belongs to one evaluation.
type builtKey struct{}

// built is the function: it returns its operand once it is counted.
func built(most int) *topdown.Builtin {
	return &topdown.Builtin{
		Decl: builtDecl(),
		Func: func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
			if err := counted(bctx, operands[0].Value, most); err != nil {
				return err
			}
			return iter(operands[0])
		},
	}
}

// builtDecl says any of what comes out, so that types, too, do not nest.
func builtDecl() *ast.Builtin {
	return &ast.Builtin{Name: builtName, Decl: types.NewFunction(types.Args(types.A), types.A)}
}

// counted adds the members of a value to those of the evaluation.
func counted(bctx topdown.BuiltinContext, v ast.Value, most int) error {
	have, _ := bctx.Cache.Get(builtKey{})
	used, ok := have.(*int)
	if !ok {
		used = new(int)
		bctx.Cache.Put(builtKey{}, used)
	}
	*used = tree(v, *used, most)
	if *used > most {
		return fmt.Errorf("everything that is put together has more than %d members", most)
	}
	return nil
}

var lazyObject = reflect.TypeOf(ast.LazyObject(nil))

// tree adds the members of a value, as a tree, to so many, and gives up beyond
// most.
func tree(v ast.Value, n, most int) int {
	n++
	add := func(t *ast.Term) bool {
		n = tree(t.Value, n, most)
		return n > most
	}
	switch v := v.(type) {
	case *ast.Array:
		v.Until(add)
	case ast.Set:
		v.Until(add)
	case ast.Object:
		if reflect.TypeOf(v) == lazyObject {
			return n + ofInput
		}
		v.Until(func(key, value *ast.Term) bool { return add(key) || add(value) })
	}
	return n
}

// modest refuses a module with more in it than the compiler is to be given.
func modest(m *ast.Module) error {
	rules, expressions, terms := 0, 0, 0
	ast.WalkRules(m, func(*ast.Rule) bool { rules++; return false })
	ast.WalkExprs(m, func(*ast.Expr) bool { expressions++; return false })
	ast.WalkTerms(m, func(*ast.Term) bool { terms++; return false })
	for _, c := range []struct {
		n, most int
		what    string
	}{{rules, maxRules, "rules"}, {expressions, maxExpressions, "expressions"}, {terms, maxTerms, "values and names"}} {
		if c.n > c.most {
			return fmt.Errorf("%d %s, at most %d", c.n, c.what, c.most)
		}
	}
	return nil
}

// instrument makes everything that a module puts together go through built: what
// is written as an array, an object or a set of other than constants, what a
// comprehension collects, and what rules collect. A value thus has no more members
// than were counted. It is an error where that cannot be done.
func instrument(m *ast.Module) error {
	i := &instruments{arity: map[string]int{}}
	for _, r := range m.Rules {
		i.arity[r.Head.Ref()[0].Value.String()] = len(r.Head.Args)
	}
	for _, r := range m.Rules {
		for ; r != nil; r = r.Else {
			i.rule(r)
		}
	}
	return i.err
}

type instruments struct {
	arity map[string]int // of functions of the module
	err   error
}

func (i *instruments) refuse(l *ast.Location, format string, args ...any) {
	if i.err == nil {
		i.err = at(l, format, args...)
	}
}

func (i *instruments) rule(r *ast.Rule) {
	i.body(r.Body)
	h := r.Head
	if h.RuleKind() == ast.MultiValue {
		h.Key = i.collected(h.Key, r.Body)
	}
	collects := false
	if ref := h.Reference; len(ref) > 1 {
		for _, t := range ref[1:] {
			if _, ok := t.Value.(ast.String); ok {
				continue
			}
			if collects = true; !scalar(t) { // a key is checked by a condition, for it has to stay what it is
				r.Body.Append(ast.Equality.Expr(ast.VarTerm(fmt.Sprintf("%sbuilt%d", ast.WildcardPrefix, len(r.Body))), wrap(i.value(t.Copy()))))
			}
		}
		collects = collects || h.RuleKind() == ast.SingleValue
	}
	switch {
	case h.Value == nil:
	case collects && h.RuleKind() == ast.SingleValue:
		h.Value = i.collected(h.Value, nil)
	default:
		h.Value = i.value(h.Value)
	}
}

func (i *instruments) body(b ast.Body) {
	for _, e := range b {
		i.expression(e)
	}
}

func (i *instruments) expression(e *ast.Expr) {
	switch t := e.Terms.(type) {
	case *ast.Term:
		e.Terms = i.value(t)
	case []*ast.Term:
		i.call(t)
	case *ast.SomeDecl:
		for _, s := range t.Symbols { // of "some x in xs" the last operand is no pattern
			if call, ok := s.Value.(ast.Call); ok {
				call[len(call)-1] = i.value(call[len(call)-1])
			}
		}
	case *ast.Every:
		t.Domain = i.value(t.Domain)
		i.body(t.Body)
	default:
		i.refuse(e.Location, "an expression of a kind that policies do not know")
	}
}

// call is one that stands by itself: its operands, and what is to be equal to the
// result.
func (i *instruments) call(terms []*ast.Term) {
	name := terms[0].Value.String()
	operands := terms[1:]
	switch {
	case name == ast.Assign.Name && len(operands) == 2: // the left side names variables that are new
		operands[1] = i.value(operands[1])
		return
	case name == ast.Equality.Name:
		// What a pattern here would be made of is not known before it is unified.
		for n := range operands {
			if composite(operands[n]) && !scalars(operands[n]) {
				i.refuse(operands[n].Location, "a composite value with =: := gives it a name or takes it apart, == compares it")
			}
			i.inside(operands[n])
		}
		return
	}
	arity, ok := i.arity[name]
	if b := ast.BuiltinMap[name]; b != nil {
		arity, ok = b.Decl.Arity(), true
	}
	for n := range operands {
		if ok && n < arity {
			operands[n] = i.value(operands[n])
		} else {
			operands[n] = i.open(operands[n])
		}
	}
}

// value is a term where it makes a value, and nothing else.
func (i *instruments) value(t *ast.Term) *ast.Term {
	i.inside(t)
	if composite(t) && !scalars(t) {
		return wrap(t)
	}
	return t
}

// open is a term that can be a pattern as well: it is left as it is, and small.
func (i *instruments) open(t *ast.Term) *ast.Term {
	i.inside(t)
	if composite(t) {
		n := 0
		leaves(t, func(leaf *ast.Term) {
			if !scalar(leaf) {
				n++
			}
		})
		if n > maxOpen {
			i.refuse(t.Location, "a pattern of %d parts, at most %d", n, maxOpen)
		}
	}
	return t
}

// inside goes through what a term consists of. The terms themselves stay what
// they are.
func (i *instruments) inside(t *ast.Term) {
	switch v := t.Value.(type) {
	case ast.Ref:
		v[0] = i.value(v[0])
		for _, part := range v[1:] {
			if composite(part) && !scalars(part) {
				i.refuse(part.Location, "a composite value in brackets: give it a name, or use in")
			}
			i.inside(part)
		}
	case ast.Call:
		for n := 1; n < len(v); n++ {
			v[n] = i.value(v[n])
		}
	case *ast.ArrayComprehension:
		i.body(v.Body)
		v.Term = i.collected(v.Term, nil)
	case *ast.SetComprehension:
		i.body(v.Body)
		v.Term = i.collected(v.Term, v.Body)
	case *ast.ObjectComprehension:
		i.body(v.Body)
		v.Key, v.Value = i.collected(v.Key, nil), i.collected(v.Value, nil)
	default:
		leaves(t, func(leaf *ast.Term) {
			if leaf != t {
				i.inside(leaf)
			}
		})
	}
}

// collected is what a rule or a comprehension has as a member. A set has a member
// once, so one that is part of the input makes the set no larger than the input;
// body is what such a set is made by.
func (i *instruments) collected(t *ast.Term, body ast.Body) *ast.Term {
	i.inside(t)
	if scalar(t) || composite(t) && scalars(t) || ofTheInput(t, body) {
		return t
	}
	return wrap(t)
}

// ofTheInput: the body says "some t in input…".
func ofTheInput(t *ast.Term, body ast.Body) bool {
	name, ok := t.Value.(ast.Var)
	if !ok {
		return false
	}
	for _, e := range body {
		some, ok := e.Terms.(*ast.SomeDecl)
		if !ok || len(some.Symbols) != 1 {
			continue
		}
		call, ok := some.Symbols[0].Value.(ast.Call)
		if !ok {
			continue
		}
		from, ok := call[len(call)-1].Value.(ast.Ref)
		if ok && from[0].Equal(ast.InputRootDocument) && call[len(call)-2].Value.Compare(name) == 0 {
			return true
		}
	}
	return false
}

func wrap(t *ast.Term) *ast.Term {
	return ast.NewTerm(ast.Call{ast.NewTerm(builtRef.Copy()).SetLocation(t.Location), t}).SetLocation(t.Location)
}

func composite(t *ast.Term) bool {
	switch t.Value.(type) {
	case *ast.Array, ast.Object, ast.Set:
		return true
	}
	return false
}

// leaves are the parts of a composite value that are none themselves; of anything
// else the term.
func leaves(t *ast.Term, visit func(*ast.Term)) {
	each := func(part *ast.Term) { leaves(part, visit) }
	switch v := t.Value.(type) {
	case *ast.Array:
		v.Foreach(each)
	case ast.Set:
		v.Foreach(each)
	case ast.Object:
		v.Foreach(func(key, value *ast.Term) { each(key); each(value) })
	default:
		visit(t)
	}
}

// scalars: no part of a composite value can have parts.
func scalars(t *ast.Term) bool {
	all := true
	leaves(t, func(leaf *ast.Term) { all = all && scalar(leaf) })
	return all
}

// scalar: a constant, or the call of a function that returns no composite value.
func scalar(t *ast.Term) bool {
	switch v := t.Value.(type) {
	case ast.Null, ast.Boolean, ast.Number, ast.String:
		return true
	case ast.Call:
		b := ast.BuiltinMap[v[0].Value.String()]
		if b == nil {
			return false
		}
		switch b.Decl.Result().(type) {
		case types.Boolean, types.Number, types.String:
			return true
		}
	}
	return false
}
