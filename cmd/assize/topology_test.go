// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// simulated is a folder with a simulated machine.
func simulated(t *testing.T, state, machine, format string, more ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	args := append([]string{"simulate", "--machine", machine, "--format", format, "--nonce", simNonce, "-o", dir}, more...)
	if o := assize(t, state, args...); o.code != exitAffirming {
		t.Fatalf("%d %s", o.code, o.err)
	}
	return dir
}

// peer is a configuration with one other node, "vendor-a".
func peer(t *testing.T) string {
	t.Helper()
	own := write(t, "a.yaml", []byte("node: {name: vendor-a}\n"))
	o := assize(t, t.TempDir(), "--config", own, "keys", "node")
	if o.code != 0 {
		t.Fatal(o.err)
	}
	node := write(t, "a.node.json", []byte(o.out))
	return write(t, "me.yaml", []byte("node: {name: me, peers: ["+node+"]}\n"))
}

func TestTopologyLint(t *testing.T) {
	state, file, config := t.TempDir(), sample(t), peer(t)
	for _, c := range []struct {
		name string
		code int
		want string // in the output
		args []string
	}{
		{"clean", 0, "no problems", []string{"lead(cpu, gpu)"}},
		{"clean with evidence", 0, "no problems", []string{"lead(cpu, gpu/*)", "--evidence", file}},
		{"from a file", 0, "no problems", []string{"@" + write(t, "x", []byte("lead(cpu,\n gpu)\n")), "--evidence", file}},
		{"caret", exitFailed, "1:11: error: \"/x\" is not a label path [syntax]\n  lead(cpu, /x, b//)\n            ^\n1:15:", []string{"lead(cpu, /x, b//)"}},
		{"caret in a line", exitFailed, "2:2: error: expected a label or a head", []string{"lead(\"a\",\n \u00e9\u0007/x)"}},
		{"unnamed", exitFailed, "[unnamed-component]", []string{"lead(cpu)", "--evidence", file}},
		{"unknown label", exitFailed, "1:16: error: the evidence has no component nic", []string{"lead(cpu, gpu, nic)", "--evidence", file}},
		{"optional label", 0, "warning", []string{"lead(cpu, gpu, nic)", "--evidence", file, "--optional", "nic"}},
		{"owned twice", exitFailed, "[owned-twice]", []string{"lead(cpu, gpu, gpu/0)", "--evidence", file}},
		{"cycle", exitFailed, "[cycle]", []string{"cascade(a@x, b@y, c@x)"}},
		{"a node that is no peer", 0, "1:11: warning: vendor-a is not among", []string{"lead(cpu, gpu@vendor-a)"}},
		{"a peer", 0, "no problems", []string{"cascade(cpu@me, gpu@vendor-a)", "--config", config, "--evidence", file}},
		{"nobody serves it", exitFailed, "no node serves intel-tdx", []string{"lead(cpu, gpu)", "--evidence", file, "--config", write(t, "c.yaml", []byte("schemes: [nvidia-gpu]\n"))}},
		{"yaml", 0, "no problems", []string{write(t, "t.yaml", []byte("lead: [cpu, gpu/*]\n")), "--evidence", file}},
		{"owned twice in yaml", exitFailed, "4:7: error: gpu is already named as gpu in line 3, column 5 [owned-twice]\n    -   gpu\n        ^", []string{write(t, "t.yml", []byte("lead:\n  - cpu\n  - gpu\n  -   gpu\n"))}},
		{"wrong yaml", exitFailed, "2:1: error: unknown key \"a\", expected one of", []string{"@" + write(t, "t.yaml", []byte("lead: [cpu]\na: b\n"))}},
		{"a relay that comes back", exitFailed, "[loop]", []string{"lead(cpu, lead(lead(gpu)@me)@vendor-a)", "--config", config}},
		{"no expression", exitUsage, "", nil},
		{"no such file", exitUsage, "", []string{"@no-such-file"}},
		{"bad output", exitUsage, "", []string{"lead", "-o", "svg"}},
		{"empty evidence", exitUsage, "", []string{"lead", "--evidence", ""}},
		{"no evidence there", exitFailed, "", []string{"lead", "--evidence", "no-such-file"}},
	} {
		o := assize(t, state, append([]string{"topology", "lint"}, c.args...)...)
		if o.code != c.code || !strings.Contains(o.out, c.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", c.name, o.code, c.code, c.want, o.out, o.err)
		}
	}
	if _, err := os.Stat(filepath.Join(state, "keys")); err == nil {
		t.Error("lint makes keys")
	}
	o := assize(t, state, "topology", "lint", "lead(/x, \"\u001b[31m\"", "-o", "json")
	var d struct{ Problems []topologies.Problem }
	if err := json.Unmarshal([]byte(o.out), &d); err != nil || o.code != exitFailed || len(d.Problems) != 2 || d.Problems[0].Column != 6 {
		t.Errorf("%d %v: %s", o.code, err, o.out)
	}
	if o := assize(t, state, "topology", "lint", "lead(/x, \"\u001b[31m\""); strings.Contains(o.out+o.err, "\x1b") {
		t.Error("an expression reaches the terminal raw")
	}
	if o := assize(t, state, "topology", "lint", "lead", "-o", "json"); o.code != 0 || !strings.Contains(o.out, `"problems": []`) {
		t.Errorf("%d %s", o.code, o.out)
	}
}

func TestTopologyShow(t *testing.T) {
	state, config := t.TempDir(), peer(t)
	file := filepath.Join(simulated(t, state, "cpu-gpu", "json"), "evidence.cmw")
	show := func(expr string, more ...string) outcome {
		return assize(t, t.TempDir(), append([]string{"topology", "show", expr, "--evidence", file, "--config", config}, more...)...)
	}
	var d planJSON
	o := show("cascade(cpu, gpu@vendor-a)", "--nonce", simNonce, "-o", "json")
	if err := json.Unmarshal([]byte(o.out), &d); err != nil || o.code != 0 {
		t.Fatalf("%d %v %s", o.code, err, o.err)
	}
	if len(d.Relays) != 1 || d.Relays[0].Node != "vendor-a" || len(d.Components) != 2 || d.Components[0].NonceRule == "" || len(d.Messages) != 8 {
		t.Errorf("%+v", d)
	}
	sees := func(d planJSON, who string) topologies.Exposure {
		i := slices.IndexFunc(d.Exposures, func(x topologies.Exposure) bool { return x.Who == who })
		if i < 0 {
			return topologies.Exposure{}
		}
		return d.Exposures[i]
	}
	if x := sees(d, "vendor-a"); x.Whole || !slices.Equal(x.Clear, []evidence.Path{"gpu/0"}) {
		t.Errorf("vendor-a sees %+v", x)
	}
	d = planJSON{}
	if err := json.Unmarshal([]byte(show("cascade(cpu, gpu@vendor-a)", "--expose", "composite", "-o", "json").out), &d); err != nil || !sees(d, "vendor-a").Whole {
		t.Errorf("exposed, vendor-a sees %+v", sees(d, "vendor-a"))
	}
	text := show("cascade(cpu, gpu@vendor-a)")
	for _, want := range []string{"nvidia-gpu at node vendor-a, by relay 1", "to vendor-a: cascade(gpu/0), after cpu", "me → vendor-a", "who sees what", "no challenge"} {
		if !strings.Contains(text.out, want) {
			t.Errorf("no %q in\n%s", want, text.out)
		}
	}
	if o := show("lead(cpu, lead(gpu)@stranger)"); o.code != 0 || !strings.Contains(o.out, "REFUSED: node stranger is not known") {
		t.Errorf("%d %s", o.code, o.out)
	}
	svg := show("cascade(cpu, gpu@vendor-a)", "-o", "svg")
	for dec := xml.NewDecoder(strings.NewReader(svg.out)); ; {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if !strings.HasPrefix(svg.out, "<svg ") || svg.out != show("cascade(cpu, gpu@vendor-a)", "-o", "svg").out {
		t.Error("no drawing, or not the same twice")
	}
	for name, c := range map[string]struct {
		code int
		args []string
	}{
		"no evidence":   {exitUsage, []string{"lead"}},
		"bad output":    {exitUsage, []string{"lead", "--evidence", file, "-o", "dot"}},
		"bad exposure":  {exitUsage, []string{"lead", "--evidence", file, "--expose", "all"}},
		"bad nonce":     {exitUsage, []string{"lead", "--evidence", file, "--nonce", "00"}},
		"bad syntax":    {exitUsage, []string{"lead(", "--evidence", file}},
		"bad plan":      {exitUsage, []string{"lead(gpu, gpu/0)", "--evidence", file}},
		"no such file":  {exitFailed, []string{"lead", "--evidence", "no-such-file"}},
		"no subcommand": {exitUsage, nil},
	} {
		args := append([]string{"topology", "show"}, c.args...)
		if c.args == nil {
			args = args[:1]
		}
		if o := assize(t, state, args...); o.code != c.code {
			t.Errorf("%s: exit %d, want %d: %s", name, o.code, c.code, o.err)
		}
	}
}

// compare runs the command and reads its JSON.
func compare(t *testing.T, state, dir string, exprs ...string) (outcome, comparison) {
	t.Helper()
	args := []string{"topology", "compare", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "--endorsements", dir, "-o", "json"}
	for _, e := range exprs {
		args = append(args, "--topology", e)
	}
	o := assize(t, state, args...)
	var d comparison
	if o.code != exitUsage {
		if err := json.Unmarshal([]byte(o.out), &d); err != nil || len(d.Runs) != len(exprs) {
			t.Fatalf("%d %v: %s%s", o.code, err, o.out, o.err)
		}
	}
	return o, d
}

// What is counted is the plan that ran, whatever the machine and its format: a
// plan that the command makes otherwise than the lead is not counted.
func TestTopologyComparePlansAsTheLeadDoes(t *testing.T) {
	state := t.TempDir()
	for _, c := range []struct{ machine, format string }{{"cpu-gpu", "json"}, {"hgx", "cose"}, {"cpu-gpu", "ratsd-json"}, {"cpu-gpu", "ratsd-v2"}} {
		_, d := compare(t, state, simulated(t, state, c.machine, c.format), "lead", "parallel(lead)")
		for _, r := range d.Runs {
			if r.Messages == nil || *r.Messages < 4 || r.Bytes == nil || r.Same == nil || !*r.Same || r.Results == 0 || len(r.Failures) == 0 {
				t.Errorf("%s %s: %+v", c.machine, c.format, r)
			}
		}
	}
}

func TestTopologyCompare(t *testing.T) {
	state := t.TempDir()
	dir := simulated(t, state, "cpu-gpu", "json")
	o, d := compare(t, state, dir, "lead(cpu, gpu)", "lead(cpu, optional(gpu))", "lead(cpu)")
	if o.code != exitWarning || *d.Runs[0].Messages != 6 || d.Runs[0].Results != 2 || *d.Runs[2].Messages != 4 {
		t.Errorf("exit %d: %+v", o.code, d.Runs)
	}
	if r := d.Runs[2]; *r.Same || !slices.Equal(r.Differ, []evidence.Path{"gpu/0"}) || r.Parts["gpu/0"] != verdict.TierNone || r.Tiers["none"] != 1 {
		t.Errorf("without the GPU: %+v", r)
	}
	// Both verifiers count where both are required; an optional one only caps.
	changes := func(r runJSON) (n int) {
		for _, f := range r.Failures {
			if f.Changes {
				n++
			}
		}
		return n
	}
	if a, b := changes(d.Runs[0]), changes(d.Runs[1]); a != 2 || b != 1 {
		t.Errorf("the verdict depends on %d and %d nodes, want 2 and 1: %+v", a, b, d.Runs)
	}
	o, d = compare(t, state, dir, "lead", "lead(gpu, gpu/0)", "lead(cpu, gpu)")
	if o.code != exitFailed || d.Runs[1].Error == "" || d.Runs[1].Tier != nil || d.Runs[2].Tier == nil {
		t.Errorf("exit %d: %+v", o.code, d.Runs)
	}
	for _, exprs := range [][]string{nil, {"lead"}, {"lead", "lead("}, {"lead", ""}} {
		if o, _ := compare(t, state, dir, exprs...); o.code != exitUsage {
			t.Errorf("%q: exit %d", exprs, o.code)
		}
	}
	text := assize(t, state, "topology", "compare", filepath.Join(dir, "evidence.cmw"), "--topology", "lead", "--topology", "lead(cpu)")
	if !strings.Contains(text.out, "no: gpu/0") || !strings.Contains(text.out, "without verifier intel-tdx") && !strings.Contains(text.out, "contraindicated") {
		t.Errorf("%d %s", text.code, text.out)
	}
}

// A chain loses what is behind the node that fails.
func TestLossesFollowThePlan(t *testing.T) {
	in := topologies.Input{Route: func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }}
	for _, label := range []evidence.Path{"cpu", "gpu", "nic"} {
		in.Components = append(in.Components, topologies.Component{Label: label, Leaf: label, Scheme: "s", MediaType: evidence.MediaType{Base: "a/b"}, Evidence: []byte(label)})
	}
	e, err := topologies.Parse("cascade(cpu, gpu@a, nic@b)")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := topologies.New(e, in)
	if err != nil {
		t.Fatal(err)
	}
	flow, err := topologies.NewFlow(plan, topologies.FlowInput{})
	if err != nil {
		t.Fatal(err)
	}
	got := losses(plan, flow, &verdict.Result{}, func(string) string { return "" })
	if want := map[string]lost{"a": {"gpu": nil, "nic": nil}, "b": {"nic": nil}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// finds is a verified result about "nic" that has no more than a warning.
func finds(t *testing.T) (verdict.Partial, string) {
	t.Helper()
	s, err := trust.GenerateSigner(trust.EdDSA, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	anchors, err := trust.NewAnchors(s.Key("v", []string{"s"}, trust.RoleVerifier))
	if err != nil {
		t.Fatal(err)
	}
	now, nonce, digest := time.Unix(1750000000, 0), []byte("0123456789abcdef"), sha256.Sum256(nil)
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: nonce}
	a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	token, err := verdict.SignPartial(s, verdict.Issue{
		Verifier: verdict.Identity{Developer: "d", Build: "b"}, Label: "nic", Scheme: "s", MediaType: "a/b", Request: "r", Nonce: nonce, Evidence: digest, IssuedAt: now,
	}, a)
	if err != nil {
		t.Fatal(err)
	}
	p, err := verdict.VerifyPartial(token, verdict.Expect{Label: "nic", Scheme: "s", MediaType: "a/b", Request: "r", Nonce: nonce, Evidence: digest}, verdict.Intake{Now: now}, anchors)
	if err != nil {
		t.Fatal(err)
	}
	return p, s.KID()
}

// A quorum survives one node, a lone verifier is not survived, and a node that
// fails never leaves its component out.
func TestFailures(t *testing.T) {
	one, k1 := finds(t)
	two, k2 := finds(t)
	lone := verdict.Component{Label: "nic", Scheme: "s", Required: true, Partial: one}
	quorum := verdict.Component{Label: "nic", Scheme: "s", Required: true, Quorum: 1, Asked: 2}
	verdict.SetPartials(&quorum, []verdict.Partial{one, two})
	for name, c := range map[string]struct {
		part  verdict.Component
		nodes map[string]lost
		want  verdict.Tier
	}{
		"lone":            {lone, map[string]lost{"a": {"nic": {k1}}}, verdict.TierNone},
		"lone, another":   {lone, map[string]lost{"a": {"nic": {k2}}}, verdict.TierWarning},
		"quorum":          {quorum, map[string]lost{"a": {"nic": {k1}}}, verdict.TierWarning},
		"quorum, a relay": {quorum, map[string]lost{"a": {"nic": nil}}, verdict.TierNone},
	} {
		res := &verdict.Result{Components: []verdict.Component{c.part}}
		res.Outcome = verdict.Combine(res.Components, nil)
		got := failures(res, c.nodes)
		if len(got) != 1 || got[0].Tier != c.want || got[0].Changes != (c.want != verdict.TierWarning) || len(got[0].Labels) != 1 {
			t.Errorf("%s: %+v", name, got)
		}
		if res.Components[0].Partial.IsZero() {
			t.Errorf("%s: the verdict itself has changed", name)
		}
	}
}

// Every sub-command explains itself with an example.
func TestTopologyHelp(t *testing.T) {
	for _, c := range newTopology(&globals{}).Commands() {
		if o := assize(t, t.TempDir(), "topology", c.Name(), "--help"); o.code != 0 || c.Example == "" || !strings.Contains(o.out, "Examples:") {
			t.Errorf("%s: %d", c.Name(), o.code)
		}
	}
}

// The two forms of an expression give the same plan, and each prints the other.
func TestTopologyForms(t *testing.T) {
	state := t.TempDir()
	const text = "lead(cpu, cascade(gpu/*@a, switch@b), parallel(quorum 2: nic@x, nic@y))"
	const form = "lead:\n  - cpu\n  - cascade: [gpu/*@a, switch@b]\n  - parallel: {quorum: 2, of: [nic@x, nic@y]}\n"
	file := write(t, "t.yaml", []byte(form))
	for _, c := range []struct{ arg, format, want string }{
		{text, "yaml", form}, {file, "text", text + "\n"}, {file, "yaml", form}, {text, "text", text + "\n"},
	} {
		if o := assize(t, state, "topology", "show", c.arg, "--format", c.format); o.code != 0 || o.out != c.want {
			t.Errorf("%s %s: %d %q %s", c.arg, c.format, o.code, o.out, o.err)
		}
	}
	one, two := assize(t, state, "topology", "show", "lead(cpu, gpu)", "--evidence", sample(t)), assize(t, state, "topology", "show", write(t, "u.yml", []byte("lead: [cpu, gpu]")), "--evidence", sample(t))
	if one.code != 0 || one.out != two.out {
		t.Errorf("%d %s\n%s%s", one.code, one.out, two.out, two.err)
	}
	for arg, want := range map[string]string{
		write(t, "v.yaml", []byte("lead:\n  - cpu\n  - /x\n")): "line 3, column 5: \"/x\" is not a label path\n    - /x\n      ^",
		"lead(/x)":                        "at position 6",
		write(t, "w.yaml", []byte("#\n")): "no expression",
	} {
		if o := assize(t, state, "topology", "show", arg, "--format", "text"); o.code != exitUsage || !strings.Contains(o.err, want) {
			t.Errorf("%s: %d %s", arg, o.code, o.err)
		}
	}
	if o := assize(t, state, "topology", "show", "lead", "--format", "xml"); o.code != exitUsage {
		t.Errorf("%d %s", o.code, o.err)
	}
}
