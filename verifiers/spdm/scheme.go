// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// Name is the slug of the scheme, also the key of its extra roots in
// verifiers.Deps.
const Name = "dmtf-spdm"

const (
	schemeVersion = "0.1.0"
	// maxChains bounds the cache of verified certificate chains, about 10 KiB each;
	// maxLists that of checked revocation lists.
	maxChains = 1024
	maxLists  = 256
)

// Scheme describes the appraisal of PCIe devices that answer SPDM.
func Scheme() verifiers.Scheme {
	policy := policyDefaults()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassDevice,
		Version: schemeVersion,
		Accepts: accepts(),
		Signed:  true, MaxEvidence: limits.Default().Leaf,
		NonceSize: NonceSize,
		Required:  []verdict.ClaimName{verdict.Hardware, verdict.Executables, verdict.Configuration},
		Split:     splitToken,
		Many:      isToken,
		Takes:     takesDevice,
		Policy:    &policy,
		New:       func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// accepts are the media types of the containers that the scheme reads.
func accepts() []evidence.MediaType {
	return append([]evidence.MediaType{{Base: MediaType}}, tokenTypes()...)
}

// read takes one component out of its container. Nothing is verified here.
func read(mt evidence.MediaType, raw []byte) subject {
	switch mt.Base {
	case MediaType:
		e, err := Decode(raw)
		if err != nil {
			return subject{container: MediaType, err: err}
		}
		if e, err = e.Complete(); err != nil {
			return subject{container: MediaType, err: err}
		}
		return subject{container: MediaType, name: e.Device, evidence: e}
	}
	return subject{container: mt.Base, err: refuse(StageContainer, KindUnsupported, "container", "media type %.100q", mt.Base)}
}

// verifier is safe for concurrent use: everything but the caches is immutable.
type verifier struct {
	policy  *appraisal.Policy
	params  Parameters
	extra   []*x509.Certificate
	anchors []anchor
	// absent are the anchors of the policy that are not among the collateral.
	absent []string
	chains *lru.Cache[*Identity]
	lists  *lists
	// unsigned lets reference values count that nobody has signed: where test
	// roots are trusted, which the results say and leads cap.
	unsigned bool
	// trace is told of every finding, in tests; nil otherwise.
	trace func(finding string)
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	defaults := policyDefaults()
	policy, err := defaults.Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("spdm: %w", err)
	}
	v := &verifier{policy: policy, params: appraisal.Parameters[Parameters](policy), extra: d.ExtraRoots[Name], unsigned: len(d.ExtraRoots[Name]) > 0}
	for i, c := range v.extra {
		if c == nil || !c.BasicConstraintsValid || !c.IsCA {
			return nil, fmt.Errorf("spdm: %w: extra root %d is not a CA certificate", verifiers.ErrMalfunction, i)
		}
	}
	v.use(d.Endorsements)
	return v, nil
}

// use takes anchors and revocation lists from a bundle. Chains that were verified
// rest on the anchors, so they are forgotten when these change.
func (v *verifier) use(b *endorsements.Bundle) {
	before := v.anchors
	v.anchors, v.absent = v.params.anchors(v.extra, b)
	if v.chains == nil || !slices.EqualFunc(before, v.anchors, anchor.equal) {
		v.chains = lru.New[*Identity](maxChains)
	}
	v.lists = newLists(b)
}

// Renew implements verifiers.Renewer.
func (v *verifier) Renew(b *endorsements.Bundle) (verifiers.Verifier, error) {
	next := *v
	next.use(b)
	return &next, nil
}

// Appraise judges one component. The error is the context's, ErrMalfunction or
// nil: whatever is wrong with the evidence, a panic of a parser included, is in
// the appraisal.
func (v *verifier) Appraise(ctx context.Context, in verifiers.Input) (a verdict.Appraisal, err error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	if in.Time.IsZero() {
		return verdict.Appraisal{}, fmt.Errorf("%w: spdm: no verification time", verifiers.ErrMalfunction)
	}
	defer func() {
		if p := recover(); p != nil {
			a, err = v.rejected(refuse(StageContainer, KindMalformed, "container", "evidence made a parser panic: %v", p)), nil
		}
	}()
	return v.judge(in, v.read(in.MediaType, in.Evidence)), nil
}

// find reports a finding by the policy.
func (v *verifier) find(a *verdict.Appraisal, finding, format string, args ...any) *verdict.Reason {
	if v.trace != nil {
		v.trace(finding)
	}
	detail := format
	if len(args) > 0 {
		detail = fmt.Sprintf(format, args...)
	}
	return v.policy.Apply(a, finding, detail)
}

// when makes a finding if something holds.
func (v *verifier) when(a *verdict.Appraisal, holds bool, finding, format string, args ...any) *verdict.Reason {
	if !holds {
		return nil
	}
	return v.find(a, finding, format, args...)
}

// settle lowers claims by the row of a finding whose reasons say more than a row
// can.
func (v *verifier) settle(a *verdict.Appraisal, finding string, reasons []verdict.Reason) {
	if len(reasons) == 0 {
		v.find(a, finding, "")
		return
	}
	if v.trace != nil {
		v.trace(finding)
	}
	e := v.policy.Effect(finding)
	for _, name := range verdict.ClaimNames() {
		if c, ok := e[name]; ok {
			appraisal.Lower(a, name, c)
		}
	}
	a.Reasons = append(a.Reasons, reasons...)
}

// verified remembers chains. What depends on time, the validity of every
// certificate, is compared at each use.
func (v *verifier) verified(c chainKey, x Expect, verify func() (*Identity, error)) (*Identity, error) {
	key := lru.Key(sha256.Sum256(c.bytes()))
	if id, ok := v.chains.Get(key); ok && id.validAt(x.Time) {
		return id, nil
	}
	id, err := verify()
	if err == nil {
		v.chains.Put(key, id)
	}
	return id, err
}
