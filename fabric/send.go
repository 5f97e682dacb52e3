// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
)

// maxBody is the largest body in bytes that the contract allows.
const maxBody = limits.FabricPayload - limits.FabricHeaderReserve

// maxBodyOn is the largest body in bytes that every server of a connection's
// path takes.
func maxBodyOn(nc *nats.Conn) int {
	if m := int(nc.MaxPayload()); m > 0 {
		return min(m-limits.FabricHeaderReserve, maxBody)
	}
	return maxBody
}

// fits fails for a request that no server would take, before it is sent: an
// oversize message can tear down the link of a leaf node.
func (b *Bus) fits(body []byte) error {
	if most := maxBodyOn(b.requests); len(body) > most {
		return &verifiers.Failure{
			Reason: verdict.ReasonTooLarge,
			Detail: fmt.Sprintf("the request has %d bytes, a message at most %d", len(body), most),
		}
	}
	return nil
}

// letter is one request on its way.
type letter struct {
	subject  string
	header   nats.Header
	body     []byte
	deadline time.Time
}

// patience is how much trouble of the fabric a letter may still meet.
type patience struct {
	grace     time.Time     // until then, a missing responder may be one that starts
	tries     int           // how often it is looked for again
	reconnect time.Duration // how long a broken connection is waited for
	broken    bool          // the letter is not sent again after a break
	used      bool          // it was sent more than once
}

// exchange sends a letter until it is answered or nothing helps any more. A
// connection that breaks meanwhile is waited for, and the letter sent once
// more.
func (b *Bus) exchange(ctx context.Context, l letter, p *patience) (*nats.Msg, error) {
	for wait := 20 * time.Millisecond; ; p.used = true {
		m, err := b.send(ctx, l)
		switch {
		case errors.Is(err, errDisconnected) && !p.broken && ctx.Err() == nil:
			p.broken = true
			back, cancel := context.WithTimeout(ctx, p.reconnect)
			lost := b.link.wait(back)
			cancel()
			if lost != nil {
				return nil, err
			}
			// Who listens behind the server comes back at its own pace.
			p.grace, p.tries = time.Now().Add(p.reconnect), 16
		case isNoResponders(err) && p.tries > 0 && time.Now().Before(p.grace):
			p.tries--
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
func (b *Bus) send(ctx context.Context, l letter) (*nats.Msg, error) {
	ctx, leave := b.link.enter(ctx, l.subject)
	defer leave()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	left := time.Until(l.deadline).Milliseconds()
	if left <= 0 {
		return nil, context.DeadlineExceeded
	}
	l.header[HeaderTimeout] = []string{strconv.FormatInt(min(left, maxTimeout.Milliseconds()), 10)}
	m, err := b.requests.RequestMsgWithContext(ctx, &nats.Msg{Subject: l.subject, Header: l.header, Data: l.body})
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

// isNoResponders reports that nobody listens on a subject.
func isNoResponders(err error) bool { return errors.Is(err, nats.ErrNoResponders) }

// explain turns an error of the transport into a reason with a fixed text.
func (b *Bus) explain(op operation, id string, err error) (reason, detail string) {
	switch {
	case isNoResponders(err):
		return verdict.ReasonUnreachable, "no " + op.responder + " listens"
	case errors.Is(err, errDisconnected), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		return verdict.ReasonUnreachable, "the connection to the fabric broke"
	case errors.Is(err, errDenied):
		return verdict.ReasonRefused, "the fabric does not let this node ask"
	case errors.Is(err, nats.ErrMaxPayload):
		return verdict.ReasonTooLarge, "the request is larger than the server takes"
	case errors.Is(err, nats.ErrTimeout):
		return b.explain(op, id, context.DeadlineExceeded)
	case errors.Is(err, context.DeadlineExceeded):
		return verdict.ReasonTimeout, "no " + op.responder + " answered in time"
	case errors.Is(err, context.Canceled):
		return verdict.ReasonCancelled, "the " + op.noun + " was cancelled"
	}
	b.log.Warn("request failed", "request", id, "error", err)
	return verdict.ReasonUnreachable, "the request could not be sent"
}

// refused reads an error answer into o; false means that there is none.
func (b *Bus) refused(o *outcome, op operation, to, id string, m *nats.Msg) bool {
	code, hint := answerCode(m.Header)
	if code == 0 {
		return false
	}
	o.code, o.hint = code, hint
	o.reason, o.detail = reasonOf(code), code.Text()
	if code.final() {
		b.log.Error(op.responder+" refused the request", "scheme", op.scheme, "to", to,
			"request", id, "code", int(code), "security", true)
	}
	return true
}

// reasonOf maps an error answer to the reason why there is no result.
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

// retryAfter is when a responder that was busy may be asked again; false when
// the time left until the deadline does not allow it.
func (o outcome) retryAfter(deadline time.Time) (time.Duration, bool) {
	wait := o.hint
	if wait <= 0 {
		wait = defaultHint
	}
	return jitter(wait), time.Until(deadline) > 2*wait
}

// sendCancel tells who still works on a request that its answer is no longer
// wanted: fire and forget, correctness never depends on it. The caller does not
// wait even for the publishing, which a connection that is being made again
// holds up for seconds.
func (b *Bus) sendCancel(ctx context.Context, op operation, id string, subjects ...string) {
	count(context.WithoutCancel(ctx), b.telemetry.cancels, op.scheme)
	go func() {
		for _, subject := range subjects {
			if err := b.requests.Publish(subject, []byte(id)); err != nil {
				b.log.Debug("cancel not sent", "request", id, "error", err)
			}
		}
	}()
}

// recordAsked takes the outcome of a request for metrics on the asking side.
func (b *Bus) recordAsked(ctx context.Context, op operation, started time.Time, err error, tier string) {
	result := op.succeeded
	var f *verifiers.Failure
	switch {
	case errors.As(err, &f):
		result = f.Reason
	case err != nil:
		result = "error"
	}
	b.telemetry.record(ctx, op, op.asker, started, result, tier)
}
