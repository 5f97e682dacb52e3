// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/assize/assize/internal/limits"
)

// Suite is an HPKE suite (RFC 9180). Both use HKDF-SHA256 (KDF 0x0001) and
// AES-256-GCM (AEAD 0x0002) in base mode; they differ in the KEM.
type Suite string

// Suites.
const (
	// SuiteHybrid is MLKEM768-X25519, also called X-Wing (KEM 0x647a,
	// draft-ietf-hpke-pq): public keys of 1216 bytes. It is the default.
	SuiteHybrid Suite = "mlkem768-x25519"
	// SuiteX25519 is DHKEM(X25519, HKDF-SHA256) (KEM 0x0020): public keys of
	// 32 bytes, and no protection against a future quantum computer.
	SuiteX25519 Suite = "x25519"
)

const (
	// MaxSealed is the largest plaintext in bytes that is sealed.
	MaxSealed = 16 << 20

	sealVersion = "assize-seal/v1"
	kidVersion  = "assize-seal-key/v1"
	sealPEM     = "ASSIZE SEAL KEY"

	sealTag      = 16      // AES-GCM
	sealSeed     = 32      // private key of either suite, RFC 9180 Nsk
	maxSealFile  = 4 << 10 // a private key file
	maxSealField = 8 << 10 // one text of SealInfo
)

// ErrOpen is the error of SealPrivate.Open. It does not say which of key,
// context and bytes was wrong: that is for nobody outside to know.
var ErrOpen = errors.New("trust: sealed message cannot be opened")

// kem returns the KEM of a suite.
func (s Suite) kem() (hpke.KEM, error) {
	switch s {
	case SuiteHybrid:
		return hpke.MLKEM768X25519(), nil
	case SuiteX25519:
		return hpke.DHKEM(ecdh.X25519()), nil
	}
	return nil, fmt.Errorf("suite %.32q is unknown: want %s or %s", string(s), SuiteHybrid, SuiteX25519)
}

// sizes are those of a public and of an encapsulated key in bytes; zero for an
// unknown suite.
func (s Suite) sizes() (public, encapsulated int) {
	switch s {
	case SuiteHybrid:
		return 1216, 1120
	case SuiteX25519:
		return 32, 32
	}
	return 0, 0
}

// Overhead is how many bytes a sealed message is longer than its plaintext:
// 1136 for SuiteHybrid, 48 for SuiteX25519, and 0 for an unknown suite.
func (s Suite) Overhead() int {
	_, enc := s.sizes()
	if enc == 0 {
		return 0
	}
	return enc + sealTag
}

// SealInfo is the context that a sealed message is bound to: sender and
// recipient must agree on every member or it does not open. Texts have at most
// 8192 bytes. Nothing of it travels with the message, and none of it is
// compared with the plaintext: whoever opens fills it from what was signed or
// what the envelope claims, and compares the rest after opening.
type SealInfo struct {
	// Session is the attestation session.
	Session string
	// Request is the request id of this hop, never empty.
	Request string
	// Scheme is the verifier scheme; empty for what is for a node as a whole.
	Scheme string
	// MediaType is that of the plaintext.
	MediaType string
	// Label is the canonical label path of the component, "" for the root.
	Label string
	// Nonce is the challenge to expect, at most 64 bytes; empty if there is none.
	Nonce []byte
	// Digest is the SHA-256 of the evidence that the message is about.
	Digest [sha256.Size]byte
	// To is the name of the node that may open the message, never empty.
	To string
}

// hash is the HPKE parameter info: the SHA-256 over the text "assize-seal/v1",
// Session, Request, Scheme, MediaType, Label, Nonce, Digest and To in this
// order, each as its length in bytes, a 32-bit big-endian integer, followed by
// the bytes themselves. Texts are UTF-8 and not normalised.
func (i SealInfo) hash() ([]byte, error) {
	if i.To == "" || i.Request == "" {
		return nil, errors.New("seal context without a recipient or a request")
	}
	for _, s := range []string{i.Session, i.Request, i.Scheme, i.MediaType, i.Label, i.To} {
		if len(s) > maxSealField {
			return nil, fmt.Errorf("text of %d bytes in the seal context, at most %d", len(s), maxSealField)
		}
	}
	if len(i.Nonce) > limits.NonceMax {
		return nil, fmt.Errorf("nonce of %d bytes in the seal context, at most %d", len(i.Nonce), limits.NonceMax)
	}
	return framed(
		[]byte(sealVersion), []byte(i.Session), []byte(i.Request), []byte(i.Scheme), []byte(i.MediaType),
		[]byte(i.Label), i.Nonce, i.Digest[:], []byte(i.To),
	), nil
}

// framed hashes fields so that no two lists of them give the same input. No
// field is longer than 32 bits can say.
func framed(fields ...[]byte) []byte {
	h := sha256.New()
	var length [4]byte
	for _, f := range fields {
		binary.BigEndian.PutUint32(length[:], uint32(len(f)))
		h.Write(length[:])
		h.Write(f)
	}
	return h.Sum(nil)
}

// sealKID is the SHA-256, in base64url without padding (43 characters), over
// the text "assize-seal-key/v1", the name of the suite and the public key,
// framed as in SealInfo.
func sealKID(s Suite, public []byte) string {
	return base64.RawURLEncoding.EncodeToString(framed([]byte(kidVersion), []byte(s), public))
}

// SealKey is the public half of a key that evidence can be sealed to.
type SealKey struct {
	// KID is the thumbprint of Suite and Public, 43 characters of base64url:
	// SHA-256 over the text "assize-seal-key/v1", suite and key, each behind
	// its length as a 32-bit big-endian integer.
	KID string
	// Suite says how to seal.
	Suite Suite
	// Public is the key as RFC 9180 serialises it, 1216 or 32 bytes.
	Public []byte
	// NotAfter ends the use of the key; zero means no end.
	NotAfter time.Time
}

// Seal encrypts plain, 1 to MaxSealed bytes, so that only the holder of the
// private key can read it, and only under the same info. The result is the
// encapsulated key followed by the ciphertext, Suite.Overhead bytes longer than
// plain. It says nothing about the sender: sign plain, or what it is in. The
// caller picks the key by Node.SealKey, which leaves out expired ones.
func (k SealKey) Seal(info SealInfo, plain []byte) ([]byte, error) {
	if len(plain) == 0 || len(plain) > MaxSealed {
		return nil, fmt.Errorf("trust: %d bytes to seal, want 1 to %d", len(plain), MaxSealed)
	}
	context, err := info.hash()
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	public, err := k.parsed()
	if err != nil {
		return nil, fmt.Errorf("trust: seal key %.64q: %w", k.KID, err)
	}
	out, err := hpke.Seal(public, hpke.HKDFSHA256(), hpke.AES256GCM(), context, plain)
	if err != nil {
		return nil, fmt.Errorf("trust: seal key %q: %w", k.KID, err)
	}
	return out, nil
}

// parsed checks that the members fit each other.
func (k SealKey) parsed() (hpke.PublicKey, error) {
	kem, err := k.Suite.kem()
	if err != nil {
		return nil, err
	}
	if want, _ := k.Suite.sizes(); len(k.Public) != want {
		return nil, fmt.Errorf("public key of %d bytes, want %d for %s", len(k.Public), want, k.Suite)
	}
	if want := sealKID(k.Suite, k.Public); k.KID != want {
		return nil, fmt.Errorf("kid is not the thumbprint %q", want)
	}
	return kem.NewPublicKey(k.Public)
}

// checked returns a copy of a key that something can be sealed to. An X25519
// point of small order is found only by using it (RFC 7748 section 6.1).
func (k SealKey) checked() (SealKey, error) {
	public, err := k.parsed()
	if err != nil {
		return k, err
	}
	if _, _, err := hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), nil); err != nil {
		return k, fmt.Errorf("nothing can be sealed to it: %w", err)
	}
	return k.clone(), nil
}

func (k SealKey) clone() SealKey {
	k.Public = slices.Clone(k.Public)
	return k
}

// SealPrivate opens what was sealed to its public half. It is safe for
// concurrent use.
type SealPrivate struct {
	key    hpke.PrivateKey
	public SealKey
}

// GenerateSealPrivate makes a key from 32 bytes of the given random source,
// which must not be nil. Sealing itself uses the randomness of crypto/hpke.
func GenerateSealPrivate(suite Suite, random io.Reader) (*SealPrivate, error) {
	if random == nil {
		return nil, errors.New("trust: no source of randomness")
	}
	seed := make([]byte, sealSeed)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fmt.Errorf("trust: generate seal key: %w", err)
	}
	return newSealPrivate(suite, seed)
}

func newSealPrivate(suite Suite, seed []byte) (*SealPrivate, error) {
	kem, err := suite.kem()
	if err != nil {
		return nil, fmt.Errorf("trust: seal key: %w", err)
	}
	key, err := kem.NewPrivateKey(seed)
	if err != nil {
		return nil, fmt.Errorf("trust: seal key: %w", err)
	}
	public := key.PublicKey().Bytes()
	return &SealPrivate{key: key, public: SealKey{KID: sealKID(suite, public), Suite: suite, Public: public}}, nil
}

// ParseSealPrivate reads one PEM block "ASSIZE SEAL KEY" without headers, and
// white space behind it. Its 34 bytes are the KEM identifier of RFC 9180 as a
// 16-bit big-endian integer (0x647a or 0x0020) and the private key of 32 bytes
// as RFC 9180 serialises it: the seed of SuiteHybrid, the scalar of SuiteX25519.
func ParseSealPrivate(b []byte) (*SealPrivate, error) {
	if len(b) > maxSealFile || !bytes.HasPrefix(b, []byte("-----BEGIN "+sealPEM+"-----")) {
		return nil, fmt.Errorf("trust: file does not begin with a PEM block of type %s", sealPEM)
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != sealPEM || len(block.Headers) != 0 || slices.ContainsFunc(rest, notSpace) {
		return nil, errors.New("trust: seal key file is not one plain PEM block")
	}
	if len(block.Bytes) != 2+sealSeed {
		return nil, fmt.Errorf("trust: seal key of %d bytes, want %d", len(block.Bytes), 2+sealSeed)
	}
	id := binary.BigEndian.Uint16(block.Bytes)
	for _, suite := range []Suite{SuiteHybrid, SuiteX25519} {
		if kem, err := suite.kem(); err == nil && kem.ID() == id {
			return newSealPrivate(suite, block.Bytes[2:])
		}
	}
	return nil, fmt.Errorf("trust: seal key for the KEM %#04x, which is not supported", id)
}

// MarshalPEM renders the private key as ParseSealPrivate reads it.
func (p *SealPrivate) MarshalPEM() ([]byte, error) {
	raw, err := p.key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("trust: seal key cannot be exported: %w", err)
	}
	body := binary.BigEndian.AppendUint16(make([]byte, 0, 2+sealSeed), p.key.KEM().ID())
	return pem.EncodeToMemory(&pem.Block{Type: sealPEM, Bytes: append(body, raw...)}), nil
}

// KID is the thumbprint of the public half, see SealKey.
func (p *SealPrivate) KID() string { return p.public.KID }

// Public is the public half for a node file. The time ends its use by others
// and is cut to whole seconds; zero means no end. Keep the private key for the
// life of a session and the clock skew longer: a sender may have used its last
// second.
func (p *SealPrivate) Public(notAfter time.Time) SealKey {
	k := p.public.clone()
	if !notAfter.IsZero() {
		k.NotAfter = time.Unix(notAfter.Unix(), 0).UTC()
	}
	return k
}

// Open decrypts what SealKey.Seal made for this key under the same info. The
// error wraps ErrOpen when anything differs: the key, a member of info, or one
// bit or the length of sealed.
func (p *SealPrivate) Open(info SealInfo, sealed []byte) ([]byte, error) {
	over := p.public.Suite.Overhead()
	if len(sealed) <= over || len(sealed) > over+MaxSealed {
		return nil, fmt.Errorf("%w: %d bytes", ErrOpen, len(sealed))
	}
	context, err := info.hash()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOpen, err)
	}
	plain, err := hpke.Open(p.key, hpke.HKDFSHA256(), hpke.AES256GCM(), context, sealed)
	if err != nil {
		return nil, ErrOpen
	}
	return plain, nil
}
