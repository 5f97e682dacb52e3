// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/telemetry"
	"github.com/assize/assize/verifiers"
)

func newServe(g *globals) *cobra.Command {
	var listen, roots string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the service: HTTP API, NATS, local schemes",
		Long: `Serve runs the HTTP API with the local schemes behind it. With no configuration it
starts an embedded NATS server without a listener, listens on loopback, and keeps
generated keys in the state directory.`,
		Example: `  assize serve
  curl -s --data-binary @machine.cmw -H 'Content-Type: application/cmw+json' http://127.0.0.1:8080/v1/appraise`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			if listen != "" {
				c.Listen = listen
			}
			log, err := g.logger(cmd, slog.LevelInfo)
			if err != nil {
				return err
			}
			tel, err := telemetry.Start(cmd.Context(), c.Telemetry.ServiceName, version)
			if err != nil {
				return err
			}
			s, err := start(cmd.Context(), c, log, role{name: "serve", lead: true}, roots)
			if err != nil {
				return errors.Join(err, tel.Stop(cmd.Context()))
			}
			s.warn()
			err = serveHTTP(cmd.Context(), s, tel.Metrics)
			return errors.Join(err, s.close(cmd.Context()), tel.Stop(cmd.Context()))
		},
	}
	cmd.Flags().StringVar(&roots, "trust", "", "file of extra roots, for simulated machines; never in production")
	cmd.Flags().StringVar(&listen, "listen", "", "host:port of the HTTP API (default 127.0.0.1:8080)")
	return cmd
}

// warn names every default that is convenient and not for production.
func (s *stack) warn() {
	if s.config.Fabric.Mode == "embedded" {
		s.log.Warn("insecure default: verifiers run in this process and share its fate", "key", "fabric.mode")
	} else if s.config.Fabric.TLS.CA == "" && s.config.Fabric.Creds == "" && s.config.Fabric.NKey == "" {
		s.log.Warn("insecure default: the connection to NATS is neither authenticated nor pinned", "key", "fabric.tls")
	}
	s.log.Warn("insecure default: signing keys are files", "folder", s.keys.dir)
	if s.config.Topology == "lead" {
		s.log.Warn("insecure default: the topology asks for what was submitted, so a machine may leave parts out", "key", "topology")
	}
	if s.config.Fabric.Nonces == "off" {
		s.log.Warn("insecure setting: a nonce can be used more than once", "key", "fabric.nonces")
	}
	if host, _, err := net.SplitHostPort(s.config.Listen); err == nil {
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			switch tls := s.config.ListenTLS; {
			case tls.Cert == "":
				s.log.Warn("insecure setting: the HTTP API has neither TLS nor authentication and listens beyond loopback", "listen", s.config.Listen)
			case tls.ClientCA == "":
				s.log.Warn("insecure setting: the HTTP API answers everybody and listens beyond loopback", "key", "listen_tls.client_ca")
			}
		}
	}
}

// serveHTTP runs the API until the context ends, then lets requests finish.
func serveHTTP(ctx context.Context, s *stack, metrics http.Handler) error {
	corims, corimWrites, err := s.corimAPI()
	if err != nil {
		return err
	}
	distribution, err := s.coserv()
	if err != nil {
		return err
	}
	named, namedWrites, err := s.topologyAPI()
	if err != nil {
		return err
	}
	handler, err := api.New(api.Options{
		CoSERV: distribution,
		Corims: corims, CorimWrites: corimWrites, Topologies: named, TopologyWrites: namedWrites, Verdicts: s.verdicts(),
		Appraiser: s.lead, JWKS: s.own.JWKS, Ready: s.ready, Verifiers: s.list, Metrics: metrics, Logger: s.log,
		MaxBody: int64(evidenceLimits(s.config).Composite), InFlight: s.config.Limits.InFlight, Budget: s.config.Budget,
		Parallel: isParallel(s.config.Topology),
	})
	if err != nil {
		return err
	}
	ln, scheme, err := listenHTTP(ctx, s.config.Listen, s.config.ListenTLS)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler: traced(handler), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: s.config.Budget + 30*time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	s.log.Info("listening", "address", scheme+"://"+ln.Addr().String(), "schemes", schemeNames(s), "fabric", s.config.Fabric.Mode)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("http: %w", err)
	case <-ctx.Done():
	}
	s.log.Info("stopping")
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Budget+5*time.Second)
	defer cancel()
	err = srv.Shutdown(stop)
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// verdicts is for how long verdicts can be fetched again, nil for not at all.
func (s *stack) verdicts() *api.Verdicts {
	v := s.config.Verdicts
	if v.Store == "off" {
		return nil
	}
	return &api.Verdicts{Keep: v.Keep, Bytes: int64(v.MaxBytes), MaxAge: v.MaxAge, Random: rand.Reader, Clock: time.Now}
}

func schemeNames(s *stack) []string {
	if !s.serves() {
		return nil
	}
	var out []string
	for _, sc := range s.schemes.Schemes() {
		out = append(out, sc.Name)
	}
	return out
}

// list describes the verifiers that the lead knows of: those on the fabric, or,
// with the embedded server, those of this process.
func (s *stack) list() []api.Verifier {
	if s.directory == nil {
		return s.local
	}
	var out []api.Verifier
	for _, i := range s.directory.Instances() {
		out = append(out, api.Verifier{
			Scheme: i.Scheme, Developer: i.Developer, Build: i.Build, KID: i.KID, Site: i.Site, Accepts: i.Accepts,
			Trusted: s.trusted(i.KID, i.Scheme),
		})
	}
	return out
}

// describe is the entry of one scheme of this process.
func (s *stack) describe(sc verifiers.Scheme, kid string) api.Verifier {
	v := api.Verifier{
		Scheme: sc.Name, Developer: s.identityOf(sc.Name).Developer, Build: s.identityOf(sc.Name).Build, KID: kid,
		Site: s.config.Fabric.Site, Trusted: s.trusted(kid, sc.Name),
	}
	for _, p := range sc.Accepts {
		v.Accepts = append(v.Accepts, p.String())
	}
	return v
}
