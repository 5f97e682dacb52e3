// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/assize/assize/api"
	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/all"
)

// planner plans as the lead of this configuration would, with neither fabric
// nor keys of its own.
type planner struct {
	config  config.Config
	schemes *verifiers.Set // all that can be routed
	nodes   *trust.Nodes
	route   func(scheme, node string) []verifiers.Candidate
}

// newPlanner reads the configuration. Local schemes count as served by this
// process, as those do for which a key is under trust.
func newPlanner(g *globals) (*planner, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	s := &stack{config: c}
	if err := s.loadNodes(context.Background(), role{}); err != nil {
		return nil, err
	}
	p := &planner{config: c, nodes: s.nodes}
	if p.schemes, err = all.Set(); err != nil {
		return nil, err
	}
	local := map[string]bool{}
	for _, sc := range p.schemes.Schemes() {
		local[sc.Name] = s.serves() && (len(c.Schemes) == 0 || slices.Contains(c.Schemes, sc.Name))
	}
	trusted, err := loadJWKS(c.Trust)
	if err != nil {
		return nil, err
	}
	p.route = func(scheme, node string) []verifiers.Candidate {
		able := local[scheme] || slices.ContainsFunc(trusted, func(a *trust.Anchors) bool { return serves(a, scheme) })
		if peer, ok := p.nodes.Lookup(node); ok {
			able = serves(peer.Verifiers(), scheme)
		}
		switch {
		case !able:
			return nil
		case node != "":
			return []verifiers.Candidate{{Site: node, Why: "named by the topology"}}
		}
		return []verifiers.Candidate{{Site: "any", Why: "nearest that serves the scheme"}}
	}
	return p, nil
}

// submission is what there is to plan over.
type submission struct {
	tree       *evidence.Tree
	components []topologies.Component
}

// submitted reads evidence without checking the signature of the whole.
func (p *planner) submitted(cmd *cobra.Command, file, mediaType string) (*submission, error) {
	raw, err := readInput(cmd, file, int64(evidenceLimits(p.config).Composite))
	if err != nil {
		return nil, err
	}
	return p.parse(raw, evidence.Options{MediaType: mediaType, UnverifiedSignaturesUnsafe: true})
}

// parse takes evidence apart as the lead does: one component for every leaf, or
// for every device in it.
func (p *planner) parse(raw []byte, o evidence.Options) (*submission, error) {
	o.Limits = evidenceLimits(p.config)
	tree, err := evidence.Parse(raw, o)
	if err != nil {
		return nil, err
	}
	parts, err := orchestrator.Components(p.schemes, tree, o.Limits.Leaves)
	if err != nil {
		return nil, err
	}
	return &submission{tree, parts}, nil
}

// input is what the lead plans over.
func (p *planner) input(s *submission) topologies.Input {
	in := orchestrator.PlanInput(s.tree, s.components)
	in.Route, in.Self = p.route, p.config.Node.Name
	return in
}

// unsealed are the peers that nothing can be sealed to, where that has to be.
func (p *planner) unsealed() []string {
	if p.config.Node.Expose == "composite" {
		return nil
	}
	return slices.DeleteFunc(p.nodes.Names(), func(name string) bool {
		n, _ := p.nodes.Lookup(name)
		_, seals := n.SealKey(time.Now())
		return seals
	})
}

// flow is who sends what when a plan is carried out.
func (p *planner) flow(plan *topologies.Plan, s *submission, expose bool) (*topologies.Flow, error) {
	in := topologies.FlowInput{Self: p.config.Node.Name, Composite: len(s.tree.Raw()), Expose: expose, Node: func(name string) (bool, bool) {
		n, known := p.nodes.Lookup(name)
		if !known {
			return false, false
		}
		_, seals := n.SealKey(time.Now())
		return true, seals
	}}
	if s.tree.Convention() != "" {
		in.Commit = slices.Sorted(maps.Keys(s.tree.LeafDigests()))
	}
	return topologies.NewFlow(plan, in)
}

// showFlags are the flags of "assize topology show".
type showFlags struct {
	lintFlags
	nonce, expose, format string
}

func newTopologyShow(g *globals) *cobra.Command {
	f := &showFlags{}
	cmd := &cobra.Command{
		Use:   "show EXPR|@FILE|FILE.yaml --evidence FILE",
		Short: "Print or draw the plan, the messages, and who sees which evidence",
		Long: `Show plans an expression over composite evidence, as this configuration would
carry it out, and prints for every component who appraises it and by which
challenge rule, what is handed on to other nodes, every message with the evidence
in it (readable, sealed, or as digest only), and what each participant gets to see.
Nothing is sent or appraised, and signatures of the evidence are not checked.

Messages are those of the plan when everybody answers at the first attempt;
sizes are those of the evidence in them, without envelopes, signatures or seals.
What a node does with its part is taken from the expression that it is handed;
its own configuration is not known here. Challenge rules need --nonce.

With --format it prints the expression itself, as one line of text or as YAML.`,
		Example: `  assize topology show 'lead(cpu, gpu/*)' --evidence machine.cmw --nonce 8f3c…
  assize topology show 'cascade(cpu, gpu/*@vendor-a)' --evidence machine.cmw --config node.yaml -o svg > plan.svg
  assize topology show 'cascade(cpu, gpu/*@vendor-a)' --format yaml > machine.yaml`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := notEmpty(cmd, "evidence", "media-type", "optional", "nonce", "expose", "format"); err != nil {
				return err
			}
			return runShow(cmd, g, f, args[0])
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.evidence, "evidence", "", "composite evidence that is planned over")
	fl.StringVar(&f.format, "format", "", "text or yaml: print the expression in that form, and nothing else")
	fl.StringVar(&f.mediaType, "media-type", "", "media type of the whole message (default: by content)")
	fl.StringArrayVar(&f.optional, "optional", nil, "label pattern of components that may lack a verdict (repeatable)")
	fl.StringVar(&f.nonce, "nonce", "", "session nonce, 8 to 64 bytes (hex, base64 or base64url), for the challenge rules")
	fl.StringVar(&f.expose, "expose", "", "own or composite: what a node gets to see (default: node.expose of the configuration)")
	fl.StringVarP(&f.output, "output", "o", "text", "text, json or svg")
	return cmd
}

func runShow(cmd *cobra.Command, g *globals, f *showFlags, arg string) error {
	switch {
	case !slices.Contains([]string{"text", "json", "svg"}, f.output):
		return usage("-o %q: want text, json or svg", f.output)
	case !slices.Contains([]string{"", "text", "yaml"}, f.format):
		return usage("--format %q: want text or yaml", f.format)
	case f.format == "" && f.evidence == "":
		return usage("topology show wants --evidence FILE, or --format")
	case !slices.Contains([]string{"", "own", "composite"}, f.expose):
		return usage("--expose %q: want own or composite", f.expose)
	}
	src, err := topologySource(cmd, arg)
	if err != nil {
		return usage("%w", err)
	}
	e, err := src.parse()
	if err != nil {
		return src.located(err)
	}
	if f.format != "" {
		return printForm(cmd.OutOrStdout(), e, f.format)
	}
	p, err := newPlanner(g)
	if err != nil {
		return err
	}
	sub, err := p.submitted(cmd, f.evidence, f.mediaType)
	if err != nil {
		return err
	}
	in := p.input(sub)
	in.Optional = f.optional
	if f.nonce != "" {
		if in.Nonce, err = api.DecodeNonce(f.nonce); err != nil {
			return usage("--nonce: %w", err)
		}
	}
	plan, err := topologies.New(e, in)
	if err != nil {
		return src.located(err)
	}
	flow, err := p.flow(plan, sub, f.expose == "composite" || f.expose == "" && p.config.Node.Expose == "composite")
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch f.output {
	case "json":
		return printJSON(out, planDocument(plan, flow))
	case "svg":
		_, err = out.Write(flow.SVG(plan.Topology))
		return err
	}
	return printPlan(out, planDocument(plan, flow))
}

// printForm prints an expression as one line of text or as YAML.
func printForm(w io.Writer, e topologies.Expr, format string) error {
	text := e.String() + "\n"
	if format == "yaml" {
		var err error
		if text, err = e.YAML(); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, text)
	return err
}

// planJSON is a plan as JSON for people and programs.
type planJSON struct {
	Topology   string                `json:"topology"`
	Digest     string                `json:"plan_sha256"`
	Components []stepJSON            `json:"components"`
	Relays     []relayJSON           `json:"relays"`
	Messages   []topologies.Message  `json:"messages"`
	Exposures  []topologies.Exposure `json:"exposures"`
}

type stepJSON struct {
	Label     evidence.Path   `json:"label"`
	Scheme    string          `json:"scheme,omitempty"`
	Bytes     int             `json:"evidence_bytes"`
	Node      string          `json:"node,omitempty"`
	Relay     int             `json:"relay,omitempty"`
	Nodes     []string        `json:"nodes,omitempty"`
	Quorum    int             `json:"quorum,omitempty"`
	NonceRule string          `json:"nonce_rule,omitempty"`
	Required  bool            `json:"required"`
	Reason    *verdict.Reason `json:"reason,omitempty"`
}

type relayJSON struct {
	Node   string          `json:"node"`
	Expr   string          `json:"expr"`
	Labels []evidence.Path `json:"labels"`
	Needs  []evidence.Path `json:"needs,omitempty"`
}

func planDocument(p *topologies.Plan, f *topologies.Flow) planJSON {
	digest := p.Digest()
	d := planJSON{
		Topology: p.Topology, Digest: hex.EncodeToString(digest[:]), Messages: f.Messages, Exposures: f.Exposures,
		Components: []stepJSON{}, Relays: []relayJSON{},
	}
	for _, st := range p.Steps {
		if st.Kind != topologies.Appraise {
			continue
		}
		s := stepJSON{
			Label: st.Label, Scheme: st.Scheme, Bytes: len(st.Evidence), Node: st.Node, Relay: st.Relay,
			Quorum: st.Quorum, NonceRule: st.NonceRule, Required: st.Required, Reason: st.Reason,
		}
		for _, src := range st.Sources {
			s.Nodes = append(s.Nodes, src.Node)
		}
		d.Components = append(d.Components, s)
	}
	for _, r := range p.Relays {
		d.Relays = append(d.Relays, relayJSON{r.Node, r.Expr.String(), r.Labels, r.Needs})
	}
	return d
}

// who says who appraises a component.
func (s stepJSON) who() string {
	switch {
	case s.Reason != nil:
		return "nobody: " + s.Reason.Code + ": " + s.Reason.Detail
	case s.Quorum > 0:
		nodes := slices.Clone(s.Nodes)
		if i := slices.Index(nodes, ""); i >= 0 {
			nodes[i] = "any node"
		}
		return fmt.Sprintf("%s at %s, quorum %d of %d", s.Scheme, strings.Join(nodes, ", "), s.Quorum, len(nodes))
	case s.Relay > 0:
		return fmt.Sprintf("%s at node %s, by relay %d", s.Scheme, s.Node, s.Relay)
	case s.Node != "":
		return s.Scheme + " at " + s.Node
	}
	return s.Scheme
}

func printPlan(w io.Writer, d planJSON) error {
	fmt.Fprintf(w, "%s\nplan sha-256 %s\n\ncomponents\n", printable(d.Topology), d.Digest)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range d.Components {
		need, rule := "required", s.NonceRule
		if !s.Required {
			need = "optional"
		}
		if rule == "" {
			rule = "no challenge"
		}
		fmt.Fprintf(t, "  %s\t%s\t%s\t%d bytes\t%s\n", printable(string(s.Label)), need, rule, s.Bytes, printable(s.who()))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(d.Relays) > 0 {
		fmt.Fprintf(w, "\nhanded on\n")
	}
	for i, r := range d.Relays {
		fmt.Fprintf(w, "  %d  to %s: %s", i+1, r.Node, printable(r.Expr))
		if len(r.Needs) > 0 {
			fmt.Fprintf(w, ", after %s", printable(labelList(r.Needs)))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "\nmessages, by stage, with bytes of evidence\n")
	for _, m := range d.Messages {
		fmt.Fprintf(t, "  %d\t%s → %s\t%d\t%s\n", m.Stage, m.From, m.To, m.EvidenceBytes, printable(m.String()))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nwho sees what\n")
	for _, x := range d.Exposures {
		fmt.Fprintf(t, "  %s\t%s\n", x.Who, printable(strings.Join(x.Lines(), "; ")))
	}
	return t.Flush()
}

func labelList(labels []evidence.Path) string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = string(l)
	}
	return strings.Join(out, ", ")
}
