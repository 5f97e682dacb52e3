// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
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
)

// reissue makes a second certificate for the key and the name of a CA.
func (m *machine) reissue(t *testing.T, ca signer) signer {
	t.Helper()
	tmpl := *ca.cert
	tmpl.SerialNumber = new(big.Int).Add(ca.cert.SerialNumber, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, m.root.cert, &ca.key.PublicKey, m.root.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signer{cert, ca.key}
}

func qeRecovery(m *machine) {
	m.qeID["tcbLevels"] = []map[string]any{isv(5, "UpToDate"), isv(4, "OutOfDate")}
}

// TestOldQEIdentityDoesNotWin: neither a newer TCB info beside it nor the order
// of files makes an old QE identity count.
func TestOldQEIdentityDoesNotWin(t *testing.T) {
	for name, c := range map[string]struct{ first, second func(*machine) }{
		"beside newer TCB info": {
			func(m *machine) { m.tcb["tcbEvaluationDataNumber"] = 21 },
			func(m *machine) {
				m.tcb["tcbEvaluationDataNumber"], m.qeID["tcbEvaluationDataNumber"] = 20, 21
				qeRecovery(m)
			},
		},
		"same numbers, later issue date": {
			func(*machine) {},
			func(m *machine) { m.qeID["issueDate"] = m.tcbFrom.Add(time.Hour); qeRecovery(m) },
		},
		"set of another FMSPC": {
			func(*machine) {},
			func(m *machine) {
				m.qeID["tcbEvaluationDataNumber"], m.tcb["fmspc"] = 21, "AABBCC000001"
				qeRecovery(m)
			},
		},
		"set whose TCB info expired": {
			func(*machine) {},
			func(m *machine) {
				m.qeID["tcbEvaluationDataNumber"] = 21
				m.tcbTo = m.now.Add(-time.Hour)
				qeRecovery(m)
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			raw := m.quote()
			c.first(m)
			old := m.collateral()
			c.second(m)
			m.bothOrders(t, raw, old, m.collateral(), func(a verdict.Appraisal) {
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
	raw := m.quote()
	old := m.collateral()
	m.crlFrom = m.crlFrom.Add(time.Hour)
	m.bothOrders(t, raw, old, m.collateral(), func(a verdict.Appraisal) {
		tcb, _ := a.Claims["tcb"].(map[string]any)
		crl, _ := tcb["pck_crl"].(map[string]any)
		if a.Vector[verdict.Hardware] != 2 || crl["this_update"] != m.crlFrom.Format(time.RFC3339) {
			t.Errorf("%v %v %v", a.Vector, a.Reasons, tcb)
		}
	})
}

// TestIdentityWithoutCollateral: QE and TDX module are Intel's or the hardware
// is contraindicated, collateral or not.
func TestIdentityWithoutCollateral(t *testing.T) {
	for name, set := range map[string]func(*machine){
		"QE signer":     func(m *machine) { m.qe[159] ^= 1 },
		"QE product":    func(m *machine) { m.qe[256] = 1 },
		"module signer": func(m *machine) { m.body[111] = 1 },
	} {
		m := newMachine(t)
		set(m)
		raw := m.quote()
		m.tcbTo = m.now.Add(-time.Hour)
		for what, b := range map[string]*endorsements.Bundle{"none": nil, "expired": bundle(t, m.collateral())} {
			a := appraise(t, newTest(t, m.deps(b)), raw, nil, m.now)
			if a.Vector[verdict.Hardware] != 97 || !hasReason(a, verdict.ReasonIdentityMismatch) {
				t.Errorf("%s, collateral %s: %v %v", name, what, a.Vector, a.Reasons)
			}
		}
	}
	m := newMachine(t)
	m.qe[128] ^= 1
	m.qeID["mrsigner"] = hex.EncodeToString(m.qe[128:160])
	if a := m.outcome(t); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("what Intel signed does not decide: %v %v", a.Vector, a.Reasons)
	}
}

// TestManySets: what an appraisal costs does not depend on how many sets lie
// about, expired ones included.
func TestManySets(t *testing.T) {
	m := newMachine(t)
	raw := m.quote()
	load := func(files fstest.MapFS) *verifier {
		b, w, err := endorsements.Load(files)
		if err != nil || len(w) != 0 || b.Len() != len(files) {
			t.Fatal(err, w)
		}
		return newTest(t, m.deps(b))
	}
	one := fstest.MapFS{"good": {Data: m.collateral()}}
	many := fstest.MapFS{"good": one["good"]}
	for i := range 100 {
		if i == 50 {
			m.tcbTo, m.crlTo = m.now.Add(-time.Hour), m.now.Add(-time.Hour)
		}
		m.tcbFrom, m.crlFrom = m.tcbFrom.Add(-time.Hour), m.crlFrom.Add(-time.Hour)
		m.qeID["issueDate"], m.qeID["nextUpdate"] = m.tcbFrom, m.tcbTo
		many[fmt.Sprint(i)] = &fstest.MapFile{Data: m.collateral()}
	}
	allocs := func(v *verifier) float64 {
		return testing.AllocsPerRun(20, func() {
			if a := appraise(t, v, raw, nil, m.now); a.Vector[verdict.Hardware] != 2 {
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
	raw := m.quote()
	m.tcbTo = m.now.Add(-time.Hour)
	files := make([][]byte, 12)
	for i := range files {
		files[i] = m.collateral()
	}
	a := appraise(t, newTest(t, m.deps(bundle(t, files...))), raw, m.body[520:584], m.now)
	n := 0
	for _, r := range a.Reasons {
		if r.Code == verdict.ReasonCollateralInvalid {
			n++
		}
	}
	if n != maxComplaints+1 || !strings.Contains(fmt.Sprint(a.Reasons), "and ") {
		t.Errorf("%d complaints: %v", n, a.Reasons)
	}
}

// TestChainCache: a chain is remembered by its certificates, not by its PEM,
// and only once a quote was verified with it.
func TestChainCache(t *testing.T) {
	m := newMachine(t)
	raw := m.quote()
	v := newTest(t, m.deps(nil))
	bad := bytes.Clone(raw)
	bad[headerSize+bodyDescSize+520] ^= 1 // REPORTDATA: only the quote signature fails
	expectRejected(t, "bad quote", appraise(t, v, bad, nil, m.now), verdict.ReasonSignatureInvalid)
	if n := v.chains.Len(); n != 0 {
		t.Errorf("%d chains are remembered of a quote that does not verify", n)
	}
	pem := pemOf(m.pck.cert, m.ca.cert, m.root.cert)
	for _, chain := range [][]byte{nil, append([]byte("\n\n"), pem...), bytes.ReplaceAll(pem, []byte("\n"), []byte("\r\n")), append(bytes.Clone(pem), 0)} {
		m.chain = chain
		if a := appraise(t, v, m.quote(), nil, m.now); a.Status() != verdict.TierWarning {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	}
	if n := v.chains.Len(); n != 1 {
		t.Errorf("one chain is remembered %d times", n)
	}
}

// TestTSMExtras: what a TSM report of TDX holds beside the quote is not
// evaluated, and claims say so.
func TestTSMExtras(t *testing.T) {
	m := newMachine(t)
	v := newTest(t, m.deps(bundle(t, m.collateralAfterQuote())))
	report := `{"provider":"tdx_guest","outblob":"` + b64(m.quote()) + `","auxblob":"AQ","service_provider":"svsm","manifestblob":"Ag"}`
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeTSMJSON}, Evidence: []byte(report), Time: m.now,
	})
	if err != nil || a.Vector[verdict.Hardware] != 2 {
		t.Fatal(err, a.Reasons)
	}
	for _, name := range []string{"tsm_auxblob", "tsm_service_provider", "tsm_manifestblob"} {
		if a.Claims[name] != "present, not evaluated" {
			t.Errorf("claims are silent about %s", name)
		}
	}
	if a := appraise(t, v, m.quote(), nil, m.now); a.Claims["tsm_auxblob"] != nil {
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
