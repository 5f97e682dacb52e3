// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/limits"
)

// Errors of this package, for errors.Is.
var (
	// ErrLimit is for a query or a result that is larger than may be.
	ErrLimit = errors.New("too large")
	// ErrEncoding is for a query that is not in deterministic encoding.
	ErrEncoding = errors.New("query is not in deterministic encoding")
)

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

// encoding is deterministic (RFC 8949, section 4.2.1).
func encoding() (cbor.EncMode, error) { return cbor.CoreDetEncOptions().EncMode() }

func marshal(v any) ([]byte, error) {
	enc, err := encoding()
	if err != nil {
		return nil, err
	}
	return enc.Marshal(v)
}

// members is a map with integer keys whose values are still encoded.
type members map[int64]cbor.RawMessage

// reader reads items; errors say what of.
type reader struct{ mode cbor.DecMode }

// members reads a map that has the keys in must, and none but them and those in
// may.
func (r reader) members(what string, raw []byte, must, may []int64) (members, error) {
	// The library passes over tags, and reads null as an empty map.
	if len(raw) == 0 || raw[0]>>5 != 5 {
		return nil, fmt.Errorf("coserv: %s is not a map", what)
	}
	var m members
	if err := r.item(what, raw, &m); err != nil {
		return nil, err
	}
	for _, k := range must {
		if _, ok := m[k]; !ok {
			return nil, fmt.Errorf("coserv: %s without member %d", what, k)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(must, k) && !slices.Contains(may, k) {
			return nil, fmt.Errorf("coserv: %s with member %d, which it cannot have", what, k)
		}
	}
	return m, nil
}

// array reads an array of low to high elements.
func (r reader) array(what string, raw []byte, low, high int) ([]cbor.RawMessage, error) {
	if len(raw) == 0 || raw[0]>>5 != 4 {
		return nil, fmt.Errorf("coserv: %s is not an array", what)
	}
	var out []cbor.RawMessage
	if err := r.item(what, raw, &out); err != nil {
		return nil, err
	}
	switch {
	case len(out) < low:
		return nil, fmt.Errorf("coserv: %s has %d elements, at least %d", what, len(out), low)
	case len(out) > high:
		return nil, fmt.Errorf("coserv: %s has %d elements, at most %d: %w", what, len(out), high, ErrLimit)
	}
	return out, nil
}

// number reads a number below n.
func (r reader) number(what string, raw []byte, n uint8) (uint8, error) {
	if len(raw) != 1 || raw[0] >= n {
		return 0, fmt.Errorf("coserv: %s is not a number below %d", what, n)
	}
	return raw[0], nil
}

// item reads one item, and nothing may be behind it. A text is not bytes, nor
// the other way round: the library would read one as the other.
func (r reader) item(what string, raw []byte, v any) error {
	want := byte(8)
	switch v.(type) {
	case *string:
		want = 3
	case *[]byte:
		want = 2
	}
	if want < 8 && (len(raw) == 0 || raw[0]>>5 != want) {
		return fmt.Errorf("coserv: %s is of the wrong type", what)
	}
	if err := r.mode.Unmarshal(raw, v); err != nil {
		return fmt.Errorf("coserv: %s: %w", what, err)
	}
	return nil
}

// deterministic tells whether raw, one well-formed item, is in deterministic
// encoding (RFC 8949, section 4.2.1): shortest heads and numbers, keys sorted
// by their bytes.
func deterministic(raw []byte) bool {
	rest, ok := canonical(raw, 0)
	return ok && len(rest) == 0
}

// canonical passes over one item and tells whether it is deterministic.
func canonical(b []byte, depth int) (rest []byte, ok bool) {
	if len(b) == 0 || depth > limits.CorimDepth {
		return nil, false
	}
	major, info := b[0]>>5, b[0]&31
	size := 0
	if info >= 24 {
		size = 1 << (info - 24)
	}
	if info > 27 || len(b) < 1+size {
		return nil, false
	}
	arg := uint64(info)
	if size > 0 {
		arg = 0
		for _, c := range b[1 : 1+size] {
			arg = arg<<8 | uint64(c)
		}
	}
	if major == 7 {
		return b[1+size:], info < 24 || shortest(b[:1+size])
	}
	if size > 0 && arg < []uint64{24, 1 << 8, 1 << 16, 1 << 32}[info-24] {
		return nil, false
	}
	return canonicalContent(b[1+size:], major, arg, depth)
}

func canonicalContent(b []byte, major byte, arg uint64, depth int) ([]byte, bool) {
	switch major {
	case 0, 1:
		return b, true
	case 2, 3:
		if arg > uint64(len(b)) {
			return nil, false
		}
		return b[arg:], true
	case 6:
		return canonical(b, depth+1)
	}
	if arg > uint64(len(b)) { // each element has at least one byte
		return nil, false
	}
	var last []byte
	for range arg {
		key := b
		rest, ok := canonical(b, depth+1)
		if !ok {
			return nil, false
		}
		b = rest
		if major == 4 {
			continue
		}
		key = key[:len(key)-len(rest)]
		if last != nil && bytes.Compare(last, key) >= 0 {
			return nil, false
		}
		last = key
		if b, ok = canonical(b, depth+1); !ok {
			return nil, false
		}
	}
	return b, true
}

// shortest tells whether a simple value or floating-point number could not be
// written with less.
func shortest(item []byte) bool {
	var v any
	mode, err := decoding()
	if err != nil || mode.Unmarshal(item, &v) != nil {
		return false
	}
	again, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return false
	}
	out, err := again.Marshal(v)
	return err == nil && bytes.Equal(out, item)
}
