// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assize/assize/topologies"
)

// source is an expression as it was given: the text form or, from a file whose
// name ends in .yaml or .yml, the YAML form.
type source struct {
	text string
	yaml bool
}

// topologySource reads an expression, or a file that is named as one: "@FILE", a
// path that begins with "/", "./" or "../", or a name that ends in .txt,
// .topology, .yaml or .yml. Anything else is never looked up: a file called
// "lead" in the working directory must not decide what an expression means.
func topologySource(cmd *cobra.Command, arg string) (source, error) {
	name, isFile := strings.CutPrefix(arg, "@")
	for _, p := range []string{"/", "./", "../"} {
		isFile = isFile || strings.HasPrefix(arg, p)
	}
	ext := filepath.Ext(name)
	s := source{text: arg, yaml: ext == ".yaml" || ext == ".yml"}
	if !isFile && !s.yaml && !slices.Contains([]string{".txt", ".topology"}, ext) {
		return s, nil
	}
	limit := topologies.MaxText
	if s.yaml {
		limit = topologies.MaxYAML
	}
	raw, err := readInput(cmd, name, int64(limit))
	if err != nil {
		return s, err
	}
	s.text = string(raw)
	return s, nil
}

func (s source) parse() (topologies.Expr, error) {
	if s.yaml {
		return topologies.ParseYAML([]byte(s.text))
	}
	return topologies.Parse(s.text)
}

func (s source) lint(in topologies.LintInput) []topologies.Problem {
	if s.yaml {
		return topologies.LintYAML([]byte(s.text), in)
	}
	return topologies.Lint(s.text, in)
}

// located points at the place of an error in an expression: in YAML at the line,
// in text at the place in all of it.
func (s source) located(err error) error {
	var pe *topologies.ParseError
	if !errors.As(err, &pe) {
		return err
	}
	before, line := s.text[:min(pe.Pos, len(s.text))], strings.ReplaceAll(s.text, "\n", " ")
	if s.yaml {
		start := strings.LastIndexByte(before, '\n') + 1
		line, _, _ = strings.Cut(s.text[start:], "\n")
		before = before[start:]
	}
	return usage("%w\n  %s\n  %s^", err, aligned(line), strings.Repeat(" ", len([]rune(before))))
}
