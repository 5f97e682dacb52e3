// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/verifiers/nvidia/ocsp"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// Values of the parameters revocation, manifest_revocation and manifest_expiry.
const (
	required = "required"
	optional = "optional"
	strict   = "strict"
	lenient  = "warn"
)

// maxAge bounds ocsp_max_age_hours: ten years.
const maxAge = 10 * 366 * 24

// Parameters are those that both schemes have.
type Parameters struct {
	// Revocation is "required" or "optional": whether the hardware can be affirmed
	// without OCSP responses that say that certificates 1 to 3 of the device chain
	// are good. ManifestRevocation is the same for certificates 0 to 2 of the chain
	// of a manifest and executables.
	Revocation         string `yaml:"revocation"`
	ManifestRevocation string `yaml:"manifest_revocation"`
	// HoldAllowed are positions of the device chain, 1 to 3, ManifestHoldAllowed of
	// the chain of a manifest, 0 to 2, whose certificates may be on hold. It is a
	// warning then.
	HoldAllowed         []int `yaml:"hold_allowed,flow"`
	ManifestHoldAllowed []int `yaml:"manifest_hold_allowed,flow"`
	// OCSPMaxAge is how many hours after thisUpdate a response counts at most; zero
	// for as long as it says itself.
	OCSPMaxAge int `yaml:"ocsp_max_age_hours"`
	// OCSPUncheckedResponder lets responses count whose signer has a certificate that
	// does not say id-pkix-ocsp-nocheck and of which no status is known: RFC 6960,
	// section 4.2.2.2.1, leaves that to who asks, and NVIDIA's verifiers never look.
	OCSPUncheckedResponder bool `yaml:"ocsp_unchecked_responder"`
	// ManifestExpiry is "strict" or "warn": whether a manifest whose certificates are
	// not valid at the time is left out, or compared with and a warning.
	ManifestExpiry string `yaml:"manifest_expiry"`
	// ToleratedMismatches are indices, NVIDIA's from 0, that may differ from their
	// reference values. It is a warning then.
	ToleratedMismatches []int `yaml:"tolerated_mismatches,flow"`
	// MinimumVBIOS is the least version of VBIOS or BIOS, by architecture
	// ("HOPPER") or chip ("GH100"). Groups are hexadecimal.
	MinimumVBIOS map[string]string `yaml:"minimum_vbios"`
	// AllowedVBIOS, unless empty, are all versions that are accepted, KnownBadVBIOS
	// those that never are.
	AllowedVBIOS  []string `yaml:"allowed_vbios"`
	KnownBadVBIOS []string `yaml:"known_bad_vbios"`
	// Devices are identities as in facts, "nvidia-ueid:<decimal>" or
	// "nvidia-pdi:<16 hexadecimal digits>"; empty: none is expected.
	Devices []string `yaml:"devices"`
}

// DefaultParameters are those of this build.
func DefaultParameters() Parameters {
	return Parameters{
		Revocation: required, ManifestRevocation: required, HoldAllowed: []int{}, ManifestHoldAllowed: []int{}, OCSPMaxAge: 7 * 24,
		ManifestExpiry: strict, ToleratedMismatches: []int{}, MinimumVBIOS: map[string]string{}, AllowedVBIOS: []string{}, KnownBadVBIOS: []string{}, Devices: []string{},
	}
}

var (
	deviceID     = regexp.MustCompile(`^(nvidia-ueid:[1-9][0-9]{0,63}|nvidia-pdi:[0-9a-f]{16})$`)
	modelName    = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,31}$`)
	vbiosVersion = regexp.MustCompile(`^[0-9A-Fa-f]{2}(\.[0-9A-Fa-f]{2}){1,7}$`)
)

// Check says what is wrong with parameters.
func (p Parameters) Check() error {
	for name, v := range map[string]string{"revocation": p.Revocation, "manifest_revocation": p.ManifestRevocation} {
		if v != required && v != optional {
			return fmt.Errorf("%s is %q, not %q or %q", name, v, required, optional)
		}
	}
	if p.ManifestExpiry != strict && p.ManifestExpiry != lenient {
		return fmt.Errorf("manifest_expiry is %q, not %q or %q", p.ManifestExpiry, strict, lenient)
	}
	if p.OCSPMaxAge < 0 || p.OCSPMaxAge > maxAge {
		return fmt.Errorf("ocsp_max_age_hours is %d, not 0 to %d", p.OCSPMaxAge, maxAge)
	}
	for _, c := range []struct {
		name        string
		list        []int
		first, last int
	}{
		{"hold_allowed", p.HoldAllowed, ocsp.DeviceFrom, posRoot - 1}, {"manifest_hold_allowed", p.ManifestHoldAllowed, ocsp.RIMFrom, 2},
		{"tolerated_mismatches", p.ToleratedMismatches, 0, rim.MaxIndex},
	} {
		for _, n := range c.list {
			if n < c.first || n > c.last {
				return fmt.Errorf("%s: %d is not %d to %d", c.name, n, c.first, c.last)
			}
		}
	}
	for _, id := range p.Devices {
		if !deviceID.MatchString(id) {
			return fmt.Errorf("devices: %.100q is neither nvidia-ueid:<decimal> nor nvidia-pdi:<16 lower-case hexadecimal digits>", id)
		}
	}
	if err := CheckMinimum("minimum_vbios", p.MinimumVBIOS, vbiosVersion); err != nil {
		return err
	}
	return CheckVersions(vbiosVersion, map[string][]string{"allowed_vbios": p.AllowedVBIOS, "known_bad_vbios": p.KnownBadVBIOS})
}

// CheckMinimum says what is wrong with least versions by architecture or chip.
func CheckMinimum(name string, by map[string]string, form *regexp.Regexp) error {
	for model, v := range by {
		if !modelName.MatchString(model) || !form.MatchString(v) {
			return fmt.Errorf("%s: %.100q: %.100q is not a version of an architecture or chip", name, model, v)
		}
	}
	return nil
}

// CheckModels says which least versions are of none of the architectures or chips: a
// name with a slip in it would demand nothing of anybody.
func CheckModels(chips map[string]*regexp.Regexp, lists map[string]map[string]string) error {
	for name, by := range lists {
		for model := range by {
			known := chips[model] != nil
			for _, chip := range chips {
				known = known || chip.MatchString(model)
			}
			if !known {
				return fmt.Errorf("%s: %.100q is neither an architecture nor a chip of this scheme", name, model)
			}
		}
	}
	return nil
}

// CheckVersions says what is wrong with lists of versions.
func CheckVersions(form *regexp.Regexp, lists map[string][]string) error {
	for name, list := range lists {
		for _, v := range list {
			if !form.MatchString(v) {
				return fmt.Errorf("%s: %.100q is not a version", name, v)
			}
		}
	}
	return nil
}

// devicePolicy and manifestPolicy are the parameters as ocsp has them.
func (p *Parameters) devicePolicy() ocsp.Policy {
	return ocsp.Policy{From: ocsp.DeviceFrom, MaxAge: time.Duration(p.OCSPMaxAge) * time.Hour, HoldAllowed: p.HoldAllowed, UncheckedResponder: p.OCSPUncheckedResponder}
}

func (p *Parameters) manifestPolicy() ocsp.Policy {
	return ocsp.Policy{From: ocsp.RIMFrom, MaxAge: time.Duration(p.OCSPMaxAge) * time.Hour, HoldAllowed: p.ManifestHoldAllowed, UncheckedResponder: p.OCSPUncheckedResponder}
}

// Minimum is the least version for a device, "" if there is none: that of the chip
// comes before that of the architecture.
func Minimum(by map[string]string, chip, arch string) string {
	if v, ok := by[chip]; ok {
		return v
	}
	return by[arch]
}

// Below tells whether a version of dotted numbers to the base is older than another,
// number by number; one that ends earlier is continued with zeros. What cannot be
// read is older than anything.
func Below(version, least string, base int) bool {
	have, want := strings.Split(version, "."), strings.Split(least, ".")
	number := func(list []string, i int) *big.Int {
		if i >= len(list) {
			return new(big.Int)
		}
		if n, ok := new(big.Int).SetString(list[i], base); ok && n.Sign() >= 0 {
			return n
		}
		return nil
	}
	for i := range max(len(have), len(want)) {
		h, w := number(have, i), number(want, i)
		if h == nil || w == nil {
			return true
		}
		if c := h.Cmp(w); c != 0 {
			return c < 0
		}
	}
	return false
}

// Equal tells whether two versions of dotted numbers to the base are the same number
// by number, however they are written.
func Equal(a, b string, base int) bool { return !Below(a, b, base) && !Below(b, a, base) }

// Named tells whether a list has a version, upper and lower case alike.
func Named(list []string, version string) bool {
	return slices.ContainsFunc(list, func(v string) bool { return strings.EqualFold(v, version) })
}
