// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

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
	infoNoUpdate          = 1 << 0 // INTERFACE_INFO: no firmware update while locked
	infoNoPASID           = 1 << 1 // DMA without PASID
	infoPASID             = 1 << 2 // DMA with PASID
	infoATS               = 1 << 3
	infoPRS               = 1 << 4
	infoXT                = 1 << 5
	infoReserved          = 1 << 15
	msixControl           = 0x801f // enabled, 32 vectors
	lockNoUpdate          = 1 << 0 // LOCK_INTERFACE: no firmware update
	lockCacheLine         = 1 << 1
	lockMSIX              = 1 << 2
	stateUnlocked         = 0 // TDI state CONFIG_UNLOCKED
	stateRun              = 2 // TDI state RUN
	stateError            = 3 // TDI state ERROR
	deviceSpecific        = "assize_sim_nic\x00\x00"
	unknownBAR            = 9
	pageBits              = 52 // of an address of 64 bits
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

// lockFlags are those of LOCK_INTERFACE.
func (o Options) lockFlags() uint16 {
	flags := uint16(lockNoUpdate | lockCacheLine | lockMSIX)
	if o.has(FirmwareUpdateLock) {
		flags &^= lockNoUpdate
	}
	if o.has(MSIXUnlocked) {
		flags &^= lockMSIX
	}
	return flags
}

// interfaceInfo is INTERFACE_INFO with the faults that o asks for.
func (o Options) interfaceInfo() uint16 {
	info := uint16(infoNoUpdate | infoNoPASID)
	if o.has(FirmwareUpdate) {
		info &^= infoNoUpdate
	}
	for f, bit := range map[Fault]uint16{ATS: infoATS, PRS: infoPRS, PASID: infoPASID, XT: infoXT, ReportReserved: infoReserved} {
		if o.has(f) {
			info |= bit
		}
	}
	return info
}

// reported are the ranges at their addresses, with the faults that o asks for.
func (o Options) reported(ranges []Range, base uint64) []Range {
	out := slices.Clone(ranges)
	for i := range out {
		out[i].Offset += base
	}
	if len(out) == 0 {
		return out
	}
	r := &out[0]
	switch {
	case o.has(NonTEERange):
		r.Attributes |= AttrNonTEE
	case o.has(UpdatableRange):
		r.Attributes |= AttrUpdatable
	case o.has(RangeOverlap) && len(out) > 1:
		r.Offset = out[1].Offset
	case o.has(RangeEmpty):
		r.Pages = 0
	case o.has(RangeOverflow):
		r.Offset = 1<<pageBits - 1
	case o.has(RangeID):
		r.ID = unknownBAR
	}
	return out
}

// interfaceReport is a DEVICE_INTERFACE_REPORT: information, MSI-X control,
// LNR and TPH control, counted ranges, device-specific information.
func (o Options) interfaceReport(ranges []Range, base uint64) []byte {
	out := le.AppendUint16(nil, o.interfaceInfo())
	out = le.AppendUint16(out, 0)
	out = le.AppendUint16(out, msixControl)
	out = le.AppendUint16(out, 0)
	out = le.AppendUint32(out, 0)
	out = le.AppendUint32(out, uint32(len(ranges)))
	for _, r := range o.reported(ranges, base) {
		out = le.AppendUint64(out, r.Offset)
		out = le.AppendUint32(out, r.Pages)
		out = le.AppendUint16(out, r.Attributes)
		out = le.AppendUint16(out, r.ID)
	}
	specific := deviceSpecific
	if o.has(DeviceSpecific) {
		specific = strings.Replace(specific, "nic", "???", 1)
	}
	out = le.AppendUint32(out, uint32(len(specific)))
	out = append(out, specific...)
	if o.has(ReportTrailing) {
		out = append(out, 0)
	}
	return out
}

// InterfaceReport is the device's own DEVICE_INTERFACE_REPORT, the one that
// the TSM measured; nil without a TSM. With Options.ReportSwapped the evidence
// carries another one.
func (d *Device) InterfaceReport() []byte { return bytes.Clone(d.report) }

// InterfaceReferences are reference values for the interface report, by the
// text keys "tdisp.interface-info" (u16), "tdisp.non-tee-range-count" and
// "tdisp.updatable-range-count" (u32), "tdisp.range.<id>" (pages u32, attributes
// u16), all little endian, and "tdisp.device-specific". Nil without a TSM.
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
		{Name: "tdisp.interface-info", Raw: []byte{infoNoUpdate, 0}, Mask: []byte{infoNoUpdate | infoATS | infoPRS, 0}},
		{Name: "tdisp.non-tee-range-count", Raw: le.AppendUint32(nil, nonTEE)},
		{Name: "tdisp.updatable-range-count", Raw: le.AppendUint32(nil, updatable)},
	}, ranges, []Measurement{{Name: "tdisp.device-specific", Raw: []byte(deviceSpecific)}})
}

// ConnectionReferences are reference values for the connection, by the text keys
// "spdm.version", "spdm.base-asym", "spdm.base-hash" (u8, u32, u32) and, where the
// challenge summarizes the TCB, "spdm.summary.tcb".
func (d *Device) ConnectionReferences() []Measurement {
	s := d.o.Suite.get()
	out := []Measurement{
		{Name: "spdm.version", Raw: []byte{byte(d.o.Version)}},
		{Name: "spdm.base-asym", Raw: le.AppendUint32(nil, s.asym)}, {Name: "spdm.base-hash", Raw: le.AppendUint32(nil, s.hash)},
	}
	if d.o.Summary == SummaryOfTCB && !d.o.NoChallenge {
		out = append(out, Measurement{Name: "spdm.summary.tcb", Alg: algName(s.base), Digest: sum(s.base, record(tcb(d.honest)))})
	}
	return out
}
