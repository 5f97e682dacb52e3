// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Component is one thing to be judged: a leaf of the evidence tree, or one
// device of a leaf that carries several.
type Component struct {
	Label evidence.Path
	// Leaf is the path of the leaf that it came from; it equals Label unless
	// the leaf was split.
	Leaf      evidence.Path
	MediaType evidence.MediaType
	// Scheme is empty when nobody can appraise it; Reason then says why.
	Scheme    string
	Class     verifiers.Class
	NonceSize int
	Evidence  []byte
	// Digest is the SHA-256 of the evidence where that is not at hand, because
	// it is for another node; zero otherwise.
	Digest [sha256.Size]byte
	Reason *verdict.Reason
}

// digest is the SHA-256 of the component's bytes.
func (c Component) digest() [sha256.Size]byte {
	if c.Evidence == nil && c.Digest != ([sha256.Size]byte{}) {
		return c.Digest
	}
	return sha256.Sum256(c.Evidence)
}

// Input is everything that a plan depends on.
type Input struct {
	Components []Component
	// Nonce is the session nonce, nil when none was given.
	Nonce  []byte
	Adjust *Adjustment
	// Commit is set where the composite declares a convention (evidence.Tree.
	// Commitment), ours or that of others. Its Nonce is not looked at.
	Commit *evidence.Commitment
	// Given holds challenges that the caller named per label path; a path
	// covers everything below it, the longest wins.
	Given map[evidence.Path][]byte
	// Optional are label patterns beyond those in the expression.
	Optional []string
	// Self is the name of the node that plans; what is placed there is not
	// handed on. Preset holds challenges that a sender has derived already.
	Self   string
	Preset map[evidence.Path]Challenge
	// Route gives the candidates for a scheme at a node ("" = anywhere).
	Route func(scheme, node string) []verifiers.Candidate
	// Paths is the policy of allowed paths, nil for any. Passed are the names of
	// the nodes that the evidence has passed, the entry first and this one last.
	Paths  *Paths
	Passed []string
}

// Challenge is what a component must have answered, and the rule behind it.
type Challenge struct {
	Nonce []byte
	Rule  string
}

// Kind of a step.
type Kind string

// Kinds of steps.
const (
	Appraise Kind = "appraise"
	Combine  Kind = "combine"
)

// Step is one action of a plan. A step with a Reason is not dispatched: its
// component is in the verdict without an appraisal.
type Step struct {
	Kind  Kind
	Label evidence.Path
	// Leaf is the leaf that the component is, or is part of.
	Leaf       evidence.Path
	Scheme     string
	Class      verifiers.Class
	MediaType  evidence.MediaType
	Evidence   []byte
	Digest     [32]byte
	Nonce      []byte
	NonceRule  string
	Required   bool
	Candidates []verifiers.Candidate
	// Sources are redundant verifiers of the component, of which Quorum have to
	// answer; nil for one verifier, whose Candidates count.
	Sources []Source
	Quorum  int
	// Relay is 1 + the index of the relay that brings the result, 0 where this
	// node asks the verifier itself. Node is where the component is placed: the
	// node that answers for it, or the site of the verifier; "" for anywhere.
	Relay int
	Node  string
	// Path are the nodes that a relay goes through, the one that answers last.
	Path []string
	// Site is where the node of a relay has to ask, "" where that is its own
	// business: results are then those of the verifiers there.
	Site   string
	Reason *verdict.Reason
}

// Plan is an ordered list of steps: one per component, sorted by label, then
// the combination.
type Plan struct {
	// Topology is the expression with its patterns resolved to labels.
	Topology string
	Steps    []Step
	// Relays are what other nodes carry out.
	Relays []Relay
}

// New plans an expression over the components. An error means that the
// expression cannot be carried out at all; what is merely missing or unknown
// is in the plan as a component without a verdict.
func New(e Expr, in Input) (*Plan, error) {
	if in.Route == nil {
		return nil, errors.New("topologies: no routes")
	}
	if e.Head == Label || e.Head == Optional {
		e = Expr{Head: Lead, Args: []Expr{e}, Pos: e.Pos}
	}
	for _, c := range in.Components {
		if err := usable(c.Label); err != nil {
			return nil, err
		}
	}
	s := &scope{in: in, owned: map[evidence.Path]int{}}
	resolved, err := s.expr(e, true)
	if err != nil {
		return nil, err
	}
	s.deviations()
	s.leftovers()
	slices.SortFunc(s.steps, func(a, b Step) int { return strings.Compare(string(a.Label), string(b.Label)) })
	for i := 1; i < len(s.steps); i++ {
		if s.steps[i].Label == s.steps[i-1].Label {
			return nil, fmt.Errorf("topologies: two components have the label %s", s.steps[i].Label)
		}
	}
	if resolved.Head == Label { // a group has no text of its own
		resolved = Expr{Head: Lead, Args: appendGroup(nil, resolved), Pos: e.Pos}
	}
	relays := slices.Clone(s.relays)
	return &Plan{Topology: resolved.String(), Steps: append(s.steps, Step{Kind: Combine}), Relays: relays}, nil
}

// ErrLabel says that the evidence has a label that a topology or a verdict cannot name.
var ErrLabel = errors.New("topologies: label cannot be used")

// usable refuses labels that mean something else in an expression ("*") or in
// a verdict ("composite" is the submod of the whole), before any work is done.
func usable(label evidence.Path) error {
	if label == "" || label == "composite" || slices.Contains(strings.Split(string(label), "/"), "*") {
		return fmt.Errorf("%w: %q is reserved", ErrLabel, label)
	}
	return nil
}

// scope is the state of one planning run.
type scope struct {
	in     Input
	owned  map[evidence.Path]int // position of the operand that owns it
	steps  []Step
	relays []Relay
	via    *remote // nil while this node plans for itself
}

// head plans one kind of expression; heads is the explicit list of them.
type head struct {
	name Head
	plan func(*scope, Expr, bool) (Expr, error)
}

func heads() []head {
	return []head{
		{Label, (*scope).label},
		{Lead, (*scope).lead},
		{Cascade, (*scope).cascade},
		{Parallel, (*scope).parallel},
		{Optional, (*scope).optional},
	}
}

func (s *scope) expr(e Expr, required bool) (Expr, error) {
	if e.Head != Label && e.Node != "" {
		return s.elsewhere(e, required)
	}
	for _, h := range heads() {
		if h.name == e.Head {
			return h.plan(s, e, required)
		}
	}
	return Expr{}, &ParseError{e.Pos, fmt.Sprintf("%q is a topology that this build cannot run", string(e.Head))}
}

// elsewhere plans an expression that is placed at a node as a whole.
func (s *scope) elsewhere(e Expr, required bool) (Expr, error) {
	node := e.Node
	inner := e
	inner.Node = ""
	switch {
	case node == s.in.Self && s.via == nil:
		return s.expr(inner, required)
	case s.via != nil:
		return s.ownedBy(node, inner, required)
	}
	r, err := s.relayed(node, inner, required, nil)
	if err != nil {
		return Expr{}, err
	}
	return handed(r, node), nil
}

// args plans every operand and returns them resolved.
func (s *scope) args(e Expr, required bool) (Expr, error) {
	out := e
	out.Args = make([]Expr, 0, len(e.Args))
	for _, a := range e.Args {
		r, err := s.expr(a, required)
		if err != nil {
			return Expr{}, err
		}
		if r.Head == Label && r.Pattern == "" {
			out.Args = append(out.Args, r.Args...)
			continue
		}
		out.Args = append(out.Args, r)
	}
	return out, nil
}

// label takes every component that the pattern names. A pattern that names
// nothing is a component that must be there and is not.
func (s *scope) label(e Expr, required bool) (Expr, error) {
	group := Expr{Head: Label, Pos: e.Pos}
	for _, c := range s.in.Components {
		if !Match(e.Pattern, string(c.Label)) {
			continue
		}
		if at, twice := s.owned[c.Label]; twice {
			return Expr{}, &ParseError{e.Pos, fmt.Sprintf("component %s is already named at position %d", c.Label, at+1)}
		}
		s.own(c, e, required)
		group.Args = append(group.Args, Expr{Head: Label, Pattern: string(c.Label), Node: e.Node, Pos: e.Pos})
	}
	if len(group.Args) > 0 {
		return group, nil
	}
	s.steps = append(s.steps, Step{
		Kind: Appraise, Label: evidence.Path(e.Pattern), Required: required && !s.isOptional(evidence.Path(e.Pattern)),
		Reason: &verdict.Reason{Code: verdict.ReasonMissingComponent, Detail: "nothing was submitted under " + e.Pattern},
	})
	return e, nil
}

func (s *scope) own(c Component, e Expr, required bool) {
	s.owned[c.Label] = e.Pos
	st := Step{
		Kind: Appraise, Label: c.Label, Scheme: c.Scheme, Class: c.Class, MediaType: c.MediaType,
		Evidence: c.Evidence, Digest: c.digest(), Leaf: c.Leaf, Node: e.Node,
		Required: required && !s.isOptional(c.Label), Reason: c.Reason,
	}
	s.nonce(&st, c)
	if s.via != nil {
		st.Relay, st.Node, st.Site = s.via.relay+1, s.via.owner, e.Node
		st.Path = slices.Clone(s.via.path)
	} else if st.Reason == nil {
		st.Candidates = s.in.Route(c.Scheme, e.Node)
		if len(st.Candidates) == 0 {
			st.Reason = &verdict.Reason{Code: verdict.ReasonNoVerifier, Detail: "no node serves " + c.Scheme + atNode(e.Node)}
		}
	}
	s.steps = append(s.steps, st)
}

func atNode(node string) string {
	if node == "" {
		return ""
	}
	return " at " + node
}

func (s *scope) isOptional(label evidence.Path) bool {
	return slices.ContainsFunc(s.in.Optional, func(p string) bool { return Match(p, string(label)) })
}

// nonce chooses the challenge for a step. A rule that cannot be applied makes
// the component undispatchable rather than silently unchecked.
func (s *scope) nonce(st *Step, c Component) {
	if preset, ok := s.in.Preset[c.Label]; ok {
		st.Nonce, st.NonceRule = preset.Nonce, preset.Rule
		return
	}
	if v, ok := s.given(c.Label); ok {
		st.Nonce, st.NonceRule = v, RuleGiven
		return
	}
	if s.in.Nonce == nil || c.Scheme == "" {
		return
	}
	var err error
	if st.NonceRule = boundRule(s.in.Commit, c.Class == verifiers.ClassCPU, c.NonceSize); st.NonceRule != "" {
		st.Nonce, err = s.bound(st.NonceRule, c)
	} else if st.NonceRule, err = s.in.Adjust.rule(string(c.Leaf), c.NonceSize, len(s.in.Nonce)); err == nil {
		st.Nonce, err = DeriveNonce(st.NonceRule, s.in.Nonce)
	}
	if err != nil {
		st.NonceRule = ""
		st.Reason = &verdict.Reason{Code: verdict.ReasonNonceMismatch, Detail: err.Error()}
	}
}

// bound is the challenge by the convention that the composite declares. Who
// commits to the rest of it is the only CPU TEE.
func (s *scope) bound(rule string, c Component) ([]byte, error) {
	for _, other := range s.in.Components {
		if evidence.CommitsToEvidence(rule) && other.Class == verifiers.ClassCPU && other.Label != c.Label {
			return nil, fmt.Errorf("the composite says that one CPU TEE commits to the rest of it, and has two: %s and %s", c.Label, other.Label)
		}
	}
	challenge, err := DeriveBound(rule, *s.in.Commit, s.in.Nonce, c.Leaf)
	switch {
	case err != nil:
		return nil, err
	case len(challenge) != c.NonceSize:
		return nil, fmt.Errorf("the evidence of %s carries %d bytes, a challenge by rule %q has %d", c.Label, c.NonceSize, rule, len(challenge))
	}
	return challenge, nil
}

func (s *scope) given(label evidence.Path) ([]byte, bool) {
	best, found := evidence.Path(""), false
	for p := range s.in.Given {
		if label.Under(p) && (!found || len(p) > len(best)) {
			best, found = p, true
		}
	}
	return s.in.Given[best], found
}

// leftovers reports what was submitted and that nobody asked for: it is not
// appraised, and as an optional component without a verdict it caps.
func (s *scope) leftovers() {
	for _, c := range s.in.Components {
		if _, ok := s.owned[c.Label]; ok {
			continue
		}
		why := "the topology does not name this component"
		if c.Reason != nil { // a leaf that could not be taken apart, for example
			why += "; besides, " + c.Reason.Code + ": " + c.Reason.Detail
		}
		s.steps = append(s.steps, Step{
			Kind: Appraise, Label: c.Label, Scheme: c.Scheme, Class: c.Class, MediaType: c.MediaType,
			Evidence: c.Evidence, Digest: c.digest(), Leaf: c.Leaf,
			Reason: &verdict.Reason{Code: verdict.ReasonUnexpected, Detail: why},
		})
	}
}

// Digest is the SHA-256 of Canonical.
func (p *Plan) Digest() [32]byte {
	raw := p.Canonical()
	if raw == nil {
		return [32]byte{}
	}
	return sha256.Sum256(raw)
}

// Canonical is the plan as JSON, the same bytes for the same plan: topology,
// components, rules, candidates and evidence digests; never evidence itself.
func (p *Plan) Canonical() []byte {
	type step struct {
		Kind       Kind                  `json:"kind"`
		Label      evidence.Path         `json:"label,omitempty"`
		Scheme     string                `json:"scheme,omitempty"`
		MediaType  string                `json:"media_type,omitempty"`
		Digest     string                `json:"sha256,omitempty"`
		Nonce      string                `json:"nonce,omitempty"`
		NonceRule  string                `json:"nonce_rule,omitempty"`
		Required   bool                  `json:"required"`
		Candidates []verifiers.Candidate `json:"candidates,omitempty"`
		Sources    []Source              `json:"sources,omitempty"`
		Quorum     int                   `json:"quorum,omitempty"`
		Relay      int                   `json:"relay,omitempty"`
		Node       string                `json:"node,omitempty"`
		Site       string                `json:"site,omitempty"`
		Reason     *verdict.Reason       `json:"reason,omitempty"`
	}
	type relay struct {
		Node  string          `json:"node"`
		Expr  string          `json:"expr"`
		Needs []evidence.Path `json:"needs,omitempty"`
	}
	steps := make([]step, len(p.Steps))
	for i, s := range p.Steps {
		steps[i] = step{
			Kind: s.Kind, Label: s.Label, Scheme: s.Scheme, NonceRule: s.NonceRule, Nonce: hex.EncodeToString(s.Nonce),
			Required: s.Required, Candidates: s.Candidates, Reason: s.Reason,
			Sources: s.Sources, Quorum: s.Quorum, Relay: s.Relay, Node: s.Node, Site: s.Site,
		}
		if s.Kind == Appraise {
			steps[i].MediaType, steps[i].Digest = s.MediaType.String(), hex.EncodeToString(s.Digest[:])
		}
	}
	relays := make([]relay, len(p.Relays))
	for i, r := range p.Relays {
		relays[i] = relay{r.Node, r.Expr.String(), r.Needs}
	}
	raw, err := json.Marshal(struct {
		Topology string  `json:"topology"`
		Steps    []step  `json:"steps"`
		Relays   []relay `json:"relays,omitempty"`
	}{p.Topology, steps, relays})
	if err != nil { // only strings, numbers and booleans above
		return nil
	}
	return raw
}
