// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go/micro"
)

// Appraiser answers one request with a signed result; *verifiers.Node is one.
// An error is a *verifiers.Refusal, or counts as internal.
type Appraiser interface {
	Appraise(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error)
}

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
	// stopGrace is how long Stop waits for cancelled appraisals.
	stopGrace = time.Second
)

// ServiceOptions describe one scheme to the fabric.
type ServiceOptions struct {
	Scheme   verifiers.Scheme
	KID      string
	Identity verdict.Identity
	// Vendor runs the verifier; default is Identity.Developer.
	Vendor string
	// Workers is the number of appraisals at a time; default 2×GOMAXPROCS.
	Workers int
	// Queue is how many more requests may wait; zero means DefaultQueue, a
	// negative number none.
	Queue int
	// Budget is the upper bound for one request; default DefaultBudget.
	Budget time.Duration
}

// Service is one scheme on the fabric.
type Service struct {
	bus       *Bus
	appraiser Appraiser
	o         ServiceOptions
	log       *slog.Logger
	svc       micro.Service
	id        string
	replays   *replays

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

// Serve offers one scheme as the micro service att-<scheme> and returns when
// requests can find it. Call Stop before Bus.Close.
func (b *Bus) Serve(a Appraiser, o ServiceOptions) (*Service, error) {
	if a == nil || !slug.MatchString(o.Scheme.Name) {
		return nil, errors.New("fabric: a service wants an appraiser and a scheme")
	}
	if o.Workers <= 0 {
		o.Workers = 2 * runtime.GOMAXPROCS(0)
	}
	if o.Queue == 0 {
		o.Queue = DefaultQueue
	}
	o.Queue = max(o.Queue, 0)
	if o.Budget <= 0 {
		o.Budget = DefaultBudget
	}
	if o.Vendor == "" {
		o.Vendor = o.Identity.Developer
	}
	s := &Service{
		bus: b, appraiser: a, o: o, log: b.log.With("scheme", o.Scheme.Name),
		replays: newReplays(2 * o.Budget), run: make(chan struct{}, o.Workers), stopped: make(chan struct{}),
	}
	s.base, s.end = context.WithCancelCause(context.Background())
	if err := s.register(); err != nil {
		s.end(nil)
		return nil, err
	}
	b.publish(Event{Kind: EventStart, Scheme: o.Scheme.Name, Instance: s.id})
	return s, nil
}

// register adds the micro service and its endpoints and flushes, so that a
// request which is sent after Serve returned finds a responder.
func (s *Service) register() error {
	svc, err := micro.AddService(s.bus.services, micro.Config{
		Name:         servicePrefix + s.o.Scheme.Name,
		Version:      s.o.Scheme.Version,
		Description:  "Appraises one component of scheme " + s.o.Scheme.Name,
		Metadata:     s.metadata(),
		StatsHandler: func(*micro.Endpoint) any { return s.Stats() },
	})
	if err != nil {
		return fmt.Errorf("fabric: serve %s: %w", s.o.Scheme.Name, err)
	}
	s.svc, s.id = svc, svc.Info().ID
	if err := s.endpoints(); err != nil {
		return errors.Join(fmt.Errorf("fabric: serve %s: %w", s.o.Scheme.Name, err), svc.Stop())
	}
	if err := s.bus.services.FlushTimeout(dialTimeout); err != nil && !s.bus.cfg.RetryConnect {
		return errors.Join(fmt.Errorf("fabric: serve %s: %w", s.o.Scheme.Name, err), svc.Stop())
	}
	return nil
}

func (s *Service) endpoints() error {
	scheme, site := s.o.Scheme.Name, s.bus.cfg.Site
	meta := s.endpointMetadata()
	add := func(name, subject string, h func(micro.Request), opts ...micro.EndpointOpt) error {
		opts = append(opts, micro.WithEndpointSubject(subject), micro.WithEndpointPendingLimits(pendingMessages, pendingBytes))
		return s.svc.AddEndpoint(name, micro.HandlerFunc(h), opts...)
	}
	withMeta := micro.WithEndpointMetadata(meta)
	group := micro.WithEndpointQueueGroup(queueGroup)
	// Cancel first: whoever can be asked can be cancelled.
	err := add(endpointCancel, s.bus.subj.cancel(scheme), s.onCancel, micro.WithEndpointQueueGroupDisabled())
	if err == nil {
		err = add(endpointAppraise, s.bus.subj.appraise(scheme, AnySite), s.onRequest, withMeta, group)
	}
	if err == nil && site != AnySite {
		err = add(endpointAppraiseAt, s.bus.subj.appraise(scheme, site), s.onRequest, withMeta, group)
	}
	return err
}

func (s *Service) metadata() map[string]string {
	return map[string]string{
		metaWire: Version[1:], metaVendor: s.o.Vendor, metaDeveloper: s.o.Identity.Developer,
		metaBuild: s.o.Identity.Build, metaSite: s.bus.cfg.Site, metaKID: s.o.KID, metaResult: ResultType,
	}
}

func (s *Service) endpointMetadata() map[string]string {
	// A JSON array: media types contain commas, quotes, "=" and ";".
	patterns := make([]string, len(s.o.Scheme.Accepts))
	for i, p := range s.o.Scheme.Accepts {
		patterns[i] = p.String()
	}
	accepts, _ := json.Marshal(patterns) // strings always marshal
	return map[string]string{
		metaAccepts:  string(accepts),
		metaMaxBytes: strconv.Itoa(s.o.Scheme.MaxEvidence),
		metaNonce:    strconv.Itoa(s.o.Scheme.NonceSize),
		metaBudget:   strconv.FormatInt(s.o.Budget.Milliseconds(), 10),
	}
}

// ID is the instance id on the fabric.
func (s *Service) ID() string { return s.id }

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
func (s *Service) Stats() ServiceStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := ServiceStats{State: "ready", Admitted: s.admitted, Workers: s.o.Workers, Queue: s.o.Queue, KID: s.o.KID}
	if s.stopping {
		out.State = "draining"
	}
	return out
}

// Stop takes the service off the fabric and waits for the appraisals in
// progress. Requests that arrive meanwhile are answered "busy". When the
// context ends first, the rest is cancelled, and the error says so. The
// connection stays open: Bus.Close drains it.
func (s *Service) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		<-s.stopped
		return nil
	}
	s.stopping = true
	s.mu.Unlock()
	defer close(s.stopped)
	event := Event{Kind: EventDrain, Scheme: s.o.Scheme.Name, Instance: s.id}
	s.bus.publish(event)
	err := s.svc.Stop()
	idle := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("fabric: stop %s: %w", s.o.Scheme.Name, context.Cause(ctx)))
		s.end(errCancelled)
		select {
		case <-idle:
		case <-time.After(stopGrace): // an appraiser that does not obey its context
		}
	}
	s.end(nil)
	event.Kind = EventStop
	s.bus.publish(event)
	return err
}
