// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// written is a device whose evidence is its challenge in hexadecimal and a word.
type written struct{}

func (written) Appraise(_ context.Context, in verifiers.Input) (verdict.Appraisal, error) {
	nonce, _, _ := strings.Cut(string(in.Evidence), " ")
	seen, err := hex.DecodeString(nonce)
	if err != nil {
		return verdict.Appraisal{}, verifiers.ErrMalformed
	}
	a := verdict.Appraisal{Freshness: verdict.FreshnessMismatch, NonceSeen: seen}
	if string(in.Nonce) == string(seen) {
		a.Freshness = verdict.FreshnessFresh
	}
	a.Vector[verdict.Hardware] = verdict.ClaimApproved
	return a, nil
}

// conventionWorld has a CPU TEE with 64 bytes of report data, and devices with
// nonces of 32 bytes.
func conventionWorld(t *testing.T) *world { return newWorldOf(t, nil, conventionSchemes()...) }

func conventionSchemes() []verifiers.Scheme {
	return append(boundSchemes(), verifiers.Scheme{
		Name: "written", Class: verifiers.ClassDevice, Version: "1.0.0", MaxEvidence: 1024, NonceSize: 32,
		Accepts:  []evidence.MediaType{{Base: "application/vnd.test.written"}},
		Required: []verdict.ClaimName{verdict.Hardware},
		New:      func(verifiers.Deps) (verifiers.Verifier, error) { return written{}, nil },
	})
}

// bundle is a composite that is put together by hand. The zero value of a field
// is what an honest attester says.
type bundle struct {
	trustee bool
	// nonce is that of the attester, stated what the runtime data name.
	nonce, stated string
	// hashed and sent are the devices that the CPU commits to and those that came,
	// as members of the CMW; beside stand in the composite itself.
	hashed, sent, beside []string
	key                  string
	report               []byte
}

const honestKey = `{"kty":"EC","x":"AA"}`

func (b bundle) runtime(nonce string) string {
	text := base64.StdEncoding.EncodeToString([]byte(nonce))
	if b.trustee {
		return `{"nonce":"` + text + `","tee-pubkey":` + honestKey + `}`
	}
	return `{"user_data":"dXNlcg==","verifier_nonce":{"iat":"MjAyNg==","signature":"AA==","val":"` + text + `"}}`
}

func (b bundle) deviceNonce() []byte {
	if b.trustee {
		sum := sha512.Sum384([]byte(b.runtime(b.nonce)))
		return sum[:32]
	}
	sum := sha256.Sum256([]byte(b.nonce + "2026"))
	return sum[:]
}

// additional is the text with devices "label word".
func (b bundle) additional(devices []string) string {
	if len(devices) == 0 {
		return ""
	}
	var members []string
	for _, d := range devices {
		label, word, _ := strings.Cut(d, " ")
		value := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%x %s", b.deviceNonce(), word))
		members = append(members, `"`+label+`":["application/vnd.test.written","`+value+`"]`)
	}
	return `{"cmw":{` + strings.Join(members, ",") + `}}`
}

// reportData is put together from the texts of the two conventions.
func (b bundle) reportData() []byte {
	if !b.trustee {
		sum := sha512.Sum512([]byte(b.nonce + "2026" + "user"))
		return sum[:]
	}
	escaped := strings.ReplaceAll(b.additional(b.hashed), `"`, `\"`)
	sum := sha512.Sum384([]byte(`{"additional-evidence":"` + escaped + `",` + b.runtime(b.nonce)[1:]))
	return append(sum[:], make([]byte, 16)...)
}

func (b bundle) encode(t *testing.T) []byte {
	t.Helper()
	if b.stated == "" {
		b.stated = b.nonce
	}
	runtime := b.runtime(b.stated)
	if b.key != "" {
		runtime = strings.Replace(runtime, honestKey, b.key, 1)
	}
	typ := evidence.BoundITACollection
	rec := func(typ, v string) evidence.Item {
		return evidence.Record(evidence.MediaType{Base: typ}, []byte(v), evidence.IndEvidence)
	}
	entries := []evidence.Entry{{Label: "runtime-data", Item: rec(evidence.TypeRuntimeData, runtime)}}
	if text := b.additional(b.sent); b.trustee {
		typ = evidence.BoundTrusteeCollection
		if text != "" {
			entries = append(entries, evidence.Entry{Label: "additional-evidence", Item: rec(evidence.TypeAdditionalEvidence, text)})
		}
	} else {
		b.beside = append(b.beside, b.sent...)
	}
	for _, d := range b.beside {
		label, word, _ := strings.Cut(d, " ")
		entries = append(entries, entry(label, "written", fmt.Appendf(nil, "%x %s", b.deviceNonce(), word)))
	}
	if b.report == nil {
		b.report = b.reportData()
	}
	raw, err := evidence.EncodeCBOR(evidence.Collection(typ, append(entries, entry("cpu", "binder", b.report))...))
	check(t, err)
	return raw
}

const otherNonce = "fedcba9876543210"

// TestConventions: a composite bound by the convention of others is fresh, and
// bound, exactly where the convention is kept; and a relying party comes to the
// same (guarantee G-75).
func TestConventions(t *testing.T) {
	list := func(s ...string) []string { return s }
	for _, c := range []struct {
		name  string
		b     bundle
		tier  verdict.Tier
		codes string // that have to be among those of the verdict
	}{
		{"bound", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("gpu good")}, verdict.TierAffirming, verdict.ReasonApplicationBound},
		{"two devices", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good", "nic b"), sent: list("gpu good", "nic b")}, verdict.TierAffirming, verdict.ReasonApplicationBound},
		{"no device", bundle{trustee: true, nonce: testNonce}, verdict.TierAffirming, ""},
		{"one byte changed", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("gpu gooe")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"added", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("gpu good", "nic b")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"added to none", bundle{trustee: true, nonce: testNonce, sent: list("gpu good")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"left out", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good", "nic b"), sent: list("gpu good")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"all left out", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"moved to another label", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("nic good")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"in another order", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good", "nic b"), sent: list("nic b", "gpu good")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"beside what is committed to", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("gpu good"), beside: list("nic b")}, verdict.TierNone, ""},
		{"another key", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("gpu good"), key: `{"kty":"EC","x":"AB"}`}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"another session", bundle{trustee: true, nonce: otherNonce, hashed: list("gpu good"), sent: list("gpu good")}, verdict.TierContraindicated, verdict.ReasonNonceMismatch},
		{"another session that says this one", bundle{trustee: true, nonce: otherNonce, stated: testNonce, hashed: list("gpu good"), sent: list("gpu good")}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"absent", bundle{trustee: true, nonce: testNonce, hashed: list("gpu good"), sent: list("gpu good"), report: make([]byte, 64)}, verdict.TierContraindicated, verdict.ReasonBindingBroken},
		{"the nonce itself", bundle{trustee: true, nonce: testNonce, sent: list("gpu good"), report: append([]byte(testNonce), make([]byte, 48)...)}, verdict.TierContraindicated, verdict.ReasonBindingBroken},

		{"ita", bundle{nonce: testNonce, sent: list("gpu good")}, verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"ita without devices", bundle{nonce: testNonce}, verdict.TierAffirming, ""},
		{"ita, one byte changed", bundle{nonce: testNonce, sent: list("gpu gooe")}, verdict.TierWarning, verdict.ReasonUnboundComponent},
		{"ita, another session", bundle{nonce: otherNonce, sent: list("gpu good")}, verdict.TierContraindicated, verdict.ReasonNonceMismatch},
		{"ita, another session that says this one", bundle{nonce: otherNonce, stated: testNonce, sent: list("gpu good")}, verdict.TierContraindicated, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := conventionWorld(t)
			raw := c.b.encode(t)
			res := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
			if res.Outcome.Tier != c.tier || !strings.Contains(codes(append(res.Outcome.Reasons, find(t, res, "cpu").Reasons...)), c.codes) {
				t.Errorf("%s %q, want %s %q", res.Outcome.Tier, codes(res.Outcome.Reasons), c.tier, c.codes)
			}
			checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: res.Time}, w.anchors)
			check(t, err)
			tree, err := evidence.Parse(raw, evidence.Options{})
			check(t, err)
			check(t, RecheckEvidence(checked, w.options.Schemes, tree))
			err = Recheck(checked, w.options.Schemes)
			if wants := c.b.trustee && len(c.b.sent) > 0 && c.tier == verdict.TierAffirming; needsEvidence(err) != wants || err != nil && !wants {
				t.Errorf("the relying party says %v", err)
			}
		})
	}
}

// A relying party without the evidence is told what it cannot repeat, and nothing
// else passes for that.
func TestConventionsNeedEvidence(t *testing.T) {
	w := conventionWorld(t)
	b := bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}
	raw := b.encode(t)
	honest := w.appraise(t, Request{Evidence: raw, Nonce: []byte(testNonce)})
	check(t, RecheckNonces(honest)) // the lead itself has the evidence
	tree, err := evidence.Parse(raw, evidence.Options{})
	check(t, err)
	checked, err := verdict.VerifyResult(honest.Token, verdict.Intake{Now: honest.Time}, w.anchors)
	check(t, err)
	var needs *NeedsEvidence
	if !errors.As(RecheckNonces(checked), &needs) || !slices.Equal(needs.Components, []evidence.Path{"cpu"}) {
		t.Errorf("%v", needs)
	}
	if checked.Commitment.Convention != evidence.ConventionTrustee || string(checked.Commitment.Runtime) != b.runtime(testNonce) || checked.Commitment.Additional != nil {
		t.Errorf("%+v", checked.Commitment)
	}
	change := func(f func(c *evidence.Commitment)) func(*verdict.Result) {
		return func(r *verdict.Result) {
			c := *r.Commitment
			c.Leaves = map[evidence.Path]evidence.LeafDigest{}
			for p, d := range r.Commitment.Leaves {
				c.Leaves[p] = d
			}
			f(&c)
			r.Commitment = &c
		}
	}
	for name, lie := range map[string]func(*verdict.Result){
		"no commitment":      func(r *verdict.Result) { r.Commitment = nil },
		"of our convention":  change(func(c *evidence.Commitment) { c.Convention, c.Runtime = "", nil }),
		"another nonce":      func(r *verdict.Result) { r.Nonce = []byte(otherNonce) },
		"other runtime data": change(func(c *evidence.Commitment) { c.Runtime = []byte(strings.Replace(string(c.Runtime), "EC", "OK", 1)) }),
		"not about the GPU":  change(func(c *evidence.Commitment) { delete(c.Leaves, "additional-evidence/cmw/gpu") }),
		"beside":             change(func(c *evidence.Commitment) { c.Leaves["x"] = evidence.LeafDigest{} }),
		"all there is":       change(func(c *evidence.Commitment) { c.Leaves[""] = evidence.LeafDigest{} }),
	} {
		lied, err := w.resign(t, honest, lie)
		if err != nil {
			continue // not even a well-formed verdict
		}
		if err := RecheckNonces(lied); err == nil || needsEvidence(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Runtime data have one form, so that two readers never see different ones.
	for name, lie := range map[string]func(*verdict.Result){
		"not canonical":  change(func(c *evidence.Commitment) { c.Runtime = append([]byte(" "), c.Runtime...) }),
		"none":           change(func(c *evidence.Commitment) { c.Runtime = nil }),
		"convention":     change(func(c *evidence.Commitment) { c.Convention = "other" }),
		"of another one": change(func(c *evidence.Commitment) { c.Convention = evidence.ConventionITA }),
	} {
		if _, err := w.resign(t, honest, lie); err == nil {
			t.Errorf("%s: a well-formed verdict", name)
		}
	}
	for name, lie := range map[string]func(*verdict.Result){
		"other leaves":       change(func(c *evidence.Commitment) { c.Leaves["additional-evidence/cmw/gpu"] = evidence.LeafDigest{} }),
		"other runtime data": change(func(c *evidence.Commitment) { c.Runtime = []byte(strings.Replace(string(c.Runtime), "EC", "OK", 1)) }),
		"no convention":      change(func(c *evidence.Commitment) { c.Convention = "" }),
		"another challenge": func(r *verdict.Result) {
			i := slices.IndexFunc(r.Components, func(c verdict.Component) bool { return c.Label == "cpu" })
			r.Components[i].Nonce = make([]byte, 64)
		},
		"another session": func(r *verdict.Result) { r.Nonce = []byte(otherNonce) },
	} {
		lied := *checked
		lied.Components = slices.Clone(checked.Components)
		lie(&lied)
		if RecheckEvidence(&lied, w.options.Schemes, tree) == nil {
			t.Errorf("%s: passes beside the evidence", name)
		}
	}
	check(t, RecheckEvidence(checked, w.options.Schemes, tree))
	other := b
	other.sent = []string{"gpu gooe"}
	tree, err = evidence.Parse(other.encode(t), evidence.Options{})
	check(t, err)
	if err := recheckCommitment(checked, tree.Commitment()); err == nil {
		t.Error("the challenge follows from other evidence")
	}
}

// TestConventionsForWhoSubmits: what the caller names itself is no commitment, and
// without a session nonce there is none.
func TestConventionsForWhoSubmits(t *testing.T) {
	w := conventionWorld(t)
	b := bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}
	res := w.appraise(t, Request{Evidence: b.encode(t), Nonce: []byte(testNonce), Given: map[evidence.Path][]byte{"cpu": b.reportData()}})
	if res.Outcome.Tier != verdict.TierWarning || find(t, res, "cpu").NonceRule != topologies.RuleGiven {
		t.Errorf("%s %v", res.Outcome.Tier, res.Outcome.Reasons)
	}
	if res := w.appraise(t, Request{Evidence: b.encode(t)}); res.Outcome.Tier == verdict.TierAffirming || res.Commitment != nil {
		t.Errorf("without a session nonce: %s", res.Outcome.Tier)
	}
	// What somebody collected from that verdict is worth no more than it can repeat.
	w = conventionWorld(t)
	res = w.appraise(t, Request{Evidence: b.encode(t), Nonce: []byte(testNonce)})
	lead, err := topologies.Parse("lead")
	check(t, err)
	tree, err := evidence.Parse(b.encode(t), evidence.Options{})
	check(t, err)
	for _, with := range []*evidence.Tree{nil, tree} {
		got, err := CombineCollected(Collected{Topology: lead, Results: [][]byte{res.Token}, Nonce: []byte(testNonce), Evidence: with,
			Anchors: w.anchors, Schemes: w.options.Schemes, Intake: verdict.Intake{Now: time.Now()}})
		check(t, err)
		if (got.Outcome.Tier == verdict.TierAffirming) != (with != nil) {
			t.Errorf("with evidence %t: %s %v", with != nil, got.Outcome.Tier, got.Outcome.Reasons)
		}
	}
}

// TestConventionsBetweenNodes: who is handed a component of such a composite gets its
// challenge and derives none, so that the verdict is the one of a lead alone; and a
// node that was asked otherwise by who stands between brings no result.
func TestConventionsBetweenNodes(t *testing.T) {
	for _, c := range []struct {
		name     string
		b        bundle
		topology string
		tier     verdict.Tier
	}{
		{"device handed on", bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}, "lead(cpu, lead(additional-evidence/cmw/gpu)@n1)", verdict.TierAffirming},
		{"CPU handed on", bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}, "lead(lead(cpu)@n1, additional-evidence/cmw/gpu)", verdict.TierAffirming},
		{"all handed on twice", bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}, "cascade(cpu@n1, additional-evidence/cmw/gpu@n2)", verdict.TierAffirming},
		{"another device", bundle{trustee: true, nonce: testNonce, hashed: []string{"gpu good"}, sent: []string{"gpu else"}}, "lead(lead(cpu)@n1, additional-evidence/cmw/gpu)", verdict.TierContraindicated},
		{"another session", bundle{trustee: true, nonce: otherNonce, hashed: []string{"gpu good"}, sent: []string{"gpu good"}}, "lead(lead(cpu)@n1, additional-evidence/cmw/gpu)", verdict.TierContraindicated},
		{"what commits to nothing", bundle{nonce: testNonce, sent: []string{"gpu good"}}, "lead(lead(cpu)@n1, gpu)", verdict.TierWarning},
	} {
		for _, expose := range []bool{false, true} {
			f := newFederationOf(t, conventionSchemes(), nil, "me", "n1", "n2")
			f.members["me"].lead.o.Peers.Expose = expose
			e, err := topologies.Parse(c.topology)
			check(t, err)
			res, err := f.members["me"].lead.Appraise(context.Background(), Request{Evidence: c.b.encode(t), Nonce: []byte(testNonce), Topology: &e})
			check(t, err)
			if res.Outcome.Tier != c.tier || len(f.sent) == 0 {
				t.Errorf("%s, expose %t: %s %v after %v", c.name, expose, res.Outcome.Tier, res.Outcome.Reasons, f.sent)
			}
			for _, p := range res.Components {
				if len(p.Partials()) != 1 || p.Partial.NonceRule() != p.NonceRule || evidence.Convention(p.NonceRule) == "" {
					t.Errorf("%s, expose %t: %s by rule %q, %v", c.name, expose, p.Label, p.NonceRule, p.Reasons)
				}
			}
		}
	}
}
