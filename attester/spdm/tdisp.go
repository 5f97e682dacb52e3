// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/assize/assize/attester/pki"
)

// Range is one MMIO range of a DEVICE_INTERFACE_REPORT.
type Range struct {
	// Offset is the first page relative to the device's reporting base, in
	// pages of 4 KiB.
	Offset uint64
	// Pages is the length in pages of 4 KiB.
	Pages uint32
	// Attributes: see the Attr constants.
	Attributes uint16
	// ID is the range id, by convention the number of the BAR.
	ID uint16
}

// Attributes of an MMIO range (TDISP, DEVICE_INTERFACE_REPORT).
const (
	AttrMSIXTable  uint16 = 1 << 0
	AttrMSIXPBA    uint16 = 1 << 1
	AttrNonTEE     uint16 = 1 << 2
	AttrUpdatable  uint16 = 1 << 3
	interfaceInfo         = 0x0003 // no firmware update while locked, DMA without PASID
	msixControl           = 0x801f // enabled, 32 vectors
	lockFlags             = 0x0007 // no firmware update, cache line size, MSI-X locked
	stateUnlocked         = 0      // TDI state CONFIG_UNLOCKED
	stateRun              = 2      // TDI state RUN
	deviceSpecific        = "assize_sim_nic\x00\x00"
)

func defaultRanges() []Range {
	return []Range{
		{Offset: 0, Pages: 4096, ID: 0},
		{Offset: 0x4000, Pages: 8, Attributes: AttrMSIXTable, ID: 2},
		{Offset: 0x4010, Pages: 8, Attributes: AttrMSIXPBA, ID: 4},
	}
}

// reportingBase is a page number as the host would choose it: 16 MiB aligned,
// below 2^40 bytes.
func reportingBase(seed pki.Seed) uint64 { return seed.Uint64() & 0x0fff_f000 }

// interfaceReport is a DEVICE_INTERFACE_REPORT: information, MSI-X control,
// LNR and TPH control, counted ranges, device-specific information.
func interfaceReport(ranges []Range, base uint64) []byte {
	out := le.AppendUint16(nil, interfaceInfo)
	out = le.AppendUint16(out, 0)
	out = le.AppendUint16(out, msixControl)
	out = le.AppendUint16(out, 0)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(len(ranges)))
	for _, r := range ranges {
		out = le.AppendUint64(out, base+r.Offset)
		out = le.AppendUint32(out, r.Pages)
		out = le.AppendUint16(out, r.Attributes)
		out = le.AppendUint16(out, r.ID)
	}
	out = le.AppendUint32(out, uint32(len(deviceSpecific)))
	return append(out, deviceSpecific...)
}

// InterfaceReport is the device's own DEVICE_INTERFACE_REPORT, the one that
// the TSM measured; nil without a TSM. With Options.ReportSwapped the evidence
// carries another one.
func (d *Device) InterfaceReport() []byte { return bytes.Clone(d.report) }

// InterfaceReferences are reference values for the interface report, by the
// text keys "tdisp.interface-info" (u16), "tdisp.non-tee-range-count" and
// "tdisp.updatable-range-count" (u32), and "tdisp.range.<id>" (pages u32,
// attributes u16), all little endian. Nil without a TSM.
func (d *Device) InterfaceReferences() []Measurement {
	if d.report == nil {
		return nil
	}
	var nonTEE, updatable uint32
	var ranges []Measurement
	for _, r := range d.ranges {
		if r.Attributes&AttrNonTEE != 0 {
			nonTEE++
		}
		if r.Attributes&AttrUpdatable != 0 {
			updatable++
		}
		raw := le.AppendUint16(le.AppendUint32(nil, r.Pages), r.Attributes)
		ranges = append(ranges, Measurement{Name: "tdisp.range." + strconv.Itoa(int(r.ID)), Raw: raw})
	}
	return slices.Concat([]Measurement{
		{Name: "tdisp.interface-info", Raw: []byte{1, 0}, Mask: []byte{1, 0}},
		{Name: "tdisp.non-tee-range-count", Raw: le.AppendUint32(nil, nonTEE)},
		{Name: "tdisp.updatable-range-count", Raw: le.AppendUint32(nil, updatable)},
	}, ranges)
}
