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

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
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

// ErrNoDeadline says that Appraise was called without a deadline, which could
// wait for ever.
var ErrNoDeadline = errors.New("fabric: an appraisal wants a context with a deadline")

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
	outcome, tier := outcomeVerdict, ""
	var f *verifiers.Failure
	switch {
	case errors.As(err, &f):
		outcome = f.Reason
	case err != nil:
		outcome = "error"
	default:
		tier = p.Status().String()
	}
	c.bus.telemetry.record(ctx, started, sideLead, call.Request.Scheme, outcome, tier)
	return p, err
}

func (c *Caller) appraise(ctx context.Context, call verifiers.Call, deadline time.Time) (verdict.Partial, error) {
	body, err := verifiers.EncodeRequest(call.Request)
	if err != nil {
		return verdict.Partial{}, fmt.Errorf("fabric: %w", err)
	}
	if most := c.maxBody(); len(body) > most {
		return verdict.Partial{}, &verifiers.Failure{
			Reason: verdict.ReasonTooLarge,
			Detail: fmt.Sprintf("the request has %d bytes, a message at most %d", len(body), most),
		}
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
		c: c, call: call, body: body, deadline: deadline,
		base: requestHeaders(call.Request, sha256.Sum256(body)),
		// One slot per attempt that can ever be made, so that none blocks.
		results: make(chan outcome, len(call.Candidates)+1),
	}
	return r.run(ctx)
}

// maxBody is the largest body in bytes that every server of the path takes.
func (c *Caller) maxBody() int {
	most := limits.FabricPayload
	if m := int(c.bus.requests.MaxPayload()); m > 0 {
		most = min(most, m)
	}
	return most - limits.FabricHeaderReserve
}

// sendCancel tells verifiers that an answer is no longer wanted: fire and
// forget, correctness never depends on it.
func (c *Caller) sendCancel(ctx context.Context, scheme, id string) {
	count(ctx, c.bus.telemetry.cancels, scheme)
	if err := c.bus.requests.Publish(c.bus.subj.cancel(scheme), []byte(id)); err != nil {
		c.log.Debug("cancel not sent", "request", id, "error", err)
	}
}

// isNoResponders reports that nobody listens on a subject.
func isNoResponders(err error) bool { return errors.Is(err, nats.ErrNoResponders) }
