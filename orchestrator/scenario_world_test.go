// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// Budget of every node in a scenario, in the time of its bubble.
const scenarioBudget = 5 * time.Second

// ask is one question to one verifier.
type ask struct{ label, site string }

// script says how a verifier behaves, "affirming" where nothing is said.
func (s *scenario) script(over map[ask]string, a ask) string {
	for _, m := range []map[ask]string{over, s.answers} {
		for _, k := range []ask{a, {a.label, ""}} {
			if kind, ok := m[k]; ok {
				return kind
			}
		}
	}
	return "affirming"
}

// actor is a scripted verifier at one site. Its evidence is the challenge that
// it answers, a space, the label, and words: "stale", "id:<device>".
type actor struct {
	says func(label string) string
	size int
}

func (v actor) Appraise(_ context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	nonce := in.Evidence[:min(v.size, len(in.Evidence))]
	words := strings.Fields(string(in.Evidence[len(nonce):]))
	kind := v.says(words[0])
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, NonceSeen: nonce}
	if in.Nonce != nil {
		a.Freshness = verdict.FreshnessMismatch
		if bytes.Equal(in.Nonce, nonce) {
			a.Freshness = verdict.FreshnessFresh
		}
	}
	for _, w := range words[1:] {
		if strings.HasPrefix(w, "id:") {
			a.Facts.Device = []string{w}
		}
	}
	a.Vector[verdict.Hardware], a.Vector[verdict.Executables] = verdict.ClaimApproved, verdict.ClaimApproved
	switch kind {
	case "warning":
		a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	case "none":
		a.Vector[verdict.Hardware] = verdict.ClaimMalfunction
	case "contraindicated":
		a.Vector[verdict.Hardware] = verdict.ClaimContraindicate
	case "open":
		a.Vector[verdict.Hardware] = verdict.ClaimNone
	case "unknown-software":
		a.Vector[verdict.Executables] = verdict.ClaimUnsafe
	case "malfunction":
		return a, verifiers.ErrMalfunction
	case "panic":
		panic("as asked")
	}
	return a, nil
}

// scenarioSchemes are "cpu", which can commit to the rest, and "dev".
func scenarioSchemes(says func(label string) string) []verifiers.Scheme {
	scheme := func(name string, class verifiers.Class, size int) verifiers.Scheme {
		return verifiers.Scheme{
			Name: name, Class: class, Version: "1.0.0", MaxEvidence: 1024, NonceSize: size,
			Accepts:  []evidence.MediaType{{Base: "application/vnd.test." + name}},
			Required: []verdict.ClaimName{verdict.Hardware, verdict.Executables},
			New:      func(verifiers.Deps) (verifiers.Verifier, error) { return actor{says, size}, nil },
		}
	}
	return []verifiers.Scheme{
		scheme("cpu", verifiers.ClassCPU, evidence.CommitmentSize), scheme("dev", verifiers.ClassDevice, len(testNonce)),
	}
}

// player is who takes part under one name: a node, or a site of "me".
type player struct {
	signer, lead *trust.Signer
	seal         *trust.SealPrivate
	verifiers    map[string]*trust.Signer
	keys         []trust.Key
	own          *trust.Anchors // what it believes of its own
	node         trust.Node
}

// cast are the keys of a scenario. They outlive a run, so that what differs
// between two runs is not who signed.
type cast struct {
	players  map[string]*player
	stranger map[string]*trust.Signer // keys that nobody knows
	reader   *trust.Anchors           // of a relying party
}

func newCast(t *testing.T, s *scenario) *cast {
	t.Helper()
	c := &cast{players: map[string]*player{}}
	signers := func() map[string]*trust.Signer {
		out := map[string]*trust.Signer{}
		for _, scheme := range []string{"cpu", "dev"} {
			var err error
			out[scheme], err = trust.GenerateSigner(trust.EdDSA, rand.Reader)
			check(t, err)
		}
		return out
	}
	c.stranger = signers()
	var all []trust.Key
	for _, name := range slices.Concat([]string{"me"}, s.nodes, s.sites) {
		p := &player{verifiers: signers()}
		for _, scheme := range []string{"cpu", "dev"} {
			p.keys = append(p.keys, p.verifiers[scheme].Key(name+" "+scheme, []string{scheme}, trust.RoleVerifier))
		}
		all = append(all, p.keys...)
		c.players[name] = p
		if slices.Contains(s.sites, name) {
			continue
		}
		var err error
		p.signer, err = trust.GenerateSigner(trust.EdDSA, rand.Reader)
		check(t, err)
		p.lead, err = trust.GenerateSigner(trust.EdDSA, rand.Reader)
		check(t, err)
		p.seal, err = trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
		check(t, err)
		described, err := trust.NewAnchors(append(slices.Clone(p.keys), p.signer.Key(name, nil, trust.RoleNode))...)
		check(t, err)
		p.node = trust.Node{Name: name, Keys: described}
		if !slices.Contains(s.noSeal, name) {
			p.node.Seal = []trust.SealKey{p.seal.Public(time.Time{})}
		}
	}
	for _, name := range append([]string{"me"}, s.nodes...) {
		own := slices.Clone(c.players[name].keys)
		for _, site := range s.sites {
			if name == "me" {
				own = append(own, c.players[site].keys...)
			}
		}
		var err error
		c.players[name].own, err = trust.NewAnchors(own...)
		check(t, err)
	}
	var err error
	c.reader, err = trust.NewAnchors(append(all, c.players["me"].lead.Key("lead", nil, trust.RoleLead))...)
	check(t, err)
	return c
}

// whose names the player that a verifier's key belongs to.
func (c *cast) whose(kid string) string {
	for name, p := range c.players {
		if slices.ContainsFunc(p.keys, func(k trust.Key) bool { return k.KID == kid }) {
			return name
		}
	}
	return "somebody"
}

// variation is how a run differs from its scenario.
type variation struct {
	seed     uint64 // 0: everybody answers at once
	topology *topologies.Expr
	optional []string
	answers  map[ask]string
	hops     map[string]string
}

// performance is one run.
type performance struct {
	s    *scenario
	cast *cast
	v    variation
	mu   sync.Mutex
	// asks are all questions "who>site label", sent all hops, answered the tier
	// of each answer that was taken.
	asks, sent []string
	answered   map[ask]verdict.Tier
	leads      map[string]*Orchestrator
	res        *verdict.Result
}

// delay is drawn from the seed for each message.
func (p *performance) delay(what string) {
	if p.v.seed == 0 {
		return
	}
	h := fnv.New64a()
	fmt.Fprint(h, p.v.seed, what)
	time.Sleep(time.Duration(h.Sum64()%20) * time.Millisecond)
}

// stage is the Appraiser of one node: verifiers of any site, with their faults.
type stage struct {
	p   *performance
	own string
}

func (s stage) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	site := call.Candidates[0].Site
	if site == "any" {
		site = s.own
	}
	a := ask{string(call.Request.Label), site}
	s.p.mu.Lock()
	s.p.asks = append(s.p.asks, s.own+">"+site+" "+a.label)
	s.p.answered[a] = verdict.TierNone
	s.p.mu.Unlock()
	s.p.delay("ask " + a.label + "@" + site)
	kind, _, _ := strings.Cut(s.p.s.script(s.p.v.answers, a), " ")
	who := s.p.cast.players[site]
	if who == nil {
		return verdict.Partial{}, &verifiers.Failure{Reason: verdict.ReasonUnreachable, Detail: "nobody there"}
	}
	signers := who.verifiers
	switch kind {
	case "silence":
		<-ctx.Done()
		return verdict.Partial{}, ctx.Err()
	case "late":
		time.Sleep(2 * scenarioBudget)
	case verdict.ReasonUnreachable, verdict.ReasonBusy, verdict.ReasonRefused:
		return verdict.Partial{}, &verifiers.Failure{Reason: kind, Detail: "as asked"}
	case "bad-signature":
		signers = s.p.cast.stranger
	case "foreign":
		_, other, _ := strings.Cut(s.p.s.script(s.p.v.answers, a), " ")
		signers = s.p.cast.players[other].verifiers
	case "wrong-nonce":
		call.Request.Nonce = bytes.Repeat([]byte{7}, max(8, len(call.Request.Nonce)))
	case "other-evidence":
		call.Request.Evidence = append(bytes.Clone(call.Request.Evidence), " x"...)
	case "other-label":
		call.Request.Label += "/x"
	case "replay":
		call.Request.ID = strings.Repeat("0", len(call.Request.ID))
	}
	return s.answer(ctx, call, a, signers)
}

func (s stage) answer(ctx context.Context, call verifiers.Call, a ask, signers map[string]*trust.Signer) (verdict.Partial, error) {
	set, err := verifiers.NewSet(scenarioSchemes(func(label string) string { return s.p.s.script(s.p.v.answers, ask{label, a.site}) })...)
	if err != nil {
		return verdict.Partial{}, err
	}
	node, err := verifiers.NewNode(verifiers.NodeOptions{
		Set: set, Identity: verdict.Identity{Developer: "https://test.example", Build: "test"}, Signers: signers, Clock: time.Now,
	})
	if err != nil {
		return verdict.Partial{}, err
	}
	got, err := verifiers.Local{Node: node}.Appraise(ctx, call)
	if err == nil && ctx.Err() == nil {
		s.p.mu.Lock()
		s.p.answered[a] = got.Status()
		s.p.mu.Unlock()
	}
	return got, err
}

// line is the wire of one node, with the faults of its hops.
type line struct {
	p    *performance
	from string
}

// Relay implements Relayer.
func (l line) Relay(ctx context.Context, to, _ string, message []byte) ([]byte, error) {
	hop := l.from + ">" + to
	l.p.mu.Lock()
	l.p.sent = append(l.p.sent, hop)
	l.p.mu.Unlock()
	l.p.delay("hop " + hop)
	kind, ok := l.p.v.hops[hop]
	if !ok {
		kind = l.p.s.hops[hop]
	}
	flip := func(b []byte) []byte {
		b = bytes.Clone(b)
		b[len(b)/2] ^= 1
		return b
	}
	lead := l.p.leads[to]
	switch {
	case kind == "unreachable" || lead == nil:
		return nil, &verifiers.Failure{Reason: verdict.ReasonUnreachable, Detail: "nobody there"}
	case kind == "silence":
		<-ctx.Done()
		return nil, ctx.Err()
	case kind == "envelope-changed":
		message = flip(message)
	case kind == "twice":
		if _, err := lead.HandleRelay(ctx, message); err != nil {
			return nil, &verifiers.Failure{Reason: verdict.ReasonRefused, Detail: "refused"}
		}
	}
	raw, err := lead.HandleRelay(ctx, message)
	switch {
	case err != nil:
		return nil, &verifiers.Failure{Reason: verdict.ReasonRefused, Detail: "refused"}
	case kind == "answer-changed":
		raw = flip(raw)
	case kind == "late":
		time.Sleep(2 * scenarioBudget)
	case kind == "nothing":
		raw = nil
	}
	return raw, nil
}

// run performs a scenario once, in time of its own, and lets a relying party
// check what came out.
func (s *scenario) run(t *testing.T, c *cast, v variation) *performance {
	t.Helper()
	p := &performance{s: s, cast: c, v: v, answered: map[ask]verdict.Tier{}, leads: map[string]*Orchestrator{}}
	synctest.Test(t, func(t *testing.T) {
		defer time.Sleep(3 * scenarioBudget) // for those who come late
		set, err := verifiers.NewSet(scenarioSchemes(func(string) string { return "affirming" })...)
		check(t, err)
		for _, name := range append([]string{"me"}, s.nodes...) {
			p.leads[name] = p.newLead(t, name, set)
		}
		expr := s.expr
		if v.topology != nil {
			expr = *v.topology
		}
		request := Request{Evidence: s.composite(t), Topology: &expr, Optional: slices.Concat(s.optional, v.optional)}
		if !s.noNonce {
			request.Nonce = []byte(testNonce)
		}
		p.res, err = p.leads["me"].Appraise(context.Background(), request)
		if err != nil {
			t.Fatalf("%s: %s: %v", s.name, expr, err)
		}
		p.accepted(t, set, request.Evidence)
	})
	slices.Sort(p.asks)
	slices.Sort(p.sent)
	return p
}

// accepted is what a relying party does with the verdict; what it cannot check
// again is none.
func (p *performance) accepted(t *testing.T, set *verifiers.Set, raw []byte) {
	t.Helper()
	again, err := verdict.VerifyResult(p.res.Token, verdict.Intake{Now: time.Now()}, p.cast.reader)
	check(t, err)
	check(t, Recheck(again, set))
	tree, err := evidence.Parse(raw, evidence.Options{})
	check(t, err)
	check(t, RecheckEvidence(again, set, tree))
	if again.Outcome.Tier != p.res.Outcome.Tier {
		t.Errorf("the relying party reads %s, the lead says %s", again.Outcome.Tier, p.res.Outcome.Tier)
	}
}

func (p *performance) newLead(t *testing.T, name string, set *verifiers.Set) *Orchestrator {
	t.Helper()
	me := p.cast.players[name]
	var others []trust.Node
	for _, other := range append([]string{"me"}, p.s.nodes...) {
		if other != name && !p.s.strangers[name+" "+other] {
			others = append(others, p.cast.players[other].node)
		}
	}
	nodes, err := trust.NewNodes(others...)
	check(t, err)
	lead, err := New(Options{
		Schemes: set, Appraiser: stage{p, name}, Anchors: me.own, Signer: me.lead, Clock: time.Now, Rand: rand.Reader,
		Identity: verdict.Identity{Developer: "https://test.example", Build: "test"}, Budget: scenarioBudget, Route: p.route,
		Peers: &Peers{Self: name, Nodes: nodes, Signer: me.signer, Seal: me.seal, Relayer: line{p, name}, Expose: p.s.expose,
			Seen: &seenOnce{seen: map[string]bool{}}},
	})
	check(t, err)
	return lead
}

// route serves every scheme everywhere but where the scenario says otherwise.
func (p *performance) route(scheme, node string) []verifiers.Candidate {
	if slices.Contains(p.s.unserved, scheme+" "+node) {
		return nil
	}
	return sites(scheme, node)
}

// composite is the evidence of a scenario. Unless it is loose, the first CPU
// commits to everything else in it.
func (s *scenario) composite(t *testing.T) []byte {
	t.Helper()
	var entries []evidence.Entry
	cpu := -1
	for _, c := range s.parts {
		if c.scheme == "cpu" && cpu < 0 {
			cpu = len(entries)
		}
		nonce := testNonce
		if slices.Contains(c.words, "stale") {
			nonce = strings.Repeat("z", len(testNonce))
		}
		if c.scheme == "cpu" {
			nonce = strings.Repeat(nonce, evidence.CommitmentSize/len(nonce))
			if s.loose {
				derived, err := topologies.DeriveNonce(topologies.RuleShake256+"/64", []byte(testNonce))
				check(t, err)
				nonce = string(derived)
			}
		}
		value := nonce + " " + strings.Join(append([]string{c.label}, c.words...), " ")
		entries = append(entries, entry(c.label, c.scheme, []byte(value)))
	}
	kind := "tag:test.example,2026:t"
	if !s.loose && cpu >= 0 {
		kind = evidence.BoundCollection
		sum := s.commitment(t, entries, cpu)
		value := append(sum, []byte(" "+strings.Join(append([]string{s.parts[cpu].label}, s.parts[cpu].words...), " "))...)
		entries[cpu] = entry(s.parts[cpu].label, "cpu", value)
	}
	raw, err := evidence.EncodeCBOR(nested(kind, entries))
	check(t, err)
	return raw
}

func (s *scenario) commitment(t *testing.T, entries []evidence.Entry, cpu int) []byte {
	t.Helper()
	rest := slices.Delete(slices.Clone(entries), cpu, cpu+1)
	c := evidence.Commitment{Nonce: []byte(testNonce), Leaves: map[evidence.Path]evidence.LeafDigest{}}
	if len(rest) > 0 {
		raw, err := evidence.EncodeCBOR(nested("", rest))
		check(t, err)
		tree, err := evidence.Parse(raw, evidence.Options{})
		check(t, err)
		c.Leaves = tree.LeafDigests()
	}
	sum, err := c.Sum()
	check(t, err)
	return sum[:]
}

// nested puts entries with a path for a label into collections of one level.
func nested(kind string, entries []evidence.Entry) evidence.Item {
	var top []evidence.Entry
	below := map[string][]evidence.Entry{}
	for _, e := range entries {
		group, rest, ok := strings.Cut(e.Label, "/")
		if !ok {
			top = append(top, e)
			continue
		}
		if below[group] == nil {
			top = append(top, evidence.Entry{Label: group})
		}
		e.Label = rest
		below[group] = append(below[group], e)
	}
	for i, e := range top {
		if below[e.Label] != nil {
			top[i].Item = evidence.Collection("", below[e.Label]...)
		}
	}
	return evidence.Collection(kind, top...)
}
