// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"testing"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/source"
)

// What an appraisal pays for asking when everything is there.
func BenchmarkEnsure(b *testing.B) {
	now := time.Date(2026, 11, 15, 12, 0, 0, 0, time.UTC)
	_, files := machine(b, now)
	s := open(b, &vendor{have: files}, func(o *source.Options) { o.Now = func() time.Time { return now } })
	needs := []endorsements.Need{need}
	if _, err := s.Ensure(b.Context(), needs); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Ensure(b.Context(), needs); err != nil {
			b.Fatal(err)
		}
	}
}
