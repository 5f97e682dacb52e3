// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/metric"
)

// errCancelled is the cause of a context that the caller gave up.
var errCancelled = errors.New("fabric: cancelled")

// job is one admitted request on its way through a worker.
type job struct {
	d       *desk
	reply   string
	raw     nats.Header
	body    []byte
	header  requestHeader
	started time.Time
	tier    string
}

// onRequest runs on the subscription's goroutine, so it only decides whether
// the request is let in. It never blocks.
func (d *desk) onRequest(req micro.Request) {
	reply := req.Reply()
	if reply == "" {
		return
	}
	started := time.Now()
	h, err := d.duty.header(nats.Header(req.Headers()))
	switch {
	case err != nil:
		d.refuse(reply, CodeMalformed)
		return
	case h.sealed && !d.seal.has(h.seal):
		d.refuse(reply, CodeUnauthorized)
		return
	case len(req.Data()) > d.room.body:
		d.refuse(reply, CodeTooLarge)
		return
	case !d.admit(len(req.Data())):
		d.refuse(reply, CodeBusy)
		return
	}
	j := &job{d: d, reply: reply, raw: nats.Header(req.Headers()), body: req.Data(), header: h, started: started}
	go j.do()
}

// onCancel ends the work on the request whose id is the body. Nothing is
// answered, and correctness never depends on it.
func (d *desk) onCancel(req micro.Request) {
	if id := req.Data(); len(id) == 32 && d.replays.cancel(string(id)) {
		count(d.base, d.bus.telemetry.cancels, d.op.scheme)
	}
}

// do takes a job from admission to its answer.
func (j *job) do() {
	d := j.d
	defer d.release(len(j.body))
	budget := d.room.budget
	if j.header.timeout > 0 {
		budget = min(budget, j.header.timeout)
	}
	ctx, stop := context.WithDeadline(d.base, j.started.Add(budget))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	select {
	case d.run <- struct{}{}:
		defer func() { <-d.run }()
	case <-ctx.Done():
		d.refuse(j.reply, CodeBudget)
		return
	}
	defer func() {
		// A panic before the handler is reached: in the decoding of the body.
		if p := recover(); p != nil {
			d.log.Error("panic in request", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			d.refuse(j.reply, CodeInternal)
		}
	}()
	ctx, span := d.bus.telemetry.serverSpan(ctx, j.raw, d.op, d.id, len(j.body))
	outcome := j.answer(ctx, cancel)
	endSpan(span, outcome, j.tier)
	d.bus.telemetry.record(ctx, d.op, d.op.responder, j.started, outcome, j.tier)
	d.observe(time.Since(j.started))
}

// answer opens the body, makes the request idempotent and answers everybody
// who asked. It returns the outcome for telemetry.
func (j *job) answer(ctx context.Context, cancel context.CancelCauseFunc) string {
	d, id, w := j.d, j.header.request, waiter{reply: j.reply}
	header, body, code := j.header, j.body, Code(0)
	if header.sealed {
		if header, body, w.seal, code = d.seal.open(header, body); code != 0 {
			d.log.Warn("request does not open", "request", id, "code", int(code), "security", true)
			return d.refuse(j.reply, code)
		}
	}
	do, code := d.duty.open(header, body)
	if code != 0 {
		return d.refuse(j.reply, code)
	}
	what, earlier := d.replays.begin(id, header.digest, time.Now(), w, cancel)
	switch what {
	case begunConflict:
		d.log.Warn("request id used for other content", "request", id, "security", true)
		return d.refuse(j.reply, CodeConflict)
	case begunFull:
		return d.refuse(j.reply, CodeBusy)
	case begunDone:
		count(ctx, d.bus.telemetry.replays, d.op.scheme)
		d.respond(w, earlier)
		return "replayed"
	case begunJoined:
		count(ctx, d.bus.telemetry.replays, d.op.scheme)
		return "joined"
	}
	token, code := j.perform(ctx, do)
	for _, w := range d.replays.finish(id, token, time.Now()) {
		if code != 0 {
			d.refuse(w.reply, code)
			continue
		}
		d.respond(w, token)
	}
	if code != 0 {
		return strconv.Itoa(int(code))
	}
	return d.op.succeeded
}

// perform does the work. A panic and an answer that cannot travel are internal
// errors; of an error, the duty says what it is. A context that has ended is
// always "out of budget".
func (j *job) perform(ctx context.Context, do work) (token []byte, code Code) {
	d, id := j.d, j.header.request
	d.inFlight(ctx, 1)
	defer d.inFlight(ctx, -1)
	defer func() {
		if p := recover(); p != nil {
			d.log.Error("panic in handler", "request", id, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			token, code, j.tier = nil, CodeInternal, ""
		}
	}()
	token, tier, err := do(ctx)
	switch {
	case err != nil:
		code = d.duty.code(err)
		if ctx.Err() != nil {
			code = CodeBudget
		}
		d.log.Warn("no result", "request", id, "code", int(code), "error", err, "cause", errors.Unwrap(err))
		return nil, code
	case len(token) == 0 || len(token) > maxBodyOn(d.bus.services):
		d.log.Error("result cannot travel", "request", id, "bytes", len(token))
		return nil, CodeInternal
	}
	j.tier = tier
	return token, 0
}

func (d *desk) inFlight(ctx context.Context, n int64) {
	d.bus.telemetry.inFlight.Add(context.WithoutCancel(ctx), n, metric.WithAttributes(attrScheme.String(d.op.scheme)))
}

// refuse answers with a code of the contract and its fixed text, and returns
// the outcome for telemetry.
func (d *desk) refuse(reply string, code Code) string {
	number := strconv.Itoa(int(code))
	h := nats.Header{micro.ErrorCodeHeader: {number}, micro.ErrorHeader: {code.Text()}}
	if code == CodeBusy {
		count(d.base, d.bus.telemetry.busy, d.op.scheme)
		h[HeaderRetryAfter] = []string{strconv.FormatInt(d.hint().Milliseconds(), 10)}
	}
	d.send(&nats.Msg{Subject: reply, Header: h})
	return number
}

func (d *desk) respond(w waiter, token []byte) {
	data, err := w.wrap(token)
	if err != nil {
		d.log.Error("answer cannot be sealed", "error", err)
		d.refuse(w.reply, CodeInternal)
		return
	}
	d.send(&nats.Msg{Subject: w.reply, Data: data})
}

// send publishes an answer itself: micro.Request may not be used after its
// handler has returned (it would race with the statistics of micro).
func (d *desk) send(m *nats.Msg) {
	if err := d.bus.services.PublishMsg(m); err != nil {
		d.log.Warn("answer lost", "error", err)
	}
}
