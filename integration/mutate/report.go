// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// list shows what would run.
func list(out io.Writer, jobs []job) {
	for _, j := range jobs {
		fmt.Fprintf(out, "%s\n    %s\n", j.removes, j.where)
		if j.stale != "" {
			fmt.Fprintf(out, "    STALE: %s\n", j.stale)
		}
		for _, c := range j.claims {
			fmt.Fprintf(out, "    %s: %s\n", c.id, strings.Join(c.tests, " "))
		}
	}
}

// summary counts, and is an error unless every mutant was killed.
func summary(out io.Writer, results []result) error {
	count, crashes := map[string]int{}, 0
	mutants := map[string]bool{}
	for _, r := range results {
		count[r.outcome]++
		mutants[r.removes] = true
		if r.how != "" {
			crashes++
		}
	}
	fmt.Fprintf(out, "%d mutants, %d times held against a requirement: %d killed (%d by a panic or a timeout), %d survived, %d stale, %d do not build\n",
		len(mutants), len(results), count[killed], crashes, count[survived], count[stale], count[unbuilt])
	if count[killed]+count[built] != len(results) {
		return errors.New("not every mutant is killed")
	}
	return nil
}

const docHead = `# Mutations

Every requirement of [conformance.md](conformance.md) that is enforced, at least partly, and guarantees of the [threat model](threat-model.md), with what
was taken away to see whether their tests notice.
Each line is the module without that one enforcement; the test is the first of the tests of that requirement that failed. Made by
` + "`make mutants`" + ` (` + "`go run ./integration/mutate -write docs/mutations.md`" + `); the test of that package holds this list to the mutants.
`

const docTable = "\n| id | enforcement removed | where | noticed by |\n|---|---|---|---|\n"

// row is one line of the table; by is "" where it has not run.
type row struct{ id, removes, where, by string }

func (r row) String() string {
	return fmt.Sprintf("| %s | %s | `%s` | %s |", r.id, r.removes, strings.ReplaceAll(r.where, ", ", "`, `"), r.by)
}

// readDoc reads the rows of the table; none where there is no file.
func readDoc(file string) ([]row, error) {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []row
	for line := range strings.Lines(string(raw)) {
		if c := cells(line); len(c) == 4 && c[0] != "id" {
			out = append(out, row{c[0], c[1], strings.ReplaceAll(c[2], "`", ""), c[3]})
		}
	}
	return out, nil
}

// writeDoc puts the results in place of older ones and drops rows of mutants
// that are gone.
func writeDoc(file string, results []result) error {
	rows, err := readDoc(file)
	if err != nil {
		return err
	}
	for _, res := range results {
		r := row{res.id, res.removes, res.where, "**" + res.outcome + "**"}
		if res.outcome == killed {
			r.by = "`" + res.by + "`"
			if res.how != "" {
				r.by += " (" + res.how + ")"
			}
		}
		rows = slices.DeleteFunc(rows, func(old row) bool { return old.id == r.id && old.removes == r.removes })
		rows = append(rows, r)
	}
	rows = slices.DeleteFunc(rows, func(r row) bool { return place(r) < 0 })
	slices.SortStableFunc(rows, func(a, b row) int {
		if d := strings.Compare(sortable(a.id), sortable(b.id)); d != 0 {
			return d
		}
		return place(a) - place(b)
	})
	var b strings.Builder
	b.WriteString(docHead + docTable)
	for _, r := range rows {
		b.WriteString(r.String() + "\n")
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// place is where the mutant of a row is in the list, -1 for none.
func place(r row) int {
	return slices.IndexFunc(mutants(), func(m mutant) bool {
		return m.removes == r.removes && slices.Contains(strings.Fields(m.ids), r.id)
	})
}

// sortable has the order of conformance.md: MV, PAR, TH; guarantees come last.
func sortable(id string) string {
	prefix, number, _ := strings.Cut(id, "-")
	if prefix == "G" {
		prefix = "~"
	}
	return fmt.Sprintf("%s-%4s", prefix, number)
}
