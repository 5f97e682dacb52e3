// SPDX-License-Identifier: Apache-2.0

package spdm_test

import (
	"crypto"
	"fmt"
	"slices"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/spdm"
)

// TestWordsBesideTheStructure: state and lock flags that only the collector says are
// an object of their own, so that a digest of the structure does not vouch for them;
// the simulated security manager has the same digest.
func TestWordsBesideTheStructure(t *testing.T) {
	state := func(tsm *spdm.TSM, r *spdm.Result) string {
		list := r.BindingObjects(tsm)
		i := slices.IndexFunc(list, func(o verdict.Object) bool { return o.Name == verdict.ObjectTSMState && o.Alg == verdict.AlgSHA384 })
		if i < 0 {
			return ""
		}
		return list[i].Digest
	}
	tsm, r := assigned(t)
	if got := state(tsm, r); got != "" {
		t.Errorf("SEV-TIO tells both: %s", got)
	}
	tsm, r = assigned(t, tdx)
	of := func(b ...byte) string { return fmt.Sprintf("%x", sum(crypto.SHA384, b)) }
	flags := *tsm.LockFlags
	for name, c := range map[string]struct {
		tsm  *spdm.TSM
		want string
	}{
		"as it is": {tsm, of(3, byte(*tsm.State), byte(flags), byte(flags>>8))},
		"unlocked": {said(tsm, spdm.StateUnlocked, flags), of(3, 0, byte(flags), byte(flags>>8))},
		"flags":    {said(tsm, spdm.StateRun, 0x102), of(3, 2, 2, 1)},
		"neither":  {unsaid(tsm), ""},
	} {
		if got := state(c.tsm, r); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	half := *tsm
	half.LockFlags = nil
	if got := state(&half, r); got != of(1, byte(*tsm.State), 0, 0) {
		t.Errorf("state alone: %s", got)
	}
}
