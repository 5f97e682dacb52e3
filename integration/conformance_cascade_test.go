// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/relay"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(s)
	must(t, err)
	return raw
}

// MV-14: every verifier of the chain can be the one that is asked first.
func TestMV14AnyEntry(t *testing.T) {
	f := newFederation(t, options{})
	for entry, topology := range map[string]string{
		"me": "cascade(a, b@n1, c@n2)", "n1": "cascade(b, c@n2, a@me)", "n2": "cascade(c, a@me, b@n1)",
	} {
		res, err := f.try(entry, topology, abc(t), wordNonce)
		must(t, err)
		checked, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, f.anchors)
		must(t, err)
		must(t, orchestrator.Recheck(checked, f.schemes))
		if got := tiers(checked) + " " + f.asked(); got != "a=affirming b=affirming c=affirming | warning a@me b@n1 c@n2" {
			t.Errorf("%s: %s", entry, got)
		}
	}
}

// MV-15: the entry, whichever node that is, verifies the signature of the
// composite.
func TestMV15EveryEntryVerifiesTheComposite(t *testing.T) {
	key := newKey(t)
	f := newFederation(t, options{keys: leadKeys{key.Public()}})
	good := signCOSE(t, abc(t), key)
	for entry, topology := range map[string]string{"me": "cascade(a, b@n1, c@n2)", "n1": "cascade(b, c@n2, a@me)", "n2": "cascade(c, a@me, b@n1)"} {
		if _, err := f.try(entry, topology, flip(good, len(good)-1), wordNonce); err == nil || len(f.passages)+len(f.questions) > 0 {
			t.Errorf("%s: %v, %d sent", entry, err, len(f.passages)+len(f.questions))
		}
		if res, err := f.try(entry, topology, good, wordNonce); err != nil || res.Outcome.Tier != verdict.TierWarning {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

// MV-16: a verifier judges what it can and what is its own, and leaves the rest.
func TestMV16OnlyWhatItCan(t *testing.T) {
	f := newFederation(t, options{schemes: map[string][]string{"n1": {"dev"}}})
	res := f.appraise("cascade(b, a@n1, c@n2)", abc(t)) // n1 has nothing for a CPU
	if got := tiers(res); got != "a=none b=affirming c=affirming | none" {
		t.Errorf("%s: %v", got, part(t, res, "a").Reasons)
	}
	if got := reasonCodes(part(t, res, "a").Reasons); got != verdict.ReasonNoVerifier || f.asked() != "b@me c@n2" {
		t.Errorf("a: %s, asked %s", got, f.asked())
	}
	// What it cannot judge is handed on all the same.
	f = newFederation(t, options{schemes: map[string][]string{"n1": {"dev"}}})
	if got := tiers(f.appraise("cascade(c, b@n1, a@n2)", abc(t))); got != "a=affirming b=affirming c=affirming | warning" || f.asked() != "a@n2 b@n1 c@me" {
		t.Errorf("%s, asked %s", got, f.asked())
	}
}

// MV-17: the next hop gets the whole composite, where that is switched on, and
// all results so far in their order.
func TestMV17CompositeAndResultsSoFar(t *testing.T) {
	for _, expose := range []bool{false, true} {
		f := newFederation(t, options{expose: expose})
		raw := abc(t)
		f.appraise("cascade(a, b@n1, c@n2)", raw)
		for _, p := range f.passages {
			env := f.read(p.to, p.message)
			var labels []string
			for _, r := range env.Partials {
				labels = append(labels, string(r.Label))
			}
			if got, want := strings.Join(labels, " "), map[string]string{"n1": "a", "n2": "a b"}[p.to]; got != want {
				t.Errorf("%s gets the results of %q, want %q", p.to, got, want)
			}
			if expose != bytes.Equal(env.Evidence, raw) || expose != (env.Evidence != nil) {
				t.Errorf("expose %t: %s gets a composite of %d bytes", expose, p.to, len(env.Evidence))
			}
		}
	}
}

// MV-18: the chain ends as soon as nothing is left to appraise.
func TestMV18ChainStops(t *testing.T) {
	for topology, want := range map[string]string{
		"cascade(a, b@n1, c@n2)":             "me>n1 n1>n2",
		"cascade(a, b, c@n2)":                "me>n2",
		"cascade(a, b, c)":                   "",
		"cascade(a, b, c, optional(d@n2))":   "", // nobody has submitted d
		"cascade(a, b@n1, c@n1, d@n2)":       "me>n1",
		"cascade(a, b@n1, c@me)":             "refused",
		"cascade(a, b@n1, c@n2, d@n1)":       "refused",
		"cascade(a, b@n1, c@n1, b@n2)":       "refused",
		"cascade(a, b@n1, optional(c)@n2)":   "me>n1 n1>n2",
		"lead(a, cascade(b@n1, c@n2), d)":    "me>n1 n1>n2",
		"cascade(a, lead(b, c)@n1, d@n2)":    "me>n1",
		"cascade(a, parallel(b, c)@n1)":      "me>n1",
		"lead(a, lead(b, cascade(c))@n1)":    "me>n1",
		"lead(cascade(a, b@n1), lead(c)@n2)": "me>n1 me>n2",
	} {
		f := newFederation(t, options{})
		res, err := f.try("me", topology, abc(t), wordNonce)
		if want == "refused" {
			if err == nil || len(f.passages)+len(f.questions) > 0 {
				t.Errorf("%s: %v, %s", topology, err, f.sent())
			}
			continue
		}
		must(t, err)
		if got := f.sent(); got != want {
			t.Errorf("%s: %s, want %s", topology, got, want)
		}
		for _, c := range res.Components {
			if (c.Label != "d") == c.Partial.IsZero() {
				t.Errorf("%s: %s is %s: %v", topology, c.Label, c.Tier(), c.Reasons)
			}
		}
	}
}

// MV-19: an answer comes from the node that was asked, to the node that asked,
// about that envelope, and contains the answer of the node behind it.
func TestMV19AnswersTakeTheSameWayBack(t *testing.T) {
	f := newFederation(t, options{})
	f.appraise("cascade(a, b@n1, c@n2)", abc(t))
	if f.sent() != "me>n1 n1>n2" {
		t.Fatal(f.sent())
	}
	only := func(name string) func(string) (trust.Key, bool) {
		return func(kid string) (trust.Key, bool) {
			k, ok := f.key(kid)
			return k, ok && kid == f.members[name].nodeKey.KID()
		}
	}
	vias := map[string][]string{}
	for _, p := range f.passages {
		env := f.read(p.to, p.message)
		a, kid, err := relay.OpenAnswer(p.answer, env, p.message, only(p.to), time.Now())
		must(t, err)
		if kid != f.members[p.to].nodeKey.KID() {
			t.Errorf("%s>%s is answered by %s", p.from, p.to, kid)
		}
		vias[p.to] = a.Via
		for name := range f.members {
			if name != p.to {
				if _, _, err := relay.OpenAnswer(p.answer, env, p.message, only(name), time.Now()); err == nil {
					t.Errorf("the answer of %s passes as that of %s", p.to, name)
				}
			}
		}
	}
	path := []string{f.members["me"].nodeKey.KID(), f.members["n1"].nodeKey.KID(), f.members["n2"].nodeKey.KID()}
	if !slices.Equal(vias["n2"], path) || !slices.Equal(vias["n1"], path) {
		t.Errorf("paths %v, want %v", vias, path)
	}
	// The last node cannot answer the entry past the one between them.
	f = newFederation(t, options{})
	f.wire = func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if to != "n1" {
			return next(m)
		}
		env := f.read("n1", m)
		a := relay.Answer{ID: env.ID, Session: env.Session, Digest: digest(m), Issued: time.Now(), Partials: env.Partials,
			Via: append(slices.Clone(env.Via), f.members["n1"].nodeKey.KID(), f.members["n2"].nodeKey.KID())}
		for _, c := range env.Components {
			a.Partials = append(a.Partials, f.result(f.members[map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]].verifiers["dev"], c))
		}
		raw, err := a.Sign(f.members["n2"].nodeKey, rand.Reader)
		must(t, err)
		return raw, nil
	}
	if got := tiers(f.appraise("cascade(a, b@n1, c@n2)", abc(t))); got != "a=affirming b=none c=none | none" {
		t.Errorf("past the middle: %s", got)
	}
	// Nor can the right node say that the envelope took another way.
	f = newFederation(t, options{})
	f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
		a.Via[0] = "another"
		for _, c := range env.Components {
			a.Partials = append(a.Partials, f.result(f.members[map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]].verifiers["dev"], c))
		}
	})
	res := f.appraise("cascade(a, b@n1, c@n2)", abc(t))
	if got := tiers(res); got != "a=affirming b=none c=none | none" || reasonCodes(part(t, res, "c").Reasons) != verdict.ReasonPathDeviation {
		t.Errorf("another way: %s %v", got, part(t, res, "c").Reasons)
	}
}

// MV-20: the entry signs the aggregate, under every head and at every node.
func TestMV20TheEntrySigns(t *testing.T) {
	for name, topology := range heads {
		f := newFederation(t, options{})
		if res := f.appraise(topology, abc(t)); res.KID != f.members["me"].leadKey.KID() {
			t.Errorf("%s: signed by %s", name, res.KID)
		}
	}
	f := newFederation(t, options{})
	if res, err := f.try("n1", "cascade(b, c@n2, a@me)", abc(t), wordNonce); err != nil || res.KID != f.members["n1"].leadKey.KID() {
		t.Errorf("n1 as entry: %v", err)
	}
}

// MV-21: the next hop is what the expression says.
func TestMV21NextHopIsConfiguration(t *testing.T) {
	for topology, want := range map[string]string{
		"cascade(a, b@n1, c@n2)": "me>n1 n1>n2", "cascade(a, c@n2, b@n1)": "me>n2 n2>n1", "cascade(a, b@n2, c@n2)": "me>n2",
	} {
		f := newFederation(t, options{})
		f.appraise(topology, abc(t))
		if f.sent() != want {
			t.Errorf("%s: %s, want %s", topology, f.sent(), want)
		}
	}
}

// MV-22: whoever is no neighbour of a node brings it nothing: no envelope, no
// answer, no result.
func TestMV22OnlyNeighbours(t *testing.T) {
	for _, c := range []struct{ name, who, whom, want string }{
		{"the entry does not know the next hop", "me", "n1", "a=affirming b=none c=none | none"},
		{"the next hop does not know the entry", "n1", "me", "a=affirming b=none c=none | none"},
		{"the middle does not know the last hop", "n1", "n2", "a=affirming b=affirming c=none | none"},
		{"the last hop does not know the middle", "n2", "n1", "a=affirming b=affirming c=none | none"},
	} {
		f := newFederation(t, options{trusts: func(who, whom string) bool { return who != c.who || whom != c.whom }})
		if got := tiers(f.appraise("cascade(a, b@n1, c@n2)", abc(t))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	// A stranger's answer and a stranger's result, from the right place.
	stranger, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	must(t, err)
	f := newFederation(t, options{})
	f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
		for _, c := range env.Components {
			a.Partials = append(a.Partials, f.result(stranger, c))
		}
	})
	if got := tiers(f.appraise("cascade(a, b@n1, c@n2)", abc(t))); got != "a=affirming b=none c=none | none" {
		t.Errorf("a stranger's results: %s", got)
	}
	f.members["n1"].nodeKey = stranger
	f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
		for _, c := range env.Components {
			a.Partials = append(a.Partials, f.result(f.members[map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]].verifiers["dev"], c))
		}
	})
	if got := tiers(f.appraiseWith("cascade(a, b@n1, c@n2)", words(t, oldNonce, "a cpu good", "b dev good", "c dev good"), oldNonce)); got != "a=affirming b=none c=none | none" {
		t.Errorf("a stranger's answer: %s", got)
	}
}

// MV-23: the relying party accepts the aggregate of every entry that it trusts,
// and of no other.
func TestMV23AnchorsOfTheRelyingParty(t *testing.T) {
	f := newFederation(t, options{})
	tokens := map[string][]byte{}
	for entry, topology := range map[string]string{"me": "cascade(a, b@n1, c@n2)", "n1": "cascade(b, c@n2, a@me)", "n2": "cascade(c, a@me, b@n1)"} {
		res, err := f.try(entry, topology, abc(t), wordNonce)
		must(t, err)
		tokens[entry] = res.Token
		if _, err := verdict.VerifyResult(res.Token, verdict.Intake{Now: time.Now()}, f.anchors); err != nil {
			t.Errorf("%s: %v", entry, err)
		}
	}
	// Without the lead key of n2, its aggregates count for nothing; the results
	// of its verifiers still do.
	var keys []trust.Key
	for _, k := range f.anchors.Keys() {
		if k.KID != f.members["n2"].leadKey.KID() {
			keys = append(keys, k)
		}
	}
	fewer, err := trust.NewAnchors(keys...)
	must(t, err)
	for entry, token := range tokens {
		if _, err := verdict.VerifyResult(token, verdict.Intake{Now: time.Now()}, fewer); (err == nil) != (entry != "n2") {
			t.Errorf("%s without an anchor for n2: %v", entry, err)
		}
	}
}

// MV-24: a member of a chain may lead a part of it; who made each result stays
// visible and verifiable.
func TestMV24MembersMayLead(t *testing.T) {
	for topology, sent := range map[string]string{
		"cascade(a, lead(b, lead(c)@n2)@n1)":     "me>n1 n1>n2",
		"lead(a, lead(b, cascade(c@n2))@n1)":     "me>n1 n1>n2",
		"cascade(a, parallel(b, lead(c)@n2)@n1)": "me>n1 n1>n2",
	} {
		f := newFederation(t, options{})
		res := f.appraise(topology, abc(t))
		if got := tiers(res); got != "a=affirming b=affirming c=affirming | warning" || f.sent() != sent || f.asked() != "a@me b@n1 c@n2" {
			t.Errorf("%s: %s, sent %s, asked %s", topology, got, f.sent(), f.asked())
		}
		for label, at := range map[string]string{"a": "me", "b": "n1", "c": "n2"} {
			c := part(t, res, label)
			if _, kid := c.Partial.Verifier(); kid != f.members[at].verifiers[c.Scheme].KID() {
				t.Errorf("%s: %s is not signed by %s", topology, label, at)
			}
		}
	}
}

// MV-45: nobody in between changes another one's result unseen: the next hop,
// the hop before and the relying party all find it.
func TestMV45ForwardedResultsAreProtected(t *testing.T) {
	f := newFederation(t, options{})
	refused := error(nil)
	f.wire = func(from, to string, m []byte, next func([]byte) ([]byte, error)) ([]byte, error) {
		if from == "n1" {
			env := f.read("n2", m)
			env.Partials[0].Token = other(env.Partials[0].Token)
			changed, err := env.Sign(f.members["n1"].nodeKey, rand.Reader)
			must(t, err)
			_, refused = next(changed)
			return nil, refused
		}
		return next(m)
	}
	if got := tiers(f.appraise("cascade(a, b@n1, c@n2)", abc(t))); got != "a=affirming b=affirming c=none | none" || refused == nil {
		t.Errorf("at the next hop: %s, %v", got, refused)
	}
	f = newFederation(t, options{})
	f.takenOver("n1", func(env *relay.Envelope, a *relay.Answer) {
		a.Partials[0].Token = other(a.Partials[0].Token)
		for _, c := range env.Components {
			a.Partials = append(a.Partials, f.result(f.members[map[evidence.Path]string{"b": "n1", "c": "n2"}[c.Label]].verifiers["dev"], c))
		}
	})
	res := f.appraise("cascade(a, b@n1, c@n2)", abc(t))
	if got := tiers(res); got != "a=affirming b=none c=none | none" || !strings.Contains(reasonCodes(part(t, res, "b").Reasons), verdict.ReasonPathDeviation) {
		t.Errorf("on the way back: %s %v", got, part(t, res, "b").Reasons)
	}
	// And a lead that passes on a changed result is found by the relying party.
	f = newFederation(t, options{})
	res = f.appraise("cascade(a, b@n1, c@n2)", abc(t))
	good := string(part(t, res, "b").Partial.Token())
	lie := strings.Replace(payload(t, res.Token), good, string(other([]byte(good))), 1)
	token, err := f.members["me"].leadKey.SignJWT([]byte(lie))
	must(t, err)
	if _, err := verdict.VerifyResult(token, verdict.Intake{Now: time.Now()}, f.anchors); err == nil {
		t.Error("the relying party accepts a changed result")
	}
}

// other is a token with one bit of its signature changed.
func other(token []byte) []byte {
	out := slices.Clone(token)
	at := len(out) - 20
	if out[at] == 'A' {
		out[at] = 'B'
	} else {
		out[at] = 'A'
	}
	return out
}
