// SPDX-License-Identifier: Apache-2.0

package archtest

import (
	"fmt"
	"go/ast"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

var (
	guaranteeRow = regexp.MustCompile(`^\| *(G-\d+) *\|`)
	testMark     = regexp.MustCompile(`\(test: ([^)]*)\)`)
	testName     = regexp.MustCompile(`^([a-z0-9_/.-]+)\.((?:Test|Fuzz)\w+)$`)
	decisionRow  = regexp.MustCompile(`(?m)^\| *(D-\d+) *\|`)
	decisionCite = regexp.MustCompile(`\bD-\d+\b`)
)

// CheckGuarantees reads the threat model at name and returns what is wrong
// with it: a guarantee (a table row that begins with G-nn) without a mark
// "(test: folder.TestName)", a number used twice or left out, and a mark whose
// test is not in tree. Several tests in one mark are separated by commas.
func CheckGuarantees(tree fs.FS, name string) ([]Finding, error) {
	raw, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	tests, err := testFunctions(tree)
	if err != nil {
		return nil, err
	}
	var found []Finding
	complain := func(line int, format string, args ...any) {
		found = append(found, Finding{name, line + 1, "guarantee", fmt.Sprintf(format, args...)})
	}
	next := 1
	for i, line := range strings.Split(string(raw), "\n") {
		marks := testMark.FindAllStringSubmatch(line, -1)
		if row := guaranteeRow.FindStringSubmatch(line); row != nil {
			if want := fmt.Sprintf("G-%02d", next); row[1] != want {
				complain(i, "%s stands where %s is next", row[1], want)
			}
			next++
			if len(marks) == 0 {
				complain(i, "%s names no test that holds it", row[1])
			}
		}
		for _, mark := range marks {
			for _, ref := range strings.Split(mark[1], ",") {
				ref = strings.TrimSpace(ref)
				if !testName.MatchString(ref) {
					complain(i, "%q is not of the form folder.TestName", ref)
				} else if !tests[ref] {
					complain(i, "no test %s", ref)
				}
			}
		}
	}
	if next == 1 {
		complain(-1, "no guarantee at all")
	}
	return found, nil
}

// testFunctions is the set of "folder.TestName" of all tests and fuzz targets.
func testFunctions(tree fs.FS) (map[string]bool, error) {
	files, err := load(tree)
	if err != nil {
		return nil, err
	}
	tests := make(map[string]bool)
	for _, f := range files {
		if !f.test {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil {
				tests[f.dir+"."+fn.Name.Name] = true
			}
		}
	}
	return tests, nil
}

// CheckDecisions reads the list of decisions at name and returns the comments
// in Go files that cite a decision (D-nn) which the list lacks.
func CheckDecisions(tree fs.FS, name string) ([]Finding, error) {
	raw, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	var listed []string
	for _, row := range decisionRow.FindAllStringSubmatch(string(raw), -1) {
		if slices.Contains(listed, row[1]) {
			return []Finding{{name, 0, "decision", row[1] + " is listed twice"}}, nil
		}
		listed = append(listed, row[1])
	}
	files, err := load(tree)
	if err != nil {
		return nil, err
	}
	var found []Finding
	for _, f := range files {
		for _, group := range f.ast.Comments {
			for _, id := range decisionCite.FindAllString(group.Text(), -1) {
				if !slices.Contains(listed, id) {
					found = append(found, f.finding(group.Pos(), "decision", "%s is not in %s", id, name))
				}
			}
		}
	}
	return found, nil
}
