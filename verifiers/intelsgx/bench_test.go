// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers"
)

// BenchmarkAppraise compares a whole appraisal with the signature checks that
// nobody can leave out: QE report and quote where the PCK chain is known, two
// certificates more where it is not. Cold makes a new verifier each time, which
// verifies all collateral; warm-collateral has a verifier that does not know the
// chain. The metric x-bare is the ratio.
func BenchmarkAppraise(b *testing.B) {
	m := newMachine(b, nil)
	in := verifiers.Input{MediaType: evidence.MediaType{Base: typeQuote}, Evidence: m.raw, Nonce: nonce, Time: now}
	bare := bareChecks(b, m)
	for _, c := range []struct {
		name       string
		cold, warm bool
		refs       *corim.Index
	}{
		{"cold", true, false, nil},
		{"warm-collateral", false, false, nil},
		{"warm-chain", false, true, nil},
		{"warm-chain-references", false, true, indexOf(b, entryOf(m))},
	} {
		b.Run(c.name, func(b *testing.B) {
			in := in
			in.References = c.refs
			v := newTest(b, m.deps())
			appraise := func(v *verifier) {
				if _, err := v.Appraise(context.Background(), in); err != nil {
					b.Fatal(err)
				}
			}
			appraise(v)
			unit := timePer(300, func() { bare(!c.warm) })
			b.ReportAllocs()
			b.ResetTimer()
			for b.Loop() {
				switch {
				case c.cold:
					appraise(newTest(b, m.deps()))
				case c.warm:
					appraise(v)
				default:
					b.StopTimer()
					fresh := newTest(b, m.deps())
					b.StartTimer()
					appraise(fresh)
				}
			}
			took := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			// Before and after, since other work on the machine comes and goes.
			unit = (unit + timePer(300, func() { bare(!c.warm) })) / 2
			b.ReportMetric(took/unit, "x-bare")
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

// bareChecks verifies QE report and quote, leaf and CA if asked to, and nothing
// else.
func bareChecks(tb testing.TB, m machine) func(chain bool) {
	o := offsetsOf(m.raw)
	var certs []*x509.Certificate
	for rest := m.raw[o.cert+6:]; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			tb.Fatal(err)
		}
		certs = append(certs, c)
	}
	holds := func(key *ecdsa.PublicKey, msg, sig []byte) bool {
		d := sha256.Sum256(msg)
		return ecdsa.Verify(key, d[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64]))
	}
	return func(chain bool) {
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append([]byte{4}, m.raw[o.key:o.key+64]...))
		if err != nil || !holds(key, m.raw[:o.length], m.raw[o.signature:]) ||
			!holds(certs[0].PublicKey.(*ecdsa.PublicKey), m.raw[o.qe:o.qeSig], m.raw[o.qeSig:]) {
			tb.Fatal("bare checks fail")
		}
		if chain && (certs[0].CheckSignatureFrom(certs[1]) != nil || certs[1].CheckSignatureFrom(certs[2]) != nil) {
			tb.Fatal("bare checks fail")
		}
	}
}
