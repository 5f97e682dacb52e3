// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/assize/assize/cmd/assize/internal/render"
	"github.com/assize/assize/verdict"
)

// replayBasis is what every replay says of itself.
const replayBasis = "judged by what the bundle brings: its collateral, reference values, authorities and policies. " +
	"This says what follows from them, and not that any of them is to be trusted. It is no verdict, and is not signed."

// replayReport is what came of a replay (schemas/replay.schema.json).
type replayReport struct {
	Kind       string `json:"kind"`
	Reproduced bool   `json:"reproduced"`
	Basis      string `json:"basis"`
	// Tier is what the replay gives, Was what the verdict said.
	Tier verdict.Tier `json:"tier"`
	Was  verdict.Tier `json:"was"`
	// Time is that of the recorded verdict, AsOf the time for which it was appraised
	// again.
	Time string `json:"time"`
	AsOf string `json:"as_of"`
	// Recorded is who has signed the verdict, Signature whether that was this node
	// ("own"); the key of anybody else ("unknown") is only said to be his.
	Recorded  verdict.Signatory `json:"recorded_by"`
	Signature string            `json:"signature"`
	Build     string            `json:"build"`
	// Missing are things that the verdict was made from and that the bundle does not
	// carry.
	Missing []missingItem `json:"missing,omitempty"`
	Roots   []replayRoot  `json:"roots,omitempty"`
	Notes   []string      `json:"notes,omitempty"`
	// Differences is empty where the verdict was reproduced.
	Differences []difference `json:"differences"`
}

// missingItem is a thing that is known by its digest only.
type missingItem struct {
	Kind   verdict.ItemKind `json:"kind"`
	Name   string           `json:"name"`
	Digest string           `json:"sha256"`
}

func missingOf(i verdict.Item) missingItem {
	return missingItem{i.Kind, i.Name, fmt.Sprintf("%x", i.Digest)}
}

// note says something about the replay itself.
func (r *replayReport) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

// compare fills the report.
func (p *replay) compare(now *verdict.Result) {
	r, then := &p.report, p.recorded
	clock, override, err := p.times()
	if err != nil {
		r.note("times: %v", err) // were read before
	}
	if !override.IsZero() {
		clock = override
	}
	r.Kind, r.Basis = "assize-replay", replayBasis
	r.Tier, r.Was = now.Outcome.Tier, then.Outcome.Tier
	r.Time, r.AsOf = then.Time.UTC().Format(time.RFC3339), clock.UTC().Format(time.RFC3339)
	r.Recorded = verdict.Signatory{Developer: then.Verifier.Developer, Build: then.Verifier.Build, KID: then.KID}
	r.Signature, r.Build = p.signature(), now.Verifier.Build
	if then.Verifier.Build != now.Verifier.Build {
		r.note("the build differs: %s then, %s now", then.Verifier.Build, now.Verifier.Build)
	}
	if p.request.Others {
		r.note("verifiers in other processes could have a part in the verdict; their collateral and policies are not in the bundle")
	}
	for _, scheme := range p.request.Remote {
		r.note("%s was appraised by a service of the vendor; the replay appraises it here", scheme)
	}
	if p.exitTier(r.Tier) != r.Tier {
		r.note("what the bundle brings makes the verdict better than it was, which counts for nothing: the exit status is that of the recorded verdict, %s", r.Was)
	}
	r.Differences = differences(then, now, ignored{time: !p.asOf.IsZero(), defaults: p.byText})
	r.Reproduced = len(r.Differences) == 0
}

// print writes the report.
func (r *replayReport) print(w io.Writer, output string) error {
	if output == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(r)
	}
	r.text(w)
	return nil
}

func (r *replayReport) text(w io.Writer) {
	signed := "key unknown here: it came with the bundle"
	if r.Signature == "own" {
		signed = "signed by this node"
	}
	fmt.Fprintf(w, "REPLAY of a verdict of %s, appraised again as of %s\n", r.Time, r.AsOf)
	fmt.Fprintf(w, "  recorded: %s, by %s %s (%s)\n", r.Was, render.Clean(r.Recorded.Developer), render.Clean(r.Recorded.Build), signed)
	fmt.Fprintf(w, "  replayed: %s, by %s\n", r.Tier, render.Clean(r.Build))
	fmt.Fprintf(w, "  %s\n", r.Basis)
	for _, root := range r.Roots {
		how := map[string]string{
			rootsGiven: "believed: the same file was given", rootsIncluded: "believed because of --use-included-roots", rootsUnused: "NOT believed",
		}[root.Use]
		fmt.Fprintf(w, "  trust anchors %s, sha-256 %.16s…: %s\n", render.Clean(root.Name), root.Digest, how)
	}
	for _, m := range r.Missing {
		fmt.Fprintf(w, "  missing, so that the result may differ: %s %s, sha-256 %.16s…\n", m.Kind, render.Clean(m.Name), m.Digest)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", render.Clean(n))
	}
	if r.Reproduced {
		fmt.Fprintf(w, "reproduced: the same tiers, claims, reasons and bindings\n")
		return
	}
	fmt.Fprintf(w, "NOT reproduced: %d differences\n", len(r.Differences))
	r.list(w)
}

// maxAlike is how many differences of one sort of one component text lists.
const maxAlike = 8

// list writes the differences, long lists of one sort cut short.
func (r *replayReport) list(w io.Writer) {
	type sort struct{ component, word string }
	of := func(d difference) sort {
		word, _, _ := strings.Cut(d.What, " ")
		return sort{d.Component, word}
	}
	count := map[sort]int{}
	for _, d := range r.Differences {
		count[of(d)]++
	}
	last, seen := "\x00", map[sort]int{}
	for _, d := range r.Differences {
		if d.Component != last {
			last = d.Component
			name := "component " + render.Clean(last)
			if last == "" {
				name = "the whole"
			}
			fmt.Fprintf(w, "  %s\n", name)
		}
		k := of(d)
		switch seen[k]++; {
		case count[k] > maxAlike && seen[k] == maxAlike:
			fmt.Fprintf(w, "    … %d more about %s (-o json has all)\n", count[k]-maxAlike+1, render.Clean(k.word))
			continue
		case count[k] > maxAlike && seen[k] > maxAlike:
			continue
		}
		what, then, now := render.Clean(d.What), render.Clean(d.Then), render.Clean(d.Now)
		switch {
		case d.Then == "":
			fmt.Fprintf(w, "    + %s: %s\n", what, now)
		case d.Now == "":
			fmt.Fprintf(w, "    - %s: %s\n", what, then)
		default:
			fmt.Fprintf(w, "    %s: %s, now %s\n", what, then, now)
		}
	}
}
