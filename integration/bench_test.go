// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"syscall"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verifiers"
)

// cpuTime is the CPU time of this process, all threads, user and system.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// bare does the signature work of one two-component composite with warm
// caches, and nothing else: the QE report and the quote (P-256), the GPU
// report (P-384), two results signed and checked, one verdict signed (P-256).
type bare struct {
	p256, p384     *ecdsa.PrivateKey
	d256, d384     []byte
	sig256, sig384 []byte
}

func newBare(b *testing.B) *bare {
	b.Helper()
	var s bare
	var err error
	s.p256, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	s.p384, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(b, err)
	h256, h384 := sha256.Sum256([]byte("x")), sha512.Sum384([]byte("x"))
	s.d256, s.d384 = h256[:], h384[:]
	s.sig256, err = ecdsa.SignASN1(rand.Reader, s.p256, s.d256)
	must(b, err)
	s.sig384, err = ecdsa.SignASN1(rand.Reader, s.p384, s.d384)
	must(b, err)
	return &s
}

func (s *bare) run(b *testing.B) {
	ok := ecdsa.VerifyASN1(&s.p384.PublicKey, s.d384, s.sig384)
	for range 4 {
		ok = ecdsa.VerifyASN1(&s.p256.PublicKey, s.d256, s.sig256) && ok
	}
	for range 3 {
		_, err := ecdsa.SignASN1(rand.Reader, s.p256, s.d256)
		ok = err == nil && ok
	}
	if !ok {
		b.Fatal("a signature does not verify")
	}
}

// compare runs the whole and the bare signatures in turns, and reports the CPU
// time of both, their difference and their ratio.
func compare(b *testing.B, whole func()) {
	b.ReportAllocs()
	s := newBare(b)
	whole() // fills caches
	var all, signatures time.Duration
	n := 0
	for b.Loop() {
		t0 := cpuTime(b)
		whole()
		t1 := cpuTime(b)
		b.StopTimer()
		s.run(b)
		signatures += cpuTime(b) - t1
		all += t1 - t0
		n++
		b.StartTimer()
	}
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	b.ReportMetric(us(all), "cpu-us/op")
	b.ReportMetric(us(signatures), "signatures-us/op")
	b.ReportMetric(us(all-signatures), "rest-us/op")
	b.ReportMetric(float64(all)/float64(signatures), "x-bare")
}

// BenchmarkComposite is one TDX quote and one H100 report, from bytes to a
// signed verdict over the embedded fabric.
func BenchmarkComposite(b *testing.B) {
	m := assemble(b, nil)
	r := request(b)
	compare(b, func() { appraiseOnce(b, m.lead, r) })
}

// BenchmarkCompositeWithoutFabric is the same in one process without NATS.
func BenchmarkCompositeWithoutFabric(b *testing.B) {
	m := assemble(b, nil)
	o := m.options
	o.Appraiser = verifiers.Local{Node: m.node}
	lead, err := orchestrator.New(o)
	must(b, err)
	r := request(b)
	compare(b, func() { appraiseOnce(b, lead, r) })
}

// BenchmarkSchemes is the sum of the parts: the two schemes called directly,
// without requests, results or signatures of our own.
func BenchmarkSchemes(b *testing.B) {
	m := assemble(b, nil)
	r := request(b)
	parts := componentsOf(b, m, r)
	var vs []verifiers.Verifier
	for _, p := range parts {
		sc, _ := m.schemes.Lookup(p.Scheme)
		v, err := sc.New(verifiers.Deps{})
		must(b, err)
		vs = append(vs, v)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i, p := range parts {
			_, err := vs[i].Appraise(context.Background(), verifiers.Input{
				MediaType: p.MediaType, Evidence: p.Evidence, Nonce: r.Given[p.Leaf], Time: r.Time,
			})
			must(b, err)
		}
	}
}

func componentsOf(b *testing.B, m *machine, r orchestrator.Request) []topologies.Component {
	b.Helper()
	tree, err := evidence.Parse(r.Evidence, evidence.Options{})
	must(b, err)
	parts, err := orchestrator.Components(m.schemes, tree, 8)
	must(b, err)
	return parts
}

func appraiseOnce(b *testing.B, lead *orchestrator.Orchestrator, r orchestrator.Request) {
	res, err := lead.Appraise(context.Background(), r)
	must(b, err)
	for _, c := range res.Components {
		if c.Partial.IsZero() {
			b.Fatalf("%s: %v", c.Label, c.Reasons)
		}
	}
}
