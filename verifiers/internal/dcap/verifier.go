// SPDX-License-Identifier: Apache-2.0

package dcap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verdict"
)

// maxChains bounds the cache of PCK chains, about 10 KiB each.
const maxChains = 1024

// Verifier checks quotes of one TEE and judges their platforms. It is safe for
// concurrent use: everything but the cache of chains is immutable.
type Verifier struct {
	tee    TEE
	roots  roots
	store  *store
	chains *lru.Cache[*PCK]
}

// NewVerifier makes a verifier that trusts Intel's root and the extra ones, and
// verifies all collateral of the bundle for the TEE. Collateral that does not
// verify is no error: it is not used, and Judge says so where it is missed. A nil
// root is an error.
func NewVerifier(extra []*x509.Certificate, b *endorsements.Bundle, tee TEE) (*Verifier, error) {
	rs, err := newRoots(extra)
	if err != nil {
		return nil, err
	}
	return &Verifier{tee: tee, roots: rs, store: newStore(rs, b, tee, nil), chains: lru.New[*PCK](maxChains)}, nil
}

// Renew returns a verifier for another bundle. PCK chains that were verified, and
// statements that were in the last bundle too, byte for byte, are not verified
// again. The receiver stays as it was.
func (v *Verifier) Renew(b *endorsements.Bundle) *Verifier {
	return &Verifier{tee: v.tee, roots: v.roots, store: newStore(v.roots, b, v.tee, v.store.memo), chains: v.chains}
}

// VerifyQuote checks everything that a quote proves by itself: PCK chain, QE
// report, attestation key and quote signature, and returns the platform and the
// attestation key. Time is not looked at: see PCK.Outside. A chain is remembered
// by its DER certificates, and only once it has borne out a quote: nobody fills
// the cache with what he can copy or re-wrap. A quote for another TEE is
// malformed.
func (v *Verifier) VerifyQuote(q *Quote) (*PCK, *ecdsa.PublicKey, *Failure) {
	if q.TEE != v.tee {
		return nil, nil, Failf(verdict.ReasonMalformed, "this is a quote of %s, expected %s", q.TEE, v.tee)
	}
	ders, err := splitPEM(q.Chain)
	if err != nil {
		return nil, nil, Failf(verdict.ReasonMalformed, "PCK certificate chain: %v", err)
	}
	id := digestOf(ders...)
	p, known := v.chains.Get(id)
	if !known {
		var f *Failure
		if p, f = v.roots.pck(ders); f != nil {
			return nil, nil, f
		}
	}
	key, f := q.verify(p)
	if f != nil {
		return nil, nil, f
	}
	if !known {
		v.chains.Put(id, p)
	}
	return p, key, nil
}

// verify checks the three links from the PCK key to the quote.
func (q *Quote) verify(p *PCK) (*ecdsa.PublicKey, *Failure) {
	if !verifyP256(p.Key, q.QEReport, q.QESignature) {
		return nil, Failf(verdict.ReasonSignatureInvalid, "QE report is not signed by the PCK key")
	}
	h := sha256.New()
	h.Write(q.AttestationKey)
	h.Write(q.QEAuth)
	var want [64]byte
	h.Sum(want[:0])
	if subtle.ConstantTimeCompare(want[:], q.QEReport.ReportData()) != 1 {
		return nil, Failf(verdict.ReasonSignatureInvalid,
			"attestation key is not the one that the QE certified: expected SHA-256 %s, QE report data %s",
			hex.EncodeToString(want[:8]), hex.EncodeToString(q.QEReport.ReportData()[:8]))
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, q.AttestationKey...))
	if err != nil {
		return nil, Failf(verdict.ReasonSignatureInvalid, "attestation key is no point of P-256")
	}
	if !verifyP256(key, q.Signed, q.Signature) {
		return nil, Failf(verdict.ReasonSignatureInvalid, "quote is not signed by the attestation key")
	}
	return key, nil
}
