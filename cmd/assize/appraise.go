// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/render"
	"github.com/assize/assize/cmd/assize/internal/telemetry"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
	"github.com/assize/assize/verifiers/nvidiagpu"
)

// appraiseFlags are the flags of "assize appraise".
type appraiseFlags struct {
	nonce        string
	given        []string
	at           string
	topology     string
	endorsements string
	online       bool
	policies     []string
	mediaType    string
	optional     []string
	attesters    []string
	trust        string
	corim        corimFlags
	output       string
	policy       string
	dryRun       string
	require      []string
	include      includeFlags
	replay       replayFlags
}

func newAppraise(g *globals) *cobra.Command {
	f := &appraiseFlags{}
	cmd := &cobra.Command{
		Use:   "appraise FILE…",
		Short: "Appraise composite evidence in this process and print the verdict",
		Long: `Appraise reads composite evidence (a file, or - for standard input), runs the
topology over an embedded NATS server without a listener, and prints the verdict.
Of several files the worst tier decides the exit status:
0 affirming, 3 warning, 4 contraindicated, 5 none, 1 could not run, 2 usage.`,
		Example: `  assize appraise machine.cmw --nonce 8f3c…
  assize appraise recorded.cmw --at 2025-07-01T00:00:00Z \
      --component-nonce gpu=4cff… --endorsements collateral/ -o json
  assize appraise hgx/evidence.cmw --nonce 8f3c… --trust hgx/trust.json --endorsements hgx/endorsements \
      --corim hgx --corim-trust hgx/corim-trust.json
  assize appraise machine.cmw --nonce 8f3c… --policy strict --dry-run mine.rego --require 'gpu/*:nvidia-gpu=8'
  assize appraise machine.cmw --nonce 8f3c… -o bundle --include all > bundle.json
  assize appraise --replay bundle.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "nonce", "component-nonce", "at", "topology", "optional", "endorsements", "evidence-policy", "media-type", "attesters", "policy", "dry-run", "require", "trust", "corim", "corim-trust", "include", "replay"); err != nil {
				return err
			}
			if err := errors.Join(f.include.check(f.output), f.replay.check(cmd, f.output, args)); err != nil {
				return err
			}
			if err := f.named(); err != nil {
				return err
			}
			if f.replay.bundle != "" {
				return runReplay(cmd, g, f)
			}
			return runAppraise(cmd, g, f, args)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.nonce, "nonce", "", "session nonce, 8 to 64 bytes (hex, base64 or base64url)")
	fl.StringArrayVar(&f.given, "component-nonce", nil, "LABEL=VALUE: challenge of one component, for recorded evidence (repeatable)")
	fl.StringVar(&f.at, "at", "", "verification time (RFC 3339), for recorded evidence")
	fl.StringVar(&f.topology, "topology", "", `topology expression, or @FILE, ./FILE, FILE.txt, FILE.yaml with one (default "lead": what was submitted)`)
	fl.StringVar(&f.endorsements, "endorsements", "", "folder of offline collateral")
	fl.BoolVar(&f.online, "online", false, "fetch collateral that is missing (whom to ask: endorsements_online of the configuration)")
	fl.StringArrayVar(&f.policies, "evidence-policy", nil, "edited appraisal policy of a scheme (assize schemes policy prints the defaults; repeatable)")
	fl.StringVar(&f.policy, "policy", "", "policy for whole machines: a name of the library (assize policy list) or FILE.rego (default: that of the configuration, \"default\")")
	fl.StringVar(&f.dryRun, "dry-run", "", "a second policy to try beside the active one; text and json say how the verdict would differ")
	fl.StringArrayVar(&f.require, "require", nil, "LABEL[:SCHEME][=N|>=N|?]: components that have to be there, whatever is submitted (repeatable)")
	fl.StringVar(&f.trust, "trust", "", "file of extra roots, for simulated machines (assize simulate writes one)")
	f.corim.add(fl)
	f.include.add(fl)
	f.replay.add(fl)
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the whole message (default: by content)")
	fl.StringArrayVar(&f.optional, "optional", nil, "label pattern of components that may lack a verdict (repeatable)")
	fl.StringArrayVar(&f.attesters, "attesters", nil, "JWK set with the keys of lead attesters that sign whole composites (repeatable)")
	fl.StringVarP(&f.output, "output", "o", "text", "text, json, a signed verdict (ear, ear-p04, cwt or tdx-gpu: see docs/formats.md), bundle (signed verdict with its evidence) or pars (the signed results of a parallel topology, for assize verdict combine)")
	return cmd
}

// named refuses a policy that cannot be had and a demand that is none before anything
// is appraised, as assize verdict verify does, and a dry run that nobody would see.
func (f *appraiseFlags) named() error {
	for flag, text := range map[string]string{"--policy": f.policy, "--dry-run": f.dryRun} {
		if text == "" {
			continue
		}
		if _, err := loadPolicy(text); err != nil {
			return usage("%s: %w", flag, err)
		}
	}
	if _, err := loadRequirements(f.require, verdict.SourceConfiguration); err != nil {
		return usage("--require: %w", err)
	}
	if f.dryRun != "" && f.output != "text" && f.output != "json" {
		return usage("--dry-run: only -o text and -o json say what came of it, not %s", f.output)
	}
	return nil
}

func runAppraise(cmd *cobra.Command, g *globals, f *appraiseFlags, files []string) error {
	if len(files) == 0 {
		return usage("appraise wants at least one FILE, see assize appraise --help")
	}
	if len(files) > 1 && f.nonce != "" {
		return usage("a nonce is for one composite, and %d files were given", len(files))
	}
	if _, err := verdict.ParseFormat(f.output); err != nil && !strings.Contains(" text json bundle pars ", " "+f.output+" ") {
		return usage("-o %q: want text, json, ear, ear-p04, cwt, tdx-gpu, bundle or pars", f.output)
	}
	if f.output == string(verdict.FormatP04CWT) && len(files) > 1 {
		return usage("-o cwt writes bytes for one composite, and %d files were given", len(files))
	}
	template, err := f.request(cmd)
	if err != nil {
		return err
	}
	c, err := g.load()
	if err != nil {
		return err
	}
	if f.output == "pars" && !(template.Topology != nil && template.Topology.Head == topologies.Parallel || template.Topology == nil && isParallel(c.Topology)) {
		return usage("-o pars is for a topology that is parallel at the top: under any other one the verdict says more than its results")
	}
	if f.endorsements != "" {
		c.Endorsements = f.endorsements
	}
	c.Online.Enabled = c.Online.Enabled || f.online
	c.EvidencePolicies = append(c.EvidencePolicies, f.policies...)
	c.Attesters = append(c.Attesters, f.attesters...)
	c.Requirements = append(c.Requirements, f.require...)
	c.Policy = cmp.Or(f.policy, c.Policy)
	c.DryRun = cmp.Or(f.dryRun, c.DryRun)
	log, err := g.logger(cmd, slog.LevelWarn)
	if err != nil {
		return err
	}
	at := template.Time
	if at.IsZero() {
		at = time.Now()
	}
	given, err := f.corim.load(log, at)
	if err != nil {
		return err
	}
	tel, err := telemetry.Start(cmd.Context(), c.Telemetry.ServiceName, version)
	if err != nil {
		return err
	}
	s, err := start(cmd.Context(), c, log, role{name: "appraise", lead: true, oneShot: true, references: given}, f.trust)
	if err != nil {
		return errors.Join(err, tel.Stop(cmd.Context()))
	}
	worst := verdict.TierAffirming
	for _, file := range files {
		var res *verdict.Result
		if res, err = appraiseFile(cmd, s, f, template, file); err != nil {
			break
		}
		worst = verdict.Worst(worst, res.Outcome.Tier)
	}
	if err := errors.Join(err, s.close(cmd.Context()), tel.Stop(cmd.Context())); err != nil {
		return err
	}
	return tierExit(worst)
}

func appraiseFile(cmd *cobra.Command, s *stack, f *appraiseFlags, r orchestrator.Request, file string) (*verdict.Result, error) {
	raw, err := readInput(cmd, file, int64(evidenceLimits(s.config).Composite))
	if err != nil {
		return nil, err
	}
	r.Evidence = raw
	res, err := s.lead.Appraise(cmd.Context(), r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w%s", file, err, bareHint(err, raw))
	}
	if f.include.kinds != nil {
		return res, s.printBundle(cmd, f, r, res)
	}
	return res, printResult(cmd, f.output, res, r, s.lead.Sign)
}

// bareHint says what to do with a file that is no CMW because it is what NVIDIA's
// tools write for their devices alone. It is "" for anything else: what a file
// looks like never decides how it is read.
func bareHint(err error, raw []byte) string {
	var bad *evidence.Error
	if !errors.As(err, &bad) {
		return ""
	}
	sc := nvidiagpu.Scheme()
	set, err := all.Set()
	if err != nil {
		return ""
	}
	for _, pattern := range sc.Accepts {
		mt := evidence.MediaType{Base: pattern.Base}
		parts, _, err := set.Parts(mt, raw)
		if err != nil || !slices.ContainsFunc(parts, func(p verifiers.Part) bool { return p.Err == nil }) {
			continue
		}
		return fmt.Sprintf("\nThis looks like a bare value of type %s. Evidence comes as a CMW, which names its type: make a record of it, [%q, \"<base64url of the file, without padding>\"], or an entry of a collection beside the CPU's", mt, mt)
	}
	return ""
}

func printResult(cmd *cobra.Command, output string, res *verdict.Result, r orchestrator.Request, sign func(*verdict.Result, verdict.Format) ([]byte, error)) error {
	if f, err := verdict.ParseFormat(output); err == nil {
		return printFormat(cmd, f, res, sign)
	}
	out := cmd.OutOrStdout()
	var raw []byte
	var err error
	switch output {
	case "text":
		render.Verdict(out, res)
		return nil
	case "json":
		raw, err = json.MarshalIndent(res.Document(), "", "  ")
	case "pars":
		raw, err = verdict.EncodeResults(res, false)
	case "bundle":
		raw, err = verdict.EncodeBundle(verdict.Bundle{Verdict: res.Token, Evidence: r.Evidence, EvidenceType: r.MediaType})
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s\n", raw)
	return err
}

// request translates the flags that do not depend on the file.
func (f *appraiseFlags) request(cmd *cobra.Command) (orchestrator.Request, error) {
	r := orchestrator.Request{MediaType: f.mediaType, Optional: f.optional}
	var err error
	if f.nonce != "" {
		if r.Nonce, err = api.DecodeNonce(f.nonce); err != nil {
			return r, usage("--nonce: %w", err)
		}
	}
	for _, kv := range f.given {
		label, value, ok := strings.Cut(kv, "=")
		if !ok || label == "" {
			return r, usage("--component-nonce %q: want LABEL=VALUE", kv)
		}
		nonce, err := api.DecodeNonce(value)
		if err != nil {
			return r, usage("--component-nonce %s: %w", label, err)
		}
		if r.Given == nil {
			r.Given = map[evidence.Path][]byte{}
		}
		if _, twice := r.Given[evidence.Path(label)]; twice {
			return r, usage("--component-nonce %s is given twice", label)
		}
		r.Given[evidence.Path(label)] = nonce
	}
	if f.at != "" {
		if r.Time, err = time.Parse(time.RFC3339, f.at); err != nil {
			return r, usage("--at: %w", err)
		}
	}
	if f.topology != "" {
		if r.Topology, err = topology(cmd, f.topology); err != nil {
			return r, err
		}
	}
	return r, nil
}

// topology reads an expression, by the rules of topologySource.
func topology(cmd *cobra.Command, text string) (*topologies.Expr, error) {
	src, err := topologySource(cmd, text)
	if err != nil {
		return nil, usage("--topology: %w", err)
	}
	e, err := src.parse()
	if err != nil {
		return nil, usage("--topology: %w", err)
	}
	return &e, nil
}
