// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"testing"
	"time"

	"github.com/assize/assize/verdict"
)

// bothOrders appraises with two files in either order of loading.
func (m *machine) bothOrders(t *testing.T, raw, a, b []byte, check func(verdict.Appraisal)) {
	t.Helper()
	for _, files := range [][][]byte{{a, b}, {b, a}} {
		check(appraise(t, newTest(t, m.deps(bundle(t, files...))), raw, nil, m.now))
	}
}

// TestRevocationSurvivesChoice: whichever set is chosen, a revocation in the
// other one counts.
func TestRevocationSurvivesChoice(t *testing.T) {
	revoke := func(m *machine) { m.revokePCK = true }
	cases := []struct {
		name string
		// set turns the machine that made the good set into the one that makes
		// the other set.
		set func(*machine)
	}{
		{"newer CRL, same TCB info", func(m *machine) { revoke(m); m.crlFrom = m.crlFrom.Add(time.Hour) }},
		{"older CRL, same TCB info", func(m *machine) { revoke(m); m.crlFrom = m.crlFrom.Add(-time.Hour) }},
		{"older TCB info", func(m *machine) { revoke(m); m.tcb["tcbEvaluationDataNumber"] = 19 }},
		{"newer TCB info", func(m *machine) { revoke(m); m.tcb["tcbEvaluationDataNumber"] = 21 }},
		{"other FMSPC", func(m *machine) { revoke(m); m.tcb["fmspc"] = "AABBCC000001" }},
		{"TCB info does not verify", func(m *machine) {
			revoke(m)
			m.mutateTCB = func(b []byte) []byte { return append(b, ' ') }
		}},
		{"QE identity does not verify", func(m *machine) {
			revoke(m)
			m.mutateQEI = func(b []byte) []byte { return append(b, ' ') }
		}},
		{"expired", func(m *machine) { revoke(m); m.tcbTo, m.crlTo = m.now.Add(-time.Hour), m.now.Add(-time.Hour) }},
		{"CA revoked, older TCB info", func(m *machine) { m.revokeCA = true; m.tcb["tcbEvaluationDataNumber"] = 19 }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			raw := m.quote()
			good := m.collateral()
			c.set(m)
			m.bothOrders(t, raw, good, m.collateral(), func(a verdict.Appraisal) {
				if a.Vector[verdict.Hardware] != 96 || !hasReason(a, verdict.ReasonRevoked) {
					t.Errorf("%v %v", a.Vector, a.Reasons)
				}
			})
		})
	}
}

// TestRevocationDoesNotLapse: with nothing else that could be used, an entry in
// a CRL whose signature holds still counts.
func TestRevocationDoesNotLapse(t *testing.T) {
	for name, set := range map[string]func(m *machine, early, late time.Time){
		"TCB info expired":         func(m *machine, early, _ time.Time) { m.tcbTo = early },
		"TCB info not yet valid":   func(m *machine, _, late time.Time) { m.tcbFrom = late },
		"QE identity expired":      func(m *machine, early, _ time.Time) { m.qeID["nextUpdate"] = early },
		"CRLs expired":             func(m *machine, early, _ time.Time) { m.crlTo = early },
		"CRLs not yet valid":       func(m *machine, _, late time.Time) { m.crlFrom = late },
		"for another FMSPC":        func(m *machine, _, _ time.Time) { m.tcb["fmspc"] = "AABBCC000001" },
		"for another PCE":          func(m *machine, _, _ time.Time) { m.tcb["pceId"] = "0001" },
		"root CRL of a stranger":   func(m *machine, _, _ time.Time) { m.rootCRL = &signer{m.root.cert, newKey(m.tb)} },
		"TCB info of a stranger":   func(m *machine, _, _ time.Time) { m.tcbSign.key = newKey(m.tb) },
		"TCB signing cert revoked": func(m *machine, _, _ time.Time) { m.revokeSigning = true },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.revokePCK = true
			set(m, m.now.Add(-time.Hour), m.now.Add(time.Hour))
			if a := m.outcome(t); a.Vector[verdict.Hardware] != 96 || !hasReason(a, verdict.ReasonRevoked) {
				t.Errorf("%v %v", a.Vector, a.Reasons)
			}
			// The same machine without the entry is not contraindicated.
			m.revokePCK = false
			if a := m.outcome(t); a.Vector[verdict.Hardware] != 32 || hasReason(a, verdict.ReasonRevoked) {
				t.Errorf("without the entry: %v %v", a.Vector, a.Reasons)
			}
		})
	}
}

// TestForgedRevocation: a CRL that the CA did not sign revokes nothing.
func TestForgedRevocation(t *testing.T) {
	m := newMachine(t)
	raw := m.quote()
	good := m.collateral()
	m.revokePCK, m.pckCRL = true, &signer{m.ca.cert, newKey(t)}
	m.bothOrders(t, raw, good, m.collateral(), func(a verdict.Appraisal) {
		if a.Vector[verdict.Hardware] != 2 {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	})
}

// TestRevokedSigner: a signer of collateral that any root CRL revokes signs
// nothing any more, in other files neither.
func TestRevokedSigner(t *testing.T) {
	for name, revoke := range map[string]func(m *machine, qe signer){
		"of the TCB info":    func(*machine, signer) {},
		"of the QE identity": func(m *machine, qe signer) { m.tcbSign = qe },
	} {
		m := newMachine(t)
		raw := m.quote()
		qe := m.issue(cnTCBSigning, false, m.root)
		m.qeSign = &qe
		good := m.collateral()
		if a := appraise(t, newTest(t, m.deps(bundle(t, good))), raw, nil, m.now); a.Vector[verdict.Hardware] != 2 {
			t.Fatalf("two signers: %v", a.Reasons)
		}
		// The revoking set is for another platform, its QE identity older.
		revoke(m, qe)
		m.revokeSigning, m.tcb["fmspc"], m.qeID["tcbEvaluationDataNumber"] = true, "AABBCC000001", 19
		m.bothOrders(t, raw, good, m.collateral(), func(a verdict.Appraisal) {
			if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) {
				t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
			}
		})
	}
}

// TestRevokedCAOfThatKey: the root revoked another certificate of the key that
// issued the PCK certificate.
func TestRevokedCAOfThatKey(t *testing.T) {
	m := newMachine(t)
	raw := m.quote()
	again := m.reissue(t, m.ca)
	m.crlCA, m.ca.cert = &again, again.cert // the quote holds the first one
	m.revokeCA = true
	a := appraise(t, newTest(t, m.deps(bundle(t, m.collateral()))), raw, nil, m.now)
	if a.Vector[verdict.Hardware] != 96 || !hasReason(a, verdict.ReasonRevoked) {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}
