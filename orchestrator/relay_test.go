// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// member is one node of a federation: its own verifiers, keys and lead.
type member struct {
	name   string
	lead   *Orchestrator
	signer *trust.Signer
	seal   *trust.SealPrivate
	node   trust.Node
	seen   *seenOnce
	// verifiers are the keys of its verifiers by scheme.
	verifiers map[string]*trust.Signer
}

// seenOnce is a Spender in memory for concurrent use.
type seenOnce struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (s *seenOnce) Spend(_ context.Context, nonce []byte, _ time.Duration) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen[string(nonce)] {
		return ErrNonceSpent
	}
	s.seen[string(nonce)] = true
	return nil
}

// sites routes to the site that is named, or anywhere.
func sites(_, node string) []verifiers.Candidate {
	if node == "" {
		node = "any"
	}
	return []verifiers.Candidate{{Site: node}}
}

// wary are verifiers of a node, with its keys, that find nothing affirming.
func (f *federation) wary(name string) Appraiser {
	var schemes []verifiers.Scheme
	for _, sc := range testSchemes() {
		sc.New = func(verifiers.Deps) (verifiers.Verifier, error) { return wary{}, nil }
		schemes = append(schemes, sc)
	}
	set, err := verifiers.NewSet(schemes...)
	check(f.t, err)
	node, err := verifiers.NewNode(verifiers.NodeOptions{
		Set: set, Identity: verdict.Identity{Developer: "d", Build: "b"}, Signers: f.members[name].verifiers, Clock: time.Now,
	})
	check(f.t, err)
	return verifiers.Local{Node: node}
}

// federation is a set of nodes that know each other, and the wire between them.
type federation struct {
	t       *testing.T
	members map[string]*member
	anchors *trust.Anchors // of a relying party: every verifier, and the entry's lead
	schemes *verifiers.Set
	// wire changes what travels; nil leaves it alone.
	wire func(from, to string, message []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	mu   sync.Mutex
	sent []string
}

type wire struct {
	f    *federation
	from string
}

// Relay implements Relayer.
func (w wire) Relay(ctx context.Context, node, _ string, message []byte) ([]byte, error) {
	w.f.mu.Lock()
	w.f.sent = append(w.f.sent, w.from+">"+node)
	w.f.mu.Unlock()
	next := func(m []byte) ([]byte, error) {
		to, ok := w.f.members[node]
		if !ok {
			return nil, &verifiers.Failure{Reason: verdict.ReasonUnreachable, Detail: "nobody there"}
		}
		raw, err := to.lead.HandleRelay(ctx, m)
		if err != nil {
			return nil, &verifiers.Failure{Reason: verdict.ReasonRefused, Detail: "refused"}
		}
		return raw, nil
	}
	if w.f.wire != nil {
		return w.f.wire(w.from, node, message, next)
	}
	return next(message)
}

// newFederation makes the nodes; each trusts the others as trusts says, nil for
// all. "me" is the entry.
func newFederation(t *testing.T, trusts func(who, whom string) bool, names ...string) *federation {
	t.Helper()
	return newFederationOf(t, testSchemes(), trusts, names...)
}

func newFederationOf(t *testing.T, schemes []verifiers.Scheme, trusts func(who, whom string) bool, names ...string) *federation {
	t.Helper()
	f := &federation{t: t, members: map[string]*member{}}
	set, err := verifiers.NewSet(schemes...)
	check(t, err)
	f.schemes = set
	var all []trust.Key
	appraisers := map[string]verifiers.Local{}
	anchors := map[string]*trust.Anchors{}
	leads := map[string]*trust.Signer{}
	id := verdict.Identity{Developer: "https://test.example", Build: "test"}
	for _, name := range names {
		m := &member{name: name, seen: &seenOnce{seen: map[string]bool{}}}
		m.signer, err = trust.GenerateSigner(trust.ES256, rand.Reader)
		check(t, err)
		m.seal, err = trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
		check(t, err)
		signers := map[string]*trust.Signer{}
		var keys []trust.Key
		for _, sc := range set.Schemes() {
			signers[sc.Name], err = trust.GenerateSigner(trust.ES256, rand.Reader)
			check(t, err)
			keys = append(keys, signers[sc.Name].Key(name+" "+sc.Name, []string{sc.Name}, trust.RoleVerifier))
		}
		anchors[name], err = trust.NewAnchors(keys...)
		check(t, err)
		all = append(all, keys...)
		node, err := verifiers.NewNode(verifiers.NodeOptions{Set: set, Identity: id, Signers: signers, Clock: time.Now})
		check(t, err)
		appraisers[name], m.verifiers = verifiers.Local{Node: node}, signers
		described, err := trust.NewAnchors(append(keys, m.signer.Key(name, nil, trust.RoleNode))...)
		check(t, err)
		m.node = trust.Node{Name: name, Keys: described, Seal: []trust.SealKey{m.seal.Public(time.Time{})}}
		leads[name], err = trust.GenerateSigner(trust.ES256, rand.Reader)
		check(t, err)
		f.members[name] = m
	}
	all = append(all, leads["me"].Key("lead", nil, trust.RoleLead))
	f.anchors, err = trust.NewAnchors(all...)
	check(t, err)
	for _, name := range names {
		m := f.members[name]
		var others []trust.Node
		for _, other := range names {
			if other != name && (trusts == nil || trusts(name, other)) {
				others = append(others, f.members[other].node)
			}
		}
		nodes, err := trust.NewNodes(others...)
		check(t, err)
		m.lead, err = New(Options{
			Schemes: set, Appraiser: appraisers[name], Anchors: anchors[name], Signer: leads[name], Identity: id, Clock: time.Now, Rand: rand.Reader,
			Route: func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} }, Budget: 5 * time.Second,
			Peers: &Peers{Self: name, Nodes: nodes, Signer: m.signer, Seal: m.seal, Relayer: wire{f, name}, Seen: m.seen},
		})
		check(t, err)
	}
	return f
}

func (f *federation) appraise(topology string, parts ...string) *verdict.Result {
	f.t.Helper()
	e, err := topologies.Parse(topology)
	check(f.t, err)
	res, err := f.members["me"].lead.Appraise(context.Background(), Request{Evidence: composite(f.t, parts...), Nonce: []byte(testNonce), Topology: &e})
	check(f.t, err)
	again, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, f.anchors)
	check(f.t, err)
	check(f.t, Recheck(again, f.schemes))
	return res
}

// outcome is one word per component, and the tier of the whole.
func outcomes(r *verdict.Result) string {
	var out []string
	for _, c := range r.Components {
		out = append(out, string(c.Label)+"="+c.Tier().String())
	}
	return strings.Join(out, " ") + " | " + r.Outcome.Tier.String()
}

// The same composite gives the same component results under every topology,
// and the messages are those of the plan.
func TestTopologiesAgree(t *testing.T) {
	parts := []string{"a cpu good", "b dev good", "c dev warn", "d dev bad"}
	want := "a=affirming b=affirming c=warning d=contraindicated | contraindicated"
	for _, c := range []struct{ topology, sent string }{
		{"lead", ""},
		{"cascade(a, b, c, d)", ""},
		{"parallel(a, b, c, d)", ""},
		{"cascade(a, b@n1, c@n2, d@n2)", "me>n1 n1>n2"},
		{"cascade(a@n1, b@n2, c@n3, d)", "me>n1 n1>n2 n2>n3"},
		{"lead(a, lead(b)@n1, lead(c, d)@n2)", "me>n1 me>n2"},
		{"lead(a, cascade(b@n1, c@n2), d)", "me>n1 n1>n2"},
		{"lead(a, lead(b, cascade(c@n2, d@n3))@n1)", "me>n1 n1>n2 n2>n3"},
		{"lead@n1", "me>n1"},
		{"cascade(a, lead(b, c)@n1, d@n2)", "me>n1 n1>n2"},
	} {
		f := newFederation(t, nil, "me", "n1", "n2", "n3")
		res := f.appraise(c.topology, parts...)
		slices.Sort(f.sent)
		if got := outcomes(res); got != want || strings.Join(f.sent, " ") != c.sent {
			t.Errorf("%s: %s, sent %v, want %s\n%v", c.topology, got, f.sent, want, res.Components)
		}
	}
}

// Eight nodes can stand behind the entry, and no more (decision D-43).
func TestLongWays(t *testing.T) {
	names, parts, chain := []string{"me"}, []string{}, []string{}
	for i := range 9 {
		name, label := fmt.Sprintf("n%d", i+1), string(rune('a'+i))
		names, parts, chain = append(names, name), append(parts, label+" dev good"), append(chain, label+"@"+name)
	}
	f := newFederation(t, nil, names...)
	res := f.appraise("cascade("+strings.Join(chain[:8], ", ")+")", parts[:8]...)
	for _, c := range res.Components {
		if c.Partial.IsZero() || len(c.Path) < 2 {
			t.Errorf("%s by %v: %v", c.Label, c.Path, c.Reasons)
		}
	}
	f = newFederation(t, nil, names...)
	res = f.appraise("cascade("+strings.Join(chain, ", ")+")", parts...)
	for _, c := range res.Components {
		if last := c.Label == "i"; c.Partial.IsZero() != last {
			t.Errorf("%s by %v: %v", c.Label, c.Path, c.Reasons)
		} else if last && !slices.ContainsFunc(c.Reasons, func(r verdict.Reason) bool { return r.Code == verdict.ReasonPathDeviation }) {
			t.Errorf("%s: %v", c.Label, c.Reasons)
		}
	}
}

// A node that somebody does not know gets nothing from it, brings it nothing
// and is no hop.
func TestStrangersHaveNoPart(t *testing.T) {
	parts := []string{"a cpu good", "b dev good", "c dev good"}
	for _, c := range []struct {
		name, topology string
		trusts         func(who, whom string) bool
		want, sent     string
	}{
		{"the entry does not know it", "lead(a, lead(b)@n1, c)", func(who, whom string) bool { return !(who == "me" && whom == "n1") }, "a=affirming b=none c=affirming | none", ""},
		{"it does not know the entry", "lead(a, lead(b)@n1, c)", func(who, whom string) bool { return !(who == "n1" && whom == "me") }, "a=affirming b=none c=affirming | none", "me>n1"},
		{"the entry does not know the last hop", "cascade(a, b@n1, c@n2)", func(who, whom string) bool { return !(who == "me" && whom == "n2") }, "a=affirming b=affirming c=none | none", "me>n1"},
		{"the last hop does not know the one before", "cascade(a, b@n1, c@n2)", func(who, whom string) bool { return !(who == "n2" && whom == "n1") }, "a=affirming b=affirming c=none | none", "me>n1 n1>n2"},
		{"the last hop does not know the first verifier", "cascade(a, b@n1, c@n2)", func(who, whom string) bool { return !(who == "n2" && whom == "me") }, "a=affirming b=affirming c=none | none", "me>n1 n1>n2"},
	} {
		f := newFederation(t, c.trusts, "me", "n1", "n2")
		res := f.appraise(c.topology, parts...)
		if got := outcomes(res); got != c.want || strings.Join(f.sent, " ") != c.sent {
			t.Errorf("%s: %s, sent %v, want %s, %s\n%v", c.name, got, f.sent, c.want, c.sent, res.Components)
		}
	}
}

// What a wire does to messages is found: nothing affirms that did not travel
// unchanged, and everything that has no result says why.
func TestWireFaults(t *testing.T) {
	type hop = func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	flip := func(b []byte, at int) []byte {
		out := slices.Clone(b)
		out[at%len(out)] ^= 1
		return out
	}
	var last []byte
	for name, change := range map[string]hop{
		"envelope changed": func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			return next(flip(m, len(m)/2))
		},
		"answer changed": func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			raw, err := next(m)
			if err != nil {
				return nil, err
			}
			return flip(raw, len(raw)/2), nil
		},
		"answer of another relay": func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			raw, err := next(m)
			was := last
			last = raw
			if was == nil {
				return nil, errors.New("lost")
			}
			return was, err
		},
		"the envelope itself": func(_, _ string, m []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { return m, nil },
		"nothing":             func(_, _ string, _ []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { return nil, nil },
		"panic":               func(_, _ string, _ []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { panic("as asked") },
	} {
		f := newFederation(t, nil, "me", "n1", "n2")
		f.wire = change
		last = nil
		for range 2 {
			res := f.appraise("cascade(a, b@n1, c@n2)", "a cpu good", "b dev good", "c dev good")
			for _, c := range res.Components[1:] {
				if c.Tier() != verdict.TierNone || len(c.Reasons) == 0 {
					t.Errorf("%s: %s is %s: %v", name, c.Label, c.Tier(), c.Reasons)
				}
			}
			if a := res.Components[0]; a.Tier() != verdict.TierAffirming {
				t.Errorf("%s: what did not travel is %s: %v", name, a.Tier(), a.Reasons)
			}
		}
	}
}

// An envelope that comes twice is answered once.
func TestEnvelopeCountsOnce(t *testing.T) {
	f := newFederation(t, nil, "me", "n1")
	var again error
	f.wire = func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		raw, err := next(m)
		_, again = next(m)
		return raw, err
	}
	if res := f.appraise("lead(a, lead(b)@n1)", "a cpu good", "b dev good"); outcomes(res) != "a=affirming b=affirming | warning" {
		t.Errorf("%s", outcomes(res))
	}
	if again == nil {
		t.Error("a replayed envelope was answered")
	}
	f.members["n1"].lead.o.Peers.Seen = noStore{}
	f.wire = nil
	if res := f.appraise("lead(a, lead(b)@n1)", "a cpu good", "b dev good"); outcomes(res) != "a=affirming b=none | none" {
		t.Errorf("without a store of envelopes: %s", outcomes(res))
	}
}

// A node that is not reached, or takes too long, costs its own components.
func TestSilentNodes(t *testing.T) {
	for name, change := range map[string]func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error){
		"gone": func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if to == "n2" {
				return nil, &verifiers.Failure{Reason: verdict.ReasonUnreachable, Detail: "gone"}
			}
			return next(m)
		},
		"slow": func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if to == "n2" {
				time.Sleep(2 * time.Second)
			}
			return next(m)
		},
	} {
		f := newFederation(t, nil, "me", "n1", "n2")
		f.wire = change
		f.members["me"].lead.o.Budget = time.Second
		start := time.Now()
		res := f.appraise("cascade(a, b@n1, c@n2)", "a cpu good", "b dev good", "c dev good")
		if got := outcomes(res); got != "a=affirming b=affirming c=none | none" || time.Since(start) > 1500*time.Millisecond {
			t.Errorf("%s: %s after %s: %v", name, got, time.Since(start), res.Components)
		}
		if len(res.Components[2].Reasons) == 0 {
			t.Errorf("%s: no reason", name)
		}
	}
}

// Evidence is sealed to the node that answers for it: what another node of the
// chain sees is not it, and not of use elsewhere.
func TestEvidenceIsForItsNode(t *testing.T) {
	f := newFederation(t, nil, "me", "n1", "n2")
	var seen [][]byte
	f.wire = func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		seen = append(seen, slices.Clone(m))
		return next(m)
	}
	if res := f.appraise("cascade(a, b@n1, c@n2)", "a cpu good", "b dev good", "c dev good"); outcomes(res) != "a=affirming b=affirming c=affirming | warning" {
		t.Errorf("%s", outcomes(res))
	}
	for i, m := range seen {
		if strings.Contains(string(m), testNonce+" good") {
			t.Errorf("message %d shows evidence", i)
		}
	}
	f.members["me"].lead.o.Peers.Expose = true
	seen = nil
	f.appraise("cascade(a, b@n1, c@n2)", "a cpu good", "b dev good", "c dev good")
	if !strings.Contains(string(seen[0]), testNonce+" good") {
		t.Error("expose does not hand on the composite")
	}
	// A node without a seal key gets nothing, unless it may see everything.
	bare := newFederation(t, nil, "me", "n1")
	n := bare.members["n1"].node
	n.Seal = nil
	nodes, err := trust.NewNodes(n)
	check(t, err)
	bare.members["me"].lead.o.Peers.Nodes = nodes
	for expose, want := range map[bool]string{false: "a=affirming b=none | none", true: "a=affirming b=affirming | warning"} {
		bare.members["me"].lead.o.Peers.Expose = expose
		if got := outcomes(bare.appraise("lead(a, lead(b)@n1)", "a cpu good", "b dev good")); got != want {
			t.Errorf("expose %t: %s", expose, got)
		}
	}
}

// An expression that places something elsewhere is refused component by
// component where this node hands nothing on.
func TestNoPeers(t *testing.T) {
	w := newWorld(t, nil)
	e, err := topologies.Parse("lead(a, lead(b)@n1)")
	check(t, err)
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good", "b dev good"), Nonce: []byte(testNonce), Topology: &e})
	if got := outcomes(res); got != "a=affirming b=none | none" {
		t.Error(got)
	}
	if _, err := w.orch.HandleRelay(context.Background(), []byte("x")); !errors.Is(err, ErrRelayRefused) {
		t.Errorf("%v", err)
	}
	_ = evidence.Path("")
}

// A result counts only under the keys of the node at which its component is
// placed: a node cannot bring results of somebody else's verifiers, not even of
// one that the entry trusts for other parts.
func TestResultsAreThoseOfTheNode(t *testing.T) {
	for name, topology := range map[string]string{"relay": "lead(a, lead(b)@n1)", "site": "lead(a, b@n1)"} {
		f := newFederation(t, nil, "me", "n1", "n2")
		foreign := f.members["n2"].lead.o.Appraiser
		f.members["n1"].lead.o.Appraiser = foreign
		f.members["n1"].lead.o.Anchors = f.members["n2"].lead.o.Anchors
		if name == "site" {
			me := f.members["me"].lead
			me.o.Appraiser = bySite{me.o.Appraiser, foreign}
			me.o.Route = sites
		}
		res := f.appraise(topology, "a cpu good", "b dev good")
		if got := outcomes(res); got != "a=affirming b=none | none" || codes(find(t, res, "b").Reasons) != "bad-par-signature" {
			t.Errorf("%s: %s %v", name, got, find(t, res, "b").Reasons)
		}
	}
}

// bySite sends what is placed at a site to other verifiers than that site's.
type bySite struct {
	own, instead Appraiser
}

func (b bySite) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	if call.Candidates[0].Site != "any" {
		return b.instead.Appraise(ctx, call)
	}
	return b.own.Appraise(ctx, call)
}

// siteAppraiser asks the verifiers of the site that a call names.
type siteAppraiser struct {
	f      *federation
	own    string
	local  map[string]Appraiser
	silent string
}

func (a siteAppraiser) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	site := call.Candidates[0].Site
	if site == "any" {
		site = a.own
	}
	if strings.Contains(a.silent, site) {
		return verdict.Partial{}, &verifiers.Failure{Reason: verdict.ReasonTimeout, Detail: "silent"}
	}
	return a.local[site].Appraise(ctx, call)
}

// wary is a verifier that finds everything merely acceptable.
type wary struct{}

func (wary) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a, err := word{}.Appraise(ctx, in)
	a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	return a, err
}

// Redundant verifiers: the worst answer counts, a silent one is said, and too
// few are none.
func TestQuorumOfSites(t *testing.T) {
	for _, c := range []struct{ topology, silent, warns, want, reasons string }{
		{"lead(a, parallel(quorum 2: b@n1, b@n2, b@n3))", "", "", "a=affirming b=affirming | warning", ""},
		{"lead(a, parallel(quorum 2: b@n1, b@n2, b@n3))", "", "n2", "a=affirming b=warning | warning", "quorum-disagreement"},
		{"lead(a, parallel(quorum 2: b@n1, b@n2, b@n3))", "n3", "", "a=affirming b=warning | warning", "quorum-incomplete"},
		{"lead(a, parallel(quorum 2: b@n1, b@n2, b@n3))", "n1 n3", "", "a=affirming b=none | none", "quorum-not-reached"},
		{"lead(a, parallel(b@n1, b@n2))", "n2", "", "a=affirming b=none | none", "quorum-not-reached"},
	} {
		f := newFederation(t, nil, "me", "n1", "n2", "n3")
		local := map[string]Appraiser{}
		for name, m := range f.members {
			local[name] = m.lead.o.Appraiser
			if strings.Contains(c.warns, name) {
				local[name] = f.wary(name)
			}
		}
		for name, m := range f.members {
			m.lead.o.Appraiser = siteAppraiser{f: f, own: name, local: local, silent: c.silent}
			m.lead.o.Route = sites
		}
		res := f.appraise(c.topology, "a cpu good", "b dev good")
		var reasons []verdict.Reason
		for _, r := range find(t, res, "b").Reasons {
			if strings.HasPrefix(r.Code, "quorum-") {
				reasons = append(reasons, r)
			}
		}
		if got := outcomes(res); got != c.want || codes(reasons) != c.reasons {
			t.Errorf("%s silent %q: %s %v, want %s %s", c.topology, c.silent, got, find(t, res, "b").Reasons, c.want, c.reasons)
		}
	}
}

// A site inside a placed expression is asked by the node that receives it, and
// its own verifiers answer.
func TestSiteInsideAPlacedExpression(t *testing.T) {
	for topology, want := range map[string]string{
		"lead(a, lead(b, c@n2)@n1)":                              "a=affirming b=affirming c=affirming | warning",
		"lead(a, lead(b, parallel(quorum 2: c@n2, c@n3))@n1)":    "a=affirming b=affirming c=affirming | warning",
		"lead(a, lead(b, parallel(quorum 2: c@n2, c@other))@n1)": "a=affirming b=affirming c=affirming | warning", // n1's own at a site that nobody knows
	} {
		f := newFederation(t, nil, "me", "n1", "n2", "n3")
		local := map[string]Appraiser{}
		for name, m := range f.members {
			local[name] = m.lead.o.Appraiser
		}
		local["other"] = local["n1"]
		for name, m := range f.members {
			m.lead.o.Appraiser = siteAppraiser{f: f, own: name, local: local}
			m.lead.o.Route = sites
		}
		if res := f.appraise(topology, "a cpu good", "b dev good", "c dev good"); outcomes(res) != want {
			t.Errorf("%s: %s\n%v", topology, outcomes(res), find(t, res, "c").Reasons)
		}
		// Results of n1's verifiers are not those of n2.
		local["n2"] = local["n1"]
		if res := f.appraise("lead(a, lead(b, c@n2)@n1)", "a cpu good", "b dev good", "c dev good"); outcomes(res) != "a=affirming b=affirming c=none | none" {
			t.Errorf("somebody else's: %s", outcomes(res))
		}
	}
}
