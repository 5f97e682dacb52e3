// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assize/assize/policy"
	"github.com/assize/assize/verdict"
)

// newPolicy is "assize policy": policies for whole machines.
func newPolicy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "List, print, check and test policies for whole machines",
		Long: `A policy for whole machines is a module of Rego v1 in package assize: it can lower
components and the verdict, demand components, and annotate (docs/policies.md). A
library of policies comes with the program: print one, edit the copy, check and test
it. What each finding of one scheme costs is another matter: see "assize schemes".`,
		Example: `  assize policy list
  assize policy show strict > mine.rego
  assize policy check mine.rego
  assize policy test mine.rego`,
		Args: func(*cobra.Command, []string) error {
			return usage("policy wants a sub-command: list, show, check or test")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newPolicyList(), newPolicyShow(), newPolicyCheck(), newPolicyTest())
	return cmd
}

// policyLine is what is fixed about a policy, as JSON.
type policyLine struct {
	verdict.PolicyStatement
	Hooks        []string              `json:"hooks"`
	Requirements []verdict.Requirement `json:"requirements"`
	About        string                `json:"about,omitempty"`
}

func describePolicy(p *policy.Policy) policyLine {
	return policyLine{
		PolicyStatement: p.Statement(), Hooks: append([]string{}, p.Hooks()...),
		Requirements: append([]verdict.Requirement{}, p.Requirements()...), About: aboutPolicy(p.Text()),
	}
}

// aboutPolicy is the first sentence of the comment with which a policy begins.
func aboutPolicy(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		comment, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(comment)...)
	}
	about, _, _ := strings.Cut(strings.Join(words, " "), ". ")
	return printable(strings.TrimSuffix(about, "."))
}

func newPolicyList() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the policies of the library",
		Example: "  assize policy list -o json",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usage("-o %q: want text or json", output)
			}
			var lines []policyLine
			for _, name := range policy.Names() {
				p, err := policy.Library(name)
				if err != nil {
					return err
				}
				lines = append(lines, describePolicy(p))
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			for _, l := range lines {
				fmt.Fprintf(cmd.OutOrStdout(), "%-22s %s\n", l.ID, l.About)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func newPolicyShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show NAME",
		Short:   "Print the text of a policy of the library",
		Example: "  assize policy show strict > mine.rego",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, _, err := policy.Source(args[0])
			if err != nil {
				return usage("%w", err)
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func newPolicyCheck() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "check FILE|NAME…",
		Short: "Compile policies and say what is fixed about them",
		Long: `Check loads policies as a verifier does, and prints their names, digests, hooks, what
they demand and relax. A name without ".rego" is one of the library.
Exit status: 0 all can be used, 1 some cannot, 2 usage.`,
		Example: "  assize policy check mine.rego strict -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return usage("-o %q: want text or json", output)
			}
			if len(args) == 0 {
				return usage("policy check wants a file or a name, see assize policy check --help")
			}
			var lines []policyLine
			for _, arg := range args {
				id, text, _, err := policySource(cmd, arg)
				if err != nil {
					return err
				}
				p, err := policy.Load(id, text)
				if err != nil {
					return err
				}
				lines = append(lines, describePolicy(p))
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), lines)
			}
			for _, l := range lines {
				printPolicy(cmd.OutOrStdout(), l)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func printPolicy(w io.Writer, l policyLine) {
	fmt.Fprintf(w, "%s  sha256 %s\n", l.ID, l.Digest)
	if len(l.Hooks) > 0 {
		fmt.Fprintf(w, "  hooks       %s\n", strings.Join(l.Hooks, ", "))
	}
	for _, q := range l.Requirements {
		fmt.Fprintf(w, "  requires    %s\n", printable(q.String()))
	}
	for _, code := range l.Accepts {
		fmt.Fprintf(w, "  relaxes     %s\n", code)
	}
	fmt.Fprintf(w, "  acceptable  %s\n", l.Acceptable)
}

// policySource reads a policy, and its tests if there are any: a file, or one of
// the library.
func policySource(cmd *cobra.Command, arg string) (id string, text, tests []byte, err error) {
	if !strings.HasSuffix(arg, ".rego") && arg != "-" {
		text, tests, err = policy.Source(arg)
		if err != nil {
			err = usage("%w; a file ends in .rego", err)
		}
		return arg, text, tests, err
	}
	if text, err = readInput(cmd, arg, policy.MaxText); err != nil || arg == "-" {
		return policy.ID(arg), text, nil, err
	}
	tests, err = readFile(strings.TrimSuffix(arg, ".rego")+"_test.rego", policy.MaxText)
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return policy.ID(arg), text, tests, err
}

func newPolicyTest() *cobra.Command {
	return &cobra.Command{
		Use:   "test [FILE|DIR|NAME…]",
		Short: "Run the tests of policies",
		Long: `Test evaluates the rules test_… of the module (package assize_test) in the file beside
a policy: mine_test.rego for mine.rego. Of a folder it takes every policy in it, and
without argument the whole library. A policy without tests has failed.
Exit status: 0 all passed, 1 some failed or could not be run, 2 usage.`,
		Example: `  assize policy test
  assize policy test mine.rego policies/ strict`,
		RunE: runPolicyTest,
	}
}

func runPolicyTest(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		args = policy.Names()
	}
	var all []string
	for _, arg := range args {
		more, err := policiesOf(arg)
		if err != nil {
			return err
		}
		all = append(all, more...)
	}
	passed, failed := 0, 0
	for _, arg := range all {
		id, text, tests, err := policySource(cmd, arg)
		switch {
		case err != nil:
			return err
		case tests == nil:
			return fmt.Errorf("%s has no tests", arg)
		}
		results, err := policy.Test(cmd.Context(), id, text, tests)
		if err != nil {
			return err
		}
		for _, r := range results {
			word := "ok"
			if !r.Passed {
				word = "FAIL"
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%-4s %s: %s (line %d)\n", word, id, printable(r.Name), r.Line)
			if r.Err != nil {
				fmt.Fprintf(cmd.OutOrStdout(), "     %s\n", printable(r.Err.Error()))
			}
			if r.Passed {
				passed++
			} else {
				failed++
			}
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// policiesOf is the argument, or the policies in the folder that it names.
func policiesOf(arg string) ([]string, error) {
	if info, err := os.Stat(arg); err != nil || !info.IsDir() {
		return []string{arg}, nil
	}
	files, err := filepath.Glob(filepath.Join(arg, "*.rego"))
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f string) bool { return strings.HasSuffix(f, "_test.rego") })
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no policy", arg)
	}
	return files, nil
}
