// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// testBudget is what one test may take.
const testBudget = time.Second

// TestResult is what came of one test of a policy.
type TestResult struct {
	Name string
	// Line is where the test stands in its file.
	Line   int
	Passed bool
	// Err says why a test could not be evaluated, nil if it was.
	Err error
}

// Test evaluates the tests of a policy: the rules test_… of a module of package
// assize_test, which imports data.assize and gives inputs by "with". A test passes
// if it is true. Tests can call what the policy can call. Tests of one name count
// as one, and the results are in the order of their lines. It is an error when one
// of the texts cannot be compiled or there is no test.
func Test(ctx context.Context, id string, text, tests []byte) (out []TestResult, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, fmt.Errorf("policy: %s: its tests make the compiler panic: %v", id, r)
		}
	}()
	if _, err := Load(id, text); err != nil {
		return nil, err
	}
	f, err := newFunctions(maxBuiltByTests)
	if err != nil {
		return nil, err
	}
	m, err := parse(id+testSuffix, tests, f)
	if err == nil {
		err = checkTests(m)
	}
	if err != nil {
		return nil, fmt.Errorf("policy: tests of %s: %w", id, err)
	}
	lines := map[string]int{}
	var names []string
	for _, r := range m.Rules {
		name := r.Head.Ref()[0].Value.String()
		if _, seen := lines[name]; seen || !strings.HasPrefix(name, "test_") {
			continue
		}
		lines[name] = r.Location.Row
		names = append(names, name)
	}
	if names == nil {
		return nil, fmt.Errorf("policy: tests of %s: no rule test_…", id)
	}
	e, _, err := compile(id, text, m)
	if err != nil {
		return nil, fmt.Errorf("policy: tests of %s: %w", id, err)
	}
	e.budget = testBudget
	slices.SortStableFunc(names, func(a, b string) int { return lines[a] - lines[b] })
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, e.test(ctx, m, name, lines[name]))
	}
	return out, nil
}

func checkTests(m *ast.Module) error {
	if want := ast.DefaultRootRef.Append(ast.StringTerm(packageName + "_test")); !m.Package.Path.Equal(want) {
		return at(m.Package.Location, "the package of tests is %s_test", packageName)
	}
	for _, i := range m.Imports {
		if p := i.Path.String(); p != "rego.v1" && p != "data."+packageName {
			return at(i.Location, "import of %s: tests import nothing but data.%s", p, packageName)
		}
	}
	return nil
}

func (e *engine) test(ctx context.Context, m *ast.Module, name string, line int) TestResult {
	out := TestResult{Name: name, Line: line}
	q := &query{names: []string{"passed"}, compiler: e.compiler.QueryCompiler()}
	// A test that is undefined is not true: the set of its values is empty then.
	ref := ast.NewTerm(m.Package.Path.Append(ast.StringTerm(name)))
	values := ast.SetComprehensionTerm(ast.VarTerm("value"), ast.NewBody(ast.Equality.Expr(ast.VarTerm("value"), ref)))
	q.body, out.Err = q.compiler.Compile(ast.NewBody(ast.Equality.Expr(ast.VarTerm("passed"), values)))
	if out.Err != nil {
		return out
	}
	found, err := e.run(ctx, q, nil, func(int32) {})
	if err != nil {
		if errors.Is(err, ErrBudget) {
			err = fmt.Errorf("%w (%s)", err, testBudget)
		}
		out.Err = err
		return out
	}
	out.Passed = found["passed"].Compare(ast.NewSet(ast.BooleanTerm(true))) == 0
	return out
}
