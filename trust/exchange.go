// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
)

const (
	// exchangeVersion keeps requests apart from what SealKey.Seal makes.
	exchangeVersion = "assize-exchange/v1"
	// replyExport is the exporter context of the key for the answer.
	replyExport = "assize-reply/v1"
	replyKey    = 32 // AES-256
	replyNonce  = 12
)

// AnswerOverhead is how many bytes a sealed answer is longer than its
// plaintext: a nonce of 12 bytes and a tag of 16.
const AnswerOverhead = replyNonce + sealTag

// Exchange is one sealed request with the key for its answers. Only who sealed
// the request and who opened it can seal and open answers to it. It is safe for
// concurrent use.
type Exchange struct {
	aead cipher.AEAD
	// request is the SHA-256 of the sealed request, which answers are bound to.
	request [sha256.Size]byte
}

// SealRequest encrypts plain, 1 to MaxSealed bytes, as SealKey.Seal does, and
// keeps what the answer is opened with. It is HPKE (RFC 9180) in base mode with
// an empty AAD; the parameter info is the SHA-256 over the text
// "assize-exchange/v1" and the context of SealKey.Seal, each behind its length
// as a 32-bit big-endian integer, so that neither of the two opens as the other.
// The result is the encapsulated key followed by the ciphertext, Suite.Overhead
// bytes longer than plain.
func (k SealKey) SealRequest(info SealInfo, plain []byte) ([]byte, *Exchange, error) {
	if len(plain) == 0 || len(plain) > MaxSealed {
		return nil, nil, fmt.Errorf("trust: %d bytes to seal, want 1 to %d", len(plain), MaxSealed)
	}
	context, err := info.exchange()
	if err != nil {
		return nil, nil, fmt.Errorf("trust: %w", err)
	}
	public, err := k.parsed()
	if err != nil {
		return nil, nil, fmt.Errorf("trust: seal key %.64q: %w", k.KID, err)
	}
	enc, s, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), context)
	if err != nil {
		return nil, nil, fmt.Errorf("trust: seal key %q: %w", k.KID, err)
	}
	text, err := s.Seal(nil, plain)
	if err != nil {
		return nil, nil, fmt.Errorf("trust: seal key %q: %w", k.KID, err)
	}
	sealed := append(enc, text...)
	x, err := newExchange(s, sealed)
	if err != nil {
		return nil, nil, fmt.Errorf("trust: seal key %q: %w", k.KID, err)
	}
	return sealed, x, nil
}

// OpenRequest decrypts what SealKey.SealRequest made for this key under the
// same info, and returns what the answer is sealed with. The error wraps ErrOpen
// when anything differs: the key, a member of info, or one bit or the length of
// sealed.
func (p *SealPrivate) OpenRequest(info SealInfo, sealed []byte) ([]byte, *Exchange, error) {
	over := p.public.Suite.Overhead()
	if len(sealed) <= over || len(sealed) > over+MaxSealed {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrOpen, len(sealed))
	}
	context, err := info.exchange()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	_, enc := p.public.Suite.sizes()
	r, err := hpke.NewRecipient(sealed[:enc:enc], p.key, hpke.HKDFSHA256(), hpke.AES256GCM(), context)
	if err != nil {
		return nil, nil, ErrOpen
	}
	plain, err := r.Open(nil, sealed[enc:])
	if err != nil {
		return nil, nil, ErrOpen
	}
	x, err := newExchange(r, sealed)
	if err != nil {
		return nil, nil, ErrOpen
	}
	return plain, x, nil
}

// exchange is hash for a whole exchange.
func (i SealInfo) exchange() ([]byte, error) {
	context, err := i.hash()
	if err != nil {
		return nil, err
	}
	return framed([]byte(exchangeVersion), context), nil
}

func newExchange(context interface {
	Export(string, int) ([]byte, error)
}, sealed []byte) (*Exchange, error) {
	key, err := context.Export(replyExport, replyKey)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &Exchange{aead: aead, request: sha256.Sum256(sealed)}, nil
}

// SealAnswer encrypts an answer, 1 to MaxSealed bytes, for whoever sealed the
// request: AES-256-GCM under the HPKE secret exported for "assize-reply/v1", the
// SHA-256 of the sealed request as AAD, and 12 bytes of random as the nonce,
// which precede the ciphertext. The same request may be answered more than once.
func (x *Exchange) SealAnswer(random io.Reader, plain []byte) ([]byte, error) {
	if x == nil || random == nil {
		return nil, errors.New("trust: no exchange, or no source of randomness")
	}
	if len(plain) == 0 || len(plain) > MaxSealed {
		return nil, fmt.Errorf("trust: %d bytes to seal, want 1 to %d", len(plain), MaxSealed)
	}
	out := make([]byte, replyNonce, AnswerOverhead+len(plain))
	if _, err := io.ReadFull(random, out); err != nil {
		return nil, fmt.Errorf("trust: seal answer: %w", err)
	}
	return x.aead.Seal(out, out, plain, x.request[:]), nil
}

// OpenAnswer decrypts what SealAnswer made for this exchange. The error wraps
// ErrOpen when it belongs to another one, was altered, or is not sealed.
func (x *Exchange) OpenAnswer(sealed []byte) ([]byte, error) {
	if x == nil || len(sealed) <= AnswerOverhead || len(sealed) > AnswerOverhead+MaxSealed {
		return nil, fmt.Errorf("%w: %d bytes", ErrOpen, len(sealed))
	}
	plain, err := x.aead.Open(nil, sealed[:replyNonce], sealed[replyNonce:], x.request[:])
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
