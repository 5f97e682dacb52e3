// SPDX-License-Identifier: Apache-2.0

package eventlog

import (
	"testing"
	"time"

	"github.com/assize/assize/verdict"
)

// BenchmarkMatch parses and replays a recorded log of a TDX machine (262144
// bytes, 43 events) and takes out what an appraisal needs. x-library is how many
// times as long go-eventlog takes.
func BenchmarkMatch(b *testing.B) {
	raw := recorded(b, ccelCOS113)
	values, err := parse(b, raw, CC).Replay(SHA384)
	if err != nil {
		b.Fatal(err)
	}
	mrs := banks(CC, SHA384, values)
	run := func() {
		l, err := Parse(raw, CC)
		if err != nil {
			b.Fatal(err)
		}
		m, err := l.Match(SHA384, values)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.State(); err != nil {
			b.Fatal(err)
		}
		if _, ok := m.CommandLine(); !ok {
			b.Fatal("no command line")
		}
		m.Facts(verdict.MaxMeasuredEvents)
	}
	b.ReportAllocs()
	for b.Loop() {
		run()
	}
	ours := b.Elapsed() / time.Duration(b.N)
	const rounds = 20
	start := time.Now()
	for range rounds {
		if _, err := extracted(raw, CC, SHA384, mrs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(time.Since(start)/rounds)/float64(ours), "x-library")
}
