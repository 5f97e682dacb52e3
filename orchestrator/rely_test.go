// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TestUnrepeatable: what only the evidence shows caps for who has not got it.
func TestUnrepeatable(t *testing.T) {
	w := conventionWorld(t)
	gpu := entry("gpu", "dev", []byte(testNonce+" good"))
	for name, c := range map[string]struct {
		raw   []byte
		codes string
	}{
		"a lone CPU":            {composite(t, "a cpu good"), ""},
		"parts with a nonce":    {composite(t, "a cpu good", "b dev good"), ""},
		"a CPU that commits":    {bound(t, testNonce, []evidence.Entry{gpu}, []evidence.Entry{gpu}), verdict.ReasonUnboundComponent},
		"commits to nothing":    {bound(t, testNonce, nil, nil), ""},
		"another convention":    {bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}.encode(t), verdict.ReasonNonceNotEstablished + " " + verdict.ReasonUnboundComponent},
		"it, and the CPU alone": {bundle{trustee: true, nonce: testNonce}.encode(t), ""},
	} {
		orch, err := New(func() Options { o := w.options; o.Spender = spent{}; return o }())
		check(t, err)
		w.orch = orch
		res := w.appraise(t, Request{Evidence: c.raw, Nonce: []byte(testNonce)})
		checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: res.Time}, w.anchors)
		check(t, err)
		check(t, RecheckStated(checked, w.options.Schemes))
		var got []string
		for _, x := range Unrepeatable(checked) {
			if x.Tier != verdict.TierWarning {
				t.Errorf("%s: %s caps at %s", name, x.Reason.Code, x.Tier)
			}
			got = append(got, x.Reason.Code)
		}
		if slices.Sort(got); strings.Join(got, " ") != c.codes {
			t.Errorf("%s: %q, want %q", name, got, c.codes)
		}
	}
}

// TestRecheckStated: a lead may say that it takes simulated machines, and has to.
func TestRecheckStated(t *testing.T) {
	w := newWorldWith(t, verifiers.Deps{ExtraRoots: map[string][]*x509.Certificate{"cpu": {{}}}}, func(o *Options) { o.Simulated = true }, testSchemes()...)
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	if res.Outcome.Tier != verdict.TierAffirming || Recheck(res, w.options.Schemes) == nil {
		t.Fatalf("%s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	check(t, RecheckStated(res, w.options.Schemes))
	silent, err := w.resign(t, res, func(r *verdict.Result) { r.Caps = nil })
	check(t, err)
	if RecheckStated(silent, w.options.Schemes) == nil {
		t.Error("a lead that is silent about simulated machines passes")
	}
}
