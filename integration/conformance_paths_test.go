// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// files are the node files that a relying party has, of all members but those
// that are left out.
func (f *federation) files(without ...string) *trust.Nodes {
	f.t.Helper()
	var list []trust.Node
	for _, name := range slices.Sorted(maps.Keys(f.members)) {
		if !slices.Contains(without, name) {
			list = append(list, f.members[name].node)
		}
	}
	nodes, err := trust.NewNodes(list...)
	must(f.t, err)
	return nodes
}

// verified is a verdict as the relying party reads it.
func (f *federation) verified(res *verdict.Result) *verdict.Result {
	f.t.Helper()
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, f.anchors)
	must(f.t, err)
	return checked
}

// lied is what the relying party makes of a verdict that its lead has changed and
// signed again; the error is whatever finds it, with the nodes that are given.
func (f *federation) lied(res *verdict.Result, nodes *trust.Nodes, change func(*verdict.Result)) error {
	f.t.Helper()
	lie := *res
	lie.Components = slices.Clone(res.Components)
	change(&lie)
	lie.Outcome = verdict.Combine(lie.Components, lie.Caps)
	if _, err := verdict.SignResult(f.members["me"].leadKey, &lie, time.Minute); err != nil {
		return err
	}
	checked, err := verdict.VerifyResult(lie.Token, verdict.Intake{Now: time.Now()}, f.anchors)
	if err != nil {
		return err
	}
	if err := orchestrator.Recheck(checked, f.schemes); err != nil {
		return err
	}
	return orchestrator.RecheckPlaces(checked, nodes, time.Now())
}

// ways is by which way each component went, as the verdict has it.
func ways(r *verdict.Result) string {
	var out []string
	for _, c := range r.Components {
		for _, w := range orchestrator.Ways(r, c) {
			out = append(out, string(c.Label)+":"+strings.Join(w, ">"))
		}
	}
	return strings.Join(out, " ")
}

// MV-24: the verdict says through which nodes each component went and who led its
// part, and the nodes have signed that.
func TestMV24ProvenanceIsKept(t *testing.T) {
	for topology, want := range map[string]string{
		heads["sites"]:                                     "a:me b:me>n1 c:me>n2",
		heads["lead"]:                                      "a:me b:me>n1 c:me>n2",
		heads["cascade"]:                                   "a:me b:me>n1 c:me>n1>n2",
		heads["parallel"]:                                  "a:me b:me>n1 c:me>n2",
		heads["hybrid"]:                                    "a:me b:me>n1 c:me>n1>n2",
		heads["nested"]:                                    "a:me b:me>n1 c:me>n1>n2",
		"lead(a, lead(b, c@n2)@n1)":                        "a:me b:me>n1 c:me>n1>n2",
		"cascade(a, lead(b, lead(c)@n2)@n1)":               "a:me b:me>n1 c:me>n1>n2",
		"lead(a, optional(b)@n1, c)":                       "a:me b:me>n1 c:me",
		"lead(a, lead(b, optional(c)@n2)@n1)":              "a:me b:me>n1 c:me>n1>n2",
		"lead(a, parallel(b@me, b@n1, b@n2), c)":           "a:me b:me b:me>n1 b:me>n2 c:me",
		"lead(a, parallel(quorum 1: b@n1, b@n2)@n1, c@n2)": "a:me b:me>n1 b:me>n1>n2 c:me>n2",
	} {
		f := newFederation(t, options{})
		res := f.verified(f.appraise(topology, abc(t)))
		if got := ways(res); got != want || res.Node != "me" {
			t.Errorf("%s: %s of %q, want %s", topology, got, res.Node, want)
		}
		for _, c := range res.Components {
			for i, h := range c.Path {
				if h.KID != f.members[h.Node].nodeKey.KID() {
					t.Errorf("%s: node %d of %s has another key", topology, i, c.Label)
				}
			}
		}
		for _, nodes := range []*trust.Nodes{nil, f.files(), f.files("me")} {
			if err := orchestrator.RecheckPlaces(res, nodes, time.Now()); err != nil {
				t.Errorf("%s, %d nodes: %v", topology, len(nodes.Names()), err)
			}
		}
		raw, err := json.Marshal(res.Document())
		must(t, err)
		if len(res.Receipts) > 0 != strings.Contains(string(raw), `"path":[{"node":"me"`) {
			t.Errorf("%s: %d receipts, and %s", topology, len(res.Receipts), raw)
		}
	}
}

// A lead cannot say that a component went another way: its own topology, the
// signatures of the nodes, or their keys are against it.
func TestMV24LeadCannotInventTheWay(t *testing.T) {
	of := func(r *verdict.Result, label string) *verdict.Component {
		i := slices.IndexFunc(r.Components, func(c verdict.Component) bool { return string(c.Label) == label })
		return &r.Components[i]
	}
	for _, c := range []struct {
		what   string
		proof  bool // only found with node files
		change func(f *federation, r *verdict.Result)
	}{
		{"nothing", false, nil},
		{"a hop is left out", false, func(_ *federation, r *verdict.Result) {
			p := of(r, "c")
			p.Path = []verdict.Hop{p.Path[0], p.Path[2]}
		}},
		{"another lead", false, func(_ *federation, r *verdict.Result) { r.Node = "n3" }},
		{"no way at all", false, func(_ *federation, r *verdict.Result) { of(r, "c").Path = nil }},
		{"a site that was not asked", false, func(_ *federation, r *verdict.Result) { of(r, "a").Site = "n1" }},
		{"another topology, too", true, func(_ *federation, r *verdict.Result) {
			r.Topology = "lead(a, b, c)"
			of(r, "b").Path, of(r, "c").Path, r.Receipts = nil, nil, nil
		}},
		{"another topology and a shorter way", true, func(_ *federation, r *verdict.Result) {
			r.Topology = "lead(a, lead(b)@n1, lead(c)@n2)"
			p := of(r, "c")
			p.Path = []verdict.Hop{p.Path[0], p.Path[2]}
		}},
		{"a key of the middle that is not its", true, func(_ *federation, r *verdict.Result) {
			p := of(r, "c")
			p.Path = slices.Clone(p.Path)
			p.Path[1].KID = "another"
		}},
		{"no receipts", true, func(_ *federation, r *verdict.Result) { r.Receipts = nil }},
		{"no receipt of the middle", true, func(_ *federation, r *verdict.Result) {
			r.Receipts = slices.DeleteFunc(slices.Clone(r.Receipts), func(one verdict.Receipt) bool { return len(one.Path) == 2 })
		}},
		{"a receipt of another session", true, func(_ *federation, r *verdict.Result) { r.Session = "another" }},
		{"a receipt that the entry has signed", true, func(f *federation, r *verdict.Result) {
			r.Receipts = slices.Clone(r.Receipts)
			for i, one := range r.Receipts {
				forged, err := f.members["me"].nodeKey.SignJWT(claimsOf(t, one.Token()))
				must(t, err)
				r.Receipts[i], err = verdict.ParseReceipt(forged)
				must(t, err)
			}
		}},
	} {
		f := newFederation(t, options{})
		res := f.verified(f.appraise(heads["cascade"], abc(t)))
		change := func(r *verdict.Result) {
			if c.change != nil {
				c.change(f, r)
			}
		}
		without, with := f.lied(res, nil, change), f.lied(res, f.files(), change)
		if (without == nil) != (c.proof || c.change == nil) || (with == nil) != (c.change == nil) {
			t.Errorf("%s: without nodes %v, with nodes %v", c.what, without, with)
		}
	}
}

func claimsOf(t testing.TB, token []byte) []byte {
	t.Helper()
	return unbase64(t, strings.Split(string(token), ".")[1])
}

// A node in the middle cannot hide by which way it went: whoever answers has
// signed the way that the evidence came, and the lead looks at it.
func TestMV24DeviationIsFound(t *testing.T) {
	for what, change := range map[string]func(f *federation, a *relay.Answer){
		"no receipts":           func(_ *federation, a *relay.Answer) { a.Receipts = nil },
		"only that of the last": func(_ *federation, a *relay.Answer) { a.Receipts = a.Receipts[1:] },
		"only its own":          func(_ *federation, a *relay.Answer) { a.Receipts = a.Receipts[:1] },
		"the last under its own key": func(f *federation, a *relay.Answer) {
			forged, err := f.members["n1"].nodeKey.SignJWT(claimsOf(t, a.Receipts[1].Token()))
			must(t, err)
			a.Receipts[1], err = verdict.ParseReceipt(forged)
			must(t, err)
		},
		"one of another session": func(f *federation, a *relay.Answer) {
			one := a.Receipts[1]
			one.Session = "another"
			raw, err := verdict.SignReceipt(f.members["n2"].nodeKey, one)
			must(t, err)
			a.Receipts[1], err = verdict.ParseReceipt(raw)
			must(t, err)
		},
		"a way past the middle": func(f *federation, a *relay.Answer) {
			one := a.Receipts[1]
			one.Path = []verdict.Hop{one.Path[0], one.Path[2]}
			raw, err := verdict.SignReceipt(f.members["n2"].nodeKey, one)
			must(t, err)
			a.Receipts[1], err = verdict.ParseReceipt(raw)
			must(t, err)
		},
	} {
		f := newFederation(t, options{})
		f.wire = func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			raw, err := next(m)
			if to != "n1" || err != nil {
				return raw, err
			}
			a, _, err := relay.OpenAnswer(raw, f.read("n1", m), m, f.key, time.Now())
			must(t, err)
			if len(a.Receipts) != 2 || len(a.Receipts[0].Path) != 2 {
				t.Fatalf("%d receipts", len(a.Receipts))
			}
			change(f, a)
			signed, err := a.Sign(f.members["n1"].nodeKey, rand.Reader)
			if err != nil { // what every receiver would refuse is not signed
				return nil, err
			}
			return signed, nil
		}
		res := f.appraise(heads["cascade"], abc(t))
		if c := part(t, res, "c"); c.Tier() != verdict.TierNone || c.Path != nil || len(c.Reasons) == 0 {
			t.Errorf("%s: %s %v", what, tiers(res), c.Reasons)
		}
	}
}

// MV-42: which paths are allowed is policy of every node and of the relying
// party; what would take another one is not sent, not accepted and not believed.
func TestMV42PathsArePolicy(t *testing.T) {
	good, none := "a=affirming b=affirming c=affirming | warning", "a=affirming b=affirming c=none | none"
	for _, c := range []struct {
		topology, who, policy, want, sent string
	}{
		{heads["cascade"], "me", "me > n1; me > n1 > n2", good, "me>n1 n1>n2"},
		{heads["cascade"], "me", "me > **", good, "me>n1 n1>n2"},
		{heads["cascade"], "me", "me > n1; me > n2", none, "me>n1"},
		{heads["cascade"], "me", "me > ** max 2", none, "me>n1"},
		{heads["cascade"], "me", "b: me > n1; c: me > n1", none, "me>n1"},
		{heads["cascade"], "n1", "me > n1", none, "me>n1"},
		{heads["cascade"], "n2", "n1 > n2", none, "me>n1 n1>n2"},
		{heads["cascade"], "n2", "me > n2", none, "me>n1 n1>n2"},
		{heads["cascade"], "n2", "* > n1 > n2", good, "me>n1 n1>n2"},
		{heads["nested"], "me", "me > n1", none, "me>n1"},
		{heads["nested"], "n1", "me > n1", none, "me>n1"},
		{heads["hybrid"], "n2", "me > n2", none, "me>n1 n1>n2"},
		{heads["lead"], "me", "me > n1", none, "me>n1"},
		{heads["lead"], "n2", "n1 > n2", none, "me>n1 me>n2"},
		{heads["parallel"], "me", "me > n1", none, "me>n1"},
		{heads["sites"], "me", "me > n1", none, ""},
		{heads["sites"], "me", "me > *", good, ""},
		{"lead(a, b, parallel(quorum 1: c@n1, c@n2))", "me", "me > n1", none, ""},
		{"lead(a, b, lead(c@n2)@n1)", "n1", "me > n1", none, "me>n1"},
	} {
		f := newFederation(t, options{paths: map[string]string{c.who: c.policy}})
		res := f.appraise(c.topology, abc(t))
		if got := tiers(res); got != c.want || f.sent() != c.sent {
			t.Errorf("%s, %s allows %q: %s, sent %s", c.topology, c.who, c.policy, got, f.sent())
		}
		if why := part(t, res, "c").Reasons; c.want == none && !strings.Contains(reasonCodes(why), verdict.ReasonPathDeviation) {
			t.Errorf("%s, %s allows %q: %v", c.topology, c.who, c.policy, why)
		}
		if c.want == none && strings.Contains(f.asked(), "c@") {
			t.Errorf("%s, %s allows %q: asked %s", c.topology, c.who, c.policy, f.asked())
		}
	}
	// The relying party has a policy of its own.
	for name, topology := range heads {
		f := newFederation(t, options{})
		res := f.verified(f.appraise(topology, abc(t)))
		far := ways(res) == "a:me b:me>n1 c:me>n1>n2"
		for policy, ok := range map[string]bool{
			"**": true, "me; me > n1; me > n1 > n2": far, "me; me > *": !far, "me > **": true, "me > n1; me > n1 > n2": false, "** max 1": false,
			"a: me; b: me > n1; c: me > ** > n2": false, "a: me; b: me > n1; c: me > **": true, "n1 > **": false, "a: **; b: **": false,
		} {
			p, err := topologies.ParsePaths(policy)
			if err != nil {
				if ok {
					t.Errorf("%s: %v", policy, err)
				}
				continue
			}
			if err := orchestrator.RecheckPaths(res, p); (err == nil) != ok {
				t.Errorf("%s, %q: %v", name, policy, err)
			}
		}
	}
}

// MV-15: where the composite is exposed, every hop verifies its signature with
// keys of its own, and that what it is to judge is in it.
func TestMV15EveryHopVerifiesAnExposedComposite(t *testing.T) {
	key, stranger := newKey(t), newKey(t)
	refusedHere := errors.New("not handed on")
	signedOnce := signCOSE(t, abc(t), key)
	for _, c := range []struct {
		what   string
		keys   map[string]evidence.KeyFinder
		change func(env *relay.Envelope)
		// accepted says what becomes of the changed envelope.
		accepted bool
		want     string
	}{
		{"as it is", nil, nil, false, "a=affirming b=affirming c=affirming | warning"},
		{"the next hop does not know the signer", map[string]evidence.KeyFinder{"n1": leadKeys{stranger.Public()}}, nil, false, "a=affirming b=none c=none | none"},
		{"the last hop does not know the signer", map[string]evidence.KeyFinder{"n2": leadKeys{stranger.Public()}}, nil, false, "a=affirming b=affirming c=none | none"},
		{"the last hop knows nobody", map[string]evidence.KeyFinder{"n2": nil}, nil, false, "a=affirming b=affirming c=none | none"},
		{"the signature is changed on the way", nil, func(env *relay.Envelope) {
			env.Evidence = flip(env.Evidence, len(env.Evidence)-1)
		}, false, "a=affirming b=affirming c=none | none"},
		{"another composite, unsigned", nil, func(env *relay.Envelope) {
			env.Evidence = words(t, wordNonce, "a cpu good", "b dev good", "c dev warn")
		}, false, "a=affirming b=affirming c=none | none"},
		{"another composite, signed", nil, func(env *relay.Envelope) {
			env.Evidence = signCOSE(t, words(t, wordNonce, "a cpu good", "b dev good", "c dev warn"), key)
		}, false, "a=affirming b=affirming c=none | none"},
		{"a composite without the component", nil, func(env *relay.Envelope) {
			env.Evidence = signCOSE(t, words(t, wordNonce, "a cpu good", "b dev good"), key)
		}, false, "a=affirming b=affirming c=none | none"},
		{"the component as something else", nil, func(env *relay.Envelope) {
			env.Evidence = signCOSE(t, words(t, wordNonce, "a cpu good", "b dev good", "c cpu good"), key)
		}, false, "a=affirming b=affirming c=none | none"},
		{"a commitment that the composite does not have", nil, func(env *relay.Envelope) {
			env.Commit = &evidence.Commitment{Leaves: map[evidence.Path]evidence.LeafDigest{"c": {}}}
		}, false, "a=affirming b=affirming c=none | none"},
		{"not exposed", nil, func(env *relay.Envelope) { env.Evidence = nil }, true, "a=affirming b=affirming c=none | none"},
	} {
		o := options{expose: true, keys: leadKeys{key.Public()}, keysOf: c.keys}
		f := newFederation(t, o)
		f.wire = func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if from != "n1" || c.change == nil {
				return next(m)
			}
			env := f.read(to, m)
			c.change(env)
			if env.Evidence != nil {
				env.Composite = digest(env.Evidence)
			}
			changed, err := env.Sign(f.members["n1"].nodeKey, rand.Reader)
			must(t, err)
			if _, err := next(changed); (err == nil) != c.accepted {
				t.Errorf("%s: %v", c.what, err)
			}
			return nil, refusedHere // the answer would be to another envelope
		}
		res := f.appraise(heads["cascade"], signedOnce)
		if got := tiers(res); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

// TH-6, MV-13: a relying party with node files believes a result only from the
// verifiers of the place where its component was to be appraised, whatever the
// lead says.
func TestTH6RelyingPartyKnowsPlaces(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		res := f.verified(f.appraise(topology, abc(t)))
		for label, home := range map[string]string{"a": "me", "b": "n1", "c": "n2"} {
			for at, m := range f.members {
				err := f.lied(res, f.files(), f.judgedBy(label, m))
				if (err == nil) != (at == home) {
					t.Errorf("%s: %s judged by %s: %v", name, label, at, err)
				}
				if without := f.lied(res, nil, f.judgedBy(label, m)); without != nil { // schemes alone
					t.Errorf("%s: %s judged by %s, without nodes: %v", name, label, at, without)
				}
				if at == "me" || home == "me" && at != "me" {
					continue
				}
				if err := f.lied(res, f.files("me"), f.judgedBy(label, m)); (err == nil) != (at == home) {
					t.Errorf("%s: %s judged by %s, without a file of the lead: %v", name, label, at, err)
				}
			}
		}
		// A place that nobody knows is no place.
		if err := orchestrator.RecheckPlaces(res, f.files("n2"), time.Now()); err == nil {
			t.Errorf("%s: n2 is not known, and its result counts", name)
		}
	}
	// Of redundant verifiers each place counts once.
	f := newFederation(t, options{})
	res := f.verified(f.appraise("lead(a, parallel(b@me, b@n1, b@n2), c)", abc(t)))
	for _, from := range []string{"me", "n2"} {
		err := f.lied(res, f.files(), func(r *verdict.Result) {
			b := &r.Components[1]
			extra := f.members[from]
			more, err := trust.GenerateSigner(trust.ES256, rand.Reader)
			must(t, err)
			all := slices.DeleteFunc(b.Partials(), func(p verdict.Partial) bool {
				_, kid := p.Verifier()
				return kid == f.members["n1"].verifiers["dev"].KID()
			})
			keys := append(f.anchors.Keys(), more.Key("more", []string{"dev"}, trust.RoleVerifier))
			f.anchors, err = trust.NewAnchors(keys...)
			must(t, err)
			described, err := trust.NewAnchors(append(extra.node.Keys.Keys(), more.Key("more", []string{"dev"}, trust.RoleVerifier))...)
			must(t, err)
			extra.node.Keys = described
			verdict.SetPartials(b, append(all, f.partial(*b, more)))
		})
		if err == nil {
			t.Errorf("two verifiers of %s count as two places", from)
		}
	}
	// And a relying party can say itself where a component has to be appraised.
	f = newFederation(t, options{})
	res = f.verified(f.appraise(heads["lead"], abc(t)))
	for topology, ok := range map[string]bool{
		"lead(a, b, c)": true, heads["lead"]: true, "lead(a, lead(c)@n2)": true, "lead(a, b, lead(c)@n1)": false, "lead(a, b, c@n2)": false,
		heads["cascade"]: false, "lead(a, b, parallel(c@n1, c@n2))": false,
	} {
		e, err := topologies.Parse(topology)
		must(t, err)
		if err := orchestrator.RecheckTopology(res, e); (err == nil) != ok {
			t.Errorf("%s: %v", topology, err)
		}
	}
}

// partial is a good result about a component, by some key.
func (f *federation) partial(c verdict.Component, s *trust.Signer) verdict.Partial {
	f.t.Helper()
	one := f.result(s, relay.Component{Label: c.Label, Scheme: c.Scheme, MediaType: c.MediaType, Request: c.Request,
		Nonce: c.Nonce, NonceRule: c.NonceRule, Digest: c.Evidence})
	p, err := verdict.VerifyPartial(one.Token, verdict.Expect{Label: c.Label, Scheme: c.Scheme, Request: c.Request, Nonce: c.Nonce,
		NonceRule: c.NonceRule, Evidence: c.Evidence, MediaType: c.MediaType}, verdict.Intake{Now: time.Now()}, f.anchors)
	must(f.t, err)
	return p
}

// judgedBy puts the result of some member's verifier in the place of the one that
// was to judge a component.
func (f *federation) judgedBy(label string, m *member) func(*verdict.Result) {
	return func(r *verdict.Result) {
		for i := range r.Components {
			if c := &r.Components[i]; string(c.Label) == label {
				c.Partial = f.partial(*c, m.verifiers[c.Scheme])
			}
		}
	}
}
