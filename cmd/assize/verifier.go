// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/assize/assize/cmd/assize/internal/telemetry"
)

func newVerifier(g *globals) *cobra.Command {
	var schemes, urls []string
	var site, roots string
	cmd := &cobra.Command{
		Use:   "verifier --schemes NAME,…",
		Short: "Run a component verifier that joins an external NATS",
		Long: `Verifier runs schemes as component verifiers on an external NATS and nothing else.
The lead must hold their public keys: "assize keys jwks --only NAME" prints them,
and the lead's configuration names the file under "trust".

With node.peers in its configuration it answers signed requests of those nodes
only ("assize keys node" at the lead prints the file), unless node.callers is any.
With node.name, which is then its site as well, it is a node that leads can name
as a peer: print its file with "assize keys node", and they seal requests to it.
Processes that share a name share the keys node and node-seal of one state_dir.

With nras.schemes in its configuration NVIDIA's Remote Attestation Service appraises
those schemes, and this process checks and signs what it says; give such a process a
site of its own (docs/nras.md).`,
		Example: "  assize verifier --schemes intel-tdx,nvidia-gpu --nats nats://127.0.0.1:4222",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			if len(schemes) > 0 {
				c.Schemes = schemes
			}
			if len(urls) > 0 {
				c.Fabric.Mode, c.Fabric.URLs = "external", urls
			}
			if site != "" {
				c.Fabric.Site = site
			}
			if c.Fabric.Mode != "external" {
				return usage("verifier joins an external NATS: set fabric.urls or --nats")
			}
			log, err := g.logger(cmd, slog.LevelInfo)
			if err != nil {
				return err
			}
			tel, err := telemetry.Start(cmd.Context(), c.Telemetry.ServiceName, version)
			if err != nil {
				return err
			}
			s, err := start(cmd.Context(), c, log, role{name: "verifier"}, roots)
			if err != nil {
				return errors.Join(err, tel.Stop(cmd.Context()))
			}
			log.Info("serving", "schemes", schemeNames(s), "site", c.Fabric.Site)
			<-cmd.Context().Done()
			log.Info("stopping")
			return errors.Join(s.close(cmd.Context()), tel.Stop(cmd.Context()))
		},
	}
	cmd.Flags().StringSliceVar(&schemes, "schemes", nil, "schemes to serve (default: those of the configuration, else all)")
	cmd.Flags().StringSliceVar(&urls, "nats", nil, "URLs of the NATS servers (default: fabric.urls)")
	cmd.Flags().StringVar(&roots, "trust", "", "file of extra roots, for simulated machines; never in production")
	cmd.Flags().StringVar(&site, "site", "", "site of this verifier (default: fabric.site)")
	return cmd
}
