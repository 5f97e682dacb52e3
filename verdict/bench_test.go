// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/assize/assize/trust"
)

// Bare ES256, to compare the others with.
func BenchmarkES256(b *testing.B) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	msg := make([]byte, 2048)
	digest := sha256.Sum256(msg)
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := sha256.Sum256(msg)
			if _, err := ecdsa.SignASN1(rand.Reader, key, d[:]); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := sha256.Sum256(msg)
			if !ecdsa.VerifyASN1(&key.PublicKey, d[:], sig) {
				b.Fatal("signature")
			}
		}
	})
}

// bare measures one ES256 signature check in nanoseconds.
func bare(b *testing.B) float64 {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(nil)
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 500
	start := time.Now()
	for range rounds {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], sig) {
			b.Fatal("signature")
		}
	}
	return float64(time.Since(start).Nanoseconds()) / rounds
}

// ratio reports the cost in multiples of the signature checks inside.
func ratio(b *testing.B, checks int, one float64) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(float64(checks)*one), "x-signatures")
}

func BenchmarkSignPartial(b *testing.B) {
	l := newLab(b, trust.ES256)
	i, a := testIssue("gpu/0", "nvidia-gpu"), testAppraisal()
	b.ReportAllocs()
	for b.Loop() {
		mustSign(b, l.gpu, i, a)
	}
}

func BenchmarkVerifyPartial(b *testing.B) {
	l := newLab(b, trust.ES256)
	i := testIssue("gpu/0", "nvidia-gpu")
	token := mustSign(b, l.gpu, i, testAppraisal())
	one := bare(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := VerifyPartial(token, expectOf(i), testIntake(), l.anchors); err != nil {
			b.Fatal(err)
		}
	}
	ratio(b, 1, one)
}

func BenchmarkSignResult(b *testing.B) {
	for _, n := range []int{2, 13} {
		b.Run(fmt.Sprint(n, "-components"), func(b *testing.B) {
			l := newLab(b, trust.ES256)
			r := l.machine(b, n-1)
			b.ReportAllocs()
			for b.Loop() {
				l.sign(b, r)
			}
		})
	}
}

func BenchmarkVerifyResult(b *testing.B) {
	for _, n := range []int{2, 13} {
		b.Run(fmt.Sprint(n, "-components"), func(b *testing.B) {
			l := newLab(b, trust.ES256)
			token := l.sign(b, l.machine(b, n-1))
			one := bare(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := VerifyResult(token, aarIntake(), l.anchors); err != nil {
					b.Fatal(err)
				}
			}
			ratio(b, n+1, one)
		})
	}
}

func BenchmarkCombine(b *testing.B) {
	l := newLab(b, trust.EdDSA)
	r := l.machine(b, 12)
	b.ReportAllocs()
	for b.Loop() {
		Combine(r.Components, r.Caps)
	}
}
