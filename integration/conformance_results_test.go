// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// federated are the heads that hand something to another node.
func federated() map[string]string {
	out := map[string]string{}
	for name, topology := range heads {
		if name != "sites" {
			out[name] = topology
		}
	}
	return out
}

// MV-25: the lead compares every challenge itself: a verifier that judged
// another challenge than the session's brings no result.
func TestMV25LeadChecksFreshness(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			if call.Request.Label == "b" {
				call.Request.Nonce = []byte(oldNonce)
			}
			return next.Appraise(context.Background(), call)
		}
		res := f.appraise(topology, abc(t))
		if b := part(t, res, "b"); b.Tier() != verdict.TierNone || !strings.Contains(reasonCodes(b.Reasons), verdict.ReasonPARNonce) {
			t.Errorf("%s: %s %v", name, b.Tier(), b.Reasons)
		}
	}
}

// MV-26: the entry answers for the freshness of the whole chain: a chain whose
// end brings a good result for an old challenge is not fresh.
func TestMV26EntryChecksTheWholeChain(t *testing.T) {
	f := newFederation(t, options{})
	f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
		for _, c := range env.Components {
			at := map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]
			if at == "n2" {
				c.Nonce = []byte(oldNonce)
			}
			a.Partials = append(a.Partials, f.result(f.members[at].verifiers["dev"], c))
		}
	})
	res := f.appraise("cascade(a, b@n1, c@n2)", abc(t))
	if got := tiers(res); got != "a=affirming b=affirming c=none | none" || reasonCodes(part(t, res, "c").Reasons) != verdict.ReasonPARNonce {
		t.Errorf("%s %v", got, part(t, res, "c").Reasons)
	}
	// Without a session challenge nothing is better than a warning.
	f = newFederation(t, options{})
	res = f.appraiseWith("cascade(a, b@n1, c@n2)", abc(t), "")
	if res.Outcome.Tier != verdict.TierWarning || !strings.Contains(reasonCodes(res.Outcome.Reasons), verdict.ReasonNonceNotEstablished) {
		t.Errorf("without a challenge: %s %v", tiers(res), res.Outcome.Reasons)
	}
}

// MV-31 and MV-32: the challenge travels with the evidence and comes back in
// every result, so that the whole can be held against it.
func TestMV31ChallengeThereAndBack(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		var asked [][]byte
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			f.mu.Lock()
			asked = append(asked, call.Request.Nonce)
			f.mu.Unlock()
			return next.Appraise(context.Background(), call)
		}
		res := f.appraise(topology, abc(t))
		if !res.HasNonce([]byte(wordNonce)) || res.HasNonce([]byte(oldNonce)) {
			t.Errorf("%s: the verdict answers %q", name, res.Nonce)
		}
		for _, c := range res.Components {
			if string(c.Partial.Nonce()) != wordNonce || c.Partial.Appraisal().Freshness != verdict.FreshnessFresh {
				t.Errorf("%s: %s was made for %q", name, c.Label, c.Partial.Nonce())
			}
		}
		for _, n := range asked {
			if string(n) != wordNonce {
				t.Errorf("%s: a verifier was asked with %q", name, n)
			}
		}
	}
}

func TestMV32ChallengeThroughTheChain(t *testing.T) {
	for name, topology := range federated() {
		f := newFederation(t, options{})
		f.appraise(topology, abc(t))
		for _, p := range f.passages {
			env := f.read(p.to, p.message)
			if string(env.Nonce) != wordNonce {
				t.Errorf("%s: %s>%s carries %q", name, p.from, p.to, env.Nonce)
			}
			for _, c := range env.Components {
				if string(c.Nonce) != wordNonce || c.NonceRule == "" {
					t.Errorf("%s: %s>%s asks %s with %q by %q", name, p.from, p.to, c.Label, c.Nonce, c.NonceRule)
				}
			}
		}
	}
}

// MV-33: a result of an earlier session is refused, also one about the same
// evidence and the same challenge.
func TestMV33ReplayedResults(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		old := map[string][]byte{}
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			token, _, err := next.Node.Appraise(context.Background(), call.Request)
			must(t, err)
			f.mu.Lock()
			defer f.mu.Unlock()
			label := string(call.Request.Label)
			if old[label] == nil {
				old[label] = token
			}
			p, err := call.Verify(old[label])
			if err != nil {
				return p, &verifiers.Failure{Reason: err.(*verdict.IntakeError).Code, Detail: "x"}
			}
			return p, nil
		}
		if got := tiers(f.appraise(topology, abc(t))); got != "a=affirming b=affirming c=affirming | warning" {
			t.Errorf("%s: %s", name, got)
		}
		// A new session: other evidence for another challenge, the old results.
		res := f.appraiseWith(topology, words(t, oldNonce, "a cpu good", "b dev good", "c dev good"), oldNonce)
		if got := tiers(res); got != "a=none b=none c=none | none" {
			t.Errorf("%s, replayed: %s", name, got)
		}
	}
}

// MV-34: evidence of an earlier challenge contraindicates, and a challenge
// cannot be used twice.
func TestMV34ReplayedEvidence(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		if got := tiers(f.appraise(topology, words(t, oldNonce, "a cpu good", "b dev good", "c dev good"))); got != "a=contraindicated b=contraindicated c=contraindicated | contraindicated" {
			t.Errorf("%s: %s", name, got)
		}
		if _, err := f.try("me", topology, abc(t), wordNonce); err == nil || len(f.passages)+len(f.questions) > 0 {
			t.Errorf("%s: the challenge counts twice: %v", name, err)
		}
	}
}

// MV-44: the relying party can verify every signature from end to end: that of
// the attester, of each verifier and of the entry.
func TestMV44EndToEnd(t *testing.T) {
	key := newKey(t)
	for name, topology := range heads {
		f := newFederation(t, options{keys: leadKeys{key.Public()}})
		raw := signCOSE(t, abc(t), key)
		token := f.appraise(topology, raw).Token
		res, err := verdict.VerifyResult(token, verdict.Intake{Now: time.Now()}, f.anchors)
		must(t, err)
		tree, err := evidence.Parse(raw, evidence.Options{Keys: leadKeys{key.Public()}})
		must(t, err)
		if err := orchestrator.RecheckEvidence(res, f.schemes, tree); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// Take any one anchor away, and it is seen.
		for _, without := range []*trust.Signer{f.members["me"].leadKey, f.members["me"].verifiers["cpu"], f.members["n1"].verifiers["dev"], f.members["n2"].verifiers["dev"]} {
			var keys []trust.Key
			for _, k := range f.anchors.Keys() {
				if k.KID != without.KID() {
					keys = append(keys, k)
				}
			}
			fewer, err := trust.NewAnchors(keys...)
			must(t, err)
			if _, err := verdict.VerifyResult(token, verdict.Intake{Now: time.Now()}, fewer); err == nil {
				t.Errorf("%s: a signature was not verified", name)
			}
		}
		if _, err := evidence.Parse(raw, evidence.Options{Keys: leadKeys{newKey(t).Public()}}); err == nil {
			t.Errorf("%s: the composite passes under a foreign key", name)
		}
	}
}

// MV-46: what holds for a lead and for a chain holds for a chain below a lead
// and a lead below a chain: bad results, strangers and silence cost the same.
func TestMV46Hybrids(t *testing.T) {
	for _, topology := range []string{
		heads["hybrid"], heads["nested"], "cascade(a, lead(b)@n1, lead(c)@n2)", "parallel(a, cascade(b@n1, c@n2))",
	} {
		want := "a=affirming b=affirming c=none | none"
		forged := newFederation(t, options{})
		forged.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			if call.Request.Label == "c" { // with the keys of another node
				next = forged.members["n1"].appraiser
			}
			return next.Appraise(context.Background(), call)
		}
		if got := tiers(forged.appraise(topology, abc(t))); got != want {
			t.Errorf("%s, foreign result: %s", topology, got)
		}
		stranger := newFederation(t, options{trusts: func(who, whom string) bool { return who != "n2" }})
		if got := tiers(stranger.appraise(topology, abc(t))); got != want || strings.Contains(stranger.asked(), "c@") {
			t.Errorf("%s, stranger: %s, asked %s", topology, got, stranger.asked())
		}
		silent := newFederation(t, options{budget: 600 * time.Millisecond})
		if got := tiers(silent.appraise(topology, words(t, wordNonce, "a cpu good", "b dev good", "c dev silent"))); got != want {
			t.Errorf("%s, silence: %s", topology, got)
		}
		broken := newFederation(t, options{})
		if got := tiers(broken.appraise(topology, words(t, wordNonce, "a cpu good", "b dev bad", "c dev good"))); got != "a=affirming b=contraindicated c=affirming | contraindicated" {
			t.Errorf("%s, bad component: %s", topology, got)
		}
	}
}

// MV-48: evidence that is handed on can be read by the node that answers for it
// and by nobody on the way.
func TestMV48EvidenceIsForItsVerifier(t *testing.T) {
	for name, topology := range federated() {
		f := newFederation(t, options{})
		f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev warn", "c dev slow"))
		for _, p := range f.passages {
			for _, secret := range []string{" good", " warn", " slow"} {
				if bytes.Contains(p.message, []byte(wordNonce+secret)) {
					t.Errorf("%s: %s>%s shows%s in the clear", name, p.from, p.to, secret)
				}
			}
			env := f.read(p.to, p.message)
			for _, c := range env.Components {
				info := trust.SealInfo{Session: env.Session, Request: c.Request, Scheme: c.Scheme, MediaType: c.MediaType,
					Label: string(c.Label), Nonce: c.Nonce, Digest: c.Digest, To: c.For}
				for who, m := range f.members {
					plain, err := m.seal.Open(info, c.Evidence)
					if mine := map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label] == who; mine != (err == nil && sha256.Sum256(plain) == c.Digest) {
						t.Errorf("%s: %s>%s: %s opens %s: %v", name, p.from, p.to, who, c.Label, err)
					}
				}
			}
		}
	}
}

// MV-49: what a verifier knows stays with it when it fails: neither the answer
// to another node nor the verdict repeats its words.
func TestMV49NothingLeaksThroughErrors(t *testing.T) {
	const secret = "secret reference value"
	for name, topology := range heads {
		for _, how := range []string{"broken", "panic"} {
			f := newFederation(t, options{})
			res := f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev "+how, "c dev "+how))
			if got := tiers(res); got != "a=affirming b=none c=none | none" {
				t.Errorf("%s, %s: %s", name, how, got)
			}
			if strings.Contains(payload(t, res.Token), secret) {
				t.Errorf("%s, %s: in the verdict", name, how)
			}
			for _, p := range f.passages {
				if bytes.Contains(p.answer, []byte(secret)) || p.err != nil {
					t.Errorf("%s, %s: in the answer of %s, or %v", name, how, p.to, p.err)
				}
			}
		}
	}
}
