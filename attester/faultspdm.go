// SPDX-License-Identifier: Apache-2.0

package attester

import (
	"slices"

	"github.com/assize/assize/attester/spdm"
)

// Faults that only devices with SPDM have. attester/spdm has more of them, for
// tests.
const (
	// Unlocked: the interface of the device is not locked.
	Unlocked FaultKind = "unlocked"
	// SPDMDowngrade: a higher version of SPDM was offered than negotiated.
	SPDMDowngrade = FaultKind(spdm.Downgrade)
	// UnsignedMeasurements: the device cannot sign measurements.
	UnsignedMeasurements = FaultKind(spdm.Unsigned)
	// RootHash: its chain names another root than it leads to.
	RootHash = FaultKind(spdm.RootHash)
	// UnknownAnchor: its chain leads to a root that nobody trusts.
	UnknownAnchor = FaultKind(spdm.UnknownAnchor)
	// LeafEKU: its certificate is for requesters only.
	LeafEKU = FaultKind(spdm.LeafEKU)
	// WrongSlot: by its own words it signed with the key of another slot.
	WrongSlot = FaultKind(spdm.Slot)
	// WrongName: the collector calls it by the name of another device.
	WrongName = FaultKind(spdm.Name)
	// WrongVCA: it signed another negotiation.
	WrongVCA = FaultKind(spdm.WrongVCA)
	// WrongPrefix: it signed as in another version of SPDM.
	WrongPrefix = FaultKind(spdm.WrongPrefix)
	// ChallengeNonce: its challenge is of another session than its measurements.
	ChallengeNonce = FaultKind(spdm.ChallengeNonce)
	// WrongSummary: its challenge summarizes other measurements.
	WrongSummary = FaultKind(spdm.Summary)
	// HardwareConfig: its straps are others.
	HardwareConfig = FaultKind(spdm.HardwareConfig)
	// FirmwareConfig: its firmware is configured otherwise.
	FirmwareConfig = FaultKind(spdm.FirmwareConfig)
	// DebugWas: it was debugged since reset.
	DebugWas = FaultKind(spdm.DebugWas)
	// RecoveryMode: it is in its recovery mode.
	RecoveryMode = FaultKind(spdm.Recovery)
	// ModeMissing: it does not say in which mode it is.
	ModeMissing = FaultKind(spdm.ModeMissing)
	// ContentChanged: its measurements changed while they were read.
	ContentChanged = FaultKind(spdm.Changed)
	// ReportMissing: its interface report was left out.
	ReportMissing = FaultKind(spdm.ReportMissing)
	// TSMMissing: what the TSM says was left out.
	TSMMissing = FaultKind(spdm.TSMMissing)
	// TSMCertificates: the TSM has seen another certificate chain.
	TSMCertificates = FaultKind(spdm.TSMCertificates)
	// FirmwareUpdate: its interface allows firmware updates.
	FirmwareUpdate = FaultKind(spdm.FirmwareUpdate)
	// NonTEERange: one of its MMIO ranges is outside of TEE memory.
	NonTEERange = FaultKind(spdm.NonTEERange)
	// UpdatableRange: the attribute of one of its MMIO ranges may change.
	UpdatableRange = FaultKind(spdm.UpdatableRange)
	// ATS: its interface translates addresses.
	ATS = FaultKind(spdm.ATS)
	// MSIXUnlocked: its interrupts are not locked.
	MSIXUnlocked = FaultKind(spdm.MSIXUnlocked)
	// RangeOverlap: two of its MMIO ranges overlap.
	RangeOverlap = FaultKind(spdm.RangeOverlap)
	// DeviceSpecific: its device-specific information is another.
	DeviceSpecific = FaultKind(spdm.DeviceSpecific)
)

func spdmFaults() []FaultKind {
	return []FaultKind{
		SPDMDowngrade, UnsignedMeasurements, RootHash, UnknownAnchor, LeafEKU, WrongSlot,
		WrongName, WrongVCA, WrongPrefix, ChallengeNonce, WrongSummary, HardwareConfig,
		FirmwareConfig, DebugWas, RecoveryMode, ModeMissing, ContentChanged, ReportMissing,
		TSMMissing, TSMCertificates, FirmwareUpdate, NonTEERange, UpdatableRange, ATS,
		MSIXUnlocked, RangeOverlap, DeviceSpecific,
	}
}

// spdmFault is the fault of a device with SPDM by this name.
func spdmFault(f FaultKind) (spdm.Fault, bool) {
	return spdm.Fault(f), slices.Contains(spdmFaults(), f)
}
