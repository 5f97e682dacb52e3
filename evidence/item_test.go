// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/assize/assize/internal/limits"
)

// nonceRecord is a nonce of 32 bytes.
func nonceRecord(b byte) string {
	return `["application/octet-stream","` + base64.RawURLEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) + `"]`
}

// deviceItem is a device of NVIDIA's collection; more are further entries.
func deviceItem(more ...string) string {
	return strings.Join(append([]string{`{"__cmwc_t": "` + nvidiaItem + `"`, ` "evidence" : ["application/vnd.nvidia.spdm-measurement-transcript","EeAB"]`}, more...), ",") + " }"
}

// verifierInput is a collection of NVIDIA's profile.
func verifierInput(entries ...string) []byte {
	return []byte(strings.Join(append([]string{`{"__cmwc_t":"` + nvidiaInput + `"`}, entries...), ",") + "}")
}

// cborItem has one record of one byte.
func cborItem() []byte {
	raw := appendBytes(appendHead(nil, 5, 2), 3, []byte(CollectionTypeKey))
	raw = appendBytes(appendBytes(raw, 3, []byte(nvidiaItem)), 3, []byte("evidence"))
	return append(raw, appendBytes(append(appendHead(nil, 4, 2), appendBytes(nil, 3, []byte("a/b"))...), 2, []byte{1})...)
}

func itemSeeds(tb testing.TB) [][]byte {
	tb.Helper()
	embedded := base64.RawURLEncoding.EncodeToString([]byte(deviceItem()))
	return [][]byte{
		[]byte(deviceItem()), []byte(deviceItem(`"nonce":` + nonceRecord(1))), cborItem(),
		verifierInput(`"nonce":`+nonceRecord(1), `"gpu_0":`+deviceItem(`"nonce":`+nonceRecord(1)), `"gpu_1":`+deviceItem()),
		[]byte(`{"cpu":` + rec1 + `,"gpus":` + string(verifierInput(`"gpu_0":`+deviceItem())) + `,"nic":` + deviceItem() + `}`),
		[]byte(`{"a":["` + TypeCMWJSON + `","` + embedded + `"],"b":["` + TypeNVIDIAItem + `","` + embedded + `"]}`),
		verifierInput(`"gpu_0":["` + TypeNVIDIAItem + `","` + embedded + `"]`),
	}
}

// A device is one leaf, and its value are the bytes that were received.
func TestItemIsALeaf(t *testing.T) {
	one, two := deviceItem(`"nonce":`+nonceRecord(1)), deviceItem(`"x":{"y":`+rec1+`}`)
	raw := []byte(`{"cpu":` + rec1 + `, "gpus": ` + string(verifierInput(`"nonce":`+nonceRecord(1), `"gpu_0":`+one)) + `,"gpu_9" :` + two + `}`)
	tree := wantRule(t, raw, Options{}, "")
	leaves := tree.Leaves()
	if len(leaves) != 3 || leaves[0].Path() != "cpu" || leaves[1].Path() != "gpu_9" || leaves[2].Path() != "gpus/gpu_0" {
		t.Fatalf("leaves\n%s", describe(tree))
	}
	for i, want := range map[int]string{1: two, 2: one} {
		n := leaves[i]
		if string(n.Value()) != want || string(n.Raw()) != want || n.Digest() != sha256.Sum256([]byte(want)) || n.Kind() != KindItem || n.Kind().String() != "item" ||
			n.MediaType().String() != TypeNVIDIAItem || n.CollectionType() != nvidiaItem || n.Children() != nil || n.Indicator() != 0 || cap(n.Value()) != len(want) {
			t.Errorf("leaf %q: %s %s %q", n.Path(), n.Kind(), n.MediaType(), n.Value())
		}
		if tree.LeafDigests()[n.Path()] != sha512.Sum384([]byte(want)) {
			t.Errorf("commitment does not cover %q", n.Path())
		}
	}
	if len(tree.LeafDigests()) != 3 {
		t.Errorf("%d digests", len(tree.LeafDigests()))
	}
	for _, p := range []Path{"gpus/gpu_0/evidence", "gpu_9/x", "gpu_9/x/y"} {
		if _, ok := tree.Lookup(p); ok {
			t.Errorf("%q is a node of its own", p)
		}
	}
	if n, ok := tree.Lookup("gpus/nonce"); !ok || n.Kind() != KindClaims || n.Leaf() {
		t.Error("the nonce of the collection is a component")
	}
	checkInvariants(t, tree)
	for _, raw := range itemSeeds(t) {
		tree := wantRule(t, raw, Options{}, "")
		checkInvariants(t, tree)
		roundTrip(t, tree)
	}
	// The form in CBOR is a leaf that nobody takes for the one in JSON.
	if n := wantRule(t, cborItem(), Options{}, "").Leaves()[0]; n.MediaType().Base != typeNVIDIAItemCBOR || !bytes.Equal(n.Value(), cborItem()) {
		t.Errorf("%s", n.MediaType())
	}
}

// What declares a collection of a type may hold an item of that type.
func TestItemDeclared(t *testing.T) {
	declared := func(cmwType string) Options {
		return Options{MediaType: MediaType{Base: TypeCMWJSON}.With(paramCollectionType, cmwType).String()}
	}
	wantRule(t, []byte(deviceItem()), declared(nvidiaItem), "")
	wantRule(t, []byte(deviceItem()), declared(nvidiaInput), "CMW-38")
	wantRule(t, verifierInput(`"gpu_0":`+deviceItem()), declared(nvidiaInput), "")
}

func TestItemRules(t *testing.T) {
	item := deviceItem()
	for name, c := range map[string]struct {
		raw  []byte
		want string
	}{
		"settings":                {verifierInput(`"gpu_0":`+item, `"appraisal-settings":["application/json","e30"]`), RuleNVIDIA},
		"settings that are none":  {verifierInput(`"gpu_0":`+item, `"appraisal-settings":`+item), RuleNVIDIA},
		"no device":               {verifierInput(`"nonce":` + nonceRecord(1)), RuleNVIDIA},
		"a record":                {verifierInput(`"gpu_0":`+item, `"cpu":`+rec1), RuleNVIDIA},
		"a collection":            {verifierInput(`"gpu_0":`+item, `"more":{"gpu_1":`+item+`}`), RuleNVIDIA},
		"another type":            {verifierInput(`"gpu_0":` + strings.Replace(item, "/v1", "/v2", 1)), RuleNVIDIA},
		"a device for a nonce":    {verifierInput(`"gpu_0":`+item, `"nonce":`+item), RuleNVIDIA},
		"short nonce":             {verifierInput(`"gpu_0":`+item, `"nonce":["application/octet-stream","AQ"]`), RuleNVIDIA},
		"nonce of another type":   {verifierInput(`"gpu_0":`+item, `"nonce":`+strings.Replace(nonceRecord(1), "octet-stream", "json", 1)), RuleNVIDIA},
		"nonce with ind":          {verifierInput(`"gpu_0":`+item, `"nonce":`+strings.TrimSuffix(nonceRecord(1), "]")+`,4]`), RuleNVIDIA},
		"two nonces":              {verifierInput(`"nonce":`+nonceRecord(1), `"gpu_0":`+deviceItem(`"nonce":`+nonceRecord(2))), RuleNVIDIA},
		"two nonces, nonce last":  {verifierInput(`"gpu_0":`+deviceItem(`"nonce":`+nonceRecord(2)), `"nonce":`+nonceRecord(1)), RuleNVIDIA},
		"device twice":            {verifierInput(`"gpu_0":`+item, `"gpu_0":`+item), "CMW-19"},
		"entry of a device twice": {[]byte(deviceItem(`"evidence":` + rec1)), "CMW-19"},
		"type of a device twice":  {[]byte(deviceItem(`"__cmwc_t":"` + nvidiaItem + `"`)), "CMW-19"},
		"bad base64 in a device":  {[]byte(deviceItem(`"nonce":["a/b","A="]`)), "CMW-06"},
		"number in a device":      {[]byte(deviceItem(`"nonce":1`)), "CMW-24"},
		"empty device":            {[]byte(`{"__cmwc_t":"` + nvidiaItem + `"}`), "CMW-17"},
		"data behind a device":    {[]byte(item + "{}"), "CMW-03"},
	} {
		t.Run(name, func(t *testing.T) { wantRule(t, c.raw, Options{}, c.want) })
	}
	// What stands in a device is not a component, and hides none.
	nested := wantRule(t, []byte(`{"a":`+deviceItem(`"inner":`+item)+`,"b":`+rec1+`}`), Options{}, "")
	if l := nested.Leaves(); len(l) != 2 || l[0].Path() != "a" || l[1].Path() != "b" {
		t.Errorf("leaves\n%s", describe(nested))
	}
}

// Limits hold for a device as for any leaf.
func TestItemLimits(t *testing.T) {
	many := make([]string, 3)
	for i := range many {
		many[i] = fmt.Sprintf(`"gpu_%d":%s`, i, deviceItem())
	}
	raw := verifierInput(many...)
	wantRule(t, raw, Options{Limits: limits.Evidence{Leaves: 3}}, "")
	wantRule(t, raw, Options{Limits: limits.Evidence{Leaves: 2}}, RuleLeaves)
	wantRule(t, raw, Options{Limits: limits.Evidence{Leaf: len(deviceItem())}}, "")
	wantRule(t, raw, Options{Limits: limits.Evidence{Leaf: len(deviceItem()) - 1}}, RuleLeafSize)
	wantRule(t, raw, Options{Limits: limits.Evidence{Depth: 2}}, "")
	wantRule(t, raw, Options{Limits: limits.Evidence{Depth: 1}}, RuleDepth)
}

// A ratsd token has one record for each of its attesters, and never a device of
// another profile.
func TestItemInRatsd(t *testing.T) {
	token := unhex(t, ratsdV2Hex)
	tree := wantRule(t, token, Options{}, "")
	it := tree.Root().Content().Item()
	for i := range it.entries {
		if it.entries[i].Label != ratsdClaimsLabel {
			it.entries[i].Item = Collection(nvidiaItem, Entry{Label: "evidence", Item: it.entries[i].Item})
		}
	}
	raw, err := EncodeCBOR(it)
	if err != nil {
		t.Fatal(err)
	}
	wantRule(t, raw, Options{}, RuleRatsd)
}
