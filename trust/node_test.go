// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/schemas"
)

// testNode has one key of each role and a seal key of each suite.
func testNode(tb testing.TB, name string) Node {
	tb.Helper()
	relay := signer(tb, ES256).Key("relays", nil, RoleNode)
	relay.NotAfter = now.Add(time.Hour)
	return Node{
		Name: name,
		Keys: anchors(tb, relay,
			signer(tb, ES384).Key("tdx", []string{"intel-tdx"}, RoleVerifier),
			signer(tb, EdDSA).Key("lead", nil, RoleLead)),
		Seal: []SealKey{
			sealPrivate(tb, SuiteX25519).Public(now.Add(time.Hour)),
			sealPrivate(tb, SuiteHybrid).Public(time.Time{}),
		},
	}
}

func encoded(tb testing.TB, n Node) []byte {
	tb.Helper()
	raw, err := EncodeNode(n)
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func nodes(tb testing.TB, list ...Node) *Nodes {
	tb.Helper()
	n, err := NewNodes(list...)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// keyWith is the key of n that has the role.
func keyWith(tb testing.TB, n Node, role Role) Key {
	tb.Helper()
	for _, k := range n.Keys.Keys() {
		if slices.Contains(k.Roles, role) {
			return k
		}
	}
	tb.Fatalf("node %q has no key with the role %q", n.Name, role)
	return Key{}
}

func TestNodeRoundTrip(t *testing.T) {
	schema, err := schemas.Load("node.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	bare := testNode(t, "vendor-a")
	bare.Seal = nil
	for _, n := range []Node{testNode(t, "vendor-a"), testNode(t, strings.Repeat("9", 32)), bare} {
		raw := encoded(t, n)
		if err := schema.ValidateJSON(raw); err != nil {
			t.Error(err)
		}
		got, err := ParseNode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != n.Name || !reflect.DeepEqual(got.Keys.Keys(), n.Keys.Keys()) || !reflect.DeepEqual(got.Seal, n.Seal) {
			t.Errorf("got  %+v\nwant %+v", got, n)
		}
		if again := encoded(t, got); !bytes.Equal(raw, again) {
			t.Errorf("not deterministic:\n%s\n%s", raw, again)
		}
	}
}

// nodeEdit is a change of a node file and who must find it wrong. What only
// the parser can see (bytes behind a kid, points on a curve) has schema true.
type nodeEdit struct {
	name           string
	change         func(m map[string]any)
	schema, parser bool
}

func at(m map[string]any, list string, i int) map[string]any {
	if list == "keys" {
		m = m["keys"].(map[string]any)
	}
	return m[list].([]any)[i].(map[string]any)
}

// indexOf is the place of the key with a role in the JWK Set, which is sorted
// by kids, and so at random.
func indexOf(m map[string]any, role Role) int {
	for i, k := range m["keys"].(map[string]any)["keys"].([]any) {
		if slices.Contains(k.(map[string]any)["assize_roles"].([]any), any(string(role))) {
			return i
		}
	}
	return -1
}

func nodeEdits() []nodeEdit {
	top := func(name string, v any) func(map[string]any) {
		return func(m map[string]any) { put(m, name, v) }
	}
	seal := func(name string, v any) func(map[string]any) {
		return func(m map[string]any) { put(at(m, "seal", 0), name, v) }
	}
	key := func(role Role, name string, v any) func(map[string]any) {
		return func(m map[string]any) { put(at(m, "keys", indexOf(m, role)), name, v) }
	}
	many := func(list string, n int) func(map[string]any) {
		return func(m map[string]any) {
			item := at(m, list, 0)
			if list == "keys" {
				m = m["keys"].(map[string]any)
			}
			m[list] = slices.Repeat([]any{item}, n)
		}
	}
	// respell writes the right key in another way.
	respell := func(how func(string) string) func(map[string]any) {
		return func(m map[string]any) { at(m, "seal", 0)["public"] = how(at(m, "seal", 0)["public"].(string)) }
	}
	b64 := func(n int) string { return base64.RawURLEncoding.EncodeToString(make([]byte, n)) }
	return []nodeEdit{
		{"as it is", func(map[string]any) {}, true, true},
		{"no seal keys", top("seal", nil), true, true},
		{"no end", seal("not_after", nil), true, true},
		{"last end", seal("not_after", maxNodeUntil), true, true},
		{"member of a JWK", key(RoleNode, "x-more", []any{1}), true, true},
		{"member of the JWK set", func(m map[string]any) { m["keys"].(map[string]any)["more"] = 1 }, true, true},
		{"node and verifier", key(RoleNode, "assize_roles", []any{"node", "verifier"}), true, true},
		{"lead by default", key(RoleLead, "assize_roles", nil), true, true},

		{"kind", top("kind", "assize-extra-roots"), false, false},
		{"no kind", top("kind", nil), false, false},
		{"no name", top("name", nil), false, false},
		{"no keys", top("keys", nil), false, false},
		{"unknown member", top("note", "x"), false, false},
		{"case of a member", top("Name", "x"), false, false},
		{"null seal", top("seal", json.RawMessage("null")), false, false},
		{"empty seal", top("seal", []any{}), false, false},
		{"17 seal keys", many("seal", 17), false, false},
		{"seal key as text", top("seal", []any{"x"}), false, false},
		{"keys as a list", top("keys", []any{}), false, false},
		{"no signing key", func(m map[string]any) { m["keys"].(map[string]any)["keys"] = []any{} }, false, false},
		{"65 keys", many("keys", 65), false, false},
		{"node key without roles", key(RoleNode, "assize_roles", nil), false, false},
		{"node key as lead", key(RoleNode, "assize_roles", []any{"lead"}), false, false},
		{"misspelt role", key(RoleNode, "assize_roles", []any{"Node"}), false, false},
		{"attester", key(RoleLead, "assize_roles", []any{"attester"}), false, false},
		{"attester too", key(RoleNode, "assize_roles", []any{"node", "attester"}), false, false},
		{"schemes without the role", key(RoleNode, "assize_schemes", []any{"x"}), false, false},
		{"schemes without roles", func(m map[string]any) {
			k := at(m, "keys", indexOf(m, RoleLead))
			put(k, "assize_roles", nil)
			put(k, "assize_schemes", []any{"x"})
		}, false, false},
		{"empty scheme", key(RoleVerifier, "assize_schemes", []any{""}), false, false},
		{"misspelt privilege", key(RoleNode, "ASSIZE_role", []any{"node"}), false, false},
		{"private key", key(RoleNode, "d", "AA"), false, false},
		{"key to encrypt", key(RoleNode, "use", "enc"), false, false},
		{"key without kid", key(RoleNode, "kid", nil), false, false},
		{"key of another type", key(RoleNode, "kty", "RSA"), false, false},
		{"key of another curve", key(RoleNode, "crv", "P-521"), false, false},
		{"key end", key(RoleNode, "assize_not_after", 0), false, false},
		{"seal member", seal("use", "enc"), false, false},
		{"no kid", seal("kid", nil), false, false},
		{"kid as number", seal("kid", 1), false, false},
		{"short kid", seal("kid", "x"), false, false},
		{"no suite", seal("suite", nil), false, false},
		{"unknown suite", seal("suite", "xkeys"), false, false},
		{"suite of the other", seal("suite", string(SuiteHybrid)), false, false},
		{"no public", seal("public", nil), false, false},
		{"short public", seal("public", b64(31)), false, false},
		{"long public", seal("public", b64(33)), false, false},
		{"padded public", respell(func(s string) string { return s + "=" }), false, false},
		{"newline in public", respell(func(s string) string { return s + "\n" }), false, false},
		{"newline inside public", respell(func(s string) string { return s[:9] + "\r\n" + s[9:] }), false, false},
		{"standard base64", seal("public", strings.Repeat("+", 42)+"8"), false, false},
		{"end as text", seal("not_after", "1"), false, false},
		{"end as half", seal("not_after", 1.5), false, false},
		{"end at 0", seal("not_after", 0), false, false},
		{"end null", seal("not_after", json.RawMessage("null")), false, false},
		{"end too late", seal("not_after", maxNodeUntil+1), false, false},

		{"kid of no key", seal("kid", strings.Repeat("A", 43)), true, false},
		{"key of no kid", seal("public", b64(32)), true, false},
		{"loose bits in public", respell(func(s string) string {
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			return s[:42] + alphabet[strings.IndexByte(alphabet, s[42])+1:][:1]
		}), true, false},
		{"small order", func(m map[string]any) {
			at(m, "seal", 0)["public"], at(m, "seal", 0)["kid"] = b64(32), smallOrder(SuiteX25519).KID
		}, true, false},
		{"ML-KEM key out of range", func(m map[string]any) {
			s := SealKey{Suite: SuiteHybrid, Public: bytes.Repeat([]byte{0xff}, 1216)}
			at(m, "seal", 1)["public"] = base64.RawURLEncoding.EncodeToString(s.Public)
			at(m, "seal", 1)["kid"] = sealKID(s.Suite, s.Public)
		}, true, false},
		{"seal key twice", many("seal", 2), true, false},
		{"key twice", func(m map[string]any) {
			many("keys", 2)(m)
			for i := range 2 { // whichever key of the three it is
				put(at(m, "keys", i), "assize_schemes", nil)
				put(at(m, "keys", i), "assize_roles", []any{"node"})
			}
		}, true, false},
		{"end in exponents", seal("not_after", json.RawMessage("1e9")), true, false},
	}
}

func put(m map[string]any, name string, v any) {
	if v == nil {
		delete(m, name)
		return
	}
	m[name] = v
}

// names that the pattern of the schema and the loop of the parser judge.
var nodeNames = map[string]bool{
	"a": true, "vendor-a": true, "0": true, "-": true, strings.Repeat("z", 32): true,
	"": false, "A": false, "a.b": false, "a b": false, "a\n": false, "ä": false, "a_b": false, "*": false, ">": false,
	strings.Repeat("z", 33): false,
}

func TestNodeSchemaAndParserAgree(t *testing.T) {
	schema, err := schemas.Load("node.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	raw := encoded(t, testNode(t, "vendor-a"))
	edits := nodeEdits()
	for name, valid := range nodeNames {
		edits = append(edits, nodeEdit{fmt.Sprintf("name %q", name), func(m map[string]any) { m["name"] = name }, valid, valid})
	}
	for _, e := range edits {
		var m map[string]any
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		e.change(m)
		text, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.ValidateJSON(text); (err == nil) != e.schema {
			t.Errorf("%s: schema says %v", e.name, err)
		}
		if _, err := ParseNode(text); (err == nil) != e.parser {
			t.Errorf("%s: parser says %v", e.name, err)
		}
	}
	for name, bad := range map[string][]byte{
		"empty":        nil,
		"a list":       []byte("[]"),
		"trailing":     append(bytes.Clone(raw), '{'),
		"member twice": bytes.Replace(raw, []byte(`"name"`), []byte(`"kind"`), 1),
		"twice below":  bytes.Replace(raw, []byte(`"suite"`), []byte(`"kid"`), 1),
		"too large":    append(bytes.Clone(raw), bytes.Repeat([]byte(" "), MaxNode)...),
		"deep":         bytes.Replace(raw, []byte(`"kid"`), []byte(`"x":[[[[[[[[[[]]]]]]]]]],"kid"`), 1),
	} {
		if _, err := ParseNode(bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEncodeNodeRefuses(t *testing.T) {
	for name, change := range map[string]func(*Node){
		"name":        func(n *Node) { n.Name = "A" },
		"no keys":     func(n *Node) { n.Keys = nil },
		"no node key": func(n *Node) { n.Keys = n.Verifiers() },
		"seal key":    func(n *Node) { n.Seal[0].KID = "x" },
		"expiry":      func(n *Node) { n.Seal[0].NotAfter = time.Unix(-1, 0) },
		"far expiry":  func(n *Node) { n.Seal[0].NotAfter = time.Unix(maxNodeUntil+1, 0) },
		"twice":       func(n *Node) { n.Seal = append(n.Seal, n.Seal[0]) },
		"too many":    func(n *Node) { n.Seal = slices.Repeat(n.Seal, 9) },
		"too large": func(n *Node) {
			schemes := make([]string, 0, 1200)
			for i := range 1200 {
				schemes = append(schemes, fmt.Sprintf("%0255d", i))
			}
			n.Keys = anchors(t, signer(t, ES256).Key("", schemes, RoleNode, RoleVerifier))
		},
	} {
		n := testNode(t, "n")
		change(&n)
		if _, err := EncodeNode(n); err == nil {
			t.Errorf("%s: written", name)
		}
	}
}

// The role to sign between nodes is given by name and never by default, and no
// other role stands in for it.
func TestNodeRoleIsNeverADefault(t *testing.T) {
	a, err := ParseJWKS([]byte(`{"keys":[` + exampleKey + `,"kid":"1"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := a.find("1", RoleNode, now); ok {
		t.Error("became a node key by default")
	}
	if _, err := NewNodes(Node{Name: "n", Keys: a}); err == nil {
		t.Error("a lead key makes a node")
	}
	k := signer(t, ES256).Key("", []string{"s"}, RoleNode)
	set := anchors(t, k)
	if _, ok := set.Lead(k.KID, now); ok {
		t.Error("a node key may sign verdicts")
	}
	if _, ok := set.Verifier(k.KID, "s", now); ok {
		t.Error("a node key may sign results")
	}
	if len(set.Attesters(now)) != 0 {
		t.Error("a node key may sign evidence")
	}
}

func TestNodesSigner(t *testing.T) {
	a, b := testNode(t, "a"), testNode(t, "b")
	set := nodes(t, a, b)
	for _, n := range []Node{a, b} {
		k := keyWith(t, n, RoleNode)
		got, key, ok := set.Signer(k.KID, k.NotAfter)
		if !ok || got.Name != n.Name || key.KID != k.KID {
			t.Errorf("%s: %v %v %v", n.Name, got.Name, key, ok)
		}
		if _, _, ok := set.Signer(k.KID, k.NotAfter.Add(time.Second)); ok {
			t.Errorf("%s: expired key", n.Name)
		}
		for _, role := range []Role{RoleVerifier, RoleLead} {
			if _, _, ok := set.Signer(keyWith(t, n, role).KID, now); ok {
				t.Errorf("%s: a key with the role %q signs relays", n.Name, role)
			}
		}
	}
	for _, kid := range []string{"", "x", a.Seal[0].KID} {
		if _, _, ok := set.Signer(kid, now); ok {
			t.Errorf("kid %q signs", kid)
		}
	}
	if _, ok := set.Lookup("c"); ok || !slices.Equal(set.Names(), []string{"a", "b"}) {
		t.Errorf("names %v", set.Names())
	}
	for name, none := range map[string]*Nodes{"nil": nil, "zero": {}, "empty": nodes(t)} {
		_, _, signs := none.Signer(keyWith(t, a, RoleNode).KID, now)
		if _, ok := none.Lookup("a"); ok || signs || len(none.Names()) != 0 {
			t.Errorf("%s set trusts somebody", name)
		}
	}
}

func TestNodesCannotBeChanged(t *testing.T) {
	a := testNode(t, "a")
	set := nodes(t, a)
	want, _ := a.SealKey(now)
	want = want.clone()
	a.Seal[1].Public[0] ^= 1
	a.Seal[0] = SealKey{}
	got, _ := set.Lookup("a")
	got.Seal[1].Public[0] ^= 1
	got.Seal[0] = SealKey{}
	got, _ = set.Lookup("a")
	k, ok := got.SealKey(now)
	if !ok || !reflect.DeepEqual(k, want) || got.Seal[0].KID == "" {
		t.Error("the set was changed from outside")
	}
	k.Public[0] ^= 1
	if again, _ := got.SealKey(now); !reflect.DeepEqual(again, want) {
		t.Error("the node was changed by its seal key")
	}
}

func TestNewNodesRefuses(t *testing.T) {
	a, b := testNode(t, "a"), testNode(t, "b")
	relay, other := keyWith(t, a, RoleNode), signer(t, ES256).Key("", nil, RoleNode)
	node := func(name string, keys ...Key) Node { return Node{Name: name, Keys: anchors(t, keys...)} }
	asVerifier := relay
	asVerifier.Roles = []Role{RoleVerifier}
	renamed := relay
	renamed.KID = "other-kid"
	sameKID := other
	sameKID.KID = relay.KID
	sealed := node("c", other)
	sealed.Seal = a.Seal[:1]
	for name, list := range map[string][]Node{
		"name twice":             {a, testNode(t, "a")},
		"node twice":             {a, a},
		"kid in two":             {a, node("c", sameKID)},
		"kid in two, other role": {a, node("c", other, asVerifier)},
		"key in two":             {a, node("c", renamed)},
		"seal key in two":        {a, sealed},
		"no node key":            {b, node("c", signer(t, ES256).Key("", []string{"s"}, RoleVerifier, RoleLead))},
		"attester":               {node("c", relay, signer(t, ES256).Key("", nil, RoleAttester))},
		"zero":                   {{}},
		"no keys":                {{Name: "c"}},
		"bad name":               {node("C", other)},
		"bad seal key":           {{Name: "c", Keys: anchors(t, other), Seal: []SealKey{{KID: "x"}}}},
		"too many":               make([]Node, maxNodes+1),
	} {
		if _, err := NewNodes(list...); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	// One node may use one key under two names; it is still one node.
	if _, err := NewNodes(node("c", relay, renamed), b); err != nil {
		t.Error(err)
	}
}

// A node's results count under its own verifier keys for that scheme, in no
// other role, and under nobody else's.
func TestNodeVerifiers(t *testing.T) {
	s, e := signer(t, ES256), signer(t, EdDSA)
	both := s.Key("", []string{"intel-tdx"}, RoleNode, RoleLead, RoleVerifier)
	ended := e.Key("", []string{"nvidia-gpu"}, RoleVerifier)
	ended.NotAfter = now
	n := Node{Name: "a", Keys: anchors(t, both, ended)}
	b := testNode(t, "b")
	v := n.Verifiers()
	for _, c := range []struct {
		what, kid, scheme string
		at                time.Time
		want              bool
	}{
		{"own", both.KID, "intel-tdx", now, true},
		{"other scheme", both.KID, "nvidia-gpu", now, false},
		{"last second", ended.KID, "nvidia-gpu", now, true},
		{"ended", ended.KID, "nvidia-gpu", now.Add(time.Second), false},
		{"other node", keyWith(t, b, RoleVerifier).KID, "intel-tdx", now, false},
	} {
		if _, ok := v.Verifier(c.kid, c.scheme, c.at); ok != c.want {
			t.Errorf("%s: %v", c.what, ok)
		}
	}
	if _, ok := v.Lead(both.KID, now); ok {
		t.Error("verifiers of a node may sign verdicts")
	}
	for _, k := range b.Verifiers().Keys() {
		if !reflect.DeepEqual(k.Roles, []Role{RoleVerifier}) {
			t.Errorf("key %q has roles %v", k.KID, k.Roles)
		}
	}
	if len(b.Verifiers().Keys()) != 1 || len(Node{}.Verifiers().Keys()) != 0 {
		t.Error("keys without the role are verifiers")
	}
	if k, ok := n.Keys.Lead(both.KID, now); !ok || len(k.Roles) != 3 {
		t.Error("the node's own keys were changed")
	}
}

func TestSealKeyRotation(t *testing.T) {
	keys := make([]SealKey, 3)
	for i, end := range []time.Time{now.Add(time.Hour), {}, now.Add(time.Minute)} {
		keys[i] = sealPrivate(t, SuiteX25519).Public(end)
	}
	for _, c := range []struct {
		what string
		keys []SealKey
		at   time.Time
		want int // -1 for none
	}{
		{"newest", keys, now, 2},
		{"its last second", keys, now.Add(time.Minute), 2},
		{"the one before", keys, now.Add(time.Minute + 1), 1},
		{"overlap", []SealKey{keys[2], keys[0]}, now, 1},
		{"after the overlap", []SealKey{keys[2], keys[0]}, now.Add(2 * time.Minute), 1},
		{"newest ended first", []SealKey{keys[0], keys[2]}, now.Add(2 * time.Minute), 0},
		{"all ended", []SealKey{keys[0], keys[2]}, now.Add(2 * time.Hour), -1},
		{"none", nil, now, -1},
	} {
		k, ok := Node{Seal: c.keys}.SealKey(c.at)
		if ok != (c.want >= 0) || ok && k.KID != c.keys[c.want].KID || !ok && k.KID != "" {
			t.Errorf("%s: %v %v", c.what, k.KID, ok)
		}
	}
}

func FuzzParseNode(f *testing.F) {
	schema, err := schemas.Load("node.schema.json")
	if err != nil {
		f.Fatal(err)
	}
	s, err := NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		f.Fatal(err)
	}
	n := Node{Name: "n", Keys: anchors(f, s.Key("", []string{"s"}, RoleNode, RoleVerifier))}
	f.Add(encoded(f, n))
	n.Seal = []SealKey{sealPrivate(f, SuiteX25519).Public(now)}
	f.Add(encoded(f, n))
	f.Add(encoded(f, testNode(f, "vendor-a")))
	f.Add(bytes.Replace(encoded(f, n), []byte(`"s"`), nil, 1)) // no schemes, as an empty list
	f.Fuzz(func(t *testing.T, b []byte) {
		n, err := ParseNode(b)
		if err != nil {
			return
		}
		if err := schema.ValidateJSON(b); err != nil {
			t.Fatalf("the parser accepts what the schema refuses: %v", err)
		}
		if len(b) > MaxNode/8 {
			return // escapes and white space could make it too large to write
		}
		raw, err := EncodeNode(n)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseNode(raw)
		if err != nil || !reflect.DeepEqual(n, again) {
			t.Fatalf("no round trip: %v", err)
		}
		if _, err := NewNodes(n); err != nil {
			t.Fatal(err)
		}
	})
}

// Bounds on counts hold for things that are all right one by one.
func TestNodeCounts(t *testing.T) {
	for _, c := range []struct {
		keys, seals, nodes int
		want               bool
	}{
		{maxNodeKeys, maxSealKeys, 1, true}, {maxNodeKeys + 1, 0, 1, false}, {1, maxSealKeys + 1, 1, false},
		{1, 0, maxNodes, true}, {1, 0, maxNodes + 1, false},
	} {
		var list []Node
		for i := range c.nodes {
			n := Node{Name: fmt.Sprintf("n-%d", i)}
			var keys []Key
			for range c.keys {
				keys = append(keys, signer(t, EdDSA).Key("", nil, RoleNode))
			}
			for range c.seals {
				n.Seal = append(n.Seal, sealPrivate(t, SuiteX25519).Public(now))
			}
			n.Keys = anchors(t, keys...)
			list = append(list, n)
		}
		if _, err := NewNodes(list...); (err == nil) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
