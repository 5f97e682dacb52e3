// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/internal/limits"
)

func newCorim(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "corim",
		Short: "Add, list, show, check and remove reference values",
		Long: `Corim keeps the documents with reference values (CoRIM) that a service compares
evidence with, in the store that the configuration names: a folder of the state
directory, or the bucket ATT_CORIM of an external NATS. A service that runs sees
every change within seconds.`,
		Example: "  assize corim verify release-7.corim --trust authorities.json\n  assize corim add release-7.corim\n  assize corim list",
		Args: func(*cobra.Command, []string) error {
			return usage("corim wants a sub-command: add, list, show, verify, rm or query")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newCorimAdd(g), newCorimList(g), newCorimShow(g), newCorimVerify(g), newCorimRm(g), newCorimQuery())
	cmd.AddCommand(newCorimFromEvidence(), newCorimSign())
	return cmd
}

// corimWait bounds what a command waits for the store.
const corimWait = 15 * time.Second

// withCorims runs f on the store of the configuration.
func withCorims(cmd *cobra.Command, g *globals, f func(ctx context.Context, s *store.Store) error) (err error) {
	c, err := g.load()
	if err != nil {
		return err
	}
	switch {
	case c.Corim.Store == "off":
		return errors.New("corim.store is off: there are no reference values")
	case c.Corim.Store == "jetstream" && c.Fabric.Mode == "embedded":
		return errors.New("corim.store is jetstream with the embedded server, which only its own process reaches: use the HTTP API of the service (/v1/corims), or corim.store folder")
	}
	log, err := g.logger(cmd, slog.LevelError)
	if err != nil {
		return err
	}
	s := &stack{config: c, log: log}
	ctx, cancel := context.WithTimeout(cmd.Context(), corimWait)
	defer cancel()
	defer func() { err = errors.Join(err, s.close(cmd.Context())) }()
	if c.Corim.Store == "jetstream" {
		if err := s.connect(ctx, role{name: "corim", oneShot: true}); err != nil {
			return err
		}
	}
	if err := s.openCorimStore(); err != nil {
		return err
	}
	if err := s.corims.Ready(ctx); err != nil {
		return err
	}
	return f(ctx, s.corims)
}

func newCorimAdd(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add FILE…",
		Short: "Add documents",
		Long: `Add verifies documents with the authorities of the configuration (corim.trust) and
writes them to the store. If one of them is not to be believed, none is written.
When it returns, the documents are on disk.
Exit status is 0, or 1 when a document was refused or not written.`,
		Example: "  assize corim add release-7.corim\n  curl -s https://vendor.example/nic.corim | assize corim add -",
		Args:    some("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withCorims(cmd, g, func(ctx context.Context, s *store.Store) error {
				var list [][]byte
				var refused []error
				for _, name := range args {
					raw, err := readInput(cmd, name, limits.CorimDocument)
					if err == nil {
						_, err = s.Check(raw)
					}
					if err != nil {
						refused = append(refused, fmt.Errorf("%s: %w", name, err))
					}
					list = append(list, raw)
				}
				if err := errors.Join(refused...); err != nil {
					return err
				}
				var out []api.Corim
				for i, raw := range list {
					in, err := s.Add(ctx, raw)
					if err != nil {
						return errors.Join(fmt.Errorf("%s, and what follows it, was not added: %w", args[i], err), printCorims(cmd.OutOrStdout(), out, asJSON))
					}
					out = append(out, api.DescribeCorim(in, time.Now()))
				}
				return printCorims(cmd.OutOrStdout(), out, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newCorimList(g *globals) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the documents of the store",
		Long: `List prints the documents of the store: whether they count, who has signed them,
when they hold, and for those that do not count why. The authorities are those of
the configuration of this command.`,
		Example: "  assize corim list\n  assize corim list --json | jq '.corims[] | select(.status == \"bad\")'",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withCorims(cmd, g, func(_ context.Context, s *store.Store) error {
				now := time.Now()
				list := api.DescribeCorims(s.State(now), now)
				if asJSON {
					return printJSON(cmd.OutOrStdout(), list)
				}
				if err := printCorims(cmd.OutOrStdout(), list.Corims, false); err != nil {
					return err
				}
				for _, c := range list.Conflicts {
					fmt.Fprintln(cmd.OutOrStdout(), "conflict:", plain(c))
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d documents, revision %s\n", len(list.Corims), list.Revision)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newCorimShow(g *globals) *cobra.Command {
	var asJSON, raw bool
	cmd := &cobra.Command{
		Use:   "show ID|FILE",
		Short: "Show what a document says",
		Long: `Show prints what is in a document of the store, by its identifier or the beginning
of one, or in a file. What is in a file is only shown, not checked: see corim
verify. With --raw it writes the document as it was received.`,
		Example: "  assize corim show 5f1d20\n  assize corim show 5f1d20 --raw > copy.corim\n  assize corim show release-7.corim --json",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			show := func(d *corim.Document, in *api.Corim, bytes []byte) error {
				if raw {
					_, err := cmd.OutOrStdout().Write(bytes)
					return err
				}
				return showCorim(cmd.OutOrStdout(), d, in, asJSON)
			}
			if info, err := os.Stat(args[0]); args[0] == "-" || err == nil && info.Mode().IsRegular() {
				bytes, err := readInput(cmd, args[0], limits.CorimDocument)
				if err != nil {
					return err
				}
				d, err := corim.Parse(bytes)
				if err != nil {
					return fmt.Errorf("%s: %w", args[0], err)
				}
				return show(d, nil, bytes)
			}
			return withCorims(cmd, g, func(_ context.Context, s *store.Store) error {
				key, err := corimKey(s, args[0])
				if err != nil {
					return err
				}
				in, bytes, err := s.Get(key)
				if err != nil {
					return err
				}
				described := api.DescribeCorim(in, time.Now())
				d := in.Document
				if d == nil && !raw {
					if d, err = corim.Parse(bytes); err != nil {
						return fmt.Errorf("%s: %w", key, err)
					}
				}
				return show(d, &described, bytes)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the document as it was received")
	return cmd
}

func newCorimRm(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "rm ID…",
		Short: "Remove documents from the store",
		Long: `Rm removes documents, by their identifiers or the beginnings of them. Services that
use the store stop using them within seconds. A document that is in the folder
corim.import comes back with the next start.`,
		Example: "  assize corim rm 5f1d20",
		Args:    some("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withCorims(cmd, g, func(ctx context.Context, s *store.Store) error {
				var keys []string
				for _, a := range args {
					key, err := corimKey(s, a)
					if err != nil {
						return err
					}
					keys = append(keys, key)
				}
				for _, key := range keys {
					if err := s.Remove(ctx, key); err != nil {
						return err
					}
					fmt.Fprintln(cmd.OutOrStdout(), plain(key), "removed")
				}
				return nil
			})
		},
	}
}

// corimKey finds the one entry whose name begins with prefix, of at least six
// characters unless it is the whole name.
func corimKey(s *store.Store, prefix string) (string, error) {
	var found []string
	for _, in := range s.State(time.Now()).Documents {
		switch {
		case in.Key == prefix:
			return prefix, nil
		case len(prefix) >= 6 && strings.HasPrefix(in.Key, prefix):
			found = append(found, in.Key)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return "", fmt.Errorf("%d documents begin with %s", len(found), prefix)
	}
	return "", fmt.Errorf("%q: %w (at least six digits of its identifier are wanted)", prefix, store.ErrUnknown)
}

// some wants at least one argument.
func some(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("%s wants at least one %s, see %s --help", cmd.CommandPath(), what, cmd.CommandPath())
		}
		return nil
	}
}
