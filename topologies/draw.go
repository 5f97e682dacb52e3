// SPDX-License-Identifier: Apache-2.0

package topologies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/verifiers"
)

// MessageKind says what a message is.
type MessageKind string

// Kinds of messages. Submit and Verdict are the caller's; the others come in
// pairs of a question and its answer.
const (
	Submit    MessageKind = "submit"   // caller to entry: the composite
	Question  MessageKind = "appraise" // node to verifier: one component
	Statement MessageKind = "result"   // verifier to node: one signed result
	HandOn    MessageKind = "relay"    // node to node: the rest of an expression
	Answer    MessageKind = "answer"   // node to node: signed results
	Verdict   MessageKind = "verdict"  // entry to caller: the signed whole
)

// Participants that have no name of their own: neither can be a node's.
const (
	caller   = "(caller)"
	nameless = "(entry)"
)

// maxPath is the number of nodes that a relay may have passed (decision D-43).
const maxPath = 8

// Message is one message of a flow. Evidence is named by component label.
type Message struct {
	// Stage orders messages: those of one stage may be under way at once. It
	// counts from 1.
	Stage int         `json:"stage"`
	From  string      `json:"from"`
	To    string      `json:"to"`
	Kind  MessageKind `json:"kind"`
	// Whole: the composite itself goes along, in the clear.
	Whole bool `json:"whole,omitempty"`
	// Clear is evidence that the receiver can read: in the clear, or sealed to it.
	Clear []evidence.Path `json:"clear,omitempty"`
	// Sealed is evidence that the receiver hands on and cannot read.
	Sealed []evidence.Path `json:"sealed,omitempty"`
	// Digests are components or leaves of which only the SHA-256 goes along.
	Digests []evidence.Path `json:"digests,omitempty"`
	// Results are components whose signed results go along; an answer or a
	// verdict has a reason where there is none.
	Results []evidence.Path `json:"results,omitempty"`
	// EvidenceBytes is the size of all evidence in it before sealing: of Clear,
	// Sealed and the whole.
	EvidenceBytes int `json:"evidence_bytes"`
	// Expr is what a relay asks for.
	Expr string `json:"expr,omitempty"`
	// Refused says why the sender does not send it; it then has no contents, and
	// nothing follows from it.
	Refused string `json:"refused,omitempty"`
}

// Exposure is what one participant gets to see over all messages to it. Every
// label is in the first of the lists Clear, Sealed and Digests only that it
// belongs to.
type Exposure struct {
	Who     string          `json:"who"`
	Whole   bool            `json:"whole,omitempty"`
	Clear   []evidence.Path `json:"clear,omitempty"`
	Sealed  []evidence.Path `json:"sealed,omitempty"`
	Digests []evidence.Path `json:"digests,omitempty"`
	Results []evidence.Path `json:"results,omitempty"`
}

// Flow is who sends what to whom when a plan is carried out and everybody
// answers at the first attempt.
type Flow struct {
	Messages []Message `json:"messages"`
	// Exposures are in the order in which participants first get something.
	Exposures []Exposure `json:"exposures"`
}

// FlowInput is what a flow depends on beyond the plan. The zero value is an
// entry without a name, whose peers get their own evidence only.
type FlowInput struct {
	// Self is the name of the entry node.
	Self string
	// Composite is the size of the whole message in bytes.
	Composite int
	// Expose hands the whole composite to every node of a chain, and evidence in
	// the clear to nodes without a key to seal to (decision D-27).
	Expose bool
	// Node says whether a node is known and has a key to seal to; nil means yes.
	Node func(name string) (known, seals bool)
	// Commit are the leaves whose digests go along with every relay, because the
	// composite declares a convention for challenges (decisions D-28, D-93); nil if
	// it does not.
	Commit []evidence.Path
}

// NewFlow works out the messages of a plan. What a node does with a relay it
// takes from the expression in it, as the node has to; whether that node knows
// those that it hands on to is only asked of FlowInput.Node.
func NewFlow(p *Plan, in FlowInput) (*Flow, error) {
	if in.Node == nil {
		in.Node = func(string) (bool, bool) { return true, true }
	}
	entry := in.Self
	if entry == "" {
		entry = nameless
	}
	f := &flow{in: in}
	submitted := labelsOf(p.Steps, func(st Step) bool { return st.Leaf != "" })
	f.add(Message{Stage: 1, From: caller, To: entry, Kind: Submit, Whole: true, Clear: submitted, EvidenceBytes: in.Composite})
	end, err := f.node(hop{name: entry, path: []string{in.Self}, start: 1}, p)
	if err != nil {
		return nil, err
	}
	all := labelsOf(p.Steps, func(Step) bool { return true })
	f.add(Message{Stage: end + 1, From: entry, To: caller, Kind: Verdict, Results: all})
	slices.SortStableFunc(f.messages, func(a, b Message) int { return a.Stage - b.Stage })
	return &Flow{Messages: f.messages, Exposures: exposures(f.messages)}, nil
}

type flow struct {
	in       FlowInput
	messages []Message
}

func (f *flow) add(m Message) { f.messages = append(f.messages, m) }

// hop is a node that carries out a plan.
type hop struct {
	name string
	// path are the nodes that the expression has passed, this one last.
	path []string
	// start is the stage in which it got the expression.
	start int
	// earlier are the results that came along.
	earlier []evidence.Path
}

// node adds what a node sends and gets, and returns the last stage of that.
func (f *flow) node(h hop, p *Plan) (int, error) {
	done := map[evidence.Path]int{} // stage in which a result is there
	end := h.start
	for _, st := range p.Steps {
		if st.Kind != Appraise {
			continue
		}
		done[st.Label] = h.start
		if st.Reason != nil || st.Relay > 0 {
			continue
		}
		for _, to := range f.verifiersOf(h, st) {
			f.add(Message{Stage: h.start + 1, From: h.name, To: to, Kind: Question, Clear: []evidence.Path{st.Label}, EvidenceBytes: len(st.Evidence)})
			f.add(Message{Stage: h.start + 2, From: to, To: h.name, Kind: Statement, Results: []evidence.Path{st.Label}})
			done[st.Label] = h.start + 2
		}
		end = max(end, done[st.Label])
	}
	for i := range p.Relays {
		last, err := f.relay(h, p, i, done)
		if err != nil {
			return 0, err
		}
		end = max(end, last)
	}
	return end, nil
}

// verifiersOf are the verifiers that a node asks about a component. Those of
// another node, or of a site, have its name behind "@".
func (f *flow) verifiersOf(h hop, st Step) []string {
	at := func(node string) string {
		switch {
		case node == "" && len(h.path) == 1:
			return st.Scheme
		case node == "":
			node = h.name
		}
		return st.Scheme + "@" + node
	}
	if st.Sources == nil {
		return []string{at(st.Node)}
	}
	var out []string
	for _, src := range st.Sources {
		if len(src.Candidates) > 0 {
			out = append(out, at(src.Node))
		}
	}
	return out
}

// relay adds a relay, what its receiver does, and the answer.
func (f *flow) relay(h hop, p *Plan, index int, done map[evidence.Path]int) (int, error) {
	r := p.Relays[index]
	mine := func(st Step) bool { return st.Relay == index+1 && st.Reason == nil }
	labels := labelsOf(p.Steps, mine)
	if len(labels) == 0 {
		return h.start, nil
	}
	m := Message{Stage: h.start + 1, From: h.name, To: r.Node, Kind: HandOn, Expr: r.Expr.String(), Results: slices.Concat(h.earlier, r.Needs)}
	for _, label := range r.Needs {
		m.Stage = max(m.Stage, done[label]+1)
	}
	m.Refused = f.refusal(h, r.Node)
	for _, st := range p.Steps {
		if mine(st) {
			f.hand(&m, st)
		}
	}
	if f.in.Expose {
		m.Whole = true
		m.EvidenceBytes += f.in.Composite
	}
	for _, leaf := range f.in.Commit {
		if !slices.Contains(m.Clear, leaf) && !slices.Contains(m.Sealed, leaf) {
			m.Digests = append(m.Digests, leaf)
		}
	}
	if m.Refused != "" { // nothing of it leaves the sender
		f.add(Message{Stage: m.Stage, From: m.From, To: m.To, Kind: m.Kind, Expr: m.Expr, Refused: m.Refused})
		return m.Stage, nil
	}
	f.add(m)
	plan, err := atReceiver(r, p, mine)
	if err != nil {
		return 0, fmt.Errorf("topologies: as node %s has to plan it: %w", r.Node, err)
	}
	next := hop{name: r.Node, path: append(slices.Clone(h.path), r.Node), start: m.Stage, earlier: m.Results}
	end, err := f.node(next, plan)
	if err != nil {
		return 0, err
	}
	f.add(Message{Stage: end + 1, From: r.Node, To: h.name, Kind: Answer, Results: slices.Concat(m.Results, labels)})
	return end + 1, nil
}

// refusal says why nothing is handed on to a node.
func (f *flow) refusal(h hop, node string) string {
	if known, _ := f.in.Node(node); !known {
		return "node " + node + " is not known"
	}
	if slices.Contains(h.path, node) {
		return "it comes back to node " + node
	}
	if len(h.path) > maxPath {
		return fmt.Sprintf("it has passed more than %d nodes", maxPath)
	}
	return ""
}

// hand puts the evidence of one component into a relay, as far as its owner may
// read it.
func (f *flow) hand(m *Message, st Step) {
	known, seals := f.in.Node(st.Node)
	switch {
	case known && seals && st.Node == m.To, known && !seals && f.in.Expose:
		m.Clear = append(m.Clear, st.Label)
	case known && seals:
		m.Sealed = append(m.Sealed, st.Label)
	case m.Refused == "" && !known:
		m.Refused = "node " + st.Node + " is not known"
	case m.Refused == "":
		m.Refused = "node " + st.Node + " has no key to seal evidence to"
	}
	m.EvidenceBytes += len(st.Evidence)
}

// atReceiver is the plan that the receiver of a relay makes of it.
func atReceiver(r Relay, p *Plan, mine func(Step) bool) (*Plan, error) {
	e, err := Parse(r.Expr.String())
	if err != nil {
		return nil, err
	}
	in := Input{
		Self: r.Node, Preset: map[evidence.Path]Challenge{},
		Route: func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} },
	}
	for _, st := range p.Steps {
		if mine(st) {
			in.Components = append(in.Components, Component{
				Label: st.Label, Leaf: st.Leaf, MediaType: st.MediaType, Scheme: st.Scheme, Class: st.Class, Evidence: st.Evidence, Digest: st.Digest,
			})
			in.Preset[st.Label] = Challenge{Nonce: st.Nonce, Rule: st.NonceRule}
		}
	}
	return New(e, in)
}

func labelsOf(steps []Step, keep func(Step) bool) []evidence.Path {
	var out []evidence.Path
	for _, st := range steps {
		if st.Kind == Appraise && keep(st) {
			out = append(out, st.Label)
		}
	}
	return out
}

// exposures sums up the messages by receiver.
func exposures(messages []Message) []Exposure {
	var out []Exposure
	for _, m := range messages {
		if m.Refused != "" {
			continue
		}
		i := slices.IndexFunc(out, func(x Exposure) bool { return x.Who == m.To })
		if i < 0 {
			i = len(out)
			out = append(out, Exposure{Who: m.To})
		}
		x := &out[i]
		x.Whole = x.Whole || m.Whole
		x.Clear = union(x.Clear, m.Clear)
		x.Sealed = union(x.Sealed, m.Sealed)
		x.Digests = union(x.Digests, m.Digests)
		x.Results = union(x.Results, m.Results)
	}
	for i := range out {
		x := &out[i]
		if x.Whole {
			x.Sealed, x.Digests = nil, nil
		}
		x.Sealed = minus(x.Sealed, x.Clear)
		x.Digests = minus(minus(x.Digests, x.Clear), x.Sealed)
	}
	return out
}

func union(a, b []evidence.Path) []evidence.Path {
	out := slices.Concat(a, b)
	slices.SortFunc(out, func(x, y evidence.Path) int { return strings.Compare(string(x), string(y)) })
	return slices.Compact(out)
}

func minus(a, b []evidence.Path) []evidence.Path {
	return slices.DeleteFunc(slices.Clone(a), func(p evidence.Path) bool { return slices.Contains(b, p) })
}
