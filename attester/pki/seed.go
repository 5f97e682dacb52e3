// SPDX-License-Identifier: Apache-2.0

// Package pki makes the test keys, certificates and revocation lists of
// simulated machines. Everything follows from a Seed: the same seed gives the
// same bytes, in this process and the next. Keys made here are worth nothing:
// who knows the seed knows them. Begin with NewSeed.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
)

// Seed is a node in a tree of secrets. The zero value is a valid seed, and the
// same one everywhere.
type Seed struct{ key [32]byte }

// NewSeed starts a tree from any text.
func NewSeed(text string) Seed { return Seed{sha256.Sum256([]byte("assize test seed\x00" + text))} }

// Sub is the seed for one purpose below this one. Names are joined with a byte
// that no name contains, so ("a", "b") and ("ab") differ.
func (s Seed) Sub(names ...string) Seed {
	h := sha256.New()
	h.Write(s.key[:])
	h.Write([]byte(strings.Join(names, "\x00")))
	var out Seed
	h.Sum(out.key[:0])
	return out
}

// Bytes gives n pseudorandom bytes, at most 8160 (HKDF-SHA-256, RFC 5869). It
// is the same stream for every n: a shorter answer is a prefix of a longer.
func (s Seed) Bytes(n int) []byte {
	out, err := hkdf.Expand(sha256.New, s.key[:], "bytes", n)
	if err != nil { // n is a constant of the caller
		return nil
	}
	return out
}

// Uint64 gives a pseudorandom number.
func (s Seed) Uint64() uint64 { return binary.LittleEndian.Uint64(s.Bytes(8)) }

// Serial gives a positive certificate serial number of 16 bytes.
func (s Seed) Serial() *big.Int {
	b := s.Sub("serial").Bytes(16)
	b[0] = b[0]&0x3f | 0x40
	return new(big.Int).SetBytes(b)
}

// Reader is an endless pseudorandom stream (ChaCha8).
func (s Seed) Reader() io.Reader { return mathrand.NewChaCha8(s.key) }

// ECDSA derives a key on curve: a candidate scalar of the curve's length that
// is out of range is replaced by the next one.
func (s Seed) ECDSA(curve elliptic.Curve) (*ecdsa.PrivateKey, error) {
	size := (curve.Params().BitSize + 7) / 8
	for i := range 64 {
		d := s.Sub("ecdsa", curve.Params().Name, fmt.Sprint(i)).Bytes(size)
		if curve.Params().BitSize%8 != 0 {
			d[0] &= byte(1<<(curve.Params().BitSize%8)) - 1
		}
		if key, err := ecdsa.ParseRawPrivateKey(curve, d); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("pki: no valid scalar in 64 candidates")
}

// RSA derives a key of the given length in bits with the exponent 65537. It
// takes about a second for 4096 bits: keep the key.
func (s Seed) RSA(bits int) (*rsa.PrivateKey, error) {
	stream := s.Sub("rsa", fmt.Sprint(bits)).Reader()
	e := big.NewInt(65537)
	for range 8 {
		p, err := prime(stream, bits/2, e)
		if err != nil {
			return nil, err
		}
		q, err := prime(stream, bits/2, e)
		if err != nil {
			return nil, err
		}
		one := big.NewInt(1)
		phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
		key := &rsa.PrivateKey{
			PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())},
			D:         new(big.Int).ModInverse(e, phi), Primes: []*big.Int{p, q},
		}
		if key.D == nil || key.N.BitLen() != bits || key.Validate() != nil {
			continue
		}
		key.Precompute()
		return key, nil
	}
	return nil, errors.New("pki: no valid RSA key in 8 attempts")
}

// prime takes candidates with their two top bits and the lowest set, and with
// p-1 prime to e.
func prime(r io.Reader, bits int, e *big.Int) (*big.Int, error) {
	buf := make([]byte, bits/8)
	one, small := big.NewInt(1), smallPrimes()
	for range 100_000 {
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, fmt.Errorf("pki: %w", err)
		}
		buf[0] |= 0xc0
		buf[len(buf)-1] |= 1
		p := new(big.Int).SetBytes(buf)
		if new(big.Int).GCD(nil, nil, p, small).Cmp(one) != 0 {
			continue // quicker than the test below, which would say the same
		}
		if p.ProbablyPrime(20) && new(big.Int).GCD(nil, nil, e, new(big.Int).Sub(p, one)).Cmp(one) == 0 {
			return p, nil
		}
	}
	return nil, errors.New("pki: no prime in 100000 candidates")
}

// smallPrimes is the product of the odd primes below 8192.
func smallPrimes() *big.Int {
	product := big.NewInt(1)
	composite := make([]bool, 8192)
	for i := 3; i < len(composite); i += 2 {
		if composite[i] {
			continue
		}
		product.Mul(product, big.NewInt(int64(i)))
		for j := i * i; j < len(composite); j += 2 * i {
			composite[j] = true
		}
	}
	return product
}
