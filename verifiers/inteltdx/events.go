// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"errors"
	"fmt"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/eventlog"
)

// maxCommandLine bounds a command line in the claims, in bytes.
const maxCommandLine = 4096

// The index of RTMR0 in an event log, and of the register for run time.
const (
	logRTMR0   = 1
	logRuntime = logRTMR0 + runtimeRegister
)

// events replays the event log against the signed registers. Only a log that
// gives RTMR0 to RTMR2, and RTMR3 if it has events for it, enters claims and
// facts: of any other nothing is repeated. What else lies beside the quote and is
// not evaluated, claims name.
func (v *verifier) events(a *verdict.Appraisal, c container, q *quote) {
	for _, name := range c.unevaluated {
		a.Claims[name] = "present, not evaluated"
	}
	if c.eventLog == nil {
		v.policy.Apply(a, "no-event-log", "no event log came with the quote")
		return
	}
	log, err := eventlog.Parse(c.eventLog, eventlog.CC)
	if err != nil {
		v.policy.Apply(a, "event-log-malformed", err.Error())
		return
	}
	signed := map[uint32][]byte{}
	for i := range registerCount {
		if index := uint32(logRTMR0 + i); i != runtimeRegister || log.Touches(index) {
			signed[index] = q.RTMR(i)
		}
	}
	m, err := log.Match(eventlog.SHA384, signed)
	if err != nil {
		v.policy.Apply(a, "event-log-mismatch", err.Error())
		return
	}
	v.measured(a, log, m)
	q.software = m.Software(logRuntime)
}

// measured reports what a log says that is the one of these registers.
func (v *verifier) measured(a *verdict.Appraisal, log *eventlog.Log, m *eventlog.Matched) {
	facts, omitted := m.Facts(verdict.MaxMeasuredEvents)
	a.Facts.Measured = facts
	out := map[string]any{
		"events":          len(facts) + omitted,
		"device_events":   len(m.Devices()),
		"runtime_matched": log.Touches(logRuntime),
		"padding_bytes":   log.Padding,
	}
	if omitted > 0 {
		out["events_not_in_facts"] = omitted
	}
	switch line, ok := m.CommandLine(); {
	case ok && len(line) <= maxCommandLine:
		out["kernel_command_line"] = line
	case ok:
		out["kernel_command_line_bytes"] = len(line)
	}
	v.firmware(a, m, out)
	v.devices(a, m, out)
	v.components(a, m, out)
	a.Claims["event_log"] = out
}

// firmware reports the state of the firmware. One that cannot be established
// costs as much as the worst that it could be: whoever boots something else can
// have a second separator measured.
func (v *verifier) firmware(a *verdict.Appraisal, m *eventlog.Matched, out map[string]any) {
	s, err := m.State()
	var why *eventlog.StateError
	switch {
	case errors.As(err, &why):
		v.policy.Apply(a, "secure-boot-unknown", why.Error())
		return
	case err != nil:
		v.policy.Apply(a, "secure-boot-unknown", fmt.Sprintf("state of the firmware: %v", err))
		return
	}
	out["secure_boot"] = s.SecureBoot
	out["authorities"] = len(s.Authorities)
	variables := []any{}
	for _, v := range s.Variables {
		variables = append(variables, fmt.Sprintf("%s (%d bytes)", v.Name, len(v.Data)))
	}
	out["variables"] = variables
	if s.DMAProtectionOff {
		out["dma_protection"] = false
	}
	if !s.SecureBoot {
		v.policy.Apply(a, "secure-boot-off", "the firmware measured that UEFI Secure Boot is off")
	}
}
