// SPDX-License-Identifier: Apache-2.0

package inteltdx_test

import (
	"crypto"
	"crypto/elliptic"
	"crypto/sha256"
	"testing"

	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/attester/pki"
)

func BenchmarkEvidence(b *testing.B) {
	d := newDevice(b, options())
	data := reportData("n")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Evidence(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := inteltdx.New(options()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignature is the one signature that a quote cannot do without.
func BenchmarkSignature(b *testing.B) {
	key, err := pki.NewSeed("k").ECDSA(elliptic.P256())
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("m"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := pki.SignFixed(key, crypto.SHA256, digest[:]); err != nil {
			b.Fatal(err)
		}
	}
}
