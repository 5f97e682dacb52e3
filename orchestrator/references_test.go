// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// namedWord is word for evidence whose words are followed by "as" and the names of
// the component.
type namedWord struct{}

func (namedWord) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	raw, names, _ := strings.Cut(string(in.Evidence), " as ")
	in.Evidence = []byte(raw)
	a, err := word{}.Appraise(ctx, in)
	for name := range strings.FieldsSeq(names) {
		if name == "nonsense" {
			a.Facts.Environments = append(a.Facts.Environments, base64.RawURLEncoding.EncodeToString([]byte{0xa0}))
			continue
		}
		a.Facts.Environments = append(a.Facts.Environments, base64.RawURLEncoding.EncodeToString(corim.EncodeEnvironment(place(name))))
	}
	return a, err
}

func namedSchemes() []verifiers.Scheme {
	list := testSchemes()
	for i := range list {
		list[i].New = func(verifiers.Deps) (verifiers.Verifier, error) { return namedWord{}, nil }
	}
	return list
}

// place is the environment "model" or "model:instance" of ACME, or ":instance".
func place(name string) corim.Environment {
	model, instance, _ := strings.Cut(name, ":")
	var e corim.Environment
	if model != "" {
		e.Class = corim.Class{Vendor: "ACME", Model: model}
	}
	if instance != "" {
		e.Instance = corim.TaggedBytes(corim.TagBytes, []byte(instance))
	}
	return e
}

// document is one of statements "domain contains member…" and "subject needs
// trustee…".
func document(t testing.TB, id string, statements ...string) *corim.Document {
	t.Helper()
	m := corim.Comid{Identity: corim.TagIdentity{ID: corim.ID{Text: id + "-tag"}}}
	for _, s := range statements {
		w := strings.Fields(s)
		d := corim.DomainTriple{Domain: place(w[0])}
		for _, name := range w[2:] {
			d.Members = append(d.Members, place(name))
		}
		if w[1] == "contains" {
			m.Membership = append(m.Membership, d)
		} else {
			m.Dependency = append(m.Dependency, d)
		}
	}
	raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &m}}})
	check(t, err)
	d, err := corim.Load(raw, corim.Options{Unsigned: true, Now: time.Now()})
	check(t, err)
	return d
}

func indexOf(t testing.TB, docs ...*corim.Document) *corim.Index {
	t.Helper()
	x, err := corim.NewIndex(docs...)
	check(t, err)
	return x
}

// shelf is References that stay as they are.
type shelf struct {
	x   *corim.Index
	err error
}

func (s shelf) Snapshot(time.Time) (*corim.Index, error) { return s.x, s.err }

// relatedTo is what documents make of components, and the caps.
func relatedTo(t testing.TB, parts []verdict.Component, x *corim.Index) ([]verdict.Component, []verdict.Cap) {
	t.Helper()
	own := slices.Clone(parts)
	for i := range own {
		own[i].Reasons = slices.Clone(own[i].Reasons)
	}
	return own, relate(x, time.Now(), own)
}

func TestReferencesLower(t *testing.T) {
	w := newWorldOf(t, nil, namedSchemes()...)
	for _, c := range []struct {
		name  string
		parts []string
		docs  [][]string
		tiers string // of the components by label
		caps  string
	}{
		{"nothing said", []string{"a cpu good as cpu"}, nil, "affirming", ""},
		{"about others", []string{"a cpu good as cpu"}, [][]string{{"node contains tpm nic", "nic needs tpm"}}, "affirming", ""},

		{"depends on a good one", []string{"a cpu good as cpu", "b dev good as gpu"}, [][]string{{"gpu needs cpu"}}, "affirming affirming", ""},
		{"depends on a warning", []string{"a cpu warn as cpu", "b dev good as gpu"}, [][]string{{"gpu needs cpu"}}, "warning warning", ""},
		{"depends on a bad one", []string{"a cpu bad as cpu", "b dev good as gpu"}, [][]string{{"gpu needs cpu"}}, "contraindicated contraindicated", ""},
		{"depends on one without a result", []string{"a cpu broken as cpu", "b dev good as gpu"}, [][]string{{"gpu needs cpu"}}, "none none", ""},
		{"depends on what is not there", []string{"b dev good as gpu"}, [][]string{{"gpu needs cpu"}}, "none", ""},
		{"the other way round", []string{"a cpu good as cpu", "b dev bad as gpu"}, [][]string{{"gpu needs cpu"}}, "affirming contraindicated", ""},
		{"through another", []string{"a cpu bad as cpu", "b dev good as nic", "c dev good as gpu"},
			[][]string{{"gpu needs nic"}, {"nic needs cpu"}}, "contraindicated contraindicated contraindicated", ""},
		{"through another, the last first", []string{"a dev good as gpu", "b dev good as nic", "c dev good as tpm", "d cpu bad as cpu"},
			[][]string{{"gpu needs nic"}, {"nic needs tpm"}, {"tpm needs cpu"}}, "contraindicated contraindicated contraindicated contraindicated", ""},
		{"the worst of two", []string{"a cpu warn as cpu", "b dev bad as nic", "c dev good as gpu"}, [][]string{{"gpu needs cpu nic"}}, "warning contraindicated contraindicated", ""},
		{"only that device", []string{"a cpu warn as cpu", "b dev good as gpu:1", "c dev good as gpu:2"}, [][]string{{"gpu:1 needs cpu"}}, "warning warning affirming", ""},
		{"any of a class is the worst of it", []string{"a cpu good as cpu:1", "b cpu bad as cpu:2", "c dev good as gpu"}, [][]string{{"gpu needs cpu"}},
			"affirming contraindicated contraindicated", ""},
		{"on itself", []string{"a cpu good as cpu:1"}, [][]string{{"cpu needs cpu:1"}}, "affirming", ""},
		{"in a circle by names", []string{"a cpu warn as cpu:1", "b dev good as gpu:1"}, [][]string{{"cpu needs gpu:1", "gpu:1 needs cpu:1"}}, "warning warning", ""},
		{"a domain is all that is in it", []string{"a cpu good as cpu", "b dev warn as tpm", "c dev good as gpu"},
			[][]string{{"board contains cpu tpm", "gpu needs board"}}, "affirming warning warning", ""},
		{"a domain that lacks a part", []string{"a cpu good as cpu", "c dev good as gpu"}, [][]string{{"board contains cpu tpm", "gpu needs board"}}, "affirming none", ""},
		{"a domain that depends", []string{"a cpu warn as cpu", "b dev good as tpm", "c dev good as gpu"},
			[][]string{{"board contains tpm gpu", "board needs cpu"}}, "warning warning warning", ""},
		{"a domain of another document", []string{"a cpu good as cpu", "c dev good as gpu"}, [][]string{{"gpu needs board"}, {"board contains cpu"}}, "affirming none", ""},

		{"all members there", []string{"a cpu good as cpu:1", "b dev good as gpu"}, [][]string{{"node contains cpu:1 gpu"}}, "affirming affirming", ""},
		{"a member missing, by instance", []string{"a cpu good as cpu:1"}, [][]string{{"node contains cpu:1 gpu"}}, "affirming", "missing-member"},
		{"a member missing, by name", []string{"a cpu good as cpu"}, [][]string{{"cpu contains gpu"}}, "affirming", "missing-member"},
		{"another device in its place", []string{"a cpu good as cpu:1", "b dev good as gpu:8"}, [][]string{{"node contains cpu:1 gpu:7"}}, "affirming affirming", "missing-member unexpected-component"},
		{"a member without a result", []string{"a cpu good as cpu:1", "b dev broken as gpu"}, [][]string{{"node contains cpu:1 gpu"}}, "affirming none", "missing-member"},
		{"a kind of machine that this is not", []string{"a cpu good as cpu"}, [][]string{{"node contains cpu gpu"}}, "affirming", ""},
		{"another machine", []string{"a cpu good as cpu:1"}, [][]string{{"node contains cpu:2 gpu"}}, "affirming", ""},
		{"missing in a part", []string{"a cpu good as cpu:1", "b dev good as gpu"}, [][]string{{"node contains cpu:1 board", "board contains gpu nic"}},
			"affirming affirming", "missing-member"},
		{"parts of parts", []string{"a cpu good as cpu:1", "b dev good as gpu", "c dev good as nic"}, [][]string{{"node contains cpu:1 board", "board contains gpu nic"}},
			"affirming affirming affirming", ""},
		{"the CPU in a part of the whole", []string{"a cpu good as cpu:1", "b dev good as gpu:1", "c dev good as tpm"},
			[][]string{{"node contains package gpu:1", "package contains cpu:1 tpm"}}, "affirming affirming affirming", ""},
		{"a part described elsewhere", []string{"a cpu good as cpu:1", "b dev good as gpu"}, [][]string{{"node contains cpu:1 board"}, {"board contains gpu"}},
			"affirming affirming", "missing-member unexpected-component"},
		{"one too many", []string{"a cpu good as cpu:1", "b dev good as gpu", "c dev good as nic"}, [][]string{{"node contains cpu:1 gpu"}},
			"affirming affirming affirming", "unexpected-component"},
		{"a board is not the machine", []string{"a cpu good as cpu:1", "b dev good as gpu:1", "c dev good as nic"}, [][]string{{"board contains gpu:1 nic"}},
			"affirming affirming affirming", ""},
		{"one without a name", []string{"a cpu good as cpu:1", "b dev good"}, [][]string{{"node contains cpu:1"}}, "affirming affirming", "unexpected-component"},
		{"a name that is none", []string{"a cpu good as nonsense"}, [][]string{{"gpu needs cpu"}}, "none", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var docs []*corim.Document
			for i, statements := range c.docs {
				docs = append(docs, document(t, fmt.Sprintf("book-%d", i), statements...))
			}
			parts, caps := relatedTo(t, freshParts(t, w, c.parts), indexOf(t, docs...))
			var tiers []string
			for _, p := range parts {
				tiers = append(tiers, p.Tier().String())
			}
			var reasons []verdict.Reason
			for _, one := range caps {
				if one.Tier != verdict.TierWarning {
					t.Errorf("cap at %s: %v", one.Tier, one.Reason)
				}
				reasons = append(reasons, one.Reason)
			}
			for _, p := range parts {
				for _, x := range p.Reasons {
					if strings.HasPrefix(x.Code, "depends-on") {
						reasons = append(reasons, verdict.Reason{Code: verdict.ReasonAsSubmitted, Detail: x.Detail})
					}
				}
			}
			for _, x := range reasons {
				if !strings.Contains(x.Detail, "book-") || !strings.Contains(x.Detail, "triples[") || !strings.Contains(x.Detail, "revision ") {
					t.Errorf("%s names no document, triple or revision: %s", x.Code, x.Detail)
				}
			}
			if got := strings.Join(tiers, " "); got != c.tiers {
				t.Errorf("tiers %s, want %s", got, c.tiers)
			}
			if got := codes(reasons); got != c.caps {
				t.Errorf("caps %s, want %s: %v", got, c.caps, reasons)
			}
		})
	}
}

// What is missing in a part of the machine is named, not only the part.
func TestReferencesNameTheMissingPart(t *testing.T) {
	w := newWorldOf(t, nil, namedSchemes()...)
	x := indexOf(t, document(t, "book", "node contains cpu:1 board", "board contains gpu nic"))
	_, caps := relatedTo(t, freshParts(t, w, []string{"a cpu good as cpu:1", "b dev good as gpu"}), x)
	if !slices.ContainsFunc(caps, func(c verdict.Cap) bool {
		return strings.Contains(c.Reason.Detail, `of {vendor "ACME", model "board"}`) && strings.Contains(c.Reason.Detail, `{vendor "ACME", model "nic"}`) &&
			!strings.Contains(c.Reason.Detail, `"gpu"`)
	}) {
		t.Errorf("%v", caps)
	}
}

// freshParts are components of a session.
func freshParts(t testing.TB, w *world, parts []string) []verdict.Component {
	t.Helper()
	w.options.Spender = nil
	o, err := New(w.options)
	check(t, err)
	res, err := o.Appraise(context.Background(), Request{Evidence: composite(t, parts...), Nonce: []byte(testNonce)})
	check(t, err)
	return res.Components
}

// TestReferencesNeverRaise: one more document, or one component less good, never
// makes anything better.
func TestReferencesNeverRaise(t *testing.T) {
	w := newWorldOf(t, nil, namedSchemes()...)
	names := []string{"cpu:1", "cpu", "gpu:1", "gpu:2", "gpu", "nic", "tpm", "board", "node"}
	r := rand.New(rand.NewSource(20261122))
	pick := func() string { return names[r.Intn(len(names))] }
	states := []string{"good", "good", "good", "warn", "bad", "broken"}
	lowered := 0
	for round := range 300 {
		var parts []string
		for i := range 1 + r.Intn(4) {
			scheme := "dev"
			if i == 0 {
				scheme = "cpu"
			}
			parts = append(parts, fmt.Sprintf("%c %s %s as %s", 'a'+i, scheme, states[r.Intn(len(states))], pick()))
		}
		base := freshParts(t, w, parts)
		last, caps := relatedTo(t, base, indexOf(t))
		var docs []*corim.Document
		for n := range 4 {
			docs = append(docs, randomDocument(t, r, fmt.Sprintf("doc-%d", n), names))
			x, err := corim.NewIndex(docs...)
			if err != nil { // a circle across documents
				docs = docs[:len(docs)-1]
				continue
			}
			now, more := relatedTo(t, base, x)
			for i := range now {
				if last[i].Tier().WorseThan(now[i].Tier()) {
					t.Fatalf("round %d: %s goes from %s to %s by one more document", round, now[i].Label, last[i].Tier(), now[i].Tier())
				}
				if base[i].Tier().WorseThan(now[i].Tier()) {
					t.Fatalf("round %d: %s is raised to %s", round, now[i].Label, now[i].Tier())
				}
			}
			before, after := verdict.Combine(last, caps), verdict.Combine(now, more)
			if before.Tier.WorseThan(after.Tier) {
				t.Fatalf("round %d: the whole goes from %s to %s by one more document", round, before.Tier, after.Tier)
			}
			if after.Tier.WorseThan(before.Tier) {
				lowered++
			}
			last, caps = now, more
		}
		whole := verdict.Combine(last, caps)
		for i := range base {
			worse := slices.Clone(base)
			worse[i].Partial = verdict.Partial{} // what had a result has none
			if base[i].Tier() == verdict.TierContraindicated {
				continue // none is better than that
			}
			now, more := relatedTo(t, worse, indexOf(t, docs...))
			if after := verdict.Combine(now, more); whole.Tier.WorseThan(after.Tier) {
				t.Fatalf("round %d: the whole goes from %s to %s without a result for %s", round, whole.Tier, after.Tier, base[i].Label)
			}
		}
	}
	if lowered < 10 {
		t.Errorf("documents lowered the whole %d times only, so this test says little", lowered)
	}
}

func randomDocument(t testing.TB, r *rand.Rand, id string, names []string) *corim.Document {
	t.Helper()
	var statements []string
	for range 1 + r.Intn(3) {
		// From the end of the list to its beginning, so that a document has no circle.
		i := 1 + r.Intn(len(names)-1)
		verb := []string{"contains", "needs"}[r.Intn(2)]
		s := names[i] + " " + verb
		for _, j := range r.Perm(i)[:1+r.Intn(min(i, 3))] {
			s += " " + names[j]
		}
		statements = append(statements, s)
	}
	return document(t, id, statements...)
}

// A circle across documents is refused when they are put together, and named.
func TestReferencesCircleIsRefused(t *testing.T) {
	for _, verb := range []string{"contains", "needs"} {
		_, err := corim.NewIndex(document(t, "one", "gpu "+verb+" nic"), document(t, "two", "nic "+verb+" tpm"), document(t, "three", "tpm "+verb+" gpu"))
		var circle *corim.CycleError
		if !errors.As(err, &circle) || len(circle.Path) != 4 || !strings.Contains(err.Error(), `"nic"`) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

func TestReferencesInVerdict(t *testing.T) {
	x := indexOf(t, document(t, "machine", "cpu:1 contains nic"))
	var broken error
	w := newWorldOf(t, func(o *Options) { o.References = shelfFunc(func() (*corim.Index, error) { return x, broken }) }, namedSchemes()...)
	raw := composite(t, "a cpu good as cpu:1")
	lead := topologies.Expr{Head: topologies.Lead}
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce), Topology: &lead})
	if res.Outcome.Tier != verdict.TierWarning || codes(res.Outcome.Reasons) != "missing-member" || res.References != x.Revision() {
		t.Fatalf("%s %v, revision %s", res.Outcome.Tier, res.Outcome.Reasons, res.References)
	}
	again, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
	check(t, err)
	check(t, Recheck(again, w.options.Schemes))
	check(t, RecheckReferences(again, x))
	if d := again.Document(); again.References != x.Revision() || d.References != x.Revision() {
		t.Errorf("the verdict names revision %q, the document %q", again.References, d.References)
	}
	if RecheckReferences(again, indexOf(t)) == nil {
		t.Error("documents of another revision pass")
	}
	lie, err := w.resign(t, again, func(r *verdict.Result) { r.Caps = nil })
	check(t, err)
	if err := Recheck(lie, w.options.Schemes); err != nil {
		t.Error("without documents nobody can tell:", err)
	}
	if RecheckReferences(lie, x) == nil {
		t.Error("a lead that leaves out what documents demand is believed")
	}
	if _, err := w.resign(t, again, func(r *verdict.Result) { r.References = "latest" }); err == nil {
		t.Error("a revision that is none is signed")
	}
	for name, err := range map[string]error{"error": errors.New("disk"), "nothing": nil} {
		x, broken = nil, err
		w.options.Spender = nil
		o, err := New(w.options)
		check(t, err)
		res, err := o.Appraise(context.Background(), Request{Evidence: raw, Nonce: []byte(testNonce), Topology: &lead})
		check(t, err)
		if res.Outcome.Tier != verdict.TierWarning || codes(res.Outcome.Reasons) != "no-collateral" || res.References != "" {
			t.Errorf("%s: %s %v", name, res.Outcome.Tier, res.Outcome.Reasons)
		}
	}
}

// A lead that hides what a component depends on is found out too.
func TestRecheckReferencesOfComponents(t *testing.T) {
	x := indexOf(t, document(t, "machine", "gpu needs tpm"))
	w := newWorldOf(t, func(o *Options) { o.References = shelf{x: x} }, namedSchemes()...)
	e, err := topologies.Parse("lead(a, optional(b))")
	check(t, err)
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good as cpu", "b dev good as gpu"), Nonce: []byte(testNonce), Topology: &e})
	b := find(t, res, "b")
	if b.Tier() != verdict.TierNone || codes(b.Reasons) != "depends-on-none" {
		t.Fatalf("%s %v", b.Tier(), b.Reasons)
	}
	check(t, RecheckReferences(res, x))
	lie, err := w.resign(t, res, func(r *verdict.Result) { r.Components[1].Reasons = nil })
	check(t, err)
	if RecheckReferences(lie, x) == nil {
		t.Error("a component is believed to be better than what it depends on")
	}
}

// Redundant verifiers have to agree on what a component is before it fills a
// place; what any of them says counts against it.
func TestNamesOfRedundantVerifiers(t *testing.T) {
	two := []named{{some: []corim.Environment{place("gpu"), place("nic")}, every: nil}}
	r := relation{names: two, parts: make([]verdict.Component, 1)}
	if r.present(new(book), place("gpu")) {
		t.Error("a component is there by the word of one of two")
	}
	if len(r.match(place("nic"), some)) != 1 {
		t.Error("what one of two says does not count against it")
	}
}

type shelfFunc func() (*corim.Index, error)

func (f shelfFunc) Snapshot(time.Time) (*corim.Index, error) { return f() }
