// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// Values of the parameter revocation.
const (
	revocationRequired = "required"
	revocationOptional = "optional"
)

// Values of the bits in the parameter interface.
const (
	bitAny = "any"
	bitOn  = "on"
	bitOff = "off"
)

// maxList bounds every list of the parameters.
const maxList = 4096

// Parameters are the numbers and lists by which findings are made.
type Parameters struct {
	// Anchors are the roots of device makers that are trusted, by hash. Their
	// certificates have to be among the endorsements. There are no others.
	Anchors []AnchorParameter `yaml:"anchors"`
	// Revocation is "required" or "optional": whether the hardware can be affirmed
	// without a valid revocation list of every issuer.
	Revocation string `yaml:"revocation"`
	// MinimumVersion is the least SPDM version, MaximumVersion the highest one that
	// requesters of this fleet speak: a device that offers a version up to it and
	// above the negotiated one has been talked down.
	MinimumVersion string `yaml:"minimum_version"`
	MaximumVersion string `yaml:"maximum_version"`
	// BaseAsym, BaseHash and MeasurementHash are the algorithms that are accepted.
	BaseAsym        []string `yaml:"base_asym,flow"`
	BaseHash        []string `yaml:"base_hash,flow"`
	MeasurementHash []string `yaml:"measurement_hash,flow"`
	// Devices, unless empty, are those that are expected, as in Facts.Device:
	// "spdm:ACME:WIDGET:1", or "spdm:ACME:WIDGET:*" for all of a model.
	Devices []string `yaml:"devices"`
	// CMA, unless empty, are beginnings of the PCIe name that are expected, whole
	// fields: "Vendor=144D:Device=A80A".
	CMA []string `yaml:"cma"`

	Measurements MeasurementParameters `yaml:"measurements"`
	Interface    InterfaceParameters   `yaml:"interface"`
}

// MeasurementParameters are about measurement blocks, by index.
type MeasurementParameters struct {
	// Required are indices that must be there.
	Required []uint8 `yaml:"required,flow"`
	// MinimumSVN is the least security version number that is tolerated.
	MinimumSVN map[uint8]uint64 `yaml:"minimum_svn"`
	// AllowedVersions are the texts of firmware version blocks that are accepted.
	AllowedVersions map[uint8][]string `yaml:"allowed_versions"`
	// Denied are digests of known bad firmware or configuration, in hexadecimal, of
	// any index.
	Denied []string `yaml:"denied"`
	// Strict: a block that no reference value speaks of costs something.
	Strict bool `yaml:"strict"`
}

// InterfaceParameters are about the TDISP interface report.
type InterfaceParameters struct {
	// Required: a device without an interface report is not one that is assigned
	// through TDISP, and all have to be.
	Required bool `yaml:"required"`
	// NonTEERanges are the ids of ranges that may be outside of TEE memory,
	// UpdatableRanges of those whose attribute may change, TEERanges of those that
	// have to be there and inside.
	NonTEERanges    []uint16 `yaml:"non_tee_ranges,flow"`
	UpdatableRanges []uint16 `yaml:"updatable_ranges,flow"`
	TEERanges       []uint16 `yaml:"tee_ranges,flow"`
	// Pages are the numbers of 4 KiB pages of all ranges of an id together.
	Pages map[uint16]uint64 `yaml:"pages"`
	// Bits of INTERFACE_INFO: "any", "on" or "off".
	DMAWithoutPASID string `yaml:"dma_without_pasid"`
	DMAWithPASID    string `yaml:"dma_with_pasid"`
	ATS             string `yaml:"ats"`
	PRS             string `yaml:"prs"`
	XT              string `yaml:"xt"`
	// ForbidATS: address translation services are not only unexpected but refused.
	ForbidATS bool `yaml:"forbid_ats"`
	// RangeArrays: several MMIO ranges of a Device Assignment Token are read as an
	// array, a form that its draft does not have (decision D-31).
	RangeArrays bool `yaml:"range_arrays"`
	// LockMSIX: interrupts have to be protected (LOCK_MSIX).
	LockMSIX bool `yaml:"lock_msix"`
	// DeviceSpecific are device-specific informations that are accepted, in
	// hexadecimal; a reference value counts as well, and nothing at all.
	DeviceSpecific []string `yaml:"device_specific"`
}

// defaultParameters are those of this build.
func defaultParameters() Parameters {
	return Parameters{
		Anchors: []AnchorParameter{}, Revocation: revocationOptional,
		MinimumVersion: Version12.String(), MaximumVersion: Version14.String(),
		BaseAsym: names(ECDSAP256, ECDSAP384, ECDSAP521, RSASSA3072, RSAPSS3072, RSASSA4096, RSAPSS4096, Ed25519),
		BaseHash: names(BaseSHA256, BaseSHA384, BaseSHA512), MeasurementHash: names(MeasurementSHA256, MeasurementSHA384, MeasurementSHA512, MeasurementRaw),
		Devices: []string{}, CMA: []string{},
		Measurements: MeasurementParameters{Required: []uint8{}, MinimumSVN: map[uint8]uint64{}, AllowedVersions: map[uint8][]string{}, Denied: []string{}},
		Interface: InterfaceParameters{
			NonTEERanges: []uint16{}, UpdatableRanges: []uint16{}, TEERanges: []uint16{}, Pages: map[uint16]uint64{},
			DMAWithoutPASID: bitAny, DMAWithPASID: bitAny, ATS: bitAny, PRS: bitAny, XT: bitAny, LockMSIX: true, DeviceSpecific: []string{},
		},
	}
}

func names[T fmt.Stringer](list ...T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = v.String()
	}
	return out
}

// readVersion reads "1.2".
func readVersion(s string) (Version, bool) {
	for v := Version10; v <= Version14; v++ {
		if v.String() == s {
			return v, true
		}
	}
	return 0, false
}

// Check says what is wrong with parameters that an operator wrote.
func (p Parameters) Check() error {
	least, okLeast := readVersion(p.MinimumVersion)
	most, okMost := readVersion(p.MaximumVersion)
	switch {
	case p.Revocation != revocationRequired && p.Revocation != revocationOptional:
		return fmt.Errorf("revocation is %.100q, not %q or %q", p.Revocation, revocationRequired, revocationOptional)
	case !okLeast || !okMost || least > most:
		return fmt.Errorf("minimum_version %.100q and maximum_version %.100q are not versions from 1.0 to 1.4 in order", p.MinimumVersion, p.MaximumVersion)
	case len(p.Anchors) > maxAnchors || len(p.Devices) > maxList || len(p.CMA) > maxList:
		return fmt.Errorf("too many anchors (at most %d), devices or cma (at most %d)", maxAnchors, maxList)
	}
	for i, a := range p.Anchors {
		if err := a.check(); err != nil {
			return fmt.Errorf("anchors[%d]: %w", i, err)
		}
	}
	for _, l := range []struct {
		name        string
		have, known []string
	}{
		{"base_asym", p.BaseAsym, names(RSASSA2048, RSAPSS2048, RSASSA3072, RSAPSS3072, ECDSAP256, RSASSA4096, RSAPSS4096, ECDSAP384, ECDSAP521, Ed25519)},
		{"base_hash", p.BaseHash, names(BaseSHA256, BaseSHA384, BaseSHA512, BaseSHA3256, BaseSHA3384, BaseSHA3512)},
		{"measurement_hash", p.MeasurementHash, names(MeasurementRaw, MeasurementSHA256, MeasurementSHA384, MeasurementSHA512, MeasurementSHA3256, MeasurementSHA3384, MeasurementSHA3512, MeasurementSM3)},
	} {
		for _, s := range l.have {
			if !slices.Contains(l.known, s) {
				return fmt.Errorf("%s: %.100q is none of %s", l.name, s, strings.Join(l.known, ", "))
			}
		}
	}
	for _, d := range p.Devices {
		if body := strings.TrimSuffix(d, ":*"); body == "" || strings.Contains(body, "*") {
			return fmt.Errorf("devices: %.100q is neither a device nor a model with \":*\" behind it", d)
		}
	}
	if slices.Contains(p.CMA, "") {
		return fmt.Errorf("cma: an empty name")
	}
	if err := p.Measurements.check(); err != nil {
		return fmt.Errorf("measurements: %w", err)
	}
	return p.Interface.check()
}

func (p MeasurementParameters) check() error {
	if len(p.Denied) > maxList {
		return fmt.Errorf("denied: %d digests, at most %d", len(p.Denied), maxList)
	}
	for _, d := range p.Denied {
		if !isHex(d, sha256.Size) && !isHex(d, 48) && !isHex(d, 64) {
			return fmt.Errorf("denied: %.200q is no digest of 32, 48 or 64 bytes in lower-case hexadecimal", d)
		}
	}
	known := func(i uint8) bool { return i != 0 && i != 0xFF }
	for _, i := range p.Required {
		if !known(i) {
			return fmt.Errorf("required: index %d, 1 to 254", i)
		}
	}
	for i := range p.MinimumSVN {
		if !known(i) {
			return fmt.Errorf("minimum_svn: index %d, 1 to 254", i)
		}
	}
	for i := range p.AllowedVersions {
		if !known(i) {
			return fmt.Errorf("allowed_versions: index %d, 1 to 254", i)
		}
	}
	return nil
}

func (p InterfaceParameters) check() error {
	for _, b := range p.bits() {
		if b.want != bitAny && b.want != bitOn && b.want != bitOff {
			return fmt.Errorf("interface: %s is %.100q, not any, on or off", b.name, b.want)
		}
	}
	for _, s := range p.DeviceSpecific {
		if raw, err := hex.DecodeString(s); err != nil || hex.EncodeToString(raw) != s {
			return fmt.Errorf("interface: device_specific: %.100q is not lower-case hexadecimal", s)
		}
	}
	return nil
}

// expectedBit is what one bit of INTERFACE_INFO should be.
type expectedBit struct {
	name string
	bit  InterfaceInfo
	want string
}

func (p InterfaceParameters) bits() []expectedBit {
	return []expectedBit{
		{"dma_without_pasid", InterfaceDMAWithoutPASID, p.DMAWithoutPASID}, {"dma_with_pasid", InterfaceDMAWithPASID, p.DMAWithPASID},
		{"ats", InterfaceATS, p.ATS}, {"prs", InterfacePRS, p.PRS}, {"xt", InterfaceXT, p.XT},
	}
}
