// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/assize/assize/schemas"
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
	list, err := schemas.Reasons()
	if err != nil {
		t.Fatal(err)
	}
	source := codesInSource(t)
	if len(source) < 80 {
		t.Errorf("only %d codes found in reason.go", len(source))
	}
	listed := map[string]bool{}
	for _, r := range list {
		listed[r.Code] = true
		if source[r.Code] == "" {
			t.Errorf("%s is in schemas/reasons.yaml, but no constant has it", r.Code)
		}
		if got := ReasonCeiling(r.Code).String(); got != r.Ceiling {
			t.Errorf("%s has the ceiling %s, listed is %s", r.Code, got, r.Ceiling)
		}
	}
	for code, name := range source {
		if !listed[code] {
			t.Errorf("%s (%s) is not in schemas/reasons.yaml", name, code)
		}
	}
}

func TestComparisonIsBounded(t *testing.T) {
	long := strings.Repeat("ä", MaxCompared)
	r := Reason{Code: ReasonMeasurementMismatch, Detail: long}.Compared(Comparison{Expected: long, Observed: "\xff\xfe" + long, Source: "short"})
	if r.Detail != long || r.Source != "short" {
		t.Errorf("%+v", r)
	}
	for _, text := range []string{r.Expected, r.Observed} {
		if len(text) > MaxCompared || !utf8.ValidString(text) || !strings.HasSuffix(text, "…") || len(text) < MaxCompared-8 {
			t.Errorf("%d bytes: %q", len(text), text)
		}
	}
	if (Reason{Code: "x"}).Compared(Comparison{}) != (Reason{Code: "x"}) {
		t.Error("nothing compared is something")
	}
	for _, c := range []struct {
		in   []string
		more int
		want string
	}{
		{nil, 0, ""},
		{[]string{"a"}, 0, "a"},
		{[]string{"a", "b", "a"}, 0, "a or b"},
		{[]string{"a", "b", "c", "d"}, 0, "a or b or c or d"},
		{[]string{"a", "b", "c", "d", "e", "f"}, 3, "a or b or c or d … 5 more"},
		{nil, 2, "2 values"},
	} {
		if got := Alternatives(c.in, c.more); got != c.want {
			t.Errorf("%v and %d more: %q, want %q", c.in, c.more, got, c.want)
		}
	}
}

func TestFailComparing(t *testing.T) {
	var a Appraisal
	a.FailComparing(ReasonNonceMismatch, "x", Comparison{Expected: "00", Observed: "11", Source: SourceChallenge})
	if want := (Reason{Code: ReasonNonceMismatch, Detail: "x", Expected: "00", Observed: "11", Source: SourceChallenge}); len(a.Reasons) != 1 || a.Reasons[0] != want {
		t.Errorf("%+v", a.Reasons)
	}
}
