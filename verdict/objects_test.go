// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// describedFacts are facts with everything that concerns objects.
func describedFacts() Facts {
	d32, d48 := strings.Repeat("0a", 32), strings.Repeat("0b", 48)
	return Facts{
		Objects: []Object{{ObjectReport, AlgSHA256, d32}, {ObjectReport, AlgSHA384, d48}, {ObjectTSM, AlgSHA512, strings.Repeat("0c", 64)}},
		Commitments: []Commitment{
			{"nic/0", ObjectReport, AlgSHA384, d48, "event-log", OriginMeasured},
			{"nic/1", ObjectReport, AlgSHA384, d48, "event-log", OriginApplication},
			{"nic/1", ObjectCertificates, AlgSHA384, d48, "token", OriginHardware},
		},
		RelayRequired: true,
	}
}

// TestObjectsRefused: objects and commitments out of form, without bound or with
// two values are neither signed nor taken in.
func TestObjectsRefused(t *testing.T) {
	if err := describedFacts().check(); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", maxObjectText+1)
	for name, change := range map[string]func(*Facts){
		"no name":           func(f *Facts) { f.Objects[0].Name = "" },
		"long name":         func(f *Facts) { f.Objects[0].Name = long },
		"odd algorithm":     func(f *Facts) { f.Objects[0].Alg = "sha256" },
		"no algorithm":      func(f *Facts) { f.Objects[0].Alg = "" },
		"other size":        func(f *Facts) { f.Objects[0].Alg = AlgSHA512 },
		"upper case":        func(f *Facts) { f.Objects[0].Digest = strings.ToUpper(f.Objects[0].Digest) },
		"two digests":       func(f *Facts) { f.Objects[2] = f.Objects[0] },
		"many objects":      func(f *Facts) { f.Objects = slices.Repeat(f.Objects, MaxObjects) },
		"no subject":        func(f *Facts) { f.Commitments[0].Subject = "" },
		"long subject":      func(f *Facts) { f.Commitments[0].Subject = long },
		"no object":         func(f *Facts) { f.Commitments[0].Object = "" },
		"no place":          func(f *Facts) { f.Commitments[0].Via = "" },
		"long place":        func(f *Facts) { f.Commitments[0].Via = long },
		"no origin":         func(f *Facts) { f.Commitments[0].Origin = "" },
		"odd origin":        func(f *Facts) { f.Commitments[0].Origin = "host" },
		"short commitment":  func(f *Facts) { f.Commitments[0].Digest = f.Commitments[0].Digest[2:] },
		"two of one object": func(f *Facts) { f.Commitments[0].Subject = "nic/1" },
		"many commitments":  func(f *Facts) { f.Commitments = slices.Repeat(f.Commitments, MaxCommitments) },
	} {
		f := describedFacts()
		change(&f)
		if f.check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var many Facts
	for i := range MaxCommitments + 1 {
		many.Commitments = append(many.Commitments, Commitment{strings.Repeat("x", 1+i%200), strings.Repeat("y", 1+i/200), AlgSHA384, strings.Repeat("0b", 48), "v", OriginMeasured})
	}
	if many.check() == nil {
		t.Error("commitments without bound")
	}
	if many.Commitments = many.Commitments[1:]; many.check() != nil {
		t.Error("as many commitments as may be are refused")
	}
}

// wireFacts is the JSON of facts as a reader gets it.
func wireFacts(t *testing.T, f Facts) obj {
	t.Helper()
	raw, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var o obj
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

// TestObjectsRoundTrip: what a verifier says about objects arrives, whole or not
// at all, and nobody who reads a result can change it.
func TestObjectsRoundTrip(t *testing.T) {
	want := describedFacts()
	got, err := object(wireFacts(t, want)).facts()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v", got, err)
	}
	clone := want.clone()
	clone.Objects[0].Digest, clone.Commitments[0].Digest = "", ""
	if want.check() != nil || !clone.RelayRequired {
		t.Error("a clone is not one")
	}
	empty, err := object(obj{}).facts()
	if err != nil || !reflect.DeepEqual(empty, Facts{}) {
		t.Errorf("%+v, %v", empty, err)
	}
	first := func(o obj, list string) obj { return o[list].([]any)[0].(obj) }
	for name, change := range map[string]func(o obj){
		"objects text":     func(o obj) { o["objects"] = "x" },
		"objects of texts": func(o obj) { o["objects"] = []any{"x"} },
		"many":             func(o obj) { o["objects"] = slices.Repeat(o["objects"].([]any), MaxObjects) },
		"many commitments": func(o obj) { o["commitments"] = slices.Repeat(o["commitments"].([]any), MaxCommitments) },
		"no name":          func(o obj) { delete(first(o, "objects"), "name") },
		"no alg":           func(o obj) { delete(first(o, "objects"), "alg") },
		"no digest":        func(o obj) { delete(first(o, "objects"), "digest") },
		"odd digest":       func(o obj) { first(o, "objects")["digest"] = json.Number("1") },
		"bad digest":       func(o obj) { first(o, "objects")["digest"] = "0A" },
		"no subject":       func(o obj) { delete(first(o, "commitments"), "subject") },
		"no object":        func(o obj) { delete(first(o, "commitments"), "object") },
		"no via":           func(o obj) { delete(first(o, "commitments"), "via") },
		"no origin":        func(o obj) { delete(first(o, "commitments"), "origin") },
		"commitments":      func(o obj) { o["commitments"] = obj{} },
		"relay text":       func(o obj) { o["relay_required"] = "true" },
		"relay null":       func(o obj) { o["relay_required"] = nil },
		"relay number":     func(o obj) { o["relay_required"] = json.Number("1") },
	} {
		o := wireFacts(t, want)
		change(o)
		if _, err := object(o).facts(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
