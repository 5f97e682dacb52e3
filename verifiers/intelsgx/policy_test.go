// SPDX-License-Identifier: Apache-2.0

package intelsgx

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/intelsgx"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// outcome is one appraisal of the simulated enclave.
type outcome struct {
	name string
	set  func(*sim.Options)
	deps func(*verifiers.Deps)
	// parameters of the policy in YAML.
	parameters string
	at         time.Time
	refs       func(testing.TB, machine) *corim.Index

	hardware, configuration, executables, opaque verdict.Claim
	// codes are all reasons but no-reference-values, which every case without
	// reference values has.
	codes []string
	// findings that the case is about.
	findings []string
}

func status(s string) func(*sim.Options) { return func(o *sim.Options) { o.Status = s } }

var outcomes = []outcome{
	{name: "honest", hardware: 2, findings: []string{"tcb-up-to-date", findClosed, findUnproven}},
	{name: "format 4", set: func(o *sim.Options) { o.Quote = sim.V4 }, hardware: 2},
	{name: "format 5", set: func(o *sim.Options) { o.Quote = sim.V5 }, hardware: 2},
	{name: "processor CA", set: func(o *sim.Options) { o.Processor = true }, hardware: 2},

	{name: "software hardening", set: status("SWHardeningNeeded"), hardware: 32, codes: []string{verdict.ReasonTCBHardening},
		findings: []string{"tcb-sw-hardening-needed"}},
	{name: "software hardening allowed", set: status("SWHardeningNeeded"), parameters: "allowed_advisories: [INTEL-SA-99003]", hardware: 2,
		findings: []string{"tcb-sw-hardening-allowed"}},
	{name: "other advisory allowed", set: status("SWHardeningNeeded"), parameters: "allowed_advisories: [INTEL-SA-00001]", hardware: 32,
		codes: []string{verdict.ReasonTCBHardening}},
	{name: "configuration", set: status("ConfigurationNeeded"), hardware: 2, configuration: 32, codes: []string{verdict.ReasonTCBConfiguration},
		findings: []string{"tcb-configuration-needed"}},
	{name: "configuration and hardening", set: status("ConfigurationAndSWHardeningNeeded"), hardware: 32, configuration: 32,
		codes: []string{verdict.ReasonTCBConfiguration}, findings: []string{"tcb-configuration-and-sw-hardening-needed"}},
	{name: "out of date", set: func(o *sim.Options) { o.OutdatedTCB = true }, hardware: 32, codes: []string{verdict.ReasonTCBOutOfDate},
		findings: []string{"tcb-out-of-date"}},
	{name: "newest level out of date", set: status("OutOfDate"), hardware: 32, codes: []string{verdict.ReasonTCBOutOfDate}},
	{name: "out of date and configuration", set: status("OutOfDateConfigurationNeeded"), hardware: 32, configuration: 32,
		codes: []string{verdict.ReasonTCBOutOfDate}, findings: []string{"tcb-out-of-date-configuration-needed"}},
	{name: "out of date too long", set: func(o *sim.Options) { o.OutdatedTCB = true }, parameters: "out_of_date_days: 90", hardware: 96,
		codes: []string{verdict.ReasonTCBOutOfDate}, findings: []string{"tcb-out-of-date-too-long"}},
	{name: "out of date but not too long", set: func(o *sim.Options) { o.OutdatedTCB = true }, parameters: "out_of_date_days: 3650", hardware: 32,
		codes: []string{verdict.ReasonTCBOutOfDate}},
	{name: "revoked level", set: status("Revoked"), hardware: 96, codes: []string{verdict.ReasonTCBRevoked}, findings: []string{"tcb-revoked"}},
	{name: "not supported", set: status(sim.NotSupported), hardware: 97, codes: []string{verdict.ReasonTCBNotSupported},
		findings: []string{"tcb-not-supported"}},

	{name: "QE out of date", set: func(o *sim.Options) { o.QEStatus = "OutOfDate" }, hardware: 32, codes: []string{verdict.ReasonTCBOutOfDate}},
	{name: "QE out of date, platform to be configured", set: func(o *sim.Options) { o.QEStatus, o.Status = "OutOfDate", "ConfigurationNeeded" },
		hardware: 32, configuration: 32, codes: []string{verdict.ReasonTCBOutOfDate}},
	{name: "QE revoked", set: func(o *sim.Options) { o.QEStatus = "Revoked" }, hardware: 96, codes: []string{verdict.ReasonTCBRevoked}},
	{name: "QE not supported", set: func(o *sim.Options) { o.QEStatus = sim.NotSupported }, hardware: 97, codes: []string{verdict.ReasonTCBNotSupported}},
	{name: "QE of somebody else", set: func(o *sim.Options) { o.OtherQE = true }, hardware: 97, codes: []string{verdict.ReasonIdentityMismatch},
		findings: []string{"identity-mismatch"}},
	{name: "QE of somebody else without collateral", set: func(o *sim.Options) { o.OtherQE = true }, deps: noCollateral, hardware: 97,
		codes: []string{verdict.ReasonIdentityMismatch, verdict.ReasonNoCollateral}},

	{name: "revoked", set: func(o *sim.Options) { o.Revoked = true }, hardware: 96, codes: []string{verdict.ReasonRevoked}, findings: []string{"pck-revoked"}},
	{name: "revoked CA", set: func(o *sim.Options) { o.RevokedCA = true }, hardware: 96, codes: []string{verdict.ReasonRevoked}},
	{name: "revoked processor CA", set: func(o *sim.Options) { o.RevokedCA, o.Processor = true, true }, hardware: 96, codes: []string{verdict.ReasonRevoked}},
	{name: "no collateral", deps: noCollateral, hardware: 32, codes: []string{verdict.ReasonNoCollateral}, findings: []string{"no-collateral"}},
	{name: "expired collateral", at: now.AddDate(0, 0, 25), hardware: 32, codes: []string{verdict.ReasonCollateralInvalid},
		findings: []string{"collateral-invalid"}},
	{name: "collateral not valid yet", at: now.AddDate(0, 0, -20), hardware: 32, codes: []string{verdict.ReasonCollateralInvalid}},
	{name: "collateral in grace", at: now.AddDate(0, 0, 25), parameters: "collateral_grace_days: 10", hardware: 32,
		codes: []string{verdict.ReasonCollateralInvalid}, findings: []string{"collateral-in-grace"}},
	{name: "collateral past grace", at: now.AddDate(0, 0, 25), parameters: "collateral_grace_days: 4", hardware: 32,
		codes: []string{verdict.ReasonCollateralInvalid}, findings: []string{"collateral-invalid"}},
	{name: "evaluation number", parameters: "minimum_evaluation_number: 19", hardware: 32, codes: []string{verdict.ReasonCollateralInvalid},
		findings: []string{"evaluation-number-too-low"}},

	{name: "debug", set: func(o *sim.Options) { o.Debug = true }, hardware: 2, configuration: 96, opaque: 96, codes: []string{verdict.ReasonDebug},
		findings: []string{findDebug}},
	{name: "debug of a known enclave", set: func(o *sim.Options) { o.Debug = true }, refs: ownRefs("mrenclave"), hardware: 2, configuration: 96, opaque: 96,
		codes: []string{verdict.ReasonDebug}},
	{name: "debug of the QE", set: func(o *sim.Options) { o.QEDebug = true }, hardware: 97, configuration: 96, opaque: 96,
		codes: []string{verdict.ReasonDebug, verdict.ReasonIdentityMismatch}, findings: []string{findQEDebug}},
	{name: "not initialized", set: flags(sim.FlagMode64), hardware: 2, configuration: 96, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findNotInitialized}},
	{name: "reserved flag", set: flags(honestFlags | 1<<3), hardware: 2, configuration: 96, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findReserved}},
	{name: "highest flag", set: flags(honestFlags | 1<<63), hardware: 2, configuration: 96, codes: []string{verdict.ReasonConfiguration}},
	{name: "32-bit", set: flags(sim.FlagInit), hardware: 2},
	{name: "provision key", set: flags(honestFlags | sim.FlagProvisionKey), hardware: 2, configuration: 32, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findProvisionKey}},
	{name: "launch key", set: flags(honestFlags | sim.FlagEINITTokenKey), hardware: 2, configuration: 32, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findEINITTokenKey}},
	{name: "unknown state", set: func(o *sim.Options) { o.XFRM = 0x80e7 }, hardware: 2, configuration: 32, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findXFRM}},
	{name: "no SSE", set: func(o *sim.Options) { o.XFRM = 0x1 }, hardware: 2, configuration: 32, codes: []string{verdict.ReasonConfiguration}},
	{name: "state that policy allows", set: func(o *sim.Options) { o.XFRM = 0x80e7 }, parameters: "allowed_xfrm: 0x682ff", hardware: 2},
	{name: "EXINFO", set: func(o *sim.Options) { o.MiscSelect = 1 }, hardware: 2},
	{name: "EXINFO not allowed", set: func(o *sim.Options) { o.MiscSelect = 1 }, parameters: "allowed_miscselect: 0", hardware: 2, configuration: 32,
		codes: []string{verdict.ReasonConfiguration}},
	{name: "unknown MISCSELECT", set: func(o *sim.Options) { o.MiscSelect = 4 }, hardware: 2, configuration: 32, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findMiscSelect}},
	{name: "no KSS", parameters: "require_kss: true", hardware: 2, configuration: 32, codes: []string{verdict.ReasonConfiguration},
		findings: []string{findNoKSS}},
	{name: "KSS", set: flags(honestFlags | sim.FlagKSS), parameters: "require_kss: true", hardware: 2},
	{name: "CONFIGID without KSS", set: func(o *sim.Options) { o.ConfigID = configID }, hardware: 2, configuration: 96,
		codes: []string{verdict.ReasonConfiguration}, findings: []string{findSeparation}},
	{name: "CONFIGSVN without KSS", set: func(o *sim.Options) { o.ConfigSVN = 1 }, hardware: 2, configuration: 96, codes: []string{verdict.ReasonConfiguration}},
	{name: "ISVEXTPRODID without KSS", set: func(o *sim.Options) { o.ExtProdID = configID[:16] }, hardware: 2, configuration: 96,
		codes: []string{verdict.ReasonConfiguration}},
	{name: "ISVFAMILYID without KSS", set: func(o *sim.Options) { o.FamilyID = configID[:16] }, hardware: 2, configuration: 96,
		codes: []string{verdict.ReasonConfiguration}},
	{name: "family and product with KSS", set: func(o *sim.Options) {
		o.Attributes, o.FamilyID, o.ExtProdID = honestFlags|sim.FlagKSS, configID[:16], configID[:16]
	}, hardware: 2},
	{name: "CONFIGSVN alone", set: func(o *sim.Options) { o.Attributes, o.ConfigSVN = honestFlags|sim.FlagKSS, 3 }, hardware: 2, configuration: 36},
	{name: "CONFIGID alone", set: func(o *sim.Options) { o.Attributes, o.ConfigID = honestFlags|sim.FlagKSS, configID }, hardware: 2, configuration: 36},
	{name: "CONFIGID that nobody knows", set: withKSS, hardware: 2, configuration: 36, findings: []string{findConfigUnproven}},

	{name: "known by MRENCLAVE", refs: ownRefs("mrenclave"), hardware: 2, executables: 3, findings: []string{findMatch}},
	{name: "other enclave", set: func(o *sim.Options) { o.Measurement = true }, refs: ownRefs("mrenclave"), hardware: 2, executables: 96,
		codes: []string{verdict.ReasonMeasurementMismatch}, findings: []string{findMismatch}},
	{name: "half a triple", refs: halfRefs, hardware: 2, codes: []string{verdict.ReasonPartialReference}, findings: []string{findUnproven}},
	{name: "unsigned", refs: unsignedRefs, hardware: 2, codes: []string{verdict.ReasonUnsignedReference}, findings: []string{findUnproven}},
	{name: "CONFIGID known", set: withKSS, refs: ownRefs("mrenclave", "configid", "configsvn"), hardware: 2, executables: 3},
	{name: "CONFIGID in half a triple", set: withKSS, refs: halfRefs, hardware: 2, configuration: 36, codes: []string{verdict.ReasonPartialReference},
		findings: []string{findConfigUnproven}},
	{name: "CONFIGID unsigned", set: withKSS, refs: unsignedRefs, hardware: 2, configuration: 36, codes: []string{verdict.ReasonUnsignedReference},
		findings: []string{findConfigUnproven}},
	{name: "attributes of no enclave", refs: otherAttributes(false), hardware: 2, configuration: 96, codes: []string{verdict.ReasonMeasurementMismatch},
		findings: []string{findConfigMismatch}},
	{name: "attributes of another enclave", refs: otherAttributes(true), hardware: 2, configuration: 32, executables: 3,
		codes: []string{verdict.ReasonMeasurementMismatch}, findings: []string{findConfigElsewhere}},
}

const honestFlags = sim.FlagInit | sim.FlagMode64

var configID = slices.Repeat([]byte{0xc1}, sim.ConfigIDSize)

func flags(f uint64) func(*sim.Options) { return func(o *sim.Options) { o.Attributes = f } }

func withKSS(o *sim.Options) {
	o.Attributes, o.ConfigID, o.ConfigSVN = honestFlags|sim.FlagKSS, configID, 3
}

func noCollateral(d *verifiers.Deps) { d.Endorsements = nil }

// run appraises the case, with a policy that has more text than the parameters.
func (c outcome) run(tb testing.TB, text string) verdict.Appraisal {
	tb.Helper()
	m := newMachine(tb, c.set)
	d := m.deps()
	if c.deps != nil {
		c.deps(&d)
	}
	if c.parameters != "" {
		text += "parameters: {" + c.parameters + "}\n"
	}
	if text != "" {
		d = withPolicy(tb, d, text)
	}
	at := c.at
	if at.IsZero() {
		at = now
	}
	var refs *corim.Index
	if c.refs != nil {
		refs = c.refs(tb, m)
	}
	v := newTest(tb, d)
	v.unsigned = false // as where Intel's own root is trusted alone
	return appraise(tb, v, m.raw, at, refs)
}

// produces tells whether the appraisal of a case reports a finding: a row that
// also lowers a claim that this scheme never sets leaves its mark there.
func (c outcome) produces(tb testing.TB, finding string) bool {
	tb.Helper()
	text := "findings:\n  " + finding + ":\n    sourced-data: 33\n"
	for _, f := range policy().Findings {
		if f.Name != finding {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(f.Effect)) {
			text += fmt.Sprintf("    %s: %d\n", name, f.Effect[name])
		}
	}
	return c.run(tb, text).Vector[verdict.SourcedData] == 33
}

// TestOutcomes: what is wrong changes what it is about, and nothing else.
func TestOutcomes(t *testing.T) {
	or := func(c, otherwise verdict.Claim) verdict.Claim {
		if c == 0 {
			return otherwise
		}
		return c
	}
	for _, c := range outcomes {
		t.Run(c.name, func(t *testing.T) {
			a := c.run(t, "")
			var want verdict.Vector
			want[verdict.Hardware], want[verdict.Configuration] = or(c.hardware, 2), or(c.configuration, 2)
			want[verdict.Executables], want[verdict.RuntimeOpaque] = or(c.executables, 33), or(c.opaque, 2)
			if a.Vector != want {
				t.Errorf("vector %v, expected %v: %v", a.Vector, want, a.Reasons)
			}
			got := slices.DeleteFunc(codes(a), func(s string) bool { return s == verdict.ReasonNoReferenceValues })
			if !slices.Equal(got, c.codes) {
				t.Errorf("reasons %v, expected %v", a.Reasons, c.codes)
			}
			if a.Freshness != verdict.FreshnessFresh || a.Status() == verdict.TierAffirming && len(c.codes) > 0 {
				t.Errorf("freshness %s, tier %s", a.Freshness, a.Status())
			}
			for _, f := range c.findings {
				if !c.produces(t, f) {
					t.Errorf("finding %s is not reported", f)
				}
			}
		})
	}
}

// TestEveryFinding: no row of the table is for nothing.
func TestEveryFinding(t *testing.T) {
	d := policy()
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, c := range outcomes {
		seen = append(seen, c.findings...)
	}
	for _, f := range d.Findings {
		if !slices.Contains(seen, f.Name) {
			t.Errorf("finding %s is reported in no case", f.Name)
		}
	}
}

// TestFloors: what must never be excused cannot be.
func TestFloors(t *testing.T) {
	for _, text := range []string{
		"enclave-debug: {configuration: 32, runtime-opaque: 96, executables: 33}", "enclave-debug: {configuration: 96}", "qe-debug: {configuration: 2, runtime-opaque: 2, executables: 2}",
		"enclave-not-initialized: {configuration: 32}", "executables-unproven: {executables: 2}", "executables-mismatch: {executables: 3}",
		"executables-unproven: {}", "tcb-revoked: {hardware: 2}", "no-collateral: {hardware: 2}",
		"enclave-reserved-bits: {configuration: 2}", "separation-without-kss: {}", "tcb-out-of-date-too-long: {hardware: 2}", "configuration-mismatch: {}",
	} {
		if _, err := policy().Parse([]byte("scheme: " + Name + "\nfindings:\n  " + text + "\n")); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
	for _, text := range []string{"allowed_xfrm: 0x4", "out_of_date_days: -1", "allowed_miscselect: -1", "minimum_isvsvn: 3"} {
		if _, err := policy().Parse([]byte("scheme: " + Name + "\nparameters: {" + text + "}\n")); err == nil {
			t.Errorf("%s: accepted", text)
		}
	}
}

// TestPolicyID: results name the policy, also where evidence proves nothing.
func TestPolicyID(t *testing.T) {
	m := newMachine(t, nil)
	if a := appraise(t, newTest(t, m.deps()), m.raw, now, nil); a.PolicyID != Name {
		t.Errorf("%q", a.PolicyID)
	}
	v := newTest(t, withPolicy(t, m.deps(), "parameters: {require_kss: true}\n"))
	for _, raw := range [][]byte{m.raw, m.raw[:100]} {
		if a := appraise(t, v, raw, now, nil); !strings.HasPrefix(a.PolicyID, Name+":sha-256:") {
			t.Errorf("%q", a.PolicyID)
		}
	}
	raw, err := policy().YAML()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := policy().Parse(raw); err != nil {
		t.Errorf("the defaults cannot be read back: %v\n%s", err, raw)
	}
}
