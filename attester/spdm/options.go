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
)

// Suite is a pair of base asymmetric algorithm and base hash.
type Suite uint8

// Suites. Both are in the mandatory set of PCIe CMA.
const (
	SuiteP384 Suite = iota // ECDSA P-384 with SHA-384, the default
	SuiteP256              // ECDSA P-256 with SHA-256
)

// Kinds of TSM information, as in key 9 of the container.
const (
	TSMTDX    = "tdx-devinfo"      // Intel TDX Connect, DEVICE_INFO_DATA
	TSMSEVTIO = "sev-tio-tdi-info" // AMD SEV-TIO, TIO_MSG_TDI_INFO response
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
	// MeasurementHash is the hash of measurement blocks: crypto.SHA256,
	// SHA384 or SHA512; 0 means the base hash.
	MeasurementHash crypto.Hash
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
	// Opaque puts one element of the general opaque data format 1 into both
	// signed responses (SPDM 1.2 or later).
	Opaque bool
	// NoChallenge leaves out the CHALLENGE exchange (container key 7).
	NoChallenge bool
	// TSM is TSMTDX or TSMSEVTIO for a device that is assigned through TDISP;
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
}

// filled checks o and puts the defaults in.
func (o Options) filled() (Options, error) {
	if o.Version == 0 {
		o.Version = Version12
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
	return o, o.check()
}

func (o Options) check() error {
	if o.Version < Version11 || o.Version > Version13 {
		return fmt.Errorf("%w: version 0x%02x", ErrOptions, byte(o.Version))
	}
	if o.Suite > SuiteP256 {
		return fmt.Errorf("%w: suite %d", ErrOptions, o.Suite)
	}
	if measurementHashBit(o.MeasurementHash) == 0 {
		return fmt.Errorf("%w: measurement hash %v", ErrOptions, o.MeasurementHash)
	}
	if o.Now.Before(authorityStart.AddDate(1, 0, 0)) {
		return fmt.Errorf("%w: now %s is before the authorities", ErrOptions, o.Now.UTC().Format(time.RFC3339))
	}
	if (o.MultiKey && o.Version < Version13) || ((o.Opaque || o.Alias) && o.Version < Version12) {
		return fmt.Errorf("%w: not in SPDM version 0x%02x", ErrOptions, byte(o.Version))
	}
	if o.TSM != "" && o.TSM != TSMTDX && o.TSM != TSMSEVTIO {
		return fmt.Errorf("%w: TSM kind %q", ErrOptions, o.TSM)
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
	return o.checkSlots()
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

// model is the certificate model in DIGESTS and CERTIFICATE of a multi-key
// connection: 1 device certificate, 2 alias.
func (o Options) model() byte {
	if o.Alias {
		return 2
	}
	return 1
}
