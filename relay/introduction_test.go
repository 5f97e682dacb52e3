// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

func mark(fill byte) string { return strings.Repeat(string(fill), 42) + "A" }

// introduction is one of b to c.
func (l *lab) introduction() Introduction {
	return Introduction{
		ID: testID("0c"), From: "vendor-b", To: "vendor-c", Nonce: bytes.Repeat([]byte{0x5a}, ChallengeSize),
		Issued: testTime, Deadline: testTime.Add(10 * time.Second),
	}
}

// introduced is the answer of c.
func (l *lab) introduced(sentRaw []byte) IntroductionAnswer {
	node := []string{l.c.KID(), l.d.KID()}
	slices.Sort(node)
	composite := []byte("a composite of its own")
	return IntroductionAnswer{
		ID: testID("0c"), Digest: sha256.Sum256(sentRaw), From: "vendor-c", To: "vendor-b", Issued: testTime.Add(time.Second),
		Keys:      Keys{Node: node, Verifiers: []string{mark('a'), mark('b')}, Seal: []string{mark('c')}},
		MediaType: "application/cmw+cbor", Of: sha256.Sum256(composite), Evidence: composite,
	}
}

// named finds the keys of nodes by name.
func named(nodes map[string]*trust.Signer) NodeFinder {
	return func(kid string) (string, trust.Key, bool) {
		for name, s := range nodes {
			if s.KID() == kid {
				return name, s.Key(name, nil, trust.RoleNode), true
			}
		}
		return "", trust.Key{}, false
	}
}

func TestIntroductionRoundTrip(t *testing.T) {
	for _, alg := range []string{trust.ES256, trust.ES384, trust.EdDSA} {
		l := newLab(t, alg)
		in := l.introduction()
		raw, err := in.Sign(l.b, rand.Reader)
		must(t, raw, err)
		got, err := OpenIntroduction(raw, named(map[string]*trust.Signer{"vendor-b": l.b}), "vendor-c", testTime)
		if err != nil || !reflect.DeepEqual(*got, in) {
			t.Fatalf("%s: %+v, %v", alg, got, err)
		}
		a := l.introduced(raw)
		for _, sealed := range []string{"", mark('d')} {
			if a.Sealed = sealed; sealed != "" {
				a.Evidence = []byte("sealed bytes") // whose digest is another
			}
			reply, err := a.Sign(l.c, rand.Reader)
			must(t, reply, err)
			back, err := OpenIntroductionAnswer(reply, &in, raw, knows(l.c), testTime.Add(2*time.Second))
			if err != nil || !reflect.DeepEqual(*back, a) {
				t.Errorf("%s: %+v, %v", alg, back, err)
			}
		}
	}
}

// signedIntroduction signs what Sign would not.
func signedIntroduction(t testing.TB, s *trust.Signer, in Introduction, edit func([]evidence.Entry) []evidence.Entry) []byte {
	t.Helper()
	st, err := in.statement()
	must(t, st, err)
	return signedEntries(t, s, IntroductionType, []evidence.Entry{entry(entryStatement, typeIntroduction, st, 0)}, edit)
}

func signedIntroductionAnswer(t testing.TB, s *trust.Signer, a IntroductionAnswer, edit func([]evidence.Entry) []evidence.Entry) []byte {
	t.Helper()
	st, err := a.statement()
	must(t, st, err)
	return signedEntries(t, s, IntroductionAnswerType, []evidence.Entry{
		entry(entryStatement, typeIntroductionAnswer, st, 0), entry(entryOwnEvidence, typeEvidence, a.Evidence, evidence.IndEvidence),
	}, edit)
}

func TestOpenIntroductionRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	find := named(map[string]*trust.Signer{"vendor-b": l.b, "vendor-d": l.d})
	now := testTime.Add(time.Second)
	refused := verdict.ReasonRefused
	for _, c := range []struct {
		name        string
		signer      *trust.Signer
		edit        func(*Introduction)
		check, code string
	}{
		{"a stranger", l.a, func(*Introduction) {}, CheckSignature, refused},
		{"another node's name", l.d, func(*Introduction) {}, CheckSender, refused},
		{"for another node", l.b, func(in *Introduction) { in.To = "vendor-d" }, CheckRecipient, refused},
		{"to itself", l.b, func(in *Introduction) { in.From, in.To = "vendor-b", "vendor-b" }, CheckRecipient, refused},
		{"no name", l.b, func(in *Introduction) { in.From = "" }, CheckSender, refused},
		{"short nonce", l.b, func(in *Introduction) { in.Nonce = in.Nonce[1:] }, CheckMembers, refused},
		{"long nonce", l.b, func(in *Introduction) { in.Nonce = append(in.Nonce, 0) }, CheckMembers, refused},
		{"no nonce", l.b, func(in *Introduction) { in.Nonce = nil }, CheckMembers, refused},
		{"id", l.b, func(in *Introduction) { in.ID = testID("0C") }, CheckMembers, refused},
		{"from the future", l.b, func(in *Introduction) {
			in.Issued, in.Deadline = now.Add(61*time.Second), now.Add(62*time.Second)
		}, CheckFuture, refused},
		{"stale", l.b, func(in *Introduction) {
			in.Issued, in.Deadline = now.Add(-2*time.Minute), now.Add(-61*time.Second)
		}, CheckDeadline, verdict.ReasonTimeout},
		{"deadline at the issue", l.b, func(in *Introduction) { in.Deadline = in.Issued }, CheckDeadline, verdict.ReasonTimeout},
		{"deadline too far", l.b, func(in *Introduction) { in.Deadline = in.Issued.Add(limits.Session + time.Second) }, CheckDeadline, verdict.ReasonTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := l.introduction()
			c.edit(&in)
			_, err := OpenIntroduction(signedIntroduction(t, c.signer, in, nil), find, "vendor-c", now)
			wants(t, err, c.check, c.code)
		})
	}
	raw := signedIntroduction(t, l.b, l.introduction(), nil)
	// Only keys for this, and only while they last; and only this message.
	for _, edit := range []func(*trust.Key){
		func(k *trust.Key) { k.Roles = []trust.Role{trust.RoleVerifier, trust.RoleLead} },
		func(k *trust.Key) { k.NotAfter = testTime },
	} {
		_, err := OpenIntroduction(raw, func(string) (string, trust.Key, bool) {
			k := l.b.Key("b", nil, trust.RoleNode)
			edit(&k)
			return "vendor-b", k, true
		}, "vendor-c", now)
		wants(t, err, CheckSignature, refused)
	}
	more := func(in []evidence.Entry) []evidence.Entry {
		return append(in, entry("evidence", typeEvidence, []byte("x"), evidence.IndEvidence))
	}
	_, err := OpenIntroduction(signedIntroduction(t, l.b, l.introduction(), more), find, "vendor-c", now)
	wants(t, err, CheckEntries, refused)
	_, err = OpenIntroduction(unchecked(t, l.b, l.envelope(), nil), find, "vendor-c", now)
	wants(t, err, CheckMessage, refused)
	for _, c := range []func() error{
		func() error { _, err := OpenIntroduction(raw, nil, "vendor-c", now); return err },
		func() error { _, err := OpenIntroduction(raw, find, "", now); return err },
		func() error { _, err := OpenIntroduction(raw, find, "vendor-c", time.Time{}); return err },
	} {
		wants(t, c(), CheckArguments, refused)
	}
	for _, bad := range []func(*Introduction){func(in *Introduction) { in.Nonce = nil }, func(in *Introduction) { in.To = in.From }} {
		in := l.introduction()
		bad(&in)
		if _, err := in.Sign(l.b, rand.Reader); err == nil {
			t.Error("signed")
		}
	}
}

func TestOpenIntroductionAnswerRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	sent := l.introduction()
	sentRaw := signedIntroduction(t, l.b, sent, nil)
	now := testTime.Add(2 * time.Second)
	for _, c := range []struct {
		name  string
		edit  func(*IntroductionAnswer)
		check string
		alone bool // nothing is wrong with the answer as such
	}{
		{"another introduction", func(a *IntroductionAnswer) { a.ID = testID("0b") }, CheckSubject, true},
		{"another message", func(a *IntroductionAnswer) { a.Digest[0] ^= 1 }, CheckSubject, true},
		{"from another node", func(a *IntroductionAnswer) { a.From = "vendor-d" }, CheckSender, true},
		{"for another node", func(a *IntroductionAnswer) { a.To = "vendor-d" }, CheckRecipient, true},
		{"for itself", func(a *IntroductionAnswer) { a.To = a.From }, CheckMembers, false},
		{"from the future", func(a *IntroductionAnswer) { a.Issued = now.Add(61 * time.Second) }, CheckFuture, true},
		{"older than the question", func(a *IntroductionAnswer) { a.Issued = testTime.Add(-61 * time.Second) }, CheckStale, true},
		{"no digest", func(a *IntroductionAnswer) { a.Digest = [32]byte{} }, CheckMembers, false},
		{"no digest of the evidence", func(a *IntroductionAnswer) { a.Of = [32]byte{} }, CheckMembers, false},
		{"evidence of another digest", func(a *IntroductionAnswer) { a.Of[3] ^= 1 }, CheckEvidence, false},
		{"media type", func(a *IntroductionAnswer) { a.MediaType = "a/b\n" }, CheckMembers, false},
		{"long media type", func(a *IntroductionAnswer) { a.MediaType = strings.Repeat("a", 513) }, CheckMembers, false},
		{"seal key that is none", func(a *IntroductionAnswer) { a.Sealed = "key" }, CheckMembers, false},
		{"signed by a key that is not spoken for", func(a *IntroductionAnswer) { a.Keys.Node = []string{l.d.KID()} }, CheckSender, false},
		{"the signer is spoken for as another kind of key", func(a *IntroductionAnswer) {
			a.Keys.Node, a.Keys.Verifiers = []string{l.d.KID()}, []string{l.c.KID()}
		}, CheckSender, false},
		{"no node key", func(a *IntroductionAnswer) { a.Keys.Node = nil }, CheckKeys, false},
		{"key twice", func(a *IntroductionAnswer) { a.Keys.Verifiers = []string{mark('a'), mark('a')} }, CheckKeys, false},
		{"keys not sorted", func(a *IntroductionAnswer) { a.Keys.Verifiers = []string{mark('b'), mark('a')} }, CheckKeys, false},
		{"key that is no thumbprint", func(a *IntroductionAnswer) { a.Keys.Seal = []string{"kid"} }, CheckKeys, false},
		{"too many seal keys", func(a *IntroductionAnswer) {
			a.Keys.Seal = nil
			for i := range 17 {
				a.Keys.Seal = append(a.Keys.Seal, mark('a'+byte(i)))
			}
		}, CheckKeys, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := l.introduced(sentRaw)
			c.edit(&a)
			_, err := OpenIntroductionAnswer(signedIntroductionAnswer(t, l.c, a, nil), &sent, sentRaw, knows(l.c), now)
			wants(t, err, c.check, verdict.ReasonPeerNotAttested)
			if !c.alone {
				if _, err := a.Sign(l.c, rand.Reader); err == nil {
					t.Error("it is signed")
				}
			}
		})
	}
	a := l.introduced(sentRaw)
	good := signedIntroductionAnswer(t, l.c, a, nil)
	// Another signer, under its own keys or those of the node.
	for _, find := range []func(string) (trust.Key, bool){knows(l.a), knows(), nil} {
		_, err := OpenIntroductionAnswer(good, &sent, sentRaw, find, now)
		if e, ok := err.(*Error); !ok || e.Code != verdict.ReasonPeerNotAttested {
			t.Errorf("%v", err)
		}
	}
	_, err := OpenIntroductionAnswer(good, &sent, sentRaw, knows(l.c), sent.Deadline.Add(1))
	wants(t, err, CheckDeadline, verdict.ReasonPeerNotAttested)
	if _, err = OpenIntroductionAnswer(good, &sent, sentRaw, knows(l.c), sent.Deadline); err != nil {
		t.Error(err)
	}
	// The answer to another question of the same text: other signature bytes.
	other := sent
	other.Nonce = bytes.Repeat([]byte{1}, ChallengeSize)
	_, err = OpenIntroductionAnswer(good, &other, signedIntroduction(t, l.b, other, nil), knows(l.c), now)
	wants(t, err, CheckSubject, verdict.ReasonPeerNotAttested)
	for _, edit := range []func([]evidence.Entry) []evidence.Entry{
		func(in []evidence.Entry) []evidence.Entry { return in[:1] },
		func(in []evidence.Entry) []evidence.Entry {
			return append(in, entry("par/0", typePartial, []byte("a.b.c"), evidence.IndResults))
		},
	} {
		_, err := OpenIntroductionAnswer(signedIntroductionAnswer(t, l.c, a, edit), &sent, sentRaw, knows(l.c), now)
		if err == nil {
			t.Error("entries and statement do not agree")
		}
	}
	_, err = OpenIntroductionAnswer(good, nil, sentRaw, knows(l.c), now)
	wants(t, err, CheckArguments, verdict.ReasonPeerNotAttested)
	_, err = OpenIntroductionAnswer(good, &sent, nil, knows(l.c), now)
	wants(t, err, CheckArguments, verdict.ReasonPeerNotAttested)
}

// The statements are read in one spelling only.
func TestIntroductionHasOneSpelling(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	in := l.introduction()
	st, err := in.statement()
	must(t, st, err)
	a, err := l.introduced([]byte("x")).statement()
	must(t, a, err)
	schema, err := schemas.Load("introduction.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, good := range [][]byte{st, a} {
		if err := schema.ValidateJSON(good); err != nil {
			t.Error(err)
		}
	}
	for _, c := range []struct {
		of       []byte
		old, new string
		form     bool // the schema refuses it too
	}{
		{st, `{"id"`, `{"x":1,"id"`, true},
		{st, `{"id"`, `{ "id"`, false},
		{st, `"from":"vendor-b",`, ``, true},
		{st, `"from":"vendor-b"`, `"from":"vendor-\u0062"`, false},
		{st, `"nonce":"Wlpa`, `"nonce":"=Wlpa`, true},
		{st, `"issued":"2026-03-01T12:00:00.250Z"`, `"issued":"2026-03-01T12:00:00Z"`, true},
		{a, `"digest":"`, `"digest":"AA`, true},
		{a, `"node":[`, `"node":null,"node":[`, false},
		{a, `"sealed"`, `"sealed":"","sealed"`, false},
		{a, `"evidence":"`, `"sealed":"","evidence":"`, false},
	} {
		bad := bytes.Replace(c.of, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(bad, c.of) {
			continue // not in this statement
		}
		_, one := parseIntroduction(bad)
		_, two := parseIntroductionAnswer(bad)
		if one == nil || two == nil {
			t.Errorf("%s is read", c.new)
		}
		if c.form && schema.ValidateJSON(bad) == nil {
			t.Errorf("the schema accepts %s", c.new)
		}
	}
}

// The challenge is over every part, and no two lists of parts give the same.
func TestChallenge(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	k := l.introduced(nil).Keys
	nonce := bytes.Repeat([]byte{7}, 32)
	seen := map[string]string{}
	note := func(name string, c []byte) {
		t.Helper()
		if was, dup := seen[string(c)]; dup || len(c) != ChallengeSize {
			t.Errorf("%s is as %s, %d bytes", name, was, len(c))
		}
		seen[string(c)] = name
	}
	note("it", k.Challenge(nonce, "a", "b"))
	note("another nonce", k.Challenge(bytes.Repeat([]byte{8}, 32), "a", "b"))
	note("the other way round", k.Challenge(nonce, "b", "a"))
	note("another frame", k.Challenge(nonce, "ab", ""))
	note("the lists alone", k.hash(nil))
	for name, edit := range map[string]func(*Keys){
		"fewer node keys":     func(k *Keys) { k.Node = k.Node[:1] },
		"fewer verifier keys": func(k *Keys) { k.Verifiers = k.Verifiers[:1] },
		"no seal key":         func(k *Keys) { k.Seal = nil },
		"another seal key":    func(k *Keys) { k.Seal = []string{mark('z')} },
		"moved": func(k *Keys) {
			k.Verifiers, k.Seal = k.Verifiers[:1:1], append([]string{k.Verifiers[1]}, k.Seal...)
		},
		"one list": func(k *Keys) { k.Verifiers, k.Seal = append(k.Verifiers[:2:2], k.Seal...), nil },
	} {
		other := k
		edit(&other)
		note(name, other.Challenge(nonce, "a", "b"))
	}
	// A value that others can repeat.
	fixed := Keys{Node: []string{mark('a')}, Seal: []string{mark('b')}}.Challenge(make([]byte, 32), "entry", "vendor-b")
	if got := hex.EncodeToString(fixed); got != "2ec51cae16fffb10e9ad303aaa1bcb9b0d92df16676fafdba605cd6cfb24c516" {
		t.Error(got)
	}
}

func TestKeysOf(t *testing.T) {
	l := newLab(t, trust.ES256)
	seal, err := trust.GenerateSealPrivate(trust.SuiteX25519, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	verifier := l.b.Key("v", []string{"s"}, trust.RoleVerifier)
	verifier.KID = "a name of its own" // which says nothing about the key
	both := l.c.Key("both", []string{"s"}, trust.RoleVerifier, trust.RoleNode)
	ended := l.d.Key("old", nil, trust.RoleNode)
	ended.NotAfter = testTime
	anchors, err := trust.NewAnchors(l.a.Key("n", nil, trust.RoleNode), verifier, both, ended)
	if err != nil {
		t.Fatal(err)
	}
	n := trust.Node{Name: "x", Keys: anchors, Seal: []trust.SealKey{seal.Public(testTime.Truncate(time.Second))}}
	sorted := func(s ...string) []string { slices.Sort(s); return s }
	got, err := KeysOf(n, testTime.Truncate(time.Second))
	want := Keys{Node: sorted(l.a.KID(), l.c.KID(), l.d.KID()), Verifiers: sorted(l.b.KID(), l.c.KID()), Seal: []string{seal.KID()}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v, %v", got, want, err)
	}
	later, err := KeysOf(n, testTime.Add(1))
	want.Node, want.Seal = sorted(l.a.KID(), l.c.KID()), nil
	if err != nil || !reflect.DeepEqual(later, want) || got.Mark() == later.Mark() {
		t.Errorf("%+v, want %+v, %v", later, want, err)
	}
	if open := got.Without(later); !slices.Equal(open, []string{l.d.KID(), seal.KID()}) {
		t.Errorf("%q", open)
	}
	if open := (Keys{Seal: []string{l.b.KID()}}).Without(got); len(open) != 1 {
		t.Error("a verifier's key stands for a seal key")
	}
}

func FuzzOpenIntroduction(f *testing.F) {
	l := fixedLab(f)
	find := named(map[string]*trust.Signer{"vendor-b": l.b})
	sent := l.introduction()
	sentRaw, err := sent.Sign(l.b, rand.Reader)
	f.Add(must(f, sentRaw, err))
	f.Add(payloadOf(f, sentRaw, knows(l.b)))
	raw, err := l.introduced(sentRaw).Sign(l.c, rand.Reader)
	f.Add(must(f, raw, err))
	f.Add(payloadOf(f, raw, knows(l.c)))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, raw := range [][]byte{b, signedAgain(l.b, b)} {
			in, err := OpenIntroduction(raw, find, "vendor-c", testTime)
			if err != nil {
				typed(t, err)
			} else if _, err := in.Sign(l.b, rand.Reader); err != nil {
				t.Fatalf("opens but cannot be signed: %v", err)
			}
		}
		for _, raw := range [][]byte{b, signedAgain(l.c, b)} {
			a, err := OpenIntroductionAnswer(raw, &sent, sentRaw, knows(l.c), testTime.Add(time.Second))
			if err != nil {
				typed(t, err)
			} else if _, err := a.Sign(l.c, rand.Reader); err != nil {
				t.Fatalf("opens but cannot be signed: %v", err)
			}
		}
	})
}
