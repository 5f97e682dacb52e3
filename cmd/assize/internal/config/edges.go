// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"maps"
	"slices"
)

// checkEdges checks how requests to other nodes are protected.
func (n Node) checkEdges() error {
	if err := (Edge{Sign: n.Sign, Seal: n.Seal}).check("node", n.Name); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.Edges)) {
		if !slug.MatchString(name) {
			return fmt.Errorf("config: node.edges: %q is not a node or site, want [a-z0-9-]{1,32}", name)
		}
		if err := n.Edges[name].check("node.edges."+name, n.Name); err != nil {
			return err
		}
	}
	return nil
}

func (e Edge) check(path, self string) error {
	switch {
	case e.Sign != "" && e.Sign != "always" && e.Sign != "when-unsigned":
		return fmt.Errorf("config: %s.sign is %q, want always or when-unsigned", path, e.Sign)
	case e.Sign != "" && self == "":
		return fmt.Errorf("config: %s.sign is set, but a node without a name signs nothing: set node.name", path)
	case e.Seal != "" && e.Seal != "when-possible" && e.Seal != "always":
		return fmt.Errorf("config: %s.seal is %q, want when-possible or always", path, e.Seal)
	}
	return nil
}
