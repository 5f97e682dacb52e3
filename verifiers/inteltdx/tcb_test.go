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
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// outcome runs one simulated machine with its own collateral.
func (m *machine) outcome(t *testing.T) verdict.Appraisal {
	t.Helper()
	raw := m.Quote()
	v := newTest(t, m.deps(bundle(t, m.Collateral())))
	return appraise(t, v, raw, m.Body[520:584], m.Now)
}

func setLevels(ls ...map[string]any) func(*machine) {
	return func(m *machine) { m.TCB["tcbLevels"] = ls }
}

func moduleLevels(ls ...map[string]any) func(*machine) {
	return func(m *machine) { m.TCB["tdxModuleIdentities"].([]map[string]any)[0]["tcbLevels"] = ls }
}

func td(bits uint64) func(*machine) {
	return func(m *machine) { binary.LittleEndian.PutUint64(m.Body[120:], bits) }
}

func TestSimulatedMachines(t *testing.T) {
	const up = tdSEPTVEDisable
	later := func(m *machine) time.Time { return m.Now.Add(time.Hour) }
	earlier := func(m *machine) time.Time { return m.Now.Add(-time.Hour) }
	cases := []struct {
		name     string
		set      func(*machine)
		hardware verdict.Claim
		config   verdict.Claim
		reason   string
		status   string
	}{
		{"up to date", func(*machine) {}, 2, 2, "", "UpToDate"},
		{"format 4", func(m *machine) { m.Version = 4 }, 2, 2, "", "UpToDate"},
		{"format 5, body 1.0", func(m *machine) { m.BodyType = dcap.BodyTD10 }, 2, 2, "", "UpToDate"},
		{"processor CA", func(m *machine) { m.CA = m.Issue(dcaptest.ProcessorCA, true, m.Root) }, 2, 2, "", "UpToDate"},
		{"PCE out of date", func(m *machine) { m.PCESVN = 11 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"SGX component out of date", func(m *machine) { m.SGXSVN[15] = 2 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"SGX component not supported", func(m *machine) { m.SGXSVN[7] = 1 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"TDX component not supported", func(m *machine) { m.Body[2] = 1 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"TDX component 0 counts for an unversioned module", func(m *machine) { m.Body[1] = 0 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"unversioned module", func(m *machine) { m.Body[0], m.Body[1] = 9, 0 }, 2, 2, "", "UpToDate"},
		{"unknown module", func(m *machine) { m.Body[1] = 4 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"module out of date", func(m *machine) { m.Body[0] = 3 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"module below all levels", func(m *machine) { m.Body[0] = 1 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"module signer", func(m *machine) { m.Body[64] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"SEAM attributes", func(m *machine) { m.Body[112] = 1 }, 97, 96, verdict.ReasonConfiguration, "NotSupported"},
		{"QE out of date", func(m *machine) { m.QE[258] = 3 }, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},
		{"QE not supported", func(m *machine) { m.QE[258] = 0 }, 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"QE signer", func(m *machine) { m.QE[128] = 0 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE product", func(m *machine) { m.QE[256] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE miscselect", func(m *machine) { m.QE[16] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE attributes", func(m *machine) { m.QE[49] = 1 }, 97, 2, verdict.ReasonIdentityMismatch, "NotSupported"},
		{"QE debug", func(m *machine) { m.QE[48] |= 2 }, 97, 96, verdict.ReasonDebug, "NotSupported"},
		{"software hardening", setLevels(dcaptest.PlatformLevel(3, 13, "SWHardeningNeeded", "INTEL-SA-2")), 32, 2, verdict.ReasonTCBHardening, "SWHardeningNeeded"},
		{"configuration needed", setLevels(dcaptest.PlatformLevel(3, 13, "ConfigurationNeeded")), 2, 32, verdict.ReasonTCBConfiguration, "ConfigurationNeeded"},
		{"both needed", setLevels(dcaptest.PlatformLevel(3, 13, "ConfigurationAndSWHardeningNeeded")), 32, 32, verdict.ReasonTCBConfiguration, "ConfigurationAndSWHardeningNeeded"},
		{"out of date and configuration", setLevels(dcaptest.PlatformLevel(3, 13, "OutOfDateConfigurationNeeded")), 32, 32, verdict.ReasonTCBOutOfDate, "OutOfDateConfigurationNeeded"},
		{"level revoked", setLevels(dcaptest.PlatformLevel(3, 13, "Revoked")), 96, 2, verdict.ReasonTCBRevoked, "Revoked"},
		{"unknown status", setLevels(dcaptest.PlatformLevel(3, 13, "Splendid")), 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"no levels", setLevels(), 97, 2, verdict.ReasonTCBNotSupported, "NotSupported"},
		{"module revoked", moduleLevels(dcaptest.ISVLevel(1, "Revoked")), 96, 2, verdict.ReasonTCBRevoked, "Revoked"},
		{"merge: configuration and module out of date", func(m *machine) {
			setLevels(dcaptest.PlatformLevel(3, 13, "ConfigurationNeeded"))(m)
			moduleLevels(dcaptest.ISVLevel(1, "OutOfDate"))(m)
		}, 32, 32, verdict.ReasonTCBOutOfDate, "OutOfDateConfigurationNeeded"},
		{"merge: hardening and module out of date", func(m *machine) {
			setLevels(dcaptest.PlatformLevel(3, 13, "SWHardeningNeeded"))(m)
			moduleLevels(dcaptest.ISVLevel(1, "OutOfDate"))(m)
		}, 32, 2, verdict.ReasonTCBOutOfDate, "OutOfDate"},

		{"PCK revoked", func(m *machine) { m.RevokePCK = true }, 96, 2, verdict.ReasonRevoked, "UpToDate"},
		{"PCK CA revoked", func(m *machine) { m.RevokeCA = true }, 96, 2, verdict.ReasonRevoked, "UpToDate"},
		{"TCB signing revoked", func(m *machine) { m.RevokeSigning = true }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info expired", func(m *machine) { m.TCBTo = earlier(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info not yet valid", func(m *machine) { m.TCBFrom = later(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity expired", func(m *machine) { m.QEID["nextUpdate"] = earlier(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity not yet valid", func(m *machine) { m.QEID["issueDate"] = later(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"CRL expired", func(m *machine) { m.CRLTo = earlier(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"CRL not yet valid", func(m *machine) { m.CRLFrom = later(m) }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCE ID", func(m *machine) { m.TCB["pceId"] = "0001" }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"other FMSPC", func(m *machine) { m.TCB["fmspc"] = "AABBCC000001" }, 32, 2, verdict.ReasonNoCollateral, ""},
		{"SGX TCB info", func(m *machine) { m.TCB["id"] = "SGX" }, 32, 2, verdict.ReasonNoCollateral, ""},
		{"TCB info of something else", func(m *machine) { m.TCB["id"] = "TEE" }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info version", func(m *machine) { m.TCB["version"] = 2 }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"SGX QE identity", func(m *machine) { m.QEID["id"] = "QE" }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity version", func(m *machine) { m.QEID["version"] = 1 }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info changed", func(m *machine) {
			m.MutateTCB = func(b []byte) []byte { return bytes.Replace(b, []byte(`"pcesvn":13`), []byte(`"pcesvn":11`), 1) }
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info re-serialised", func(m *machine) {
			m.MutateTCB = func(b []byte) []byte { return append(b, ' ') }
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE identity changed", func(m *machine) {
			m.MutateQEI = func(b []byte) []byte { return bytes.Replace(b, []byte(`:4}`), []byte(`:3}`), 1) }
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"signed by the PCK CA", func(m *machine) { m.TCBSign = m.CA }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"signed by a stranger", func(m *machine) { m.TCBSign.Key = m.NewKey() }, 32, 2, verdict.ReasonCollateralInvalid, ""},

		{"PCK CRL signed by a stranger", func(m *machine) { m.PCKCRL = &dcaptest.Signer{Cert: m.CA.Cert, Key: m.NewKey()} }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"root CRL signed by a stranger", func(m *machine) { m.RootCRL = &dcaptest.Signer{Cert: m.Root.Cert, Key: m.NewKey()} }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL is the root's", func(m *machine) { m.PCKCRL = &m.Root }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"root CRL is the CA's", func(m *machine) { m.RootCRL = &m.CA }, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL of the other CA", func(m *machine) {
			ca := m.Issue(dcaptest.ProcessorCA, true, m.Root)
			m.PCKCRL, m.CRLCA = &ca, &ca
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL of another CA of that name", func(m *machine) {
			ca := m.Issue(dcaptest.PlatformCA, true, m.Root)
			m.PCKCRL, m.CRLCA = &ca, &ca
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"PCK CRL of some other CA", func(m *machine) {
			ca := m.Issue("Intel SGX Other CA", true, m.Root)
			m.PCKCRL, m.CRLCA = &ca, &ca
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"CRL with a critical extension", func(m *machine) {
			m.CRLExtra = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info without PCE SVN", func(m *machine) {
			delete(m.TCB["tcbLevels"].([]map[string]any)[0]["tcb"].(map[string]any), "pcesvn")
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"TCB info with a component short", func(m *machine) {
			tcb := m.TCB["tcbLevels"].([]map[string]any)[0]["tcb"].(map[string]any)
			tcb["sgxtcbcomponents"] = dcaptest.Components(3)[:15]
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},
		{"QE level without SVN", func(m *machine) {
			m.QEID["tcbLevels"] = []map[string]any{{"tcb": map[string]any{}, "tcbDate": "2030-01-01T00:00:00Z", "tcbStatus": "UpToDate"}}
		}, 32, 2, verdict.ReasonCollateralInvalid, ""},

		{"DEBUG", td(up | tdDebug), 2, 96, verdict.ReasonDebug, "UpToDate"},
		{"reserved bit", td(up | 1<<1), 2, 96, verdict.ReasonConfiguration, "UpToDate"},
		{"SEPT_VE_DISABLE clear", td(0), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"MIGRATABLE", td(up | tdMigratable), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"KL", td(up | tdKL), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"PERFMON", td(up | tdPerfmon), 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"PKS and LASS", td(up | tdPKS | tdLASS), 2, 2, "", "UpToDate"},
		{"service TD", func(m *machine) { m.Body[600] = 1 }, 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"XFAM unknown bit", func(m *machine) { m.Body[135] = 0x80 }, 2, 32, verdict.ReasonConfiguration, "UpToDate"},
		{"XFAM without SSE", func(m *machine) { m.Body[128] &^= 2 }, 2, 32, verdict.ReasonConfiguration, "UpToDate"},
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
	raw := m.Quote()
	old := m.Collateral()
	m.TCB["tcbEvaluationDataNumber"] = 21
	setLevels(dcaptest.PlatformLevel(4, 13, "UpToDate"), dcaptest.PlatformLevel(3, 13, "OutOfDate"))(m)
	recovery := m.Collateral()
	m.TCB["tcbEvaluationDataNumber"] = 22
	setLevels(dcaptest.PlatformLevel(0, 0, "UpToDate"))(m)
	m.MutateTCB = func(b []byte) []byte { return append(b, ' ') }
	forged := m.Collateral()
	for _, files := range [][][]byte{{old, recovery, forged}, {forged, recovery, old}} {
		a := appraise(t, newTest(t, m.deps(bundle(t, files...))), raw, nil, m.Now)
		if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonTCBOutOfDate) || hasReason(a, verdict.ReasonCollateralInvalid) {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	}
}

// TestWindowsAtEveryUse: a cache hit must not carry validity over to another
// time.
func TestWindowsAtEveryUse(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	v := newTest(t, m.deps(bundle(t, m.Collateral())))
	for _, c := range []struct {
		at       time.Time
		hardware verdict.Claim
		reason   string
	}{
		{m.Now, 2, verdict.ReasonNoReferenceValues},
		{m.TCBTo, 2, verdict.ReasonNoReferenceValues},
		{m.TCBTo.Add(time.Second), 32, verdict.ReasonCollateralInvalid},
		{m.TCBFrom.Add(-time.Second), 32, verdict.ReasonCollateralInvalid},
		{m.Now.AddDate(2, 0, 0), 99, verdict.ReasonExpired},
		{m.Now.AddDate(-2, 0, 0), 99, verdict.ReasonExpired},
		{time.Time{}, 99, verdict.ReasonExpired},
		{m.Now, 2, verdict.ReasonNoReferenceValues},
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
	raw := m.Quote()
	other.Quote()
	// The other PKI certifies this CA's very key, so that only the root differs.
	tmpl := *m.CA.Cert
	tmpl.AuthorityKeyId = nil
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, other.Root.Cert, &m.CA.Key.PublicKey, other.Root.Key)
	if err != nil {
		t.Fatal(err)
	}
	if other.CA.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	other.CA.Key = m.CA.Key
	d := m.deps(bundle(t, other.Collateral()))
	d.ExtraRoots[Name] = append(d.ExtraRoots[Name], other.Root.Cert)
	a := appraise(t, newTest(t, d), raw, nil, m.Now)
	if a.Vector[verdict.Hardware] != 32 || !hasReason(a, verdict.ReasonCollateralInvalid) ||
		!strings.Contains(fmt.Sprint(a.Reasons), "different roots") {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
	d = verifiers.Deps{Endorsements: d.Endorsements}
	if a := appraise(t, newTest(t, d), raw, nil, m.Now); !hasReason(a, verdict.ReasonUnknownRoot) || a.Vector != verdict.AllClaims(99) {
		t.Errorf("simulated root without being asked for: %v %v", a.Vector, a.Reasons)
	}
}
