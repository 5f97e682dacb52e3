// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"strconv"
	"testing"

	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// A log has to explain the registers of the policy, and of others only what it
// explains is used.
func TestEventLog(t *testing.T) {
	d := device(t, nil)
	late := func(pcr int) func(*sim.Options) {
		return func(o *sim.Options) {
			o.Events = []sim.Event{{PCR: pcr, Type: sim.EvIPL, Data: []byte("late")}}
		}
	}
	for _, c := range []struct {
		name    string
		machine func(*sim.Options) // the log is that of the machine without it
		policy  string
		used    bool
	}{
		{"all of it", nil, "", true},
		{"extended later, as PCR 10 is", late(10), "", true},
		{"extended later, as PCR 11 is", late(11), "", true},
		{"PCR 0 is not explained", late(0), "", false},
		{"PCR 7 is not explained", late(7), "", false},
		{"PCR 14 is not explained", late(14), "", false},
		{"PCR 3 has an event that is not there", late(3), "", false},
		{"PCR 11 has to be explained by policy", late(11), "parameters: {event_log: [0, 11]}", false},
		{"PCR 7 has not, so the firmware's state is not read", late(7), "parameters: {event_log: [0]}", true},
		{"PCR 14 has not", late(14), "parameters: {event_log: [0, 7]}", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev := device(t, c.machine)
			raw := edited(t, leafOf(t, dev), func(m map[string]any) { m["event_log"] = d.EventLog() })
			v := newTest(t, withPolicy(t, deps(t, d), c.policy))
			a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: nonce(), References: indexOf(t, entry(t, dev))})
			if _, used := a.Claims["event_log"].(map[string]any); used != c.used || (a.Facts.Measured != nil) != c.used {
				t.Errorf("used %t: %v %v", used, a.Claims["event_log"], a.Reasons)
			}
			if has(a, verdict.ReasonEventLogMismatch, "") == c.used || (a.Status() == verdict.TierAffirming) != c.used {
				t.Errorf("%s %v", a.Status(), a.Reasons)
			}
			for _, m := range a.Facts.Measured {
				if c.used && c.machine != nil && m.Register == registerOf(t, c.machine) {
					t.Errorf("an event of %s is used, which the log does not explain", m.Register)
				}
			}
		})
	}
}

func registerOf(t *testing.T, change func(*sim.Options)) string {
	t.Helper()
	var o sim.Options
	change(&o)
	return "pcr" + strconv.Itoa(o.Events[0].PCR)
}

// Without a log registers alone decide.
func TestNoEventLog(t *testing.T) {
	d := device(t, nil)
	raw := edited(t, leafOf(t, d), func(m map[string]any) { delete(m, "event_log") })
	a := judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: raw, Nonce: nonce(), References: indexOf(t, entry(t, d))})
	if a.Status() != verdict.TierAffirming || a.Claims["event_log"] != "absent" || a.Facts.Measured != nil {
		t.Errorf("%v %v", a.Claims["event_log"], a.Reasons)
	}
}

// Secure Boot that is off shows in the log, and a policy can live with it.
func TestSecureBootOff(t *testing.T) {
	d := device(t, func(o *sim.Options) { o.SecureBootOff = true })
	e := entry(t, d)
	copy(e.Values[0].Registers[7][0].Value, d.PCRs()[7]) // somebody vouches for that machine
	for policy, want := range map[string]verdict.Claim{"": 32, "findings: {secure-boot-off: {configuration: 2}}": 2} {
		a := judge(t, newTest(t, withPolicy(t, deps(t, d), policy)), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), References: indexOf(t, e)})
		if a.Vector[configuration] != want || a.Vector[executables] != 3 || !has(a, verdict.ReasonConfiguration, "Secure Boot is off") {
			t.Errorf("%d %v", a.Vector[configuration], a.Reasons)
		}
		if said := a.Claims["event_log"].(map[string]any); said["secure_boot"] != false {
			t.Errorf("%v", said)
		}
	}
}

// Facts are bounded, whatever the log holds.
func TestManyEvents(t *testing.T) {
	d := device(t, func(o *sim.Options) {
		for range 400 {
			o.Events = append(o.Events, sim.Event{PCR: 8, Type: sim.EvIPL, Data: []byte("grub_cmd: x\x00"), Measured: []byte("x")})
		}
	})
	a := judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce()})
	said := a.Claims["event_log"].(map[string]any)
	if len(a.Facts.Measured) != verdict.MaxMeasuredEvents || said["events"].(int) <= 400 || len(said["boot_loader"].([]any)) != 64 {
		t.Errorf("%d facts, %v", len(a.Facts.Measured), said["events"])
	}
}
