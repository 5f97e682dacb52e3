// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// Signing says which requests a lead signs on one edge (decision D-20).
type Signing string

// Signing policies.
const (
	// SignAlways is the default.
	SignAlways Signing = "always"
	// SignWhenUnsigned signs only for evidence that the component has not signed
	// itself (Scheme.Signed).
	SignWhenUnsigned Signing = "when-unsigned"
)

// Sealing says what is sealed on one edge (decision D-27).
type Sealing string

// Sealing policies.
const (
	// SealWhenPossible seals to every node with a current seal key, and sends
	// others what they need in the clear. It is the default.
	SealWhenPossible Sealing = "when-possible"
	// SealAlways sends nothing to who has no current seal key.
	SealAlways Sealing = "always"
)

// Edge is the policy towards one node or site. Empty members are those of the
// default edge.
type Edge struct {
	Sign Signing
	Seal Sealing
}

func (e Edge) check() error {
	if e.Sign != "" && e.Sign != SignAlways && e.Sign != SignWhenUnsigned {
		return fmt.Errorf("sign is %.32q, want %s or %s", string(e.Sign), SignAlways, SignWhenUnsigned)
	}
	if e.Seal != "" && e.Seal != SealWhenPossible && e.Seal != SealAlways {
		return fmt.Errorf("seal is %.32q, want %s or %s", string(e.Seal), SealWhenPossible, SealAlways)
	}
	return nil
}

// ProtectionOptions say how a process protects what it sends.
type ProtectionOptions struct {
	// Node is the name of this process among nodes. Without it, or without
	// Signer, requests are not signed: nobody could tell who did it.
	Node   string
	Signer *trust.Signer
	// Own is this node's own seal key, zero for none. It is used for its own site,
	// and there only where sealing is required: other processes at the site may
	// not have it.
	Own trust.SealKey
	// Peers are the nodes whose seal keys are known. A site that has the name of
	// one is that node.
	Peers *trust.Nodes
	// Schemes say which evidence is signed by its component. A scheme that is not
	// there counts as one whose evidence is not.
	Schemes *Set
	// Default is for every site and node that Edges does not name.
	Default Edge
	Edges   map[string]Edge
	// Clock and Random are mandatory.
	Clock  func() time.Time
	Random io.Reader
}

// Protection is a sender's policy. A nil Protection signs and seals nothing. It
// is safe for concurrent use if its source of randomness is.
type Protection struct{ o ProtectionOptions }

// NewProtection checks the options.
func NewProtection(o ProtectionOptions) (*Protection, error) {
	if o.Clock == nil || o.Random == nil {
		return nil, errors.New("verifiers: protection wants a clock and a source of randomness")
	}
	if o.Node != "" && !slug.MatchString(o.Node) {
		return nil, fmt.Errorf("verifiers: %.64q is not the name of a node", o.Node)
	}
	if err := o.Default.check(); err != nil {
		return nil, fmt.Errorf("verifiers: protection: %w", err)
	}
	for name, e := range o.Edges {
		if !slug.MatchString(name) {
			return nil, fmt.Errorf("verifiers: protection: %.64q is not a node or site", name)
		}
		if err := e.check(); err != nil {
			return nil, fmt.Errorf("verifiers: protection of %s: %w", name, err)
		}
	}
	return &Protection{o: o}, nil
}

// edge is the policy towards a node or site.
func (p *Protection) edge(name string) Edge {
	e := p.o.Edges[name]
	if e.Sign == "" {
		e.Sign = p.o.Default.Sign
	}
	if e.Seal == "" {
		e.Seal = p.o.Default.Seal
	}
	return e
}

// Encode renders the request of a call, which may take as long as left says,
// and returns its media type: SignedType, or evidence.TypeCMWCBOR. All
// candidates get the same bytes. They are signed when the policy towards one of
// them wants it, and name a recipient when there is only one. An error is a
// *Failure, or says that the request cannot be written.
func (p *Protection) Encode(c Call, left time.Duration) ([]byte, string, error) {
	if p == nil || !p.signs(c) {
		raw, err := EncodeRequest(c.Request)
		return raw, evidence.TypeCMWCBOR, err
	}
	if left < time.Millisecond {
		return nil, "", &Failure{Reason: verdict.ReasonTimeout, Detail: "no time is left to ask"}
	}
	o := Origin{From: p.o.Node, Issued: p.o.Clock()}
	o.Expires = o.Issued.Truncate(time.Millisecond).Add(min(left, limits.Session))
	if len(c.Candidates) == 1 && c.Candidates[0].Site != anySite {
		o.To = c.Candidates[0].Site
	}
	raw, err := SignRequest(p.o.Random, c.Request, o, p.o.Signer)
	return raw, SignedType, err
}

// anySite is the site token of a candidate that is no place in particular.
const anySite = "any"

func (p *Protection) signs(c Call) bool {
	if p.o.Signer == nil || p.o.Node == "" {
		return false
	}
	own := false
	if p.o.Schemes != nil {
		sc, known := p.o.Schemes.Lookup(c.Request.Scheme)
		own = known && sc.Signed
	}
	if !own {
		return true
	}
	for _, cand := range c.Candidates {
		if p.edge(cand.Site).Sign != SignWhenUnsigned {
			return true
		}
	}
	return false
}

// SealKey is the key to which a message for a node or site is sealed; false
// means that it goes in the clear. An error is a *Failure: nothing may be sent
// there without a key, and there is none.
func (p *Protection) SealKey(to string) (trust.SealKey, bool, error) {
	if p == nil {
		return trust.SealKey{}, false, nil
	}
	key, ok := p.key(to)
	if !ok && p.edge(to).Seal == SealAlways {
		return key, false, &Failure{Reason: verdict.ReasonRefused, Detail: to + " has no key to seal requests to"}
	}
	return key, ok, nil
}

func (p *Protection) key(to string) (trust.SealKey, bool) {
	if to == p.o.Node && to != "" {
		return p.o.Own, p.o.Own.KID != "" && p.edge(to).Seal == SealAlways
	}
	n, ok := p.o.Peers.Lookup(to)
	if !ok {
		return trust.SealKey{}, false
	}
	return n.SealKey(p.o.Clock())
}
