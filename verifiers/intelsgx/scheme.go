// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/dcap"
)

// Name is the slug of this scheme, also the key of its extra roots and its policy
// in verifiers.Deps.
const Name = "intel-sgx"

const (
	version   = "0.1.0"
	nonceSize = 64
	typeQuote = "application/vnd.assize.sgx-quote"
)

// Scheme describes the appraisal of Intel SGX quotes.
func Scheme() verifiers.Scheme {
	defaults := policy()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassCPU,
		Version: version,
		Accepts: []evidence.MediaType{{Base: typeQuote}},
		Signed:  true, MaxEvidence: dcap.MaxQuote,
		NonceSize: nonceSize,
		Required: []verdict.ClaimName{
			verdict.Hardware, verdict.Executables, verdict.Configuration, verdict.RuntimeOpaque,
		},
		Policy: &defaults,
		Needs:  func(_ evidence.MediaType, raw []byte) []endorsements.Need { return dcap.Needs(raw, dcap.SGX) },
		New:    func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// verifier is safe for concurrent use: everything but the cache of chains is
// immutable.
type verifier struct {
	dcap   *dcap.Verifier
	policy *appraisal.Policy
	params parameters
	// unsigned lets reference values count that nobody has signed: where test
	// roots are trusted, which the results say and leads cap.
	unsigned bool
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	p, err := policy().Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("intelsgx: %w", err)
	}
	quotes, err := dcap.NewVerifier(d.ExtraRoots[Name], d.Endorsements, dcap.SGX)
	if err != nil {
		return nil, fmt.Errorf("intelsgx: %w", err)
	}
	return &verifier{
		dcap: quotes, policy: p, params: appraisal.Parameters[parameters](p), unsigned: len(d.ExtraRoots[Name]) > 0,
	}, nil
}

// Renew implements verifiers.Renewer.
func (v *verifier) Renew(b *endorsements.Bundle) (verifiers.Verifier, error) {
	next := *v
	next.dcap = v.dcap.Renew(b)
	return &next, nil
}

// Appraise judges one component. The error is the context's or nil: whatever is
// wrong with the evidence, a panic of a parser included, is in the appraisal.
func (v *verifier) Appraise(ctx context.Context, in verifiers.Input) (a verdict.Appraisal, err error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			a, err = v.rejected(dcap.Failf(verdict.ReasonMalformed, "evidence made a parser panic: %v", p)), nil
		}
	}()
	if in.MediaType.Base != typeQuote {
		return v.rejected(dcap.Failf(verdict.ReasonMalformed, "media type %s is not %s", in.MediaType.Base, typeQuote)), nil
	}
	q, e, f := open(in.Evidence)
	if f != nil {
		return v.rejected(f), nil
	}
	p, _, f := v.dcap.VerifyQuote(q)
	if f != nil {
		return v.rejected(f), nil
	}
	if f := p.Expired(in.Time); f != nil {
		return v.rejected(f), nil
	}
	return v.appraise(in, q, e, p)
}

// rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99 in
// all claims. Nothing of its contents is repeated.
func (v *verifier) rejected(f *dcap.Failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector:    verdict.AllClaims(verdict.ClaimCryptoFailed),
		Freshness: verdict.FreshnessNotEstablished,
		PolicyID:  v.policy.ID(),
	}
	a.FailComparing(f.Code, f.Detail, f.Compared)
	return a
}

// appraise judges a quote whose signatures hold.
func (v *verifier) appraise(in verifiers.Input, q *dcap.Quote, e enclave, p *dcap.PCK) (verdict.Appraisal, error) {
	spki := q.SPKI()
	signer := sha256.Sum256(spki)
	a := verdict.Appraisal{
		NonceSeen: append([]byte(nil), e.ReportData()...),
		Claims:    claims(q, e, p),
		PolicyID:  v.policy.ID(),
		Facts: verdict.Facts{
			Device:     p.Device(),
			SignerSPKI: hex.EncodeToString(signer[:]),
			ReportData: hex.EncodeToString(e.ReportData()),
			Registers:  e.registers(),
		},
	}
	freshness(&a, in.Nonce)
	v.dcap.Judge(q, p, in.Time, v.params.Grace()).Apply(v.policy, v.params.Parameters, &a, p, in.Time)
	v.attributes(&a, q, e)
	v.references(&a, in, e, p, spki)
	return a, nil
}
