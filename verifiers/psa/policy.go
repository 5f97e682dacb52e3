// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// What signer ids of software components are compared with.
const (
	// SignersCompare wants those of the reference values.
	SignersCompare = "compare"
	// SignersIgnore lets the digest alone say which component it is.
	SignersIgnore = "ignore"
)

// Parameters are the parameters of the appraisal policy.
type Parameters struct {
	// SignerIDs is SignersCompare or SignersIgnore.
	SignerIDs string `yaml:"signer_ids"`
}

// Check says what is wrong with edited parameters.
func (p Parameters) Check() error {
	if p.SignerIDs != SignersCompare && p.SignerIDs != SignersIgnore {
		return fmt.Errorf("signer_ids %q is not %q or %q", p.SignerIDs, SignersCompare, SignersIgnore)
	}
	return nil
}

// Policy is the appraisal policy that the scheme starts from.
func Policy() appraisal.Defaults {
	type e = appraisal.Effect
	const warn, unknown = verdict.ClaimUnsafe, verdict.ClaimUnrecognized
	const bad, stranger = verdict.ClaimContraindicate, verdict.ClaimUnknownDevice
	const approved = verdict.ClaimApproved
	exe := func(c verdict.Claim) e { return e{verdict.Executables: c} }
	nobody := e{verdict.Hardware: stranger, verdict.InstanceIdentity: stranger}
	exposed := e{verdict.Configuration: bad, verdict.RuntimeOpaque: bad, verdict.StorageOpaque: bad}
	const (
		noValues, mismatch = verdict.ReasonNoReferenceValues, verdict.ReasonMeasurementMismatch
		partial, unsigned  = verdict.ReasonPartialReference, verdict.ReasonUnsignedReference
	)
	return appraisal.Defaults{
		Scheme:     Name,
		Parameters: Parameters{SignerIDs: SignersCompare},
		Findings: []appraisal.Finding{
			{Name: armtoken.FindingNoKey, Code: verdict.ReasonNoCollateral, Effect: nobody, Floor: nobody,
				Text: "No reference document states the attestation key of the device, so that its signature could not be verified."},
			{Name: armtoken.FindingKeyUnsigned, Code: unsigned, Effect: nobody, Floor: nobody,
				Text: "The attestation key of the device is in a document that nobody has signed."},
			{Name: "genuine", Effect: e{verdict.Hardware: approved, verdict.InstanceIdentity: approved},
				Text: "The signature holds."},
			{Name: "lifecycle-secured", Effect: e{verdict.Configuration: approved, verdict.RuntimeOpaque: approved, verdict.StorageOpaque: approved},
				Text: "The device is in the lifecycle state secured (0x30xx)."},
			{Name: "lifecycle-other-debug", Code: verdict.ReasonConfiguration,
				Effect: e{verdict.Configuration: warn, verdict.RuntimeOpaque: approved, verdict.StorageOpaque: approved},
				Text:   "Something outside of the PSA root of trust can be debugged (0x40xx)."},
			{Name: "lifecycle-debug", Code: verdict.ReasonDebug, Effect: exposed, Floor: exposed,
				Text: "The PSA root of trust itself can be debugged (0x50xx)."},
			{Name: "lifecycle-unsecured", Code: verdict.ReasonConfiguration, Effect: exposed, Floor: exposed,
				Text: "The device is in no secured state: unknown, in production, decommissioned, or a reserved number."},
			{Name: "not-measured", Code: noValues, Effect: exe(unknown), Floor: exe(unknown), Text: "The token says that no software was measured."},
			{Name: "software-unknown", Code: noValues, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component has no reference value."},
			{Name: "software-mismatch", Code: mismatch, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component is as in no reference value."},
			{Name: "software-partial", Code: partial, Effect: exe(unknown), Floor: exe(unknown), Text: "Software components match, but not all that belong together."},
			{Name: "software-unsigned", Code: unsigned, Effect: exe(unknown), Floor: exe(unknown), Text: "Software components match, in a document that nobody has signed."},
			{Name: "software-signer", Code: mismatch, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component has the right digest and another signer id."},
			{Name: "software-missing", Code: partial, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component of which the reference values speak was not measured."},
		},
	}
}
