// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/limits"
)

// Major types of CBOR (RFC 8949, section 3.1).
const (
	majorUint  = 0
	majorInt   = 1
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
	majorOther = 7
)

var majorNames = [8]string{"unsigned number", "negative number", "byte string", "text", "array", "map", "tag", "simple value"}

// SyntaxError says where a document is not a CoRIM.
type SyntaxError struct {
	// Path leads to the fault, as "tags[0].triples.reference-triples[3]".
	Path string
	// Offset is that of the fault in the payload, in bytes.
	Offset int
	// Reason is what is wrong, in words.
	Reason string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	if e.Path == "" {
		return fmt.Sprintf("corim: %s (offset %d)", e.Reason, e.Offset)
	}
	return fmt.Sprintf("corim: %s: %s (offset %d)", e.Path, e.Reason, e.Offset)
}

// at puts a name before the path of a SyntaxError.
func at(name string, err error) error {
	var s *SyntaxError
	if !errors.As(err, &s) {
		return err
	}
	switch {
	case s.Path == "":
		s.Path = name
	case s.Path[0] == '[':
		s.Path = name + s.Path
	default:
		s.Path = name + "." + s.Path
	}
	return err
}

func atIndex(i int, err error) error { return at(fmt.Sprintf("[%d]", i), err) }

// decoding is how CBOR is read: definite lengths, no duplicate keys, bounded.
func decoding() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		MaxNestedLevels:  limits.CorimDepth,
		MaxArrayElements: limits.CorimItems,
		MaxMapPairs:      limits.CorimItems,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
}

// cursor reads CBOR that is known to be well-formed, item by item, without
// copying. A range check at every head keeps it from trusting that knowledge.
type cursor struct {
	buf  []byte
	pos  int
	end  int
	mode cbor.DecMode
}

// open checks that buf[from:to] is one well-formed item and nothing else.
func (c *cursor) open(from, to int) (*cursor, error) {
	if err := c.mode.Wellformed(c.buf[from:to]); err != nil {
		return nil, &SyntaxError{Offset: from, Reason: err.Error()}
	}
	return &cursor{buf: c.buf, pos: from, end: to, mode: c.mode}, nil
}

func (c *cursor) errorf(format string, a ...any) error {
	return &SyntaxError{Offset: c.pos, Reason: fmt.Sprintf(format, a...)}
}

// peek is the major type of the next item, or 8 at the end.
func (c *cursor) peek() byte {
	if c.pos >= c.end {
		return 8
	}
	return c.buf[c.pos] >> 5
}

// head reads the head of an item.
func (c *cursor) head() (major byte, arg uint64, err error) {
	if c.pos >= c.end {
		return 0, 0, c.errorf("ends where an item is expected")
	}
	b := c.buf[c.pos]
	major, info := b>>5, b&31
	if info < 24 {
		c.pos++
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, c.errorf("item of indefinite length")
	}
	n := 1 << (info - 24)
	if c.end-c.pos-1 < n {
		return 0, 0, c.errorf("ends within the head of an item")
	}
	for _, b := range c.buf[c.pos+1 : c.pos+1+n] {
		arg = arg<<8 | uint64(b)
	}
	c.pos += 1 + n
	return major, arg, nil
}

// expect reads a head of the given major type.
func (c *cursor) expect(want byte) (uint64, error) {
	start := c.pos
	major, arg, err := c.head()
	if err == nil && major != want {
		c.pos = start
		return 0, c.errorf("%s where a %s is expected", majorNames[major], majorNames[want])
	}
	return arg, err
}

func (c *cursor) uint() (uint64, error) { return c.expect(majorUint) }

func (c *cursor) int() (int64, error) {
	start := c.pos
	major, arg, err := c.head()
	switch {
	case err != nil:
		return 0, err
	case major > majorInt:
		c.pos = start
		return 0, c.errorf("%s where a number is expected", majorNames[major])
	case arg > math.MaxInt64:
		c.pos = start
		return 0, c.errorf("number out of range")
	case major == majorInt:
		return -1 - int64(arg), nil
	}
	return int64(arg), nil
}

// span reads n bytes, at most max.
func (c *cursor) span(n uint64, max int) ([]byte, error) {
	if n > uint64(max) {
		return nil, c.errorf("%d bytes, more than %d", n, max)
	}
	if n > uint64(c.end-c.pos) {
		return nil, c.errorf("ends within a string")
	}
	b := c.buf[c.pos : c.pos+int(n) : c.pos+int(n)]
	c.pos += int(n)
	return b, nil
}

func (c *cursor) bytes() ([]byte, error) {
	n, err := c.expect(majorBytes)
	if err != nil {
		return nil, err
	}
	return c.span(n, limits.CorimBytes)
}

func (c *cursor) text() (string, error) {
	n, err := c.expect(majorText)
	if err != nil {
		return "", err
	}
	b, err := c.span(n, limits.CorimText)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(b) {
		return "", c.errorf("text is not UTF-8")
	}
	return string(b), nil
}

// name is a text that is not empty.
func (c *cursor) name() (string, error) {
	start := c.pos
	s, err := c.text()
	if err == nil && s == "" {
		c.pos = start
		return "", c.errorf("empty text")
	}
	return s, err
}

// tag reads the tag of an item, which must be the given one.
func (c *cursor) tag(want uint64) error {
	start := c.pos
	got, err := c.expect(majorTag)
	if err == nil && got != want {
		c.pos = start
		return c.errorf("tag %d where tag %d is expected", got, want)
	}
	return err
}

// array reads the head of an array of at least low and at most high elements.
func (c *cursor) array(low, high int) (int, error) {
	start := c.pos
	n, err := c.expect(majorArray)
	if err == nil && (n < uint64(low) || n > uint64(high)) {
		c.pos = start
		return 0, c.errorf("array of %d elements, not %d to %d", n, low, high)
	}
	return int(n), err
}

// each reads an array of at least low elements, one call per element.
func (c *cursor) each(low int, f func(i int) error) error {
	n, err := c.array(low, limits.CorimItems)
	if err != nil {
		return err
	}
	for i := range n {
		if err := f(i); err != nil {
			return atIndex(i, err)
		}
	}
	return nil
}

// fields reads a map with integer keys, at least one and each once. f reads the
// value; it says by its result whether it knows the key, and has read nothing
// if not: then the member is an extension.
func (c *cursor) fields(f func(key int64) (known bool, err error)) ([]Extension, error) {
	start := c.pos
	n, err := c.expect(majorMap)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		c.pos = start
		return nil, c.errorf("empty map")
	}
	var low uint64
	var ext []Extension
	for range n {
		at := c.pos
		key, err := c.int()
		if err != nil {
			return nil, err
		}
		if key >= 0 && key < 64 {
			if low>>key&1 != 0 {
				c.pos = at
				return nil, c.errorf("key %d twice", key)
			}
			low |= 1 << key
		}
		known, err := f(key)
		if err != nil {
			return nil, err
		}
		if known {
			continue
		}
		raw, err := c.item()
		if err != nil {
			return nil, err
		}
		for _, e := range ext {
			if e.Key == key {
				c.pos = at
				return nil, c.errorf("key %d twice", key)
			}
		}
		if len(ext) == maxExtensions {
			return nil, c.errorf("more than %d members that are not of the draft", maxExtensions)
		}
		ext = append(ext, Extension{Key: key, Raw: raw})
	}
	slices.SortFunc(ext, func(a, b Extension) int { return cmp.Compare(a.Key, b.Key) })
	return ext, nil
}

const maxExtensions = 256

// skip passes over one item.
func (c *cursor) skip(depth int) error {
	if depth > limits.CorimDepth {
		return c.errorf("nested too deeply")
	}
	major, arg, err := c.head()
	if err != nil {
		return err
	}
	switch major {
	case majorBytes, majorText:
		_, err = c.span(arg, math.MaxInt)
		return err
	case majorMap:
		arg *= 2
	case majorTag:
		arg = 1
	case majorArray:
	default:
		return nil
	}
	if arg > 2*limits.CorimItems {
		return c.errorf("%d items", arg)
	}
	for range arg {
		if err := c.skip(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// item reads one item of any kind without understanding it, but not one with
// duplicate keys. It is returned as it came.
func (c *cursor) item() ([]byte, error) {
	start := c.pos
	if err := c.skip(0); err != nil {
		return nil, err
	}
	raw := c.buf[start:c.pos:c.pos]
	var v any
	if err := c.mode.Unmarshal(raw, &v); err != nil {
		c.pos = start
		return nil, c.errorf("%v", err)
	}
	return raw, nil
}

// canonical is one item in deterministic encoding (RFC 8949, section 4.2.1).
func (c *cursor) canonical() (string, error) {
	start := c.pos
	raw, err := c.item()
	if err != nil {
		return "", err
	}
	out, err := deterministic(c.mode, raw)
	if err != nil {
		c.pos = start
		return "", c.errorf("%v", err)
	}
	return string(out), nil
}

func deterministic(mode cbor.DecMode, raw []byte) ([]byte, error) {
	var v any
	if err := mode.Unmarshal(raw, &v); err != nil {
		return nil, err
	}
	enc, err := encoding()
	if err != nil {
		return nil, err
	}
	out, err := enc.Marshal(v)
	if err == nil && bytes.Equal(out, raw) {
		return raw, nil
	}
	return out, err
}
