// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
)

// present is a component that was submitted; required and without a verdict,
// unless changed.
func present(label, scheme string, change ...func(*Component)) Component {
	c := Component{Label: evidence.Path(label), Scheme: scheme, Required: true, Evidence: [32]byte{1}}
	for _, f := range change {
		f(&c)
	}
	return c
}

func TestComplete(t *testing.T) {
	board := []Component{present("cpu", "intel-tdx")}
	for _, n := range []string{"0", "1", "2"} {
		board = append(board, present("gpu/"+n, "nvidia-gpu"))
	}
	missing := func(c *Component) { c.Evidence = [32]byte{} }
	optional := func(c *Component) { c.Required = false }
	for name, c := range map[string]struct {
		demand []string
		parts  []Component
		want   string
	}{
		"nothing demanded":           {nil, board, ""},
		"all that is there":          {[]string{"cpu", "gpu/*=3"}, board, ""},
		"at least":                   {[]string{"cpu", "gpu/*>=2"}, board, ""},
		"one too few":                {[]string{"cpu", "gpu/*=4"}, board, "none missing-component"},
		"too few at least":           {[]string{"cpu", "gpu/*>=4"}, board, "none missing-component"},
		"one too many":               {[]string{"cpu", "gpu/*=2"}, board, "warning unexpected-component"},
		"none at all":                {[]string{"cpu", "gpu/*", "nic/*"}, board, "none missing-component"},
		"an optional one lacks":      {[]string{"cpu", "gpu/*", "nic/*?"}, board, ""},
		"one that nobody knows":      {[]string{"cpu"}, board, "warning unexpected-component"},
		"another scheme":             {[]string{"cpu", "gpu/*:nvidia-nvswitch=3"}, board, "none missing-component; warning unexpected-component"},
		"the right scheme":           {[]string{"cpu:intel-tdx", "gpu/*:nvidia-gpu=3"}, board, ""},
		"not submitted":              {[]string{"cpu", "gpu/*=1"}, []Component{board[0], present("gpu/0", "nvidia-gpu", missing)}, "none missing-component"},
		"optional, without verdict":  {[]string{"cpu", "gpu/*=1"}, []Component{board[0], present("gpu/0", "nvidia-gpu", optional)}, "none missing-component"},
		"none of these":              {[]string{"cpu", "gpu/*=0"}, board, "warning unexpected-component"},
		"no components":              {[]string{"cpu"}, nil, "none missing-component"},
		"two demands of one pattern": {[]string{"cpu", "gpu/*=3", "gpu/*>=4"}, board, "none missing-component"},
	} {
		var demand []Requirement
		for _, text := range c.demand {
			q, err := ParseRequirement(text, SourceConfiguration)
			if err != nil {
				t.Fatal(err)
			}
			demand = append(demand, q)
		}
		var got []string
		for _, cap := range Complete(demand, c.parts) {
			got = append(got, cap.Tier.String()+" "+cap.Reason.Code)
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %v, want %q", name, got, c.want)
		}
	}
}

// What evidence demands lowers, and makes nothing expected that others do not
// know.
func TestCompleteOfEvidence(t *testing.T) {
	parts := []Component{present("cpu", "intel-tdx"), present("nic", "dmtf-spdm")}
	own := Requirement{Label: "cpu", Source: SourceConfiguration}
	theirs := []Requirement{{Label: "nic", Optional: true, Source: SourceLeadEvidence}, {Label: "cpu", Source: SourceLeadEvidence}}
	if caps := Complete(append(theirs, own), parts); len(caps) != 1 || caps[0].Reason.Code != ReasonUnexpected {
		t.Errorf("beside the configuration: %v", caps)
	}
	if caps := Complete(theirs, parts); len(caps) != 0 {
		t.Errorf("alone: %v", caps)
	}
	if caps := Complete([]Requirement{{Label: "gpu", Source: SourceLeadEvidence}, own, {Label: "nic", Source: SourcePolicy}}, parts); len(caps) != 1 || caps[0].Tier != TierNone {
		t.Errorf("a demand of the evidence: %v", caps)
	}
}

func TestParseRequirement(t *testing.T) {
	for text, want := range map[string]string{
		"gpu/*:nvidia-gpu=8": "exactly 8 of gpu/* by nvidia-gpu (policy)",
		"gpu/*>=1":           "at least 1 of gpu/* (policy)",
		"cpu":                "at least 1 of cpu (policy)",
		"nic/*?":             "any number of nic/* (policy)",
		"a:b:spdm":           "at least 1 of a:b by spdm (policy)",
	} {
		q, err := ParseRequirement(text, SourcePolicy)
		if err != nil || q.String() != want {
			t.Errorf("%s: %q, %v", text, q, err)
		}
	}
	for _, bad := range []string{"", ":spdm", "gpu=", "gpu=-1", "gpu=257", "gpu=01", "gpu>=x", "gpu:", "gpu:A", "?", "gpu=1?", "gpu>=2?"} {
		if q, err := ParseRequirement(bad, SourcePolicy); err == nil {
			t.Errorf("%q: %v", bad, q)
		}
	}
	two := 2
	for _, bad := range []Requirement{{}, {Label: "x"}, {Label: "x", Source: "me"}, {Label: "x", Source: SourcePolicy, Exactly: &two, AtLeast: &two}, {Label: "x", Source: SourcePolicy, Optional: true, AtLeast: &two}} {
		if bad.Check() == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// A good word of a policy counts for nothing, a bad one for what it says.
func TestLower(t *testing.T) {
	v := Vector{}
	v[Executables], v[Hardware], v[Configuration] = 3, 32, 96
	by := Vector{}
	for n := range by {
		by[n] = 2
	}
	if v.Lower(by) != v || v.Lower(Vector{}) != v {
		t.Errorf("good words change %v to %v", v, v.Lower(by))
	}
	by = Vector{}
	by[Executables], by[Hardware], by[Configuration], by[FileSystem], by[StorageOpaque] = 33, 96, 36, 33, 1
	got := v.Lower(by)
	if got[Executables] != 33 || got[Hardware] != 96 || got[Configuration] != 96 || got[FileSystem] != 33 || got[StorageOpaque] != 1 {
		t.Errorf("lowered to %v", got)
	}
	c := Component{Label: "gpu", Lowered: by}
	if c.Tier() != TierNone || !slices.Contains(got[:], 33) {
		t.Errorf("without a result: %s", c.Tier())
	}
}
