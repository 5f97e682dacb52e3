// SPDX-License-Identifier: Apache-2.0

// Command assize appraises composite evidence: see "assize --help".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/assize/assize/verdict"
)

// Exit statuses (see the contract in docs/architecture.md).
const (
	exitAffirming       = 0
	exitFailed          = 1
	exitUsage           = 2
	exitWarning         = 3
	exitContraindicated = 4
	exitNone            = 5
)

// exitError carries an exit status out of a command. A nil cause means that
// everything has been said already.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usage marks an error in how a command was called.
func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// tierExit is the exit status of a verdict.
func tierExit(t verdict.Tier) error {
	switch t {
	case verdict.TierAffirming:
		return nil
	case verdict.TierWarning:
		return &exitError{code: exitWarning}
	case verdict.TierContraindicated:
		return &exitError{code: exitContraindicated}
	}
	return &exitError{code: exitNone}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends what the first could not
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// gcPercent lets the heap grow to five times what is alive, a few megabytes.
// An appraisal leaves half a megabyte behind, and the default would collect
// after every tenth. GOGC and GOMEMLIMIT override it.
const gcPercent = 400

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	strictDefaults(root)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitAffirming
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		exit = &exitError{exitFailed, err}
	}
	if exit.err != nil {
		fmt.Fprintln(errOut, "assize:", exit.err)
	}
	return exit.code
}

func newRoot() *cobra.Command {
	g := &globals{}
	root := &cobra.Command{
		Use:   "assize",
		Short: "One signed verdict on the evidence of a whole machine",
		Long: `Assize takes the attestation evidence of a whole machine as one CMW collection,
splits it, has every component appraised by a verifier for its vendor, and
returns one signed verdict.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c…      # one shot, everything in this process
  assize serve                                    # HTTP API on 127.0.0.1:8080
  assize verdict verify bundle.json --trust jwks.json`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q, see assize --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return &exitError{code: exitUsage} // no verdict: never 0
		},
	}
	root.PersistentFlags().StringVar(&g.configFile, "config", os.Getenv("ASSIZE_CONFIG"), "configuration file (YAML)")
	root.PersistentFlags().StringVar(&g.stateDir, "state-dir", "", "folder of generated keys (default: state_dir of the configuration)")
	root.PersistentFlags().StringVar(&g.logLevel, "log-level", "", "debug, info, warn or error (default: warn, serve and verifier info)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w, see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(newAppraise(g), newServe(g), newVerifier(g), newInspect(), newSimulate(g), newVerdict(), newExplain(), newKeys(g), newTopology(g), newAudit(g), newCorim(g), newSchemes(), newPolicy(), newEndorsements(g), newVersion())
	return root
}

// strictDefaults gives the commands that cobra adds an example, and the exit status of
// a wrong call. It wants to know where to write, so it comes after SetOut.
func strictDefaults(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Example = "  assize help appraise"
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if _, rest, err := root.Find(args); err != nil || len(rest) > 0 {
					return usage("no help on %q, see assize --help", strings.Join(args, " "))
				}
				return nil
			}
		case "completion":
			cmd.Example = "  assize completion bash > /etc/bash_completion.d/assize"
			cmd.Args = func(*cobra.Command, []string) error {
				return usage("completion wants a shell: bash, fish, powershell or zsh")
			}
			cmd.RunE = func(*cobra.Command, []string) error { return nil }
			for _, shell := range cmd.Commands() {
				shell.Example = "  assize completion " + shell.Name()
				shell.Args = exactly(0)
			}
		}
	}
}

// exactly wants n file arguments.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s wants %d argument(s), got %d, see %s --help", cmd.CommandPath(), n, len(args), cmd.CommandPath())
		}
		return nil
	}
}
