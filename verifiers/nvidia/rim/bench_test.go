// SPDX-License-Identifier: Apache-2.0

package rim_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verifiers/nvidia/rim"
)

// BenchmarkVerify verifies one manifest of NVIDIA: cold, as if it came for the
// first time, and warm. The metric x-bare is the ratio to the four ECDSA P-384
// checks alone that it needs.
func BenchmarkVerify(b *testing.B) {
	raw := vectors.Read(b, driver550)
	key := newKey(b, elliptic.P384())
	sum := make([]byte, 48)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 40
	start := time.Now()
	for range 4 * rounds {
		if !ecdsa.Verify(&key.PublicKey, sum, r, s) {
			b.Fatal("the signature does not verify")
		}
	}
	bare := float64(time.Since(start)) / rounds
	run := func(name string, verifier func() *rim.Verifier) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				v := verifier()
				b.StartTimer()
				if _, err := v.Verify(raw); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/bare, "x-bare")
		})
	}
	run("cold", func() *rim.Verifier { return newVerifier(b) })
	warm := newVerifier(b)
	run("warm", func() *rim.Verifier { return warm })
}

// BenchmarkCompare compares a report with two manifests, 33 indices.
func BenchmarkCompare(b *testing.B) {
	d := rim.Device{Chip: "GH100", Driver: "545.00", VBIOS: "96.00.5E.00.01", Measurements: measured(b, mockReport)}
	list := recorded(b, mockDriver, mockVBIOS)
	b.ReportAllocs()
	for b.Loop() {
		if !rim.Compare(d, list).Matched() {
			b.Fatal("no match")
		}
	}
}
