// SPDX-License-Identifier: Apache-2.0

package tcgtpm

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	sim "github.com/assize/assize/attester/tcgtpm"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// findingCase is a machine in which a finding is made.
type findingCase struct {
	finding string
	machine func(*sim.Options)
	leaf    func(map[string]any)
	deps    func(testing.TB, *sim.Device) verifiers.Deps
	values  func(testing.TB, *sim.Device) *corim.Index
	want    map[verdict.ClaimName]verdict.Claim
	code    string
}

const (
	identity      = verdict.InstanceIdentity
	executables   = verdict.Executables
	configuration = verdict.Configuration
)

// differing are the values of the machine, with some registers as elsewhere.
func differing(pcrs ...uint64) func(testing.TB, *sim.Device) *corim.Index {
	return func(tb testing.TB, d *sim.Device) *corim.Index {
		e := entry(tb, d)
		for _, pcr := range pcrs {
			e.Values[0].Registers[pcr][0].Value[0] ^= 1
		}
		return indexOf(tb, e)
	}
}

// lacking are the values of the machine without some registers.
func lacking(pcrs ...uint64) func(testing.TB, *sim.Device) *corim.Index {
	return func(tb testing.TB, d *sim.Device) *corim.Index {
		e := entry(tb, d)
		for _, pcr := range pcrs {
			delete(e.Values[0].Registers, pcr)
		}
		return indexOf(tb, e)
	}
}

func unsigned(tb testing.TB, d *sim.Device) *corim.Index {
	tb.Helper()
	raw, err := refvalues.Unsigned(document(entry(tb, d)))
	if err != nil {
		tb.Fatal(err)
	}
	doc, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	x, err := corim.NewIndex(doc)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// onlyPolicy trusts the root by policy, not as that of a simulated machine.
func onlyPolicy(tb testing.TB, d *sim.Device) verifiers.Deps {
	tb.Helper()
	return withPolicy(tb, verifiers.Deps{Endorsements: bundle(tb, d)}, "parameters:\n  ak_roots:\n  - |\n"+indent(string(pki.PEM(d.Root()))))
}

func noTrust(testing.TB, *sim.Device) verifiers.Deps { return verifiers.Deps{} }

var findingCases = []findingCase{
	{finding: "key-certified", want: map[verdict.ClaimName]verdict.Claim{identity: 2}},
	{finding: "software-proven", want: map[verdict.ClaimName]verdict.Claim{executables: 3}},
	{finding: "configuration-proven", want: map[verdict.ClaimName]verdict.Claim{configuration: 2}},
	{
		finding: "key-endorsed", machine: func(o *sim.Options) { o.Uncertified = true }, deps: noTrust,
		values: func(tb testing.TB, d *sim.Device) *corim.Index { return keyIndex(tb, d, nil) },
		want:   map[verdict.ClaimName]verdict.Claim{identity: 2, executables: 3},
	},
	{
		finding: "key-not-vouched-for", machine: func(o *sim.Options) { o.Uncertified = true }, code: verdict.ReasonKeyNotVouchedFor,
		want: map[verdict.ClaimName]verdict.Claim{identity: 32, executables: 33, configuration: 36},
	},
	{
		finding: "key-unknown-root", deps: noTrust, code: verdict.ReasonUnknownRoot,
		want: map[verdict.ClaimName]verdict.Claim{identity: 32, executables: 33, configuration: 36},
	},
	{
		finding: "key-revoked", machine: func(o *sim.Options) { o.Revoked = true }, code: verdict.ReasonRevoked,
		want: map[verdict.ClaimName]verdict.Claim{identity: 96, executables: 33, configuration: 36},
	},
	{
		finding: "key-revocation-unknown", code: verdict.ReasonRevocationUnknown,
		deps: func(tb testing.TB, d *sim.Device) verifiers.Deps {
			return verifiers.Deps{ExtraRoots: deps(tb, d).ExtraRoots, Endorsements: bundle(tb, d, "tcg-tpm-root-ca-crl.der")}
		},
		want: map[verdict.ClaimName]verdict.Claim{identity: 32, executables: 3, configuration: 2},
	},
	{
		finding: "event-log-mismatch", machine: func(o *sim.Options) { o.LogTampered = true }, code: verdict.ReasonEventLogMismatch,
		want: map[verdict.ClaimName]verdict.Claim{executables: 3, configuration: 32},
	},
	{
		finding: "event-log-malformed", leaf: func(m map[string]any) { m["event_log"] = []byte("log") }, code: verdict.ReasonMalformed,
		want: map[verdict.ClaimName]verdict.Claim{executables: 3, configuration: 32},
	},
	{
		finding: "firmware-state-unclear", code: verdict.ReasonConfiguration,
		machine: func(o *sim.Options) { o.Events = []sim.Event{{PCR: 7, Type: sim.EvSeparator, Data: make([]byte, 4)}} },
		want:    map[verdict.ClaimName]verdict.Claim{executables: 3, configuration: 36},
	},
	{
		finding: "secure-boot-off", machine: func(o *sim.Options) { o.SecureBootOff = true }, code: verdict.ReasonConfiguration,
		values: differing(7),
		want:   map[verdict.ClaimName]verdict.Claim{configuration: 96},
	},
	{
		finding: "software-unknown", values: lacking(4), code: verdict.ReasonNoReferenceValues,
		want: map[verdict.ClaimName]verdict.Claim{executables: 33, configuration: 2},
	},
	{
		finding: "software-mismatch", values: differing(4), code: verdict.ReasonMeasurementMismatch,
		want: map[verdict.ClaimName]verdict.Claim{executables: 96, configuration: 36},
	},
	{
		finding: "software-partial", values: differing(7), code: verdict.ReasonPartialReference,
		want: map[verdict.ClaimName]verdict.Claim{executables: 33, configuration: 96},
	},
	{
		finding: "software-unsigned", values: unsigned, deps: onlyPolicy, code: verdict.ReasonUnsignedReference,
		want: map[verdict.ClaimName]verdict.Claim{executables: 33, configuration: 36},
	},
	{
		finding: "software-registers-not-quoted", code: verdict.ReasonClaimNotAsserted, values: lacking(9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23),
		machine: func(o *sim.Options) { o.PCRs = []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 14} },
		want:    map[verdict.ClaimName]verdict.Claim{executables: 33, configuration: 36},
	},
	{
		finding: "configuration-unknown", values: lacking(7), code: verdict.ReasonNoReferenceValues,
		want: map[verdict.ClaimName]verdict.Claim{executables: 3, configuration: 36},
	},
	{
		finding: "configuration-mismatch", values: differing(14), code: verdict.ReasonMeasurementMismatch,
		want: map[verdict.ClaimName]verdict.Claim{executables: 33, configuration: 96},
	},
	{
		finding: "configuration-partial", values: differing(4), code: verdict.ReasonPartialReference,
		want: map[verdict.ClaimName]verdict.Claim{executables: 96, configuration: 36},
	},
	{
		finding: "configuration-unsigned", values: unsigned, deps: onlyPolicy, code: verdict.ReasonUnsignedReference,
		want: map[verdict.ClaimName]verdict.Claim{executables: 33, configuration: 36},
	},
	{
		finding: "configuration-registers-not-quoted", code: verdict.ReasonClaimNotAsserted,
		machine: func(o *sim.Options) { o.PCRs = []int{0, 2, 4, 8, 9, 11, 12, 13, 14} }, values: lacking(1, 3, 5, 6, 7, 10, 15, 16, 17, 18, 19, 20, 21, 22, 23),
		want: map[verdict.ClaimName]verdict.Claim{executables: 3, configuration: 36},
	},
}

// Every finding of the table is made somewhere, with its reason, and costs what
// the table says.
func TestEveryFinding(t *testing.T) {
	reached := map[string]bool{}
	for _, c := range findingCases {
		t.Run(c.finding, func(t *testing.T) {
			d := device(t, c.machine)
			if c.deps == nil {
				c.deps = deps
			}
			if c.values == nil {
				c.values = func(tb testing.TB, d *sim.Device) *corim.Index { return indexOf(tb, entry(tb, d)) }
			}
			c.check(t, d, leafOf(t, d))
			reached[c.finding] = true
		})
	}
	for _, f := range defaults().Findings {
		if !reached[f.Name] {
			t.Errorf("no machine with the finding %s", f.Name)
		}
		delete(reached, f.Name)
	}
	if len(reached) > 0 {
		t.Errorf("unknown findings: %v", reached)
	}
}

func (c *findingCase) check(t *testing.T, d *sim.Device, raw []byte) {
	t.Helper()
	if c.leaf != nil {
		raw = edited(t, raw, c.leaf)
	}
	world := c.deps(t, d)
	in := verifiers.Input{Evidence: raw, Nonce: nonce(), References: c.values(t, device(t, func(o *sim.Options) {
		if c.machine != nil {
			c.machine(o)
		}
		o.PCRs = nil
	}))}
	a := judge(t, newTest(t, world), in)
	for name, claim := range c.want {
		if a.Vector[name] != claim {
			t.Errorf("%s is %d, want %d: %v", name, a.Vector[name], claim, a.Reasons)
		}
	}
	if c.code != "" && !has(a, c.code, "") {
		t.Errorf("no reason %s: %v", c.code, a.Reasons)
	}
	// The finding was made: a claim that nothing else touches follows its row.
	row := "{sourced-data: 97"
	for _, f := range defaults().Findings {
		for name := range f.Floor {
			if f.Name == c.finding {
				row += ", " + name.String() + ": 97"
			}
		}
	}
	edit := withPolicy(t, world, "findings: {"+c.finding+": "+row+"}}"+rootsOf(world))
	if a := judge(t, newTest(t, edit), in); a.Vector[verdict.SourcedData] != 97 || !strings.HasPrefix(a.PolicyID, "tcg-tpm:sha-256:") {
		t.Errorf("the finding was not made: %v", a.Reasons)
	}
}

// rootsOf repeats the roots of a policy in an edited one.
func rootsOf(d verifiers.Deps) string {
	if d.Policies == nil {
		return ""
	}
	v, err := newVerifier(d)
	if err != nil || len(v.parameters.AKRoots) == 0 {
		return ""
	}
	return "\nparameters:\n  ak_roots:\n  - |\n" + indent(v.parameters.AKRoots[0])
}

func TestParameters(t *testing.T) {
	leaf := string(pki.PEM(device(t, nil).AKCertificate()))
	root := string(pki.PEM(device(t, nil).Root()))
	for name, text := range map[string]string{
		"PCR 24":           "executables: [24]",
		"PCR -1":           "configuration: [-1]",
		"twice":            "event_log: [7, 7]",
		"none":             "executables: []",
		"no PEM":           "ak_roots: [x]",
		"no CA":            "ak_roots:\n  - |\n" + indent(leaf),
		"two in one":       "ak_roots:\n  - |\n" + indent(root+root),
		"text behind it":   "ak_roots:\n  - |\n" + indent(root+"x"),
		"unknown":          "roots: []",
		"too many roots":   "ak_roots: [" + strings.Repeat("x,", maxRoots) + "x]",
		"another type":     "ak_roots:\n  - |\n" + indent(strings.ReplaceAll(root, "CERTIFICATE", "PUBLIC KEY")),
		"no certificate":   "ak_roots:\n  - |\n" + indent("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"),
		"pinned as a word": "pinned_roots: maybe",
	} {
		if _, err := defaults().Parse([]byte("scheme: tcg-tpm\nparameters:\n  " + text + "\n")); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	raw, err := defaults().YAML()
	if err != nil {
		t.Fatal(err)
	}
	p, err := defaults().Parse(raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	for _, f := range defaults().Findings {
		if !maps.Equal(p.Effect(f.Name), f.Effect) {
			t.Errorf("%s: %v", f.Name, p.Effect(f.Name))
		}
	}
	if _, err := defaults().Parse([]byte("scheme: tcg-tpm\nfindings: {key-revoked: {instance-identity: 2, executables: 33}}\n")); err == nil {
		t.Error("a revoked key can be excused")
	}
}

// Which registers have to be proven.
func TestRegisters(t *testing.T) {
	d := device(t, nil)
	ima := []sim.Event{{PCR: 10, Type: sim.EvIPL, Data: []byte("ima")}}
	for _, c := range []struct {
		name                       string
		machine                    func(*sim.Options)
		policy                     string
		values                     func(testing.TB, *sim.Device) *corim.Index
		executables, configuration verdict.Claim
		reason                     string
	}{
		{"0", nil, "", lacking(0), 33, 2, "no-reference-values executables: no reference values for PCR0 of"},
		{"2", nil, "", lacking(2), 33, 2, "no-reference-values PCR2 of"},
		{"4 and 9", nil, "", lacking(4, 9), 33, 2, "no-reference-values PCR4, PCR9 of"},
		{"8", nil, "", lacking(8), 33, 2, "no-reference-values PCR8 of"},
		{"11 was never extended", nil, "", lacking(11, 12, 13), 3, 2, ""},
		{"11 was", func(o *sim.Options) { o.Events = []sim.Event{{PCR: 11, Type: sim.EvIPL, Data: []byte("x")}} }, "", lacking(11), 33, 2, "no-reference-values PCR11 of"},
		{"7", nil, "", lacking(7), 3, 36, "no-reference-values configuration: no reference values for PCR7 of"},
		{"14", nil, "", lacking(14), 3, 36, "no-reference-values PCR14 of"},
		{"1, 3, 5 and 6 do not matter", nil, "", lacking(1, 3, 5, 6), 3, 2, ""},
		{"but count where somebody says what they are", nil, "", differing(5), 33, 96, "measurement-mismatch configuration: PCR5 of"},
		{"10 does not matter", func(o *sim.Options) { o.Events = ima }, "", lacking(10), 3, 2, ""},
		{"but counts as software where somebody says what it is", nil, "", differing(10), 96, 36, "measurement-mismatch executables: PCR10 of"},
		{"fewer by policy", nil, "parameters: {executables: [0, 2]}", lacking(4, 8, 9), 3, 2, ""},
		{"more by policy", func(o *sim.Options) { o.Events = ima }, "parameters: {executables: [0, 10]}", lacking(10), 33, 2, "no-reference-values PCR10 of"},
		{"a firmware register that is zero", nil, "parameters: {executables: [0, 2, 4]}", differing(0), 96, 36, "measurement-mismatch PCR0"},
		{"nothing for configuration", nil, "parameters: {configuration: []}", lacking(1, 3, 5, 6, 7, 14), 3, 36, "no-reference-values configuration: no reference value speaks"},
		{"no values at all", nil, "", func(testing.TB, *sim.Device) *corim.Index { return nil }, 33, 36, "no-reference-values PCR0, PCR2"},
		{"of another class", nil, "", func(tb testing.TB, d *sim.Device) *corim.Index {
			e := entry(tb, d)
			e.Environment.ClassID = refvalues.ClassTDX
			return indexOf(tb, e)
		}, 33, 36, "no-reference-values PCR0, PCR2"},
		{"of another hash", nil, "", func(tb testing.TB, d *sim.Device) *corim.Index {
			e := entry(tb, d)
			for pcr := range e.Values[0].Registers {
				e.Values[0].Registers[pcr][0] = refvalues.Digest{Alg: "sha-384", Value: make([]byte, 48)}
			}
			return indexOf(tb, e)
		}, 33, 36, "no-reference-values PCR0"},
		{"one release or the other", nil, "", func(tb testing.TB, d *sim.Device) *corim.Index {
			return indexOf(tb, entry(tb, device(tb, func(o *sim.Options) { o.Image = "other" })), entry(tb, d))
		}, 3, 2, ""},
		{"unsigned, where test roots are trusted", nil, "", unsigned, 3, 2, "unsigned-reference-values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dev := device(t, c.machine)
			v := newTest(t, deps(t, d))
			if c.policy != "" {
				v = newTest(t, withPolicy(t, deps(t, d), c.policy))
			}
			a := judge(t, v, verifiers.Input{Evidence: leafOf(t, dev), Nonce: nonce(), References: c.values(t, dev)})
			if a.Vector[executables] != c.executables || a.Vector[configuration] != c.configuration {
				t.Errorf("executables %d, configuration %d: %v", a.Vector[executables], a.Vector[configuration], a.Reasons)
			}
			if code, words, _ := strings.Cut(c.reason, " "); c.reason != "" && !has(a, code, words) || (c.reason == "") != (len(a.Reasons) == 0) {
				t.Errorf("no reason %q: %v", c.reason, a.Reasons)
			}
			if (a.Status() == verdict.TierAffirming) != (c.executables == 3 && c.configuration == 2) {
				t.Errorf("status %s", a.Status())
			}
		})
	}
	x := indexOf(t, entry(t, d))
	if a := judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), References: x, Time: now.AddDate(0, 0, 20)}); a.Vector[executables] != 3 {
		t.Errorf("%v", a.Reasons)
	}
	if a := judge(t, newTest(t, deps(t, d)), verifiers.Input{Evidence: leafOf(t, d), Nonce: nonce(), References: x, Time: now.Add(-2 * time.Hour)}); a.Vector[executables] != 33 {
		t.Errorf("values that do not hold yet: %v", a.Reasons)
	}
}
