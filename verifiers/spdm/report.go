// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// InterfaceInfo is the field INTERFACE_INFO of a DEVICE_INTERFACE_REPORT.
type InterfaceInfo uint16

// The bits (PCIe TDISP, DEVICE_INTERFACE_REPORT).
const (
	InterfaceNoFirmwareUpdate InterfaceInfo = 1 << 0
	InterfaceDMAWithoutPASID  InterfaceInfo = 1 << 1
	InterfaceDMAWithPASID     InterfaceInfo = 1 << 2
	InterfaceATS              InterfaceInfo = 1 << 3
	InterfacePRS              InterfaceInfo = 1 << 4
	InterfaceXT               InterfaceInfo = 1 << 5
	interfaceKnown            InterfaceInfo = 1<<6 - 1
)

// RangeAttributes are the attributes of one MMIO range.
type RangeAttributes uint16

// The bits.
const (
	RangeMSIXTable RangeAttributes = 1 << 0
	RangeMSIXPBA   RangeAttributes = 1 << 1
	RangeNonTEE    RangeAttributes = 1 << 2
	RangeUpdatable RangeAttributes = 1 << 3
	rangeKnown     RangeAttributes = 1<<4 - 1
)

// Range is one MMIO range. Pages are 4 KiB.
type Range struct {
	FirstPage  uint64
	Pages      uint32
	Attributes RangeAttributes
	ID         uint16
}

// InterfaceReport is a reassembled DEVICE_INTERFACE_REPORT. The device does not
// sign it: it is only as good as the digest that the TSM vouches for.
type InterfaceReport struct {
	Raw    []byte
	Info   InterfaceInfo
	MSIX   uint16 // MSI-X message control
	LNR    uint16 // LNR control
	TPH    uint32 // TPH control
	Ranges []Range
	// Specific is the device-specific information.
	Specific []byte
}

const rangeSize = 16

// ParseReport parses a reassembled report exactly. Reserved bits must be zero,
// and the number of ranges is bounded by the length before anything is allocated.
func ParseReport(b []byte) (*InterfaceReport, error) {
	r := newReader(StageReport, "report", b, MaxReport)
	p := &InterfaceReport{Raw: b, Info: InterfaceInfo(r.u16("interface info"))}
	if p.Info&^interfaceKnown != 0 {
		r.fail(KindMalformed, 0, fmt.Sprintf("bits of 0x%04x", uint16(interfaceKnown)), uint16(p.Info), "reserved bits of interface info")
	}
	r.zero(2, "reserved bytes of the report")
	p.MSIX, p.LNR, p.TPH = r.u16("msi-x control"), r.u16("lnr control"), r.u32("tph control")
	at := r.at
	n := r.u32("number of ranges")
	if r.err == nil && uint64(n)*rangeSize > uint64(len(b)-r.at) {
		r.fail(KindMalformed, at, fmt.Sprintf("at most %d", (len(b)-r.at)/rangeSize), n, "number of ranges")
	}
	if r.err == nil {
		p.Ranges = make([]Range, 0, n)
	}
	for i := uint32(0); i < n && r.err == nil; i++ {
		at := r.at
		g := Range{FirstPage: r.u64("first page"), Pages: r.u32("number of pages"),
			Attributes: RangeAttributes(r.u16("attributes")), ID: r.u16("range id")}
		if g.Attributes&^rangeKnown != 0 {
			r.fail(KindMalformed, at+12, fmt.Sprintf("bits of 0x%04x", uint16(rangeKnown)), uint16(g.Attributes), "reserved attributes of a range")
		}
		p.Ranges = append(p.Ranges, g)
	}
	p.Specific = r.bytes(int(r.u32("length of the device-specific information")), "device-specific information")
	r.end()
	if r.err != nil {
		return nil, r.err
	}
	return p, nil
}

// maxPage is the number of 4 KiB pages in a 64-bit address space.
const maxPage = math.MaxUint64>>12 + 1

// CheckRanges refuses empty ranges, ranges that leave the 64-bit address space
// and ranges that overlap. It is apart from ParseReport because such a report
// has the right form: it describes a device that nobody should map.
func (r *InterfaceReport) CheckRanges() error {
	sorted := slices.Clone(r.Ranges)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.FirstPage, b.FirstPage) })
	for i, g := range sorted {
		switch {
		case g.Pages == 0:
			return refuse(StageReport, KindContradiction, "report", "range %d at page 0x%x is empty", g.ID, g.FirstPage)
		case g.FirstPage > maxPage-uint64(g.Pages):
			return refuse(StageReport, KindContradiction, "report", "range %d of %d pages at page 0x%x leaves the address space", g.ID, g.Pages, g.FirstPage)
		case i > 0 && sorted[i-1].FirstPage+uint64(sorted[i-1].Pages) > g.FirstPage:
			return refuse(StageReport, KindContradiction, "report", "ranges at pages 0x%x and 0x%x overlap", sorted[i-1].FirstPage, g.FirstPage)
		}
	}
	return nil
}
