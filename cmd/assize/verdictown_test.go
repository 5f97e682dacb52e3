// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/assize/assize/schemas"
)

// TestVerdictOwn: a relying party judges by its own rules, and says so.
func TestVerdictOwn(t *testing.T) {
	const nonce = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "m")
	if o := assize(t, state, "simulate", "--machine", "cpu-gpu", "--nonce", nonce, "-o", dir); o.code != 0 {
		t.Fatalf("simulate: exit %d %s", o.code, o.err)
	}
	in := func(name string) string { return filepath.Join(dir, name) }
	jwks := write(t, "jwks.json", []byte(assize(t, state, "keys", "jwks").out))
	// A lead takes a nonce once; each of these judges for itself.
	appraise := func(more ...string) string {
		t.Helper()
		o := assize(t, state, append([]string{"appraise", in("evidence.cmw"), "--nonce", nonce, "--trust", in("trust.json"),
			"--endorsements", in("endorsements"), "--corim", dir, "--corim-trust", in("corim-trust.json")}, more...)...)
		if o.out == "" {
			t.Fatalf("appraise: exit %d %s", o.code, o.err)
		}
		return write(t, "v", []byte(o.out))
	}
	bundle, ear := appraise("--topology", "lead(cpu, gpu/0)", "-o", "bundle"), appraise("-o", "ear")
	strict := appraise("-o", "bundle", "--require", "gpu/*=2")
	pars := appraise("--topology", "parallel(cpu, gpu)", "-o", "pars")
	own := func(text string) string { return write(t, "own.rego", []byte("package assize\n"+text)) }
	verify := func(file string, more ...string) outcome {
		return assize(t, t.TempDir(), append([]string{"verdict", "verify", file, "--trust", jwks, "--nonce", nonce}, more...)...)
	}
	sim := "--allow-simulated"
	other := in("trust.json")
	for _, c := range []struct {
		name string
		file string
		args []string
		code int
		out  string
	}{
		{"simulated machines are not taken", bundle, nil, exitWarning, "the lead says affirming, by the rules of this relying party it is warning"},
		{"unless that is said", bundle, []string{sim}, exitAffirming, "SIMULATED MACHINES ARE ACCEPTED"},
		{"without the evidence", ear, []string{sim}, exitWarning, "the word of the lead without the evidence"},
		{"with the evidence beside it", ear, []string{sim, "--evidence", in("evidence.cmw"), "--require-evidence"}, exitAffirming, "evidence matches"},
		{"with something else beside it", ear, []string{sim, "--evidence", other}, exitFailed, ""},
		{"a strict lead", strict, []string{sim}, exitNone, "missing-component"},
		{"a strict lead, own policy", strict, []string{sim, "--policy", "default"}, exitAffirming, "none only by the lead: missing-component"},
		{"a board of eight", bundle, []string{sim, "--policy", "hgx-8"}, exitNone, "missing-component"},
		{"an own file", bundle, []string{sim, "--policy", own(`composite contains {"tier": "warning", "detail": "so"}`)}, exitWarning, "policy own"},
		{"own demands", bundle, []string{sim, "--require", "cpu", "--require", "gpu/*:nvidia-gpu=1"}, exitAffirming, "relying-party"},
		{"more than there are", bundle, []string{sim, "--require", "gpu/*>=2", "--require", "cpu"}, exitNone, "missing-component"},
		{"a CPU that nobody expects", bundle, []string{sim, "--require", "gpu/*"}, exitWarning, "unexpected-component"},
		{"too old", bundle, []string{sim, "--max-age", "1ns"}, exitFailed, ""},
		{"not too old", bundle, []string{sim, "--max-age", "2m"}, exitAffirming, ""},
		{"an age of nothing", bundle, []string{"--max-age", "0s"}, exitUsage, ""},
		{"a policy that there is not", bundle, []string{"--policy", "no-such"}, exitUsage, ""},
		{"a policy that is none", bundle, []string{"--policy", own("boom")}, exitUsage, ""},
		{"a demand that is none", bundle, []string{"--require", "gpu=many"}, exitUsage, ""},
		{"an empty demand", bundle, []string{"--require", ""}, exitUsage, ""},
	} {
		if o := verify(c.file, c.args...); o.code != c.code || !strings.Contains(o.out, c.out) {
			t.Errorf("%s: exit %d, want %d with %q: %s%s", c.name, o.code, c.code, c.out, o.out, o.err)
		}
	}
	o := verify(bundle, "-o", "json")
	schema, err := schemas.Load(schemas.Verdict)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON([]byte(o.out)); err != nil || !strings.Contains(o.out, `"from_lead"`) || parse(t, o).Verdict.Tier != "warning" {
		t.Errorf("%v: %s", err, o.out)
	}
	combine := func(more ...string) outcome {
		return assize(t, state, append([]string{"verdict", "combine", pars, "--trust", jwks, "--nonce", nonce, "--topology", "parallel(cpu, gpu)"}, more...)...)
	}
	for name, c := range map[string]struct {
		args []string
		code int
	}{
		"not simulated":        {[]string{"--evidence", in("evidence.cmw")}, exitWarning},
		"simulated":            {[]string{sim, "--evidence", in("evidence.cmw")}, exitAffirming},
		"without the evidence": {[]string{sim}, exitNone}, // nobody says what the CPU committed to
		"own demand":           {[]string{sim, "--evidence", in("evidence.cmw"), "--require", "nic"}, exitNone},
		"own policy":           {[]string{sim, "--evidence", in("evidence.cmw"), "--policy", "hgx-8"}, exitNone},
	} {
		if o := combine(c.args...); o.code != c.code {
			t.Errorf("combine, %s: exit %d, want %d: %s%s", name, o.code, c.code, o.out, o.err)
		}
	}
}
