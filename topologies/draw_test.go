// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
)

func flowOf(t *testing.T, expr string, parts []Component, in FlowInput) *Flow {
	t.Helper()
	f, err := NewFlow(plan(t, expr, Input{Components: parts, Self: in.Self}), in)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// lines is one line per message.
func lines(f *Flow) string {
	var out []string
	for _, m := range f.Messages {
		out = append(out, fmt.Sprintf("%d %s>%s %s %d", m.Stage, m.From, m.To, m, m.EvidenceBytes))
	}
	return strings.Join(out, "\n")
}

func seen(f *Flow, who string) string {
	for _, x := range f.Exposures {
		if x.Who == who {
			return strings.Join(x.Lines(), "; ")
		}
	}
	return "nothing"
}

func TestFlowOfLead(t *testing.T) {
	f := flowOf(t, "lead(cpu, gpu/0@x, tpm)", []Component{component("cpu", 64), component("gpu/0", 32), component("nic", 32)}, FlowInput{Composite: 100})
	want := `1 (caller)>(entry) submit · composite 100
2 (entry)>intel-tdx appraise · cpu 3
2 (entry)>intel-tdx@x appraise · gpu/0 5
3 intel-tdx>(entry) result · results cpu 0
3 intel-tdx@x>(entry) result · results gpu/0 0
4 (entry)>(caller) verdict · results cpu, gpu/0, nic, tpm 0`
	if lines(f) != want {
		t.Errorf("got\n%s\nwant\n%s", lines(f), want)
	}
	for who, want := range map[string]string{"intel-tdx": "reads cpu", "intel-tdx@x": "reads gpu/0", "(entry)": "reads the whole composite; results on cpu, gpu/0"} {
		if got := seen(f, who); got != want {
			t.Errorf("%s: %s", who, got)
		}
	}
}

func TestFlowOfQuorum(t *testing.T) {
	f := flowOf(t, "parallel(quorum 1: cpu@x, cpu@y)", []Component{component("cpu", 64)}, FlowInput{})
	if seen(f, "intel-tdx@x") != "reads cpu" || seen(f, "intel-tdx@y") != "reads cpu" || len(f.Messages) != 6 {
		t.Error(lines(f))
	}
}

func TestFlowOfCascade(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32), component("nic/0", 32)}
	f := flowOf(t, "cascade(cpu, gpu@a, nic@b)", parts, FlowInput{Self: "me", Composite: 100, Commit: []evidence.Path{"cpu", "gpu/0", "nic/0"}})
	want := `1 (caller)>me submit · composite 100
2 me>intel-tdx appraise · cpu 3
3 intel-tdx>me result · results cpu 0
4 me>a relay · gpu/0 · sealed nic/0 · digests cpu · results cpu 10
5 a>intel-tdx@a appraise · gpu/0 5
6 intel-tdx@a>a result · results gpu/0 0
7 a>b relay · nic/0 · digests cpu, gpu/0 · results cpu, gpu/0 5
8 b>intel-tdx@b appraise · nic/0 5
9 intel-tdx@b>b result · results nic/0 0
10 b>a answer · results cpu, gpu/0, nic/0 0
11 a>me answer · results cpu, gpu/0, nic/0 0
12 me>(caller) verdict · results cpu, gpu/0, nic/0 0`
	if lines(f) != want {
		t.Errorf("got\n%s\nwant\n%s", lines(f), want)
	}
	if got := seen(f, "a"); got != "reads gpu/0; carries sealed nic/0; digests of cpu; results on cpu, gpu/0, nic/0" {
		t.Errorf("a sees: %s", got)
	}
	if got := seen(f, "b"); got != "reads nic/0; digests of cpu, gpu/0; results on cpu, gpu/0, nic/0" {
		t.Errorf("b sees: %s", got)
	}
	f = flowOf(t, "cascade(cpu, gpu@a, nic@b)", parts, FlowInput{Composite: 100, Expose: true})
	for _, who := range []string{"a", "b"} {
		if got := seen(f, who); !strings.HasPrefix(got, "reads the whole composite; results") {
			t.Errorf("exposed, %s sees: %s", who, got)
		}
	}
}

func TestFlowRefuses(t *testing.T) {
	parts := []Component{component("cpu", 64), component("gpu/0", 32), component("nic/0", 32)}
	without := func(unknown, bare string) func(string) (bool, bool) {
		return func(n string) (bool, bool) { return n != unknown, n != unknown && n != bare }
	}
	for _, c := range []struct {
		expr   string
		expose bool
		node   func(string) (bool, bool)
		want   string
	}{
		{"lead(cpu, lead(gpu)@a)", false, without("a", ""), "node a is not known"},
		{"lead(cpu, cascade(gpu@a, nic@b))", false, without("b", ""), "node b is not known"},
		{"lead(cpu, cascade(gpu@a, nic@b))", false, without("", "b"), "node b has no key to seal evidence to"},
		{"lead(cpu, cascade(gpu@a, nic@b))", true, without("", "b"), ""},
		{"lead(cpu, lead(gpu, lead(nic)@me)@a)", false, nil, "it comes back to node me"},
	} {
		f := flowOf(t, c.expr, parts, FlowInput{Self: "me", Expose: c.expose, Node: c.node})
		got := ""
		for _, m := range f.Messages {
			if m.Refused != "" {
				got = m.Refused
				if m.Whole || m.EvidenceBytes != 0 || m.Clear != nil || m.Sealed != nil {
					t.Errorf("%s: a refused message has contents: %+v", c.expr, m)
				}
			}
		}
		if got != c.want {
			t.Errorf("%s: refused %q, want %q", c.expr, got, c.want)
		}
	}
	f := flowOf(t, "lead(cpu, cascade(gpu@a, nic@b))", parts, FlowInput{Expose: true, Node: without("", "b")})
	if got := seen(f, "a"); !strings.Contains(got, "whole composite") {
		t.Errorf("a sees: %s", got)
	}
}

func TestSVG(t *testing.T) {
	hostile := `<script>&"]]>` + "\x01" + strings.Repeat("x", 80)
	parts := []Component{component("cpu", 64), component(hostile, 32)}
	f := flowOf(t, "lead", parts, FlowInput{Composite: 100})
	raw := f.SVG("lead " + hostile)
	if !bytes.Equal(raw, f.SVG("lead "+hostile)) {
		t.Error("not the same twice")
	}
	if bytes.Contains(raw, []byte("<script")) || bytes.Contains(raw, []byte("\x01")) {
		t.Error("a label is not escaped")
	}
	count, text := map[string]int{}, ""
	for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			count[tok.Name.Local]++
			for _, a := range tok.Attr {
				if a.Name.Local == "class" {
					count[a.Value]++
				}
			}
		case xml.CharData:
			text += string(tok)
		}
	}
	if count["svg"] != 1 || count["script"] != 0 || count["node"] != 3 || count["message"] != len(f.Messages) {
		t.Errorf("elements: %v for %d messages", count, len(f.Messages))
	}
	if !strings.Contains(text, `<script>&"]]>`) || !strings.Contains(text, strings.Repeat("x", 80)) {
		t.Error("the label is not in the text")
	}
}

func BenchmarkFlow(b *testing.B) {
	var parts []Component
	for i := range 64 {
		parts = append(parts, component(fmt.Sprintf("gpu/%02d", i), 32))
	}
	e, err := Parse("cascade(gpu/00, gpu/01@a, gpu/02@b)")
	if err != nil {
		b.Fatal(err)
	}
	p, err := New(e, Input{Components: parts, Route: anywhere})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewFlow(p, FlowInput{}); err != nil {
			b.Fatal(err)
		}
	}
}
