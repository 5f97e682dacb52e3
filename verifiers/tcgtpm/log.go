// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"crypto"
	"slices"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

// algorithms are the banks as event logs name them.
var algorithms = map[crypto.Hash]eventlog.Alg{crypto.SHA256: eventlog.SHA256, crypto.SHA384: eventlog.SHA384, crypto.SHA512: eventlog.SHA512}

const (
	// maxTexts is how many texts of the boot loader are repeated in claims.
	maxTexts = 64
	// policyRegister is the PCR of the secure boot policy.
	policyRegister = 7
)

// eventLog uses the log if it explains the registers that it has to explain.
func (v *verifier) eventLog(a *verdict.Appraisal, l *leaf) {
	if l.log == nil {
		a.Claims["event_log"] = "absent"
		return
	}
	m, name, err := v.match(l)
	if err != nil {
		a.Claims["event_log"] = "not used"
		v.policy.Apply(a, name, err.Error())
		return
	}
	facts, omitted := m.Facts(verdict.MaxMeasuredEvents)
	a.Facts.Measured = facts
	said := map[string]any{"events": len(facts) + omitted, "events_in_facts": len(facts)}
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
	v.firmware(a, m, l, said)
	a.Claims["event_log"] = said
}

// match replays the log. Every quoted register of the policy has to come out as
// quoted; of others those count that do. The name is that of the finding for the
// error.
func (v *verifier) match(l *leaf) (*eventlog.Matched, string, error) {
	log, err := eventlog.Parse(l.log, eventlog.TPM)
	if err != nil {
		return nil, logMalformed, err
	}
	alg := algorithms[l.bank.hash()]
	signed := map[uint32][]byte{}
	for pcr, value := range l.pcrs {
		i := uint32(pcr)
		if slices.Contains(v.parameters.EventLog, pcr) || log.Compare(alg, map[uint32][]byte{i: value}) == nil {
			signed[i] = value
		}
	}
	m, err := log.Match(alg, signed)
	return m, logMismatch, err
}

// firmware reads the state in which the firmware handed over, if the log has to
// explain PCR 7.
func (v *verifier) firmware(a *verdict.Appraisal, m *eventlog.Matched, l *leaf, said map[string]any) {
	if _, quoted := l.pcrs[policyRegister]; !quoted || !slices.Contains(v.parameters.EventLog, policyRegister) {
		return
	}
	state, err := m.State()
	if err != nil {
		v.policy.Apply(a, stateUnclear, err.Error())
		return
	}
	said["secure_boot"] = state.SecureBoot
	said["dma_protection_off"] = state.DMAProtectionOff
	if !state.SecureBoot {
		v.policy.Apply(a, secureBootOff, "by the event log, which replays to PCR 7, UEFI Secure Boot is off")
	}
}
