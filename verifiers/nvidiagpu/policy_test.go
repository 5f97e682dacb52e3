// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"strings"
	"testing"
)

// TestPolicyText: the defaults are a file that an operator can start from, and
// what must not be excused cannot be.
func TestPolicyText(t *testing.T) {
	text, err := defaults().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := defaults().Parse(text); err != nil {
		t.Errorf("%v\n%s", err, text)
	}
	head := "scheme: " + Name + "\n"
	for bad, why := range map[string]string{
		"findings: {revoked: {hardware: 32}}":                     "hardware must be 96",
		"findings: {revoked: {}}":                                 "hardware must be 96",
		"findings: {manifest-invalid: {executables: 33}}":         "executables must be 96",
		"findings: {manifest-revoked: {executables: 32}}":         "executables must be 96",
		"findings: {manifest-index-conflict: {executables: 33}}":  "executables must be 96",
		"findings: {measurement-mismatch: {executables: 3}}":      "executables must be 32",
		"findings: {measurement-mismatch-tolerated: {}}":          "executables must be 32",
		"findings: {manifest-vintage: {executables: 2}}":          "executables must be 32",
		"findings: {manifest-expiry-tolerated: {executables: 3}}": "executables must be 32",
		"findings: {certificate-hold-tolerated: {}}":              "hardware must be 32",
		"findings: {fwid-mismatch: {hardware: 33}}":               "hardware must be 96",
		"findings: {contents-of-another-device: {hardware: 32}}":  "hardware must be 97",
		"findings: {firmware-debug: {configuration: 96}}":         "runtime-opaque must be 96",
		"findings: {configuration-unproven: {configuration: 3}}":  "configuration must be 32",
		"findings: {executables-unproven: {}}":                    "executables must be 32",
		"parameters: {modes: [cc]}":                               "modes",
		"parameters: {minimum_driver: {HOPPER: x}}":               "minimum_driver",
		"parameters: {minimum_driver: {H100: '580'}}":             "neither an architecture nor a chip",
		"parameters: {minimum_driver: {HOPER: '580'}}":            "neither an architecture nor a chip",
		"parameters: {minimum_vbios: {LS10: '96.10'}}":            "neither an architecture nor a chip",
		"parameters: {allowed_drivers: ['']}":                     "allowed_drivers",
		"parameters: {known_bad_drivers: ['550.']}":               "known_bad_drivers",
		"parameters: {revocation: 'off'}":                         "revocation",
		"parameters: {what: 1}":                                   "what",
	} {
		if _, err := defaults().Parse([]byte(head + bad)); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	p, err := defaults().Parse([]byte(head + "parameters: {minimum_vbios: {GH100: 96.00.A5.00.01}, hold_allowed: [1]}"))
	if err != nil || p.ID() == Name {
		t.Fatal(err)
	}
}
