// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"path"
	"slices"
	"strings"
)

// checkCode looks for init functions, panics, exits and impure calls.
func (f *file) checkCode() []Finding {
	var found []Finding
	for _, decl := range f.ast.Decls {
		name := ""
		if fn, ok := decl.(*ast.FuncDecl); ok {
			name = fn.Name.Name
			if fn.Recv == nil && name == "init" && f.ast.Name.Name != "main" {
				found = append(found, f.finding(fn.Pos(), "init",
					"no init functions outside package main: lists are explicit, constructors return errors"))
			}
		}
		ast.Inspect(decl, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				found = append(found, f.checkPanic(n, name)...)
			case *ast.SelectorExpr:
				found = append(found, f.checkSelector(n)...)
			}
			return true
		})
	}
	return found
}

func (f *file) checkPanic(call *ast.CallExpr, function string) []Finding {
	id, ok := call.Fun.(*ast.Ident)
	if !ok || id.Name != "panic" || f.test {
		return nil
	}
	if _, ok := allowedPanics[f.path+":"+function]; ok {
		return nil
	}
	return []Finding{f.finding(call.Pos(), "panic", "return an error instead of panic")}
}

// checkSelector finds uses, called or not, of forbidden identifiers of other
// packages: time.Now as a value is as impure as its call.
func (f *file) checkSelector(sel *ast.SelectorExpr) []Finding {
	id, ok := sel.X.(*ast.Ident)
	if !ok || f.test {
		return nil
	}
	p := f.importOf(id.Name)
	if names, ok := impure[p]; ok && within(f.dir, core) && listed(names, sel.Sel.Name) {
		return []Finding{f.finding(sel.Pos(), "pure", "%s.%s in a core package: take it as an argument", p, sel.Sel.Name)}
	}
	if names, ok := exits[p]; ok && f.ast.Name.Name != "main" && listed(names, sel.Sel.Name) {
		return []Finding{f.finding(sel.Pos(), "exit", "%s.%s outside package main: return an error", p, sel.Sel.Name)}
	}
	return nil
}

// listed reports whether name is in names; nil lists everything.
func listed(names []string, name string) bool {
	return names == nil || slices.Contains(names, name)
}

// importOf is the import path that an identifier of this file stands for, ""
// if it stands for none.
func (f *file) importOf(name string) string {
	for _, spec := range f.ast.Imports {
		p := importPath(spec)
		if spec.Name != nil {
			if spec.Name.Name == name {
				return p
			}
			continue
		}
		base := path.Base(p)
		if strings.HasPrefix(base, "v") && strings.Trim(base[1:], "0123456789") == "" {
			base = path.Base(path.Dir(p))
		}
		if base == name {
			return p
		}
	}
	return ""
}

// checkForm holds the name of the package, the licence line and the length.
func (f *file) checkForm() []Finding {
	var found []Finding
	names := append(strings.Split(f.dir, "/"), strings.TrimSuffix(f.ast.Name.Name, "_test"))
	for _, name := range names {
		if slices.Contains(vagueNames, name) {
			found = append(found, f.finding(f.ast.Name.Pos(), "name",
				"%q says nothing: name a package after what it provides", name))
			break
		}
	}
	if f.first != licenceLine {
		found = append(found, Finding{f.path, 1, "licence", "the first line must be " + licenceLine})
	}
	if f.lines > maxLines {
		found = append(found, Finding{f.path, 0, "length", "more than 600 lines: split by responsibility"})
	}
	return found
}
