// SPDX-License-Identifier: Apache-2.0

package dcap_test

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/assize/assize/verifiers/internal/dcap"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// TestMerge is Intel's table: the status of a platform with that of its TDX module
// or quoting enclave.
func TestMerge(t *testing.T) {
	const (
		up, sw, conf, both = dcap.UpToDate, dcap.SWHardeningNeeded, dcap.ConfigurationNeeded, dcap.ConfigurationAndSWHardeningNeeded
		old, oldConf, rev  = dcap.OutOfDate, dcap.OutOfDateConfigurationNeeded, dcap.Revoked
	)
	for platform, want := range map[dcap.Status]dcap.Status{
		up: old, sw: old, conf: oldConf, both: oldConf, old: old, oldConf: oldConf, rev: rev,
		dcap.TDRelaunchAdvised: dcap.TDRelaunchAdvised, dcap.NotSupported: dcap.NotSupported,
	} {
		if got := dcap.Merge(platform, up); got != platform {
			t.Errorf("%s with UpToDate: %s", platform, got)
		}
		if got := dcap.Merge(platform, old); got != want {
			t.Errorf("%s with OutOfDate: %s, expected %s", platform, got, want)
		}
		if got := dcap.Merge(platform, rev); got != rev {
			t.Errorf("%s with Revoked: %s", platform, got)
		}
		for _, part := range []dcap.Status{sw, conf, both, oldConf, dcap.NotSupported} {
			if got := dcap.Merge(platform, part); got != dcap.NotSupported {
				t.Errorf("%s with %s: %s, which nobody has defined", platform, part, got)
			}
		}
	}
}

func TestStatusNames(t *testing.T) {
	for s := dcap.UpToDate; s <= dcap.NotSupported; s++ {
		var back dcap.Status
		err := back.UnmarshalText([]byte(s.String()))
		if inCollateral := s <= dcap.Revoked; (err == nil) != inCollateral || inCollateral && back != s {
			t.Errorf("%s: %v %v", s, back, err)
		}
	}
	if s := dcap.Status(99).String(); s != "Status(99)" {
		t.Error(s)
	}
}

// TestModuleTimesPlatform goes over all statuses of platform and TDX module through
// signed collateral, and over those of the QE for both TEEs.
func TestModuleTimesPlatform(t *testing.T) {
	parts := []dcap.Status{dcap.UpToDate, dcap.OutOfDate, dcap.Revoked}
	for platform := dcap.UpToDate; platform <= dcap.Revoked; platform++ {
		for _, part := range parts {
			m := tdx(t)
			m.SetLevels(dcaptest.PlatformLevel(3, 13, platform.String(), "INTEL-SA-1"))
			m.SetModuleLevels(dcaptest.ISVLevel(4, part.String()))
			// No relaunch is advised: TEE_TCB_SVN_2 is zero.
			j := judge(t, m)
			if want := dcap.Merge(platform, part); j.TCB == nil || j.TCB.Status != want {
				t.Errorf("platform %s, module %s: %s, expected %s", platform, part, j, want)
			}
			for _, tee := range []dcap.TEE{dcap.SGX, dcap.TDX} {
				m := dcaptest.New(t, rand.Reader, tee)
				m.SetLevels(dcaptest.PlatformLevel(3, 13, platform.String()))
				m.SetQELevels(dcaptest.ISVLevel(4, part.String()))
				if j, want := judge(t, m), dcap.Merge(platform, part); j.TCB == nil || j.TCB.Status != want {
					t.Errorf("%s: platform %s, QE %s: %s, expected %s", tee, platform, part, j, want)
				}
			}
		}
	}
}

// TestRelaunch: a TD of an old module on a platform whose module was updated, and
// each precondition broken by itself.
func TestRelaunch(t *testing.T) {
	old := func(m *dcaptest.Machine) { copy(m.Body[0:], []byte{2, 3, 2}); copy(m.Body[584:], []byte{4, 3, 2}) }
	svn2 := func(svn, major, late byte) func(*dcaptest.Machine) {
		return func(m *dcaptest.Machine) { copy(m.Body[584:], []byte{svn, major, late}) }
	}
	levels := func(status dcap.Status) func(*dcaptest.Machine) {
		return func(m *dcaptest.Machine) { m.SetLevels(dcaptest.PlatformLevel(3, 13, status.String())) }
	}
	// late splits the newest level: what has not the latest microcode of the TDX
	// module is out of date, as far as TDX is concerned.
	late := func(lower dcap.Status) func(*dcaptest.Machine) {
		return func(m *dcaptest.Machine) {
			next := dcaptest.PlatformLevel(3, 13, lower.String())
			tdx := dcaptest.TDXComponents()
			tdx[2]["svn"] = 1
			next["tcb"].(map[string]any)["tdxtcbcomponents"] = tdx
			m.SetLevels(dcaptest.PlatformLevel(3, 13, "UpToDate"), next)
			m.Body[2] = 1
		}
	}
	for name, c := range map[string]struct {
		set  func(*dcaptest.Machine)
		want dcap.Status
	}{
		"advised":                           {func(*dcaptest.Machine) {}, dcap.TDRelaunchAdvised},
		"newer than the newest":             {svn2(5, 3, 9), dcap.TDRelaunchAdvised},
		"software hardening":                {levels(dcap.SWHardeningNeeded), dcap.TDRelaunchAdvised},
		"configuration":                     {levels(dcap.ConfigurationNeeded), dcap.TDRelaunchAdvisedConfigurationNeeded},
		"both":                              {levels(dcap.ConfigurationAndSWHardeningNeeded), dcap.TDRelaunchAdvisedConfigurationNeeded},
		"late microcode too":                {late(dcap.OutOfDate), dcap.TDRelaunchAdvised},
		"late microcode, configuration":     {late(dcap.OutOfDateConfigurationNeeded), dcap.TDRelaunchAdvisedConfigurationNeeded},
		"now without versions":              {svn2(9, 0, 2), dcap.TDRelaunchAdvised},
		"now without versions, too old":     {svn2(8, 0, 2), dcap.OutOfDate},
		"now without versions, microcode":   {svn2(9, 0, 1), dcap.OutOfDate},
		"now too old":                       {svn2(3, 3, 2), dcap.OutOfDate},
		"now with old microcode":            {svn2(4, 3, 1), dcap.OutOfDate},
		"now an unknown module":             {svn2(4, 4, 2), dcap.NotSupported},
		"TDX 1.0":                           {func(m *dcaptest.Machine) { m.BodyType = dcap.BodyTD10 }, dcap.OutOfDate},
		"format 4":                          {func(m *dcaptest.Machine) { m.Version, m.BodyType = 4, dcap.BodyTD10 }, dcap.OutOfDate},
		"QE out of date":                    {func(m *dcaptest.Machine) { m.SetQELevels(dcaptest.ISVLevel(4, "OutOfDate")) }, dcap.OutOfDate},
		"QE revoked":                        {func(m *dcaptest.Machine) { m.SetQELevels(dcaptest.ISVLevel(4, "Revoked")) }, dcap.Revoked},
		"QE reaches no level":               {func(m *dcaptest.Machine) { m.SetQELevels(dcaptest.ISVLevel(5, "UpToDate")) }, dcap.NotSupported},
		"PCE out of date":                   {func(m *dcaptest.Machine) { m.PCESVN = 11 }, dcap.OutOfDate},
		"platform revoked":                  {levels(dcap.Revoked), dcap.Revoked},
		"module up to date":                 {func(m *dcaptest.Machine) { m.Body[0] = 4 }, dcap.UpToDate},
		"module up to date, microcode late": {func(m *dcaptest.Machine) { late(dcap.OutOfDate)(m); m.Body[0] = 4 }, dcap.OutOfDate},
		"module revoked":                    {func(m *dcaptest.Machine) { m.SetModuleLevels(dcaptest.ISVLevel(2, "Revoked")) }, dcap.Revoked},
		"module without versions":           {func(m *dcaptest.Machine) { copy(m.Body[0:], []byte{9, 0, 2}) }, dcap.UpToDate},
	} {
		m := tdx(t)
		old(m)
		c.set(m)
		j := judge(t, m)
		if j.TCB == nil || j.TCB.Status != c.want || (c.want == dcap.NotSupported) != (len(j.TCB.Failures) > 0) {
			t.Errorf("%s: %s, expected %s", name, j, c.want)
		}
	}
}

// TestComponents: the first two TDX components say something only about modules
// without versions, and SGX has none at all.
func TestComponents(t *testing.T) {
	for name, c := range map[string]struct {
		tee  dcap.TEE
		set  func(*dcaptest.Machine)
		want dcap.Status
	}{
		"versioned, low":           {dcap.TDX, func(m *dcaptest.Machine) { m.Body[0], m.Body[1] = 4, 3 }, dcap.UpToDate},
		"version 1 is not known":   {dcap.TDX, func(m *dcaptest.Machine) { m.Body[0], m.Body[1] = 9, 1 }, dcap.NotSupported},
		"without versions, enough": {dcap.TDX, func(m *dcaptest.Machine) { m.Body[0], m.Body[1] = 9, 0 }, dcap.UpToDate},
		"without versions, low":    {dcap.TDX, func(m *dcaptest.Machine) { m.Body[0], m.Body[1] = 8, 0 }, dcap.NotSupported},
		"microcode low":            {dcap.TDX, func(m *dcaptest.Machine) { m.Body[2] = 1 }, dcap.NotSupported},
		"SGX":                      {dcap.SGX, func(*dcaptest.Machine) {}, dcap.UpToDate},
		"SGX, PCE":                 {dcap.SGX, func(m *dcaptest.Machine) { m.PCESVN = 12 }, dcap.OutOfDate},
		"SGX, PCE lower":           {dcap.SGX, func(m *dcaptest.Machine) { m.PCESVN = 10 }, dcap.NotSupported},
		"SGX, component":           {dcap.SGX, func(m *dcaptest.Machine) { m.SGXSVN[15] = 2 }, dcap.OutOfDate},
		"SGX, QE":                  {dcap.SGX, func(m *dcaptest.Machine) { m.QE[258] = 3 }, dcap.OutOfDate},
		"SGX, QE signer":           {dcap.SGX, func(m *dcaptest.Machine) { m.QE[128] = 0 }, dcap.NotSupported},
		"SGX, QE product":          {dcap.SGX, func(m *dcaptest.Machine) { m.QE[256] = 2 }, dcap.NotSupported},
	} {
		m := dcaptest.New(t, rand.Reader, c.tee)
		c.set(m)
		if j := judge(t, m); j.TCB == nil || j.TCB.Status != c.want {
			t.Errorf("%s: %s, expected %s", name, j, c.want)
		}
	}
}

// TestWhatCounts: advisories, dates and what is lacking, of all levels that count.
func TestWhatCounts(t *testing.T) {
	m := tdx(t)
	m.PCESVN = 11
	newest, middle, low := dcaptest.PlatformLevel(3, 13, "UpToDate", "INTEL-SA-0"), dcaptest.PlatformLevel(3, 12, "SWHardeningNeeded", "INTEL-SA-1"),
		dcaptest.PlatformLevel(3, 11, "OutOfDate", "INTEL-SA-2", "INTEL-SA-1")
	newest["tcbDate"], middle["tcbDate"], low["tcbDate"] = "2030-03-01T00:00:00Z", "2029-03-01T00:00:00Z", "2018-01-04T00:00:00Z"
	m.SetLevels(newest, middle, low)
	qe := dcaptest.ISVLevel(4, "UpToDate")
	qe["advisoryIDs"], qe["tcbDate"] = []string{"INTEL-SA-3", "INTEL-SA-1"}, "2027-03-01T00:00:00Z"
	m.SetQELevels(qe)
	j := judge(t, m)
	if j.TCB == nil {
		t.Fatal(j)
	}
	c := j.TCB.Claims()
	if got := fmt.Sprintln(j.TCB.Advisories, c["date"], c["qe_date"], c["superseded"], j.TCB.Lacking, j.TCB.EvaluationNumber()); got !=
		"[INTEL-SA-1 INTEL-SA-2 INTEL-SA-3] 2018-01-04T00:00:00Z 2027-03-01T00:00:00Z 2029-03-01T00:00:00Z [PCE SVN is 11, expected 13] 20\n" {
		t.Error(got)
	}
	if len(c["sha256"].(string)) != 64 || j.TCB.SGX != j.TCB.Platform && j.TCB.SGX.Date != j.TCB.Platform.Date {
		t.Errorf("%v", c)
	}
}

// TestSEAMAttributes: a TDX module that is not a production one is not supported,
// whatever the collateral masks.
func TestSEAMAttributes(t *testing.T) {
	for _, module := range []byte{3, 0} {
		m := tdx(t)
		m.Body[0], m.Body[1] = 9, module
		m.Body[112] = 1
		for _, mod := range append(m.TCB["tdxModuleIdentities"].([]map[string]any), m.TCB["tdxModule"].(map[string]any)) {
			mod["attributesMask"] = "0000000000000000"
		}
		if j := judge(t, m); j.TCB == nil || j.TCB.Status != dcap.NotSupported || len(j.TCB.Failures) != 1 || j.TCB.Failures[0].Code != "identity-mismatch" {
			t.Errorf("module of version %d: %s", module, j)
		}
	}
}

// TestStatusesOfParts: a module or a QE is up to date, out of date or revoked. How
// anything else would merge nobody has said, so it makes collateral useless.
func TestStatusesOfParts(t *testing.T) {
	for s := dcap.UpToDate; s <= dcap.Revoked; s++ {
		ok := s == dcap.UpToDate || s == dcap.OutOfDate || s == dcap.Revoked
		module, qe := tdx(t), dcaptest.New(t, rand.Reader, dcap.SGX)
		module.SetModuleLevels(dcaptest.ISVLevel(4, s.String()))
		qe.SetQELevels(dcaptest.ISVLevel(4, s.String()))
		for name, m := range map[string]*dcaptest.Machine{"module": module, "QE": qe} {
			if j := judge(t, m); (j.TCB != nil) != ok || !ok && len(j.Complaints) == 0 {
				t.Errorf("%s that is %s: %s", name, s, j)
			}
		}
	}
}
