// SPDX-License-Identifier: Apache-2.0

// Package archtest keeps the shape of the code: which package imports which,
// where time, randomness and the network may be touched, and how a file looks.
// All rules are tables in rules.go; begin there. Its own test runs them over
// this repository, and over small invented trees to see that every rule bites.
//
// It reads source text only (go/parser), so build tags hide nothing from it
// and it needs neither a build nor the network.
package archtest

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Finding is one broken rule.
type Finding struct {
	// File is the path below the root of the module; Line counts from 1, or is
	// 0 where the finding is about the file as a whole.
	File string
	Line int
	// Rule is the short name of the rule: import, external, init, panic, exit,
	// pure, name, licence, length, guarantee or decision.
	Rule string
	// Detail says what was seen and what would be right.
	Detail string
}

// String returns "file:line: rule: detail".
func (f Finding) String() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Detail)
}

// file is one parsed Go file.
type file struct {
	path  string
	dir   string
	test  bool
	lines int
	first string
	set   *token.FileSet
	ast   *ast.File
}

// Check parses every Go file of tree and returns what breaks a rule, in the
// order of files and lines. The module path is the prefix of our own imports.
// Nested modules and testdata are not part of the module. An error means that
// a file could not be read or parsed.
func Check(tree fs.FS, module string) ([]Finding, error) {
	files, err := load(tree)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, f := range files {
		found = append(found, f.checkImports(module)...)
		found = append(found, f.checkCode()...)
		found = append(found, f.checkForm()...)
	}
	slices.SortStableFunc(found, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return found, nil
}

// load parses the Go files of the module, in the order of their paths.
func load(tree fs.FS) ([]*file, error) {
	var files []*file
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipDir(tree, name)
		case path.Ext(name) != ".go":
			return nil
		}
		f, err := parse(tree, name)
		if err != nil {
			return err
		}
		files = append(files, f)
		return nil
	})
	return files, err
}

// skipDir returns fs.SkipDir for folders that the go command leaves out too.
func skipDir(tree fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
		return fs.SkipDir
	}
	if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func parse(tree fs.FS, name string) (*file, error) {
	src, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	first, _, _ := bytes.Cut(src, []byte("\n"))
	return &file{
		path:  name,
		dir:   path.Dir(name),
		test:  strings.HasSuffix(name, "_test.go"),
		lines: bytes.Count(src, []byte("\n")),
		first: strings.TrimSuffix(string(first), "\r"),
		set:   set,
		ast:   parsed,
	}, nil
}

func (f *file) finding(pos token.Pos, rule, format string, args ...any) Finding {
	line := 0
	if pos.IsValid() {
		line = f.set.Position(pos).Line
	}
	return Finding{File: f.path, Line: line, Rule: rule, Detail: fmt.Sprintf(format, args...)}
}

// importPath is the unquoted path of an import; the parser checked the quotes.
func importPath(spec *ast.ImportSpec) string {
	p, err := strconv.Unquote(spec.Path.Value)
	if err != nil {
		return spec.Path.Value
	}
	return p
}

// within reports whether dir lies in one of the places (see rules.go).
func within(dir string, places []string) bool {
	return slices.ContainsFunc(places, func(place string) bool {
		if place == "*" {
			return true
		}
		if base, ok := strings.CutSuffix(place, "/..."); ok {
			return below(dir, base)
		}
		if base, ok := strings.CutSuffix(place, "/*"); ok {
			return dir != base && below(dir, base)
		}
		return dir == place
	})
}

// below reports whether p is base or lies under it, for folders and for
// import paths.
func below(p, base string) bool {
	return p == base || strings.HasPrefix(p, base+"/")
}
