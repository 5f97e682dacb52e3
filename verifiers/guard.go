// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"crypto"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

// GuardOptions say whose requests a verifier answers.
type GuardOptions struct {
	// Names are those under which it may be asked: its node name and its site.
	Names []string
	// Peers are the nodes that may ask, each under its keys with trust.RoleNode.
	Peers *trust.Nodes
	// Own is this node's own key, with its name and trust.RoleNode: a lead asks
	// verifiers of its own node. The zero Key is none.
	Own trust.Key
	// Anyone also answers requests that are unsigned, or signed by a key that is
	// not known here, which is the same. A wrong signature, another recipient and
	// a request out of its time are refused even then.
	Anyone bool
	// Clock is mandatory.
	Clock func() time.Time
}

// Guard is a verifier's policy about who may ask it. A nil Guard is that of a
// verifier that knows no other node: it reads a signed request as it reads a
// plain one, and checks nothing but its form. It is safe for concurrent use.
type Guard struct{ o GuardOptions }

// NewGuard checks the options.
func NewGuard(o GuardOptions) (*Guard, error) {
	if o.Clock == nil {
		return nil, errors.New("verifiers: a guard wants a clock")
	}
	if o.Own.KID != "" && (!slug.MatchString(o.Own.Name) || !slices.Contains(o.Own.Roles, trust.RoleNode)) {
		return nil, errors.New("verifiers: a guard's own key wants the name and the role of a node")
	}
	if !o.Anyone && o.Own.KID == "" && len(o.Peers.Names()) == 0 {
		return nil, errors.New("verifiers: a guard that lets nobody in")
	}
	return &Guard{o: o}, nil
}

// Open reads a request as it travels: a signed one (SignedType), or the
// collection of EncodeRequest. It returns it only if who asks may ask. Origin is
// zero for an unsigned request. An error is a *Refusal: 403 for one that is not
// for this verifier to answer, whatever the reason, and 400 for one that is
// malformed.
func (g *Guard) Open(raw []byte, signed bool) (Request, Origin, error) {
	switch {
	case !signed && g != nil && !g.o.Anyone:
		return Request{}, Origin{}, forbidden(errors.New("verifiers: the request is not signed"))
	case !signed:
		r, err := DecodeRequest(raw)
		if err != nil {
			return Request{}, Origin{}, malformed(err)
		}
		return r, Origin{}, nil
	case g == nil:
		r, o, err := decodeSigned(raw, nil, true)
		if err != nil {
			return Request{}, Origin{}, malformed(err)
		}
		return r, o, nil
	}
	now := g.o.Clock()
	r, o, err := decodeSigned(raw, keysAt{g, now}, g.o.Anyone)
	switch {
	case badSignature(err):
		return Request{}, Origin{}, forbidden(err)
	case err != nil:
		return Request{}, Origin{}, malformed(err)
	}
	if err := g.admit(o, now); err != nil {
		return Request{}, Origin{}, forbidden(err)
	}
	return r, o, nil
}

// admit decides about a request whose signature is right, or does not matter.
func (g *Guard) admit(o Origin, now time.Time) error {
	if o.KID != "" {
		if name := g.name(o.KID, now); name != o.From {
			return fmt.Errorf("verifiers: node %q signed a request in the name of %q", name, o.From)
		}
	}
	switch {
	case o.To != "" && !slices.Contains(g.o.Names, o.To):
		return fmt.Errorf("verifiers: node %q sent a request that is for %q", o.From, o.To)
	case o.Issued.After(now.Add(limits.ClockSkew)):
		return fmt.Errorf("verifiers: request of node %q issued at %s, which is in the future", o.From, o.Issued.Format(formMillis))
	case now.After(o.Expires.Add(limits.ClockSkew)):
		return fmt.Errorf("verifiers: request of node %q expired at %s", o.From, o.Expires.Format(formMillis))
	}
	return nil
}

// name is that of the node that a key belongs to.
func (g *Guard) name(kid string, now time.Time) string {
	if kid == g.o.Own.KID {
		return g.o.Own.Name
	}
	n, _, _ := g.o.Peers.Signer(kid, now)
	return n.Name
}

// keysAt finds the one key that may have signed a request.
type keysAt struct {
	g   *Guard
	now time.Time
}

// VerificationKeys implements evidence.KeyFinder.
func (k keysAt) VerificationKeys(kid []byte, alg string) []crypto.PublicKey {
	key, ok := k.g.o.Own, len(kid) > 0 && string(kid) == k.g.o.Own.KID
	if !ok {
		_, key, ok = k.g.o.Peers.Signer(string(kid), k.now)
	}
	if !ok || key.Alg != alg {
		return nil
	}
	return []crypto.PublicKey{key.Public}
}

// badSignature tells a signature that does not count from a message that is
// broken. The rules are those of package evidence for signed CMWs.
func badSignature(err error) bool {
	e, ok := errors.AsType[*evidence.Error](err)
	return ok && (e.Rule == evidence.RuleUntrusted || e.Rule == "CMW-39")
}

func forbidden(err error) error { return &Refusal{Code: 403, Text: "not allowed", err: err} }

func malformed(err error) error { return &Refusal{Code: 400, Text: "malformed request", err: err} }
