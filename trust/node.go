// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Bounds of a node file and of a set of nodes.
const (
	// MaxNode is the largest node file in bytes.
	MaxNode = 256 << 10

	maxNodes     = 1024
	maxNodeName  = 32
	maxNodeKeys  = 64
	maxSealKeys  = 16
	maxNodeUntil = 253402300799 // the last second of the year 9999

	nodeKind  = "assize-node"
	nodeDepth = jwksDepth + 1 // the JWK Set is a member
)

// Node is what one verifier node knows of another: who it is, with which keys
// it signs, and to which keys evidence for it is sealed (decision D-27).
// Make one with ParseNode, or check one with NewNodes or EncodeNode.
type Node struct {
	// Name is 1 to 32 characters out of a to z, 0 to 9 and "-".
	Name string
	// Keys are 1 to 64 signing keys. At least one has RoleNode; none may have
	// RoleAttester, for no verifier says who may sign evidence.
	Keys *Anchors
	// Seal are at most 16 keys to seal to, from the oldest to the newest. A node
	// without any can be sent nothing that must be sealed.
	Seal []SealKey
}

// ParseNode reads a node file strictly: a JSON object with the members
//
//   - kind: "assize-node"
//   - name: text, see Node
//   - keys: a JWK Set as ParseJWKS reads it
//   - seal: array of objects, oldest first, optional but not empty
//
// A seal key has the members kid (its thumbprint, see SealKey), suite, public
// (base64url without padding) and optionally not_after (seconds since 1970, an
// integer). Other members are errors, except where ParseJWKS ignores them. At
// most MaxNode bytes. The schema is schemas/node.schema.json.
func ParseNode(b []byte) (Node, error) {
	if len(b) > MaxNode {
		return Node{}, fmt.Errorf("trust: node file of %d bytes, at most %d", len(b), MaxNode)
	}
	m, err := ParseObject(b, nodeDepth)
	if err != nil {
		return Node{}, err
	}
	if m["kind"] != nodeKind {
		return Node{}, fmt.Errorf("trust: not a node file: kind is not %q", nodeKind)
	}
	var n Node
	for _, name := range slices.Sorted(maps.Keys(m)) {
		switch v := m[name]; name {
		case "kind":
		case "name":
			n.Name, err = text(m, name, true)
		case "keys":
			n.Keys, err = nodeKeys(v)
		case "seal":
			n.Seal, err = parseSealKeys(v)
		default:
			err = fmt.Errorf("member %.32q is not understood", name)
		}
		if err != nil {
			return Node{}, fmt.Errorf("trust: node file: %w", err)
		}
	}
	return n.checked()
}

func nodeKeys(v any) (*Anchors, error) {
	set, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("keys is not a JWK Set")
	}
	return parseKeySet(set)
}

func parseSealKeys(v any) ([]SealKey, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxSealKeys {
		return nil, fmt.Errorf("seal: want an array of 1 to %d keys", maxSealKeys)
	}
	keys := make([]SealKey, 0, len(list))
	for i, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("seal key %d is not an object", i)
		}
		k, err := parseSealKey(m)
		if err != nil {
			return nil, fmt.Errorf("seal key %d: %w", i, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parseSealKey(m map[string]any) (SealKey, error) {
	var k SealKey
	for name := range m {
		switch name {
		case "kid", "suite", "public", "not_after":
		default:
			return k, fmt.Errorf("member %.32q is not understood", name)
		}
	}
	var err error
	if k.KID, err = text(m, "kid", true); err != nil {
		return k, err
	}
	suite, err := text(m, "suite", true)
	if err != nil {
		return k, err
	}
	k.Suite = Suite(suite)
	public, err := text(m, "public", true)
	if err != nil {
		return k, err
	}
	// The decoder skips line breaks, so spelling is compared.
	k.Public, err = base64.RawURLEncoding.DecodeString(public)
	if err != nil || base64.RawURLEncoding.EncodeToString(k.Public) != public {
		return k, errors.New("public is not base64url without padding")
	}
	if v, ok := m["not_after"]; ok {
		n, ok := v.(json.Number)
		sec, err := n.Int64()
		if !ok || err != nil {
			return k, errors.New("not_after is not an integer")
		}
		k.NotAfter = time.Unix(sec, 0).UTC()
		return k, checkUntil(sec)
	}
	return k, nil
}

func checkUntil(sec int64) error {
	if sec <= 0 || sec > maxNodeUntil {
		return fmt.Errorf("not_after is not within 1 to %d", maxNodeUntil)
	}
	return nil
}

// EncodeNode writes a node file. Equal nodes give equal bytes, and ParseNode
// gives the node back (times in whole seconds). A node that ParseNode would
// refuse is an error.
func EncodeNode(n Node) ([]byte, error) {
	n, err := n.checked()
	if err != nil {
		return nil, err
	}
	type sealKey struct {
		KID      string `json:"kid"`
		Suite    Suite  `json:"suite"`
		Public   string `json:"public"`
		NotAfter int64  `json:"not_after,omitempty"`
	}
	f := struct {
		Kind string          `json:"kind"`
		Name string          `json:"name"`
		Keys json.RawMessage `json:"keys"`
		Seal []sealKey       `json:"seal,omitempty"`
	}{Kind: nodeKind, Name: n.Name}
	if f.Keys, err = n.Keys.JWKS(); err != nil {
		return nil, err
	}
	for _, k := range n.Seal {
		s := sealKey{KID: k.KID, Suite: k.Suite, Public: base64.RawURLEncoding.EncodeToString(k.Public)}
		if !k.NotAfter.IsZero() {
			s.NotAfter = k.NotAfter.Unix()
		}
		f.Seal = append(f.Seal, s)
	}
	out, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	if out = append(out, '\n'); len(out) > MaxNode {
		return nil, fmt.Errorf("trust: node file of %d bytes, at most %d", len(out), MaxNode)
	}
	return out, nil
}

// checked returns a copy of n that shares no changeable memory with it.
func (n Node) checked() (Node, error) {
	if !validNodeName(n.Name) {
		return Node{}, fmt.Errorf("trust: node name %.64q: want 1 to %d of a-z, 0-9 and -", n.Name, maxNodeName)
	}
	if err := n.checkKeys(); err != nil {
		return Node{}, fmt.Errorf("trust: node %q: %w", n.Name, err)
	}
	if len(n.Seal) > maxSealKeys {
		return Node{}, fmt.Errorf("trust: node %q: %d seal keys, at most %d", n.Name, len(n.Seal), maxSealKeys)
	}
	seal := make([]SealKey, 0, len(n.Seal))
	for _, k := range n.Seal {
		k, err := k.checked()
		if err == nil && !k.NotAfter.IsZero() {
			err = checkUntil(k.NotAfter.Unix())
		}
		if err == nil && slices.ContainsFunc(seal, func(o SealKey) bool { return o.KID == k.KID }) {
			err = errors.New("appears twice")
		}
		if err != nil {
			return Node{}, fmt.Errorf("trust: node %q: seal key %.64q: %w", n.Name, k.KID, err)
		}
		seal = append(seal, k)
	}
	n.Seal = nil
	if len(seal) > 0 {
		n.Seal = seal
	}
	return n, nil
}

func (n Node) checkKeys() error {
	keys := n.Keys.Keys()
	if len(keys) > maxNodeKeys {
		return fmt.Errorf("%d keys, at most %d", len(keys), maxNodeKeys)
	}
	signs := false
	for _, k := range keys {
		for _, r := range []Role{RoleAttester, RoleAuthor} {
			if slices.Contains(k.Roles, r) {
				return fmt.Errorf("key %q has the role %q, which no verifier gives", k.KID, r)
			}
		}
		signs = signs || slices.Contains(k.Roles, RoleNode)
	}
	if !signs {
		return fmt.Errorf("no key with the role %q", RoleNode)
	}
	return nil
}

func validNodeName(s string) bool {
	if s == "" || len(s) > maxNodeName {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// Verifiers are the anchors of this node's own partial results: its keys with
// RoleVerifier, for their schemes, and of each no role but that one. A partial
// result that a node answers with counts only under these, never under another
// node's or a union of several.
func (n Node) Verifiers() *Anchors {
	a := &Anchors{keys: map[string]Key{}}
	for _, k := range n.Keys.Keys() {
		if slices.Contains(k.Roles, RoleVerifier) {
			k.Roles = []Role{RoleVerifier}
			a.keys[k.KID] = k
		}
	}
	return a
}

// SealKey is the newest key, the last in the list, that has not expired at the
// time now. Without one nothing may be sent that must be sealed.
func (n Node) SealKey(now time.Time) (SealKey, bool) {
	for _, k := range slices.Backward(n.Seal) {
		if k.NotAfter.IsZero() || !now.After(k.NotAfter) {
			return k.clone(), true
		}
	}
	return SealKey{}, false
}

// Nodes is an immutable set of peers, safe for concurrent use. A nil or empty
// set trusts nobody.
type Nodes struct {
	byName map[string]Node
	byKID  map[string]string // signing kid to name
}

// NewNodes makes a set of at most 1024. It is an error when a node is not as
// ParseNode would read it, a name appears twice, or two nodes share a kid or a
// public key, whatever the role: they could not be told apart, and would not be
// two opinions.
func NewNodes(nodes ...Node) (*Nodes, error) {
	if len(nodes) > maxNodes {
		return nil, fmt.Errorf("trust: %d nodes, at most %d", len(nodes), maxNodes)
	}
	set := &Nodes{byName: make(map[string]Node, len(nodes)), byKID: map[string]string{}}
	prints, seals := map[string]string{}, map[string]string{}
	for _, n := range nodes {
		n, err := n.checked()
		if err != nil {
			return nil, err
		}
		if _, dup := set.byName[n.Name]; dup {
			return nil, fmt.Errorf("trust: two nodes with the name %q", n.Name)
		}
		set.byName[n.Name] = n
		for _, k := range n.Keys.Keys() {
			if err := claim(set.byKID, k.KID, n.Name); err != nil {
				return nil, err
			}
			mark, err := thumbprint(k.Public)
			if err != nil {
				return nil, err
			}
			if err := claim(prints, mark, n.Name); err != nil {
				return nil, err
			}
		}
		for _, k := range n.Seal {
			if err := claim(seals, k.KID, n.Name); err != nil {
				return nil, err
			}
		}
	}
	return set, nil
}

// claim records the one node that an identifier belongs to.
func claim(owners map[string]string, id, name string) error {
	if other, taken := owners[id]; taken && other != name {
		return fmt.Errorf("trust: nodes %q and %q share the key %q", other, name, id)
	}
	owners[id] = name
	return nil
}

// Names lists the names in alphabetical order.
func (n *Nodes) Names() []string {
	if n == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(n.byName))
}

// Lookup finds a node by its name.
func (n *Nodes) Lookup(name string) (Node, bool) {
	if n == nil {
		return Node{}, false
	}
	node, ok := n.byName[name]
	return node.clone(), ok
}

// Signer finds the node and the key with RoleNode that may have signed a relay,
// or the answer to one, at the time now.
func (n *Nodes) Signer(kid string, now time.Time) (Node, Key, bool) {
	if n == nil {
		return Node{}, Key{}, false
	}
	node, ok := n.Lookup(n.byKID[kid])
	if !ok {
		return Node{}, Key{}, false
	}
	k, ok := node.Keys.find(kid, RoleNode, now)
	if !ok {
		return Node{}, Key{}, false
	}
	return node, k, true
}

func (n Node) clone() Node {
	seal := slices.Clone(n.Seal)
	for i := range seal {
		seal[i] = seal[i].clone()
	}
	n.Seal = seal
	return n
}
