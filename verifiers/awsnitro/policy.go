// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/appraisal"
)

// Names of the findings.
const (
	findDebug             = "debug"
	findRevoked           = "revoked"
	findRevocationUnknown = "revocation-unknown"
	findIdentity          = "identity-mismatch"
	findImageUnsigned     = "image-unsigned"
	findNoReference       = "no-reference-values"
	findMismatch          = "measurement-mismatch"
	findPartial           = "reference-values-partial"
	findUnsignedReference = "unsigned-reference-values"
	findSignerMismatch    = "image-signer-mismatch"
	findRoleMismatch      = "role-mismatch"
	findParentMismatch    = "parent-instance-mismatch"
)

// Parameters are the numbers by which documents are judged.
type Parameters struct {
	// MaxAgeMinutes is how long before the appraisal a document may be made, 1 to
	// 1440 minutes.
	MaxAgeMinutes int `yaml:"max_age_minutes"`
	// GraceMinutes is how long after the end of one of its certificates a document
	// is still appraised that was made before, 0 to 60 minutes.
	GraceMinutes int `yaml:"grace_minutes"`
}

// Check refuses numbers that are out of range.
func (p Parameters) Check() error {
	switch {
	case p.MaxAgeMinutes < 1 || p.MaxAgeMinutes > 24*60:
		return fmt.Errorf("max_age_minutes is %d, want 1 to 1440", p.MaxAgeMinutes)
	case p.GraceMinutes < 0 || p.GraceMinutes > 60:
		return fmt.Errorf("grace_minutes is %d, want 0 to 60", p.GraceMinutes)
	}
	return nil
}

// Defaults is the appraisal policy that the scheme starts from.
func Defaults() appraisal.Defaults {
	type effect = appraisal.Effect
	secret := effect{verdict.Configuration: verdict.ClaimContraindicate, verdict.RuntimeOpaque: verdict.ClaimContraindicate}
	unproven := effect{verdict.Executables: verdict.ClaimUnrecognized}
	revoked := effect{verdict.Hardware: verdict.ClaimContraindicate}
	return appraisal.Defaults{
		Scheme: Name,
		Findings: []appraisal.Finding{
			{Name: findDebug, Code: verdict.ReasonDebug, Effect: secret, Floor: secret,
				Text: "PCR0, PCR1 or PCR2 is zero: the enclave runs in debug mode."},
			{Name: findRevoked, Code: verdict.ReasonRevoked, Effect: revoked, Floor: revoked,
				Text: "A certificate of the chain is on a revocation list of its issuer."},
			{Name: findRevocationUnknown,
				Text: "No current revocation list was given for a certificate that names one."},
			{Name: findIdentity, Code: verdict.ReasonIdentityMismatch, Effect: effect{verdict.InstanceIdentity: verdict.ClaimUnknownDevice}, Floor: effect{verdict.InstanceIdentity: verdict.ClaimUnsafe},
				Text: "The document and its certificate name different enclaves."},
			{Name: findImageUnsigned,
				Text: "PCR8 is zero: nobody signed the enclave image."},
			{Name: findNoReference, Code: verdict.ReasonNoReferenceValues, Effect: unproven, Floor: unproven,
				Text: "There are no reference values for the image."},
			{Name: findMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Executables: verdict.ClaimContraindicate}, Floor: unproven,
				Text: "A PCR of the image is as in no reference value."},
			{Name: findPartial, Code: verdict.ReasonPartialReference, Effect: unproven, Floor: unproven,
				Text: "A PCR of the image is right in reference values that do not hold as a whole."},
			{Name: findUnsignedReference, Code: verdict.ReasonUnsignedReference, Effect: unproven, Floor: unproven,
				Text: "The reference values for the image are in a document that nobody has signed."},
			{Name: findSignerMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.SourcedData: verdict.ClaimContraindicate},
				Text: "PCR8, the signer of the image, is as in no reference value."},
			{Name: findRoleMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.Configuration: verdict.ClaimContraindicate},
				Text: "PCR3, the role of the parent instance, is as in no reference value."},
			{Name: findParentMismatch, Code: verdict.ReasonMeasurementMismatch, Effect: effect{verdict.InstanceIdentity: verdict.ClaimUnknownDevice}, Floor: effect{verdict.InstanceIdentity: verdict.ClaimUnsafe},
				Text: "PCR4, the parent instance, is as in no reference value."},
		},
		Parameters: Parameters{MaxAgeMinutes: 180, GraceMinutes: 5},
	}
}
