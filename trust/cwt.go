// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/lestrrat-go/jwx/v3/jws"
	"github.com/veraison/go-cose"
)

// cwtTag is CBOR tag 61 (RFC 8392, section 6), which may stand before that of the
// COSE message.
var cwtTag = []byte{0xd8, 0x3d}

// cwtTypes are what the content type of a token may begin with.
var cwtTypes = []string{"application/eat+cwt", "application/cwt"}

// maxKID is the longest kid of a CWT in bytes.
const maxKID = 255

// IsCWT reports whether a token begins as a CWT does: with the tag of a COSE_Sign1
// (18), or with that of a CWT (61) before it. A compact JWS never does.
func IsCWT(token []byte) bool {
	token = bytes.TrimPrefix(token, cwtTag)
	return len(token) > 0 && token[0] == 0xd2
}

// SignCWT signs claims as a COSE_Sign1 (RFC 9052, tag 18, RFC 8392). All headers
// are protected: alg, content type, and kid, the text of KID as bytes. The claims
// must be one CBOR map in deterministic encoding; only its first byte is looked
// at, a receiver parses it strictly.
func (s *Signer) SignCWT(claims []byte, contentType string) ([]byte, error) {
	if len(claims) == 0 || claims[0]>>5 != 5 {
		return nil, errors.New("trust: claims are not a CBOR map")
	}
	alg, err := coseAlgorithm(s.alg)
	if err != nil {
		return nil, err
	}
	m := cose.NewSign1Message()
	m.Payload = claims
	m.Headers.Protected = cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: alg, cose.HeaderLabelContentType: contentType, cose.HeaderLabelKeyID: []byte(s.kid),
	}
	if err := m.Sign(nil, nil, coseSigner{s, alg}); err != nil {
		return nil, fmt.Errorf("trust: sign: %w", err)
	}
	token, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("trust: sign: %w", err)
	}
	return token, nil
}

// coseSigner signs for go-cose with the signer of JWTs: COSE and JOSE encode the
// signatures of these algorithms alike (RFC 9053, RFC 7518).
type coseSigner struct {
	s   *Signer
	alg cose.Algorithm
}

// Algorithm implements cose.Signer.
func (c coseSigner) Algorithm() cose.Algorithm { return c.alg }

// Sign implements cose.Signer. Like that of SignJWT, its randomness is the
// library's own.
func (c coseSigner) Sign(_ io.Reader, content []byte) ([]byte, error) {
	signer, err := jws.SignerFor(signatureAlgorithm(c.s.alg))
	if err != nil {
		return nil, err
	}
	return signer.Sign(c.s.key, content)
}

func coseAlgorithm(alg string) (cose.Algorithm, error) {
	switch alg {
	case ES256:
		return cose.AlgorithmES256, nil
	case ES384:
		return cose.AlgorithmES384, nil
	case EdDSA:
		return cose.AlgorithmEdDSA, nil
	}
	return 0, fmt.Errorf("trust: no COSE algorithm for %.16q", alg)
}

// VerifyCWT checks a COSE_Sign1 (tag 18, with or without tag 61 before it) and
// returns the signed bytes and the key, as VerifyJWT does for a compact JWS. Only
// the protected headers alg, content type and kid are understood, the last being
// mandatory; any other one, any unprotected one, and a detached payload make the
// token malformed, and so does everything about the message that could be encoded
// shorter, so that no two spellings of one token exist. The content type may be
// absent, or that of an EAT or a CWT.
//
// Errors wrap ErrMalformed, ErrUnknownKey or ErrSignature. Claims are returned
// only when the signature is right; they are not parsed here.
func VerifyCWT(token []byte, find func(kid string) (Key, bool)) (claims []byte, key Key, err error) {
	m, kid, alg, err := parseCWT(token)
	if err != nil {
		return nil, Key{}, err
	}
	key, ok := find(kid)
	if !ok {
		return nil, Key{}, fmt.Errorf("%w: kid %.64q", ErrUnknownKey, kid)
	}
	if own, err := algorithm(key.Public); err != nil || own != key.Alg {
		return nil, Key{}, fmt.Errorf("%w: anchor %q is unusable", ErrUnknownKey, key.KID)
	}
	if want, err := coseAlgorithm(key.Alg); err != nil || alg != want {
		return nil, Key{}, fmt.Errorf("%w: header says %d, the key is for %s", ErrSignature, alg, key.Alg)
	}
	verifier, err := cose.NewVerifier(alg, key.Public)
	if err != nil {
		return nil, Key{}, fmt.Errorf("%w: %w", ErrUnknownKey, err)
	}
	if err := m.Verify(nil, verifier); err != nil {
		return nil, Key{}, fmt.Errorf("%w: %s with kid %q", ErrSignature, key.Alg, key.KID)
	}
	return m.Payload, key, nil
}

// parseCWT takes a token apart.
func parseCWT(token []byte) (*cose.Sign1Message, string, cose.Algorithm, error) {
	bad := func(format string, args ...any) (*cose.Sign1Message, string, cose.Algorithm, error) {
		return nil, "", 0, fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
	}
	if len(token) > MaxToken {
		return bad("%d bytes, at most %d", len(token), MaxToken)
	}
	inner := bytes.TrimPrefix(token, cwtTag)
	m := cose.NewSign1Message()
	if err := m.UnmarshalCBOR(inner); err != nil {
		return bad("%v", err)
	}
	if len(m.Headers.RawProtected) > maxHeader {
		return bad("headers of %d bytes", len(m.Headers.RawProtected))
	}
	if len(m.Headers.Unprotected) > 0 {
		return bad("an unprotected header")
	}
	if len(m.Payload) == 0 {
		return bad("no payload inside")
	}
	// What is signed is inside of byte strings; this is about what is around them.
	if again, err := m.MarshalCBOR(); err != nil || !bytes.Equal(again, inner) {
		return bad("not in the shortest encoding")
	}
	for label, v := range m.Headers.Protected {
		if !acceptedCOSE(label, v) {
			return bad("header %v is not understood or has a wrong value", label)
		}
	}
	alg, err := m.Headers.Protected.Algorithm()
	if err != nil {
		return bad("%v", err)
	}
	kid, ok := m.Headers.Protected[cose.HeaderLabelKeyID].([]byte)
	if !ok {
		return bad("no kid")
	}
	return m, string(kid), alg, nil
}

// acceptedCOSE reports whether a protected header is one that is understood.
func acceptedCOSE(label, value any) bool {
	switch label {
	case cose.HeaderLabelAlgorithm:
		return true
	case cose.HeaderLabelKeyID:
		kid, ok := value.([]byte)
		return ok && len(kid) > 0 && len(kid) <= maxKID
	case cose.HeaderLabelContentType:
		text, ok := value.(string)
		if !ok {
			return false
		}
		for _, base := range cwtTypes {
			if rest, found := bytes.CutPrefix(bytes.ToLower([]byte(text)), []byte(base)); found && (len(rest) == 0 || rest[0] == ';' || rest[0] == ' ') {
				return true
			}
		}
	}
	return false
}
