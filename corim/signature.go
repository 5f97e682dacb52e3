// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/veraison/go-cose"
)

// COSE header labels of a signed CoRIM beyond those of go-cose.
const (
	labelMeta          = int64(8)
	labelCWTClaims     = int64(15)
	labelHashAlgorithm = int64(258)
)

const (
	maxChain = 10
	maxKeyID = 256
)

// Signature is what a signed document says about who signed it. Before Load has
// found an Authority these are claims, and nothing more.
type Signature struct {
	// Algorithm is the COSE algorithm.
	Algorithm cose.Algorithm
	// KeyID is kid, nil if absent.
	KeyID []byte
	// Chain is x5chain, leaf first, nil if absent.
	Chain []*x509.Certificate
	// Signer and SignerURI are of corim-meta, or Signer is the issuer of the CWT
	// claims.
	Signer, SignerURI string
	// Validity is that of the signature.
	Validity Period

	message *cose.Sign1Message
}

// signature reads the COSE_Sign1 message that c holds, and returns the cursor
// of its payload.
func (c *cursor) signature() (*Signature, *cursor, error) {
	m := cose.NewSign1Message()
	if err := m.UnmarshalCBOR(c.buf[c.pos:c.end]); err != nil {
		return nil, nil, c.errorf("signed document: %v", err)
	}
	s := &Signature{message: m}
	if err := c.headers(s); err != nil {
		return nil, nil, at("signature", err)
	}
	if len(m.Payload) == 0 {
		return nil, nil, c.errorf("signed document without a payload")
	}
	payload, err := (&cursor{buf: m.Payload, mode: c.mode}).open(0, len(m.Payload))
	return s, payload, at("payload", err)
}

// headers reads the headers of s.message.
func (c *cursor) headers(s *Signature) error {
	h := s.message.Headers
	alg, err := h.Protected.Algorithm()
	if err != nil {
		return c.errorf("no algorithm in the protected headers: %v", err)
	}
	s.Algorithm = alg
	if _, ok := h.Protected[labelHashAlgorithm]; ok {
		return c.errorf("payload is a hash of the document (COSE hash envelope), and the document is needed")
	}
	if got := h.Protected[cose.HeaderLabelContentType]; got != MediaTypeUnsigned {
		return c.errorf("content type is %v, not %q", got, MediaTypeUnsigned)
	}
	if err := c.critical(h); err != nil {
		return err
	}
	if s.KeyID, err = c.keyID(h); err != nil {
		return err
	}
	if s.Chain, err = c.chain(h); err != nil {
		return err
	}
	return c.claims(h.Protected, s)
}

// critical refuses headers that the signer wants understood and we do not.
func (c *cursor) critical(h cose.Headers) error {
	labels, err := h.Protected.Critical()
	if err != nil {
		return c.errorf("crit: %v", err)
	}
	for _, l := range labels {
		switch l {
		case cose.HeaderLabelAlgorithm, cose.HeaderLabelContentType, cose.HeaderLabelKeyID, cose.HeaderLabelX5Chain, labelMeta, labelCWTClaims:
		default:
			return c.errorf("critical header %v is not known", l)
		}
	}
	return nil
}

// header finds a header, protected or not, but not both.
func (c *cursor) header(h cose.Headers, label int64) (any, error) {
	v, ok := h.Protected[label]
	w, also := h.Unprotected[label]
	switch {
	case ok && also:
		return nil, c.errorf("header %d is protected and unprotected", label)
	case also:
		return w, nil
	}
	return v, nil
}

func (c *cursor) keyID(h cose.Headers) ([]byte, error) {
	v, err := c.header(h, cose.HeaderLabelKeyID)
	if err != nil || v == nil {
		return nil, err
	}
	kid, ok := v.([]byte)
	if !ok || len(kid) == 0 || len(kid) > maxKeyID {
		return nil, c.errorf("kid is not 1 to %d bytes", maxKeyID)
	}
	return kid, nil
}

// chain reads x5chain (RFC 9360): one certificate, or an array from two on.
func (c *cursor) chain(h cose.Headers) ([]*x509.Certificate, error) {
	v, err := c.header(h, cose.HeaderLabelX5Chain)
	if err != nil || v == nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 || len(list) > maxChain {
		return nil, c.errorf("x5chain has %d certificates, not 1 to %d", len(list), maxChain)
	}
	out := make([]*x509.Certificate, 0, len(list))
	for i, item := range list {
		der, ok := item.([]byte)
		if !ok {
			return nil, c.errorf("x5chain: certificate %d is not a byte string", i)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, c.errorf("x5chain: certificate %d: %v", i, err)
		}
		out = append(out, cert)
	}
	return out, nil
}

// claims reads corim-meta and CWT claims: at least one of them, and what both
// say has to hold.
func (c *cursor) claims(h cose.ProtectedHeader, s *Signature) error {
	meta, haveMeta := h[labelMeta]
	cwt, haveCWT := h[labelCWTClaims]
	if !haveMeta && !haveCWT {
		return c.errorf("neither corim-meta nor CWT claims in the protected headers")
	}
	if haveMeta {
		raw, ok := meta.([]byte)
		if !ok {
			return c.errorf("corim-meta is not a byte string")
		}
		inner, err := (&cursor{buf: raw, mode: c.mode}).open(0, len(raw))
		if err == nil {
			err = inner.meta(s)
		}
		if err != nil {
			return at("corim-meta", err)
		}
	}
	if !haveCWT {
		return nil
	}
	enc, err := encoding()
	if err != nil {
		return err
	}
	raw, err := enc.Marshal(cwt)
	if err != nil {
		return c.errorf("CWT claims: %v", err)
	}
	inner, err := (&cursor{buf: raw, mode: c.mode}).open(0, len(raw))
	if err == nil {
		err = inner.cwt(s)
	}
	return at("cwt-claims", err)
}

func (c *cursor) meta(s *Signature) error {
	_, err := c.fields(func(key int64) (bool, error) {
		switch key {
		case 0:
			_, err := c.fields(func(key int64) (bool, error) {
				var err error
				switch key {
				case 0:
					s.Signer, err = c.name()
				case 1:
					s.SignerURI, err = c.uri()
				default:
					return false, nil
				}
				return true, err
			})
			return true, at("signer", err)
		case 1:
			p, err := c.period()
			s.Validity = p
			return true, at("signature-validity", err)
		}
		return false, nil
	})
	switch {
	case err != nil:
		return err
	case s.Signer == "":
		return c.errorf("signer without a name")
	case c.pos != c.end:
		return c.errorf("trailing bytes")
	}
	return nil
}

func (c *cursor) cwt(s *Signature) error {
	p := Period{}
	_, err := c.fields(func(key int64) (bool, error) {
		var err error
		switch key {
		case 1:
			var issuer string
			if issuer, err = c.name(); err == nil && s.Signer != "" && s.Signer != issuer {
				err = c.errorf("issuer %q, and corim-meta names %q", issuer, s.Signer)
			}
			s.Signer = issuer
		case 4:
			p.NotAfter, err = c.epoch()
		case 5:
			p.NotBefore, err = c.epoch()
		default:
			return false, nil
		}
		return true, err
	})
	if err != nil {
		return err
	}
	s.Validity = s.Validity.and(p)
	return nil
}

// and is the time that is in both periods. If there is none, it ends before it
// begins, and contains nothing.
func (p Period) and(q Period) Period {
	if p.NotBefore.IsZero() || q.NotBefore.After(p.NotBefore) {
		p.NotBefore = q.NotBefore
	}
	if p.NotAfter.IsZero() || !q.NotAfter.IsZero() && q.NotAfter.Before(p.NotAfter) {
		p.NotAfter = q.NotAfter
	}
	return p
}

// verify checks the signature with a public key.
func (s *Signature) verify(key crypto.PublicKey) error {
	switch s.Algorithm {
	case cose.AlgorithmES256, cose.AlgorithmES384, cose.AlgorithmES512, cose.AlgorithmEdDSA,
		cose.AlgorithmPS256, cose.AlgorithmPS384, cose.AlgorithmPS512:
	default:
		return fmt.Errorf("algorithm %s is not accepted", s.Algorithm)
	}
	v, err := cose.NewVerifier(s.Algorithm, key)
	if err != nil {
		return err
	}
	return s.message.Verify(nil, v)
}

// path builds a certification path from x5chain to one of the roots that holds
// at time t, and returns it, leaf first.
func (s *Signature) path(roots *x509.CertPool, t time.Time) ([]*x509.Certificate, error) {
	if len(s.Chain) == 0 {
		return nil, errors.New("no certificates")
	}
	leaf := s.Chain[0]
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return nil, fmt.Errorf("certificate of %q is not for signing", leaf.Subject)
	}
	between := x509.NewCertPool()
	for _, c := range s.Chain[1:] {
		between.AddCert(c)
	}
	paths, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: t, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, err
	}
	return paths[0], nil
}
