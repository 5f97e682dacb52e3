// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"fmt"
	"slices"
)

// Fault is one thing that is wrong with a device, its evidence or what the TSM
// says. Unless said otherwise the device signs as if nothing were wrong. Those
// that other kinds of parts have too are fields of Options.
type Fault string

// Faults of container and negotiation.
const (
	// ContainerTrailing: a byte behind the container.
	ContainerTrailing Fault = "container-trailing"
	// ContainerDuplicate: key 2 stands in the container twice.
	ContainerDuplicate Fault = "container-duplicate"
	// ContainerIndefinite: the container has an indefinite length.
	ContainerIndefinite Fault = "container-indefinite"
	// VCAPadding: the padding of DOE behind ALGORITHMS is part of the transcript.
	VCAPadding Fault = "vca-padding"
	// VCAVersion: GET_CAPABILITIES is of another version.
	VCAVersion Fault = "vca-version"
	// VersionNotOffered: VERSION lacks the version of the connection.
	VersionNotOffered Fault = "version-not-offered"
	// Downgrade: VERSION offers the next version too, and it was not negotiated.
	Downgrade Fault = "spdm-downgrade"
	// AlgorithmNotOffered: ALGORITHMS selects a signature that was not offered.
	AlgorithmNotOffered Fault = "algorithm-not-offered"
	// TwoAlgorithms: ALGORITHMS selects two hashes.
	TwoAlgorithms Fault = "two-algorithms"
	// Unsigned: the device cannot sign measurements (MEAS_CAP 1), and has not.
	Unsigned Fault = "unsigned"
	// SignatureStripped: it can, and was not asked to.
	SignatureStripped Fault = "signature-stripped"
)

// Faults of the measurement record's form.
const (
	// Padding: the padding of DOE behind MEASUREMENTS is part of the transcript.
	Padding Fault = "padding"
	// BlockTwice: the last block stands there twice.
	BlockTwice Fault = "block-twice"
	// BlockOrder: the first two blocks changed places.
	BlockOrder Fault = "block-order"
	// BlockSize: the size of the first block is one too large.
	BlockSize Fault = "block-size"
	// BlockCount: the number of blocks is one too large.
	BlockCount Fault = "block-count"
	// BlockSpecification: the first block is not in DMTF's format.
	BlockSpecification Fault = "block-specification"
)

// Faults of certificates and slots.
const (
	// RootHash: the root hash in the chain is that of something else.
	RootHash Fault = "root-hash"
	// UnknownAnchor: the chain leads to the root of somebody of the same trade.
	UnknownAnchor Fault = "unknown-anchor"
	// ChainSignature: one bit of the signature below the leaf's issuer is another.
	ChainSignature Fault = "chain-signature"
	// LeafEKU: the leaf is for authentication as requester only.
	LeafEKU Fault = "leaf-eku"
	// LeafCA: the leaf is an authority.
	LeafCA Fault = "leaf-ca"
	// LeafKeyUsage: the leaf may not sign.
	LeafKeyUsage Fault = "leaf-key-usage"
	// LeafKey: the leaf has a key of another algorithm.
	LeafKey Fault = "leaf-key"
	// LeafConstraints: the leaf has no basic constraints.
	LeafConstraints Fault = "leaf-constraints"
	// LeafHardwareIdentity: the leaf of an alias chain has the hardware identity.
	LeafHardwareIdentity Fault = "leaf-hardware-identity"
	// GenericSlot0: slot 0 has a generic certificate.
	GenericSlot0 Fault = "generic-slot-0"
	// ChainMissing: the container lacks the chain of the slot that signed.
	ChainMissing Fault = "chain-missing"
	// Slot: MEASUREMENTS names another slot than was asked for.
	Slot Fault = "slot"
	// ChallengeSlot: CHALLENGE_AUTH does.
	ChallengeSlot Fault = "challenge-slot"
	// KeyUsage: the key of the slot is not for measurements.
	KeyUsage Fault = "key-usage"
	// Name: the container calls the device by another's name.
	Name Fault = "name"
	// CMA: the PCIe name in the leaf is that of another function.
	CMA Fault = "cma"
)

// Faults of nonces, transcripts and signatures.
const (
	// Nonce: GET_MEASUREMENTS has another nonce.
	Nonce Fault = "nonce"
	// Context: MEASUREMENTS does not echo the requester's context.
	Context Fault = "context"
	// ChallengeNonce: CHALLENGE has another nonce.
	ChallengeNonce Fault = "challenge-nonce"
	// WrongVCA: the device signed another negotiation; up to 1.1, where none is
	// signed, it signed one.
	WrongVCA Fault = "wrong-vca"
	// WrongPrefix: the signed prefix is that of another version.
	WrongPrefix Fault = "wrong-prefix"
	// WrongPurpose: measurements are signed with the prefix of a challenge.
	WrongPurpose Fault = "wrong-purpose"
	// SignatureBit: one bit of the signature over the measurements is another.
	SignatureBit Fault = "signature-bit"
	// ChallengeSignature: that of the challenge.
	ChallengeSignature Fault = "challenge-signature"
	// ChainHash: CHALLENGE_AUTH has the hash of another chain.
	ChainHash Fault = "chain-hash"
	// ChallengeChain: the requester read another chain than the container has.
	ChallengeChain Fault = "challenge-chain"
	// DigestsFault: DIGESTS has the digest of another chain.
	DigestsFault Fault = "digests"
	// Summary: CHALLENGE_AUTH summarizes other measurements.
	Summary Fault = "summary"
)

// Faults of measurements. That of the firmware is Options.Measurement, that of
// its security version Options.OutdatedTCB.
const (
	// ROM, HardwareConfig, FirmwareConfig: one bit of the digest is another.
	ROM            Fault = "rom"
	HardwareConfig Fault = "hardware-config"
	FirmwareConfig Fault = "firmware-config"
	// FirmwareVersion: the version is another.
	FirmwareVersion Fault = "firmware-version"
	// Manifest: the manifest is another.
	Manifest Fault = "manifest"
	// BlockMissing: there is no security version.
	BlockMissing Fault = "block-missing"
	// BlockUnknown: there is one more firmware, at index 9.
	BlockUnknown Fault = "block-unknown"
	// DebugWas: debugging was active since reset, and is not.
	DebugWas Fault = "debug-was"
	// Recovery and Manufacturing: the device is in that mode.
	Recovery      Fault = "recovery"
	Manufacturing Fault = "manufacturing"
	// ModeMissing: there is no device mode.
	ModeMissing Fault = "mode-missing"
	// Changed: measurements changed while they were read.
	Changed Fault = "changed"
	// Log: the extension log lacks its last entry.
	Log Fault = "log"
)

// Faults of the interface and of what the TSM says. That of a report which is
// another interface's is Options.ReportSwapped, that of an interface which is not
// locked Options.Unlocked.
const (
	// ReportReserved: a reserved bit is set.
	ReportReserved Fault = "report-reserved"
	// ReportTrailing: a byte stands behind the report.
	ReportTrailing Fault = "report-trailing"
	// ReportMissing: there is no report.
	ReportMissing Fault = "report-missing"
	// TSMMissing: there is no information of the TSM.
	TSMMissing Fault = "tsm-missing"
	// TSMUnknown: it is of a kind that nobody knows.
	TSMUnknown Fault = "tsm-unknown"
	// TSMMalformed: its last byte is missing.
	TSMMalformed Fault = "tsm-malformed"
	// TSMCertificates, TSMVCA, TSMMeasurements, TSMPublicKey: the TSM has seen
	// another chain, negotiation, reading of measurements or key.
	TSMCertificates Fault = "tsm-certificates"
	TSMVCA          Fault = "tsm-vca"
	TSMMeasurements Fault = "tsm-measurements"
	TSMPublicKey    Fault = "tsm-public-key"
	// TSMInvalid and TSMStale: its digest of the measurements is not valid, or not fresh.
	TSMInvalid Fault = "tsm-invalid"
	TSMStale   Fault = "tsm-stale"
	// TSMNonce: its nonce of the lock is zero.
	TSMNonce Fault = "tsm-nonce"
	// TSMContradiction: the container says the state beside it otherwise.
	TSMContradiction Fault = "tsm-contradiction"
	// FirmwareUpdate: the interface allows firmware updates while it is locked.
	FirmwareUpdate Fault = "firmware-update"
	// FirmwareUpdateLock: the lock does, by its flags.
	FirmwareUpdateLock Fault = "firmware-update-lock"
	// NonTEERange: the first range is outside of TEE memory.
	NonTEERange Fault = "non-tee-range"
	// UpdatableRange: its attribute may change.
	UpdatableRange Fault = "updatable-range"
	// ATS, PRS, PASID, XT: these are on.
	ATS   Fault = "ats"
	PRS   Fault = "prs"
	PASID Fault = "pasid"
	XT    Fault = "xt"
	// MSIXUnlocked: the lock does not protect the MSI-X table.
	MSIXUnlocked Fault = "msix-unlocked"
	// RangeOverlap, RangeEmpty, RangeOverflow, RangeID: the first range overlaps the
	// second, has no page, leaves the address space, has the number of no BAR.
	RangeOverlap  Fault = "range-overlap"
	RangeEmpty    Fault = "range-empty"
	RangeOverflow Fault = "range-overflow"
	RangeID       Fault = "range-id"
	// DeviceSpecific: the device-specific information is another.
	DeviceSpecific Fault = "device-specific"
)

// faultRow is one fault, the check that it is about (verifiers/spdm, README) and
// what a device must have for it; nil: nothing.
type faultRow struct {
	fault Fault
	check string
	need  func(Options) bool
}

func since(v Version) func(Options) bool { return func(o Options) bool { return o.Version >= v } }

func before14(o Options) bool   { return o.Version < Version14 }
func multiKey(o Options) bool   { return o.MultiKey }
func challenged(o Options) bool { return !o.NoChallenge }
func assigned(o Options) bool   { return o.TSM != "" }

func tsm(kinds ...string) func(Options) bool {
	return func(o Options) bool { return slices.Contains(kinds, o.TSM) }
}

func faultRows() []faultRow {
	return []faultRow{
		{ContainerTrailing, "A1", nil}, {ContainerDuplicate, "A1", nil}, {ContainerIndefinite, "A1", nil},
		{VCAPadding, "A2", nil}, {VCAVersion, "A2", nil}, {VersionNotOffered, "A2", nil}, {Downgrade, "A3", before14},
		{AlgorithmNotOffered, "A4", nil}, {TwoAlgorithms, "A4", nil}, {Unsigned, "A5", nil}, {SignatureStripped, "A6", nil},
		{Padding, "A6", nil}, {BlockTwice, "A6", nil}, {BlockOrder, "A6", nil}, {BlockSize, "A6", nil}, {BlockCount, "A6", nil}, {BlockSpecification, "A6", nil},
		{RootHash, "B1", nil}, {UnknownAnchor, "B2", nil}, {ChainSignature, "B2", nil},
		{LeafEKU, "B3", nil}, {LeafCA, "B3", nil}, {LeafKeyUsage, "B3", nil}, {LeafKey, "B3", nil}, {LeafConstraints, "B3", since(Version13)},
		{LeafHardwareIdentity, "B3", func(o Options) bool { return o.Alias }},
		{GenericSlot0, "B3", func(o Options) bool { return o.MultiKey && o.Slot == 0 && !o.NoChallenge }},
		{ChainMissing, "B4", func(o Options) bool { return len(o.Slots) > 1 }}, {Slot, "B4", nil}, {ChallengeSlot, "B4", challenged}, {KeyUsage, "B4", multiKey},
		{Nonce, "B5", nil}, {Context, "B5", since(Version13)},
		{WrongVCA, "B6", nil}, {WrongPrefix, "B6", since(Version12)}, {WrongPurpose, "B6", since(Version12)}, {SignatureBit, "B6", nil},
		{ChallengeNonce, "B7", challenged}, {ChallengeSignature, "B7", challenged}, {ChainHash, "B7", challenged}, {ChallengeChain, "B7", challenged},
		{DigestsFault, "B7", nil}, {Summary, "B7", func(o Options) bool { return !o.NoChallenge && o.Summary == SummaryOfAll && !o.Raw && !o.Single }},
		{Name, "B8", nil}, {CMA, "B8", nil},
		{BlockMissing, "C1", nil}, {ROM, "C2", nil}, {HardwareConfig, "C3", nil}, {FirmwareConfig, "C4", nil}, {FirmwareVersion, "C5", nil},
		{DebugWas, "C6", nil}, {Recovery, "C6", nil}, {Manufacturing, "C6", nil}, {ModeMissing, "C6", nil},
		{BlockUnknown, "C7", nil}, {Manifest, "C7", nil}, {Changed, "C8", since(Version12)}, {Log, "C2", since(Version13)},
		{ReportReserved, "D1", assigned}, {ReportTrailing, "D1", assigned}, {ReportMissing, "D1", assigned},
		{TSMMissing, "D2", assigned}, {TSMUnknown, "D2", assigned}, {TSMMalformed, "D2", assigned},
		{TSMCertificates, "D3", assigned}, {TSMVCA, "D3", tsm(TSMCCA, TSMTDX)}, {TSMMeasurements, "D3", assigned}, {TSMPublicKey, "D3", tsm(TSMCCA)},
		{TSMInvalid, "D3", tsm(TSMSEVTIO)}, {TSMStale, "D3", tsm(TSMSEVTIO)}, {TSMNonce, "D3", tsm(TSMCCA)}, {TSMContradiction, "D4", tsm(TSMCCA, TSMSEVTIO)},
		{FirmwareUpdate, "D5", assigned}, {FirmwareUpdateLock, "D5", assigned}, {NonTEERange, "D6", assigned}, {UpdatableRange, "D7", assigned},
		{ATS, "D8", assigned}, {PRS, "D8", assigned}, {PASID, "D8", assigned}, {XT, "D8", assigned}, {MSIXUnlocked, "D9", assigned},
		{RangeOverlap, "D10", assigned}, {RangeEmpty, "D10", assigned}, {RangeOverflow, "D10", assigned}, {RangeID, "D10", assigned},
		{DeviceSpecific, "D11", assigned},
	}
}

// Faults is the whole list, in the order of the checks.
func Faults() []Fault {
	rows := faultRows()
	out := make([]Fault, len(rows))
	for i, r := range rows {
		out[i] = r.fault
	}
	return out
}

// Check is the check of verifiers/spdm that a fault is about, such as "A3"; ""
// for a fault that is not in the list.
func (f Fault) Check() string {
	for _, r := range faultRows() {
		if r.fault == f {
			return r.check
		}
	}
	return ""
}

// Applies tells whether a device with these options can have the fault.
func (f Fault) Applies(o Options) bool {
	if o.Version == 0 {
		o.Version = Version12
	}
	for _, r := range faultRows() {
		if r.fault == f {
			return r.need == nil || r.need(o)
		}
	}
	return false
}

// has tells whether the device has a fault.
func (o Options) has(f Fault) bool { return slices.Contains(o.Faults, f) }

func (o Options) checkFaults() error {
	for i, f := range o.Faults {
		if !f.Applies(o) || slices.Contains(o.Faults[:i], f) {
			return fmt.Errorf("%w: fault %q, of a device that cannot have it or twice", ErrOptions, f)
		}
	}
	return nil
}
