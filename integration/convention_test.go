// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"
	"testing"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestBindingsOfMachines: whole simulated machines, tied together in every way, as
// the real verifiers judge them.
func TestBindingsOfMachines(t *testing.T) {
	gpu := attester.Description{GPUs: attester.GPUs{Count: 2}, Devices: attester.Devices{Count: 1}}
	nitro := attester.Description{CPU: attester.CPU{Kind: "aws-nitro"}, Devices: attester.Devices{Count: 1}}
	const member = "additional-evidence/nvidia/0"
	fault := func(label evidence.Path, k attester.FaultKind) []attester.Fault {
		return []attester.Fault{{Label: label, Kind: k}}
	}
	for _, c := range []struct {
		name    string
		d       attester.Description
		binding string
		faults  []attester.Fault
		tier    verdict.Tier
		codes   string // among those of the verdict
	}{
		{"commitment", gpu, attester.BindCommitment, nil, verdict.TierAffirming, verdict.ReasonApplicationBound},
		{"nonce", gpu, attester.BindNonce, nil, verdict.TierWarning, verdict.ReasonUnboundComponent},

		{"trustee", gpu, attester.BindTrustee, nil, verdict.TierAffirming, verdict.ReasonApplicationBound},
		{"trustee, GPU of another machine", gpu, attester.BindTrustee, fault(member, attester.ForeignMachine), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"trustee, NIC of another machine", gpu, attester.BindTrustee, fault("additional-evidence/cmw/nic/0", attester.ForeignMachine), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"trustee, replayed GPU", gpu, attester.BindTrustee, fault(member, attester.Relayed), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"trustee, one GPU for two", gpu, attester.BindTrustee, fault(member, attester.Duplicate), verdict.TierContraindicated, verdict.ReasonDuplicateIdentity},
		{"trustee, CPU of another machine", gpu, attester.BindTrustee, fault("cpu", attester.ForeignMachine), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"trustee, earlier session", gpu, attester.BindTrustee, fault("cpu", attester.StaleNonce), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"trustee, absent", gpu, attester.BindTrustee, fault("cpu", attester.Unbound), verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"trustee, forged by an application", gpu, attester.BindTrustee, fault("cpu", attester.MeasurementFault), verdict.TierContraindicated, verdict.ReasonBindingWeak},

		{"ita", gpu, attester.BindITA, nil, verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"ita, GPU of another machine", gpu, attester.BindITA, fault("gpu/0", attester.ForeignMachine), verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"ita, earlier session", gpu, attester.BindITA, fault("cpu", attester.StaleNonce), verdict.TierContraindicated, ""},
		{"ita, CPU alone", attester.Description{}, attester.BindITA, nil, verdict.TierAffirming, ""},

		{"lead signature", gpu, attester.BindLead, nil, verdict.TierAffirming, verdict.ReasonApplicationBound},
		{"lead signature, GPU of another machine", gpu, attester.BindLead, fault("gpu/0", attester.ForeignMachine), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"lead signature, CPU of another machine", gpu, attester.BindLead, fault("cpu", attester.ForeignMachine), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"lead signature, absent", gpu, attester.BindLead, fault("cpu", attester.Unbound), verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"lead signature, forged by an application", gpu, attester.BindLead, fault("cpu", attester.MeasurementFault), verdict.TierContraindicated, verdict.ReasonBindingWeak},
		{"lead signature, Nitro", nitro, attester.BindLead, nil, verdict.TierAffirming, verdict.ReasonApplicationBound},

		{"event, GPU of another machine", gpu, attester.BindEvent, fault("gpu/0", attester.ForeignMachine), verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"event, absent", gpu, attester.BindEvent, fault("cpu", attester.Unbound), verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"event, forged by an application", gpu, attester.BindEvent, fault("cpu", attester.MeasurementFault), verdict.TierContraindicated, verdict.ReasonUnboundComponent},

		{"trustee, Nitro", nitro, attester.BindTrustee, nil, verdict.TierAffirming, verdict.ReasonApplicationBound},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.d.Name, c.d.Binding = "convention", c.binding
			m := simulated(t, c.d, nil, c.faults...)
			deps, lead := filesOf(t, m, func(string) bool { return true })
			j := judgeTold(t, deps, referencesOf(t, m), lead, true)
			for _, f := range []attester.Format{attester.CBOR, attester.JWS} {
				res, err := j.appraise(t, evidenceOf(t, m, f), "lead")
				must(t, err)
				if got := reasonCodes(res.Outcome.Reasons); res.Outcome.Tier != c.tier || !strings.Contains(got, c.codes) {
					t.Errorf("%s: %s %s, want %s %s", f, res.Outcome.Tier, got, c.tier, c.codes)
					for _, p := range res.Components {
						t.Logf("%s %s: %v", p.Label, p.Tier(), p.Reasons)
						if !p.Partial.IsZero() {
							t.Log(p.Partial.Appraisal().Reasons)
						}
					}
				}
			}
		})
	}
}
