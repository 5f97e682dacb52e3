// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"testing"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// bothOrders appraises with two files in either order of loading.
func (m *machine) bothOrders(t *testing.T, raw, a, b []byte, check func(verdict.Appraisal)) {
	t.Helper()
	for _, files := range [][][]byte{{a, b}, {b, a}} {
		check(appraise(t, newTest(t, m.deps(bundle(t, files...))), raw, nil, m.Now))
	}
}

// TestRevocationSurvivesChoice: whichever set is chosen, a revocation in the
// other one counts.
func TestRevocationSurvivesChoice(t *testing.T) {
	revoke := func(m *machine) { m.RevokePCK = true }
	cases := []struct {
		name string
		// set turns the machine that made the good set into the one that makes
		// the other set.
		set func(*machine)
	}{
		{"newer CRL, same TCB info", func(m *machine) { revoke(m); m.CRLFrom = m.CRLFrom.Add(time.Hour) }},
		{"older CRL, same TCB info", func(m *machine) { revoke(m); m.CRLFrom = m.CRLFrom.Add(-time.Hour) }},
		{"older TCB info", func(m *machine) { revoke(m); m.TCB["tcbEvaluationDataNumber"] = 19 }},
		{"newer TCB info", func(m *machine) { revoke(m); m.TCB["tcbEvaluationDataNumber"] = 21 }},
		{"other FMSPC", func(m *machine) { revoke(m); m.TCB["fmspc"] = "AABBCC000001" }},
		{"TCB info does not verify", func(m *machine) {
			revoke(m)
			m.MutateTCB = func(b []byte) []byte { return append(b, ' ') }
		}},
		{"QE identity does not verify", func(m *machine) {
			revoke(m)
			m.MutateQEI = func(b []byte) []byte { return append(b, ' ') }
		}},
		{"expired", func(m *machine) { revoke(m); m.TCBTo, m.CRLTo = m.Now.Add(-time.Hour), m.Now.Add(-time.Hour) }},
		{"CA revoked, older TCB info", func(m *machine) { m.RevokeCA = true; m.TCB["tcbEvaluationDataNumber"] = 19 }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			raw := m.Quote()
			good := m.Collateral()
			c.set(m)
			m.bothOrders(t, raw, good, m.Collateral(), func(a verdict.Appraisal) {
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
		"TCB info expired":         func(m *machine, early, _ time.Time) { m.TCBTo = early },
		"TCB info not yet valid":   func(m *machine, _, late time.Time) { m.TCBFrom = late },
		"QE identity expired":      func(m *machine, early, _ time.Time) { m.QEID["nextUpdate"] = early },
		"CRLs expired":             func(m *machine, early, _ time.Time) { m.CRLTo = early },
		"CRLs not yet valid":       func(m *machine, _, late time.Time) { m.CRLFrom = late },
		"for another FMSPC":        func(m *machine, _, _ time.Time) { m.TCB["fmspc"] = "AABBCC000001" },
		"for another PCE":          func(m *machine, _, _ time.Time) { m.TCB["pceId"] = "0001" },
		"root CRL of a stranger":   func(m *machine, _, _ time.Time) { m.RootCRL = &dcaptest.Signer{Cert: m.Root.Cert, Key: m.NewKey()} },
		"TCB info of a stranger":   func(m *machine, _, _ time.Time) { m.TCBSign.Key = m.NewKey() },
		"TCB signing cert revoked": func(m *machine, _, _ time.Time) { m.RevokeSigning = true },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.RevokePCK = true
			set(m, m.Now.Add(-time.Hour), m.Now.Add(time.Hour))
			if a := m.outcome(t); a.Vector[verdict.Hardware] != 96 || !hasReason(a, verdict.ReasonRevoked) {
				t.Errorf("%v %v", a.Vector, a.Reasons)
			}
			// The same machine without the entry is not contraindicated.
			m.RevokePCK = false
			if a := m.outcome(t); a.Vector[verdict.Hardware] != 32 || hasReason(a, verdict.ReasonRevoked) {
				t.Errorf("without the entry: %v %v", a.Vector, a.Reasons)
			}
		})
	}
}

// TestForgedRevocation: a CRL that the CA did not sign revokes nothing.
func TestForgedRevocation(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	good := m.Collateral()
	m.RevokePCK, m.PCKCRL = true, &dcaptest.Signer{Cert: m.CA.Cert, Key: m.NewKey()}
	m.bothOrders(t, raw, good, m.Collateral(), func(a verdict.Appraisal) {
		if a.Vector[verdict.Hardware] != 2 {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	})
}

// TestRevokedSigner: a signer of collateral that any root CRL revokes signs
// nothing any more, in other files neither.
func TestRevokedSigner(t *testing.T) {
	for name, revoke := range map[string]func(m *machine, qe dcaptest.Signer){
		"of the TCB info":    func(*machine, dcaptest.Signer) {},
		"of the QE identity": func(m *machine, qe dcaptest.Signer) { m.TCBSign = qe },
	} {
		m := newMachine(t)
		raw := m.Quote()
		qe := m.Issue(dcaptest.TCBSigning, false, m.Root)
		m.QESign = &qe
		good := m.Collateral()
		if a := appraise(t, newTest(t, m.deps(bundle(t, good))), raw, nil, m.Now); a.Vector[verdict.Hardware] != 2 {
			t.Fatalf("two signers: %v", a.Reasons)
		}
		// The revoking set is for another platform, its QE identity older.
		revoke(m, qe)
		m.RevokeSigning, m.TCB["fmspc"], m.QEID["tcbEvaluationDataNumber"] = true, "AABBCC000001", 19
		m.bothOrders(t, raw, good, m.Collateral(), func(a verdict.Appraisal) {
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
	raw := m.Quote()
	again := m.reissue(t, m.CA)
	m.CRLCA, m.CA.Cert = &again, again.Cert // the quote holds the first one
	m.RevokeCA = true
	a := appraise(t, newTest(t, m.deps(bundle(t, m.Collateral()))), raw, nil, m.Now)
	if a.Vector[verdict.Hardware] != 96 || !hasReason(a, verdict.ReasonRevoked) {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}
