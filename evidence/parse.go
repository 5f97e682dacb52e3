// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/assize/assize/internal/limits"
)

// KeyFinder knows the keys trusted to sign CMWs.
type KeyFinder interface {
	// VerificationKeys returns the trusted keys for a key id (nil if the
	// message names none) and an algorithm by its JOSE name ("ES256",
	// "EdDSA", "PS256" …). Keys that do not fit the algorithm are ignored.
	VerificationKeys(kid []byte, alg string) []crypto.PublicKey
}

// Options configures Parse. The zero value is strict, with default limits and
// no trusted signer.
type Options struct {
	// MediaType is the declared Content-Type of the whole message; "" sniffs.
	MediaType string
	// Limits bounds the work; zero fields have the values of limits.Default.
	Limits limits.Evidence
	// Keys verifies signed CMWs; nil trusts nobody.
	Keys KeyFinder
	// UnverifiedSignaturesUnsafe accepts a signed CMW for which no key is
	// known and marks its signer as unverified. For inspection only: nothing
	// that appraises may set it. A signature that a known key refutes is an
	// error all the same.
	UnverifiedSignaturesUnsafe bool
	// LenientIndicators ignores unregistered `ind` bits with a warning
	// instead of refusing them (decision D-03). An `ind` of such bits alone
	// stays as it is, see Node.Indicator: a record that says what it is, in
	// words we do not know, must not pass for one that says nothing.
	LenientIndicators bool
}

type parser struct {
	opt    Options
	lim    limits.Evidence
	types  map[string]MediaType
	slab   []Node
	leaves []*Node
	nodes  []*Node
	count  int
	// wantRatsd, if set, is the rule that anything but a ratsd collection breaks.
	wantRatsd string
	ratsd     *RatsdToken
	// What a convention of others has besides components, see collection.bound.
	runtime    *RuntimeData
	additional []byte
	warnings   []string
}

// Parse decodes one message: a CMW in JSON or CBOR, a signed CMW, or a ratsd
// token. The tree keeps slices of raw, which must not change afterwards. Every
// error is an *Error; there is no partial result.
func Parse(raw []byte, o Options) (*Tree, error) {
	p := &parser{opt: o, lim: withDefaults(o.Limits), types: make(map[string]MediaType, 8)}
	f := frame{notCMW: RuleSyntax}
	if len(raw) == 0 {
		return nil, f.fail("CMW-01", 0, "empty message")
	}
	if len(raw) > p.lim.Composite {
		return nil, f.fail(RuleSize, 0, "message of %d bytes, limit %d", len(raw), p.lim.Composite)
	}
	raw = raw[:len(raw):len(raw)]
	root, err := p.top(raw, f)
	if err != nil {
		return nil, err
	}
	if err := p.ratsdCollection(root); err != nil {
		return nil, err
	}
	t := &Tree{raw: raw, root: root, leaves: p.leaves, nodes: p.nodes, ratsd: p.ratsd, warnings: p.warnings,
		runtime: p.runtime, additional: p.additional}
	t.digest = sync.OnceValue(func() [32]byte { return sha256.Sum256(raw) })
	t.leafDigests = sync.OnceValue(t.hashLeaves)
	slices.SortFunc(t.leaves, byPath)
	slices.SortFunc(t.nodes, byPath)
	return t, nil
}

// withDefaults replaces every field that was left zero.
func withDefaults(l limits.Evidence) limits.Evidence {
	d := limits.Default()
	for _, f := range []struct{ have, def *int }{
		{&l.Composite, &d.Composite}, {&l.Leaf, &d.Leaf}, {&l.Depth, &d.Depth}, {&l.Leaves, &d.Leaves},
		{&l.Labels, &d.Labels}, {&l.Label, &d.Label}, {&l.MediaType, &d.MediaType},
	} {
		if *f.have <= 0 {
			*f.have = *f.def
		}
	}
	return l
}

// top decides by the declared media type, or by the first bytes, what the
// message is.
func (p *parser) top(raw []byte, f frame) (*Node, error) {
	if p.opt.MediaType == "" {
		return p.sniffed(raw, f)
	}
	mt, err := p.mediaType([]byte(p.opt.MediaType), f, -1)
	if err != nil {
		return nil, f.fail(RuleMediaType, -1, "declared type %.100q is not a Content-Type", p.opt.MediaType)
	}
	if isRatsdType(mt) {
		return p.ratsdMessage(raw, mt, f)
	}
	var n *Node
	switch mt.Base {
	case TypeCMWJSON:
		n, err = p.jsonMessage(raw, f)
	case TypeCMWCBOR:
		n, err = p.cborMessage(raw, f)
	case TypeCMWCOSE, TypeCMWJWS:
		return p.signedTop(raw, mt, f)
	default:
		return nil, f.fail(RuleMediaType, -1, "declared type %q is neither a CMW nor a ratsd token", mt)
	}
	if err != nil {
		return nil, err
	}
	return n, p.checkCollectionParam(mt, n, f)
}

func (p *parser) sniffed(raw []byte, f frame) (*Node, error) {
	switch first := firstByte(raw); {
	case first == '[':
		return p.jsonMessage(raw, f)
	case first == '{':
		switch sniffObject(raw) {
		case objectRatsd:
			return p.ratsdMessage(raw, ratsdLegacyType(), f)
		case objectJWS:
			return p.signedTop(raw, MediaType{Base: TypeCMWJWS}, f)
		}
		return p.jsonMessage(raw, f)
	case raw[0] == 'e':
		return p.signedTop(raw, MediaType{Base: TypeCMWJWS}, f)
	case raw[0] == coseTagHead:
		if !coseHasContentType(raw) {
			p.wantRatsd = "CMW-39"
			return p.ratsdCOSE(raw, ratsdV2Type(), f)
		}
		return p.signedTop(raw, MediaType{Base: TypeCMWCOSE}, f)
	}
	return p.cborMessage(raw, f)
}

func (p *parser) signedTop(raw []byte, mt MediaType, f frame) (*Node, error) {
	n := p.node(Node{kind: KindSigned, format: FormatCBOR, media: mt, raw: raw, value: raw}, f)
	if mt.Base == TypeCMWJWS {
		n.format = FormatJSON
	}
	return n, p.descend(n, f, 0)
}

// firstByte is the first byte that is not JSON whitespace; no CBOR form of a
// CMW starts with such a byte.
func firstByte(raw []byte) byte {
	for _, c := range raw {
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// node places v in the tree. Nodes are allocated in slabs.
func (p *parser) node(v Node, f frame) *Node {
	if len(p.slab) == cap(p.slab) {
		p.slab = make([]Node, 0, min(32, 8+2*cap(p.slab)))
	}
	p.slab = p.slab[:len(p.slab)+1]
	n := &p.slab[len(p.slab)-1]
	v.path, v.label, v.signer = f.path, f.label, f.signer
	*n = v
	return n
}

// enter checks the depth before a node is decoded.
func (p *parser) enter(f frame, at int) error {
	if f.depth > p.lim.Depth {
		return f.fail(RuleDepth, at, "nested %d levels deep, limit %d", f.depth, p.lim.Depth)
	}
	return nil
}

// mediaType parses a Content-Type once per spelling.
func (p *parser) mediaType(text []byte, f frame, at int) (MediaType, error) {
	if mt, ok := p.types[string(text)]; ok {
		return mt, nil
	}
	if len(text) > p.lim.MediaType {
		return MediaType{}, f.fail(RuleMediaTypeLength, at, "Content-Type of %d bytes, limit %d", len(text), p.lim.MediaType)
	}
	s := string(text)
	mt, err := ParseMediaType(s)
	if err != nil {
		return MediaType{}, f.fail("CMW-05", at, "record type %q is not a Content-Type", s)
	}
	p.types[s] = mt
	return mt, nil
}

// checkLeafSize refuses a value before it is decoded or kept. A value that is
// itself a CMW is bounded by the message, its leaves by this check.
func (p *parser) checkLeafSize(mt MediaType, size int, f frame, at int) error {
	if size > p.lim.Leaf && !isCMW(mt) {
		return f.fail(RuleLeafSize, at, "value of %d bytes, limit %d", size, p.lim.Leaf)
	}
	return nil
}

// admit finishes a record or tag: a leaf is counted, an embedded CMW descended
// into. at is the offset of the value in the current buffer, -1 if the value
// has no place there.
func (p *parser) admit(n *Node, f frame, at int) error {
	if isCMW(n.media) {
		n.kind = KindEmbedded
		if n.media.Base == TypeCMWCOSE || n.media.Base == TypeCMWJWS {
			n.kind = KindSigned
		}
		base := int64(0)
		if at >= 0 {
			base = f.base + int64(at)
		}
		return p.descend(n, f, base)
	}
	if p.count++; p.count > p.lim.Leaves {
		return f.fail(RuleLeaves, max(at, 0), "more than %d leaves", p.lim.Leaves)
	}
	p.leaves = append(p.leaves, n)
	p.nodes = append(p.nodes, n)
	p.tokenSigner(n, f)
	return nil
}

// descend parses the message inside a wrapper.
func (p *parser) descend(n *Node, f frame, base int64) error {
	in := f.into(base)
	if err := p.enter(in, 0); err != nil {
		return err
	}
	var child *Node
	var err error
	switch n.media.Base {
	case TypeCMWJSON:
		child, err = p.jsonMessage(n.value, in)
	case TypeCMWCBOR:
		child, err = p.cborMessage(n.value, in)
	case TypeCMWCOSE:
		child, err = p.coseMessage(n, in)
	default:
		child, err = p.jwsMessage(n, in)
	}
	if err != nil {
		return err
	}
	n.children = []*Node{child}
	return p.checkCollectionParam(n.media, child, f)
}

func isCMW(mt MediaType) bool {
	switch mt.Base {
	case TypeCMWJSON, TypeCMWCBOR, TypeCMWCOSE, TypeCMWJWS:
		return true
	}
	return false
}

// checkCollectionParam holds the parameter cmwc_t of a media type against the
// content (CMW-38, decision D-08).
func (p *parser) checkCollectionParam(mt MediaType, n *Node, f frame) error {
	want, ok := mt.Params[paramCollectionType]
	if !ok {
		return nil
	}
	n = n.Content()
	if n.kind != KindCollection && n.kind != KindItem {
		return f.fail("CMW-38", -1, "media type says collection %q, content is a %s", want, n.kind)
	}
	if n.cmwType != "" && !strings.EqualFold(n.cmwType, want) {
		return f.fail("CMW-38", -1, "media type says collection %q, content says %q", want, n.cmwType)
	}
	return nil
}

// indicator checks the value of `ind`.
func (p *parser) indicator(v uint64, f frame, at int) (Indicator, error) {
	if v == 0 {
		return 0, f.fail("CMW-11", at, "ind is 0")
	}
	if v > 1<<32-1 {
		return 0, f.fail("CMW-13", at, "ind %d does not fit 32 bits", v)
	}
	if extra := Indicator(v) &^ indRegistered; extra != 0 {
		if !p.opt.LenientIndicators {
			return 0, f.fail("CMW-12", at, "ind %#x has unregistered bits", v)
		}
		p.warnings = append(p.warnings, fmt.Sprintf("label %q: unregistered ind bits %#x ignored", string(f.path), uint32(extra)))
	}
	if known := Indicator(v) & indRegistered; known != 0 {
		return known, nil
	}
	return Indicator(v), nil
}
