// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"testing"
	"time"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers"
)

// BenchmarkAppraise compares a whole appraisal with the signature checks that
// nobody can leave out: QE report and quote where the PCK chain is known, two
// certificates more where it is not. Cold makes a new verifier each time, which
// verifies all collateral. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	m := newMachine(b)
	raw := m.quote()
	file := m.collateral()
	in := verifiers.Input{MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: m.body[520:584], Time: m.now}
	for _, c := range []struct {
		name             string
		collateral, cold bool
	}{
		{"no-collateral/cold", false, true},
		{"no-collateral/hot", false, false},
		{"collateral/cold", true, true},
		{"collateral/hot", true, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := m.deps(nil)
			if c.collateral {
				d.Endorsements = bundle(b, file)
			}
			v := newTest(b, d)
			chain := m.chainChecks(b, c.cold)
			bare := timePer(200, func() { m.bareChecks(b, raw); chain() })
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if c.cold {
					v = newTest(b, d)
				}
				if _, err := v.Appraise(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bare, "x-bare")
		})
	}
}

// BenchmarkReferences is a hot appraisal without and with reference values, the
// right ones among a hundred documents of other releases. The metric x-without is
// the ratio of the second to the first.
func BenchmarkReferences(b *testing.B) {
	m := newMachine(b)
	entries := []refvalues.Entry{entryOf(m.body[:])}
	for i := range 99 {
		var other [bodySize15]byte
		for j := range other {
			other[j] = byte(i + j + 1)
		}
		entries = append(entries, entryOf(other[:]))
	}
	in := verifiers.Input{MediaType: evidence.MediaType{Base: typeQuote}, Evidence: m.quote(), Nonce: m.body[520:584], Time: m.now}
	d := m.deps(nil)
	d.Endorsements = bundle(b, m.collateral())
	v := newTest(b, d)
	appraise := func(in verifiers.Input) func() {
		return func() {
			if _, err := v.Appraise(context.Background(), in); err != nil {
				b.Fatal(err)
			}
		}
	}
	with := in
	with.References = indexOf(b, m.now, entries...)
	appraise(with)()
	without := timePer(500, appraise(in))
	b.ReportAllocs()
	b.ResetTimer()
	for b.Loop() {
		appraise(with)()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/without, "x-without")
}

// timePer is the mean time of f in nanoseconds.
func timePer(n int, f func()) float64 {
	start := time.Now()
	for range n {
		f()
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

// bareChecks verifies QE report and quote, and nothing else.
func (m *machine) bareChecks(tb testing.TB, raw []byte) {
	const sig = headerSize + bodyDescSize + bodySize15
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, raw[sig+4+64:sig+4+128]...))
	if err != nil || !verifyP256(key, raw[:sig], raw[sig+4:sig+4+64]) ||
		!verifyP256(&m.pck.key.PublicKey, raw[sig+4+128+6:sig+4+128+6+384], raw[sig+4+128+6+384:sig+4+128+6+384+64]) {
		tb.Fatal("bare checks fail")
	}
}

// chainChecks verifies leaf and CA if the appraisal has to.
func (m *machine) chainChecks(tb testing.TB, cold bool) func() {
	return func() {
		if !cold {
			return
		}
		if m.pck.cert.CheckSignatureFrom(m.ca.cert) != nil || m.ca.cert.CheckSignatureFrom(m.root.cert) != nil {
			tb.Fatal("bare checks fail")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	m := newMachine(b)
	raw := m.quote()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseQuote(raw); err != nil {
			b.Fatal(err)
		}
	}
}
