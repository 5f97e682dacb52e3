// SPDX-License-Identifier: Apache-2.0

package spdm

import (
	"testing"
	"time"
)

func BenchmarkParseVCA(b *testing.B) {
	d := newDevice(b)
	b.SetBytes(int64(len(d.vca)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseVCA(d.vca); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseTranscripts(b *testing.B) {
	d := newDevice(b)
	e, v := d.evidence(b), mustVCA(b, d.vca)
	b.SetBytes(int64(len(e.Measurements) + len(e.Challenge)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseMeasurementTranscript(e.Measurements, v); err != nil {
			b.Fatal(err)
		}
		if _, err := ParseChallengeTranscript(e.Challenge, v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseReport(b *testing.B) {
	raw := sampleReport()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseReport(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	raw, err := newDevice(b).evidence(b).Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkVerify verifies evidence with the signatures that cannot be avoided:
// measurements, and with a challenge two, by the leaf key; one P-384 link (leaf)
// and one P-256 link (intermediate) of the path. The metric x-bare is the time as
// a multiple of these signature checks alone.
func BenchmarkVerify(b *testing.B) {
	for _, c := range []struct {
		name      string
		asym      BaseAsym
		challenge bool
	}{{"P256", ECDSAP256, false}, {"P384", ECDSAP384, false}, {"P384+challenge", ECDSAP384, true}, {"RSA3072", RSASSA3072, false}} {
		b.Run(c.name, func(b *testing.B) {
			d := newDevice(b, func(d *device) { d.asym = c.asym })
			e := d.evidence(b)
			if !c.challenge {
				e.Challenge = nil
			}
			floor := bareChecks(b, d, e)
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if _, err := Verify(e, d.expect()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(floor), "x-bare")
		})
	}
}

// bareChecks is the time of the signature checks alone.
func bareChecks(b *testing.B, d *device, e *Evidence) time.Duration {
	b.Helper()
	v := mustVCA(b, d.vca)
	s, err := ParseMeasurementTranscript(e.Measurements, v)
	if err != nil {
		b.Fatal(err)
	}
	c, err := ParseChain(d.chain, v)
	if err != nil {
		b.Fatal(err)
	}
	const rounds = 50
	start := time.Now()
	for range rounds {
		checks := 1
		if e.Challenge != nil {
			checks = 2
		}
		for range checks {
			if err := CheckSignature(v, c.Leaf().PublicKey, PurposeMeasurements, s[0].Last().Response.Signature, s[0].L1(v)...); err != nil {
				b.Fatal(err)
			}
		}
		for i := 1; i < len(c.Certificates); i++ {
			if err := c.Certificates[i].CheckSignatureFrom(c.Certificates[i-1]); err != nil {
				b.Fatal(err)
			}
		}
	}
	return time.Since(start) / rounds
}
