// SPDX-License-Identifier: Apache-2.0

package verifiers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/evidence"
)

// Renewer is a Verifier that can go on with other collateral and keep what it
// verified already (chains, statements that are in both bundles). A scheme whose
// verifier is none is made anew.
type Renewer interface {
	// Renew returns a verifier for the bundle; the receiver stays as it was, so
	// that appraisals that are under way end with what they began with.
	Renew(*endorsements.Bundle) (Verifier, error)
}

// Prover is a Verifier that names collateral only by what its roots have certified,
// so that what anybody can make up asks nobody for anything. A node asks it in the
// place of Scheme.Needs.
type Prover interface {
	// Needs is as Scheme.Needs, and nil for evidence that is refused at this time
	// whatever collateral there is.
	Needs(mt evidence.MediaType, raw []byte, at time.Time) []endorsements.Need
}

// Collateral is where a node has collateral from while it runs. It is safe for
// concurrent use.
type Collateral interface {
	// Ensure returns a bundle with what is needed, as far as it can be had until
	// the context ends; without needs it does not wait. The bundle is usable whatever
	// the error says; nil stands for the one that was there before. It is the same pointer as long as nothing has
	// changed: another one has a verifier renewed.
	Ensure(ctx context.Context, needs []endorsements.Need) (*endorsements.Bundle, error)
}

// MaxCollateralWaits is how many appraisals of one scheme wait for collateral at
// once; those beyond go on with what there is. Evidence that nobody has verified
// makes a node wait, so whoever bounds appraisals allows so many more than he would
// otherwise: then those that wait keep nobody from being appraised.
const MaxCollateralWaits = 32

var errWaits = errors.New("verifiers: too many appraisals wait for collateral")

const (
	// maxNeeds is how many needs of one component count.
	maxNeeds = 8
	// maxCollateralWait is the longest time that one appraisal waits for
	// collateral; half of what its deadline leaves, if that is less.
	maxCollateralWait = 5 * time.Second
)

// renewed is the verifier of one scheme, which other collateral replaces.
type renewed struct {
	mu      sync.Mutex // whoever makes a new one
	current atomic.Pointer[generation]
	waits   chan struct{} // a place for each appraisal that may wait for collateral
}

// generation is a verifier and the bundle that it was made with.
type generation struct {
	verifier Verifier
	bundle   *endorsements.Bundle
}

func newRenewed(v Verifier, b *endorsements.Bundle) *renewed {
	r := &renewed{waits: make(chan struct{}, MaxCollateralWaits)}
	r.current.Store(&generation{v, b})
	return r
}

// prepare returns the verifier for one appraisal. What cannot be had does not
// stop it: the scheme says what it lacked.
func (n *Node) prepare(ctx context.Context, sc Scheme, r Request) Verifier {
	slot := n.verifiers[sc.Name]
	if n.o.Collateral == nil || sc.Needs == nil {
		return slot.current.Load().verifier
	}
	b, err := n.ensure(ctx, sc, slot, r)
	if err != nil {
		n.fault(sc.Name, err)
	}
	v, err := n.renew(sc, slot, b)
	if err != nil {
		n.fault(sc.Name, err)
	}
	return v
}

// ensure asks for what the scheme needs. Neither a scheme that breaks over
// hostile bytes nor a source that does ends the appraisal.
func (n *Node) ensure(ctx context.Context, sc Scheme, slot *renewed, r Request) (b *endorsements.Bundle, err error) {
	defer func() {
		if p := recover(); p != nil {
			b, err = nil, fmt.Errorf("verifiers: collateral for %s: panic: %v", sc.Name, p)
		}
	}()
	needs := n.needs(sc, slot, r)
	if len(needs) == 0 { // what others had fetched counts here, too
		return n.o.Collateral.Ensure(ctx, nil)
	}
	wait := maxCollateralWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, end.Sub(n.o.Clock())/2)
	}
	if wait <= 0 {
		return nil, fmt.Errorf("verifiers: collateral for %s: no time left to ask for it", sc.Name)
	}
	select {
	case slot.waits <- struct{}{}:
		defer func() { <-slot.waits }()
	default: // it is asked for, and there for those who come later
		ended, cancel := context.WithCancelCause(ctx)
		cancel(errWaits)
		ctx = ended
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return n.o.Collateral.Ensure(ctx, needs[:min(len(needs), maxNeeds)])
}

// needs are those of what is proved, if the verifier can tell.
func (n *Node) needs(sc Scheme, slot *renewed, r Request) []endorsements.Need {
	p, ok := slot.current.Load().verifier.(Prover)
	if !ok {
		return sc.Needs(r.MediaType, r.Evidence)
	}
	at := r.Time
	if at.IsZero() {
		at = n.o.Clock()
	}
	return p.Needs(r.MediaType, r.Evidence, at)
}

// renew makes the verifier of a bundle once, whoever asks for it; nil stands for
// the bundle that there is. On an error the verifier from before goes on.
func (n *Node) renew(sc Scheme, slot *renewed, b *endorsements.Bundle) (v Verifier, err error) {
	if was := slot.current.Load(); b == nil || was.bundle == b {
		return was.verifier, nil
	}
	slot.mu.Lock()
	defer slot.mu.Unlock()
	was := slot.current.Load()
	if was.bundle == b {
		return was.verifier, nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
		if err == nil && v == nil {
			err = errors.New("no verifier")
		}
		if err != nil {
			v, err = was.verifier, fmt.Errorf("verifiers: renew %s: %w", sc.Name, err)
			return
		}
		slot.current.Store(&generation{v, b})
	}()
	if r, ok := was.verifier.(Renewer); ok {
		return r.Renew(b)
	}
	deps := n.o.Deps
	deps.Endorsements = b
	return sc.New(deps)
}

func (n *Node) fault(scheme string, err error) {
	if n.o.CollateralFault != nil {
		n.o.CollateralFault(scheme, err)
	}
}
