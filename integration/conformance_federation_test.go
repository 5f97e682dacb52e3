// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

const (
	wordNonce = "0123456789abcdef"
	oldNonce  = "fedcba9876543210"
)

// heads are the same three components, one at each of three verifiers, under
// every pattern of the draft. sites means verifiers that a lead asks directly,
// lead means leads that a lead asks.
var heads = map[string]string{
	"sites":    "lead(a, b@n1, c@n2)",
	"lead":     "lead(a, lead(b)@n1, lead(c)@n2)",
	"cascade":  "cascade(a, b@n1, c@n2)",
	"parallel": "parallel(a, lead(b)@n1, lead(c)@n2)",
	"hybrid":   "lead(a, cascade(b@n1, c@n2))",
	"nested":   "lead(a, lead(b, cascade(c@n2))@n1)",
}

// word is a verifier whose evidence is "<nonce> <word>".
type word struct{}

func (word) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	nonce, what, _ := strings.Cut(string(in.Evidence), " ")
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, NonceSeen: []byte(nonce)}
	if in.Nonce != nil {
		a.Freshness = verdict.FreshnessMismatch
		if bytes.Equal(in.Nonce, []byte(nonce)) {
			a.Freshness = verdict.FreshnessFresh
		}
	}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	switch what {
	case "warn":
		a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	case "bad":
		a.Vector[verdict.Hardware] = verdict.ClaimContraindicate
	case "slow":
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return a, ctx.Err()
		}
	case "silent":
		<-ctx.Done()
		return a, ctx.Err()
	case "broken":
		return a, errors.New("the secret reference value is 42")
	case "panic":
		panic("the secret reference value is 42")
	}
	return a, nil
}

func wordSchemes(t testing.TB, names ...string) *verifiers.Set {
	t.Helper()
	var list []verifiers.Scheme
	for _, name := range names {
		class := verifiers.ClassDevice
		if name == "cpu" {
			class = verifiers.ClassCPU
		}
		list = append(list, verifiers.Scheme{
			Name: name, Class: class, Version: "1.0.0", MaxEvidence: 1024, NonceSize: len(wordNonce),
			Accepts:  []evidence.MediaType{{Base: "application/vnd.test." + name}},
			Required: []verdict.ClaimName{verdict.Hardware},
			New:      func(verifiers.Deps) (verifiers.Verifier, error) { return word{}, nil },
		})
	}
	set, err := verifiers.NewSet(list...)
	must(t, err)
	return set
}

// words is a CBOR composite of "label scheme word", answering the nonce.
func words(t testing.TB, nonce string, parts ...string) []byte {
	t.Helper()
	var entries []evidence.Entry
	for _, p := range parts {
		f := strings.Fields(p)
		mt := evidence.MediaType{Base: "application/vnd.test." + f[1]}
		entries = append(entries, evidence.Entry{Label: f[0], Item: evidence.Record(mt, []byte(nonce+" "+f[2]), evidence.IndEvidence)})
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t", entries...))
	must(t, err)
	return raw
}

func abc(t testing.TB) []byte { return words(t, wordNonce, "a cpu good", "b dev good", "c dev good") }

// member is one node of a federation with everything that is secret to it.
type member struct {
	name      string
	entry     *orchestrator.Orchestrator
	appraiser verifiers.Local
	leadKey   *trust.Signer
	nodeKey   *trust.Signer
	seal      *trust.SealPrivate
	verifiers map[string]*trust.Signer
	own       *trust.Anchors
	node      trust.Node
}

// passage is one message between two nodes and what came back.
type passage struct {
	from, to        string
	message, answer []byte
	err             error
}

// question is one component at one component verifier.
type question struct{ from, at, label string }

// options of a federation; the zero value is three nodes that know each other.
type options struct {
	trusts  func(who, whom string) bool
	schemes map[string][]string // of a node, nil for all
	expose  bool
	keys    evidence.KeyFinder            // of composites
	keysOf  map[string]evidence.KeyFinder // of composites, at a node
	budget  time.Duration
	paths   map[string]string // policy of a node, none for any path
	route   func(scheme, node string) []verifiers.Candidate
	auditor func(m *member) orchestrator.Auditor // nil for none
}

// federation is a set of nodes in one process. The test may stand between them.
type federation struct {
	t       testing.TB
	members map[string]*member
	anchors *trust.Anchors // of the relying party
	schemes *verifiers.Set
	// wire is between nodes, ask between a lead and a component verifier; nil
	// changes nothing.
	wire func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error)
	ask  func(from, at string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error)

	mu        sync.Mutex
	passages  []passage
	questions []question
}

type once struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (o *once) Spend(_ context.Context, nonce []byte, _ time.Duration) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[string(nonce)] {
		return orchestrator.ErrNonceSpent
	}
	o.seen[string(nonce)] = true
	return nil
}

// hop is the wire as one node sees it.
type hop struct {
	f    *federation
	self string
}

// Relay implements orchestrator.Relayer.
func (h hop) Relay(ctx context.Context, to, _ string, m []byte) ([]byte, error) {
	next := func(m []byte) ([]byte, error) { return h.f.members[to].entry.HandleRelay(ctx, m) }
	answer, err := []byte(nil), error(nil)
	if h.f.wire != nil {
		answer, err = h.f.wire(h.self, to, m, next)
	} else {
		answer, err = next(m)
	}
	h.f.mu.Lock()
	h.f.passages = append(h.f.passages, passage{h.self, to, m, answer, err})
	h.f.mu.Unlock()
	if err != nil {
		return nil, &verifiers.Failure{Reason: verdict.ReasonRefused, Detail: "refused"}
	}
	return answer, nil
}

// Appraise asks the verifiers of the site that is named, or the own ones.
func (h hop) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	at := call.Candidates[0].Site
	if at == "any" {
		at = h.self
	}
	h.f.mu.Lock()
	h.f.questions = append(h.f.questions, question{h.self, at, string(call.Request.Label)})
	h.f.mu.Unlock()
	next := h.f.members[at].appraiser
	if h.f.ask != nil {
		return h.f.ask(h.self, at, call, next)
	}
	return next.Appraise(ctx, call)
}

func newFederation(t testing.TB, o options) *federation {
	t.Helper()
	names := []string{"me", "n1", "n2"}
	f := &federation{t: t, members: map[string]*member{}, schemes: wordSchemes(t, "cpu", "dev")}
	var all []trust.Key
	for _, name := range names {
		m := f.newMember(name)
		f.members[name] = m
		all = append(all, append(m.own.Keys(), m.leadKey.Key(name+" lead", nil, trust.RoleLead))...)
	}
	var err error
	f.anchors, err = trust.NewAnchors(all...)
	must(t, err)
	for _, name := range names {
		f.open(f.members[name], o)
	}
	return f
}

func (f *federation) newMember(name string) *member {
	t := f.t
	m := &member{name: name, verifiers: map[string]*trust.Signer{}}
	generate := func() *trust.Signer {
		s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
		must(t, err)
		return s
	}
	m.leadKey, m.nodeKey = generate(), generate()
	var keys []trust.Key
	for _, sc := range f.schemes.Schemes() {
		m.verifiers[sc.Name] = generate()
		keys = append(keys, m.verifiers[sc.Name].Key(name+" "+sc.Name, []string{sc.Name}, trust.RoleVerifier))
	}
	var err error
	m.own, err = trust.NewAnchors(keys...)
	must(t, err)
	m.seal, err = trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
	must(t, err)
	described, err := trust.NewAnchors(append(keys, m.nodeKey.Key(name, nil, trust.RoleNode))...)
	must(t, err)
	m.node = trust.Node{Name: name, Keys: described, Seal: []trust.SealKey{m.seal.Public(time.Time{})}}
	node, err := verifiers.NewNode(verifiers.NodeOptions{Set: f.schemes, Identity: identity, Signers: m.verifiers, Clock: time.Now})
	must(t, err)
	m.appraiser = verifiers.Local{Node: node}
	return m
}

// open makes the orchestrator of a member, who knows whom it trusts.
func (f *federation) open(m *member, o options) {
	t := f.t
	var others []trust.Node
	for _, name := range slices.Sorted(maps.Keys(f.members)) {
		if name != m.name && (o.trusts == nil || o.trusts(m.name, name)) {
			others = append(others, f.members[name].node)
		}
	}
	nodes, err := trust.NewNodes(others...)
	must(t, err)
	set := f.schemes
	if own, ok := o.schemes[m.name]; ok {
		set = wordSchemes(t, own...)
	}
	route := o.route
	if route == nil {
		route = func(_, node string) []verifiers.Candidate {
			if node == "" {
				node = "any"
			}
			return []verifiers.Candidate{{Site: node}}
		}
	}
	budget := o.budget
	if budget == 0 {
		budget = 5 * time.Second
	}
	var paths *topologies.Paths
	if text := o.paths[m.name]; text != "" {
		paths, err = topologies.ParsePaths(text)
		must(t, err)
	}
	keys := o.keys
	if own, ok := o.keysOf[m.name]; ok {
		keys = own
	}
	var auditor orchestrator.Auditor
	if o.auditor != nil {
		auditor = o.auditor(m)
	}
	h := hop{f, m.name}
	m.entry, err = orchestrator.New(orchestrator.Options{
		Schemes: set, Appraiser: h, Anchors: m.own, Signer: m.leadKey, Identity: identity, Clock: time.Now, Rand: rand.Reader,
		Route: route, Budget: budget, LeadKeys: keys, Spender: &once{seen: map[string]bool{}}, Auditor: auditor,
		Peers: &orchestrator.Peers{Self: m.name, Nodes: nodes, Signer: m.nodeKey, Seal: m.seal, Relayer: h, Seen: &once{seen: map[string]bool{}}, Expose: o.expose, Paths: paths},
	})
	must(t, err)
}

// try appraises at a node, and forgets what was sent before.
func (f *federation) try(entry, topology string, raw []byte, nonce string) (*verdict.Result, error) {
	f.t.Helper()
	e, err := topologies.Parse(topology)
	must(f.t, err)
	f.passages, f.questions = nil, nil
	r := orchestrator.Request{Evidence: raw, Topology: &e}
	if nonce != "" {
		r.Nonce = []byte(nonce)
	}
	return f.members[entry].entry.Appraise(context.Background(), r)
}

// appraise wants a verdict that a relying party can repeat from the evidence.
func (f *federation) appraise(topology string, raw []byte) *verdict.Result {
	f.t.Helper()
	return f.appraiseWith(topology, raw, wordNonce)
}

func (f *federation) appraiseWith(topology string, raw []byte, nonce string) *verdict.Result {
	f.t.Helper()
	res, err := f.try("me", topology, raw, nonce)
	must(f.t, err)
	checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, f.anchors)
	must(f.t, err)
	must(f.t, orchestrator.Recheck(checked, f.schemes))
	return res
}

func digest(raw []byte) [32]byte { return sha256.Sum256(raw) }

// tiers is one word per component, then that of the whole.
func tiers(r *verdict.Result) string {
	var out []string
	for _, c := range r.Components {
		out = append(out, string(c.Label)+"="+c.Tier().String())
	}
	return strings.Join(out, " ") + " | " + r.Outcome.Tier.String()
}

func part(t testing.TB, r *verdict.Result, label string) verdict.Component {
	t.Helper()
	for _, c := range r.Components {
		if string(c.Label) == label {
			return c
		}
	}
	t.Fatalf("no component %s", label)
	return verdict.Component{}
}

// sent is who handed something to whom, sorted.
func (f *federation) sent() string {
	var out []string
	for _, p := range f.passages {
		out = append(out, p.from+">"+p.to)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// asked is which verifier was asked about what, sorted.
func (f *federation) asked() string {
	var out []string
	for _, q := range f.questions {
		out = append(out, q.label+"@"+q.at)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// key finds the node keys of everybody.
func (f *federation) key(kid string) (trust.Key, bool) {
	for _, m := range f.members {
		for _, k := range m.node.Keys.Keys() {
			if k.KID == kid {
				return k, true
			}
		}
	}
	return trust.Key{}, false
}

// read opens an envelope as the node that it is for.
func (f *federation) read(to string, message []byte) *relay.Envelope {
	f.t.Helper()
	env, _, err := relay.OpenEnvelope(message, f.key, relay.Expect{To: to, KID: f.members[to].nodeKey.KID(), Now: time.Now()})
	must(f.t, err)
	return env
}

// result is what a node that has been taken over says about a component: good
// and fresh, signed with the key of some verifier.
func (f *federation) result(s *trust.Signer, c relay.Component) relay.Partial {
	f.t.Helper()
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: c.Nonce}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	token, err := verdict.SignPartial(s, verdict.Issue{
		Verifier: identity, Label: c.Label, Scheme: c.Scheme, MediaType: c.MediaType, Request: c.Request, Nonce: c.Nonce,
		NonceRule: c.NonceRule, Evidence: c.Digest, IssuedAt: time.Now(), Expires: time.Now().Add(time.Minute),
	}, a)
	must(f.t, err)
	return relay.Partial{Label: c.Label, Token: token}
}

// answer is what a node that has been taken over sends back.
func (f *federation) answer(at string, message []byte, change func(*relay.Envelope, *relay.Answer)) []byte {
	f.t.Helper()
	env, m := f.read(at, message), f.members[at]
	a := relay.Answer{
		ID: env.ID, Session: env.Session, Digest: sha256.Sum256(message), Issued: time.Now(),
		Via: append(slices.Clone(env.Via), m.nodeKey.KID()), Partials: slices.Clone(env.Partials),
	}
	if own, err := verdict.SignReceipt(m.nodeKey, receiptOf(env, m)); err == nil {
		one, err := verdict.ParseReceipt(own)
		must(f.t, err)
		a.Receipts = append(a.Receipts, one)
	}
	change(env, &a)
	raw, err := a.Sign(m.nodeKey, rand.Reader)
	must(f.t, err)
	return raw
}

// receiptOf is what a node says about the way of an envelope that it got.
func receiptOf(env *relay.Envelope, m *member) verdict.Receipt {
	one := verdict.Receipt{Session: env.Session, Issued: time.Now()}
	for i, kid := range env.Via {
		one.Path = append(one.Path, verdict.Hop{Node: env.Path[i], KID: kid})
	}
	one.Path = append(one.Path, verdict.Hop{Node: m.name, KID: m.nodeKey.KID()})
	for _, c := range env.Components {
		one.Requests = append(one.Requests, c.Request)
	}
	slices.Sort(one.Requests)
	return one
}

// takenOver puts a node under the test's control.
func (f *federation) takenOver(node string, change func(*relay.Envelope, *relay.Answer)) {
	f.wire = func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if to == node {
			return f.answer(node, m, change), nil
		}
		return next(m)
	}
}
