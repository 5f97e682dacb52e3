// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"

	"github.com/assize/assize/evidence/internal/cborscan"
	"github.com/assize/assize/internal/limits"
)

// Keys of the claims map of a ratsd v2 token (docs/ratsd-token.cddl).
const (
	ratsdKeyNonce     = 10
	ratsdKeyOEMID     = 258
	ratsdKeyProfile   = 265
	ratsdKeySWName    = 270
	ratsdKeySWVersion = 271
	ratsdKeyFunction  = -65537
	ratsdKeySizes     = -65538

	ratsdClaimCount = 7
)

// ratsdClaims is the claims map. It is read by hand, because a CBOR library
// that fills structs takes more than the grammar allows: keys as text, null
// for a member that is not there, a list of numbers for a byte string.
type ratsdClaims struct {
	seen     map[int64]bool
	profile  string
	nonce    []byte
	function string
	sizes    map[string]uint64
}

func decodeRatsdClaims(raw []byte, f frame) (*RatsdToken, map[string]uint64, error) {
	r := &cborscan.Reader{Buf: raw}
	h, err := r.Head()
	if err != nil || h.Major != cborscan.Tag || h.Arg != tagUCCS {
		return nil, nil, f.fail(RuleRatsd, -1, "claims are not a UCCS (tag %d)", tagUCCS)
	}
	c := &ratsdClaims{seen: make(map[int64]bool, ratsdClaimCount)}
	if err := c.read(r); err != nil {
		return nil, nil, f.fail(RuleRatsd, -1, "claims: %v", err)
	}
	for _, key := range []int64{ratsdKeyProfile, ratsdKeyNonce, ratsdKeyOEMID, ratsdKeySWName, ratsdKeySWVersion} {
		if !c.seen[key] {
			return nil, nil, f.fail(RuleRatsd, -1, "claim %d is missing", key)
		}
	}
	if c.profile != ratsdV2Profile {
		return nil, nil, f.fail(RuleRatsd, -1, "claims have profile %.64q, not %q", c.profile, ratsdV2Profile)
	}
	if len(c.nonce) < limits.NonceMin || len(c.nonce) > limits.NonceMax {
		return nil, nil, f.fail(RuleRatsd, -1, "eat_nonce of %d bytes, not %d to %d", len(c.nonce), limits.NonceMin, limits.NonceMax)
	}
	t := &RatsdToken{Version: 2, Nonce: c.nonce, Function: c.function}
	return t, c.sizes, checkAdjust(c.seen[ratsdKeyFunction], t.Function, c.seen[ratsdKeySizes], f)
}

func (c *ratsdClaims) read(r *cborscan.Reader) error {
	err := eachPair(r, ratsdClaimCount, func() error {
		at := r.Pos
		key, err := readInt(r)
		if err != nil {
			return err
		}
		if c.seen[key] {
			return &cborscan.Error{Offset: at, Detail: fmt.Sprintf("claim %d twice", key)}
		}
		c.seen[key] = true
		return c.claim(r, key, at)
	})
	if err != nil {
		return err
	}
	return r.End()
}

// claim reads the value of one claim.
func (c *ratsdClaims) claim(r *cborscan.Reader, key int64, at int) (err error) {
	switch key {
	case ratsdKeyProfile:
		c.profile, err = readText(r)
	case ratsdKeyNonce:
		c.nonce, err = r.String(cborscan.Bytes)
	case ratsdKeyOEMID:
		_, err = readInt(r)
	case ratsdKeySWName:
		_, err = readText(r)
	case ratsdKeySWVersion:
		err = readSWVersion(r)
	case ratsdKeyFunction:
		c.function, err = readText(r)
	case ratsdKeySizes:
		c.sizes, err = readSizeMap(r)
	default:
		err = &cborscan.Error{Offset: at, Detail: fmt.Sprintf("unknown claim %d", key)}
	}
	return err
}

// eachPair reads the head of a map of at most limit pairs and calls pair for
// each of them.
func eachPair(r *cborscan.Reader, limit int, pair func() error) error {
	at := r.Pos
	h, err := r.Head()
	if err != nil {
		return err
	}
	if h.Major != cborscan.Map {
		return &cborscan.Error{Offset: at, Detail: "no map"}
	}
	for n := uint64(0); h.Indefinite || n < h.Arg; n++ {
		if h.Indefinite && r.Break() {
			return nil
		}
		if n >= uint64(limit) {
			return &cborscan.Error{Offset: r.Pos, Detail: fmt.Sprintf("map with more than %d pairs", limit)}
		}
		if err := pair(); err != nil {
			return err
		}
	}
	return nil
}

// readInt reads an integer of 63 bits and sign.
func readInt(r *cborscan.Reader) (int64, error) {
	at := r.Pos
	h, err := r.Head()
	if err != nil {
		return 0, err
	}
	if (h.Major != cborscan.Uint && h.Major != cborscan.Negint) || h.Arg>>63 != 0 {
		return 0, &cborscan.Error{Offset: at, Detail: "no integer of 64 bits"}
	}
	if h.Major == cborscan.Negint {
		return -1 - int64(h.Arg), nil
	}
	return int64(h.Arg), nil
}

func readText(r *cborscan.Reader) (string, error) {
	text, err := r.String(cborscan.Text)
	return string(text), err
}

// readSWVersion reads an array of one text.
func readSWVersion(r *cborscan.Reader) error {
	at := r.Pos
	h, err := r.Head()
	if err != nil {
		return err
	}
	if h.Major != cborscan.Array || !h.Indefinite && h.Arg != 1 {
		return &cborscan.Error{Offset: at, Detail: "swversion is no array of one text"}
	}
	if _, err := readText(r); err != nil {
		return err
	}
	if h.Indefinite && !r.Break() {
		return &cborscan.Error{Offset: r.Pos, Detail: "swversion has more than one member"}
	}
	return nil
}

// readSizeMap reads the nonce sizes by label.
func readSizeMap(r *cborscan.Reader) (map[string]uint64, error) {
	sizes := make(map[string]uint64, 4)
	err := eachPair(r, limits.Default().Labels, func() error {
		at := r.Pos
		name, err := readText(r)
		if err != nil {
			return err
		}
		if _, dup := sizes[name]; dup {
			return &cborscan.Error{Offset: at, Detail: fmt.Sprintf("label %.64q twice", name)}
		}
		at = r.Pos
		h, err := r.Head()
		if err != nil {
			return err
		}
		if h.Major != cborscan.Uint {
			return &cborscan.Error{Offset: at, Detail: "nonce size is not an unsigned integer"}
		}
		sizes[name] = h.Arg
		return nil
	})
	return sizes, err
}
