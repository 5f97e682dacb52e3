// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"math/big"
	"slices"
	"time"

	"github.com/assize/assize/verdict"
)

// signedBy verifies the signature of a report: R and S, little-endian, each in 72
// bytes, over everything before them. Digits beyond the 48 bytes of a P-384
// number must be zero: otherwise two reports that differ would have one meaning.
func (r *report) signedBy(key *ecdsa.PublicKey) error {
	number := func(at int) (*big.Int, error) {
		b := r.raw[at : at+halfSize]
		if !allZero(b[scalarSize:]) {
			return nil, fmt.Errorf("a number of the signature has more than %d bytes", scalarSize)
		}
		be := slices.Clone(b[:scalarSize])
		slices.Reverse(be)
		return new(big.Int).SetBytes(be), nil
	}
	R, err := number(signedSize)
	if err != nil {
		return err
	}
	S, err := number(signedSize + halfSize)
	if err != nil {
		return err
	}
	if R.Sign() == 0 && S.Sign() == 0 {
		return fmt.Errorf("there is no signature (MASK_CHIP_KEY is %t)", r.chipKeyMasked())
	}
	digest := sha512.Sum384(r.raw[:signedSize])
	if !ecdsa.Verify(key, digest[:], R, S) {
		return fmt.Errorf("the ECDSA P-384 signature does not verify")
	}
	return nil
}

// noKey is that there is no certificate of the endorsement key anywhere.
var noKey = &failure{code: verdict.ReasonNoCollateral}

// endorse finds the endorsement key that has signed a report, verifies its chain
// and the signature. Certificates in evidence come first; the collateral counts
// where evidence has none. The failure noKey means that there is nothing to
// verify with.
func (v *verifier) endorse(r *report, c *certificates, now time.Time) (*vek, *failure) {
	kind := r.signer()
	if kind != kindVCEK && kind != kindVLEK {
		return nil, failf(verdict.ReasonSignatureInvalid, "the report is signed by %s: MASK_CHIP_KEY is %t, and a VCEK or VLEK has to sign", kind, r.chipKeyMasked())
	}
	issuers, f := v.issuers(c)
	if f != nil {
		return nil, f
	}
	other := kindVLEK
	if kind == kindVLEK {
		other = kindVCEK
	}
	candidates := [][]byte{c.vek(kind)}
	if candidates[0] == nil {
		if c.vek(other) != nil {
			return nil, failf(verdict.ReasonWrongSigner, "the report says that a %s signs it, and evidence has the certificate of a %s", kind, other)
		}
		if candidates = v.store.candidates(r); len(candidates) == 0 {
			return nil, noKey
		}
	}
	var last *failure
	for _, der := range candidates {
		k, f := v.endorsedBy(r, der, kind, issuers, now)
		if f == nil {
			return k, nil
		}
		if last == nil || f.code == verdict.ReasonExpired {
			last = f
		}
	}
	// Where nothing names the chip, a certificate of the collateral was a guess; that
	// it is another's says nothing against the report.
	guess := c.vek(kind) == nil && (kind == kindVLEK || r.chipMasked())
	if guess && (last.code == verdict.ReasonSignatureInvalid || last.code == verdict.ReasonIdentityMismatch) {
		return nil, noKey
	}
	return nil, last
}

// endorsedBy checks one candidate. Keys are kept only after they bore a report
// out, so nobody can fill the cache with certificates alone.
func (v *verifier) endorsedBy(r *report, der []byte, kind keyKind, issuers []*authority, now time.Time) (*vek, *failure) {
	digest := sha256.Sum256(der)
	k, cached := v.keys.Get(digest)
	if !cached {
		var f *failure
		if k, f = verifyVEK(der, kind, issuers); f != nil {
			return nil, f
		}
	}
	if k.kind != kind {
		return nil, failf(verdict.ReasonWrongSigner, "the report says that a %s signs it, and the certificate is of a %s", kind, k.kind)
	}
	if why := k.mismatch(r); why != "" {
		return nil, failf(verdict.ReasonIdentityMismatch, "%s", why)
	}
	if why := k.outside(now); why != "" {
		f := failf(verdict.ReasonExpired, "%s", why)
		f.compared = k.expired(now)
		return nil, f
	}
	if err := r.signedBy(k.key); err != nil {
		return nil, failf(verdict.ReasonSignatureInvalid, "report: %v", err)
	}
	if !cached {
		v.keys.Put(digest, k)
	}
	return k, nil
}

// issuers are the intermediates for one component: those of the collateral, and
// the one in evidence if a trusted root has issued it. A root in evidence has to
// be a trusted one, byte for byte, and is used for nothing.
func (v *verifier) issuers(c *certificates) ([]*authority, *failure) {
	if c.ark != nil && v.roots.find(sha256.Sum256(c.ark)) == nil {
		return nil, failf(verdict.ReasonUnknownRoot, "the root key (ARK) in evidence is none of the trusted ones")
	}
	if c.ask == nil {
		return v.store.issuers, nil
	}
	digest := sha256.Sum256(c.ask)
	for _, a := range v.store.issuers {
		if a.digest == digest {
			return v.store.issuers, nil
		}
	}
	a, ok := v.intermediates.Get(digest)
	if !ok {
		cert, err := x509.ParseCertificate(c.ask)
		if err != nil {
			return nil, failf(verdict.ReasonChainInvalid, "signing key (ASK) in evidence: %v", err)
		}
		if a, err = v.roots.authorityOf(cert); err != nil {
			return nil, failf(verdict.ReasonUnknownRoot, "signing key (ASK) in evidence: %v", err)
		}
		v.intermediates.Put(digest, a)
	}
	return append([]*authority{a}, v.store.issuers...), nil
}
