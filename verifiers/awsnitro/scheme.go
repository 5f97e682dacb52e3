// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"context"
	"crypto/subtle"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
)

// Name is the slug of this scheme, also the key of its extra roots in
// verifiers.Deps.
const Name = "aws-nitro"

const (
	version   = "0.1.0"
	nonceSize = 64
	// maxLinks bounds the cache of certificates, about 4 KiB each.
	maxLinks = 2048

	typeDocument = "application/vnd.assize.nitro-document"
)

// Scheme describes the appraisal of AWS Nitro attestation documents.
func Scheme() verifiers.Scheme {
	defaults := Defaults()
	return verifiers.Scheme{
		Name:    Name,
		Class:   verifiers.ClassCPU,
		Version: version,
		Accepts: []evidence.MediaType{{Base: typeDocument}},
		Signed:  true, MaxEvidence: maxEvidence,
		NonceSize: nonceSize,
		Required: []verdict.ClaimName{
			verdict.InstanceIdentity, verdict.Hardware, verdict.Executables, verdict.Configuration, verdict.RuntimeOpaque,
		},
		Policy: &defaults,
		New:    func(d verifiers.Deps) (verifiers.Verifier, error) { return newVerifier(d) },
	}
}

// verifier is safe for concurrent use: everything but the cache is immutable.
type verifier struct {
	roots  []*link
	lists  []*revocationList
	links  *lru.Cache[*link]
	policy *appraisal.Policy
	// unsigned lets reference values count that nobody has signed: where test
	// roots are trusted, which the results say and leads cap.
	unsigned bool
}

func newVerifier(d verifiers.Deps) (*verifier, error) {
	policy, err := Defaults().Or(d.Policies[Name])
	if err != nil {
		return nil, fmt.Errorf("awsnitro: %w", err)
	}
	block, _ := pem.Decode([]byte(awsRootPEM))
	if block == nil {
		return nil, errors.New("awsnitro: pinned root is not PEM")
	}
	pinned, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("awsnitro: pinned root: %w", err)
	}
	extra := d.ExtraRoots[Name]
	v := &verifier{lists: newLists(d.Endorsements), links: lru.New[*link](maxLinks), policy: policy, unsigned: len(extra) > 0}
	for _, c := range append([]*x509.Certificate{pinned}, extra...) {
		if c == nil {
			return nil, errors.New("awsnitro: extra root is nil")
		}
		if f := p384(c); f != nil {
			return nil, fmt.Errorf("awsnitro: root: %w", f)
		}
		v.roots = append(v.roots, &link{key: below(lru.Key{}, c.Raw), cert: c, lists: v.listsOf(c), verified: true})
	}
	return v, nil
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
	if in.MediaType.Base != typeDocument {
		return v.rejected(failf(verdict.ReasonUnsupported, "media type %s", in.MediaType)), nil
	}
	m, d, perr := parse(in.Evidence)
	if perr != nil {
		return v.rejected(failf(verdict.ReasonMalformed, "Nitro document: %v", perr)), nil
	}
	c, f := v.authenticate(m, d)
	if f == nil {
		v.remember(c)
		f = appraisal.Parameters[Parameters](v.policy).inTime(c, d, in.Time)
	}
	if f != nil {
		return v.rejected(f), nil
	}
	return v.appraise(in, d, c), nil
}

// rejected is the appraisal of evidence that proves nothing: AR4SI asks for 99
// in all claims. Nothing of its contents is repeated.
func (v *verifier) rejected(f *failure) verdict.Appraisal {
	a := verdict.Appraisal{
		Vector:    verdict.AllClaims(verdict.ClaimCryptoFailed),
		Freshness: verdict.FreshnessNotEstablished,
		PolicyID:  v.policy.ID(),
	}
	a.FailComparing(f.code, f.detail, f.compared)
	return a
}

// appraise judges a document that is authentic and in time.
func (v *verifier) appraise(in verifiers.Input, d *document, c chain) verdict.Appraisal {
	spki := c.leaf().RawSubjectPublicKeyInfo
	a := verdict.Appraisal{NonceSeen: d.nonce, Claims: claims(d, c), Facts: d.facts(spki), PolicyID: v.policy.ID()}
	freshness(&a, in.Nonce)
	validate(&a, v.policy, d, c)
	revocations(&a, v.policy, c, in.Time)
	v.references(&a, in, d, c, spki)
	return a
}

// freshness compares the whole nonce in constant time.
func freshness(a *verdict.Appraisal, nonce []byte) {
	switch {
	case len(nonce) == 0:
		a.Freshness = verdict.FreshnessNotEstablished
		a.Fail(verdict.ReasonNonceNotEstablished, "no nonce was given, so nothing but its own time says when the document was made")
	case subtle.ConstantTimeCompare(nonce, a.NonceSeen) == 1:
		a.Freshness = verdict.FreshnessFresh
	default:
		a.Freshness = verdict.FreshnessMismatch
		a.FailComparing(verdict.ReasonNonceMismatch, fmt.Sprintf("the document has a nonce of %d bytes that starts with %x, expected %d bytes that start with %x",
			len(a.NonceSeen), a.NonceSeen[:min(8, len(a.NonceSeen))], len(nonce), nonce[:min(8, len(nonce))]), verdict.Challenged(nonce, a.NonceSeen))
	}
}
