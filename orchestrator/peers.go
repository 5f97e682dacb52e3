// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"

	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
)

// Relayer hands a signed message to another node and brings its answer. An
// error that is no *verifiers.Failure counts as a malfunction of that node.
type Relayer interface {
	Relay(ctx context.Context, node, id string, message []byte) ([]byte, error)
}

// Peers lets an orchestrator hand parts of a topology to other nodes, and
// answer for parts that others hand to it.
type Peers struct {
	// Self is the name by which expressions and envelopes mean this node, "" for
	// one that nobody hands anything to.
	Self string
	// Nodes are the other nodes: who may hand something to us, whose answers
	// count, which verifiers are theirs, and how evidence is sealed to them.
	Nodes *trust.Nodes
	// Signer has the role trust.RoleNode with the others.
	Signer *trust.Signer
	// Seal opens what was sealed to this node; nil if it has no key.
	Seal *trust.SealPrivate
	// Relayer is mandatory for handing on.
	Relayer Relayer
	// Seen makes each envelope count once; mandatory for answering.
	Seen Spender
	// Expose hands the whole composite to every node of a chain, as the draft
	// has it, and evidence in the clear to nodes without a seal key. Otherwise a
	// node gets what it is to judge, and digests of the rest (decision D-27).
	Expose bool
	// Paths are the paths that evidence may take through nodes and sites, nil for
	// any: what would take another one is not sent, and not accepted.
	Paths *topologies.Paths
	// Introductions are required before anything is exchanged; nil for none.
	Introductions *Introductions
}

func (p *Peers) check() error {
	if p == nil {
		return nil
	}
	if p.Nodes == nil || p.Signer == nil {
		return errors.New("orchestrator: peers without nodes or signing key")
	}
	return p.Introductions.check(p)
}

// self is the own node's name, also of an orchestrator without peers.
func (p *Peers) self() string {
	if p == nil {
		return ""
	}
	return p.Self
}

// signers finds the key of the node that signed something, which must be the
// one that was expected.
func (p *Peers) signers(node string, o *Orchestrator) func(kid string) (trust.Key, bool) {
	return func(kid string) (trust.Key, bool) {
		n, key, ok := p.Nodes.Signer(kid, o.o.Clock())
		return key, ok && (node == "" || n.Name == node)
	}
}

// verifiersOf are the keys whose results count for a component that is placed
// at a node: that node's own, where we know it. A site that we know nothing
// about is one of our own.
func (o *Orchestrator) verifiersOf(node string) *trust.Anchors {
	if p := o.o.Peers; p != nil && node != p.Self {
		if n, ok := p.Nodes.Lookup(node); ok {
			return n.Verifiers()
		}
	}
	return o.o.Anchors
}
