// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"

	"github.com/assize/assize/verdict"
)

// Bounds of keys.
const (
	minModulus = 2048 // bits
	maxModulus = 4096
	maxCoord   = 48 // bytes of P-384
)

// Signature is TPMT_SIGNATURE of one of the accepted algorithms: RSASSA-PKCS1-v1_5
// and RSASSA-PSS, ECDSA over P-256 and P-384, each with SHA-256 or SHA-384.
type Signature struct {
	// Hash is that of the message, and of the digest over the registers.
	Hash crypto.Hash

	scheme uint16
	rsa    []byte
	r, s   []byte
}

// RSASSA is a bare RSASSA-PKCS1-v1_5 signature with SHA-256, without the head of
// TPMT_SIGNATURE, as some attesters hand it on.
func RSASSA(raw []byte) Signature {
	return Signature{Hash: crypto.SHA256, scheme: algRSASSA, rsa: raw}
}

// ParseSignature reads TPMT_SIGNATURE. The error is an *Error.
func ParseSignature(raw []byte) (Signature, error) {
	if len(raw) > MaxSignature {
		return Signature{}, errorf(verdict.ReasonTooLarge, "TPMT_SIGNATURE has %d bytes, at most %d", len(raw), MaxSignature)
	}
	r := &reader{what: "TPMT_SIGNATURE", raw: raw}
	s := Signature{scheme: r.u16("sigAlg")}
	if r.err == nil && s.scheme != algRSASSA && s.scheme != algRSAPSS && s.scheme != algECDSA {
		r.fail(verdict.ReasonUnsupported, "algorithm %04x is none of RSASSA, RSAPSS and ECDSA", s.scheme)
	}
	alg := r.u16("hash")
	s.Hash = hashOf(alg)
	if r.err == nil && !signingHash(s.Hash) {
		r.fail(verdict.ReasonUnsupported, "hash %04x is neither SHA-256 nor SHA-384", alg)
	}
	if s.scheme == algECDSA {
		s.r, s.s = r.sized(maxCoord, "signatureR"), r.sized(maxCoord, "signatureS")
	} else {
		s.rsa = r.sized(maxModulus/8, "sig")
	}
	return s, r.end()
}

func signingHash(h crypto.Hash) bool { return h == crypto.SHA256 || h == crypto.SHA384 }

// verify checks the signature over message.
func (s Signature) verify(ak crypto.PublicKey, message []byte) error {
	if err := checkKey(ak); err != nil {
		return err
	}
	h := s.Hash.New()
	h.Write(message)
	digest := h.Sum(nil)
	good := false
	switch key := ak.(type) {
	case *rsa.PublicKey:
		switch s.scheme {
		case algRSASSA:
			good = rsa.VerifyPKCS1v15(key, s.Hash, digest, s.rsa) == nil
		case algRSAPSS:
			good = rsa.VerifyPSS(key, s.Hash, digest, s.rsa, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
		}
	case *ecdsa.PublicKey:
		if s.scheme == algECDSA {
			good = ecdsa.Verify(key, digest, new(big.Int).SetBytes(s.r), new(big.Int).SetBytes(s.s))
		}
	}
	if !good {
		return errorf(verdict.ReasonSignatureInvalid, "the signature over the quote does not verify under the attestation key")
	}
	return nil
}

// checkKey wants a key of an accepted kind and size.
func checkKey(ak crypto.PublicKey) error {
	switch key := ak.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minModulus || n > maxModulus {
			return errorf(verdict.ReasonUnsupported, "RSA key of %d bits, %d to %d are accepted", n, minModulus, maxModulus)
		}
		return nil
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return errorf(verdict.ReasonUnsupported, "the curve of the key is neither P-256 nor P-384")
		}
		return nil
	}
	return errorf(verdict.ReasonUnsupported, "a key of type %T signs no quotes", ak)
}
