// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"testing"

	"github.com/assize/assize/verdict"
)

// What was compared goes to the reason that Apply reports, and to no other one.
func TestApplyReturnsItsReason(t *testing.T) {
	p, err := Defaults{Scheme: "x", Findings: []Finding{
		{Name: "bad", Code: verdict.ReasonDebug, Effect: Effect{verdict.Hardware: 96}, Text: "bad"},
		{Name: "good", Effect: Effect{verdict.Hardware: 2}, Text: "good"},
	}}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	c := verdict.Comparison{Expected: "off", Observed: "on", Source: verdict.SourceAppraisalPolicy}
	var a verdict.Appraisal
	p.Apply(&a, "bad", "first").Against(c)
	p.Apply(&a, "good", "").Against(verdict.Comparison{Expected: "never seen"})
	p.Apply(&a, "unknown", "").Against(verdict.Comparison{Observed: "unknown"})
	if len(a.Reasons) != 2 || a.Reasons[0] != (verdict.Reason{Code: verdict.ReasonDebug, Detail: "first", Expected: "off", Observed: "on", Source: verdict.SourceAppraisalPolicy}) ||
		a.Reasons[1].Code != verdict.ReasonMalfunction || a.Reasons[1].Observed != "unknown" {
		t.Errorf("%+v", a.Reasons)
	}
}
