// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// Numbers of CBOR tags that values of a CoRIM may have (draft-ietf-rats-corim,
// sections on type choices; RFC 8949, RFC 9090, RFC 9562).
const (
	TagURI                = 32
	TagUUID               = 37
	TagOID                = 111
	TagUEID               = 550
	TagInt                = 551
	TagSVN                = 552
	TagMinSVN             = 553
	TagPKIXKey            = 554
	TagPKIXCert           = 555
	TagPKIXCertPath       = 556
	TagThumbprint         = 557
	TagCOSEKey            = 558
	TagCertThumbprint     = 559
	TagBytes              = 560
	TagCertPathThumbprint = 561
	TagDERCert            = 562
	TagMaskedRawValue     = 563
	TagIntRange           = 564
)

// Form says what the content of a Typed is.
type Form byte

// The forms of a Typed.
const (
	// Absent is the form of the zero Typed: there is no value.
	Absent Form = iota
	// Bytes is a byte string.
	Bytes
	// Text is a text string.
	Text
	// Item is one CBOR item of another type, encoded deterministically
	// (RFC 8949, section 4.2.1).
	Item
)

// Typed is a tagged CBOR value of a type choice: a class id, an instance, a
// group, a key. Two of them are the same value if they are equal by ==, because
// Data is in one form only. The zero Typed is "none".
type Typed struct {
	// Tag is the CBOR tag, one of the Tag constants or one of a profile.
	Tag uint64
	// Form says how to read Data.
	Form Form
	// Data is the content: the bytes, the text, or the encoded item.
	Data string
}

// Set tells whether there is a value.
func (t Typed) Set() bool { return t.Form != Absent }

// TaggedBytes is a byte string under a tag, as TagBytes, TagOID (without tag
// and length, RFC 9090), TagUUID or TagUEID.
func TaggedBytes(tag uint64, b []byte) Typed {
	return Typed{Tag: tag, Form: Bytes, Data: string(b)}
}

// TaggedText is a text under a tag, as TagPKIXKey.
func TaggedText(tag uint64, s string) Typed { return Typed{Tag: tag, Form: Text, Data: s} }

// String shows the value for people: tag, then text or hexadecimal digits.
func (t Typed) String() string {
	switch {
	case !t.Set():
		return "none"
	case t.Form == Text:
		return fmt.Sprintf("%d(%q)", t.Tag, short(t.Data, 40))
	case t.Tag == TagOID:
		return dotted(t.Data)
	}
	return fmt.Sprintf("%d(%s)", t.Tag, short(hex.EncodeToString([]byte(t.Data)), 64))
}

func short(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

// dotted is the usual form of an OID from its encoded arcs, or hexadecimal
// digits if they are none.
func dotted(b string) string {
	var arcs []uint64
	var n uint64
	for i := range len(b) {
		if n > 1<<56 {
			return hex.EncodeToString([]byte(b))
		}
		n = n<<7 | uint64(b[i]&0x7f)
		if b[i]&0x80 == 0 {
			arcs, n = append(arcs, n), 0
		}
	}
	if len(arcs) == 0 || b[len(b)-1]&0x80 != 0 {
		return hex.EncodeToString([]byte(b))
	}
	first := min(arcs[0]/40, 2)
	var out strings.Builder
	fmt.Fprintf(&out, "%d.%d", first, arcs[0]-40*first)
	for _, a := range arcs[1:] {
		fmt.Fprintf(&out, ".%d", a)
	}
	return out.String()
}

// Number is an optional unsigned number.
type Number struct {
	Set   bool
	Value uint64
}

// Num is a Number that is there.
func Num(n uint64) Number { return Number{Set: true, Value: n} }

// Class is what all devices or parts of one kind have in common (class-map).
// The zero Class is "none".
type Class struct {
	// ID is an OID, a UUID, or bytes.
	ID Typed
	// Vendor and Model are "" if absent; Model is never alone.
	Vendor, Model string
	// Layer is the position in a sequence of boot stages, Index tells clones of
	// one class apart.
	Layer, Index Number
}

// Environment says what was measured (environment-map): at least one of its
// members is set. It can be a key of a map.
type Environment struct {
	Class Class
	// Instance identifies one device, Group a set of them.
	Instance, Group Typed
}

// Covers tells whether every member that e has is the same in seen: class,
// instance and group are each compared as a whole, and a member that e does not
// have does not matter (draft-ietf-rats-corim, "Environment Comparison").
func (e Environment) Covers(seen Environment) bool {
	return (e.Class == (Class{}) || e.Class == seen.Class) &&
		(!e.Instance.Set() || e.Instance == seen.Instance) &&
		(!e.Group.Set() || e.Group == seen.Group) && e != (Environment{})
}

// within tells whether e has everything that scope has, also inside the class.
// It is how the scope of an authority is compared, which is a prefix of names
// and not an environment.
func (e Environment) within(scope Environment) bool {
	s, c := scope.Class, e.Class
	return (!s.ID.Set() || s.ID == c.ID) && (s.Vendor == "" || s.Vendor == c.Vendor) && (s.Model == "" || s.Model == c.Model) &&
		(!s.Layer.Set || s.Layer == c.Layer) && (!s.Index.Set || s.Index == c.Index) &&
		(!scope.Instance.Set() || scope.Instance == e.Instance) && (!scope.Group.Set() || scope.Group == e.Group)
}

// variants lists the environments that cover e: every choice of its members.
func (e Environment) variants(buf []Environment) []Environment {
	out := buf[:0]
	for mask := 1; mask < 8; mask++ {
		var v Environment
		if mask&1 != 0 {
			if e.Class == (Class{}) {
				continue
			}
			v.Class = e.Class
		}
		if mask&2 != 0 {
			if !e.Instance.Set() {
				continue
			}
			v.Instance = e.Instance
		}
		if mask&4 != 0 {
			if !e.Group.Set() {
				continue
			}
			v.Group = e.Group
		}
		out = append(out, v)
	}
	return out
}

// String names the environment in one line, for reports and errors.
func (e Environment) String() string {
	var part []string
	add := func(name, value string) { part = append(part, name+" "+value) }
	if e.Class.ID.Set() {
		add("class", e.Class.ID.String())
	}
	if e.Class.Vendor != "" {
		add("vendor", fmt.Sprintf("%q", short(e.Class.Vendor, 80)))
	}
	if e.Class.Model != "" {
		add("model", fmt.Sprintf("%q", short(e.Class.Model, 80)))
	}
	if e.Class.Layer.Set {
		add("layer", fmt.Sprint(e.Class.Layer.Value))
	}
	if e.Class.Index.Set {
		add("index", fmt.Sprint(e.Class.Index.Value))
	}
	if e.Instance.Set() {
		add("instance", e.Instance.String())
	}
	if e.Group.Set() {
		add("group", e.Group.String())
	}
	if len(part) == 0 {
		return "empty environment"
	}
	return strings.Join(part, ", ")
}
