// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/relyingparty"
)

func newVerdict() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "verdict",
		Short:   "Check signed verdicts",
		Example: "  assize verdict verify bundle.json --trust jwks.json",
		Args: func(*cobra.Command, []string) error {
			return usage("verdict wants a sub-command: verify or combine")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newVerdictVerify(), newVerdictCombine())
	return cmd
}

// verifyFlags are the flags of "assize verdict verify".
type verifyFlags struct {
	trust    []string
	nonce    string
	at       string
	maxAge   time.Duration
	output   string
	topology string
	nodes    []string
	paths    string
	evidence bool
	corim    corimFlags
	own      ownFlags
}

func newVerdictVerify() *cobra.Command {
	f := &verifyFlags{}
	cmd := &cobra.Command{
		Use:   "verify FILE --trust jwks.json",
		Short: "Check a signed verdict and every partial result in it",
		Long: `Verify is the relying party's side, offline. It takes a signed verdict (-o ear,
ear-p04 or cwt) or a bundle (-o bundle) and checks the lead's signature, every component verifier's
signature and statement, that the verdict is no better than the parts allow, the
derivation of every challenge, and, with the evidence (a bundle, or --evidence),
that all of it is about these bytes. The JWK set says which key may sign what (see
assize keys jwks --help).
Then the results are judged once more, by the relying party's own --policy and
--require, and that is the verdict which is printed. What the lead's policy relaxed
or lowered does not count then. Without either the worse one of the lead's verdict
and of the policy "default" stands. Without the evidence nothing is bound by the
lead's word alone: such a machine is a warning at best.
With node files (see assize keys node --help) a result counts only under the keys
of the node at which its component is placed, and every node on the way must have
signed that it received it so. --paths refuses ways that its rules do not allow:
[LABEL-PATTERN:] node > node > … [max N], where * is one node and ** at the end
any number.
With --corim, documents have to be those that the lead had, and what they say about
membership and dependency is repeated.
Exit status is that of the relying party's own verdict, or 1 when the lead's must not
be believed. Recordings and simulated machines are warnings at best, unless
--allow-recorded and --allow-simulated.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c… -o bundle > bundle.json
  assize keys jwks > jwks.json
  assize verdict verify bundle.json --trust jwks.json --nonce 8f3c… --topology 'lead(cpu, gpu/0)'
  assize verdict verify bundle.json --trust jwks.json --nonce 8f3c… --policy strict --require 'gpu/*:nvidia-gpu=8'`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := notEmpty(cmd, "trust", "nonce", "at", "topology", "node", "paths", "corim", "corim-trust", "policy", "require", "evidence", "media-type", "max-age")
			if err != nil {
				return err
			}
			return runVerify(cmd, f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.trust, "trust", nil, "JWK set with the keys of lead and verifiers, and of who may sign composites (repeatable, required)")
	fl.StringVar(&f.nonce, "nonce", "", "the session nonce that the verdict must be for")
	fl.StringVar(&f.at, "at", "", "time of checking (RFC 3339), for stored verdicts (default: now)")
	fl.DurationVar(&f.maxAge, "max-age", 0, "largest age of the verdict (default 2m30s; a verdict past its own end is refused all the same)")
	fl.StringVar(&f.topology, "topology", "", "topology expression: components that must be in the verdict, and as required ones")
	fl.StringArrayVar(&f.nodes, "node", nil, "node file with the keys of a verifier node (repeatable); then every node that is named must have one")
	fl.StringVar(&f.paths, "paths", "", "rules of allowed paths, separated by semicolons, or @FILE, ./FILE, FILE.txt with one a line")
	f.corim.add(fl)
	f.own.add(fl)
	fl.BoolVar(&f.evidence, "require-evidence", false, "refuse a verdict that comes without the evidence it is about")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

func runVerify(cmd *cobra.Command, f *verifyFlags, file string) error {
	if len(f.trust) == 0 {
		return usage("verdict verify wants --trust FILE: nothing is trusted by default")
	}
	if f.output != "text" && f.output != "json" {
		return usage("-o %q: want text or json", f.output)
	}
	if f.maxAge < 0 || cmd.Flags().Changed("max-age") && f.maxAge == 0 {
		return usage("--max-age %s: want a positive duration", f.maxAge)
	}
	o, err := f.options(cmd)
	if err != nil {
		return err
	}
	raw, err := readInput(cmd, file, limits.Bundle)
	if err != nil {
		return err
	}
	v, err := relyingparty.Check(cmd.Context(), raw, o)
	if err != nil {
		return err
	}
	if f.output == "json" {
		if err := printOwnJSON(cmd, v); err != nil {
			return err
		}
		return tierExit(v.Tier)
	}
	printVerified(cmd, v, o)
	return tierExit(v.Tier)
}

// options translates the flags.
func (f *verifyFlags) options(cmd *cobra.Command) (relyingparty.Options, error) {
	o := relyingparty.Options{MaxAge: f.maxAge, RequireEvidence: f.evidence}
	err := f.own.options(cmd, &o, f.nonce, f.at)
	if err != nil {
		return o, err
	}
	if o.Anchors, o.Nodes, err = readTrust(cmd, f.trust, f.nodes); err != nil {
		return o, err
	}
	if f.topology != "" {
		if o.Topology, err = topology(cmd, f.topology); err != nil {
			return o, err
		}
	}
	if f.paths != "" {
		if o.Paths, err = readPaths(cmd, f.paths); err != nil {
			return o, err
		}
	}
	o.References, err = f.corim.documents(cmd)
	return o, err
}

// printVerified says what was checked, and prints the relying party's verdict.
func printVerified(cmd *cobra.Command, v *relyingparty.Verdict, o relyingparty.Options) {
	out, signed := cmd.OutOrStdout(), 0
	for _, c := range v.Lead.Components {
		if !c.Partial.IsZero() {
			signed++
		}
	}
	about := "evidence not at hand, digest only"
	if v.Evidence {
		about = "evidence matches"
	}
	fmt.Fprintf(out, "verified: verdict signed by %s, %d of %d components with a signed result, %s\n",
		v.Lead.KID, signed, len(v.Lead.Components), about)
	if o.NoNonce {
		fmt.Fprintln(out, "not compared: the session nonce (--nonce)")
	}
	printOwn(out, v, o)
}
