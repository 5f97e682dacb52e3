// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/verdict"
)

// One verifier, many goroutines, at times at which responses and manifests count
// and at which they do not, while others are renewed from it.
func TestConcurrentCollateral(t *testing.T) {
	for _, o := range []nvidia.Options{{Arch: nvidia.Blackwell}, {Arch: nvidia.Blackwell, FSP: true}} {
		m := simulate(t, o)
		v := m.verifier("", m.bundle())
		now, later := m.input(simulatedAt), m.input(simulatedAt.Add(48*time.Hour))
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 2 {
					if a, err := v.Appraise(t.Context(), now); err != nil || a.Vector[verdict.Hardware] != 2 || a.Vector[verdict.Executables] != 3 {
						t.Errorf("%s %v %v", vectorOf(a), a.Reasons, err)
					}
					if a, err := v.Appraise(t.Context(), later); err != nil || a.Vector[verdict.Hardware] != 32 || a.Vector[verdict.Executables] != 32 {
						t.Errorf("later: %s %v %v", vectorOf(a), a.Reasons, err)
					}
					next, err := v.Renew(nil)
					if err != nil {
						t.Error(err)
						continue
					}
					if a, err := next.Appraise(t.Context(), now); err != nil || a.Vector[verdict.Executables] != 33 {
						t.Errorf("renewed: %s %v %v", vectorOf(a), a.Reasons, err)
					}
				}
			})
		}
		wg.Wait()
	}
}
