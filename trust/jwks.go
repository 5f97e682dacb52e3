// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
)

// MaxJWKS is the largest JWK Set in bytes that ParseJWKS reads.
const MaxJWKS = 4 << 20

const jwksDepth = 8

// Private members of a JWK.
const (
	memberPrefix   = "assize_"
	memberRoles    = "assize_roles"
	memberSchemes  = "assize_schemes"
	memberName     = "assize_name"
	memberNotAfter = "assize_not_after"
)

// Members that only private or symmetric keys have (RFC 7518 section 6).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// ParseJWKS reads a JWK Set (RFC 7517) strictly. Each key must have a kid and
// be a public P-256, P-384 or Ed25519 key; use must be "sig" or absent; alg, if
// present, must fit the key. A set with a private or symmetric key is refused
// as a whole. Private members say what a key may do:
//
//   - assize_roles: array of "lead", "verifier", "attester", "node", "author"
//   - assize_schemes: array of scheme names a verifier key may sign for
//   - assize_name: text for people
//   - assize_not_after: seconds since 1970 as an integer
//
// A key without assize_roles is a lead key only, never one of another role. Other
// unknown members are ignored. At most MaxJWKS bytes.
func ParseJWKS(b []byte) (*Anchors, error) {
	if len(b) > MaxJWKS {
		return nil, fmt.Errorf("trust: JWK Set of %d bytes, at most %d", len(b), MaxJWKS)
	}
	set, err := ParseObject(b, jwksDepth)
	if err != nil {
		return nil, err
	}
	return parseKeySet(set)
}

// parseKeySet reads a JWK Set that ParseObject has read.
func parseKeySet(set map[string]any) (*Anchors, error) {
	list, ok := set["keys"].([]any)
	if !ok {
		return nil, errors.New("trust: JWK Set without an array \"keys\"")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("trust: JWK Set of %d keys, at most %d", len(list), maxKeys)
	}
	keys := make([]Key, 0, len(list))
	for i, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("trust: key %d of the JWK Set is not an object", i)
		}
		k, err := parseJWK(m)
		if err != nil {
			return nil, fmt.Errorf("trust: key %d of the JWK Set: %w", i, err)
		}
		keys = append(keys, k)
	}
	return NewAnchors(keys...)
}

func parseJWK(m map[string]any) (Key, error) {
	var k Key
	for _, name := range privateMembers {
		if _, bad := m[name]; bad {
			return k, fmt.Errorf("private or symmetric key member %q", name)
		}
	}
	if err := checkUse(m); err != nil {
		return k, err
	}
	var err error
	if k.KID, err = text(m, "kid", true); err != nil {
		return k, err
	}
	if err := publicKey(&k, m); err != nil {
		return k, err
	}
	if k.Name, err = text(m, memberName, false); err != nil {
		return k, err
	}
	return k, privileges(&k, m)
}

func checkUse(m map[string]any) error {
	if use, ok := m["use"]; ok && use != "sig" {
		return errors.New("use is not \"sig\"")
	}
	ops, ok := m["key_ops"]
	if !ok {
		return nil
	}
	if list, _ := ops.([]any); len(list) != 1 || list[0] != "verify" {
		return errors.New("key_ops is not [\"verify\"]")
	}
	return nil
}

func publicKey(k *Key, m map[string]any) error {
	bare := make(map[string]string, 4)
	for _, name := range []string{"kty", "crv", "x", "y"} {
		if _, ok := m[name]; !ok {
			continue
		}
		v, err := text(m, name, true)
		if err != nil {
			return err
		}
		bare[name] = v
	}
	if kty := bare["kty"]; kty != "EC" && kty != "OKP" {
		return fmt.Errorf("key type %q: want EC or OKP", kty)
	}
	raw, err := json.Marshal(bare)
	if err != nil {
		return err
	}
	parsed, err := jwk.ParseKey(raw)
	if err != nil {
		return err
	}
	if err := jwk.Export(parsed, &k.Public); err != nil {
		return err
	}
	if k.Alg, err = algorithm(k.Public); err != nil {
		return err
	}
	if alg, ok := m["alg"]; ok && alg != k.Alg {
		return fmt.Errorf("alg %v does not fit the key, which is for %s", alg, k.Alg)
	}
	return nil
}

// privileges reads our own members. A misspelt one, or a list of schemes for a
// key that is no verifier's, is an error: what somebody meant to restrict must
// not become the default.
func privileges(k *Key, m map[string]any) error {
	for name := range m {
		switch name {
		case memberRoles, memberSchemes, memberName, memberNotAfter:
			continue
		}
		if len(name) >= len(memberPrefix) && strings.EqualFold(name[:len(memberPrefix)], memberPrefix) {
			return fmt.Errorf("unknown member %.64q", name)
		}
	}
	k.Roles = []Role{RoleLead}
	if _, ok := m[memberRoles]; ok {
		roles, err := texts(m, memberRoles)
		if err != nil {
			return err
		}
		k.Roles = nil
		for _, r := range roles {
			k.Roles = append(k.Roles, Role(r))
		}
	}
	if _, ok := m[memberSchemes]; ok {
		schemes, err := texts(m, memberSchemes)
		if err != nil {
			return err
		}
		k.Schemes = schemes
		if !slices.Contains(k.Roles, RoleVerifier) {
			return fmt.Errorf("%s for a key without the role %q", memberSchemes, RoleVerifier)
		}
	}
	if v, ok := m[memberNotAfter]; ok {
		n, ok := v.(json.Number)
		sec, err := n.Int64()
		if !ok || err != nil || sec <= 0 {
			return fmt.Errorf("%s is not a positive integer", memberNotAfter)
		}
		k.NotAfter = time.Unix(sec, 0).UTC()
	}
	return nil
}

func text(m map[string]any, name string, required bool) (string, error) {
	v, ok := m[name]
	if !ok && !required {
		return "", nil
	}
	s, isText := v.(string)
	if !ok || !isText {
		return "", fmt.Errorf("member %q is missing or not a text", name)
	}
	return s, nil
}

func texts(m map[string]any, name string) ([]string, error) {
	list, ok := m[name].([]any)
	if !ok {
		return nil, fmt.Errorf("member %q is not an array", name)
	}
	out := make([]string, 0, len(list))
	for _, v := range list {
		s, ok := v.(string)
		if !ok || slices.Contains(out, s) {
			return nil, fmt.Errorf("member %q must hold distinct texts", name)
		}
		out = append(out, s)
	}
	return out, nil
}

// JWKS renders the set as a JWK Set in the order of the kids. Equal sets give
// equal bytes, and ParseJWKS gives the set back (NotAfter in whole seconds).
func (a *Anchors) JWKS() ([]byte, error) {
	list := []map[string]any{}
	for _, k := range a.Keys() {
		m, err := k.jwk()
		if err != nil {
			return nil, fmt.Errorf("trust: key %q: %w", k.KID, err)
		}
		list = append(list, m)
	}
	return json.Marshal(map[string]any{"keys": list})
}

func (k Key) jwk() (map[string]any, error) {
	key, err := jwk.Import(k.Public)
	if err != nil {
		return nil, err
	}
	raw, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	m["kid"], m["alg"], m["use"], m[memberRoles] = k.KID, k.Alg, "sig", k.Roles
	if len(k.Schemes) > 0 {
		m[memberSchemes] = k.Schemes
	}
	if k.Name != "" {
		m[memberName] = k.Name
	}
	if !k.NotAfter.IsZero() {
		m[memberNotAfter] = k.NotAfter.Unix()
	}
	return m, nil
}
