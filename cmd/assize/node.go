// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/fabric"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verifiers/all"
)

// The relayer of the orchestrator, satisfied by the fabric.
var (
	_ orchestrator.Relayer = (*fabric.RelayCaller)(nil)
	_ fabric.RelayHandler  = relayHandler{}
)

// loadNodes reads the files of the other nodes.
func (s *stack) loadNodes(context.Context, role) error {
	var nodes []trust.Node
	for _, file := range s.config.Node.Peers {
		raw, err := readFile(file, trust.MaxNode)
		if err != nil {
			return fmt.Errorf("node.peers: %w", err)
		}
		n, err := trust.ParseNode(raw)
		if err != nil {
			return fmt.Errorf("node.peers: %s: %w", file, err)
		}
		if n.Name == s.config.Node.Name {
			return fmt.Errorf("node.peers: %s has the name of this node, %q", file, n.Name)
		}
		nodes = append(nodes, n)
	}
	var err error
	s.nodes, err = trust.NewNodes(nodes...)
	return err
}

// peers is what the lead needs to hand something on and to answer; nil for a
// process that has no part in it.
func (s *stack) peers(spender orchestrator.Spender) (*orchestrator.Peers, error) {
	if s.config.Node.Name == "" && len(s.config.Node.Peers) == 0 {
		if len(s.config.Node.Paths) > 0 {
			return nil, errors.New("node.paths are set, but this node has neither a name nor peers")
		}
		return nil, nil
	}
	signer, err := s.keys.load(nodeKey)
	if err != nil {
		return nil, err
	}
	seal, err := s.keys.loadSeal()
	if err != nil {
		return nil, err
	}
	paths, err := s.paths()
	if err != nil {
		return nil, err
	}
	introductions, err := s.introductions()
	if err != nil {
		return nil, err
	}
	return &orchestrator.Peers{
		Self: s.config.Node.Name, Nodes: s.nodes, Signer: signer, Seal: seal, Seen: spender,
		Relayer: s.bus.RelayCaller(fabric.RelayCallerOptions{Protection: s.sending}), Expose: s.config.Node.Expose == "composite", Paths: paths,
		Introductions: introductions,
	}, nil
}

// paths is the policy of node.paths, nil without a rule.
func (s *stack) paths() (*topologies.Paths, error) {
	rules := s.config.Node.Paths
	if len(rules) == 0 {
		return nil, nil
	}
	for i, rule := range rules { // so that an error names its rule
		if _, err := topologies.ParsePaths(rule); err != nil {
			return nil, fmt.Errorf("node.paths: rule %d: %w", i+1, err)
		}
	}
	return topologies.ParsePaths(strings.Join(rules, "\n"))
}

// serveNode takes what other nodes hand to this one.
func (s *stack) serveNode(r role) error {
	if s.config.Node.Name == "" || r.oneShot {
		return nil
	}
	signer, err := s.keys.load(nodeKey)
	if err != nil {
		return err
	}
	svc, err := s.bus.ServeRelay(relayHandler{s.lead}, fabric.RelayOptions{
		Node: s.config.Node.Name, Developer: s.identity().Developer, Build: s.identity().Build, KID: signer.KID(), Budget: s.config.Budget, Seal: s.seals,
	})
	if err != nil {
		return err
	}
	s.stop = append(s.stop, svc.Stop)
	return nil
}

// relayHandler translates the orchestrator's errors into codes.
type relayHandler struct{ lead *orchestrator.Orchestrator }

// HandleRelay implements fabric.RelayHandler.
func (h relayHandler) HandleRelay(ctx context.Context, message []byte) ([]byte, error) {
	answer, err := h.lead.HandleRelay(ctx, message)
	switch {
	case err == nil:
		return answer, nil
	case errors.Is(err, orchestrator.ErrRelayRefused):
		return nil, fabric.RelayRefusal{Code: fabric.CodeForbidden, Err: err}
	case errors.Is(err, orchestrator.ErrRelayMalformed):
		return nil, fabric.RelayRefusal{Code: fabric.CodeMalformed, Err: err}
	}
	return nil, fabric.RelayRefusal{Code: fabric.CodeInternal, Err: err}
}

func newKeysNode(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "node",
		Short: "Print this node as a file for its peers",
		Long: `Node prints the name of this node (node.name), the keys with which it and its
verifiers sign, and the key that evidence for it is sealed to, generating those
that do not exist yet. Peers name the file under node.peers: they then hand parts
of a topology to this node, accept what it hands to them, answer its signed
requests to their verifiers, seal what they send to it, and believe the results
of its verifiers for components that are placed at it.`,
		Example: "  assize keys node --config vendor-a.yaml > vendor-a.node.json",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw, err := ownNode(g)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(raw)
			return err
		},
	}
	return cmd
}

// ownNode describes this node.
func ownNode(g *globals) ([]byte, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	if c.Node.Name == "" {
		return nil, usage("keys node: this node has no name, set node.name")
	}
	n, err := describeNode(c)
	if err != nil {
		return nil, err
	}
	return trust.EncodeNode(n)
}

// describeNode is this node as its peers are to know it.
func describeNode(c config.Config) (trust.Node, error) {
	set, err := all.Set()
	if err != nil {
		return trust.Node{}, err
	}
	store := newKeystore(c.StateDir)
	signer, err := store.load(nodeKey)
	if err != nil {
		return trust.Node{}, err
	}
	keys := []trust.Key{signer.Key(c.Node.Name, nil, trust.RoleNode)}
	for _, sc := range set.Schemes() {
		if len(c.Schemes) > 0 && !slices.Contains(c.Schemes, sc.Name) {
			continue
		}
		s, err := store.load(sc.Name)
		if err != nil {
			return trust.Node{}, err
		}
		keys = append(keys, anchor(sc.Name, s))
	}
	// Verifiers in processes of their own are this node's as well.
	others, err := loadJWKS(c.Trust)
	if err != nil {
		return trust.Node{}, err
	}
	own, err := trust.NewAnchors(keys...)
	if err != nil {
		return trust.Node{}, err
	}
	anchors, err := withVerifiers(own, others)
	if err != nil {
		return trust.Node{}, err
	}
	seal, err := store.loadSeal()
	if err != nil {
		return trust.Node{}, err
	}
	return trust.Node{Name: c.Node.Name, Keys: anchors, Seal: []trust.SealKey{seal.Public(time.Time{})}}, nil
}
