// SPDX-License-Identifier: Apache-2.0

package measuredboot

import (
	"crypto"
	"fmt"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

// algorithms are the banks as event logs name them.
var algorithms = map[crypto.Hash]eventlog.Alg{crypto.SHA256: eventlog.SHA256, crypto.SHA384: eventlog.SHA384, crypto.SHA512: eventlog.SHA512}

const (
	// maxTexts is how many texts of the boot loader are repeated in claims.
	maxTexts = 64
	// componentRegister is the PCR into which software measures the evidence of other
	// components (decision D-95). The boot measures nothing there that the host has.
	componentRegister = 15
	// policyRegister is the PCR of the secure boot policy.
	policyRegister = 7
)

// EventLog uses the log if it explains the registers that it has to explain: it
// fills Facts.Measured and the claim event_log. Nothing of another log is used.
func (j Judge) EventLog(a *verdict.Appraisal, b Boot) {
	if b.Log == nil {
		a.Claims["event_log"] = "absent"
		return
	}
	m, name, err := j.match(b)
	if err != nil {
		a.Claims["event_log"] = "not used"
		j.apply(a, name, err.Error())
		return
	}
	facts, omitted := m.Facts(verdict.MaxMeasuredEvents)
	a.Facts.Measured = facts
	said := map[string]any{"events": len(facts) + omitted, "events_in_facts": len(facts)}
	j.components(a, m, said)
	if line, ok := m.CommandLine(); ok {
		said["kernel_command_line"] = line
	}
	var commands []any
	for _, t := range m.Texts() {
		if len(commands) == maxTexts {
			break
		}
		commands = append(commands, t.Role+": "+t.Text)
	}
	if commands != nil {
		said["boot_loader"] = commands
	}
	j.firmware(a, m, b, said)
	a.Claims["event_log"] = said
}

// components adds digests of the evidence of other components that were measured.
func (j Judge) components(a *verdict.Appraisal, m *eventlog.Matched, said map[string]any) {
	list, refused := m.Components(componentRegister)
	if len(list) > verdict.MaxCommitments {
		refused, list = append(refused, fmt.Sprintf("%d digests, at most %d", len(list), verdict.MaxCommitments)), nil
	}
	a.Facts.Commitments = append(a.Facts.Commitments, list...)
	if refused != nil {
		said["components_refused"] = texts(refused)
	}
}

func texts(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// SecureBootOff reports that somebody whose word counts says so.
func (j Judge) SecureBootOff(a *verdict.Appraisal, detail string) { j.apply(a, secureBootOff, detail) }

// match replays the log. Every quoted register of the policy has to come out as
// quoted; of others those count that do. The name is that of the finding for the
// error.
func (j Judge) match(b Boot) (*eventlog.Matched, string, error) {
	log, err := eventlog.Parse(b.Log, eventlog.TPM)
	if err != nil {
		return nil, logMalformed, err
	}
	alg := algorithms[b.Bank]
	signed := map[uint32][]byte{}
	for pcr, value := range b.PCRs {
		i := uint32(pcr)
		if slices.Contains(j.Parameters.EventLog, pcr) || log.Compare(alg, map[uint32][]byte{i: value}) == nil {
			signed[i] = value
		}
	}
	m, err := log.Match(alg, signed)
	return m, logMismatch, err
}

// firmware reads the state in which the firmware handed over, if the log has to
// explain PCR 7.
func (j Judge) firmware(a *verdict.Appraisal, m *eventlog.Matched, b Boot, said map[string]any) {
	if _, quoted := b.PCRs[policyRegister]; !quoted || !slices.Contains(j.Parameters.EventLog, policyRegister) {
		return
	}
	state, err := m.State()
	if err != nil {
		j.apply(a, stateUnclear, err.Error())
		return
	}
	said["secure_boot"] = state.SecureBoot
	said["dma_protection_off"] = state.DMAProtectionOff
	if !state.SecureBoot {
		j.apply(a, secureBootOff, "by the event log, which replays to PCR 7, UEFI Secure Boot is off")
	}
}
