// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/assize/assize/explain"
	"github.com/assize/assize/verdict"
)

// maxFrom is how many components the line of a group of edges names.
const maxFrom = 8

// Explanation prints why a verdict is what it is, the worst first.
func Explanation(w io.Writer, e explain.Explanation) {
	fmt.Fprintf(w, "%s\n", clean(e.Summary))
	if e.Input != nil {
		fmt.Fprintf(w, "%s\n", clean(e.Input.Note))
	}
	if len(e.Causes) > 0 {
		fmt.Fprintln(w, "\nThe whole")
		causes(w, e.Causes)
	}
	for _, c := range e.Components {
		fmt.Fprintf(w, "\n%s  %s  %s\n  %s\n", clean(c.Label), clean(orNone(c.Scheme)), c.Tier, clean(c.Summary))
		causes(w, c.Causes)
	}
	for _, i := range e.Interconnects {
		fmt.Fprintf(w, "\ninterconnect in clear  %s  %s\n", i.Tier, clean(strings.Join(i.Members, ", ")))
		causes(w, i.Causes)
	}
	edges(w, e.Edges)
	if len(e.Requirements) > 0 {
		fmt.Fprintln(w, "\nRequirements")
	}
	for _, q := range e.Requirements {
		state := "met"
		if !q.Met {
			state = "NOT MET"
		}
		fmt.Fprintf(w, "  %s: %s\n", state, clean(q.Text))
		line(w, "mend", q.Remedy)
	}
	if p := e.Policy; p != nil {
		state := "takes the machine"
		if !p.Accepted {
			state = "does not take the machine (worst tier that it takes: " + p.Acceptable.String() + ")"
		}
		fmt.Fprintf(w, "\nPolicy %s  %s\n", clean(p.ID), state)
		line(w, "relaxes", strings.Join(p.Relaxes, ", "))
		for _, key := range slices.Sorted(maps.Keys(p.Annotations)) {
			line(w, key, p.Annotations[key])
		}
	}
	if len(e.Unproven) > 0 {
		fmt.Fprintln(w, "\nNot proven")
	}
	for _, text := range e.Unproven {
		fmt.Fprintf(w, "  - %s\n", clean(text))
	}
}

func orNone(s string) string {
	if s == "" {
		return "no scheme"
	}
	return s
}

// causes prints a list; a remedy that was printed for the same code is not repeated.
func causes(w io.Writer, list []explain.Cause) {
	said := map[string]bool{}
	for _, c := range list {
		if c.Costs == verdict.TierAffirming {
			text := c.Detail
			if text == "" {
				text = c.Meaning
			}
			fmt.Fprintf(w, "  remark %s: %s\n", clean(c.Code), clean(text))
			continue
		}
		mark := ""
		if c.Blocking {
			mark = "! "
		}
		fmt.Fprintf(w, "  %s%s (%s): %s\n", mark, clean(c.Code), c.Costs, clean(c.Meaning))
		line(w, "found", c.Detail)
		line(w, "expected", c.Expected)
		line(w, "observed", c.Observed)
		line(w, "source", c.Source)
		remedy := c.Remedy
		if said[c.Code+"\n"+remedy] {
			remedy = "as above"
		}
		said[c.Code+"\n"+remedy] = true
		line(w, "mend", remedy)
	}
}

// line prints a name and a text, nothing for an empty one.
func line(w io.Writer, name, text string) {
	if text != "" {
		fmt.Fprintf(w, "      %-9s %s\n", clean(name), clean(text))
	}
}

// edges prints what binds components. Those that hold and are of one kind are one
// entry.
func edges(w io.Writer, list []explain.Edge) {
	if len(list) > 0 {
		fmt.Fprintln(w, "\nBindings")
	}
	for i := 0; i < len(list); {
		e := list[i]
		from := []string{e.From}
		for i++; i < len(list) && alike(e, list[i]); i++ {
			from = append(from, list[i].From)
		}
		more := ""
		if len(from) > maxFrom {
			from, more = from[:maxFrom], fmt.Sprintf(" … %d more", len(from)-maxFrom)
		}
		origin := ""
		if e.Origin != "" {
			origin = ", origin " + e.Origin
		}
		fmt.Fprintf(w, "  %s%s → %s  %s: %s, strength %s%s\n",
			clean(strings.Join(from, ", ")), more, clean(e.To), clean(e.Kind), clean(e.Status), clean(e.Strength), clean(origin))
		line(w, "compared", e.Compared)
		if e.Expected != "" && e.Expected == e.Observed && e.Status == "bound" {
			line(w, "both are", e.Expected)
		} else {
			line(w, "expected", e.Expected)
			line(w, "observed", e.Observed)
		}
		line(w, "rests on", e.RestsOn)
		line(w, "mend", e.Remedy)
	}
}

// alike: two edges that differ in where they begin alone.
func alike(a, b explain.Edge) bool {
	a.From = b.From
	return a == b
}
