// SPDX-License-Identifier: Apache-2.0

// Package cwt signs the tokens of simulated Arm devices: claims in deterministic
// CBOR, in COSE_Sign1 (RFC 9052, tag 18) by an ECDSA key. The same claims and key
// give the same bytes.
package cwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	_ "crypto/sha256" // for crypto.SHA256
	_ "crypto/sha512" // for crypto.SHA384 and crypto.SHA512
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/pki"
)

// Encode gives deterministic CBOR (RFC 8949, section 4.2.1).
func Encode(v any) ([]byte, error) {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		return nil, fmt.Errorf("cwt: %w", err)
	}
	raw, err := mode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cwt: %w", err)
	}
	return raw, nil
}

// Sign signs claims with a key on P-256, P-384 or P-521. The algorithm is the only
// header.
func Sign(key *ecdsa.PrivateKey, claims map[int64]any) ([]byte, error) {
	payload, err := Encode(claims)
	if err != nil {
		return nil, err
	}
	s := &signer{key: key}
	switch key.Curve {
	case elliptic.P256():
		s.alg, s.hash = cose.AlgorithmES256, crypto.SHA256
	case elliptic.P384():
		s.alg, s.hash = cose.AlgorithmES384, crypto.SHA384
	case elliptic.P521():
		s.alg, s.hash = cose.AlgorithmES512, crypto.SHA512
	default:
		return nil, fmt.Errorf("cwt: no COSE algorithm for curve %s", key.Curve.Params().Name)
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(s.alg)
	if err := m.Sign(nil, nil, s); err != nil {
		return nil, fmt.Errorf("cwt: %w", err)
	}
	out, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("cwt: %w", err)
	}
	return out, nil
}

// signer signs by RFC 6979; the library's own wants randomness.
type signer struct {
	key  *ecdsa.PrivateKey
	alg  cose.Algorithm
	hash crypto.Hash
}

// Algorithm implements cose.Signer.
func (s *signer) Algorithm() cose.Algorithm { return s.alg }

// Sign implements cose.Signer.
func (s *signer) Sign(_ io.Reader, content []byte) ([]byte, error) {
	h := s.hash.New()
	h.Write(content)
	return pki.SignFixed(s.key, s.hash, h.Sum(nil))
}

// Component is a software component of a token (RFC 9783, section 4.4.1).
type Component struct {
	Type    string `cbor:"1,keyasint,omitempty"`
	Value   []byte `cbor:"2,keyasint"`
	Version string `cbor:"4,keyasint,omitempty"`
	Signer  []byte `cbor:"5,keyasint"`
	Desc    string `cbor:"6,keyasint,omitempty"`
}
