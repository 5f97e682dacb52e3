// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/schemas"
)

// explained is a simulated machine, appraised in all forms that explain takes.
func explained(t *testing.T, faults ...string) (dir string, forms map[string]string, state string) {
	t.Helper()
	state, dir = t.TempDir(), t.TempDir()
	args := []string{"simulate", "--machine", "cpu-gpu", "--nonce", simNonce, "-o", dir}
	for _, f := range faults {
		args = append(args, "--fault", f)
	}
	if o := assize(t, state, args...); o.code != 0 {
		t.Fatalf("%d %s", o.code, o.err)
	}
	forms = map[string]string{}
	for _, form := range []string{"bundle", "ear", "ear-p04", "cwt", "json", "tdx-gpu"} {
		o := assize(t, state, "appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--topology", "lead(cpu, gpu/0)", "--trust", filepath.Join(dir, "trust.json"),
			"--endorsements", dir, "--corim", dir, "--corim-trust", filepath.Join(dir, "corim-trust.json"), "-o", form)
		if o.code == exitFailed || o.code == exitUsage {
			t.Fatalf("%s: %d %s", form, o.code, o.err)
		}
		out := []byte(o.out)
		forms[form] = filepath.Join(dir, "verdict."+form)
		if err := os.WriteFile(forms[form], out, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys := assize(t, state, "keys", "jwks")
	forms["jwks"] = filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(forms["jwks"], []byte(keys.out), 0o600); err != nil || keys.code != 0 {
		t.Fatal(err, keys.err)
	}
	return dir, forms, state
}

func wants(t *testing.T, name string, o outcome, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("%s: exit %d, want %d: %s", name, o.code, code, o.err)
	}
	for _, w := range words {
		if without, not := strings.CutPrefix(w, "!"); strings.Contains(o.out+o.err, without) == not {
			t.Errorf("%s: %q in\n%s%s", name, w, o.out, o.err)
		}
	}
}

func TestExplain(t *testing.T) {
	dir, forms, state := explained(t)
	honest := []string{"Affirming: all 2 component(s)", "Not proven", "application", "report-data-digest", "can be relayed"}
	for _, form := range []string{"bundle", "ear", "ear-p04", "cwt", "json"} {
		note := "Not verified: no keys were given"
		if form == "json" {
			note = "Unsigned and unverified"
		}
		wants(t, form, assize(t, state, "explain", forms[form]), 0, append(honest, note)...)
		o := assize(t, state, "explain", forms[form], "-o", "json")
		wants(t, form+" as JSON", o, 0)
		s, err := schemas.Load(schemas.Explanation)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.ValidateJSON([]byte(o.out)); err != nil {
			t.Errorf("%s: %v\n%s", form, err, o.out)
		}
		if form != "json" {
			wants(t, form+" verified", assize(t, state, "explain", forms[form], "--trust", forms["jwks"], "--nonce", simNonce), 0, append(honest, "Verified: signed by", "!Not verified")...)
		}
	}
	other := strings.Repeat("77", 32)
	for name, c := range map[string]struct {
		args  []string
		code  int
		words []string
	}{
		"one component":          {[]string{forms["bundle"], "--component", "gpu/0"}, 0, []string{"gpu/0  nvidia-gpu", "!cpu  intel-tdx"}},
		"no such component":      {[]string{forms["bundle"], "--component", "gpu"}, 1, []string{"no component"}},
		"right nonce":            {[]string{forms["json"], "--nonce", simNonce}, 0, nil},
		"another nonce":          {[]string{forms["json"], "--nonce", other}, 1, []string{"another session nonce"}},
		"another nonce, signed":  {[]string{forms["ear"], "--trust", forms["jwks"], "--nonce", other}, 1, []string{"another session nonce"}},
		"document with keys":     {[]string{forms["json"], "--trust", forms["jwks"]}, 1, []string{"not signed"}},
		"wrong keys":             {[]string{forms["ear"], "--trust", emptyKeys(t)}, 1, nil},
		"later":                  {[]string{forms["ear"], "--trust", forms["jwks"], "--at", "2040-01-01T00:00:00Z"}, 1, []string{"stale"}},
		"strict policy":          {[]string{forms["ear"], "--trust", forms["jwks"], "--policy", "strict"}, 0, []string{"under the policy strict", "extra-roots (warning)"}},
		"policy without keys":    {[]string{forms["ear"], "--policy", "strict"}, 2, []string{"--trust"}},
		"time without keys":      {[]string{forms["ear"], "--at", "2026-01-01T00:00:00Z"}, 2, []string{"--trust"}},
		"no such policy":         {[]string{forms["ear"], "--trust", forms["jwks"], "--policy", "nice"}, 2, nil},
		"output":                 {[]string{forms["ear"], "-o", "yaml"}, 2, nil},
		"no file":                {nil, 2, nil},
		"nonce of another form":  {[]string{forms["json"], "--nonce", "#"}, 2, nil},
		"evidence":               {[]string{filepath.Join(dir, "evidence.cmw")}, 1, []string{"appraise it first", "explain -"}},
		"something else":         {[]string{write(t, "x", []byte(`{"a":1}`))}, 1, []string{"neither"}},
		"a format without parts": {[]string{forms["tdx-gpu"]}, 1, nil},
	} {
		wants(t, name, assize(t, state, append([]string{"explain"}, c.args...)...), c.code, c.words...)
	}
}

// emptyKeys trusts somebody else.
func emptyKeys(t *testing.T) string {
	t.Helper()
	o := assize(t, t.TempDir(), "keys", "jwks")
	if o.code != 0 {
		t.Fatal(o.err)
	}
	return write(t, "other.json", []byte(o.out))
}

// Nothing that an attester or a lead wrote reaches the terminal as it is.
func TestExplainIsSafeForTerminals(t *testing.T) {
	doc := `{"verdict":{"tier":"warning","reasons":[{"code":"policy","detail":"a\u001b[31mb","expected":"c\u0007","observed":"d\u202e","source":"e\r\nf"}]},
"time":"2026-11-21T12:00:00Z","topology":"lead","components":{"x\u001b":{"tier":"none","required":true,"scheme":"","reasons":[{"code":"no-verifier","detail":"\u009b1m"}]}},
"bindings":[{"from":"x\u001b","to":"y","kind":"k","strength":"none","status":"broken","compared":"\u001b[2J","expected":"\u001b","observed":"\u0000"}],
"policy":{"id":"\u001b","sha256":"` + strings.Repeat("00", 32) + `","acceptable":"warning","accepted":true,"annotations":{"\u001b":"\u001b"}}}`
	o := assize(t, t.TempDir(), "explain", write(t, "v.json", []byte(doc)))
	wants(t, "text", o, 0, `a\x1b[31mb`, "policy (warning)")
	for _, r := range o.out {
		if r != '\n' && (r < ' ' || r == 0x7f || r == 0x9b || r == 0x202e) {
			t.Fatalf("%q is in the output:\n%q", r, o.out)
		}
	}
}
