// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
)

func TestFindings(t *testing.T) {
	r := newLab(t).small()
	p := mustLoad(t, `
component contains {"label": label, "claims": {"executables": 33, "configuration": 36}, "tier": "warning", "detail": "old driver"} if {
	some label, c in input.components
	c.scheme == "nvidia-gpu"
	c.claims["measurement-07"].index == 7
}
component contains {"label": label, "detail": sprintf("seen at %s", [input.session.time])} if some label, _ in input.components
composite contains {"tier": "none", "detail": "b"} if input.tier == "affirming"
composite contains {"tier": "warning", "detail": "c"} if input.bound["gpu/0"] == {"strength": "strong", "origin": "hardware", "via": ["tsm-digest"]}
composite contains {"tier": "warning", "detail": "a"} if input.bindings[0].kind == "common-nonce"
composite contains {"tier": "affirming", "detail": "z"}
annotations[label] := c.tier if some label, c in input.components
`)
	got, err := p.Components(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	lowered := verdict.Vector{verdict.Executables: 33, verdict.Configuration: 36}
	want := []Finding{
		{Label: "cpu", Tier: verdict.TierAffirming, Detail: "seen at 2026-11-22T12:00:00Z"},
		{Label: "gpu/0", Tier: verdict.TierAffirming, Detail: "seen at 2026-11-22T12:00:00Z"},
		{Label: "gpu/0", Lowered: lowered, Tier: verdict.TierWarning, Detail: "old driver"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("findings %+v, want %+v", got, want)
	}
	d, err := p.Composite(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	var caps []string
	for _, c := range d.Caps {
		caps = append(caps, fmt.Sprint(c.Tier, " ", c.Reason.Code, " ", c.Reason.Detail, " ", c.Reason.Source))
		if ceiling := verdict.ReasonCeiling(c.Reason.Code); ceiling != c.Tier {
			t.Errorf("the code %s has the ceiling %s, and the cap is %s", c.Reason.Code, ceiling, c.Tier)
		}
	}
	if want := []string{
		"affirming policy-remark z policy test", "warning policy a policy test", "warning policy c policy test", "none policy-none b policy test",
	}; !reflect.DeepEqual(caps, want) {
		t.Errorf("caps %q", caps)
	}
	if want := map[string]string{"cpu": "affirming", "gpu/0": "affirming"}; !reflect.DeepEqual(d.Annotations, want) {
		t.Errorf("annotations %v", d.Annotations)
	}
}

// TestJunk: what is no finding is an error, and never nothing.
func TestJunk(t *testing.T) {
	r := newLab(t).small()
	many := `some i, _ in split("` + strings.Repeat("x", 300) + `", "")`
	for text, want := range map[string]string{
		`component contains 1`:                                                                            "no object",
		`component contains true`:                                                                         "no object",
		`component contains "cpu"`:                                                                        "no object",
		`component contains x if x := {"label": "cpu"}`:                                                   "detail",
		`component contains {"label": "cpu", "detail": ""}`:                                               "detail",
		`component contains {"label": "cpu", "detail": 1}`:                                                "detail",
		`component contains {"detail": "d"}`:                                                              "no component",
		`component contains {"label": "nic", "detail": "d"}`:                                              "no component",
		`component contains {"label": 1, "detail": "d"}`:                                                  "label",
		`component contains x if x := {"label": "cpu", "detail": "d", "more": 1}`:                         "more",
		`component contains x if x := {"label": "cpu", "detail": "d", 1: 1}`:                              "key",
		`component contains {"label": "cpu", "detail": "d", "tier": input.session.id}`:                    "tier",
		`component contains {"label": "cpu", "detail": "d", "tier": 2}`:                                   "tier",
		`component contains {"label": "cpu", "detail": "d", "claims": 3}`:                                 "claims",
		`component contains {"label": "cpu", "detail": "d", "claims": {input.session.node: 33}}`:          "node-a",
		`component contains {"label": "cpu", "detail": "d", "claims": {"executables": input.session.id}}`: "claims",
		`component contains {"label": "cpu", "detail": "d", "claims": {"executables": count(input)}}`:     "lowers",
		`component contains {"label": "cpu", "detail": "d", "claims": {"hardware": 0 - 1}}`:               "lowers",
		`component contains {"label": "cpu", "detail": sprintf("%d", [i])} if ` + many:                    "at most",
		`component contains {"label": "cpu", "detail": "` + strings.Repeat("x", MaxDetail+1) + `"}`:       "bytes",
		`component contains {"label": "cpu", "detail": lower(input.session)}`:                             "string",
		`component contains {"label": "cpu", "detail": "d"} if x
x := 1 if input.session
x := 2 if input.session`: "conflict",
	} {
		if _, err := mustLoad(t, text).Components(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, want %q", text, err, want)
		}
	}
	for text, want := range map[string]string{
		`composite contains 1`:                                                            "no object",
		`composite contains x if x := {"detail": "d"}`:                                    "tier",
		`composite contains {"tier": "warning"}`:                                          "detail",
		`composite contains x if x := {"label": "cpu", "tier": "warning", "detail": "d"}`: "label",
		`composite contains {"tier": "warning", "detail": sprintf("%d", [i])} if ` + many: "at most",
		`annotations.x := 1`:                                                              "text",
		`annotations[1] := "x"`:                                                           "text",
		`annotations.x := "` + strings.Repeat("x", MaxAnnotation+1) + `"`:                 "bytes",
		`annotations[x] := "y" if x := ""`:                                                "bytes",
		`annotations[sprintf("%d", [i])] := "x" if ` + many:                               "at most",
		`annotations.x := input.components[l].tier if some l, _ in input.components` + "\n" + `annotations.x := "y"`: "conflict",
	} {
		if _, err := mustLoad(t, text).Composite(t.Context(), r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.100s: %v, want %q", text, err, want)
		}
	}
}

// loop counts a cross product that takes hours.
const loop = `composite contains {"tier": "warning", "detail": sprintf("%d", [count(tuples)])} if true
xs := [i | some i, _ in split("` + "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" + `", "")]
tuples := [[a, b, c, d, e] | some a in xs; some b in xs; some c in xs; some d in xs; some e in xs]
`

// TestLoopIsStopped: a policy that does not end is stopped within its budget, and
// what it has built by then is bounded.
func TestLoopIsStopped(t *testing.T) {
	for _, budget := range []time.Duration{20 * time.Millisecond, DefaultBudget} {
		p, err := Options{Budget: budget}.Load("loop", []byte("package assize\n"+loop))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err = p.Composite(t.Context(), &verdict.Result{Time: testTime})
		took := time.Since(start)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrBudget) {
			t.Errorf("budget %s: %v", budget, err)
		}
		if took < budget || took > budget+2*time.Second { // the margin is for a machine that is busy
			t.Errorf("budget %s: stopped after %s", budget, took)
		}
		built := (after.TotalAlloc - before.TotalAlloc) >> 20
		t.Logf("budget %s: stopped after %s, built %d MiB", budget, took, built)
		if built > 1<<10 {
			t.Errorf("budget %s: built %d MiB", budget, built)
		}
		waitUnstuck(t, p)
	}
}

func waitUnstuck(t *testing.T, p *Policy) {
	t.Helper()
	for range 2000 {
		if p.stuck.Load() == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%d evaluations still run", p.stuck.Load())
}

// TestStuck: a single call that is long, and does not mind being stopped, holds
// nobody up, and with too many of them the policy is not evaluated.
func TestStuck(t *testing.T) {
	text := "package assize\nannotations.x := \"y\" if a22 <= b22\na0 := [1]\nb0 := [1]\n"
	for n := range 22 { // comparing these takes 4 million steps in one
		text += fmt.Sprintf("a%d := [x | some _ in [1, 2]; x := a%d]\nb%d := [x | some _ in [1, 2]; x := b%d]\n", n+1, n, n+1, n)
	}
	p, err := Options{Budget: time.Millisecond}.Load("stuck", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Composite(t.Context(), &verdict.Result{Time: testTime}); !errors.Is(err, ErrBudget) {
		t.Errorf("%v", err)
	}
	waitUnstuck(t, p)
	p.stuck.Store(maxStuck)
	if _, err := p.Composite(t.Context(), &verdict.Result{Time: testTime}); !errors.Is(err, ErrBudget) || !strings.Contains(err.Error(), "have not ended") {
		t.Errorf("%v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p, err := Options{Budget: time.Minute}.Load("loop", []byte("package assize\n"+loop))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := p.Composite(ctx, &verdict.Result{Time: testTime}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	waitUnstuck(t, p)
}

// TestConcurrent: one policy judges many results at once, and always the same.
func TestConcurrent(t *testing.T) {
	l := newLab(t)
	r := l.hgx()
	p, err := Options{Budget: time.Minute}.Library("strict")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if found, err := p.Components(t.Context(), r); err != nil || len(found) != 0 {
					t.Errorf("%v %v", found, err)
				}
				if d, err := p.Composite(t.Context(), r); err != nil || len(d.Caps) != 0 {
					t.Errorf("%v %v", d, err)
				}
			}
		})
	}
	wg.Wait()
}
