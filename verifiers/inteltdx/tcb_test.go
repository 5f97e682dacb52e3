// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// outcome runs one simulated machine with its own collateral.
func (m *machine) outcome(t *testing.T) verdict.Appraisal {
	t.Helper()
	raw := m.quote()
	v := newTest(t, m.deps(bundle(t, m.collateral())))
	return appraise(t, v, raw, m.body[520:584], m.now)
}

func setLevels(ls ...map[string]any) func(*machine) {
	return func(m *machine) { m.tcb["tcbLevels"] = ls }
}

func moduleLevels(ls ...map[string]any) func(*machine) {
	return func(m *machine) { m.tcb["tdxModuleIdentities"].([]map[string]any)[0]["tcbLevels"] = ls }
}

func td(bits uint64) func(*machine) {
	return func(m *machine) { binary.LittleEndian.PutUint64(m.body[120:], bits) }
}

func TestSimulatedMachines(t *testing.T) {
	const up = tdSEPTVEDisable
	later := func(m *machine) time.Time { return m.now.Add(time.Hour) }
	earlier := func(m *machine) time.Time { return m.now.Add(-time.Hour) }
	cases := []struct {
		name     string
		set      func(*machine)
		hardware verdict.Claim
		config   verdict.Claim
		reason   string
		status   string
	}{
		{"up to date", func(*machine) {}, 2, 2, "", "UpToDate"},
		{"format 4", func(m *machine) { m.version = 4 }, 2, 2, "", "UpToDate"},
		{"format 5, body 1.0", func(m *machine) { m.bodyType = bodyType10 }, 2, 2, "", "UpToDate"},
		{"processor CA", func(m *machine) { m.ca = m.issue(cnProcessor, true, m.root) }, 2, 2, "", "UpToDate"},
		{"PCE out of date", func(m *machine) { m.pceSVN = 11 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"SGX component out of date", func(m *machine) { m.sgxSVN[15] = 2 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"SGX component not supported", func(m *machine) { m.sgxSVN[7] = 1 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"TDX component not supported", func(m *machine) { m.body[2] = 1 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"TDX component 0 counts for an unversioned module", func(m *machine) { m.body[1] = 0 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"unversioned module", func(m *machine) { m.body[0], m.body[1] = 9, 0 }, 2, 2, "", "UpToDate"},
		{"unknown module", func(m *machine) { m.body[1] = 4 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"module out of date", func(m *machine) { m.body[0] = 3 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"module below all levels", func(m *machine) { m.body[0] = 1 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"module signer", func(m *machine) { m.body[64] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"SEAM attributes", func(m *machine) { m.body[112] = 1 }, 97, 96, verdict.ReasonConfiguration, "NotSupported"},
		{"QE out of date", func(m *machine) { m.qe[258] = 3 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"QE not supported", func(m *machine) { m.qe[258] = 0 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"QE signer", func(m *machine) { m.qe[128] = 0 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE product", func(m *machine) { m.qe[256] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE miscselect", func(m *machine) { m.qe[16] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE attributes", func(m *machine) { m.qe[49] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE debug", func(m *machine) { m.qe[48] |= 2 }, 97, 96, verdict.ReasonDebug, "NotSupported"},
		{"software hardening", setLevels(tcbLevel(3, 13, "SWHardeningNeeded", "INTEL-SA-2")), 32, 2, verdict.ReasonTCBHardening, "SWHardeningNeeded"},
		{"configuration needed", setLevels(tcbLevel(3, 13, "ConfigurationNeeded")), 32, 32, verdict.ReasonTCBConfiguration, "ConfigurationNeeded"},
		{"both needed", setLevels(tcbLevel(3, 13, "ConfigurationAndSWHardeningNeeded")), 32, 32, verdict.ReasonTCBConfiguration, "ConfigurationAndSWHardeningNeeded"},
		{"out of date and configuration", setLevels(tcbLevel(3, 13, "OutOfDateConfigurationNeeded")), 32, 32, verdict.ReasonTCBOutOfDate, "OutOfDateConfigurationNeeded"},
		{"level revoked", setLevels(tcbLevel(3, 13, "Revoked")), 96, 2, verdict.ReasonTCBRevoked, "Revoked"},
		{"unknown status", setLevels(tcbLevel(3, 13, "Splendid")), 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"no levels", setLevels(), 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"module revoked", moduleLevels(isv(1, "Revoked")), 96, 2, verdict.ReasonTCBRevoked, "Revoked"},
		{"merge: configuration and module out of date", func(m *machine) {
			setLevels(tcbLevel(3, 13, "ConfigurationNeeded"))(m)
			moduleLevels(isv(1, "OutOfDate"))(m)
		}, 32, 32, verdict.ReasonTCBOutOfDate, "OutOfDateConfigurationNeeded"},
		{"merge: hardening and module out of date", func(m *machine) {
			setLevels(tcbLevel(3, 13, "SWHardeningNeeded"))(m)
			moduleLevels(isv(1, "OutOfDate"))(m)
		}, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},

		{"PCK revoked", func(m *machine) { m.revokePCK = true }, 96, 2, verdict.ReasonRevoked, "UpToDate"},
		{"PCK CA revoked", func(m *machine) { m.revokeCA = true }, 96, 2, verdict.ReasonRevoked, "UpToDate"},
		{"TCB signing revoked", func(m *machine) { m.revokeSigning = true }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info expired", func(m *machine) { m.tcbTo = earlier(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info not yet valid", func(m *machine) { m.tcbFrom = later(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity expired", func(m *machine) { m.qeID["nextUpdate"] = earlier(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity not yet valid", func(m *machine) { m.qeID["issueDate"] = later(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"CRL expired", func(m *machine) { m.crlTo = earlier(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"CRL not yet valid", func(m *machine) { m.crlFrom = later(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCE ID", func(m *machine) { m.tcb["pceId"] = "0001" }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"other FMSPC", func(m *machine) { m.tcb["fmspc"] = "AABBCC000001" }, 32, 2, verdict.ReasonNoCollateral, ""},
		{"SGX TCB info", func(m *machine) { m.tcb["id"] = "SGX" }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info version", func(m *machine) { m.tcb["version"] = 2 }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"SGX QE identity", func(m *machine) { m.qeID["id"] = "QE" }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity version", func(m *machine) { m.qeID["version"] = 1 }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info changed", func(m *machine) {
			m.mutateTCB = func(b []byte) []byte { return bytes.Replace(b, []byte(`"pcesvn":13`), []byte(`"pcesvn":11`), 1) }
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info re-serialised", func(m *machine) {
			m.mutateTCB = func(b []byte) []byte { return append(b, ' ') }
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity changed", func(m *machine) {
			m.mutateQEI = func(b []byte) []byte { return bytes.Replace(b, []byte(`:4}`), []byte(`:3}`), 1) }
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"signed by the PCK CA", func(m *machine) { m.tcbSign = m.ca }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"signed by a stranger", func(m *machine) { m.tcbSign.key = newKey(m.tb) }, 32, 2, verdict.ReasonCollateralInvalid, ""},

		{"PCK CRL signed by a stranger", func(m *machine) { m.pckCRL = &signer{m.ca.cert, newKey(m.tb)} }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"root CRL signed by a stranger", func(m *machine) { m.rootCRL = &signer{m.root.cert, newKey(m.tb)} }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL is the root's", func(m *machine) { m.pckCRL = &m.root }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"root CRL is the CA's", func(m *machine) { m.rootCRL = &m.ca }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL of the other CA", func(m *machine) {
			ca := m.issue(cnProcessor, true, m.root)
			m.pckCRL, m.crlCA = &ca, &ca
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL of another CA of that name", func(m *machine) {
			ca := m.issue(cnPlatform, true, m.root)
			m.pckCRL, m.crlCA = &ca, &ca
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL of some other CA", func(m *machine) {
			ca := m.issue("Intel SGX Other CA", true, m.root)
			m.pckCRL, m.crlCA = &ca, &ca
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"CRL with a critical extension", func(m *machine) {
			m.crlExtra = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info without PCE SVN", func(m *machine) {
			delete(m.tcb["tcbLevels"].([]map[string]any)[0]["tcb"].(map[string]any), "pcesvn")
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info with a component short", func(m *machine) {
			tcb := m.tcb["tcbLevels"].([]map[string]any)[0]["tcb"].(map[string]any)
			tcb["sgxtcbcomponents"] = comps(3)[:15]
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE level without SVN", func(m *machine) {
			m.qeID["tcbLevels"] = []map[string]any{{"tcb": map[string]any{}, "tcbDate": "2030-01-01T00:00:00Z", "tcbStatus": "UpToDate"}}
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},

		{"DEBUG", td(up | tdDebug), 2, 96, verdict.ReasonDebug, "UpToDate"},
		{"reserved bit", td(up | 1<<1), 2, 96, verdict.ReasonConfiguration, "UpToDate"},
		{"SEPT_VE_DISABLE clear", td(0), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"MIGRATABLE", td(up | tdMigratable), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"KL", td(up | tdKL), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"PERFMON", td(up | tdPerfmon), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"PKS and LASS", td(up | tdPKS | tdLASS), 2, 2, "", "UpToDate"},
		{"service TD", func(m *machine) { m.body[600] = 1 }, 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"XFAM unknown bit", func(m *machine) { m.body[135] = 0x80 }, 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"XFAM without SSE", func(m *machine) { m.body[128] &^= 2 }, 2, 32, verdict.ReasonConfiguration, "UpToDate"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			c.set(m)
			a := m.outcome(t)
			if a.Vector[verdict.Hardware] != c.hardware || a.Vector[verdict.Configuration] != c.config {
				t.Errorf("hardware %d configuration %d, expected %d %d; %v", a.Vector[verdict.Hardware],
					a.Vector[verdict.Configuration], c.hardware, c.config, a.Reasons)
			}
			if c.reason == "" && len(a.Reasons) != 1 || c.reason != "" && !hasReason(a, c.reason) {
				t.Errorf("reasons %v, expected %q", a.Reasons, c.reason)
			}
			opaque := verdict.Claim(2)
			if c.reason == verdict.ReasonDebug {
				opaque = 96
			}
			if a.Vector[verdict.RuntimeOpaque] != opaque || a.Vector[verdict.Executables] != 33 || a.Vector[verdict.InstanceIdentity] != 0 {
				t.Errorf("vector %v", a.Vector)
			}
			tcb, _ := a.Claims["tcb"].(map[string]any)
			if got, _ := tcb["status"].(string); got != c.status {
				t.Errorf("status %q, expected %q", got, c.status)
			}
		})
	}
}

// TestNewestSetWins: an old set that is still valid must not hide a TCB
// recovery, in whichever order the two were loaded.
func TestNewestSetWins(t *testing.T) {
	m := newMachine(t)
	raw := m.quote()
	old := m.collateral()
	m.tcb["tcbEvaluationDataNumber"] = 21
	setLevels(tcbLevel(4, 13, "UpToDate"), tcbLevel(3, 13, "OutOfDate"))(m)
	recovery := m.collateral()
	m.tcb["tcbEvaluationDataNumber"] = 22
	setLevels(tcbLevel(0, 0, "UpToDate"))(m)
	m.mutateTCB = func(b []byte) []byte { return append(b, ' ') }
	forged := m.collateral()
	for _, files := range [][][]byte{{old, recovery, forged}, {forged, recovery, old}} {
		a := appraise(t, newTest(t, m.deps(bundle(t, files...))), raw, nil, m.now)
		if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonTCBOutOfDate) || hasReason(a, verdict.ReasonCollateralInvalid) {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	}
}

// TestWindowsAtEveryUse: a cache hit must not carry validity over to another
// time.
func TestWindowsAtEveryUse(t *testing.T) {
	m := newMachine(t)
	raw := m.quote()
	v := newTest(t, m.deps(bundle(t, m.collateral())))
	for _, c := range []struct {
		at       time.Time
		hardware verdict.Claim
		reason   string
	}{
		{m.now, 2, verdict.ReasonNoReferenceValues},
		{m.tcbTo, 2, verdict.ReasonNoReferenceValues},
		{m.tcbTo.Add(time.Second), 32, verdict.ReasonCollateralInvalid},
		{m.tcbFrom.Add(-time.Second), 32, verdict.ReasonCollateralInvalid},
		{m.now.AddDate(2, 0, 0), 99, verdict.ReasonExpired},
		{m.now.AddDate(-2, 0, 0), 99, verdict.ReasonExpired},
		{time.Time{}, 99, verdict.ReasonExpired},
		{m.now, 2, verdict.ReasonNoReferenceValues},
	} {
		a := appraise(t, v, raw, nil, c.at)
		if a.Vector[verdict.Hardware] != c.hardware || !hasReason(a, c.reason) {
			t.Errorf("at %s: %v %v", c.at, a.Vector, a.Reasons)
		}
	}
}

// TestRootsDoNotMix: collateral of one root says nothing about a platform of
// another one, even where both are trusted.
func TestRootsDoNotMix(t *testing.T) {
	m, other := newMachine(t), newMachine(t)
	raw := m.quote()
	other.quote()
	// The other PKI certifies this CA's very key, so that only the root differs.
	tmpl := *m.ca.cert
	tmpl.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, other.root.cert, &m.ca.key.PublicKey, other.root.key)
	if err != nil {
		t.Fatal(err)
	}
	if other.ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	other.ca.key = m.ca.key
	d := m.deps(bundle(t, other.collateral()))
	d.ExtraRoots[Name] = append(d.ExtraRoots[Name], other.root.cert)
	a := appraise(t, newTest(t, d), raw, nil, m.now)
	if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) ||
		!strings.Contains(fmt.Sprint(a.Reasons), "different roots") {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
	d = verifiers.Deps{Endorsements: d.Endorsements}
	if a := appraise(t, newTest(t, d), raw, nil, m.now); !hasReason(a, verdict.ReasonUnknownRoot) || a.Vector != verdict.AllClaims(99) {
		t.Errorf("simulated root without being asked for: %v %v", a.Vector, a.Reasons)
	}
}
