// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
)

// hostile are texts of a few kilobytes that make values of 2^60 members, each with
// what would then go through them: a unification ends the process, a union fills
// the memory, a comparison or a message never ends.
func hostile() map[string]string {
	const n = 60
	chain := func(form string) string {
		var b strings.Builder
		for _, name := range []string{"x", "y"} {
			fmt.Fprintf(&b, "%s0 := {\"%s\": [1]}\n", name, name)
			for i := range n {
				b.WriteString(strings.NewReplacer("V", fmt.Sprint(name, i+1), "W", fmt.Sprint(name, i)).Replace(form))
			}
		}
		return b.String()
	}
	collect := chain("V := [w | some _ in [1, 2]; w := W]\n")
	out := map[string]string{}
	for name, form := range map[string]string{
		"arrays": "V := [w | some _ in [1, 2]; w := W]\n", "objects": "V := {k: w | some k in [1, 2]; w := W}\n", "literals": "V := [W, W]\n",
		"sets": "V contains W\nV contains [W]\n", "keys": "V[k] := 1 if some k in [W, [W]]\n", "partial": "V.a := W\nV.b := W\n",
		"functions": "V := fV(1)\nfV(_) := {\"a\": W, \"b\": W}\n", "defaults": "default V := [w | some _ in [1, 2]; w := W]\nV := 1 if false\n",
		"else": "V := 1 if false\nelse := [W, W]\n", "concat": "V := array.concat([W], [W])\n",
	} {
		out[name] = "annotations.x := \"y\" if x60 == y60\n" + chain(form)
	}
	for name, use := range map[string]string{
		"comparison": "annotations.x := \"y\" if x60 < y60\n", "unification": "annotations.x := \"y\" if x60 = y60\n",
		"repeated argument": "annotations.x := \"y\" if f(x60, y60)\nf(a, a) if a\n", "membership": "annotations.x := \"y\" if x60 in [y60]\n",
		"a finding": "component contains f if f := {\"label\": \"cpu\", \"detail\": \"d\", x60: y60}\n",
		"a clash":   "annotations.x := x60\nannotations.x := y60\n", "a requirement": "require contains x60\nrequire contains y60\n",
		"a count": "require contains {\"scheme\": \"x\", \"exactly\": x60, \"optional\": y60}\n", "a relaxation": "accept contains {x60, y60}\n", "a tier": "acceptable := [x60, y60]\n",
	} {
		out[name] = use + collect
	}
	twice := "annotations.x := \"y\" if count(x12) > 0\nx0 := [[c | some c in split(\"" + strings.Repeat("x", 400) + "\", \"\")]]\n"
	for i := range 12 { // few elements, each of them large
		twice += fmt.Sprintf("x%d := array.concat(x%d, x%d)\n", i+1, i, i)
	}
	out["a concatenation"] = twice
	out["a union"] = "annotations.x := \"y\" if object.union(x60, y60)\n" + chain("V := {k: w | some k in [1, 2]; w := W}\n")
	return out
}

// TestHostile: none of them ends the process, fills memory, or takes longer than it
// may, and nothing runs on. Without the count of what is put together several of
// them end this process, so they have one of their own.
func TestHostile(t *testing.T) {
	if os.Getenv("ASSIZE_TEST_HOSTILE") == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHostile$", "-test.timeout=60s")
		cmd.Env = append(os.Environ(), "ASSIZE_TEST_HOSTILE=1", "GOMEMLIMIT=256MiB")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%.4000s", err, out)
		}
		return
	}
	r := &verdict.Result{Time: testTime, Components: []verdict.Component{{Label: evidence.Path("cpu")}}}
	for name, text := range hostile() {
		p, err := Load("hostile", []byte("package assize\n"+text))
		for _, run := range []func() error{
			func() error { return second(p.Components(t.Context(), r)) }, func() error { return second(p.Composite(t.Context(), r)) },
		} {
			if err == nil {
				err = run()
			}
		}
		if err == nil || !strings.Contains(err.Error(), "put together has more") || errors.Is(err, ErrBudget) {
			t.Errorf("%s: %v", name, err)
		}
		if p != nil && p.stuck.Load() != 0 {
			t.Errorf("%s: still runs", name)
		}
	}
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.Sys > 512<<20 {
		t.Errorf("%d MiB", m.Sys>>20)
	}
}

func second[T any](_ T, err error) error { return err }

// TestHostileIsRefused: what nobody can count, and more than the compiler is to be
// given.
func TestHostileIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"a pattern with =":   {remark + `annotations.x := "y" if { z := input.tier; w = [z, z]; w }`, "composite value with ="},
		"in brackets":        {remark + `annotations.x := "y" if { z := {[input.tier]}; z[[input.tier]] }`, "in brackets"},
		"a wide pattern":     {`annotations.x := "y" if { walk(input, [a, b, c, d, e, f, g, h, i]); a; b; c; d; e; f; g; h; i }`, "a pattern of 9 parts"},
		"many rules":         {strings.Repeat(remark, maxRules+1), "rules, at most"},
		"many expressions":   {`annotations.x := "y" if {` + strings.Repeat("input;", maxExpressions+1) + `1}`, "expressions, at most"},
		"many constants":     {`annotations.x := "y" if 1 in [` + strings.Repeat("1,", maxTerms) + `1]`, "values and names, at most"},
		"types that explode": {`annotations.x := lower(x)` + "\nx := [" + strings.Repeat("[1],", 40) + "1]", "rego_type_error"},
	} {
		start := time.Now()
		_, err := Load("test", []byte("package assize\n"+c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if took := time.Since(start); took > loadBudget/2 {
			t.Errorf("%s: took %s", name, took)
		}
	}
}

// TestHonestIsNot: what policies put together goes on to mean what it did.
func TestHonestIsNot(t *testing.T) {
	r := newLab(t).small()
	for _, body := range []string{
		`[a, b] := [input.tier, 1]; a == "affirming"; b == 1`, `walk({"a": input.tier}, [["a"], v]); v == "affirming"`,
		`["cpu", "cpu-tee"] in {[l, d.class] | some l, d in input.components}`, `some [l, c] in [[l, d] | some l, d in input.components]; l == "gpu/0"; c.scheme == "nvidia-gpu"`,
		`{"a": input.tier} == {"a": "affirming"}`, `{input.tier, "x"} - {"x"} == {"affirming"}`, `not [input.tier, 1] == ["x", 1]`, `f([input.tier, 1]) == "affirming"`,
		`object.union({"a": {"b": input.tier}}, {"a": {"c": 1}}).a.b == "affirming"`, `every p in [[input.tier, 1]] { p[1] == 1 }`, `o.cpu == ["cpu"]; s == {"cpu", "gpu/0"}`,
		`sprintf("%s %v", [input.tier, [input.tier]]) == "affirming [\"affirming\"]"`, `[false | some _ in [1]; x := false; x == false] == [false]`, `count([c | some c in input.components]) == 2`,
	} {
		d, err := mustLoad(t, "annotations.x := \"y\" if { "+body+" }\nannotations.y := \"z\" if { f([1, 2]); o; s }\nf([a, b]) := a if b\no[l] := [l] if some l, _ in input.components\ns contains l if some l, _ in input.components\n").Composite(t.Context(), r)
		if err != nil || d.Annotations["x"] != "y" {
			t.Errorf("%s: %v %v", body, d, err)
		}
	}
}
