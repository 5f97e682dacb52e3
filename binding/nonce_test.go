// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"encoding/hex"
	"testing"

	"github.com/assize/assize/verdict"
)

// A nonce joins for freshness only, whatever the rule; the edge says by which kind
// of rule, what was asked for and what was seen.
func TestNonces(t *testing.T) {
	cpu := part(t, "cpu", "cpu-tee", "shake256/64", isFresh)
	asked := hex.EncodeToString(nonce)
	for _, c := range []struct {
		name, rule     string
		f              verdict.Freshness
		edge, observed string
	}{
		{"broadcast", "same", isFresh, "gpu:cpu:common-nonce:nonce:bound", asked},
		{"stretched by ratsd", "shake256/32", isFresh, "gpu:cpu:derived-nonce:nonce:bound", asked},
		{"hashed by a convention", "trustee-jcs-device/32", isFresh, "gpu:cpu:derived-nonce:nonce:bound", asked},
		{"another challenge", "shake256/32", stale, "gpu:cpu:derived-nonce:none:absent", ""},
		{"no challenge", "shake256/32", open, "gpu:cpu:derived-nonce:none:absent", ""},
		{"one of its own", "given", isFresh, "gpu:cpu:common-nonce:none:absent", asked},
	} {
		gpu := part(t, "gpu", "device", c.rule, c.f)
		e, k := Check(Input{Components: []verdict.Component{cpu, gpu}})
		if edges(e) != c.edge || caps(k) != "warning:unbound-component" {
			t.Errorf("%s: %s | %s", c.name, edges(e), caps(k))
		}
		if e[0].Observed != c.observed || c.f != open && e[0].Expected != asked {
			t.Errorf("%s: expected %s, observed %s", c.name, e[0].Expected, e[0].Observed)
		}
		_, k = Check(Input{Components: []verdict.Component{cpu, gpu}, AcceptNonce: true})
		want := "affirming:nonce-binding-accepted"
		if c.f != isFresh || c.rule == "given" {
			want = "warning:unbound-component"
		}
		if caps(k) != want {
			t.Errorf("%s, where a nonce is accepted: %s", c.name, caps(k))
		}
	}
	for _, f := range []verdict.Freshness{stale, open} {
		root := part(t, "cpu", "cpu-tee", "same", f)
		if e, _ := Check(Input{Components: []verdict.Component{root, part(t, "gpu", "device", "same", isFresh)}}); edges(e) != "gpu:cpu:common-nonce:none:absent" {
			t.Errorf("a root that is %s: %s", f, edges(e))
		}
	}
	another := partWith(t, "gpu", "device", "same", stale, func(a *verdict.Appraisal) { a.NonceSeen = []byte{0xab} })
	for _, p := range []verdict.Component{another, together(part(t, "gpu", "device", "same", isFresh), another)} {
		e, _ := Check(Input{Components: []verdict.Component{cpu, p}})
		if e[0].Observed != "ab" || e[0].Status != StatusAbsent {
			t.Errorf("%+v", e[0])
		}
	}
}
