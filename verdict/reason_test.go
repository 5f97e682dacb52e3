// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// codesInSource lists the reason codes of reason.go by the names of their
// constants.
func codesInSource(t *testing.T) map[string]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if !strings.HasPrefix(name.Name, "Reason") {
				continue
			}
			code, err := strconv.Unquote(spec.Values[i].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if _, dup := out[code]; dup {
				t.Errorf("code %s has two names", code)
			}
			out[code] = name.Name
		}
		return true
	})
	return out
}

func TestReasonCodesAreListed(t *testing.T) {
	raw, err := os.ReadFile("../schemas/reasons.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Code, Text string }
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		t.Fatal(err)
	}
	source := codesInSource(t)
	if len(source) < 50 {
		t.Errorf("only %d codes found in reason.go", len(source))
	}
	form, listed := regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`), map[string]bool{}
	for _, r := range list {
		if listed[r.Code] {
			t.Errorf("%s is listed twice", r.Code)
		}
		listed[r.Code] = true
		if source[r.Code] == "" {
			t.Errorf("%s is listed, but no constant has it", r.Code)
		}
		if !form.MatchString(r.Code) || !strings.HasSuffix(r.Text, ".") {
			t.Errorf("%+v", r)
		}
	}
	for code, name := range source {
		if !listed[code] {
			t.Errorf("%s (%s) is not in schemas/reasons.json", name, code)
		}
	}
}
