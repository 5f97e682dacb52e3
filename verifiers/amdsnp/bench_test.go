// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"context"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/verifiers"
)

// BenchmarkAppraise compares a whole appraisal with the signature checks that
// nobody can leave out: the report's where the key is known, and two RSA-PSS more
// where it is not. Cold makes a new verifier each time, which checks the pins.
// The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	in := walked(b)
	good := in
	good.References = indexOf(b, documentOf(b, "release", corim.ProfileSNP, corim.ValueTriple{
		Environment: env(classByChip, nil), Measurements: []corim.Measurement{measured},
	}))
	for _, c := range []struct {
		name string
		in   verifiers.Input
		cold bool
	}{{"cold", in, true}, {"warm", in, false}, {"warm-references", good, false}} {
		b.Run(c.name, func(b *testing.B) {
			v := newTest(b, verifiers.Deps{})
			bare := bareChecks(b, c.in, c.cold)
			var spent time.Duration
			b.ReportAllocs()
			for b.Loop() {
				if c.cold {
					v = newTest(b, verifiers.Deps{})
				}
				if _, err := v.Appraise(context.Background(), c.in); err != nil {
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

// bareChecks verifies the report, and the chain if the appraisal has to.
func bareChecks(tb testing.TB, in verifiers.Input, cold bool) func() {
	l, f := open(in.MediaType, in.Evidence)
	if f != nil {
		tb.Fatal(f)
	}
	r := must(parseReport(l.report))
	c := must(parseTable(l.table))
	rs := must(newRoots(nil))
	k, f := verifyVEK(c.vek(r.signer()), r.signer(), rs.chain)
	if f != nil {
		tb.Fatal(f)
	}
	return func() {
		if r.signedBy(k.key) != nil {
			tb.Fatal("bare checks fail")
		}
		if cold && (k.cert.CheckSignatureFrom(k.issuer.cert) != nil || k.issuer.cert.CheckSignatureFrom(k.issuer.root.cert) != nil) {
			tb.Fatal("bare checks fail")
		}
	}
}

func BenchmarkParse(b *testing.B) {
	in := walked(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseReport(in.Evidence[:reportSize]); err != nil {
			b.Fatal(err)
		}
		if _, err := parseTable(in.Evidence[reportSize:]); err != nil {
			b.Fatal(err)
		}
	}
}
