// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/assize/assize/attester/pki"
)

// KeyType is the algorithm of the attestation key.
type KeyType uint8

// The algorithms, both with SHA-256. The zero value is P256.
const (
	// P256 is ECDSA over NIST P-256.
	P256 KeyType = iota
	// RSA2048 is RSASSA-PKCS1-v1_5; deriving the key takes part of a second.
	RSA2048
	keyTypes
)

// Constants of the TPM 2.0 library, part 2.
const (
	algRSA    = 0x0001
	algNull   = 0x0010
	algRSASSA = 0x0014
	algECDSA  = 0x0018
	algECC    = 0x0023
	curveP256 = 0x0003
	// attributes of an AK: fixedTPM, fixedParent, sensitiveDataOrigin,
	// userWithAuth, restricted, sign.
	attributes = 1<<1 | 1<<4 | 1<<5 | 1<<6 | 1<<16 | 1<<18
	// endorsement is TPM_RH_ENDORSEMENT, the hierarchy of the AK.
	endorsement = 0x4000000b
	p256Size    = 32
)

// derive makes the key of a seed.
func derive(seed pki.Seed, kind KeyType) (crypto.Signer, error) {
	if kind == RSA2048 {
		key, err := seed.RSA(2048)
		if err != nil {
			return nil, fmt.Errorf("tcgtpm: %w", err)
		}
		return key, nil
	}
	key, err := seed.ECDSA(elliptic.P256())
	if err != nil {
		return nil, fmt.Errorf("tcgtpm: %w", err)
	}
	return key, nil
}

// point is the public key as two coordinates of 32 bytes.
func point(key *ecdsa.PublicKey) (x, y []byte, err error) {
	raw, err := key.Bytes()
	if err != nil || len(raw) != 1+2*p256Size {
		return nil, nil, fmt.Errorf("tcgtpm: public key of %d bytes: %w", len(raw), err)
	}
	return raw[1 : 1+p256Size], raw[1+p256Size:], nil
}

// publicArea is TPMT_PUBLIC of a restricted signing key.
func publicArea(pub crypto.PublicKey) ([]byte, error) {
	be := binary.BigEndian
	var kind, scheme uint16 = algECC, algECDSA
	if _, ok := pub.(*rsa.PublicKey); ok {
		kind, scheme = algRSA, algRSASSA
	}
	out := be.AppendUint16(be.AppendUint16(nil, kind), algSHA256)
	out = be.AppendUint32(out, attributes)
	for _, v := range []uint16{0, algNull, scheme, algSHA256} { // no policy, no symmetric cipher
		out = be.AppendUint16(out, v)
	}
	switch key := pub.(type) {
	case *rsa.PublicKey:
		out = be.AppendUint16(out, uint16(key.N.BitLen()))
		out = be.AppendUint32(out, 0) // the default exponent, 65537
		return sized(out, key.N.Bytes()), nil
	case *ecdsa.PublicKey:
		x, y, err := point(key)
		if err != nil {
			return nil, err
		}
		out = be.AppendUint16(be.AppendUint16(out, curveP256), algNull)
		return sized(sized(out, x), y), nil
	}
	return nil, fmt.Errorf("tcgtpm: no public area for a %T", pub)
}

// sized appends a TPM2B: two bytes of length, then b.
func sized(out, b []byte) []byte {
	return append(binary.BigEndian.AppendUint16(out, uint16(len(b))), b...)
}

// nameOf is the Name of an object: hash algorithm and digest of its public area.
func nameOf(public []byte) []byte {
	d := sha256.Sum256(public)
	return append(binary.BigEndian.AppendUint16(nil, algSHA256), d[:]...)
}

// qualifiedName is that of a primary object of the endorsement hierarchy.
func qualifiedName(public []byte) []byte {
	return nameOf(append(binary.BigEndian.AppendUint32(nil, endorsement), nameOf(public)...))
}

// sign makes TPMT_SIGNATURE over message.
func sign(key crypto.Signer, message []byte) ([]byte, error) {
	be := binary.BigEndian
	digest := sha256.Sum256(message)
	switch k := key.(type) {
	case *rsa.PrivateKey:
		sig, err := rsa.SignPKCS1v15(nil, k, crypto.SHA256, digest[:])
		if err != nil {
			return nil, fmt.Errorf("tcgtpm: sign quote: %w", err)
		}
		return sized(be.AppendUint16(be.AppendUint16(nil, algRSASSA), algSHA256), sig), nil
	case *ecdsa.PrivateKey:
		sig, err := pki.SignFixed(k, crypto.SHA256, digest[:])
		if err != nil {
			return nil, fmt.Errorf("tcgtpm: sign quote: %w", err)
		}
		out := be.AppendUint16(be.AppendUint16(nil, algECDSA), algSHA256)
		return sized(sized(out, sig[:p256Size]), sig[p256Size:]), nil
	}
	return nil, fmt.Errorf("tcgtpm: no signature by a %T", key)
}
