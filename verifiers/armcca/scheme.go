// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"context"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/armtoken"
)

// Name is the slug of this scheme.
const Name = "arm-cca"

const (
	version = "0.1.0"
	// maxEvidence leaves room for a token of 32 KiB in base64 with the rest of a TSM
	// report.
	maxEvidence = 96 << 10
	// nonceSize is that of a realm's challenge.
	nonceSize = challengeSize

	typeCollection = "application/eat-collection"
	// mediaProfile is the parameter "profile" of a CCA token.
	mediaProfile = "http://arm.com/CCA-SSD/1.0.0"
	// tsmProvider is what Linux calls the CCA guest driver in configfs-tsm.
	tsmProvider = "arm_cca_guest"
)

// Scheme describes the appraisal of Arm CCA tokens.
func Scheme() verifiers.Scheme {
	policy := Policy()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassCPU,
		Version: version,
		Accepts: []evidence.MediaType{
			{Base: typeCollection, Params: map[string]string{"profile": mediaProfile}},
			{Base: tsm.TypeJSON, Params: map[string]string{"provider": tsmProvider}},
			{Base: tsm.TypeCBOR, Params: map[string]string{"provider": tsmProvider}},
		},
		Signed: true, MaxEvidence: maxEvidence,
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
		return nil, fmt.Errorf("armcca: %w", err)
	}
	defaults := Policy()
	p, err := defaults.Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("armcca: %w", err)
	}
	return &verifier{
		decoder: decoder, keys: armtoken.NewKeys(), policy: p, parameters: appraisal.Parameters[Parameters](p),
		unsigned: len(d.ExtraRoots[Name]) > 0,
	}, nil
}

// Appraise judges one component. The error is the context's or ErrMalfunction:
// whatever is wrong with the evidence, a panic of a library included, is in the
// appraisal.
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
	anchor, missing, f := v.verify(t, in)
	switch {
	case f != nil:
		return v.rejected(f), nil
	case missing != nil:
		return v.unproven(missing), nil
	}
	return v.appraise(in, t, anchor)
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

// appraise judges a token whose signatures hold.
func (v *verifier) appraise(in verifiers.Input, t *token, anchor armtoken.Anchor) (verdict.Appraisal, error) {
	_, rak, err := armtoken.SPKI(t.realm.rak)
	if err != nil {
		return verdict.Appraisal{}, fmt.Errorf("armcca: %w: %v", verifiers.ErrMalfunction, err)
	}
	a := verdict.Appraisal{Claims: t.claims(), Facts: t.facts(anchor, rak), PolicyID: v.policy.ID()}
	a.Claims["attestation_key"] = map[string]any{"spki_sha256": anchor.Digest, "document": anchor.Source.String()}
	v.policy.Apply(&a, "genuine", "")
	v.freshness(&a, &t.realm, in.Nonce)
	v.lifecycle(&a, &t.platform)
	v.references(&a, in, t, anchor.SPKI)
	return a, nil
}
