// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// Bounds of single calls, so that no call makes much of little: what remains is
// bounded by time.
const (
	// maxText is the longest text that a call may make, or be given to make one of,
	// in bytes.
	maxText = 4 << 10
	// maxElements is the length of the longest array that is put together.
	maxElements = 1 << 16
	// maxDigits is the length of a number in arithmetic, as text.
	maxDigits = 64
	// maxPattern and maxSubject bound patterns and what they are held against.
	maxPattern = 256
	maxSubject = 4 << 10
)

// pure are the built-in functions that a policy may call as they are: what they
// return follows from their operands alone and is no larger than these. There is
// no network, clock, randomness or environment among them (decision D-96).
var pure = []string{
	"assign", "eq", "equal", "neq", "gt", "gte", "lt", "lte", "internal.member_2", "internal.member_3",
	"count", "max", "min", "sort",
	"array.reverse", "array.slice",
	"and", "or", "intersection", "union",
	"object.filter", "object.get", "object.keys", "object.remove", "object.subset",
	"contains", "endswith", "indexof", "startswith", "strings.any_prefix_match", "strings.any_suffix_match", "strings.count",
	"substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix",
	"is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name",
	"graph.reachable", "walk",
	"semver.compare", "semver.is_valid",
	"time.parse_duration_ns", "time.parse_rfc3339_ns",
}

// guard says why a call is refused, before it is made.
type guard func(operands []*ast.Term) error

// guarded are the functions that can make much of little, or take long for it,
// each with what keeps it small.
func guarded() map[string]guard {
	all := map[string]guard{
		"array.concat": elements, "object.union": anything, "concat": joined, "replace": replaced, "sprintf": formatted,
		"regex.match": pattern, "glob.match": pattern,
	}
	for _, name := range []string{
		"plus", "minus", "mul", "div", "rem", "abs", "ceil", "floor", "round", "sum",
		"bits.and", "bits.or", "bits.xor", "bits.negate", "bits.rsh", "format_int",
	} {
		all[name] = numbers
	}
	for _, name := range []string{
		"lower", "upper", "split", "strings.reverse", "to_number", "crypto.sha256",
		"base64.decode", "base64.encode", "base64url.decode", "base64url.encode_no_pad", "hex.decode", "hex.encode",
	} {
		all[name] = texts
	}
	return all
}

// guardedPrefix is put before the name of a guarded function when a module was
// parsed. No policy can write it: see rewrite.
const guardedPrefix = "assize_guarded."

// functions is everything that a policy can call: what the compiler may know,
// and what the evaluation finds behind the guarded names.
type functions struct {
	capabilities *ast.Capabilities
	guarded      map[string]*topdown.Builtin
	// renamed has the reference that stands for each guarded name.
	renamed map[string]ast.Ref
}

func newFunctions(most int) (*functions, error) {
	f := &functions{
		capabilities: &ast.Capabilities{Features: []string{ast.FeatureRegoV1}, AllowNet: []string{}},
		guarded:      map[string]*topdown.Builtin{}, renamed: map[string]ast.Ref{},
	}
	for _, name := range pure {
		decl := ast.BuiltinMap[name]
		if decl == nil {
			return nil, fmt.Errorf("policy: Rego has no function %s", name)
		}
		f.capabilities.Builtins = append(f.capabilities.Builtins, decl)
	}
	for name, check := range guarded() {
		decl, run := ast.BuiltinMap[name], topdown.GetBuiltin(name)
		if decl == nil || run == nil {
			return nil, fmt.Errorf("policy: Rego has no function %s", name)
		}
		as := *decl
		as.Name, as.Infix, as.CanSkipBctx = guardedPrefix+name, "", false
		f.capabilities.Builtins = append(f.capabilities.Builtins, &as)
		f.guarded[as.Name] = &topdown.Builtin{Decl: &as, Func: under(name, check, run, most)}
		ref, err := ast.ParseRef(as.Name)
		if err != nil {
			return nil, fmt.Errorf("policy: %w", err)
		}
		f.renamed[name] = ref
	}
	f.capabilities.Builtins = append(f.capabilities.Builtins, builtDecl())
	f.guarded[builtName] = built(most)
	return f, nil
}

// under runs a function below its guard and holds the result to the bounds.
func under(name string, check guard, run topdown.BuiltinFunc, most int) topdown.BuiltinFunc {
	return func(bctx topdown.BuiltinContext, operands []*ast.Term, iter func(*ast.Term) error) error {
		if err := check(operands); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return run(bctx, operands, func(t *ast.Term) error {
			switch v := t.Value.(type) {
			case ast.String:
				if len(v) > maxText {
					return fmt.Errorf("%s: %w", name, tooLong(len(v)))
				}
			case ast.Number:
				if err := number(v); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			case *ast.Array, ast.Object: // put together of the operands
				if err := counted(bctx, v, most); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
			return iter(t)
		})
	}
}

// rewrite makes the calls of a parsed module go through the guards.
func (f *functions) rewrite(m *ast.Module) {
	through := func(call []*ast.Term) {
		if len(call) == 0 {
			return
		}
		if ref, ok := f.renamed[call[0].Value.String()]; ok {
			call[0] = ast.NewTerm(ref.Copy()).SetLocation(call[0].Location)
		}
	}
	ast.WalkExprs(m, func(e *ast.Expr) bool {
		if call, ok := e.Terms.([]*ast.Term); ok {
			through(call)
		}
		return false
	})
	ast.WalkTerms(m, func(t *ast.Term) bool {
		if call, ok := t.Value.(ast.Call); ok {
			through(call)
		}
		return false
	})
}

func tooLong(n int) error { return fmt.Errorf("a text of %d bytes or more, at most %d", n, maxText) }

// number refuses numbers that take room: many digits, or an exponent that stands
// for many.
func number(n ast.Number) error {
	if len(n) > maxDigits {
		return fmt.Errorf("a number of %d digits, at most %d", len(n), maxDigits)
	}
	if at := strings.IndexAny(string(n), "eE"); at >= 0 && len(strings.TrimLeft(string(n[at+1:]), "+-0")) > 2 {
		return fmt.Errorf("the number %s is too large or too small", n)
	}
	return nil
}

// numbers holds the numbers among operands, and in arrays and sets of them.
func numbers(operands []*ast.Term) error {
	check := func(t *ast.Term) error {
		if n, ok := t.Value.(ast.Number); ok {
			return number(n)
		}
		return nil
	}
	for _, t := range operands {
		err := check(t)
		switch v := t.Value.(type) {
		case *ast.Array:
			err = v.Iter(check)
		case ast.Set:
			if allNumbers(v) {
				err = v.Iter(check)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// allNumbers: a difference of sets is no arithmetic, and looks at no number.
func allNumbers(s ast.Set) bool {
	return !s.Until(func(t *ast.Term) bool { _, ok := t.Value.(ast.Number); return !ok })
}

func texts(operands []*ast.Term) error {
	for _, t := range operands {
		if s, ok := t.Value.(ast.String); ok && len(s) > maxText {
			return tooLong(len(s))
		}
		if n, ok := t.Value.(ast.Number); ok {
			if err := number(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// anything: what comes out is counted, and the operands were.
func anything([]*ast.Term) error { return nil }

func elements(operands []*ast.Term) error {
	n := 0
	for _, t := range operands {
		if a, ok := t.Value.(*ast.Array); ok {
			n += a.Len()
		}
	}
	if n > maxElements {
		return fmt.Errorf("an array of %d elements, at most %d", n, maxElements)
	}
	return nil
}

// joined bounds concat(delimiter, collection) before it is made.
func joined(operands []*ast.Term) error {
	delimiter, _ := operands[0].Value.(ast.String)
	n := 0
	add := func(t *ast.Term) error {
		if s, ok := t.Value.(ast.String); ok {
			n += len(s) + len(delimiter)
		}
		if n > maxText+len(delimiter) {
			return tooLong(n)
		}
		return nil
	}
	switch v := operands[1].Value.(type) {
	case *ast.Array:
		return v.Iter(add)
	case ast.Set:
		return v.Iter(add)
	}
	return nil
}

// replaced bounds replace(text, old, new) before it is made.
func replaced(operands []*ast.Term) error {
	if err := texts(operands); err != nil {
		return err
	}
	text, _ := operands[0].Value.(ast.String)
	from, _ := operands[1].Value.(ast.String)
	to, _ := operands[2].Value.(ast.String)
	if n := strings.Count(string(text), string(from)); len(text)+n*(len(to)-len(from)) > maxText {
		return tooLong(len(text) + n*(len(to)-len(from)))
	}
	return nil
}

// formatted bounds sprintf(format, values): a width or precision of at most three
// digits that stands in the format, and so many verbs as fit with the longest
// value.
func formatted(operands []*ast.Term) error {
	if err := texts(operands); err != nil {
		return err
	}
	format, _ := operands[0].Value.(ast.String)
	if strings.Contains(string(format), "*") {
		return errors.New("a width that is a value")
	}
	longest := 0
	if values, ok := operands[1].Value.(*ast.Array); ok {
		err := values.Iter(func(t *ast.Term) error {
			n, err := size(t.Value, maxText)
			longest = max(longest, n)
			return err
		})
		if err != nil {
			return err
		}
	}
	width, digits := 0, 0
	for _, c := range format {
		if c < '0' || c > '9' {
			width, digits = max(width, digits), 0
			continue
		}
		if digits = digits*10 + int(c-'0'); digits > 999 {
			return errors.New("a width or precision of more than three digits")
		}
	}
	// A number can have 309 digits by %f, a byte 4 characters by %x or %q.
	if n := len(format) + strings.Count(string(format), "%")*(max(4*longest, 309)+width); n > 64*maxText {
		return tooLong(n)
	}
	return nil
}

// size is the length of a value as text, approximately, as long as it is at most
// limit. Values share their parts, so one that is small in memory can be large.
func size(v ast.Value, limit int) (int, error) {
	n := 0
	var add func(t *ast.Term) error
	add = func(t *ast.Term) error {
		n += 3
		switch v := t.Value.(type) {
		case ast.String:
			n += len(v)
		case ast.Number:
			n += len(v)
		}
		if n > limit {
			return tooLong(n)
		}
		switch v := t.Value.(type) {
		case *ast.Array:
			return v.Iter(add)
		case ast.Set:
			return v.Iter(add)
		case ast.Object:
			return v.Iter(func(key, value *ast.Term) error {
				if err := add(key); err != nil {
					return err
				}
				return add(value)
			})
		}
		return nil
	}
	err := add(ast.NewTerm(v))
	return n, err
}

func pattern(operands []*ast.Term) error {
	if p, ok := operands[0].Value.(ast.String); ok && len(p) > maxPattern {
		return fmt.Errorf("a pattern of %d bytes, at most %d", len(p), maxPattern)
	}
	for _, t := range operands[1:] { // the text, and before it what glob.match takes for a delimiter
		if n, err := size(t.Value, maxSubject); err != nil {
			return fmt.Errorf("a text of %d bytes or more for a pattern, at most %d", n, maxSubject)
		}
	}
	return nil
}
