// SPDX-License-Identifier: Apache-2.0

package tpm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/binary"
	"math/big"
	"slices"
	"sync"
	"testing"
)

var be = binary.BigEndian

// fake is a TPM with one key, whose every field can be changed.
type fake struct {
	tb     testing.TB
	key    crypto.Signer
	scheme uint16
	hash   uint16

	magic     uint32
	kind      uint16
	extra     []byte
	safe      byte
	banks     []fakeBank
	digest    []byte // nil: the right one
	tail      []byte
	attribute Attributes
}

// fakeBank is an entry of the selection.
type fakeBank struct {
	alg    uint16
	bitmap []byte
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

func newFake(tb testing.TB, scheme, hash uint16) *fake {
	f := &fake{
		tb: tb, scheme: scheme, hash: hash, magic: magic, kind: typeQuote, extra: []byte("0123456789abcdef0123456789abcdef"), safe: 1,
		banks: []fakeBank{{algSHA256, []byte{0x91, 0, 0x80}}}, attribute: FixedTPM | FixedParent | SensitiveDataOrigin | Restricted | Sign,
	}
	switch {
	case scheme != algECDSA:
		f.key = rsaKey()
	default:
		curve := elliptic.P256()
		if hash == algSHA384 {
			curve = elliptic.P384()
		}
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		f.key = k
	}
	return f
}

// bank are the values of the registers 0, 4, 7 and 23.
func bank() Bank {
	b := Bank{Hash: crypto.SHA256, PCRs: map[int][]byte{}}
	for _, pcr := range []int{0, 4, 7, 23} {
		b.PCRs[pcr] = bytes.Repeat([]byte{byte(pcr + 1)}, 32)
	}
	return b
}

func (f *fake) attest() []byte {
	out := be.AppendUint16(be.AppendUint32(nil, f.magic), f.kind)
	out = sized(out, append([]byte{0, 0x0b}, bytes.Repeat([]byte{7}, 32)...))
	out = sized(out, f.extra)
	out = be.AppendUint64(out, 123456)
	out = append(be.AppendUint32(be.AppendUint32(out, 3), 2), f.safe)
	out = be.AppendUint64(out, 0x20260101)
	out = be.AppendUint32(out, uint32(len(f.banks)))
	for _, b := range f.banks {
		out = append(append(be.AppendUint16(out, b.alg), byte(len(b.bitmap))), b.bitmap...)
	}
	digest := f.digest
	if digest == nil {
		h := hashOf(f.hash).New()
		b := bank()
		for _, pcr := range slices.Sorted(func(yield func(int) bool) {
			for pcr := range b.PCRs {
				if !yield(pcr) {
					return
				}
			}
		}) {
			h.Write(b.PCRs[pcr])
		}
		digest = h.Sum(nil)
	}
	return append(sized(out, digest), f.tail...)
}

func sized(out, b []byte) []byte { return append(be.AppendUint16(out, uint16(len(b))), b...) }

func (f *fake) sign(message []byte) []byte {
	hash := hashOf(f.hash)
	h := hash.New()
	h.Write(message)
	head := be.AppendUint16(be.AppendUint16(nil, f.scheme), f.hash)
	var opts crypto.SignerOpts = hash
	if f.scheme == algRSAPSS {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
	}
	sig, err := f.key.Sign(rand.Reader, h.Sum(nil), opts)
	if err != nil {
		f.tb.Fatal(err)
	}
	if f.scheme != algECDSA {
		return sized(head, sig)
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(sig, &rs); err != nil {
		f.tb.Fatal(err)
	}
	return sized(sized(head, rs.R.Bytes()), rs.S.Bytes())
}

func (f *fake) signature(message []byte) Signature {
	s, err := ParseSignature(f.sign(message))
	if err != nil {
		f.tb.Fatal(err)
	}
	return s
}

func (f *fake) public() []byte {
	kind := uint16(algRSA)
	if f.scheme == algECDSA {
		kind = algECC
	}
	out := be.AppendUint32(be.AppendUint16(be.AppendUint16(nil, kind), algSHA256), uint32(f.attribute))
	for _, v := range []uint16{0, algNull, f.scheme, f.hash} {
		out = be.AppendUint16(out, v)
	}
	switch key := f.key.Public().(type) {
	case *rsa.PublicKey:
		return sized(be.AppendUint32(be.AppendUint16(out, 2048), 0), key.N.Bytes())
	case *ecdsa.PublicKey:
		raw, err := key.Bytes()
		if err != nil {
			f.tb.Fatal(err)
		}
		curve, n := uint16(curveP256), len(raw)/2
		if n == 48 {
			curve = curveP384
		}
		out = be.AppendUint16(be.AppendUint16(out, curve), algNull)
		return sized(sized(out, raw[1:1+n]), raw[1+n:])
	}
	return nil
}

// schemes are all combinations that are accepted.
var schemes = [][2]uint16{
	{algRSASSA, algSHA256}, {algRSASSA, algSHA384}, {algRSAPSS, algSHA256}, {algRSAPSS, algSHA384}, {algECDSA, algSHA256}, {algECDSA, algSHA384},
}
