// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// everything is what a policy sees that names all there is.
func everything(t *testing.T, r *verdict.Result) map[string]any {
	t.Helper()
	names := map[string]bool{inClaims: true}
	for _, m := range members {
		names[m.name] = true
	}
	raw := input(r, sections{input: &seen{all: true}, names: names}).Value.String()
	var out map[string]any
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestInput(t *testing.T) {
	l := newLab(t)
	r := l.small()
	a := good("nvidia-gpu")
	a.Claims = map[string]any{"driver": "570"}
	a.Vector[verdict.Executables] = 33
	a.Fail(verdict.ReasonExtraRoots, "x")
	gpu := l.component("gpu/0", "nvidia-gpu", a)
	gpu.Required = false
	gpu.Lowered[verdict.Hardware] = 32
	gpu.Reasons = []verdict.Reason{{Code: verdict.ReasonReportUnauthenticated, Detail: "y"}}
	r.Components[1] = gpu
	r.Components = append(r.Components, verdict.Component{Label: "nic", Required: true, Reasons: []verdict.Reason{{Code: verdict.ReasonNoVerifier}}})
	one := 1
	r.Requirements = []verdict.Requirement{{Label: "gpu/*", Exactly: &one, Source: verdict.SourcePolicy}}
	r.Interconnects = []verdict.Interconnect{{Tier: verdict.TierWarning, Configuration: 32, Devices: []evidence.Path{"gpu/0"}, Unattested: []string{"x:1"}}}
	r.Caps = []verdict.Cap{{Tier: verdict.TierWarning, Reason: verdict.Reason{Code: "c", Detail: "d"}}}
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	in := everything(t, r)
	who, kid := gpu.Partial.Verifier()
	want := map[string]any{
		"session": map[string]any{
			"id": r.Session, "time": "2026-11-22T12:00:00Z", "time_overridden": false, "nonce_given": true, "topology": r.Topology, "node": "node-a", "simulated": true,
		},
		"schemes":  map[string]any{"intel-tdx": []any{"cpu"}, "nvidia-gpu": []any{"gpu/0"}, "": []any{"nic"}},
		"classes":  map[string]any{"cpu-tee": []any{"cpu"}, "device": []any{"gpu/0"}, "": []any{"nic"}},
		"tiers":    map[string]any{"affirming": []any{"cpu"}, "warning": []any{"gpu/0"}, "none": []any{"nic"}},
		"reasons":  map[string]any{verdict.ReasonExtraRoots: []any{"gpu/0"}, verdict.ReasonReportUnauthenticated: []any{"gpu/0"}, verdict.ReasonNoVerifier: []any{"nic"}},
		"optional": []any{"gpu/0"}, "tier": "none", "caps": []any{map[string]any{"tier": "warning", "code": "c", "detail": "d"}},
		"bindings": []any{
			map[string]any{"from": "gpu/0", "to": "cpu", "kind": "common-nonce", "strength": "nonce", "status": "bound", "origin": ""},
			map[string]any{"from": "gpu/0", "to": "cpu", "kind": "tsm-digest", "strength": "strong", "status": "bound", "origin": "hardware"},
		},
		"bound": map[string]any{
			"gpu/0": map[string]any{"strength": "strong", "origin": "hardware", "via": []any{"tsm-digest"}},
			"nic":   map[string]any{"strength": "none", "origin": "", "via": []any{}},
		},
		"ways":          map[string]any{"strong hardware": []any{"gpu/0"}, "none": []any{"nic"}},
		"interconnects": []any{map[string]any{"tier": "warning", "configuration": 32.0, "devices": []any{"gpu/0"}, "switches": []any{}, "unattested": []any{"x:1"}, "reasons": []any{}}},
		"requirements":  []any{map[string]any{"label": "gpu/*", "scheme": "", "exactly": 1.0, "optional": false, "source": "policy"}},
	}
	for name, v := range want {
		if !reflect.DeepEqual(in[name], v) {
			t.Errorf("%s\n got %v\nwant %v", name, in[name], v)
		}
	}
	if len(in) != len(want)+1 {
		t.Errorf("%d members", len(in))
	}
	parts := in["components"].(map[string]any)
	if got, want := parts["gpu/0"], (map[string]any{
		"tier": "warning", "scheme": "nvidia-gpu", "class": "device", "media_type": "application/vnd.example", "required": false, "freshness": "fresh", "nonce_rule": "same",
		"trust_vector": map[string]any{"instance-identity": 2.0, "configuration": 36.0, "executables": 33.0, "hardware": 32.0},
		"claims":       map[string]any{"driver": "570"}, "appraisal_policy": "assize:nvidia-gpu:1", "reference_revision": strings.Repeat("ab", 32),
		"reasons":  []any{map[string]any{"code": verdict.ReasonExtraRoots, "detail": "x"}, map[string]any{"code": verdict.ReasonReportUnauthenticated, "detail": "y"}},
		"verifier": map[string]any{"developer": who.Developer, "build": who.Build, "kid": kid},
	}); !reflect.DeepEqual(got, want) {
		t.Errorf("gpu/0\n got %v\nwant %v", got, want)
	}
	if nic := parts["nic"].(map[string]any); nic["verifier"] != nil || nic["freshness"] != "not-established" || nic["tier"] != "none" || len(nic["claims"].(map[string]any)) != 0 {
		t.Errorf("nic %v", nic)
	}
}

// TestDocumented: docs/policies.md names every member of the input, every function
// and every policy of the library.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/policies.md")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile("[a-z][a-z0-9_.-]*").FindAllString(string(text), -1)
	need := append(Names(), pure...)
	for name := range guarded() {
		need = append(need, name)
	}
	var collect func(v any)
	collect = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				if !strings.ContainsAny(name, "/ ") {
					need = append(need, name)
				}
				collect(member)
			}
		case []any:
			for _, x := range v {
				collect(x)
			}
		}
	}
	in := everything(t, newLab(t).hgx())
	for _, index := range []string{"schemes", "classes", "tiers", "reasons"} {
		in[index] = nil
	}
	delete(in["components"].(map[string]any), "cpu")
	for _, c := range in["components"].(map[string]any) {
		c.(map[string]any)["claims"], c.(map[string]any)["trust_vector"] = nil, nil
	}
	collect(in)
	for _, name := range need {
		if !slices.Contains(words, name) && !strings.HasPrefix(name, "internal.") {
			t.Errorf("docs/policies.md does not name %s", name)
		}
	}
}

func TestWays(t *testing.T) {
	edge := func(from, to, kind, strength, status, origin string) verdict.Binding {
		return verdict.Binding{From: evidence.Path(from), To: evidence.Path(to), Kind: kind, Strength: strength, Status: status, Origin: origin}
	}
	parts := func(labels ...string) (out []verdict.Component) {
		for _, l := range labels {
			c := verdict.Component{Label: evidence.Path(l), Class: verdict.ClassDevice}
			if strings.HasPrefix(l, "cpu") {
				c.Class = verdict.ClassCPU
			}
			out = append(out, c)
		}
		return out
	}
	for name, c := range map[string]struct {
		edges []verdict.Binding
		want  way
	}{
		"no edge":             {nil, way{strength: "none"}},
		"absent":              {[]verdict.Binding{edge("a", "cpu", "k", "strong", "absent", "hardware")}, way{strength: "none"}},
		"broken":              {[]verdict.Binding{edge("a", "cpu", "k", "strong", "broken", "hardware")}, way{strength: "none"}},
		"no strength":         {[]verdict.Binding{edge("a", "cpu", "k", "none", "bound", "hardware")}, way{strength: "none"}},
		"odd strength":        {[]verdict.Binding{edge("a", "cpu", "k", "great", "bound", "hardware")}, way{strength: "none"}},
		"odd origin":          {[]verdict.Binding{edge("a", "cpu", "k", "strong", "bound", "god")}, way{strength: "none"}},
		"strangers":           {[]verdict.Binding{edge("a", "x", "k", "strong", "bound", "hardware"), edge("x", "cpu", "k", "strong", "bound", "hardware")}, way{strength: "none"}},
		"one":                 {[]verdict.Binding{edge("a", "cpu", "k", "strong", "bound", "measured")}, way{"strong", "measured", []string{"k"}}},
		"the other way round": {[]verdict.Binding{edge("cpu", "a", "k", "strong", "bound", "")}, way{strength: "none"}},
		"both ways":           {[]verdict.Binding{edge("cpu", "a", "same-platform", "strong", "bound", "hardware")}, way{"strong", "hardware", []string{"same-platform"}}},
		"what it vouches for": {[]verdict.Binding{edge("b", "a", "k", "strong", "bound", "hardware"), edge("b", "cpu", "y", "strong", "bound", "hardware")}, way{strength: "none"}},
		"no better by what it vouches for": {[]verdict.Binding{edge("b", "a", "x", "strong", "bound", "hardware"), edge("b", "cpu", "y", "strong", "bound", "hardware"), edge("a", "cpu", "r", "strong", "bound", "application")},
			way{"strong", "application", []string{"r"}}},
		"strong before hardware": {[]verdict.Binding{edge("a", "cpu", "n", "nonce", "bound", "hardware"), edge("a", "cpu", "s", "strong", "bound", "application")},
			way{"strong", "application", []string{"s"}}},
		"hardware before short": {[]verdict.Binding{edge("a", "b", "x", "strong", "bound", "hardware"), edge("a", "cpu", "r", "strong", "bound", "application"), edge("b", "cpu", "y", "strong", "bound", "hardware")},
			way{"strong", "hardware", []string{"x", "y"}}},
		"the weakest on the path": {[]verdict.Binding{edge("a", "b", "x", "strong", "bound", "hardware"), edge("b", "cpu", "y", "strong", "bound", "application")},
			way{"strong", "application", []string{"x", "y"}}},
		"over a nonce": {[]verdict.Binding{edge("a", "b", "x", "strong", "bound", "hardware"), edge("b", "cpu", "y", "nonce", "bound", "")},
			way{"nonce", "", []string{"x", "y"}}},
	} {
		if got := ways(parts("a", "b", "cpu"), c.edges, true)[0]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	all := []verdict.Binding{edge("a", "cpu", "k", "strong", "bound", "hardware")}
	for _, labels := range [][]string{{"a", "b"}, {"a", "cpu", "cpu2"}} {
		for i, w := range ways(parts(labels...), all, true) {
			if w.strength != "none" {
				t.Errorf("%v: without a single root %s is bound: %+v", labels, labels[i], w)
			}
		}
	}
}

// TestComputedNames: a rule that comes to a member of a component by a name that it
// has put together, or by looking at all of them, finds it.
func TestComputedNames(t *testing.T) {
	l := newLab(t)
	r := l.small()
	a := good("nvidia-gpu")
	a.Vector[verdict.Executables] = 33
	r.Components[1] = l.component("gpu/0", "nvidia-gpu", a)
	who, _ := r.Components[1].Partial.Verifier()
	for name, body := range map[string]string{
		"a name in a text":      `every name in split("sche-me", "@") { input.components["gpu/0"][replace(name, "-", "")] == "nvidia-gpu" }`,
		"a name of two words":   `input.components["gpu/0"][concat("", ["ti", "er"])] == "warning"`,
		"a function":            `object.get(input.components["gpu/0"], concat("_", ["trust", "vector"]), {})[concat("", ["execu", "tables"])] == 33`,
		"all members":           `some value in input.components["gpu/0"]; value == "nvidia-gpu"`,
		"whatever is a member":  `"nvidia-gpu" in input.components["gpu/0"]`,
		"the claims":            `input.components["gpu/0"][concat("", ["cl", "aims"])][concat("", ["measurement", "-00"])].match`,
		"an object of a member": `input.components["gpu/0"][concat("", ["veri", "fier"])][concat("", ["bui", "ld"])] == "` + who.Build + `"`,
		"a truth":               `input.components["gpu/0"][concat("", ["requ", "ired"])]`,
		"a number of members":   `count(input.components["gpu/0"]) == 13`,
		"by way of a helper":    `c := input.components[label]; c[concat("", ["fresh", "ness"])] == "fresh"; label == "gpu/0"`,
	} {
		p, err := Load("computed", []byte("package assize\n\ncomponent contains {\"label\": \"gpu/0\", \"tier\": \"none\", \"detail\": \"d\"} if { "+body+" }\n"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if found, err := p.Components(t.Context(), r); err != nil || len(found) != 1 {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
}
