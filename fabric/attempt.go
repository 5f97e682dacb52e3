// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
	"github.com/nats-io/nats.go"
)

// jitter spreads d over ±50 %, so that callers do not come back together.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Int64N(int64(d)+1))
}

// startupRetries is how often a missing responder is tried again within
// CallerOptions.StartupGrace.
const startupRetries = 2

// attempt asks one candidate and judges its answer. A connection that breaks
// meanwhile is waited for, and the request sent once more.
func (r *race) attempt(ctx context.Context, candidate int, attempt string) outcome {
	site := r.call.Candidates[candidate].Site
	o := outcome{candidate: candidate}
	h := maps.Clone(r.base)
	h[HeaderAttempt] = []string{attempt}
	ctx, span := r.c.bus.telemetry.clientSpan(ctx, h, r.call.Request.Scheme, site, attempt, len(r.body))
	m, err := r.exchange(ctx, r.c.bus.subj.appraise(r.call.Request.Scheme, site), h)
	if err != nil {
		o.reason, o.detail = r.explain(ctx, err)
	} else {
		r.judge(&o, m, site)
	}
	if o.won {
		endSpan(span, outcomeVerdict, o.partial.Status().String())
	} else {
		endSpan(span, o.reason, "")
	}
	return o
}

// exchange sends the request until it is answered or nothing helps any more.
func (r *race) exchange(ctx context.Context, subject string, h nats.Header) (*nats.Msg, error) {
	grace, tries := time.Now().Add(r.c.o.StartupGrace), startupRetries
	again := false // the connection broke once
	for wait := 20 * time.Millisecond; ; {
		m, err := r.send(ctx, subject, h)
		switch {
		case errors.Is(err, errDisconnected) && !again && ctx.Err() == nil:
			again = true
			back, cancel := context.WithTimeout(ctx, r.c.o.Reconnect)
			lost := r.c.bus.link.wait(back)
			cancel()
			if lost != nil {
				return nil, err
			}
			// The verifiers behind the server come back at their own pace.
			grace, tries = time.Now().Add(r.c.o.Reconnect), 16
		case isNoResponders(err) && tries > 0 && time.Now().Before(grace):
			tries--
			if sleep(ctx, jitter(wait)) != nil {
				return nil, err
			}
			wait = min(4*wait, 320*time.Millisecond)
		default:
			return m, err
		}
	}
}

// send makes one request. It ends early when no answer can come any more.
func (r *race) send(ctx context.Context, subject string, h nats.Header) (*nats.Msg, error) {
	ctx, leave := r.c.bus.link.enter(ctx, subject)
	defer leave()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	left := time.Until(r.deadline).Milliseconds()
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	h[HeaderTimeout] = []string{strconv.FormatInt(min(left, maxTimeout.Milliseconds()), 10)}
	m, err := r.c.bus.requests.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Header: h, Data: r.body})
	switch {
	case err == nil:
		return m, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting):
		return nil, errDisconnected
	}
	return nil, err
}

// explain turns an error of the transport into a reason with a fixed text.
func (r *race) explain(ctx context.Context, err error) (reason, detail string) {
	switch {
	case isNoResponders(err):
		return verdict.ReasonUnreachable, "no verifier listens"
	case errors.Is(err, errDisconnected), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return verdict.ReasonUnreachable, "the connection to the fabric broke"
	case errors.Is(err, errDenied):
		return verdict.ReasonRefused, "the fabric does not let this node ask"
	case errors.Is(err, nats.ErrMaxPayload):
		return verdict.ReasonTooLarge, "the request is larger than the server takes"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return verdict.ReasonTimeout, "no verifier answered in time"
	case errors.Is(err, context.Canceled):
		return verdict.ReasonCancelled, "the appraisal was cancelled"
	}
	r.c.log.Warn("request failed", "request", r.call.Request.ID, "error", err)
	return verdict.ReasonUnreachable, "the request could not be sent"
}

// judge decides whether an answer wins. Only call.Verify can make it win.
func (r *race) judge(o *outcome, m *nats.Msg, site string) {
	if code, hint := answerCode(m.Header); code != 0 {
		o.code, o.hint = code, hint
		o.reason, o.detail = reasonOf(code), code.Text()
		if code.final() {
			r.c.log.Error("verifier refused the request", "scheme", r.call.Request.Scheme, "site", site,
				"request", r.call.Request.ID, "code", int(code), "security", true)
		}
		return
	}
	if len(m.Data) == 0 || len(m.Data) > limits.Result {
		o.reason, o.detail = verdict.ReasonBadPAR, "the answer is empty or too large"
		return
	}
	p, err := r.call.Verify(m.Data)
	if err == nil {
		o.partial, o.won = p, true
		return
	}
	o.reason, o.detail = verdict.ReasonBadPAR, "the answer does not verify"
	var intake *verdict.IntakeError
	if errors.As(err, &intake) {
		o.reason, o.detail = intake.Code, intake.Detail
	}
	count(context.Background(), r.c.bus.telemetry.badSignatures, r.call.Request.Scheme)
	r.c.log.Error("answer does not verify", "scheme", r.call.Request.Scheme, "site", site,
		"request", r.call.Request.ID, "reason", o.reason, "error", err, "security", true)
}

// reasonOf maps an error answer to the reason of a component without verdict.
func reasonOf(c Code) string {
	switch c {
	case CodeThrottled, CodeBusy:
		return verdict.ReasonBusy
	case CodeInternal:
		return verdict.ReasonMalfunction
	case CodeBudget:
		return verdict.ReasonTimeout
	}
	return verdict.ReasonRefused
}
