// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"context"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/azure"
)

// Name is the slug of this scheme, also the key of its extra roots in
// verifiers.Deps.
const Name = "amd-snp"

const (
	version = "0.1.0"
	// maxEvidence is that of a leaf of Azure with an event log; maxReportLeaf leaves
	// room for a table of four pages in base64.
	maxEvidence   = azure.MaxLeaf
	maxReportLeaf = 128 << 10
	nonceSize     = 64
	// maxKeys bounds the cache of endorsement keys, about 6 KiB each;
	// maxKept that of intermediates that came with evidence.
	maxKeys = 1024
	maxKept = 16
)

const (
	// typeReport is the media type of a raw report with or without table.
	typeReport = "application/vnd.assize.snp-report"
	// tsmProvider is what Linux calls the SNP guest driver in configfs-tsm.
	tsmProvider = "sev_guest"
)

// Scheme describes the appraisal of SEV-SNP reports.
func Scheme() verifiers.Scheme {
	policy := policyDefaults()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassCPU,
		Version: version,
		Accepts: []evidence.MediaType{
			{Base: typeReport},
			{Base: tsm.TypeJSON, Params: map[string]string{"provider": tsmProvider}},
			{Base: tsm.TypeCBOR, Params: map[string]string{"provider": tsmProvider}},
			{Base: azure.MediaType, Params: map[string]string{azure.TEEParam: azure.TEESNP}},
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

// verifier is safe for concurrent use: everything but the caches is immutable.
type verifier struct {
	roots  *roots
	store  *store
	policy *appraisal.Policy
	params Parameters
	// keys are endorsement keys by the SHA-256 of their certificates,
	// intermediates those that came with evidence.
	keys          *lru.Cache[*vek]
	intermediates *lru.Cache[*authority]
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
		return nil, fmt.Errorf("amdsnp: %w", err)
	}
	rs, err := newRoots(d.ExtraRoots[Name])
	if err != nil {
		return nil, err
	}
	return &verifier{
		roots: rs, store: newStore(rs, d.Endorsements), policy: policy, params: appraisal.Parameters[Parameters](policy),
		keys: lru.New[*vek](maxKeys), intermediates: lru.New[*authority](maxKept), unsigned: len(d.ExtraRoots[Name]) > 0,
	}, nil
}

// Renew implements verifiers.Renewer: chains that were verified stay so, because
// they rest on the roots alone.
func (v *verifier) Renew(b *endorsements.Bundle) (verifiers.Verifier, error) {
	next := *v
	next.store = newStore(v.roots, b)
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
	if in.MediaType.Base == azure.MediaType {
		return v.appraiseAzure(in), nil
	}
	l, f := open(in.MediaType, in.Evidence)
	if f != nil {
		return v.rejected(f), nil
	}
	c, terr := parseTable(l.table)
	if terr != nil {
		return v.rejected(failf(verdict.ReasonMalformed, "%v", terr)), nil
	}
	bind := challenge(in.Nonce)
	if l.service {
		bind = manifest(in.Nonce, l.manifest)
	}
	a = v.appraiseReport(in, l.report, c, bind)
	for _, name := range l.unevaluated {
		if a.Claims != nil {
			a.Claims[name] = "present, not evaluated"
		}
	}
	return a, nil
}

// binder says what REPORT_DATA of a report whose signature holds has to be, and
// sets NonceSeen and Freshness. A report inside other evidence is bound by that
// evidence: a failure of its binder rejects the whole.
type binder func(a *verdict.Appraisal, reportData [64]byte) *failure

// appraiseReport judges a report, whatever brought it here. Everything that is
// not in the report itself, as the key that signs and what REPORT_DATA should be,
// is an argument.
func (v *verifier) appraiseReport(in verifiers.Input, raw []byte, c *certificates, bind binder) verdict.Appraisal {
	r, err := parseReport(raw)
	if err != nil {
		code := verdict.ReasonMalformed
		var form *formError
		if errors.As(err, &form) && form.unsupported {
			code = verdict.ReasonUnsupported
		}
		return v.rejected(failf(code, "SNP report: %v", err))
	}
	k, f := v.endorse(r, c, in.Time)
	if f == noKey {
		return v.unverifiable(r)
	}
	if f != nil {
		return v.rejected(f)
	}
	a := verdict.Appraisal{PolicyID: v.policy.ID(), Claims: claims(r, k, c), Facts: facts(r, k)}
	if f := bind(&a, [64]byte(r.reportData())); f != nil {
		return v.rejected(f)
	}
	v.judge(&a, r, k, in.Time)
	v.references(&a, in, r, k)
	return a
}

// rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99
// in all claims. Nothing of its contents is repeated.
func (v *verifier) rejected(f *failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector:    verdict.AllClaims(verdict.ClaimCryptoFailed),
		Freshness: verdict.FreshnessNotEstablished, PolicyID: v.policy.ID(),
	}
	a.FailComparing(f.code, f.detail, f.compared)
	return a
}

// unverifiable is the appraisal of a report of which nobody has the certificate.
// It is no forgery for all one knows, so 99 would say too much; but nothing in it
// is proven either, so a warning would say too little: anybody could write it.
// The hardware is one that the verifier does not recognise and should, 97.
func (v *verifier) unverifiable(r *report) verdict.Appraisal {
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, PolicyID: v.policy.ID()}
	v.find(&a, findNoKey, fmt.Sprintf("there is no certificate of the %s that should have signed this report, neither in evidence nor among the collateral: chip %x…, REPORTED_TCB %x",
		r.signer(), r.chipID()[:8], r.reportedTCB()))
	return a
}

// find reports a finding by the policy.
func (v *verifier) find(a *verdict.Appraisal, name, detail string) *verdict.Reason {
	if v.trace != nil {
		v.trace(name)
	}
	return v.policy.Apply(a, name, detail)
}

// challenge compares all 64 bytes of REPORT_DATA with the nonce in constant
// time. A shorter nonce never matches: padding it would be a guess about what
// the attester did.
func challenge(nonce []byte) binder {
	return func(a *verdict.Appraisal, data [64]byte) *failure {
		a.NonceSeen = append([]byte(nil), data[:]...)
		a.Facts.ReportData = hex.EncodeToString(data[:])
		switch {
		case len(nonce) == 0:
			a.Freshness = verdict.FreshnessNotEstablished
			a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when REPORT_DATA was made")
		case subtle.ConstantTimeCompare(nonce, data[:]) == 1:
			a.Freshness = verdict.FreshnessFresh
		default:
			a.Freshness = verdict.FreshnessMismatch
			a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("REPORT_DATA starts with %x, expected %d bytes that start with %x",
				data[:8], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(nonce, data[:]))
		}
		return nil
	}
}

// needs names the certificate of the endorsement key, if evidence has none, and
// the revocation list of the line. It reads bytes that nobody has verified.
func needs(mt evidence.MediaType, raw []byte) []endorsements.Need {
	if mt.Base == azure.MediaType {
		return azureNeeds(raw)
	}
	l, f := open(mt, raw)
	if f != nil {
		return nil
	}
	r, err := parseReport(l.report)
	if err != nil {
		return nil
	}
	c, err := parseTable(l.table)
	if err != nil {
		return nil
	}
	return reportNeeds(r, c)
}

func reportNeeds(r *report, c *certificates) []endorsements.Need {
	var out []endorsements.Need
	p, kind := r.product(), r.signer()
	der := c.vek(kind)
	switch {
	case der != nil:
		if k, f := parseVEK(der, kind); f == nil {
			p = k.product
		}
	case kind == kindVCEK && !r.chipMasked():
		chip := r.chipID()
		if p == productTurin {
			chip = chip[:turinChipSize]
		}
		out = append(out, endorsements.Need{Kind: endorsements.NeedAMDVCEK, Product: needProduct(p), ChipID: hex.EncodeToString(chip), TCB: r.u64(0x180)})
	}
	if p != productUnknown {
		out = append(out, endorsements.Need{Kind: endorsements.NeedAMDCRL, Product: p.String()})
	}
	return out
}

// needProduct is "" where a report does not say its line, as before version 3.
func needProduct(p product) string {
	if p == productUnknown {
		return ""
	}
	return p.String()
}
