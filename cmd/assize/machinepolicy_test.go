// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// honest is a simulated machine on disk and the arguments with which it is affirming.
func honest(t *testing.T, state, machine string, faults ...string) []string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	args := []string{"simulate", "--machine", machine, "--nonce", simNonce, "-o", dir}
	for _, f := range faults {
		args = append(args, "--fault", f)
	}
	if o := assize(t, state, args...); o.code != exitAffirming {
		t.Fatalf("%d %s %s", o.code, o.out, o.err)
	}
	return []string{
		"appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"),
		"--endorsements", dir, "--corim", dir, "--corim-trust", filepath.Join(dir, "corim-trust.json"),
	}
}

// TestAppraiseByPolicy: the policy and the demands of the command line hold the
// verdict, and stand in it.
func TestAppraiseByPolicy(t *testing.T) {
	state := t.TempDir()
	args := honest(t, state, "cpu-gpu")
	refuses := write(t, "no gpus.rego", []byte("package assize\n\ncomponent contains {\"label\": label, \"tier\": \"contraindicated\", \"detail\": \"no GPUs here\"} if {\n\tsome label, c in input.components\n\tc.scheme == \"nvidia-gpu\"\n}\n"))
	loops := write(t, "loops.rego", []byte("package assize\n\ndigits := {0,1,2,3,4,5,6,7,8,9}\n\ncomposite contains {\"tier\": \"warning\", \"detail\": \"x\"} if {\n\tsome a in digits; some b in digits; some c in digits; some d in digits; some e in digits; some f in digits; some g in digits; some h in digits\n\ta + b + c + d + e + f + g + h == 100\n}\n"))
	for _, c := range []struct {
		name, tier string
		add        []string
		with       []string
	}{
		{"default", "affirming", nil, []string{`"id": "default"`, `"accepted": true`}},
		{"cpu-gpu", "affirming", []string{"--policy", "cpu-gpu"}, []string{`"id": "cpu-gpu"`, `"source": "policy"`}},
		{"hgx-8", "none", []string{"--policy", "hgx-8"}, []string{"missing-component"}},
		{"strict", "warning", []string{"--policy", "strict"}, []string{`"policy"`}},
		{"a file", "contraindicated", []string{"--policy", refuses}, []string{"no GPUs here", `"id": "no-gpus"`, "policy-contraindicated"}},
		{"one that loops", "none", []string{"--policy", loops}, []string{"policy-error"}},
		{"two GPUs are wanted", "none", []string{"--require", "cpu", "--require", "gpu/*=2"}, []string{"missing-component", "exactly 2 of gpu/* (configuration)"}},
		{"a GPU that nobody wants", "warning", []string{"--require", "cpu:intel-tdx"}, []string{"unexpected-component"}},
		{"all that is wanted", "affirming", []string{"--require", "cpu:intel-tdx=1", "--require", "gpu/*:nvidia-gpu>=1"}, []string{`"at_least": 1`}},
		{"a dry run", "affirming", []string{"--dry-run", refuses}, []string{`"dry_run"`, "no GPUs here", `"was": "affirming"`}},
		{"not better than it is", "warning", []string{"--policy", "strict", "--dry-run", "default"}, []string{`"dry_run"`, `"was": "warning"`}},
	} {
		began := time.Now()
		o := assize(t, state, slices.Concat(args, []string{"-o", "json"}, c.add)...)
		if got := parse(t, o); got.Verdict.Tier != c.tier {
			t.Errorf("%s: %s %v", c.name, got.Verdict.Tier, got.Verdict.Reasons)
		}
		for _, text := range c.with {
			if !strings.Contains(o.out, text) {
				t.Errorf("%s: nothing about %s in %s", c.name, text, o.out)
			}
		}
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("%s took %s", c.name, d)
		}
	}
	if o := assize(t, state, slices.Concat(args, []string{"--policy", "cpu-gpu", "--dry-run", "hgx-8", "--require", "*"})...); !strings.Contains(o.out, "dry run, policy hgx-8: none instead of affirming") || !strings.Contains(o.out, "wanted: ") || !strings.Contains(o.out, "policy cpu-gpu") {
		t.Errorf("%s %s", o.out, o.err)
	}
	for name, add := range map[string][]string{
		"no such policy": {"--policy", "nosuch"}, "no such file": {"--policy", "./nosuch.rego"}, "no Rego": {"--policy", args[1]},
		"no demand": {"--require", "gpu=many"}, "no such policy to try": {"--dry-run", "nosuch"}, "empty": {"--policy", ""},
		"a dry run that nobody sees": {"--dry-run", "strict", "-o", "ear"}, "one in a bundle": {"--dry-run", "strict", "-o", "bundle"},
	} {
		if o := assize(t, state, slices.Concat(args, add)...); o.code != exitUsage || o.out != "" {
			t.Errorf("%s: %d %s", name, o.code, o.out)
		}
	}
}

// A policy that takes a nonce for a binding gets what a nonce proves, and says it.
func TestNonceBindingByPolicy(t *testing.T) {
	state := t.TempDir()
	machine := write(t, "m.yaml", []byte("name: loose\ngpus: {count: 1}\nbinding: nonce\n"))
	args := append(honest(t, state, machine), "-o", "json")
	if got := parse(t, assize(t, state, args...)); got.Verdict.Tier != "warning" {
		t.Errorf("%s %v", got.Verdict.Tier, got.Verdict.Reasons)
	}
	o := assize(t, state, append(slices.Clone(args), "--policy", "accept-nonce-binding")...)
	if got := parse(t, o); got.Verdict.Tier != "affirming" || !strings.Contains(o.out, "nonce-binding-accepted") || !strings.Contains(o.out, `"accepts"`) {
		t.Errorf("%s", o.out)
	}
	o = assize(t, state, append(slices.Clone(args), "--policy", "warn-is-ok")...)
	if got := parse(t, o); got.Verdict.Tier != "warning" || o.code != exitWarning || !strings.Contains(o.out, `"accepted": true`) {
		t.Errorf("%d %s", o.code, o.out)
	}
}
