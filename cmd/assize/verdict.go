// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/render"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
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
	output   string
	topology string
	nodes    []string
	paths    string
	recorded bool
	evidence bool
	corim    corimFlags
}

func newVerdictVerify() *cobra.Command {
	f := &verifyFlags{}
	cmd := &cobra.Command{
		Use:   "verify FILE --trust jwks.json",
		Short: "Check a signed verdict and every partial result in it",
		Long: `Verify is the relying party's side. It takes a signed verdict (-o ear) or a bundle
(-o bundle) and checks the lead's signature, every component verifier's signature
and statement, that the verdict is no better than the parts allow, the derivation
of every challenge, and, with a bundle, that all of it is about this evidence.
The JWK set says which key may sign what (see assize keys jwks --help).
With node files (see assize keys node --help) a result counts only under the keys
of the node at which its component is placed, and every node on the way must have
signed that it received it so. --paths refuses ways that its rules do not allow:
[LABEL-PATTERN:] node > node > … [max N], where * is one node and ** at the end
any number.
With --corim, documents have to be those that the lead had, and what they say about
membership and dependency is repeated.
Exit status is that of the verdict, or 1 when it must not be believed. A verdict
made as of another time counts as a warning at best, unless --allow-recorded.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c… -o bundle > bundle.json
  assize keys jwks > jwks.json
  assize verdict verify bundle.json --trust jwks.json --nonce 8f3c… --topology 'lead(cpu, gpu/0)'`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "trust", "nonce", "at", "topology", "node", "paths", "corim", "corim-trust"); err != nil {
				return err
			}
			return runVerify(cmd, f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.trust, "trust", nil, "JWK set with the keys of lead and verifiers (repeatable, required)")
	fl.StringVar(&f.nonce, "nonce", "", "the session nonce that the verdict must be for")
	fl.StringVar(&f.at, "at", "", "time of checking (RFC 3339), for stored verdicts (default: now)")
	fl.StringVar(&f.topology, "topology", "", "topology expression: components that must be in the verdict, and as required ones")
	fl.StringArrayVar(&f.nodes, "node", nil, "node file with the keys of a verifier node (repeatable); then every node that is named must have one")
	fl.StringVar(&f.paths, "paths", "", "rules of allowed paths, separated by semicolons, or @FILE, ./FILE, FILE.txt with one a line")
	f.corim.add(fl)
	fl.BoolVar(&f.recorded, "allow-recorded", false, "accept an affirming verdict that was made as of another time than now")
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
	anchors, nodes, err := readTrust(cmd, f.trust, f.nodes)
	if err != nil {
		return err
	}
	intake := verdict.Intake{Now: time.Now()}
	if f.at != "" {
		if intake.Now, err = time.Parse(time.RFC3339, f.at); err != nil {
			return usage("--at: %w", err)
		}
	}
	raw, err := readInput(cmd, file, 4*limits.AggregateResult)
	if err != nil {
		return err
	}
	bundle, err := readVerdict(bytes.TrimSpace(raw))
	if err != nil {
		return err
	}
	res, err := verdict.VerifyResult(bundle.Verdict, intake, anchors)
	if err != nil {
		return err
	}
	if err := recheck(cmd, f, res, bundle); err != nil {
		return err
	}
	if err := recheckWays(cmd, f.paths, res, nodes); err != nil {
		return err
	}
	if err := printVerified(cmd, f.output, res, bundle); err != nil {
		return err
	}
	tier := res.Outcome.Tier
	if !res.VerificationTime.IsZero() && !f.recorded {
		tier = verdict.Worst(tier, verdict.TierWarning)
	}
	return tierExit(tier)
}

// readVerdict tells a bundle (JSON) from a bare compact JWT.
func readVerdict(raw []byte) (verdict.Bundle, error) {
	if len(raw) > 0 && raw[0] == '{' {
		return verdict.DecodeBundle(raw)
	}
	return verdict.Bundle{Verdict: raw}, nil
}

// recheck repeats what the lead claims to have done.
func recheck(cmd *cobra.Command, f *verifyFlags, res *verdict.Result, bundle verdict.Bundle) error {
	if f.nonce != "" {
		nonce, err := api.DecodeNonce(f.nonce)
		if err != nil {
			return usage("--nonce: %w", err)
		}
		if !res.HasNonce(nonce) {
			return errors.New("the verdict is for another session nonce")
		}
	}
	schemes, err := all.Set()
	if err != nil {
		return err
	}
	if err := orchestrator.Recheck(res, schemes); err != nil {
		return err
	}
	if f.topology != "" {
		want, err := topology(cmd, f.topology)
		if err != nil {
			return err
		}
		if err := orchestrator.RecheckTopology(res, *want); err != nil {
			return err
		}
	}
	if err := recheckReferences(cmd, f, res); err != nil {
		return err
	}
	if bundle.Evidence == nil {
		if f.evidence {
			return errors.New("the evidence is not in the file, and --require-evidence was given")
		}
		return nil
	}
	tree, err := evidence.Parse(bundle.Evidence, evidence.Options{MediaType: bundle.EvidenceType, UnverifiedSignaturesUnsafe: true})
	if err != nil {
		return fmt.Errorf("evidence in the bundle: %w", err)
	}
	return orchestrator.RecheckEvidence(res, schemes, tree)
}

func printVerified(cmd *cobra.Command, output string, res *verdict.Result, bundle verdict.Bundle) error {
	out := cmd.OutOrStdout()
	if output == "json" {
		raw, err := json.MarshalIndent(res.Document(), "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s\n", raw)
		return nil
	}
	signed := 0
	for _, c := range res.Components {
		if !c.Partial.IsZero() {
			signed++
		}
	}
	about := "evidence not in the file, digest only"
	if bundle.Evidence != nil {
		about = "evidence in the bundle matches"
	}
	fmt.Fprintf(out, "verified: verdict signed by %s, %d of %d components with a signed result, %s\n",
		res.KID, signed, len(res.Components), about)
	render.Verdict(out, res)
	return nil
}
