// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"math/big"
)

// Purpose is the context string of a signature (DSP0274 1.2, signing contexts).
type Purpose string

// The purposes of responder signatures that evidence can carry.
const (
	PurposeMeasurements Purpose = "responder-measurements signing"
	PurposeChallenge    Purpose = "responder-challenge_auth signing"
)

// PrefixSize is the length of the combined signing prefix in bytes.
const PrefixSize = 100

// Prefix returns the combined signing prefix of 1.2 and later: four times
// "dmtf-spdm-v1.2.*" with the version of the connection, zeros, and the purpose,
// 100 bytes together. It returns nil before 1.2. It is always built from the
// negotiated version and never read from evidence.
func Prefix(v Version, p Purpose) []byte {
	if v < Version12 {
		return nil
	}
	out := make([]byte, 0, PrefixSize)
	for range 4 {
		out = append(out, "dmtf-spdm-v"...)
		out = append(out, '0'+byte(v>>4), '.', '0'+byte(v&0x0F), '.', '*')
	}
	out = out[:PrefixSize-len(p)] // the array is zero
	return append(out, p...)
}

// CheckSignature verifies a responder signature over the concatenation of parts.
// The key must fit the negotiated algorithm (KindCertificate), and the signature
// must have exactly its length. ECDSA signatures are r and s, big-endian, of
// fixed width. For ECDSA and RSA the signed octets are prefix and transcript
// hash, hashed again from 1.2; Ed25519 signs prefix and transcript hash.
func CheckSignature(v *VCA, key crypto.PublicKey, p Purpose, sig []byte, parts ...[]byte) error {
	stage := StageMeasurements
	if p == PurposeChallenge {
		stage = StageChallenge
	}
	if err := checkKey(v.BaseAsym, key); err != nil {
		return err
	}
	a, _ := v.BaseAsym.info()
	if len(sig) != a.size {
		return differ(stage, KindSignature, "signature", "length of the signature", a.size, len(sig))
	}
	hash, ok := v.BaseHash.Hash()
	if !ok {
		return refuse(stage, KindUnsupported, "signature", "base hash %s cannot be computed", v.BaseHash)
	}
	transcript := v.BaseHash.sum(parts...)
	digest := transcript
	if v.Version >= Version12 {
		digest = v.BaseHash.sum(Prefix(v.Version, p), transcript)
	}
	valid := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		half := len(sig) / 2
		r, s := new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])
		valid = ecdsa.Verify(k, digest, r, s)
	case *rsa.PublicKey:
		if a.pss {
			valid = rsa.VerifyPSS(k, hash, digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		} else {
			valid = rsa.VerifyPKCS1v15(k, hash, digest, sig) == nil
		}
	case ed25519.PublicKey:
		valid = ed25519.Verify(k, append(Prefix(v.Version, p), transcript...), sig)
	}
	if !valid {
		return refuse(stage, KindSignature, "signature", "%s signature by the leaf key does not cover this transcript (%s %x)", v.BaseAsym, v.BaseHash, transcript)
	}
	return nil
}

// checkKey requires a key of exactly the negotiated kind and size.
func checkKey(asym BaseAsym, key crypto.PublicKey) error {
	a, _ := asym.info()
	if !a.ok {
		return refuse(StageLeaf, KindUnsupported, "leaf", "signature algorithm %s cannot be verified", asym)
	}
	fits := false
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch asym {
		case ECDSAP256:
			fits = k.Curve == elliptic.P256()
		case ECDSAP384:
			fits = k.Curve == elliptic.P384()
		case ECDSAP521:
			fits = k.Curve == elliptic.P521()
		}
	case *rsa.PublicKey:
		fits = a.rsa && k.N.BitLen() == a.bits
	case ed25519.PublicKey:
		fits = asym == Ed25519 && len(k) == ed25519.PublicKeySize
	}
	if !fits {
		return differ(StageLeaf, KindCertificate, "leaf", "key of the leaf certificate", asym, keyName(key))
	}
	return nil
}

func keyName(key crypto.PublicKey) string {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return "RSA of " + big.NewInt(int64(k.N.BitLen())).String() + " bits"
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return "a key of unknown kind"
}
