// SPDX-License-Identifier: Apache-2.0

package ocsp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"testing"
)

// BenchmarkCheck is the status of the three certificates of a device chain whose
// service uses P-384: cold verifies the signature of each response and of each
// responder's certificate, warm remembers them. bare are these six signatures alone.
func BenchmarkCheck(b *testing.B) {
	d := device(b, nil)
	chain := d.Chain()
	set := fetched(b, d.OCSPService(nil), chain, DeviceFrom, crypto.SHA384, nil, now)
	policy := Policy{From: DeviceFrom, MaxAge: day}
	for _, cold := range []bool{true, false} {
		name := "warm"
		if cold {
			name = "cold"
		}
		b.Run(name, func(b *testing.B) {
			c := NewChecker(16)
			b.ReportAllocs()
			for b.Loop() {
				if cold {
					c = NewChecker(16)
				}
				if !AllGood(c.Check(set, chain, now, nil, policy)) {
					b.Fatal("not good")
				}
			}
		})
	}
	b.Run("bare", func(b *testing.B) {
		var all []*Response
		for _, list := range set.byID {
			all = append(all, list...)
		}
		issuers := map[string]*x509.Certificate{}
		for _, c := range chain {
			issuers[string(c.RawSubject)] = c
		}
		b.ReportAllocs()
		for b.Loop() {
			for _, r := range all {
				if err := r.responder.CheckSignatureFrom(issuers[string(r.responder.RawIssuer)]); err != nil {
					b.Fatal(err)
				}
				if err := r.responder.CheckSignature(x509.ECDSAWithSHA384, r.tbs, signatureOf(b, r)); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

func BenchmarkParse(b *testing.B) {
	raw := newWorld(b).honest().der(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// signatureOf finds the signature behind the signed bytes and the algorithm.
func signatureOf(tb testing.TB, r *Response) []byte {
	tb.Helper()
	rest := r.raw[bytes.Index(r.raw, r.tbs)+len(r.tbs):]
	for _, tag := range []byte{0x30, 3} {
		if rest[0] != tag || rest[1] >= 0x80 {
			tb.Fatal("not where it was expected")
		}
		if tag == 3 {
			return rest[3 : 2+int(rest[1])]
		}
		rest = rest[2+int(rest[1]):]
	}
	return nil
}
