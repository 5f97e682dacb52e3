// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The tests of integration build the program before anything runs, which takes
// longer than most of them. Where no test of a run starts it, it is not built.
const (
	programFolder = "integration"
	programFile   = "integration/process_test.go"
	programBuild  = `exec.Command("go", "build", "-o", binary, "../cmd/assize")`
	programNot    = `exec.Command("go", "version")`
	programName   = "binary" // the variable that holds its path
)

// withoutProgram is programFile without the build, false where it is needed or
// where the text has changed.
func withoutProgram(root, folder string, tests []string) ([]byte, bool) {
	if folder != programFolder {
		return nil, false
	}
	users, err := usersOf(filepath.Join(root, folder), programName)
	if err != nil || slices.ContainsFunc(tests, func(name string) bool { return users[name] }) {
		return nil, false
	}
	raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(programFile)))
	if err != nil || strings.Count(string(raw), programBuild) != 1 {
		return nil, false
	}
	return []byte(strings.Replace(string(raw), programBuild, programNot, 1)), true
}

// usersOf are the declarations of a folder's tests that mention a variable, or
// something that does. What the methods of a type mention, the type mentions:
// nobody can call them who has not made one.
func usersOf(dir, variable string) (map[string]bool, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	mentions := map[string]map[string]bool{}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				owner := d.Name.Name
				if d.Recv != nil {
					owner = strings.TrimSuffix(receiver(d), ".")
				}
				note(mentions, owner, d)
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					for _, name := range declared(spec) {
						note(mentions, name.Name, spec)
					}
				}
			}
		}
	}
	delete(mentions, "TestMain")
	users := map[string]bool{variable: true}
	for grown := true; grown; {
		grown = false
		for name, uses := range mentions {
			for user := range users {
				if uses[user] && !users[name] {
					users[name], grown = true, true
					break
				}
			}
		}
	}
	return users, nil
}

// declared are the names of a type, or of variables or constants.
func declared(spec ast.Spec) []*ast.Ident {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		return []*ast.Ident{s.Name}
	case *ast.ValueSpec:
		return s.Names
	}
	return nil
}

// note collects the names in a declaration, but for fields and methods.
func note(mentions map[string]map[string]bool, owner string, in ast.Node) {
	names := mentions[owner]
	if names == nil {
		names = map[string]bool{}
		mentions[owner] = names
	}
	selected := map[*ast.Ident]bool{}
	ast.Inspect(in, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			selected[n.Sel] = true
		case *ast.Field:
			for _, name := range n.Names {
				selected[name] = true
			}
		case *ast.Ident:
			if !selected[n] {
				names[n.Name] = true
			}
		}
		return true
	})
}
