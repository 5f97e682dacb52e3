// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"testing"
)

func TestHandleSignsAndHidesTheKey(t *testing.T) {
	msg := []byte("message")
	d256, d384 := sha256.Sum256(msg), sha512.Sum384(msg)
	for alg, input := range map[string][]byte{ES256: d256[:], ES384: d384[:], EdDSA: msg} {
		s, err := GenerateSigner(alg, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		h := s.Handle()
		switch h.(type) {
		case *ecdsa.PrivateKey, ed25519.PrivateKey:
			t.Fatalf("%s: the handle is the key", alg)
		}
		sig, err := h.Sign(rand.Reader, input, nil)
		if err != nil {
			t.Fatal(err)
		}
		ok := false
		switch pub := h.Public().(type) {
		case *ecdsa.PublicKey:
			ok = ecdsa.VerifyASN1(pub, input, sig)
		case ed25519.PublicKey:
			ok = ed25519.Verify(pub, input, sig)
		}
		if !ok {
			t.Errorf("%s: signature does not verify", alg)
		}
		if _, err := h.Sign(rand.Reader, input, crypto.SHA512); err == nil {
			t.Errorf("%s: signs with another hash", alg)
		}
		if alg == EdDSA {
			continue
		}
		if _, err := h.Sign(rand.Reader, input[1:], nil); err == nil {
			t.Errorf("%s: signs a digest of another length", alg)
		}
	}
}
