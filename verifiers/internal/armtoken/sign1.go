// SPDX-License-Identifier: Apache-2.0

package armtoken

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

const (
	tagSign1 = 18

	headerAlg         = 1
	headerContentType = 3
	headerKeyID       = 4
	maxKeyID          = 64
)

// Sign1 is one COSE_Sign1 message (RFC 9052, tag 18), whose signature nobody has
// verified yet.
type Sign1 struct {
	// Raw is the message, Payload the claims in it.
	Raw, Payload []byte
	// KeyID is the unprotected header kid, which proves nothing; nil if absent.
	KeyID []byte

	alg     cose.Algorithm
	message *cose.Sign1Message
}

// Sign1 reads a message. Protected are the algorithm, and optionally content type
// and kid; unprotected nothing but kid.
func (d *Decoder) Sign1(raw []byte) (*Sign1, error) {
	content, err := d.Tagged(raw, tagSign1)
	if err != nil {
		return nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	var parts []cbor.RawMessage
	if err := d.mode.Unmarshal(content, &parts); err != nil || len(parts) != 4 {
		return nil, fmt.Errorf("COSE_Sign1 is no array of 4 (%d elements, %v)", len(parts), err)
	}
	out := &Sign1{Raw: raw, message: cose.NewSign1Message()}
	if err := d.headers(out, parts[0], parts[1]); err != nil {
		return nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	var signature []byte
	for i, to := range []*[]byte{&out.Payload, &signature} {
		if parts[2+i][0]>>5 != 2 {
			return nil, fmt.Errorf("COSE_Sign1: element %d is not a byte string", 2+i)
		}
		if err := d.mode.Unmarshal(parts[2+i], to); err != nil {
			return nil, fmt.Errorf("COSE_Sign1: %w", err)
		}
	}
	if curve := out.curve(); curve == nil {
		return nil, fmt.Errorf("COSE_Sign1: algorithm %d is not ES256, ES384 or ES512: %w", out.alg, ErrAlgorithm)
	} else if want := 2 * ((curve.Params().BitSize + 7) / 8); len(signature) != want {
		return nil, fmt.Errorf("COSE_Sign1: signature has %d bytes, expected %d", len(signature), want)
	}
	if err := out.message.UnmarshalCBOR(raw); err != nil {
		return nil, fmt.Errorf("COSE_Sign1: %w", err)
	}
	return out, nil
}

// ErrAlgorithm is for a signature or hash algorithm that is not accepted.
var ErrAlgorithm = errors.New("unsupported algorithm")

func (d *Decoder) headers(out *Sign1, protected, unprotected cbor.RawMessage) error {
	var inner []byte
	if protected[0]>>5 != 2 {
		return errors.New("protected headers are not a byte string")
	}
	if err := d.mode.Unmarshal(protected, &inner); err != nil {
		return err
	}
	m, err := d.Map(inner)
	if err != nil {
		return fmt.Errorf("protected headers: %w", err)
	}
	for k := range m {
		if k != headerAlg && k != headerContentType && k != headerKeyID {
			return fmt.Errorf("protected header %d is not known", k)
		}
	}
	var alg int64
	if raw := m[headerAlg]; raw == nil || d.mode.Unmarshal(raw, &alg) != nil {
		return errors.New("no algorithm as a number in the protected headers")
	}
	out.alg = cose.Algorithm(alg)
	if m, err = d.Map(unprotected); err != nil {
		return fmt.Errorf("unprotected headers: %w", err)
	}
	for k, raw := range m {
		if k != headerKeyID || raw[0]>>5 != 2 || d.mode.Unmarshal(raw, &out.KeyID) != nil || len(out.KeyID) > maxKeyID {
			return fmt.Errorf("unprotected header %d is not a kid of at most %d bytes", k, maxKeyID)
		}
	}
	return nil
}

// curve is the curve of the algorithm, nil for any other algorithm: RFC 9053 lets
// any curve go with any hash, these tokens do not.
func (s *Sign1) curve() elliptic.Curve {
	switch s.alg {
	case cose.AlgorithmES256:
		return elliptic.P256()
	case cose.AlgorithmES384:
		return elliptic.P384()
	case cose.AlgorithmES512:
		return elliptic.P521()
	}
	return nil
}

// Algorithm names the signature algorithm.
func (s *Sign1) Algorithm() string { return s.alg.String() }

// Fits tells whether a key is one for the algorithm.
func (s *Sign1) Fits(key *ecdsa.PublicKey) bool { return key.Curve == s.curve() }

// Verify checks the signature.
func (s *Sign1) Verify(key *ecdsa.PublicKey) error {
	if !s.Fits(key) {
		return fmt.Errorf("%s with a key on %s: %w", s.alg, key.Curve.Params().Name, ErrAlgorithm)
	}
	v, err := cose.NewVerifier(s.alg, key)
	if err != nil {
		return err
	}
	return s.message.Verify(nil, v)
}
