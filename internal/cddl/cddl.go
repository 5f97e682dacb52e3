// SPDX-License-Identifier: Apache-2.0

// Package cddl checks CBOR against the grammars in schemas/, so that tests can
// hold them against the decoders that they describe. It reads the part of CDDL
// (RFC 8610) that these grammars use: rules, choices of types, maps and arrays
// with occurrences, literals, ranges, tags, and the controls .size, .cbor and
// .and. Group choices, generics and sockets are errors.
//
// Begin with Parse. It is for tests: what it accepts is no reason to trust input.
package cddl

import (
	"fmt"
	"math"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Grammar is a parsed grammar.
type Grammar struct {
	rules map[string]*rule
	first string
}

// rule is a type, or a choice of values.
type rule struct {
	choices []typ
}

// typ is one type: exactly one of the members is set.
type typ struct {
	name     string
	literal  any // uint64, int64 or string
	isRange  bool
	from, to int64
	tag      *uint64
	inner    *rule
	isMap    bool
	isArray  bool
	entries  []entry
	control  string
	operand  *rule
}

// entry is a member of a map or an element of an array.
type entry struct {
	least, most int
	key         *rule // nil in arrays
	cut         bool
	value       *rule
}

// Check decodes one data item and matches it with a rule of the grammar, the
// first one if name is empty. The error says what does not match.
func (g *Grammar) Check(name string, raw []byte) error {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, IntDec: cbor.IntDecConvertNone,
		MaxMapPairs: 1 << 16, MaxArrayElements: 1 << 16,
	}.DecMode()
	if err != nil {
		return err
	}
	var v any
	if err := mode.Unmarshal(raw, &v); err != nil {
		return err
	}
	if name == "" {
		name = g.first
	}
	r, ok := g.rules[name]
	if !ok {
		return fmt.Errorf("cddl: no rule %q", name)
	}
	m := matcher{g: g, mode: mode}
	if !m.rule(r, v, 0) {
		return fmt.Errorf("cddl: not a %s", name)
	}
	return nil
}

// Has tells whether the grammar defines a rule.
func (g *Grammar) Has(name string) bool { return g.rules[name] != nil }

const maxDepth = 64

type matcher struct {
	g    *Grammar
	mode cbor.DecMode
}

func (m *matcher) rule(r *rule, v any, depth int) bool {
	return depth < maxDepth && slices.ContainsFunc(r.choices, func(t typ) bool {
		return m.typ(&t, v, depth+1) && m.control(&t, v, depth+1)
	})
}

func (m *matcher) typ(t *typ, v any, depth int) bool {
	switch {
	case t.isMap:
		have, ok := v.(map[any]any)
		return ok && m.pairs(t, have, depth)
	case t.isArray:
		have, ok := v.([]any)
		return ok && m.elements(t.entries, have, depth)
	case t.tag != nil:
		have, ok := v.(cbor.Tag)
		return ok && have.Number == *t.tag && m.rule(t.inner, have.Content, depth)
	case t.inner != nil:
		return m.rule(t.inner, v, depth)
	case t.isRange:
		n, ok := integer(v)
		return ok && n >= t.from && n <= t.to
	case t.literal != nil:
		if n, ok := integer(t.literal); ok {
			have, ok := integer(v)
			return ok && have == n
		}
		return v == t.literal
	}
	return m.named(t.name, v, depth)
}

func (m *matcher) named(name string, v any, depth int) (ok bool) {
	if r := m.g.rules[name]; r != nil {
		return m.rule(r, v, depth)
	}
	switch name {
	case "any":
		return true
	case "uint":
		_, ok = v.(uint64)
	case "int":
		_, ok = integer(v)
	case "bytes", "bstr":
		_, ok = v.([]byte)
	case "text", "tstr":
		_, ok = v.(string)
	}
	return ok
}

// integer is an integer that fits 64 bits and sign; a larger one is the greatest.
func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case uint64:
		return int64(min(n, math.MaxInt64)), true
	case int64:
		return n, true
	}
	return 0, false
}

func (m *matcher) control(t *typ, v any, depth int) bool {
	switch t.control {
	case "":
		return true
	case "size":
		var n int
		switch s := v.(type) {
		case []byte:
			n = len(s)
		case string:
			n = len(s)
		default:
			return false
		}
		return m.rule(t.operand, uint64(n), depth)
	case "cbor":
		raw, _ := v.([]byte)
		var inner any
		return m.mode.Unmarshal(raw, &inner) == nil && m.rule(t.operand, inner, depth)
	}
	return m.rule(t.operand, v, depth) // .and
}

// pairs matches a map. A pair belongs to the first entry whose key fits; where
// the entry cuts, and with a key written as "key:" it does, no later one may
// excuse a wrong value.
func (m *matcher) pairs(t *typ, have map[any]any, depth int) bool {
	count := make([]int, len(t.entries))
	for k, v := range have {
		i := slices.IndexFunc(t.entries, func(e entry) bool {
			return m.rule(e.key, k, depth) && (e.cut || m.rule(e.value, v, depth))
		})
		if i < 0 || !m.rule(t.entries[i].value, v, depth) {
			return false
		}
		count[i]++
	}
	for i, e := range t.entries {
		if count[i] < e.least || count[i] > e.most {
			return false
		}
	}
	return true
}

// elements matches an array greedily, which is enough where neighbours differ.
func (m *matcher) elements(entries []entry, have []any, depth int) bool {
	for _, e := range entries {
		n := 0
		for n < e.most && len(have) > 0 && m.rule(e.value, have[0], depth) {
			have, n = have[1:], n+1
		}
		if n < e.least {
			return false
		}
	}
	return len(have) == 0
}
