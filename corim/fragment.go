// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/assize/assize/internal/limits"
)

// Fragment is a part of a CoRIM that other formats contain, as CoSERV does:
// class-map, a type choice with its tag, an identifier, lists of keys and of
// measurements, and triples.
type Fragment interface {
	Class | Typed | ID | []Typed | []Measurement | ValueTriple | KeyTriple | ConditionalTriple
}

// ParseFragment reads one fragment as strictly as Parse reads it in a document:
// one CBOR item and nothing behind it. The error is a *SyntaxError or wraps
// ErrLimit.
func ParseFragment[T Fragment](raw []byte) (T, error) {
	var out T
	if len(raw) > limits.CorimDocument {
		return out, fmt.Errorf("corim: fragment of %d bytes, at most %d: %w", len(raw), limits.CorimDocument, ErrLimit)
	}
	mode, err := decoding()
	if err != nil {
		return out, fmt.Errorf("corim: %w", err)
	}
	own := bytes.Clone(raw) // the caller may reuse its buffer
	c, err := (&cursor{buf: own, mode: mode}).open(0, len(own))
	if err != nil {
		return out, err
	}
	if err := c.fragment(&out); err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// fragment reads into a pointer to a Fragment.
func (c *cursor) fragment(out any) (err error) {
	switch v := out.(type) {
	case *Class:
		*v, err = c.class()
	case *Typed:
		*v, err = c.typed(false)
	case *ID:
		*v, err = c.id()
	case *[]Typed:
		*v, err = c.keys()
	case *[]Measurement:
		*v, err = c.measurements(1)
	case *ValueTriple:
		*v, err = c.valueTriple()
	case *KeyTriple:
		*v, err = c.keyTriple()
	case *ConditionalTriple:
		*v, err = c.conditionalTriple()
	}
	if err == nil && c.pos != c.end {
		return c.errorf("%d bytes behind the fragment", c.end-c.pos)
	}
	return err
}

// EncodeFragment writes one fragment as Encode writes it in a document:
// deterministic CBOR, and something that ParseFragment reads.
func EncodeFragment[T Fragment](v T) ([]byte, error) {
	enc, err := encoding()
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	var item any
	switch v := any(v).(type) {
	case Class:
		if v == (Class{}) {
			return nil, errors.New("corim: empty class")
		}
		m, _ := environmentItem(Environment{Class: v}).(members)
		item = m[0]
	case Typed:
		if !v.Set() {
			return nil, errors.New("corim: value that is not set")
		}
		item = typedItem(v)
	case ID:
		item = idItem(v)
	case []Typed:
		item = each(v, typedItem)
	case []Measurement:
		item = each(v, measurementItem)
	case ValueTriple:
		item = valueTripleItem(v)
	case KeyTriple:
		item = keyTripleItem(v)
	case ConditionalTriple:
		item = []any{each(v.Conditions, valueTripleItem), each(v.Endorsements, valueTripleItem)}
	}
	raw, err := enc.Marshal(item)
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	if _, err := ParseFragment[T](raw); err != nil {
		return nil, fmt.Errorf("corim: what was to be written is no fragment of a CoRIM: %w", err)
	}
	return raw, nil
}

// OID is the value with tag 111 of an object identifier in dotted form.
func OID(dotted string) (Typed, bool) {
	b, ok := encodeOID(dotted)
	if !ok {
		return Typed{}, false
	}
	return TaggedBytes(TagOID, b), true
}

// Within tells whether k has every member that scope has, with the same value;
// what scope does not have does not matter. It is how CoSERV selects classes, and
// not how a reference value is found, for which see Environment.Covers.
func (k Class) Within(scope Class) bool {
	return Environment{Class: k}.within(Environment{Class: scope})
}

// Active is a tag that is in force.
type Active struct {
	Document *Document
	Comid    *Comid
	// Until is the last second in which the tag is in force as far as is known
	// now; zero if there is no end.
	Until time.Time
}

// Active yields the tags that are in force at time t: neither replaced nor of an
// older version, of a document that holds, and in a list where the authority
// has lists.
func (x *Index) Active(t time.Time) iter.Seq[Active] {
	return func(yield func(Active) bool) {
		for _, a := range x.tags {
			if a.live(t) && !yield(Active{a.document, a.comid, a.until(t)}) {
				return
			}
		}
	}
}

// until is when a, live at time t, ends to be so.
func (a *activeTag) until(t time.Time) time.Time {
	var listed Period
	for i, p := range a.lists {
		if p.Contains(t) && (listed.NotAfter.IsZero() || p.NotAfter.After(listed.NotAfter)) {
			listed.NotAfter = a.lists[i].NotAfter
		}
	}
	return a.document.window.and(listed).NotAfter
}

// Selected tells whether t, of a document with the profile, is about the state:
// for each measurement of state there is one in t with the same key and with
// every member that it has, and those members match. A key or member that state
// does not give may be anything.
func (t *ValueTriple) Selected(profile string, state []Measurement) bool {
	for i := range state {
		found := false
		for j := range t.Measurements {
			m := &t.Measurements[j]
			if state[i].Key.Set() && m.Key != state[i].Key {
				continue
			}
			want, all := m.Value.only(&state[i].Value)
			found = all && t.comparison(profile, m).match(&want, &state[i].Value)
			if found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// Contradicts tells whether t, a condition of a document with the profile, cannot
// hold in the state: a measurement of t and one of state have the same key, and
// a member that both have does not match.
func (t *ValueTriple) Contradicts(profile string, state []Measurement) bool {
	for i := range state {
		for j := range t.Measurements {
			m := &t.Measurements[j]
			if m.Key != state[i].Key {
				continue
			}
			want, _ := m.Value.only(&state[i].Value)
			if !t.comparison(profile, m).match(&want, &state[i].Value) {
				return true
			}
		}
	}
	return false
}

func (t *ValueTriple) comparison(profile string, m *Measurement) comparison {
	return comparison{profile: profile, bytewise: m.Value.SVN != nil && m.Value.SVN.Minimum && bytewiseSVN(t.Environment, m.Key)}
}

// only is v without the members that of does not have, and whether v has all
// that of has.
func (v *Values) only(of *Values) (Values, bool) {
	var out Values
	all := true
	keep := func(wanted, have bool, copy func()) {
		switch {
		case wanted && have:
			copy()
		case wanted:
			all = false
		}
	}
	keep(of.Version != nil, v.Version != nil, func() { out.Version = v.Version })
	keep(of.SVN != nil, v.SVN != nil, func() { out.SVN = v.SVN })
	keep(of.Digests != nil, v.Digests != nil, func() { out.Digests = v.Digests })
	keep(of.Flags != nil, v.Flags != nil, func() { out.Flags = v.Flags })
	keep(of.Raw != nil, v.Raw != nil, func() { out.Raw = v.Raw })
	keep(of.Identity != nil, v.Identity != nil, func() { out.Identity = v.Identity })
	keep(of.Name != nil, v.Name != nil, func() { out.Name = v.Name })
	keep(of.Keys != nil, v.Keys != nil, func() { out.Keys = v.Keys })
	keep(of.Registers != nil, v.Registers != nil, func() { out.Registers = v.Registers })
	keep(of.Range != nil, v.Range != nil, func() { out.Range = v.Range })
	keep(of.Extensions != nil, v.Extensions != nil, func() { out.Extensions = v.Extensions })
	return out, all
}
