// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Name is the slug of this scheme, also the key of its extra roots in
// verifiers.Deps.
const Name = "intel-tdx"

const (
	version = "0.1.0"
	// maxEvidence leaves room for an event log beside a quote of 16 KiB.
	maxEvidence = 512 << 10
	nonceSize   = 64
	// maxChains bounds the cache of PCK chains, about 10 KiB each.
	maxChains = 1024
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
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassCPU,
		Version: version,
		Accepts: []evidence.MediaType{
			{Base: typeQuote},
			{Base: typeJSON},
			{Base: typeTSMJSON, Params: tsm},
			{Base: typeTSMCBOR, Params: map[string]string{"provider": tsmProvider}},
		},
		Signed: true, MaxEvidence: maxEvidence,
		NonceSize: nonceSize,
		Required: []verdict.ClaimName{
			verdict.Hardware, verdict.Executables, verdict.Configuration, verdict.RuntimeOpaque,
		},
		New: func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// verifier is safe for concurrent use: everything but the cache is immutable.
type verifier struct {
	roots  roots
	store  *store
	chains *lru.Cache[*pckChain]
	// unsigned lets reference values count that nobody has signed: where test
	// roots are trusted, which the results say and leads cap.
	unsigned bool
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	for _, r := range d.ExtraRoots[Name] {
		if r == nil {
			return nil, errors.New("inteltdx: extra root is nil")
		}
	}
	rs, err := newRoots(d.ExtraRoots[Name])
	if err != nil {
		return nil, err
	}
	return &verifier{
		roots: rs, store: newStore(rs, d.Endorsements),
		chains: lru.New[*pckChain](maxChains), unsigned: len(d.ExtraRoots[Name]) > 0,
	}, nil
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
			a, err = rejected(failf(verdict.ReasonMalformed, "evidence made a parser panic: %v", p)), nil
		}
	}()
	c, f := open(in)
	if f != nil {
		return rejected(f), nil
	}
	q, perr := parseQuote(c.quote)
	if perr != nil {
		return rejected(failf(verdict.ReasonMalformed, "TDX quote: %v", perr)), nil
	}
	p, key, f := v.verifyQuote(q)
	if f != nil {
		return rejected(f), nil
	}
	if s := firstOutside(p.windows, in.Time); s != "" {
		return rejected(failf(verdict.ReasonExpired, "PCK chain: %s", s)), nil
	}
	return v.appraise(in, c, q, p, key)
}

// rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99
// in all claims. Nothing of its contents is repeated.
func rejected(f *failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector:    verdict.AllClaims(verdict.ClaimCryptoFailed),
		Freshness: verdict.FreshnessNotEstablished,
	}
	a.Fail(f.code, f.detail)
	return a
}

// appraise judges a quote whose signatures hold.
func (v *verifier) appraise(in verifiers.Input, c container, q *quote, p *pckChain, key *ecdsa.PublicKey) (verdict.Appraisal, error) {
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return verdict.Appraisal{}, fmt.Errorf("inteltdx: %w: %v", verifiers.ErrMalfunction, err)
	}
	signer := sha256.Sum256(spki)
	a := verdict.Appraisal{
		NonceSeen: append([]byte(nil), q.reportData()...),
		Claims:    claims(c, q, p),
		Facts: verdict.Facts{
			Device:     p.device(),
			SignerSPKI: hex.EncodeToString(signer[:]),
			ReportData: hex.EncodeToString(q.reportData()),
			Registers:  q.registers(),
		},
	}
	freshness(&a, in.Nonce)
	v.hardware(&a, q, p, in.Time)
	attributes(&a, q)
	v.references(&a, in, q, p, spki)
	return a, nil
}

// freshness compares all 64 bytes of REPORTDATA with the nonce in constant
// time. A shorter nonce never matches: padding it would be a guess about what
// the attester did.
func freshness(a *verdict.Appraisal, nonce []byte) {
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing says when REPORTDATA was made")
	case subtle.ConstantTimeCompare(nonce, a.NonceSeen) == 1:
		a.Freshness = verdict.FreshnessFresh
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.Fail(verdict.ReasonNonceMismatch, fmt.Sprintf("REPORTDATA starts with %x, expected %d bytes that start with %x",
			a.NonceSeen[:8], len(nonce), nonce[:min(8, len(nonce))]))
	}
}
