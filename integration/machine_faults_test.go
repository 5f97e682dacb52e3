// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"

	"github.com/assize/assize/attester"
)

const faultsHead = `# Faults

What happens when one part of a simulated machine is wrong. Made by ` + "`UPDATE_DOCS=1 go test ./integration -run TestFaultTable`" + ` and checked
by the same test; ` + "`assize simulate --fault LABEL:KIND`" + ` makes the same evidence.

Six machines: TDX with two GPUs and two switches; TDX with two TDISP devices and a vTPM; SEV-SNP with a GPU; Arm CCA with two PSA
microcontrollers; SGX with a GPU; Nitro with a GPU. All parts must be there, the CPU commits to everything else, and test roots, collateral and
signed reference values are given, with the keys of Arm's parts in them. The last part of each kind has the fault. Every row also has the reasons
component-tier and extra-roots where they apply; they are left away.

Not every fault can be seen. Revocation of NVIDIA's certificates needs OCSP answers: without them every such part has at best a
warning for it. Kinds without a scheme have the
tier none, honest or not, and only what the commitment covers is found. Arm's tokens have no certificates, so one of another machine has a key that no
document states. AWS names no version of what runs below an enclave. A device that was replaced before the commitment was made, by someone who
relays the challenge, is in no row: see limitations.md.

| part | fault | component | verdict | edges |
|---|---|---|---|---|
`

// expectation is what a fault has to lead to: the tier of the part, and words
// among the reasons of the part, of the whole, and in the edges.
type expectation struct{ tier, component, verdict, edges string }

func (e expectation) matches(r faultRow) bool {
	if !strings.HasPrefix(r.component, e.tier) {
		return false
	}
	for _, pair := range [][2]string{{e.component, r.component}, {e.verdict, r.verdict}, {e.edges, r.edges}} {
		for _, word := range strings.Fields(pair[0]) {
			without, negated := strings.CutPrefix(word, "!")
			if strings.Contains(pair[1], without) == negated {
				return false
			}
		}
	}
	return true
}

// What the commitment of the CPU says about the part.
const (
	bound  = "report-data-digest bound !broken"
	broken = "report-data-digest broken !bound"
)

// withoutScheme are kinds that nobody verifies yet: only what the commitment
// covers is found.
func withoutScheme(f attester.FaultKind) expectation {
	switch f {
	case attester.Missing:
		return expectation{"none", "missing-component", "none !contraindicated", ""}
	case attester.ForeignMachine, attester.Relayed, attester.Truncated:
		return expectation{"none", "no-verifier", "contraindicated binding-broken", broken}
	case attester.Oversized:
		return expectation{"–", "", "refused", ""}
	case attester.Extra:
		return expectation{"none", "no-verifier", "none unexpected-component", bound}
	}
	return expectation{"none", "no-verifier", "none !contraindicated", bound}
}

// expected is written by hand: every fault of every kind of part.
func expected(f attester.FaultKind, k attester.Kind) (expectation, bool) {
	switch k {
	case attester.KindTDX:
		e, ok := expectedTDX[f]
		return e, ok
	case attester.KindGPU, attester.KindSwitch:
		e, ok := expectedNVIDIA[f]
		return e, ok
	case attester.KindSPDM:
		return withoutScheme(f), true
	case attester.KindTPM:
		e, ok := expectedTPM[f]
		return e, ok
	case attester.KindPSA:
		e, ok := expectedPSA[f]
		return e, ok
	case attester.KindSNP, attester.KindSGX, attester.KindCCA, attester.KindNitro:
		if e, ok := expectedCPU[k][f]; ok {
			return e, true
		}
		e, ok := expectedTDX[f]
		return e, ok
	}
	return expectation{}, false
}

var expectedTDX = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values", "warning application-binding-accepted !binding-weak", bound},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Debug:            {"contraindicated", "debug-enabled", "contraindicated !binding-broken", bound},
	attester.OutdatedTCB:      {"warning", "tcb-out-of-date !measurement-mismatch", "warning", bound},
	attester.Revoked:          {"contraindicated", "revoked", "contraindicated !binding-broken", bound},
	attester.Expired:          {"contraindicated", "expired", "contraindicated", "!bound"},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated", "!bound"},
	attester.MeasurementFault: {"contraindicated", "measurement-mismatch", "contraindicated binding-weak", bound},
	attester.Missing:          {"none", "missing-component", "none unbound-component", "!bound"},
	attester.Extra:            {"none", "nonce-mismatch", "none unexpected-component", "!bound"},
	attester.ForeignMachine:   {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Unbound:          {"affirming", "", "warning unbound-component", "!report-data-digest common-nonce"},
	attester.Truncated:        {"contraindicated", "malformed-evidence", "contraindicated", "!bound"},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"affirming", "", "warning", bound},
}

// expectedCPU is where a CPU TEE differs from TDX.
var expectedCPU = map[attester.Kind]map[attester.FaultKind]expectation{
	attester.KindSNP: {
		// A document says the least TCB, so the guest below is not the one it knows.
		attester.OutdatedTCB: {"warning", "tcb-out-of-date reference-values-partial !measurement-mismatch", "warning binding-weak", bound},
	},
	attester.KindCCA: {
		"":                        {"affirming", "!no-reference-values", "warning application-binding-accepted !binding-weak", bound},
		attester.OutdatedTCB:      {"warning", "measurement-mismatch", "warning binding-weak", bound},
		attester.MeasurementFault: {"warning", "measurement-mismatch", "warning binding-weak", bound},
		attester.ForeignMachine:   {"contraindicated", "no-collateral !nonce", "contraindicated !binding-broken", "!bound"},
		attester.Slow:             {"affirming", "", "warning", bound},
	},
}

// The machine of the vTPM has TDISP devices, for which there is no scheme.
var expectedTPM = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values", "none !contraindicated !binding-weak", bound},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.Revoked:          {"contraindicated", "revoked", "contraindicated !binding-broken", bound},
	attester.Expired:          {"contraindicated", "expired", "contraindicated !binding-broken", bound},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated !binding-broken", bound},
	attester.MeasurementFault: {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", bound},
	attester.Missing:          {"none", "missing-component", "none !contraindicated", ""},
	attester.Extra:            {"affirming", "", "none unexpected-component", bound},
	attester.ForeignMachine:   {"affirming", "", "contraindicated binding-broken", broken},
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Truncated:        {"contraindicated", "malformed-evidence", "contraindicated binding-broken", broken},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"affirming", "", "none !contraindicated", bound},
}

var expectedPSA = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values", "warning !binding-weak", bound},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.Debug:            {"contraindicated", "debug-enabled", "contraindicated !binding-broken", bound},
	attester.OutdatedTCB:      {"warning", "measurement-mismatch", "warning !binding-weak", bound},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated !binding-broken", bound},
	attester.MeasurementFault: {"warning", "measurement-mismatch", "warning !binding-weak", bound},
	attester.Missing:          {"none", "missing-component", "none !contraindicated", ""},
	attester.Extra:            {"affirming", "", "warning unexpected-component", bound},
	attester.Duplicate:        {"affirming", "", "contraindicated duplicate-identity", "report-data-digest bound identity-collision broken"},
	attester.ForeignMachine:   {"contraindicated", "no-collateral", "contraindicated binding-broken", broken},
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Truncated:        {"contraindicated", "malformed-evidence", "contraindicated binding-broken", broken},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"affirming", "", "warning", bound},
}

var expectedNVIDIA = map[attester.FaultKind]expectation{
	"":                        {"warning", "!no-reference-values no-collateral !measurement-mismatch", "warning !binding-weak", bound},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.Debug:            {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", bound},
	attester.OutdatedTCB:      {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", bound},
	attester.Revoked:          {"warning", "no-collateral", "warning", bound},
	attester.Expired:          {"contraindicated", "expired", "contraindicated", bound},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated", bound},
	attester.MeasurementFault: {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", bound},
	attester.Missing:          {"none", "missing-component", "none", ""},
	attester.Extra:            {"warning", "", "warning unexpected-component", bound},
	attester.Duplicate:        {"warning", "", "contraindicated duplicate-identity", "report-data-digest bound identity-collision broken"},
	attester.ForeignMachine:   {"warning", "", "contraindicated binding-broken", broken},
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Truncated:        {"none", "missing-component", "contraindicated binding-broken unexpected-component", ""},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"warning", "", "warning", bound},
}
