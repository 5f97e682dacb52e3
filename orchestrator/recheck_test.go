// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func TestRecheckFindsOtherEvidence(t *testing.T) {
	w := newWorld(t, nil)
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	tree, err := evidence.Parse(composite(t, "a cpu good", "b dev good"), evidence.Options{})
	check(t, err)
	if RecheckEvidence(res, w.options.Schemes, tree) == nil {
		t.Error("other evidence passes as that of the verdict")
	}
	// The same leaf in another message is other evidence, and so are other bytes
	// of the leaf in a message that the verdict names.
	leaf := evidence.Entry{Label: "a", Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test.cpu"}, []byte(testNonce+" good"), evidence.IndEvidence)}
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:other", leaf))
	check(t, err)
	wrapped, err := evidence.Parse(raw, evidence.Options{})
	check(t, err)
	if RecheckEvidence(res, w.options.Schemes, wrapped) == nil {
		t.Error("another message with the same leaf passes")
	}
	changed, err := evidence.Parse(composite(t, "a cpu warn"), evidence.Options{})
	check(t, err)
	lie := *res
	lie.Composite = changed.Digest()
	if RecheckEvidence(&lie, w.options.Schemes, changed) == nil {
		t.Error("other bytes of the leaf pass")
	}
	res.Composite = tree.Digest()
	if RecheckEvidence(res, w.options.Schemes, tree) == nil {
		t.Error("a component that the verdict leaves out is not missed")
	}
	res.Nonce = []byte("fedcba9876543210")
	if RecheckNonces(res) == nil {
		t.Error("a challenge that does not follow from the session nonce passes")
	}
}

// resign lets a lead that lies change a result and sign it again.
func (w *world) resign(t *testing.T, r *verdict.Result, change func(*verdict.Result)) (*verdict.Result, error) {
	t.Helper()
	lie := *r
	lie.Components = slices.Clone(r.Components)
	change(&lie)
	lie.Outcome = verdict.Combine(lie.Components, lie.Caps)
	if _, err := verdict.SignResult(w.lead, &lie, time.Minute); err != nil {
		return nil, err
	}
	return verdict.VerifyResult(lie.Token, verdict.Intake{Now: time.Now()}, w.anchors)
}

// TestRecheckFindsLyingLead: what follows from the signed results follows for
// the relying party as well, whatever the lead leaves out.
func TestRecheckFindsLyingLead(t *testing.T) {
	dropCaps := func(r *verdict.Result) { r.Caps, r.Bindings = nil, nil }
	for _, c := range []struct {
		name   string
		parts  []string
		nonce  string
		given  map[evidence.Path][]byte
		change func(*verdict.Result)
	}{
		{"one device twice", []string{"a cpu good", "b dev id:7", "c dev id:7"}, testNonce, nil, dropCaps},
		{"nothing is bound", []string{"a cpu good", "b dev good"}, testNonce, nil, dropCaps},
		{"no session nonce", []string{"a cpu good"}, "", map[evidence.Path][]byte{"a": []byte(testNonce)}, dropCaps},
		{"a challenge of its own", []string{"a cpu good"}, "fedcba9876543210", map[evidence.Path][]byte{"a": []byte(testNonce)}, dropCaps},
		{"a device as CPU", []string{"a dev good"}, testNonce, nil, func(r *verdict.Result) {
			r.Components[0].Class = verdict.ClassCPU
			dropCaps(r)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, nil)
			r := Request{Evidence: composite(t, c.parts...), Given: c.given}
			if c.nonce != "" {
				r.Nonce = []byte(c.nonce)
			}
			honest := w.appraise(t, r)
			check(t, Recheck(honest, w.options.Schemes))
			lie, err := w.resign(t, honest, c.change)
			if err != nil {
				return // found before
			}
			if lie.Outcome.Tier != verdict.TierAffirming {
				t.Fatalf("this lie is no better than the truth: %s %v", lie.Outcome.Tier, lie.Outcome.Reasons)
			}
			if err := Recheck(lie, w.options.Schemes); err == nil {
				t.Error("the lie passes")
			}
		})
	}
}

func TestRecheckNonceWithoutRule(t *testing.T) {
	r := &verdict.Result{Nonce: []byte("fedcba9876543210"), Components: []verdict.Component{{Label: "a", Nonce: []byte(testNonce)}}}
	if RecheckNonces(r) == nil {
		t.Error("a challenge out of nowhere passes")
	}
}

// TestRecheckEvidenceWantsTheRightScheme: the digest alone is not enough.
func TestRecheckEvidenceWantsTheRightScheme(t *testing.T) {
	w := newWorld(t, nil)
	raw := composite(t, "a cpu good")
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
	tree, err := evidence.Parse(raw, evidence.Options{})
	check(t, err)
	check(t, RecheckEvidence(res, w.options.Schemes, tree))
	for name, change := range map[string]func(*verdict.Component){
		"scheme": func(c *verdict.Component) { c.Scheme = "dev" },
		"type":   func(c *verdict.Component) { c.MediaType = "application/vnd.test.dev" },
		"class":  func(c *verdict.Component) { c.Class = verdict.ClassDevice },
	} {
		lie := *res
		lie.Components = slices.Clone(res.Components)
		change(&lie.Components[0])
		if RecheckEvidence(&lie, w.options.Schemes, tree) == nil {
			t.Errorf("another %s passes", name)
		}
	}
}

// silent is a verifier elsewhere that does not apply the scheme's demands.
type silent struct {
	w     *world
	claim verdict.ClaimName
}

func (s silent) Appraise(_ context.Context, call verifiers.Call) (verdict.Partial, error) {
	a := verdict.Appraisal{Freshness: verdict.FreshnessFresh, NonceSeen: call.Request.Nonce}
	a.Vector[s.claim] = verdict.ClaimApproved
	token, err := verdict.SignPartial(s.w.signer, verdict.Issue{
		Verifier: s.w.options.Identity, Label: call.Request.Label, Scheme: call.Request.Scheme,
		MediaType: call.Request.MediaType.String(), Request: call.Request.ID, Nonce: call.Request.Nonce,
		NonceRule: call.Request.NonceRule, Evidence: sha256.Sum256(call.Request.Evidence),
		IssuedAt: time.Now(), Expires: time.Now().Add(time.Minute),
	}, a)
	if err != nil {
		return verdict.Partial{}, err
	}
	return call.Verify(token)
}

// TestRequiredClaimsAreTheLeadsBusinessToo: a verifier that leaves out what its
// scheme requires is not believed to be affirming.
func TestRequiredClaimsAreTheLeadsBusinessToo(t *testing.T) {
	w := newWorld(t, nil)
	var err error
	w.signer, err = trust.GenerateSigner("ES256", rand.Reader)
	check(t, err)
	o := w.options
	o.Anchors, err = trust.Merge(w.anchors, mustAnchors(t, w.signer.Key("x", []string{"cpu"}, trust.RoleVerifier)))
	check(t, err)
	for claim, want := range map[verdict.ClaimName]verdict.Tier{
		verdict.Hardware: verdict.TierAffirming, verdict.FileSystem: verdict.TierWarning,
	} {
		o.Appraiser, o.Spender = silent{w, claim}, spent{}
		w.orch, err = New(o)
		check(t, err)
		res := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
		if res.Outcome.Tier != want {
			t.Errorf("only %s asserted: %s %v", claim, res.Outcome.Tier, res.Components[0].Reasons)
		}
		check(t, Recheck(res, w.options.Schemes))
	}
}

func mustAnchors(t *testing.T, keys ...trust.Key) *trust.Anchors {
	t.Helper()
	a, err := trust.NewAnchors(keys...)
	check(t, err)
	return a
}

// stubborn does not mind its context; loud panics.
type stubborn struct{ leave chan struct{} }

func (s stubborn) Appraise(context.Context, verifiers.Call) (verdict.Partial, error) {
	<-s.leave
	return verdict.Partial{}, context.Canceled
}

type loud struct{}

func (loud) Appraise(context.Context, verifiers.Call) (verdict.Partial, error) { panic("as asked") }

func TestAppraiserCannotHoldTheVerdict(t *testing.T) {
	s := stubborn{make(chan struct{})}
	defer close(s.leave)
	w := newWorld(t, func(o *Options) { o.Appraiser, o.Budget = s, 200*time.Millisecond })
	start := time.Now()
	res := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	if took := time.Since(start); took > 3*time.Second || codes(res.Components[0].Reasons) != verdict.ReasonTimeout {
		t.Errorf("took %s: %v", took, res.Components[0].Reasons)
	}
	w = newWorld(t, func(o *Options) { o.Appraiser = loud{} })
	res = w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	if codes(res.Components[0].Reasons) != verdict.ReasonMalfunction {
		t.Errorf("a panic: %v", res.Components[0].Reasons)
	}
}

// TestReservedLabelCostsNoNonce: what cannot be planned is refused before the
// nonce is spent and before anything is sent.
func TestReservedLabelCostsNoNonce(t *testing.T) {
	calls, used := &counting{}, spent{}
	w := newWorld(t, func(o *Options) { o.Appraiser, o.Spender = calls, used })
	_, err := w.orch.Appraise(context.Background(), Request{Evidence: composite(t, "composite cpu good"), Nonce: []byte(testNonce)})
	if err == nil || len(used) > 0 || calls.n > 0 {
		t.Errorf("%v, %d nonces spent, %d calls", err, len(used), calls.n)
	}
}

func TestRecheckTopology(t *testing.T) {
	w := newWorld(t, nil)
	made, err := topologies.Parse("lead(a, optional(b/0), c/*)")
	check(t, err)
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t",
		evidence.Entry{Label: "a", Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test.cpu"}, []byte(testNonce+" good"), 0)},
		evidence.Entry{Label: "b", Item: evidence.Collection("", evidence.Entry{Label: "0",
			Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test.dev"}, []byte(testNonce+" good"), 0)})}))
	check(t, err)
	res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce), Topology: &made})
	for expr, ok := range map[string]bool{
		"lead":                       false, // b/0 is optional in it
		"lead(a)":                    true,
		"lead(a, optional(b))":       true,
		"lead(a, c/*)":               true, // missing, and the verdict says so
		"lead(a, b)":                 false,
		"lead(a, b/1)":               false,
		"lead(a, d)":                 false,
		"lead(a, optional(b, d, e))": true,
	} {
		want, err := topologies.Parse(expr)
		check(t, err)
		if err := RecheckTopology(res, want); (err == nil) != ok {
			t.Errorf("%s: %v", expr, err)
		}
	}
}

func TestCompletenessIsSaid(t *testing.T) {
	w := newWorld(t, nil)
	bare := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte(testNonce)})
	named, err := topologies.Parse("lead(a)")
	check(t, err)
	explicit := w.appraise(t, Request{Evidence: composite(t, "a cpu good"), Nonce: []byte("fedcba9876543210"), Topology: &named})
	said := func(r *verdict.Result) bool {
		return slices.ContainsFunc(r.Outcome.Reasons, func(x verdict.Reason) bool { return x.Code == verdict.ReasonAsSubmitted })
	}
	if !said(bare) || said(explicit) {
		t.Errorf("bare lead: %v, named parts: %v", bare.Outcome.Reasons, explicit.Outcome.Reasons)
	}
	if strings.Contains(bare.Outcome.Tier.String(), "warning") {
		t.Error("a remark lowers the verdict")
	}
}

// ratsd wraps a collection as ratsd's unsigned JSON token does.
func ratsd(t *testing.T, nonce []byte, parts ...string) []byte {
	t.Helper()
	tree, err := evidence.Parse(composite(t, parts...), evidence.Options{})
	check(t, err)
	var entries []evidence.Entry
	sizes := map[string]int{}
	for _, n := range tree.Leaves() {
		entries = append(entries, evidence.Entry{Label: n.Label(), Item: evidence.Record(n.MediaType(), n.Value(), 0)})
		sizes[n.Label()] = len(testNonce)
	}
	inner, err := evidence.EncodeJSON(evidence.Collection("tag:github.com,2025:veraison/ratsd/cmw", entries...))
	check(t, err)
	raw, err := json.Marshal(map[string]any{
		"eat_profile": "tag:github.com,2024:veraison/ratsd", "eat_nonce": nonce, "cmw": inner,
		"vnd.veraison.nonce_adjust_function": "shake-256", "vnd.veraison.nonce_adjust_map": sizes,
	})
	check(t, err)
	return raw
}

// TestTokenOfAnotherSession: a lead attester's token that names another nonce
// is a replay, even where the components would pass.
func TestTokenOfAnotherSession(t *testing.T) {
	w := newWorld(t, nil)
	mine, other := []byte("0123456789abcdef0123456789abcdef"), []byte("fedcba9876543210fedcba9876543210")
	given := map[evidence.Path][]byte{"a": []byte(testNonce)}
	res := w.appraise(t, Request{Evidence: ratsd(t, mine, "a cpu good"), Nonce: mine, Given: given})
	if res.Outcome.Tier != verdict.TierWarning {
		t.Errorf("its own session: %s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	res = w.appraise(t, Request{Evidence: ratsd(t, mine, "a cpu good"), Nonce: other, Given: given})
	if res.Outcome.Tier != verdict.TierContraindicated || !strings.Contains(codes(res.Outcome.Reasons), verdict.ReasonNonceMismatch) {
		t.Errorf("another session: %s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
}

// TestSplitIsBounded: one leaf cannot become any number of components.
func TestSplitIsBounded(t *testing.T) {
	many := testScheme("cpu", verifiers.ClassCPU)
	many.Split = func(evidence.MediaType, []byte) ([][]byte, error) { return make([][]byte, 9), nil }
	set, err := verifiers.NewSet(many)
	check(t, err)
	tree, err := evidence.Parse(composite(t, "a cpu good"), evidence.Options{})
	check(t, err)
	if parts, err := Components(set, tree, 9); err != nil || len(parts) != 9 {
		t.Errorf("%d, %v", len(parts), err)
	}
	if _, err := Components(set, tree, 8); err == nil {
		t.Error("more components than the limit")
	}
}
