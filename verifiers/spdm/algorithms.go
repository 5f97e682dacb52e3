// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	_ "crypto/sha256" // registers SHA-256 for crypto.Hash
	_ "crypto/sha3"   // registers SHA-3 for crypto.Hash
	_ "crypto/sha512" // registers SHA-384 and SHA-512 for crypto.Hash
	"fmt"
	"math/bits"
)

// BaseAsym is the selected signature algorithm of the responder, one bit of
// BaseAsymSel in ALGORITHMS.
type BaseAsym uint32

// The signature algorithms (DSP0274, BaseAsymAlgo).
const (
	RSASSA2048 BaseAsym = 0x001
	RSAPSS2048 BaseAsym = 0x002
	RSASSA3072 BaseAsym = 0x004
	RSAPSS3072 BaseAsym = 0x008
	ECDSAP256  BaseAsym = 0x010
	RSASSA4096 BaseAsym = 0x020
	RSAPSS4096 BaseAsym = 0x040
	ECDSAP384  BaseAsym = 0x080
	ECDSAP521  BaseAsym = 0x100
	SM2P256    BaseAsym = 0x200
	Ed25519    BaseAsym = 0x400
	Ed448      BaseAsym = 0x800
)

// asymInfo describes one signature algorithm. A nil check means that the
// package cannot verify it.
type asymInfo struct {
	name string
	size int // signature in bytes
	bits int // key in bits: modulus, or curve order size
	rsa  bool
	pss  bool
	ok   bool
}

func (a BaseAsym) info() (asymInfo, bool) {
	switch a {
	case RSASSA2048:
		return asymInfo{name: "RSASSA-2048", size: 256, bits: 2048, rsa: true, ok: true}, true
	case RSAPSS2048:
		return asymInfo{name: "RSAPSS-2048", size: 256, bits: 2048, rsa: true, pss: true, ok: true}, true
	case RSASSA3072:
		return asymInfo{name: "RSASSA-3072", size: 384, bits: 3072, rsa: true, ok: true}, true
	case RSAPSS3072:
		return asymInfo{name: "RSAPSS-3072", size: 384, bits: 3072, rsa: true, pss: true, ok: true}, true
	case RSASSA4096:
		return asymInfo{name: "RSASSA-4096", size: 512, bits: 4096, rsa: true, ok: true}, true
	case RSAPSS4096:
		return asymInfo{name: "RSAPSS-4096", size: 512, bits: 4096, rsa: true, pss: true, ok: true}, true
	case ECDSAP256:
		return asymInfo{name: "ECDSA-P256", size: 64, bits: 256, ok: true}, true
	case ECDSAP384:
		return asymInfo{name: "ECDSA-P384", size: 96, bits: 384, ok: true}, true
	case ECDSAP521:
		return asymInfo{name: "ECDSA-P521", size: 132, bits: 521, ok: true}, true
	case Ed25519:
		return asymInfo{name: "Ed25519", size: 64, bits: 256, ok: true}, true
	case SM2P256:
		return asymInfo{name: "SM2-P256", size: 64}, true
	case Ed448:
		return asymInfo{name: "Ed448", size: 114}, true
	}
	return asymInfo{}, false
}

// SignatureSize returns the length of a signature in bytes, 0 if unknown.
func (a BaseAsym) SignatureSize() int { i, _ := a.info(); return i.size }

// String returns a readable name.
func (a BaseAsym) String() string {
	if i, ok := a.info(); ok {
		return i.name
	}
	return fmt.Sprintf("base asym 0x%x", uint32(a))
}

// BaseHash is the selected hash of transcripts, chain digests, root hash and
// summary hash: one bit of BaseHashSel in ALGORITHMS.
type BaseHash uint32

// The base hashes (DSP0274, BaseHashAlgo).
const (
	BaseSHA256  BaseHash = 0x01
	BaseSHA384  BaseHash = 0x02
	BaseSHA512  BaseHash = 0x04
	BaseSHA3256 BaseHash = 0x08
	BaseSHA3384 BaseHash = 0x10
	BaseSHA3512 BaseHash = 0x20
	BaseSM3     BaseHash = 0x40
)

// hashNames are the names in the order of the bits of BaseHash; those of
// MeasurementHash are one bit higher, because its bit 0 means raw streams only.
var hashNames = [...]string{"SHA-256", "SHA-384", "SHA-512", "SHA3-256", "SHA3-384", "SHA3-512", "SM3-256"}

// Hash returns the hash function; ok is false for what this package does not
// compute (SM3).
func (h BaseHash) Hash() (f crypto.Hash, ok bool) {
	switch h {
	case BaseSHA256:
		return crypto.SHA256, true
	case BaseSHA384:
		return crypto.SHA384, true
	case BaseSHA512:
		return crypto.SHA512, true
	case BaseSHA3256:
		return crypto.SHA3_256, true
	case BaseSHA3384:
		return crypto.SHA3_384, true
	case BaseSHA3512:
		return crypto.SHA3_512, true
	}
	return 0, false
}

// Size returns the length of a digest in bytes, 0 if unknown.
func (h BaseHash) Size() int {
	switch h {
	case BaseSHA256, BaseSHA3256, BaseSM3:
		return 32
	case BaseSHA384, BaseSHA3384:
		return 48
	case BaseSHA512, BaseSHA3512:
		return 64
	}
	return 0
}

// String returns a readable name.
func (h BaseHash) String() string {
	if i := bits.TrailingZeros32(uint32(h)); bits.OnesCount32(uint32(h)) == 1 && i < len(hashNames) {
		return hashNames[i]
	}
	return fmt.Sprintf("base hash 0x%x", uint32(h))
}

// sum hashes the concatenation of parts. Only for hashes that ParseVCA accepted.
func (h BaseHash) sum(parts ...[]byte) []byte {
	f, ok := h.Hash()
	if !ok {
		return nil
	}
	d := f.New()
	for _, p := range parts {
		d.Write(p)
	}
	return d.Sum(nil)
}

// MeasurementHash is the selected hash of digests in measurement blocks: one
// bit of MeasurementHashAlgo in ALGORITHMS. Its bits are shifted by one against
// those of BaseHash, and the two selections are independent.
type MeasurementHash uint32

// The measurement hashes (DSP0274, MeasurementHashAlgo).
const (
	MeasurementRaw     MeasurementHash = 0x01 // raw bit streams only, no digests
	MeasurementSHA256  MeasurementHash = 0x02
	MeasurementSHA384  MeasurementHash = 0x04
	MeasurementSHA512  MeasurementHash = 0x08
	MeasurementSHA3256 MeasurementHash = 0x10
	MeasurementSHA3384 MeasurementHash = 0x20
	MeasurementSHA3512 MeasurementHash = 0x40
	MeasurementSM3     MeasurementHash = 0x80
)

// base returns the base hash with the same function, 0 for raw.
func (m MeasurementHash) base() BaseHash { return BaseHash(m >> 1) }

// Hash returns the hash function; ok is false for raw and SM3.
func (m MeasurementHash) Hash() (f crypto.Hash, ok bool) { return m.base().Hash() }

// Size returns the length of a digest in bytes, 0 for raw or unknown.
func (m MeasurementHash) Size() int { return m.base().Size() }

// String returns a readable name.
func (m MeasurementHash) String() string {
	if m == MeasurementRaw {
		return "raw"
	}
	return m.base().String()
}

// single tells whether exactly one of the bits of known is set in v, and no other.
func single(v, known uint32) bool { return bits.OnesCount32(v) == 1 && v&^known == 0 }
