// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"encoding/json"
	"errors"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// A verdict in any format is checked all the way, as the one that was signed first:
// statements, challenges, bindings, and against the evidence.
func TestSignInAnyFormat(t *testing.T) {
	gpu, nic := entry("gpu", "dev", []byte(testNonce+" good")), entry("nic", "dev", []byte(testNonce+" id:nic"))
	w := boundWorld(t)
	raw := bound(t, testNonce, []evidence.Entry{gpu, nic}, []evidence.Entry{gpu, nic})
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
	want, err := json.Marshal(res.Document())
	check(t, err)
	o, err := New(w.options)
	check(t, err)
	tree, err := evidence.Parse(raw, evidence.Options{})
	check(t, err)
	for _, f := range verdict.Formats() {
		token, err := o.Sign(res, f)
		var unfit *verdict.FormatError
		if f == verdict.FormatTDXGPU {
			if !errors.As(err, &unfit) || token != nil {
				t.Errorf("%s: %v", f, err)
			}
			continue
		}
		check(t, err)
		if (f == verdict.FormatP23JWT) != bytes.Equal(token, res.Token) {
			t.Errorf("%s is not the token that it should be", f)
		}
		checked, err := verdict.VerifyResult(token, verdict.Intake{Now: res.Time}, w.anchors)
		check(t, err)
		check(t, Recheck(checked, w.options.Schemes))
		check(t, RecheckEvidence(checked, w.options.Schemes, tree))
		if got, err := json.Marshal(checked.Document()); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n%s\n%s", f, err, got, want)
		}
	}
	if _, err := o.Sign(res, "other"); err == nil {
		t.Error("an unknown format")
	}
}
