// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
)

// A relying party puts results together that it has collected itself.
func TestVerdictCombine(t *testing.T) {
	state, file := t.TempDir(), sample(t)
	jwks := write(t, "jwks.json", []byte(assize(t, state, "keys", "jwks").out))
	stranger := write(t, "stranger.json", []byte(assize(t, t.TempDir(), "keys", "jwks").out))
	appraise := func(more ...string) outcome {
		return assize(t, state, append([]string{"appraise", file, "--component-nonce", gpuNonce()}, more...)...)
	}
	if o := appraise("-o", "pars"); o.code != exitUsage {
		t.Errorf("bare results of a lead: exit %d %s", o.code, o.err)
	}
	forms := map[string]string{
		"pars":   write(t, "pars", []byte(appraise("--topology", "parallel(cpu, gpu)", "-o", "pars").out)),
		"ear":    write(t, "ear", []byte(appraise("--topology", "parallel(cpu, gpu)", "-o", "ear").out)),
		"bundle": write(t, "bundle", []byte(appraise("--topology", "parallel(cpu, gpu)", "-o", "bundle").out)),
		"cwt":    write(t, "cwt", []byte(appraise("--topology", "parallel(cpu, gpu)", "-o", "cwt").out)),
	}
	combine := func(topology, trust string, files ...string) outcome {
		return assize(t, state, append([]string{"verdict", "combine", "--topology", topology, "--trust", trust}, files...)...)
	}
	for name, f := range forms {
		o := combine("parallel(cpu, gpu)", jwks, f)
		if o.code != exitWarning || !strings.Contains(o.out, "WARNING") {
			t.Errorf("%s: exit %d %s %s", name, o.code, o.out, o.err)
		}
		if o := combine("parallel(cpu, gpu)", jwks, f, "--evidence", file, "-o", "json"); o.code != exitWarning || !strings.Contains(o.out, `"composite_sha256"`) {
			t.Errorf("%s with its evidence: exit %d %s %s", name, o.code, o.out, o.err)
		}
		if o := combine("parallel(cpu, gpu, nic)", jwks, f); o.code != exitNone {
			t.Errorf("%s without a component that must be there: exit %d", name, o.code)
		}
		if o := combine("parallel(cpu, gpu)", stranger, f); o.code != exitNone {
			t.Errorf("%s under a stranger's keys: exit %d", name, o.code)
		}
		if o := combine("parallel(quorum 2: gpu@a, gpu@b)", jwks, f); o.code != exitNone || !strings.Contains(o.out, "quorum-not-reached") {
			t.Errorf("%s for a quorum: exit %d %s", name, o.code, o.out)
		}
	}
	if o := combine("parallel(cpu, gpu)", jwks, forms["pars"], forms["ear"], forms["bundle"]); o.code != exitWarning {
		t.Errorf("the same three times: exit %d %s", o.code, o.out)
	}
	for name, args := range map[string][]string{
		"no file": {}, "no trust": {forms["pars"], "--trust", ""}, "no topology": {forms["pars"], "--topology", ""}, "a form": {forms["pars"], "-o", "ear"},
	} {
		if o := combine("parallel(cpu, gpu)", jwks, args...); o.code != exitUsage {
			t.Errorf("%s: exit %d", name, o.code)
		}
	}
	if o := combine("parallel(cpu, gpu)", jwks, file); o.code != exitFailed {
		t.Errorf("evidence as results: exit %d", o.code)
	}
}

// What --node and --paths add to the check of a verdict.
func TestVerdictVerifyWays(t *testing.T) {
	state, file := t.TempDir(), sample(t)
	config := write(t, "me.yaml", []byte("node: {name: me, paths: ['me > **']}\n"))
	ear := write(t, "ear", []byte(assize(t, state, "appraise", file, "--config", config, "--component-nonce", gpuNonce(), "-o", "ear").out))
	jwks := write(t, "jwks.json", []byte(assize(t, state, "keys", "jwks").out))
	me := write(t, "me.json", []byte(assize(t, state, "keys", "node", "--config", config).out))
	impostor := write(t, "impostor.json", []byte(assize(t, t.TempDir(), "keys", "node", "--config", config).out))
	list := write(t, "rules.paths", []byte("# by itself\nme\n"))
	for _, c := range []struct {
		args []string
		code int
	}{
		{nil, exitWarning},
		{[]string{"--node", me}, exitWarning},
		{[]string{"--node", impostor}, exitFailed},
		{[]string{"--node", me, "--node", me}, exitFailed},
		{[]string{"--node", jwks}, exitFailed},
		{[]string{"--paths", "me"}, exitWarning},
		{[]string{"--paths", "**"}, exitWarning},
		{[]string{"--paths", list}, exitWarning},
		{[]string{"--paths", "me > *"}, exitFailed},
		{[]string{"--paths", "cpu: me"}, exitFailed},
		{[]string{"--paths", "me >"}, exitUsage},
		{[]string{"--paths", ""}, exitUsage},
		{[]string{"--node", ""}, exitUsage},
	} {
		if o := assize(t, state, append([]string{"verdict", "verify", ear, "--trust", jwks}, c.args...)...); o.code != c.code {
			t.Errorf("%q: exit %d, want %d: %s", c.args, o.code, c.code, o.err)
		}
	}
	for _, text := range []string{"node: {name: me, paths: ['me >']}\n", "node: {paths: ['me']}\n"} {
		bad := write(t, "bad.yaml", []byte(text))
		if o := assize(t, state, "appraise", file, "--config", bad); o.code != exitFailed || !strings.Contains(o.err, "node.paths") {
			t.Errorf("%s: exit %d %s", text, o.code, o.err)
		}
	}
}
