// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/cmd/assize/internal/telemetry"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers/all"
)

func newTopologyCompare(g *globals) *cobra.Command {
	f := &appraiseFlags{}
	var exprs []string
	cmd := &cobra.Command{
		Use:   "compare FILE --topology A --topology B …",
		Short: "Run one composite through several topologies and compare",
		Long: `Compare appraises one composite under each topology in turn, in this process or,
with a configuration that names an external fabric, with the nodes there, and
prints for each: the tier, components by tier, whether every component has the
same result as under the first topology (tier, trust vector, freshness, reason
codes), messages and evidence bytes, signed results in the verdict, time, and
which single node's failure would change the tier.

Messages and evidence bytes are those of the plan when everybody answers at the
first attempt (see assize topology show): envelopes, repetitions and collateral
are not counted, and what happens behind another node is taken from the
expression that it is handed. They are left out where the plan that ran is not
the one that was counted. Time is that of one run each, in the given order: the
first also pays for what the others find warm.
A failed node's components are taken to have no verdict, with the caps of the
verdict that was reached; the entry node, without which there is none, is left
out. What a compromised node could do, and how many signatures were made or
checked on the way, cannot be measured from here and is not estimated.

Exit status is that of the worst verdict, 1 if a topology could not be run.`,
		Example: `  assize topology compare machine.cmw --nonce 8f3c… --topology lead --topology 'lead(cpu, gpu/*)'
  assize topology compare machine.cmw --nonce 8f3c… --config entry.yaml \
      --topology 'lead(cpu, gpu/*)' --topology 'cascade(cpu, gpu/*@vendor-a)' -o json`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "nonce", "component-nonce", "at", "topology", "optional", "endorsements", "media-type", "attesters", "trust"); err != nil {
				return err
			}
			return runCompare(cmd, g, f, exprs, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.nonce, "nonce", "", "session nonce, 8 to 64 bytes (hex, base64 or base64url)")
	fl.StringArrayVar(&f.given, "component-nonce", nil, "LABEL=VALUE: challenge of one component, for recorded evidence (repeatable)")
	fl.StringVar(&f.at, "at", "", "verification time (RFC 3339), for recorded evidence")
	fl.StringArrayVar(&exprs, "topology", nil, "topology expression, or @FILE, ./FILE, FILE.txt, FILE.yaml with one (two or more)")
	fl.StringVar(&f.endorsements, "endorsements", "", "folder of offline collateral")
	fl.StringVar(&f.trust, "trust", "", "file of extra roots, for simulated machines (assize simulate writes one)")
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the whole message (default: by content)")
	fl.StringArrayVar(&f.optional, "optional", nil, "label pattern of components that may lack a verdict (repeatable)")
	fl.StringArrayVar(&f.attesters, "attesters", nil, "JWK set with the keys of lead attesters that sign whole composites (repeatable)")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json")
	return cmd
}

func runCompare(cmd *cobra.Command, g *globals, f *appraiseFlags, exprs []string, file string) error {
	if f.output != "text" && f.output != "json" {
		return usage("-o %q: want text or json", f.output)
	}
	if len(exprs) < 2 {
		return usage("topology compare wants --topology at least twice")
	}
	r, err := f.request(cmd)
	if err != nil {
		return err
	}
	parsed := make([]*topologies.Expr, len(exprs))
	for i, text := range exprs {
		if parsed[i], err = topology(cmd, text); err != nil {
			return err
		}
	}
	s, tel, err := f.stack(cmd, g)
	if err != nil {
		return err
	}
	worst := verdict.TierAffirming
	d, err := compareAll(cmd, s, r, parsed, file)
	if err == nil {
		worst, err = d.print(cmd.OutOrStdout(), f.output)
	}
	if err := errors.Join(err, s.close(cmd.Context()), tel.Stop(cmd.Context())); err != nil {
		return err
	}
	return tierExit(worst)
}

// stack starts what "assize appraise" would.
func (f *appraiseFlags) stack(cmd *cobra.Command, g *globals) (*stack, *telemetry.Telemetry, error) {
	c, err := g.load()
	if err != nil {
		return nil, nil, err
	}
	if f.endorsements != "" {
		c.Endorsements = f.endorsements
	}
	c.Attesters = append(c.Attesters, f.attesters...)
	log, err := g.logger(cmd, slog.LevelWarn)
	if err != nil {
		return nil, nil, err
	}
	tel, err := telemetry.Start(cmd.Context(), c.Telemetry.ServiceName, version)
	if err != nil {
		return nil, nil, err
	}
	s, err := start(cmd.Context(), c, log, role{name: "compare", lead: true, oneShot: true}, f.trust)
	if err != nil {
		return nil, nil, errors.Join(err, tel.Stop(cmd.Context()))
	}
	return s, tel, nil
}

// comparison is what the runs of one composite gave.
type comparison struct {
	File string    `json:"file"`
	Runs []runJSON `json:"runs"`
}

// runJSON is one topology. Without a verdict only Topology and Error are set.
type runJSON struct {
	Topology string                         `json:"topology"`
	Error    string                         `json:"error,omitempty"`
	Resolved string                         `json:"resolved,omitempty"`
	Tier     *verdict.Tier                  `json:"tier,omitempty"`
	Tiers    map[string]int                 `json:"components_by_tier,omitempty"`
	Parts    map[evidence.Path]verdict.Tier `json:"components,omitempty"`
	// Same: every component has the result that it has in the first run that
	// has a verdict; Differ are those that have not.
	Same   *bool           `json:"same_as_first,omitempty"`
	Differ []evidence.Path `json:"differ,omitempty"`
	// Messages, Bytes, Exposures and Failures are of the plan; nil where the
	// plan that ran is not known.
	Messages  *int                  `json:"messages,omitempty"`
	Bytes     *int                  `json:"evidence_bytes,omitempty"`
	Exposures []topologies.Exposure `json:"exposures,omitempty"`
	Results   int                   `json:"signed_results"`
	Micros    int64                 `json:"time_us"`
	Failures  []failureJSON         `json:"single_failures"`
}

// failureJSON is what the failure of one node does.
type failureJSON struct {
	Node    string          `json:"node"`
	Labels  []evidence.Path `json:"labels"`
	Tier    verdict.Tier    `json:"tier"`
	Changes bool            `json:"changes_verdict"`
}

func compareAll(cmd *cobra.Command, s *stack, r orchestrator.Request, exprs []*topologies.Expr, file string) (*comparison, error) {
	raw, err := readInput(cmd, file, int64(evidenceLimits(s.config).Composite))
	if err != nil {
		return nil, err
	}
	r.Evidence = raw
	p := &planner{config: s.config, nodes: s.nodes, route: s.route}
	if p.schemes, err = all.Set(); err != nil {
		return nil, err
	}
	sub, err := p.parse(raw, evidence.Options{MediaType: r.MediaType, Keys: attesterKeys{s.attesters}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	d := &comparison{File: file}
	var first *verdict.Result
	for _, e := range exprs {
		r.Topology = e
		began := time.Now()
		res, err := s.lead.Appraise(cmd.Context(), r)
		took := time.Since(began)
		if err != nil {
			d.Runs = append(d.Runs, runJSON{Topology: e.String(), Error: err.Error(), Failures: []failureJSON{}})
			continue
		}
		if first == nil {
			first = res
		}
		run := described(e.String(), first, res, took)
		if err := p.counted(&run, r, sub, res); err != nil {
			return nil, err
		}
		d.Runs = append(d.Runs, run)
	}
	return d, nil
}

// described is what the verdict itself says.
func described(text string, first, res *verdict.Result, took time.Duration) runJSON {
	run := runJSON{
		Topology: text, Resolved: res.Topology, Tier: &res.Outcome.Tier, Differ: differing(first, res), Micros: took.Microseconds(),
		Tiers: map[string]int{}, Parts: map[evidence.Path]verdict.Tier{}, Failures: []failureJSON{},
	}
	same := len(run.Differ) == 0
	run.Same = &same
	for _, c := range res.Components {
		run.Tiers[c.Tier().String()]++
		run.Parts[c.Label] = c.Tier()
		run.Results += len(c.Partials())
	}
	return run
}

// counted adds what follows from the plan, if it is the one that ran.
func (p *planner) counted(run *runJSON, r orchestrator.Request, sub *submission, res *verdict.Result) error {
	in := p.input(sub)
	in.Nonce, in.Given, in.Optional = r.Nonce, r.Given, r.Optional
	plan, err := topologies.New(*r.Topology, in)
	if err != nil || plan.Digest() != res.PlanDigest {
		return nil // the directory of verifiers has changed meanwhile
	}
	flow, err := p.flow(plan, sub, p.config.Node.Expose == "composite")
	if err != nil {
		return err
	}
	count, bytes := 0, 0
	for _, m := range flow.Messages {
		if m.Refused == "" {
			count++
			bytes += m.EvidenceBytes
		}
	}
	run.Messages, run.Bytes, run.Exposures = &count, &bytes, flow.Exposures
	run.Failures = failures(res, losses(plan, flow, res, p.owner))
	return nil
}

// differing are the components that the two results do not say the same about.
func differing(first, res *verdict.Result) []evidence.Path {
	by := map[evidence.Path][2]any{}
	for i, r := range []*verdict.Result{first, res} {
		for _, c := range r.Components {
			pair := by[c.Label]
			pair[i] = essence(c)
			by[c.Label] = pair
		}
	}
	var out []evidence.Path
	for _, label := range slices.Sorted(maps.Keys(by)) {
		if pair := by[label]; !reflect.DeepEqual(pair[0], pair[1]) {
			out = append(out, label)
		}
	}
	return out
}

// finding is what a result says about a component, without who said it, when,
// and to which request.
type finding struct {
	Tier      verdict.Tier
	Scheme    string
	Vector    verdict.Vector
	Freshness verdict.Freshness
	Codes     []string
}

func essence(c verdict.Component) finding {
	f := finding{Tier: c.Tier(), Scheme: c.Scheme}
	reasons := c.Reasons
	if !c.Partial.IsZero() {
		a := c.Partial.Appraisal()
		f.Vector, f.Freshness = a.Vector, a.Freshness
		reasons = slices.Concat(reasons, a.Reasons)
	}
	for _, r := range reasons {
		f.Codes = append(f.Codes, r.Code)
	}
	slices.Sort(f.Codes)
	return f
}

// print writes the comparison and returns the worst tier. An error means that a
// topology could not be run.
func (d *comparison) print(w io.Writer, output string) (verdict.Tier, error) {
	worst, failed := verdict.TierAffirming, 0
	for _, r := range d.Runs {
		if r.Tier == nil {
			failed++
			continue
		}
		worst = verdict.Worst(worst, *r.Tier)
	}
	var err error
	if output == "json" {
		err = printJSON(w, d)
	} else {
		err = d.text(w)
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d topologies could not be run", failed, len(d.Runs))
	}
	return worst, err
}

func (d *comparison) text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "#\tVERDICT\tCOMPONENTS\tAS FIRST\tMESSAGES\tEVIDENCE\tRESULTS\tTIME\tDEPENDS ON")
	for i, r := range d.Runs {
		if r.Tier == nil {
			fmt.Fprintf(t, "%d\tfailed\t-\t-\t-\t-\t-\t-\t-\n", i+1)
			continue
		}
		messages, bytes, depends := "-", "-", "-"
		if r.Messages != nil {
			messages, bytes, depends = fmt.Sprint(*r.Messages), fmt.Sprintf("%d bytes", *r.Bytes), r.depends()
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\t%d\t%d µs\t%s\n", i+1, *r.Tier, r.tiers(), r.same(), messages, bytes, r.Results, r.Micros, depends)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for i, r := range d.Runs {
		fmt.Fprintf(w, "%d  %s\n", i+1, printable(r.Topology))
		if r.Error != "" {
			fmt.Fprintf(w, "   could not be run: %s\n", printable(r.Error))
		}
		for _, f := range r.Failures {
			if f.Changes {
				fmt.Fprintf(w, "   without %s (%s): %s\n", printable(f.Node), printable(labelList(f.Labels)), f.Tier)
			}
		}
	}
	return nil
}

func (r runJSON) tiers() string {
	var out []string
	for _, tier := range []verdict.Tier{verdict.TierAffirming, verdict.TierWarning, verdict.TierNone, verdict.TierContraindicated} {
		if n := r.Tiers[tier.String()]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, tier))
		}
	}
	return strings.Join(out, ", ")
}

func (r runJSON) same() string {
	if *r.Same {
		return "yes"
	}
	return printable("no: " + labelList(r.Differ))
}

// depends counts the nodes without any of which the verdict would be another.
func (r runJSON) depends() string {
	n := 0
	for _, f := range r.Failures {
		if f.Changes {
			n++
		}
	}
	return fmt.Sprintf("%d of %d nodes", n, len(r.Failures))
}
