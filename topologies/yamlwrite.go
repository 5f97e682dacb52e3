// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"bytes"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// YAML renders the YAML form, with a line feed at the end. ParseYAML of it gives
// an equal expression. An error means that the expression is none that Parse or
// ParseYAML would have made.
func (e Expr) YAML() (string, error) {
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(e.yaml()); err != nil {
		return "", fmt.Errorf("topologies: %w", err)
	}
	if err := enc.Close(); err != nil {
		return "", fmt.Errorf("topologies: %w", err)
	}
	return b.String(), nil
}

func (e Expr) yaml() *yaml.Node {
	switch {
	case e.Head == Lead && e.Args == nil:
		return str(string(Lead) + at(e.Node))
	case e.Head == Label && quoteIfNeeded(e.Pattern) == e.Pattern:
		return str(e.Pattern + at(e.Node))
	case e.Head == Label:
		return pairs(e.Node, str("label"), str(e.Pattern))
	}
	list := &yaml.Node{Kind: yaml.SequenceNode}
	simple := true
	for _, a := range e.Args {
		n := a.yaml()
		simple = simple && n.Kind == yaml.ScalarNode
		list.Content = append(list.Content, n)
	}
	if simple {
		list.Style = yaml.FlowStyle
	}
	if e.Quorum > 0 {
		count := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(e.Quorum)}
		list = pairs("", str("quorum"), count, str("of"), list)
		if simple {
			list.Style = yaml.FlowStyle
		}
	}
	return pairs(e.Node, str(string(e.Head)), list)
}

// pairs is a mapping of keys and values, with "at" behind them.
func pairs(node string, content ...*yaml.Node) *yaml.Node {
	if node != "" {
		content = append(content, str("at"), str(node))
	}
	return &yaml.Node{Kind: yaml.MappingNode, Content: content}
}

func str(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if s == "<<" { // the writer of the library forgets that this is a merge key
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}

func at(node string) string {
	if node == "" {
		return ""
	}
	return "@" + node
}
