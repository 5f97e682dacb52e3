// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// protect prepares how requests that leave this process are signed and sealed,
// and whose requests its verifiers answer. A process without name and peers
// does neither, and an embedded server has no listener: nobody else is there.
func (s *stack) protect(context.Context, role) error {
	n := s.config.Node
	if s.config.Fabric.Mode == "embedded" || n.Name == "" && len(n.Peers) == 0 {
		return nil
	}
	schemes, err := all.Set()
	if err != nil {
		return err
	}
	guard := verifiers.GuardOptions{
		Names: []string{s.config.Fabric.Site}, Peers: s.nodes, Anyone: n.Callers == "any", Clock: time.Now,
	}
	out := verifiers.ProtectionOptions{
		Peers: s.nodes, Schemes: schemes, Default: edge(config.Edge{Sign: n.Sign, Seal: n.Seal}),
		Edges: map[string]verifiers.Edge{}, Clock: time.Now, Random: rand.Reader,
	}
	for name, e := range n.Edges {
		out.Edges[name] = edge(e)
	}
	if n.Name != "" {
		signer, err := s.keys.load(nodeKey)
		if err != nil {
			return err
		}
		seal, err := s.keys.loadSeal()
		if err != nil {
			return err
		}
		s.seals = []*trust.SealPrivate{seal}
		guard.Names = append(guard.Names, n.Name)
		guard.Own = signer.Key(n.Name, nil, trust.RoleNode)
		out.Node, out.Signer, out.Own = n.Name, signer, seal.Public(time.Time{})
	}
	if s.guard, err = verifiers.NewGuard(guard); err != nil {
		return err
	}
	s.sending, err = verifiers.NewProtection(out)
	return err
}

func edge(e config.Edge) verifiers.Edge {
	return verifiers.Edge{Sign: verifiers.Signing(e.Sign), Seal: verifiers.Sealing(e.Seal)}
}
