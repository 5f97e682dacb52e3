// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/azure"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/reference"
)

// Name is the slug of this scheme, also the key of its extra roots in
// verifiers.Deps.
const Name = "intel-tdx"

const (
	version = "0.2.0"
	// maxEvidence leaves room for an event log beside a quote of 16 KiB.
	maxEvidence = azure.MaxLeaf
	nonceSize   = 64
)

// Media types of TDX evidence.
const (
	typeQuote   = "application/vnd.assize.tdx-quote"
	typeJSON    = "application/vnd.assize.tdx+json"
	typeTSMJSON = "application/vnd.veraison.tsm-report+json"
	typeTSMCBOR = "application/vnd.veraison.tsm-report+cbor"
	// tsmProvider is what Linux calls the TDX guest driver in configfs-tsm.
	tsmProvider = "tdx_guest"
)

// Scheme describes the appraisal of Intel TDX quotes.
func Scheme() verifiers.Scheme {
	tsm := map[string]string{"provider": tsmProvider}
	policy := defaults()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassCPU,
		Version: version,
		Accepts: []evidence.MediaType{
			{Base: typeQuote},
			{Base: typeJSON},
			{Base: typeTSMJSON, Params: tsm},
			{Base: typeTSMCBOR, Params: map[string]string{"provider": tsmProvider}},
			{Base: azure.MediaType, Params: map[string]string{azure.TEEParam: azure.TEETDX}},
		},
		Signed: true, MaxEvidence: maxEvidence,
		NonceSize: nonceSize,
		Required: []verdict.ClaimName{
			verdict.Hardware, verdict.Executables, verdict.Configuration, verdict.RuntimeOpaque,
		},
		Policy: &policy,
		Needs:  needs,
		New:    func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// needs names the collateral for the platform that a component claims to be.
func needs(mt evidence.MediaType, raw []byte) []endorsements.Need {
	c, f := open(verifiers.Input{MediaType: mt, Evidence: raw})
	if f != nil {
		return nil
	}
	return dcap.Needs(c.quote, dcap.TDX)
}

// verifier is safe for concurrent use: everything but the cache of chains is
// immutable.
type verifier struct {
	core   *dcap.Verifier
	policy *appraisal.Policy
	params Parameters
	// environment is what reference values are looked up for, and names its name in
	// facts.
	environment corim.Environment
	names       []string
	// unsigned lets reference values count that nobody has signed: where test
	// roots are trusted, which the results say and leads cap.
	unsigned bool
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	core, err := dcap.NewVerifier(d.ExtraRoots[Name], d.Endorsements, dcap.TDX)
	if err != nil {
		return nil, fmt.Errorf("inteltdx: %w", err)
	}
	policy, err := defaults().Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("inteltdx: %w", err)
	}
	env := environment()
	return &verifier{
		core: core, policy: policy, params: appraisal.Parameters[Parameters](policy), environment: env, names: reference.Names(env),
		unsigned: len(d.ExtraRoots[Name]) > 0,
	}, nil
}

// Renew implements verifiers.Renewer.
func (v *verifier) Renew(b *endorsements.Bundle) (verifiers.Verifier, error) {
	next := *v
	next.core = v.core.Renew(b)
	return &next, nil
}

// Appraise judges one component. The error is the context's or nil: whatever
// is wrong with the evidence, a panic of a parser included, is in the
// appraisal.
func (v *verifier) Appraise(ctx context.Context, in verifiers.Input) (a verdict.Appraisal, err error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			a, err = v.rejected(failf(verdict.ReasonMalformed, "evidence made a parser panic: %v", p)), nil
		}
	}()
	c, f := open(in)
	if f != nil {
		return v.rejected(f), nil
	}
	q, perr := parseQuote(c.quote)
	if perr != nil {
		return v.rejected(unreadable(perr)), nil
	}
	p, _, f := v.core.VerifyQuote(q.Quote)
	if f != nil {
		return v.rejected(f), nil
	}
	if f := p.Expired(in.Time); f != nil {
		return v.rejected(f), nil
	}
	return v.appraise(in, c, q, p)
}

// rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99
// in all claims, whatever the policy. Nothing of its contents is repeated.
func (v *verifier) rejected(f *failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector:    verdict.AllClaims(verdict.ClaimCryptoFailed),
		Freshness: verdict.FreshnessNotEstablished,
		PolicyID:  v.policy.ID(),
	}
	a.FailComparing(f.Code, f.Detail, f.Compared)
	return a
}

// appraise judges a quote whose signatures hold.
func (v *verifier) appraise(in verifiers.Input, c container, q *quote, p *dcap.PCK) (verdict.Appraisal, error) {
	spki := q.SPKI()
	signer := sha256.Sum256(spki)
	a := verdict.Appraisal{
		NonceSeen: append([]byte(nil), q.ReportData()...),
		Claims:    claims(q, p),
		Facts: verdict.Facts{
			Device:     p.Device(),
			SignerSPKI: hex.EncodeToString(signer[:]),
			ReportData: hex.EncodeToString(q.ReportData()),
			Registers:  q.registers(),
		},
		PolicyID: v.policy.ID(),
	}
	if c.machine == nil {
		v.freshness(&a, in, c, q)
	} else if f := v.bind(&a, in, c, q); f != nil {
		return v.rejected(f), nil
	}
	v.core.Judge(q.Quote, p, in.Time, v.params.Grace()).Apply(v.policy, v.params.Parameters, &a, p, in.Time)
	v.attributes(&a, q)
	if c.machine == nil {
		v.events(&a, c, q)
	}
	v.references(&a, in, q, p, spki)
	if c.machine != nil {
		v.guest(&a, in, c)
	}
	return a, nil
}
