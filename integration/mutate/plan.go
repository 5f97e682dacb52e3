// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// edit replaces a text that occurs exactly once in a file of the module.
type edit struct {
	file, old, new string
}

// mutant is the module without one enforcement. One that the code checks twice
// takes several edits.
type mutant struct {
	ids     string // requirements of docs/conformance.md and guarantees of docs/threat-model.md, by spaces
	removes string // what is gone, in words; unique
	edits   []edit
}

// in is a mutant with one edit.
func in(ids, removes, file, old, new string) mutant {
	return mutant{ids, removes, []edit{{file, old, new}}}
}

// never is a mutant whose "if" is never taken. The condition stays, so that
// what it uses is used.
func never(ids, removes, file, condition string) mutant {
	return in(ids, removes, file, "if "+condition+" {", "if false && ("+condition+") {")
}

// neverCase is never for a case of a switch without an expression.
func neverCase(ids, removes, file, condition string) mutant {
	return in(ids, removes, file, "case "+condition+":", "case false && ("+condition+"):")
}

// gone is never for an "if" with a statement before its condition.
func gone(ids, removes, file, before, after string) mutant {
	return in(ids, removes, file, "if "+before+"; "+after+" {", "if "+before+"; "+after+" && false {")
}

// requirement is a row of docs/conformance.md, or a guarantee of
// docs/threat-model.md.
type requirement struct {
	id     string
	claims bool     // enforced, at least partly; false for a guarantee
	tests  []string // folder.TestName
}

// readTable reads docs/conformance.md, which is made from the table in the
// tests of package integration and held to it there.
func readTable(root string) ([]requirement, error) {
	raw, err := os.ReadFile(filepath.Join(root, "docs", "conformance.md"))
	if err != nil {
		return nil, err
	}
	id := regexp.MustCompile(`^(MV|PAR|TH)-[0-9]+$`)
	var out []requirement
	for line := range strings.Lines(string(raw)) {
		cell := cells(line)
		if len(cell) != 7 || !id.MatchString(cell[0]) {
			continue
		}
		r := requirement{id: cell[0], claims: strings.HasPrefix(cell[4], "**enforced**") || strings.HasPrefix(cell[4], "**partly**")}
		for name := range strings.SplitSeq(cell[6], ", ") {
			if name = strings.Trim(name, "`"); strings.Contains(name, ".") {
				r.tests = append(r.tests, name)
			}
		}
		out = append(out, r)
	}
	if len(out) == 0 {
		return nil, errors.New("docs/conformance.md has no requirements")
	}
	guaranteed, err := readGuarantees(root)
	return append(out, guaranteed...), err
}

// readGuarantees reads docs/threat-model.md, whose tests internal/archtest holds to
// the module.
func readGuarantees(root string) ([]requirement, error) {
	raw, err := os.ReadFile(filepath.Join(root, "docs", "threat-model.md"))
	if err != nil {
		return nil, err
	}
	row := regexp.MustCompile(`(?m)^\| (G-[0-9]+) \|.*\(test: ([^)]*)\) \|$`)
	var out []requirement
	for _, m := range row.FindAllStringSubmatch(string(raw), -1) {
		out = append(out, requirement{id: m[1], tests: strings.Split(m[2], ", ")})
	}
	if len(out) == 0 {
		return nil, errors.New("docs/threat-model.md has no guarantees")
	}
	return out, nil
}

// cells are the cells of a line of a table, nil for another line.
func cells(line string) []string {
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
		return nil
	}
	return strings.Split(line[2:len(line)-2], " | ")
}

// job is a mutant that is ready to run.
type job struct {
	mutant
	// where are the functions that are changed, "folder.Type.Method".
	where string
	// sources are the changed files by their paths in the module.
	sources map[string][]byte
	// stale says why it cannot run, "" if it can.
	stale string
	// claims are the requirements that have to notice, by id their tests.
	claims []requirement
}

// plan prepares the selected mutants. Stale ones are in the list; what is wrong
// with the list itself is an error.
func plan(root string, table []requirement, only *regexp.Regexp) ([]job, error) {
	var out []job
	seen := map[string]bool{}
	for _, m := range mutants() {
		if seen[m.removes] {
			return nil, fmt.Errorf("two mutants remove %q", m.removes)
		}
		seen[m.removes] = true
		j := job{mutant: m, sources: map[string][]byte{}}
		for id := range strings.FieldsSeq(m.ids) {
			at := slices.IndexFunc(table, func(r requirement) bool { return r.id == id })
			if at < 0 || len(table[at].tests) == 0 {
				return nil, fmt.Errorf("mutant %q: requirement %s is not in the table, or has no tests", m.removes, id)
			}
			j.claims = append(j.claims, table[at])
		}
		if !selected(m, only) {
			continue
		}
		if err := j.apply(root); err != nil {
			j.stale = err.Error()
		}
		out = append(out, j)
	}
	return out, nil
}

func selected(m mutant, only *regexp.Regexp) bool {
	text := m.ids + " " + m.removes
	for _, e := range m.edits {
		text += " " + e.file
	}
	return only.MatchString(text)
}

// apply makes the changed sources.
func (j *job) apply(root string) error {
	var places []string
	for _, e := range j.edits {
		src, ok := j.sources[e.file]
		if !ok {
			var err error
			if src, err = os.ReadFile(filepath.Join(root, filepath.FromSlash(e.file))); err != nil {
				return err
			}
		}
		if n := bytes.Count(src, []byte(e.old)); n != 1 {
			return fmt.Errorf("%s has %d times %q", e.file, n, e.old)
		}
		at := bytes.Index(src, []byte(e.old))
		place, err := enclosing(e.file, src, at+len(e.old)-len(strings.TrimLeft(e.old, "\t\n ")))
		if err != nil {
			return err
		}
		if !slices.Contains(places, place) {
			places = append(places, place)
		}
		j.sources[e.file] = slices.Concat(src[:at], []byte(e.new), src[at+len(e.old):])
	}
	for name, src := range j.sources {
		if _, err := parser.ParseFile(token.NewFileSet(), name, src, parser.SkipObjectResolution); err != nil {
			return fmt.Errorf("mutated: %w", err)
		}
	}
	j.where = strings.Join(places, ", ")
	return nil
}

// enclosing names the function around an offset, or the folder of the file.
func enclosing(file string, src []byte, at int) (string, error) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, file, src, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	folder := path.Dir(file)
	for _, d := range f.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || at < set.Position(fn.Pos()).Offset || at >= set.Position(fn.End()).Offset {
			continue
		}
		return folder + "." + receiver(fn) + fn.Name.Name, nil
	}
	return folder, nil
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

// and adds an edit.
func (m mutant) and(file, old, new string) mutant {
	m.edits = append(m.edits, edit{file, old, new})
	return m
}
