// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// comparison is what may change how values compare.
type comparison struct {
	// profile is that of the document that expects.
	profile string
	// bytewise tells that a security version number is several in one integer.
	bytewise bool
}

// match tells whether seen is as want says, by the rules of the section
// "Comparing a condition ECT against a single ACS entry": every member of want
// has to be in seen and match there.
func (c comparison) match(want, seen *Values) bool {
	return (want.Digests == nil || digestsMatch(want.Digests, seen.Digests)) &&
		(want.SVN == nil || c.svnMatch(want.SVN, seen.SVN)) &&
		(want.Raw == nil || rawMatch(want.Raw, seen.Raw)) &&
		(want.Name == nil || seen.Name != nil && *want.Name == *seen.Name) &&
		(want.Version == nil || seen.Version != nil && *want.Version == *seen.Version) &&
		(want.Flags == nil || flagsMatch(want.Flags, seen.Flags)) &&
		(want.Keys == nil || keysMatch(want.Keys, seen.Keys)) &&
		(want.Registers == nil || registersMatch(want.Registers, seen.Registers)) &&
		(want.Identity == nil || seen.Identity != nil && want.Identity.match(seen.Identity)) &&
		(want.Range == nil || want.Range.match(seen.Range)) &&
		(want.Extensions == nil || c.extensionsMatch(want.Extensions, seen.Extensions))
}

// difference says in words which member of want does not match, for a report.
func (c comparison) difference(want, seen *Values) string {
	one := func(pick func(*Values) Values) bool { w := pick(want); return !c.match(&w, seen) }
	for _, m := range []struct {
		name string
		pick func(*Values) Values
	}{
		{"digests", func(v *Values) Values { return Values{Digests: v.Digests} }},
		{"security version number", func(v *Values) Values { return Values{SVN: v.SVN} }},
		{"raw value", func(v *Values) Values { return Values{Raw: v.Raw} }},
		{"name", func(v *Values) Values { return Values{Name: v.Name} }},
		{"version", func(v *Values) Values { return Values{Version: v.Version} }},
		{"flags", func(v *Values) Values { return Values{Flags: v.Flags} }},
		{"keys", func(v *Values) Values { return Values{Keys: v.Keys} }},
		{"integrity registers", func(v *Values) Values { return Values{Registers: v.Registers} }},
		{"identity", func(v *Values) Values { return Values{Identity: v.Identity} }},
		{"range", func(v *Values) Values { return Values{Range: v.Range} }},
		{"members of the profile", func(v *Values) Values { return Values{Extensions: v.Extensions} }},
	} {
		if one(m.pick) {
			return m.name
		}
	}
	return ""
}

// digestsMatch holds if there is an algorithm in common, and under every common
// one the values are equal, so that a weak algorithm cannot stand for a strong
// one that differs.
func digestsMatch(want, seen []Digest) bool {
	common := false
	for i := range want {
		for j := range seen {
			if want[i].Alg != seen[j].Alg {
				continue
			}
			if !bytes.Equal(want[i].Value, seen[j].Value) {
				return false
			}
			common = true
		}
	}
	return common
}

// svnMatch compares a security version number: at least the minimum, or equal.
// What is only known to be a minimum matches nothing but that minimum. The text
// of the draft has the inequality the other way round in one sentence; its
// definition of min-svn is what counts.
func (c comparison) svnMatch(want, seen *SVN) bool {
	switch {
	case seen == nil:
		return false
	case seen.Minimum || !want.Minimum:
		return *want == *seen
	case !c.bytewise:
		return seen.Value >= want.Value
	}
	for shift := 0; shift < 64; shift += 8 {
		if byte(seen.Value>>shift) < byte(want.Value>>shift) {
			return false
		}
	}
	return true
}

// bytewiseSVN tells whether the security version number of an element is a TCB
// version of AMD: eight numbers in one integer, each of which may not fall.
func bytewiseSVN(e Environment, k Key) bool {
	id := e.Class.ID
	if id.Tag != TagOID || id.Data != oidSNPByChip && id.Data != oidSNPByCSP {
		return false
	}
	switch n, _ := k.Number(); n {
	case 6, 647, 3329, 3968:
		return true
	}
	return false
}

// OIDs of AMD's profile: 1.3.6.1.4.1.3704.3.1 and .2, without tag and length.
const (
	oidSNPByChip = "\x2b\x06\x01\x04\x01\x9c\x78\x03\x01"
	oidSNPByCSP  = "\x2b\x06\x01\x04\x01\x9c\x78\x03\x02"
)

func rawMatch(want, seen *RawValue) bool {
	if seen == nil || seen.Mask != nil || len(want.Value) != len(seen.Value) {
		return false
	}
	if want.Mask == nil {
		return bytes.Equal(want.Value, seen.Value)
	}
	if len(want.Mask) != len(want.Value) {
		return false
	}
	for i, m := range want.Mask {
		if (want.Value[i]^seen.Value[i])&m != 0 {
			return false
		}
	}
	return true
}

func flagsMatch(want, seen *Flags) bool {
	return seen != nil && want.Extensions == nil && want.Known&^seen.Known == 0 && (want.Value^seen.Value)&want.Known == 0
}

func keysMatch(want, seen []Typed) bool {
	if len(want) > len(seen) {
		return false
	}
	for i, k := range want {
		if k.comparableKey() != seen[i].comparableKey() {
			return false
		}
	}
	return true
}

func registersMatch(want, seen []Register) bool {
	for _, w := range want {
		i := slices.IndexFunc(seen, func(r Register) bool { return r.ID == w.ID })
		if i < 0 || !digestsMatch(w.Digests, seen[i].Digests) {
			return false
		}
	}
	return true
}

func (i *Identity) match(seen *Identity) bool {
	same := func(want, seen []byte) bool { return want == nil || bytes.Equal(want, seen) }
	return same(i.MAC, seen.MAC) && same(i.IP, seen.IP) && same(i.UEID, seen.UEID) && same(i.UUID, seen.UUID) &&
		(i.Serial == "" || i.Serial == seen.Serial)
}

// match holds if seen is within r: evidence shows one number, as a range whose
// ends are equal.
func (r *Range) match(seen *Range) bool {
	if seen == nil || seen.Min == nil || seen.Max == nil {
		return seen != nil && r.Min == nil && r.Max == nil
	}
	return (r.Min == nil || *seen.Min >= *r.Min) && (r.Max == nil || *seen.Max <= *r.Max)
}

// IntValue is one number as a Range, for evidence.
func IntValue(n int64) *Range { return &Range{Min: &n, Max: &n, single: true} }

// extensionsMatch compares members that a profile defines. Only Intel's are
// known; of any other nobody could tell whether it matches, so it does not.
func (c comparison) extensionsMatch(want, seen []Extension) bool {
	for _, w := range want {
		i := slices.IndexFunc(seen, func(e Extension) bool { return e.Key == w.Key })
		if i < 0 || c.profile != ProfileIntel || w.Key >= 0 || !intelMatch(w.Raw, seen[i].Raw) {
			return false
		}
	}
	return true
}

// Tags of the expressions of Intel's profile, and their operators.
const (
	tagNumeric   = 60010
	tagDigestSet = 60020
	tagTextSet   = 60021

	opEqual          = 0
	opGreater        = 1
	opGreaterOrEqual = 2
	opLess           = 3
	opLessOrEqual    = 4
	opMember         = 6
	opNotMember      = 7
)

// intelMatch compares a member of Intel's profile: an expression, an array of
// them, or a value that has to be the same in deterministic encoding.
func intelMatch(want, seen []byte) bool {
	mode, err := decoding()
	if err != nil {
		return false
	}
	var w, s any
	if mode.Unmarshal(want, &w) != nil || mode.Unmarshal(seen, &s) != nil {
		return false
	}
	if list, ok := w.([]any); ok && len(list) > 0 {
		values, ok := s.([]any)
		if !ok || len(values) != len(list) {
			return false
		}
		for i := range list {
			if !operand(list[i], values[i]) {
				return false
			}
		}
		return true
	}
	return operand(w, s)
}

// operand compares one value with an expression or another value.
func operand(want, seen any) bool {
	tag, ok := want.(cbor.Tag)
	if !ok || tag.Number != tagNumeric && tag.Number != tagDigestSet && tag.Number != tagTextSet {
		return sameItem(want, seen)
	}
	expression, ok := tag.Content.([]any)
	if !ok || len(expression) != 2 {
		return false
	}
	op, ok := expression[0].(uint64)
	if !ok {
		return false
	}
	if tag.Number == tagNumeric {
		return numeric(op, expression[1], seen)
	}
	set, ok := expression[1].([]any)
	if !ok || op != opMember && op != opNotMember {
		return false
	}
	values := []any{seen}
	if list, ok := seen.([]any); ok && (tag.Number == tagTextSet || len(list) > 0 && isList(list[0])) {
		values = list
	}
	if len(values) == 0 {
		return op == opNotMember
	}
	for _, v := range values {
		in := slices.ContainsFunc(set, func(e any) bool { return sameItem(e, v) })
		if in != (op == opMember) {
			return false
		}
	}
	return true
}

func isList(v any) bool { _, ok := v.([]any); return ok }

func numeric(op uint64, want, seen any) bool {
	w, ok := want.(uint64)
	s, also := seen.(uint64)
	if !ok || !also {
		return false
	}
	switch op {
	case opEqual:
		return s == w
	case opGreater:
		return s > w
	case opGreaterOrEqual:
		return s >= w
	case opLess:
		return s < w
	case opLessOrEqual:
		return s <= w
	}
	return false
}

func sameItem(a, b any) bool {
	enc, err := encoding()
	if err != nil {
		return false
	}
	x, err1 := enc.Marshal(a)
	y, err2 := enc.Marshal(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// authorized tells whether every key of want is among have, which holds keys in
// their one form.
func authorized(want, have []Typed) bool {
	for _, k := range want {
		if !slices.Contains(have, k.comparableKey()) {
			return false
		}
	}
	return true
}
