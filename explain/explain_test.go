// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
)

// honest is an affirming verdict on two components that an application bound.
func honest() verdict.Document {
	part := func(scheme string) verdict.ComponentDocument {
		return verdict.ComponentDocument{
			Scheme: scheme, MediaType: "application/x", Required: true, Tier: verdict.TierAffirming,
			Verifier: &verdict.Signatory{Developer: "d", Build: "b", KID: "k"}, AppraisalPolicy: scheme,
			TrustVector: map[string]verdict.Claim{"hardware": 2}, Claims: map[string]any{}, Freshness: verdict.FreshnessFresh, Reasons: []verdict.Reason{},
		}
	}
	return verdict.Document{
		Verdict: verdict.Statement{Tier: verdict.TierAffirming, Reasons: []verdict.Reason{{Code: verdict.ReasonAsSubmitted, Detail: "as submitted"}}},
		Time:    "2026-11-21T12:00:00Z", Topology: "lead", Nonce: "AAECAwQFBgc=",
		Components: map[string]verdict.ComponentDocument{"cpu": part("intel-tdx"), "gpu/0": part("nvidia-gpu")},
		Bindings: []verdict.Binding{{
			From: "gpu/0", To: "cpu", Kind: "report-data-digest", Strength: "strong", Status: "bound", Origin: "application",
			Compared: "this with that", Expected: "aa", Observed: "aa",
		}},
	}
}

// with changes a component of a document.
func with(d verdict.Document, label string, change func(c *verdict.ComponentDocument)) verdict.Document {
	c := d.Components[label]
	change(&c)
	d.Components[label] = c
	return d
}

// of explains, and holds what comes out to the schema and to what is true of every
// explanation.
func of(tb testing.TB, d verdict.Document) Explanation {
	tb.Helper()
	e, err := Of(d)
	if err != nil {
		tb.Fatal(err)
	}
	check(tb, d, e)
	return e
}

var schema = sync.OnceValues(func() (*schemas.Schema, error) { return schemas.Load(schemas.Explanation) })

func check(tb testing.TB, d verdict.Document, e Explanation) {
	tb.Helper()
	raw, err := json.Marshal(e)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := schema()
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.ValidateJSON(raw); err != nil {
		tb.Errorf("%v\n%s", err, raw)
	}
	if again, err := Of(d); err != nil || !reflect.DeepEqual(again, e) {
		tb.Error("the same document has two explanations")
	}
	if len(e.Components) != len(d.Components) || len(e.Edges) != len(d.Bindings) {
		tb.Errorf("%d components and %d edges, of %d and %d", len(e.Components), len(e.Edges), len(d.Components), len(d.Bindings))
	}
	lists := [][]Cause{e.Causes}
	tiers := []verdict.Tier{e.Tier}
	for _, c := range e.Components {
		lists, tiers = append(lists, c.Causes), append(tiers, c.Tier)
		if len(c.Causes) != len(d.Components[c.Label].Reasons) {
			tb.Errorf("%s: %d causes of %d reasons", c.Label, len(c.Causes), len(d.Components[c.Label].Reasons))
		}
	}
	for i, list := range lists {
		for n, c := range list {
			if c.Costs.WorseThan(tiers[i]) || c.Blocking && (c.Costs != tiers[i] || tiers[i] == verdict.TierAffirming) {
				tb.Errorf("%+v in something %s", c, tiers[i])
			}
			if n > 0 && c.Costs.WorseThan(list[n-1].Costs) {
				tb.Errorf("%s costs more than what stands before it", c.Code)
			}
		}
	}
}

func TestHonest(t *testing.T) {
	e := of(t, honest())
	if e.Tier != verdict.TierAffirming || !strings.HasPrefix(e.Summary, "Affirming: all 2 component(s)") {
		t.Errorf("%s", e.Summary)
	}
	for _, words := range []string{"the software in cpu told the truth about gpu/0", "nothing is missing", "can be relayed"} {
		if !strings.Contains(strings.Join(e.Unproven, "\n"), words) {
			t.Errorf("%q lacks %q", e.Unproven, words)
		}
	}
	if x := e.Edges[0]; x.Remedy != "" || !strings.Contains(x.RestsOn, "software in cpu") || x.Compared != "this with that" || x.Expected != "aa" {
		t.Errorf("%+v", x)
	}
	d := honest()
	d.Nonce, d.VerificationTime, d.Bindings = "", "2025-01-01T00:00:00Z", nil
	d.Verdict.Reasons = []verdict.Reason{{Code: verdict.ReasonNonceBound}}
	with(d, "cpu", func(c *verdict.ComponentDocument) { c.Reasons = []verdict.Reason{{Code: verdict.ReasonExtraRoots}} })
	text := strings.Join(of(t, d).Unproven, "\n")
	for _, words := range []string{"evidence is new", "as of 2025-01-01", "a common challenge", "nothing ties them", "simulated machines"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q lacks %q", text, words)
		}
	}
}

// Every code of the list is explained with its own words, at the cost that it has,
// wherever it stands.
func TestEveryCode(t *testing.T) {
	list, err := schemas.Reasons()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range list {
		tier, err := verdict.ParseTier(r.Ceiling)
		if err != nil {
			t.Fatal(err)
		}
		if usual, err := verdict.ParseTier(r.Usual); err == nil {
			tier = verdict.Worst(tier, usual)
		}
		d := with(honest(), "gpu/0", func(c *verdict.ComponentDocument) {
			c.Tier, c.Reasons = tier, []verdict.Reason{{Code: r.Code, Detail: "found it", Expected: "01", Observed: "02"}}
		})
		d.Verdict = verdict.Statement{Tier: tier, Reasons: []verdict.Reason{{Code: verdict.ReasonComponentTier, Detail: "gpu/0: " + r.Ceiling}}}
		e := of(t, d)
		c := e.Components[0]
		if tier == verdict.TierAffirming {
			c = e.Components[1]
		}
		if c.Label != "gpu/0" || len(c.Causes) != 1 || len(e.Causes) != 0 {
			t.Fatalf("%s: %+v", r.Code, e)
		}
		got := c.Causes[0]
		if got.Costs != tier || got.Blocking != (tier != verdict.TierAffirming) || got.Meaning != r.Meaning || got.Remedy != r.RemedyIn("nvidia-gpu") ||
			got.Detail != "found it" || got.Expected != "01" || got.Observed != "02" || got.Source == "" {
			t.Errorf("%s: %+v", r.Code, got)
		}
	}
}

func TestCauses(t *testing.T) {
	d := with(honest(), "gpu/0", func(c *verdict.ComponentDocument) {
		c.Tier, c.TrustVector["executables"] = verdict.TierContraindicated, 96
		c.Reasons = []verdict.Reason{
			{Code: verdict.ReasonExtraRoots}, {Code: verdict.ReasonNoCollateral},
			{Code: verdict.ReasonMeasurementMismatch, Expected: "aa", Observed: "bb", Source: "manifest 1"},
			{Code: verdict.ReasonPolicyBad, Detail: "I said so"}, {Code: "news", Detail: "x"}, {Code: verdict.ReasonTimeout},
		}
	})
	d.Policy = &verdict.PolicyStatement{ID: "strict", Digest: strings.Repeat("0a", 32), Acceptable: verdict.TierAffirming}
	one := 1
	d.Requirements = []verdict.Requirement{
		{Label: "cpu", Source: verdict.SourcePolicy}, {Label: "nic", Exactly: &one, Source: verdict.SourceConfiguration},
	}
	d.Verdict = verdict.Statement{Tier: verdict.TierContraindicated, Reasons: []verdict.Reason{
		{Code: verdict.ReasonComponentTier, Detail: "gpu/0: contraindicated"}, {Code: verdict.ReasonComponentTier, Detail: "gone: none"},
		{Code: verdict.ReasonMissingComponent, Detail: "wanted", Expected: d.Requirements[1].String(), Observed: "0", Source: verdict.SourceConfiguration},
		{Code: verdict.ReasonAsSubmitted}, {Code: verdict.ReasonPolicyBad, Detail: "no"},
	}}
	e := of(t, d)
	var codes []string
	for _, c := range e.Components[0].Causes {
		codes = append(codes, c.Code+" "+c.Costs.String()+" "+c.Source)
	}
	if got, want := strings.Join(codes, "\n"), `measurement-mismatch contraindicated manifest 1
policy-contraindicated contraindicated policy strict
timeout none rules of the lead
no-collateral warning appraisal policy nvidia-gpu
news warning rules of the lead
extra-roots affirming appraisal policy nvidia-gpu`; got != want {
		t.Errorf("%s", got)
	}
	if !strings.Contains(e.Components[0].Summary, "2 reason(s)") || !strings.Contains(e.Components[0].Summary, "executables 96") {
		t.Errorf("%s", e.Components[0].Summary)
	}
	codes = nil
	for _, c := range e.Causes {
		codes = append(codes, c.Code)
	}
	if got := strings.Join(codes, " "); got != "policy-contraindicated missing-component component-tier completeness-as-submitted" {
		t.Errorf("%s", got)
	}
	if len(e.Requirements) != 2 || e.Requirements[0].Met || e.Requirements[0].Remedy == "" || !e.Requirements[1].Met || e.Requirements[1].Remedy != "" {
		t.Errorf("%+v", e.Requirements)
	}
	if e.Policy == nil || e.Policy.ID != "strict" || e.Policy.Accepted {
		t.Errorf("%+v", e.Policy)
	}
	if !strings.Contains(e.Summary, "Contraindicated because of 1 cause(s) about the whole and 1 component(s), gpu/0.") {
		t.Errorf("%s", e.Summary)
	}
}

// A lead caps with extra-roots where it was not told to take simulated machines:
// then nothing else explains the tier.
func TestExtraRootsThatCap(t *testing.T) {
	d := honest()
	d.Verdict = verdict.Statement{Tier: verdict.TierWarning, Reasons: []verdict.Reason{{Code: verdict.ReasonAsSubmitted}, {Code: verdict.ReasonExtraRoots, Expected: "none"}}}
	e := of(t, d)
	if c := e.Causes[0]; c.Code != verdict.ReasonExtraRoots || c.Costs != verdict.TierWarning || !c.Blocking || e.Causes[1].Blocking {
		t.Errorf("%+v", e.Causes)
	}
	with(d, "gpu/0", func(c *verdict.ComponentDocument) {
		c.Tier, c.Reasons = verdict.TierWarning, []verdict.Reason{{Code: verdict.ReasonNoCollateral}}
	})
	d.Verdict.Reasons[1].Expected = ""
	for _, c := range of(t, d).Causes {
		if c.Costs != verdict.TierAffirming {
			t.Errorf("%+v", c)
		}
	}
}

func TestEdges(t *testing.T) {
	for _, c := range []struct {
		status, strength, origin, rests string
		remedy                          bool
	}{
		{"bound", "strong", "hardware", "keys and signatures of hardware", false},
		{"bound", "strong", "measured", "cannot be taken back", false},
		{"bound", "strong", "application", "software in cpu", false},
		{"bound", "strong", "", "cryptographic commitment", false},
		{"bound", "nonce", "application", "not known to be good", true},
		{"bound", "nonce", "", "common challenge", true},
		{"bound", "none", "", "nothing that counts", true},
		{"broken", "none", "application", "does not match", true},
		{"absent", "none", "", "no commitment to compare", true},
	} {
		d := honest()
		d.Bindings = []verdict.Binding{{From: "gpu/0", To: "cpu", Kind: "k", Status: c.status, Strength: c.strength, Origin: c.origin}}
		x := of(t, d).Edges[0]
		if !strings.Contains(x.RestsOn, c.rests) || (x.Remedy != "") != c.remedy {
			t.Errorf("%+v: %+v", c, x)
		}
	}
	d := honest()
	weak := verdict.Binding{From: "gpu/0", To: "cpu", Kind: "common-nonce", Status: "absent", Strength: "none"}
	d.Bindings = append([]verdict.Binding{weak}, d.Bindings...)
	e := of(t, d)
	if e.Edges[0].Status != "absent" || e.Edges[0].Remedy != "" || !strings.Contains(e.Edges[0].RestsOn, "does not answer the challenge") {
		t.Errorf("a component that is bound otherwise: %+v", e.Edges[0])
	}
	d.Bindings[0].Expected, d.Bindings[0].Observed = "aa", "aa" // the device answers, and the CPU does not
	if e = of(t, d); !strings.Contains(e.Edges[0].RestsOn, "gpu/0 has the challenge, and that of cpu does not") {
		t.Errorf("%+v", e.Edges[0])
	}
	d.Bindings[1].Status, d.Bindings[1].Strength = "broken", "none"
	e = of(t, d)
	if e.Edges[0].Status != "broken" || !strings.Contains(e.Edges[1].Remedy, "one challenge") {
		t.Errorf("%+v", e.Edges)
	}
}

// A challenge that was a commitment is explained as one.
func TestCommitmentInTheChallenge(t *testing.T) {
	d := with(honest(), "cpu", func(c *verdict.ComponentDocument) {
		c.Tier = verdict.TierContraindicated
		c.Reasons = []verdict.Reason{{Code: verdict.ReasonNonceMismatch, Expected: "aa", Observed: "bb", Source: verdict.SourceChallenge}}
	})
	d.Verdict = verdict.Statement{Tier: verdict.TierContraindicated, Reasons: []verdict.Reason{{Code: verdict.ReasonBindingBroken}}}
	if c := of(t, d).Components[0].Causes[0]; c.Source != verdict.SourceChallenge {
		t.Errorf("%+v", c)
	}
	d.Bindings[0].Status, d.Bindings[0].Strength, d.Bindings[0].Expected, d.Bindings[0].Observed = "broken", "none", "aa", "bb"
	if c := of(t, d).Components[0].Causes[0]; !strings.Contains(c.Source, "report-data-digest") || !strings.Contains(c.Remedy, "two digests") {
		t.Errorf("%+v", c)
	}
}

func TestAbout(t *testing.T) {
	d := honest()
	d.Bindings = append(d.Bindings, verdict.Binding{From: "nic", To: "cpu", Kind: "k", Status: "absent", Strength: "none"})
	d.Interconnects = []verdict.Interconnect{{Tier: verdict.TierAffirming, Configuration: 3, Devices: []verdictPath{"gpu/0"}}}
	e := of(t, d)
	one, ok := e.About("gpu/0")
	if !ok || len(one.Components) != 1 || len(one.Edges) != 1 || len(one.Interconnects) != 1 || len(e.Components) != 2 || len(e.Edges) != 2 {
		t.Errorf("%+v", one)
	}
	if one, ok = e.About("cpu"); !ok || len(one.Edges) != 2 || one.Interconnects != nil || len(e.Interconnects) != 1 {
		t.Errorf("%+v", one)
	}
	if _, ok := e.About("gpu"); ok {
		t.Error("gpu is no component")
	}
}
