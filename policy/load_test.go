// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/assize/assize/verdict"
)

const remark = `composite contains {"tier": "affirming", "detail": "d"}` + "\n"

func TestLoadRefuses(t *testing.T) {
	deep := strings.Repeat("[", 300) + strings.Repeat("]", 300)
	cases := map[string]struct{ text, want string }{
		"nothing":            {"", "empty"},
		"no Rego":            {"package assize\n}{", "rego_parse_error"},
		"another package":    {"package other\n" + remark, "package"},
		"a package below":    {"package assize.x\n" + remark, "package"},
		"two packages":       {"package assize\n" + remark + "package assize\n", "rego_parse_error"},
		"no rule":            {"package assize", "none of the rules"},
		"no known rule":      {"package assize\nx := 1", "none of the rules"},
		"a misspelt hook":    {"package assize\n" + remark + `components contains {"label": "x"}`, "rule components is none of"},
		"an unused rule":     {"package assize\n" + remark + "deny := true", "rule deny is none of"},
		"an import of data":  {"package assize\nimport data.x\n" + remark, "import"},
		"an import of input": {"package assize\nimport input.session\n" + remark, "import"},
		"future keywords":    {"package assize\nimport future.keywords.in\n" + remark, "import"},
		"a document":         {"package assize\n" + remark + "annotations.x := data.x", "data"},
		"all documents":      {"package assize\n" + remark + "annotations.x := sprintf(\"%v\", [data])", "data"},
		"its own rules":      {"package assize\n" + remark + "annotations.x := data.assize.y", "data"},
		"with":               {"package assize\ncomposite contains {\"tier\": \"affirming\", \"detail\": x} if { x := input.tier with input as {} }", "with"},
		"print":              {"package assize\ncomposite contains {\"tier\": \"affirming\", \"detail\": \"d\"} if { print(input) }", "print"},
		"a template string":  {"package assize\ncomposite contains {\"tier\": \"affirming\", \"detail\": $\"{input.tier}\"}", "template strings"},
		"deep nesting":       {"package assize\n" + remark + "annotations.x := " + deep, "depth"},
		"too long":           {"package assize\n" + remark + "#" + strings.Repeat("x", MaxText), "at most"},
		"recursion":          {"package assize\ncomposite contains x if { some x in composite }", "recursive"},
		"a set as a rule":    {"package assize\ncomposite := {\"tier\": \"affirming\", \"detail\": \"d\"}", "form"},
		"a hook as function": {"package assize\ncomponent(x) := x", "form"},
		"annotations as set": {"package assize\nannotations contains \"x\"", "form"},
		"deep annotations":   {"package assize\nannotations.x.y := \"z\"", "form"},
		"a default hook":     {"package assize\ndefault annotations := {}", "form"},
		"acceptable as set":  {"package assize\nacceptable contains \"warning\"", "form"},
		"a builtin's name":   {"package assize\n" + remark + "count := 1", "built-in"},
		"a guard's name":     {"package assize\n" + remark + "assize_guarded := 1", "built-in"},
		"a guard":            {"package assize\nannotations.x := assize_guarded.lower(\"X\") if assize_guarded", ""},
		"an unknown claim":   {"package assize\ncomponent contains {\"label\": \"cpu\", \"claims\": {\"executable\": 33}, \"detail\": \"d\"}", "executable"},
		"a good value":       {"package assize\ncomponent contains {\"label\": \"cpu\", \"claims\": {\"executables\": 2}, \"detail\": \"d\"}", "lowers"},
		"an unknown value":   {"package assize\ncomponent contains {\"label\": \"cpu\", \"claims\": {\"executables\": 34}, \"detail\": \"d\"}", "lowers"},
		"another's value":    {"package assize\ncomponent contains {\"label\": \"cpu\", \"claims\": {\"hardware\": 33}, \"detail\": \"d\"}", "lowers"},
		"a fraction":         {"package assize\ncomponent contains {\"label\": \"cpu\", \"claims\": {\"executables\": 33.5}, \"detail\": \"d\"}", "lowers"},
		"an unknown tier":    {"package assize\ncomposite contains {\"tier\": \"warn\", \"detail\": \"d\"}", "tier"},
		"a tier in a helper": {"package assize\ncomposite contains f\nf := {\"tier\": \"good\", \"detail\": \"d\"}", "tier"},
		"an unknown member":  {"package assize\ncomponent contains {\"lable\": \"cpu\", \"detail\": \"d\"}", "lable"},
		"claims of a whole":  {"package assize\ncomposite contains {\"tier\": \"warning\", \"claims\": {}, \"detail\": \"d\"}", "claims"},
		"a seen requirement": {"package assize\nrequire contains {\"label\": l} if some l, _ in input.components", "must not see"},
		"seen by a helper":   {"package assize\nrequire contains {\"label\": l} if some l in x\nx := {l | some l in input.y}", "must not see"},
		"a seen relaxation":  {"package assize\naccept contains \"unbound-component\" if input.tier", "must not see"},
		"seen tier":          {"package assize\nacceptable := input.tier", "must not see"},
		"another relaxation": {"package assize\naccept contains \"nonce-not-established\"", "relaxed"},
		"a number to accept": {"package assize\naccept contains 1", "relaxed"},
		"accept the bad":     {"package assize\nacceptable := \"contraindicated\"", "neither"},
		"accept nothing":     {"package assize\nacceptable := \"warning\" if 1 == 2", "undefined"},
		"an empty demand":    {"package assize\nrequire contains {\"exactly\": 1}", "neither label nor scheme"},
		"a demand in words":  {"package assize\nrequire contains \"gpu/*\"", "no object"},
		"both numbers":       {"package assize\nrequire contains {\"label\": \"gpu\", \"exactly\": 1, \"at_least\": 1}", "both"},
		"a negative number":  {"package assize\nrequire contains {\"label\": \"gpu\", \"exactly\": -1}", "outside"},
		"half a component":   {"package assize\nrequire contains {\"label\": \"gpu\", \"exactly\": 0.5}", "no number"},
		"a partial star":     {"package assize\nrequire contains {\"label\": \"gpu*\"}", "pattern"},
		"an empty label":     {"package assize\nrequire contains {\"label\": \"gpu//0\"}", "pattern"},
		"no scheme":          {"package assize\nrequire contains {\"scheme\": \"NVIDIA\"}", "scheme"},
		"perhaps optional":   {"package assize\nrequire contains {\"label\": \"gpu\", \"optional\": 1}", "optional"},
		"a type error":       {"package assize\nannotations.x := \"a\" if 1 + \"b\"", "rego_type_error"},
		"an unsafe variable": {"package assize\nannotations.x := y", "unsafe"},
		"static error":       {"package assize\nrequire contains {\"label\": sprintf(\"%9999d\", [1])}", "digits"},
	}
	for name, c := range cases {
		_, err := Load("test", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "panic") {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for _, id := range []string{"", "A", "a_b", "-a", strings.Repeat("a", 65)} {
		if _, err := Load(id, []byte("package assize\n"+remark)); err == nil {
			t.Errorf("%q is a name", id)
		}
	}
}

func TestLoad(t *testing.T) {
	p := mustLoad(t, `import rego.v1
require contains {"label": "gpu/*", "scheme": "nvidia-gpu", "exactly": 8}
require contains {"scheme": "tcg-tpm", "optional": true}
accept contains "unbound-component"
acceptable := "warning"
`+remark)
	eight := 8
	want := []verdict.Requirement{
		{Label: "*", Scheme: "tcg-tpm", Optional: true, Source: verdict.SourcePolicy},
		{Label: "gpu/*", Scheme: "nvidia-gpu", Exactly: &eight, Source: verdict.SourcePolicy},
	}
	if got := p.Requirements(); !reflect.DeepEqual(got, want) {
		t.Errorf("requirements %v, want %v", got, want)
	}
	*p.Requirements()[1].Exactly = 1
	if got := p.Requirements(); !reflect.DeepEqual(got, want) {
		t.Errorf("requirements changed to %v", got)
	}
	s := p.Statement()
	if s.ID != "test" || len(s.Digest) != 64 || !slices.Equal(s.Accepts, []string{"unbound-component"}) || s.Acceptable != verdict.TierWarning || s.Accepted {
		t.Errorf("statement %+v", s)
	}
	if other := mustLoad(t, remark).Statement(); other.Digest == s.Digest || other.Acceptable != verdict.TierAffirming || other.Accepts != nil {
		t.Errorf("statement of another policy: %+v", other)
	}
	if got := p.Hooks(); !slices.Equal(got, []string{"composite"}) {
		t.Errorf("hooks %v", got)
	}
}

func TestID(t *testing.T) {
	for file, want := range map[string]string{
		"strict.rego": "strict", "/etc/assize/My Policy_2.rego": "my-policy-2", `C:\x\Y.rego`: "y", "….rego": "policy", ".rego": "policy",
		strings.Repeat("a", 99) + ".rego": strings.Repeat("a", 64),
	} {
		if got := ID(file); got != want {
			t.Errorf("%q gives %q, want %q", file, got, want)
		}
	}
}

// TestPure: what is not on the list cannot be called, and nothing on the list
// depends on more than its operands.
func TestPure(t *testing.T) {
	allowed := map[string]bool{}
	for _, name := range pure {
		allowed[name] = true
	}
	for name := range guarded() {
		allowed[name] = true
	}
	for name := range allowed {
		if ast.BuiltinMap[name].Nondeterministic {
			t.Errorf("%s is on the list, and is not deterministic", name)
		}
		for _, no := range []string{"http.", "net.", "rand.", "uuid.", "opa.", "io.", "rego.", "crypto.x509", "time.now", "time.date", "time.clock", "numbers.range", "json.", "yaml.", "trace", "providers."} {
			if strings.HasPrefix(name, no) {
				t.Errorf("%s is on the list", name)
			}
		}
	}
	for _, b := range ast.Builtins {
		if allowed[b.Name] || strings.HasPrefix(b.Name, "internal.") {
			continue
		}
		args := strings.TrimSuffix(strings.Repeat("input.x, ", b.Decl.Arity()), ", ")
		_, err := Load("test", fmt.Appendf(nil, "package assize\ncomposite contains {\"tier\": \"warning\", \"detail\": \"d\"} if %s(%s)", b.Name, args))
		if err == nil || !strings.Contains(err.Error(), "undefined function") && !strings.Contains(err.Error(), "print") {
			t.Errorf("%s: %v", b.Name, err)
		}
	}
}

// TestGuards: no call makes much of little.
func TestGuards(t *testing.T) {
	long := strings.Repeat("x", maxText)
	pow := "x0 := 3\n"
	text := "x0 := \"" + strings.Repeat("x", 1024) + "\"\n"
	list := "x0 := [1, 2, 3, 4, 5, 6, 7, 8]\n"
	for n := range 30 {
		pow += fmt.Sprintf("x%d := x%d * x%d\n", n+1, n, n)
		text += fmt.Sprintf("x%d := concat(\"\", [x%d, x%d])\n", n+1, n, n)
		list += fmt.Sprintf("x%d := array.concat(x%d, x%d)\n", n+1, n, n)
	}
	shared := "x0 := [\"x\"]\n"
	for n := range 40 {
		shared += fmt.Sprintf("x%d := [x | some _ in [1, 2]; x := x%d]\n", n+1, n)
	}
	last := func(n int, more string) string { return more + fmt.Sprintf("annotations.x := \"y\" if x%d != 0\n", n) }
	for name, c := range map[string]struct{ text, want string }{
		"a width":               {`annotations.x := sprintf("%9999d", [1])`, "digits"},
		"a width as value":      {`annotations.x := sprintf("%*d", [9999, 1])`, "width"},
		"a precision":           {`annotations.x := sprintf("%.9999f", [1])`, "digits"},
		"many verbs":            {`annotations.x := sprintf("` + strings.Repeat("%[1]s", 500) + `", ["` + strings.Repeat("x", 2000) + `"])`, "bytes"},
		"a shared value":        {last(40, shared) + `annotations.y := sprintf("%v", [x40])`, "members"},
		"powers":                {last(30, pow), "number"},
		"a large number":        {`annotations.x := "y" if floor(1e9999) > 0`, "number"},
		"texts that double":     {last(30, text), "bytes"},
		"arrays that double":    {last(30, list), "elements"},
		"a replacement":         {`annotations.x := replace("` + strings.Repeat("x", 2000) + `", "x", "` + strings.Repeat("y", 2000) + `")`, "bytes"},
		"nothing replaced":      {`annotations.x := replace("` + strings.Repeat("x", 2000) + `", "", "yyyyy")`, "bytes"},
		"a long pattern":        {`annotations.x := "y" if regex.match("` + strings.Repeat("x", maxPattern+1) + `", "x")`, "pattern"},
		"a long text":           {`annotations.x := "y" if regex.match("x", "` + long + `x")`, "pattern"},
		"a glob over long text": {`annotations.x := "y" if glob.match("*", [], "` + long + `x")`, "pattern"},
		"a long lower":          {`annotations.x := "y" if lower("` + long + `x") != "z"`, "bytes"},
		"an encoding":           {`annotations.x := hex.encode("` + long[:3000] + `")`, "bytes"},
	} {
		_, err := mustLoad(t, c.text).Composite(t.Context(), &verdict.Result{Time: testTime})
		if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrBudget) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	for name, text := range map[string]string{
		"sprintf": `annotations.x := sprintf("%d of %s and %v", [3, "parts", {"a": [1]}])`, "concat": `annotations.x := concat(", ", sort({"b", "a"}))`,
		"arithmetic": `annotations.x := "y" if (3 * 4) - 2 == 10`, "sets": `annotations.x := "y" if count({1, 2} - {"a", 1}) == 1`,
		"replace": `annotations.x := replace("abc", "b", "")`, "regex": `annotations.x := "y" if regex.match("^a+$", "aaa")`,
		"glob": `annotations.x := "y" if glob.match("gpu/*", ["/"], "gpu/0")`, "time": `annotations.x := "y" if time.parse_rfc3339_ns("2026-11-22T12:00:00Z") > 0`,
		"digest": `annotations.x := crypto.sha256("x")`, "float": `annotations.x := "y" if round(1 / 3) == 0`,
	} {
		d, err := mustLoad(t, text).Composite(t.Context(), &verdict.Result{Time: testTime})
		if err != nil || d.Annotations["x"] == "" {
			t.Errorf("%s: %v %v", name, d, err)
		}
	}
}
