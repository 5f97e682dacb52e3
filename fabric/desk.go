// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Defaults of a service.
const (
	// DefaultBudget is the longest time for one request.
	DefaultBudget = 30 * time.Second
	// DefaultQueue is how many admitted requests may wait for a worker: one
	// composite with the largest number of leaves.
	DefaultQueue = 256
	// queueBytes bounds the bodies of all admitted requests.
	queueBytes = 64 << 20
	// Pending limits of a subscription. They must never be reached, because a
	// full service answers at once.
	pendingMessages = 4096
	pendingBytes    = 64 << 20
	// stopGrace is how long Stop waits for cancelled work.
	stopGrace = time.Second
)

// duty is what the requests of one kind of service are about; all the rest is
// the same for every desk.
type duty interface {
	// header reads the headers of an untrusted request.
	header(h nats.Header) (requestHeader, error)
	// open checks a body against its headers. It returns the work that the
	// request asks for, or the code that refuses it.
	open(h requestHeader, body []byte) (work, Code)
	// code maps an error of the work to the contract; its cause stays here.
	code(err error) Code
}

// work makes the answer to one request; tier is for telemetry only.
type work func(ctx context.Context) (answer []byte, tier string, err error)

// capacity is how much a desk takes on; zero fields mean the defaults that
// ServiceOptions document.
type capacity struct {
	workers, queue int
	budget         time.Duration
	body           int // largest body in bytes
}

// desk takes requests from the fabric: it lets in what it has room for, gives
// each to a worker within its time, does the same request only once, and
// answers everybody who asked.
type desk struct {
	bus     *Bus
	duty    duty
	op      operation
	what    string // what is served, in errors
	kid     string
	room    capacity
	seal    unsealer
	log     *slog.Logger
	svc     micro.Service
	id      string
	replays *replays

	run  chan struct{} // a token per worker
	base context.Context
	end  context.CancelCauseFunc

	mu       sync.Mutex
	admitted int
	bytes    int
	stopping bool
	stopped  chan struct{} // closed when Stop has finished
	wg       sync.WaitGroup

	mean atomic.Int64 // moving average of the time for one request, ns
}

// prepare fills in a desk whose bus, duty, op, what, kid and room are set.
func (d *desk) prepare() {
	if d.room.workers <= 0 {
		d.room.workers = 2 * runtime.GOMAXPROCS(0)
	}
	if d.room.queue == 0 {
		d.room.queue = DefaultQueue
	}
	d.room.queue = max(d.room.queue, 0)
	if d.room.budget <= 0 {
		d.room.budget = DefaultBudget
	}
	if d.room.body <= 0 || d.room.body > maxBody {
		d.room.body = maxBody
	}
	d.log = d.bus.log.With(d.op.responder, d.what)
	d.replays = newReplays(2 * d.room.budget)
	d.run = make(chan struct{}, d.room.workers)
	d.stopped = make(chan struct{})
	d.base, d.end = context.WithCancelCause(context.Background())
}

// start adds the micro service and its endpoints and flushes, so that a request
// which is sent after it returned finds a responder. An error leaves nothing
// behind.
func (d *desk) start(c micro.Config, endpoints func() error) error {
	err := d.register(c, endpoints)
	if err != nil {
		d.end(nil)
		return fmt.Errorf("fabric: serve %s: %w", d.what, err)
	}
	d.announce(EventStart)
	return nil
}

func (d *desk) register(c micro.Config, endpoints func() error) error {
	c.StatsHandler = func(*micro.Endpoint) any { return d.Stats() }
	svc, err := micro.AddService(d.bus.services, c)
	if err != nil {
		return err
	}
	d.svc, d.id = svc, svc.Info().ID
	if err := endpoints(); err != nil {
		return errors.Join(err, svc.Stop())
	}
	// Without a server, the subscriptions are made when one is there.
	if err := d.bus.services.FlushTimeout(dialTimeout); err != nil && !d.bus.cfg.RetryConnect {
		return errors.Join(err, svc.Stop())
	}
	return nil
}

func (d *desk) endpoint(name, subject string, h func(micro.Request), opts ...micro.EndpointOpt) error {
	opts = append(opts, micro.WithEndpointSubject(subject), micro.WithEndpointPendingLimits(pendingMessages, pendingBytes))
	return d.svc.AddEndpoint(name, micro.HandlerFunc(h), opts...)
}

func (d *desk) announce(kind EventKind) {
	d.bus.publish(Event{Kind: kind, Scheme: d.op.scheme, Instance: d.id})
}

// ID is the instance id on the fabric.
func (d *desk) ID() string { return d.id }

// ServiceStats is a snapshot of a service.
type ServiceStats struct {
	State    string `json:"state"` // ready or draining
	Admitted int    `json:"admitted"`
	Workers  int    `json:"workers"`
	Queue    int    `json:"queue"`
	KID      string `json:"kid"`
}

// Stats returns how busy the service is; it is also the data of the STATS
// answer.
func (d *desk) Stats() ServiceStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := ServiceStats{State: "ready", Admitted: d.admitted, Workers: d.room.workers, Queue: d.room.queue, KID: d.kid}
	if d.stopping {
		out.State = "draining"
	}
	return out
}

// Stop takes the service off the fabric and waits for the requests in
// progress. Requests that arrive meanwhile are answered "busy". When the
// context ends first, the rest is cancelled, and the error says so. The
// connection stays open: Bus.Close drains it.
func (d *desk) Stop(ctx context.Context) error {
	d.mu.Lock()
	if d.stopping {
		d.mu.Unlock()
		<-d.stopped
		return nil
	}
	d.stopping = true
	d.mu.Unlock()
	defer close(d.stopped)
	d.announce(EventDrain)
	err := d.svc.Stop()
	idle := make(chan struct{})
	go func() {
		d.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("fabric: stop %s: %w", d.what, context.Cause(ctx)))
		d.end(errCancelled)
		select {
		case <-idle:
		case <-time.After(stopGrace): // a handler that does not obey its context
		}
	}
	d.end(nil)
	d.announce(EventStop)
	return err
}

// admit reserves a place for a body of n bytes.
func (d *desk) admit(n int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stopping || d.admitted >= d.room.workers+d.room.queue || d.bytes+n > queueBytes {
		return false
	}
	d.admitted++
	d.bytes += n
	d.wg.Add(1)
	return true
}

func (d *desk) release(n int) {
	d.mu.Lock()
	d.admitted--
	d.bytes -= n
	d.mu.Unlock()
	d.wg.Done()
}

// observe keeps a moving average of the time that a request takes.
func (d *desk) observe(t time.Duration) {
	old := d.mean.Load()
	d.mean.Store(old + (int64(t)-old)/8) // a lost update does not matter
}

// hint is when a place will probably be free.
func (d *desk) hint() time.Duration {
	return min(max(time.Duration(d.mean.Load()), 5*time.Millisecond), 2*time.Second)
}
