// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/audit/file"
	"github.com/assize/assize/trust"
)

func newAudit(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		Short:   "Check, show and export the records of what a node did",
		Example: "  assize audit verify ~/.local/state/assize/audit/serve --keys jwks.json",
		Args: func(*cobra.Command, []string) error {
			return usage("audit wants a sub-command: verify, show or export")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newAuditVerify(g), newAuditShow(), newAuditExport(g))
	return cmd
}

func newAuditVerify(g *globals) *cobra.Command {
	var keys, kept []string
	var part, asJSON bool
	cmd := &cobra.Command{
		Use:   "verify FILE|DIR",
		Short: "Check the chain and the signatures of a log",
		Long: `Verify reads the records in a file, in the files of a folder, or, for "-", on
standard input, and checks their form, order, chain, times and checkpoints. It
names the first record that cannot be right. The keys are those of leads and
nodes in JWK sets (assize keys jwks); without --keys that of this state directory.

A log whose end was cut off, or that was put back to an older state, is in itself
in order. --kept names a file with a checkpoint that was kept elsewhere, such as
from the operator's log: the log has to have what it signs.
Exit status is 0, or 1 when the log is not as it was written.`,
		Example: `  assize audit verify ~/.local/state/assize/audit/serve
  assize audit verify exported.jsonl --keys jwks.json --kept checkpoint.jws`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "keys", "kept"); err != nil {
				return err
			}
			anchors, err := auditKeys(cmd, g, keys)
			if err != nil {
				return err
			}
			o := audit.CheckOptions{Part: part}
			for _, name := range kept {
				raw, err := readInput(cmd, name, 16<<10)
				if err != nil {
					return err
				}
				o.Kept = append(o.Kept, string(bytes.TrimSpace(raw)))
			}
			in, err := auditInput(cmd, args[0])
			if err != nil {
				return err
			}
			rep, err := audit.Check(in, anchors, o)
			if err = errors.Join(err, in.Close()); err != nil {
				return err
			}
			return printAudit(cmd.OutOrStdout(), rep, asJSON)
		},
	}
	cmd.Flags().StringArrayVar(&keys, "keys", nil, "JWK set with the keys of leads and nodes (repeatable; default: the lead's key of this state directory)")
	cmd.Flags().StringArrayVar(&kept, "kept", nil, "file with a checkpoint that was kept elsewhere (repeatable)")
	cmd.Flags().BoolVar(&part, "part", false, "the oldest records may be missing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return cmd
}

// auditKeys reads JWK sets, or the lead's own key. It generates none: a log
// cannot be by a key that does not exist yet.
func auditKeys(cmd *cobra.Command, g *globals, files []string) (*trust.Anchors, error) {
	if len(files) > 0 {
		sets, err := readAnchors(cmd, files)
		if err != nil {
			return nil, err
		}
		return trust.Merge(sets...)
	}
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	s, err := newKeystore(c.StateDir).read(leadKey)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage("audit verify wants --keys FILE: there is no lead's key in %s", c.StateDir)
	case err != nil:
		return nil, err
	}
	return trust.NewAnchors(anchor(leadKey, s))
}

func auditInput(cmd *cobra.Command, name string) (io.ReadCloser, error) {
	if name == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	return file.Reader(name)
}

func printAudit(out io.Writer, rep audit.Report, asJSON bool) error {
	if asJSON {
		raw, err := json.MarshalIndent(struct {
			audit.Report
			First uint64 `json:"first"`
			Last  uint64 `json:"last"`
			From  string `json:"from"`
			To    string `json:"to"`
		}{rep, rep.First, rep.Last, rep.From.Format(time.RFC3339Nano), rep.To.Format(time.RFC3339Nano)}, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", raw)
		return err
	}
	fmt.Fprintf(out, "verified: log %s, records %d to %d, %s to %s\n", rep.Log, rep.First, rep.Last, rep.From.Format(time.RFC3339), rep.To.Format(time.RFC3339))
	fmt.Fprintf(out, "%d checkpoints, signed by %s\n", rep.Checkpoints, strings.Join(rep.Signers, ", "))
	fmt.Fprintf(out, "signed up to record %d", rep.Covered)
	if rep.Open > 0 {
		fmt.Fprintf(out, "; the %d behind it rest on the chain alone: they could be cut off or changed", rep.Open)
	}
	fmt.Fprintln(out)
	if !rep.Closed {
		fmt.Fprintln(out, "the log was not ended in order: the node runs, was killed, or the end is missing")
	}
	if rep.Torn > 0 {
		fmt.Fprintf(out, "%d bytes of unfinished records were cut off when the node started again\n", rep.Torn)
	}
	return nil
}

func newAuditShow() *cobra.Command {
	var session string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show FILE|DIR",
		Short: "Print records, all or those of one session",
		Long: `Show prints the records in a file, in the files of a folder, or, for "-", on
standard input. It checks their form and nothing else: see audit verify. The
records of one session at all nodes together say who was asked what, by whom and
with which result.`,
		Example: `  assize audit show ~/.local/state/assize/audit/serve --session 0f9c3c1d8e0b4f6a9f2b7c5d4e3a2b10
  assize audit show exported.jsonl --json | jq 'select(.kind == "relay-refused")'`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "session"); err != nil {
				return err
			}
			in, err := auditInput(cmd, args[0])
			if err != nil {
				return err
			}
			return errors.Join(showAudit(cmd.OutOrStdout(), in, session, asJSON), in.Close())
		},
	}
	cmd.Flags().StringVar(&session, "session", "", "print only the records of this session")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the records as they are, one a line")
	return cmd
}

func showAudit(out io.Writer, in io.Reader, session string, asJSON bool) error {
	shown := 0
	for l, err := range audit.Lines(in) {
		if err != nil {
			return err
		}
		if session != "" && l.Record.Session != session {
			continue
		}
		shown++
		if asJSON {
			if _, err := fmt.Fprintf(out, "%s\n", l.Raw); err != nil {
				return err
			}
			continue
		}
		printRecord(out, l.Record)
	}
	if session != "" && shown == 0 {
		return fmt.Errorf("there is no record of session %q", session)
	}
	return nil
}

// printRecord prints one record for people. Texts from outside are quoted.
func printRecord(out io.Writer, r *audit.Record) {
	fmt.Fprintf(out, "%d  %s  %s", r.Seq, r.Time, r.Kind)
	for _, f := range [][2]string{{"session", r.Session}, {"tier", r.Tier}, {"error", r.Error}, {"topology", r.Topology}, {"reasons", strings.Join(r.Reasons, " ")}, {"verdict", string(r.Verdict)}} {
		if f[1] != "" {
			fmt.Fprintf(out, "  %s %s", f[0], plain(f[1]))
		}
	}
	fmt.Fprintln(out)
	if in := r.Received; in != nil {
		fmt.Fprintf(out, "    from %s  %s  %s  %s\n", plain(or(in.Node, "nobody known")), plain(or(in.ID, "-")), plain(or(in.Expr, "-")), plain(or(in.Error, "answered")))
	}
	for _, h := range r.Handed {
		fmt.Fprintf(out, "    to %s  %s  %s  %s\n", plain(h.Node), plain(h.ID), plain(h.Expr), plain(or(h.Error, "answered")))
	}
	for _, c := range r.Components {
		where := strings.Join(c.At, " ")
		if c.Relay != "" {
			where += " through " + c.Relay
		}
		fmt.Fprintf(out, "    %s  %s  %s  %s  %s\n", plain(c.Label), c.Tier, plain(or(c.Scheme, "-")), plain(or(where, "nobody asked")), plain(strings.Join(c.Reasons, " ")))
	}
}

// plain quotes a text that has anything but printable ASCII in it.
func plain(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return fmt.Sprintf("%q", s)
	}
	return s
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

func newAuditExport(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the records of this node's service as lines",
		Long: `Export prints the records that the service with this configuration has written, as
they are, from its files or from JetStream (audit.store). With the embedded server
the stream can be read only while the service does not run.`,
		Example: "  assize audit export --config entry.yaml | ssh auditor 'assize audit verify - --keys jwks.json'",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			log, err := g.logger(cmd, slog.LevelWarn)
			if err != nil {
				return err
			}
			s := &stack{config: c, log: log}
			r := role{name: "serve", lead: true}
			switch s.auditStore(r) {
			case "off":
				return errors.New("audit.store is off: there are no records")
			case "file":
				in, err := file.Reader(auditDir(c.StateDir, r.name))
				if err != nil {
					return err
				}
				_, err = io.Copy(cmd.OutOrStdout(), in)
				return errors.Join(err, in.Close())
			}
			if err := s.connect(cmd.Context(), r); err != nil {
				return errors.Join(err, s.close(cmd.Context()))
			}
			st, err := s.auditStream(cmd.Context())
			if err == nil {
				err = st.Export(cmd.Context(), cmd.OutOrStdout())
			}
			return errors.Join(err, s.close(cmd.Context()))
		},
	}
	return cmd
}
