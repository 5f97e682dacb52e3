// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia/nvidiatest"
)

// What a node asks services for is what a root has certified and the device has
// signed: of anything else it asks nothing, while the description of the scheme, which
// knows no roots, would.
func TestNeedsAreProved(t *testing.T) {
	m := simulate(t, nvidia.Options{})
	v, in := m.verifier("", m.bundle()), m.input(simulatedAt)
	if got, want := v.Needs(in.MediaType, in.Evidence, simulatedAt), Scheme().Needs(in.MediaType, in.Evidence); fmt.Sprint(got) != fmt.Sprint(want) || len(got) != 5 {
		t.Errorf("%v, expected %v", got, want)
	}
	asks := func(name string, v verifiers.Prover, raw []byte, when time.Time) {
		t.Helper()
		mt := evidence.MediaType{Base: MediaType}
		if got := v.Needs(mt, raw, when); len(got) != 0 {
			t.Errorf("%s: asks for %v", name, got)
		}
		if made := Scheme().Needs(mt, raw); len(made) == 0 {
			t.Errorf("%s: not even the description asks for anything, so this shows nothing", name)
		}
	}
	asks("before the certificates begin", v, in.Evidence, simulatedAt.AddDate(-50, 0, 0))
	asks("at no time", v, in.Evidence, time.Time{})
	asks("under a root that is not trusted", newTest(t, verifiers.Deps{}).(verifiers.Prover), in.Evidence, simulatedAt)

	f := newFake(t)
	whole := f.Leaf()
	known := newTest(t, f.roots()).(verifiers.Prover)
	if got := known.Needs(evidence.MediaType{Base: MediaType}, whole, at); len(got) == 0 {
		t.Error("a chain that holds asks for nothing")
	}
	report := f.Report()
	report[len(report)-1] ^= 1
	asks("with a report that nobody has signed", known, f.Wrap(f.Certs[:], report), at)

	made := newFake(t) // other keys, other serial numbers, the same names
	made.Build()
	certs := append(append(made.Certs[:0:0], made.Certs[:4]...), f.Certs[4])
	asks("with serial numbers that somebody made up, under a root that is trusted", known, made.Wrap(certs, made.Report()), at)
	certs = append(append(made.Certs[:0:0], made.Certs[:2]...), f.Certs[2:]...)
	asks("with a device that nobody has certified", known, made.Wrap(certs, made.Report()), at)
	if bytes.Equal(nvidiatest.PEM(certs), nvidiatest.PEM(f.Certs[:])) {
		t.Error("the same chain")
	}
	var none []endorsements.Need
	if got := known.Needs(evidence.MediaType{Base: MediaType}, []byte("{"), at); fmt.Sprint(got) != fmt.Sprint(none) {
		t.Errorf("%v", got)
	}
}
