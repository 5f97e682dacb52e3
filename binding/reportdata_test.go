// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// A commitment in report data is strong exactly where the software that chose
// it is known; broken, it contraindicates.
func TestReportData(t *testing.T) {
	cpu := func(f verdict.Freshness, executables verdict.Claim) verdict.Component {
		return partWith(t, "cpu", "cpu-tee", "cmw-bind-v1", f, func(a *verdict.Appraisal) { a.Vector[verdict.Executables] = executables })
	}
	gpu := part(t, "gpu", "device", "same", isFresh)
	outdated := partWith(t, "cpu", "cpu-tee", "cmw-bind-v1", isFresh, func(a *verdict.Appraisal) {
		a.Vector[verdict.Executables], a.Vector[verdict.Hardware] = verdict.ClaimApproved, verdict.ClaimUnsafe
	})
	missing := verdict.Component{Label: "nic", Required: true}
	for _, c := range []struct {
		name, edges, caps string
		parts             []verdict.Component
	}{
		{"known software", "gpu:cpu:report-data-digest:strong:bound", "affirming:application-binding-accepted",
			[]verdict.Component{cpu(isFresh, verdict.ClaimApproved), gpu}},
		{"unknown software", "gpu:cpu:report-data-digest:nonce:bound", "warning:binding-weak warning:unbound-component",
			[]verdict.Component{cpu(isFresh, verdict.ClaimUnrecognized), gpu}},
		{"software that nobody looked at", "gpu:cpu:report-data-digest:nonce:bound", "warning:binding-weak warning:unbound-component",
			[]verdict.Component{cpu(isFresh, verdict.ClaimNone), gpu}},
		{"another commitment", "gpu:cpu:report-data-digest:none:broken", "contraindicated:binding-broken warning:unbound-component",
			[]verdict.Component{cpu(stale, verdict.ClaimApproved), gpu}},
		{"no challenge", "gpu:cpu:report-data-digest:none:absent", "warning:binding-absent warning:unbound-component",
			[]verdict.Component{cpu(open, verdict.ClaimApproved), gpu}},
		{"what is missing is not bound", "gpu:cpu:report-data-digest:strong:bound", "affirming:application-binding-accepted warning:unbound-component",
			[]verdict.Component{cpu(isFresh, verdict.ClaimApproved), gpu, missing}},
		{"two verifiers know the software", "gpu:cpu:report-data-digest:strong:bound", "affirming:application-binding-accepted",
			[]verdict.Component{together(cpu(isFresh, verdict.ClaimApproved), cpu(isFresh, verdict.ClaimApproved)), gpu}},
		{"one of two does not know the software", "gpu:cpu:report-data-digest:nonce:bound", "warning:binding-weak warning:unbound-component",
			[]verdict.Component{together(cpu(isFresh, verdict.ClaimApproved), cpu(isFresh, verdict.ClaimUnrecognized)), gpu}},
		{"one of two did not look", "gpu:cpu:report-data-digest:nonce:bound", "warning:binding-weak warning:unbound-component",
			[]verdict.Component{together(cpu(isFresh, verdict.ClaimNone), cpu(isFresh, verdict.ClaimApproved)), gpu}},
		{"the better one of two did not look", "gpu:cpu:report-data-digest:nonce:bound", "warning:binding-weak warning:unbound-component",
			[]verdict.Component{together(cpu(isFresh, verdict.ClaimNone), outdated), gpu}},
		{"one of two sees another commitment", "gpu:cpu:report-data-digest:none:broken", "contraindicated:binding-broken warning:unbound-component",
			[]verdict.Component{together(cpu(isFresh, verdict.ClaimApproved), cpu(stale, verdict.ClaimApproved)), gpu}},
		{"a lone CPU", "", "", []verdict.Component{cpu(isFresh, verdict.ClaimApproved)}},
		{"another rule", "", "warning:unbound-component", []verdict.Component{part(t, "cpu", "cpu-tee", "same", isFresh), gpu}},
		{"no answer of the CPU", "", "warning:unbound-component",
			[]verdict.Component{{Label: "cpu", Class: "cpu-tee", NonceRule: "cmw-bind-v1"}, gpu}},
	} {
		e, k := Check(Input{Components: c.parts})
		var own []verdict.Binding
		for _, x := range e {
			if x.Kind == KindReportData {
				own = append(own, x)
				if x.Origin != OriginApplication {
					t.Errorf("%s: origin %q", c.name, x.Origin)
				}
			}
		}
		if edges(own) != c.edges || caps(k) != c.caps {
			t.Errorf("%s:\n got %s | %s\nwant %s | %s", c.name, edges(own), caps(k), c.edges, c.caps)
		}
	}
	if _, k := Check(Input{Components: []verdict.Component{cpu(stale, verdict.ClaimApproved), gpu}}); !strings.Contains(k[0].Reason.Detail, "replaced") {
		t.Errorf("the reason does not say what could have happened: %v", k)
	}
}
