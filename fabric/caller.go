// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// CallerOptions configure the lead's side.
type CallerOptions struct {
	// Hedge is after how long without an answer a second candidate is asked
	// too; zero means never. At most 5 % of the requests are hedged, so that a
	// slow vendor does not get twice the load.
	Hedge time.Duration
	// StartupGrace is for how long a missing responder may be one that still
	// starts; zero means that it is reported at once. Two tries at most.
	StartupGrace time.Duration
	// Reconnect is how long an attempt whose connection broke waits for it to
	// come back before it is repeated once; default one second.
	Reconnect time.Duration
	// Protection says which requests are signed and sealed; nil: none.
	Protection *verifiers.Protection
}

// Caller sends components to verifiers. It is safe for concurrent use.
type Caller struct {
	bus   *Bus
	o     CallerOptions
	log   *slog.Logger
	hedge hedgeBudget
}

// Caller returns the lead's side of the bus.
func (b *Bus) Caller(o CallerOptions) *Caller {
	if o.Reconnect <= 0 {
		o.Reconnect = time.Second
	}
	return &Caller{bus: b, o: o, log: b.log, hedge: hedgeBudget{tokens: hedgeBurst}}
}

// Hedging may add 5 % to the load, with bursts of ten.
const (
	hedgeShare = 0.05
	hedgeBurst = 10
)

// hedgeBudget is a token bucket that requests fill and hedges empty.
type hedgeBudget struct {
	mu     sync.Mutex
	tokens float64
}

func (h *hedgeBudget) earn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tokens = min(h.tokens+hedgeShare, hedgeBurst)
}

func (h *hedgeBudget) spend() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens < 1 {
		return false
	}
	h.tokens--
	return true
}

// ErrNoDeadline says that Caller.Appraise or RelayCaller.Relay was called
// without a deadline, which could wait for ever.
var ErrNoDeadline = errors.New("fabric: a request wants a context with a deadline")

// Appraise sends one component to its candidates, in their order, and returns
// the first answer that call.Verify accepts. The next candidate is asked at
// once when one is missing, busy or failed, and also when an answer does not
// verify; at most two are asked at a time, and losers are cancelled.
//
// Every error but ErrNoDeadline and a request that cannot be encoded is a
// *verifiers.Failure: the component has no verdict. Its reason is one of
// no-verifier, evidence-too-large, unreachable, timeout, busy, refused,
// malfunction, cancelled, or the code of the verdict.IntakeError when answers
// came and none verified.
func (c *Caller) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return verdict.Partial{}, ErrNoDeadline
	}
	if call.Verify == nil {
		return verdict.Partial{}, errors.New("fabric: a call wants a check for its answers")
	}
	started := time.Now()
	p, err := c.appraise(ctx, call, deadline)
	tier := ""
	if err == nil {
		tier = p.Status().String()
	}
	c.bus.recordAsked(ctx, appraising(call.Request.Scheme), started, err, tier)
	return p, err
}

func (c *Caller) appraise(ctx context.Context, call verifiers.Call, deadline time.Time) (verdict.Partial, error) {
	keys, err := c.keys(&call)
	if err != nil {
		return verdict.Partial{}, err
	}
	body, mediaType, err := c.o.Protection.Encode(call, time.Until(deadline))
	if err != nil {
		return verdict.Partial{}, fmt.Errorf("fabric: %w", err)
	}
	if err := c.bus.fits(body); err != nil {
		return verdict.Partial{}, err
	}
	if len(call.Candidates) == 0 {
		return verdict.Partial{}, &verifiers.Failure{Reason: verdict.ReasonNoVerifier, Detail: "no candidate is known"}
	}
	for _, cand := range call.Candidates {
		if !slug.MatchString(cand.Site) {
			return verdict.Partial{}, fmt.Errorf("fabric: %q is not a site", cand.Site)
		}
	}
	if !slug.MatchString(call.Request.Scheme) || !requestID.MatchString(call.Request.ID) {
		return verdict.Partial{}, errors.New("fabric: malformed scheme or request id")
	}
	c.hedge.earn()
	r := &race{
		c: c, op: appraising(call.Request.Scheme), call: call, deadline: deadline, keys: keys,
		plain: parcel{header: requestHeaders(call.Request, mediaType, sha256.Sum256(body)), body: body},
		// One slot per attempt that can ever be made, so that none blocks.
		results: make(chan outcome, len(call.Candidates)+1),
	}
	return r.run(ctx)
}

// keys are those to which requests to the candidates are sealed, in their
// order, nil where they are not. Candidates to which nothing may be sent without
// a key, and which have none, are left out; without any left the call fails.
func (c *Caller) keys(call *verifiers.Call) ([]*trust.SealKey, error) {
	if c.o.Protection == nil {
		return nil, nil
	}
	var keys []*trust.SealKey
	var candidates []verifiers.Candidate
	var refused error
	for _, cand := range call.Candidates {
		key, sealed, err := c.o.Protection.SealKey(cand.Site)
		if err != nil {
			refused = err
			continue
		}
		candidates = append(candidates, cand)
		if keys = append(keys, nil); sealed {
			keys[len(keys)-1] = &key
		}
	}
	if len(candidates) == 0 && refused != nil {
		return nil, refused
	}
	call.Candidates = candidates
	return keys, nil
}
