// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/measuredboot"
	"github.com/assize/assize/verifiers/internal/tpm"
)

// Name is the slug of this scheme, also the key of its extra roots and its policy
// in verifiers.Deps.
const Name = "tcg-tpm"

const (
	version = "0.1.0"
	// maxEvidence leaves room for an event log of some hundred KiB.
	maxEvidence = 512 << 10
	nonceSize   = 32
	// maxChains bounds the cache of certificate chains, about 10 KiB each.
	maxChains = 1024
)

// Media types of TPM evidence (schemas/tpm-evidence.cddl).
const (
	typeCBOR = "application/vnd.assize.tpm-evidence+cbor"
	typeJSON = "application/vnd.assize.tpm-evidence+json"
)

// Scheme describes the appraisal of TPM 2.0 quotes. The claim hardware is never
// asserted.
func Scheme() verifiers.Scheme {
	d := defaults()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassDevice,
		Version: version,
		Accepts: []evidence.MediaType{{Base: typeCBOR}, {Base: typeJSON}},
		Signed:  true, MaxEvidence: maxEvidence,
		NonceSize: nonceSize,
		Required:  []verdict.ClaimName{verdict.InstanceIdentity, verdict.Executables, verdict.Configuration},
		Policy:    &d,
		New:       func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// verifier is safe for concurrent use: everything but the cache is immutable.
type verifier struct {
	policy     *appraisal.Policy
	parameters parameters
	anchors    *anchors
	chains     *lru.Cache[*chain]
	// unsigned lets documents count that nobody has signed: where test roots are
	// trusted, which the results say and leads cap.
	unsigned bool
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	p, err := defaults().Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: %w", err)
	}
	v := &verifier{
		policy: p, parameters: appraisal.Parameters[parameters](p),
		chains: lru.New[*chain](maxChains), unsigned: len(d.ExtraRoots[Name]) > 0,
	}
	if v.anchors, err = newAnchors(v.parameters, d); err != nil {
		return nil, fmt.Errorf("tcgtpm: %w", err)
	}
	return v, nil
}

// Appraise judges one component. The error is the context's or nil: whatever is
// wrong with the evidence, a panic of a parser included, is in the appraisal.
func (v *verifier) Appraise(ctx context.Context, in verifiers.Input) (a verdict.Appraisal, err error) {
	if err := ctx.Err(); err != nil {
		return verdict.Appraisal{}, err
	}
	defer func() {
		if p := recover(); p != nil {
			a, err = v.rejected(failf(verdict.ReasonMalformed, "evidence made a parser panic: %v", p)), nil
		}
	}()
	l, f := open(in)
	if f != nil {
		return v.rejected(f), nil
	}
	s, f := verify(l)
	if f != nil {
		return v.rejected(f), nil
	}
	w, f := v.vouch(in, l, s)
	if f != nil {
		return v.rejected(f), nil
	}
	return v.judge(in, l, s, w), nil
}

// statement is a quote whose signature holds, with the key that made it.
type statement struct {
	*tpm.Quote
	public *tpm.Public
	// spki is the SubjectPublicKeyInfo of the key, id its SHA-256 in hexadecimal.
	spki []byte
	id   string
}

// verify checks everything that the leaf can prove by itself.
func verify(l *leaf) (*statement, *failure) {
	public, err := tpm.ParsePublic(l.public)
	if err != nil {
		return nil, refused(err)
	}
	sig, err := tpm.ParseSignature(l.signature)
	if err != nil {
		return nil, refused(err)
	}
	q, err := tpm.VerifyQuote(public.Key, l.quote, sig, tpm.Bank{Hash: l.bank.hash(), PCRs: l.pcrs})
	if err != nil {
		return nil, refused(err)
	}
	if err := public.Check(sig); err != nil {
		return nil, refused(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(public.Key)
	if err != nil {
		return nil, failf(verdict.ReasonUnsupported, "attestation key: %v", err)
	}
	id := sha256.Sum256(spki)
	return &statement{Quote: q, public: public, spki: spki, id: hex.EncodeToString(id[:])}, nil
}

func refused(err error) *failure {
	var e *tpm.Error
	if errors.As(err, &e) {
		return &failure{e.Code, e.Detail}
	}
	return failf(verdict.ReasonMalformed, "%v", err)
}

// rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99
// in all claims. Nothing of its contents is repeated.
func (v *verifier) rejected(f *failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector:    verdict.AllClaims(verdict.ClaimCryptoFailed),
		Freshness: verdict.FreshnessNotEstablished, PolicyID: v.policy.ID(),
	}
	a.Fail(f.code, f.detail)
	return a
}

// judge turns a verified quote into an appraisal.
func (v *verifier) judge(in verifiers.Input, l *leaf, s *statement, w *voucher) verdict.Appraisal {
	values := measuredboot.Boot{PCRs: l.pcrs}.Registers()
	a := verdict.Appraisal{
		NonceSeen: append([]byte(nil), s.ExtraData...),
		Claims:    claims(l, s, w, values),
		PolicyID:  v.policy.ID(),
		Facts: verdict.Facts{
			Device:     []string{"tpm-ak:" + s.id},
			SignerSPKI: s.id,
			ReportData: hex.EncodeToString(s.ExtraData),
			Registers:  values,
		},
	}
	freshness(&a, s, in.Nonce)
	for _, f := range w.findings {
		v.policy.Apply(&a, f.name, f.detail)
	}
	v.boot(&a, in, l, s, w)
	// An operator who relies on a CPU that commits to the key has said so: the lead sees
	// whether one does. A good word about any claim will do, or software that made the
	// key would have one left (decision D-124).
	for name := range nothing(verdict.ClaimUnsafe) {
		good := a.Vector[name].Tier() == verdict.TierAffirming
		a.Facts.KeyRequired = a.Facts.KeyRequired || good && !w.vouched()
	}
	return a
}

// freshness compares the whole of extraData with the nonce.
func freshness(a *verdict.Appraisal, s *statement, nonce []byte) {
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when the quote was made")
	case s.Answers(nonce):
		a.Freshness = verdict.FreshnessFresh
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("extraData has %d bytes that start with %x, expected %d bytes that start with %x",
			len(s.ExtraData), s.ExtraData[:min(8, len(s.ExtraData))], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(nonce, s.ExtraData))
	}
}
