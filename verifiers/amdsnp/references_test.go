// SPDX-License-Identifier: Apache-2.0

package amdsnp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// vouched signs documents as far as the tests are concerned: an authority that
// may say anything stands for them.
func vouched(tb testing.TB, raw []byte) *corim.Document {
	tb.Helper()
	key := corim.SigningKey{ID: []byte("k"), Public: keyOfTests().Public()}
	d, err := corim.LoadVouched(raw, corim.Vouching{
		Authority: corim.Authority{Name: "author", Keys: []corim.SigningKey{key}, Profiles: []string{corim.AnyProfile}, Scopes: []corim.Environment{{}}},
		Key:       key, Validity: corim.Period{NotAfter: now.AddDate(5, 0, 0)},
	}, corim.Options{Now: now})
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func documentOf(tb testing.TB, id, profile string, triples ...corim.ValueTriple) *corim.Document {
	tb.Helper()
	raw, err := corim.Encode(&corim.Document{
		ID: corim.ID{Text: id}, Profile: profile,
		Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: id}}, Reference: triples}}},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return vouched(tb, raw)
}

func indexOf(tb testing.TB, docs ...*corim.Document) *corim.Index {
	tb.Helper()
	x, err := corim.NewIndex(docs...)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func env(dotted string, instance []byte) corim.Environment {
	id, _ := corim.OID(dotted)
	e := corim.Environment{Class: corim.Class{ID: id}}
	if instance != nil {
		e.Instance = corim.TaggedBytes(corim.TagBytes, instance)
	}
	return e
}

func rawOf(key uint64, b ...byte) corim.Measurement {
	return corim.Measurement{Key: corim.NumberKey(key), Value: corim.Values{Raw: &corim.RawValue{Tag: corim.TagBytes, Value: b}}}
}

func digestOf(key uint64, b byte) corim.Measurement {
	return corim.Measurement{Key: corim.NumberKey(key), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: bytes.Repeat([]byte{b}, 48)}}}}
}

func leastTCB(key uint64, b tcbBytes) corim.Measurement {
	return corim.Measurement{Key: corim.NumberKey(key), Value: corim.Values{SVN: &corim.SVN{Value: binary.LittleEndian.Uint64(b[:]), Minimum: true}}}
}

func versionOf(key uint64, text string, scheme int64) corim.Measurement {
	return corim.Measurement{Key: corim.NumberKey(key), Value: corim.Values{Version: &corim.Version{Text: text, Scheme: scheme}}}
}

func number(key uint64, n int64) corim.Measurement {
	return corim.Measurement{Key: corim.NumberKey(key), Value: corim.Values{Range: corim.IntValue(n)}}
}

// measured is the right MEASUREMENT.
var measured = digestOf(keyMeasurement, 0x3e)

type referenceCase struct {
	name    string
	change  []func(*machine)
	env     corim.Environment
	profile string // "" is that of 2025
	values  []corim.Measurement

	executables, hardware, config verdict.Claim
	codes                         []string
	words                         string
}

func referenceCases() []referenceCase {
	const (
		partial, mismatch, none = verdict.ReasonPartialReference, verdict.ReasonMeasurementMismatch, verdict.ReasonNoReferenceValues
		deployed                = corim.ProfileSNP2024
	)
	list := func(m ...corim.Measurement) []corim.Measurement { return m }
	any := env(classByChip, nil)
	tcb := TCB{BootLoader: 10, SNP: 24, Microcode: 84}.bytes(productGenoa)
	// As a number it is less, and one component is more.
	mixed := TCB{BootLoader: 11, SNP: 24, Microcode: 80}.bytes(productGenoa)
	policy := []byte{0x1f, 0, 3, 0, 0, 0, 0, 0}
	big := []byte{0, 0, 0, 0, 0, 3, 0, 0x1f}
	host := bytes.Repeat([]byte{0x55}, 32)
	withHost := []func(*machine){edit(0xc0, host...)}
	return []referenceCase{
		{name: "match", env: any, values: list(measured), executables: 3, hardware: 2, config: 2},
		{name: "of the chip", env: env(classByChip, chipOfTests), values: list(measured), executables: 3, hardware: 2, config: 2},
		{name: "named by its measurement", env: env(classByChip, bytes.Repeat([]byte{0x3e}, 48)), values: list(measured), executables: 3, hardware: 2, config: 2},
		{name: "of another chip", env: env(classByChip, bytes.Repeat([]byte{1}, 64)), values: list(measured), executables: 33, hardware: 2, config: 2, codes: []string{none}},
		{name: "class of VLEKs", env: env(classByProvider, nil), values: list(measured), executables: 33, hardware: 2, config: 2, codes: []string{none}},
		{name: "VLEK", change: []func(*machine){vlek}, env: env(classByProvider, []byte("CN=cc-test.example.com")), values: list(measured), executables: 3, hardware: 2, config: 2},
		{name: "hidden chip", change: []func(*machine){edit(0x1a0, make([]byte, 64)...)}, env: any, values: list(measured), executables: 3, hardware: 2, config: 2},
		{name: "hidden chip by zeros", change: []func(*machine){edit(0x1a0, make([]byte, 64)...)}, env: env(classByChip, make([]byte, 64)), values: list(measured), executables: 33, hardware: 2, config: 2, codes: []string{none}},
		{name: "turin", change: []func(*machine){turin}, env: any, values: list(measured, leastTCB(keyReportedTCB, tcbBytes{1, 1, 1, 4, 0, 0, 0, 81})), executables: 3, hardware: 2, config: 2},
		{name: "mismatch", env: any, values: list(digestOf(keyMeasurement, 1)), executables: 96, hardware: 2, config: 2, codes: []string{mismatch}, words: "expected"},
		{name: "profile of 2024", env: any, profile: deployed, values: list(measured), executables: 3, hardware: 2, config: 2},
		{name: "debug", change: []func(*machine){policyBits(1 << 3)}, env: any, values: list(measured), executables: 33, hardware: 2, config: 96, codes: []string{verdict.ReasonDebug, verdict.ReasonUnexplained}},

		{name: "TCB", env: any, values: list(measured, leastTCB(keyReportedTCB, tcb), leastTCB(keyCommittedTCB, tcb), leastTCB(keyLaunchTCB, tcb), leastTCB(keyCurrentTCB, tcb)), executables: 3, hardware: 2, config: 2},
		{name: "TCB by component", env: any, values: list(measured, leastTCB(keyReportedTCB, mixed)), executables: 33, hardware: 32, config: 2, codes: []string{partial, verdict.ReasonTCBOutOfDate}, words: "REPORTED_TCB"},
		{name: "chip", env: any, values: list(measured, rawOf(keyChipID, chipOfTests...)), executables: 3, hardware: 2, config: 2},
		{name: "chip differs", env: any, values: list(measured, rawOf(keyChipID, make([]byte, 64)...)), executables: 33, hardware: 97, config: 2, codes: []string{partial, mismatch}},
		{name: "right chip, wrong guest", env: any, values: list(digestOf(keyMeasurement, 1), rawOf(keyChipID, chipOfTests...)), executables: 96, hardware: 32, config: 2, codes: []string{mismatch, partial}},
		{
			name: "platform", env: any, executables: 3, hardware: 2, config: 2,
			values: list(measured, versionOf(keyVersion, "3", schemeDecimal), versionOf(keyCurrentVersion, "1.55.40", schemeSemanticNumber), versionOf(keyCommittedVersion, "1.55.40", schemeSemanticNumber),
				number(keyCPUIDFamily, 0x19), rawOf(keyCPUIDModel, 0x11), number(keyCPUIDStepping, 1), rawOf(keyPlatformInfo, 0x25, 0, 0, 0, 0, 0, 0, 0)),
		},
		{name: "CPUID before version 3", change: []func(*machine){edit(0, 2), edit(0x188, 0, 0, 0)}, env: any, values: list(measured, number(keyCPUIDFamily, 0)), executables: 33, hardware: 2, config: 2, codes: []string{partial}},

		{name: "policy", env: any, values: list(measured, rawOf(keyPolicy, policy...)), executables: 3, hardware: 2, config: 2},
		{name: "policy, big-endian, 2025", env: any, values: list(measured, rawOf(keyPolicy, big...)), executables: 33, hardware: 2, config: 96, codes: []string{partial, mismatch}},
		{name: "policy, big-endian, 2024", env: any, profile: deployed, values: list(measured, rawOf(keyPolicy, big...)), executables: 3, hardware: 2, config: 2},
		{name: "another policy, 2024", env: any, profile: deployed, values: list(measured, rawOf(keyPolicy, 0, 0, 0, 0, 0, 1, 0, 0x1f)), executables: 33, hardware: 2, config: 96, codes: []string{partial, mismatch}},
		{name: "no debug", env: any, values: list(measured, corim.Measurement{Key: corim.NumberKey(keyPolicy), Value: corim.Values{Flags: &corim.Flags{Known: 1 << corim.FlagDebug}}}), executables: 3, hardware: 2, config: 2},
		{name: "VMPL as bytes", env: any, values: list(measured, rawOf(keyVMPL, 0, 0, 0, 0)), executables: 3, hardware: 2, config: 2},
		{name: "VMPL as number", env: any, values: list(measured, number(keyVMPL, 0)), executables: 3, hardware: 2, config: 2},
		{name: "another VMPL", env: any, values: list(measured, number(keyVMPL, 1)), executables: 33, hardware: 2, config: 96, codes: []string{partial, mismatch}},
		{name: "identity block", env: any, values: list(measured, rawOf(keyFamilyID, make([]byte, 16)...), rawOf(keyImageID, make([]byte, 16)...), digestOf(keyIDKeyDigest, 0), digestOf(keyAuthorKeyDigest, 0)), executables: 3, hardware: 2, config: 2},
		{name: "guest SVN", env: any, values: list(measured, corim.Measurement{Key: corim.NumberKey(keyGuestSVN), Value: corim.Values{SVN: &corim.SVN{Value: 1, Minimum: true}}}), executables: 96, hardware: 2, config: 2, codes: []string{mismatch, partial}, words: "GUEST_SVN"},

		{name: "host data", change: withHost, env: any, values: list(measured, rawOf(keyHostData, host...)), executables: 3, hardware: 2, config: 2},
		{name: "other host data", change: withHost, env: any, values: list(measured, rawOf(keyHostData, make([]byte, 32)...)), executables: 33, hardware: 2, config: 96, codes: []string{partial, mismatch}},
		{name: "host data that nobody knows", change: withHost, env: any, values: list(measured), executables: 3, hardware: 2, config: 36, codes: []string{none}, words: "HOST_DATA"},
		{name: "right host data, wrong guest", change: withHost, env: any, values: list(digestOf(keyMeasurement, 1), rawOf(keyHostData, host...)), executables: 96, hardware: 2, config: 36, codes: []string{mismatch, partial}},

		{name: "per boot, 2025", env: any, values: list(measured, rawOf(keyReportID, 1)), executables: 33, hardware: 2, config: 2, codes: []string{partial}},
		{name: "per boot, 2024", env: any, profile: deployed, values: list(measured, rawOf(keyReportID, 1), rawOf(keyReportData, 1), leastTCB(keyCurrentTCB, mixed), rawOf(keyChipID, 1), rawOf(keyPlatformInfo, 1)), executables: 3, hardware: 2, config: 2},
		{name: "launch TCB, 2024", env: any, profile: deployed, values: list(measured, rawOf(keyReportID, 1), rawOf(keyPolicy, big...), leastTCB(keyLaunchTCB, mixed)), executables: 33, hardware: 32, config: 36, codes: []string{partial, partial, verdict.ReasonTCBOutOfDate}},
		{name: "unknown key", env: any, profile: deployed, values: list(measured, rawOf(9999, 1)), executables: 33, hardware: 2, config: 2, codes: []string{partial}},
	}
}

func (c referenceCase) run(t *testing.T, trace func(string)) verdict.Appraisal {
	t.Helper()
	profile := c.profile
	if profile == "" {
		profile = corim.ProfileSNP
	}
	v := newTest(t, deps(nil))
	v.trace = trace
	in := newMachine(c.change...).input()
	in.References = indexOf(t, documentOf(t, "release", profile, corim.ValueTriple{Environment: c.env, Measurements: c.values}))
	return appraise(t, v, in)
}

func TestReferences(t *testing.T) {
	for _, c := range referenceCases() {
		a := c.run(t, nil)
		got := [3]verdict.Claim{a.Vector[verdict.Executables], a.Vector[verdict.Hardware], a.Vector[verdict.Configuration]}
		if want := [3]verdict.Claim{c.executables, c.hardware, c.config}; got != want || !slices.Equal(sorted(codes(a)), sorted(c.codes)) {
			t.Errorf("%s: %v %v, want %v %v\n%v", c.name, got, codes(a), want, c.codes, a.Reasons)
		}
		if c.words != "" && !slices.ContainsFunc(a.Reasons, func(r verdict.Reason) bool { return strings.Contains(r.Detail, c.words) }) {
			t.Errorf("%s: no %q in %v", c.name, c.words, a.Reasons)
		}
		if (c.executables == 3) != (a.Claims["reference_values"] != nil && a.Claims["reference_values"].(map[string]any)["documents"].(map[string]any)["executables"] != nil) {
			t.Errorf("%s: proof %v", c.name, a.Claims["reference_values"])
		}
		if c.executables == 3 && c.config == 2 && a.Status() != verdict.TierAffirming {
			t.Errorf("%s: %s", c.name, a.Status())
		}
	}
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

// Alternatives: one release that is right is enough, a mixture of two is not.
func TestAlternatives(t *testing.T) {
	v := newTest(t, deps(nil))
	e := env(classByChip, nil)
	good := corim.ValueTriple{Environment: e, Measurements: []corim.Measurement{measured}}
	other := corim.ValueTriple{Environment: e, Measurements: []corim.Measurement{digestOf(keyMeasurement, 1), number(keyVMPL, 0)}}
	half := corim.ValueTriple{Environment: e, Measurements: []corim.Measurement{measured, number(keyVMPL, 2)}}
	for _, c := range []struct {
		name string
		docs []*corim.Document
		want verdict.Claim
	}{
		{"right beside wrong", []*corim.Document{documentOf(t, "a", corim.ProfileSNP, other), documentOf(t, "b", corim.ProfileSNP, good)}, 3},
		{"two halves", []*corim.Document{documentOf(t, "a", corim.ProfileSNP, other, half)}, 33},
		{"half in 2024 and right in 2025", []*corim.Document{documentOf(t, "a", corim.ProfileSNP2024, half), documentOf(t, "b", corim.ProfileSNP, good)}, 3},
		{"half in 2024", []*corim.Document{documentOf(t, "a", corim.ProfileSNP2024, half), documentOf(t, "b", corim.ProfileSNP, other)}, 33},
		// Of a mixture the draft's rules count.
		{"half in both", []*corim.Document{documentOf(t, "a", corim.ProfileSNP2024, half), documentOf(t, "b", corim.ProfileSNP, half)}, 33},
	} {
		in := newMachine().input()
		in.References = indexOf(t, c.docs...)
		if a := appraise(t, v, in); a.Vector[verdict.Executables] != c.want {
			t.Errorf("%s: %d %v", c.name, a.Vector[verdict.Executables], a.Reasons)
		}
	}
}

// A key of the guest's vouches for a value that asks for it (authorized-by).
func TestAuthorizedBy(t *testing.T) {
	m := newMachine()
	for key, want := range map[corim.Typed]verdict.Claim{
		corim.Certificate(m.pki.ask.cert): 3, corim.Certificate(m.pki.ark.cert): 3, corim.Certificate(m.pki.asvk.cert): 96,
	} {
		value := measured
		value.AuthorizedBy = []corim.Typed{key}
		in := m.input()
		in.References = indexOf(t, documentOf(t, "a", corim.ProfileSNP, corim.ValueTriple{Environment: env(classByChip, nil), Measurements: []corim.Measurement{value}}))
		if a := appraise(t, newTest(t, deps(nil)), in); a.Vector[verdict.Executables] != want {
			t.Errorf("%d, want %d: %v", a.Vector[verdict.Executables], want, a.Reasons)
		}
	}
}

// Veraison's sample document proves Veraison's sample report, if somebody has
// signed it, and does nothing for any other.
func TestVeraisonSample(t *testing.T) {
	raw := vectors.Read(t, "snp/veraison-services/corim-sevsnp-valid.cbor")
	loose, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	v := newTest(t, verifiers.Deps{})
	for name, in := range recorded(t) {
		in.Nonce = reportDataOf(t, in)
		before := appraise(t, v, in)
		in.References = indexOf(t, vouched(t, raw))
		signed := appraise(t, v, in)
		in.References = indexOf(t, loose)
		unsigned := appraise(t, v, in)
		if !strings.HasPrefix(name, "genoa") {
			if signed.Vector != before.Vector || unsigned.Vector != before.Vector {
				t.Errorf("%s: %v became %v, %v", name, before.Vector, signed.Vector, unsigned.Vector)
			}
			continue
		}
		if signed.Status() != verdict.TierAffirming || signed.Vector[verdict.Executables] != 3 || len(signed.Reasons) != 0 {
			t.Errorf("%s: %s %v %v", name, signed.Status(), signed.Vector, signed.Reasons)
		}
		if unsigned.Vector[verdict.Executables] != 33 || !slices.Contains(codes(unsigned), verdict.ReasonUnsignedReference) {
			t.Errorf("%s: an unsigned document proves: %v %v", name, unsigned.Vector, unsigned.Reasons)
		}
		// The same document of another report.
		l, _ := open(in.MediaType, in.Evidence)
		other := bytes.Replace(raw, l.report[0x90:0xc0], bytes.Repeat([]byte{1}, 48), -1)
		// The instance is MEASUREMENT, too, so nothing is about this guest any more.
		in.References = indexOf(t, vouched(t, other))
		if a := appraise(t, v, in); a.Vector[verdict.Executables] != 33 {
			t.Errorf("%s: %v", name, a.Reasons)
		}
	}
}

// Documents that break the profile are refused when they are loaded.
func TestVeraisonBadSamples(t *testing.T) {
	for _, name := range []string{"bad-refval-key", "bad-refval-no-key", "bad-ta-no-model", "bad-ta-no-vendor"} {
		if _, err := corim.Load(vectors.Read(t, "snp/veraison-services/corim-sevsnp-"+name+".cbor"), corim.Options{Unsigned: true, Now: now}); err == nil {
			t.Errorf("%s: loaded", name)
		}
	}
}
