// SPDX-License-Identifier: Apache-2.0

// Package embed runs a NATS server inside the process: no client listener, no
// signal handlers, no files except a JetStream store that was asked for by
// name. Start returns when the server takes connections; Provider is what a
// fabric.Config wants as InProcess. Only package main links this package, so
// that a binary which only talks to an external NATS stays small.
//
// A server that is stopped and started again with the same Provider takes its
// old clients back: they reconnect through the Provider and find the new
// server with the old store.
package embed

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Bounds of a server (decision: the same numbers on every server of a path).
const (
	pingInterval  = 10 * time.Second
	maxPingsOut   = 2
	writeDeadline = 5 * time.Second
	maxConns      = 1024
	startTimeout  = 10 * time.Second
	// DefaultMaxMemory and DefaultMaxStore bound JetStream, in bytes; the
	// server's own defaults are 75 % of memory and the whole disk.
	DefaultMaxMemory int64 = 64 << 20
	DefaultMaxStore  int64 = 1 << 30
)

// Options configure an embedded server. The zero value is a server without
// JetStream, which is all that request and reply need.
type Options struct {
	// Name is stable and unique in a cluster; default "assize".
	Name string
	// JetStream makes streams and buckets available.
	JetStream bool
	// StoreDir is the folder of the JetStream store. It is mandatory with
	// JetStream, even with Memory: the server keeps its own state there.
	StoreDir string
	// Memory forbids file storage; only memory streams and buckets work, and
	// nothing is synced.
	Memory bool
	// MaxMemory and MaxStore bound JetStream in bytes; zero means the defaults.
	MaxMemory, MaxStore int64
	// ConfigFile is a native NATS server configuration (leaf remotes, accounts,
	// JetStream domain …). The fields that this package owns are forced after
	// it was read.
	ConfigFile string
	// Account of the in-process clients, as named in ConfigFile; default is
	// the global account.
	Account string
	// Logger receives the server's log; default discards it.
	Logger *slog.Logger
	// Provider is that of an earlier server whose clients should find this
	// one; nil makes a new one.
	Provider *Provider
}

// Server is a running embedded NATS server.
type Server struct {
	srv      *server.Server
	provider *Provider
	log      *logger
}

// Start runs a server and waits until it takes connections (at most 10 s).
// The caller must call Shutdown. A port of the configuration file that cannot
// be opened, or a store that cannot be read, is an error.
func Start(o Options) (*Server, error) {
	p := o.Provider
	if p == nil {
		var err error
		if p, err = newProvider(); err != nil {
			return nil, err
		}
	}
	so, err := serverOptions(o, p)
	if err != nil {
		return nil, err
	}
	srv, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("embed: %w", err)
	}
	s := &Server{srv: srv, provider: p, log: newLogger(o.Logger)}
	srv.SetLoggerV2(s.log, s.log.debug(), false, false)
	if err := s.run(); err != nil {
		s.stop()
		return nil, err
	}
	p.set(srv)
	return s, nil
}

// run starts the server. Start returns when start-up is complete or has been
// given up; the reason for that goes only to the logger.
func (s *Server) run() error {
	s.srv.Start()
	select {
	case why := <-s.log.fatal:
		return errors.New("embed: " + why)
	default:
	}
	if !s.srv.ReadyForConnections(startTimeout) {
		return errors.New("embed: server is not ready in time")
	}
	return nil
}

// serverOptions builds the server's options: the configuration file first, the
// hardening last.
func serverOptions(o Options, p *Provider) (*server.Options, error) {
	so := &server.Options{}
	if o.ConfigFile != "" {
		var err error
		if so, err = server.ProcessConfigFile(o.ConfigFile); err != nil {
			return nil, fmt.Errorf("embed: %w", err)
		}
	}
	if so.ServerName == "" || o.Name != "" {
		so.ServerName = o.Name
	}
	if so.ServerName == "" {
		so.ServerName = "assize"
	}
	so.DontListen, so.NoSigs, so.NoLog = true, true, true
	so.DisableJetStreamBanner = true
	so.MaxPayload = limits.FabricPayload
	so.PingInterval, so.MaxPingsOut = pingInterval, maxPingsOut
	so.WriteDeadline = writeDeadline
	if so.MaxConn == 0 {
		so.MaxConn = maxConns
	}
	user, err := inProcessUser(so, o.Account, p)
	if err != nil {
		return nil, err
	}
	so.Nkeys = append(so.Nkeys, user)
	return so, jetStreamOptions(so, o)
}

// inProcessUser is the one user without whom an in-process connection would be
// refused: they are exempt from TLS, not from authentication.
func inProcessUser(so *server.Options, account string, p *Provider) (*server.NkeyUser, error) {
	user := &server.NkeyUser{Nkey: p.NKey()}
	if account == "" {
		return user, nil
	}
	for _, a := range so.Accounts {
		if a.Name == account {
			user.Account = a
			return user, nil
		}
	}
	return nil, fmt.Errorf("embed: the server configuration has no account %q", account)
}

func jetStreamOptions(so *server.Options, o Options) error {
	so.JetStream = so.JetStream || o.JetStream
	if !so.JetStream {
		return nil
	}
	if o.StoreDir != "" {
		so.StoreDir = o.StoreDir
	}
	if so.StoreDir == "" {
		return errors.New("embed: JetStream wants an explicit store directory")
	}
	so.JetStreamMaxMemory, so.JetStreamMaxStore = DefaultMaxMemory, DefaultMaxStore
	if o.MaxMemory > 0 {
		so.JetStreamMaxMemory = o.MaxMemory
	}
	if o.MaxStore > 0 {
		so.JetStreamMaxStore = o.MaxStore
	}
	// An acknowledged write must be on disk: a spent nonce that is forgotten
	// could be spent again.
	so.SyncAlways = !o.Memory
	if o.Memory {
		so.JetStreamMaxStore = 1 // one byte: no file stream fits
	}
	return nil
}

// Provider gives in-process connections to whichever server runs now.
func (s *Server) Provider() *Provider { return s.provider }

// Ready reports whether the server answers a connection within the context's
// deadline (default one second) and JetStream, when asked for, is healthy.
func (s *Server) Ready(ctx context.Context) error {
	wait := time.Second
	if d, ok := ctx.Deadline(); ok {
		wait = time.Until(d)
	}
	if !s.srv.Running() || !s.srv.ReadyForConnections(wait) {
		return errors.New("embed: server is not running")
	}
	if !s.srv.JetStreamEnabled() {
		return nil
	}
	if h := s.srv.Healthz(&server.HealthzOptions{JSServerOnly: true}); h.StatusCode != 200 {
		return fmt.Errorf("embed: server is not healthy: %s", h.Error)
	}
	return nil
}

// Shutdown stops the server and waits for its goroutines, at most until the
// context ends. Drain the connections before: a server without a listener has
// no lame duck mode.
func (s *Server) Shutdown(ctx context.Context) error {
	s.provider.clear(s.srv)
	done := make(chan struct{})
	go func() {
		s.stop()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embed: shutdown: %w", context.Cause(ctx))
	}
}

func (s *Server) stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

var _ nats.InProcessConnProvider = (*Provider)(nil)
