// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/json"
	"slices"
	"testing"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/attester/inteltdx"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// judged appraises a machine of dcaptest by collateral files.
func judged(tb testing.TB, m *dcaptest.Machine, files ...[]byte) verdict.Appraisal {
	tb.Helper()
	raw := m.Quote()
	if files == nil {
		files = [][]byte{m.Collateral()}
	}
	v := newTest(tb, verifiers.Deps{
		Endorsements: bundle(tb, files...), ExtraRoots: map[string][]*x509.Certificate{Name: {m.Root.Cert}},
	})
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: m.ReportData(), Time: m.Now,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

// TestMerge: every status of a platform with every status of a quoting enclave, as
// Intel's library merges them.
func TestMerge(t *testing.T) {
	for _, c := range []struct {
		platform, qe, want string
		hardware, config   verdict.Claim
	}{
		{"UpToDate", "UpToDate", "UpToDate", 2, 2},
		{"SWHardeningNeeded", "UpToDate", "SWHardeningNeeded", 32, 2},
		{"ConfigurationNeeded", "UpToDate", "ConfigurationNeeded", 2, 32},
		{"ConfigurationAndSWHardeningNeeded", "UpToDate", "ConfigurationAndSWHardeningNeeded", 32, 32},
		{"OutOfDate", "UpToDate", "OutOfDate", 32, 2},
		{"OutOfDateConfigurationNeeded", "UpToDate", "OutOfDateConfigurationNeeded", 32, 32},
		{"Revoked", "UpToDate", "Revoked", 96, 2},
		{"UpToDate", "OutOfDate", "OutOfDate", 32, 2},
		{"SWHardeningNeeded", "OutOfDate", "OutOfDate", 32, 2},
		{"ConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", 32, 32},
		{"ConfigurationAndSWHardeningNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", 32, 32},
		{"OutOfDate", "OutOfDate", "OutOfDate", 32, 2},
		{"OutOfDateConfigurationNeeded", "OutOfDate", "OutOfDateConfigurationNeeded", 32, 32},
		{"Revoked", "OutOfDate", "Revoked", 96, 2},
		{"UpToDate", "Revoked", "Revoked", 96, 2},
		{"SWHardeningNeeded", "Revoked", "Revoked", 96, 2},
		{"ConfigurationNeeded", "Revoked", "Revoked", 96, 2},
		{"ConfigurationAndSWHardeningNeeded", "Revoked", "Revoked", 96, 2},
		{"OutOfDate", "Revoked", "Revoked", 96, 2},
		{"OutOfDateConfigurationNeeded", "Revoked", "Revoked", 96, 2},
		{"Revoked", "Revoked", "Revoked", 96, 2},
	} {
		m := dcaptest.New(t, rand.Reader, dcap.SGX)
		m.SetLevels(dcaptest.PlatformLevel(3, 13, c.platform))
		m.SetQELevels(dcaptest.ISVLevel(4, c.qe))
		a := judged(t, m)
		tcb, _ := a.Claims["tcb"].(map[string]any)
		if tcb == nil || tcb["status"] != c.want || a.Vector[verdict.Hardware] != c.hardware || a.Vector[verdict.Configuration] != c.config {
			t.Errorf("%s with %s: %v, %v %v", c.platform, c.qe, tcb["status"], a.Vector, a.Reasons)
		}
	}
}

// TestLevels: all sixteen components and the PCE count, and the first level that
// is reached.
func TestLevels(t *testing.T) {
	for i := range 17 {
		m := dcaptest.New(t, rand.Reader, dcap.SGX)
		m.SetLevels(dcaptest.PlatformLevel(3, 13, "UpToDate"), dcaptest.PlatformLevel(2, 11, "OutOfDate"))
		if i < 16 {
			m.SGXSVN[i] = 2
		} else {
			m.PCESVN = 12
		}
		if a := judged(t, m); a.Vector[verdict.Hardware] != 32 || !slices.Contains(codes(a), verdict.ReasonTCBOutOfDate) {
			t.Errorf("component %d is lower: %v %v", i, a.Vector, a.Reasons)
		}
		if i < 16 {
			m.SGXSVN[i] = 1
		} else {
			m.PCESVN = 10
		}
		m.PCK = dcaptest.Signer{}
		if a := judged(t, m); a.Vector[verdict.Hardware] != 97 {
			t.Errorf("component %d is lower than in any level: %v %v", i, a.Vector, a.Reasons)
		}
	}
}

// TestCollateral: what is not Intel's word on this platform now proves nothing, and
// a revocation counts whatever else there is.
func TestCollateral(t *testing.T) {
	type machine = dcaptest.Machine
	reserialised := func(raw []byte) []byte {
		var out bytes.Buffer
		if err := json.Indent(&out, raw, "", " "); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	for _, c := range []struct {
		name     string
		set      func(m *machine)
		hardware verdict.Claim
		code     string
	}{
		{"honest", func(*machine) {}, 2, ""},
		{"other FMSPC", func(m *machine) { m.TCB["fmspc"] = "AABBCC000001" }, 32, verdict.ReasonNoCollateral},
		{"other PCE", func(m *machine) { m.TCB["pceId"] = "0001" }, 32, verdict.ReasonCollateralInvalid},
		{"TCB info of TDX", func(m *machine) { m.TCB["id"] = "TDX" }, 32, verdict.ReasonNoCollateral},
		{"TCB info of nothing", func(m *machine) { delete(m.TCB, "id") }, 32, verdict.ReasonCollateralInvalid},
		{"TCB info version 2", func(m *machine) { m.TCB["version"] = 2 }, 32, verdict.ReasonCollateralInvalid},
		{"TCB type 1", func(m *machine) { m.TCB["tcbType"] = 1 }, 32, verdict.ReasonCollateralInvalid},
		{"QE identity of TDX", func(m *machine) { m.QEID["id"] = "TD_QE" }, 32, verdict.ReasonCollateralInvalid},
		{"QVE identity", func(m *machine) { m.QEID["id"] = "QVE" }, 32, verdict.ReasonCollateralInvalid},
		{"QE identity version 1", func(m *machine) { m.QEID["version"] = 1 }, 32, verdict.ReasonCollateralInvalid},
		{"QE identity of another signer", func(m *machine) { m.QEID["mrsigner"] = dcHex }, 97, verdict.ReasonIdentityMismatch},
		{"QE identity of another product", func(m *machine) { m.QEID["isvprodid"] = 2 }, 97, verdict.ReasonIdentityMismatch},
		{"QE of other MISCSELECT", func(m *machine) { m.QE[16] = 1 }, 97, verdict.ReasonIdentityMismatch},
		{"QE of other attributes", func(m *machine) { m.QE[48] = 0x31 }, 97, verdict.ReasonIdentityMismatch},
		{"15 components", func(m *machine) {
			m.TCB["tcbLevels"].([]map[string]any)[0]["tcb"].(map[string]any)["sgxtcbcomponents"] = dcaptest.Components(3)[:15]
		}, 32, verdict.ReasonCollateralInvalid},
		{"levels ascend", func(m *machine) {
			m.SetLevels(dcaptest.PlatformLevel(2, 11, "UpToDate"), dcaptest.PlatformLevel(3, 13, "Revoked"))
		}, 32, verdict.ReasonCollateralInvalid},
		{"QE of a status that QEs do not have", func(m *machine) { m.SetQELevels(dcaptest.ISVLevel(4, "SWHardeningNeeded")) }, 32, verdict.ReasonCollateralInvalid},
		{"unknown status", func(m *machine) { m.SetLevels(dcaptest.PlatformLevel(3, 13, "Fine")) }, 32, verdict.ReasonCollateralInvalid},
		{"TCB info written anew", func(m *machine) { m.MutateTCB = reserialised }, 32, verdict.ReasonCollateralInvalid},
		{"QE identity written anew", func(m *machine) { m.MutateQEI = reserialised }, 32, verdict.ReasonCollateralInvalid},
		{"expired", func(m *machine) { m.TCBTo = m.Now.AddDate(0, 0, -1) }, 32, verdict.ReasonCollateralInvalid},
		{"not yet valid", func(m *machine) { m.TCBFrom = m.Now.AddDate(0, 0, 1) }, 32, verdict.ReasonCollateralInvalid},
		{"CRLs expired", func(m *machine) { m.CRLTo = m.Now.AddDate(0, 0, -1) }, 32, verdict.ReasonCollateralInvalid},
		{"CRLs not yet valid", func(m *machine) { m.CRLFrom = m.Now.AddDate(0, 0, 1) }, 32, verdict.ReasonCollateralInvalid},
		{"PCK revoked", func(m *machine) { m.RevokePCK = true }, 96, verdict.ReasonRevoked},
		{"PCK revoked by an old list", func(m *machine) { m.RevokePCK, m.CRLTo = true, m.Now.AddDate(0, 0, -1) }, 96, verdict.ReasonRevoked},
		{"CA revoked", func(m *machine) { m.RevokeCA = true }, 96, verdict.ReasonRevoked},
		{"TCB signing revoked", func(m *machine) { m.RevokeSigning = true }, 32, verdict.ReasonCollateralInvalid},
		{"CRL of another CA", func(m *machine) {
			other := m.Issue(dcaptest.ProcessorCA, true, m.Root)
			m.PCKCRL, m.CRLCA = &other, &other
		}, 32, verdict.ReasonCollateralInvalid},
		{"CRL of another CA of that name", func(m *machine) {
			other := m.Issue(dcaptest.PlatformCA, true, m.Root)
			m.PCKCRL, m.CRLCA = &other, &other
		}, 32, verdict.ReasonCollateralInvalid},
		{"CRLs with a critical extension", func(m *machine) {
			m.CRLExtra = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 28}, Critical: true, Value: []byte{0x30, 0}}}
		}, 32, verdict.ReasonCollateralInvalid},
		{"signed by a CA", func(m *machine) { m.TCBSign = m.Issue(dcaptest.TCBSigning, true, m.Root) }, 32, verdict.ReasonCollateralInvalid},
		{"signed by a PCK key", func(m *machine) { m.Quote(); m.TCBSign = m.PCK }, 32, verdict.ReasonCollateralInvalid},
		{"signed by another name", func(m *machine) { m.TCBSign = m.Issue("Intel SGX Something", false, m.Root) }, 32, verdict.ReasonCollateralInvalid},
	} {
		m := dcaptest.New(t, rand.Reader, dcap.SGX)
		c.set(m)
		a := judged(t, m)
		if a.Vector[verdict.Hardware] != c.hardware || c.code != "" && !slices.Contains(codes(a), c.code) {
			t.Errorf("%s: %v %v, expected %d %s", c.name, a.Vector, a.Reasons, c.hardware, c.code)
		}
	}
}

const dcHex = "DC9E2A7C6F948F17474E34A7FC43ED030F7C1563F1BABDDF6340C82E0E54A8C5"

// TestReservedBytes: a signed report with bytes that mean nothing to this build.
func TestReservedBytes(t *testing.T) {
	m := dcaptest.New(t, rand.Reader, dcap.SGX)
	m.Body[300] = 1
	if a := judged(t, m); a.Vector[verdict.Configuration] != 96 || !slices.Contains(codes(a), verdict.ReasonConfiguration) {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}

// TestNewestCounts: of two sets the one with the higher evaluation number judges,
// in whichever order they come.
func TestNewestCounts(t *testing.T) {
	m := dcaptest.New(t, rand.Reader, dcap.SGX)
	m.Quote()
	old := m.Collateral()
	m.TCB["tcbEvaluationDataNumber"] = 21
	m.SetLevels(dcaptest.PlatformLevel(4, 13, "UpToDate"), dcaptest.PlatformLevel(3, 13, "OutOfDate", "INTEL-SA-1"))
	recent := m.Collateral()
	for _, files := range [][][]byte{{old, recent}, {recent, old}} {
		if a := judged(t, m, files...); a.Vector[verdict.Hardware] != 32 || !slices.Contains(codes(a), verdict.ReasonTCBOutOfDate) {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	}
}

// TestOtherRoot: what is signed under one trusted root judges no platform of
// another, though all names are the same.
func TestOtherRoot(t *testing.T) {
	m, other := dcaptest.New(t, rand.Reader, dcap.SGX), dcaptest.New(t, rand.Reader, dcap.SGX)
	m.TCB["fmspc"] = "AABBCC000001" // so that only the other one has TCB info for this platform
	raw := m.Quote()
	other.Quote()
	v := newTest(t, verifiers.Deps{
		Endorsements: bundle(t, m.Collateral(), other.Collateral()),
		ExtraRoots:   map[string][]*x509.Certificate{Name: {m.Root.Cert, other.Root.Cert}},
	})
	a, err := v.Appraise(context.Background(), verifiers.Input{
		MediaType: evidence.MediaType{Base: typeQuote}, Evidence: raw, Nonce: m.ReportData(), Time: m.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	if a.Vector[verdict.Hardware] != 32 || !slices.Contains(codes(a), verdict.ReasonCollateralInvalid) {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}

// TestBrokenCopy: a copy whose signature was broken does not hide the original, in
// whichever order they come.
func TestBrokenCopy(t *testing.T) {
	m := dcaptest.New(t, rand.Reader, dcap.SGX)
	m.Quote()
	good := m.Collateral()
	for _, name := range []string{"tcb_info_signature", "qe_identity_signature"} {
		var set map[string]string
		if err := json.Unmarshal(good, &set); err != nil {
			t.Fatal(err)
		}
		digit := byte('0')
		if set[name][0] == digit {
			digit = '1'
		}
		set[name] = string(digit) + set[name][1:]
		broken, err := json.Marshal(set)
		if err != nil {
			t.Fatal(err)
		}
		for _, files := range [][][]byte{{good, broken}, {broken, good}} {
			if a := judged(t, m, files...); a.Vector[verdict.Hardware] != 2 {
				t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
			}
		}
		if a := judged(t, m, broken); a.Vector[verdict.Hardware] != 32 {
			t.Errorf("%s alone: %v %v", name, a.Vector, a.Reasons)
		}
	}
}

// TestBothTEEs: collateral of one FMSPC for TDX and SGX side by side, each for its
// own scheme.
func TestBothTEEs(t *testing.T) {
	m := newMachine(t, nil)
	o := options()
	tdx, err := inteltdx.New(inteltdx.Options{Vendor: o.Vendor, Device: o.Device, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	files, err := tdx.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	own, err := m.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	var theirs, both [][]byte
	for _, raw := range files {
		theirs, both = append(theirs, raw), append(both, raw)
	}
	for _, raw := range own {
		both = append(both, raw)
	}
	d := m.deps()
	for _, c := range []struct {
		files    [][]byte
		hardware verdict.Claim
		code     string
	}{{theirs, 32, verdict.ReasonNoCollateral}, {both, 2, verdict.ReasonNoReferenceValues}} {
		d.Endorsements = bundle(t, c.files...)
		if a := appraise(t, newTest(t, d), m.raw, now, nil); a.Vector[verdict.Hardware] != c.hardware || !slices.Contains(codes(a), c.code) {
			t.Errorf("%v %v", a.Vector, a.Reasons)
		}
	}
}

// TestRenew: new collateral counts in the new verifier alone.
func TestRenew(t *testing.T) {
	m, revoked := newMachine(t, nil), newMachine(t, func(o *sim.Options) { o.Revoked = true })
	d := m.deps()
	d.Endorsements = nil
	old := newTest(t, withPolicy(t, d, "parameters: {require_kss: true}\n"))
	for _, c := range []struct {
		name     string
		next     machine
		hardware verdict.Claim
	}{{"good", m, 2}, {"revoked", revoked, 96}} {
		v, err := verifiers.Verifier(old).(verifiers.Renewer).Renew(c.next.bundle)
		if err != nil {
			t.Fatal(err)
		}
		a := appraise(t, v, m.raw, now, nil)
		if a.Vector[verdict.Hardware] != c.hardware || a.Vector[verdict.Configuration] != 32 || !v.(*verifier).unsigned {
			t.Errorf("%s: %v %v", c.name, a.Vector, a.Reasons)
		}
		again, err := v.(verifiers.Renewer).Renew(nil)
		if err != nil {
			t.Fatal(err)
		}
		if a := appraise(t, again, m.raw, now, nil); a.Vector[verdict.Hardware] != 32 {
			t.Errorf("%s, taken back: %v %v", c.name, a.Vector, a.Reasons)
		}
	}
	if a := appraise(t, old, m.raw, now, nil); a.Vector[verdict.Hardware] != 32 {
		t.Errorf("the old verifier changed: %v", a.Vector)
	}
}
