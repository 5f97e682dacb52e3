// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"go/ast"
	"slices"
	"strings"
)

// checkImports holds one file against importTable and externalTable.
func (f *file) checkImports(module string) []Finding {
	row, known := rowOf(f.dir)
	var found []Finding
	if !known {
		found = append(found, f.finding(f.ast.Name.Pos(), "import",
			"folder %s has no row in importTable: add one that says what it may import", f.dir))
	}
	for _, spec := range f.ast.Imports {
		p := importPath(spec)
		if spec.Name != nil && spec.Name.Name == "." {
			found = append(found, f.finding(spec.Pos(), "import", "dot import of %s hides where a name comes from", p))
		}
		if !below(p, module) {
			found = append(found, f.checkExternal(spec, p)...)
			continue
		}
		own := strings.TrimPrefix(strings.TrimPrefix(p, module), "/")
		if known && !f.mayImport(row, own) {
			found = append(found, f.finding(spec.Pos(), "import", "%s may not import %s", f.dir, own))
		}
	}
	return found
}

// rowOf is the first row of importTable for a folder.
func rowOf(dir string) (importRow, bool) {
	i := slices.IndexFunc(importTable, func(r importRow) bool { return within(dir, []string{r.place}) })
	if i < 0 {
		return importRow{}, false
	}
	return importTable[i], true
}

func (f *file) mayImport(row importRow, own string) bool {
	if own == f.dir || within(own, row.may) || inHome(own, home(row, f.dir)) {
		return true
	}
	return f.test && (within(own, row.inTests) || within(own, testImports))
}

func inHome(own, home string) bool { return home != "" && below(own, home) }

// home is the folder whose contents a package may always import: that of the
// row, or the one among siblings where a row holds for many ("verifiers/*").
// A row for one folder alone leaves what is below to other rows: none.
func home(row importRow, dir string) string {
	if base, ok := strings.CutSuffix(row.place, "/..."); ok {
		return base
	}
	base, ok := strings.CutSuffix(row.place, "/*")
	if !ok {
		return ""
	}
	sibling, _, _ := strings.Cut(strings.TrimPrefix(dir, base+"/"), "/")
	return base + "/" + sibling
}

func (f *file) checkExternal(spec *ast.ImportSpec, p string) []Finding {
	var found []Finding
	for _, row := range externalTable {
		if !below(p, row.path) || (row.path == "net" && isBareNet(p)) {
			continue
		}
		if within(f.dir, row.in) || (f.test && within(f.dir, row.inTests)) {
			continue
		}
		found = append(found, f.finding(spec.Pos(), "external", "%s may not import %s: %s", f.dir, p, row.why))
	}
	return found
}

func isBareNet(p string) bool {
	return slices.ContainsFunc(bareNet, func(base string) bool { return below(p, base) })
}
