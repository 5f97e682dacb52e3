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
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// BenchmarkAppraise compares a whole appraisal with the signature checks that
// nobody can leave out: QE report and quote where the PCK chain is known, two
// certificates more where it is not. Cold makes a new verifier each time, which
// verifies all collateral; warm-collateral meets a platform that it has not seen
// lately. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	m := newMachine(b)
	raw := [][]byte{m.Quote()}
	file := m.Collateral()
	for _, c := range []struct {
		name                        string
		collateral, cold, strangers bool
	}{
		{"no-collateral", false, false, false},
		{"cold", true, true, false},
		{"warm-collateral", true, false, true},
		{"warm-chain", true, false, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := m.deps(nil)
			if c.collateral {
				d.Endorsements = bundle(b, file)
			}
			quotes := raw
			if c.strangers {
				quotes = m.strangers(manyPlatforms)
			}
			v := newTest(b, d)
			chain := m.chainChecks(b, c.cold || c.strangers)
			checks := func() { m.bareChecks(b, raw[0]); chain() }
			bare := timePer(300, checks)
			b.ReportAllocs()
			b.ResetTimer()
			i := 0
			for b.Loop() {
				if c.cold {
					v = newTest(b, d)
				}
				a, err := v.Appraise(context.Background(), verifiers.Input{
					MediaType: mediaType(typeQuote), Evidence: quotes[i%len(quotes)], Nonce: m.Body[520:584], Time: m.Now,
				})
				if err != nil || a.Vector[verdict.Hardware] == verdict.ClaimCryptoFailed {
					b.Fatal(err, a.Reasons)
				}
				i++
			}
			whole := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			// Before and after, so that what else the machine does weighs on both.
			b.ReportMetric(2*whole/(bare+timePer(300, checks)), "x-bare")
		})
	}
}

// manyPlatforms are more than the cache of chains holds.
const manyPlatforms = 1100

// strangers are quotes of platforms with one CA, each with a PCK of its own.
func (m *machine) strangers(n int) [][]byte {
	known := m.PCK
	out := make([][]byte, n)
	for i := range out {
		m.PCK = m.Issue(dcaptest.PCK, false, m.CA, m.SGXExtension())
		out[i] = m.Quote()
	}
	m.PCK = known
	return out
}

// BenchmarkReferences is a hot appraisal without and with reference values, the
// right ones among a hundred documents of other releases. The metric x-without is
// the ratio of the second to the first.
func BenchmarkReferences(b *testing.B) {
	m := newMachine(b)
	entries := []refvalues.Entry{entryOf(m.Body[:])}
	for i := range 99 {
		var other [dcap.SizeTD15]byte
		for j := range other {
			other[j] = byte(i + j + 1)
		}
		entries = append(entries, entryOf(other[:]))
	}
	in := verifiers.Input{MediaType: evidence.MediaType{Base: typeQuote}, Evidence: m.Quote(), Nonce: m.Body[520:584], Time: m.Now}
	d := m.deps(nil)
	d.Endorsements = bundle(b, m.Collateral())
	v := newTest(b, d)
	appraise := func(in verifiers.Input) func() {
		return func() {
			if _, err := v.Appraise(context.Background(), in); err != nil {
				b.Fatal(err)
			}
		}
	}
	with := in
	with.References = indexOf(b, m.Now, entries...)
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
	const sig = dcap.HeaderSize + dcap.DescriptorSize + dcap.SizeTD15
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, raw[sig+4+64:sig+4+128]...))
	if err != nil || !dcaptest.Verify(key, raw[:sig], raw[sig+4:sig+4+64]) ||
		!dcaptest.Verify(&m.PCK.Key.PublicKey, raw[sig+4+128+6:sig+4+128+6+384], raw[sig+4+128+6+384:sig+4+128+6+384+64]) {
		tb.Fatal("bare checks fail")
	}
}

// chainChecks verifies leaf and CA if the appraisal has to.
func (m *machine) chainChecks(tb testing.TB, cold bool) func() {
	return func() {
		if !cold {
			return
		}
		if m.PCK.Cert.CheckSignatureFrom(m.CA.Cert) != nil || m.CA.Cert.CheckSignatureFrom(m.Root.Cert) != nil {
			tb.Fatal("bare checks fail")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	m := newMachine(b)
	raw := m.Quote()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseQuote(raw); err != nil {
			b.Fatal(err)
		}
	}
}
