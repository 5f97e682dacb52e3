// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/remote/nras"
)

// The list of reason codes is what appraisal policies say: every code of a row is in
// it as one that verifiers say, and some row costs what the list says.
func TestReasonListIsThatOfThePolicies(t *testing.T) {
	set, err := all.Set()
	if err != nil {
		t.Fatal(err)
	}
	var policies []appraisal.Defaults
	for _, sc := range set.Schemes() {
		if sc.Policy != nil {
			policies = append(policies, *sc.Policy)
		}
	}
	if len(policies) < 8 {
		t.Fatalf("only %d schemes with a policy", len(policies))
	}
	for _, scheme := range []string{"nvidia-gpu", "nvidia-nvswitch"} {
		d, ok := nras.Policy(nras.PolicyName(scheme))
		if !ok {
			t.Fatalf("no policy of the backend of %s", scheme)
		}
		policies = append(policies, d)
	}
	list, err := schemas.Reasons()
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]schemas.Reason{}
	for _, r := range list {
		listed[r.Code] = r
	}
	costs := map[string][]string{}
	for _, d := range policies {
		for _, f := range d.Findings {
			if f.Code == "" {
				continue
			}
			r, ok := listed[f.Code]
			if !ok || !slices.Contains(r.SaidBy, schemas.SaidByVerifier) {
				t.Errorf("%s: finding %s has the code %q, which is not listed as one of verifiers", d.Scheme, f.Name, f.Code)
				continue
			}
			tier := verdict.TierAffirming
			for _, claim := range f.Effect {
				tier = verdict.Worst(tier, claim.Tier())
			}
			costs[f.Code] = append(costs[f.Code], tier.String())
		}
	}
	for _, r := range list {
		// What is refused before there is anything to judge is 99, by no row.
		if have, ok := costs[r.Code]; ok && !slices.Contains(append(have, verdict.TierContraindicated.String()), r.Usual) {
			t.Errorf("%s: listed is %s, and rows give %s", r.Code, r.Usual, have)
		}
		for scheme := range r.RemedyFor {
			if _, ok := set.Lookup(scheme); !ok {
				t.Errorf("%s has a remedy for %q, which is no scheme", r.Code, scheme)
			}
		}
	}
}

var (
	commandText = regexp.MustCompile(`\bassize ([a-z]+(?:-[a-z]+)*)(?: ([a-z]+(?:-[a-z]+)*))?`)
	flagText    = regexp.MustCompile(`--([a-z][a-z-]*)`)
)

// What remedies tell to do can be done: commands and flags exist.
func TestRemediesNameCommandsThatExist(t *testing.T) {
	list, err := schemas.Reasons()
	if err != nil {
		t.Fatal(err)
	}
	root, flags, commands := newRoot(), map[string]bool{}, map[string]bool{}
	var walk func(c *cobra.Command, path string)
	walk = func(c *cobra.Command, path string) {
		for _, sub := range c.Commands() {
			name := strings.TrimSpace(path + " " + sub.Name())
			commands[name] = true
			for _, word := range flagText.FindAllStringSubmatch(sub.Flags().FlagUsages()+sub.PersistentFlags().FlagUsages(), -1) {
				flags[word[1]] = true
			}
			walk(sub, name)
		}
	}
	walk(root, "")
	foreign := []string{"debug-mode", "set-cc-mode"} // of nitro-cli and of gpu-admin-tools
	n := 0
	for _, r := range list {
		texts := []string{r.Remedy}
		for _, text := range r.RemedyFor {
			texts = append(texts, text)
		}
		for _, text := range texts {
			for _, m := range commandText.FindAllStringSubmatch(text, -1) {
				n++
				if !commands[m[1]] {
					t.Errorf("%s: there is no command assize %s", r.Code, m[1])
				}
				if hasSub := slices.ContainsFunc(slices.Collect(maps.Keys(commands)), func(c string) bool { return strings.HasPrefix(c, m[1]+" ") }); hasSub && m[2] != "" && !commands[m[1]+" "+m[2]] {
					t.Errorf("%s: there is no command assize %s %s", r.Code, m[1], m[2])
				}
			}
			for _, m := range flagText.FindAllStringSubmatch(text, -1) {
				n++
				if !flags[m[1]] && !slices.Contains(foreign, m[1]) {
					t.Errorf("%s: no command has a flag --%s", r.Code, m[1])
				}
			}
		}
	}
	if n < 60 {
		t.Errorf("remedies name %d commands and flags: they should say what to do", n)
	}
}
