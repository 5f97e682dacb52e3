// SPDX-License-Identifier: Apache-2.0

package integration

import "github.com/assize/assize/attester"

// relayed is a device that the CPU's report data and event log speak about.
const relayed = bound + " tsm-digest"

// unlike is one that the event log speaks about otherwise.
const unlike = "tsm-digest broken"

var expectedSPDM = map[attester.FaultKind]expectation{
	"":                        {"affirming", "!no-reference-values !report-unauthenticated", "affirming !binding-weak", relayed},
	attester.StaleNonce:       {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", relayed},
	attester.ForeignNonce:     {"contraindicated", "nonce-mismatch", "contraindicated !binding-broken", relayed},
	attester.Debug:            {"contraindicated", "debug-enabled", "contraindicated !binding-broken", relayed},
	attester.OutdatedTCB:      {"warning", "tcb-out-of-date !measurement-mismatch", "warning !binding-broken", relayed},
	attester.Revoked:          {"contraindicated", "revoked", "contraindicated !binding-broken", relayed},
	attester.Expired:          {"contraindicated", "expired", "contraindicated !binding-broken", bound},
	attester.WrongSigner:      {"contraindicated", "signature-invalid", "contraindicated !binding-broken", bound},
	attester.MeasurementFault: {"warning", "measurement-mismatch", "warning !binding-broken", relayed},
	attester.Missing:          {"none", "missing-component", "!affirming !contraindicated", ""},
	attester.Extra:            {"affirming", "", "!affirming unexpected-component", relayed},
	attester.Duplicate:        {"affirming", "", "contraindicated duplicate-identity", "report-data-digest bound identity-collision broken"},
	attester.ForeignMachine:   {"warning", "no-reference-values", "contraindicated binding-broken", "report-data-digest broken tsm-digest broken"},
	attester.Relayed:          {"contraindicated", "nonce-mismatch", "contraindicated binding-broken", "report-data-digest broken"},
	attester.Truncated:        {"contraindicated", "malformed-evidence", "contraindicated binding-broken", broken},
	attester.Oversized:        {"–", "", "refused", ""},
	attester.Slow:             {"affirming", "!report-unauthenticated", "affirming", relayed},

	attester.SPDMDowngrade:        {"warning", "configuration", "warning !binding-broken", relayed},
	attester.UnsignedMeasurements: {"warning", "claim-not-asserted", "warning !binding-broken", bound},
	attester.RootHash:             {"contraindicated", "chain-invalid", "contraindicated !binding-broken", bound},
	attester.UnknownAnchor:        {"contraindicated", "unknown-root", "contraindicated !binding-broken", bound},
	attester.LeafEKU:              {"contraindicated", "chain-invalid", "contraindicated !binding-broken", bound},
	attester.WrongSlot:            {"contraindicated", "identity-mismatch", "contraindicated !binding-broken", bound},
	attester.WrongName:            {"contraindicated", "identity-mismatch", "contraindicated !binding-broken", relayed},
	attester.WrongVCA:             {"contraindicated", "signature-invalid", "contraindicated !binding-broken", bound},
	attester.WrongPrefix:          {"contraindicated", "signature-invalid", "contraindicated !binding-broken", bound},
	attester.ChallengeNonce:       {"warning", "nonce-not-established", "warning !binding-broken", relayed},
	attester.WrongSummary:         {"warning", "measurement-mismatch", "warning !binding-broken", relayed},
	attester.HardwareConfig:       {"warning", "measurement-mismatch", "warning !binding-broken", relayed},
	attester.FirmwareConfig:       {"warning", "measurement-mismatch", "warning !binding-broken", relayed},
	attester.DebugWas:             {"warning", "debug-enabled", "warning !binding-broken", relayed},
	attester.RecoveryMode:         {"contraindicated", "configuration", "contraindicated !binding-broken", relayed},
	attester.ModeMissing:          {"warning", "configuration", "warning !binding-broken", relayed},
	attester.ContentChanged:       {"warning", "unexplained", "warning !binding-broken", relayed},

	// The log has the report of the device, and the evidence that of another one.
	attester.ReportSwapped: {"warning", "report-unauthenticated", "contraindicated binding-broken", unlike},
	attester.Unlocked:      {"contraindicated", "configuration", "contraindicated !binding-broken", relayed},
	attester.ReportMissing: {"warning", "claim-not-asserted", "warning !binding-broken", relayed},
	attester.TSMMissing:    {"warning", "configuration", "warning !binding-broken", relayed},
	// The structure is that of the log, and not about this device.
	attester.TSMCertificates: {"contraindicated", "identity-mismatch", "contraindicated !binding-broken", relayed},
	attester.FirmwareUpdate:  {"warning", "configuration measurement-mismatch", "warning !binding-broken", relayed},
	attester.NonTEERange:     {"warning", "configuration", "warning !binding-broken", relayed},
	attester.UpdatableRange:  {"warning", "configuration", "warning !binding-broken", relayed},
	attester.ATS:             {"warning", "measurement-mismatch", "warning !binding-broken", relayed},
	attester.MSIXUnlocked:    {"warning", "configuration", "warning !binding-broken", relayed},
	attester.RangeOverlap:    {"contraindicated", "configuration", "contraindicated !binding-broken", relayed},
	attester.DeviceSpecific:  {"warning", "configuration", "warning !binding-broken", relayed},
}
