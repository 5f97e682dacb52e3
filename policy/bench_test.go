// SPDX-License-Identifier: Apache-2.0

package policy

import "testing"

// BenchmarkHGX is what a policy costs for a board of eight GPUs and four switches
// with its CPU: both hooks, from the result to the findings.
func BenchmarkHGX(b *testing.B) {
	r := newLab(b).hgx()
	for _, name := range Names() {
		p := mustLibrary(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Components(b.Context(), r); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Composite(b.Context(), r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
