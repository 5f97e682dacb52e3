// SPDX-License-Identifier: Apache-2.0

package spdm

import "math/bits"

// Model is the kind of a certificate chain (DSP0274 1.3, CertificateInfo).
type Model uint8

// The certificate models.
const (
	ModelNone    Model = 0
	ModelDevice  Model = 1 // the leaf is the device certificate
	ModelAlias   Model = 2 // the leaf is below a device certificate CA in the device
	ModelGeneric Model = 3 // neither; never in slot 0
)

// String returns the name of the model.
func (m Model) String() string {
	switch m {
	case ModelDevice:
		return "device"
	case ModelAlias:
		return "alias"
	case ModelGeneric:
		return "generic"
	}
	return "none"
}

// KeyUsage says for what a slot's key may be used (1.3, KeyUsageMask).
type KeyUsage uint16

// The bits that matter here.
const (
	UsageChallenge   KeyUsage = 1 << 1
	UsageMeasurement KeyUsage = 1 << 2
)

// Slot is what DIGESTS says about one certificate slot.
type Slot struct {
	Number uint8
	// Digest is the base hash of the whole certificate chain structure.
	Digest []byte
	// KeyPair, Model and Usage are only there in multi-key connections.
	KeyPair uint8
	Model   Model
	Usage   KeyUsage
}

// Digests is a DIGESTS response.
type Digests struct {
	Raw []byte
	// MultiKey tells whether KeyPair, Model and Usage of the slots are set.
	MultiKey bool
	// Slots are the provisioned slots in ascending order.
	Slots []Slot
}

// Slot returns what is said about slot n.
func (d *Digests) Slot(n uint8) (Slot, bool) {
	for _, s := range d.Slots {
		if s.Number == n {
			return s, true
		}
	}
	return Slot{}, false
}

// ParseDigests parses a DIGESTS response exactly.
func ParseDigests(b []byte, v *VCA) (*Digests, error) {
	r := newReader(StageDigests, "digests", b, maxMessage)
	d := parseDigests(r, v)
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return d, nil
}

func parseDigests(r *reader, v *VCA) *Digests {
	start := r.at
	supported, mask := r.header(v.Version, CodeDigests)
	if r.err == nil && mask == 0 {
		r.fail(KindMalformed, start+3, nil, nil, "no slot is provisioned")
	}
	if v.Version >= Version13 && mask&^supported != 0 {
		r.fail(KindMalformed, start+3, supported, mask, "a provisioned slot is not supported")
	}
	n := bits.OnesCount8(mask)
	d := &Digests{MultiKey: v.MultiKey, Slots: make([]Slot, 0, n)}
	for i := range uint8(MaxSlots) {
		if mask>>i&1 != 0 {
			d.Slots = append(d.Slots, Slot{Number: i, Digest: r.bytes(v.BaseHash.Size(), "digest")})
		}
	}
	if v.MultiKey {
		for i := range d.Slots {
			d.Slots[i].KeyPair = r.u8("key pair id")
		}
		for i := range d.Slots {
			d.Slots[i].Model = Model(r.u8("certificate info") & 7)
		}
		for i := range d.Slots {
			d.Slots[i].Usage = KeyUsage(r.u16("key usage"))
		}
	}
	d.Raw = r.since(start)
	return d
}

func parseGetDigests(r *reader, v *VCA) { r.header(v.Version, CodeGetDigests) }
