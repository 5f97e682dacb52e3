// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"crypto/ecdsa"
	"crypto/sha512"
	"math/big"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/awsnitro"
	"github.com/assize/assize/attester/pki"
)

// BenchmarkAppraise compares a whole appraisal with the P-384 checks that nobody
// can leave out: that of the document, and one for each certificate that is not
// known. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	first := enclave(b, nil)
	raw := document1(b, first)
	for _, c := range []struct {
		name  string
		known int // certificates below the root that are in the cache
	}{
		{"cold", 0},
		{"other-instance", 2}, // region and zone are known
		{"warm", 4},
	} {
		b.Run(c.name, func(b *testing.B) {
			v := newTest(b, deps(b, first, false))
			if c.known == 2 {
				other := enclave(b, func(o *sim.Options) { o.Device = pki.NewSeed("other") })
				appraise(b, v, input(document1(b, other), testNonce, now))
			} else if c.known > 0 {
				appraise(b, v, input(raw, testNonce, now))
			}
			keep := v.links
			bare := timePer(20, func() { bareChecks(b, first, raw, 4-c.known) })
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if c.known < 4 {
					b.StopTimer()
					v = newTest(b, deps(b, first, false))
					for _, l := range v.roots[1:] {
						key := l.key
						for _, a := range first.Authorities()[1 : 1+c.known] {
							key = below(key, a.Cert.Raw)
							if known, ok := keep.Get(key); ok {
								v.links.Put(key, known)
							}
						}
					}
					b.StartTimer()
				}
				appraise(b, v, input(raw, testNonce, now))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bare, "x-bare")
		})
	}
}

// timePer is the mean time of f in nanoseconds.
func timePer(n int, f func()) float64 {
	start := time.Now()
	for range n {
		f()
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

// bareChecks verifies the document and the last n certificates, nothing else.
func bareChecks(tb testing.TB, d *sim.Device, raw []byte, n int) {
	chain := d.Authorities()
	for i := len(chain) - n; i < len(chain); i++ {
		if chain[i].Cert.CheckSignatureFrom(chain[i-1].Cert) != nil {
			tb.Fatal("bare checks fail")
		}
	}
	m, _, err := parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	signed := append([]byte{0x84, 0x6a}, "Signature1"...)
	signed = append(append(signed, protectedHeader...), 0x40, 0x59, byte(len(m.Payload)>>8), byte(len(m.Payload)))
	sum := sha512.Sum384(append(signed, m.Payload...))
	key, ok := chain[4].Cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || !ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(m.Signature[:48]), new(big.Int).SetBytes(m.Signature[48:])) {
		tb.Fatal("bare checks fail")
	}
}

func BenchmarkParse(b *testing.B) {
	raw := document1(b, enclave(b, nil))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}
