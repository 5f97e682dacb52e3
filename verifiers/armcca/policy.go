// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// How the challenge of a realm token and the nonce are compared.
const (
	// NonceExact wants all 64 bytes.
	NonceExact = "exact"
	// NoncePadded fills a shorter nonce with zero bytes behind it, as the realm
	// manager does with a challenge that is too short.
	NoncePadded = "padded"
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
	// Nonce is NonceExact or NoncePadded.
	Nonce string `yaml:"nonce"`
	// SignerIDs is SignersCompare or SignersIgnore.
	SignerIDs string `yaml:"signer_ids"`
}

// Check says what is wrong with edited parameters.
func (p Parameters) Check() error {
	if p.Nonce != NonceExact && p.Nonce != NoncePadded {
		return fmt.Errorf("nonce %q is not %q or %q", p.Nonce, NonceExact, NoncePadded)
	}
	if p.SignerIDs != SignersCompare && p.SignerIDs != SignersIgnore {
		return fmt.Errorf("signer_ids %q is not %q or %q", p.SignerIDs, SignersCompare, SignersIgnore)
	}
	return nil
}

// Groups of findings about reference values.
const (
	groupConfig          armtoken.Group = "config"
	groupRealm           armtoken.Group = "realm"
	groupPersonalization armtoken.Group = "personalization"
)

// Policy is the appraisal policy that the scheme starts from.
func Policy() appraisal.Defaults {
	type e = appraisal.Effect
	const (
		warn, unknown, unseen = verdict.ClaimUnsafe, verdict.ClaimUnrecognized, verdict.ClaimNoVisibility
		bad, stranger         = verdict.ClaimContraindicate, verdict.ClaimUnknownDevice
	)
	exe := func(c verdict.Claim) e { return e{verdict.Executables: c} }
	cfg := func(c verdict.Claim) e { return e{verdict.Configuration: c} }
	nobody := e{verdict.Hardware: stranger, verdict.InstanceIdentity: stranger}
	exposed := e{verdict.Configuration: bad, verdict.RuntimeOpaque: bad, verdict.StorageOpaque: bad}
	const (
		noValues, mismatch = verdict.ReasonNoReferenceValues, verdict.ReasonMeasurementMismatch
		partial, unsigned  = verdict.ReasonPartialReference, verdict.ReasonUnsignedReference
	)
	return appraisal.Defaults{
		Scheme:     Name,
		Parameters: Parameters{Nonce: NonceExact, SignerIDs: SignersCompare},
		Findings: []appraisal.Finding{
			{Name: armtoken.FindingNoKey, Code: verdict.ReasonNoCollateral, Effect: nobody, Floor: nobody,
				Text: "No reference document states the attestation key of the platform, so that no signature could be verified."},
			{Name: armtoken.FindingKeyUnsigned, Code: unsigned, Effect: nobody, Floor: nobody,
				Text: "The attestation key of the platform is in a document that nobody has signed."},
			{Name: "genuine", Effect: e{verdict.Hardware: verdict.ClaimApproved, verdict.InstanceIdentity: verdict.ClaimApproved},
				Text: "Both signatures hold, and the platform vouches for the realm."},
			{Name: "lifecycle-secured", Effect: e{verdict.RuntimeOpaque: verdict.ClaimApproved, verdict.StorageOpaque: verdict.ClaimApproved},
				Text: "The platform is in the lifecycle state secured (0x30xx)."},
			{Name: "lifecycle-other-debug", Code: verdict.ReasonConfiguration,
				Effect: e{verdict.Configuration: warn, verdict.RuntimeOpaque: verdict.ClaimApproved, verdict.StorageOpaque: verdict.ClaimApproved},
				Text:   "Something outside of the CCA platform can be debugged (0x40xx)."},
			{Name: "lifecycle-debug", Code: verdict.ReasonDebug, Effect: exposed, Floor: exposed,
				Text: "The CCA platform itself can be debugged (0x50xx)."},
			{Name: "lifecycle-unsecured", Code: verdict.ReasonConfiguration, Effect: exposed, Floor: exposed,
				Text: "The platform is in no secured state: unknown, in production, decommissioned, or a reserved number."},

			{Name: "software-unknown", Code: noValues, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component of the platform has no reference value."},
			{Name: "software-mismatch", Code: mismatch, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component of the platform is as in no reference value."},
			{Name: "software-partial", Code: partial, Effect: exe(unknown), Floor: exe(unknown), Text: "Software components match, but not all that belong together."},
			{Name: "software-unsigned", Code: unsigned, Effect: exe(unknown), Floor: exe(unknown), Text: "Software components match, in a document that nobody has signed."},
			{Name: "software-signer", Code: mismatch, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component has the right digest and another signer id."},
			{Name: "software-missing", Code: partial, Effect: exe(unknown), Floor: exe(unknown), Text: "A software component of which the reference values speak was not measured."},

			{Name: "config-unknown", Code: noValues, Effect: cfg(unseen), Floor: cfg(warn), Text: "The platform configuration has no reference value."},
			{Name: "config-mismatch", Code: mismatch, Effect: cfg(warn), Floor: cfg(warn), Text: "The platform configuration is as in no reference value."},
			{Name: "config-partial", Code: partial, Effect: cfg(unseen), Floor: cfg(warn), Text: "The platform configuration matches, but not all that belongs to it."},
			{Name: "config-unsigned", Code: unsigned, Effect: cfg(unseen), Floor: cfg(warn), Text: "The platform configuration matches, in a document that nobody has signed."},

			{Name: "realm-unknown", Code: noValues, Effect: exe(unknown), Floor: exe(unknown), Text: "The initial measurement of the realm has no reference value."},
			{Name: "realm-mismatch", Code: mismatch, Effect: exe(unknown), Floor: exe(unknown), Text: "An extensible measurement of the realm is as in no reference value."},
			{Name: "realm-partial", Code: partial, Effect: exe(unknown), Floor: exe(unknown), Text: "Measurements of the realm match, but not all that belong together."},
			{Name: "realm-unsigned", Code: unsigned, Effect: exe(unknown), Floor: exe(unknown), Text: "Measurements of the realm match, in a document that nobody has signed."},

			{Name: "personalization-mismatch", Code: mismatch, Effect: exe(bad), Floor: exe(unknown), Text: "The personalization value of the realm is as in no reference value."},
			{Name: "personalization-partial", Code: partial, Effect: exe(unknown), Floor: exe(unknown), Text: "The personalization value of the realm matches, but not all that belongs to it."},
			{Name: "personalization-unsigned", Code: unsigned, Effect: exe(unknown), Floor: exe(unknown), Text: "The personalization value of the realm matches, in a document that nobody has signed."},
		},
	}
}
