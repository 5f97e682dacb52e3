// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"strings"

	"github.com/assize/assize/attester"
)

const faultsHead = `# Faults

What happens when one part of a simulated machine is wrong. Made by ` + "`UPDATE_DOCS=1 go test ./integration -run TestFaultTable`" + ` and checked
by the same test; ` + "`assize simulate --fault LABEL:KIND`" + ` makes the same evidence.

Seven machines: TDX with a GPU; TDX with a board of eight Hopper GPUs and four switches in protected-PCIe mode; TDX with two TDISP devices and a
vTPM; SEV-SNP with a GPU; Arm CCA with two PSA microcontrollers; SGX with a GPU; Nitro with a GPU. A GPU by itself is a Blackwell. All parts must be
there, the CPU commits to everything else, and test roots, collateral and signed reference values are given, with the keys of Arm's parts in them;
NVIDIA's parts have their signed manifests and OCSP answers and nothing else. The last part of each kind has the fault. Every row also has the reasons
component-tier and extra-roots where they apply; they are left away. The lead was told that machines are simulated.

No device signs its interface report. The lead holds it against the digests in the CPU's event log, and makes the device a warning
(report-unauthenticated) where one differs.

Not every fault can be seen. Arm's tokens have no certificates, so one of another machine has a key that no
document states. AWS names no version of what runs below an enclave. Manifests of a GPU are those of all GPUs of the board, so their faults cost each
of them. Firmware that is outdated and has no manifest at hand is firmware that nothing is known about. A device that was replaced before the commitment
was made, by someone who relays the challenge, is in no row: see limitations.md.

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
		e, ok := expectedSPDM[f]
		return e, ok
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
	"":                        {"affirming", "!no-reference-values", "affirming application-binding-accepted !binding-weak", bound},
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
	attester.Slow:             {"affirming", "", "affirming", bound},
}

// expectedCPU is where a CPU TEE differs from TDX.
var expectedCPU = map[attester.Kind]map[attester.FaultKind]expectation{
	attester.KindSNP: {
		// A document says the least TCB, so the guest below is not the one it knows.
		attester.OutdatedTCB: {"warning", "tcb-out-of-date reference-values-partial !measurement-mismatch", "warning binding-weak", bound},
	},
	attester.KindCCA: {
		"":                        {"affirming", "!no-reference-values", "affirming application-binding-accepted !binding-weak", bound},
		attester.OutdatedTCB:      {"warning", "measurement-mismatch", "warning binding-weak", bound},
		attester.MeasurementFault: {"warning", "measurement-mismatch", "warning binding-weak", bound},
		attester.ForeignMachine:   {"contraindicated", "no-collateral !nonce", "contraindicated !binding-broken", "!bound"},
		attester.Slow:             {"affirming", "", "affirming", bound},
	},
}

var expectedTPM = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values", "affirming !binding-weak", bound},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", bound},
	attester.Revoked:          {"contraindicated", "revoked", "contraindicated !binding-broken", bound},
	attester.Expired:          {"contraindicated", "expired", "contraindicated !binding-broken", bound},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated !binding-broken", bound},
	attester.MeasurementFault: {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", bound},
	attester.Missing:          {"none", "missing-component", "none !contraindicated", ""},
	attester.Extra:            {"affirming", "", "warning unexpected-component", bound},
	attester.ForeignMachine:   {"affirming", "", "contraindicated binding-broken", broken},
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", broken},
	attester.Truncated:        {"contraindicated", "malformed-evidence", "contraindicated binding-broken", broken},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"affirming", "", "affirming", bound},
}

var expectedPSA = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values", "affirming !binding-weak", bound},
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
	attester.Slow:             {"affirming", "", "affirming", bound},
}

// A board is a chain of trust of its own: what one GPU or switch lacks costs the
// whole its verdict, as the others send it data in clear.
var expectedNVIDIA = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values !no-collateral !measurement-mismatch", "affirming !interconnect-incomplete", linked},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", linked},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", linked},
	attester.Debug:            {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", linked},
	attester.OutdatedTCB:      {"warning", "no-reference-values !measurement-mismatch", "warning !binding-broken", linked},
	attester.Revoked:          {"contraindicated", "revoked", "contraindicated !binding-broken", linked},
	attester.Expired:          {"contraindicated", "expired", "contraindicated", bound},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated", bound},
	attester.MeasurementFault: {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", linked},
	attester.Missing:          {"none", "missing-component", "contraindicated interconnect-incomplete", ""},
	attester.Extra:            {"affirming", "", "unexpected-component", "report-data-digest bound"},
	attester.Duplicate:        {"affirming", "", "contraindicated duplicate-identity", "report-data-digest bound identity-collision broken"},
	attester.ForeignMachine:   {"warning", "no-collateral", "contraindicated binding-broken interconnect-incomplete", broken}, // nobody answers for its certificate
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", "report-data-digest broken"},
	attester.Truncated:        {"none", "missing-component", "contraindicated binding-broken unexpected-component", ""},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"affirming", "", "affirming", linked},

	attester.Held:            {"contraindicated", "revoked", "contraindicated !binding-broken", linked},
	attester.StatusStale:     {"warning", "no-collateral", "warning depends-on-warning", linked},
	attester.StatusUnknown:   {"warning", "no-collateral", "warning depends-on-warning", linked},
	attester.StatusMissing:   {"warning", "no-collateral", "warning depends-on-warning", linked},
	attester.RIMMissing:      {"warning", "no-reference-values", "warning depends-on-warning", linked},
	attester.RIMWrongSigner:  {"contraindicated", "collateral-invalid", "contraindicated !binding-broken", linked},
	attester.RIMAltered:      {"contraindicated", "collateral-invalid", "contraindicated !binding-broken", linked},
	attester.RIMExpired:      {"warning", "expired", "warning depends-on-warning", linked},
	attester.RIMRevoked:      {"contraindicated", "revoked", "contraindicated !binding-broken", linked},
	attester.RIMOtherVersion: {"warning", "no-reference-values", "warning depends-on-warning", linked},
	attester.RIMVintage:      {"contraindicated", "measurement-mismatch", "contraindicated !binding-broken", linked},
	attester.RIMConflict:     {"contraindicated", "reference-values-conflict", "contraindicated !binding-broken", linked},
	attester.OtherMode:       {"affirming", "!configuration", "none interconnect-incomplete", bound + " interconnect absent"},
	attester.OneSidedLink:    {"affirming", "", "contraindicated binding-broken", "report-data-digest bound interconnect broken"},
	attester.RepeatedLink:    {"affirming", "", "contraindicated binding-broken", "report-data-digest bound interconnect broken"},
	attester.ForeignLinks:    {"affirming", "", "contraindicated binding-broken", "report-data-digest bound interconnect broken"},
}

// linked is bound, and both sides of the board's links say the same.
const linked = bound + " interconnect"
