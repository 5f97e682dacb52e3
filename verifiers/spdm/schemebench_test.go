// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"context"
	"testing"
	"time"

	"github.com/assize/assize/verifiers"
)

// BenchmarkAppraise compares a whole appraisal of a device with its challenge and
// reference values with the signature checks that nobody can leave out: two by the
// leaf, and the path where it is not known yet. Cold makes a new verifier each
// time. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	for _, c := range []struct {
		name string
		opts []func(*device)
		cold bool
	}{{"cold", nil, true}, {"warm", nil, false}, {"warm-P256", list(p256), false}} {
		b.Run(c.name, func(b *testing.B) {
			d, v, in := affirmed(b, c.opts...)
			deps := trusting(b, d.anchor, d.slot, "", "", "")
			bare := bareAppraisal(b, d, in, c.cold)
			var spent time.Duration
			b.ReportAllocs()
			for b.Loop() {
				if c.cold {
					b.StopTimer()
					v = newTest(b, deps)
					b.StartTimer()
				}
				if _, err := v.Appraise(context.Background(), in); err != nil {
					b.Fatal(err)
				}
				// Next to it, so that both meet the same load.
				b.StopTimer()
				start := time.Now()
				bare()
				spent += time.Since(start)
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed())/float64(spent), "x-bare")
		})
	}
}

// bareAppraisal are the signature checks of one appraisal.
func bareAppraisal(b *testing.B, d *device, in verifiers.Input, cold bool) func() {
	b.Helper()
	e, err := Decode(in.Evidence)
	if err != nil {
		b.Fatal(err)
	}
	v := mustVCA(b, d.vca)
	s, err := ParseMeasurementTranscript(e.Measurements, v)
	if err != nil {
		b.Fatal(err)
	}
	m, err := ParseChallengeTranscript(e.Challenge, v)
	if err != nil {
		b.Fatal(err)
	}
	c, err := ParseChain(d.chain, v)
	if err != nil {
		b.Fatal(err)
	}
	return func() {
		key := c.Leaf().PublicKey
		if CheckSignature(v, key, PurposeMeasurements, s[0].Last().Response.Signature, s[0].L1(v)...) != nil ||
			CheckSignature(v, key, PurposeChallenge, m.Response.Signature, m.M1(v)...) != nil {
			b.Fatal("bare checks fail")
		}
		for i := 1; cold && i < len(c.Certificates); i++ {
			if c.Certificates[i].CheckSignatureFrom(c.Certificates[i-1]) != nil {
				b.Fatal("bare checks fail")
			}
		}
	}
}

// BenchmarkParse reads everything of a full transcript: container, negotiation,
// measurements, challenge, interface report. Certificates are parsed once for each
// chain, by the standard library.
func BenchmarkParse(b *testing.B) {
	d := newDevice(b)
	fullBlocks(d)
	e := d.evidence(b)
	e.Report, e.Digests = interfaceReport(goodInfo, "abc", goodRanges...), d.digests()
	raw, err := e.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		e, err := Decode(raw)
		if err != nil {
			b.Fatal(err)
		}
		v, err := ParseVCA(e.VCA)
		if err != nil {
			b.Fatal(err)
		}
		if _, err = ParseMeasurementTranscript(e.Measurements, v); err != nil {
			b.Fatal(err)
		}
		if _, err = ParseChallengeTranscript(e.Challenge, v); err != nil {
			b.Fatal(err)
		}
		if _, err = ParseDigests(e.Digests, v); err != nil {
			b.Fatal(err)
		}
		if _, err = ParseReport(e.Report); err != nil {
			b.Fatal(err)
		}
	}
}
