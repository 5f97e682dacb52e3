// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// minRSA is the shortest RSA key that signs (RFC 8230, section 6.1), in bits.
const minRSA = 2048

// Signer is who signs a document.
type Signer struct {
	// Key is ECDSA on P-256 (ES256), P-384 (ES384) or P-521 (ES512), Ed25519
	// (EdDSA), or RSA of at least 2048 bits (PS384).
	Key crypto.Signer
	// KeyID becomes kid, for an Authority with Keys. Chain certifies Key, leaf
	// first and without the root, and becomes x5chain (RFC 9360), for one with
	// Roots. At least one of both.
	KeyID []byte
	Chain []*x509.Certificate
	// Name is the mandatory name of the signer, URI its optional address.
	Name, URI string
	// Validity is that of the signature; an open end is no limit, but an end is
	// needed for a beginning.
	Validity Period
}

// Sign signs an unsigned document (tag 501) as COSE_Sign1 (tag 18, media type
// MediaTypeSigned). All headers are protected: algorithm, content type,
// corim-meta, kid, x5chain. random is for ECDSA and RSA. The result was read
// again, and its signature checked under the key that Chain or KeyID stands for.
//
// It is an error if document is not one that Parse reads, is signed already, or
// if the signer is incomplete or its certificate is not for its key.
func Sign(random io.Reader, document []byte, s Signer) ([]byte, error) {
	d, err := Parse(document)
	if err != nil {
		return nil, err
	}
	if d.Signature != nil {
		return nil, fmt.Errorf("corim: %s is signed already", d.ID)
	}
	alg, err := s.check()
	if err != nil {
		return nil, err
	}
	m, err := s.message(alg, d.Raw)
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(alg, s.Key)
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	if err := m.Sign(random, nil, signer); err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	out, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	again, err := Parse(out)
	if err != nil {
		return nil, fmt.Errorf("corim: what was to be signed is no CoRIM: %w", err)
	}
	if err := again.Signature.verify(s.Key.Public()); err != nil {
		return nil, fmt.Errorf("corim: the signature just made is wrong: %w", err)
	}
	return out, nil
}

// check finds the algorithm and what is wrong with the signer.
func (s Signer) check() (cose.Algorithm, error) {
	switch {
	case s.Key == nil:
		return 0, errors.New("corim: signer without a key")
	case s.Name == "":
		return 0, errors.New("corim: signer without a name")
	case len(s.KeyID) == 0 && len(s.Chain) == 0:
		return 0, errors.New("corim: signer with neither a key identifier nor certificates, nobody could find the key")
	case len(s.KeyID) > maxKeyID || len(s.Chain) > maxChain:
		return 0, fmt.Errorf("corim: signer with a key identifier of %d bytes (at most %d) or %d certificates (at most %d)",
			len(s.KeyID), maxKeyID, len(s.Chain), maxChain)
	case s.Validity.NotAfter.IsZero() && !s.Validity.NotBefore.IsZero():
		return 0, errors.New("corim: signature is valid from a time, and not until one")
	case s.Validity.NotAfter.Before(s.Validity.NotBefore):
		return 0, errors.New("corim: validity of the signature ends before it begins")
	}
	if len(s.Chain) > 0 {
		public, ok := s.Chain[0].PublicKey.(interface{ Equal(crypto.PublicKey) bool })
		if !ok || !public.Equal(s.Key.Public()) {
			return 0, fmt.Errorf("corim: certificate of %q is not for the signer's key", s.Chain[0].Subject)
		}
	}
	return coseAlgorithm(s.Key.Public())
}

// coseAlgorithm is the one that verify accepts for a key.
func coseAlgorithm(key crypto.PublicKey) (cose.Algorithm, error) {
	switch k := key.(type) {
	case ed25519.PublicKey:
		return cose.AlgorithmEdDSA, nil
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return 0, fmt.Errorf("corim: RSA key of %d bits, at least %d", k.N.BitLen(), minRSA)
		}
		return cose.AlgorithmPS384, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return cose.AlgorithmES256, nil
		case elliptic.P384():
			return cose.AlgorithmES384, nil
		case elliptic.P521():
			return cose.AlgorithmES512, nil
		}
	}
	return 0, fmt.Errorf("corim: no COSE algorithm for a key of type %T", key)
}

// message is the COSE_Sign1 message without its signature.
func (s Signer) message(alg cose.Algorithm, payload []byte) (*cose.Sign1Message, error) {
	meta := members{}
	signer := members{0: s.Name}
	if s.URI != "" {
		signer[1] = cbor.Tag{Number: TagURI, Content: s.URI}
	}
	meta[0] = signer
	if !s.Validity.NotAfter.IsZero() {
		meta[1] = periodItem(s.Validity)
	}
	enc, err := encoding()
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	raw, err := enc.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("corim: %w", err)
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	h := m.Headers.Protected
	h.SetAlgorithm(alg)
	h[cose.HeaderLabelContentType] = MediaTypeUnsigned
	h[labelMeta] = raw
	if len(s.KeyID) > 0 {
		h[cose.HeaderLabelKeyID] = s.KeyID
	}
	switch len(s.Chain) {
	case 0:
	case 1: // COSE_X509 is an array from two certificates on
		h[cose.HeaderLabelX5Chain] = s.Chain[0].Raw
	default:
		chain := make([]any, len(s.Chain))
		for i, c := range s.Chain {
			chain[i] = c.Raw
		}
		h[cose.HeaderLabelX5Chain] = chain
	}
	return m, nil
}
