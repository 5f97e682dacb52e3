// SPDX-License-Identifier: Apache-2.0

package armcca

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	simulated "github.com/assize/assize/attester/armcca"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/attester/refvalues"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/evidence/tsm"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/verifiertest"
)

type claims = map[verdict.ClaimName]verdict.Claim

// Short names for the tables.
const (
	iid = verdict.InstanceIdentity
	cfg = verdict.Configuration
	exe = verdict.Executables
	hw  = verdict.Hardware
	rto = verdict.RuntimeOpaque
	sto = verdict.StorageOpaque
)

// findingCase is a machine, documents about it, and the outcome.
type findingCase struct {
	name     string
	machine  func(*machine)
	library  func(*library)
	params   *Parameters
	unsigned bool // unsigned documents count
	// finding is the row that must be among the causes, "" for none.
	finding string
	want    want
}

func findingCases() []findingCase {
	const aff, warn, bad = verdict.TierAffirming, verdict.TierWarning, verdict.TierContraindicated
	good := claims{iid: 2, cfg: 2, exe: 2, hw: 2, rto: 2, sto: 2}
	but := func(c claims) claims {
		out := maps.Clone(good)
		maps.Copy(out, c)
		return out
	}
	lifecycle := func(n int) func(*machine) { return func(m *machine) { m.platform[claimLifecycle] = n } }
	rem := func(m *machine) {
		m.realm[claimREM] = [][]byte{fill(0x6f, 48), fill(0x61, 48), fill(0, 48), fill(0, 48)}
	}
	const noValues, mismatch = verdict.ReasonNoReferenceValues, verdict.ReasonMeasurementMismatch
	const partial, unsigned = verdict.ReasonPartialReference, verdict.ReasonUnsignedReference
	nobody := claims{hw: 97, iid: 97, exe: 0, cfg: 0, rto: 0, sto: 0}
	return []findingCase{
		{name: "all proven", finding: "genuine", want: want{aff, good, nil}},
		{name: "secured, upper end", machine: lifecycle(0x30ff), finding: "lifecycle-secured", want: want{aff, good, nil}},
		{name: "records", machine: func(m *machine) { m.tag = tagCMW }, want: want{aff, good, nil}},

		{name: "no key", library: func(l *library) { l.keys = nil }, finding: "no-key", want: want{bad, nobody, []string{verdict.ReasonNoCollateral}}},
		{name: "key of another instance", library: func(l *library) { l.keys[0].Environment.UEID[5] ^= 1 }, finding: "no-key",
			want: want{bad, nobody, []string{verdict.ReasonNoCollateral}}},
		{name: "key of another implementation", library: func(l *library) { l.keys[0].Environment.ClassBytes = fill(9, 32) }, finding: "no-key",
			want: want{bad, nobody, []string{verdict.ReasonNoCollateral}}},
		{name: "key of all instances", library: func(l *library) { l.keys[0].Environment.UEID = nil }, finding: "no-key",
			want: want{bad, nobody, []string{verdict.ReasonNoCollateral}}},
		{name: "key that nobody signed", library: func(l *library) { l.unsigned = "k" }, finding: "key-unsigned", want: want{bad, nobody, []string{unsigned}}},
		{name: "key that nobody signed, where that counts", library: func(l *library) { l.unsigned = "k" }, unsigned: true, want: want{aff, good, nil}},
		{name: "nothing signed, where that counts", library: func(l *library) { l.unsigned = "kpr" }, unsigned: true,
			want: want{aff, good, []string{unsigned}}},

		{name: "debug outside", machine: lifecycle(0x4001), finding: "lifecycle-other-debug",
			want: want{warn, but(claims{cfg: 32}), []string{verdict.ReasonConfiguration}}},
		{name: "debug", machine: lifecycle(0x5000), finding: "lifecycle-debug",
			want: want{bad, but(claims{cfg: 96, rto: 96, sto: 96, exe: 0}), []string{verdict.ReasonDebug}}},
		{name: "unknown state", machine: lifecycle(0), finding: "lifecycle-unsecured",
			want: want{bad, but(claims{cfg: 96, rto: 96, sto: 96, exe: 0}), []string{verdict.ReasonConfiguration}}},
		{name: "assembly", machine: lifecycle(0x1000), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "provisioning", machine: lifecycle(0x20ff), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "decommissioned", machine: lifecycle(0x6000), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "beyond decommissioned", machine: lifecycle(0x7000), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},
		{name: "reserved", machine: lifecycle(0x3100), finding: "lifecycle-unsecured", want: want{tier: bad, codes: []string{verdict.ReasonConfiguration}}},

		{name: "no platform values", library: func(l *library) { l.platform.Values = nil }, finding: "software-unknown",
			want: want{warn, but(claims{exe: 33, cfg: 36}), []string{noValues}}},
		{name: "config alone", library: func(l *library) { drop(&l.platform, keyComponent) }, finding: "software-unknown",
			want: want{warn, but(claims{exe: 33}), []string{noValues}}},
		{name: "another component", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 9), component("RMM", 3)}
		}, finding: "software-mismatch", want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "one component more", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 2), component("RMM", 3), component("X", 4)}
		}, finding: "software-mismatch", want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "another version", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 2, componentVersion, "0.9"), component("RMM", 3)}
		}, finding: "software-mismatch", want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "another type", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("BL", 2), component("RMM", 3)}
		}, finding: "software-mismatch", want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "one component less", machine: func(m *machine) { m.platform[claimComponents] = []any{component("BL", 1), component("M1", 2)} },
			finding: "software-missing", want: want{warn, but(claims{exe: 33}), []string{partial}}},
		{name: "another signer", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 2, componentSigner, fill(0x52, 32)), component("RMM", 3)}
		}, finding: "software-signer", want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "another signer, ignored", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 2, componentSigner, fill(0x52, 32)), component("RMM", 3)}
		}, params: &Parameters{NonceExact, SignersIgnore}, want: want{aff, good, nil}},
		{name: "another digest, signers ignored", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 9), component("RMM", 3)}
		}, params: &Parameters{NonceExact, SignersIgnore}, finding: "software-mismatch",
			want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "no version, types", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1, 4, nil, 6, nil), component("M1", 2), component("RMM", 3)}
		}, library: func(l *library) { change(&l.platform, "BL", func(v *refvalues.Value) { v.Version, v.Name = "", "" }) }, want: want{aff, good, nil}},
		{name: "version scheme of the document", library: func(l *library) {
			change(&l.platform, "M1", func(v *refvalues.Value) { v.VersionScheme = refvalues.SchemeSemver })
		}, want: want{aff, good, nil}},
		{name: "software of another release", machine: func(m *machine) {
			m.platform[claimComponents] = []any{component("BL", 1), component("M1", 9)}
		}, finding: "software-partial", want: want{warn, but(claims{exe: 33, cfg: 36}), []string{mismatch, partial}}},
		{name: "platform values that nobody signed", library: func(l *library) { l.unsigned = "p" }, finding: "software-unsigned",
			want: want{warn, but(claims{exe: 33, cfg: 36}), []string{unsigned}}},

		{name: "no config value", library: func(l *library) { drop(&l.platform, keyConfig) }, finding: "config-unknown",
			want: want{warn, but(claims{cfg: 36}), []string{noValues}}},
		{name: "another config", machine: func(m *machine) { m.platform[claimConfig] = []byte{1, 2, 4} }, finding: "config-mismatch",
			want: want{warn, but(claims{cfg: 32, exe: 33}), []string{mismatch, partial}}},
		{name: "config of a masked bit", machine: func(m *machine) { m.platform[claimConfig] = []byte{1, 2, 7} }, library: func(l *library) {
			change(&l.platform, keyConfig, func(v *refvalues.Value) { v.RawMask = []byte{0xff, 0xff, 0xfb} })
		}, want: want{aff, good, nil}},
		{name: "config of another release", machine: func(m *machine) { m.platform[claimComponents] = []any{component("BL", 9)} },
			finding: "config-partial", want: want{warn, but(claims{cfg: 36, exe: 33}), []string{mismatch, partial}}},
		{name: "config that nobody signed", library: func(l *library) { l.unsigned = "p" }, finding: "config-unsigned",
			want: want{warn, but(claims{exe: 33, cfg: 36}), []string{unsigned}}},

		{name: "no realm values", library: func(l *library) { l.realm.Values = nil }, finding: "realm-unknown",
			want: want{warn, but(claims{exe: 33}), []string{noValues}}},
		{name: "another image", machine: func(m *machine) { m.realm[claimRIM] = fill(0x51, 48) }, finding: "realm-unknown",
			want: want{warn, but(claims{exe: 33}), []string{noValues}}},
		{name: "another run-time measurement", machine: rem, finding: "realm-mismatch",
			want: want{warn, but(claims{exe: 33}), []string{mismatch, partial}}},
		{name: "initial measurement alone", library: func(l *library) {
			for _, k := range []string{"0", "1", "2", "3"} {
				drop(&l.realm, keyREM+k)
			}
		}, want: want{aff, but(claims{exe: 3}), nil}},
		{name: "any personalization by one of two documents", machine: func(m *machine) { m.realm[claimRPV] = fill(0x42, 64) },
			library: func(l *library) { l.another(func(e *refvalues.Entry) { drop(e, keyRPV) }) }, want: want{aff, good, nil}},
		{name: "boot alone by one of two documents", machine: rem, library: func(l *library) {
			l.another(func(e *refvalues.Entry) { e.Values = e.Values[:1] })
		}, want: want{aff, but(claims{exe: 3}), nil}},
		{name: "personalization of neither document", machine: func(m *machine) { m.realm[claimRPV] = fill(0x42, 64) }, library: func(l *library) {
			l.another(func(e *refvalues.Entry) { change(e, keyRPV, func(v *refvalues.Value) { v.Raw = fill(0x43, 64) }) })
		}, finding: "personalization-mismatch", want: want{bad, but(claims{exe: 96}), []string{mismatch, partial}}},
		{name: "realm of a release", machine: rem, finding: "realm-partial", want: want{warn, but(claims{exe: 33}), []string{mismatch, partial}}},
		{name: "realm values that nobody signed", library: func(l *library) { l.unsigned = "r" }, finding: "realm-unsigned",
			want: want{warn, but(claims{exe: 33}), []string{unsigned}}},
		{name: "another personalization", machine: func(m *machine) { m.realm[claimRPV] = fill(0x42, 64) }, finding: "personalization-mismatch",
			want: want{bad, but(claims{exe: 96}), []string{mismatch, partial}}},
		{name: "any personalization", machine: func(m *machine) { m.realm[claimRPV] = fill(0x42, 64) },
			library: func(l *library) { drop(&l.realm, keyRPV) }, want: want{aff, good, nil}},
		{name: "personalization of another realm", machine: rem, finding: "personalization-partial",
			want: want{warn, but(claims{exe: 33}), []string{mismatch, partial}}},
		{name: "personalization that nobody signed", library: func(l *library) { l.unsigned = "r" }, finding: "personalization-unsigned",
			want: want{warn, but(claims{exe: 33}), []string{unsigned}}},
	}
}

const (
	componentVersion = 4
	componentSigner  = 5
)

func TestFindings(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range findingCases() {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t)
			l := newLibrary(m)
			if c.machine != nil {
				c.machine(m)
			}
			if c.library != nil {
				c.library(l)
			}
			d := verifiers.Deps{}
			if c.params != nil {
				d = policyOf(t, *c.params)
			}
			if c.unsigned {
				d.ExtraRoots = testRoot(t)
			}
			v := newTest(t, d)
			a := judge(t, v, verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: l.index(t)})
			check(t, a, c.want)
			if c.finding == "" {
				return
			}
			seen[c.finding] = true
			d.Policies = map[string]*appraisal.Policy{Name: marked(t, c.finding, c.params)}
			a = judge(t, newTest(t, d), verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: l.index(t)})
			if a.Vector[verdict.FileSystem] != verdict.ClaimApproved {
				t.Errorf("the finding %s was not made", c.finding)
			}
		})
	}
	policy := Policy()
	for _, f := range policy.Findings {
		if !seen[f.Name] {
			t.Errorf("no case reaches the finding %s", f.Name)
		}
	}
	if err := policy.Check(); err != nil {
		t.Error(err)
	}
}

// marked is a policy whose row of one finding lowers one claim more that nothing
// else here asserts, so that a test sees whether the finding was made.
func marked(tb testing.TB, finding string, params *Parameters) *appraisal.Policy {
	tb.Helper()
	d := Policy()
	i := slices.IndexFunc(d.Findings, func(f appraisal.Finding) bool { return f.Name == finding })
	if i < 0 {
		tb.Fatalf("no finding %s", finding)
	}
	d.Findings[i].Effect = maps.Clone(d.Findings[i].Effect)
	d.Findings[i].Effect[verdict.FileSystem] = verdict.ClaimApproved
	if params != nil {
		d.Parameters = *params
	}
	p, err := d.Policy()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestFreshness(t *testing.T) {
	m := newMachine(t)
	x := newLibrary(m).index(t)
	short := fill(0xab, 32)
	padded := append(bytes.Clone(short), make([]byte, 32)...)
	for _, c := range []struct {
		name             string
		rule             string
		challenge, nonce []byte
		want             verdict.Freshness
		seen             int
	}{
		{"same", NonceExact, m.nonce(), m.nonce(), verdict.FreshnessFresh, 64},
		{"other", NonceExact, m.nonce(), fill(0xac, 64), verdict.FreshnessMismatch, 64},
		{"none", NonceExact, m.nonce(), nil, verdict.FreshnessNotEstablished, 64},
		{"32 bytes, unpadded", NonceExact, padded, short, verdict.FreshnessMismatch, 64},
		{"prefix", NonceExact, m.nonce(), m.nonce()[:32], verdict.FreshnessMismatch, 64},
		{"32 bytes, padded", NoncePadded, padded, short, verdict.FreshnessFresh, 32},
		{"64 bytes by that rule", NoncePadded, m.nonce(), m.nonce(), verdict.FreshnessFresh, 64},
		{"prefix by that rule", NoncePadded, m.nonce(), m.nonce()[:32], verdict.FreshnessMismatch, 64},
		{"zero of any length by that rule", NoncePadded, make([]byte, 64), nil, verdict.FreshnessNotEstablished, 64},
		{"too long by that rule", NoncePadded, m.nonce(), append(m.nonce(), 0), verdict.FreshnessMismatch, 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			m.realm[claimNonce] = c.challenge
			v := newTest(t, policyOf(t, Parameters{Nonce: c.rule, SignerIDs: SignersCompare}))
			a := judge(t, v, verifiers.Input{Evidence: m.token(t), Nonce: c.nonce, References: x})
			if a.Freshness != c.want || len(a.NonceSeen) != c.seen {
				t.Errorf("%s, %d bytes seen; %v", a.Freshness, len(a.NonceSeen), a.Reasons)
			}
			if c.want == verdict.FreshnessFresh != (a.Status() == verdict.TierAffirming) {
				t.Errorf("tier %s", a.Status())
			}
			if c.want != verdict.FreshnessFresh && len(a.Reasons) != 1 {
				t.Errorf("reasons %v", a.Reasons)
			}
		})
	}
}

// A key counts as long as its document holds.
func TestKeyValidity(t *testing.T) {
	m := newMachine(t)
	l := newLibrary(m)
	v, x, raw := newTest(t, verifiers.Deps{}), l.index(t), m.token(t)
	for _, c := range []struct {
		at   time.Time
		want verdict.Tier
	}{
		{now, verdict.TierAffirming}, {l.until, verdict.TierAffirming},
		{l.until.Add(time.Second), verdict.TierContraindicated}, {now.Add(-2 * time.Hour), verdict.TierContraindicated}, {now, verdict.TierAffirming},
	} {
		a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: m.nonce(), References: x, Time: c.at})
		if a.Status() != c.want || c.want != verdict.TierAffirming && !slices.Equal(codes(a), []string{verdict.ReasonNoCollateral}) {
			t.Errorf("at %s: %s, %v", c.at, a.Status(), a.Reasons)
		}
	}
	if a := judge(t, v, verifiers.Input{Evidence: raw, Nonce: m.nonce()}); a.Vector[hw] != 97 || a.Claims != nil || a.Facts.Device != nil || a.NonceSeen != nil {
		t.Errorf("without documents: %+v", a)
	}
}

// Of several keys of one platform the one that signed counts, and a statement with
// conditions is none.
func TestSeveralKeys(t *testing.T) {
	m := newMachine(t)
	l := newLibrary(m)
	other := l.keys[0]
	other.Key = &key(t, "other", elliptic.P256()).PublicKey
	l.keys = append([]refvalues.KeyEntry{other}, l.keys...)
	in := verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: l.index(t)}
	if a := judge(t, newTest(t, verifiers.Deps{}), in); a.Status() != verdict.TierAffirming {
		t.Error(a.Status(), a.Reasons)
	}
	l.keys = l.keys[:1]
	in.References = l.index(t)
	check(t, judge(t, newTest(t, verifiers.Deps{}), in), want{verdict.TierContraindicated, claims{hw: 99, sto: 99}, []string{verdict.ReasonSignatureInvalid}})
}

// What is remembered does not stand in for anything else.
func TestRemembered(t *testing.T) {
	m := newMachine(t)
	l := newLibrary(m)
	v, x := newTest(t, verifiers.Deps{}), l.index(t)
	in := verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: x}
	for range 2 {
		if a := judge(t, v, in); a.Status() != verdict.TierAffirming {
			t.Fatal(a.Reasons)
		}
	}
	other := newMachine(t)
	other.iak = key(t, "not the platform's", elliptic.P384())
	p, _ := m.halves(t)
	_, r := other.halves(t)
	forged, _ := other.halves(t)
	for name, raw := range map[string][]byte{
		"forged platform": encode(t, tagged(tagCollection, forged, r)),
		"flipped in the signature": func() []byte {
			b := bytes.Clone(p)
			b[len(b)-1] ^= 1
			return encode(t, tagged(tagCollection, b, r))
		}(),
	} {
		in.Evidence = raw
		if a := judge(t, v, in); a.Vector[hw] != 99 {
			t.Errorf("%s: %v", name, a.Reasons)
		}
	}
	l.keys[0].Key = &other.iak.PublicKey
	in.Evidence, in.References = m.token(t), l.index(t)
	if a := judge(t, v, in); a.Vector[hw] != 99 {
		t.Errorf("the key of the platform is another one now: %v", a.Reasons)
	}
}

func TestFacts(t *testing.T) {
	m := newMachine(t)
	a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: m.token(t), Nonce: m.nonce(), References: newLibrary(m).index(t)})
	f := a.Facts
	if len(f.Device) != 1 || f.Device[0] != "arm-ueid:01"+strings.Repeat("2d", 32) || len(f.SignerSPKI) != 64 || f.ReportData != strings.Repeat("ab", 64) {
		t.Errorf("%+v", f)
	}
	if len(f.Keys) != 1 || f.Keys[0].Via != "realm-public-key" || f.Keys[0].Origin != verdict.OriginHardware || f.Keys[0].SPKI == f.SignerSPKI {
		t.Errorf("%+v", f.Keys)
	}
	for _, name := range []string{"rim", "rem0", "rem1", "rem2", "rem3", "rpv"} {
		if f.Registers[name] == "" {
			t.Errorf("no register %s", name)
		}
	}
	if len(f.Environments) != 2 || a.Claims["platform_reference_values"] == nil || a.Claims["realm_reference_values"] == nil {
		t.Errorf("%v, %v", f.Environments, a.Claims)
	}
	if _, err := json.Marshal(a.Claims); err != nil {
		t.Error(err)
	}
}

func TestContainers(t *testing.T) {
	m := newMachine(t)
	x, raw := newLibrary(m).index(t), m.token(t)
	v := newTest(t, verifiers.Deps{})
	report := func(more string) []byte {
		return []byte(`{"provider":"arm_cca_guest\n","outblob":"` + base64.RawURLEncoding.EncodeToString(raw) + `"` + more + `}`)
	}
	binary := encode(t, map[string]any{"provider": "arm_cca_guest", "outblob": raw})
	for _, c := range []struct {
		name, base string
		raw        []byte
		want       verdict.Tier
	}{
		{"token", typeCollection, raw, verdict.TierAffirming},
		{"JSON", tsm.TypeJSON, report(""), verdict.TierAffirming},
		{"CBOR", tsm.TypeCBOR, binary, verdict.TierAffirming},
		{"JSON with more", tsm.TypeJSON, report(`,"auxblob":"AAAA"`), verdict.TierAffirming},
		{"another provider", tsm.TypeJSON, bytes.Replace(report(""), []byte("arm_cca_guest"), []byte("tdx_guest"), 1), verdict.TierContraindicated},
		{"another type", "application/eat+cwt", raw, verdict.TierContraindicated},
		{"too large", typeCollection, make([]byte, 32<<10+1), verdict.TierContraindicated},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := judge(t, v, verifiers.Input{MediaType: evidence.MediaType{Base: c.base}, Evidence: c.raw, Nonce: m.nonce(), References: x})
			if a.Status() != c.want {
				t.Errorf("%s, %v", a.Status(), a.Reasons)
			}
			if c.name == "JSON with more" && a.Claims["tsm_auxblob"] == nil {
				t.Error("nothing says that there was more")
			}
		})
	}
}

// Simulated machines are affirming by their own documents, and each fault is found.
func TestSimulator(t *testing.T) {
	const aff, warn, bad = verdict.TierAffirming, verdict.TierWarning, verdict.TierContraindicated
	for _, c := range []struct {
		name   string
		change func(*simulated.Options)
		want   verdict.Tier
		codes  []string
	}{
		{"honest", func(*simulated.Options) {}, aff, nil},
		{"records", func(o *simulated.Options) { o.Form = simulated.Records }, aff, nil},
		{"legacy", func(o *simulated.Options) { o.Legacy = true }, aff, nil},
		{"P-256", func(o *simulated.Options) { o.Curve = elliptic.P256() }, aff, nil},
		{"P-521, personal", func(o *simulated.Options) { o.Curve, o.Personalization = elliptic.P521(), fill(7, 64) }, aff, nil},
		{"debug", func(o *simulated.Options) { o.Debug = true }, bad, []string{verdict.ReasonDebug}},
		{"outdated", func(o *simulated.Options) { o.OutdatedTCB = true }, warn, []string{verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference}},
		{"wrong signer", func(o *simulated.Options) { o.WrongSigner = true }, bad, []string{verdict.ReasonSignatureInvalid}},
		{"unbound", func(o *simulated.Options) { o.Unbound = true }, bad, []string{verdict.ReasonSignatureInvalid}},
		{"measurement", func(o *simulated.Options) { o.Measurement = true }, warn, []string{verdict.ReasonMeasurementMismatch, verdict.ReasonPartialReference}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := simulated.Options{Device: pki.NewSeed("realm"), Now: now, Model: "model", Image: "image"}
			c.change(&o)
			d, err := simulated.New(o)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := d.Evidence(fill(3, 64))
			if err != nil {
				t.Fatal(err)
			}
			a := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{Evidence: raw, Nonce: fill(3, 64), References: simulatedIndex(t, d)})
			check(t, a, want{tier: c.want, codes: c.codes})
			if raw, err = d.TSMReport(fill(3, 64)); err != nil {
				t.Fatal(err)
			}
			b := judge(t, newTest(t, verifiers.Deps{}), verifiers.Input{
				MediaType: evidence.MediaType{Base: tsm.TypeJSON}, Evidence: raw, Nonce: fill(3, 64), References: simulatedIndex(t, d),
			})
			if b.Status() != c.want {
				t.Error("as a TSM report:", b.Reasons)
			}
		})
	}
}

func simulatedIndex(tb testing.TB, d *simulated.Device) *corim.Index {
	tb.Helper()
	platform, k, err := refvalues.ArmCCAPlatform(d.Platform())
	if err != nil {
		tb.Fatal(err)
	}
	realm, err := refvalues.ArmCCARealm(d.Realm())
	if err != nil {
		tb.Fatal(err)
	}
	author, err := refvalues.NewAuthor("vendor", now)
	if err != nil {
		tb.Fatal(err)
	}
	x, err := author.Index(now,
		refvalues.Document{ID: "platform", TagID: "platform", Profile: refvalues.ProfileCCAPlatform, NotAfter: now.AddDate(1, 0, 0),
			Entries: []refvalues.Entry{platform}, Keys: []refvalues.KeyEntry{k}},
		refvalues.Document{ID: "realm", TagID: "realm", Profile: refvalues.ProfileCCARealm, NotAfter: now.AddDate(1, 0, 0), Entries: []refvalues.Entry{realm}})
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// withKey gives every input that has no documents those with the key alone: the
// suite knows no schemes whose trust anchors are in documents.
type withKey struct {
	verifiers.Verifier
	keys *corim.Index
}

func (w withKey) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	if in.References == nil || len(in.References.Documents()) == 0 {
		in.References = w.keys
	}
	return w.Verifier.Appraise(ctx, in)
}

func TestSuite(t *testing.T) {
	m := newMachine(t)
	l := newLibrary(m)
	l.platform.Values, l.realm.Values = nil, nil
	keys := l.index(t)
	scheme := Scheme()
	scheme.New = func(d verifiers.Deps) (verifiers.Verifier, error) {
		v, err := newVerifier(d)
		return withKey{v, keys}, err
	}
	verifiertest.Run(t, scheme, verifiertest.Fixture{
		Name: "token", MediaType: tokenType, Evidence: m.token(t), Nonce: m.nonce(), Time: now, Before: now.AddDate(0, 0, -1), Want: verdict.TierWarning,
	})
}

func TestParameters(t *testing.T) {
	for _, p := range []Parameters{{}, {Nonce: "prefix", SignerIDs: SignersCompare}, {Nonce: NonceExact, SignerIDs: "none"}} {
		if p.Check() == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
	d := Policy()
	raw, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Parse(bytes.Replace(raw, []byte("nonce: exact"), []byte("nonce: padded"), 1))
	if err != nil || !strings.HasPrefix(p.ID(), "arm-cca:sha-256:") {
		t.Fatal(p, err)
	}
	if _, err := d.Parse(bytes.Replace(raw, []byte("nonce: exact"), []byte("nonce: prefix"), 1)); err == nil {
		t.Error("an unknown rule is accepted")
	}
}
