// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Bounds of one token.
const (
	// MaxToken is the largest token, both halves of a CCA token included, in bytes.
	MaxToken = 32 << 10
	// maxPairs is the number of claims of a token and of members of a map in it.
	maxPairs = 48
	// maxComponents is the number of software components.
	maxComponents = 128
	// maxText is the longest text in bytes.
	maxText = 512
	// maxDepth is how deep CBOR items nest.
	maxDepth = 8
)

// Decoder reads CBOR strictly. It is immutable and safe for concurrent use.
type Decoder struct{ mode cbor.DecMode }

// NewDecoder makes a Decoder. The error is one of the CBOR library about the
// options, which are constant.
func NewDecoder() (*Decoder, error) {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden,
		MaxNestedLevels: maxDepth, MaxArrayElements: maxComponents, MaxMapPairs: maxPairs,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("armtoken: %w", err)
	}
	return &Decoder{mode}, nil
}

// Item decodes one CBOR item and nothing behind it.
func (d *Decoder) Item(raw []byte, to any) error { return d.mode.Unmarshal(raw, to) }

// Map decodes one map with integer keys, without duplicates.
func (d *Decoder) Map(raw []byte) (map[int64]cbor.RawMessage, error) {
	var m map[int64]cbor.RawMessage
	if len(raw) == 0 || raw[0]>>5 != 5 {
		return nil, fmt.Errorf("no CBOR map")
	}
	err := d.mode.Unmarshal(raw, &m)
	return m, err
}

// Tagged decodes one item under the given tag and returns what stands under it.
func (d *Decoder) Tagged(raw []byte, tag uint64) ([]byte, error) {
	var t cbor.RawTag
	if len(raw) == 0 || raw[0]>>5 != 6 {
		return nil, fmt.Errorf("no CBOR tag %d", tag)
	}
	if err := d.mode.Unmarshal(raw, &t); err != nil {
		return nil, err
	}
	if t.Number != tag {
		return nil, fmt.Errorf("CBOR tag %d, expected %d", t.Number, tag)
	}
	return t.Content, nil
}

// Claims reads the claims of one token. The first error sticks; nothing that was
// read counts before Err was asked.
type Claims struct {
	d    *Decoder
	all  map[int64]cbor.RawMessage
	read map[int64]bool
	err  error
}

// Claims begins to read a claims set.
func (d *Decoder) Claims(payload []byte) *Claims {
	c := &Claims{d: d, read: map[int64]bool{}}
	c.all, c.err = d.Map(payload)
	return c
}

// Err is the first error.
func (c *Claims) Err() error { return c.err }

// Fail makes the error if there is none.
func (c *Claims) Fail(format string, args ...any) {
	if c.err == nil {
		c.err = fmt.Errorf(format, args...)
	}
}

// Has tells whether a claim is there.
func (c *Claims) Has(key int64) bool { return c.all[key] != nil }

// Unread are the keys of claims that nobody has asked for, ascending.
func (c *Claims) Unread() []int64 {
	var out []int64
	for _, k := range slices.Sorted(maps.Keys(c.all)) {
		if !c.read[k] {
			out = append(out, k)
		}
	}
	return out
}

// take decodes one claim of the CBOR major type; false if it is not there.
func (c *Claims) take(key int64, name string, major byte, need bool, to any) bool {
	if c.err != nil {
		return false
	}
	c.read[key] = true
	raw := c.all[key]
	switch {
	case raw == nil && need:
		c.err = fmt.Errorf("claim %d (%s) is missing", key, name)
	case raw == nil:
	case raw[0]>>5 != major:
		c.err = fmt.Errorf("claim %d (%s) has CBOR major type %d, expected %d", key, name, raw[0]>>5, major)
	default:
		if err := c.d.mode.Unmarshal(raw, to); err != nil {
			c.err = fmt.Errorf("claim %d (%s): %w", key, name, err)
		}
		return c.err == nil
	}
	return false
}

// Bytes is a byte string of one of the sizes, which has to be there.
func (c *Claims) Bytes(key int64, name string, sizes ...int) []byte {
	return c.bytes(key, name, true, sizes)
}

// OptionalBytes is a byte string of one of the sizes, or nil.
func (c *Claims) OptionalBytes(key int64, name string, sizes ...int) []byte {
	return c.bytes(key, name, false, sizes)
}

func (c *Claims) bytes(key int64, name string, need bool, sizes []int) []byte {
	var b []byte
	if !c.take(key, name, 2, need, &b) {
		return nil
	}
	if len(sizes) > 0 && !slices.Contains(sizes, len(b)) {
		c.Fail("claim %d (%s) has %d bytes, expected %v", key, name, len(b), sizes)
		return nil
	}
	return b
}

// Text is a text of 1 to 512 bytes, "" if it is not there and need not be.
func (c *Claims) Text(key int64, name string, need bool) string {
	var s string
	if !c.take(key, name, 3, need, &s) {
		return ""
	}
	if s == "" || len(s) > maxText {
		c.Fail("claim %d (%s) has %d bytes, not 1 to %d", key, name, len(s), maxText)
	}
	return s
}

// Uint is an unsigned number up to most.
func (c *Claims) Uint(key int64, name string, need bool, most uint64) uint64 {
	var n uint64
	if c.take(key, name, 0, need, &n) && n > most {
		c.Fail("claim %d (%s) is %d, at most %d", key, name, n, most)
	}
	return n
}

// Int32 is a number of 32 bits with a sign, which has to be there.
func (c *Claims) Int32(key int64, name string) int32 {
	var n int32
	if raw := c.all[key]; raw != nil && raw[0]>>5 == 1 {
		c.take(key, name, 1, true, &n)
		return n
	}
	c.take(key, name, 0, true, &n)
	return n
}

// List is an array of byte strings, which has to be there.
func (c *Claims) List(key int64, name string) [][]byte {
	var items []cbor.RawMessage
	if !c.take(key, name, 4, true, &items) {
		return nil
	}
	out := make([][]byte, len(items))
	for i, raw := range items {
		if raw[0]>>5 != 2 || c.d.mode.Unmarshal(raw, &out[i]) != nil {
			c.Fail("claim %d (%s): element %d is not a byte string", key, name, i)
			return nil
		}
	}
	return out
}

// Instance is a UEID of type RAND (RFC 9711, section 4.2.1): 33 bytes that begin
// with 1.
func (c *Claims) Instance(key int64) []byte {
	b := c.Bytes(key, "instance id", 33)
	if b != nil && b[0] != 1 {
		c.Fail("claim %d (instance id) is a UEID of type %#x, expected 0x01", key, b[0])
	}
	return b
}

// HashSizes are the sizes in bytes of SHA-256, SHA-384 and SHA-512.
func HashSizes() []int { return []int{32, 48, 64} }
