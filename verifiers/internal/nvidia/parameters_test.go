// SPDX-License-Identifier: Apache-2.0

package nvidia

import (
	"strings"
	"testing"
)

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		version, least string
		base           int
		below          bool
	}{
		{"590.48.01", "590.48.01", 10, false}, {"590.48.01", "590.48.1", 10, false}, {"590.9", "590.10", 10, true}, {"590.10", "590.9", 10, false},
		{"590", "590.0.0", 10, false}, {"590", "590.0.1", 10, true}, {"590.0.1", "590", 10, false}, {"1000", "999.9", 10, false},
		{"96.00.9F.00.01", "96.00.A5.00.01", 16, true}, {"96.00.A5.00.01", "96.00.9f.00.01", 16, false}, {"96.00.A5.00.0A", "96.00.A5.00.10", 16, true},
		{"97.00", "96.FF.FF.FF.FF", 16, false}, {"96.00.a5.00.03", "96.00.A5.00.03", 16, false},
		{"", "590", 10, true}, {"590.x", "590", 10, true}, {"590.-1", "590", 10, true}, {"590..1", "590.0.1", 10, true}, {"9F", "90", 10, true},
	} {
		if got := Below(c.version, c.least, c.base); got != c.below {
			t.Errorf("%q below %q to base %d: %t", c.version, c.least, c.base, got)
		}
	}
}

func TestMinimum(t *testing.T) {
	by := map[string]string{"HOPPER": "1", "GH100": "2"}
	if Minimum(by, "GH100", "HOPPER") != "2" || Minimum(by, "GH200", "HOPPER") != "1" || Minimum(by, "GB100", "BLACKWELL") != "" {
		t.Error("the wrong minimum")
	}
}

func TestParametersCheck(t *testing.T) {
	if err := DefaultParameters().Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Parameters){
		"revocation is":            func(p *Parameters) { p.Revocation = "off" },
		"manifest_revocation is":   func(p *Parameters) { p.ManifestRevocation = "" },
		"manifest_expiry is":       func(p *Parameters) { p.ManifestExpiry = "at-time" },
		"ocsp_max_age_hours is":    func(p *Parameters) { p.OCSPMaxAge = -1 },
		"hold_allowed: 0":          func(p *Parameters) { p.HoldAllowed = []int{0} },
		"hold_allowed: 4":          func(p *Parameters) { p.HoldAllowed = []int{4} },
		"manifest_hold_allowed":    func(p *Parameters) { p.ManifestHoldAllowed = []int{3} },
		"tolerated_mismatches":     func(p *Parameters) { p.ToleratedMismatches = []int{64} },
		"devices":                  func(p *Parameters) { p.Devices = []string{"nvidia-pdi:FF"} },
		"minimum_vbios":            func(p *Parameters) { p.MinimumVBIOS = map[string]string{"hopper": "96.00"} },
		"minimum_vbios: \"GH100\"": func(p *Parameters) { p.MinimumVBIOS = map[string]string{"GH100": "96.0"} },
		"allowed_vbios":            func(p *Parameters) { p.AllowedVBIOS = []string{"x"} },
		"known_bad_vbios":          func(p *Parameters) { p.KnownBadVBIOS = []string{""} },
	} {
		p := DefaultParameters()
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
