// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
)

type verdictPath = evidence.Path

func encoded(tb testing.TB, d verdict.Document) string {
	tb.Helper()
	raw, err := json.Marshal(d)
	if err != nil {
		tb.Fatal(err)
	}
	return string(raw)
}

func TestDecode(t *testing.T) {
	want := honest()
	text := encoded(t, want)
	got, err := Decode([]byte(" " + text + "\n"))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%v\n%+v\n%+v", err, got, want)
	}
	for name, bad := range map[string]string{
		"nothing":                "",
		"no object":              "[1]",
		"another object":         "{}",
		"half":                   text[:len(text)/2],
		"behind":                 text + "{}",
		"twice":                  strings.Replace(text, `"topology":`, `"topology":"x","topology":`, 1),
		"twice below":            strings.Replace(text, `"tier":"affirming","scheme"`, `"tier":"warning","tier":"affirming","scheme"`, 1),
		"twice in a list":        strings.Replace(text, `"kind":`, `"kind":"x","kind":`, 1),
		"unknown member":         strings.Replace(text, `"topology":`, `"top":1,"topology":`, 1),
		"tier":                   strings.Replace(text, `"tier":"affirming"`, `"tier":"good"`, 1),
		"affirming over warning": strings.Replace(text, `"tier":"affirming","scheme"`, `"tier":"warning","scheme"`, 1),
		"deep":                   strings.Replace(text, `"claims":{}`, `"claims":{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`, 1),
	} {
		if bad == text {
			t.Errorf("%s: the text was not changed", name)
		}
		if _, err := Decode([]byte(bad)); !errors.Is(err, ErrNoDocument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Decode(make([]byte, limits.AggregateResult+1)); err == nil || errors.Is(err, ErrNoDocument) {
		t.Errorf("too large: %v", err)
	}
}

func FuzzExplain(f *testing.F) {
	f.Add([]byte(encoded(f, honest())))
	d := with(honest(), "gpu/0", func(c *verdict.ComponentDocument) {
		c.Tier, c.Reasons = verdict.TierContraindicated, []verdict.Reason{{Code: verdict.ReasonNonceMismatch, Expected: "aa"}, {Code: "what"}}
	})
	d.Verdict = verdict.Statement{Tier: verdict.TierContraindicated, Reasons: []verdict.Reason{{Code: verdict.ReasonBindingBroken}, {Code: verdict.ReasonExtraRoots}}}
	d.Bindings[0].Status = "broken"
	d.Policy = &verdict.PolicyStatement{ID: "p", Digest: strings.Repeat("00", 32)}
	d.Requirements = []verdict.Requirement{{Label: "x", Source: verdict.SourcePolicy}}
	f.Add([]byte(encoded(f, d)))
	f.Add([]byte(`{"verdict":{"tier":"none"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := Decode(raw)
		if err != nil {
			return
		}
		of(t, d)
	})
}
