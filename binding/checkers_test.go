// SPDX-License-Identifier: Apache-2.0

package binding

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// TestDocumentedCheckers: docs/binding.md has the table of all checkers.
func TestDocumentedCheckers(t *testing.T) {
	var b strings.Builder
	seen := map[string]bool{}
	for _, c := range Checkers() {
		if seen[c.Kind] || c.Needs == "" || c.Origin == "" || c.Compares == "" || c.find == nil ||
			!slices.Contains([]string{StrengthStrong, StrengthNonce, StrengthNone}, c.Strength) {
			t.Errorf("%+v", c)
		}
		seen[c.Kind] = true
		direction := "→"
		if c.Mutual {
			direction = "↔"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", c.Kind, direction, c.Strength, c.Origin, c.Needs, c.Compares)
	}
	const file = "../docs/binding.md"
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- checkers -->\n", "<!-- end -->"
	head, rest, ok := strings.Cut(string(raw), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("no table")
	}
	want := "| Kind | | Strength | Origin | What it needs | What is compared |\n|---|---|---|---|---|---|\n" + b.String()
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !strings.Contains(string(raw), begin+want+end) {
		t.Error("docs/binding.md is not what there is: run UPDATE_DOCS=1 go test ./binding -run TestDocumentedCheckers")
	}
}

// randomParts makes a random composite without contradictions.
func randomParts(t testing.TB, r *rand.Rand) []func(change func(*verdict.Appraisal)) verdict.Component {
	t.Helper()
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	origin := func() string { return pick(OriginApplication, OriginMeasured, OriginHardware) }
	claim := func() verdict.Claim {
		return []verdict.Claim{verdict.ClaimApproved, verdict.ClaimApproved, verdict.ClaimUnrecognized}[r.IntN(3)]
	}
	make1 := func(label, class, scheme, rule string, f verdict.Freshness, fill func(*verdict.Appraisal)) func(func(*verdict.Appraisal)) verdict.Component {
		return func(change func(*verdict.Appraisal)) verdict.Component {
			c := partWith(t, label, class, rule, f, func(a *verdict.Appraisal) { fill(a); change(a) })
			c.Scheme = scheme
			return c
		}
	}
	fresh := func() verdict.Freshness {
		return []verdict.Freshness{isFresh, isFresh, open}[r.IntN(3)]
	}
	cpu, tpm, names := claim(), claim(), []string{"app", "gpu", "nic", "tpm", "switch"}
	var keys []verdict.CommittedKey
	var digests []verdict.Commitment
	for _, n := range names {
		if r.IntN(2) == 0 {
			keys = append(keys, verdict.CommittedKey{SPKI: keyOf(n), Via: pick("public-key", "realm"), Origin: origin()})
		}
		if r.IntN(2) == 0 {
			digests = append(digests, measures(n, evidenceOf(n), origin()))
		}
	}
	byTPM, platform := measures("app", evidenceOf("app"), origin()), "intel-platform:01"
	tpmKey := verdict.CommittedKey{SPKI: keyOf("app"), Via: "creation", Origin: origin()}
	out := []func(func(*verdict.Appraisal)) verdict.Component{
		make1("app", "", "dmtf-spdm", "shake256/32", fresh(), func(a *verdict.Appraisal) { a.Facts.SignerSPKI = keyOf("app") }),
		make1("cpu", "cpu-tee", "intel-tdx", pick("same", "cmw-bind-v1", "trustee-jcs"), fresh(), func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables], a.Facts.Keys, a.Facts.Commitments, a.Facts.Device = cpu, keys, digests, []string{platform}
		}),
		make1("gpu", "device", schemeGPU, "same", fresh(), func(a *verdict.Appraisal) {
			a.Facts.SignerSPKI, a.Facts.Device, a.Facts.Peers = keyOf("gpu"), []string{"p:gpu"}, []string{"p:switch"}
		}),
		make1("nic", "device", "dmtf-spdm", "same", fresh(), func(a *verdict.Appraisal) {
			a.Facts.SignerSPKI, a.Facts.ChainKeys = keyOf("nic"), []string{keyOf("app")}
		}),
		make1("switch", "device", schemeSwitch, "same", fresh(), func(a *verdict.Appraisal) {
			a.Facts.SignerSPKI, a.Facts.Device, a.Facts.Peers = keyOf("switch"), []string{"p:switch"}, []string{"p:gpu"}
		}),
		make1("tpm", "device", schemeTPM, "same", fresh(), func(a *verdict.Appraisal) {
			a.Vector[verdict.Executables], a.Facts.SignerSPKI = tpm, keyOf("tpm")
			a.Facts.Keys, a.Facts.Commitments = []verdict.CommittedKey{tpmKey}, []verdict.Commitment{byTPM}
		}),
	}
	if r.IntN(2) == 0 {
		out = slices.Insert(out, 2, make1("enclave", "cpu-tee", "intel-sgx", "same", fresh(), func(a *verdict.Appraisal) { a.Facts.Device = []string{platform} }))
	}
	return out
}

// keyOf is the digest of the key of a component.
func keyOf(label string) string { return evidenceOf("key of " + label) }

// strongEdges are those that join something.
func strongEdges(list []verdict.Binding) map[string]bool {
	out := map[string]bool{}
	for _, e := range list {
		if e.Strength == StrengthStrong && e.Status == StatusBound {
			out[string(e.From)+" "+string(e.To)+" "+e.Kind] = true
		}
	}
	return out
}

// TestCheckIsMonotone: whatever gets worse about one component – a claim, its
// freshness, facts that are gone, a policy that lowers it – no strong edge appears
// that was not there, and the whole gets no better; and every edge says what was compared.
func TestCheckIsMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	lead := &verdict.LeadSignature{SPKI: keyOf("app"), Thumbprint: "t"}
	kinds := map[string]int{}
	for range 100 {
		makers := randomParts(t, r)
		list := func(at int, change func(*verdict.Appraisal)) []verdict.Component {
			var out []verdict.Component
			for i, m := range makers {
				if i != at {
					out = append(out, m(func(*verdict.Appraisal) {}))
					continue
				}
				out = append(out, m(change))
			}
			return out
		}
		in := Input{Components: list(-1, nil), Lead: lead}
		before, caps1 := Check(in)
		for _, e := range before {
			if kinds[e.Kind+" "+e.Strength]++; e.Compared == "" || e.Status == StatusBound && e.Strength != StrengthNone && (e.Expected == "" || e.Expected != e.Observed) {
				t.Fatalf("%+v", e)
			}
		}
		at := r.IntN(len(makers))
		worse := []func(*verdict.Appraisal){
			func(a *verdict.Appraisal) { a.Vector[verdict.Executables] = verdict.ClaimUnrecognized },
			func(a *verdict.Appraisal) {
				if a.Vector[verdict.Executables] == verdict.ClaimApproved { // silence is no worse than a bad word
					a.Vector[verdict.Executables] = verdict.ClaimNone
				}
			},
			func(a *verdict.Appraisal) { a.Vector[verdict.Hardware] = verdict.ClaimContraindicate },
			func(a *verdict.Appraisal) { a.Freshness = open },
			func(a *verdict.Appraisal) { a.Freshness, a.NonceSeen = stale, []byte("x") },
			func(a *verdict.Appraisal) { a.Facts.Keys = nil },
			func(a *verdict.Appraisal) { a.Facts.Commitments = nil },
			func(a *verdict.Appraisal) { a.Facts.SignerSPKI = "" },
			func(a *verdict.Appraisal) { a.Facts.Peers = nil },
			func(a *verdict.Appraisal) { a.Facts.Device = nil },
			func(a *verdict.Appraisal) { a.Facts = verdict.Facts{} },
		}[r.IntN(11)]
		for name, next := range map[string]Input{
			"worse":       {Components: list(at, worse), Lead: lead},
			"unsigned":    {Components: in.Components},
			"other lead":  {Components: in.Components, Lead: &verdict.LeadSignature{SPKI: keyOf("nobody"), Thumbprint: "t"}},
			"by a policy": {Components: lowered(in.Components, at), Lead: lead},
			"by another":  {Components: doubted(list(at, worse), in.Components, at), Lead: lead},
			"unanswered":  {Components: unansweredAt(in.Components, at), Lead: lead},
		} {
			after, caps2 := Check(next)
			had := strongEdges(before)
			for e := range strongEdges(after) {
				if !had[e] {
					t.Errorf("%s: %s is new, among %s", name, e, in.Components[at].Label)
				}
			}
			if t1, t2 := verdict.Combine(in.Components, caps1).Tier, verdict.Combine(next.Components, caps2).Tier; t1.WorseThan(t2) {
				t.Errorf("%s of %s: %s became %s: %v, %v", name, in.Components[at].Label, t1, t2, caps1, caps2)
			}
		}
	}
	for _, kind := range []string{KindReportData, KindAttestedKey, KindMeasuredEvent, KindLeadSignature, KindKeyChain, KindInterconnect, KindPlatform} {
		if kinds[kind+" "+StrengthStrong] == 0 {
			t.Errorf("no strong edge %s in all: %v", kind, kinds)
		}
	}
}

func lowered(list []verdict.Component, at int) []verdict.Component {
	out := slices.Clone(list)
	out[at].Lowered[verdict.Executables] = verdict.ClaimUnsafe
	return out
}

// doubted gives a component two verifiers, of which one says something worse.
func doubted(worse, good []verdict.Component, at int) []verdict.Component {
	out := slices.Clone(good)
	scheme := out[at].Scheme
	out[at] = together(good[at], worse[at])
	out[at].Scheme = scheme
	return out
}

func unansweredAt(list []verdict.Component, at int) []verdict.Component {
	out := slices.Clone(list)
	out[at].Partial = verdict.Partial{}
	return out
}

// TestSecurityManagerOfAnotherCPU: what the security manager of a machine of another
// kind says of a device is said of another device.
func TestSecurityManagerOfAnotherCPU(t *testing.T) {
	for _, c := range []struct{ host, root, want string }{
		{"arm-cca", "arm-cca", "nic:cpu:tsm-digest:strong:bound"}, {"", "arm-cca", "nic:cpu:tsm-digest:strong:bound"},
		{"arm-cca", "intel-tdx", "nic:cpu:tsm-digest:none:broken"}, {"amd-snp", "intel-tdx", "nic:cpu:tsm-digest:none:broken"},
	} {
		cpu := holder(t, "same", verdict.ClaimApproved, OriginMeasured, "nic "+certs+"=A", "nic "+tsm+"=T")
		cpu.Scheme = c.root
		nic := partWith(t, "nic", "device", "same", isFresh, func(a *verdict.Appraisal) {
			a.Facts = tdi(t, "nic", certs+"=A", tsm+"=T").Partial.Appraisal().Facts
			a.Facts.Host = c.host
		})
		parts := []verdict.Component{cpu, nic}
		list, k := Check(Input{Components: parts})
		e := ofKind(list, KindTSM)
		if edges(e) != c.want {
			t.Errorf("%s beside %s: %s", c.host, c.root, edges(e))
		}
		if _, open := Unauthenticated(parts)["nic"]; open != (e[0].Status == StatusBroken) {
			t.Errorf("%s beside %s: vouched for: %t", c.host, c.root, !open)
		}
		if e[0].Status == StatusBroken && (k[0].Reason.Expected != c.root || k[0].Reason.Observed != c.host || caps(k) != "contraindicated:binding-broken warning:unbound-component") {
			t.Errorf("%+v", k)
		}
	}
}

// TestReasonsNameBoth: a commitment that does not hold names the digest that was
// expected, the one that was seen, and where the expectation comes from.
func TestReasonsNameBoth(t *testing.T) {
	gpu := part(t, "gpu", "device", "same", isFresh)
	cpu := partWith(t, "cpu", "cpu-tee", evidence.CommitmentRule, stale, func(a *verdict.Appraisal) { a.NonceSeen = []byte("something else") })
	nic := tdi(t, "nic", certs+"=A", report+"=R")
	holds := holder(t, "same", verdict.ClaimApproved, OriginMeasured, "nic "+certs+"=A", "nic "+report+"=X")
	var links []verdict.Component
	for label, peer := range map[string]string{"gpu": "p:switch", "switch": "p:other"} {
		links = append(links, partWith(t, label, "device", "same", isFresh, func(a *verdict.Appraisal) {
			a.Facts.Device, a.Facts.Peers = []string{"p:" + label}, []string{peer}
		}))
	}
	slices.SortFunc(links, func(a, b verdict.Component) int { return strings.Compare(string(a.Label), string(b.Label)) })
	for name, c := range map[string]struct {
		parts              []verdict.Component
		expected, observed string
	}{
		"report data": {[]verdict.Component{cpu, gpu}, fmt.Sprintf("%x", nonce), fmt.Sprintf("%x", "something else")},
		"TDISP":       {[]verdict.Component{holds, nic}, digestText("X"), digestText("R")},
		"links":       {links, "p:gpu", "p:other"},
	} {
		list, k := Check(Input{Components: c.parts})
		if r := k[0].Reason; r.Code != verdict.ReasonBindingBroken || r.Expected != c.expected || r.Observed != c.observed || r.Source == "" {
			t.Errorf("%s: %+v", name, r)
		}
		i := slices.IndexFunc(list, func(e verdict.Binding) bool { return e.Status == StatusBroken })
		if e := list[max(i, 0)]; e.Expected != c.expected || e.Observed != c.observed || e.Compared == "" {
			t.Errorf("%s: %+v", name, e)
		}
	}
}
