// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Role is what a key may sign.
type Role string

// Roles.
const (
	// RoleLead may sign aggregated attestation results.
	RoleLead Role = "lead"
	// RoleVerifier may sign partial attestation results for its schemes.
	RoleVerifier Role = "verifier"
	// RoleAttester may sign composite evidence (signed CMW), as lead attester.
	RoleAttester Role = "attester"
	// RoleNode may sign what one verifier node sends to another: relays and the
	// answers to them. It says nothing about evidence.
	RoleNode Role = "node"
	// RoleAuthor signs reference values, and nothing that this package knows of: a
	// key that is published for a file of authorities (corim.ParseTrust) is no
	// lead's where somebody names it as one.
	RoleAuthor Role = "author"
)

// Algorithms of RFC 7518 and RFC 8037 that keys may have.
const (
	ES256 = "ES256"
	ES384 = "ES384"
	EdDSA = "EdDSA"
)

const (
	maxText = 255  // kid, name and scheme, in bytes
	maxKeys = 4096 // keys of one set
)

// Key is one public key and what it may be used for.
type Key struct {
	// KID is the key identifier, 1 to 255 bytes, unique in a set.
	KID string
	// Public is an *ecdsa.PublicKey (P-256, P-384) or ed25519.PublicKey.
	Public crypto.PublicKey
	// Alg is ES256, ES384 or EdDSA and fits Public.
	Alg string
	// Roles are what the key may sign; at least one.
	Roles []Role
	// Schemes are the verifier schemes that a RoleVerifier key may sign for.
	// There is no wildcard.
	Schemes []string
	// Name is for people.
	Name string
	// NotAfter ends the use of the key; zero means no end.
	NotAfter time.Time
}

// Anchors is an immutable set of keys, safe for concurrent use. A nil or empty
// set trusts nobody.
type Anchors struct {
	keys map[string]Key
}

// NewAnchors makes a set. It is an error when a kid appears twice or is empty,
// a role or algorithm is unknown, a key has no role, or the algorithm does not
// fit the key.
func NewAnchors(keys ...Key) (*Anchors, error) {
	if len(keys) > maxKeys {
		return nil, fmt.Errorf("trust: %d keys, at most %d", len(keys), maxKeys)
	}
	a := &Anchors{keys: make(map[string]Key, len(keys))}
	for _, k := range keys {
		k, err := k.checked()
		if err != nil {
			return nil, fmt.Errorf("trust: key %q: %w", k.KID, err)
		}
		if _, dup := a.keys[k.KID]; dup {
			return nil, fmt.Errorf("trust: two keys with kid %q", k.KID)
		}
		a.keys[k.KID] = k
	}
	return a, nil
}

// Merge joins sets. A kid in two sets is an error, even for equal keys: which
// roles would hold is not for this function to guess.
func Merge(sets ...*Anchors) (*Anchors, error) {
	var keys []Key
	for _, s := range sets {
		keys = append(keys, s.Keys()...)
	}
	return NewAnchors(keys...)
}

// Lead finds a key that may sign aggregated results at the time now.
func (a *Anchors) Lead(kid string, now time.Time) (Key, bool) {
	return a.find(kid, RoleLead, now)
}

// Verifier finds a key that may sign partial results of one scheme at the time
// now. A key of another verifier is not found, whatever its signature.
func (a *Anchors) Verifier(kid, scheme string, now time.Time) (Key, bool) {
	k, ok := a.find(kid, RoleVerifier, now)
	if !ok || !slices.Contains(k.Schemes, scheme) {
		return Key{}, false
	}
	return k, true
}

// Attesters lists the keys that may sign composite evidence at the time now, in
// the order of their kid.
func (a *Anchors) Attesters(now time.Time) []crypto.PublicKey {
	var out []crypto.PublicKey
	for _, k := range a.Keys() {
		if k, ok := a.find(k.KID, RoleAttester, now); ok {
			out = append(out, k.Public)
		}
	}
	return out
}

// Keys lists copies of all keys in the order of their kid.
func (a *Anchors) Keys() []Key {
	if a == nil {
		return nil
	}
	out := make([]Key, 0, len(a.keys))
	for _, kid := range slices.Sorted(maps.Keys(a.keys)) {
		out = append(out, a.keys[kid].clone())
	}
	return out
}

func (a *Anchors) find(kid string, role Role, now time.Time) (Key, bool) {
	if a == nil {
		return Key{}, false
	}
	k, ok := a.keys[kid]
	if !ok || !slices.Contains(k.Roles, role) {
		return Key{}, false
	}
	if !k.NotAfter.IsZero() && now.After(k.NotAfter) {
		return Key{}, false
	}
	return k.clone(), true
}

func (k Key) clone() Key {
	k.Roles = slices.Clone(k.Roles)
	k.Schemes = slices.Clone(k.Schemes)
	if len(k.Schemes) == 0 {
		k.Schemes = nil // an empty list says the same as none
	}
	return k
}

// checked returns a copy of k that shares no memory with the caller's.
func (k Key) checked() (Key, error) {
	k = k.clone()
	if k.KID == "" || len(k.KID) > maxText || len(k.Name) > maxText {
		return k, fmt.Errorf("kid must have 1 to %d bytes, name at most %d", maxText, maxText)
	}
	if len(k.Roles) == 0 {
		return k, fmt.Errorf("no role")
	}
	for _, r := range k.Roles {
		switch r {
		case RoleLead, RoleVerifier, RoleAttester, RoleNode, RoleAuthor:
		default:
			return k, fmt.Errorf("unknown role %q", r)
		}
	}
	for _, s := range k.Schemes {
		if s == "" || len(s) > maxText {
			return k, fmt.Errorf("scheme must have 1 to %d bytes", maxText)
		}
	}
	alg, err := algorithm(k.Public)
	if err != nil {
		return k, err
	}
	if k.Alg != alg {
		return k, fmt.Errorf("algorithm %q does not fit the key, which is for %s", k.Alg, alg)
	}
	k.Public, err = clonePublic(k.Public)
	return k, err
}

// algorithm names the one algorithm that a public key is used with.
func algorithm(pub crypto.PublicKey) (string, error) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		switch {
		case p == nil:
		case p.Curve == elliptic.P256():
			return ES256, nil
		case p.Curve == elliptic.P384():
			return ES384, nil
		}
	case ed25519.PublicKey:
		if len(p) == ed25519.PublicKeySize {
			return EdDSA, nil
		}
	}
	return "", fmt.Errorf("unsupported key %T: want P-256, P-384 or Ed25519", pub)
}

// clonePublic copies a key and checks that its point lies on the curve.
func clonePublic(pub crypto.PublicKey) (crypto.PublicKey, error) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		raw, err := p.Bytes()
		if err != nil {
			return nil, fmt.Errorf("public key: %w", err)
		}
		return ecdsa.ParseUncompressedPublicKey(p.Curve, raw)
	case ed25519.PublicKey:
		return slices.Clone(p), nil
	}
	return nil, fmt.Errorf("unsupported key %T", pub)
}
