// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// hedgeAttempt is the value of Att-Attempt for a hedge.
const hedgeAttempt = "h"

// maxInFlight is how many candidates of one component are asked at a time.
const maxInFlight = 2

// defaultHint is the wait before the retry of a busy verifier that gave none.
const defaultHint = 20 * time.Millisecond

// race asks the candidates for one component. Only run touches its fields
// after the start; attempts report through results.
type race struct {
	c        *Caller
	op       operation
	call     verifiers.Call
	plain    parcel
	keys     []*trust.SealKey // by candidate, nil where the request is not sealed
	sealed   map[int]parcel   // what was sealed already, by candidate
	deadline time.Time
	results  chan outcome

	next    int // next candidate to ask
	pending int
	asked   int
	retried bool // the one retry after "busy" was used
	failed  bool // one candidate has failed internally
	stop    bool // ask no further candidate
	busy    *outcome
	worst   *outcome // the most telling failure so far
}

// outcome is what one attempt gave: a partial result, or a reason why not.
type outcome struct {
	candidate int
	partial   verdict.Partial
	won       bool
	code      Code // of an error answer
	hint      time.Duration
	reason    string // a reason code of package verdict
	detail    string
}

// run is the loop of the race: launch, collect, decide.
func (r *race) run(ctx context.Context) (verdict.Partial, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var hedge <-chan time.Time
	if r.c.o.Hedge > 0 {
		t := time.NewTicker(r.c.o.Hedge)
		defer t.Stop()
		hedge = t.C
	}
	r.launch(ctx, "", 0)
	for r.pending > 0 {
		select {
		case o := <-r.results:
			r.pending--
			if o.won {
				if r.pending > 0 {
					r.cancel(ctx)
				}
				return o.partial, nil
			}
			if err := ctx.Err(); err != nil {
				return verdict.Partial{}, r.ended(ctx, err)
			}
			r.note(o)
			r.proceed(ctx, o)
		case <-hedge:
			if r.mayLaunch() && r.c.hedge.spend() {
				count(ctx, r.c.bus.telemetry.hedges, r.call.Request.Scheme)
				r.launch(ctx, hedgeAttempt, 0)
			}
		case <-ctx.Done():
			return verdict.Partial{}, r.ended(ctx, ctx.Err())
		}
	}
	return verdict.Partial{}, &verifiers.Failure{Reason: r.worst.reason, Detail: r.worst.detail}
}

// cancel tells whoever was asked and may still work on the request to stop.
func (r *race) cancel(ctx context.Context) {
	var subjects []string
	for _, c := range r.call.Candidates[:r.next] {
		if s := r.c.bus.subj.cancel(r.op.scheme, c.Site); !slices.Contains(subjects, s) {
			subjects = append(subjects, s)
		}
	}
	r.c.bus.sendCancel(ctx, r.op, r.call.Request.ID, subjects...)
}

// ended is the failure of a race that its context has ended. What was learned
// before, for example that an answer was forged, is more telling than the time.
func (r *race) ended(ctx context.Context, err error) error {
	r.cancel(ctx)
	reason, detail := r.c.bus.explain(r.op, r.call.Request.ID, err)
	if reason == verdict.ReasonCancelled {
		return &verifiers.Failure{Reason: reason, Detail: detail}
	}
	r.note(outcome{reason: reason, detail: detail})
	return &verifiers.Failure{Reason: r.worst.reason, Detail: r.worst.detail}
}

// note keeps the most telling failure.
func (r *race) note(o outcome) {
	if r.worst == nil || telling(o.reason) > telling(r.worst.reason) {
		r.worst = &o
	}
}

// telling orders reasons: an answer that did not verify says more than a
// refusal, a refusal more than a failure, a failure more than silence.
func telling(reason string) int {
	switch reason {
	case verdict.ReasonUnreachable:
		return 0
	case verdict.ReasonTimeout:
		return 1
	case verdict.ReasonBusy:
		return 2
	case verdict.ReasonMalfunction:
		return 3
	case verdict.ReasonRefused:
		return 4
	}
	return 5
}

func (r *race) mayLaunch() bool {
	return !r.stop && r.next < len(r.call.Candidates) && r.pending < maxInFlight
}

// proceed decides what follows a failed attempt.
func (r *race) proceed(ctx context.Context, o outcome) {
	switch {
	case o.code.final():
		r.stop = true
	case o.code == CodeInternal && r.failed:
		r.stop = true // "next candidate once"
	case o.code == CodeInternal:
		r.failed = true
	case o.code == CodeBusy || o.code == CodeThrottled:
		if r.busy == nil || o.hint < r.busy.hint {
			r.busy = &o
		}
	}
	if r.mayLaunch() {
		r.launch(ctx, "", 0)
		return
	}
	if r.stop || r.pending > 0 || r.retried || r.busy == nil {
		return
	}
	if wait, ok := r.busy.retryAfter(r.deadline); ok {
		r.retried = true
		r.start(ctx, r.busy.candidate, "", wait)
	}
}

// launch asks the next candidate.
func (r *race) launch(ctx context.Context, attempt string, delay time.Duration) {
	i := r.next
	r.next++
	r.start(ctx, i, attempt, delay)
}

func (r *race) start(ctx context.Context, candidate int, attempt string, delay time.Duration) {
	r.pending++
	r.asked++
	if attempt == "" {
		attempt = strconv.Itoa(min(r.asked, 255))
	}
	p, err := r.parcel(candidate)
	if err != nil {
		r.results <- r.unsent(candidate, err)
		return
	}
	go func() {
		if sleep(ctx, delay) != nil {
			r.results <- outcome{candidate: candidate, reason: verdict.ReasonTimeout, detail: "no time left for a retry"}
			return
		}
		r.results <- r.attempt(ctx, candidate, attempt, p)
	}()
}

// parcel is the request as one candidate gets it, the same for every attempt.
func (r *race) parcel(candidate int) (parcel, error) {
	if r.keys == nil || r.keys[candidate] == nil {
		return r.plain, nil
	}
	if p, ok := r.sealed[candidate]; ok {
		return p, nil
	}
	p, err := r.plain.sealed(*r.keys[candidate], r.call.Candidates[candidate].Site)
	if err != nil {
		return p, err
	}
	if err := r.c.bus.fits(p.body); err != nil {
		return p, err
	}
	if r.sealed == nil {
		r.sealed = map[int]parcel{}
	}
	r.sealed[candidate] = p
	return p, nil
}

// unsent is the outcome of a request that could not be made ready.
func (r *race) unsent(candidate int, err error) outcome {
	o := outcome{candidate: candidate, reason: verdict.ReasonMalfunction, detail: "the request cannot be sealed"}
	var f *verifiers.Failure
	if errors.As(err, &f) {
		o.reason, o.detail = f.Reason, f.Detail
	} else {
		r.c.log.Error("request cannot be sealed", "request", r.call.Request.ID, "error", err)
	}
	return o
}

// sleep waits for d or until the context ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
