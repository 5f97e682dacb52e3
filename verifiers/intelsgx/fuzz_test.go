// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// FuzzAppraise: no bytes make the scheme panic, which would be a reason, and none
// but the seeds are known to reference values.
func FuzzAppraise(f *testing.F) {
	var honest [][]byte
	for _, form := range forms {
		honest = append(honest, newMachine(f, func(o *sim.Options) { o.Quote = form }).raw)
	}
	m := newMachine(f, nil)
	for _, raw := range honest {
		f.Add(raw)
		f.Add(raw[:1000])
	}
	if dir := os.Getenv("ASSIZE_VECTORS"); dir != "" {
		if raw, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(recordedQuote))); err == nil {
			f.Add(raw)
		}
	}
	v, x := newTest(f, m.deps()), indexOf(f, entryOf(m))
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, e, fail := open(raw)
		if fail == nil {
			e.setFlags()
			e.reserved()
			e.separation()
		}
		Scheme().Needs(evidence.MediaType{Base: typeQuote}, raw)
		a, err := v.Appraise(context.Background(), verifiers.Input{
			MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: nonce, Time: now, References: x,
		})
		if err != nil {
			t.Fatal(err)
		}
		if a.Status() != verdict.TierAffirming {
			if len(a.Reasons) == 0 {
				t.Fatalf("%s without a reason", a.Status())
			}
			return
		}
		if fail != nil || !slices.ContainsFunc(honest, func(h []byte) bool { return bytes.HasPrefix(h, q.Signed) }) {
			t.Fatal("affirming, and nobody signed it")
		}
	})
}
