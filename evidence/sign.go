// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"

	"github.com/veraison/go-cose"
)

// SignOptions are the header parameters of a signed CMW.
type SignOptions struct {
	// KID is the key id; nil leaves it away. In a JWS it must be UTF-8.
	KID []byte
	// ContentFormat writes the COSE content type as number 273, not as text.
	ContentFormat bool
}

// algOf is the one algorithm that we sign with for a kind of key.
func algOf(pub crypto.PublicKey) (cose.Algorithm, error) {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return cose.AlgorithmEdDSA, nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return cose.AlgorithmES256, nil
		case elliptic.P384():
			return cose.AlgorithmES384, nil
		case elliptic.P521():
			return cose.AlgorithmES512, nil
		}
	case *rsa.PublicKey:
		return cose.AlgorithmPS256, nil
	}
	return 0, fmt.Errorf("evidence: no signature algorithm for a key of type %T", pub)
}

// SignCOSE wraps a CBOR CMW into `application/cmw+cose`: a COSE_Sign1 with tag
// 18 (RFC 9999, decision D-05). payload is encoded CBOR, as from EncodeCBOR;
// anything else is refused.
func SignCOSE(rand io.Reader, payload []byte, key crypto.Signer, o SignOptions) ([]byte, error) {
	if _, err := Parse(payload, Options{MediaType: TypeCMWCBOR, UnverifiedSignaturesUnsafe: true}); err != nil {
		return nil, fmt.Errorf("evidence: payload to sign: %w", err)
	}
	alg, err := algOf(key.Public())
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(alg, key)
	if err != nil {
		return nil, fmt.Errorf("evidence: signer: %w", err)
	}
	h := cose.ProtectedHeader{cose.HeaderLabelAlgorithm: alg, cose.HeaderLabelContentType: TypeCMWCBOR}
	if o.ContentFormat {
		h[cose.HeaderLabelContentType] = int64(cfCMWCBOR)
	}
	if len(o.KID) > 0 {
		h[cose.HeaderLabelKeyID] = o.KID
	}
	out, err := cose.Sign1(rand, signer, cose.Headers{Protected: h}, payload, nil)
	if err != nil {
		return nil, fmt.Errorf("evidence: sign: %w", err)
	}
	return out, nil
}

// SignJWS wraps a JSON CMW into `application/cmw+jws` in compact
// serialization. payload is encoded JSON, as from EncodeJSON; anything else is
// refused.
func SignJWS(rand io.Reader, payload []byte, key crypto.Signer, o SignOptions) ([]byte, error) {
	if _, err := Parse(payload, Options{MediaType: TypeCMWJSON, UnverifiedSignaturesUnsafe: true}); err != nil {
		return nil, fmt.Errorf("evidence: payload to sign: %w", err)
	}
	alg, err := algOf(key.Public())
	if err != nil {
		return nil, err
	}
	// COSE and JOSE encode the signatures of these algorithms alike (RFC 9053,
	// RFC 7518), and only the COSE signer takes a source of randomness.
	signer, err := cose.NewSigner(alg, key)
	if err != nil {
		return nil, fmt.Errorf("evidence: signer: %w", err)
	}
	h := map[string]string{"alg": coseAlgs[alg], "cty": TypeCMWJSON}
	if len(o.KID) > 0 {
		h["kid"] = string(o.KID)
	}
	header, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("evidence: header: %w", err)
	}
	b64 := base64.RawURLEncoding
	out := b64.AppendEncode(nil, header)
	out = b64.AppendEncode(append(out, '.'), payload)
	sig, err := signer.Sign(rand, out)
	if err != nil {
		return nil, fmt.Errorf("evidence: sign: %w", err)
	}
	return b64.AppendEncode(append(out, '.'), sig), nil
}
