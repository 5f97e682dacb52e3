// SPDX-License-Identifier: Apache-2.0

package refvalues

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/attester/pki"
)

// MediaTypeUnsigned is the content type inside a signed CoRIM (header 3), and
// the media type of an unsigned one.
const MediaTypeUnsigned = "application/rim+cbor"

const headerCorimMeta = int64(8)

// Signer is who signs a CoRIM.
type Signer struct {
	// Key is on P-256 (ES256), P-384 (ES384) or P-521 (ES512).
	Key *ecdsa.PrivateKey
	// Chain certifies Key, leaf first, and goes into x5chain (RFC 9360). It may
	// be empty.
	Chain []*x509.Certificate
	// Name is the mandatory name of the signer, URI its optional address.
	Name, URI string
	// NotBefore and NotAfter limit the validity of the signature, as those of
	// Document.
	NotBefore, NotAfter time.Time
}

type metaMap struct {
	Signer   signerMap `cbor:"0,keyasint"`
	Validity *validity `cbor:"1,keyasint,omitempty"`
}

type signerMap struct {
	Name string    `cbor:"0,keyasint"`
	URI  *cbor.Tag `cbor:"1,keyasint,omitempty"`
}

// Signed encodes d as COSE_Sign1 (tag 18, media type application/rim+cose)
// whose payload is Unsigned(d). All headers are protected: algorithm, content
// type, corim-meta and x5chain. It returns an error if the chain does not
// certify the key.
func Signed(d Document, s Signer) ([]byte, error) {
	payload, err := Unsigned(d)
	if err != nil {
		return nil, err
	}
	signer, err := s.signer()
	if err != nil {
		return nil, err
	}
	meta, err := s.meta()
	if err != nil {
		return nil, err
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(signer.alg)
	m.Headers.Protected[cose.HeaderLabelContentType] = MediaTypeUnsigned
	m.Headers.Protected[headerCorimMeta] = meta
	switch len(s.Chain) {
	case 0:
	case 1: // COSE_X509 is an array from two certificates on
		m.Headers.Protected[cose.HeaderLabelX5Chain] = s.Chain[0].Raw
	default:
		var chain [][]byte
		for _, c := range s.Chain {
			chain = append(chain, c.Raw)
		}
		m.Headers.Protected[cose.HeaderLabelX5Chain] = chain
	}
	if err := m.Sign(nil, nil, signer); err != nil {
		return nil, fmt.Errorf("refvalues: %w", err)
	}
	out, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("refvalues: %w", err)
	}
	return out, nil
}

func (s Signer) meta() ([]byte, error) {
	mode, err := encoding()
	if err != nil {
		return nil, err
	}
	if s.Name == "" {
		return nil, errors.New("refvalues: signer without a name")
	}
	m := metaMap{Signer: signerMap{Name: s.Name}}
	if s.URI != "" {
		if m.Signer.URI, err = uri(s.URI); err != nil {
			return nil, err
		}
	}
	if m.Validity, err = period(s.NotBefore, s.NotAfter); err != nil {
		return nil, err
	}
	return marshal(mode, m)
}

func (s Signer) signer() (*deterministic, error) {
	if s.Key == nil {
		return nil, errors.New("refvalues: signer without a key")
	}
	if len(s.Chain) > 0 && !s.Key.PublicKey.Equal(s.Chain[0].PublicKey) {
		return nil, fmt.Errorf("refvalues: certificate %q is not for the signer's key", s.Chain[0].Subject)
	}
	switch s.Key.Curve {
	case elliptic.P256():
		return &deterministic{s.Key, cose.AlgorithmES256, crypto.SHA256}, nil
	case elliptic.P384():
		return &deterministic{s.Key, cose.AlgorithmES384, crypto.SHA384}, nil
	case elliptic.P521():
		return &deterministic{s.Key, cose.AlgorithmES512, crypto.SHA512}, nil
	}
	return nil, fmt.Errorf("refvalues: no COSE algorithm for curve %s", s.Key.Curve.Params().Name)
}

// deterministic signs by RFC 6979; the library's own signer wants randomness.
type deterministic struct {
	key  *ecdsa.PrivateKey
	alg  cose.Algorithm
	hash crypto.Hash
}

// Algorithm implements cose.Signer.
func (d *deterministic) Algorithm() cose.Algorithm { return d.alg }

// Sign implements cose.Signer.
func (d *deterministic) Sign(_ io.Reader, content []byte) ([]byte, error) {
	h := d.hash.New()
	h.Write(content)
	return pki.SignFixed(d.key, d.hash, h.Sum(nil))
}
