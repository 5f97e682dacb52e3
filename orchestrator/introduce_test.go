// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha3"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// guests are a federation whose nodes introduce themselves.
type guests struct {
	*federation
	// says are the words of a node's own evidence, by default "tee cpu good".
	says map[string][]string
	// post changes an introduction on its way; nil leaves it alone.
	post func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	// challenged changes what a node makes its evidence for.
	challenged func(who string, challenge []byte) []byte

	mu   sync.Mutex
	made []string
}

type postman struct {
	g    *guests
	from string
}

// Introduce implements Introducer.
func (p postman) Introduce(ctx context.Context, to, _ string, m []byte) ([]byte, error) {
	p.g.mu.Lock()
	p.g.made = append(p.g.made, p.from+">"+to)
	p.g.mu.Unlock()
	next := func(m []byte) ([]byte, error) {
		raw, err := p.g.members[to].lead.HandleIntroduction(ctx, m)
		if err != nil {
			return nil, &verifiers.Failure{Reason: verdict.ReasonRefused, Detail: "refused"}
		}
		return raw, nil
	}
	if p.g.post != nil {
		return p.g.post(p.from, to, m, next)
	}
	return next(m)
}

type speaker struct {
	g    *guests
	name string
}

// Attest implements Attester.
func (s speaker) Attest(_ context.Context, challenge []byte) ([]byte, string, error) {
	says := s.g.says[s.name]
	if says == nil {
		says = []string{"tee cpu good"}
	}
	if says[0] == "nothing" {
		return nil, "", errors.New("no machine")
	}
	if s.g.challenged != nil {
		challenge = s.g.challenged(s.name, challenge)
	}
	return answering(s.g.t, challenge, says...), "application/cmw+cbor", nil
}

// answering is a composite of "label scheme words" for a challenge.
func answering(t testing.TB, challenge []byte, parts ...string) []byte {
	t.Helper()
	nonce := string(sha3.SumSHAKE256(challenge, len(testNonce)))
	var entries []evidence.Entry
	for _, p := range parts {
		f := strings.SplitN(p, " ", 3)
		mt := evidence.MediaType{Base: "application/vnd.test." + f[1]}
		entries = append(entries, evidence.Entry{Label: f[0], Item: evidence.Record(mt, []byte(nonce+" "+f[2]), evidence.IndEvidence)})
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection("", entries...))
	check(t, err)
	return raw
}

// newGuests makes nodes of which each requires what rules say, by name; a node
// without rules requires nothing, and introduces itself all the same.
func newGuests(t *testing.T, rules map[string]Introductions, names ...string) *guests {
	t.Helper()
	g := &guests{federation: newFederation(t, nil, names...), says: map[string][]string{}}
	for name := range g.members {
		in := rules[name]
		in.Introducer, in.Attester, in.Own = postman{g, name}, speaker{g, name}, g.members[name].node
		g.change(name, func(o *Options, p *Peers) { o.Appraiser, p.Introductions = g.exact(name, false), &in })
	}
	return g
}

// exactly is word for nonces that may have a space in them; with stale nothing
// shows a challenge, and the tier is as with a fresh warning.
type exactly struct{ stale bool }

func (e exactly) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	raw := in.Evidence
	if len(raw) <= len(testNonce) {
		return verdict.Appraisal{}, verifiers.ErrMalfunction
	}
	seen, want := raw[:len(testNonce)], in.Nonce
	in.Nonce, in.Evidence = nil, append([]byte("nonce"), raw[len(testNonce):]...)
	a, err := word{}.Appraise(ctx, in) // which leaves freshness open
	a.NonceSeen = seen
	if want != nil && !e.stale {
		a.Freshness = verdict.FreshnessMismatch
		if bytes.Equal(seen, want) {
			a.Freshness = verdict.FreshnessFresh
		}
	}
	return a, err
}

// exact are verifiers of a member with its keys.
func (g *guests) exact(name string, stale bool) Appraiser {
	var schemes []verifiers.Scheme
	for _, sc := range testSchemes() {
		sc.New = func(verifiers.Deps) (verifiers.Verifier, error) { return exactly{stale}, nil }
		schemes = append(schemes, sc)
	}
	set, err := verifiers.NewSet(schemes...)
	check(g.t, err)
	node, err := verifiers.NewNode(verifiers.NodeOptions{
		Set: set, Identity: verdict.Identity{Developer: "d", Build: "b"}, Signers: g.members[name].verifiers, Clock: time.Now,
	})
	check(g.t, err)
	return verifiers.Local{Node: node}
}

// change makes a member's orchestrator anew.
func (g *guests) change(name string, edit func(*Options, *Peers)) {
	g.t.Helper()
	o := g.members[name].lead.o
	p := *o.Peers
	o.Peers = &p
	edit(&o, &p)
	var err error
	g.members[name].lead, err = New(o)
	check(g.t, err)
}

func (g *guests) introductions() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.Sort(g.made)
	return strings.Join(g.made, " ")
}

var (
	warning   = Introductions{Require: verdict.TierWarning}
	affirming = Introductions{Require: verdict.TierAffirming}
	abcGood   = []string{"a cpu good", "b dev good", "c dev good"}
)

// Both neighbours of every hop introduce themselves, once, before anything is
// exchanged; then everything is as without.
func TestIntroductionsBothWays(t *testing.T) {
	all := map[string]Introductions{"me": affirming, "n1": affirming, "n2": affirming}
	for topology, want := range map[string]string{
		"lead(a, lead(b)@n1, lead(c)@n2)":     "me>n1 me>n2 n1>me n2>me",
		"cascade(a, b@n1, c@n2)":              "me>n1 me>n2 n1>me n1>n2 n2>n1",
		"lead(a, cascade(b@n1, c@n2))":        "me>n1 me>n2 n1>me n1>n2 n2>n1",
		"parallel(a, lead(b)@n1, lead(c)@n1)": "me>n1 n1>me",
		"lead(a, b, c)":                       "",
	} {
		g := newGuests(t, all, "me", "n1", "n2")
		for range 2 {
			if got := outcomes(g.appraise(topology, abcGood...)); got != "a=affirming b=affirming c=affirming | affirming" && !strings.HasSuffix(got, "| warning") {
				t.Errorf("%s: %s", topology, got)
			}
		}
		if got := g.introductions(); got != want {
			t.Errorf("%s: %s, want %s", topology, got, want)
		}
	}
}

func wantStranger(t *testing.T, name string, res *verdict.Result, labels ...string) {
	t.Helper()
	for _, c := range res.Components {
		if !slices.Contains(labels, string(c.Label)) {
			continue
		}
		if c.Tier() != verdict.TierNone || len(c.Reasons) == 0 || c.Reasons[0].Code != verdict.ReasonPeerNotAttested && !strings.Contains(c.Reasons[0].Detail, verdict.ReasonPeerNotAttested) {
			t.Errorf("%s: %s is %s: %v", name, c.Label, c.Tier(), c.Reasons)
		}
	}
	if res.Outcome.Tier != verdict.TierNone {
		t.Errorf("%s: the whole is %s", name, res.Outcome.Tier)
	}
}

// Whoever does not introduce itself as it should gets nothing.
func TestStrangersGetNothing(t *testing.T) {
	type post = func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	var last []byte
	other, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	check(t, err)
	for name, c := range map[string]struct {
		rule       Introductions
		says       []string
		post       post
		challenged func(who string, challenge []byte) []byte
		prepare    func(g *guests)
	}{
		"contraindicated":                     {rule: warning, says: []string{"tee cpu bad"}},
		"a bad device":                        {rule: warning, says: []string{"tee cpu good", "x dev bad"}},
		"a leaf that nobody can judge":        {rule: warning, says: []string{"tee cpu good", "x unknown good"}},
		"warning where affirming is required": {rule: affirming, says: []string{"tee cpu warn"}},
		"no CPU TEE":                          {rule: warning, says: []string{"x dev good"}},
		"no evidence":                         {rule: warning, says: []string{"nothing"}},
		"another nonce":                       {rule: warning, challenged: func(_ string, c []byte) []byte { return append([]byte{c[0] ^ 1}, c[1:]...) }},
		"evidence made for another peer": {rule: warning, post: func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			return next(m)
		}, prepare: func(g *guests) {
			// n1 answers me with what it would say to n2.
			g.post = func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				in := *g.read(m)
				g.challenged = func(string, []byte) []byte {
					keys, err := relay.KeysOf(g.members["n1"].node, time.Now())
					check(g.t, err)
					return keys.Challenge(in.Nonce, "n2", "n1")
				}
				return next(m)
			}
		}},
		"silence": {rule: warning, post: func(_, _ string, _ []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { select {} }},
		"refusal": {rule: warning, post: func(_, _ string, _ []byte, _ func([]byte) ([]byte, error)) ([]byte, error) {
			return nil, errors.New("no")
		}},
		"panic":   {rule: warning, post: func(_, _ string, _ []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { panic("as asked") }},
		"nothing": {rule: warning, post: func(_, _ string, _ []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { return nil, nil }},
		"an echo": {rule: warning, post: func(_, _ string, m []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { return m, nil }},
		"a change": {rule: warning, post: func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			raw, err := next(m)
			if err == nil {
				raw[len(raw)/2] ^= 1
			}
			return raw, err
		}},
		"a replay": {rule: warning, prepare: func(g *guests) {
			g.post = func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
				last, _ = next(m)
				return nil, errors.New("lost")
			}
			g.appraise("lead(a, lead(b)@n1, c)", abcGood...)
			g.change("me", func(*Options, *Peers) {})
			g.post = func(_, _ string, m []byte, _ func([]byte) ([]byte, error)) ([]byte, error) { return last, nil }
		}},
		"another signer": {rule: warning, prepare: func(g *guests) {
			g.members["n1"].signer = other
			g.change("n1", func(_ *Options, p *Peers) {
				p.Signer, p.Introductions.Own.Keys = other, withKey(g.t, p.Introductions.Own, other, trust.RoleNode)
			})
		}},
		"a node key that the evidence does not speak for":       {rule: warning, prepare: func(g *guests) { g.swapped(other, trust.RoleNode) }},
		"a verifier's key that the evidence does not speak for": {rule: warning, prepare: func(g *guests) { g.swapped(other, trust.RoleVerifier) }},
		"a seal key that the evidence does not speak for": {rule: warning, prepare: func(g *guests) {
			g.change("me", func(_ *Options, p *Peers) {
				n, _ := p.Nodes.Lookup("n1")
				seal, err := trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
				check(g.t, err)
				n.Seal = append(n.Seal, seal.Public(time.Time{}))
				p.Nodes, err = trust.NewNodes(n)
				check(g.t, err)
			})
		}},
		"evidence that does not show the challenge": {rule: warning, prepare: func(g *guests) {
			g.change("me", func(o *Options, _ *Peers) { o.Appraiser = g.exact("me", true) })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuests(t, map[string]Introductions{"me": c.rule}, "me", "n1", "n2")
			g.says["n1"], g.post, g.challenged = c.says, c.post, c.challenged
			g.change("me", func(o *Options, _ *Peers) { o.Budget = 400 * time.Millisecond })
			if c.prepare != nil {
				c.prepare(g)
			}
			res := g.appraise("lead(a, lead(b)@n1, c)", abcGood...)
			wantStranger(t, name, res, "b")
			if len(g.sent) != 0 {
				t.Errorf("sent %v", g.sent)
			}
		})
	}
}

// read opens an introduction without looking who sent it.
func (g *guests) read(m []byte) *relay.Introduction {
	g.t.Helper()
	for to := range g.members {
		in, err := relay.OpenIntroduction(m, func(kid string) (string, trust.Key, bool) {
			for name, o := range g.members {
				if o.signer.KID() == kid {
					return name, o.signer.Key(name, nil, trust.RoleNode), true
				}
			}
			return "", trust.Key{}, false
		}, to, time.Now())
		if err == nil {
			return in
		}
	}
	g.t.Fatal("no introduction")
	return nil
}

func withKey(t testing.TB, n trust.Node, s *trust.Signer, role trust.Role) *trust.Anchors {
	t.Helper()
	var schemes []string
	if role == trust.RoleVerifier {
		schemes = []string{"dev"}
	}
	a, err := trust.NewAnchors(append(n.Keys.Keys(), s.Key("added", schemes, role))...)
	check(t, err)
	return a
}

// swapped adds a key to what the entry knows of n1.
func (g *guests) swapped(s *trust.Signer, role trust.Role) {
	g.change("me", func(_ *Options, p *Peers) {
		n, _ := p.Nodes.Lookup("n1")
		n.Keys = withKey(g.t, n, s, role)
		var err error
		p.Nodes, err = trust.NewNodes(n)
		check(g.t, err)
	})
}

// The node that is handed something asks as well.
func TestSenderMustIntroduceItself(t *testing.T) {
	for name, edit := range map[string]func(g *guests){
		"it does not":              func(g *guests) { g.change("me", func(_ *Options, p *Peers) { p.Introductions = nil }) },
		"its evidence is bad":      func(g *guests) { g.says["me"] = []string{"tee cpu bad"} },
		"its evidence is a device": func(g *guests) { g.says["me"] = []string{"tee dev good"} },
	} {
		g := newGuests(t, map[string]Introductions{"n1": warning}, "me", "n1", "n2")
		edit(g)
		asked := 0
		g.change("n1", func(o *Options, _ *Peers) {
			next := o.Appraiser
			o.Appraiser = appraiserFunc(func(ctx context.Context, c verifiers.Call) (verdict.Partial, error) {
				if c.Request.Label == "b" {
					asked++
				}
				return next.Appraise(ctx, c)
			})
		})
		for _, topology := range []string{"lead(a, lead(b)@n1, c)", "lead(a, parallel(quorum 1: b, b@n2)@n1, c)"} {
			res := g.appraise(topology, abcGood...)
			wantStranger(t, name, res, "b")
			if asked != 0 {
				t.Errorf("%s: it was appraised", name)
			}
		}
	}
	g := newGuests(t, map[string]Introductions{"n1": warning}, "me", "n1")
	if got := outcomes(g.appraise("lead(a, lead(b)@n1, c)", abcGood...)); !strings.HasPrefix(got, "a=affirming b=affirming") || g.introductions() != "n1>me" {
		t.Errorf("%s, %s", got, g.introductions())
	}
}

type appraiserFunc func(context.Context, verifiers.Call) (verdict.Partial, error)

func (f appraiserFunc) Appraise(ctx context.Context, c verifiers.Call) (verdict.Partial, error) {
	return f(ctx, c)
}

// Nothing is sealed to a node behind the next one that is not attested here;
// the next one gets its own part.
func TestNodeBehindTheNextOne(t *testing.T) {
	g := newGuests(t, map[string]Introductions{"me": {Each: map[string]verdict.Tier{"n2": verdict.TierWarning}}}, "me", "n1", "n2")
	g.says["n2"] = []string{"nothing"}
	var envelopes []*relay.Envelope
	g.wire = func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		o := g.members[to].lead
		env, _, err := relay.OpenEnvelope(m, o.o.Peers.signers("", o), relay.Expect{To: to, KID: g.members[to].signer.KID(), Now: time.Now()})
		check(t, err)
		envelopes = append(envelopes, env)
		return next(m)
	}
	res := g.appraise("cascade(a, b@n1, c@n2)", abcGood...)
	wantStranger(t, "behind", res, "c")
	if got := outcomes(res); !strings.HasPrefix(got, "a=affirming b=affirming c=none") || len(envelopes) == 0 {
		t.Fatalf("%s, %d envelopes", got, len(envelopes))
	}
	for _, env := range envelopes {
		for _, c := range env.Components {
			if (c.Label == "b") != (c.Evidence != nil) {
				t.Errorf("%s: %d bytes for %s", c.Label, len(c.Evidence), c.For)
			}
		}
	}
}

func TestHandleIntroduction(t *testing.T) {
	g := newGuests(t, nil, "me", "n1", "n2")
	now := time.Now()
	ask := func(edit func(*relay.Introduction)) []byte {
		id, err := g.members["me"].lead.random()
		check(t, err)
		in := relay.Introduction{ID: id, From: "me", To: "n1", Nonce: make([]byte, 32), Issued: now, Deadline: now.Add(time.Second)}
		edit(&in)
		raw, err := in.Sign(g.members["me"].signer, rand.Reader)
		check(t, err)
		return raw
	}
	as := func(*relay.Introduction) {}
	handle := func(raw []byte) error {
		_, err := g.members["n1"].lead.HandleIntroduction(context.Background(), raw)
		return err
	}
	m := ask(as)
	check(t, handle(m))
	for name, c := range map[string]struct {
		message []byte
		want    error
	}{
		"a replay":    {m, ErrRelayRefused},
		"for another": {ask(func(in *relay.Introduction) { in.To = "n2" }), ErrRelayRefused},
		"as another":  {ask(func(in *relay.Introduction) { in.From = "n2" }), ErrRelayRefused},
		"too late": {ask(func(in *relay.Introduction) {
			in.Issued, in.Deadline = now.Add(-time.Hour), now.Add(-time.Hour+time.Second)
		}), ErrRelayRefused},
		"something else":    {[]byte("x"), ErrRelayRefused},
		"no machine behind": {nil, ErrAttester},
	} {
		if c.message == nil {
			g.says["n1"], c.message = []string{"nothing"}, ask(as)
		}
		if err := handle(c.message); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		delete(g.says, "n1")
	}
	g.change("n1", func(_ *Options, p *Peers) {
		n, _ := p.Nodes.Lookup("me")
		n.Seal = nil
		var err error
		p.Nodes, err = trust.NewNodes(n)
		check(t, err)
	})
	if err := handle(ask(as)); !errors.Is(err, ErrAttester) {
		t.Errorf("nothing to seal to: %v", err)
	}
	g.change("n1", func(_ *Options, p *Peers) { p.Expose = true })
	check(t, handle(ask(as)))
	g.change("n1", func(_ *Options, p *Peers) { p.Seen = nil })
	check(t, handle(ask(as)))
	g.change("n1", func(_ *Options, p *Peers) { p.Introductions = &Introductions{} })
	if err := handle(ask(as)); !errors.Is(err, ErrRelayRefused) {
		t.Errorf("nothing to show: %v", err)
	}
}

func TestIntroductionRulesAreChecked(t *testing.T) {
	g := newGuests(t, nil, "me", "n1")
	base := g.members["me"].lead.o
	for name, edit := range map[string]func(*Peers, *Introductions){
		"a rule for nobody":      func(_ *Peers, i *Introductions) { i.Each = map[string]verdict.Tier{"n9": verdict.TierWarning} },
		"a tier that is no rule": func(_ *Peers, i *Introductions) { i.Require = verdict.TierContraindicated },
		"another such tier":      func(_ *Peers, i *Introductions) { i.Each = map[string]verdict.Tier{"n1": 7} },
		"nothing carries them":   func(_ *Peers, i *Introductions) { i.Require, i.Introducer = verdict.TierWarning, nil },
		"no name":                func(p *Peers, i *Introductions) { p.Self, i.Require = "", verdict.TierWarning },
		"nothing to vouch for":   func(_ *Peers, i *Introductions) { i.Own = trust.Node{} },
		"another node's keys":    func(_ *Peers, i *Introductions) { i.Own = g.members["n1"].node },
		"another node's name":    func(_ *Peers, i *Introductions) { i.Own.Name = "n2" },
		"too long":               func(_ *Peers, i *Introductions) { i.TTL = MaxIntroductionTTL + 1 },
		"negative":               func(_ *Peers, i *Introductions) { i.TTL = -1 },
	} {
		o, p, i := base, *base.Peers, *base.Peers.Introductions
		edit(&p, &i)
		o.Peers, p.Introductions = &p, &i
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// A node counts as attested no longer than its keys last.
func TestIntroductionEndsWithTheKeys(t *testing.T) {
	g := newGuests(t, nil, "me", "n1")
	o := g.members["me"].lead
	now := time.Unix(1_800_000_000, 0)
	n := g.members["n1"].node
	if got := o.until(n, now); !got.Equal(now.Add(DefaultIntroductionTTL)) {
		t.Error(got)
	}
	o.o.Peers.Introductions.TTL = time.Hour
	key := g.members["n1"].signer.Key("n1", nil, trust.RoleNode)
	key.NotAfter = now.Add(30 * time.Minute)
	seal := n.Seal[0]
	for _, c := range []struct {
		key, seal, want time.Duration
	}{{30, 40, 30}, {30, 20, 20}, {-1, 40, 40}, {90, 90, 60}} {
		key.NotAfter, seal.NotAfter = now.Add(c.key*time.Minute), now.Add(c.seal*time.Minute)
		keys, err := trust.NewAnchors(key)
		check(t, err)
		if got := o.until(trust.Node{Name: "n1", Keys: keys, Seal: []trust.SealKey{seal}}, now); !got.Equal(now.Add(c.want * time.Minute)) {
			t.Errorf("%+v: %s", c, got.Sub(now))
		}
	}
}
