// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/assize/assize/trust"
)

const (
	// MaxKeySet is the largest JWK Set in bytes, MaxKeys the number of its keys.
	MaxKeySet = 256 << 10
	// MaxKeys bounds the keys of a set, those that are no use here included.
	MaxKeys = 64
	maxKID  = 255
)

// ParseKeys reads the service's JWK Set (RFC 7517) strictly and returns its keys
// for ES384 by key id. Keys of other kinds are left out. A set with a private
// key, two keys with one id, a point that is not on the curve, or a key whose
// first certificate (x5c) has another one, is refused as a whole.
func ParseKeys(raw []byte) (map[string]trust.Key, error) {
	if len(raw) > MaxKeySet {
		return nil, fmt.Errorf("nras: JWK Set of %d bytes, at most %d", len(raw), MaxKeySet)
	}
	m, err := trust.ParseObject(raw, maxDepth)
	if err != nil {
		return nil, fmt.Errorf("nras: JWK Set: %w", err)
	}
	list, ok := m["keys"].([]any)
	if !ok || len(list) > MaxKeys {
		return nil, fmt.Errorf("nras: JWK Set without keys, or with more than %d", MaxKeys)
	}
	out := map[string]trust.Key{}
	for i, v := range list {
		k, use, err := parseKey(v)
		if err != nil {
			return nil, fmt.Errorf("nras: key %d of the JWK Set: %w", i, err)
		}
		if !use {
			continue
		}
		if _, dup := out[k.KID]; dup {
			return nil, fmt.Errorf("nras: JWK Set with two keys %.64q", k.KID)
		}
		out[k.KID] = k
	}
	return out, nil
}

// parseKey reports whether a key is of the kind that tokens are signed with.
func parseKey(v any) (k trust.Key, use bool, err error) {
	m, ok := v.(map[string]any)
	if !ok {
		return k, false, errors.New("no object")
	}
	if _, private := m["d"]; private {
		return k, false, errors.New("a private key")
	}
	if m["kty"] != "EC" || m["crv"] != "P-384" {
		return k, false, nil
	}
	if alg, there := m["alg"]; there && alg != trust.ES384 {
		return k, false, nil
	}
	if what, there := m["use"]; there && what != "sig" {
		return k, false, nil
	}
	kid, _ := m["kid"].(string)
	if kid == "" || len(kid) > maxKID {
		return k, false, fmt.Errorf("a key id of %d bytes, expected 1 to %d", len(kid), maxKID)
	}
	public, err := point(m)
	if err != nil {
		return k, false, err
	}
	if err := certified(m["x5c"], public); err != nil {
		return k, false, err
	}
	return trust.Key{KID: kid, Public: public, Alg: trust.ES384}, true, nil
}

// point reads x and y, which must be on the curve.
func point(m map[string]any) (*ecdsa.PublicKey, error) {
	bare, err := json.Marshal(map[string]any{"kty": "EC", "crv": "P-384", "x": m["x"], "y": m["y"]})
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(bare)
	if err != nil {
		return nil, err
	}
	var key any
	if err := jwk.Export(parsed, &key); err != nil {
		return nil, err
	}
	public, ok := key.(*ecdsa.PublicKey)
	if !ok || public.Curve != elliptic.P384() {
		return nil, errors.New("not on P-384")
	}
	if _, err := public.ECDH(); err != nil {
		return nil, errors.New("a point that is not on the curve")
	}
	return public, nil
}

// certified holds the key against the first certificate, if there are any.
func certified(x5c any, public *ecdsa.PublicKey) error {
	if x5c == nil {
		return nil
	}
	list, _ := x5c.([]any)
	if len(list) == 0 {
		return errors.New("x5c is no list of certificates")
	}
	text, _ := list[0].(string)
	der, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return fmt.Errorf("x5c: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("x5c: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return err
	}
	if !bytes.Equal(spki, c.RawSubjectPublicKeyInfo) {
		return errors.New("the first certificate in x5c has another key")
	}
	return nil
}
