// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/assize/assize/topologies"
)

func newTopology(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "topology",
		Short: "Check, draw and compare topologies",
		Example: `  assize topology lint 'lead(cpu, gpu/*)' --evidence machine.cmw
  assize topology show 'cascade(cpu, gpu/*@vendor-a)' --evidence machine.cmw -o svg > plan.svg
  assize topology compare machine.cmw --nonce 8f3c… --topology lead --topology 'lead(cpu, gpu/*)'`,
		Args: func(*cobra.Command, []string) error {
			return usage("topology wants a sub-command: lint, show or compare")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newTopologyLint(g), newTopologyShow(g), newTopologyCompare(g))
	return cmd
}

// lintFlags are the flags of "assize topology lint".
type lintFlags struct {
	evidence, mediaType, output string
	optional                    []string
}

func newTopologyLint(g *globals) *cobra.Command {
	f := &lintFlags{}
	cmd := &cobra.Command{
		Use:   "lint EXPR|@FILE|FILE.yaml",
		Short: "Check a topology expression",
		Long: `Lint parses and plans an expression and prints every problem with its position:
syntax, nesting, a quorum larger than its operands, a component that is owned
twice, a chain or a relay that comes back to a node, and, as warnings, nodes that
are not under node.peers or have no key to seal to. With --evidence also labels that the evidence does not have,
components that nobody names, and components that nobody here can appraise.
Signatures of the evidence are not checked, and nothing is appraised. Who can
appraise is read from the configuration; no other process is asked.
Exit status: 0 no errors (there may be warnings), 1 errors, 2 usage.`,
		Example: `  assize topology lint 'lead(cpu, parallel(quorum 3: gpu/0@a, gpu/0@b))'
  assize topology lint @machine.topology --evidence machine.cmw --config node.yaml -o json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "evidence", "media-type", "optional"); err != nil {
				return err
			}
			return runLint(cmd, g, f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.evidence, "evidence", "", "composite evidence that the expression is for")
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the whole message (default: by content)")
	fl.StringArrayVar(&f.optional, "optional", nil, "label pattern of components that may lack a verdict (repeatable)")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

func runLint(cmd *cobra.Command, g *globals, f *lintFlags, arg string) error {
	if f.output != "text" && f.output != "json" {
		return usage("-o %q: want text or json", f.output)
	}
	src, err := topologySource(cmd, arg)
	if err != nil {
		return usage("%w", err)
	}
	p, err := newPlanner(g)
	if err != nil {
		return err
	}
	in := topologies.LintInput{Peers: p.nodes.Names(), Input: topologies.Input{Self: p.config.Node.Name, Route: p.route, Optional: f.optional}}
	in.NoSeal = p.unsealed()
	if f.evidence != "" {
		sub, err := p.submitted(cmd, f.evidence, f.mediaType)
		if err != nil {
			return err
		}
		in.Components, in.Submitted = sub.components, true
	}
	problems := src.lint(in)
	failed := false
	for _, x := range problems {
		failed = failed || x.Severity == topologies.SeverityError
	}
	if err := printProblems(cmd.OutOrStdout(), f.output, src.text, problems); err != nil {
		return err
	}
	if failed {
		return &exitError{code: exitFailed}
	}
	return nil
}

func printProblems(w io.Writer, output, text string, problems []topologies.Problem) error {
	if output == "json" {
		if problems == nil {
			problems = []topologies.Problem{}
		}
		return printJSON(w, struct {
			Expression string               `json:"expression"`
			Problems   []topologies.Problem `json:"problems"`
		}{text, problems})
	}
	if len(problems) == 0 {
		fmt.Fprintln(w, "no problems")
	}
	lines := strings.Split(text, "\n")
	for _, p := range problems {
		fmt.Fprintf(w, "%d:%d: %s: %s [%s]\n", p.Line, p.Column, p.Severity, printable(p.Detail), p.Code)
		if p.Line <= len(lines) {
			fmt.Fprintf(w, "  %s\n  %s^\n", aligned(lines[p.Line-1]), strings.Repeat(" ", p.Column-1))
		}
	}
	return nil
}

// aligned is a line of an expression with one character for each, so that a
// caret below it points at the right one.
func aligned(line string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, line)
}

// printable makes text that came out of evidence safe for a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

func printJSON(w io.Writer, v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", raw)
	return err
}
