// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// Timing of connections. Pings find a dead link in 20 to 30 s instead of the
// library's minutes; request deadlines find it earlier.
const (
	dialTimeout   = 5 * time.Second
	pingInterval  = 10 * time.Second
	maxPingsOut   = 2
	reconnectWait = 250 * time.Millisecond
	drainTimeout  = DefaultBudget + 5*time.Second
)

// inProcessKey is what a provider of in-process connections offers when its
// server wants a login.
type inProcessKey interface {
	NKey() string
	SignNonce(nonce []byte) ([]byte, error)
}

// options are the options of every connection. All handlers are set here,
// because micro services chain themselves to what they find.
func (b *Bus) options(ctx context.Context, role string) ([]nats.Option, error) {
	dial := dialTimeout
	if d, ok := ctx.Deadline(); ok && !b.cfg.RetryConnect {
		dial = min(dial, max(time.Until(d), time.Millisecond))
	}
	opts := []nats.Option{
		nats.Name(b.cfg.Name + "/" + role),
		nats.Timeout(dial),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(reconnectWait),
		nats.ReconnectJitter(100*time.Millisecond, time.Second),
		nats.RetryOnFailedConnect(b.cfg.RetryConnect),
		nats.PingInterval(pingInterval),
		nats.MaxPingsOutstanding(maxPingsOut),
		nats.DrainTimeout(drainTimeout),
		nats.IgnoreAuthErrorAbort(),
		nats.PermissionErrOnSubscribe(true),
	}
	if b.cfg.InboxPrefix != "" {
		opts = append(opts, nats.CustomInboxPrefix(b.cfg.InboxPrefix))
	}
	opts = append(opts, b.handlers(role)...)
	secrets, err := b.secrets()
	if err != nil {
		return nil, err
	}
	return append(opts, secrets...), nil
}

func (b *Bus) handlers(role string) []nats.Option {
	log := b.log.With("connection", role)
	return []nats.Option{
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) { b.asyncError(role, sub, err) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if !b.closed.Load() {
				log.Warn("disconnected", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) { log.Info("reconnected", "server", nc.ConnectedServerName()) }),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { log.Debug("reconnect failed", "error", err) }),
		nats.LameDuckModeHandler(func(*nats.Conn) { log.Info("server goes away") }),
		nats.ClosedHandler(func(*nats.Conn) {
			if !b.closed.Swap(true) {
				log.Error("connection closed for good")
			}
			b.gone.Done()
		}),
	}
}

// asyncError reports what exists nowhere else: permission errors and slow
// consumers.
func (b *Bus) asyncError(role string, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		b.log.Error("fabric permission denied", "connection", role, "error", err, "security", true)
	case errors.Is(err, nats.ErrSlowConsumer):
		b.log.Error("fabric slow consumer: messages are lost", "connection", role, "subject", subject)
	default:
		b.log.Warn("fabric error", "connection", role, "subject", subject, "error", err)
	}
}

// secrets are the options that authenticate: how to reach the server, and who
// we are.
func (b *Bus) secrets() ([]nats.Option, error) {
	c := b.cfg
	var opts []nats.Option
	if c.CredsFile != "" {
		opts = append(opts, nats.UserCredentials(c.CredsFile))
	}
	if c.NKeyFile != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKeyFile)
		if err != nil {
			return nil, fmt.Errorf("fabric: nkey file: %w", err)
		}
		opts = append(opts, o)
	}
	if c.InProcess != nil {
		if k, ok := c.InProcess.(inProcessKey); ok && c.CredsFile == "" && c.NKeyFile == "" {
			opts = append(opts, nats.Nkey(k.NKey(), k.SignNonce))
		}
		return append(opts, nats.InProcessServer(c.InProcess)), nil
	}
	if c.CAFile != "" || c.CertFile != "" {
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS13}))
	}
	if c.CAFile != "" {
		opts = append(opts, nats.RootCAs(c.CAFile))
	}
	if c.CertFile != "" {
		opts = append(opts, nats.ClientCert(c.CertFile, c.KeyFile))
	}
	if c.TLSFirst {
		opts = append(opts, nats.TLSHandshakeFirst())
	}
	return opts, nil
}
