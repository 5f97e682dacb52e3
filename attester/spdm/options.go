// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/attester/pki"
)

// Version is an SPDM version as in byte 0 of every message: major << 4 | minor.
type Version byte

// Versions that a device can speak.
const (
	Version11 Version = 0x11
	Version12 Version = 0x12
	Version13 Version = 0x13
	Version14 Version = 0x14
)

// Kinds of TSM information, as in key 9 of the container.
const (
	TSMTDX    = "tdx-devinfo"       // Intel TDX Connect, DEVICE_INFO_DATA
	TSMSEVTIO = "sev-tio-tdi-info"  // AMD SEV-TIO, TIO_MSG_TDI_INFO response
	TSMCCA    = "cca-rsi-vdev-info" // Arm CCA, RSI_VDEV_GET_INFO
)

const (
	nonceSize = 32                   // requester and responder nonces (DSP0274), bytes
	maxRanges = 64                   // MMIO ranges of one report
	slotCount = 8                    // certificate slots 0..7
	otherName = "%s:%s:%s"           // manufacturer:product:serial (DSP0274, subjectAltName)
	maker     = "ASSIZE"             // fictitious manufacturer
	product   = "SIMNIC"             // default product
	firmware  = "assize-simfw 1.4.2" // value of the firmware version block
)

// SummaryType says over which blocks the challenge summarizes measurements.
type SummaryType uint8

// Summaries (DSP0274, CHALLENGE).
const (
	SummaryOfAll  SummaryType = iota // all blocks, the default
	SummaryOfTCB                     // ROM and mutable firmware
	SummaryOfNone                    // no summary
)

// ErrOptions says that Options contradict each other or SPDM.
var ErrOptions = errors.New("spdm: bad options")

// Options describe one device. The zero value of every knob is an honest
// SPDM 1.2 device with ECDSA P-384 that is not assigned through TDISP.
type Options struct {
	// Vendor is the seed of the vendor's root and intermediate authority and
	// of the reference values; Device that of this device's keys and serial.
	Vendor, Device pki.Seed
	// Now is the moment the evidence is made, not before 2021: certificates
	// and revocation lists are valid around it.
	Now time.Time
	// Version is the negotiated SPDM version; 0 means 1.2.
	Version Version
	// Suite is the base algorithm pair.
	Suite Suite
	// MeasurementHash is the hash of measurement blocks: crypto.SHA256, SHA384,
	// SHA512, or one of SHA-3 of these sizes; 0 means the base hash.
	MeasurementHash crypto.Hash
	// Shared keeps RSA keys between devices; nil keeps none.
	Shared *Shared
	// Product is the middle part of the DMTF otherName; "" means SIMNIC.
	Product string
	// Name goes into key 2 of the container; "" means "spdm:" and the DMTF
	// otherName.
	Name string
	// Slots are the provisioned certificate slots, ascending and beginning
	// with 0; nil means slot 0 alone. All are read by the requester.
	Slots []uint8
	// Slot signs; it must be one of Slots.
	Slot uint8
	// MultiKey negotiates a key pair per slot (SPDM 1.3 only). Without it all
	// slots share one key pair.
	MultiKey bool
	// Alias uses the alias certificate model: a device certificate authority
	// inside the device issues the leaf.
	Alias bool
	// Generic gives the signing slot, which must not be slot 0, a generic
	// certificate (SPDM 1.3, MultiKey only).
	Generic bool
	// NoEKU leaves the extended key usage out of the leaf.
	NoEKU bool
	// Portion is the most bytes of a chain that one CERTIFICATE carries; 0 reads
	// each chain at once. From 1.4 on the large form is used.
	Portion uint16
	// Raw asks for raw bit streams instead of digests (SPDM 1.2 or later).
	Raw bool
	// Recompute asks for new measurements (SPDM 1.2 or later).
	Recompute bool
	// Single reads the number of blocks and then one block at a time, and has only
	// the last response signed.
	Single bool
	// StructuredManifest has a structured manifest (SPDM 1.3) in block 0xFD instead
	// of a freeform one.
	StructuredManifest bool
	// Summary is what the challenge summarizes.
	Summary SummaryType
	// Opaque puts one element of the general opaque data format 1 into both
	// signed responses (SPDM 1.2 or later).
	Opaque bool
	// NoChallenge leaves out the CHALLENGE exchange (container key 7).
	NoChallenge bool
	// TSM is TSMTDX, TSMSEVTIO or TSMCCA for a device that is assigned through TDISP;
	// "" leaves out interface report and TSM information (keys 8 and 9).
	TSM string
	// Function is the PCI requester id (bus << 8 | device << 3 | function) of
	// the assigned function; 0 means 01:00.0.
	Function uint16
	// Ranges are the MMIO ranges of the interface report; nil means three
	// ranges that are all TEE memory.
	Ranges []Range

	// Debug reports both debug modes as active in block 0xFE.
	Debug bool
	// OutdatedTCB reports a security version below the reference.
	OutdatedTCB bool
	// Revoked puts the signing certificate on the intermediate's CRL (with
	// Alias: the device certificate authority).
	Revoked bool
	// Expired makes the signing leaf end one day before Now.
	Expired bool
	// WrongSigner signs with a key that no certificate names.
	WrongSigner bool
	// Measurement flips one bit of the firmware digest (block 2).
	Measurement bool
	// ReportSwapped presents the report of a twin device with other addresses;
	// the TSM's digest remains that of the device's own report. Needs TSM.
	ReportSwapped bool
	// Unlocked reports the TDI state CONFIG_UNLOCKED. Needs TSM.
	Unlocked bool
	// Faults are more of them, see Fault.
	Faults []Fault
}

// filled checks o and puts the defaults in.
func (o Options) filled() (Options, error) {
	if o.Version == 0 {
		o.Version = Version12
	}
	if !o.Suite.known() {
		return o, fmt.Errorf("%w: suite %d", ErrOptions, uint8(o.Suite))
	}
	if o.MeasurementHash == 0 {
		o.MeasurementHash = o.Suite.hash()
	}
	if o.Product == "" {
		o.Product = product
	}
	if o.Slots == nil {
		o.Slots = []uint8{0}
	}
	if o.Function == 0 {
		o.Function = 0x0100
	}
	o.Slots = slices.Clone(o.Slots)
	o.Ranges = slices.Clone(o.Ranges)
	o.Faults = slices.Clone(o.Faults)
	return o, o.check()
}

func (o Options) check() error {
	if o.Version < Version11 || o.Version > Version14 {
		return fmt.Errorf("%w: version 0x%02x", ErrOptions, byte(o.Version))
	}
	if measurementHashBit(o.MeasurementHash) == 0 {
		return fmt.Errorf("%w: measurement hash %v", ErrOptions, o.MeasurementHash)
	}
	if o.Now.Before(authorityStart.AddDate(1, 0, 0)) {
		return fmt.Errorf("%w: now %s is before the authorities", ErrOptions, o.Now.UTC().Format(time.RFC3339))
	}
	if ((o.MultiKey || o.StructuredManifest) && o.Version < Version13) ||
		((o.Opaque || o.Alias || o.Raw || o.Recompute || o.Suite == SuiteEd25519) && o.Version < Version12) {
		return fmt.Errorf("%w: not in SPDM version 0x%02x", ErrOptions, byte(o.Version))
	}
	if o.Generic && (!o.MultiKey || o.Slot == 0 || o.Alias) {
		return fmt.Errorf("%w: a generic certificate needs MultiKey and a slot above 0", ErrOptions)
	}
	if o.Summary > SummaryOfNone {
		return fmt.Errorf("%w: summary %d", ErrOptions, o.Summary)
	}
	if !slices.Contains([]string{"", TSMTDX, TSMSEVTIO, TSMCCA}, o.TSM) {
		return fmt.Errorf("%w: TSM kind %q", ErrOptions, o.TSM)
	}
	if _, ok := tdiAlgorithms(o.Suite); o.TSM == TSMSEVTIO && !ok {
		return fmt.Errorf("%w: SEV-TIO knows no %s", ErrOptions, o.Suite)
	}
	if o.TSM == "" && (o.ReportSwapped || o.Unlocked || o.Ranges != nil) {
		return fmt.Errorf("%w: an interface without a TSM", ErrOptions)
	}
	if strings.Contains(o.Product, ":") || len(o.Product) > 32 {
		return fmt.Errorf("%w: product %q, at most 32 bytes without a colon", ErrOptions, o.Product)
	}
	if len(o.Ranges) > maxRanges {
		return fmt.Errorf("%w: %d MMIO ranges, at most %d", ErrOptions, len(o.Ranges), maxRanges)
	}
	if err := o.checkSlots(); err != nil {
		return err
	}
	return o.checkFaults()
}

func (o Options) checkSlots() error {
	for i, s := range o.Slots {
		if (i == 0 && s != 0) || s >= slotCount || (i > 0 && s <= o.Slots[i-1]) {
			return fmt.Errorf("%w: slots %v", ErrOptions, o.Slots)
		}
	}
	if !slices.Contains(o.Slots, o.Slot) {
		return fmt.Errorf("%w: signing slot %d is not provisioned", ErrOptions, o.Slot)
	}
	return nil
}

// model is the certificate model of a slot in DIGESTS and CERTIFICATE of a
// multi-key connection: 1 device certificate, 2 alias, 3 generic.
func (o Options) model(slot uint8) byte {
	switch {
	case o.Generic && slot == o.Slot, o.has(GenericSlot0) && slot == 0:
		return 3
	case o.Alias:
		return 2
	}
	return 1
}
