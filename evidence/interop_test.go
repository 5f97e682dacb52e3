// SPDX-License-Identifier: Apache-2.0

package evidence_test

import (
	"bytes"
	"testing"

	"github.com/veraison/cmw"

	"github.com/assize/assize/evidence"
)

// quarters are the leaves that both implementations exchange.
var quarters = []struct {
	label, media string
	value        []byte
	ind          evidence.Indicator
}{
	{"cpu", "application/vnd.assize.tdx-quote", []byte{1, 2, 3}, evidence.IndEvidence},
	{"gpu", "application/vnd.veraison.nvidia-gpu-evidence+json", []byte(`[]`), evidence.IndEvidence},
	{"rv", "application/rim+cose", []byte{4}, evidence.IndReferenceValues | evidence.IndEndorsements},
	{"bare", `application/eat+cwt; eat_profile="tag:x,2026:y"`, []byte{5}, 0},
}

// TestLibraryReadsOurs: github.com/veraison/cmw reads what we encode.
func TestLibraryReadsOurs(t *testing.T) {
	var entries []evidence.Entry
	for _, q := range quarters {
		mt, err := evidence.ParseMediaType(q.media)
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, evidence.Entry{Label: q.label, Item: evidence.Record(mt, q.value, q.ind)})
	}
	item := evidence.Collection("tag:example.com,2026:t", entries...)
	for name, encode := range map[string]func(evidence.Item) ([]byte, error){"json": evidence.EncodeJSON, "cbor": evidence.EncodeCBOR} {
		raw, err := encode(item)
		if err != nil {
			t.Fatal(err)
		}
		var c cmw.CMW
		if err := c.Deserialize(raw); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if typ, err := c.GetCollectionType(); err != nil || typ != "tag:example.com,2026:t" {
			t.Errorf("%s: collection type %q, %v", name, typ, err)
		}
		for _, q := range quarters {
			leaf, err := c.GetCollectionItem(q.label)
			if err != nil {
				t.Fatalf("%s: %s: %v", name, q.label, err)
			}
			value, _ := leaf.GetMonadValue()
			media, _ := leaf.GetMonadType()
			ind, _ := leaf.GetMonadIndicator()
			if !bytes.Equal(value, q.value) || media != q.media || uint(ind) != uint(q.ind) {
				t.Errorf("%s: %s: %q %x %d", name, q.label, media, value, ind)
			}
		}
	}
}

// TestWeReadTheLibrarys: we read what github.com/veraison/cmw encodes.
func TestWeReadTheLibrarys(t *testing.T) {
	c, err := cmw.NewCollection("tag:example.com,2026:t")
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range quarters {
		leaf, err := cmw.NewMonad(q.media, q.value, cmw.Indicator(q.ind))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddCollectionItem(q.label, leaf); err != nil {
			t.Fatal(err)
		}
	}
	for name, encode := range map[string]func() ([]byte, error){"json": c.MarshalJSON, "cbor": c.MarshalCBOR} {
		raw, err := encode()
		if err != nil {
			t.Fatal(err)
		}
		tree, err := evidence.Parse(raw, evidence.Options{})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, q := range quarters {
			n, ok := tree.Lookup(evidence.Path(q.label))
			if !ok || !bytes.Equal(n.Value(), q.value) || n.Indicator() != q.ind {
				t.Errorf("%s: %s is not what the library wrote", name, q.label)
				continue
			}
			if want, err := evidence.ParseMediaType(q.media); err != nil || !n.MediaType().Equal(want) {
				t.Errorf("%s: %s: media type %s", name, q.label, n.MediaType())
			}
		}
	}
}
