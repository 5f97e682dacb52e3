// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"context"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/lru"
	"github.com/assize/assize/verifiers"
)

// bare is the time of one P-384 verification of the recorded report, without
// anything around it.
func bare(b *testing.B) time.Duration {
	b.Helper()
	leaf, _ := mockLeaf(b)
	d, err := decodeDevice(leaf)
	if err != nil {
		b.Fatal(err)
	}
	r, err := ParseReport(d.report)
	if err != nil {
		b.Fatal(err)
	}
	a, err := newAnchors(nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err := a.verify(d.pem, at)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 50
	start := time.Now()
	for range rounds {
		if !verifySignature(c.key, r.Signed, r.Signature) {
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

// BenchmarkAppraiseFleet knows the fleet's certificates, not the device.
func BenchmarkAppraiseFleet(b *testing.B) {
	v := newTest(b, verifiers.Deps{}).(*verifier)
	leaf, nonce := mockLeaf(b)
	appraise(b, v, leaf, nonce, at)
	benchAppraise(b, 3, func() verifiers.Verifier {
		v.anchors.devices = lru.New[*chain](1)
		return v
	})
}

// BenchmarkAppraiseHot knows the device's chain too.
func BenchmarkAppraiseHot(b *testing.B) {
	v := newTest(b, verifiers.Deps{})
	benchAppraise(b, 1, func() verifiers.Verifier { return v })
}

func BenchmarkParseReport(b *testing.B) {
	raw := recorded(b)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseReport(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeDevice(b *testing.B) {
	leaf, _ := mockLeaf(b)
	b.SetBytes(int64(len(leaf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeDevice(leaf); err != nil {
			b.Fatal(err)
		}
	}
}
