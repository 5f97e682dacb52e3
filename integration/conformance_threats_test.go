// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// TH-2: evidence that is changed on the way to its verifier gives no result,
// whatever the verifier makes of it.
func TestThreatAlteredEvidence(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			if call.Request.Label == "b" {
				call.Request.Evidence = []byte(wordNonce + " good")
			}
			return next.Appraise(context.Background(), call)
		}
		res := f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev bad", "c dev good"))
		if b := part(t, res, "b"); b.Tier() != verdict.TierNone || !strings.Contains(reasonCodes(b.Reasons), verdict.ReasonPARSubject) {
			t.Errorf("%s: %s %v", name, b.Tier(), b.Reasons)
		}
	}
	for name, topology := range federated() {
		f := newFederation(t, options{})
		f.wire = func(_, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			for i := 0; i < len(m); i += len(m)/16 + 1 {
				if _, err := next(flip(m, i)); err == nil {
					t.Errorf("%s: %s opens an envelope with a changed byte %d", name, to, i)
				}
			}
			return next(m)
		}
		if got := tiers(f.appraise(topology, abc(t))); got != "a=affirming b=affirming c=affirming | warning" {
			t.Errorf("%s: changed envelopes disturb the right one: %s", name, got)
		}
	}
}

// TH-5: a member of a chain that leaves a component out, with or without a word,
// leaves it visibly without a verdict.
func TestThreatMemberDropsEvidence(t *testing.T) {
	for what, change := range map[string]func(f *federation) func(*relay.Envelope, *relay.Answer){
		"says nothing about it": func(f *federation) func(*relay.Envelope, *relay.Answer) {
			return func(env *relay.Envelope, a *relay.Answer) {
				a.Partials = append(a.Partials, f.result(f.members["n1"].verifiers["dev"], env.Components[0]))
			}
		},
		"gives its own for it": func(f *federation) func(*relay.Envelope, *relay.Answer) {
			return func(env *relay.Envelope, a *relay.Answer) {
				for _, c := range env.Components {
					a.Partials = append(a.Partials, f.result(f.members["n1"].verifiers["dev"], c))
				}
			}
		},
		"drops an earlier result": func(f *federation) func(*relay.Envelope, *relay.Answer) {
			return func(env *relay.Envelope, a *relay.Answer) {
				a.Partials = nil
				for _, c := range env.Components {
					a.Partials = append(a.Partials, f.result(f.members[map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]].verifiers["dev"], c))
				}
			}
		},
	} {
		f := newFederation(t, options{})
		f.takenOver("n1", change(f))
		res := f.appraise("cascade(a, b@n1, c@n2)", abc(t))
		if a, c := part(t, res, "a"), part(t, res, "c"); a.Tier() != verdict.TierAffirming || c.Tier() != verdict.TierNone || len(c.Reasons) == 0 || res.Outcome.Tier != verdict.TierNone {
			t.Errorf("%s: %s %v", what, tiers(res), c.Reasons)
		}
	}
	// A middle node that hands on less than it should.
	f := newFederation(t, options{})
	f.wire = func(from, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if from == "n1" {
			return nil, &verifiers.Failure{Reason: verdict.ReasonUnreachable, Detail: "gone"}
		}
		return next(m)
	}
	if res := f.appraise("cascade(a, b@n1, c@n2)", abc(t)); tiers(res) != "a=affirming b=affirming c=none | none" || len(part(t, res, "c").Reasons) == 0 {
		t.Errorf("not handed on: %s", tiers(res))
	}
}

// TH-6: a member of a chain cannot bring a result for a component that is not
// its own, whoever's key it has.
func TestThreatFalseResultForAnother(t *testing.T) {
	for what, key := range map[string]func(f *federation) *trust.Signer{
		"its own key":           func(f *federation) *trust.Signer { return f.members["n1"].verifiers["dev"] },
		"its own key for a CPU": func(f *federation) *trust.Signer { return f.members["n1"].verifiers["cpu"] },
		"its node key":          func(f *federation) *trust.Signer { return f.members["n1"].nodeKey },
		"its lead key":          func(f *federation) *trust.Signer { return f.members["n1"].leadKey },
		"the entry's key":       func(f *federation) *trust.Signer { return f.members["me"].verifiers["dev"] },
	} {
		f := newFederation(t, options{})
		f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
			a.Partials = append(a.Partials, f.result(f.members["n1"].verifiers["dev"], env.Components[0]), f.result(key(f), env.Components[1]))
		})
		// The true verifier would contraindicate it.
		res := f.appraise("cascade(a, b@n1, c@n2)", words(t, wordNonce, "a cpu good", "b dev good", "c dev bad"))
		if got := tiers(res); got != "a=affirming b=affirming c=none | none" || reasonCodes(part(t, res, "c").Reasons) != verdict.ReasonBadPARSignature {
			t.Errorf("%s: %s %v", what, got, part(t, res, "c").Reasons)
		}
	}
	// Nor for one that it was not asked about.
	f := newFederation(t, options{})
	f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
		for _, c := range env.Components {
			a.Partials = append(a.Partials, f.result(f.members[map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]].verifiers["dev"], c))
		}
		more := env.Components[0]
		more.Label, more.Request = "d", strings.Repeat("0", 32)
		a.Partials = append(a.Partials, f.result(f.members["n1"].verifiers["dev"], more))
	})
	res := f.appraise("cascade(a, b@n1, c@n2)", words(t, wordNonce, "a cpu good", "b dev good", "c dev good", "d dev good"))
	if got := tiers(res); got != "a=affirming b=none c=none d=none | none" || reasonCodes(part(t, res, "b").Reasons) != verdict.ReasonPARSubject {
		t.Errorf("unasked: %s %v", got, part(t, res, "b").Reasons)
	}
}

// TH-7: an envelope that comes back to a node, or has another path than it
// says, is refused; and so is one that comes twice.
func TestThreatLoopAndDeviation(t *testing.T) {
	for what, change := range map[string]func(f *federation, env *relay.Envelope){
		"the receiver on the path": func(f *federation, env *relay.Envelope) {
			env.Via[0], env.Path[0] = f.members["n2"].nodeKey.KID(), "elsewhere"
		},
		"the name of the receiver on the path": func(f *federation, env *relay.Envelope) {
			env.Via[0], env.Path[0] = "nobody", "n2"
		},
		"for another node": func(f *federation, env *relay.Envelope) { env.To = "n3" },
	} {
		f := newFederation(t, options{})
		tried := false
		f.wire = func(from, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
			if from != "n1" {
				return next(m)
			}
			env := f.read("n2", m)
			change(f, env)
			changed, err := env.Sign(f.members["n1"].nodeKey, rand.Reader)
			tried = true
			if err != nil { // what every receiver would refuse is not even signed
				return nil, err
			}
			if _, err = next(changed); err == nil {
				t.Errorf("%s: accepted", what)
			}
			return nil, err
		}
		if got := tiers(f.appraise("cascade(a, b@n1, c@n2)", abc(t))); got != "a=affirming b=affirming c=none | none" || !tried || strings.Contains(f.asked(), "c@") {
			t.Errorf("%s: %s, asked %s", what, got, f.asked())
		}
	}
	for _, circle := range []string{"cascade(a, b@n1, c@me)", "cascade(a@n1, b@n2, c@n1)", "cascade(a, lead(b, c@me)@n1)"} {
		f := newFederation(t, options{})
		res, err := f.try("me", circle, abc(t), wordNonce)
		if err == nil && part(t, res, "c").Tier() != verdict.TierNone {
			t.Errorf("%s: %s, sent %s", circle, tiers(res), f.sent())
		}
	}
	f := newFederation(t, options{})
	var second error
	f.wire = func(_, _ string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		raw, err := next(m)
		_, second = next(m)
		return raw, err
	}
	if f.appraise("cascade(a, b@n1, c)", abc(t)); second == nil {
		t.Error("an envelope counts twice")
	}
}
