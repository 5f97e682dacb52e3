// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// Names of the findings that only GPUs have.
const (
	findModeUnknown     = "mode-unknown"
	findModeNotRequired = "mode-not-required"
	findMemory          = "memory-encrypted"
	findIsolated        = "memory-isolated"
	findDriverOld       = "driver-below-minimum"
	findDriverBad       = "driver-known-bad"
	findDriverNot       = "driver-not-allowed"
)

// Parameters are the numbers and lists of the appraisal policy.
type Parameters struct {
	nvidia.Parameters `yaml:",inline"`
	// MinimumDriver is the least version of the driver, by architecture ("HOPPER")
	// or chip ("GH100").
	MinimumDriver map[string]string `yaml:"minimum_driver"`
	// AllowedDrivers, unless empty, are all versions that are accepted,
	// KnownBadDrivers those that never are.
	AllowedDrivers  []string `yaml:"allowed_drivers"`
	KnownBadDrivers []string `yaml:"known_bad_drivers"`
	// Modes, unless empty, are the modes of confidential computing that are
	// accepted: spt, mpt, ppcie.
	Modes []string `yaml:"modes"`
	// HopperMemoryEncrypted calls the memory of Hopper encrypted (2), as others do,
	// though it is only isolated.
	HopperMemoryEncrypted bool `yaml:"hopper_memory_encrypted"`
}

var driverVersion = regexp.MustCompile(`^[0-9]{1,5}(\.[0-9]{1,5}){0,3}$`)

// Check says what is wrong with parameters.
func (p Parameters) Check() error {
	if err := p.Parameters.Check(); err != nil {
		return err
	}
	for _, m := range p.Modes {
		if !slices.Contains(modes(), m) {
			return fmt.Errorf("modes: %.100q is none of %v", m, modes())
		}
	}
	if err := nvidia.CheckMinimum("minimum_driver", p.MinimumDriver, driverVersion); err != nil {
		return err
	}
	if err := nvidia.CheckModels(chips(), map[string]map[string]string{"minimum_driver": p.MinimumDriver, "minimum_vbios": p.MinimumVBIOS}); err != nil {
		return err
	}
	return nvidia.CheckVersions(driverVersion, map[string][]string{"allowed_drivers": p.AllowedDrivers, "known_bad_drivers": p.KnownBadDrivers})
}

// defaults is the appraisal policy of this build.
func defaults() appraisal.Defaults {
	return appraisal.Defaults{
		Scheme: Name, Findings: slices.Concat(nvidia.Findings(), nvidia.DriverFindings(), modeFindings(), driverFindings()),
		Parameters: Parameters{
			Parameters: nvidia.DefaultParameters(), MinimumDriver: map[string]string{}, AllowedDrivers: []string{}, KnownBadDrivers: []string{}, Modes: []string{},
		},
	}
}

type effect = appraisal.Effect

func modeFindings() []appraisal.Finding {
	return []appraisal.Finding{
		{
			Name: findModeUnknown, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimNoVisibility},
			Floor: effect{verdict.Configuration: verdict.ClaimUnsafe}, Text: "The report does not say in which mode of confidential computing the GPU is, or in none that is known.",
		},
		{
			Name: findModeNotRequired, Code: verdict.ReasonPolicy, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "The mode of confidential computing is none of the parameter modes.",
		},
		{
			Name: findMemory, Effect: effect{verdict.RuntimeOpaque: verdict.ClaimApproved},
			Text: "The firmware is proven and says that the GPU is in a mode, for one or several GPUs, in which its memory is closed to the host.",
		},
		{
			Name: findIsolated, Code: verdict.ReasonConfiguration, Effect: effect{},
			Text: "So it is, and the chip is a Hopper, whose memory is isolated from the host and not encrypted, so that nothing is claimed. A row of {runtime-opaque: 32} says what AR4SI has for that, and makes every Hopper a warning; the parameter hopper_memory_encrypted calls it encrypted.",
		},
	}
}

func driverFindings() []appraisal.Finding {
	conf := func(c verdict.Claim) effect { return effect{verdict.Configuration: c} }
	return []appraisal.Finding{
		{
			Name: findDriverOld, Code: verdict.ReasonTCBOutOfDate, Effect: conf(verdict.ClaimUnsafe),
			Text: "The driver is older than the parameter minimum_driver, or the report does not say its version.",
		},
		{
			Name: findDriverBad, Code: verdict.ReasonPolicy, Effect: conf(verdict.ClaimContraindicate), Floor: conf(verdict.ClaimUnsafe),
			Text: "The parameter known_bad_drivers names this version.",
		},
		{
			Name: findDriverNot, Code: verdict.ReasonPolicy, Effect: conf(verdict.ClaimUnsafe),
			Text: "The parameter allowed_drivers has versions, and not this one.",
		},
	}
}
