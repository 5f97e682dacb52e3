// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto/sha256"
	"slices"
	"strings"
)

// Format is the wire form of a node.
type Format uint8

// The wire forms.
const (
	FormatJSON Format = iota + 1
	FormatCBOR
)

// String returns "json" or "cbor".
func (f Format) String() string {
	switch f {
	case FormatJSON:
		return "json"
	case FormatCBOR:
		return "cbor"
	}
	return "unknown"
}

// Kind says what a node of the tree is.
type Kind uint8

// The kinds. Record, Tag and Item are the leaves. Embedded and Signed are wrappers:
// they have exactly one child, their content, which has the same path.
const (
	// KindRecord is a leaf `[type, value, ind?]`.
	KindRecord Kind = iota + 1
	// KindTag is a leaf in the CBOR tag form.
	KindTag
	// KindCollection is a map of labels to CMWs.
	KindCollection
	// KindEmbedded is a record or tag whose value is itself a CMW
	// (decision D-09), an unsigned ratsd envelope (decision D-49), or additional
	// evidence (TypeAdditionalEvidence).
	KindEmbedded
	// KindSigned is a COSE_Sign1 or JWS around a CMW, bare or inside a record or tag.
	KindSigned
	// KindClaims is the record `__ratsd` of a ratsd v2 token, the nonce of NVIDIA's
	// verifier input, or runtime data (TypeRuntimeData): claims about the
	// collection, not a component, so never a leaf.
	KindClaims
	// KindItem is a leaf that is a collection: one device of NVIDIA's verifier
	// input, see TypeNVIDIAItem.
	KindItem
)

var kindNames = [...]string{KindRecord: "record", KindTag: "tag", KindCollection: "collection",
	KindEmbedded: "embedded", KindSigned: "signed", KindClaims: "claims", KindItem: "item"}

// String returns the kind in lower case.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return "unknown"
}

// Node is one CMW of a tree. Nodes are immutable; the byte slices they hand
// out belong to the parsed message and must not be modified.
type Node struct {
	kind     Kind
	format   Format
	hasCF    bool
	ind      Indicator
	cf       uint16
	media    MediaType
	path     Path
	label    label
	cmwType  string
	raw      []byte
	value    []byte
	nonce    []byte // of an item, see collection.input
	children []*Node
	signer   *Signer
	token    *Signer // of a Device Assignment Token, see TokenSigner
}

// Path is the canonical label path (decision D-12); a wrapper and its content
// share one.
func (n *Node) Path() Path { return n.path }

// Label is the last label of the path in canonical form, "" for the root.
func (n *Node) Label() string { return n.label.canonical }

// Kind says what the node is.
func (n *Node) Kind() Kind { return n.kind }

// Leaf reports whether the node is a component's evidence: a record or a tag
// that is not descended into, or an item.
func (n *Node) Leaf() bool { return n.kind == KindRecord || n.kind == KindTag || n.kind == KindItem }

// Format is the wire form of the node itself.
func (n *Node) Format() Format { return n.format }

// MediaType is the type of the value; a Content-Format number is resolved, or
// "cf:<n>" where the number is unknown (decision D-04). Collections have none,
// but for items.
func (n *Node) MediaType() MediaType { return n.media }

// ContentFormat is the CoAP Content-Format that was on the wire, as integer
// type or as tag; false where the type was text.
func (n *Node) ContentFormat() (uint16, bool) { return n.cf, n.hasCF }

// Value is the decoded value of a leaf, or the wrapped message of a wrapper;
// nil for collections. That of an item is Raw.
func (n *Node) Value() []byte { return n.value }

// Raw is the original encoding of the node.
func (n *Node) Raw() []byte { return n.raw }

// Indicator is the `ind` bitmap, 0 exactly if the record has none. Under
// Options.LenientIndicators unregistered bits are left out, except where there
// are no others: then they are all here, so that the record does not look as
// if it had no indicator. An Item of such a node cannot be encoded.
func (n *Node) Indicator() Indicator { return n.ind }

// CollectionType is `__cmwc_t` of a collection or an item, "" if absent.
func (n *Node) CollectionType() string { return n.cmwType }

// Children are the entries of a collection in wire order, or the one content
// of a wrapper.
func (n *Node) Children() []*Node { return slices.Clone(n.children) }

// Content strips wrappers: the record, tag, claims or collection inside.
func (n *Node) Content() *Node {
	for n.kind == KindEmbedded || n.kind == KindSigned {
		n = n.children[0]
	}
	return n
}

// Digest is SHA-256 of Value, for a collection of Raw. It is computed on each call.
func (n *Node) Digest() [32]byte {
	if n.kind == KindCollection {
		return sha256.Sum256(n.raw)
	}
	return sha256.Sum256(n.value)
}

// Signer is the nearest enclosing signed CMW, nil if there is none. It speaks
// for this subtree only (decision D-10). A wrapper of kind KindSigned returns
// its own signer.
func (n *Node) Signer() *Signer { return n.signer }

// Tree is one parsed message. It is immutable and safe for concurrent use.
type Tree struct {
	raw    []byte
	root   *Node
	leaves []*Node
	nodes  []*Node // innermost node of every path, sorted by path
	ratsd  *RatsdToken
	// runtime and additional are what a convention of others has besides leaves.
	runtime    *RuntimeData
	additional []byte
	warnings   []string
	// Digests are computed when first asked for, and once: a composite is
	// hundreds of kilobytes, and planning, binding and the verdict want them.
	digest      func() [32]byte
	leafDigests func() map[Path]LeafDigest
}

// Root is the outermost node.
func (t *Tree) Root() *Node { return t.root }

// Raw is the message as it was received.
func (t *Tree) Raw() []byte { return t.raw }

// Digest is SHA-256 of Raw. It is safe for concurrent use.
func (t *Tree) Digest() [32]byte { return t.digest() }

// Leaves returns every leaf, sorted bytewise by path.
func (t *Tree) Leaves() []*Node { return slices.Clone(t.leaves) }

// Lookup finds the node at p; where wrappers share the path it is their
// content.
func (t *Tree) Lookup(p Path) (*Node, bool) {
	i, ok := slices.BinarySearchFunc(t.nodes, p, func(n *Node, p Path) int {
		return strings.Compare(string(n.path), string(p))
	})
	if !ok {
		return nil, false
	}
	return t.nodes[i], true
}

// Ratsd is the token around the collection, nil unless the message is one.
func (t *Tree) Ratsd() *RatsdToken { return t.ratsd }

// Warnings are things that lenient options let pass, in the order of the input.
func (t *Tree) Warnings() []string { return slices.Clone(t.warnings) }

func byPath(a, b *Node) int { return strings.Compare(string(a.path), string(b.path)) }
