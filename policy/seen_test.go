// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

// assorted is a machine whose devices have claims that differ in many ways.
func assorted(t *testing.T) *verdict.Result {
	t.Helper()
	l := newLab(t)
	r := l.small()
	r.Components = r.Components[:1]
	for n, claims := range []map[string]any{
		{"a": map[string]any{"b": "good", "c": 1}, "d": true},
		{"a": map[string]any{"b": "good", "c": 2}, "d": true},
		{"a": map[string]any{"b": "bad"}},
		{"a": map[string]any{"c": 1}, "d": false},
		{"a": map[string]any{"b": nil}, "d": "true"},
		{"a": map[string]any{"b": []any{"good"}}},
		{"a": []any{map[string]any{"b": "good"}}},
		{"a": map[string]any{"b": map[string]any{"b": "good"}}},
		{"a": "good"},
		{},
		nil,
		{"a": map[string]any{"b": "good", "c": 1}, "d": true},
	} {
		a := good("nvidia-gpu")
		a.Claims = claims
		if n == 0 {
			a.Vector[verdict.Executables] = 33
		}
		r.Components = append(r.Components, l.component(fmt.Sprintf("gpu/%02d", n), "nvidia-gpu", a))
	}
	r.Components = append(r.Components, verdict.Component{Label: "nic"})
	r.Components[2].Reasons = []verdict.Reason{{Code: verdict.ReasonNoVerifier}}
	r.Outcome = verdict.Combine(r.Components, r.Caps)
	return r
}

// TestSeenIsAll: no rule finds anything else because the input has only what it can
// see.
func TestSeenIsAll(t *testing.T) {
	r := assorted(t)
	const each = `some label, _ in input.components; `
	found := map[string]int{}
	for name, body := range map[string]string{
		"a path":                   `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a.b == "good"`,
		"not a path":               `some label in input.schemes["nvidia-gpu"]; not input.components[label].claims.a.b == "good"`,
		"a path alone":             `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.d`,
		"not a path alone":         `some label in input.schemes["nvidia-gpu"]; not input.components[label].claims.d`,
		"a path to null":           `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a.b == null`,
		"every label":              `input.components[label].claims.a.b == "good"`,
		"one label":                `label := "gpu/02"; input.components["gpu/02"].claims.a.b == "bad"`,
		"an object":                `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a == {"b": "good", "c": 2}`,
		"an object and a part":     `some label in input.schemes["nvidia-gpu"]; count(input.components[label].claims.a) == 2; input.components[label].claims.a.c == 1`,
		"claims by a name":         `some label in input.schemes["nvidia-gpu"]; c := input.components[label].claims; c.a.b == "good"`,
		"claims that are counted":  `some label in input.schemes["nvidia-gpu"]; count(input.components[label].claims) == 2; input.components[label].claims.d`,
		"computed behind claims":   `some label in input.schemes["nvidia-gpu"]; input.components[label].claims[lower("A")].b == "good"`,
		"computed at the end":      `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a[lower("B")] == "good"`,
		"any at the end":           `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a[_] == "good"`,
		"in a list":                `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a[0].b == "good"`,
		"a component by a name":    `some label, c in input.components; c.claims.a.b == "good"`,
		"claims and other members": `some label in input.schemes["nvidia-gpu"]; input.components[label].claims.a.b == "good"; input.components[label].tier == "warning"`,
		"another member":           `input.components[label].scheme == "nvidia-gpu"`,
		"not another member":       each + `not input.components[label].verifier.kid`,
		"by a helper":              `some label in input.schemes["nvidia-gpu"]; help(label)`,
		"a text":                   `some label in input.tiers.warning`,
		"computed in an index":     `some label in input.tiers[lower("WARNING")]`,
		"all of an index":          `some tier, labels in input.tiers; tier != "affirming"; some label in labels`,
		"an index by a name":       `tiers := input.tiers; some label in tiers.none`,
		"a counted index":          `count(input.tiers) == 3; label := "cpu"`,
		"two of an index":          `some scheme in ["intel-tdx", ""]; some label in input.schemes[scheme]`,
		"a path of a way":          `input.session.node == "node-a"; some label in input.reasons["no-verifier"]`,
		"computed in the session":  `input.session[lower("NODE")] == "node-a"; label := "cpu"`,
		"all of the session":       `some _, v in input.session; v == "node-a"; label := "cpu"`,
		"a counted session":        `count(input.session) == 7; label := "cpu"`,
		"not simulated":            `input.session.simulated == false; input.session.time; label := "cpu"`,
		"in a comprehension":       `labels := [l | some l in input.schemes["nvidia-gpu"]; input.components[l].claims.a.b == "good"]; some label in labels`,
		"in every":                 `some label in input.classes.device; every b in [input.components[label].claims.a.b] { b == "good" }`,
		"the input by a name":      `everything := input; everything.components[label].claims.a.b == "good"`,
		"computed at the top":      `input[lower("COMPONENTS")][label].claims.a.b == "good"`,
	} {
		text := "package assize\n\ncomponent contains {\"label\": label, \"detail\": \"d\"} if { " + body + " }\n"
		if strings.Contains(body, "help(") {
			text += "\nhelp(label) if { c := input.components[label].claims.a; c.b == \"good\" }\n"
		}
		p, err := Load("seen", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		labels := func(need sections) map[string]bool {
			out, err := p.evaluate(t.Context(), p.component, input(r, need))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return nil
			}
			all, err := componentFindings(out[ruleComponent], r)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			found := map[string]bool{}
			for _, f := range all {
				found[string(f.Label)] = true
			}
			return found
		}
		got, want := labels(p.component.sections), labels(sections{input: &seen{all: true}, whole: true})
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
		found[name] = len(got)
	}
	for name, n := range found {
		if n == 0 {
			t.Errorf("%s: nothing is found, so that nothing is compared", name)
		}
	}
}

// TestManyPaths: a policy that names many claims has none of them made before it looks
// at them.
func TestManyPaths(t *testing.T) {
	var rules strings.Builder
	for n := range maxPaths {
		fmt.Fprintf(&rules, "component contains {\"label\": label, \"detail\": \"d\"} if input.components[label].claims.a%d\n", n)
	}
	for _, c := range []struct {
		text string
		all  bool
	}{
		{rules.String()[:strings.LastIndex(strings.TrimSpace(rules.String()), "\n")], false},
		{rules.String(), true},
	} {
		if got := mustLoad(t, c.text).component.sections.claims().all; got != c.all {
			t.Errorf("%d rules: %v", strings.Count(c.text, "contains"), got)
		}
	}
}

// TestHooksSeeTheirOwn: what one rule of a hook does not name another may.
func TestHooksSeeTheirOwn(t *testing.T) {
	p := mustLoad(t, `composite contains {"tier": "warning", "detail": label} if input.components[label].claims.a.b == "bad"
annotations[label] := "none" if { some label in input.tiers.none }
annotations.e := label if { input.components[label].claims.d == "true" }
`)
	d, err := p.Composite(t.Context(), assorted(t))
	if err != nil || len(d.Caps) != 1 || d.Caps[0].Reason.Detail != "gpu/02" || d.Annotations["e"] != "gpu/04" || d.Annotations["nic"] != "none" {
		t.Errorf("%+v %v", d, err)
	}
}
