// SPDX-License-Identifier: Apache-2.0

package main

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func prepared(t *testing.T) (string, []requirement, []job) {
	t.Helper()
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	table, err := readTable(root)
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := plan(root, table, regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	return root, table, jobs
}

// TestMutantsFit: every mutant still applies, and every requirement that is
// called enforced has one.
func TestMutantsFit(t *testing.T) {
	_, table, jobs := prepared(t)
	have := map[string]int{}
	for _, j := range jobs {
		if j.stale != "" {
			t.Errorf("the mutant without %q is stale: %s", j.removes, j.stale)
		}
		if len(j.claims) == 0 || strings.ContainsAny(j.removes+j.where, "|`\n") || j.removes == "" {
			t.Errorf("the mutant without %q belongs to %d requirements, at %q", j.removes, len(j.claims), j.where)
		}
		for _, e := range j.edits {
			if e.old == "" || e.old == e.new || strings.HasSuffix(e.file, "_test.go") {
				t.Errorf("the mutant without %q changes nothing in %s", j.removes, e.file)
			}
		}
		for _, c := range j.claims {
			have[c.id]++
		}
	}
	for _, r := range table {
		if r.claims && have[r.id] == 0 {
			t.Errorf("%s is enforced, and no mutant takes that away", r.id)
		}
	}
}

// TestDocument: docs/mutations.md is about exactly these mutants, and every one
// was noticed when it was run.
func TestDocument(t *testing.T) {
	root, _, jobs := prepared(t)
	rows, err := readDoc(filepath.Join(root, "docs", "mutations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		for _, c := range j.claims {
			at := slices.IndexFunc(rows, func(r row) bool { return r.id == c.id && r.removes == j.removes })
			if at < 0 {
				t.Errorf("%s without %q is not in docs/mutations.md: run the mutant with -only and -write", c.id, j.removes)
				continue
			}
			if r := rows[at]; r.where != j.where || !strings.HasPrefix(r.by, "`") {
				t.Errorf("%s without %q: docs/mutations.md says %s at %s, it is at %s", c.id, j.removes, r.by, r.where, j.where)
			}
			rows = slices.Delete(rows, at, at+1)
		}
	}
	for _, r := range rows {
		t.Errorf("docs/mutations.md has %s without %q, which is no mutant", r.id, r.removes)
	}
}

func TestReadEvents(t *testing.T) {
	for _, c := range []struct {
		name, events string
		want         outcome
	}{
		{"pass", `{"Action":"pass","Test":"TestA/x"}` + "\n" + `{"Action":"pass","Test":"TestA"}` + "\n" + `{"Action":"pass"}`, outcome{passed: []string{"TestA"}}},
		{"fail", `{"Action":"fail","Test":"TestA/x"}` + "\n" + `{"Action":"fail","Test":"TestA"}` + "\n" + `{"Action":"fail"}`, outcome{failed: []string{"TestA"}}},
		{"panic", `{"Action":"output","Test":"TestA","Output":"panic: boom\n"}` + "\n" + `{"Action":"fail","Test":"TestA"}`, outcome{failed: []string{"TestA"}, how: byPanic}},
		{"timeout", `{"Action":"output","Output":"panic: test timed out after 2m0s\n"}`, outcome{how: byTimeout}},
		{"build", `{"Action":"build-fail"}`, outcome{broken: true}},
		{"build of the package", `{"Action":"fail","FailedBuild":"x"}`, outcome{broken: true}},
		{"skip", `{"Action":"skip","Test":"TestA"}` + "\n" + `{"Action":"pass"}`, outcome{}},
	} {
		got := read(strings.NewReader(c.events))
		if !slices.Equal(got.passed, c.want.passed) || !slices.Equal(got.failed, c.want.failed) || got.broken != c.want.broken || got.how != c.want.how {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// TestStaleIsSaid: a text that is not there, or there twice, never runs.
func TestStaleIsSaid(t *testing.T) {
	root, err := findRoot()
	if err != nil {
		t.Fatal(err)
	}
	for _, old := range []string{"no such text anywhere", "set."} {
		j := job{mutant: in("MV-01", "x", "integration/mutate/main.go", old, "x"), sources: map[string][]byte{}}
		if err := j.apply(root); err == nil {
			t.Errorf("%q is not stale", old)
		}
	}
	j := job{mutant: in("MV-01", "x", "integration/mutate/main.go", "func findRoot() (string, error) {", "func findRoot() (string, error) { var"), sources: map[string][]byte{}}
	if err := j.apply(root); err == nil {
		t.Error("a mutant that is no Go is not stale")
	}
}

// TestSummary: only killed mutants are no error.
func TestSummary(t *testing.T) {
	for outcome, ok := range map[string]bool{killed: true, survived: false, stale: false, unbuilt: false} {
		if err := summary(&strings.Builder{}, []result{{removes: "a", outcome: killed}, {removes: "b", outcome: outcome}}); (err == nil) != ok {
			t.Errorf("%s: %v", outcome, err)
		}
	}
}

// TestWithoutProgram: only runs that do not start the program go without it.
func TestWithoutProgram(t *testing.T) {
	root, _, _ := prepared(t)
	for test, without := range map[string]bool{
		"TestMV01SignatureBeforeAnythingElse": true, "TestTopologiesAcrossProcesses": false, "TestServeWithoutConfiguration": false,
	} {
		if _, got := withoutProgram(root, "integration", []string{test}); got != without {
			t.Errorf("%s: %t", test, got)
		}
	}
	if _, got := withoutProgram(root, "orchestrator", []string{"TestMV01SignatureBeforeAnythingElse"}); got {
		t.Error("another folder")
	}
}
