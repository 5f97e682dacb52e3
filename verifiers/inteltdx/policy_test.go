// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/internal/dcap/dcaptest"
)

// policyOf is the default policy with other parameters, in YAML, and with one row
// changed: a mark that no other row has shows whether its finding was reported.
func policyOf(tb testing.TB, finding, parameters string) *appraisal.Policy {
	tb.Helper()
	text := "scheme: " + Name + "\n"
	for _, f := range defaults().Findings {
		if f.Name == finding {
			text += "findings:\n  " + finding + ":\n    " + fmt.Sprintf("%s: %d\n", verdict.SourcedData, verdict.ClaimNoVisibility)
			for name, c := range f.Effect {
				text += fmt.Sprintf("    %s: %d\n", name, c)
			}
		}
	}
	if parameters != "" {
		text += "parameters: {" + parameters + "}\n"
	}
	p, err := defaults().Parse([]byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// reached is one machine for each finding of the policy that a quote, collateral and
// reference values can give.
var reached = []struct {
	finding    string
	set        func(*machine)
	parameters string
	// references, if there is one, gives reference values for the machine as it
	// stands, and then changes the machine.
	references func(*machine)
	// late is for how long after the machine's time the appraisal is.
	late time.Duration
}{
	{finding: "tcb-up-to-date", set: func(*machine) {}},
	{finding: "tcb-sw-hardening-needed", set: status("SWHardeningNeeded", "INTEL-SA-1", "INTEL-SA-2"), parameters: "allowed_advisories: [INTEL-SA-1]"},
	{finding: "tcb-sw-hardening-needed", set: status("SWHardeningNeeded"), parameters: "allowed_advisories: [INTEL-SA-1]"},
	{finding: "tcb-sw-hardening-allowed", set: status("SWHardeningNeeded", "INTEL-SA-1"), parameters: "allowed_advisories: [INTEL-SA-2, INTEL-SA-1]"},
	{finding: "tcb-configuration-needed", set: status("ConfigurationNeeded", "INTEL-SA-1")},
	{finding: "tcb-configuration-needed", set: status("ConfigurationAndSWHardeningNeeded", "INTEL-SA-1"), parameters: "allowed_advisories: [INTEL-SA-1]"},
	{finding: "tcb-configuration-and-sw-hardening-needed", set: status("ConfigurationAndSWHardeningNeeded", "INTEL-SA-1")},
	{finding: "tcb-out-of-date", set: status("OutOfDate")},
	{finding: "tcb-out-of-date", set: status("OutOfDate"), parameters: "out_of_date_days: 165"}, // 2030-01-01 to 2030-06-15
	{finding: "tcb-out-of-date", set: status("OutOfDate"), parameters: "minimum_tcb_date: 2030-01-01"},
	{finding: "tcb-out-of-date-configuration-needed", set: status("OutOfDateConfigurationNeeded")},
	{finding: "tcb-out-of-date-too-long", set: status("OutOfDate"), parameters: "out_of_date_days: 164"},
	{finding: "tcb-out-of-date-too-long", set: status("OutOfDateConfigurationNeeded"), parameters: "minimum_tcb_date: 2030-01-02"},
	{finding: "tcb-out-of-date-too-long", set: func(m *machine) { m.QE[258] = 3 }, parameters: "out_of_date_days: 90"},
	{finding: "tcb-revoked", set: status("Revoked")},
	{finding: "tcb-not-supported", set: func(m *machine) { m.SGXSVN[0] = 0 }},
	{finding: "tcb-relaunch-advised", set: relaunched("UpToDate")},
	{finding: "tcb-relaunch-advised", set: relaunched("UpToDate"), parameters: "out_of_date_days: 1"},
	{finding: "tcb-relaunch-advised-configuration-needed", set: relaunched("ConfigurationNeeded")},
	{finding: "identity-mismatch", set: func(m *machine) { m.QE[128] ^= 1 }},
	{finding: "pck-revoked", set: func(m *machine) { m.RevokePCK = true }},
	{finding: "no-collateral", set: func(m *machine) { m.TCB["fmspc"] = "AABBCC000001" }},
	{finding: "collateral-invalid", set: func(m *machine) { m.TCBTo = m.Now.Add(-time.Hour) }},
	{finding: "collateral-invalid", set: func(*machine) {}, parameters: "collateral_grace_days: 2", late: 23 * 24 * time.Hour},
	{finding: "collateral-invalid", set: func(m *machine) { m.TCBFrom = m.Now.Add(time.Hour) }, parameters: "collateral_grace_days: 2"},
	{finding: "collateral-in-grace", set: func(*machine) {}, parameters: "collateral_grace_days: 2", late: 22 * 24 * time.Hour},
	{finding: "evaluation-number-too-low", set: func(*machine) {}, parameters: "minimum_evaluation_number: 21"},

	{finding: "td-closed", set: func(*machine) {}},
	{finding: "td-debug", set: td(tdSEPTVEDisable | tdDebug)},
	{finding: "qe-debug", set: func(m *machine) { m.QE[48] |= 2 }},
	{finding: "td-reserved-bits", set: td(tdSEPTVEDisable | 1<<1)},
	{finding: "td-reserved-bits", set: td(tdSEPTVEDisable | 1<<62)},
	{finding: "seam-attributes", set: func(m *machine) { m.Body[119] = 0x80 }},
	{finding: "sept-ve-disable-clear", set: td(0)},
	{finding: "td-migratable", set: td(tdSEPTVEDisable | tdMigratable)},
	{finding: "service-td", set: func(m *machine) { m.Body[647] = 1 }, parameters: "allowed_service_tds: [" + zero48 + "]"},
	{finding: "td-key-locker", set: td(tdSEPTVEDisable | tdKL)},
	{finding: "td-perfmon", set: td(tdSEPTVEDisable | tdPerfmon)},
	{finding: "td-flag-not-allowed", set: td(tdSEPTVEDisable | tdPKS), parameters: "allowed_td_attributes: [LASS]"},
	{finding: "td-flag-not-allowed", set: td(tdSEPTVEDisable | tdLASS), parameters: "allowed_td_attributes: []"},
	{finding: "xfam", set: func(m *machine) { m.Body[130] |= 0x80 }},

	{finding: "executables-match", set: func(*machine) {}, references: func(*machine) {}},
	{finding: "executables-unproven", set: func(*machine) {}},
	{finding: "executables-mismatch", set: func(*machine) {}, references: func(m *machine) { m.Body[136] ^= 1 }},
	{finding: "module-mismatch", set: func(*machine) {}, references: func(m *machine) { m.Body[16] ^= 1 }},
	{finding: "configuration-mismatch", set: func(m *machine) { m.Body[184] = 1 }, references: func(m *machine) { m.Body[184] = 2 }},
	{finding: "configuration-unproven", set: func(m *machine) { m.Body[184] = 1 }},
}

const zero48 = "000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"

func status(s string, advisories ...string) func(*machine) {
	return func(m *machine) { m.SetLevels(dcaptest.PlatformLevel(3, 13, s, advisories...)) }
}

// relaunched is a TD of a module that was updated since.
func relaunched(platform string) func(*machine) {
	return func(m *machine) {
		status(platform)(m)
		copy(m.Body[0:], []byte{2, 3, 2})
		copy(m.Body[584:], []byte{4, 3, 2})
	}
}

// TestFindings: every finding costs what its row says, with its reason, and nothing
// reports a finding that another is about.
func TestFindings(t *testing.T) {
	seen := map[string]bool{}
	for i, c := range reached {
		t.Run(fmt.Sprintf("%s/%d", c.finding, i), func(t *testing.T) {
			row := rowOf(t, c.finding)
			m := newMachine(t)
			c.set(m)
			in := verifiers.Input{MediaType: mediaType(typeQuote), Time: m.Now.Add(c.late)}
			if c.references != nil {
				entry := entryOf(m.Body[:])
				c.references(m)
				in.References = indexOf(t, m.Now, entry)
			}
			in.Evidence = m.Quote()
			d := m.deps(bundle(t, m.Collateral()))
			d.Policies = map[string]*appraisal.Policy{Name: policyOf(t, c.finding, c.parameters)}
			a, err := newTest(t, d).Appraise(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if a.Vector[verdict.SourcedData] != verdict.ClaimNoVisibility {
				t.Fatalf("not reported: %v %v", a.Vector, a.Reasons)
			}
			seen[c.finding] = true
			if row.Code != "" && !hasReason(a, row.Code) {
				t.Errorf("%v, expected %s", a.Reasons, row.Code)
			}
			for name, want := range row.Effect {
				if got := a.Vector[name]; want.Tier().WorseThan(got.Tier()) {
					t.Errorf("%s is %d, expected %d or worse", name, got, want)
				}
			}
			if !strings.HasPrefix(a.PolicyID, Name+":sha-256:") {
				t.Errorf("policy %q", a.PolicyID)
			}
			// An honest machine does not have it, unless it is a good one.
			honest := newMachine(t)
			h := honest.deps(nil)
			h.Endorsements = bundle(t, honest.collateralAfterQuote())
			h.Policies = d.Policies
			if worst(row.Effect) != verdict.TierAffirming && c.references == nil && !slices.Contains([]string{
				"executables-unproven", "collateral-in-grace", "evaluation-number-too-low",
			}, c.finding) {
				if a := appraise(t, newTest(t, h), honest.Quote(), nil, honest.Now); a.Vector[verdict.SourcedData] != 0 {
					t.Errorf("reported of an honest machine: %v", a.Reasons)
				}
			}
		})
	}
	// events_test.go reaches those of the event log and of runtime data.
	for _, f := range logFindings() {
		seen[f.Name] = true
	}
	for _, f := range defaults().Findings {
		if !seen[f.Name] && !strings.HasPrefix(f.Name, vtpmPrefix) { // package measuredboot reaches them
			t.Errorf("no case for %s", f.Name)
		}
	}
}

func mediaType(base string) evidence.MediaType { return evidence.MediaType{Base: base} }

func rowOf(tb testing.TB, finding string) appraisal.Finding {
	tb.Helper()
	rows := defaults().Findings
	i := slices.IndexFunc(rows, func(f appraisal.Finding) bool { return f.Name == finding })
	if i < 0 {
		tb.Fatalf("no finding %s", finding)
	}
	return rows[i]
}

func worst(e appraisal.Effect) verdict.Tier {
	w := verdict.TierAffirming
	for _, c := range e {
		if c.Tier().WorseThan(w) {
			w = c.Tier()
		}
	}
	return w
}

// TestParameters: what an operator allows costs nothing, and nonsense is refused.
func TestParameters(t *testing.T) {
	service := bytes.Repeat([]byte{0xab}, 48)
	for name, c := range map[string]struct {
		set        func(*machine)
		parameters string
	}{
		"key locker":  {td(tdSEPTVEDisable | tdKL), "allowed_td_attributes: [KL]"},
		"perfmon":     {td(tdSEPTVEDisable | tdPerfmon), "allowed_td_attributes: [PERFMON]"},
		"migratable":  {td(tdSEPTVEDisable | tdMigratable), "allowed_td_attributes: [MIGRATABLE]"},
		"service TD":  {func(m *machine) { copy(m.Body[600:], service) }, "allowed_service_tds: [" + strings.ToUpper(hex.EncodeToString(service)) + "]"},
		"advisories":  {status("SWHardeningNeeded", "INTEL-SA-1"), "allowed_advisories: [INTEL-SA-1]"},
		"evaluation":  {func(*machine) {}, "minimum_evaluation_number: 20"},
		"grace, idle": {func(*machine) {}, "collateral_grace_days: 30"},
	} {
		m := newMachine(t)
		c.set(m)
		raw := m.Quote()
		d := m.deps(bundle(t, m.Collateral()))
		d.Policies = map[string]*appraisal.Policy{Name: policyOf(t, "", c.parameters)}
		if a := appraise(t, newTest(t, d), raw, nil, m.Now); a.Vector[verdict.Hardware] != 2 || a.Vector[verdict.Configuration] != 2 {
			t.Errorf("%s: %v %v", name, a.Vector, a.Reasons)
		}
	}
	for _, bad := range []string{
		"collateral_grace_days: -1", "collateral_grace_days: 40000", "out_of_date_days: -1", "minimum_evaluation_number: -1",
		"minimum_tcb_date: yesterday", "allowed_advisories: [\"\"]", "allowed_td_attributes: [DEBUG]", "allowed_td_attributes: [SEPT_VE_DISABLE]",
		"allowed_service_tds: [00]", "allowed_service_tds: [zz]", "grace: 1",
	} {
		if _, err := defaults().Parse([]byte("scheme: " + Name + "\nparameters: {" + bad + "}")); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
}

// TestPolicyFloors: what nobody may excuse cannot be excused, and the defaults are a
// policy that can be written down.
func TestPolicyFloors(t *testing.T) {
	if err := defaults().Check(); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"td-debug: {}", "td-debug: {configuration: 96}", "qe-debug: {configuration: 32, runtime-opaque: 96}", "tcb-revoked: {hardware: 32}",
		"pck-revoked: {}", "identity-mismatch: {hardware: 2}", "tcb-not-supported: {hardware: 36}", "no-collateral: {hardware: 2}",
		"collateral-invalid: {hardware: 2}", "collateral-in-grace: {hardware: 3}", "seam-attributes: {configuration: 36}",
		"executables-mismatch: {executables: 3}", "executables-unproven: {executables: 3}", "td-reserved-bits: {configuration: 2}", "tcb-out-of-date-too-long: {}",
	} {
		if _, err := defaults().Parse([]byte("scheme: " + Name + "\nfindings: {" + row + "}")); err == nil {
			t.Errorf("%s is accepted", row)
		}
	}
	raw, err := defaults().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := defaults().Parse(raw); err != nil {
		t.Error(err)
	}
	strict := "scheme: " + Name + "\nfindings: {tcb-out-of-date: {hardware: 96}}"
	p, err := defaults().Parse([]byte(strict))
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t)
	m.PCESVN = 11
	raw = m.Quote()
	d := m.deps(bundle(t, m.Collateral()))
	d.Policies = map[string]*appraisal.Policy{Name: p}
	if a := appraise(t, newTest(t, d), raw, nil, m.Now); a.Vector[verdict.Hardware] != 96 || a.PolicyID != p.ID() {
		t.Errorf("%v %s", a.Vector, a.PolicyID)
	}
	if a := appraise(t, newTest(t, m.deps(nil)), raw, nil, m.Now); a.PolicyID != Name {
		t.Errorf("defaults are called %q", a.PolicyID)
	}
	if _, err := newVerifier(verifiers.Deps{Policies: map[string]*appraisal.Policy{Name: other(t)}}); err == nil {
		t.Error("a policy of another scheme is accepted")
	}
}

func other(tb testing.TB) *appraisal.Policy {
	tb.Helper()
	d := defaults()
	d.Scheme = "other"
	p, err := d.Policy()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// TestRelaunchIsNotTooLong: what starting the TD anew mends is not what the platform
// was left without.
func TestRelaunchIsNotTooLong(t *testing.T) {
	m := newMachine(t)
	relaunched("UpToDate")(m)
	raw := m.Quote()
	d := m.deps(bundle(t, m.Collateral()))
	d.Policies = map[string]*appraisal.Policy{Name: policyOf(t, "", "out_of_date_days: 1, minimum_tcb_date: 2030-06-01")}
	if a := appraise(t, newTest(t, d), raw, nil, m.Now); a.Vector[verdict.Hardware] != 32 {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
}

// TestGraceIsSaid: hardware in grace is at best a warning, and claims name what is
// late.
func TestGraceIsSaid(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	d := m.deps(bundle(t, m.Collateral()))
	d.Policies = map[string]*appraisal.Policy{Name: policyOf(t, "", "collateral_grace_days: 7")}
	v := newTest(t, d)
	a := appraise(t, v, raw, nil, m.TCBTo.Add(24*time.Hour))
	tcb, _ := a.Claims["tcb"].(map[string]any)
	if late, _ := tcb["in_grace"].([]any); len(late) != 4 || a.Vector[verdict.Hardware] != 32 || tcb["status"] != "UpToDate" {
		t.Errorf("%v %v %v", a.Vector, a.Reasons, tcb)
	}
	if a := appraise(t, v, raw, nil, m.TCBTo); a.Vector[verdict.Hardware] != 2 {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
	m.RevokePCK = true
	d.Endorsements = bundle(t, m.Collateral())
	if a := appraise(t, newTest(t, d), raw, nil, m.TCBTo.Add(24*time.Hour)); a.Vector[verdict.Hardware] != 96 {
		t.Errorf("a revocation in grace: %v %v", a.Vector, a.Reasons)
	}
}

// TestRenewer: a renewed verifier judges by the new bundle, with the same policy.
func TestRenewer(t *testing.T) {
	m := newMachine(t)
	raw := m.Quote()
	d := m.deps(nil)
	d.Policies = map[string]*appraisal.Policy{Name: policyOf(t, "", "minimum_evaluation_number: 21")}
	old := newTest(t, d)
	var _ verifiers.Renewer = old
	if a := appraise(t, old, raw, nil, m.Now); !hasReason(a, verdict.ReasonNoCollateral) {
		t.Fatal(a.Reasons)
	}
	n, err := old.Renew(bundle(t, m.Collateral()))
	if err != nil {
		t.Fatal(err)
	}
	a := appraise(t, n.(*verifier), raw, nil, m.Now)
	tcb, _ := a.Claims["tcb"].(map[string]any)
	if tcb["status"] != "UpToDate" || a.Vector[verdict.Hardware] != 32 || a.PolicyID != old.policy.ID() {
		t.Errorf("%v %v", a.Vector, a.Reasons)
	}
	if a := appraise(t, old, raw, nil, m.Now); !hasReason(a, verdict.ReasonNoCollateral) {
		t.Error("the old one changed")
	}
}

// TestNeeds: collateral is asked for in every container, for what has none.
func TestNeeds(t *testing.T) {
	m := newMachine(t)
	m.CA = m.Issue(dcaptest.ProcessorCA, true, m.Root)
	raw := m.Quote()
	s := Scheme()
	for name, c := range map[string]struct {
		base string
		raw  []byte
		n    int
	}{
		"quote":     {typeQuote, raw, 1},
		"JSON":      {typeJSON, []byte(`{"quote":"` + b64(raw) + `"}`), 1},
		"TSM":       {typeTSMJSON, []byte(`{"provider":"tdx_guest","outblob":"` + b64(raw) + `"}`), 1},
		"truncated": {typeQuote, raw[:len(raw)-1], 0},
		"SGX":       {typeQuote, at32(at16(raw, 0, 3), 4, 0), 0},
		"empty":     {typeQuote, nil, 0},
		"other":     {"application/octet-stream", raw, 0},
	} {
		got := s.Needs(mediaType(c.base), c.raw)
		if len(got) != c.n || c.n == 1 && (got[0].FMSPC != dcaptest.FMSPC || got[0].CA != "processor" || got[0].Kind != "intel-tdx") {
			t.Errorf("%s: %v", name, got)
		}
	}
	if s.Policy == nil || s.Policy.Scheme != Name {
		t.Error("the scheme declares no policy")
	}
}

// TestDescriptions: reason and claims say what is behind a status.
func TestDescriptions(t *testing.T) {
	m := newMachine(t)
	m.PCESVN = 11
	a := m.outcome(t)
	text := fmt.Sprint(a.Reasons)
	for _, want := range []string{"OutOfDate", "aabbcc000000", "PCE SVN is 11, expected 13", "INTEL-SA-1", "2030-01-01", "evaluation data 20"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	tcb, _ := a.Claims["tcb"].(map[string]any)
	for _, name := range []string{"collateral", "sha256", "issue_date", "next_update", "evaluation_number", "date", "qe_date", "superseded", "pck_crl", "root_crl", "qe_identity"} {
		if tcb[name] == nil {
			t.Errorf("claims do not say %s: %v", name, slices.Sorted(maps.Keys(tcb)))
		}
	}
}
