// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxStuck is how many evaluations of one policy may still run though they were
// told to end, which takes one call that is long by itself. With more, the policy
// is not evaluated at all.
const maxStuck = 4

// maxNesting is how deep expressions of a policy nest.
const maxNesting = 200

// engine is a compiled module and everything that its evaluation needs.
type engine struct {
	compiler  *ast.Compiler
	functions *functions
	budget    time.Duration
}

// query is one or more rules that are evaluated together.
type query struct {
	names    []string
	body     ast.Body
	compiler ast.QueryCompiler
	// sections are the parts of the input that the rules can see.
	sections sections
}

// compile reads a module and prepares it. Tests, if there are any, are a second
// module, which may do what a policy may not.
func compile(id string, text []byte, tests ...*ast.Module) (*engine, *ruleSet, error) {
	most := maxBuilt
	if len(tests) > 0 {
		most = maxBuiltByTests
	}
	f, err := newFunctions(most)
	if err != nil {
		return nil, nil, err
	}
	m, err := parse(id+".rego", text, f)
	if err != nil {
		return nil, nil, err
	}
	rules, err := check(m)
	if err != nil {
		return nil, nil, err
	}
	if err := instrument(m); err != nil {
		return nil, nil, err
	}
	modules := map[string]*ast.Module{id + ".rego": m}
	for _, t := range tests {
		modules[t.Package.Location.File] = t
	}
	for _, one := range modules {
		f.rewrite(one)
	}
	c := ast.NewCompiler().WithCapabilities(f.capabilities).WithStrict(true).WithDefaultRegoVersion(ast.RegoV1)
	if c.Compile(modules); c.Failed() {
		return nil, nil, readable(c.Errors)
	}
	// From here on the rules are those that the compiler has rewritten.
	rules.compiled(c)
	return &engine{compiler: c, functions: f, budget: DefaultBudget}, rules, nil
}

// parse reads one module within the bounds.
func parse(file string, text []byte, f *functions) (*ast.Module, error) {
	if len(text) > MaxText {
		return nil, fmt.Errorf("a text of %d bytes, at most %d", len(text), MaxText)
	}
	// The parser that makes modules has a generous idea of how deep text may nest, so
	// the one that only reads it goes first.
	p := ast.NewParser().WithReader(bytes.NewReader(text)).WithFilename(file).
		WithRegoVersion(ast.RegoV1).WithCapabilities(f.capabilities).WithMaxRecursionDepth(maxNesting)
	if _, _, errs := p.Parse(); len(errs) > 0 {
		return nil, readable(errs)
	}
	m, err := ast.ParseModuleWithOpts(file, string(text), ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: f.capabilities})
	var errs ast.Errors
	switch {
	case errors.As(err, &errs):
		return nil, readable(errs)
	case err != nil:
		return nil, err
	case m == nil:
		return nil, errors.New("an empty text")
	}
	return m, modest(m)
}

// readable is the first few errors of the compiler on one line, with the names
// that the policy has used.
func readable(errs ast.Errors) error {
	var out []string
	for _, e := range errs[:min(len(errs), 3)] {
		line := strings.TrimPrefix(strings.Join(strings.Fields(strings.ReplaceAll(e.Error(), guardedPrefix, "")), " "), "1 error occurred: ")
		out = append(out, line[:min(len(line), 300)])
	}
	if n := len(errs) - len(out); n > 0 {
		out = append(out, fmt.Sprintf("and %d more", n))
	}
	return errors.New(strings.Join(out, "; "))
}

// prepare compiles the query for those of some rules that there are.
func (e *engine) prepare(rules *ruleSet, names ...string) (*query, error) {
	q := &query{sections: newSections()}
	var body ast.Body
	for _, name := range names {
		if !rules.has(name) {
			continue
		}
		q.names = append(q.names, name)
		ref := ast.DefaultRootRef.Append(ast.StringTerm(packageName)).Append(ast.StringTerm(name))
		body.Append(ast.Equality.Expr(ast.VarTerm(name), ast.NewTerm(ref)))
		q.sections.join(rules.sees(name))
	}
	q.compiler = e.compiler.QueryCompiler()
	var err error
	if q.body, err = q.compiler.Compile(body); err != nil {
		return nil, err
	}
	return q, nil
}

// evaluate runs a query within the budget. The evaluation has a goroutine of its
// own, so that this returns in time also where one call does not mind being told
// to end.
func (p *Policy) evaluate(ctx context.Context, q *query, in *ast.Term) (values, error) {
	if n := p.stuck.Load(); n >= maxStuck {
		return nil, fmt.Errorf("%d evaluations have not ended: %w", n, ErrBudget)
	}
	return p.engine.run(ctx, q, in, func(more int32) { p.stuck.Add(more) })
}

// run evaluates a query. stuck hears of an evaluation that is left behind, and of
// its end.
func (e *engine) run(ctx context.Context, q *query, in *ast.Term, stuck func(int32)) (values, error) {
	bounded, stop := context.WithTimeout(ctx, e.budget)
	defer stop()
	cancel := topdown.NewCancel()
	type answer struct {
		out values
		err error
	}
	done := make(chan answer, 1)
	var state atomic.Int32
	go func() {
		var a answer
		defer func() {
			if r := recover(); r != nil {
				a = answer{err: fmt.Errorf("the evaluation panicked: %v", r)}
			}
			done <- a
			if !state.CompareAndSwap(running, ended) {
				stuck(-1)
			}
		}()
		stretch()
		a.out, a.err = e.eval(bounded, cancel, q, in)
	}()
	select {
	case a := <-done:
		return a.out, a.err
	case <-bounded.Done():
	}
	cancel.Cancel()
	stuck(1)
	if !state.CompareAndSwap(running, left) {
		stuck(-1) // it has just ended
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, ErrBudget
}

// stretch grows the stack once, before the evaluation does it in several steps
// and copies it in each.
//
//go:noinline
func stretch() byte {
	var room [60 << 10]byte
	touch(room[:])
	return room[len(room)-1]
}

//go:noinline
func touch(room []byte) { room[len(room)-1] = 1 }

// States of an evaluation.
const (
	running int32 = iota
	ended
	left // nobody waits for it any more
)

// eval runs a query to its end, or until it is cancelled.
func (e *engine) eval(ctx context.Context, cancel topdown.Cancel, q *query, in *ast.Term) (values, error) {
	t := topdown.NewQuery(q.body).WithQueryCompiler(q.compiler).WithCompiler(e.compiler).
		WithStore(nothing{}).WithBuiltins(e.functions.guarded).WithStrictBuiltinErrors(true).
		WithCancel(cancel).WithTime(time.Unix(0, 0)).WithSeed(noSeed{})
	if in != nil {
		t = t.WithInput(in)
	}
	var out values
	err := t.Iter(ctx, func(r topdown.QueryResult) error {
		if out != nil {
			return errors.New("more than one answer")
		}
		out = values{}
		for _, name := range q.names {
			term := r[ast.Var(name)]
			if term == nil {
				return fmt.Errorf("%s has no value", name)
			}
			out[name] = term.Value
		}
		return nil
	})
	switch {
	case cancel.Cancelled():
		return nil, ErrBudget
	case err != nil:
		return nil, explain(err)
	case out == nil:
		return nil, fmt.Errorf("%s is undefined", strings.Join(q.names, " or "))
	}
	return out, nil
}

// explain is an error of the evaluation on one line.
func explain(err error) error {
	text := strings.ReplaceAll(strings.Join(strings.Fields(err.Error()), " "), guardedPrefix, "")
	return errors.New(text[:min(len(text), 300)])
}

// nothing is a store without documents: all that a policy sees is its input.
type nothing struct {
	storage.PolicyNotSupported
	storage.TriggersNotSupported
	storage.WritesNotSupported
}

func (nothing) NewTransaction(context.Context, ...storage.TransactionParams) (storage.Transaction, error) {
	return nil, errors.New("policy: there are no documents")
}

func (nothing) Read(context.Context, storage.Transaction, storage.Path) (any, error) {
	return nil, &storage.Error{Code: storage.NotFoundErr, Message: "policy: there are no documents"}
}

func (nothing) Commit(context.Context, storage.Transaction) error { return nil }

func (nothing) Truncate(context.Context, storage.Transaction, storage.TransactionParams, storage.Iterator) error {
	return nil
}

func (nothing) Abort(context.Context, storage.Transaction) {}

// noSeed is no randomness.
type noSeed struct{}

func (noSeed) Read([]byte) (int, error) { return 0, errors.New("policy: there is no randomness") }
