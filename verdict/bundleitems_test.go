// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/schemas"
)

// laden is a bundle with a thing of every kind, and one that is known by its
// digest only.
func laden() Bundle {
	composite := []byte(`{"x":["a/b","AQ"]}`)
	away := NewItem(ItemRoots, "simulated", "application/vnd.assize.extra-roots+json", []byte("roots"))
	away.Value = nil
	return Bundle{
		Verdict: []byte("a.b.c"), Format: FormatP23JWT, Evidence: composite, EvidenceType: "application/cmw+json",
		Items: []Item{
			CompositeItem(composite, "application/cmw+json", true),
			NewItem(ItemCollateral, "../amd/<vcek>.der", "application/vnd.assize.collateral", []byte("first")),
			NewItem(ItemCollateral, "again", "application/vnd.assize.collateral", []byte("first")),
			NewItem(ItemReferences, "doc", "application/rim+cbor", []byte("second")),
			NewItem(ItemPolicies, "machine/default", "application/vnd.assize.policy", []byte("third")),
			NewItem(ItemPlan, "plan", "application/vnd.assize.plan+json", []byte("{}")),
			NewItem(ItemRequest, "request", "application/vnd.assize.replay-request+json", []byte("{}")),
			away,
		},
	}
}

// rebuilt decodes the JSON of a bundle, has it changed, and encodes it again.
func rebuilt(t *testing.T, raw []byte, change func(entries map[string][]any)) []byte {
	t.Helper()
	var whole map[string]any
	if err := json.Unmarshal(raw, &whole); err != nil {
		t.Fatal(err)
	}
	entries := map[string][]any{}
	for label, v := range whole {
		if list, ok := v.([]any); ok {
			entries[label] = list
			delete(whole, label)
		}
	}
	change(entries)
	for label, v := range entries {
		whole[label] = v
	}
	out, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// manifestOf is the text of the manifest of a bundle.
func manifestOf(t *testing.T, entries map[string][]any) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(entries["manifest"][1].(string))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func setManifest(entries map[string][]any, text string) {
	entries["manifest"][1] = base64.RawURLEncoding.EncodeToString([]byte(text))
}

func TestBundleWithItems(t *testing.T) {
	b := laden()
	raw, err := EncodeBundle(b)
	if err != nil {
		t.Fatal(err)
	}
	again, err := EncodeBundle(laden())
	if err != nil || !bytes.Equal(raw, again) {
		t.Errorf("two bundles of the same things differ, %v", err)
	}
	got, err := DecodeBundle(raw)
	if err != nil || !reflect.DeepEqual(got, b) {
		t.Errorf("%+v, %v", got, err)
	}
	rebuilt(t, raw, func(entries map[string][]any) {
		schema, err := schemas.Load("bundle-manifest.schema.json")
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.ValidateJSON([]byte(manifestOf(t, entries))); err != nil {
			t.Error(err)
		}
		if len(entries) != 8 { // what is there twice is carried once
			t.Errorf("%d entries", len(entries))
		}
		for _, ind := range []struct {
			kind string
			want float64
		}{{"evidence", 4}, {"collateral.", 2}, {"references.", 1}, {"policies.", 16}, {"plan.", 0}} {
			for label, v := range entries {
				if strings.HasPrefix(label, ind.kind) && (ind.want == 0 && len(v) != 2 || ind.want != 0 && (len(v) != 3 || v[2] != ind.want)) {
					t.Errorf("%s: %v", label, v)
				}
			}
		}
	})
	// By digest only.
	b.Evidence, b.EvidenceType, b.Items[0] = nil, "", CompositeItem(b.Evidence, "application/cmw+json", false)
	if raw, err = EncodeBundle(b); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeBundle(raw); err != nil || got.Evidence != nil || got.Items[0].Digest != sha256.Sum256(laden().Evidence) || got.Items[0].Value != nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEncodeBundleRefusesItems(t *testing.T) {
	for name, change := range map[string]func(b *Bundle){
		"no composite":        func(b *Bundle) { b.Items = b.Items[1:] },
		"two composites":      func(b *Bundle) { b.Items = append(b.Items, b.Items[0]) },
		"other composite":     func(b *Bundle) { b.Evidence = []byte("other") },
		"composite left out":  func(b *Bundle) { b.Evidence = nil },
		"other bytes":         func(b *Bundle) { b.Items[1].Value = []byte("other") },
		"twice":               func(b *Bundle) { b.Items[2].Name = b.Items[1].Name },
		"no name":             func(b *Bundle) { b.Items[1].Name = "" },
		"line break in name":  func(b *Bundle) { b.Items[1].Name = "a\nb" },
		"long name":           func(b *Bundle) { b.Items[1].Name = strings.Repeat("x", limits.BundleName+1) },
		"name not UTF-8":      func(b *Bundle) { b.Items[1].Name = "\xff" },
		"unknown kind":        func(b *Bundle) { b.Items[1].Kind = "other" },
		"no media type":       func(b *Bundle) { b.Items[1].MediaType = "" },
		"two media types":     func(b *Bundle) { b.Items[2].MediaType = "a/b" },
		"carried and not":     func(b *Bundle) { b.Items[2].Value = nil },
		"empty":               func(b *Bundle) { b.Items[3] = NewItem(ItemReferences, "x", "a/b", []byte{}) },
		"evidence as a CMW":   func(b *Bundle) { b.Items[0].MediaType = "application/cmw+json" },
		"too many":            func(b *Bundle) { b.Items = append(b.Items, make([]Item, limits.BundleItems)...) },
		"media type spelling": func(b *Bundle) { b.Items[3].MediaType = "Application/rim+cbor" },
	} {
		b := laden()
		change(&b)
		if _, err := EncodeBundle(b); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

// Everything that the manifest says is held to what the bundle has, and the other
// way round.
func TestDecodeBundleRefusesItems(t *testing.T) {
	good, err := EncodeBundle(laden())
	if err != nil {
		t.Fatal(err)
	}
	first := fmt.Sprintf("collateral.%x", sha256.Sum256([]byte("first")))
	edit := func(from, to string) func(map[string][]any) {
		return func(e map[string][]any) {
			text := manifestOf(t, e)
			if !strings.Contains(text, from) {
				t.Fatalf("%q is not in %s", from, text)
			}
			setManifest(e, strings.Replace(text, from, to, 1))
		}
	}
	for name, change := range map[string]func(e map[string][]any){
		"item gone":                    func(e map[string][]any) { delete(e, first) },
		"manifest gone":                func(e map[string][]any) { delete(e, "manifest") },
		"evidence gone":                func(e map[string][]any) { delete(e, "evidence") },
		"unlisted":                     func(e map[string][]any) { e["collateral.ff"] = []any{"a/b", "AQ", 2} },
		"unlisted and only that":       func(e map[string][]any) { clearBut(e, "verdict"); e["collateral.ff"] = []any{"a/b", "AQ", 2} },
		"another label":                func(e map[string][]any) { e["other"] = e[first] },
		"other indicator":              func(e map[string][]any) { e[first][2] = 16 },
		"other media type":             func(e map[string][]any) { e[first][0] = "a/b" },
		"manifest as evidence":         func(e map[string][]any) { e["manifest"] = append(e["manifest"], 4) },
		"not an object":                func(e map[string][]any) { setManifest(e, "[]") },
		"no items":                     func(e map[string][]any) { setManifest(e, `{"kind":"assize-bundle-manifest","items":[]}`) },
		"items null":                   edit(`"items":[`, `"items":null,"x":[`),
		"other kind of file":           edit(`"assize-bundle-manifest"`, `"other"`),
		"further member":               edit(`{"items"`, `{"x":1,"items"`),
		"further member of an item":    edit(`"carried":true`, `"carried":true,"x":1`),
		"duplicate member":             edit(`"carried":true`, `"carried":true,"carried":true`),
		"carried is no truth value":    edit(`"carried":true`, `"carried":1`),
		"not carried and there":        edit(`"size":6,"carried":true`, `"size":6,"carried":false`),
		"carried and not there":        edit(`"carried":false`, `"carried":true`),
		"size":                         edit(`"size":6`, `"size":7`),
		"size no integer":              edit(`"size":6`, `"size":6.0`),
		"size 0":                       edit(`"size":5,"carried":false`, `"size":0,"carried":false`),
		"size too large":               edit(`"size":5,"carried":false`, `"size":99999999999,"carried":false`),
		"digest in capitals":           edit(fmt.Sprintf("%x", sha256.Sum256([]byte("second"))), fmt.Sprintf("%X", sha256.Sum256([]byte("second")))),
		"kind":                         edit(`"kind":"references"`, `"kind":"collateral"`),
		"unknown kind":                 edit(`"kind":"references"`, `"kind":"other"`),
		"no name":                      edit(`"name":"doc"`, `"name":""`),
		"name of another":              edit(`"name":"again"`, `"name":"../amd/<vcek>.der"`),
		"second composite":             edit(`"items":[`, `"items":[{"kind":"evidence","name":"x","media_type":"application/vnd.assize.composite-evidence","sha256":"`+strings.Repeat("0", 64)+`","size":1,"carried":false},`),
		"type of the composite":        func(e map[string][]any) { e["evidence"][0] = `application/vnd.assize.composite-evidence; of="a/b"` },
		"nested":                       edit(`"items":[`, `"items":[{"kind":{"x":{}}},`),
		"verdict with other indicator": func(e map[string][]any) { e["verdict"][2] = 4 },
	} {
		bad := rebuilt(t, good, change)
		if _, err := DecodeBundle(bad); err == nil {
			t.Errorf("%s: accepted", name)
		} else if len(err.Error()) > 2000 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	// A flipped bit in any item, and in the manifest, is noticed.
	rebuilt(t, good, func(entries map[string][]any) {
		for label := range entries {
			if label == "verdict" {
				continue // its signature is for VerifyResult
			}
			bad := rebuilt(t, good, func(e map[string][]any) {
				raw, err := base64.RawURLEncoding.DecodeString(e[label][1].(string))
				if err != nil {
					t.Fatal(err)
				}
				raw[len(raw)/2] ^= 1
				e[label][1] = base64.RawURLEncoding.EncodeToString(raw)
			})
			if _, err := DecodeBundle(bad); err == nil {
				t.Errorf("a flipped bit in %s is not noticed", label)
			}
		}
	})
	twice := strings.Replace(string(good), `"verdict":`, `"manifest":["application/vnd.assize.bundle-manifest+json","e30"],"verdict":`, 1)
	if _, err := DecodeBundle([]byte(twice)); err == nil {
		t.Error("two manifests are accepted")
	}
}

func clearBut(e map[string][]any, keep string) {
	for label := range e {
		if label != keep {
			delete(e, label)
		}
	}
}

// FuzzDecodeBundle: whatever is accepted is what would be written, and its items
// have the digests that are said.
func FuzzDecodeBundle(f *testing.F) {
	for _, b := range []Bundle{laden(), {Verdict: []byte("a.b.c"), Evidence: []byte("x")}, {Verdict: []byte("a.b.c")}} {
		raw, err := EncodeBundle(b)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := DecodeBundle(raw)
		if err != nil {
			return
		}
		for _, i := range b.Items {
			if i.Value != nil && sha256.Sum256(i.Value) != i.Digest {
				t.Fatalf("%s %q has another digest", i.Kind, i.Name)
			}
		}
		out, err := EncodeBundle(b)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeBundle(out)
		if err != nil || !reflect.DeepEqual(again, b) {
			t.Fatalf("%v\n%+v\n%+v", err, b, again)
		}
	})
}
