// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/assize/assize/trust"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// relayVersion is the SemVer of the relay service: of its message contract, not
// of the software, which metadata names as the build.
const relayVersion = "1.0.0"

// relayGroup is the queue group of one node: its instances share the load.
func relayGroup(node string) string { return queueGroup + "-" + node }

// RelayHandler answers one message that another node has handed over. Message
// and answer are opaque here: the handler checks who signed the message and
// what is in it, and the sender does the same with the answer.
//
// The context ends with the sender's budget, when the sender gives up, and when
// the service is stopped without time to drain. An answer must not be empty,
// must fit into a message, and must not be changed after it was returned,
// because the same request id gets the same bytes again. An error is a
// RelayRefusal, or counts as internal; so does a panic.
type RelayHandler interface {
	HandleRelay(ctx context.Context, message []byte) (answer []byte, err error)
}

// RelayRefusal is the error of a RelayHandler that chooses the code of the
// error answer. A code outside the contract counts as CodeInternal. The sender
// learns the code and its fixed text only.
type RelayRefusal struct {
	Code Code
	// Err is the cause, for this node's own log; it never leaves the node. It
	// may be nil.
	Err error
}

// Error implements error.
func (r RelayRefusal) Error() string {
	return fmt.Sprintf("fabric: relay refused: %d %s", int(r.Code), r.Code.Text())
}

// Unwrap gives the cause.
func (r RelayRefusal) Unwrap() error { return r.Err }

// RelayOptions describe one node to the fabric.
type RelayOptions struct {
	// Node is the name of this node, [a-z0-9-]{1,32}. Every instance that
	// serves the same name takes a share of its messages.
	Node string
	// Developer and Build name the software, KID the key of its answers. They
	// are hints for discovery; nothing is decided by them.
	Developer, Build, KID string
	// Workers is the number of messages that are handled at a time; default
	// 2×GOMAXPROCS.
	Workers int
	// Queue is how many more messages may wait; zero means DefaultQueue, a
	// negative number none.
	Queue int
	// Budget is the upper bound for one message; default DefaultBudget. The
	// sender's own budget (Att-Timeout-Ms) can only make it shorter.
	Budget time.Duration
	// MaxMessage is the largest message in bytes. The default, and the upper
	// bound, is what the contract lets travel: limits.FabricPayload less
	// limits.FabricHeaderReserve.
	MaxMessage int
	// Seal are the keys to which messages may be sealed. Without any a sealed
	// message is refused.
	Seal []*trust.SealPrivate
}

// RelayService is one instance of a node that takes relayed messages.
type RelayService struct {
	desk
	handler RelayHandler
}

// ServeRelay takes the messages for one node name, as an instance of the micro
// service att_node, and returns when messages can find it. Call Stop before
// Bus.Close.
//
// A message is handled once per instance: the same request id with the same
// message gets the same answer for twice the budget, as long as the cache
// (4096 answers, 16 MiB) holds it, and with another message CodeConflict. A
// full node answers CodeBusy at once, with a hint when to try again. Instances
// do not share what they remember.
func (b *Bus) ServeRelay(h RelayHandler, o RelayOptions) (*RelayService, error) {
	if h == nil || !slug.MatchString(o.Node) {
		return nil, errors.New("fabric: a relay service wants a handler and a node name ([a-z0-9-]{1,32})")
	}
	s := &RelayService{handler: h, desk: desk{
		bus: b, op: relaying(o.Node), what: o.Node, kid: o.KID,
		room: capacity{workers: o.Workers, queue: o.Queue, budget: o.Budget, body: o.MaxMessage},
		seal: unsealer{node: o.Node, keys: o.Seal},
	}}
	s.duty = relays{h}
	s.prepare()
	err := s.start(micro.Config{
		Name:        relayService,
		Version:     relayVersion,
		Description: "Takes relayed messages for node " + o.Node,
		Metadata: map[string]string{
			metaWire: Version[1:], metaKind: kindNode, metaNode: o.Node, metaDeveloper: o.Developer,
			metaBuild: o.Build, metaSite: b.cfg.Site, metaKID: o.KID,
		},
	}, s.endpoints)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Node is the name that this instance serves.
func (s *RelayService) Node() string { return s.what }

func (s *RelayService) endpoints() error {
	// Cancel first: whoever can be asked can be cancelled.
	err := s.endpoint(endpointCancel, s.bus.subj.cancelRelay(s.what), s.onCancel, micro.WithEndpointQueueGroupDisabled())
	if err != nil {
		return err
	}
	return s.endpoint(endpointCascade, s.bus.subj.cascade(s.what), s.onRequest,
		micro.WithEndpointQueueGroup(s.op.group), micro.WithEndpointMetadata(map[string]string{
			metaMaxBytes: strconv.Itoa(s.room.body),
			metaBudget:   strconv.FormatInt(s.room.budget.Milliseconds(), 10),
		}))
}

// relays is the duty of a RelayService.
type relays struct{ handler RelayHandler }

func (relays) header(h nats.Header) (requestHeader, error) { return parseHeaderFor(h, RelayType) }

func (r relays) open(h requestHeader, message []byte) (work, Code) {
	if h.scheme != relayScheme || len(message) == 0 || !h.covers(message) {
		return nil, CodeMalformed
	}
	return func(ctx context.Context) ([]byte, string, error) {
		answer, err := r.handler.HandleRelay(ctx, message)
		return answer, "", err
	}, 0
}

func (relays) code(err error) Code {
	var refusal RelayRefusal
	if errors.As(err, &refusal) && refusal.Code.Text() != "" {
		return refusal.Code
	}
	return CodeInternal
}
