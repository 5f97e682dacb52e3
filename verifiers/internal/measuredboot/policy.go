// SPDX-License-Identifier: Apache-2.0

// Package measuredboot judges what a TPM's registers (PCRs) say about the boot of
// a machine: against reference values, and by an event log that explains them. It
// is for schemes whose evidence holds a quote that they have verified: a TPM's own,
// and those of CPU TEEs whose paravisor has one inside. Findings and Defaults are
// what a scheme adds to its appraisal policy; Judge applies them.
//
// Nothing here looks at signatures, freshness, or at who vouches for the key.
package measuredboot

import (
	"crypto"
	"errors"
	"fmt"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/tpm"
)

// Parameters say which registers have to be proven by what.
type Parameters struct {
	// Executables are the PCRs that have to be proven for the claim executables.
	// One above 7 needs no proof if nothing was ever measured into it.
	Executables []int `yaml:"executables"`
	// Configuration is the same for the claim configuration.
	Configuration []int `yaml:"configuration"`
	// EventLog are the PCRs that an event log has to explain. Others are extended
	// after the firmware's log has ended, and count where the log explains them.
	EventLog []int `yaml:"event_log"`
}

// Defaults are the registers of the TCG PC Client Platform Firmware Profile that
// carry code (0, 2, 4), what boot loaders and Linux add to them (8, 9, 11 to 13),
// and the secure boot policy (7, 14).
func Defaults() Parameters {
	return Parameters{
		Executables: []int{0, 2, 4, 8, 9, 11, 12, 13}, Configuration: []int{7, 14},
		EventLog: []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 14},
	}
}

// Check implements what package appraisal asks parameters for.
func (p Parameters) Check() error {
	for name, list := range map[string][]int{"executables": p.Executables, "configuration": p.Configuration, "event_log": p.EventLog} {
		for i, pcr := range list {
			if pcr < 0 || pcr >= tpm.PCRCount || slices.Contains(list[:i], pcr) {
				return fmt.Errorf("%s: PCR %d is none, or there twice", name, pcr)
			}
		}
	}
	if len(p.Executables) == 0 {
		return errors.New("executables: no PCR would have to be proven")
	}
	return nil
}

// Boot is what a verified quote covers.
type Boot struct {
	// Bank is the hash of the registers, PCRs their values by index.
	Bank crypto.Hash
	PCRs map[int][]byte
	// Log is the firmware's event log, nil without.
	Log []byte
}

// Judge applies a policy that has the rows of Findings.
type Judge struct {
	Policy *appraisal.Policy
	// Prefix is that of the rows' names: "" or "vtpm-", as it was given to Findings.
	Prefix     string
	Parameters Parameters
	// Unsigned lets documents count that nobody has signed.
	Unsigned bool
}

// Names of findings about the log.
const (
	logMismatch   = "event-log-mismatch"
	logMalformed  = "event-log-malformed"
	stateUnclear  = "firmware-state-unclear"
	secureBootOff = "secure-boot-off"
)

// Findings are the rows about event log, software and configuration, with a
// prefix that tells them from other rows of the scheme.
func Findings(prefix string) []appraisal.Finding {
	out := append(logFindings(), comparisons()...)
	for i := range out {
		out[i].Name = prefix + out[i].Name
	}
	return out
}

func (j Judge) apply(a *verdict.Appraisal, finding, detail string) *verdict.Reason {
	return j.Policy.Apply(a, j.Prefix+finding, detail)
}

func logFindings() []appraisal.Finding {
	type effect = appraisal.Effect
	return []appraisal.Finding{
		{
			Name: logMismatch, Code: verdict.ReasonEventLogMismatch, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "The event log does not replay to the quoted PCRs; nothing of it is used.",
		},
		{
			Name: logMalformed, Code: verdict.ReasonMalformed, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "The event log cannot be read; nothing of it is used.",
		},
		{
			Name: stateUnclear, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimNoVisibility},
			Text: "The event log replays, but does not say in what state the firmware handed over.",
		},
		{
			Name: secureBootOff, Code: verdict.ReasonConfiguration, Effect: effect{verdict.Configuration: verdict.ClaimUnsafe},
			Text: "UEFI Secure Boot is off, by the event log or by the paravisor.",
		},
	}
}

// comparison are the rows for one claim that rests on reference values.
type comparison struct {
	claim              verdict.ClaimName
	prefix             string
	what               string
	proven             verdict.Claim
	unproven, mismatch verdict.Claim
}

var (
	software = comparison{
		verdict.Executables, "software", "PCRs with code",
		verdict.ClaimApprovedBoot, verdict.ClaimUnrecognized, verdict.ClaimContraindicate,
	}
	settings = comparison{
		verdict.Configuration, "configuration", "PCRs with configuration",
		verdict.ClaimApproved, verdict.ClaimNoVisibility, verdict.ClaimContraindicate,
	}
)

// endings of the names of rows, by reason code.
var endings = map[string]string{
	verdict.ReasonNoReferenceValues:   "-unknown",
	verdict.ReasonMeasurementMismatch: "-mismatch",
	verdict.ReasonPartialReference:    "-partial",
	verdict.ReasonUnsignedReference:   "-unsigned",
	verdict.ReasonClaimNotAsserted:    endingMissing,
}

const (
	endingProven  = "-proven"
	endingMissing = "-registers-not-quoted"
)

func comparisons() []appraisal.Finding {
	var out []appraisal.Finding
	for _, c := range []comparison{software, settings} {
		row := func(code string, value verdict.Claim, text string) {
			f := appraisal.Finding{Name: c.prefix + endingProven, Code: code, Effect: appraisal.Effect{c.claim: value}, Text: fmt.Sprintf(text, c.what)}
			if code != "" { // what is not proven is affirmed by nobody's row
				f.Name, f.Floor = c.prefix+endings[code], appraisal.Effect{c.claim: c.unproven}
			}
			out = append(out, f)
		}
		row("", c.proven, "All %s that have to be proven are as reference values say.")
		row(verdict.ReasonNoReferenceValues, c.unproven, "For some %s there are no reference values.")
		row(verdict.ReasonMeasurementMismatch, c.mismatch, "Some %s are as in no reference value.")
		row(verdict.ReasonPartialReference, c.unproven, "Some %s are as a reference value says, but what belongs to it is not.")
		row(verdict.ReasonUnsignedReference, c.unproven, "For some %s only documents that nobody signed have the value.")
		row(verdict.ReasonClaimNotAsserted, c.unproven, "The quote leaves out %s that have to be proven.")
	}
	return out
}
