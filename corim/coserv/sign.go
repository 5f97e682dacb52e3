// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

// Media types, without the parameter profile.
const (
	TypeUnsigned = "application/coserv+cbor"
	TypeSigned   = "application/coserv+cose"
)

// Errors of Open beyond those of Parse, for errors.Is.
var (
	// ErrUnsigned is for a result without a signature where one is required.
	ErrUnsigned = errors.New("not signed")
	// ErrUntrusted is for a signature by a key that was not given.
	ErrUntrusted = errors.New("not signed with a trusted key")
	// ErrSignature is for a signature that is wrong.
	ErrSignature = errors.New("signature is wrong")
	// ErrAnswer is for a result for another query or profile.
	ErrAnswer = errors.New("not the answer to this query")
	// ErrExpired is for a result that does not hold any more.
	ErrExpired = errors.New("expired")
)

const (
	tagSign1 = 18
	maxKID   = 256
)

// Labels of COSE headers.
const (
	labelAlgorithm   = int64(1)
	labelCritical    = int64(2)
	labelContentType = int64(3)
	labelKeyID       = int64(4)
)

// Algorithm is the COSE algorithm of a public key: ES256, ES384, ES512 by curve,
// or EdDSA.
func Algorithm(key crypto.PublicKey) (cose.Algorithm, error) {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return cose.AlgorithmES256, nil
		case elliptic.P384():
			return cose.AlgorithmES384, nil
		case elliptic.P521():
			return cose.AlgorithmES512, nil
		}
	case ed25519.PublicKey:
		return cose.AlgorithmEdDSA, nil
	}
	return 0, fmt.Errorf("coserv: no algorithm for a key of type %T", key)
}

// Sign encodes and signs a result as COSE_Sign1 (tag 18). The algorithm, the
// content type in label 3 (decision D-33) and kid, 1 to 256 bytes, are
// protected.
func Sign(random io.Reader, m *Message, key crypto.Signer, kid []byte) ([]byte, error) {
	if m.Results == nil {
		return nil, errors.New("coserv: only results are signed")
	}
	if len(kid) == 0 || len(kid) > maxKID {
		return nil, fmt.Errorf("coserv: kid of %d bytes, 1 to %d", len(kid), maxKID)
	}
	payload, err := m.Encode()
	if err != nil {
		return nil, err
	}
	alg, err := Algorithm(key.Public())
	if err != nil {
		return nil, err
	}
	signer, err := cose.NewSigner(alg, key)
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	h := cose.ProtectedHeader{
		cose.HeaderLabelAlgorithm: alg, cose.HeaderLabelContentType: TypeUnsigned, cose.HeaderLabelKeyID: kid,
	}
	out, err := cose.Sign1(random, signer, cose.Headers{Protected: h}, payload, nil)
	if err != nil {
		return nil, fmt.Errorf("coserv: sign: %w", err)
	}
	if len(out) > limits.CoservResult {
		return nil, fmt.Errorf("coserv: result of %d bytes: %w", len(out), ErrLimit)
	}
	return out, nil
}

// OpenOptions say which answer is expected, and from whom.
type OpenOptions struct {
	// Profile and Query are what was asked.
	Profile string
	Query   Query
	// Keys may sign; a signature without kid is tried with each.
	Keys []corim.SigningKey
	// Now is the time at which the result has to hold.
	Now time.Time
	// Unsigned accepts a result without a signature too. The draft (section 4.6)
	// allows that over a secure channel without intermediaries.
	Unsigned bool
	// LabelTwo accepts a content type in label 2, where the draft writes it down
	// and COSE has the critical headers (decision D-33).
	LabelTwo bool
}

// Opened is a result that passed every check of Open.
type Opened struct {
	*Message
	// Key has signed; nil for an unsigned result.
	Key *corim.SigningKey
}

// Open reads an answer and checks signature, content type, profile, query and
// expiry. The errors wrap those of this package.
func Open(raw []byte, o OpenOptions) (*Opened, error) {
	if len(raw) > limits.CoservResult {
		return nil, fmt.Errorf("coserv: answer of %d bytes, at most %d: %w", len(raw), limits.CoservResult, ErrLimit)
	}
	out := new(Opened)
	payload := raw
	if len(raw) > 0 && raw[0] == 6<<5|tagSign1 {
		s, err := readSign1(bytes.Clone(raw), o.LabelTwo)
		if err != nil {
			return nil, err
		}
		if out.Key, err = s.verify(o.Keys); err != nil {
			return nil, err
		}
		payload = s.payload
	} else if !o.Unsigned {
		return nil, fmt.Errorf("coserv: %w", ErrUnsigned)
	}
	m, err := Parse(payload, ParseOptions{AnyEncoding: true}) // compared with ours below
	if err != nil {
		return nil, err
	}
	switch {
	case m.Results == nil:
		return nil, fmt.Errorf("coserv: a query without a result: %w", ErrAnswer)
	case m.Profile != o.Profile:
		return nil, fmt.Errorf("coserv: profile %q, and %q was asked for: %w", m.Profile, o.Profile, ErrAnswer)
	case !same(&m.Query, &o.Query):
		return nil, fmt.Errorf("coserv: another query: %w", ErrAnswer)
	case o.Now.After(m.Results.Expiry):
		return nil, fmt.Errorf("coserv: at %s: %w", m.Results.Expiry.Format(time.RFC3339), ErrExpired)
	}
	out.Message = m
	return out, nil
}

// sign1 is a COSE_Sign1 message.
type sign1 struct {
	protected, payload, signature []byte
	algorithm                     cose.Algorithm
	kid                           []byte
}

// readSign1 reads the message by itself: the COSE library refuses a text in
// label 2 before anybody could allow it.
func readSign1(raw []byte, labelTwo bool) (*sign1, error) {
	mode, err := decoding()
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	r := reader{mode}
	var tag cbor.RawTag
	if err := r.item("signed CoSERV", raw, &tag); err != nil {
		return nil, err
	}
	parts, err := r.array("signed CoSERV", tag.Content, 4, 4)
	if err != nil {
		return nil, err
	}
	s := new(sign1)
	for i, p := range map[int]*[]byte{0: &s.protected, 2: &s.payload, 3: &s.signature} {
		if err := r.item("signed CoSERV", parts[i], p); err != nil {
			return nil, err
		}
	}
	protected, err := r.headers("protected headers", s.protected)
	if err != nil {
		return nil, err
	}
	unprotected, err := r.headers("unprotected headers", parts[1])
	if err != nil {
		return nil, err
	}
	for label := range unprotected {
		if _, twice := protected[label]; twice {
			return nil, fmt.Errorf("coserv: header %v is protected and unprotected", label)
		}
	}
	return s, s.read(protected, unprotected, labelTwo)
}

// headers reads a map of headers; its keys are numbers and texts.
func (r reader) headers(what string, raw []byte) (map[any]any, error) {
	if len(raw) == 0 || raw[0]>>5 != 5 {
		return nil, fmt.Errorf("coserv: %s are not a map", what)
	}
	var m map[any]any
	if err := r.item(what, raw, &m); err != nil {
		return nil, err
	}
	out := make(map[any]any, len(m))
	for k, v := range m {
		switch k := k.(type) {
		case uint64:
			out[int64(k)] = v // a number beyond int64 becomes none that is known
		case int64, string:
			out[k] = v
		default:
			return nil, fmt.Errorf("coserv: %s with a label of type %T", what, k)
		}
	}
	return out, nil
}

func (s *sign1) read(protected, unprotected map[any]any, labelTwo bool) error {
	switch alg := protected[labelAlgorithm].(type) {
	case int64:
		s.algorithm = cose.Algorithm(alg)
	case uint64:
		s.algorithm = cose.Algorithm(int64(alg)) // refused later: none that signs is positive
	default:
		return errors.New("coserv: no algorithm in the protected headers")
	}
	contentType := protected[labelContentType]
	switch critical := protected[labelCritical].(type) {
	case nil:
	case string:
		if !labelTwo || contentType != nil {
			return errors.New("coserv: content type in label 2, which is that of critical headers")
		}
		contentType = critical
	case []any:
		if err := known(critical, protected); err != nil {
			return err
		}
	default:
		return errors.New("coserv: critical headers are not a list")
	}
	if _, ok := unprotected[labelCritical]; ok {
		return errors.New("coserv: critical headers are not protected")
	}
	if contentType != TypeUnsigned {
		return fmt.Errorf("coserv: content type is %v, want %s", contentType, TypeUnsigned)
	}
	kid := protected[labelKeyID]
	if kid == nil {
		kid = unprotected[labelKeyID]
	}
	if kid == nil {
		return nil
	}
	var ok bool
	if s.kid, ok = kid.([]byte); !ok || len(s.kid) == 0 || len(s.kid) > maxKID {
		return fmt.Errorf("coserv: kid is not 1 to %d bytes", maxKID)
	}
	return nil
}

// known refuses headers that the signer wants understood and we do not.
func known(critical []any, protected map[any]any) error {
	if len(critical) == 0 {
		return errors.New("coserv: empty list of critical headers")
	}
	for _, label := range critical {
		n, ok := label.(uint64)
		if _, there := protected[int64(n)]; !ok || !there || n != uint64(labelAlgorithm) && n != uint64(labelContentType) && n != uint64(labelKeyID) {
			return fmt.Errorf("coserv: critical header %v is not known", label)
		}
	}
	return nil
}

// verify finds the key that has signed.
func (s *sign1) verify(keys []corim.SigningKey) (*corim.SigningKey, error) {
	signed, err := marshal([]any{"Signature1", s.protected, []byte{}, s.payload})
	if err != nil {
		return nil, fmt.Errorf("coserv: %w", err)
	}
	for i := range keys {
		k := &keys[i]
		if s.kid != nil && !bytes.Equal(s.kid, k.ID) {
			continue
		}
		err := s.verifyWith(k.Public, signed)
		if err == nil {
			own := *k
			return &own, nil
		}
		if s.kid != nil {
			return nil, fmt.Errorf("coserv: key %q: %w: %w", k.ID, ErrSignature, err)
		}
	}
	if s.kid == nil {
		return nil, fmt.Errorf("coserv: no kid, and no key fits: %w", ErrUntrusted)
	}
	return nil, fmt.Errorf("coserv: key %q: %w", s.kid, ErrUntrusted)
}

// verifyWith takes the algorithm from the key: what the message says has to be
// that.
func (s *sign1) verifyWith(key crypto.PublicKey, signed []byte) error {
	alg, err := Algorithm(key)
	if err != nil {
		return err
	}
	if alg != s.algorithm {
		return fmt.Errorf("algorithm %s, and the key is for %s", s.algorithm, alg)
	}
	v, err := cose.NewVerifier(alg, key)
	if err != nil {
		return err
	}
	return v.Verify(signed, s.signature)
}
