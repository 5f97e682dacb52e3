// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// ItemKind says what a thing in a bundle was to the appraisal.
type ItemKind string

// Kinds of things that a verdict is made from (decision D-104).
const (
	// ItemEvidence is the composite as received; its record is Bundle.Evidence.
	ItemEvidence ItemKind = "evidence"
	// ItemCollateral is one document of a vendor, in a form that package
	// endorsements reads.
	ItemCollateral ItemKind = "collateral"
	// ItemReferences are reference values (CoRIM), and the file of the authorities
	// that are believed.
	ItemReferences ItemKind = "references"
	// ItemPolicies are appraisal policies of schemes and the policy for whole machines.
	ItemPolicies ItemKind = "policies"
	// ItemPlan is the plan as canonical JSON.
	ItemPlan ItemKind = "plan"
	// ItemRoots are trust anchors beyond those that are built in.
	ItemRoots ItemKind = "roots"
	// ItemRequest is what was asked: challenges, topology, times; and the public keys
	// under which the verdict was signed.
	ItemRequest ItemKind = "request"
)

// ItemKinds lists all kinds in the order in which a bundle has them.
func ItemKinds() []ItemKind {
	return []ItemKind{ItemEvidence, ItemCollateral, ItemReferences, ItemPolicies, ItemPlan, ItemRoots, ItemRequest}
}

// indicator is what a record of a kind is by RFC 9999, 0 where none of its kinds
// fits.
func (k ItemKind) indicator() evidence.Indicator {
	switch k {
	case ItemEvidence:
		return evidence.IndEvidence
	case ItemCollateral:
		return evidence.IndEndorsements
	case ItemReferences:
		return evidence.IndReferenceValues
	case ItemPolicies:
		return evidence.IndPolicy
	}
	return 0
}

// Item is one thing that a verdict was made from. It is known by its digest; the
// bytes may be somewhere else.
type Item struct {
	Kind ItemKind
	// Name tells it from others of its kind, for people and for messages. It is never
	// a path.
	Name string
	// MediaType is a Content-Type.
	MediaType string
	// Digest is the SHA-256 of the bytes, Size their number.
	Digest [sha256.Size]byte
	Size   int
	// Value are the bytes, nil where only the digest is at hand.
	Value []byte
}

// NewItem describes bytes and carries them.
func NewItem(kind ItemKind, name, mediaType string, value []byte) Item {
	return Item{Kind: kind, Name: name, MediaType: mediaType, Digest: sha256.Sum256(value), Size: len(value), Value: value}
}

// label is that of the record: the digest says which bytes they are.
func (i Item) label() string {
	if i.Kind == ItemEvidence {
		return evidenceLabel
	}
	return string(i.Kind) + "." + hex.EncodeToString(i.Digest[:])
}

// mediaType is the parsed Content-Type, which has to be spelled canonically.
func (i Item) mediaType() (evidence.MediaType, error) {
	mt, err := evidence.ParseMediaType(i.MediaType)
	if err != nil || mt.String() != i.MediaType {
		return mt, fmt.Errorf("media type %.64q is not a Content-Type in canonical form", i.MediaType)
	}
	return mt, nil
}

// check holds for every item, carried or not.
func (i Item) check() error {
	mt, err := i.mediaType()
	switch {
	case !slices.Contains(ItemKinds(), i.Kind):
		return fmt.Errorf("kind %.32q is not known", i.Kind)
	case i.Name == "" || len(i.Name) > limits.BundleName || !utf8.ValidString(i.Name) || strings.ContainsFunc(i.Name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Errorf("name %.64q is no text of 1 to %d bytes", i.Name, limits.BundleName)
	case err != nil:
		return err
	case i.Kind == ItemEvidence && mt.Base != compositeType:
		return fmt.Errorf("evidence of media type %s", mt)
	case i.Size < 1 || i.Size > limits.Bundle:
		return fmt.Errorf("size %d is not 1 to %d bytes", i.Size, limits.Bundle)
	}
	return nil
}

// Labels of records that are not items.
const (
	verdictLabel  = "verdict"
	evidenceLabel = "evidence"
	manifestLabel = "manifest"
)

// manifestType is the media type of the list of items.
const manifestType = "application/vnd.assize.bundle-manifest+json"

// manifestKind is the member "kind" of a manifest.
const manifestKind = "assize-bundle-manifest"

// manifestDepth is how deep a manifest nests.
const manifestDepth = 3

// manifestLine is an item in the manifest (schemas/bundle-manifest.schema.json).
type manifestLine struct {
	Kind      ItemKind `json:"kind"`
	Name      string   `json:"name"`
	MediaType string   `json:"media_type"`
	Digest    string   `json:"sha256"`
	Size      int      `json:"size"`
	Carried   bool     `json:"carried"`
}

// itemEntries are the records of the items of a bundle, the manifest first.
func (b Bundle) itemEntries() ([]evidence.Entry, error) {
	manifest, err := encodeManifest(b.Items)
	if err != nil {
		return nil, err
	}
	entries := []evidence.Entry{{Label: manifestLabel, Item: evidence.Record(evidence.MediaType{Base: manifestType}, manifest, 0)}}
	there := map[string]bool{}
	for _, i := range b.Items {
		if i.Kind == ItemEvidence && !bytes.Equal(i.Value, b.Evidence) {
			return nil, errors.New("verdict: bundle: the evidence and its item differ")
		}
		if i.Value == nil || i.Kind == ItemEvidence || there[i.label()] {
			continue
		}
		there[i.label()] = true
		mt, err := i.mediaType()
		if err != nil {
			return nil, err
		}
		entries = append(entries, evidence.Entry{Label: i.label(), Item: evidence.Record(mt, i.Value, i.Kind.indicator())})
	}
	return entries, nil
}

// CompositeItem is the item of the composite that a bundle is about; where it is not
// carried only its digest is.
func CompositeItem(raw []byte, declared string, carried bool) Item {
	i := NewItem(ItemEvidence, "composite", compositeMediaType(declared).String(), raw)
	if !carried {
		i.Value = nil
	}
	return i
}

func compositeMediaType(declared string) evidence.MediaType {
	mt := evidence.MediaType{Base: compositeType}
	if declared != "" {
		mt = mt.With("of", declared)
	}
	return mt
}

// encodeManifest writes the list of items.
func encodeManifest(items []Item) ([]byte, error) {
	if err := checkItems(items); err != nil {
		return nil, fmt.Errorf("verdict: bundle: %w", err)
	}
	lines := make([]manifestLine, len(items))
	for n, i := range items {
		if i.Value != nil && (len(i.Value) != i.Size || sha256.Sum256(i.Value) != i.Digest) {
			return nil, fmt.Errorf("verdict: bundle: %s %q is not the bytes of its digest", i.Kind, i.Name)
		}
		lines[n] = manifestLine{i.Kind, i.Name, i.MediaType, hex.EncodeToString(i.Digest[:]), i.Size, i.Value != nil}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(map[string]any{"kind": manifestKind, "items": lines}); err != nil {
		return nil, fmt.Errorf("verdict: bundle: %w", err)
	}
	raw := bytes.TrimSpace(out.Bytes())
	if len(raw) > limits.BundleManifest {
		return nil, fmt.Errorf("verdict: bundle: manifest of %d bytes, at most %d", len(raw), limits.BundleManifest)
	}
	return raw, nil
}

// checkItems holds for the items of a manifest together: an item is there once,
// what has one digest has one media type and is carried or not, and there is one
// composite.
func checkItems(items []Item) error {
	if len(items) > limits.BundleItems {
		return fmt.Errorf("%d items, at most %d", len(items), limits.BundleItems)
	}
	type key struct{ name, label string }
	seen, records, composites := map[key]bool{}, map[string]Item{}, 0
	for n, i := range items {
		if err := i.check(); err != nil {
			return fmt.Errorf("item %d: %w", n, err)
		}
		k := key{i.Name, i.label()}
		if seen[k] {
			return fmt.Errorf("item %d: %s %q is there twice", n, i.Kind, i.Name)
		}
		seen[k] = true
		if i.Kind == ItemEvidence {
			composites++
		}
		if other, ok := records[i.label()]; ok && (other.MediaType != i.MediaType || other.Size != i.Size || (other.Value == nil) != (i.Value == nil)) {
			return fmt.Errorf("item %d: %s %q is said to be the same bytes as %q and not to be", n, i.Kind, i.Name, other.Name)
		}
		records[i.label()] = i
	}
	if composites != 1 {
		return fmt.Errorf("%d composites, want 1", composites)
	}
	return nil
}

// decodeManifest reads a list of items strictly. An item that is carried gets its
// bytes from the records, which has all of them and no other one.
func decodeManifest(raw []byte, records map[string]*evidence.Node) ([]Item, error) {
	if len(raw) > limits.BundleManifest {
		return nil, fmt.Errorf("manifest of %d bytes, at most %d", len(raw), limits.BundleManifest)
	}
	m, err := trust.ParseObject(raw, manifestDepth)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	list, ok := m["items"].([]any)
	if !ok || m["kind"] != manifestKind || len(m) != 2 {
		return nil, fmt.Errorf("manifest: want exactly kind %q and an array of items", manifestKind)
	}
	if len(list) > limits.BundleItems {
		return nil, fmt.Errorf("manifest: %d items, at most %d", len(list), limits.BundleItems)
	}
	used := map[string]bool{}
	items := make([]Item, len(list))
	for n, v := range list {
		line, ok := v.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("manifest: item %d is not an object", n)
		}
		carried := false
		if items[n], carried, err = object(line).item(); err != nil {
			return nil, fmt.Errorf("manifest: item %d: %w", n, err)
		}
		if !carried {
			continue
		}
		if items[n].Value, err = items[n].take(records); err != nil {
			return nil, fmt.Errorf("item %d: %w", n, err)
		}
		used[items[n].label()] = true
	}
	if err := checkItems(items); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	for label := range records {
		if !used[label] {
			return nil, fmt.Errorf("%q is not in the manifest", label)
		}
	}
	return items, nil
}

// item reads one line of a manifest, all of whose members have to be there.
func (o object) item() (i Item, carried bool, err error) {
	kind, err := o.text("kind")
	if err != nil {
		return i, false, err
	}
	i.Kind = ItemKind(kind)
	if i.Name, err = o.text("name"); err != nil {
		return i, false, err
	}
	if i.MediaType, err = o.text("media_type"); err != nil {
		return i, false, err
	}
	if i.Digest, err = o.digest("sha256"); err != nil {
		return i, false, err
	}
	size, err := o.integer("size")
	if err != nil || size < 1 || size > limits.Bundle {
		return i, false, fmt.Errorf("size is not 1 to %d", limits.Bundle)
	}
	i.Size = int(size)
	carried, ok := o["carried"].(bool)
	if !ok || len(o) != 6 {
		return i, false, errors.New("want exactly kind, name, media_type, sha256, size and carried")
	}
	return i, carried, i.check()
}

// take finds the record of an item and compares what the manifest says of it.
func (i Item) take(records map[string]*evidence.Node) ([]byte, error) {
	n, ok := records[i.label()]
	if !ok {
		return nil, fmt.Errorf("%s %q (sha-256 %x) is in the manifest and not in the bundle", i.Kind, i.Name, i.Digest)
	}
	mt, err := i.mediaType()
	if err != nil {
		return nil, err
	}
	if !n.MediaType().Equal(mt) || n.Indicator() != i.Kind.indicator() {
		return nil, fmt.Errorf("%s %q is of type %s with indicator %d, the manifest says %s", i.Kind, i.Name, n.MediaType(), n.Indicator(), i.MediaType)
	}
	if len(n.Value()) != i.Size || sha256.Sum256(n.Value()) != i.Digest {
		return nil, fmt.Errorf("%s %q has %d bytes with another digest than the manifest says (%x)", i.Kind, i.Name, len(n.Value()), i.Digest)
	}
	return n.Value(), nil
}
