// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/lestrrat-go/jwx/v3/jws"
)

// Errors of VerifyJWT.
var (
	// ErrMalformed: not a compact JWS as this package understands it.
	ErrMalformed = errors.New("trust: malformed token")
	// ErrUnknownKey: no anchor for the kid, or none with the needed role.
	ErrUnknownKey = errors.New("trust: unknown signing key")
	// ErrSignature: the signature or its algorithm is wrong.
	ErrSignature = errors.New("trust: signature does not verify")
)

const (
	// MaxToken is the largest token in bytes that VerifyJWT reads.
	MaxToken  = 16 << 20
	maxHeader = 4 << 10
)

// VerifyJWT checks a compact JWS and returns the signed bytes and the key. Only
// the header parameters alg, kid, typ and cty are understood, all texts; any
// other one (crit, b64, jku, jwk, x5u, x5c, …) makes the token malformed. typ
// may be absent, "JWT" or "eat+jwt"; cty must not announce a nested token. The
// key comes from find alone, and alg must name the algorithm of that key.
//
// Errors wrap ErrMalformed, ErrUnknownKey or ErrSignature. Claims are returned
// only when the signature is right; they are not parsed here.
func VerifyJWT(token []byte, find func(kid string) (Key, bool)) (claims []byte, key Key, err error) {
	h, err := parseHeader(token)
	if err != nil {
		return nil, Key{}, err
	}
	key, ok := find(h.kid)
	if !ok {
		return nil, Key{}, fmt.Errorf("%w: kid %.64q", ErrUnknownKey, h.kid)
	}
	if alg, err := algorithm(key.Public); err != nil || alg != key.Alg {
		return nil, Key{}, fmt.Errorf("%w: anchor %q is unusable", ErrUnknownKey, key.KID)
	}
	if h.alg != key.Alg {
		return nil, Key{}, fmt.Errorf("%w: header says %.16q, the key is for %s", ErrSignature, h.alg, key.Alg)
	}
	verifier, err := jws.VerifierFor(signatureAlgorithm(key.Alg))
	if err != nil {
		return nil, Key{}, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	// The signature is over the received bytes up to the second dot.
	if err := verifier.Verify(key.Public, h.input, h.signature); err != nil {
		return nil, Key{}, fmt.Errorf("%w: %s with kid %q", ErrSignature, key.Alg, key.KID)
	}
	claims, err = base64.RawURLEncoding.AppendDecode(nil, h.payload)
	if err != nil {
		return nil, Key{}, fmt.Errorf("%w: payload: %w", ErrMalformed, err)
	}
	return claims, key, nil
}

// header is a compact JWS taken apart: the two parameters that matter, the
// encoded payload, the decoded signature, and the bytes that it covers.
type header struct {
	alg, kid                  string
	input, payload, signature []byte
}

func parseHeader(token []byte) (header, error) {
	var h header
	if len(token) > MaxToken {
		return h, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(token), MaxToken)
	}
	parts := bytes.SplitN(token, []byte("."), 4) // a fourth part is one too many, however many follow
	if len(parts) != 3 {
		return h, fmt.Errorf("%w: not three parts", ErrMalformed)
	}
	if len(parts[0]) > maxHeader {
		return h, fmt.Errorf("%w: header of %d bytes", ErrMalformed, len(parts[0]))
	}
	for i, p := range parts {
		if !canonicalBase64(p) {
			return h, fmt.Errorf("%w: part %d is not canonical base64url", ErrMalformed, i+1)
		}
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(string(parts[0]))
	if err != nil {
		return h, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	m, err := ParseObject(raw, 1)
	if err != nil {
		return h, fmt.Errorf("%w: header: %w", ErrMalformed, err)
	}
	for name, v := range m {
		s, ok := v.(string)
		if !ok || !h.accept(name, s) {
			return h, fmt.Errorf("%w: header parameter %.32q is not understood or has a wrong value", ErrMalformed, name)
		}
	}
	if h.alg == "" || h.kid == "" {
		return h, fmt.Errorf("%w: header without alg or kid", ErrMalformed)
	}
	h.input, h.payload = token[:len(parts[0])+1+len(parts[1])], parts[1]
	if h.signature, err = base64.RawURLEncoding.AppendDecode(nil, parts[2]); err != nil {
		return h, fmt.Errorf("%w: signature: %w", ErrMalformed, err)
	}
	return h, nil
}

func (h *header) accept(name, value string) bool {
	switch name {
	case "alg":
		h.alg = value
		return value == ES256 || value == ES384 || value == EdDSA
	case "kid":
		h.kid = value
		return value != ""
	case "typ":
		switch strings.TrimPrefix(strings.ToLower(value), "application/") {
		case "jwt", "eat+jwt":
			return true
		}
	case "cty":
		return !strings.EqualFold(value, "JWT")
	}
	return false
}

// canonicalBase64 reports whether p is non-empty base64url without padding,
// line breaks or stray bits in the last character, so that no two spellings of
// one token exist.
func canonicalBase64(p []byte) bool {
	var unused int
	switch len(p) % 4 {
	case 2:
		unused = 4
	case 3:
		unused = 2
	case 1:
		return false
	}
	if len(p) == 0 {
		return false
	}
	for _, c := range p {
		if base64Value[c] < 0 {
			return false
		}
	}
	return base64Value[p[len(p)-1]]&(1<<unused-1) == 0
}

var base64Value = func() (t [256]int8) {
	for i := range t {
		t[i] = -1
	}
	for i, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		t[c] = int8(i)
	}
	return t
}()
