// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/topologies"
)

// oneLine puts the canonical text in the place of a topology that is given as
// a YAML mapping. A string is left as it is: it is the text form.
func oneLine(doc *yaml.Node) error {
	if doc.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		key, value := doc.Content[i], doc.Content[i+1]
		if key.Value != "topology" || value.Kind == yaml.ScalarNode {
			continue
		}
		e, err := topologies.FromYAML(value)
		var at *topologies.YAMLError
		switch {
		case errors.As(err, &at):
			return fmt.Errorf("%d:%d: topology: %s", at.Line, at.Column, at.Err.Detail)
		case err != nil:
			return err
		}
		doc.Content[i+1] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e.String(), Line: value.Line, Column: value.Column}
	}
	return nil
}
