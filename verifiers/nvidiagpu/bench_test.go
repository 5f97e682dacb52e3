// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha512"
	"testing"
	"time"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers"
)

// bare is the time of one P-384 verification of a report as long as the
// recorded one, without anything around it.
func bare(b *testing.B) time.Duration {
	b.Helper()
	f := newFake(b)
	msg := recorded(b)
	sum := sha512.Sum384(msg)
	sig, err := ecdsa.SignASN1(rand.Reader, f.Keys[0], sum[:])
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 50
	start := time.Now()
	for range rounds {
		sum := sha512.Sum384(msg)
		if !ecdsa.VerifyASN1(&f.Keys[0].PublicKey, sum[:], sig) {
			b.Fatal("signature")
		}
	}
	return time.Since(start) / rounds
}

// benchAppraise reports the time as a multiple of the signature checks that
// cannot be avoided.
func benchAppraise(b *testing.B, signatures int, v func() verifiers.Verifier) {
	leaf, nonce := mockLeaf(b)
	in := verifiers.Input{MediaType: evidence.MediaType{Base: MediaType}, Evidence: leaf, Nonce: nonce, Time: at}
	floor := bare(b) * time.Duration(signatures)
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		if a, err := v().Appraise(context.Background(), in); err != nil || len(a.Reasons) != 3 {
			b.Fatal(a.Reasons, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(floor), "x-bare")
}

// BenchmarkAppraiseCold verifies all four links and the report.
func BenchmarkAppraiseCold(b *testing.B) {
	benchAppraise(b, 5, func() verifiers.Verifier { return newTest(b, verifiers.Deps{}) })
}

// BenchmarkReferences is a hot appraisal without and with reference values, the
// right ones among twenty of other releases. The metric x-without is the ratio of
// the second to the first.
func BenchmarkReferences(b *testing.B) {
	f := measuring(b)
	raw := f.Leaf()
	entries := []refvalues.Entry{f.values("GH100", span(0, 40)...)}
	for i := range 19 {
		other := f.values("GH100", span(0, 40)...)
		for _, v := range other.Values {
			v.Digests[0].Value[0] ^= byte(i + 1)
		}
		entries = append(entries, other)
	}
	v := newTest(b, f.roots())
	appraise := func(x *corim.Index) {
		if _, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: f.Nonce, Time: at, References: x,
		}); err != nil {
			b.Fatal(err)
		}
	}
	x := indexOf(b, entries...)
	appraise(x)
	const rounds = 200
	start := time.Now()
	for range rounds {
		appraise(nil)
	}
	without := float64(time.Since(start)) / rounds
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		appraise(x)
	}
	b.ReportMetric(float64(b.Elapsed())/float64(b.N)/without, "x-without")
}

// BenchmarkAppraiseHot knows the device's chain too.
func BenchmarkAppraiseHot(b *testing.B) {
	v := newTest(b, verifiers.Deps{})
	benchAppraise(b, 1, func() verifiers.Verifier { return v })
}
