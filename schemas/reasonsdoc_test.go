// SPDX-License-Identifier: Apache-2.0

package schemas

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const reasonsDoc = "../docs/reasons.md"

// reasonsIntro is what stands before the codes.
const reasonsIntro = `# Reason codes

Every reason in a verdict has one of these codes. Made from ` + "`schemas/reasons.yaml`" + ` by ` + "`UPDATE_DOCS=1 go test ./schemas -run TestReasonsDoc`" + ` and
checked by the same test; package verdict has the same codes as constants. ` + "`assize explain`" + ` says them with what was found (docs/explain.md).

* **Leaves at best** is the best tier that is left where the lead attaches the reason to a component or to the whole.
* **Usually costs** is the tier that it gives in most schemes by the default policies where a component verifier finds it. What a finding costs is for the
  appraisal policy of the scheme to say: ` + "`assize schemes policy SCHEME`" + `, docs/appraisal-policies.md.
* A **remark** costs nothing.

`

// renderReasons is docs/reasons.md.
func renderReasons(list []Reason) string {
	var b strings.Builder
	b.WriteString(reasonsIntro)
	b.WriteString("| code | said by | leaves at best | usually costs |\n|---|---|---|---|\n")
	for _, r := range list {
		usual := r.Usual
		if usual == "" || usual == "affirming" {
			usual = "–"
		}
		ceiling := r.Ceiling
		if ceiling == "affirming" && (r.Usual == "" || r.Usual == "affirming") {
			ceiling, usual = "remark", "–"
		}
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s | %s |\n", r.Code, r.Code, strings.Join(r.SaidBy, ", "), ceiling, usual)
	}
	for _, r := range list {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n*What to do.* %s\n", r.Code, r.Meaning, r.Remedy)
		if len(r.RemedyFor) > 0 {
			b.WriteString("\n")
		}
		for _, scheme := range slices.Sorted(maps.Keys(r.RemedyFor)) {
			fmt.Fprintf(&b, "* %s: %s\n", scheme, r.RemedyFor[scheme])
		}
		fmt.Fprintf(&b, "\nSince %s.\n", r.Since)
	}
	return b.String()
}

// docs/reasons.md is made from the list. Run it with UPDATE_DOCS=1 to write it.
func TestReasonsDoc(t *testing.T) {
	list, err := Reasons()
	if err != nil {
		t.Fatal(err)
	}
	want := renderReasons(list)
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(reasonsDoc, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(reasonsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/reasons.md is not this list: run UPDATE_DOCS=1 go test ./schemas -run TestReasonsDoc")
	}
}
