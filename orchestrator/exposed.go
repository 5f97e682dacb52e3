// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"crypto/sha256"
	"fmt"
	"maps"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
)

// exposed looks at a composite that came along as a whole, as the entry did:
// every verifier of a chain verifies its signature, with keys of its own. It has
// to commit to what the envelope says that it commits to, and what is to be
// appraised has to be in it. Nothing where the composite is not exposed.
func (o *Orchestrator) exposed(env *relay.Envelope) error {
	if env.Evidence == nil {
		return nil
	}
	tree, err := evidence.Parse(env.Evidence, evidence.Options{Limits: o.o.Limits, Keys: o.o.LeadKeys})
	if err != nil {
		return fmt.Errorf("%w: the composite: %w", ErrRelayRefused, err)
	}
	if err := sameCommitment(commitment(tree), env.Commit); err != nil {
		return err
	}
	parts, err := o.components(tree)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRelayRefused, err)
	}
	byLabel := make(map[evidence.Path]topologies.Component, len(parts))
	for _, p := range parts {
		byLabel[p.Label] = p
	}
	for _, c := range env.Components {
		p, found := byLabel[c.Label]
		if !found {
			// A leaf with several devices that nobody here can take apart: what
			// is in it is for whoever can, the leaf has to be there.
			if leaf, ok := byLabel[c.Leaf]; ok && c.Leaf != c.Label && leaf.Reason != nil && c.For != o.o.Peers.Self {
				continue
			}
			return fmt.Errorf("%w: %s is not in the composite", ErrRelayRefused, c.Label)
		}
		if sha256.Sum256(p.Evidence) != c.Digest {
			return fmt.Errorf("%w: %s is not what the composite has there", ErrRelayRefused, c.Label)
		}
		if p.Reason == nil && p.MediaType.String() != c.MediaType {
			return fmt.Errorf("%w: %s is %s in the composite, not %s", ErrRelayRefused, c.Label, p.MediaType, c.MediaType)
		}
	}
	return nil
}

// sameCommitment compares what a composite commits to with what the envelope says
// of it, and with that who has signed it.
func sameCommitment(have, stated *evidence.Commitment) error {
	switch {
	case have == nil && stated == nil:
		return nil
	case have == nil || stated == nil:
		return fmt.Errorf("%w: the composite and the envelope do not agree on whether there is a commitment", ErrRelayRefused)
	case have.Signer != stated.Signer:
		return fmt.Errorf("%w: the composite is not signed by whom the envelope says", ErrRelayRefused)
	case !maps.Equal(have.Leaves, stated.Leaves):
		return fmt.Errorf("%w: the composite has other leaves than those of the commitment", ErrRelayRefused)
	}
	return nil
}
