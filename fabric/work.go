// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/metric"
)

// errCancelled is the cause of a context that the caller gave up.
var errCancelled = errors.New("fabric: cancelled")

// job is one admitted request on its way through a worker.
type job struct {
	s       *Service
	reply   string
	raw     nats.Header
	body    []byte
	header  requestHeader
	started time.Time
	tier    string
}

// onRequest runs on the subscription's goroutine, so it only decides whether
// the request is let in. It never blocks.
func (s *Service) onRequest(req micro.Request) {
	reply := req.Reply()
	if reply == "" {
		return
	}
	started := time.Now()
	h, err := parseHeader(nats.Header(req.Headers()))
	switch {
	case err != nil:
		s.refuse(reply, CodeMalformed)
		return
	case h.sealed:
		s.refuse(reply, CodeUnauthorized)
		return
	case len(req.Data()) > limits.FabricPayload-limits.FabricHeaderReserve:
		s.refuse(reply, CodeTooLarge)
		return
	case !s.admit(len(req.Data())):
		s.refuse(reply, CodeBusy)
		return
	}
	j := &job{s: s, reply: reply, raw: nats.Header(req.Headers()), body: req.Data(), header: h, started: started}
	go j.do()
}

// onCancel ends the work on the request whose id is the body. Nothing is
// answered, and correctness never depends on it.
func (s *Service) onCancel(req micro.Request) {
	if id := req.Data(); len(id) == 32 && s.replays.cancel(string(id)) {
		count(s.base, s.bus.telemetry.cancels, s.o.Scheme.Name)
	}
}

// admit reserves a place for a body of n bytes.
func (s *Service) admit(n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping || s.admitted >= s.o.Workers+s.o.Queue || s.bytes+n > queueBytes {
		return false
	}
	s.admitted++
	s.bytes += n
	s.wg.Add(1)
	return true
}

func (s *Service) release(n int) {
	s.mu.Lock()
	s.admitted--
	s.bytes -= n
	s.mu.Unlock()
	s.wg.Done()
}

// do takes a job from admission to its answer.
func (j *job) do() {
	s := j.s
	defer s.release(len(j.body))
	budget := s.o.Budget
	if j.header.timeout > 0 {
		budget = min(budget, j.header.timeout)
	}
	ctx, stop := context.WithDeadline(s.base, j.started.Add(budget))
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	select {
	case s.run <- struct{}{}:
		defer func() { <-s.run }()
	case <-ctx.Done():
		s.refuse(j.reply, CodeBudget)
		return
	}
	defer func() {
		// A panic before the appraiser is reached: in the decoding of the body.
		if p := recover(); p != nil {
			s.log.Error("panic in request", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			s.refuse(j.reply, CodeInternal)
		}
	}()
	ctx, span := s.bus.telemetry.serverSpan(ctx, j.raw, s.o.Scheme.Name, s.id, len(j.body))
	outcome := j.answer(ctx, cancel)
	endSpan(span, outcome, j.tier)
	s.bus.telemetry.record(ctx, j.started, sideVerifier, s.o.Scheme.Name, outcome, j.tier)
	s.observe(time.Since(j.started))
}

// answer checks the body against its headers, makes the request idempotent and
// answers everybody who asked. It returns the outcome for telemetry.
func (j *job) answer(ctx context.Context, cancel context.CancelCauseFunc) string {
	s := j.s
	r, err := j.header.decodeBody(j.body)
	if err != nil {
		return s.refuse(j.reply, CodeMalformed)
	}
	if r.Scheme != s.o.Scheme.Name {
		return s.refuse(j.reply, CodeMediaType)
	}
	what, earlier := s.replays.begin(r.ID, j.header.digest, time.Now(), j.reply, cancel)
	switch what {
	case begunConflict:
		s.log.Warn("request id used for other content", "request", r.ID, "security", true)
		return s.refuse(j.reply, CodeConflict)
	case begunFull:
		return s.refuse(j.reply, CodeBusy)
	case begunDone:
		count(ctx, s.bus.telemetry.replays, s.o.Scheme.Name)
		s.respond(j.reply, earlier)
		return "replayed"
	case begunJoined:
		count(ctx, s.bus.telemetry.replays, s.o.Scheme.Name)
		return "joined"
	}
	token, code := j.appraise(ctx, r)
	for _, w := range s.replays.finish(r.ID, token, time.Now()) {
		if code != 0 {
			s.refuse(w, code)
			continue
		}
		s.respond(w, token)
	}
	if code != 0 {
		return strconv.Itoa(int(code))
	}
	return outcomeVerdict
}

// appraise calls the appraiser. A panic, a token that cannot travel, and an
// error that is not a refusal are internal errors; a context that has ended is
// always "out of budget".
func (j *job) appraise(ctx context.Context, r verifiers.Request) (token []byte, code Code) {
	s := j.s
	s.inFlight(ctx, 1)
	defer s.inFlight(ctx, -1)
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in appraiser", "request", r.ID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			token, code, j.tier = nil, CodeInternal, ""
		}
	}()
	token, tier, err := s.appraiser.Appraise(ctx, r)
	switch {
	case err != nil:
		code = s.codeOf(ctx, r, err)
		return nil, code
	case len(token) == 0 || len(token) > limits.FabricPayload-limits.FabricHeaderReserve:
		s.log.Error("result cannot travel", "request", r.ID, "bytes", len(token))
		return nil, CodeInternal
	}
	j.tier = tier.String()
	return token, 0
}

// codeOf maps an error of the appraiser to the contract; the cause stays in
// this node's log.
func (s *Service) codeOf(ctx context.Context, r verifiers.Request, err error) Code {
	code := CodeInternal
	var refusal *verifiers.Refusal
	if errors.As(err, &refusal) && Code(refusal.Code).Text() != "" {
		code = Code(refusal.Code)
	}
	if ctx.Err() != nil {
		code = CodeBudget
	}
	s.log.Warn("no result", "request", r.ID, "code", int(code), "error", err, "cause", errors.Unwrap(err))
	return code
}

func (s *Service) inFlight(ctx context.Context, n int64) {
	s.bus.telemetry.inFlight.Add(context.WithoutCancel(ctx), n, metric.WithAttributes(attrScheme.String(s.o.Scheme.Name)))
}

// refuse answers with a code of the contract and its fixed text, and returns
// the outcome for telemetry.
func (s *Service) refuse(reply string, code Code) string {
	number := strconv.Itoa(int(code))
	h := nats.Header{micro.ErrorCodeHeader: {number}, micro.ErrorHeader: {code.Text()}}
	if code == CodeBusy {
		count(s.base, s.bus.telemetry.busy, s.o.Scheme.Name)
		h[HeaderRetryAfter] = []string{strconv.FormatInt(s.hint().Milliseconds(), 10)}
	}
	s.send(&nats.Msg{Subject: reply, Header: h})
	return number
}

func (s *Service) respond(reply string, token []byte) {
	s.send(&nats.Msg{Subject: reply, Data: token})
}

// send publishes an answer itself: micro.Request may not be used after its
// handler has returned (it would race with the statistics of micro).
func (s *Service) send(m *nats.Msg) {
	if err := s.bus.services.PublishMsg(m); err != nil {
		s.log.Warn("answer lost", "error", err)
	}
}

// observe keeps a moving average of the time that a request takes.
func (s *Service) observe(d time.Duration) {
	old := s.mean.Load()
	s.mean.Store(old + (int64(d)-old)/8) // a lost update does not matter
}

// hint is when a place will probably be free.
func (s *Service) hint() time.Duration {
	return min(max(time.Duration(s.mean.Load()), 5*time.Millisecond), 2*time.Second)
}
