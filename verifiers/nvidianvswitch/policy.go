// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// Names of the findings that only switches have.
const (
	findUnlocked    = "switch-not-locked"
	findLockUnknown = "switch-lock-unknown"
)

// Parameters are the numbers and lists of the appraisal policy.
type Parameters struct {
	nvidia.Parameters `yaml:",inline"`
}

// Check says what is wrong with parameters.
func (p Parameters) Check() error {
	if err := p.Parameters.Check(); err != nil {
		return err
	}
	return nvidia.CheckModels(chips(), map[string]map[string]string{"minimum_vbios": p.MinimumVBIOS})
}

// defaults is the appraisal policy of this build.
func defaults() appraisal.Defaults {
	conf := func(c verdict.Claim) appraisal.Effect { return appraisal.Effect{verdict.Configuration: c} }
	return appraisal.Defaults{
		Scheme: Name,
		Findings: append(nvidia.Findings(),
			appraisal.Finding{
				Name: findUnlocked, Code: verdict.ReasonConfiguration, Effect: conf(verdict.ClaimUnsafe),
				Text: "The switch says that it is not locked: partitions and ports may be changed.",
			},
			appraisal.Finding{
				Name: findLockUnknown, Code: verdict.ReasonConfiguration, Effect: conf(verdict.ClaimNoVisibility),
				Text: "The report does not say whether partitions and ports are locked.",
			}),
		Parameters: Parameters{nvidia.DefaultParameters()},
	}
}
