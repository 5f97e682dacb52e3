// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"context"
	"testing"
	"time"

	"github.com/assize/assize/verifiers"
)

// BenchmarkAppraise compares a whole appraisal with the signature checks that
// nobody can leave out: platform and realm token where the platform token is new,
// the realm token alone where it is known since boot. Cold makes a new verifier
// each time. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	m := newMachine(b)
	in := verifiers.Input{MediaType: tokenType, Evidence: m.token(b), Nonce: m.nonce(), Time: now, References: newLibrary(m).index(b)}
	t := decoded(b, in.Evidence)
	for _, c := range []struct {
		name string
		cold bool
	}{{"cold", true}, {"warm", false}} {
		b.Run(c.name, func(b *testing.B) {
			v := newTest(b, verifiers.Deps{})
			bare := timePer(50, func() {
				if t.realm.message.Verify(t.realm.rak) != nil || c.cold && t.platform.message.Verify(&m.iak.PublicKey) != nil {
					b.Fatal("bare checks fail")
				}
			})
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				if c.cold {
					v = newTest(b, verifiers.Deps{})
				}
				if _, err := v.Appraise(context.Background(), in); err != nil {
					b.Fatal(err)
				}
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

func BenchmarkParse(b *testing.B) {
	m := newMachine(b)
	raw := m.token(b)
	b.ReportAllocs()
	for b.Loop() {
		decoded(b, raw)
	}
}
