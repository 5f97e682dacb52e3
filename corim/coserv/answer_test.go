// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
)

func TestSelects(t *testing.T) {
	group := corim.TaggedBytes(corim.TagBytes, []byte("g"))
	instance := corim.TaggedBytes(corim.TagBytes, []byte("i"))
	id := corim.TaggedBytes(corim.TagBytes, []byte("c"))
	x := index(t,
		module("nic1", one(acme("NIC"), svn("fw", 1), svn("boot", 7))), module("nic2", one(acme("NIC"), svn("fw", 2))),
		module("gpu", one(corim.Environment{Class: corim.Class{ID: id, Vendor: "ACME", Model: "GPU"}, Instance: instance}, svn("fw", 3))),
		module("other", one(corim.Environment{Class: corim.Class{Vendor: "Other"}, Group: group}, svn("fw", 4))),
	)
	state := func(c corim.Class, m ...corim.Measurement) Environments {
		return Environments{Classes: []ClassSelector{{c, m}}}
	}
	nic := corim.Class{Vendor: "ACME", Model: "NIC"}
	for name, c := range map[string]struct {
		e    Environments
		want string // minimal versions
	}{
		"class":             {classes(nic), "1 2"},
		"part of a class":   {classes(corim.Class{Vendor: "ACME"}), "1 2 3"},
		"class id":          {classes(corim.Class{ID: id}), "3"},
		"more than there":   {classes(corim.Class{ID: id, Vendor: "ACME", Model: "NIC"}), ""},
		"alternatives":      {classes(corim.Class{ID: id}, corim.Class{Vendor: "Other"}), "3 4"},
		"instance":          {Environments{Instances: []ValueSelector{{Value: instance}}}, "3"},
		"group":             {Environments{Groups: []ValueSelector{{Value: group}}}, "4"},
		"group as instance": {Environments{Instances: []ValueSelector{{Value: group}}}, ""},
		"nothing":           {classes(corim.Class{Vendor: "Nobody"}), ""},
		"state":             {state(nic, exactly("fw", 1)), "1"},
		"higher state":      {state(nic, exactly("fw", 2)), "1 2"},
		"state of two":      {state(nic, exactly("fw", 9), exactly("boot", 7)), "1"},
		"unknown element":   {state(nic, exactly("none", 9)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			m := answer(t, x, PlainProfile, Query{Artifacts: ReferenceValues, Environments: c.e, Results: Both})
			var got []int
			for _, q := range m.Results.Reference {
				got = append(got, int(q.Triple.Measurements[0].Value.SVN.Value))
				if len(q.Authorities) != 1 || !strings.Contains(q.Authorities[0].Data, "PUBLIC KEY") {
					t.Errorf("authorities %v", q.Authorities)
				}
			}
			sortInts(got)
			if s := strings.Trim(fmt.Sprint(got), "[]"); s != c.want {
				t.Errorf("selected %q, want %q", s, c.want)
			}
			if len(m.Results.Sources) != len(got) {
				t.Errorf("%d sources for %d statements", len(m.Results.Sources), len(got))
			}
			encode(t, *m)
		})
	}
}

func sortInts(a []int) {
	for i := range a {
		for j := range a[:i] {
			if a[j] > a[i] {
				a[i], a[j] = a[j], a[i]
			}
		}
	}
}

// TestProfilesStayApart: a triple has no profile of its own.
func TestProfilesStayApart(t *testing.T) {
	other := module("b", one(acme("NIC"), svn("fw", 2)))
	other.Profile = corim.ProfileAssize
	x := index(t, module("a", one(acme("NIC"), svn("fw", 1))), other)
	for profile, want := range map[string]uint64{PlainProfile: 1, corim.ProfileAssize: 2} {
		m := answer(t, x, profile, references(acme("NIC").Class))
		if len(m.Results.Reference) != 1 || m.Results.Reference[0].Triple.Measurements[0].Value.SVN.Value != want {
			t.Errorf("%s: %+v", profile, m.Results.Reference)
		}
	}
	if m := answer(t, x, corim.ProfilePSA, references(acme("NIC").Class)); len(m.Results.Reference) != 0 {
		t.Error("statements under a profile that is not theirs")
	}
	_, err := Answer(x, "tag:nobody,2026:x", references(acme("NIC").Class), AnswerOptions{Now: now, Lifetime: time.Hour})
	if !errors.Is(err, ErrProfile) {
		t.Errorf("unknown profile: %v", err)
	}
	if got := Profiles(x, now); len(got) != 2 || got[0] != corim.ProfileAssize || got[1] != PlainProfile {
		t.Errorf("profiles %q", got)
	}
}

func TestUnsignedDocumentsAreNotPassedOn(t *testing.T) {
	raw, err := corim.Encode(module("a", one(acme("NIC"), svn("fw", 1))))
	if err != nil {
		t.Fatal(err)
	}
	d, err := corim.Load(raw, corim.Options{Unsigned: true, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	x, err := corim.NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	q := references(acme("NIC").Class)
	q.Results = Both
	if m := answer(t, x, PlainProfile, q); len(m.Results.Reference) != 0 || len(m.Results.Sources) != 0 {
		t.Errorf("passed on: %+v", m.Results)
	}
	for _, rim := range []RIM{{Corim, corim.ID{Text: "a"}}, {Comid, corim.ID{Text: "a-tag"}}} {
		if m := answer(t, x, PlainProfile, Query{RIMs: []RIM{rim}}); len(m.Results.RIMs) != 0 {
			t.Errorf("passed on: %+v", m.Results)
		}
	}
	if p := Profiles(x, now); len(p) != 0 {
		t.Errorf("profiles %q", p)
	}
}

func TestExpiry(t *testing.T) {
	short := module("short", one(acme("NIC"), svn("fw", 1)))
	short.Validity = corim.Period{NotAfter: now.Add(time.Minute)}
	x := index(t, short, module("long", one(acme("GPU"), svn("fw", 1))))
	q := references(acme("GPU").Class)
	if m := answer(t, x, PlainProfile, q); !m.Results.Expiry.Equal(now.Add(time.Hour)) {
		t.Errorf("expires %s, want the lifetime", m.Results.Expiry)
	}
	q = references(acme("NIC").Class)
	for _, q := range []Query{q, {RIMs: []RIM{{Corim, corim.ID{Text: "short"}}}}, {RIMs: []RIM{{Comid, corim.ID{Text: "short-tag"}}}}} {
		if m := answer(t, x, PlainProfile, q); !m.Results.Expiry.Equal(now.Add(time.Minute)) {
			t.Errorf("expires %s, and the document ends %s", m.Results.Expiry, now.Add(time.Minute))
		}
		m, err := Answer(x, PlainProfile, q, AnswerOptions{Now: now.Add(2 * time.Minute), Lifetime: time.Hour})
		if err != nil || len(m.Results.Reference)+len(m.Results.RIMs) != 0 {
			t.Errorf("a document that has ended is passed on: %+v, %v", m, err)
		}
	}
	if _, err := Answer(x, PlainProfile, q, AnswerOptions{Now: now}); err == nil {
		t.Error("no lifetime")
	}
}

func TestOtherArtifacts(t *testing.T) {
	key := []corim.Typed{corim.TaggedBytes(corim.TagBytes, []byte{1})}
	nic := acme("NIC")
	condition := func(n uint64) corim.ConditionalTriple {
		return corim.ConditionalTriple{
			Conditions:   []corim.ValueTriple{{Environment: nic, Measurements: []corim.Measurement{svn("fw", n)}}},
			Endorsements: []corim.ValueTriple{{Environment: nic, Measurements: []corim.Measurement{exactly("level", n)}}},
		}
	}
	x := index(t, module("a", corim.Comid{
		Endorsed:    []corim.ValueTriple{{Environment: nic, Measurements: []corim.Measurement{exactly("level", 1)}}},
		Conditional: []corim.ConditionalTriple{condition(1), condition(5)},
		AttestKeys:  []corim.KeyTriple{{Environment: nic, Keys: key}, {Environment: nic, Keys: key, Element: corim.TextKey("boot")}},
	}))
	q := Query{Artifacts: EndorsedValues, Environments: classes(nic.Class)}
	if r := answer(t, x, PlainProfile, q).Results; len(r.Endorsed) != 1 || len(r.Conditional) != 2 || len(r.AttestKeys) != 0 {
		t.Errorf("endorsed values: %+v", r)
	}
	q.Environments.Classes[0].State = []corim.Measurement{exactly("fw", 3)}
	if r := answer(t, x, PlainProfile, q).Results; len(r.Endorsed) != 1 || len(r.Conditional) != 1 {
		t.Errorf("endorsed values of a state: %+v", r)
	}
	q.Artifacts = TrustAnchors
	if r := answer(t, x, PlainProfile, q).Results; len(r.AttestKeys) != 1 {
		t.Errorf("trust anchors of a state: %+v", r)
	}
	q.Environments.Classes[0].State = nil
	if r := answer(t, x, PlainProfile, q).Results; len(r.AttestKeys) != 2 || len(r.Endorsed) != 0 {
		t.Errorf("trust anchors: %+v", r)
	}
	for _, artifacts := range []ArtifactType{EndorsedValues, TrustAnchors} {
		q.Artifacts = artifacts
		m, err := Parse(encode(t, *answer(t, x, PlainProfile, q)), ParseOptions{})
		if err != nil || len(m.Results.Conditional)+len(m.Results.AttestKeys) != 2 {
			t.Errorf("%s: %v", artifacts, err)
		}
	}
}

func TestSeriesCannotBeCollected(t *testing.T) {
	nic := acme("NIC")
	x := index(t, module("a", corim.Comid{Series: []corim.SeriesTriple{{
		Condition: corim.ValueTriple{Environment: nic, Measurements: []corim.Measurement{svn("fw", 1)}},
		Series:    []corim.SeriesEntry{{Selection: []corim.Measurement{svn("fw", 2)}, Addition: []corim.Measurement{exactly("level", 2)}}},
	}}}))
	q := Query{Artifacts: EndorsedValues, Environments: classes(nic.Class)}
	for _, r := range []ResultType{Collected, Both} {
		q.Results = r
		if _, err := Answer(x, PlainProfile, q, AnswerOptions{Now: now, Lifetime: time.Hour}); !errors.Is(err, ErrSeries) {
			t.Errorf("%s: %v", r, err)
		}
	}
	q.Results = SourceArtifacts
	if m := answer(t, x, PlainProfile, q); len(m.Results.Sources) != 1 {
		t.Errorf("%+v", m.Results)
	}
}

func TestNewestOfIdentifiers(t *testing.T) {
	version := func(n uint64) *corim.Document {
		m := one(acme("NIC"), svn("fw", n))
		m.Identity = corim.TagIdentity{ID: corim.ID{Text: "nic"}, Version: n}
		return module(fmt.Sprint("release-", n), m)
	}
	old, current := version(1), version(2)
	x := index(t, old, current)
	m := answer(t, x, PlainProfile, Query{RIMs: []RIM{{Comid, corim.ID{Text: "nic"}}, {Corim, corim.ID{Text: "release-1"}}, {Coswid, corim.ID{Text: "nic"}}}})
	if len(m.Results.RIMs) != 2 {
		t.Fatalf("%+v", m.Results.RIMs)
	}
	for i, want := range []string{"release-2", "release-1"} {
		d, err := corim.Parse(m.Results.RIMs[i].Value)
		if err != nil || d.ID.Text != want || m.Results.RIMs[i].MediaType != corim.MediaTypeSigned {
			t.Errorf("%s: %v, want %s", m.Results.RIMs[i].Name, d.ID, want)
		}
	}
	// By environment only the current one speaks.
	if r := answer(t, x, PlainProfile, references(acme("NIC").Class)).Results; len(r.Reference) != 1 {
		t.Errorf("%+v", r)
	}
}

// TestSourcesBringWhatReplacesThem: a document of two tags, of which another
// document replaces one.
func TestSourcesBringWhatReplacesThem(t *testing.T) {
	first, second := one(acme("NIC"), svn("fw", 1)), one(acme("GPU"), svn("fw", 1))
	first.Identity, second.Identity = corim.TagIdentity{ID: corim.ID{Text: "nic"}}, corim.TagIdentity{ID: corim.ID{Text: "gpu"}}
	both := module("both", first)
	both.Tags = append(both.Tags, corim.Tag{Number: corim.TagComid, Comid: &second})
	newer := one(acme("NIC"), svn("fw", 2))
	newer.Identity = corim.TagIdentity{ID: corim.ID{Text: "nic"}, Version: 1}
	x := index(t, both, module("newer", newer), module("unrelated", one(acme("DPU"), svn("fw", 1))))
	q := references(acme("GPU").Class)
	q.Results = SourceArtifacts
	m := answer(t, x, PlainProfile, q)
	if len(m.Results.Sources) != 2 {
		t.Fatalf("%d sources, want the selected one and the one that replaces a tag of it", len(m.Results.Sources))
	}
	var docs []*corim.Document
	for _, s := range m.Results.Sources {
		docs = append(docs, load(t, s.Value))
	}
	there, err := corim.NewIndex(docs...)
	if err != nil {
		t.Fatal(err)
	}
	seen := corim.Measurement{Key: corim.TextKey("fw"), Value: corim.Values{SVN: &corim.SVN{Value: 1}}}
	r := there.Match(corim.Query{Environments: []corim.Environment{acme("NIC")}, Measurements: []corim.Measurement{seen}, Time: now})
	if r.Worst() == corim.Matched {
		t.Error("at the consumer a replaced tag counts again")
	}
}

func TestCollectedAsDocument(t *testing.T) {
	x := index(t, module("a", one(acme("NIC"), svn("fw", 2))))
	q := references(acme("NIC").Class)
	raw, err := Sign(nil, answer(t, x, PlainProfile, q), testKey(2), []byte("service"))
	if err != nil {
		t.Fatal(err)
	}
	o, err := Open(raw, OpenOptions{Profile: PlainProfile, Query: q, Now: now, Keys: []corim.SigningKey{signing("service", 2)}})
	if err != nil {
		t.Fatal(err)
	}
	by := corim.Authority{
		Name: "service", Keys: []corim.SigningKey{signing("service", 2)}, Profiles: []string{corim.NoProfile},
		Scopes: []corim.Environment{{Class: corim.Class{Vendor: "ACME"}}},
	}
	d, err := o.Document(by, now)
	if err != nil {
		t.Fatal(err)
	}
	there, err := corim.NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	query := corim.Query{
		Environments: []corim.Environment{acme("NIC")}, Time: now,
		Measurements: []corim.Measurement{{Key: corim.TextKey("fw"), Value: corim.Values{SVN: &corim.SVN{Value: 3}}}},
	}
	r := there.Match(query)
	if r.Worst() != corim.Matched || r.Findings[0].Matches[0].Authority() != "service" {
		t.Errorf("%+v", r)
	}
	if query.Time = now.Add(2 * time.Hour); there.Match(query).Worst() == corim.Matched {
		t.Error("matches after the result has expired")
	}
	scoped := by
	scoped.Scopes = []corim.Environment{{Class: corim.Class{Vendor: "Other"}}}
	if _, err := o.Document(scoped, now); !errors.Is(err, corim.ErrScope) {
		t.Errorf("beyond the scope: %v", err)
	}
	scoped = by
	scoped.Profiles = []string{corim.ProfileAssize}
	if _, err := o.Document(scoped, now); !errors.Is(err, corim.ErrScope) {
		t.Errorf("beyond the profiles: %v", err)
	}
	if _, err := o.Document(by, now.Add(2*time.Hour)); !errors.Is(err, corim.ErrPeriod) {
		t.Errorf("expired: %v", err)
	}
	unsigned := *o
	unsigned.Key = nil
	if _, err := unsigned.Document(by, now); !errors.Is(err, ErrUnsigned) {
		t.Errorf("unsigned: %v", err)
	}
	if bytes.Equal(d.Raw, nil) || d.Signed() == false {
		t.Error("document without bytes or authority")
	}
}
