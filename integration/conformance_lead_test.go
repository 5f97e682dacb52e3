// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// MV-01: the signature of the composite is looked at first: an unverified one
// costs no nonce, so the same challenge still works for the genuine message.
func TestMV01SignatureBeforeAnythingElse(t *testing.T) {
	key := newKey(t)
	for name, topology := range heads {
		f := newFederation(t, options{keys: leadKeys{key.Public()}})
		if _, err := f.try("me", topology, signCOSE(t, abc(t), newKey(t)), wordNonce); err == nil {
			t.Errorf("%s: a foreign signature passes", name)
		}
		if got := tiers(f.appraise(topology, signCOSE(t, abc(t), key))); got != "a=affirming b=affirming c=affirming | warning" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// MV-02: with an invalid signature verification ends and nothing leaves the
// entry, under every head.
func TestMV02InvalidSignatureDispatchesNothing(t *testing.T) {
	key := newKey(t)
	good := signCOSE(t, abc(t), key)
	for name, topology := range heads {
		f := newFederation(t, options{keys: leadKeys{key.Public()}})
		for what, raw := range map[string][]byte{
			"foreign key": signCOSE(t, abc(t), newKey(t)), "last bit": flip(good, len(good)-1), "a bit of the payload": flip(good, len(good)/2),
		} {
			_, err := f.try("me", topology, raw, wordNonce)
			var malformed *evidence.Error
			if !errors.As(err, &malformed) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			if len(f.passages)+len(f.questions) != 0 {
				t.Errorf("%s, %s: %d envelopes and %d requests left the entry", name, what, len(f.passages), len(f.questions))
			}
		}
	}
}

// MV-03: an unsigned composite is no error.
func TestMV03UnsignedIsNoError(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{keys: leadKeys{newKey(t).Public()}})
		if got := tiers(f.appraise(topology, abc(t))); got != "a=affirming b=affirming c=affirming | warning" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// MV-04: every leaf is dispatched, or in the verdict with a reason.
func TestMV04EveryLeafIsAccountedFor(t *testing.T) {
	raw := words(t, wordNonce, "a cpu good", "b dev good", "c dev good", "d dev good", "e nobody good")
	for name, topology := range heads {
		f := newFederation(t, options{})
		res := f.appraise(topology, raw)
		if got := f.asked(); got != "a@me b@n1 c@n2" {
			t.Errorf("%s: asked %s", name, got)
		}
		if got := tiers(res); got != "a=affirming b=affirming c=affirming d=none e=none | warning" {
			t.Errorf("%s: %s", name, got)
		}
		for _, label := range []string{"d", "e"} {
			if got := reasonCodes(part(t, res, label).Reasons); got != verdict.ReasonUnexpected {
				t.Errorf("%s: %s: %s", name, label, got)
			}
		}
	}
	f := newFederation(t, options{})
	res := f.appraise("lead", raw)
	if got := f.asked(); got != "a@me b@me c@me d@me" || reasonCodes(part(t, res, "e").Reasons) != verdict.ReasonNoVerifier {
		t.Errorf("lead: asked %s, e: %v", got, part(t, res, "e").Reasons)
	}
}

// MV-05: each component goes to the verifier that was selected for it and to no
// other.
func TestMV05OnlyTheSelectedVerifier(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		f.appraise(topology, abc(t))
		if got := f.asked(); got != "a@me b@n1 c@n2" {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// MV-06: who is asked is configuration: a label's place, or the routing table.
func TestMV06SelectionIsConfiguration(t *testing.T) {
	for topology, want := range map[string]string{
		"lead(a, b@n1, c@n2)": "a@me b@n1 c@n2", "lead(a, b@n2, c@n1)": "a@me b@n2 c@n1", "lead(a@n2, b, c@me)": "a@n2 b@me c@me",
	} {
		f := newFederation(t, options{})
		f.appraise(topology, abc(t))
		if got := f.asked(); got != want {
			t.Errorf("%s: %s, want %s", topology, got, want)
		}
	}
	// The components stay, their results are now those of the other site.
	f := newFederation(t, options{route: func(scheme, _ string) []verifiers.Candidate {
		return []verifiers.Candidate{{Site: map[string]string{"cpu": "me", "dev": "n2"}[scheme]}}
	}})
	e, err := topologies.Parse("lead")
	must(t, err)
	_, err = f.members["me"].entry.Appraise(context.Background(), orchestrator.Request{Evidence: abc(t), Nonce: []byte(wordNonce), Topology: &e})
	must(t, err)
	if got := f.asked(); got != "a@me b@n2 c@n2" {
		t.Errorf("by the table: %s", got)
	}
}

// MV-07: the aggregate waits for every selected verifier, or says that there
// was none.
func TestMV07WaitsForAll(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{budget: 2 * time.Second})
		res := f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev good", "c dev slow"))
		if got := tiers(res); got != "a=affirming b=affirming c=affirming | warning" {
			t.Errorf("%s, slow: %s", name, got)
		}
		f = newFederation(t, options{budget: 600 * time.Millisecond})
		res = f.appraise(topology, words(t, wordNonce, "a cpu good", "b dev good", "c dev silent"))
		if got := part(t, res, "c"); got.Tier() != verdict.TierNone || !strings.Contains(reasonCodes(got.Reasons), verdict.ReasonTimeout) {
			t.Errorf("%s, silent: %s %v", name, got.Tier(), got.Reasons)
		}
		if res.Outcome.Tier != verdict.TierNone {
			t.Errorf("%s, silent: the whole is %s", name, res.Outcome.Tier)
		}
	}
}

// MV-08: three affirming results do not make an affirming whole: what the lead
// itself finds lowers it.
func TestMV08LeadLowersTheVerdict(t *testing.T) {
	for name, topology := range heads {
		res := newFederation(t, options{}).appraise(topology, abc(t))
		if res.Outcome.Tier != verdict.TierWarning || !strings.Contains(reasonCodes(res.Outcome.Reasons), verdict.ReasonUnboundComponent) {
			t.Errorf("%s: %s %v", name, res.Outcome.Tier, res.Outcome.Reasons)
		}
	}
}

// MV-09: what the lead adds stands at the whole, never inside a partial result.
func TestMV09LeadsOwnWords(t *testing.T) {
	f := newFederation(t, options{})
	res := f.appraise(heads["sites"], abc(t))
	if len(res.Caps) == 0 {
		t.Fatal("the lead has nothing to say")
	}
	for _, c := range res.Components {
		token := string(c.Partial.Token())
		if !strings.Contains(payload(t, res.Token), token) {
			t.Errorf("%s: the partial result is not in the aggregate as it was signed", c.Label)
		}
		if strings.Contains(payload(t, []byte(token)), verdict.ReasonUnboundComponent) {
			t.Errorf("%s: words of the lead in a partial result", c.Label)
		}
	}
}

// payload is what a token says, unverified.
func payload(t testing.TB, token []byte) string {
	t.Helper()
	f := strings.Split(string(token), ".")
	if len(f) != 3 {
		t.Fatalf("%d parts", len(f))
	}
	return string(unbase64(t, f[1]))
}

// MV-13: a result counts under the keys of its verifier, not under those of
// another verifier that the lead trusts as well.
func TestMV13AnchorsPerVerifier(t *testing.T) {
	resigned := func(f *federation, with string) {
		f.ask = func(_, at string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			if call.Request.Label == "b" {
				next = f.members[with].appraiser
			}
			return next.Appraise(context.Background(), call)
		}
	}
	for name, topology := range heads {
		for with, want := range map[string]verdict.Tier{"n1": verdict.TierAffirming, "n2": verdict.TierNone, "me": verdict.TierNone} {
			f := newFederation(t, options{})
			resigned(f, with)
			res := f.appraise(topology, abc(t))
			if b := part(t, res, "b"); b.Tier() != want {
				t.Errorf("%s: b with the keys of %s: %s %v", name, with, b.Tier(), b.Reasons)
			}
		}
	}
}

// MV-28: every result in an aggregate is signed by the verifier that made it.
func TestMV28EveryResultIsSigned(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		res := f.appraise(topology, abc(t))
		for label, at := range map[string]string{"a": "me", "b": "n1", "c": "n2"} {
			c := part(t, res, label)
			if _, kid := c.Partial.Verifier(); kid != f.members[at].verifiers[c.Scheme].KID() {
				t.Errorf("%s: %s is signed by %s", name, label, kid)
			}
			if _, _, err := trust.VerifyJWT(c.Partial.Token(), func(kid string) (trust.Key, bool) {
				return f.members[at].own.Verifier(kid, c.Scheme, time.Now())
			}); err != nil {
				t.Errorf("%s: %s: %v", name, label, err)
			}
		}
	}
}

// MV-29: a result whose signature does not verify never enters the aggregate.
func TestMV29NothingUnverifiedEntersTheAggregate(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		var mu sync.Mutex
		var bad string
		f.ask = func(_, _ string, call verifiers.Call, next verifiers.Local) (verdict.Partial, error) {
			if call.Request.Label != "b" {
				return next.Appraise(context.Background(), call)
			}
			token, _, err := next.Node.Appraise(context.Background(), call.Request)
			must(t, err)
			token = flip(token, len(token)/2)
			mu.Lock()
			bad = string(token)
			mu.Unlock()
			p, err := call.Verify(token)
			if err == nil {
				t.Errorf("%s: a changed result is accepted", name)
			}
			return p, err
		}
		res := f.appraise(topology, abc(t))
		if b := part(t, res, "b"); !b.Partial.IsZero() || b.Tier() != verdict.TierNone || len(b.Reasons) == 0 {
			t.Errorf("%s: b is %s: %v", name, b.Tier(), b.Reasons)
		}
		if strings.Contains(payload(t, res.Token), bad) {
			t.Errorf("%s: the changed result is in the aggregate", name)
		}
	}
}
