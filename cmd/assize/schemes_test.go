// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

// The list has every scheme of this build, as text and as JSON.
func TestSchemes(t *testing.T) {
	state := t.TempDir()
	text, raw := assize(t, state, "schemes"), assize(t, state, "schemes", "-o", "json")
	var list []schemeLine
	if err := json.Unmarshal([]byte(raw.out), &list); err != nil {
		t.Fatalf("%v: %s", err, raw.out)
	}
	set, err := all.Set()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != len(set.Schemes()) || text.code != 0 || raw.code != 0 {
		t.Errorf("%d of %d schemes", len(list), len(set.Schemes()))
	}
	for i, sc := range set.Schemes() {
		l := list[i]
		if l.Name != sc.Name || l.Class != string(sc.Class) || l.Version != sc.Version || len(l.MediaTypes) != len(sc.Accepts) || (l.Findings > 0) != (sc.Policy != nil) {
			t.Errorf("%+v", l)
		}
		for _, mt := range l.MediaTypes {
			if !strings.Contains(text.out, mt) {
				t.Errorf("the text lacks %s", mt)
			}
		}
	}
	for _, args := range [][]string{{"schemes", "-o", "yaml"}, {"schemes", "policy"}, {"schemes", "policy", "no-such"}, {"schemes", "check"}} {
		if o := assize(t, state, args...); o.code != exitUsage || o.err == "" {
			t.Errorf("%v: %d %s", args, o.code, o.err)
		}
	}
}

// What "schemes policy" prints is a policy that "schemes check" accepts, and one
// that comes out the same.
func TestSchemesPolicy(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	set, err := all.Set()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"schemes", "check"}
	for _, sc := range set.Schemes() {
		if sc.Policy == nil {
			continue
		}
		o := assize(t, state, "schemes", "policy", sc.Name)
		if o.code != 0 || !strings.HasPrefix(o.out, "scheme: "+sc.Name+"\n") {
			t.Fatalf("%s: %d %s", sc.Name, o.code, o.err)
		}
		for _, f := range sc.Policy.Findings {
			if !strings.Contains(o.out, " "+f.Name+": ") {
				t.Errorf("%s: no row %s", sc.Name, f.Name)
			}
		}
		p, err := sc.Policy.Parse([]byte(o.out))
		if err != nil {
			t.Fatal(sc.Name, err)
		}
		for _, f := range sc.Policy.Findings {
			if fmt.Sprint(p.Effect(f.Name)) != fmt.Sprint(f.Effect) {
				t.Errorf("%s: %s is %v, was %v", sc.Name, f.Name, p.Effect(f.Name), f.Effect)
			}
		}
		file := filepath.Join(dir, sc.Name+".yaml")
		if err := os.WriteFile(file, []byte(o.out), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if len(args) < 9 {
		t.Fatalf("only %d schemes have a policy", len(args)-2)
	}
	o := assize(t, state, args...)
	if o.code != 0 || strings.Count(o.out, ":sha-256:") != len(args)-2 {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
}

// edited is the printed policy of a scheme with one row changed.
func edited(t *testing.T, scheme, row, with string) string {
	t.Helper()
	o := assize(t, t.TempDir(), "schemes", "policy", scheme)
	if strings.Count(o.out, row) != 1 {
		t.Fatalf("%s: %d rows %q", scheme, strings.Count(o.out, row), row)
	}
	return write(t, scheme+".yaml", []byte(strings.Replace(o.out, row, with, 1)))
}

const (
	rowNoCollateral = "no-collateral: {hardware: 32}"
	rowTechnically  = "no-collateral: {hardware: 96}"
)

// One edited row changes the verdict, and the result names the policy that it was
// made under.
func TestEditedPolicy(t *testing.T) {
	state, dir := t.TempDir(), filepath.Join(t.TempDir(), "m")
	if o := assize(t, state, "simulate", "--machine", "cpu", "--nonce", simNonce, "-o", dir); o.code != 0 {
		t.Fatal(o.err)
	}
	file := edited(t, "intel-tdx", rowNoCollateral, rowTechnically)
	args := []string{"appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "-o", "json"}
	if d := parse(t, assize(t, state, args...)); d.Components["cpu"].TrustVector["hardware"] != 32 || d.Verdict.Tier != "warning" {
		t.Errorf("%s %+v", d.Verdict.Tier, d.Components["cpu"])
	}
	o := assize(t, state, append(args, "--evidence-policy", file)...)
	if d := parse(t, o); o.code != exitContraindicated || d.Components["cpu"].TrustVector["hardware"] != 96 || d.Verdict.Tier != "contraindicated" {
		t.Errorf("%d %s %+v", o.code, d.Verdict.Tier, d.Components["cpu"])
	}
	id := strings.TrimSpace(assize(t, state, "schemes", "check", file).out)
	for _, c := range []struct {
		files []string
		id    string
	}{{nil, "intel-tdx"}, {[]string{file}, id}} {
		if a := underPolicy(t, dir, c.files...); a.PolicyID != c.id || c.id == "" {
			t.Errorf("%v: the result names %q, want %q", c.files, a.PolicyID, c.id)
		}
	}
}

// underPolicy appraises a machine of one CPU in a process whose configuration
// names policies, and returns the partial result.
func underPolicy(t *testing.T, dir string, files ...string) verdict.Appraisal {
	t.Helper()
	c, err := config.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	c.StateDir, c.EvidencePolicies = t.TempDir(), files
	var log bytes.Buffer
	s, err := start(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)), role{name: "appraise", lead: true, oneShot: true}, filepath.Join(dir, "trust.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	raw, err := os.ReadFile(filepath.Join(dir, "evidence.cmw"))
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := hex.DecodeString(simNonce)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.lead.Appraise(t.Context(), orchestrator.Request{Evidence: raw, Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "edited appraisal policy") != (len(files) > 0) {
		t.Errorf("log: %s", log.String())
	}
	return res.Components[0].Partial.Appraisal()
}

// A policy that an owner of devices could use to claim any maker is accepted, with a
// warning that names the anchor, which the output has nothing of.
func TestSchemesCheckWarns(t *testing.T) {
	state := t.TempDir()
	digest := strings.Repeat("ab", 32)
	for rest, warned := range map[string]bool{"": false, ", slots: [0, 4]": true, ", slots: [0, 4], manufacturers: [ACME]": false} {
		file := write(t, "spdm.yaml", []byte("scheme: dmtf-spdm\nparameters: {anchors: [{spki_sha256: "+digest+rest+"}]}\n"))
		o := assize(t, state, "schemes", "check", file)
		if o.code != 0 || strings.Contains(o.err, "anchors[0] ("+digest+")") != warned || !strings.HasPrefix(o.out, "dmtf-spdm:sha-256:") || strings.Contains(o.out, "warning") {
			t.Errorf("%q: %d %s %s", rest, o.code, o.out, o.err)
		}
	}
}

// A policy that cannot be meant so is refused before anything is appraised, and
// the message says which file and why.
func TestPoliciesRefused(t *testing.T) {
	state := t.TempDir()
	good := edited(t, "intel-tdx", rowNoCollateral, rowTechnically)
	again := edited(t, "intel-tdx", rowNoCollateral, "no-collateral: {hardware: 97}")
	for name, c := range map[string]struct {
		code  int
		why   string
		files []string
	}{
		"unknown scheme":  {exitFailed, `"intel-tdy"`, []string{edited(t, "intel-tdx", "scheme: intel-tdx", "scheme: intel-tdy")}},
		"two of a scheme": {exitFailed, "there are two appraisal policies for intel-tdx", []string{good, again}},
		"the same twice":  {exitFailed, "there are two appraisal policies for intel-tdx", []string{good, good}},
		"above a floor":   {exitFailed, "no-collateral: hardware must be 32 or worse", []string{edited(t, "intel-tdx", rowNoCollateral, "no-collateral: {hardware: 2}")}},
		"debug excused":   {exitFailed, "debug", []string{edited(t, "amd-snp", "debug: {configuration: 96, runtime-opaque: 96}", "debug: {configuration: 2, runtime-opaque: 2}")}},
		"unknown finding": {exitFailed, "no-such", []string{edited(t, "intel-tdx", rowNoCollateral, "no-such: {hardware: 96}")}},
		"unknown claim":   {exitFailed, "software", []string{edited(t, "intel-tdx", rowNoCollateral, "no-collateral: {software: 96}")}},
		"no claim":        {exitFailed, "50", []string{edited(t, "intel-tdx", rowNoCollateral, "no-collateral: {hardware: 250}")}},
		"not there":       {exitFailed, "gone.yaml", []string{filepath.Join(t.TempDir(), "gone.yaml")}},
	} {
		args := []string{"appraise", sample(t), "-o", "json"}
		for _, f := range c.files {
			args = append(args, "--evidence-policy", f)
		}
		for what, o := range map[string]outcome{
			"appraise": assize(t, state, args...), "check": assize(t, state, slices.Concat([]string{"schemes", "check"}, c.files)...),
		} {
			if o.code != c.code || !strings.Contains(o.err, c.why) || o.out != "" {
				t.Errorf("%s: %s: %d %s %s", name, what, o.code, o.err, o.out)
			}
		}
	}
}
