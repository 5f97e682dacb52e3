// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A result in CBOR is the one in JSON with other names and types: integer keys for
// the claims of the profile, numbers for tiers, bytes for nonces (EAR, sections 3
// and 4). form says which; what is inside of statements is as in JSON.
type form int

const (
	formText     form = iota // text
	formInteger              // integer, no float
	formNonce                // bytes; base64url with padding in JSON
	formBytes                // bytes; base64url without padding in JSON
	formTier                 // number; word in JSON
	formVector               // map of integers
	formIdentity             // map of texts
	formValue                // as JSON has it
	formSubmods              // appraisals and nested tokens by label
)

// claimCBOR is a claim in both encodings.
type claimCBOR struct {
	name string
	key  int64
	form form
}

// keyTokens is the key of our extension, one for private use (< -65536).
const keyTokens = -76001

// Claims of a result and of an appraisal, with their keys.
var (
	headCBOR = []claimCBOR{
		{claimProfile, 265, formText}, {"iat", 6, formInteger}, {"exp", 4, formInteger}, {"nbf", 5, formInteger},
		{p04VerifierID, 1004, formIdentity}, {claimNonce, 10, formNonce}, {p04Status, 1000, formTier},
		{p04Raw, 1002, formBytes}, {claimSubmods, 266, formSubmods}, {p04Topology, 1007, formValue}, {p04Tokens, keyTokens, formValue},
	}
	appraisalCBOR = []claimCBOR{
		{claimProfile, 265, formText}, {p04Status, 1000, formTier}, {p04Vector, 1001, formVector},
		{p04PolicyIDs, 1003, formValue}, {claimNonce, 10, formNonce}, {p04Attester, 1005, formValue}, {p04Verifier, 1006, formValue},
	}
	identityCBOR = []string{"developer", "build"} // by key
)

// claimsP04CBOR are the claims of a result in deterministic CBOR (RFC 8949,
// section 4.2.1).
func (r *Result) claimsP04CBOR(lifetime time.Duration) ([]byte, error) {
	o, err := r.objectP04(lifetime)
	if err != nil {
		return nil, err
	}
	return objectToCBOR(o)
}

// objectToCBOR encodes the claims of a result that stand as JSON has them.
func objectToCBOR(o object) ([]byte, error) {
	m, err := toCBOR(headCBOR, o)
	if err != nil {
		return nil, err
	}
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, err
	}
	return mode.Marshal(m)
}

// toCBOR maps claims to their keys. A claim without key is an error: what we write
// is known.
func toCBOR(known []claimCBOR, o object) (map[int64]any, error) {
	out := make(map[int64]any, len(o))
	for _, c := range known {
		v, ok := o[c.name]
		if !ok {
			continue
		}
		var err error
		if out[c.key], err = c.form.toCBOR(v); err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	if len(out) != len(o) {
		return nil, errors.New("a claim that has no key in CBOR")
	}
	return out, nil
}

func (f form) toCBOR(v any) (any, error) {
	if m, ok := v.(map[string]any); ok {
		switch f {
		case formSubmods:
			return submodsToCBOR(m)
		case formIdentity:
			return map[int64]any{0: m[identityCBOR[0]], 1: m[identityCBOR[1]]}, nil
		case formVector:
			return vectorToCBOR(m)
		case formValue:
			return valueToCBOR(m)
		}
	}
	if s, ok := v.(string); ok {
		switch f {
		case formText:
			return s, nil
		case formNonce:
			return base64.URLEncoding.DecodeString(s)
		case formBytes:
			return base64.RawURLEncoding.DecodeString(s)
		case formTier:
			t, err := ParseTier(s)
			return uint64(t), err
		}
	}
	if f == formInteger || f == formValue {
		return valueToCBOR(v)
	}
	return nil, fmt.Errorf("has a value of type %T", v)
}

func submodsToCBOR(in map[string]any) (any, error) {
	out := make(map[string]any, len(in))
	for label, v := range in {
		var err error
		switch v := v.(type) {
		case map[string]any:
			out[label], err = toCBOR(appraisalCBOR, v)
		default:
			// A token that is not CBOR stands in CBOR as the text of its JSON selector
			// (RFC 9711, section 4.2.18.1.1).
			var text []byte
			text, err = json.Marshal(v)
			out[label] = string(text)
		}
		if err != nil {
			return nil, fmt.Errorf("submod %q: %w", label, err)
		}
	}
	return out, nil
}

func vectorToCBOR(in map[string]any) (any, error) {
	out := make(map[int64]any, len(in))
	for name, v := range in {
		n, err := ParseClaimName(name)
		if err != nil {
			return nil, err
		}
		if out[int64(n)], err = valueToCBOR(v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// valueToCBOR encodes a JSON value; its numbers are integers.
func valueToCBOR(v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		n, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is not an integer", v)
		}
		return n, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = valueToCBOR(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for name := range v {
			var err error
			if out[name], err = valueToCBOR(v[name]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case string, bool, nil:
		return v, nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}

// Bounds of claims in CBOR: nesting, and the members of one map or array.
const (
	maxCBORItems = 1 << 16
	maxCBORDepth = resultDepth
)

// objectOfCBOR decodes claims into what the same claims are in JSON. It refuses
// duplicate keys, indefinite lengths, tags, text that is no UTF-8, deep nesting and
// trailing bytes, and floats and bytes in claims that do not have them. Claims that
// are not known are ignored (EAR, section 3).
func objectOfCBOR(raw []byte) (object, error) {
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden,
		UTF8: cbor.UTF8RejectInvalid, IntDec: cbor.IntDecConvertSigned, MaxNestedLevels: maxCBORDepth,
		MaxArrayElements: maxCBORItems, MaxMapPairs: maxCBORItems,
	}.DecMode()
	if err != nil {
		return nil, err
	}
	var m map[any]any
	if err := mode.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("not a map of claims: %w", err)
	}
	return fromCBOR(headCBOR, m)
}

func fromCBOR(known []claimCBOR, m map[any]any) (object, error) {
	out := object{}
	for _, c := range known {
		v, ok := m[c.key]
		if !ok {
			continue
		}
		j, err := c.form.fromCBOR(v)
		if err != nil {
			return nil, fmt.Errorf("%s (%d): %w", c.name, c.key, err)
		}
		out[c.name] = j
	}
	return out, nil
}

func (f form) fromCBOR(v any) (any, error) {
	switch v := v.(type) {
	case string:
		if f == formText {
			return v, nil
		}
	case int64:
		switch f {
		case formInteger:
			return number(v), nil
		case formTier:
			if v >= 0 && v <= math.MaxInt8 {
				if _, err := Tier(v).MarshalText(); err == nil {
					return Tier(v).String(), nil
				}
			}
			return nil, fmt.Errorf("%d is no tier", v)
		}
	case []byte:
		switch f {
		case formNonce:
			return encodeNonce(v), nil
		case formBytes:
			return base64.RawURLEncoding.EncodeToString(v), nil
		}
	case map[any]any:
		switch f {
		case formSubmods:
			return submodsFromCBOR(v)
		case formIdentity:
			return identityFromCBOR(v)
		case formVector:
			return vectorFromCBOR(v)
		}
	}
	if f == formValue {
		return valueFromCBOR(v)
	}
	return nil, fmt.Errorf("has a value of type %T", v)
}

func number(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

func submodsFromCBOR(in map[any]any) (any, error) {
	out := make(map[string]any, len(in))
	for key, v := range in {
		label, ok := key.(string)
		if !ok {
			return nil, errors.New("a label that is no text")
		}
		switch v := v.(type) {
		case map[any]any:
			o, err := fromCBOR(appraisalCBOR, v)
			if err != nil {
				return nil, fmt.Errorf("submod %.64q: %w", label, err)
			}
			out[label] = map[string]any(o)
		case string:
			var selector []string
			if err := json.Unmarshal([]byte(v), &selector); err != nil || len(selector) != 2 {
				return nil, fmt.Errorf("submod %.64q is no JSON selector of a nested token", label)
			}
			out[label] = []any{selector[0], selector[1]}
		default:
			return nil, fmt.Errorf("submod %.64q has a value of type %T", label, v)
		}
	}
	return out, nil
}

// identityFromCBOR ignores members that are not known.
func identityFromCBOR(in map[any]any) (any, error) {
	out := map[string]any{}
	for key, name := range identityCBOR {
		if v, ok := in[int64(key)]; ok {
			out[name] = v // whether it is a text is for who reads it
		}
	}
	return out, nil
}

// vectorFromCBOR keeps members that are not defined, under a name that says so:
// they are no assertion that could be ignored (decision D-44).
func vectorFromCBOR(in map[any]any) (any, error) {
	out := make(map[string]any, len(in))
	for key, v := range in {
		k, ok := key.(int64)
		n, whole := v.(int64)
		if !ok || !whole {
			return nil, errors.New("a member that is no integer")
		}
		name := "claim " + strconv.FormatInt(k, 10)
		if k >= 0 && k < int64(numClaims) {
			name = claimNames[k]
		}
		out[name] = number(n)
	}
	return out, nil
}

func valueFromCBOR(v any) (any, error) {
	switch v := v.(type) {
	case int64:
		return number(v), nil
	case string, bool, nil:
		return v, nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = valueFromCBOR(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[any]any:
		out := make(map[string]any, len(v))
		for key, one := range v {
			name, ok := key.(string)
			if !ok {
				return nil, errors.New("a member whose name is no text")
			}
			var err error
			if out[name], err = valueFromCBOR(one); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}
