// SPDX-License-Identifier: Apache-2.0

package appraisal

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/verdict"
)

type parameters struct {
	Days int      `yaml:"days"`
	List []string `yaml:"list"`
}

func (p parameters) Check() error {
	if p.Days < 0 {
		return errors.New("days below zero")
	}
	return nil
}

func defaults() Defaults {
	return Defaults{
		Scheme: "test",
		Findings: []Finding{
			{Name: "good", Effect: Effect{verdict.Hardware: 2}, Text: "All is well."},
			{Name: "old", Code: verdict.ReasonTCBOutOfDate, Effect: Effect{verdict.Hardware: 32}, Text: "It is old."},
			{
				Name: "debug", Code: verdict.ReasonDebug, Effect: Effect{verdict.Configuration: 96, verdict.RuntimeOpaque: 96},
				Floor: Effect{verdict.Configuration: 96}, Text: "It is open to the host.",
			},
		},
		Parameters: parameters{Days: 90, List: []string{"a"}},
	}
}

// policy is the defaults as a policy.
func policy(tb testing.TB, d Defaults) *Policy {
	tb.Helper()
	p, err := d.Policy()
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestCheck(t *testing.T) {
	if err := defaults().Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Defaults){
		"no scheme":               func(d *Defaults) { d.Scheme = "" },
		"no findings":             func(d *Defaults) { d.Findings = nil },
		"twice":                   func(d *Defaults) { d.Findings = append(d.Findings, d.Findings[0]) },
		"bad name":                func(d *Defaults) { d.Findings[0].Name = "A b" },
		"no text":                 func(d *Defaults) { d.Findings[0].Text = "" },
		"lowers without a reason": func(d *Defaults) { d.Findings[1].Code = "" },
		"above its own floor":     func(d *Defaults) { d.Findings[2].Effect = Effect{verdict.Configuration: 32} },
		"without the floor":       func(d *Defaults) { d.Findings[2].Effect = Effect{verdict.RuntimeOpaque: 96} },
		"no value of a policy":    func(d *Defaults) { d.Findings[0].Effect = Effect{verdict.Hardware: 1} },
	} {
		d := defaults()
		change(&d)
		if _, err := d.Policy(); err == nil || d.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestApply(t *testing.T) {
	p := policy(t, defaults())
	var a verdict.Appraisal
	p.Apply(&a, "good", "")
	if a.Vector[verdict.Hardware] != 2 || len(a.Reasons) != 0 {
		t.Fatalf("%v %v", a.Vector, a.Reasons)
	}
	p.Apply(&a, "old", "of last year")
	p.Apply(&a, "good", "")
	if a.Vector[verdict.Hardware] != 32 || len(a.Reasons) != 1 || a.Reasons[0].Detail != "of last year" {
		t.Fatalf("%v %v", a.Vector, a.Reasons)
	}
	p.Apply(&a, "debug", "x")
	if a.Vector[verdict.Configuration] != 96 || a.Vector[verdict.RuntimeOpaque] != 96 {
		t.Fatalf("%v", a.Vector)
	}
	p.Apply(&a, "unheard of", "x")
	if a.Vector.Status() != verdict.TierNone || a.Reasons[len(a.Reasons)-1].Code != verdict.ReasonMalfunction {
		t.Fatalf("a finding that nobody declared: %v %v", a.Vector, a.Reasons)
	}
}

func TestParse(t *testing.T) {
	d := defaults()
	p, err := d.Parse([]byte("scheme: test\nfindings:\n  old: {hardware: 96, configuration: 32}\n  good: {hardware: 33}\nparameters:\n  days: 7\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(p.Effect("old"), Effect{verdict.Hardware: 96, verdict.Configuration: 32}) || !maps.Equal(p.Effect("debug"), d.Findings[2].Effect) {
		t.Errorf("rows %v %v", p.Effect("old"), p.Effect("debug"))
	}
	got := Parameters[parameters](p)
	if got.Days != 7 || !slices.Equal(got.List, []string{"a"}) || d.Parameters.(parameters).Days != 90 {
		t.Errorf("parameters %+v, defaults %+v", got, d.Parameters)
	}
	if policy(t, d).ID() != "test" || !strings.HasPrefix(p.ID(), "test:sha-256:") || len(p.ID()) != len("test:sha-256:")+64 {
		t.Errorf("ids %q %q", policy(t, d).ID(), p.ID())
	}
	var a verdict.Appraisal
	if p.Apply(&a, "good", "says why"); a.Vector[verdict.Hardware] != 33 || len(a.Reasons) != 1 || a.Reasons[0].Code != verdict.ReasonPolicy {
		t.Errorf("a row that got worse has no reason: %v %v", a.Vector, a.Reasons)
	}
	if name, err := Scheme([]byte("scheme: x\n")); err != nil || name != "x" {
		t.Errorf("%q, %v", name, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":                  "",
		"another scheme":         "scheme: other\n",
		"no scheme":              "findings: {old: {hardware: 2}}\n",
		"unknown member":         "scheme: test\nrules: {}\n",
		"unknown finding":        "scheme: test\nfindings: {new: {hardware: 2}}\n",
		"unknown claim":          "scheme: test\nfindings: {old: {software: 2}}\n",
		"no row":                 "scheme: test\nfindings:\n  old:\n",
		"no value":               "scheme: test\nfindings: {old: {hardware: }}\n",
		"not a number":           "scheme: test\nfindings: {old: {hardware: good}}\n",
		"too large":              "scheme: test\nfindings: {old: {hardware: 200}}\n",
		"verifier's own value":   "scheme: test\nfindings: {old: {hardware: -1}}\n",
		"nothing asserted":       "scheme: test\nfindings: {old: {hardware: 0}}\n",
		"better than the floor":  "scheme: test\nfindings: {debug: {configuration: 32}}\n",
		"floor left out":         "scheme: test\nfindings: {debug: {runtime-opaque: 96}}\n",
		"floor row emptied":      "scheme: test\nfindings: {debug: {}}\n",
		"twice":                  "scheme: test\nfindings: {old: {hardware: 2}, old: {hardware: 96}}\n",
		"unknown parameter":      "scheme: test\nparameters: {hours: 1}\n",
		"parameter out of range": "scheme: test\nparameters: {days: -1}\n",
		"parameters no object":   "scheme: test\nparameters: 7\n",
		"two documents":          "scheme: test\n---\nscheme: test\n",
		"too long":               "scheme: test\n#" + strings.Repeat("x", MaxPolicy),
	} {
		if _, err := defaults().Parse([]byte(text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	d := defaults()
	d.Parameters = nil
	if _, err := d.Parse([]byte("scheme: test\nparameters: {days: 1}\n")); err == nil {
		t.Error("parameters of a scheme without: accepted")
	}
}

// TestYAML reads what it wrote: the file that an operator starts from changes
// nothing.
func TestYAML(t *testing.T) {
	d := defaults()
	raw, err := d.YAML()
	if err != nil {
		t.Fatal(err)
	}
	p, err := d.Parse(raw)
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	for _, f := range d.Findings {
		if !maps.Equal(p.Effect(f.Name), f.Effect) {
			t.Errorf("%s: %v, want %v", f.Name, p.Effect(f.Name), f.Effect)
		}
		if !strings.Contains(string(raw), f.Text) {
			t.Errorf("%s is not explained:\n%s", f.Name, raw)
		}
	}
	if got := Parameters[parameters](p); got.Days != 90 || len(got.List) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestOr(t *testing.T) {
	d, other := defaults(), defaults()
	other.Scheme = "other"
	if p, err := d.Or(nil); err != nil || p.Scheme() != "test" {
		t.Error(err)
	}
	if _, err := d.Or(policy(t, other)); err == nil {
		t.Error("a policy of another scheme is accepted")
	}
}

func FuzzParse(f *testing.F) {
	raw, err := defaults().YAML()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte("scheme: test\nfindings: {debug: {configuration: 96}}\nparameters: {days: 3, list: [a, b]}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := defaults().Parse(raw)
		if err == nil && p.Effect("debug")[verdict.Configuration].Tier() != verdict.TierContraindicated {
			t.Fatalf("the floor does not hold: %v", p.Effect("debug"))
		}
	})
}
