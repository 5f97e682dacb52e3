// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"encoding/binary"
	"slices"
	"unicode/utf8"
)

// Major types of CBOR (RFC 8949 section 3.1).
const (
	majorUint   = 0
	majorNegint = 1
	majorBytes  = 2
	majorText   = 3
	majorArray  = 4
	majorMap    = 5
	majorTag    = 6
	majorSimple = 7
)

const (
	// maxDepth is how deep data items nest, also in claims that mean nothing here.
	maxDepth = 12
	// maxPairs and maxItems bound one map and one array.
	maxPairs = 512
	maxItems = 1024
)

// reader walks through CBOR of definite lengths without copying. Heads may have
// any width: the profile allows variant serialisation.
type reader struct {
	b  []byte
	at int
	// base is the offset of b in the leaf, submod the device that is read.
	base   int
	submod string
}

// fail is an error of a rule at an offset of b.
func (r *reader) fail(rule Rule, at int, format string, args ...any) error {
	return newError(rule, r.submod, r.base+at, format, args...)
}

// head is the start of one data item.
type head struct {
	major byte
	arg   uint64
}

func (r *reader) head() (head, error) {
	at := r.at
	if at >= len(r.b) {
		return head{}, r.fail(RuleCBOR, at, "ends where a data item is expected")
	}
	h, info := head{major: r.b[at] >> 5}, r.b[at]&0x1F
	r.at++
	switch {
	case info < 24:
		h.arg = uint64(info)
	case info <= 27:
		n := 1 << (info - 24)
		if len(r.b)-r.at < n {
			return head{}, r.fail(RuleCBOR, at, "ends inside the head of a data item")
		}
		var wide [8]byte
		copy(wide[8-n:], r.b[r.at:r.at+n])
		h.arg = binary.BigEndian.Uint64(wide[:])
		r.at += n
	case info == 31:
		return head{}, r.fail(RuleIndefinite, at, "data item of indefinite length")
	default:
		return head{}, r.fail(RuleCBOR, at, "head 0x%02x is not well-formed", r.b[at])
	}
	if h.major == majorSimple && info == 24 && h.arg < 32 {
		return head{}, r.fail(RuleCBOR, at, "simple value %d in two bytes", h.arg)
	}
	return h, nil
}

// expect reads a head of one major type.
func (r *reader) expect(major byte, rule Rule, what string) (uint64, error) {
	at := r.at
	h, err := r.head()
	if err == nil && h.major != major {
		err = r.fail(rule, at, "%s has major type %d, expected %d", what, h.major, major)
	}
	return h.arg, err
}

// take returns the n bytes of a string.
func (r *reader) take(at int, n uint64) ([]byte, error) {
	if n > uint64(len(r.b)-r.at) {
		return nil, r.fail(RuleCBOR, at, "string of %d bytes, %d are left", n, len(r.b)-r.at)
	}
	end := r.at + int(n)
	out := r.b[r.at:end:end]
	r.at = end
	return out, nil
}

// bytes reads a byte string of least to most bytes.
func (r *reader) bytes(least, most int, rule Rule, what string) ([]byte, error) {
	at := r.at
	n, err := r.expect(majorBytes, rule, what)
	if err != nil {
		return nil, err
	}
	if n < uint64(least) || n > uint64(most) {
		if least == most {
			return nil, r.fail(rule, at, "%s has %d bytes, expected %d", what, n, most)
		}
		return nil, r.fail(rule, at, "%s has %d bytes, expected %d to %d", what, n, least, most)
	}
	return r.take(at, n)
}

// text reads a text of at most most bytes.
func (r *reader) text(most int, rule Rule, what string) (string, error) {
	at := r.at
	n, err := r.expect(majorText, rule, what)
	if err != nil {
		return "", err
	}
	if n > uint64(most) {
		return "", r.fail(rule, at, "%s has %d bytes, at most %d", what, n, most)
	}
	s, err := r.take(at, n)
	if err == nil && !utf8.Valid(s) {
		err = r.fail(RuleCBOR, at, "%s is not UTF-8", what)
	}
	return string(s), err
}

// uint reads an unsigned integer of at most most.
func (r *reader) uint(most uint64, rule Rule, what string) (uint64, error) {
	at := r.at
	n, err := r.expect(majorUint, rule, what)
	if err == nil && n > most {
		err = r.fail(rule, at, "%s is %d, at most %d", what, n, most)
	}
	return n, err
}

// key is the key of a map: an integer, or a text if isText. Keys of other types
// are no keys of this profile; other tells them, and text has their bytes. Two
// encodings of one integer or text are one key.
type key struct {
	n      int64
	text   string
	isText bool
	other  bool
}

// eachPair reads a map without duplicate keys. pair reads the value of a key, or
// returns errUnknown for one that it does not know, which is skipped.
func (r *reader) eachPair(rule Rule, what string, depth int, pair func(k key, at int) error) error {
	at := r.at
	n, err := r.expect(majorMap, rule, what)
	if err != nil {
		return err
	}
	if depth <= 0 || n > maxPairs {
		return r.fail(RuleCBOR, at, "%s is nested too deeply or has more than %d members", what, maxPairs)
	}
	var seen keys
	for range n {
		at := r.at
		k, err := r.key(depth - 1)
		if err != nil {
			return err
		}
		if !seen.add(k) {
			return r.fail(RuleDuplicate, at, "%s has the key %s twice", what, k)
		}
		value := r.at
		switch err := pair(k, at); err {
		case nil:
		case errUnknown:
			r.at = value
			if err := r.skip(depth - 1); err != nil {
				return err
			}
		default:
			return err
		}
	}
	return nil
}

// keys is the set of keys of one map.
type keys struct {
	few  [16]key
	n    int
	many map[key]struct{}
}

// add tells whether the key is new.
func (s *keys) add(k key) bool {
	if slices.Contains(s.few[:s.n], k) {
		return false
	}
	if s.n < len(s.few) {
		s.few[s.n] = k
		s.n++
		return true
	}
	if _, dup := s.many[k]; dup {
		return false
	}
	if s.many == nil {
		s.many = map[key]struct{}{}
	}
	s.many[k] = struct{}{}
	return true
}

// key reads a key.
func (r *reader) key(depth int) (key, error) {
	start := r.at
	h, err := r.head()
	if err != nil {
		return key{}, err
	}
	switch {
	case h.major == majorUint && h.arg>>63 == 0:
		return key{n: int64(h.arg)}, nil
	case h.major == majorNegint && h.arg>>63 == 0:
		return key{n: -1 - int64(h.arg)}, nil
	case h.major == majorText:
		s, err := r.take(start, h.arg)
		if err == nil && !utf8.Valid(s) {
			err = r.fail(RuleCBOR, start, "key is not UTF-8")
		}
		return key{text: string(s), isText: true}, err
	}
	r.at = start
	err = r.skip(depth)
	return key{text: string(r.b[start:r.at]), other: true}, err
}

// skip reads one data item of any type with all of its content: what is ignored
// has to be well-formed, without indefinite lengths and duplicate keys too.
func (r *reader) skip(depth int) error {
	at := r.at
	h, err := r.head()
	if err != nil {
		return err
	}
	switch h.major {
	case majorBytes, majorText:
		s, err := r.take(at, h.arg)
		if err == nil && h.major == majorText && !utf8.Valid(s) {
			err = r.fail(RuleCBOR, at, "text is not UTF-8")
		}
		return err
	case majorArray, majorTag:
		if depth <= 0 || h.major == majorArray && h.arg > maxItems {
			return r.fail(RuleCBOR, at, "nested too deeply, or an array of more than %d elements", maxItems)
		}
		n := h.arg
		if h.major == majorTag {
			n = 1
		}
		for range n {
			if err := r.skip(depth - 1); err != nil {
				return err
			}
		}
	case majorMap:
		r.at = at
		return r.eachPair(RuleCBOR, "map", depth, func(key, int) error { return errUnknown })
	}
	return nil
}

// end requires that nothing is left.
func (r *reader) end() error {
	if r.at != len(r.b) {
		return r.fail(RuleCBOR, r.at, "%d bytes too many", len(r.b)-r.at)
	}
	return nil
}
