// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// Config says how a process joins the fabric. Secrets are given as files only.
type Config struct {
	// Name is <binary>/<role>/<instance>; it appears in server statistics.
	Name string
	// Tenant is the tenant token of all subjects; default "local".
	Tenant string
	// Site is the slug of the place where this process runs, or "any", the
	// default.
	Site string
	// URLs of the servers; ignored when InProcess is given.
	URLs []string
	// CredsFile holds a user JWT and its seed, NKeyFile a user seed.
	CredsFile, NKeyFile string
	// CAFile, CertFile and KeyFile (PEM) make TLS 1.3 mandatory. They are read
	// again for every connection attempt.
	CAFile, CertFile, KeyFile string
	// TLSFirst does the TLS handshake before the protocol; the server must be
	// configured for it.
	TLSFirst bool
	// InboxPrefix is the prefix of reply subjects; per user, so that no other
	// user may read the answers.
	InboxPrefix string
	// InProcess reaches an embedded server (package embed).
	InProcess nats.InProcessConnProvider
	// Logger, default none.
	Logger *slog.Logger
	// RetryConnect lets Connect succeed while no server is reachable; Ready
	// then fails until one is.
	RetryConnect bool
	// Tracer and Meter default to the global providers.
	Tracer trace.TracerProvider
	Meter  metric.MeterProvider
}

// Bus is a process's part of the fabric: three connections, so that bulk data
// never delays requests and requests never delay services. It is safe for
// concurrent use.
type Bus struct {
	cfg       Config
	subj      subjects
	log       *slog.Logger
	telemetry *telemetry

	requests *nats.Conn // appraisal requests and their answers
	services *nats.Conn // micro services
	bulk     *nats.Conn // discovery, events, JetStream
	link     *link

	closed atomic.Bool // a connection has given up or Close was called
	gone   sync.WaitGroup
}

// Connect opens the connections. The context bounds the dialling. Every error
// of the configuration is found here.
func Connect(ctx context.Context, c Config) (*Bus, error) {
	b, err := newBus(c)
	if err != nil {
		return nil, err
	}
	for _, conn := range []struct {
		role string
		nc   **nats.Conn
		opts []nats.Option
	}{
		{"requests", &b.requests, []nats.Option{
			nats.ReconnectBufSize(-1), nats.FlusherTimeout(5 * time.Second), nats.ReconnectOnFlusherError(),
		}},
		{"services", &b.services, nil},
		{"bulk", &b.bulk, []nats.Option{nats.ReconnectBufSize(-1), nats.NoEcho()}},
	} {
		if *conn.nc, err = b.dial(ctx, conn.role, conn.opts); err != nil {
			b.abandon()
			return nil, err
		}
	}
	b.link = newLink(b.requests)
	// The link exists only now; until here no request can be in flight.
	b.requests.SetErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
		b.link.asyncError(err)
		b.asyncError("requests", sub, err)
	})
	return b, nil
}

func newBus(c Config) (*Bus, error) {
	if c.Tenant == "" {
		c.Tenant = DefaultTenant
	}
	if c.Site == "" {
		c.Site = AnySite
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case !tenantToken.MatchString(c.Tenant):
		return nil, fmt.Errorf("fabric: %q is not a tenant ([A-Za-z0-9_-]{1,64})", c.Tenant)
	case !slug.MatchString(c.Site):
		return nil, fmt.Errorf("fabric: %q is not a site ([a-z0-9-]{1,32})", c.Site)
	case c.Name == "":
		return nil, errors.New("fabric: a connection wants a name")
	case c.InProcess == nil && len(c.URLs) == 0:
		return nil, errors.New("fabric: neither an embedded server nor a URL is given")
	case (c.CertFile == "") != (c.KeyFile == ""):
		return nil, errors.New("fabric: a client certificate and its key come together")
	}
	t, err := newTelemetry(c.Tracer, c.Meter)
	if err != nil {
		return nil, err
	}
	return &Bus{cfg: c, subj: subjects{c.Tenant}, log: c.Logger, telemetry: t}, nil
}

func (b *Bus) dial(ctx context.Context, role string, extra []nats.Option) (*nats.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("fabric: connect: %w", err)
	}
	opts, err := b.options(ctx, role)
	if err != nil {
		return nil, err
	}
	b.gone.Add(1) // ClosedHandler: once per connection that was made
	nc, err := nats.Connect(strings.Join(b.cfg.URLs, ","), append(opts, extra...)...)
	if err != nil {
		b.gone.Done()
		return nil, fmt.Errorf("fabric: connect (%s): %w", role, err)
	}
	return nc, nil
}

// abandon closes what a failed Connect has opened.
func (b *Bus) abandon() {
	b.closed.Store(true)
	for _, nc := range b.conns() {
		nc.Close()
	}
	b.gone.Wait()
}

func (b *Bus) conns() []*nats.Conn {
	var out []*nats.Conn
	for _, nc := range []*nats.Conn{b.services, b.requests, b.bulk} {
		if nc != nil {
			out = append(out, nc)
		}
	}
	return out
}

// Ready reports whether all connections are up and their servers answer within
// the context's deadline (at most two seconds).
func (b *Bus) Ready(ctx context.Context) error {
	if b.closed.Load() {
		return errors.New("fabric: closed")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, nc := range b.conns() {
		if !nc.IsConnected() {
			return fmt.Errorf("fabric: %s is %s", nc.Opts.Name, strings.ToLower(nc.Status().String()))
		}
		if err := nc.FlushWithContext(ctx); err != nil {
			return fmt.Errorf("fabric: %s does not answer: %w", nc.Opts.Name, err)
		}
	}
	return nil
}

// Close drains the connections and waits until they are closed, at most until
// the context ends; then they are cut. Stop services and directories before.
func (b *Bus) Close(ctx context.Context) error {
	b.closed.Store(true)
	for _, nc := range b.conns() {
		if err := nc.Drain(); err != nil {
			nc.Close()
		}
	}
	done := make(chan struct{})
	go func() {
		b.gone.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("fabric: close: %w", context.Cause(ctx))
		for _, nc := range b.conns() {
			nc.Close()
		}
		<-done
	}
	b.link.stop()
	return err
}

// Site is the site of this process.
func (b *Bus) Site() string { return b.cfg.Site }

// Tenant is the tenant token of this process.
func (b *Bus) Tenant() string { return b.cfg.Tenant }
