// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// Every example of docs/topologies.md can be read, and the two forms in its table
// are one expression.
func TestDocumentedExamples(t *testing.T) {
	raw, err := os.ReadFile("../docs/topologies.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	var read []string
	for _, m := range regexp.MustCompile("(?ms)^```(topology|yaml topology|yaml)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		text, e := m[2], Expr{}
		switch m[1] {
		case "topology":
			e, err = Parse(text)
		case "yaml topology":
			e, err = ParseYAML([]byte(text))
		default: // of the configuration
			text = strings.ReplaceAll(strings.TrimPrefix(text, "topology:\n"), "\n  ", "\n")
			e, err = ParseYAML([]byte(strings.TrimPrefix(text, "  ")))
		}
		if err != nil {
			t.Errorf("%s: %v", m[2], err)
		}
		read = append(read, e.String())
	}
	if len(read) < 8 || read[0] != read[1] {
		t.Errorf("%d examples: %q", len(read), read)
	}
	rows := regexp.MustCompile("(?m)^\\| (`.*`) \\| (`.*`) \\|$").FindAllStringSubmatch(page[strings.Index(page, "## YAML form"):strings.Index(page, "## Heads")], -1)
	if len(rows) < 8 {
		t.Errorf("%d rows", len(rows))
	}
	code := regexp.MustCompile("`([^`]*)`")
	for _, r := range rows {
		texts, yamls := code.FindAllStringSubmatch(r[1], -1), code.FindAllStringSubmatch(r[2], -1)
		for i := range texts {
			one, err := Parse(texts[i][1])
			if err != nil {
				t.Errorf("%s: %v", texts[i][1], err)
			}
			two, err := ParseYAML([]byte(yamls[i][1]))
			if err != nil || !reflect.DeepEqual(stripped(one), stripped(two)) {
				t.Errorf("%s is not %s: %v", yamls[i][1], one, err)
			}
		}
	}
	for _, code := range []string{
		ProblemSyntax, ProblemNesting, ProblemQuorum, ProblemTwice, ProblemOverlap, ProblemCycle, ProblemPlan, ProblemUnknownLabel,
		ProblemUnnamed, ProblemNoVerifier, ProblemUnknownNode, ProblemLoop, ProblemHops, ProblemNoSealKey,
	} {
		if !strings.Contains(page, "`"+code+"`") {
			t.Errorf("finding %s is not on the page", code)
		}
	}
}
