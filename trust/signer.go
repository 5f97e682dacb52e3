// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/lestrrat-go/jwx/v3/jwa"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jws"
)

const pemType = "PRIVATE KEY"

// Signer signs results with one private key. It is safe for concurrent use if
// the key is.
type Signer struct {
	key crypto.Signer
	pub crypto.PublicKey
	alg string
	kid string
	// header is the protected header in base64url, the same for every token.
	header string
}

// GenerateSigner makes a key for ES256, ES384 or EdDSA from the given random
// source, which must not be nil. The standard library may prefer its own
// randomness to it.
func GenerateSigner(alg string, random io.Reader) (*Signer, error) {
	if random == nil {
		return nil, errors.New("trust: no source of randomness")
	}
	var key crypto.Signer
	var err error
	switch alg {
	case ES256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), random)
	case ES384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), random)
	case EdDSA:
		_, key, err = ed25519.GenerateKey(random)
	default:
		return nil, fmt.Errorf("trust: unknown algorithm %q: want ES256, ES384 or EdDSA", alg)
	}
	if err != nil {
		return nil, fmt.Errorf("trust: generate key: %w", err)
	}
	return NewSigner(key)
}

// NewSigner wraps a private key or a handle of one (P-256, P-384 or Ed25519).
func NewSigner(key crypto.Signer) (*Signer, error) {
	if key == nil {
		return nil, errors.New("trust: no private key")
	}
	pub := key.Public()
	alg, err := algorithm(pub)
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	if pub, err = clonePublic(pub); err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	kid, err := thumbprint(pub)
	if err != nil {
		return nil, err
	}
	header, err := protectedHeader(alg, kid)
	if err != nil {
		return nil, err
	}
	return &Signer{key: key, pub: pub, alg: alg, kid: kid, header: header}, nil
}

// ParseSigner reads one PKCS #8 private key in PEM ("PRIVATE KEY"). Anything
// behind the block other than white space is an error.
func ParseSigner(b []byte) (*Signer, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemType {
		return nil, errors.New("trust: no PEM block of type PRIVATE KEY")
	}
	if len(block.Headers) != 0 || slices.ContainsFunc(rest, notSpace) {
		return nil, errors.New("trust: private key file has more than one plain PEM block")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("trust: private key: %w", err)
	}
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("trust: private key of type %T cannot sign", key)
	}
	return NewSigner(s)
}

func notSpace(c byte) bool { return c != ' ' && c != '\n' && c != '\r' && c != '\t' }

// MarshalPEM renders the private key as PKCS #8 PEM. It is an error for keys
// that live elsewhere and cannot be exported.
func (s *Signer) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		return nil, fmt.Errorf("trust: private key cannot be exported: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}), nil
}

// KID is the SHA-256 thumbprint of the public key (RFC 7638) in base64url
// without padding, 43 characters.
func (s *Signer) KID() string { return s.kid }

// Key is the public half as an anchor for others.
func (s *Signer) Key(name string, schemes []string, roles ...Role) Key {
	return Key{
		KID: s.kid, Public: s.pub, Alg: s.alg, Name: name,
		Roles: slices.Clone(roles), Schemes: slices.Clone(schemes),
	}
}

// SignJWT signs claims as a compact JWS with the header parameters alg, kid and
// typ "JWT". The claims must be a JSON object, as json.Marshal makes it; only
// its braces are looked at, a receiver parses it strictly.
func (s *Signer) SignJWT(claims []byte) ([]byte, error) {
	if len(claims) < 2 || claims[0] != '{' || claims[len(claims)-1] != '}' {
		return nil, errors.New("trust: claims are not a JSON object")
	}
	// The signing input is built here once; the library's own compact form
	// copies a payload with results inside it several times.
	b64 := base64.RawURLEncoding
	token := make([]byte, 0, len(s.header)+1+b64.EncodedLen(len(claims))+1+b64.EncodedLen(maxSignature))
	token = append(append(token, s.header...), '.')
	token = b64.AppendEncode(token, claims)
	signer, err := jws.SignerFor(signatureAlgorithm(s.alg))
	if err != nil {
		return nil, fmt.Errorf("trust: sign: %w", err)
	}
	sig, err := signer.Sign(s.key, token)
	if err != nil {
		return nil, fmt.Errorf("trust: sign: %w", err)
	}
	return b64.AppendEncode(append(token, '.'), sig), nil
}

// Handle is the key for a library that signs by itself, as evidence.SignCOSE
// does: a crypto.Signer and nothing more, from which the private key cannot be
// had. It signs digests of the one hash of the key's algorithm (SHA-256 for
// ES256, SHA-384 for ES384) or, for EdDSA, whole messages; options may be nil.
// What is signed with it must not look like the signing input of SignJWT.
func (s *Signer) Handle() crypto.Signer {
	h := handle{key: s.key, pub: s.pub}
	switch s.alg {
	case ES256:
		h.hash = crypto.SHA256
	case ES384:
		h.hash = crypto.SHA384
	}
	return h
}

// handle hides the concrete private key.
type handle struct {
	key  crypto.Signer
	pub  crypto.PublicKey
	hash crypto.Hash
}

// Public implements crypto.Signer.
func (h handle) Public() crypto.PublicKey { return h.pub }

// Sign implements crypto.Signer.
func (h handle) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if opts != nil && opts.HashFunc() != h.hash {
		return nil, fmt.Errorf("trust: sign: digest of %v, the key is for %v", opts.HashFunc(), h.hash)
	}
	if h.hash != 0 && len(digest) != h.hash.Size() {
		return nil, fmt.Errorf("trust: sign: digest of %d bytes instead of %d", len(digest), h.hash.Size())
	}
	sig, err := h.key.Sign(random, digest, h.hash)
	if err != nil {
		return nil, fmt.Errorf("trust: sign: %w", err)
	}
	return sig, nil
}

// maxSignature is the longest signature in bytes: two 384-bit integers.
const maxSignature = 96

// protectedHeader is the encoded header of every token of a signer.
func protectedHeader(alg, kid string) (string, error) {
	raw, err := json.Marshal(struct {
		Alg string `json:"alg"`
		KID string `json:"kid"`
		Typ string `json:"typ"`
	}{alg, kid, "JWT"})
	if err != nil {
		return "", fmt.Errorf("trust: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

func thumbprint(pub crypto.PublicKey) (string, error) {
	key, err := jwk.Import(pub)
	if err != nil {
		return "", fmt.Errorf("trust: %w", err)
	}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("trust: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

func signatureAlgorithm(alg string) jwa.SignatureAlgorithm {
	switch alg {
	case ES256:
		return jwa.ES256()
	case ES384:
		return jwa.ES384()
	case EdDSA:
		return jwa.EdDSA()
	}
	return jwa.NoSignature()
}
