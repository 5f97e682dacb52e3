// SPDX-License-Identifier: Apache-2.0

package awsnitro

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// FuzzDocument looks for input that panics, that is affirming, or that is read
// as something out of bounds.
func FuzzDocument(f *testing.F) {
	f.Add(document1(f, enclave(f, nil)))
	f.Add([]byte{0x84, 0x44, 0xa1, 0x01, 0x38, 0x22, 0xa0, 0x41, 0xa0, 0x41, 0})
	if files, err := filepath.Glob("../../../shared/evidence/nitro/*/*.bin"); err == nil {
		for _, name := range files {
			if raw, err := os.ReadFile(name); err == nil {
				f.Add(raw)
			}
		}
	}
	v := newTest(f, verifiers.Deps{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, d, err := parse(raw)
		if err != nil {
			expectRejected(t, "not parsed", appraise(t, v, input(raw, nil, now)), verdict.ReasonMalformed, err.Error())
			return
		}
		if m == nil || len(d.pcrs) < imagePCRs || len(d.pcrs) > maxPCRs || len(d.bundle) == 0 || len(d.leaf) == 0 || len(d.nonce) > maxField {
			t.Fatalf("parsed something else: %+v", d)
		}
		if len(raw)%8 == 0 { // the signature takes a thousand times as long as the rest
			if a := appraise(t, v, input(raw, nil, d.timestamp)); a.Status() != verdict.TierWarning && a.Status() != verdict.TierContraindicated || len(a.Reasons) == 0 {
				t.Fatalf("%v", a)
			}
		}
	})
}
