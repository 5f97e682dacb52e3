// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"bytes"
	"slices"

	"github.com/assize/assize/evidence/internal/jsonscan"
)

// bound holds a composite to the convention of others that its type declares:
// the runtime data are there, and are no component; additional evidence is taken
// apart into components.
func (c *collection) bound(convention string, at int) error {
	var runtime, additional *Node
	for _, n := range c.children {
		switch n.label.canonical {
		case LabelRuntimeData:
			runtime = n
		case LabelAdditionalEvidence:
			additional = n
		}
	}
	if runtime == nil {
		return c.f.fail(RuleConvention, at, "collection of type %q without %q", c.cmwType, LabelRuntimeData)
	}
	if runtime.kind != KindRecord || !runtime.media.Equal(MediaType{Base: TypeRuntimeData}) || runtime.ind != 0 && runtime.ind != IndEvidence {
		return c.f.fail(RuleConvention, at, "entry %q is not a record of type %s", LabelRuntimeData, TypeRuntimeData)
	}
	parsed, err := ParseRuntimeData(convention, runtime.value)
	if err != nil {
		return c.f.down(runtime.label).fail(RuleConvention, -1, "%v", err)
	}
	runtime.kind = KindClaims
	c.p.dropLeaf(runtime)
	c.p.runtime = parsed
	if additional == nil || convention != ConventionTrustee {
		if len(c.p.leaves) == 0 {
			return c.f.fail(RuleConvention, at, "collection of type %q without a component", c.cmwType)
		}
		return nil
	}
	if additional.kind != KindRecord || !additional.media.Equal(MediaType{Base: TypeAdditionalEvidence}) || additional.ind != 0 && additional.ind != IndEvidence {
		return c.f.fail(RuleConvention, at, "entry %q is not a record of type %s", LabelAdditionalEvidence, TypeAdditionalEvidence)
	}
	return c.p.trusteeEvidence(additional, c.f.down(additional.label).into(0))
}

// trusteeEvidence makes a wrapper of a record with additional evidence. The whole
// text is hashed, so that it does not matter how its members are written.
func (p *parser) trusteeEvidence(n *Node, f frame) error {
	if err := p.enter(f, 0); err != nil {
		return err
	}
	n.kind = KindEmbedded
	p.dropLeaf(n)
	p.nodes = slices.DeleteFunc(p.nodes, func(other *Node) bool { return other == n })
	p.additional = n.value
	r := &jsonReader{Scanner: jsonscan.Scanner{Buf: n.value}}
	c := p.collection(f)
	err := r.Object(maxAdditional, func(name string) error { return c.trusteeMember(r, n.ind, name) })
	if err != nil {
		return f.wrap(err)
	}
	if err := r.End(); err != nil {
		return f.wrap(err)
	}
	whole, err := c.done(FormatJSON, bytes.TrimSpace(n.value), 0)
	if err != nil {
		return err
	}
	n.children = []*Node{whole}
	return nil
}

// trusteeMember reads one member: the component is exactly the bytes of its value.
func (c *collection) trusteeMember(r *jsonReader, ind Indicator, name string) error {
	r.Space()
	start := r.Pos
	l, err := c.textLabel([]byte(name), start)
	if err != nil {
		return err
	}
	in, err := c.entry(l, "CMW-19", start)
	if err != nil {
		return err
	}
	first := r.Peek()
	if name == memberCMW {
		if first != '{' {
			return in.fail(RuleConvention, start, "member %q is not a CMW collection", memberCMW)
		}
		child, err := c.p.jsonNode(r, in)
		if err == nil {
			c.children = append(c.children, child)
		}
		return err
	}
	if err := r.Skip(maxDepthJSON); err != nil {
		return in.wrap(err)
	}
	media := MediaType{Base: TypeTrusteeEvidence}.With(paramTEE, name)
	if name == memberNVIDIA && first == '[' {
		media = MediaType{Base: TypeTrusteeNVIDIA}
	}
	if _, err := ParseMediaType(media.String()); err != nil {
		return in.fail(RuleConvention, start, "member %.64q is no name of a TEE", name)
	}
	value := r.Buf[start:r.Pos:r.Pos]
	if err := c.p.checkLeafSize(media, len(value), in, start); err != nil {
		return err
	}
	n := c.p.node(Node{kind: KindRecord, format: FormatJSON, media: media, raw: value, value: value, ind: ind}, in)
	c.children = append(c.children, n)
	return c.p.admit(n, in, start)
}
