// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/armtoken"
	"github.com/assize/assize/verifiers/internal/reference"
)

// keyComponent is the measurement key of all components (corim.ProfilePSA).
const keyComponent = "psa.software-component"

// references compares the software with reference values. What runs on a device
// whose memory can be read and written is known from no measurement.
func (v *verifier) references(a *verdict.Appraisal, in verifiers.Input, t *token, spki []byte) {
	a.Facts.Environments = reference.Names(t.environment())
	if len(t.components) == 0 {
		v.policy.Apply(a, "not-measured", "executables: the token says that no software was measured, so no reference value can speak about it")
		return
	}
	s := armtoken.Software{
		Index: in.References, Environment: t.environment(), Key: keyComponent, Components: t.components,
		Time: in.Time, Unsigned: v.unsigned, AnySigner: v.parameters.SignerIDs == SignersIgnore,
	}
	if in.References != nil {
		s.Authority = []corim.Typed{corim.TaggedBytes(corim.TagPKIXKey, spki)}
	}
	r := s.Compare()
	state := s.Judge(v.policy, a, r)
	proofs := map[string]any{}
	if state == reference.Matched {
		proofs[verdict.Executables.String()] = r.Proof(r.Findings...)
		if a.Vector[verdict.RuntimeOpaque].Tier() == verdict.TierAffirming {
			appraisal.Lower(a, verdict.Executables, verdict.ClaimApproved)
		}
	}
	if c := r.Claim(proofs); c != nil {
		a.Claims["reference_values"] = c
	}
}
