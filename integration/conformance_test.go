// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// How far a requirement is met.
const (
	enforced = "enforced"
	partly   = "partly"
	notYet   = "not yet"
	outside  = "outside" // of what this program can do
)

// requirement is one line of docs/conformance.md.
type requirement struct {
	id string
	// level is M (must), S (should) or D (descriptive text), scope H
	// (hierarchical), C (cascaded), Y (hybrid), P (parallel) or A (all).
	level, scope string
	text         string
	// where are functions "folder.Function" or "folder.Type.Method", tests are
	// "folder.TestName", without a folder those of this one; by spaces.
	where, tests string
	status       string
	// note says what is missing, where the status is not enforced; otherwise it
	// is a remark.
	note string
}

// sections are what must be there once, in this order.
var sections = []struct {
	title, prefix string
	width, count  int
}{
	{"Multi-verifier: draft-ietf-rats-multi-verifier", "MV-", 2, 50},
	{"Parallel: draft-zhang-rats-multiverifiers", "PAR-", 1, 7},
	{"Threats", "TH-", 1, 7},
}

const conformanceHead = `# Conformance

What the specifications of composite verification with several verifiers ask for, where Assize does it, and which test fails if it stops. The
requirements are in our words and numbered by us; the sources give no numbers. Made by
` + "`UPDATE_DOCS=1 go test ./integration -run TestConformance`" + ` and checked by the same test: every function and every test that is named exists.

Level: M must, S should, D descriptive text that is taken as a requirement. Scope: H hierarchical (a lead and its verifiers), C cascaded, Y hybrid,
P parallel (redundant or independent verifiers, the relying party aggregates), A all. Lead, hop and entry are verifiers; CE is the composite
evidence, PE the part for one verifier, PAR a partial result, AAR the aggregate, see [architecture.md](architecture.md).

A *node* is a verifier that is listed under ` + "`node.peers`" + ` and gets signed, sealed envelopes. A *plain verifier* serves one scheme over NATS and gets
unsigned, unsealed requests; many "partly" below are this difference. *Enforced* is never "nobody could do it otherwise": it says that a test
does it otherwise and that it has no effect. "Partly" and "not yet" say what is missing.
`

func TestConformance(t *testing.T) {
	known := declarations(t)
	at := 0
	for _, s := range sections {
		for n := 1; n <= s.count; n++ {
			want := fmt.Sprintf("%s%0*d", s.prefix, s.width, n)
			if at >= len(requirements) || requirements[at].id != want {
				t.Fatalf("%s is missing, there twice, or not in its place (%d)", want, at)
			}
			checkRequirement(t, requirements[at], known)
			at++
		}
	}
	if at != len(requirements) {
		t.Errorf("%d requirements, want %d", len(requirements), at)
	}
	compareConformance(t)
}

func checkRequirement(t *testing.T, r requirement, known map[string]bool) {
	t.Helper()
	tests, where := r.testNames(), strings.Fields(r.where)
	for _, name := range tests {
		if last := name[strings.LastIndex(name, ".")+1:]; !known[name] || !strings.HasPrefix(last, "Test") && !strings.HasPrefix(last, "Fuzz") {
			t.Errorf("%s: no test %s", r.id, name)
		}
	}
	for _, name := range where {
		if !known[name] {
			t.Errorf("%s: no function %s", r.id, name)
		}
	}
	ok := false
	switch r.status {
	case enforced:
		ok = len(tests) > 0 && len(where) > 0
	case partly:
		ok = len(tests) > 0 && len(where) > 0 && r.note != ""
	case notYet, outside:
		ok = r.note != ""
	}
	if !ok {
		t.Errorf("%s: %q wants more than %d tests, %d functions and %q", r.id, r.status, len(tests), len(where), r.note)
	}
	if !strings.Contains("MSD", r.level) || len(r.level) != 1 || !strings.Contains("HCYPA", r.scope) || len(r.scope) != 1 || r.text == "" {
		t.Errorf("%s: level %q, scope %q, text %q", r.id, r.level, r.scope, r.text)
	}
	if strings.Contains(r.text+r.note, "|") {
		t.Errorf("%s: a text would break the table", r.id)
	}
}

// testNames are the tests with their folders.
func (r requirement) testNames() []string {
	names := strings.Fields(r.tests)
	for i, n := range names {
		if !strings.Contains(n, ".") {
			names[i] = "integration." + n
		}
	}
	return names
}

// declarations are all functions and methods of the module: "folder.Name" and
// "folder.Type.Name". Tests count in test files only, other functions in others.
func declarations(t *testing.T) map[string]bool {
	t.Helper()
	const root = ".."
	known := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skipFolder(path, d.Name())
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok {
				name := receiver(fn) + fn.Name.Name
				isTest := strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz")
				if isTest == strings.HasSuffix(path, "_test.go") {
					known[filepath.ToSlash(dir)+"."+name] = true
				}
			}
		}
		return nil
	})
	must(t, err)
	if len(known) < 1000 {
		t.Fatalf("only %d functions found: the walk is broken", len(known))
	}
	return known
}

// skipFolder leaves out what is no code of this module.
func skipFolder(path, name string) error {
	if name == "testdata" || name == "bin" || strings.HasPrefix(name, ".") && name != ".." {
		return filepath.SkipDir
	}
	if path != ".." {
		if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
			return filepath.SkipDir
		}
	}
	return nil
}

// receiver is "Type." for a method.
func receiver(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) != 1 {
		return ""
	}
	e := fn.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if id, ok := e.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

// compareConformance holds docs/conformance.md to the table.
func compareConformance(t *testing.T) {
	t.Helper()
	var b bytes.Buffer
	b.WriteString(conformanceHead)
	at := 0
	b.WriteString("\n| | enforced | partly | not yet | outside |\n|---|---|---|---|---|\n")
	for _, s := range sections {
		count := map[string]int{}
		for _, r := range requirements[at : at+s.count] {
			count[r.status]++
		}
		at += s.count
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", s.title, count[enforced], count[partly], count[notYet], count[outside])
	}
	at = 0
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| id | level | scope | requirement | status | enforced by | tests |\n|---|---|---|---|---|---|---|\n", s.title)
		for _, r := range requirements[at : at+s.count] {
			status := "**" + r.status + "**"
			if r.note != "" {
				status += ": " + r.note
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.id, r.level, r.scope, r.text, status, listed(strings.Fields(r.where)), listed(r.testNames()))
		}
		at += s.count
	}
	file := filepath.Join("..", "docs", "conformance.md")
	if os.Getenv("UPDATE_DOCS") != "" {
		must(t, os.WriteFile(file, b.Bytes(), 0o644))
		return
	}
	have, err := os.ReadFile(file)
	must(t, err)
	if !bytes.Equal(have, b.Bytes()) {
		t.Error("docs/conformance.md is not this table: run UPDATE_DOCS=1 go test ./integration -run TestConformance")
	}
}

func listed(names []string) string {
	if len(names) == 0 {
		return "–"
	}
	out := slices.Clone(names)
	for i := range out {
		out[i] = "`" + out[i] + "`"
	}
	return strings.Join(out, ", ")
}
