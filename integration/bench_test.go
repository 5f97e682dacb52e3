// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
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

// own is the signature work that the composite adds to that of its schemes: two
// results signed and checked, one verdict signed, all P-256.
type own struct {
	key         *ecdsa.PrivateKey
	digest, sig []byte
}

func newOwn(b *testing.B) *own {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	d := sha256.Sum256([]byte("x"))
	sig, err := ecdsa.SignASN1(rand.Reader, key, d[:])
	must(b, err)
	return &own{key: key, digest: d[:], sig: sig}
}

func (s *own) run(b *testing.B) {
	ok := true
	for range 2 {
		ok = ecdsa.VerifyASN1(&s.key.PublicKey, s.digest, s.sig) && ok
	}
	for range 3 {
		_, err := ecdsa.SignASN1(rand.Reader, s.key, s.digest)
		ok = err == nil && ok
	}
	if !ok {
		b.Fatal("a signature does not verify")
	}
}

// BenchmarkComposite is one TDX quote and one H100 report, from bytes to a
// signed verdict over the embedded fabric. In turns with it run the two schemes
// alone and the signatures of our own, so that what is left is the cost of
// everything else: parsing, planning, NATS, results, combining.
func BenchmarkComposite(b *testing.B) {
	m := assemble(b, nil)
	compare(b, m, m.lead)
}

// BenchmarkCompositeWithoutFabric is the same in one process without NATS.
func BenchmarkCompositeWithoutFabric(b *testing.B) {
	m := assemble(b, nil)
	o := m.options
	o.Appraiser = verifiers.Local{Node: m.node}
	lead, err := orchestrator.New(o)
	must(b, err)
	compare(b, m, lead)
}

// compare reports CPU time, which drifts less than time and does not hide what
// runs in parallel, and the time of the whole.
func compare(b *testing.B, m *machine, lead *orchestrator.Orchestrator) {
	r := request(b)
	schemes, signatures := schemesAlone(b, m, r), newOwn(b)
	steps := []func(){
		func() { appraiseOnce(b, lead, r) },
		schemes,
		func() { signatures.run(b) },
	}
	for _, s := range steps { // fills caches
		s()
	}
	var cpu [3]time.Duration
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i, s := range steps {
			if i == 1 {
				b.StopTimer()
			}
			t := cpuTime(b)
			s()
			cpu[i] += cpuTime(b) - t
		}
		n++
		b.StartTimer()
	}
	us := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	b.ReportMetric(us(cpu[0]), "cpu-us/op")
	b.ReportMetric(us(cpu[1]), "schemes-us/op")
	b.ReportMetric(us(cpu[2]), "own-signatures-us/op")
	b.ReportMetric(us(cpu[0]-cpu[1]-cpu[2]), "orchestration-us/op")
}

// schemesAlone calls the two schemes directly, one after the other.
func schemesAlone(b *testing.B, m *machine, r orchestrator.Request) func() {
	b.Helper()
	parts := componentsOf(b, m, r)
	var vs []verifiers.Verifier
	for _, p := range parts {
		sc, _ := m.schemes.Lookup(p.Scheme)
		v, err := sc.New(verifiers.Deps{})
		must(b, err)
		vs = append(vs, v)
	}
	return func() {
		for i, p := range parts {
			_, err := vs[i].Appraise(context.Background(), verifiers.Input{
				MediaType: p.MediaType, Evidence: p.Evidence, Nonce: r.Given[p.Leaf], Time: r.Time,
			})
			must(b, err)
		}
	}
}

// BenchmarkSchemes is the sum of the parts.
func BenchmarkSchemes(b *testing.B) {
	m := assemble(b, nil)
	run := schemesAlone(b, m, request(b))
	run()
	b.ReportAllocs()
	for b.Loop() {
		run()
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
