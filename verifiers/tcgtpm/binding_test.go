// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	stdjson "encoding/json"
	"math/big"
	"testing"

	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// The key that signed is the one to which a CPU's report commits by the
// paravisor's runtime data, in the spelling in which the lead compares them; and
// that is so whether anybody vouches for the key or not.
func TestSignerIsTheKeyOfRuntimeData(t *testing.T) {
	for name, key := range map[string]sim.KeyType{"RSA": sim.RSA2048, "P-256": sim.P256} {
		d := device(t, func(o *sim.Options) { o.Key, o.Uncertified = key, true })
		a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce()})
		if want := hexSum(runtimeKey(t, d.RuntimeData())); a.Facts.SignerSPKI != want {
			t.Errorf("%s: signed by %s, the runtime data have %s", name, a.Facts.SignerSPKI, want)
		}
		if a.Status() != verdict.TierWarning || !has(a, verdict.ReasonKeyNotVouchedFor, a.Facts.SignerSPKI[:16]) {
			t.Errorf("%s: %s %v", name, a.Status(), a.Reasons)
		}
	}
}

// runtimeKey is the SubjectPublicKeyInfo of the attestation key in runtime data.
func runtimeKey(t *testing.T, raw []byte) []byte {
	t.Helper()
	var doc struct {
		Keys []struct{ Kid, N, E, X, Y string }
	}
	if err := stdjson.Unmarshal(raw, &doc); err != nil || doc.Keys[0].Kid != "HCLAkPub" {
		t.Fatal(err)
	}
	number := func(text string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	k := doc.Keys[0]
	var key any = &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
	if k.N == "" {
		point := make([]byte, 65)
		point[0] = 4 // uncompressed
		number(k.X).FillBytes(point[1:33])
		number(k.Y).FillBytes(point[33:])
		var err error
		if key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			t.Fatal(err)
		}
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
