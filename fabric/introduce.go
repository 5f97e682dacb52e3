// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel/metric"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Introductions travel beside relays: a node that takes no relays can still be
// asked what it runs on, and another permission lets it.
const (
	introduceScheme   = "introduction"
	introduceService  = "att_introduction"
	introduceVersion  = "1.0.0"
	endpointIntroduce = "introduce"
	introduceTemplate = "att." + Version + ".{tenant}.introduce.{node}"
	// maxIntroduction is the largest question in bytes: a signed statement
	// without evidence.
	maxIntroduction = 16 << 10
	// Making evidence is work for the machine and not for this process: few at
	// a time, and a short queue.
	introduceWorkers = 2
	introduceQueue   = 16
)

// introduce is att.v1.<tenant>.introduce.<node>.
func (s subjects) introduce(node string) string {
	return fmt.Sprintf("att.%s.%s.introduce.%s", Version, s.tenant, node)
}

func introducing(node string) operation {
	return operation{
		verb: "introduce", noun: "introduction", scheme: introduceScheme, asker: "sender", responder: "node",
		template: introduceTemplate, group: relayGroup(node), succeeded: outcomeAnswer,
		recorder: func(t *telemetry) metric.Float64Histogram { return t.relays },
	}
}

// IntroductionHandler answers one introduction. Message and answer are opaque
// here: the handler checks who signed the message, and the asker does the same
// with the answer. The context and errors are those of a RelayHandler.
type IntroductionHandler interface {
	HandleIntroduction(ctx context.Context, message []byte) (answer []byte, err error)
}

// IntroductionOptions describe one node to the fabric.
type IntroductionOptions struct {
	// Node is the name of this node, [a-z0-9-]{1,32}.
	Node string
	// Developer and Build name the software, KID the key of its answers: hints.
	Developer, Build, KID string
	// Budget is the upper bound for one introduction; default DefaultBudget.
	Budget time.Duration
}

// IntroductionService is one instance of a node that introduces itself.
type IntroductionService struct {
	desk
	handler IntroductionHandler
}

// ServeIntroductions takes the introductions for one node name, as an instance
// of the micro service att_introduction, and returns when they can find it.
// Call Stop before Bus.Close. It is idempotent as ServeRelay is.
func (b *Bus) ServeIntroductions(h IntroductionHandler, o IntroductionOptions) (*IntroductionService, error) {
	if h == nil || !slug.MatchString(o.Node) {
		return nil, errors.New("fabric: introductions want a handler and a node name ([a-z0-9-]{1,32})")
	}
	s := &IntroductionService{handler: h, desk: desk{
		bus: b, op: introducing(o.Node), what: o.Node, kid: o.KID,
		room: capacity{workers: introduceWorkers, queue: introduceQueue, budget: o.Budget, body: maxIntroduction},
	}}
	s.duty = introductions{h}
	s.prepare()
	err := s.start(micro.Config{
		Name: introduceService, Version: introduceVersion, Description: "Introduces node " + o.Node,
		Metadata: map[string]string{
			metaWire: Version[1:], metaNode: o.Node, metaDeveloper: o.Developer, metaBuild: o.Build, metaSite: b.cfg.Site, metaKID: o.KID,
		},
	}, func() error {
		return s.endpoint(endpointIntroduce, b.subj.introduce(o.Node), s.onRequest,
			micro.WithEndpointQueueGroup(s.op.group), micro.WithEndpointMetadata(map[string]string{
				metaMaxBytes: strconv.Itoa(s.room.body),
				metaBudget:   strconv.FormatInt(s.room.budget.Milliseconds(), 10),
			}))
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

// introductions is the duty of an IntroductionService.
type introductions struct{ handler IntroductionHandler }

func (introductions) header(h nats.Header) (requestHeader, error) {
	return parseHeaderFor(h, RelayType)
}

func (i introductions) open(h requestHeader, message []byte) (work, Code) {
	if h.scheme != introduceScheme || len(message) == 0 || !h.covers(message) {
		return nil, CodeMalformed
	}
	return func(ctx context.Context) ([]byte, string, error) {
		answer, err := i.handler.HandleIntroduction(ctx, message)
		return answer, "", err
	}, 0
}

func (introductions) code(err error) Code { return relays{}.code(err) }

// IntroductionCaller asks nodes to introduce themselves. It is safe for
// concurrent use.
type IntroductionCaller struct{ bus *Bus }

// IntroductionCaller returns the asker's side of the bus.
func (b *Bus) IntroductionCaller() *IntroductionCaller { return &IntroductionCaller{b} }

// Introduce carries one message to one node and brings its answer, of 1 byte to
// limits.FabricPayload. Both are opaque here. The id is the idempotency key, 32
// lower-case hexadecimal digits, a new one for every message. The message is
// sent once more, with the same id, to a node that was busy, when the deadline
// allows; whoever asks in vain waits before it asks again.
//
// Every error but ErrNoDeadline and a malformed call is a *verifiers.Failure
// with a reason as RelayCaller.Relay gives it.
func (c *IntroductionCaller) Introduce(ctx context.Context, node, id string, message []byte) ([]byte, error) {
	deadline, ok := ctx.Deadline()
	switch {
	case !ok:
		return nil, ErrNoDeadline
	case !slug.MatchString(node):
		return nil, fmt.Errorf("fabric: %q is not a node", node)
	case !requestID.MatchString(id):
		return nil, errors.New("fabric: malformed request id")
	case len(message) == 0 || len(message) > maxIntroduction:
		return nil, fmt.Errorf("fabric: an introduction has 1 to %d bytes", maxIntroduction)
	}
	started := time.Now()
	op := introducing(node)
	l := letter{
		subject: c.bus.subj.introduce(node), body: message, deadline: deadline,
		header: baseHeaders(id, introduceScheme, RelayType, sha256.Sum256(message)),
	}
	answer, o := c.attempt(ctx, op, node, id, l, 1)
	if o.code == CodeBusy || o.code == CodeThrottled {
		if wait, ok := o.retryAfter(deadline); ok && sleep(ctx, wait) == nil {
			answer, o = c.attempt(ctx, op, node, id, l, 2)
		}
	}
	var err error
	if !o.won {
		err = &verifiers.Failure{Reason: o.reason, Detail: o.detail}
	}
	c.bus.recordAsked(ctx, op, started, err, "")
	return answer, err
}

// attempt asks the node and reads its answer.
func (c *IntroductionCaller) attempt(ctx context.Context, op operation, node, id string, l letter, n int) (answer []byte, o outcome) {
	number := strconv.Itoa(n)
	l.header[HeaderAttempt] = []string{number}
	ctx, span := c.bus.telemetry.clientSpan(ctx, l.header, op, node, number, len(l.body))
	m, err := c.bus.exchange(ctx, l, &patience{grace: l.deadline, tries: 1, broken: true})
	switch {
	case err != nil:
		o.reason, o.detail = c.bus.explain(op, id, err)
	case c.bus.refused(&o, op, node, id, m):
	case len(m.Data) == 0:
		o.reason, o.detail = verdict.ReasonMalfunction, "the answer is empty"
	default:
		o.won, answer = true, m.Data
	}
	if o.won {
		endSpan(span, op.succeeded, "")
	} else {
		endSpan(span, o.reason, "")
	}
	return answer, o
}
