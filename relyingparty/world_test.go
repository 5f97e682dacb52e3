// SPDX-License-Identifier: Apache-2.0

package relyingparty

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/policy"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

const testNonce = "0123456789abcdef"

var testTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// word is a verifier whose evidence is its nonce and a word: "good", "warn", "bad",
// "id:<device>" for a good one with an identity, or "key:<SHA-256>" for one that
// commits to a key.
type word struct{}

func (word) Appraise(_ context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	nonce, what, _ := strings.Cut(string(in.Evidence), " ")
	a := verdict.Appraisal{Freshness: verdict.FreshnessNotEstablished, NonceSeen: []byte(nonce)}
	if in.Nonce != nil {
		a.Freshness = verdict.FreshnessMismatch
		if bytes.Equal(in.Nonce, []byte(nonce)) {
			a.Freshness = verdict.FreshnessFresh
		}
	}
	a.Vector[verdict.Hardware], a.Vector[verdict.Executables] = verdict.ClaimApproved, verdict.ClaimApproved
	switch {
	case what == "warn":
		a.Vector[verdict.Hardware] = verdict.ClaimUnsafe
	case what == "bad":
		a.Vector[verdict.Hardware] = verdict.ClaimContraindicate
	case strings.HasPrefix(what, "id:"):
		a.Facts.Device = []string{what}
	case strings.HasPrefix(what, "key:"):
		a.Facts.Keys = []verdict.CommittedKey{{SPKI: what[4:], Via: "runtime-data", Origin: verdict.OriginMeasured}}
	}
	return a, nil
}

// binder is a CPU TEE whose evidence is its 64 bytes of report data.
type binder struct{}

func (binder) Appraise(_ context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	a := verdict.Appraisal{Freshness: verdict.FreshnessMismatch, NonceSeen: in.Evidence}
	if bytes.Equal(in.Nonce, in.Evidence) {
		a.Freshness = verdict.FreshnessFresh
	}
	a.Vector[verdict.Hardware], a.Vector[verdict.Executables] = verdict.ClaimApproved, verdict.ClaimApproved
	return a, nil
}

func testScheme(name string, class verifiers.Class, size int, v verifiers.Verifier) verifiers.Scheme {
	return verifiers.Scheme{
		Name: name, Class: class, Version: "1.0.0", MaxEvidence: 1024, NonceSize: size,
		Accepts:  []evidence.MediaType{{Base: "application/vnd.test." + name}},
		Required: []verdict.ClaimName{verdict.Hardware, verdict.Executables},
		New:      func(verifiers.Deps) (verifiers.Verifier, error) { return v, nil },
	}
}

// world is a lead, its verifiers, and what a relying party knows of them.
type world struct {
	lead    *trust.Signer
	signers map[string]*trust.Signer
	options Options
	orch    *orchestrator.Orchestrator
}

func newWorld(t testing.TB, change func(*orchestrator.Options, *verifiers.Deps)) *world {
	t.Helper()
	set, err := verifiers.NewSet(testScheme("cpu", verifiers.ClassCPU, 16, word{}), testScheme("dev", verifiers.ClassDevice, 16, word{}),
		testScheme("binder", verifiers.ClassCPU, 64, binder{}))
	check0(t, err)
	w := &world{signers: map[string]*trust.Signer{}}
	var keys []trust.Key
	for _, sc := range set.Schemes() {
		w.signers[sc.Name] = newSigner(t)
		keys = append(keys, w.signers[sc.Name].Key(sc.Name, []string{sc.Name}, trust.RoleVerifier))
	}
	w.lead = newSigner(t)
	anchors, err := trust.NewAnchors(append(keys, w.lead.Key("lead", nil, trust.RoleLead))...)
	check0(t, err)
	id := verdict.Identity{Developer: "https://test.example", Build: "test"}
	clock := func() time.Time { return testTime }
	o, deps := orchestrator.Options{
		Schemes: set, Anchors: anchors, Signer: w.lead, Identity: id, Clock: clock, Rand: rand.Reader,
		Route: func(string, string) []verifiers.Candidate { return []verifiers.Candidate{{Site: "any"}} },
	}, verifiers.Deps{}
	if change != nil {
		change(&o, &deps)
	}
	node, err := verifiers.NewNode(verifiers.NodeOptions{Set: set, Deps: deps, Identity: id, Signers: w.signers, Clock: clock, AllowTimeOverride: true})
	check0(t, err)
	o.Appraiser = verifiers.Local{Node: node}
	w.orch, err = orchestrator.New(o)
	check0(t, err)
	w.options = Options{Anchors: anchors, Schemes: set, Now: testTime, Nonce: []byte(testNonce)}
	return w
}

func newSigner(t testing.TB) *trust.Signer {
	t.Helper()
	s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	check0(t, err)
	return s
}

func check0(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// simulated makes verifiers of devices and CPUs trust extra roots.
func simulated(_ *orchestrator.Options, d *verifiers.Deps) {
	d.ExtraRoots = map[string][]*x509.Certificate{"cpu": {{}}, "dev": {{}}, "binder": {{}}}
}

func entry(label, scheme, value string) evidence.Entry {
	return evidence.Entry{Label: label, Item: evidence.Record(evidence.MediaType{Base: "application/vnd.test." + scheme}, []byte(value), evidence.IndEvidence)}
}

// loose is a composite of "label scheme words" that nothing holds together.
func loose(t testing.TB, parts ...string) []byte {
	t.Helper()
	var entries []evidence.Entry
	for _, p := range parts {
		f := strings.SplitN(p, " ", 3)
		entries = append(entries, entry(f[0], f[1], testNonce+" "+f[2]))
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection("tag:test.example,2026:t", entries...))
	check0(t, err)
	return raw
}

// bound is a composite whose CPU commits to every device.
func bound(t testing.TB, parts ...string) []byte {
	t.Helper()
	c := evidence.Commitment{Nonce: []byte(testNonce), Leaves: map[evidence.Path]evidence.LeafDigest{}}
	var entries []evidence.Entry
	if len(parts) > 0 {
		tree, err := evidence.Parse(loose(t, parts...), evidence.Options{})
		check0(t, err)
		c.Leaves = tree.LeafDigests()
		for _, n := range tree.Leaves() {
			entries = append(entries, evidence.Entry{Label: n.Label(), Item: evidence.Record(n.MediaType(), n.Value(), evidence.IndEvidence)})
		}
	}
	sum, err := c.Sum()
	check0(t, err)
	entries = append(entries, entry("cpu", "binder", string(sum[:])))
	raw, err := evidence.EncodeCBOR(evidence.Collection(evidence.BoundCollection, entries...))
	check0(t, err)
	return raw
}

func (w *world) appraise(t testing.TB, raw []byte) *verdict.Result {
	t.Helper()
	r, err := w.orch.Appraise(context.Background(), orchestrator.Request{Evidence: raw, Nonce: []byte(testNonce)})
	check0(t, err)
	return r
}

// resign lets a lead that lies change a result and sign it again. The error is that
// of signing, which an honest program refuses to do.
func (w *world) resign(t testing.TB, r *verdict.Result, change func(*verdict.Result)) ([]byte, error) {
	t.Helper()
	lie := *r
	lie.Components = slices.Clone(r.Components)
	lie.Caps = slices.Clone(r.Caps)
	if r.Policy != nil {
		p := *r.Policy
		lie.Policy = &p
	}
	lie.Requirements = slices.Clone(r.Requirements)
	change(&lie)
	return verdict.SignResult(w.lead, &lie, time.Minute)
}

// ask is Check with the options of the world, changed.
func (w *world) ask(token []byte, change func(*Options)) (*Verdict, error) {
	o := w.options
	if change != nil {
		change(&o)
	}
	return Check(context.Background(), token, o)
}

func (w *world) mustAsk(t testing.TB, token []byte, change func(*Options)) *Verdict {
	t.Helper()
	v, err := w.ask(token, change)
	check0(t, err)
	if v.Tier != v.Own.Outcome.Tier || v.Own.Token != nil || v.Own.KID != "" {
		t.Errorf("%s, own %s, token %d bytes", v.Tier, v.Own.Outcome.Tier, len(v.Own.Token))
	}
	return v
}

func library(t testing.TB, name string) *policy.Policy {
	t.Helper()
	p, err := policy.Library(name)
	check0(t, err)
	return p
}

func rego(t testing.TB, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Load("test", []byte("package assize\n"+text))
	check0(t, err)
	return p
}

func says(reasons []verdict.Reason, code string) bool {
	return slices.ContainsFunc(reasons, func(r verdict.Reason) bool { return r.Code == code })
}

// refused is the code of a refusal, "" for none.
func refused(err error) string {
	var r *Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// leadKeys may sign composites.
type leadKeys []crypto.PublicKey

func (k leadKeys) VerificationKeys([]byte, string) []crypto.PublicKey { return k }

// ratsdToken is ratsd's unsigned JSON token around a collection.
func ratsdToken(t testing.TB, nonce []byte, entries []evidence.Entry) []byte {
	t.Helper()
	sizes := map[string]int{}
	for _, e := range entries {
		sizes[e.Label] = len(testNonce)
	}
	inner, err := evidence.EncodeJSON(evidence.Collection("tag:github.com,2025:veraison/ratsd/cmw", entries...))
	check0(t, err)
	raw, err := json.Marshal(map[string]any{
		"eat_profile": "tag:github.com,2024:veraison/ratsd", "eat_nonce": nonce, "cmw": inner,
		"vnd.veraison.nonce_adjust_function": "shake-256", "vnd.veraison.nonce_adjust_map": sizes,
	})
	check0(t, err)
	return raw
}
