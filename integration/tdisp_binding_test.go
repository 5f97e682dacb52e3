// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/spdm"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestInterfaceReportsNeedTheCPU: what a simulated machine says of the interfaces
// of its devices counts where its CPU vouches for it, by a commitment or by its
// event log, and where the software that did is known; nowhere else.
func TestInterfaceReportsNeedTheCPU(t *testing.T) {
	d := attester.Description{Name: "tdisp", Devices: attester.Devices{Count: 2, TDISP: true}}
	snp := attester.Description{Name: "tdisp-snp", CPU: attester.CPU{Kind: string(attester.KindSNP)}, Devices: attester.Devices{Count: 2, TDISP: true}}
	unbound := []attester.Fault{{Label: "cpu", Kind: attester.Unbound}}
	const (
		strong, weak, absent = "bound strong measured", "bound nonce measured", "absent none"
		committed            = "bound strong application"
	)
	for _, c := range []struct {
		name     string
		d        attester.Description
		faults   []attester.Fault
		unknown  attester.Kind // without reference values
		log      string        // edge of the event log
		report   string        // edge of the report data
		vouched  bool
		affirmed bool
	}{
		{"TDX, both", d, nil, "", strong, committed, true, true},
		{"TDX, event log alone", d, unbound, "", strong, "", true, true},
		{"TDX, software that nobody knows", d, nil, attester.KindTDX, weak, "bound nonce application", false, false},
		{"TDX, event log alone, software that nobody knows", d, unbound, attester.KindTDX, weak, "", false, false},
		{"SEV-SNP", snp, nil, "", absent, committed, true, true},
		{"SEV-SNP, software that nobody knows", snp, nil, attester.KindSNP, absent, "bound nonce application", false, false},
		{"SEV-SNP without commitment", snp, unbound, "", absent, "", false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := simulated(t, c.d, nil, c.faults...)
			x := referencesWithout(t, m, c.unknown)
			deps, lead := filesOf(t, m, func(string) bool { return true })
			res, err := judgeTold(t, deps, x, lead, true).appraise(t, evidenceOf(t, m, attester.CBOR), "lead(cpu, nic/0, nic/1)")
			must(t, err)
			for _, part := range res.Components {
				if !strings.HasPrefix(string(part.Label), "nic/") {
					continue
				}
				if log, report := bindingTo(res, part.Label, "tsm-digest"), bindingTo(res, part.Label, "report-data-digest"); log != c.log || report != c.report {
					t.Errorf("%s: event log %q, report data %q", part.Label, log, report)
				}
				open := slices.ContainsFunc(part.Reasons, func(r verdict.Reason) bool { return r.Code == verdict.ReasonReportUnauthenticated })
				if open == c.vouched || (part.Tier() == verdict.TierAffirming) != c.affirmed {
					t.Errorf("%s: %s %v", part.Label, part.Tier(), part.Reasons)
				}
				if !factsOf(t, res, part.Label).Facts.RelayRequired {
					t.Errorf("%s needs no relay", part.Label)
				}
				checkShown(t, res, part.Label, c.vouched)
			}
			if (res.Outcome.Tier == verdict.TierAffirming) != c.affirmed {
				t.Errorf("%s: %v", res.Outcome.Tier, res.Outcome.Reasons)
			}
		})
	}
}

// checkShown: the verifier of a device judges its report as if it were authentic,
// says that this needs a relay, and names no missing one; the verdict shows its good
// word about the interface only where something vouches for the report.
func checkShown(t *testing.T, res *verdict.Result, label evidence.Path, vouched bool) {
	t.Helper()
	own := factsOf(t, res, label)
	if !own.Facts.RelayRequired || own.Status() != verdict.TierAffirming || own.Vector[verdict.Configuration] != 2 || own.Vector[verdict.RuntimeOpaque] != 2 ||
		reasonCodes(own.Reasons, verdict.ReasonExtraRoots) != "" {
		t.Errorf("%s by itself: %s %v, relay required %t: %v", label, own.Status(), own.Vector, own.Facts.RelayRequired, own.Reasons)
	}
	configuration, opaque := verdict.Claim(2), verdict.Claim(2)
	if !vouched {
		configuration, opaque = 36, 0
	}
	shown := res.Document().Components[string(label)].TrustVector
	if shown["configuration"] != configuration || shown["runtime-opaque"] != opaque {
		t.Errorf("%s: %v", label, shown)
	}
}

// TestInterfaceReportAlone: a device without any CPU is a warning for its report.
func TestInterfaceReportAlone(t *testing.T) {
	list, deps, x := tokenDevices(t)
	raw, err := list[1].Evidence(machineNonce)
	must(t, err)
	res, err := judgeTold(t, deps, x, nil, true).appraise(t, leafOf(t, "nic", spdm.MediaType, raw), "lead(nic)")
	must(t, err)
	if part := res.Components[0]; part.Tier() != verdict.TierWarning || reasonCodes(part.Reasons) != verdict.ReasonReportUnauthenticated || res.Outcome.Tier != verdict.TierWarning {
		t.Errorf("%s in %s: %v %v", part.Tier(), res.Outcome.Tier, part.Reasons, res.Outcome.Reasons)
	}
	checkShown(t, res, "nic", false)
}

// TestInterfaceReportSwapped: a report that is not the one that the machine measured
// contraindicates the whole, and of its device nothing good is shown.
func TestInterfaceReportSwapped(t *testing.T) {
	d := attester.Description{Name: "tdisp", Devices: attester.Devices{Count: 2, TDISP: true}}
	m := simulated(t, d, nil, attester.Fault{Label: "nic/1", Kind: attester.ReportSwapped})
	deps, lead := filesOf(t, m, func(string) bool { return true })
	res, err := judgeTold(t, deps, referencesWithout(t, m), lead, true).appraise(t, evidenceOf(t, m, attester.CBOR), "lead(cpu, nic/0, nic/1)")
	must(t, err)
	if res.Outcome.Tier != verdict.TierContraindicated || !strings.Contains(reasonCodes(res.Outcome.Reasons), verdict.ReasonBindingBroken) ||
		!strings.HasPrefix(bindingTo(res, "nic/1", "tsm-digest"), "broken") {
		t.Errorf("%s: %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	for _, part := range res.Components {
		want := ""
		if part.Label == "nic/1" {
			want = verdict.ReasonReportUnauthenticated
		}
		if got := reasonCodes(part.Reasons); got != want {
			t.Errorf("%s: %q, expected %q", part.Label, got, want)
		}
	}
	checkShown(t, res, "nic/0", true)
	checkShown(t, res, "nic/1", false)
}
