// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/assize/assize/evidence/internal/jsonscan"
	"github.com/assize/assize/internal/limits"
)

// Names that Veraison's ratsd uses (veraison/ratsd, docs/ratsd-token.cddl).
const (
	ratsdLegacyProfile    = "tag:github.com,2024:veraison/ratsd"
	ratsdLegacyCollection = "tag:github.com,2025:veraison/ratsd/cmw"
	ratsdV2Profile        = "tag:github.com,2026:veraison/ratsd/v2"
	ratsdV2Collection     = "tag:github.com,2025:veraison/ratsd/cmw/v2"
	ratsdClaimsLabel      = "__ratsd"
	ratsdParam            = "cmwct" // their spelling, accepted as alias (decision D-53)

	typeUCSJSON = "application/eat-ucs+json"
	typeUCSCBOR = "application/eat-ucs+cbor"
	typeEATCWT  = "application/eat+cwt"
	paramEAT    = "eat_profile"

	adjustFunction = "vnd.veraison.nonce_adjust_function"
	adjustMap      = "vnd.veraison.nonce_adjust_map"

	tagUCCS      = 601
	ratsdMembers = 64
	ratsdSkip    = 16
)

// RatsdToken is what a ratsd token says about its collection.
type RatsdToken struct {
	// Version is 1 for the legacy JSON token, 2 for the COSE or bare v2 form.
	Version int
	// Nonce is the session nonce that the token echoes, 8 to 64 bytes; nil if
	// a legacy token has none.
	Nonce []byte
	// Function derives the nonce of each leaf: "shake-256", "shake-128", or ""
	// for old daemons that hand the session nonce on as it is (decision D-54).
	Function string
	// Sizes is the derived nonce's length in bytes per entry of the
	// collection; nil exactly if Function is "".
	Sizes map[Path]int
	// Signed reports a signature over the collection that a trusted key has
	// verified. Today's daemons do not sign (decision D-49).
	Signed bool
}

func ratsdLegacyType() MediaType {
	return MediaType{Base: typeUCSJSON}.With(paramEAT, ratsdLegacyProfile)
}

func ratsdV2Type() MediaType {
	return MediaType{Base: TypeCMWCBOR}.With(ratsdParam, ratsdV2Profile)
}

// isRatsdType knows the declared types of ratsd tokens, among them the one
// that says CWT and carries JSON (decision D-60).
func isRatsdType(mt MediaType) bool {
	cwt := MediaType{Base: typeEATCWT}.With(paramEAT, ratsdLegacyCollection)
	return mt.Matches(ratsdLegacyType()) || mt.Matches(ratsdV2Type()) || mt.Matches(cwt)
}

// ratsdMessage decides by the first byte, because the declared types do not.
func (p *parser) ratsdMessage(raw []byte, mt MediaType, f frame) (*Node, error) {
	switch {
	case firstByte(raw) == '{':
		return p.ratsdLegacy(raw, mt, f)
	case raw[0] == coseTagHead:
		p.wantRatsd = RuleRatsd
		return p.ratsdCOSE(raw, mt, f)
	}
	p.wantRatsd = RuleRatsd
	return p.cborMessage(raw, f)
}

// ratsdCOSE reads the v2 envelope, which is no signed CMW in the sense of
// RFC 9999: it has no content type, and an unsigned form.
func (p *parser) ratsdCOSE(raw []byte, mt MediaType, f frame) (*Node, error) {
	c, err := readCOSE(raw, f)
	if err != nil {
		return nil, err
	}
	if len(c.headers.Unprotected) != 0 {
		return nil, f.fail(RuleRatsd, -1, "ratsd token with an unprotected header")
	}
	for l := range c.headers.Protected {
		if l == coseLabelType {
			return nil, f.fail(RuleRatsd, -1, "ratsd token with a content type: declare it as %s", TypeCMWCOSE)
		}
		if l != coseLabelAlg && l != coseLabelChain {
			return nil, f.fail(RuleRatsd, -1, "ratsd token with COSE header %v", l)
		}
	}
	alg, present, err := c.alg(f)
	if err != nil {
		return nil, err
	}
	n := p.node(Node{kind: KindEmbedded, format: FormatCBOR, media: mt, raw: raw, value: c.payload}, f)
	in := f.into(0)
	if err := p.enter(in, 0); err != nil {
		return nil, err
	}
	switch {
	case present:
		n.kind, n.value = KindSigned, raw
		if n.signer, err = p.verifyCOSE(c, alg, f); err != nil {
			return nil, err
		}
	case !bytes.Equal(c.signature, []byte{0}):
		return nil, f.fail("CMW-39", -1, "COSE alg is missing")
	}
	child, err := p.cosePayload(c, n.signer, MediaType{}, in)
	if err != nil {
		return nil, err
	}
	n.children = []*Node{child}
	return n, nil
}

// ratsdCollection reads the claims of a v2 collection, however it travelled.
func (p *parser) ratsdCollection(root *Node) error {
	n := root.Content()
	f := frame{}
	if n.kind != KindCollection || n.cmwType != ratsdV2Collection || n.format != FormatCBOR {
		if p.wantRatsd != "" {
			return f.fail(p.wantRatsd, -1, "neither a signed CMW, whose COSE content type is protected, nor a ratsd collection of type %q", ratsdV2Collection)
		}
		return nil
	}
	var claims *Node
	for _, c := range n.children {
		if c.kind == KindCollection || c.kind == KindItem || c.label.isInt {
			return f.fail(RuleRatsd, -1, "ratsd entry %q is a collection or has an integer label", c.path)
		}
		if c.path == ratsdClaimsLabel {
			claims = c
		}
	}
	want := MediaType{Base: typeUCSCBOR}.With(paramEAT, ratsdV2Profile)
	if claims == nil || claims.kind != KindRecord || !claims.media.Matches(want) {
		return f.fail(RuleRatsd, -1, "ratsd token without claims record %q", ratsdClaimsLabel)
	}
	t, sizes, err := decodeRatsdClaims(claims.value, frame{path: claims.path})
	if err != nil {
		return err
	}
	claims.kind = KindClaims
	p.dropLeaf(claims)
	if len(p.leaves) == 0 {
		return f.fail(RuleRatsd, -1, "ratsd token without a component")
	}
	t.Signed = n.signer != nil && n.signer.Verified
	p.ratsd = t
	return p.ratsdSizes(t, sizes, n, f)
}

// dropLeaf takes the claims out of the leaves: they are no component.
func (p *parser) dropLeaf(n *Node) {
	for i, l := range p.leaves {
		if l == n {
			p.leaves = append(p.leaves[:i], p.leaves[i+1:]...)
			return
		}
	}
}

// checkAdjust wants function and map both or neither (decision D-54).
func checkAdjust(hasFunction bool, function string, hasMap bool, f frame) error {
	if hasFunction != hasMap {
		return f.fail(RuleRatsd, -1, "nonce_adjust_function and nonce_adjust_map: one without the other")
	}
	if hasFunction && function != "shake-256" && function != "shake-128" {
		return f.fail(RuleRatsd, -1, "nonce_adjust_function %.32q is unknown", function)
	}
	return nil
}

// ratsdSizes fills t.Sizes: one entry for every entry of the collection.
func (p *parser) ratsdSizes(t *RatsdToken, sizes map[string]uint64, n *Node, f frame) error {
	if t.Function == "" {
		return nil
	}
	t.Sizes = make(map[Path]int, len(sizes))
	for name, v := range sizes {
		if v < limits.NonceMin || v > limits.NonceMax {
			return f.fail(RuleRatsd, -1, "nonce_adjust_map: %d bytes for %.64q, not %d to %d", v, name, limits.NonceMin, limits.NonceMax)
		}
		t.Sizes[f.path.Join(TextLabel(name))] = int(v)
	}
	entries := 0
	for _, c := range n.children {
		if c.kind == KindClaims {
			continue
		}
		entries++
		if _, ok := t.Sizes[c.path]; !ok {
			return f.fail(RuleRatsd, -1, "nonce_adjust_map has no entry for %q", c.path)
		}
	}
	if entries != len(t.Sizes) {
		return f.fail(RuleRatsd, -1, "nonce_adjust_map has %d entries, the collection %d", len(t.Sizes), entries)
	}
	return nil
}

// legacyClaims are the members of the legacy JSON token.
type legacyClaims struct {
	profile, nonce, cmw, function []byte
	sizes                         map[string]uint64
}

// ratsdLegacy reads the JSON token; its collection is base64 text.
func (p *parser) ratsdLegacy(raw []byte, mt MediaType, f frame) (*Node, error) {
	c, err := readLegacy(raw, f)
	if err != nil {
		return nil, err
	}
	if string(c.profile) != ratsdLegacyProfile {
		return nil, f.fail(RuleRatsd, -1, "token has profile %.64q, not %q", c.profile, ratsdLegacyProfile)
	}
	t := &RatsdToken{Version: 1, Function: string(c.function)}
	if err := checkAdjust(c.function != nil, t.Function, c.sizes != nil, f); err != nil {
		return nil, err
	}
	if c.nonce != nil {
		var ok bool
		if t.Nonce, ok = anyBase64(c.nonce); !ok || len(t.Nonce) < limits.NonceMin || len(t.Nonce) > limits.NonceMax {
			return nil, f.fail(RuleRatsd, -1, "eat_nonce is not base64 of %d to %d bytes", limits.NonceMin, limits.NonceMax)
		}
	}
	cmw, ok := anyBase64(c.cmw)
	if !ok || len(cmw) == 0 {
		return nil, f.fail(RuleRatsd, -1, "member cmw is missing, or no base64")
	}
	in := f.into(0)
	if err := p.enter(in, 0); err != nil {
		return nil, err
	}
	n := p.node(Node{kind: KindEmbedded, format: FormatJSON, media: mt, raw: raw, value: cmw}, f)
	child, err := p.jsonMessage(cmw, in)
	if err != nil {
		return nil, err
	}
	if child.kind != KindCollection || child.cmwType != "" && child.cmwType != ratsdLegacyCollection {
		return nil, f.fail(RuleRatsd, -1, "member cmw is no collection of type %q", ratsdLegacyCollection)
	}
	n.children = []*Node{child}
	p.ratsd = t
	return n, p.ratsdSizes(t, c.sizes, child, f)
}

// readLegacy picks the members that matter; others are EAT claims and ignored.
func readLegacy(raw []byte, f frame) (*legacyClaims, error) {
	s := &jsonscan.Scanner{Buf: raw}
	c := &legacyClaims{}
	err := s.Object(ratsdMembers, func(name string) (err error) {
		switch name {
		case "eat_profile":
			c.profile, err = s.Text()
		case "eat_nonce":
			c.nonce, err = s.Text()
		case "cmw":
			c.cmw, err = s.Text()
		case adjustFunction:
			c.function, err = s.Text()
		case adjustMap:
			c.sizes, err = readSizes(s)
		default:
			err = s.Skip(ratsdSkip)
		}
		return err
	})
	if err == nil {
		err = s.End()
	}
	if err != nil {
		return nil, f.wrapAs(RuleRatsd, err)
	}
	return c, nil
}

func readSizes(s *jsonscan.Scanner) (map[string]uint64, error) {
	sizes := make(map[string]uint64, 4)
	err := s.Object(limits.Default().Labels, func(name string) error {
		at := s.Pos
		text, err := s.Number()
		if err != nil {
			return err
		}
		if sizes[name], err = strconv.ParseUint(string(text), 10, 32); err != nil {
			return &jsonscan.Error{Offset: at, Detail: "nonce size is not an unsigned integer"}
		}
		return nil
	})
	return sizes, err
}

// anyBase64 decodes standard or URL alphabet, padded or not, but canonical:
// ratsd has emitted all of these for the same member.
func anyBase64(text []byte) ([]byte, bool) {
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	if pad := bytes.IndexByte(text, '='); pad >= 0 {
		if len(text)%4 != 0 {
			return nil, false
		}
		enc = enc.WithPadding(base64.StdPadding)
		n := base64.RawStdEncoding.DecodedLen(len(bytes.TrimRight(text, "=")))
		out := make([]byte, enc.DecodedLen(len(text)))
		got, err := enc.Strict().Decode(out, text)
		return out[:got:got], err == nil && got == n && !bytes.ContainsAny(text, "\r\n")
	}
	return jsonscan.AppendBase64(nil, text, enc)
}
