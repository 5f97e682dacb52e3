// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"runtime/debug"
	"slices"
	"sync"
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

// partial signs and checks one result.
func (s *own) partial(b *testing.B) {
	s.sign(b)
	if !ecdsa.VerifyASN1(&s.key.PublicKey, s.digest, s.sig) {
		b.Error("a signature does not verify")
	}
}

func (s *own) sign(b *testing.B) {
	if _, err := ecdsa.SignASN1(rand.Reader, s.key, s.digest); err != nil {
		b.Error(err)
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

// compare runs the whole in turns with its parts and reports what the whole
// takes longer. In elapsed time the parts run as the whole runs them: both
// schemes at once, then the signatures of our own that nothing can overtake.
// CPU time drifts less, and does not hide what runs in parallel.
func compare(b *testing.B, m *machine, lead *orchestrator.Orchestrator) {
	b.Helper()
	defer debug.SetGCPercent(debug.SetGCPercent(runtimeGC)) // as the binary runs
	r := request(b)
	schemes, signatures := schemesAlone(b, m, r), newOwn(b)
	steps := []func(){
		func() { appraiseOnce(b, lead, r) },
		func() { // the parts
			var wg sync.WaitGroup
			for _, s := range schemes {
				wg.Go(func() { s(); signatures.partial(b) })
			}
			wg.Wait()
			signatures.sign(b)
		},
	}
	for _, s := range steps { // fills caches
		s()
	}
	var cpu, elapsed [2][]time.Duration
	b.ReportAllocs()
	for b.Loop() {
		for i, s := range steps {
			if i == 1 {
				b.StopTimer()
			}
			c, t := cpuTime(b), time.Now()
			s()
			elapsed[i] = append(elapsed[i], time.Since(t))
			cpu[i] = append(cpu[i], cpuTime(b)-c)
		}
		b.StartTimer()
	}
	b.ReportMetric(median(elapsed[1]), "parts-us/op")
	b.ReportMetric(median(elapsed[0])-median(elapsed[1]), "orchestration-us/op")
	b.ReportMetric(mean(cpu[0]), "cpu-us/op")
	b.ReportMetric(mean(cpu[0])-mean(cpu[1]), "orchestration-cpu-us/op")
}

// runtimeGC is what cmd/assize sets for a process that runs appraisals.
const runtimeGC = 400

func median(d []time.Duration) float64 {
	slices.Sort(d)
	return float64(d[len(d)/2].Nanoseconds()) / 1e3
}

// mean is for CPU time, of which the kernel counts some in ticks.
func mean(d []time.Duration) float64 {
	var sum time.Duration
	for _, x := range d {
		sum += x
	}
	return float64(sum.Nanoseconds()) / 1e3 / float64(len(d))
}

// schemesAlone gives a call of each scheme, directly.
func schemesAlone(b *testing.B, m *machine, r orchestrator.Request) (calls []func()) {
	b.Helper()
	parts := componentsOf(b, m, r)
	for _, p := range parts {
		sc, _ := m.schemes.Lookup(p.Scheme)
		v, err := sc.New(verifiers.Deps{})
		must(b, err)
		calls = append(calls, func() {
			_, err := v.Appraise(context.Background(), verifiers.Input{
				MediaType: p.MediaType, Evidence: p.Evidence, Nonce: r.Given[p.Leaf], Time: r.Time,
			})
			if err != nil {
				b.Error(err)
			}
		})
	}
	return calls
}

// BenchmarkSchemes is the two schemes, one after the other.
func BenchmarkSchemes(b *testing.B) {
	m := assemble(b, nil)
	calls := schemesAlone(b, m, request(b))
	b.ReportAllocs()
	for b.Loop() {
		for _, call := range calls {
			call()
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
