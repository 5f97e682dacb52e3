// SPDX-License-Identifier: Apache-2.0

package psa

import (
	"context"
	"fmt"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// Name is the slug of this scheme.
const Name = "psa"

const (
	version = "0.1.0"
	// nonceSize is the shortest challenge that tokens carry; 48 and 64 bytes are
	// the others.
	nonceSize = 32

	typeToken = "application/psa-attestation-token"
	typeCWT   = "application/eat+cwt"
)

// Scheme describes the appraisal of PSA attestation tokens. A microcontroller is a
// device of a composite, and never the CPU TEE that everything else is bound to.
func Scheme() verifiers.Scheme {
	policy := Policy()
	cwt := func(profile string) evidence.MediaType {
		return evidence.MediaType{Base: typeCWT, Params: map[string]string{"eat_profile": profile}}
	}
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassDevice,
		Version: version,
		Accepts: []evidence.MediaType{{Base: typeToken}, cwt(profileTFM), cwt(mediaLegacy), cwt(profile2)},
		Signed:  true, MaxEvidence: armtoken.MaxToken,
		NonceSize: nonceSize,
		Required: []verdict.ClaimName{
			verdict.InstanceIdentity, verdict.Hardware, verdict.Executables, verdict.Configuration, verdict.RuntimeOpaque,
		},
		Policy: &policy,
		New:    func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// verifier is safe for concurrent use: everything but the caches in keys is
// immutable.
type verifier struct {
	decoder    *armtoken.Decoder
	keys       *armtoken.Keys
	policy     *appraisal.Policy
	parameters Parameters
	// unsigned lets documents count that nobody has signed, keys included: where an
	// extra root is given for this scheme, which results say and leads cap. As tokens
	// have no certificates, the root itself anchors nothing.
	unsigned bool
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	decoder, err := armtoken.NewDecoder()
	if err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	defaults := Policy()
	p, err := defaults.Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("psa: %w", err)
	}
	return &verifier{
		decoder: decoder, keys: armtoken.NewKeys(), policy: p, parameters: appraisal.Parameters[Parameters](p),
		unsigned: len(d.ExtraRoots[Name]) > 0,
	}, nil
}

// Appraise judges one component. The error is the context's: whatever is wrong
// with the evidence, a panic of a library included, is in the appraisal.
func (v *verifier) Appraise(ctx context.Context, in verifiers.Input) (a verdict.Appraisal, err error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			a, err = v.rejected(armtoken.Failf(verdict.ReasonMalformed, "evidence made a parser panic: %v", p)), nil
		}
	}()
	t, f := open(v.decoder, in)
	if f != nil {
		return v.rejected(f), nil
	}
	anchor, missing, f := v.keys.Verify(t.message, armtoken.Search{
		Index: in.References, Time: in.Time, Device: t.environment(), Unsigned: v.unsigned,
		Foreign: []string{corim.ProfileCCAPlatform, corim.ProfileCCARealm, corim.ProfileCCALegacy},
	})
	switch {
	case f != nil:
		return v.rejected(f), nil
	case missing != nil:
		return v.unproven(missing), nil
	}
	return v.appraise(in, t, anchor), nil
}

// rejected is the appraisal of evidence that proves nothing.
func (v *verifier) rejected(f *armtoken.Failure) verdict.Appraisal {
	a := armtoken.Rejected(f)
	a.PolicyID = v.policy.ID()
	return a
}

// unproven is the appraisal of evidence that nobody's key vouches for: anybody
// could have written it, so nothing of it is repeated as a claim or a fact.
func (v *verifier) unproven(m *armtoken.Missing) verdict.Appraisal {
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, PolicyID: v.policy.ID()}
	v.policy.Apply(&a, m.Finding, m.Detail)
	return a
}

// appraise judges a token whose signature holds.
func (v *verifier) appraise(in verifiers.Input, t *token, anchor armtoken.Anchor) verdict.Appraisal {
	a := verdict.Appraisal{Claims: t.claims(), Facts: t.facts(anchor), PolicyID: v.policy.ID()}
	a.Claims["attestation_key"] = map[string]any{"spki_sha256": anchor.Digest, "document": anchor.Source.String()}
	v.policy.Apply(&a, "genuine", "")
	freshness(&a, t, in.Nonce)
	v.lifecycle(&a, t)
	v.references(&a, in, t, anchor.SPKI)
	return a
}
