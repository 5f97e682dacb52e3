// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// How long the verifiers of BenchmarkFanOut/elsewhere take: the slowest, and
// every other one. No service on another machine answers at once.
const (
	remoteWait = 20 * time.Millisecond
	othersWait = 5 * time.Millisecond
)

// BenchmarkFanOut compares thirteen components over the embedded fabric with the
// slowest of them alone, without fabric. In "here" all verifiers share the cores
// of this machine, so that the sum of their work counts, not the slowest. In
// "elsewhere" what they conclude takes time and costs this machine nothing, as
// with vendors' services, and one of them is slower than the others; they still
// sign here.
//
// fan-out is from the moment the first component is handed to the fabric to the
// moment the last result is there and verified; over-slowest is what it takes
// longer than the slowest component alone, over-all than all components at once
// without fabric, and ends is how much later than the fan-out the whole begins
// and ends: parsing and planning, combining and signing.
func BenchmarkFanOut(b *testing.B) {
	b.Run("here", func(b *testing.B) { benchmarkFanOut(b, &elsewhere{}) })
	b.Run("elsewhere", func(b *testing.B) {
		benchmarkFanOut(b, &elsewhere{scheme: concluded, workers: 16, before: func(a fabric.Appraiser) fabric.Appraiser {
			return appraiserFunc(func(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error) {
				if r.Label == "gpu/7" {
					time.Sleep(remoteWait)
				} else {
					time.Sleep(othersWait)
				}
				return a.Appraise(ctx, r)
			})
		}})
	})
}

// concluded is a scheme that judges each piece of evidence once.
func concluded(sc verifiers.Scheme) verifiers.Scheme {
	inner := sc.New
	sc.New = func(d verifiers.Deps) (verifiers.Verifier, error) {
		v, err := inner(d)
		return &conclusions{Verifier: v}, err
	}
	return sc
}

type conclusions struct {
	verifiers.Verifier
	known sync.Map // SHA-256 of evidence to verdict.Appraisal
}

func (c *conclusions) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	sum := sha256.Sum256(in.Evidence)
	if a, ok := c.known.Load(sum); ok {
		return a.(verdict.Appraisal), nil
	}
	a, err := c.Verifier.Appraise(ctx, in)
	if err == nil {
		c.known.Store(sum, a)
	}
	return a, err
}

// span is the time from the first call to the last result of one appraisal.
type span struct {
	orchestrator.Appraiser
	mu          sync.Mutex
	first, last time.Time
}

func (s *span) Appraise(ctx context.Context, c verifiers.Call) (verdict.Partial, error) {
	s.mu.Lock()
	if s.first.IsZero() {
		s.first = time.Now()
	}
	s.mu.Unlock()
	p, err := s.Appraiser.Appraise(ctx, c)
	s.mu.Lock()
	s.last = time.Now()
	s.mu.Unlock()
	return p, err
}

// take gives the span of the appraisal that has ended.
func (s *span) take() time.Duration {
	d := s.last.Sub(s.first)
	s.first = time.Time{}
	return d
}

func benchmarkFanOut(b *testing.B, change *elsewhere) {
	spanned := &span{}
	change.calls = func(a orchestrator.Appraiser) orchestrator.Appraiser { spanned.Appraiser = a; return spanned }
	defer debug.SetGCPercent(debug.SetGCPercent(runtimeGC)) // as the binary runs
	m, raw := hgx(b)
	posts, _, alone := posted(b, m, change, "entry")
	tree, err := evidence.Parse(raw, evidence.Options{})
	must(b, err)
	parts, err := orchestrator.Components(posts[0].set, tree, 16)
	must(b, err)
	e, err := topologies.Parse("lead")
	must(b, err)
	var calls []func()
	for _, st := range planOf(b, e, "entry", parts, tree).Steps {
		if st.Kind == topologies.Appraise {
			calls = append(calls, func() { appraiseAlone(b, alone, st) })
		}
	}
	whole := func() {
		appraiseOnce(b, posts[0].orch, orchestrator.Request{Evidence: raw, Nonce: machineNonce, Topology: &e})
	}
	together := func() {
		var wg sync.WaitGroup
		for _, call := range calls {
			wg.Go(call)
		}
		wg.Wait()
	}
	whole()
	spanned.take()
	var wholes, spans, togethers, cpuWhole, cpuTogether []time.Duration
	singles := make([][]time.Duration, len(calls))
	timed := func(list *[]time.Duration, f func()) {
		began := time.Now()
		f()
		*list = append(*list, time.Since(began))
	}
	b.ReportAllocs()
	for b.Loop() {
		c := cpuTime(b)
		timed(&wholes, whole)
		spans = append(spans, spanned.take())
		cpuWhole = append(cpuWhole, cpuTime(b)-c)
		b.StopTimer()
		c = cpuTime(b)
		timed(&togethers, together)
		cpuTogether = append(cpuTogether, cpuTime(b)-c)
		for i, call := range calls {
			timed(&singles[i], call)
		}
		b.StartTimer()
	}
	slowest := 0.0
	for _, s := range singles {
		slowest = max(slowest, median(s))
	}
	b.ReportMetric(slowest, "slowest-us/op")
	b.ReportMetric(median(togethers), "all-at-once-us/op")
	b.ReportMetric(median(spans), "fan-out-us/op")
	b.ReportMetric(median(spans)-slowest, "over-slowest-us/op")
	b.ReportMetric(median(spans)-median(togethers), "over-all-us/op")
	b.ReportMetric(median(wholes)-median(spans), "ends-us/op")
	b.ReportMetric(mean(cpuWhole), "cpu-us/op")
	b.ReportMetric(mean(cpuWhole)-mean(cpuTogether), "orchestration-cpu-us/op")
}

// appraiseAlone is one component at its verifier, result signed, without fabric.
func appraiseAlone(b *testing.B, a fabric.Appraiser, st topologies.Step) {
	var id [16]byte
	_, err := rand.Read(id[:])
	if err == nil {
		_, _, err = a.Appraise(context.Background(), verifiers.Request{
			ID: hex.EncodeToString(id[:]), Session: strings.Repeat("0", 32), Label: st.Label, Scheme: st.Scheme,
			MediaType: st.MediaType, Evidence: st.Evidence, Nonce: st.Nonce, NonceRule: st.NonceRule,
		})
	}
	if err != nil {
		b.Error(err)
	}
}
