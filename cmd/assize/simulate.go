// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/ratsd"
)

// simulateFlags are the flags of "assize simulate".
type simulateFlags struct {
	machine, nonce, format, seed, at, output, listen string
	faults                                           []string
	serve                                            bool
}

func newSimulate(g *globals) *cobra.Command {
	f := &simulateFlags{}
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Make composite evidence from a simulated machine",
		Long: `Simulate makes the evidence of a machine that does not exist, of the layout of real
ones, honest or with faults, under test authorities that no verifier trusts unless
it is given their roots with --trust.

With -o DIR it writes evidence.cmw, trust.json, corim-trust.json, and the folders
endorsements and reference-values; without it the evidence alone goes to standard
output. The same machine, seed, time, nonce and format give the same bytes.

With --serve it offers the HTTP API of Veraison's ratsd instead.

Machines: ` + strings.Join(attester.BuiltIns(), ", ") + `, or a YAML file (schemas/machine.schema.json).
CPU TEEs of machine files: ` + words(attester.CPUKinds()) + `.
Faults, as LABEL:KIND: ` + words(attester.FaultKinds()) + `.`,
		Example: `  assize simulate --machine hgx --nonce 00112233445566778899aabbccddeeff -o hgx
  assize appraise hgx/evidence.cmw --nonce 00112233445566778899aabbccddeeff \
      --trust hgx/trust.json --endorsements hgx/endorsements --corim hgx --corim-trust hgx/corim-trust.json
  assize simulate --machine cpu-gpu --fault gpu/0:foreign-machine -o bad
  assize simulate --machine cpu-gpu --serve --listen 127.0.0.1:8895 -o served`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := notEmpty(cmd, "machine", "nonce", "format", "seed", "at", "output", "listen", "fault"); err != nil {
				return err
			}
			return runSimulate(cmd, g, f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.machine, "machine", "cpu-gpu", "name of a machine, or file that describes one")
	fl.StringVar(&f.nonce, "nonce", "", "session nonce, 8 to 64 bytes (hex, base64 or base64url; default: random)")
	fl.StringVar(&f.format, "format", string(attester.JSON), words(attester.Formats()))
	fl.StringArrayVar(&f.faults, "fault", nil, "LABEL:KIND: something that is wrong with a part (repeatable)")
	fl.StringVar(&f.seed, "seed", "", "makes another machine of the same description")
	fl.StringVar(&f.at, "at", "", "time at which the evidence is made (RFC 3339, default now)")
	fl.StringVarP(&f.output, "output", "o", "", "folder to write to, made if it is not there")
	fl.BoolVar(&f.serve, "serve", false, "offer ratsd's HTTP API until interrupted")
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8895", "host:port for --serve")
	return cmd
}

func words[T ~string](list []T) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return strings.Join(out, ", ")
}

func runSimulate(cmd *cobra.Command, g *globals, f *simulateFlags) error {
	if f.serve && f.nonce != "" {
		return usage("--nonce and --serve: the client of --serve names the nonce")
	}
	if !slices.Contains(attester.Formats(), attester.Format(f.format)) {
		return usage("--format %q: want one of %s", f.format, words(attester.Formats()))
	}
	m, err := f.make()
	if err != nil {
		return err
	}
	if f.serve {
		return serveRatsd(cmd, g, f, m)
	}
	nonce := make([]byte, 32)
	if f.nonce == "" {
		_, err = rand.Read(nonce)
	} else if nonce, err = api.DecodeNonce(f.nonce); err != nil {
		return usage("--nonce: %w", err)
	}
	if err != nil {
		return err
	}
	raw, delay, err := m.Evidence(nonce, attester.Format(f.format))
	if err != nil {
		return err
	}
	select { // the fault "slow"
	case <-time.After(delay):
	case <-cmd.Context().Done():
		return cmd.Context().Err()
	}
	if f.output == "" {
		_, err := cmd.OutOrStdout().Write(raw)
		return err
	}
	if err := writeMachine(f.output, m, map[string][]byte{"evidence.cmw": raw}); err != nil {
		return err
	}
	return f.summary(cmd, m, nonce)
}

// make builds the machine that the flags describe.
func (f *simulateFlags) make() (*attester.Machine, error) {
	o := attester.Options{Seed: f.seed, Now: time.Now().Truncate(time.Second)}
	var known bool
	if o.Machine, known = attester.BuiltIn(f.machine); !known {
		raw, err := readFile(f.machine, 1<<20)
		if errors.Is(err, os.ErrNotExist) {
			return nil, usage("--machine %q is no file and none of %s", f.machine, strings.Join(attester.BuiltIns(), ", "))
		}
		if err == nil {
			o.Machine, err = attester.ParseDescription(raw)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, text := range f.faults {
		fault, err := attester.ParseFault(text)
		if err != nil {
			return nil, usage("--fault: %w", err)
		}
		o.Faults = append(o.Faults, fault)
	}
	if f.at != "" {
		var err error
		if o.Now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return nil, usage("--at: %w", err)
		}
	}
	return attester.New(o)
}

// writeMachine writes what goes with a machine, and more files, below a folder.
func writeMachine(dir string, m *attester.Machine, more map[string][]byte) error {
	files, err := m.Files()
	if err != nil {
		return err
	}
	maps.Copy(files, more)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (f *simulateFlags) summary(cmd *cobra.Command, m *attester.Machine, nonce []byte) error {
	out := cmd.OutOrStdout()
	for _, p := range m.Parts() {
		fmt.Fprintf(out, "%-24s %s\n", p.Label, p.Kind)
	}
	for _, text := range f.faults {
		fmt.Fprintf(out, "fault: %s\n", text)
	}
	collateral := "" // of a machine that comes with some
	if dir := filepath.Join(f.output, "endorsements"); isFolder(dir) {
		collateral = " --endorsements " + dir
	}
	references := ""
	if file := filepath.Join(f.output, "corim-trust.json"); exists(file) {
		references = " --corim " + f.output + " --corim-trust " + file
	}
	_, err := fmt.Fprintf(out, "assize appraise %s --nonce %s --trust %s%s%s\n", filepath.Join(f.output, "evidence.cmw"),
		hex.EncodeToString(nonce), filepath.Join(f.output, "trust.json"), collateral, references)
	return err
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// serveRatsd answers real clients of ratsd until the command is interrupted.
func serveRatsd(cmd *cobra.Command, g *globals, f *simulateFlags, m *attester.Machine) error {
	log, err := g.logger(cmd, slog.LevelInfo)
	if err != nil {
		return err
	}
	if f.output != "" {
		if err := writeMachine(f.output, m, nil); err != nil {
			return err
		}
	}
	l, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", f.listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: ratsd.New(m), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	log.Info("simulating", "machine", f.machine, "url", "http://"+l.Addr().String()+"/ratsd/chares", "sub-attesters", m.RatsdAttesters())
	select {
	case err := <-done:
		return err
	case <-cmd.Context().Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), 5*time.Second)
	defer cancel()
	return srv.Shutdown(ctx)
}
