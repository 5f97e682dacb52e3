// SPDX-License-Identifier: Apache-2.0

package evidence

import "crypto/subtle"

// NVIDIA's verifiers take a collection of type nvidiaInput with one collection
// of type nvidiaItem for each device (attestation-sdk, CMW input profile). Such
// a device is one leaf here, as it is one component: its report, chain and hints
// mean nothing apart from each other.
const (
	nvidiaInput = "tag:nvidia.com,2026:verifier-input/profiles/base/pre-1.0.0"
	nvidiaItem  = "tag:nvidia.com,2026:evidence-item/v1"

	// TypeNVIDIAItem is the media type of a leaf that is a collection of type
	// nvidiaItem in JSON: its value are the bytes of that collection as they were
	// received (decision D-86). A record of this type is the same leaf in a form
	// that CBOR can carry.
	TypeNVIDIAItem = "application/vnd.assize.nvidia-evidence-item+json"
	// typeNVIDIAItemCBOR is that of one in CBOR, which NVIDIA's profile does not
	// have: nobody appraises it.
	typeNVIDIAItemCBOR = "application/vnd.assize.nvidia-evidence-item+cbor"

	nvidiaNonce     = "nonce"
	nvidiaSettings  = "appraisal-settings"
	nvidiaNonceType = "application/octet-stream"
	nvidiaNonceSize = 32
)

// item makes one leaf of a collection that is read. What is inside has kept
// every rule of a collection, and is no leaf by itself.
func (c *collection) item(format Format, raw []byte, at int) (*Node, error) {
	p := c.p
	mt := MediaType{Base: TypeNVIDIAItem}
	if format == FormatCBOR {
		mt.Base = typeNVIDIAItemCBOR
	}
	if err := p.checkLeafSize(mt, len(raw), c.f, at); err != nil {
		return nil, err
	}
	p.leaves, p.nodes, p.count = p.leaves[:c.leaves], p.nodes[:c.nodes], c.count
	n := p.node(Node{kind: KindItem, format: format, media: mt, raw: raw, value: raw, cmwType: c.cmwType, nonce: c.nonce()}, c.f)
	return n, p.admit(n, c.f, at)
}

// nonce is the value of the record "nonce", nil without one.
func (c *collection) nonce() []byte {
	for _, n := range c.children {
		if n.label.canonical == nvidiaNonce && n.kind == KindRecord {
			return n.value
		}
	}
	return nil
}

// input holds NVIDIA's profile of the collection around the devices: nothing in
// it but devices and a nonce. The nonce is a copy of what every device has
// signed, so it is no component and decides nothing; a device that has another
// copy is not of this collection.
func (c *collection) input(at int) error {
	devices := 0
	nonce := c.nonce()
	for _, n := range c.children {
		switch name := n.label.canonical; {
		case name == nvidiaSettings:
			// Evidence does not choose how it is judged, and settings that are not
			// applied must not look as if they were.
			return c.f.fail(RuleNVIDIA, at, "%q in evidence: how it is appraised is for the verifier to say, so take the entry out and give the verifier an appraisal policy instead", nvidiaSettings)
		case name == nvidiaNonce:
			if n.kind != KindRecord || !n.media.Equal(MediaType{Base: nvidiaNonceType}) || n.ind != 0 || len(n.value) != nvidiaNonceSize {
				return c.f.fail(RuleNVIDIA, at, "entry %q is not a record of type %s with %d bytes and no ind", name, nvidiaNonceType, nvidiaNonceSize)
			}
			n.kind = KindClaims
			c.p.dropLeaf(n)
		case !n.isDevice():
			return c.f.fail(RuleNVIDIA, at, "entry %q is a %s, not a collection of type %q", name, n.kind, nvidiaItem)
		case nonce != nil && n.nonce != nil && subtle.ConstantTimeCompare(nonce, n.nonce) != 1:
			return c.f.fail(RuleNVIDIA, at, "device %q has another nonce than the collection", name)
		default:
			devices++
		}
	}
	if devices == 0 {
		return c.f.fail(RuleNVIDIA, at, "collection of type %q without a device", nvidiaInput)
	}
	return nil
}

// isDevice reports an item in either form.
func (n *Node) isDevice() bool {
	return n.kind == KindItem || n.kind == KindRecord && (n.media.Base == TypeNVIDIAItem || n.media.Base == typeNVIDIAItemCBOR)
}
