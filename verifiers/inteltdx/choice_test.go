// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// reissue makes a second certificate for the key and the name of a CA.
func (m *machine) reissue(t *testing.T, ca dcaptest.Signer) dcaptest.Signer {
	t.Helper()
	tmpl := *ca.Cert
	tmpl.SerialNumber = new(big.Int).Add(ca.Cert.SerialNumber, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, m.Root.Cert, &ca.Key.PublicKey, m.Root.Key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return dcaptest.Signer{Cert: cert, Key: ca.Key}
}

func qeRecovery(m *machine) {
	m.QEID["tcbLevels"] = []map[string]any{dcaptest.ISVLevel(5, "UpToDate"), dcaptest.ISVLevel(4, "OutOfDate")}
}

// TestOldQEIdentityDoesNotWin: neither a newer TCB info beside it nor the order
// of files makes an old QE identity count.
func TestOldQEIdentityDoesNotWin(t *testing.T) {
	for name, c := range map[string]struct{ first, second func(*machine) }{
		"beside newer TCB info": {
			func(m *machine) { m.TCB["tcbEvaluationDataNumber"] = 21 },
			func(m *machine) {
				m.TCB["tcbEvaluationDataNumber"], m.QEID["tcbEvaluationDataNumber"] = 20, 21
				qeRecovery(m)
			},
		},
		"same numbers, later issue date": {
			func(*machine) {},
			func(m *machine) { m.QEID["issueDate"] = m.TCBFrom.Add(time.Hour); qeRecovery(m) },
		},
		"set of another FMSPC": {
			func(*machine) {},
			func(m *machine) {
				m.QEID["tcbEvaluationDataNumber"], m.TCB["fmspc"] = 21, "AABBCC000001"
				qeRecovery(m)
			},
		},
		"set whose TCB info expired": {
			func(*machine) {},
			func(m *machine) {
				m.QEID["tcbEvaluationDataNumber"] = 21
				m.TCBTo = m.Now.Add(-time.Hour)
				qeRecovery(m)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			raw := m.Quote()
			c.first(m)
			old := m.Collateral()
			c.second(m)
			m.bothOrders(t, raw, old, m.Collateral(), func(a verdict.Appraisal) {
				if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonTCBOutOfDate) {
					t.Errorf("%v %v", a.Vector, a.Reasons)
				}
			})
		})
	}
}

// TestLaterCRLIsNamed: of two usable CRLs the later one vouches for the absence
// of an entry, and the claims say so.
func TestLaterCRLIsNamed(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	old := m.Collateral()
	m.CRLFrom = m.CRLFrom.Add(time.Hour)
	m.bothOrders(t, raw, old, m.Collateral(), func(a verdict.Appraisal) {
		tcb, _ := a.Claims["tcb"].(map[string]any)
		crl, _ := tcb["pck_crl"].(map[string]any)
		if a.Vector[verdict.Hardware] != 2 || crl["this_update"] != m.CRLFrom.Format(time.RFC3339) {
			t.Errorf("%v %v %v", a.Vector, a.Reasons, tcb)
		}
	})
}

// TestIdentityWithoutCollateral: QE and TDX module are Intel's or the hardware
// is contraindicated, collateral or not.
func TestIdentityWithoutCollateral(t *testing.T) {
	for name, set := range map[string]func(*machine){
		"QE signer":     func(m *machine) { m.QE[159] ^= 1 },
		"QE product":    func(m *machine) { m.QE[256] = 1 },
		"module signer": func(m *machine) { m.Body[111] = 1 },
	} {
		m := newMachine(t)
		set(m)
		raw := m.Quote()
		m.TCBTo = m.Now.Add(-time.Hour)
		for what, b := range map[string]*endorsements.Bundle{"none": nil, "expired": bundle(t, m.Collateral())} {
			a := appraise(t, newTest(t, m.deps(b)), raw, nil, m.Now)
			if a.Vector[verdict.Hardware] != 97 || !hasReason(a, verdict.ReasonIdentityMismatch) {
				t.Errorf("%s, collateral %s: %v %v", name, what, a.Vector, a.Reasons)
			}
		}
	}
	m := newMachine(t)
	m.QE[128] ^= 1
	m.QEID["mrsigner"] = hex.EncodeToString(m.QE[128:160])
	if a := m.outcome(t); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("what Intel signed does not decide: %v %v", a.Vector, a.Reasons)
	}
}

// TestManySets: what an appraisal costs does not depend on how many sets lie
// about, expired ones included.
func TestManySets(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	load := func(files fstest.MapFS) *verifier {
		b, w, err := endorsements.Load(files)
		if err != nil || len(w) != 0 || b.Len() != len(files) {
			t.Fatal(err, w)
		}
		return newTest(t, m.deps(b))
	}
	one := fstest.MapFS{"good": {Data: m.Collateral()}}
	many := fstest.MapFS{"good": one["good"]}
	for i := range 100 {
		if i == 50 {
			m.TCBTo, m.CRLTo = m.Now.Add(-time.Hour), m.Now.Add(-time.Hour)
		}
		m.TCBFrom, m.CRLFrom = m.TCBFrom.Add(-time.Hour), m.CRLFrom.Add(-time.Hour)
		m.QEID["issueDate"], m.QEID["nextUpdate"] = m.TCBFrom, m.TCBTo
		many[fmt.Sprint(i)] = &fstest.MapFile{Data: m.Collateral()}
	}
	allocs := func(v *verifier) float64 {
		return testing.AllocsPerRun(20, func() {
			if a := appraise(t, v, raw, nil, m.Now); a.Vector[verdict.Hardware] != 2 {
				t.Fatal(a.Reasons)
			}
		})
	}
	few, lots := allocs(load(one)), allocs(load(many))
	if lots > few+10 {
		t.Errorf("%v allocations with one set, %v with %d", few, lots, len(many))
	}
}

// TestComplaintsAreBounded: a folder full of collateral that cannot be used
// does not make a verdict as long as the folder.
func TestComplaintsAreBounded(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	m.TCBTo = m.Now.Add(-time.Hour)
	files := make([][]byte, 12)
	for i := range files {
		files[i] = m.Collateral()
	}
	a := appraise(t, newTest(t, m.deps(bundle(t, files...))), raw, m.Body[520:584], m.Now)
	n := 0
	for _, r := range a.Reasons {
		if r.Code == verdict.ReasonCollateralInvalid {
			n++
		}
	}
	if n != 9 || !strings.Contains(fmt.Sprint(a.Reasons), "and ") {
		t.Errorf("%d complaints: %v", n, a.Reasons)
	}
}

// TestTSMExtras: what a TSM report of TDX holds beside the quote is not
// evaluated, and claims say so.
func TestTSMExtras(t *testing.T) {
	m := newMachine(t)
	v := newTest(t, m.deps(bundle(t, m.collateralAfterQuote())))
	report := `{"provider":"tdx_guest","outblob":"` + b64(m.Quote()) + `","auxblob":"AQ","service_provider":"svsm","manifestblob":"Ag"}`
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeTSMJSON}, Evidence: []byte(report), Time: m.Now,
	})
	if err != nil || a.Vector[verdict.Hardware] != 2 {
		t.Fatal(err, a.Reasons)
	}
	for _, name := range []string{"tsm_auxblob", "tsm_service_provider", "tsm_manifestblob"} {
		if a.Claims[name] != "present, not evaluated" {
			t.Errorf("claims are silent about %s", name)
		}
	}
	if a := appraise(t, v, m.Quote(), nil, m.Now); a.Claims["tsm_auxblob"] != nil {
		t.Error("a claim about what was not there")
	}
}

// TestAllowedAttributesAreNamed: PKS and LASS cost nothing and are visible.
func TestAllowedAttributesAreNamed(t *testing.T) {
	m := newMachine(t)
	td(tdSEPTVEDisable | tdPKS | tdLASS)(m)
	a := m.outcome(t)
	attrs, _ := a.Claims["td_attributes"].(map[string]any)
	if got := fmt.Sprint(attrs["set"]); got != "[LASS SEPT_VE_DISABLE PKS]" || a.Vector[verdict.Configuration] != 2 {
		t.Errorf("%s %v", got, a.Reasons)
	}
}
