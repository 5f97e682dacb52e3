// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

// Key names the measured element within an environment (mkey). The zero Key is
// "anonymous". It can be a key of a map.
type Key struct {
	kind keyKind
	num  uint64 // the number, or the tag of a value
	data string
}

type keyKind byte

const (
	keyNone keyKind = iota
	keyNumber
	keyText
	keyTyped // and the Form of the value
)

// NumberKey is the measurement key that is an unsigned number.
func NumberKey(n uint64) Key { return Key{kind: keyNumber, num: n} }

// TextKey is the measurement key that is a text.
func TextKey(s string) Key { return Key{kind: keyText, data: s} }

// TypedKey is the measurement key that is a tagged value: an OID or a UUID.
func TypedKey(t Typed) Key { return Key{kind: keyTyped + keyKind(t.Form), num: t.Tag, data: t.Data} }

func (k Key) typed() Typed { return Typed{Tag: k.num, Form: Form(k.kind - keyTyped), Data: k.data} }

// Set tells whether there is a key.
func (k Key) Set() bool { return k.kind != keyNone }

// Number returns the key if it is a number.
func (k Key) Number() (uint64, bool) { return k.num, k.kind == keyNumber }

// Text returns the key if it is a text.
func (k Key) Text() (string, bool) { return k.data, k.kind == keyText }

// String shows the key for people, "anonymous" for none.
func (k Key) String() string {
	switch k.kind {
	case keyNone:
		return "anonymous"
	case keyNumber:
		return strconv.FormatUint(k.num, 10)
	case keyText:
		return fmt.Sprintf("%q", short(k.data, 80))
	}
	return k.typed().String()
}

// Measurement is one measurement-map: an element, its values, and who has to
// have said so. The same type holds what a document expects and what evidence
// shows.
type Measurement struct {
	Key   Key
	Value Values
	// AuthorizedBy are keys that must all have vouched for the evidence, in a
	// document. In evidence it is not used: see Query.Authority.
	AuthorizedBy []Typed
}

// Values is a measurement-values-map. At least one member is set.
type Values struct {
	Version *Version
	SVN     *SVN
	// Digests are of one object by several algorithms.
	Digests []Digest
	Flags   *Flags
	Raw     *RawValue
	// Identity holds addresses, serial number, UEID and UUID.
	Identity *Identity
	// Name is a name of the element (11), nil if absent.
	Name *string
	Keys []Typed
	// Registers are integrity registers (14).
	Registers []Register
	Range     *Range
	// Extensions are members that the draft does not define.
	Extensions []Extension
}

// Version is a version and, optionally, how it is written.
type Version struct {
	Text string
	// Scheme is a number of the CoSWID registry (RFC 9393), or SchemeText a name
	// of a private one; both zero if absent.
	Scheme     int64
	SchemeText string
}

// SVN is a security version number, exact or the lowest that will do.
type SVN struct {
	Value   uint64
	Minimum bool
}

// Flags are the operational modes of flags-map by number, up to 63: a bit in
// Known says that the document speaks of the flag, the same bit in Value what
// it says.
type Flags struct {
	Known, Value uint64
	Extensions   []Extension
}

// Numbers of flags.
const (
	FlagConfigured = iota
	FlagSecure
	FlagRecovery
	FlagDebug
	FlagReplayProtected
	FlagIntegrityProtected
	FlagRuntimeMeasured
	FlagImmutable
	FlagTCB
	FlagConfidentialityProtected
)

// Get returns a flag and whether anything is said about it.
func (f *Flags) Get(flag uint) (value, known bool) {
	if f == nil || flag > 63 {
		return false, false
	}
	return f.Value>>flag&1 != 0, f.Known>>flag&1 != 0
}

// RawValue is a value that is not hashed.
type RawValue struct {
	// Tag is TagBytes, or another tag of a profile; it is not compared.
	Tag   uint64
	Value []byte
	// Mask has a 1 for each bit that matters, nil for all; the length of Value.
	Mask []byte
	// deprecated mask (5) instead of tag 563; kept for encoding alike.
	split bool
}

// Identity are values that name one device; nil or "" if absent.
type Identity struct {
	MAC, IP []byte // 6 or 8, and 4 or 16 bytes
	Serial  string
	UEID    []byte
	UUID    []byte // 16 bytes
}

// Register is one integrity register.
type Register struct {
	// ID is a number or a text: NumberKey or TextKey.
	ID      Key
	Digests []Digest
}

// Range is a range of integers with its ends; nil is open.
type Range struct {
	Min, Max *int64
	// single value without tag 564.
	single bool
}

// Digest is one hash value.
type Digest struct {
	Alg   Algorithm
	Value []byte
}

// String is algorithm, colon, hexadecimal digits.
func (d Digest) String() string { return short(string(d.Alg), 40) + ":" + hex.EncodeToString(d.Value) }

// Algorithm is a hash algorithm by its name in the Named Information registry
// (RFC 6920), as "sha-384". However a document spells it – number of that
// registry, name, or number of COSE (RFC 9054) – there is one Algorithm for it
// (decision D-63). One that is not known is its text, or "#" and its number.
type Algorithm string

// The algorithms that devices use.
const (
	SHA256 Algorithm = "sha-256"
	SHA384 Algorithm = "sha-384"
	SHA512 Algorithm = "sha-512"
)

type algorithmInfo struct {
	name Algorithm
	size int
}

// named is the Named Information registry by number.
var named = [...]algorithmInfo{
	1: {SHA256, 32}, 2: {"sha-256-128", 16}, 3: {"sha-256-120", 15}, 4: {"sha-256-96", 12}, 5: {"sha-256-64", 8}, 6: {"sha-256-32", 4},
	7: {SHA384, 48}, 8: {SHA512, 64}, 9: {"sha3-224", 28}, 10: {"sha3-256", 32}, 11: {"sha3-384", 48}, 12: {"sha3-512", 64},
}

// NumberedAlgorithm is the algorithm with a number of the Named Information
// registry, or, if negative, of COSE.
func NumberedAlgorithm(n int64) Algorithm {
	switch n {
	case -15:
		return "sha-256-64"
	case -16:
		return SHA256
	case -43:
		return SHA384
	case -44:
		return SHA512
	}
	if n > 0 && n < int64(len(named)) {
		return named[n].name
	}
	return Algorithm("#" + strconv.FormatInt(n, 10))
}

// NamedAlgorithm is the algorithm of that name; spellings without the hyphen and
// in capitals ("sha384", "SHA-384") are understood.
func NamedAlgorithm(name string) Algorithm {
	low := strings.ToLower(name)
	switch low {
	case "sha256", "sha384", "sha512":
		low = "sha-" + low[3:]
	}
	if a := Algorithm(low); a.Number() != 0 {
		return a
	}
	return Algorithm(name)
}

// Number is the number in the Named Information registry, or 0.
func (a Algorithm) Number() uint64 {
	for n, info := range named {
		if n > 0 && info.name == a {
			return uint64(n)
		}
	}
	return 0
}

// Size is the length of a value in bytes, or 0 if it is not known.
func (a Algorithm) Size() int { return named[a.Number()].size }

// String shows the values in one line, for reports.
func (v *Values) String() string {
	var part []string
	add := func(format string, a ...any) { part = append(part, fmt.Sprintf(format, a...)) }
	if v.Version != nil {
		add("version %q", short(v.Version.Text, 80))
	}
	if v.SVN != nil {
		if v.SVN.Minimum {
			add("svn at least %d", v.SVN.Value)
		} else {
			add("svn %d", v.SVN.Value)
		}
	}
	for _, d := range v.Digests {
		add("%s", d)
	}
	if v.Flags != nil {
		add("flags %#x of %#x", v.Flags.Value, v.Flags.Known)
	}
	if v.Raw != nil {
		if v.Raw.Mask != nil {
			add("raw %s under mask %s", short(hex.EncodeToString(v.Raw.Value), 128), short(hex.EncodeToString(v.Raw.Mask), 128))
		} else {
			add("raw %s", short(hex.EncodeToString(v.Raw.Value), 128))
		}
	}
	if v.Identity != nil {
		add("identity %s", v.Identity)
	}
	if v.Name != nil {
		add("name %q", short(*v.Name, 80))
	}
	for _, k := range v.Keys {
		add("key %s", k)
	}
	for _, r := range v.Registers {
		for _, d := range r.Digests {
			add("register %s %s", r.ID, d)
		}
	}
	if v.Range != nil {
		add("range %s", v.Range)
	}
	for _, e := range v.Extensions {
		add("member %d", e.Key)
	}
	return strings.Join(part, ", ")
}

// String shows the members that are set.
func (i *Identity) String() string {
	var part []string
	for _, p := range []struct {
		name string
		b    []byte
	}{{"mac", i.MAC}, {"ip", i.IP}, {"ueid", i.UEID}, {"uuid", i.UUID}} {
		if p.b != nil {
			part = append(part, p.name+" "+hex.EncodeToString(p.b))
		}
	}
	if i.Serial != "" {
		part = append(part, fmt.Sprintf("serial %q", short(i.Serial, 80)))
	}
	return strings.Join(part, " ")
}

// String is "[min, max]", with "…" for an open end.
func (r *Range) String() string {
	show := func(n *int64) string {
		if n == nil {
			return "…"
		}
		return strconv.FormatInt(*n, 10)
	}
	return "[" + show(r.Min) + ", " + show(r.Max) + "]"
}
