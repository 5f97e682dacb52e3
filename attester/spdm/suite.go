// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"sync"

	"github.com/assize/assize/attester/pki"
)

// Suite is a pair of base asymmetric algorithm and base hash.
type Suite uint8

// Suites. RSA with 3072 bits, P-256 and P-384 are the mandatory set of PCIe CMA.
const (
	SuiteP384       Suite = iota // ECDSA P-384 with SHA-384, the default
	SuiteP256                    // ECDSA P-256 with SHA-256
	SuiteP521                    // ECDSA P-521 with SHA-512
	SuiteRSASSA3072              // RSASSA-PKCS1-v1_5 of 3072 bits with SHA-384
	SuiteRSAPSS3072              // RSASSA-PSS of 3072 bits with SHA-384
	SuiteEd25519                 // Ed25519 with SHA-256, from SPDM 1.2 on
	SuiteRSASSA2048              // RSASSA-PKCS1-v1_5 of 2048 bits with SHA-256: weak
	SuiteRSAPSS2048              // RSASSA-PSS of 2048 bits with SHA-256: weak
	SuiteRSASSA4096              // RSASSA-PKCS1-v1_5 of 4096 bits with SHA-512
	SuiteRSAPSS4096              // RSASSA-PSS of 4096 bits with SHA-512
	SuiteP256SHA384              // ECDSA P-256 with SHA-384
)

// suite is what a Suite stands for: bits of BaseAsymSel, BaseHashSel and the
// Diffie-Hellman group (DSP0274, ALGORITHMS).
type suite struct {
	name       string
	asym, hash uint32
	dhe        uint16
	base       crypto.Hash
	curve      elliptic.Curve // nil without ECDSA
	rsa        int            // modulus in bits, 0 without RSA
	pss        bool
	size       int // of a signature, bytes
}

func suites() []suite {
	return []suite{
		SuiteP384:       {name: "P-384", asym: 0x80, hash: 0x02, dhe: 0x10, base: crypto.SHA384, curve: elliptic.P384(), size: 96},
		SuiteP256:       {name: "P-256", asym: 0x10, hash: 0x01, dhe: 0x08, base: crypto.SHA256, curve: elliptic.P256(), size: 64},
		SuiteP521:       {name: "P-521", asym: 0x100, hash: 0x04, dhe: 0x20, base: crypto.SHA512, curve: elliptic.P521(), size: 132},
		SuiteRSASSA3072: {name: "RSASSA-3072", asym: 0x04, hash: 0x02, dhe: 0x10, base: crypto.SHA384, rsa: 3072, size: 384},
		SuiteRSAPSS3072: {name: "RSAPSS-3072", asym: 0x08, hash: 0x02, dhe: 0x10, base: crypto.SHA384, rsa: 3072, pss: true, size: 384},
		SuiteEd25519:    {name: "Ed25519", asym: 0x400, hash: 0x01, dhe: 0x08, base: crypto.SHA256, size: 64},
		SuiteRSASSA2048: {name: "RSASSA-2048", asym: 0x01, hash: 0x01, dhe: 0x08, base: crypto.SHA256, rsa: 2048, size: 256},
		SuiteRSAPSS2048: {name: "RSAPSS-2048", asym: 0x02, hash: 0x01, dhe: 0x08, base: crypto.SHA256, rsa: 2048, pss: true, size: 256},
		SuiteRSASSA4096: {name: "RSASSA-4096", asym: 0x20, hash: 0x04, dhe: 0x20, base: crypto.SHA512, rsa: 4096, size: 512},
		SuiteRSAPSS4096: {name: "RSAPSS-4096", asym: 0x40, hash: 0x04, dhe: 0x20, base: crypto.SHA512, rsa: 4096, pss: true, size: 512},
		SuiteP256SHA384: {name: "P-256 with SHA-384", asym: 0x10, hash: 0x02, dhe: 0x08, base: crypto.SHA384, curve: elliptic.P256(), size: 64},
	}
}

func (s Suite) known() bool { return int(s) < len(suites()) }

func (s Suite) get() suite { return suites()[s] }

func (s Suite) hash() crypto.Hash { return s.get().base }

// String is the usual name of the signature algorithm.
func (s Suite) String() string {
	if !s.known() {
		return fmt.Sprintf("suite %d", uint8(s))
	}
	return s.get().name
}

// authority is the curve of root and intermediate authority, whose algorithm
// SPDM leaves open: P-384 for suites without a curve.
func (s Suite) authority() elliptic.Curve {
	if c := s.get().curve; c != nil {
		return c
	}
	return elliptic.P384()
}

// Shared keeps RSA keys, which take a second to make. The zero value is ready;
// it is safe for concurrent use.
type Shared struct {
	mu   sync.Mutex
	keys map[string]*rsa.PrivateKey
}

// rsa derives a key, or remembers it. A nil Shared remembers nothing.
func (s *Shared) rsa(seed pki.Seed, bits int) (*rsa.PrivateKey, error) {
	if s == nil {
		return seed.RSA(bits)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := fmt.Sprintf("%d %x", bits, seed.Sub("identifier").Bytes(16))
	if k, ok := s.keys[id]; ok {
		return k, nil
	}
	k, err := seed.RSA(bits)
	if err != nil {
		return nil, err
	}
	if s.keys == nil {
		s.keys = map[string]*rsa.PrivateKey{}
	}
	s.keys[id] = k
	return k, nil
}

// deviceKey derives the key of a device.
func deviceKey(o Options, seed pki.Seed) (crypto.Signer, error) {
	switch s := o.Suite.get(); {
	case s.curve != nil:
		return seed.ECDSA(s.curve)
	case s.rsa != 0:
		return o.Shared.rsa(seed, s.rsa)
	default:
		return ed25519.NewKeyFromSeed(seed.Sub("ed25519").Bytes(ed25519.SeedSize)), nil
	}
}

// sign makes a signature as SPDM encodes it. prefix is nil up to 1.1; from 1.2 on
// ECDSA and RSA sign the hash of prefix and transcript hash, and Ed25519 these
// two themselves. The same input gives the same bytes.
func sign(s suite, key crypto.Signer, prefix, transcript []byte) ([]byte, error) {
	digest := transcript
	if prefix != nil {
		digest = sum(s.base, prefix, transcript)
	}
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return pki.SignFixed(k, s.base, digest)
	case *rsa.PrivateKey:
		if !s.pss {
			return rsa.SignPKCS1v15(nil, k, s.base, digest)
		}
		salt := pki.NewSeed(string(digest)).Sub("salt").Reader()
		return rsa.SignPSS(salt, k, s.base, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	case ed25519.PrivateKey:
		return ed25519.Sign(k, append(append([]byte(nil), prefix...), transcript...)), nil
	}
	return nil, fmt.Errorf("spdm: key of type %T", key)
}
