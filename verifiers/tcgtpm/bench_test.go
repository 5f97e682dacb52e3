// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/tpm"
)

// BenchmarkAppraise compares a whole appraisal with the signature checks that
// nobody can leave out: that of the quote, and cold those of the two certificates
// as well. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	for _, c := range []struct {
		name             string
		key              sim.KeyType
		cold, log, value bool
	}{
		{"RSA-2048/cold", sim.RSA2048, true, false, false},
		{"RSA-2048/warm", sim.RSA2048, false, false, false},
		{"RSA-2048/warm with log", sim.RSA2048, false, true, false},
		{"RSA-2048/warm with log and reference values", sim.RSA2048, false, true, true},
		{"P-256/warm", sim.P256, false, false, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			d := device(b, func(o *sim.Options) { o.Key = c.key })
			raw := leafOf(b, d)
			if !c.log {
				raw = edited(b, raw, func(m map[string]any) { delete(m, "event_log") })
			}
			in := verifiers.Input{MediaType: asCBOR, Evidence: raw, Nonce: nonce(), Time: now}
			if c.value {
				in.References = indexOf(b, entry(b, d))
			}
			world := deps(b, d)
			v := newTest(b, world)
			judge(b, v, in)
			bare := bareChecks(b, d, raw, c.cold)
			b.ReportAllocs()
			for b.Loop() {
				if c.cold {
					b.StopTimer()
					v = newTest(b, world)
					b.StartTimer()
				}
				if _, err := v.Appraise(b.Context(), in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/bare, "x-bare")
		})
	}
}

// bareChecks is the time of the signature checks in nanoseconds.
func bareChecks(b *testing.B, d *sim.Device, raw []byte, cold bool) float64 {
	b.Helper()
	l, f := open(inputOf(asCBOR, raw))
	if f != nil {
		b.Fatal(f)
	}
	issuer, err := x509.ParseCertificate(l.certs[1])
	if err != nil {
		b.Fatal(err)
	}
	check := quoteCheck(b, l)
	return timePer(200, func() {
		if check() != nil || cold && (d.AKCertificate().CheckSignatureFrom(issuer) != nil || issuer.CheckSignatureFrom(d.Root()) != nil) {
			b.Fatal("bare checks fail")
		}
	})
}

// timePer is the mean time of f in nanoseconds.
func timePer(n int, f func()) float64 {
	start := time.Now()
	for range n {
		f()
	}
	return float64(time.Since(start).Nanoseconds()) / float64(n)
}

// quoteCheck is the check of the quote's signature by the standard library.
func quoteCheck(b *testing.B, l *leaf) func() error {
	b.Helper()
	public, err := tpm.ParsePublic(l.public)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256(l.quote)
	if key, ok := public.Key.(*rsa.PublicKey); ok {
		return func() error { return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], l.signature[6:]) }
	}
	r, s := new(big.Int).SetBytes(l.signature[6:38]), new(big.Int).SetBytes(l.signature[40:])
	return func() error {
		if !ecdsa.Verify(public.Key.(*ecdsa.PublicKey), digest[:], r, s) {
			return errors.New("ECDSA")
		}
		return nil
	}
}
