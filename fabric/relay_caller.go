// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// RelayCallerOptions configure the sender's side.
type RelayCallerOptions struct {
	// Reconnect is how long a message whose connection broke waits for it to
	// come back before it is sent once more; zero means one second, a negative
	// duration that it fails at once.
	Reconnect time.Duration
	// Protection says which messages are sealed; nil: none.
	Protection *verifiers.Protection
}

// RelayCaller hands messages to named nodes. It is safe for concurrent use.
type RelayCaller struct {
	bus        *Bus
	reconnect  time.Duration
	protection *verifiers.Protection
}

// RelayCaller returns the sender's side of the bus.
func (b *Bus) RelayCaller(o RelayCallerOptions) *RelayCaller {
	if o.Reconnect == 0 {
		o.Reconnect = time.Second
	}
	return &RelayCaller{bus: b, reconnect: o.Reconnect, protection: o.Protection}
}

// Relay hands one message to one node and returns its answer. Both are opaque
// here: whoever calls checks the signature and the content of the answer. The
// answer has at least one byte and at most limits.FabricPayload.
//
// The id is the idempotency key, 32 lower-case hexadecimal digits, a new one
// for every message: an instance of a node that has seen the id gives the same
// answer again. No other node is ever asked. The message is sent once more,
// with the same id, when the node was busy or missing and the deadline allows,
// or when the connection broke and came back in time; a node that is missing
// after a break is looked for as long as Reconnect says. A message that may
// have reached the node is never sent more than twice. When the context ends, the node is told to stop.
//
// Every error but ErrNoDeadline and a malformed call (node, id, empty message)
// is a *verifiers.Failure. Its reason is one of evidence-too-large,
// unreachable, timeout, busy, refused, malfunction and cancelled, or bad-par for
// an answer to a sealed message that is not sealed to it.
func (c *RelayCaller) Relay(ctx context.Context, node string, id string, message []byte) ([]byte, error) {
	deadline, ok := ctx.Deadline()
	switch {
	case !ok:
		return nil, ErrNoDeadline
	case !slug.MatchString(node):
		return nil, fmt.Errorf("fabric: %q is not a node", node)
	case !requestID.MatchString(id):
		return nil, errors.New("fabric: malformed request id")
	case len(message) == 0:
		return nil, errors.New("fabric: a relay wants a message")
	}
	started := time.Now()
	r := &relay{
		bus: c.bus, op: relaying(node), node: node, id: id, deadline: deadline,
		patience: patience{grace: deadline, tries: 1, reconnect: c.reconnect, broken: c.reconnect < 0},
	}
	answer, err := r.ask(ctx, c.protection, message)
	c.bus.recordAsked(ctx, r.op, started, err, "")
	return answer, err
}

// relay is one message on its way to one node.
type relay struct {
	bus      *Bus
	op       operation
	node, id string
	parcel   parcel
	deadline time.Time
	patience patience // for the whole relay, not for one attempt
}

// ask makes the parcel, the same for every attempt, and sends it.
func (r *relay) ask(ctx context.Context, p *verifiers.Protection, message []byte) ([]byte, error) {
	if err := r.bus.fits(message); err != nil {
		return nil, err
	}
	key, sealed, err := p.SealKey(r.node)
	if err != nil {
		return nil, err
	}
	r.parcel = parcel{header: baseHeaders(r.id, relayScheme, RelayType, sha256.Sum256(message)), body: message}
	if sealed {
		if r.parcel, err = r.parcel.sealed(key, r.node); err != nil {
			return nil, err
		}
		if err := r.bus.fits(r.parcel.body); err != nil {
			return nil, err
		}
	}
	return r.run(ctx)
}

func (r *relay) run(ctx context.Context) ([]byte, error) {
	answer, o := r.attempt(ctx, 1)
	if (o.code == CodeBusy || o.code == CodeThrottled) && !r.patience.used {
		if wait, ok := o.retryAfter(r.deadline); ok && sleep(ctx, wait) == nil {
			r.patience.tries, r.patience.broken = 0, true
			answer, o = r.attempt(ctx, 2)
		}
	}
	if o.won {
		return answer, nil
	}
	if err := ctx.Err(); err != nil {
		r.bus.sendCancel(ctx, r.op, r.id, r.bus.subj.cancelRelay(r.node))
		if telling(o.reason) <= telling(verdict.ReasonTimeout) || errors.Is(err, context.Canceled) {
			o.reason, o.detail = r.bus.explain(r.op, r.id, err)
		}
	}
	return nil, &verifiers.Failure{Reason: o.reason, Detail: o.detail}
}

// open reads an answer, which is sealed if the message was.
func (r *relay) open(data []byte) ([]byte, outcome) {
	answer, err := r.parcel.answer(data)
	if err != nil {
		r.bus.log.Error("answer does not open", "to", r.node, "request", r.id, "security", true)
		return nil, outcome{reason: verdict.ReasonBadPAR, detail: "the answer is not sealed to the message"}
	}
	return answer, outcome{won: true}
}

// attempt asks the node and reads its answer.
func (r *relay) attempt(ctx context.Context, n int) (answer []byte, o outcome) {
	h, number := maps.Clone(r.parcel.header), strconv.Itoa(n)
	h[HeaderAttempt] = []string{number}
	ctx, span := r.bus.telemetry.clientSpan(ctx, h, r.op, r.node, number, len(r.parcel.body))
	m, err := r.bus.exchange(ctx, letter{
		subject: r.bus.subj.cascade(r.node), header: h, body: r.parcel.body, deadline: r.deadline,
	}, &r.patience)
	switch {
	case err != nil:
		o.reason, o.detail = r.bus.explain(r.op, r.id, err)
	case r.bus.refused(&o, r.op, r.node, r.id, m):
	case len(m.Data) == 0:
		o.reason, o.detail = verdict.ReasonMalfunction, "the answer is empty"
	default:
		answer, o = r.open(m.Data)
	}
	if o.won {
		endSpan(span, r.op.succeeded, "")
	} else {
		endSpan(span, o.reason, "")
	}
	return answer, o
}
