// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TestZeroOptionsAreStrict: what is not said is not allowed.
func TestZeroOptionsAreStrict(t *testing.T) {
	w := newWorld(t, nil)
	token := w.appraise(t, loose(t, "a cpu good")).Token
	if v := w.mustAsk(t, token, nil); v.Tier != verdict.TierAffirming || !v.Accepted || v.Own.Policy.ID != "default" || v.Evidence {
		t.Fatalf("%s %v", v.Tier, v.Reasons)
	}
	jwks, err := w.options.Anchors.JWKS()
	check0(t, err)
	if v := w.mustAsk(t, token, func(o *Options) { o.Anchors, o.JWKS = nil, jwks }); !v.Accepted {
		t.Errorf("with the keys as JSON: %s %v", v.Tier, v.Reasons)
	}
	two := 2
	for name, change := range map[string]func(*Options){
		"nothing at all": func(o *Options) { *o = Options{} },
		"nobody trusted": func(o *Options) { o.Anchors = nil },
		"trusted twice":  func(o *Options) { o.JWKS = jwks },
		"keys of nobody": func(o *Options) { o.Anchors, o.JWKS = nil, []byte("{}") },
		"no schemes":     func(o *Options) { o.Schemes = nil },
		"no time":        func(o *Options) { o.Now = time.Time{} },
		"no nonce":       func(o *Options) { o.Nonce = nil },
		"an empty nonce": func(o *Options) { o.Nonce = []byte{} },
		"nonce and none": func(o *Options) { o.NoNonce = true },
		"an age below 0": func(o *Options) { o.MaxAge = -1 },
		"no label":       func(o *Options) { o.Require = []verdict.Requirement{{}} },
		"two numbers":    func(o *Options) { o.Require = []verdict.Requirement{{Label: "a", Exactly: &two, AtLeast: &two}} },
	} {
		if v, err := w.ask(token, change); !errors.Is(err, ErrOptions) || v != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRefusals: a verdict that is not the one asked for is none.
func TestRefusals(t *testing.T) {
	w := newWorld(t, nil)
	raw := loose(t, "a cpu good")
	token := w.appraise(t, raw).Token
	late := func(o *Options) { o.Now = testTime.Add(100 * time.Second) }
	lead, err := topologies.Parse("lead(a, b)")
	check0(t, err)
	far, err := topologies.Parse("lead(a@x)")
	check0(t, err)
	ways, err := topologies.ParsePaths("a: nowhere")
	check0(t, err)
	stranger, err := trust.NewAnchors(newSigner(t).Key("x", nil, trust.RoleLead))
	check0(t, err)
	verifier, err := trust.NewAnchors(w.lead.Key("x", []string{"cpu"}, trust.RoleVerifier))
	check0(t, err)
	few, err := w.options.Schemes.Only("dev")
	check0(t, err)
	for name, c := range map[string]struct {
		change func(*Options)
		code   string
	}{
		"another nonce":      {func(o *Options) { o.Nonce = []byte("fedcba9876543210") }, verdict.ReasonNonceMismatch},
		"too old for us":     {func(o *Options) { late(o); o.MaxAge = 99 * time.Second }, verdict.ReasonAARStale},
		"too old":            {func(o *Options) { o.Now = testTime.Add(151 * time.Second) }, verdict.ReasonAARStale},
		"past its end":       {func(o *Options) { o.Now, o.MaxAge = testTime.Add(time.Hour), 24*time.Hour }, verdict.ReasonAARStale},
		"from the future":    {func(o *Options) { o.Now = testTime.Add(-2 * time.Minute) }, verdict.ReasonAARStale},
		"a stranger's":       {func(o *Options) { o.Anchors = stranger }, verdict.ReasonBadAARSignature},
		"a verifier's":       {func(o *Options) { o.Anchors = verifier }, verdict.ReasonBadAARSignature},
		"unknown scheme":     {func(o *Options) { o.Schemes = few }, verdict.ReasonLyingAAR},
		"lacks a component":  {func(o *Options) { o.Topology = &lead }, verdict.ReasonMissingComponent},
		"judged elsewhere":   {func(o *Options) { o.Topology = &far }, verdict.ReasonMissingComponent},
		"by another way":     {func(o *Options) { o.Paths = ways }, verdict.ReasonPathDeviation},
		"without evidence":   {func(o *Options) { o.RequireEvidence = true }, verdict.ReasonPARSubject},
		"other evidence":     {func(o *Options) { o.Evidence = loose(t, "a cpu warn") }, verdict.ReasonPARSubject},
		"no evidence at all": {func(o *Options) { o.Evidence = []byte("x") }, verdict.ReasonPARSubject},
	} {
		v, err := w.ask(token, c.change)
		if refused(err) != c.code || v != nil {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	for name, change := range map[string]func(*Options){
		"young enough":      func(o *Options) { late(o); o.MaxAge = 100 * time.Second },
		"any nonce":         func(o *Options) { o.Nonce, o.NoNonce = nil, true },
		"with its evidence": func(o *Options) { o.Evidence, o.RequireEvidence = raw, true },
	} {
		if v := w.mustAsk(t, token, change); !v.Accepted {
			t.Errorf("%s: %s %v", name, v.Tier, v.Reasons)
		}
	}
	for _, token := range [][]byte{nil, []byte("{}"), []byte("x"), []byte("ey.ey.ey")} {
		if _, err := w.ask(token, nil); refused(err) != verdict.ReasonBadAAR {
			t.Errorf("%.10q: %v", token, err)
		}
	}
}

// TestFormats: a verdict is read in every format that has all of it, bare and in a
// bundle, and is the same.
func TestFormats(t *testing.T) {
	w := newWorld(t, nil)
	raw := bound(t, "gpu dev good")
	res := w.appraise(t, raw)
	for _, f := range verdict.Formats() {
		if !f.Verifiable() {
			continue
		}
		token, err := verdict.SignFormat(w.lead, res, f, time.Minute)
		check0(t, err)
		bundle, err := verdict.EncodeBundle(verdict.Bundle{Verdict: token, Format: f, Evidence: raw})
		check0(t, err)
		for name, form := range map[string][]byte{"bare": token, "in a bundle": bundle} {
			if v := w.mustAsk(t, form, func(o *Options) { o.Evidence = raw }); !v.Accepted {
				t.Errorf("%s %s: %s %v", f, name, v.Tier, v.Reasons)
			}
		}
		// Who goes by the media type of a bundle must not read something else in it.
		for _, other := range verdict.Formats() {
			if !other.Verifiable() || other == f {
				continue
			}
			bundle, err := verdict.EncodeBundle(verdict.Bundle{Verdict: token, Format: other, Evidence: raw})
			check0(t, err)
			if v, err := w.ask(bundle, nil); refused(err) != verdict.ReasonBadAAR || v != nil {
				t.Errorf("%s announced as %s: %v", f, other, err)
			}
		}
	}
}

// TestBundle: the evidence in a bundle is compared as well as the one beside it.
func TestBundle(t *testing.T) {
	w := newWorld(t, nil)
	raw, other := bound(t, "gpu dev good"), bound(t, "gpu dev id:7")
	token := w.appraise(t, raw).Token
	bundle := func(e []byte) []byte {
		t.Helper()
		b, err := verdict.EncodeBundle(verdict.Bundle{Verdict: token, Evidence: e, EvidenceType: "application/cmw+cbor"})
		check0(t, err)
		return append([]byte(" \n"), b...)
	}
	if v := w.mustAsk(t, bundle(raw), func(o *Options) { o.RequireEvidence = true }); !v.Accepted || !v.Evidence {
		t.Errorf("%s %v", v.Tier, v.Reasons)
	}
	if _, err := w.ask(append(bundle(raw), '\v'), nil); refused(err) != verdict.ReasonBadAAR {
		t.Errorf("space that JSON does not have: %v", err)
	}
	if _, err := w.ask(bundle(other), nil); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("other evidence in the bundle: %v", err)
	}
	if _, err := w.ask(bundle(raw), func(o *Options) { o.Evidence = other }); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("other evidence beside the bundle: %v", err)
	}
	if _, err := w.ask(bundle(other), func(o *Options) { o.Evidence = raw }); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("other evidence in the bundle, the right one beside it: %v", err)
	}
}

// TestWithoutEvidence: what only the evidence shows is the lead's word, and nothing
// rests on that.
func TestWithoutEvidence(t *testing.T) {
	w := newWorld(t, nil)
	raw := bound(t, "gpu dev good", "nic dev id:7")
	res := w.appraise(t, raw)
	if res.Outcome.Tier != verdict.TierAffirming {
		t.Fatalf("%s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	v := w.mustAsk(t, res.Token, nil)
	if v.Tier != verdict.TierWarning || v.Accepted || !says(v.Reasons, verdict.ReasonUnboundComponent) || !v.Differs() {
		t.Errorf("without the evidence: %s %v", v.Tier, v.Reasons)
	}
	if v := w.mustAsk(t, res.Token, func(o *Options) { o.Evidence = raw }); !v.Accepted || v.Differs() {
		t.Errorf("with the evidence: %s %v", v.Tier, v.Reasons)
	}
	if v := w.mustAsk(t, res.Token, func(o *Options) { o.Policy = library(t, "accept-nonce-binding") }); !v.Accepted {
		t.Errorf("where a nonce will do: %s %v", v.Tier, v.Reasons)
	}
	// The way of a lead that lies: results of a foreign device, for which the same
	// challenge was answered, beside a commitment to the device that is here.
	foreign := w.appraise(t, loose(t, "gpu dev id:foreign"))
	token, err := w.resign(t, res, func(r *verdict.Result) {
		for i, c := range r.Components {
			if c.Label == "gpu" {
				r.Components[i] = foreign.Components[0]
			}
		}
	})
	check0(t, err)
	if v, err := w.ask(token, nil); err == nil && v.Tier == verdict.TierAffirming {
		t.Errorf("a foreign device: %s %v", v.Tier, v.Reasons)
	}
	if _, err := w.ask(token, func(o *Options) { o.Evidence = raw }); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("a foreign device beside the evidence: %v", err)
	}
}

// TestLeadSignature: who signed the composite is believed only where the relying
// party has verified it itself.
func TestLeadSignature(t *testing.T) {
	attester, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check0(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check0(t, err)
	w := newWorld(t, func(o *orchestrator.Options, _ *verifiers.Deps) {
		o.LeadKeys = leadKeys{attester.Public(), other.Public()}
	})
	unsigned := loose(t, "a cpu good")
	raw, err := evidence.SignCOSE(rand.Reader, unsigned, attester, evidence.SignOptions{})
	check0(t, err)
	res := w.appraise(t, raw)
	if res.Lead == nil {
		t.Fatal("the lead does not say who signed")
	}
	knows := func(o *Options, key *ecdsa.PrivateKey) {
		var err error
		o.Anchors, err = trust.NewAnchors(append(o.Anchors.Keys(), trust.Key{
			KID: "attester", Public: key.Public(), Alg: trust.ES256, Roles: []trust.Role{trust.RoleAttester},
		})...)
		check0(t, err)
	}
	for name, c := range map[string]struct {
		change func(*Options)
		known  bool
		code   string
	}{
		"no evidence":             {nil, false, ""},
		"no evidence, known key":  {func(o *Options) { knows(o, attester) }, false, ""},
		"evidence, nobody's key":  {func(o *Options) { o.Evidence = raw }, false, ""},
		"evidence, known key":     {func(o *Options) { o.Evidence = raw; knows(o, attester) }, true, ""},
		"evidence, another's key": {func(o *Options) { o.Evidence = raw; knows(o, other) }, false, verdict.ReasonPARSubject},
	} {
		v, err := w.ask(res.Token, c.change)
		if refused(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		} else if err == nil && (v.Own.Lead != nil) != c.known {
			t.Errorf("%s: the composite is signed by %v", name, v.Own.Lead)
		}
	}
	mine := w.appraise(t, unsigned)
	forged, err := w.resign(t, mine, func(r *verdict.Result) { r.Lead = res.Lead })
	check0(t, err)
	if v := w.mustAsk(t, forged, nil); v.Own.Lead != nil {
		t.Error("a signature that nobody has seen counts")
	}
	if _, err := w.ask(forged, func(o *Options) { o.Evidence = unsigned }); refused(err) != verdict.ReasonLyingAAR {
		t.Errorf("a signature that is not there: %v", err)
	}
	swapped, err := w.resign(t, res, func(r *verdict.Result) {
		l := *r.Lead
		l.SPKI = strings.Repeat("ab", 32)
		r.Lead = &l
	})
	check0(t, err)
	if _, err := w.ask(swapped, func(o *Options) { o.Evidence = raw; knows(o, attester) }); refused(err) != verdict.ReasonLyingAAR {
		t.Errorf("a signature of somebody else: %v", err)
	}
	silent, err := w.resign(t, res, func(r *verdict.Result) { r.Lead = nil })
	check0(t, err)
	if _, err := w.ask(silent, func(o *Options) { o.Evidence = raw; knows(o, attester) }); refused(err) != verdict.ReasonLyingAAR {
		t.Errorf("a signature that the lead keeps to itself: %v", err)
	}
}

// TestBoundByLeadSignature: what the signature of the lead attester holds together is
// one machine for who has verified it, and for nobody else.
func TestBoundByLeadSignature(t *testing.T) {
	attester, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check0(t, err)
	der, err := x509.MarshalPKIXPublicKey(attester.Public())
	check0(t, err)
	w := newWorld(t, func(o *orchestrator.Options, _ *verifiers.Deps) { o.LeadKeys = leadKeys{attester.Public()} })
	raw, err := evidence.SignCOSE(rand.Reader, loose(t, fmt.Sprintf("a cpu key:%x", sha256.Sum256(der)), "b dev good"), attester, evidence.SignOptions{})
	check0(t, err)
	res := w.appraise(t, raw)
	if res.Outcome.Tier != verdict.TierAffirming {
		t.Fatalf("%s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	known, err := trust.NewAnchors(append(w.options.Anchors.Keys(), trust.Key{
		KID: "attester", Public: attester.Public(), Alg: trust.ES256, Roles: []trust.Role{trust.RoleAttester},
	})...)
	check0(t, err)
	for _, c := range []struct {
		evidence []byte
		anchors  *trust.Anchors
		want     verdict.Tier
	}{
		{nil, w.options.Anchors, verdict.TierWarning},
		{nil, known, verdict.TierWarning},
		{raw, w.options.Anchors, verdict.TierWarning},
		{raw, known, verdict.TierAffirming},
	} {
		v := w.mustAsk(t, res.Token, func(o *Options) { o.Evidence, o.Anchors, o.Policy = c.evidence, c.anchors, library(t, "default") })
		if v.Tier != c.want || c.want == verdict.TierWarning && !says(v.Reasons, verdict.ReasonUnboundComponent) {
			t.Errorf("evidence %t, key known %t: %s %v", c.evidence != nil, c.anchors == known, v.Tier, v.Reasons)
		}
	}
}

// TestForeignSession: a composite that was made for another session is one for the
// relying party too, whatever the lead has left out.
func TestForeignSession(t *testing.T) {
	w := newWorld(t, nil)
	raw := ratsd(t, []byte("fedcba9876543210fedcba9876543210"), "a cpu good")
	res, err := w.orch.Appraise(context.Background(), orchestrator.Request{
		Evidence: raw, Nonce: []byte(testNonce), Given: map[evidence.Path][]byte{"a": []byte(testNonce)},
	})
	check0(t, err)
	if res.Outcome.Tier != verdict.TierContraindicated {
		t.Fatalf("%s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	lie, err := w.resign(t, res, func(r *verdict.Result) {
		var caps []verdict.Cap
		for _, c := range r.Caps {
			if c.Reason.Code != verdict.ReasonNonceMismatch {
				caps = append(caps, c)
			}
		}
		r.Caps = caps
		r.Outcome = verdict.Combine(r.Components, r.Caps)
	})
	check0(t, err)
	if v, err := w.ask(lie, func(o *Options) { o.Evidence = raw }); refused(err) != verdict.ReasonPARSubject {
		t.Errorf("%v %v", v, err)
	}
}

// TestRecorded: a verdict that was made as of another time is a warning for whoever
// does not ask for that.
func TestRecorded(t *testing.T) {
	w := newWorld(t, nil)
	res, err := w.orch.Appraise(context.Background(), orchestrator.Request{Evidence: loose(t, "a cpu good"), Nonce: []byte(testNonce), Time: testTime.Add(-time.Hour)})
	check0(t, err)
	for allow, want := range map[bool]verdict.Tier{false: verdict.TierWarning, true: verdict.TierAffirming} {
		if v := w.mustAsk(t, res.Token, func(o *Options) { o.AllowRecorded = allow }); v.Tier != want || v.Accepted != allow {
			t.Errorf("allowed %t: %s %v", allow, v.Tier, v.Reasons)
		}
	}
}

// TestSimulated: that a verifier or a lead takes simulated machines makes nobody else
// take them.
func TestSimulated(t *testing.T) {
	for _, told := range []bool{false, true} {
		w := newWorld(t, func(o *orchestrator.Options, d *verifiers.Deps) { simulated(o, d); o.Simulated = told })
		res := w.appraise(t, loose(t, "a cpu good"))
		for _, c := range []struct {
			allow, own bool
			want       verdict.Tier
		}{
			{false, false, verdict.TierWarning},
			{false, true, verdict.TierWarning},
			{true, true, verdict.TierAffirming},
			{true, false, map[bool]verdict.Tier{false: verdict.TierWarning, true: verdict.TierAffirming}[told]},
		} {
			v := w.mustAsk(t, res.Token, func(o *Options) {
				o.AllowSimulated = c.allow
				if c.own {
					o.Policy = library(t, "default")
				}
			})
			if v.Tier != c.want || !says(v.Reasons, verdict.ReasonExtraRoots) {
				t.Errorf("lead told %t, allowed %t, own policy %t: %s %v", told, c.allow, c.own, v.Tier, v.Reasons)
			}
		}
	}
}

// TestReferences: documents are looked for as of the time of the verdict, and a lead
// that had other ones, or none, is found.
func TestReferences(t *testing.T) {
	w := newWorld(t, nil)
	token := w.appraise(t, loose(t, "a cpu good")).Token
	none, err := corim.NewIndex()
	check0(t, err)
	ask := func(x *corim.Index, fail error) (at time.Time, err error) {
		_, err = w.ask(token, func(o *Options) {
			o.References = func(t time.Time) (*corim.Index, error) { at = t; return x, fail }
		})
		return at, err
	}
	if at, err := ask(nil, errors.New("boom")); !errors.Is(err, ErrOptions) || !at.Equal(testTime) {
		t.Errorf("%v as of %s", err, at)
	}
	if _, err := ask(none, nil); refused(err) != verdict.ReasonLyingAAR {
		t.Errorf("documents that the lead did not have: %v", err)
	}
}
