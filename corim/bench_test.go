// SPDX-License-Identifier: Apache-2.0

package corim

import (
	"crypto/sha512"
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// fleet generates documents: in each, triples of several environments, and for
// each environment several releases. One triple has values measurements.
type fleet struct {
	documents, triples, releases, values int
}

func fleetKind(document, kind int) Environment {
	return Environment{Class: Class{Vendor: fmt.Sprintf("Vendor %d", document), Model: fmt.Sprintf("Model %d", kind)}}
}

func fleetValue(document, kind, release, i int) Measurement {
	v := sha512.Sum384(fmt.Append(nil, document, kind, release, i))
	m := Measurement{Key: NumberKey(uint64(i)), Value: Values{Digests: []Digest{{Alg: SHA384, Value: v[:]}}}}
	if i%8 == 7 {
		m.Value = Values{SVN: &SVN{Value: uint64(release), Minimum: true}}
	}
	return m
}

func (f fleet) encode(tb testing.TB) [][]byte {
	tb.Helper()
	out := make([][]byte, 0, f.documents)
	for d := range f.documents {
		m := Comid{Reference: make([]ValueTriple, 0, f.triples)}
		for i := range f.triples {
			kind, release := i/f.releases, i%f.releases
			t := ValueTriple{Environment: fleetKind(d, kind)}
			for j := range f.values {
				t.Measurements = append(t.Measurements, fleetValue(d, kind, release, j))
			}
			m.Reference = append(m.Reference, t)
		}
		out = append(out, encoded(tb, module(fmt.Sprintf("doc-%d", d), m)))
	}
	return out
}

func (f fleet) index(tb testing.TB, raw [][]byte) *Index {
	tb.Helper()
	docs := make([]*Document, 0, len(raw))
	for _, b := range raw {
		d, err := Load(b, Options{Unsigned: true, Now: testTime})
		if err != nil {
			tb.Fatal(err)
		}
		docs = append(docs, d)
	}
	x, err := NewIndex(docs...)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// composite is 13 components, each in one of the releases of its kind.
func (f fleet) composite() []Query {
	var out []Query
	for c := range 13 {
		document, kind, release := c*f.documents/13, c%(f.triples/f.releases), c%f.releases
		q := Query{Environments: []Environment{fleetKind(document, kind)}, Time: testTime}
		q.Environments[0].Instance = TaggedBytes(TagBytes, []byte{byte(c)})
		for j := range f.values {
			m := fleetValue(document, kind, release, j)
			if m.Value.SVN != nil {
				m.Value.SVN = &SVN{Value: m.Value.SVN.Value}
			}
			q.Measurements = append(q.Measurements, m)
		}
		out = append(out, q)
	}
	return out
}

// The sizes: 100 000 triples in 1 000 documents, with 4 values in each; and the
// same number of values with 30 in each, as devices have them.
var fleets = []struct {
	name string
	fleet
}{
	{"100000x4", fleet{documents: 1000, triples: 100, releases: 20, values: 4}},
	{"13000x30", fleet{documents: 130, triples: 100, releases: 20, values: 30}},
}

// processorTime is what the process has used, which a busy machine does not
// change as it does time on the clock.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkMatchComposite(b *testing.B) {
	for _, f := range fleets {
		x := f.index(b, f.encode(b))
		qs := f.composite()
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			begin, n := processorTime(b), 0
			for b.Loop() {
				for _, q := range qs {
					if x.Match(q).Worst() != Matched {
						b.Fatal("no match")
					}
				}
				n++
			}
			b.ReportMetric(float64(processorTime(b)-begin)/float64(n), "cpu-ns/op")
		})
	}
}

func BenchmarkLoadIndex(b *testing.B) {
	for _, f := range fleets {
		raw := f.encode(b)
		total := 0
		for _, r := range raw {
			total += len(r)
		}
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(total))
			var x *Index
			for b.Loop() {
				x = f.index(b, raw)
			}
			b.StopTimer()
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			n := len(x.Documents())
			runtime.KeepAlive(x)
			x = nil
			runtime.GC()
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(before.HeapAlloc-after.HeapAlloc)/1e6, "MB-held")
			b.ReportMetric(float64(n), "documents")
		})
	}
}

func BenchmarkEndorse(b *testing.B) {
	gpu := acme("GPU")
	doc := module("e", Comid{
		Reference: []ValueTriple{{gpu, []Measurement{digestOf(NumberKey(1), 1)}}},
		Endorsed:  []ValueTriple{{gpu, []Measurement{{Value: Values{Flags: &Flags{Known: 1, Value: 1}}}}}},
		Conditional: []ConditionalTriple{{
			Conditions:   []ValueTriple{{gpu, []Measurement{digestOf(NumberKey(1), 1)}}},
			Endorsements: []ValueTriple{{acme("node"), []Measurement{{Value: Values{Flags: &Flags{Known: 2, Value: 2}}}}}},
		}},
	})
	d, err := Load(encoded(b, doc), Options{Unsigned: true, Now: testTime})
	if err != nil {
		b.Fatal(err)
	}
	x, err := NewIndex(d)
	if err != nil {
		b.Fatal(err)
	}
	var qs []Query
	for range 13 {
		qs = append(qs, Query{Environments: []Environment{gpu}, Measurements: []Measurement{digestOf(NumberKey(1), 1)}, Time: testTime})
	}
	b.ReportAllocs()
	for b.Loop() {
		if out, err := x.Endorse(qs...); err != nil || len(out) != 2 {
			b.Fatal(len(out), err)
		}
	}
}

// Reading and indexing the expected set stays within the time that a node has
// to begin. The bound is wide: it is for a fault of order, not for a slow day.
func TestExpectedScale(t *testing.T) {
	if testing.Short() {
		t.Skip("100 000 triples")
	}
	f := fleets[0].fleet
	raw := f.encode(t)
	begin := time.Now()
	x := f.index(t, raw)
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("loading took %s", d)
	}
	n := 0
	for _, r := range x.references {
		n += len(r.triples)
	}
	if n != f.documents*f.triples {
		t.Errorf("%d triples", n)
	}
}
