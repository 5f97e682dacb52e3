// SPDX-License-Identifier: Apache-2.0

package cddl

import (
	"fmt"
	"maps"
)

// Mutant is a document that one change made of another.
type Mutant struct {
	// Path is where the map stands in which Key was changed.
	Path []any
	Key  any
	// What says in words what was changed.
	What string
	Doc  map[any]any
}

// Mutate makes every document that one change makes of a good one, in all of its
// maps: each value replaced by each of values, each member left out, each of extra
// added as a key. Maps below other maps are copied, what stands in arrays is not
// changed.
func Mutate(good map[any]any, values, extra []any, visit func(Mutant)) {
	mutate(good, good, nil, values, extra, visit)
}

func mutate(good, in map[any]any, path, values, extra []any, visit func(Mutant)) {
	change := func(key any, what string, edit func(map[any]any)) {
		doc := Clone(good)
		edit(Below(doc, path...))
		visit(Mutant{Path: path, Key: key, What: fmt.Sprintf("%v %v %s", path, key, what), Doc: doc})
	}
	for k, v := range in {
		for i, now := range values {
			change(k, fmt.Sprintf("is value %d", i), func(m map[any]any) { m[k] = now })
		}
		change(k, "is left out", func(m map[any]any) { delete(m, k) })
		if inner, ok := v.(map[any]any); ok {
			mutate(good, inner, append(append([]any{}, path...), k), values, extra, visit)
		}
	}
	for _, k := range extra {
		change(k, "is added", func(m map[any]any) { m[k] = 1 })
	}
}

// Below is the map at a path of keys.
func Below(doc map[any]any, path ...any) map[any]any {
	for _, k := range path {
		doc, _ = doc[k].(map[any]any)
	}
	return doc
}

// Clone copies a map with the maps in it.
func Clone(doc map[any]any) map[any]any {
	out := maps.Clone(doc)
	for k, v := range out {
		if inner, ok := v.(map[any]any); ok {
			out[k] = Clone(inner)
		}
	}
	return out
}
