// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/subtle"
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
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

func newVerdict() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verdict",
		Short: "Check signed verdicts",
		Args: func(*cobra.Command, []string) error {
			return usage("verdict wants a sub-command: verify")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newVerdictVerify())
	return cmd
}

// verifyFlags are the flags of "assize verdict verify".
type verifyFlags struct {
	trust  []string
	nonce  string
	at     string
	output string
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
Exit status is that of the verdict, or 1 when it must not be believed.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c… -o bundle > bundle.json
  assize keys jwks > jwks.json
  assize verdict verify bundle.json --trust jwks.json --nonce 8f3c…`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runVerify(cmd, f, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&f.trust, "trust", nil, "JWK set with the keys of lead and verifiers (repeatable, required)")
	fl.StringVar(&f.nonce, "nonce", "", "the session nonce that the verdict must be for")
	fl.StringVar(&f.at, "at", "", "time of checking (RFC 3339), for stored verdicts (default: now)")
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
	sets, err := readAnchors(cmd, f.trust)
	if err != nil {
		return err
	}
	anchors, err := trust.Merge(sets...)
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
	if err := recheck(f, res, bundle); err != nil {
		return err
	}
	return printVerified(cmd, f.output, res, bundle)
}

// readVerdict tells a bundle (JSON) from a bare compact JWT.
func readVerdict(raw []byte) (verdict.Bundle, error) {
	if len(raw) > 0 && raw[0] == '{' {
		return verdict.DecodeBundle(raw)
	}
	return verdict.Bundle{Verdict: raw}, nil
}

// recheck repeats what the lead claims to have done.
func recheck(f *verifyFlags, res *verdict.Result, bundle verdict.Bundle) error {
	if f.nonce != "" {
		nonce, err := api.DecodeNonce(f.nonce)
		if err != nil {
			return usage("--nonce: %w", err)
		}
		if subtle.ConstantTimeCompare(nonce, res.Nonce) != 1 {
			return errors.New("the verdict is for another session nonce")
		}
	}
	if err := orchestrator.RecheckNonces(res); err != nil {
		return err
	}
	if bundle.Evidence == nil {
		return nil
	}
	tree, err := evidence.Parse(bundle.Evidence, evidence.Options{MediaType: bundle.EvidenceType, UnverifiedSignaturesUnsafe: true})
	if err != nil {
		return fmt.Errorf("evidence in the bundle: %w", err)
	}
	schemes, err := all.Set()
	if err != nil {
		return err
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
		return tierExit(res.Outcome.Tier)
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
	return tierExit(res.Outcome.Tier)
}
