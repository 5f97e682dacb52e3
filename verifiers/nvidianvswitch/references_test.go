// SPDX-License-Identifier: Apache-2.0

package nvidianvswitch

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/nvidia"
)

// entryOf are reference values for all measurements of a switch.
func (f *fake) entryOf(model string) refvalues.Entry {
	e := refvalues.Entry{Environment: refvalues.Environment{Vendor: "NVIDIA", Model: model}}
	for _, b := range f.Blocks {
		e.Values = append(e.Values, refvalues.Value{Key: uint64(b.Index - 1), Digests: []refvalues.Digest{{Alg: "sha-384", Value: bytes.Clone(b.Value)}}})
	}
	return e
}

func indexOf(tb testing.TB, entries ...refvalues.Entry) *corim.Index {
	tb.Helper()
	author, err := refvalues.NewAuthor("author", at)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(at, refvalues.Document{ID: "d", TagID: "t", Profile: refvalues.Profile, NotAfter: at.Add(time.Hour), Entries: entries})
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func TestReferences(t *testing.T) {
	for _, c := range []struct {
		name          string
		model         string
		device        func(*fake)
		after         func(*fake)
		executables   verdict.Claim
		configuration verdict.Claim
	}{
		{"chip", "LS10", nil, nil, 3, 3},
		{"BIOS", "NV_SWITCH_BIOS_5612_0002_890_9610550001", nil, nil, 3, 3},
		{"other BIOS", "NV_SWITCH_BIOS_5612_0002_890_9610730001", nil, nil, 33, 36},
		{"GPU", "GH100", nil, nil, 33, 36},
		{"spelt as in the certificate", "LS_10", nil, nil, 33, 36},
		{"one bit", "LS10", nil, func(f *fake) { f.Blocks[3].Value[47] ^= 1 }, 96, 36},
		{"unlocked", "LS10", func(f *fake) { f.With(nvidia.OpaqueLock, []byte{0, 0}) }, nil, 3, 32},
		{"no lock", "LS10", func(f *fake) { f.Without(nvidia.OpaqueLock) }, nil, 3, 36},
		{"lock of no known kind", "LS10", func(f *fake) { f.With(nvidia.OpaqueLock, []byte{2, 0}) }, nil, 3, 32},
		{"versioned opaque data", "LS10", func(f *fake) { f.With(nvidia.OpaqueVersion, []byte{1, 0}) }, nil, 3, 96},
		{"a field that cannot be read", "LS10", func(f *fake) { f.With(nvidia.OpaquePosition, []byte{2}) }, nil, 3, 36},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			if c.device != nil {
				c.device(f)
			}
			x := indexOf(t, f.entryOf(c.model))
			if c.after != nil {
				c.after(f)
			}
			raw := f.Leaf()
			a, err := newTest(t, f.roots()).Appraise(t.Context(), verifiers.Input{
				MediaType: evidence.MediaType{Base: MediaType}, Evidence: raw, Nonce: f.Nonce, Time: at, References: x,
			})
			if err != nil || a.Vector[verdict.Executables] != c.executables || a.Vector[verdict.Configuration] != c.configuration {
				t.Errorf("%v %v %v", a.Vector, a.Reasons, err)
			}
			if c.configuration != 3 && len(a.Reasons) < 2 || c.configuration == 3 && !slices.Equal(codes(a), []string{verdict.ReasonNoCollateral}) {
				t.Errorf("%v", a.Reasons)
			}
		})
	}
}
