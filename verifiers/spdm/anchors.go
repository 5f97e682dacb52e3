// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/endorsements"
)

// There is no list of makers of PCIe devices whose roots a build could pin. An
// operator names the roots by hash in the policy, and the bytes come from the
// folder of endorsements (decision D-78).

// maxAnchors bounds the parameter anchors.
const maxAnchors = 256

// AnchorParameter names one trust anchor: exactly one of the two hashes.
type AnchorParameter struct {
	// SPKI is the SHA-256 of the SubjectPublicKeyInfo (DER) of a CA certificate,
	// Certificate that of the certificate (DER), in lower-case hexadecimal.
	SPKI        string `yaml:"spki_sha256,omitempty"`
	Certificate string `yaml:"certificate_sha256,omitempty"`
	// Slots are the certificate slots for whose chains it may vouch, 0 to 7. Empty:
	// slot 0, which the maker of the device fills.
	Slots []uint8 `yaml:"slots,omitempty,flow"`
	// Manufacturers, unless empty, are those for whose devices it may vouch: the
	// first part of the DMTF name, or "pci:" and the four digits of the PCI vendor
	// id.
	Manufacturers []string `yaml:"manufacturers,omitempty,flow"`
}

func (p AnchorParameter) check() error {
	switch {
	case (p.SPKI == "") == (p.Certificate == ""):
		return fmt.Errorf("exactly one of spki_sha256 and certificate_sha256")
	case !isHex(p.SPKI+p.Certificate, sha256.Size):
		return fmt.Errorf("%.100q is no SHA-256 in lower-case hexadecimal", p.SPKI+p.Certificate)
	}
	for _, s := range p.Slots {
		if s >= MaxSlots {
			return fmt.Errorf("slot %d, at most %d", s, MaxSlots-1)
		}
	}
	if slices.Contains(p.Manufacturers, "") {
		return fmt.Errorf("a manufacturer without name")
	}
	return nil
}

// Warnings are sentences about what Check lets pass and an operator may not have
// meant: the chain of a slot other than 0 is whoever's who last owned the device, so
// that an anchor for it without manufacturers vouches for any name that an owner
// writes there (decision D-131).
func (p Parameters) Warnings() (out []string) {
	for i, a := range p.Anchors {
		if others := a.slots() &^ SlotFactory; others != 0 && len(a.Manufacturers) == 0 {
			out = append(out, fmt.Sprintf("parameters: anchors[%d] (%s): an owner may write slots other than 0, and this anchor without manufacturers vouches there for devices of any maker",
				i, a.SPKI+a.Certificate))
		}
	}
	return out
}

func isHex(s string, size int) bool {
	raw, err := hex.DecodeString(s)
	return err == nil && len(raw) == size && hex.EncodeToString(raw) == s
}

// names tells whether a parameter is about a certificate.
func (p AnchorParameter) names(c *x509.Certificate) bool {
	if p.Certificate != "" {
		sum := sha256.Sum256(c.Raw)
		return hex.EncodeToString(sum[:]) == p.Certificate
	}
	return spkiDigest(c) == p.SPKI
}

func spkiDigest(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// slots is the set; the factory slot where none is named.
func (p AnchorParameter) slots() Slots {
	if len(p.Slots) == 0 {
		return SlotFactory
	}
	var out Slots
	for _, s := range p.Slots {
		out |= 1 << s
	}
	return out
}

// anchor is a trust anchor and for whom it speaks.
type anchor struct {
	Anchor
	manufacturers []string // empty: anybody's
}

func (a anchor) equal(b anchor) bool {
	return a.Slots == b.Slots && a.Certificate.Equal(b.Certificate) && slices.Equal(a.manufacturers, b.manufacturers)
}

// anchors are the extra roots, which vouch for slot 0 alone unless the policy
// names them too, and the certificates of a bundle that the policy names. absent
// are those that it names in vain.
func (p *Parameters) anchors(extra []*x509.Certificate, b *endorsements.Bundle) (out []anchor, absent []string) {
	named := make([]bool, len(extra))
	for _, want := range p.Anchors {
		found := false
		add := func(c *x509.Certificate) {
			found = true
			out = append(out, anchor{Anchor{c, want.slots()}, want.Manufacturers})
		}
		for i, c := range extra {
			if want.names(c) {
				named[i] = true
				add(c)
			}
		}
		for c := range b.Certificates() {
			if c.BasicConstraintsValid && c.IsCA && want.names(c.Certificate) {
				add(c.Certificate)
			}
		}
		if !found {
			absent = append(absent, want.SPKI+want.Certificate)
		}
	}
	for i, c := range extra {
		if !named[i] {
			out = append(out, anchor{Anchor{c, SlotFactory}, nil})
		}
	}
	return out, absent
}

// trusted are the anchors as Verify takes them.
func (v *verifier) trusted(every bool) []Anchor {
	out := make([]Anchor, len(v.anchors))
	for i, a := range v.anchors {
		if out[i] = a.Anchor; every {
			out[i].Slots = ^Slots(0)
		}
	}
	return out
}

// speaksFor tells whether the anchor of a verified chain may vouch for devices
// of this manufacturer.
func (v *verifier) speaksFor(id *Identity) bool {
	root := id.Path[len(id.Path)-1]
	maker := id.manufacturer()
	return slices.ContainsFunc(v.anchors, func(a anchor) bool {
		return a.Slots>>id.Slot&1 != 0 && a.Certificate.Equal(root) && (len(a.manufacturers) == 0 || slices.Contains(a.manufacturers, maker))
	})
}

// chainKey is everything that the verification of a chain depends on but
// anchors and time.
type chainKey struct {
	raw   []byte
	slot  uint8
	model Model
	vca   *VCA
}

func (k chainKey) bytes() []byte {
	out := make([]byte, 0, 16+len(k.raw))
	out = append(out, k.slot, byte(k.model), byte(k.vca.Version))
	out = binary.LittleEndian.AppendUint32(out, uint32(k.vca.BaseAsym))
	out = binary.LittleEndian.AppendUint32(out, uint32(k.vca.BaseHash))
	return append(out, k.raw...)
}

// validAt tells whether every certificate of the path holds at a time.
func (id *Identity) validAt(t time.Time) bool {
	return !slices.ContainsFunc(id.Path, func(c *x509.Certificate) bool { return t.Before(c.NotBefore) || t.After(c.NotAfter) })
}

// earliest is when the first certificate of the path ends.
func earliest(id *Identity) time.Time {
	return slices.MinFunc(id.Path, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
}
