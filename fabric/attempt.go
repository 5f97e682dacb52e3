// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
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

// attempt asks one candidate and judges its answer.
func (r *race) attempt(ctx context.Context, candidate int, attempt string, p parcel) outcome {
	site := r.call.Candidates[candidate].Site
	o := outcome{candidate: candidate}
	h := maps.Clone(p.header)
	h[HeaderAttempt] = []string{attempt}
	ctx, span := r.c.bus.telemetry.clientSpan(ctx, h, r.op, site, attempt, len(p.body))
	m, err := r.c.bus.exchange(ctx, letter{
		subject: r.c.bus.subj.appraise(r.op.scheme, site), header: h, body: p.body, deadline: r.deadline,
	}, &patience{grace: time.Now().Add(r.c.o.StartupGrace), tries: startupRetries, reconnect: r.c.o.Reconnect})
	if err != nil {
		o.reason, o.detail = r.c.bus.explain(r.op, r.call.Request.ID, err)
	} else {
		r.judge(&o, m, site, p)
	}
	if o.won {
		endSpan(span, outcomeVerdict, o.partial.Status().String())
	} else {
		endSpan(span, o.reason, "")
	}
	return o
}

// judge decides whether an answer wins. Only call.Verify can make it win.
func (r *race) judge(o *outcome, m *nats.Msg, site string, sent parcel) {
	if r.c.bus.refused(o, r.op, site, r.call.Request.ID, m) {
		return
	}
	if len(m.Data) == 0 || len(m.Data) > limits.Result {
		o.reason, o.detail = verdict.ReasonBadPAR, "the answer is empty or too large"
		return
	}
	token, err := sent.answer(m.Data)
	if err != nil {
		o.reason, o.detail = verdict.ReasonBadPAR, "the answer is not sealed to the request"
		r.bad(o, site, err)
		return
	}
	p, err := r.call.Verify(token)
	if err == nil {
		o.partial, o.won = p, true
		return
	}
	o.reason, o.detail = verdict.ReasonBadPAR, "the answer does not verify"
	var intake *verdict.IntakeError
	if errors.As(err, &intake) {
		o.reason, o.detail = intake.Code, intake.Detail
	}
	r.bad(o, site, err)
}

// bad reports an answer that somebody else has made, or altered.
func (r *race) bad(o *outcome, site string, err error) {
	count(context.Background(), r.c.bus.telemetry.badSignatures, r.call.Request.Scheme)
	r.c.log.Error("answer does not verify", "scheme", r.call.Request.Scheme, "site", site,
		"request", r.call.Request.ID, "reason", o.reason, "error", err, "security", true)
}
