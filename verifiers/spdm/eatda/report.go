// SPDX-License-Identifier: Apache-2.0

package eatda

import (
	"bytes"
	"encoding/binary"
)

// Members of an interface report, and of a range in it.
const (
	reportInfo     = 1
	reportMSIX     = 2
	reportLNR      = 3
	reportTPH      = 4
	reportRanges   = 5
	reportSpecific = 6

	rangeOnly = 1 // the one key of mmio-ranges

	rangeFirst      = 1
	rangePages      = 2
	rangeAttributes = 3

	attributeBits = 1
	attributeID   = 2
)

const (
	maxRanges   = 256
	maxSpecific = 64 << 10
)

// Report is the interface report in the draft's form. Integers are little-endian,
// as on the wire. A member that is absent is nil. The device does not sign it.
type Report struct {
	Info, MSIX, LNR, TPH []byte
	Ranges               []Range
	Specific             []byte
	ranges               bool
}

// Range is one MMIO range: 8 bytes of first page, 4 bytes of pages, 2 bytes of
// attributes, 2 bytes of range id.
type Range struct{ First, Pages, Attributes, ID []byte }

// Whole tells whether the report holds nothing but device-specific information,
// where some collectors put the report as the device gave it.
func (p *Report) Whole() bool {
	return p.Specific != nil && p.Info == nil && p.MSIX == nil && p.LNR == nil && p.TPH == nil && !p.ranges
}

// Wire is the DEVICE_INTERFACE_REPORT of TDISP that the claim restates, false if
// a member is missing without which it cannot be written. Ranges and
// device-specific information that are absent are written as none.
func (p *Report) Wire() ([]byte, bool) {
	if p.Info == nil || p.MSIX == nil || p.LNR == nil || p.TPH == nil {
		return nil, false
	}
	out := append(make([]byte, 0, 20+16*len(p.Ranges)+len(p.Specific)), p.Info...)
	out = append(out, 0, 0)
	out = append(append(append(out, p.MSIX...), p.LNR...), p.TPH...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(p.Ranges)))
	for _, g := range p.Ranges {
		out = append(append(append(append(out, g.First...), g.Pages...), g.Attributes...), g.ID...)
	}
	out = binary.LittleEndian.AppendUint32(out, uint32(len(p.Specific)))
	return append(out, p.Specific...), true
}

func (d *Device) readReport(r *reader, o Options) (*Report, error) {
	p, start, members := &Report{}, r.at, 0
	err := r.eachPair(RuleReport, "interface report", maxDepth-3, func(k key, at int) (err error) {
		if k.isText || k.other || k.n < reportInfo || k.n > reportSpecific {
			return errUnknown
		}
		members++
		switch k.n {
		case reportInfo:
			p.Info, err = r.bits("interface info")
		case reportMSIX:
			p.MSIX, err = r.bytes(2, 2, RuleReport, "msi-x message control")
		case reportLNR:
			p.LNR, err = r.bytes(2, 2, RuleReport, "lnr control")
		case reportTPH:
			p.TPH, err = r.bytes(4, 4, RuleReport, "tph control")
		case reportRanges:
			p.ranges = true
			err = d.readRanges(r, p, o)
		case reportSpecific:
			p.Specific, err = r.bytes(0, maxSpecific, RuleReport, "device-specific information")
		}
		return err
	})
	if err == nil && members == 0 {
		err = r.fail(RuleReport, start, "interface report without a member")
	}
	if err != nil {
		return nil, err
	}
	if p.Whole() {
		d.flag(DefectRaw, "an interface report of device-specific information alone, which may be the whole report")
	}
	return p, nil
}

// bits reads a bit string of the two bytes that TDISP has, of which a writer may
// leave out the second.
func (r *reader) bits(what string) ([]byte, error) {
	v, err := r.bytes(1, 2, RuleReport, what)
	if err != nil || len(v) == 2 {
		return v, err
	}
	return []byte{v[0], 0}, nil
}

// readRanges reads { 1: range }, or an array of ranges if that is allowed.
func (d *Device) readRanges(r *reader, p *Report, o Options) error {
	start := r.at
	if start < len(r.b) && r.b[start]>>5 == majorArray {
		if !o.Ranges {
			return r.fail(RuleReport, start, "an array of MMIO ranges, which is not read unless it is allowed")
		}
		d.flag(DefectRanges, "several MMIO ranges as an array")
		n, err := r.expect(majorArray, RuleReport, "mmio-ranges")
		if err == nil && n > maxRanges {
			err = r.fail(RuleReport, start, "%d MMIO ranges, at most %d", n, maxRanges)
		}
		for range n {
			if err != nil {
				break
			}
			err = r.readRange(p)
		}
		return err
	}
	err := r.eachPair(RuleReport, "mmio-ranges", maxDepth-4, func(k key, at int) error {
		if k.isText || k.other || k.n != rangeOnly {
			return errUnknown
		}
		return r.readRange(p)
	})
	if err == nil && len(p.Ranges) == 0 {
		err = r.fail(RuleReport, start, "mmio-ranges without a range")
	}
	return err
}

func (r *reader) readRange(p *Report) error {
	g, start := Range{}, r.at
	err := r.eachPair(RuleReport, "MMIO range", maxDepth-5, func(k key, at int) (err error) {
		switch {
		case k.isText || k.other:
			return errUnknown
		case k.n == rangeFirst:
			g.First, err = r.bytes(8, 8, RuleReport, "first page")
		case k.n == rangePages:
			g.Pages, err = r.bytes(4, 4, RuleReport, "number of pages")
		case k.n == rangeAttributes:
			err = r.readAttributes(&g)
		default:
			return errUnknown
		}
		return err
	})
	if err == nil && (g.First == nil || g.Pages == nil || g.Attributes == nil || g.ID == nil) {
		err = r.fail(RuleReport, start, "MMIO range lacks a member")
	}
	p.Ranges = append(p.Ranges, g)
	return err
}

func (r *reader) readAttributes(g *Range) error {
	return r.eachPair(RuleReport, "range attributes", maxDepth-6, func(k key, at int) (err error) {
		switch {
		case k.isText || k.other:
			return errUnknown
		case k.n == attributeBits:
			g.Attributes, err = r.bits("range attributes")
		case k.n == attributeID:
			g.ID, err = r.bytes(2, 2, RuleReport, "range id")
		default:
			return errUnknown
		}
		return err
	})
}

// Members of what a device without SPDM has, with their sizes and places in the
// configuration space.
var pciFields = [...]struct {
	name   string
	offset int
	size   int
}{
	1: {"vendor id", 0x00, 2}, 2: {"device id", 0x02, 2}, 3: {"command", 0x04, 2}, 4: {"status", 0x06, 2}, 5: {"revision id", 0x08, 1},
	6: {"class code", 0x09, 3}, 7: {"cache line size", 0x0C, 1}, 8: {"latency timer", 0x0D, 1}, 9: {"header type", 0x0E, 1}, 10: {"BIST", 0x0F, 1},
}

const (
	pciVendor  = 1
	pciDevice  = 2
	configSize = 256
)

// Legacy is what a device without SPDM has. Nothing of it is signed by anybody,
// and a device can state what it likes.
type Legacy struct {
	// Fields are members of the configuration space by their number in the draft
	// (1 vendor id, 2 device id, … 10 BIST), little-endian; nil if absent.
	Fields map[uint8][]byte
	// Config are the 256 bytes of the configuration space, nil if absent.
	Config []byte
}

func (d *Device) readLegacy(r *reader) error {
	l := &Legacy{}
	err := r.eachPair(RuleCBOR, "claims of the device", maxDepth-2, func(k key, at int) (err error) {
		switch {
		case k.isText || k.other:
			return errUnknown
		case k.n == claimProfile:
			d.profile, err = r.text(MaxName, RuleProfile, "eat_profile")
		case k.n == claimPCI:
			l.Fields, err = r.readPCI()
		case k.n == claimConfig:
			l.Config, err = r.bytes(configSize, configSize, RuleLegacy, "configuration space")
		default:
			return errUnknown
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case d.profile != ProfileLegacy:
		return newError(RuleProfile, d.Name, -1, "eat_profile is %.128q, expected %q", d.profile, ProfileLegacy)
	case l.Fields == nil && l.Config == nil:
		return newError(RuleCombination, d.Name, -1, "neither PCI fields nor configuration space")
	}
	if l.Config != nil {
		for n, v := range l.Fields {
			f := pciFields[n]
			if seen := l.Config[f.offset : f.offset+f.size]; !bytes.Equal(seen, v) {
				return newError(RuleLegacy, d.Name, -1, "%s is %x, in the configuration space %x", f.name, v, seen)
			}
		}
	}
	d.Legacy = l
	return nil
}

func (r *reader) readPCI() (map[uint8][]byte, error) {
	start, out := r.at, map[uint8][]byte{}
	err := r.eachPair(RuleLegacy, "PCI fields", maxDepth-3, func(k key, at int) (err error) {
		if k.isText || k.other || k.n < pciVendor || int(k.n) >= len(pciFields) {
			return errUnknown
		}
		f := pciFields[k.n]
		out[uint8(k.n)], err = r.bytes(f.size, f.size, RuleLegacy, f.name)
		return err
	})
	if err == nil && (out[pciVendor] == nil || out[pciDevice] == nil) {
		err = r.fail(RuleLegacy, start, "PCI fields without vendor id or device id")
	}
	return out, err
}
