// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"github.com/assize/assize/internal/limits"
)

// roomy are limits for what an encoder makes of an accepted message: quoting a
// parameter, for example, makes a media type longer.
var roomy = limits.Evidence{Composite: 1 << 30, Leaf: 1 << 30, Depth: 64, Leaves: 1 << 20, Labels: 1 << 20, Label: 1 << 20, MediaType: 1 << 20}

// sameLeaves compares what must survive a change of encoding.
func sameLeaves(a, b *Tree) bool {
	x, y := a.Leaves(), b.Leaves()
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if x[i].Path() != y[i].Path() || !x[i].MediaType().Equal(y[i].MediaType()) ||
			!bytes.Equal(x[i].Value(), y[i].Value()) || x[i].Indicator() != y[i].Indicator() {
			return false
		}
	}
	return true
}

// jsonCannot reports whether the outer encoding has something that JSON lacks.
func jsonCannot(n *Node) bool {
	if n.kind == KindCollection {
		for _, c := range n.children {
			if c.label.isInt || jsonCannot(c) {
				return true
			}
		}
		return false
	}
	if len(n.children) == 1 && isRatsdType(n.media) {
		return jsonCannot(n.children[0])
	}
	return strings.HasPrefix(n.media.Base, "cf:")
}

// roundTrip re-encodes a tree both ways and reads it back.
func roundTrip(t *testing.T, tree *Tree) {
	t.Helper()
	o := Options{Limits: roomy, UnverifiedSignaturesUnsafe: true}
	it := tree.Root().Item()
	raw, err := EncodeCBOR(it)
	if err != nil {
		t.Fatalf("to CBOR: %v", err)
	}
	back, err := Parse(raw, o)
	if err != nil {
		t.Fatalf("own CBOR %x: %v", raw, err)
	}
	if !sameLeaves(tree, back) {
		t.Errorf("CBOR changed the leaves:\n%s\n%s", describe(tree), describe(back))
	}
	again, err := EncodeCBOR(back.Root().Item())
	if err != nil || !bytes.Equal(raw, again) {
		t.Errorf("own CBOR %x becomes %x, %v", raw, again, err)
	}
	text, err := EncodeJSON(it)
	if jsonCannot(tree.Root()) {
		var e *Error
		if !errors.As(err, &e) || e.Rule != RuleEncode {
			t.Errorf("JSON of integer labels or unknown Content-Formats: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatalf("to JSON: %v", err)
	}
	o.MediaType = TypeCMWJSON
	if back, err = Parse(text, o); err != nil {
		t.Fatalf("own JSON %s: %v", text, err)
	}
	if !ratsdClaimsVisible(tree) && !sameLeaves(tree, back) {
		t.Errorf("JSON changed the leaves:\n%s\n%s", describe(tree), describe(back))
	}
}

// ratsdClaimsVisible: the claims record of a ratsd v2 collection means
// something in CBOR only, in JSON it is a leaf like any other.
func ratsdClaimsVisible(t *Tree) bool { return t.Ratsd() != nil && t.Ratsd().Version == 2 }

func TestEncodeExact(t *testing.T) {
	n := func(v int64) *int64 { return &v }
	r := Record(MediaType{Base: "a/b"}, []byte{1}, 0)
	for _, c := range []struct {
		name       string
		it         Item
		cbor, json string
	}{
		{"record", r, crec, rec1},
		{"ind", Record(MediaType{Base: "a/b"}, []byte{1}, IndPolicy), "8363612f62410110", `["a/b","AQ",16]`},
		{"number", ContentFormatRecord(267, []byte{0xa0}, IndEvidence), "8319010b41a004", `["application/eat-ucs+cbor","oA",4]`},
		{"tag", Tag(60, []byte{1}), "da6374013d4101", `["application/cbor","AQ"]`},
		{"parameter", Record(MediaType{Base: "a/b"}.With("p", `q"r\`), []byte{1}, 0),
			"826f" + hex.EncodeToString([]byte(`a/b; p="q\"r\\"`)) + "4101", `["a/b; p=\"q\\\"r\\\\\"","AQ"]`},
		{"order", Collection("a:b", Entry{Label: "b", Item: r}, Entry{Label: "aa", Item: r}, Entry{Label: "a", Item: r}),
			"a4" + "6161" + crec + "6162" + crec + "626161" + crec + "685f5f636d77635f74" + "63613a62",
			`{"__cmwc_t":"a:b","a":["a/b","AQ"],"aa":["a/b","AQ"],"b":["a/b","AQ"]}`},
		{"integers", Collection("", Entry{Int: n(-1), Item: r}, Entry{Int: n(1000), Item: r}, Entry{Label: "1", Item: r}, Entry{Int: n(1), Item: r}),
			"a4" + "01" + crec + "1903e8" + crec + "20" + crec + "6131" + crec, ""},
		{"escapes", Collection("", Entry{Label: "\"\\\u2028é", Item: r}), "a1" + "67" + "225ce280a8c3a9" + crec, "{\"\\\"\\\\\u2028é\":[\"a/b\",\"AQ\"]}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := EncodeCBOR(c.it)
			if err != nil || hex.EncodeToString(got) != c.cbor {
				t.Errorf("CBOR %x, %v, want %s", got, err, c.cbor)
			}
			text, err := EncodeJSON(c.it)
			if c.json == "" {
				if err == nil {
					t.Errorf("JSON %s", text)
				}
			} else if err != nil || string(text) != c.json {
				t.Errorf("JSON %s, %v, want %s", text, err, c.json)
			}
			roundTrip(t, wantRule(t, got, Options{}, ""))
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	one, deep := int64(1), Entry{Label: "x", Item: Record(MediaType{Base: "a/b"}, nil, 0)}
	r := Record(MediaType{Base: "a/b"}, []byte{1}, 0)
	for name, it := range map[string]Item{
		"nothing":            {},
		"empty value":        Record(MediaType{Base: "a/b"}, nil, 0),
		"no type":            Record(MediaType{}, []byte{1}, 0),
		"bad type":           Record(MediaType{Base: "ab"}, []byte{1}, 0),
		"upper case type":    Record(MediaType{Base: "A/b"}, []byte{1}, 0),
		"bad parameter":      Record(MediaType{Base: "a/b", Params: map[string]string{"p": "\n"}}, []byte{1}, 0),
		"ind":                Record(MediaType{Base: "a/b"}, []byte{1}, 32),
		"tag out of range":   Tag(65025, []byte{1}),
		"empty collection":   Collection(""),
		"collection type":    Collection("relative", Entry{Label: "a", Item: r}),
		"blank label":        Collection("", Entry{Label: " ", Item: r}),
		"control character":  Collection("", Entry{Label: "a\n", Item: r}),
		"writing direction":  Collection("", Entry{Label: "a\u202e", Item: r}),
		"reserved label":     Collection("", Entry{Label: CollectionTypeKey, Item: r}),
		"label not UTF-8":    Collection("", Entry{Label: "\xff", Item: r}),
		"two labels":         Collection("", Entry{Label: "a", Int: &one, Item: r}),
		"duplicate":          Collection("", Entry{Label: "a", Item: r}, Entry{Label: "a", Item: r}),
		"broken entry below": Collection("", Entry{Label: "y", Item: Collection("", deep)}),
	} {
		t.Run(name, func(t *testing.T) {
			for _, enc := range []func(Item) ([]byte, error){EncodeCBOR, EncodeJSON} {
				raw, err := enc(it)
				var e *Error
				if !errors.As(err, &e) || e.Rule != RuleEncode {
					t.Errorf("encoded to %q, %v", raw, err)
				}
			}
		})
	}
	_, err := EncodeCBOR(Collection("", Entry{Label: "y", Item: Collection("", deep)}))
	var e *Error
	if !errors.As(err, &e) || e.Label != "y/x" {
		t.Errorf("place %v", err)
	}
}

// TestHeads compares our deterministic heads with a CBOR library.
func TestHeads(t *testing.T) {
	for _, v := range []int64{0, 23, 24, 255, 256, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, math.MaxInt64, -1, -24, -25, -256, -257, math.MinInt64} {
		want, err := cbor.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendInt(nil, v); !bytes.Equal(got, want) {
			t.Errorf("%d: %x, want %x", v, got, want)
		}
	}
}

func TestTagNumbers(t *testing.T) {
	for cf, tn := range map[uint16]uint64{0: 0x63740101, 60: 1668546877, 263: 1668547081, 273: 1668547091, 274: 1668547092, 275: 1668547093, 276: 1668547094,
		601: 1668547420, 10003: 1668556859, 10571: 1668557429, 30001: 1668576935, 64999: 1668612070, 65024: 1668612095} {
		if got, ok := TagNumber(cf); !ok || got != tn {
			t.Errorf("TN(%d) = %d", cf, got)
		}
	}
	if _, ok := TagNumber(65025); ok {
		t.Error("65025 has a tag")
	}
	for cf := range cfMax + 1 {
		tn, _ := TagNumber(uint16(cf))
		if back, ok := ContentFormatOfTag(tn); !ok || int(back) != cf {
			t.Fatalf("CF(TN(%d)) = %d, %t", cf, back, ok)
		}
	}
	for _, tn := range []uint64{0, tnBase - 1, tnMax + 1, 0x63740200, 0x63740300, math.MaxUint64} {
		if cf, ok := ContentFormatOfTag(tn); ok {
			t.Errorf("tag %#x is Content-Format %d", tn, cf)
		}
	}
}

func TestContentFormatTable(t *testing.T) {
	for cf, s := range contentFormats {
		m, err := ParseMediaType(s)
		if err != nil || m.String() != s {
			t.Errorf("%d: %q is not canonical: %q, %v", cf, s, m, err)
		}
		if got := contentFormatType(cf); !got.Equal(m) {
			t.Errorf("%d: %v", cf, got)
		}
	}
	if got := contentFormatType(64999).Base; got != "cf:64999" {
		t.Error(got)
	}
}
