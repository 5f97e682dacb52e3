// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// The evidence of the test scheme is its nonce and a word: "good", "warn",
// "bad", "panic", "slow", or "id:<device>" for a good one with an identity.
const testNonce = "0123456789abcdef"

func testScheme(name string, class verifiers.Class) verifiers.Scheme {
	return verifiers.Scheme{
		Name: name, Class: class, Version: "1.0.0", MaxEvidence: 1024, NonceSize: len(testNonce),
		Accepts:  []evidence.MediaType{{Base: "application/vnd.test." + name}},
		Required: []verdict.ClaimName{verdict.Hardware},
		New:      func(verifiers.Deps) (verifiers.Verifier, error) { return word{}, nil },
	}
}

type word struct{}

func (word) Appraise(ctx context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	nonce, what, _ := strings.Cut(string(in.Evidence), " ")
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, NonceSeen: []byte(nonce), Claims: map[string]any{"said": what}}
	if in.Nonce != nil {
		a.Freshness = verdict.FreshnessMismatch
		if bytes.Equal(in.Nonce, []byte(nonce)) {
			a.Freshness = verdict.FreshnessFresh
		}
	}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	switch {
	case what == "warn":
		a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	case what == "bad":
		a.Vector[verdict.Hardware] = verdict.ClaimContraindicate
	case what == "panic":
		panic("as asked")
	case what == "broken":
		return a, verifiers.ErrMalfunction
	case what == "slow":
		<-ctx.Done()
		return a, ctx.Err()
	case strings.HasPrefix(what, "id:"):
		a.Facts.Device = []string{what}
	}
	return a, nil
}

type world struct {
	orch    *Orchestrator
	options Options
	anchors *trust.Anchors
	lead    *trust.Signer
	signer  *trust.Signer // of a further verifier, where a test needs one
}

// spent is a Spender in memory.
type spent map[string]bool

func (s spent) Spend(_ context.Context, nonce []byte, _ time.Duration) error {
	if s[string(nonce)] {
		return ErrNonceSpent
	}
	s[string(nonce)] = true
	return nil
}

func testSchemes() []verifiers.Scheme {
	return []verifiers.Scheme{testScheme("cpu", verifiers.ClassCPU), testScheme("dev", verifiers.ClassDevice)}
}

func newWorld(t testing.TB, change func(*Options)) *world {
	t.Helper()
	return newWorldOf(t, change, testSchemes()...)
}

func newWorldOf(t testing.TB, change func(*Options), schemes ...verifiers.Scheme) *world {
	t.Helper()
	return newWorldWith(t, verifiers.Deps{}, change, schemes...)
}

func newWorldWith(t testing.TB, deps verifiers.Deps, change func(*Options), schemes ...verifiers.Scheme) *world {
	t.Helper()
	set, err := verifiers.NewSet(schemes...)
	check(t, err)
	signers := map[string]*trust.Signer{}
	var keys []trust.Key
	for _, sc := range set.Schemes() {
		signers[sc.Name], err = trust.GenerateSigner("ES256", rand.Reader)
		check(t, err)
		keys = append(keys, signers[sc.Name].Key(sc.Name, []string{sc.Name}, trust.RoleVerifier))
	}
	lead, err := trust.GenerateSigner("EdDSA", rand.Reader)
	check(t, err)
	keys = append(keys, lead.Key("lead", nil, trust.RoleLead))
	anchors, err := trust.NewAnchors(keys...)
	check(t, err)
	id := verdict.Identity{Developer: "https://test.example", Build: "test"}
	node, err := verifiers.NewNode(verifiers.NodeOptions{Set: set, Deps: deps, Identity: id, Signers: signers, Clock: time.Now, AllowTimeOverride: true})
	check(t, err)
	o := Options{
		Schemes: set, Appraiser: verifiers.Local{Node: node}, Anchors: anchors, Signer: lead, Identity: id,
		Spender: spent{}, Clock: time.Now, Rand: rand.Reader,
		Route: func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} },
	}
	if change != nil {
		change(&o)
	}
	orch, err := New(o)
	check(t, err)
	return &world{orch: orch, options: o, anchors: anchors, lead: lead}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// composite builds a CBOR collection from "label scheme words".
func composite(t testing.TB, parts ...string) []byte {
	t.Helper()
	var entries []evidence.Entry
	for _, p := range parts {
		f := strings.SplitN(p, " ", 3)
		mt := evidence.MediaType{Base: "application/vnd.test." + f[1]}
		entries = append(entries, evidence.Entry{Label: f[0], Item: evidence.Record(mt, []byte(testNonce+" "+f[2]), evidence.IndEvidence)})
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t", entries...))
	check(t, err)
	return raw
}

func (w *world) appraise(t testing.TB, r Request) *verdict.Result {
	t.Helper()
	res, err := w.orch.Appraise(context.Background(), r)
	check(t, err)
	return res
}

func codes(reasons []verdict.Reason) string {
	var out []string
	for _, r := range reasons {
		if r.Code != verdict.ReasonAsSubmitted { // a remark that every bare "lead" carries
			out = append(out, r.Code)
		}
	}
	slices.Sort(out)
	return strings.Join(slices.Compact(out), " ")
}

func find(t testing.TB, r *verdict.Result, label string) verdict.Component {
	t.Helper()
	for _, c := range r.Components {
		if string(c.Label) == label {
			return c
		}
	}
	t.Fatalf("no component %s", label)
	return verdict.Component{}
}

func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		name, topology string
		parts          []string
		tier           verdict.Tier
		reasons        string
	}{
		{"one good part", "lead", []string{"a cpu good"}, verdict.TierAffirming, ""},
		{"two good parts are not bound", "lead", []string{"a cpu good", "b dev good"}, verdict.TierWarning, "unbound-component"},
		{"a warning", "lead", []string{"a cpu warn"}, verdict.TierWarning, "component-tier"},
		{"contraindicated", "lead", []string{"a cpu good", "b dev bad"}, verdict.TierContraindicated, "component-tier unbound-component"},
		{"unknown media type", "lead", []string{"a cpu good", "b nobody good"}, verdict.TierNone, "component-tier unbound-component"},
		{"a verifier that panics", "lead", []string{"a cpu panic"}, verdict.TierNone, "component-tier"},
		{"a broken verifier", "lead", []string{"a cpu broken"}, verdict.TierNone, "component-tier"},
		{"missing", "lead(a, b)", []string{"a cpu good"}, verdict.TierNone, "component-tier unbound-component"},
		{"missing but optional", "lead(a, optional(b))", []string{"a cpu good"}, verdict.TierWarning, "component-tier unbound-component"},
		{"extra", "lead(a)", []string{"a cpu good", "b dev good"}, verdict.TierWarning, "component-tier unbound-component"},
		{"one device twice", "lead", []string{"a cpu good", "b dev id:7", "c dev id:7"}, verdict.TierContraindicated, "duplicate-identity unbound-component"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			e, err := topologies.Parse(c.topology)
			check(t, err)
			res := w.appraise(t, Request{Evidence: composite(t, c.parts...), Nonce: []byte(testNonce), Topology: &e})
			if res.Outcome.Tier != c.tier || codes(res.Outcome.Reasons) != c.reasons {
				t.Fatalf("%s [%s], want %s [%s]: %v", res.Outcome.Tier, codes(res.Outcome.Reasons), c.tier, c.reasons, res.Outcome.Reasons)
			}
			again, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, w.anchors)
			check(t, err)
			if again.Outcome.Tier != c.tier {
				t.Fatalf("the signed verdict says %s", again.Outcome.Tier)
			}
			check(t, Recheck(again, w.options.Schemes))
			tree, err := evidence.Parse(composite(t, c.parts...), evidence.Options{})
			check(t, err)
			check(t, RecheckEvidence(again, w.options.Schemes, tree))
		})
	}
}

func TestFreshness(t *testing.T) {
	w := newWorld(t, nil)
	raw := composite(t, "a cpu good")
	if res := w.appraise(t, Request{Evidence: raw}); res.Outcome.Tier != verdict.TierWarning || !strings.Contains(codes(res.Outcome.Reasons), "nonce-not-established") {
		t.Errorf("without a nonce: %s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	if res := w.appraise(t, Request{Evidence: raw, Nonce: []byte("fedcba9876543210")}); res.Outcome.Tier != verdict.TierContraindicated {
		t.Errorf("with another nonce: %s", res.Outcome.Tier)
	}
	given := map[evidence.Path][]byte{"a": []byte(testNonce)}
	// A challenge of its own never stands for that of the session.
	for name, nonce := range map[string][]byte{"no session": nil, "another session": []byte("aaaaaaaaaaaaaaaa")} {
		res := w.appraise(t, Request{Evidence: raw, Given: given, Nonce: nonce})
		if a := find(t, res, "a"); a.Tier() != verdict.TierAffirming || res.Outcome.Tier != verdict.TierWarning {
			t.Errorf("%s: a %s, the whole %s %v", name, a.Tier(), res.Outcome.Tier, res.Outcome.Reasons)
		}
	}
	if _, err := w.orch.Appraise(context.Background(), Request{Evidence: raw, Given: map[evidence.Path][]byte{"nobody": []byte(testNonce)}}); !errors.Is(err, ErrRequest) {
		t.Errorf("a nonce for nobody: %v", err)
	}
}

func TestNonceIsSpentOnce(t *testing.T) {
	w := newWorld(t, nil)
	r := Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)}
	w.appraise(t, r)
	if _, err := w.orch.Appraise(context.Background(), r); !errors.Is(err, ErrNonceSpent) {
		t.Fatalf("the second use gives %v", err)
	}
}

type noStore struct{}

func (noStore) Spend(context.Context, []byte, time.Duration) error { return errors.New("down") }

func TestNonceStoreDownFailsClosed(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Spender = noStore{} })
	_, err := w.orch.Appraise(context.Background(), Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	if !errors.Is(err, ErrNonceStore) {
		t.Fatalf("got %v", err)
	}
}

func TestMalformedDispatchesNothing(t *testing.T) {
	calls := &counting{}
	w := newWorld(t, func(o *Options) { o.Appraiser = calls })
	raw := composite(t, "a cpu good", "b dev good")
	for _, bad := range [][]byte{nil, raw[:len(raw)-1], append(bytes.Clone(raw), 0)} {
		_, err := w.orch.Appraise(context.Background(), Request{Evidence: bad, Nonce: []byte(testNonce)})
		var malformed *evidence.Error
		if !errors.As(err, &malformed) {
			t.Errorf("got %v", err)
		}
	}
	if _, err := w.orch.Appraise(context.Background(), Request{Evidence: raw, Nonce: []byte("short")}); !errors.Is(err, ErrNonceSize) {
		t.Errorf("short nonce: %v", err)
	}
	if calls.n != 0 {
		t.Errorf("%d components were sent out", calls.n)
	}
}

type counting struct{ n int }

func (c *counting) Appraise(context.Context, verifiers.Call) (verdict.Partial, error) {
	c.n++
	return verdict.Partial{}, errors.New("no")
}

// A slow verifier costs its own component, at the deadline; the others keep
// their verdicts.
func TestSlowVerifier(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.Budget = 300 * time.Millisecond })
	start := time.Now()
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good", "b dev slow"), Nonce: []byte(testNonce)})
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %s of a budget of 300 ms", took)
	}
	if a := find(t, res, "a"); a.Tier() != verdict.TierAffirming {
		t.Errorf("a: %s", a.Tier())
	}
	if b := find(t, res, "b"); b.Tier() != verdict.TierNone || codes(b.Reasons) != "timeout" {
		t.Errorf("b: %s %v", b.Tier(), b.Reasons)
	}
	if res.Outcome.Tier != verdict.TierNone {
		t.Errorf("composite: %s", res.Outcome.Tier)
	}
}

// forging answers with something that the node did not say.
type forging struct {
	local verifiers.Local
	forge func(call verifiers.Call, token []byte) []byte
}

func (f forging) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	token, _, err := f.local.Node.Appraise(ctx, call.Request)
	if err != nil {
		return verdict.Partial{}, err
	}
	p, err := call.Verify(f.forge(call, token))
	var intake *verdict.IntakeError
	if errors.As(err, &intake) {
		return p, &verifiers.Failure{Reason: intake.Code, Detail: intake.Detail}
	}
	return p, err
}

func TestBadAnswers(t *testing.T) {
	raw := composite(t, "a cpu good", "b dev good")
	var first []byte
	foreign, err := trust.GenerateSigner("ES256", rand.Reader)
	check(t, err)
	resign := func(w *world, s *trust.Signer) func(verifiers.Call, []byte) []byte {
		return func(_ verifiers.Call, token []byte) []byte {
			claims, _, err := trust.VerifyJWT(token, func(kid string) (trust.Key, bool) {
				for _, k := range w.anchors.Keys() {
					if k.KID == kid {
						return k, true
					}
				}
				return trust.Key{}, false
			})
			check(t, err)
			out, err := s.SignJWT(claims)
			check(t, err)
			return out
		}
	}
	for name, c := range map[string]struct {
		code  string
		forge func(*world) func(verifiers.Call, []byte) []byte
	}{
		"foreign key": {verdict.ReasonBadPARSignature, func(w *world) func(verifiers.Call, []byte) []byte { return resign(w, foreign) }},
		"lead's key":  {verdict.ReasonBadPARSignature, func(w *world) func(verifiers.Call, []byte) []byte { return resign(w, w.lead) }},
		"garbage": {verdict.ReasonBadPAR, func(*world) func(verifiers.Call, []byte) []byte {
			return func(verifiers.Call, []byte) []byte { return []byte("garbage") }
		}},
		"empty": {verdict.ReasonBadPAR, func(*world) func(verifiers.Call, []byte) []byte {
			return func(verifiers.Call, []byte) []byte { return nil }
		}},
		"replay of another session": {verdict.ReasonPARSubject, func(*world) func(verifiers.Call, []byte) []byte {
			return func(_ verifiers.Call, token []byte) []byte {
				if first == nil {
					first = token
				}
				return first
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(o *Options) { o.Spender = nil })
			local := w.options.Appraiser.(verifiers.Local)
			o := w.options
			o.Appraiser = onlyFor("b", forging{local, c.forge(w)}, local)
			orch, err := New(o)
			check(t, err)
			w.orch = orch
			w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)}) // fills first
			res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
			b := find(t, res, "b")
			if b.Tier() != verdict.TierNone || codes(b.Reasons) != c.code {
				t.Errorf("b: %s %v, want none and %s", b.Tier(), b.Reasons, c.code)
			}
			if a := find(t, res, "a"); a.Tier() != verdict.TierAffirming {
				t.Errorf("a: %s", a.Tier())
			}
			if res.Outcome.Tier != verdict.TierNone {
				t.Errorf("composite: %s", res.Outcome.Tier)
			}
		})
	}
}

type detour struct {
	label       evidence.Path
	there, rest Appraiser
}

func onlyFor(label evidence.Path, there, rest Appraiser) Appraiser { return detour{label, there, rest} }

func (s detour) Appraise(ctx context.Context, call verifiers.Call) (verdict.Partial, error) {
	if call.Request.Label == s.label {
		return s.there.Appraise(ctx, call)
	}
	return s.rest.Appraise(ctx, call)
}

func TestReservedLabel(t *testing.T) {
	w := newWorld(t, nil)
	_, err := w.orch.Appraise(context.Background(), Request{Evidence: composite(t, "composite cpu good"), Nonce: []byte(testNonce)})
	if !errors.Is(err, ErrRequest) {
		t.Fatalf("got %v", err)
	}
}

func TestTimeOverrideIsSaid(t *testing.T) {
	w := newWorld(t, nil)
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce), Time: time.Unix(1750000000, 0)})
	if !strings.Contains(codes(res.Outcome.Reasons), verdict.ReasonTimeOverridden) {
		t.Errorf("reasons: %v", res.Outcome.Reasons)
	}
}

func TestResultsAreNotEvidence(t *testing.T) {
	w := newWorld(t, nil)
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t", evidence.Entry{Label: "a",
		Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test.cpu"}, []byte(testNonce+" good"), evidence.IndResults)}))
	check(t, err)
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
	if a := find(t, res, "a"); a.Tier() != verdict.TierNone || codes(a.Reasons) != verdict.ReasonNoVerifier {
		t.Errorf("a: %s %v", a.Tier(), a.Reasons)
	}
}

func TestNewWantsEverything(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*Options){
		"schemes": func(o *Options) { o.Schemes = nil }, "appraiser": func(o *Options) { o.Appraiser = nil },
		"anchors": func(o *Options) { o.Anchors = nil }, "signer": func(o *Options) { o.Signer = nil },
		"route": func(o *Options) { o.Route = nil }, "clock": func(o *Options) { o.Clock = nil }, "rand": func(o *Options) { o.Rand = nil },
	} {
		o := w.options
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("no %s, and no error", name)
		}
	}
}

func TestTooManyComponents(t *testing.T) {
	lim := limits.Default()
	lim.Leaves = 1
	w := newWorld(t, func(o *Options) { o.Limits = lim })
	if _, err := w.orch.Appraise(context.Background(), Request{Evidence: composite(t, "a cpu good", "b dev good"), Nonce: []byte(testNonce)}); err == nil {
		t.Fatal("more leaves than the limit were taken")
	}
}
