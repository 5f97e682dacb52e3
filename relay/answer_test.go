// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

// answered signs an answer without looking at it, as a bad node could.
func answered(t testing.TB, s *trust.Signer, a Answer, edit func([]evidence.Entry) []evidence.Entry) []byte {
	t.Helper()
	st, err := a.statement()
	must(t, st, err)
	entries := append(partialEntries(a.Partials), entry(entryStatement, typeAnswer, st, 0))
	return signedEntries(t, s, AnswerType, entries, edit)
}

func TestOpenAnswerRefuses(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	sent := l.envelope()
	raw, err := sent.Sign(l.b, rand.Reader)
	must(t, raw, err)
	now := testTime.Add(3 * time.Second)
	bad, subject, deviation := verdict.ReasonBadPAR, verdict.ReasonPARSubject, verdict.ReasonPathDeviation
	for _, c := range []struct {
		name        string
		edit        func(*Answer)
		check, code string
	}{
		{"another envelope", func(a *Answer) { a.ID = testID("0b") }, CheckSubject, subject},
		{"another session", func(a *Answer) { a.Session = "session-2" }, CheckSubject, subject},
		{"another message", func(a *Answer) { a.Digest[31] ^= 1 }, CheckSubject, subject},
		{"no digest", func(a *Answer) { a.Digest = [32]byte{} }, CheckMembers, bad},
		{"bad id", func(a *Answer) { a.ID = "1" }, CheckMembers, bad},
		{"no time", func(a *Answer) { a.Issued = time.Time{} }, CheckMembers, bad},
		{"from the future", func(a *Answer) { a.Issued = now.Add(61 * time.Second) }, CheckFuture, verdict.ReasonPARStale},
		{"older than the envelope", func(a *Answer) { a.Issued = testTime.Add(-61 * time.Second) }, CheckStale, verdict.ReasonPARStale},
		{"path without the answering node", func(a *Answer) { a.Via = a.Via[:2] }, CheckVia, deviation},
		{"path goes on elsewhere", func(a *Answer) { a.Via[2], a.Via[3] = a.Via[3], a.Via[2] }, CheckSender, deviation},
		{"another beginning", func(a *Answer) { a.Via[0] = "x" }, CheckVia, deviation},
		{"beginning left out", func(a *Answer) { a.Via = a.Via[1:] }, CheckVia, deviation},
		{"no path", func(a *Answer) { a.Via = nil }, CheckVia, deviation},
		{"back at the sender", func(a *Answer) { a.Via[3] = l.b.KID() }, CheckLoop, verdict.ReasonLoop},
		{"65 nodes", func(a *Answer) {
			for i := range 65 - len(a.Via) {
				a.Via = append(a.Via, strconv.Itoa(i))
			}
		}, CheckVia, deviation},
		{"earlier result dropped", func(a *Answer) { a.Partials = slices.Delete(a.Partials, 0, 1) }, CheckEarlier, deviation},
		{"last earlier result dropped", func(a *Answer) { a.Partials = slices.Delete(a.Partials, 1, 2) }, CheckEarlier, deviation},
		{"all results dropped", func(a *Answer) { a.Partials = nil }, CheckEarlier, deviation},
		{"earlier result altered", func(a *Answer) { a.Partials[1].Token = []byte("dd.ee.fg") }, CheckEarlier, deviation},
		{"earlier result under another label", func(a *Answer) { a.Partials[1].Label = "nic" }, CheckEarlier, deviation},
		{"earlier results in another order", func(a *Answer) { a.Partials[0], a.Partials[1] = a.Partials[1], a.Partials[0] }, CheckEarlier, deviation},
		{"earlier result behind a new one", func(a *Answer) { a.Partials[1], a.Partials[2] = a.Partials[2], a.Partials[1] }, CheckEarlier, deviation},
		{"component left out", func(a *Answer) { a.Partials = slices.Delete(a.Partials, 3, 4) }, CheckCoverage, bad},
		{"failure left out", func(a *Answer) { a.Failures = a.Failures[1:] }, CheckCoverage, bad},
		{"result and failure", func(a *Answer) { a.Failures = append(a.Failures, Failure{"gpu/0", verdict.ReasonBusy, ""}) }, CheckCoverage, bad},
		{"two results", func(a *Answer) { a.Partials = append(a.Partials, Partial{"gpu/0", []byte("g2.g.g")}) }, CheckCoverage, bad},
		{"two failures", func(a *Answer) { a.Failures = append(a.Failures, a.Failures[0]) }, CheckCoverage, bad},
		{"more than the quorum has", func(a *Answer) { a.Failures = append(a.Failures, a.Failures[1]) }, CheckCoverage, bad},
		{"result nobody asked for", func(a *Answer) { a.Partials = append(a.Partials, Partial{"tpm", []byte("t.t.t")}) }, CheckUnasked, subject},
		{"second result of an earlier component", func(a *Answer) { a.Partials = append(a.Partials, Partial{"cpu", []byte("t.t.t")}) }, CheckUnasked, subject},
		{"result below a component", func(a *Answer) { a.Partials[3].Label = "gpu/0/1" }, CheckUnasked, subject},
		{"failure nobody asked for", func(a *Answer) { a.Failures = append(a.Failures, Failure{"cpu", verdict.ReasonBusy, ""}) }, CheckUnasked, subject},
		{"one result twice", func(a *Answer) { a.Partials[4].Token = a.Partials[2].Token }, CheckPartials, bad},
		{"result that is no token", func(a *Answer) { a.Partials[2].Token = []byte("n1") }, CheckPartials, bad},
		{"result of the root", func(a *Answer) { a.Partials[2].Label = "" }, CheckPartials, bad},
		{"failure without a code", func(a *Answer) { a.Failures[0].Code = "" }, CheckFailures, bad},
		{"failure with an unknown code", func(a *Answer) { a.Failures[0].Code = "tired" }, CheckFailures, bad},
		{"failure with the code of a finding", func(a *Answer) { a.Failures[0].Code = verdict.ReasonDebug }, CheckFailures, bad},
		{"failure that only informs", func(a *Answer) { a.Failures[0].Code = verdict.ReasonLateResult }, CheckFailures, bad},
		{"failure with a long text", func(a *Answer) { a.Failures[0].Detail = strings.Repeat("a", 513) }, CheckFailures, bad},
		{"failure with an escape sequence", func(a *Answer) { a.Failures[0].Detail = "\x1b[2J" }, CheckFailures, bad},
		{"failure of the root", func(a *Answer) { a.Failures[0].Label = "" }, CheckFailures, bad},
		{"too many failures", func(a *Answer) {
			for i := range 256 {
				a.Failures = append(a.Failures, Failure{evidence.Path("x" + strconv.Itoa(i)), verdict.ReasonBusy, ""})
			}
		}, CheckFailures, bad},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := l.answer(sent, raw)
			c.edit(&a)
			_, _, err := OpenAnswer(answered(t, l.c, a, nil), &sent, raw, knows(l.c), now)
			wants(t, err, c.check, c.code)
			if err.(*Error).KID != l.c.KID() {
				t.Error("the error does not name the signer")
			}
		})
	}
}

func TestOpenAnswerAtTheEdges(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	sent := l.envelope()
	raw, err := sent.Sign(l.b, rand.Reader)
	must(t, raw, err)
	opens := func(now time.Time, edit func(*Answer)) error {
		a := l.answer(sent, raw)
		edit(&a)
		_, _, err := OpenAnswer(answered(t, l.c, a, nil), &sent, raw, knows(l.c), now)
		return err
	}
	for name, edit := range map[string]func(*Answer){
		"as it is":                   func(*Answer) {},
		"clock behind":               func(a *Answer) { a.Issued = testTime.Add(-60 * time.Second) },
		"clock ahead":                func(a *Answer) { a.Issued = sent.Deadline.Add(60 * time.Second) },
		"one of the quorum":          func(a *Answer) { a.Partials, a.Failures = slices.Delete(a.Partials, 4, 5), a.Failures[:1] },
		"quorum of failures":         func(a *Answer) { a.Partials = append(a.Partials[:2:2], a.Partials[3]) },
		"eight hops":                 func(a *Answer) { a.Via = append(a.Via, "1", "2", "3", "4") },
		"longest text of a failure":  func(a *Answer) { a.Failures[0].Detail = strings.Repeat("a", 512) },
		"answering node was the end": func(a *Answer) { a.Via = a.Via[:3] },
	} {
		if err := opens(sent.Deadline, edit); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Our own clock decides what is late: no skew.
	wants(t, opens(sent.Deadline.Add(1), func(*Answer) {}), CheckDeadline, verdict.ReasonTimeout)
}

func TestOpenAnswerNeedsTheNodeThatWasAsked(t *testing.T) {
	l := newLab(t, trust.ES256)
	sent := l.envelope()
	raw, err := sent.Sign(l.b, rand.Reader)
	must(t, raw, err)
	now := testTime.Add(time.Second)
	// d answers in the place of c, under its own path and under that of c.
	a := l.answer(sent, raw)
	_, _, err = OpenAnswer(answered(t, l.d, a, nil), &sent, raw, knows(l.c), now)
	wants(t, err, CheckSignature, verdict.ReasonBadPARSignature)
	_, _, err = OpenAnswer(answered(t, l.d, a, nil), &sent, raw, knows(l.c, l.d), now)
	wants(t, err, CheckSender, verdict.ReasonPathDeviation)
	// Only keys for this, and only while they last.
	for _, edit := range []func(*trust.Key){
		func(k *trust.Key) { k.Roles = []trust.Role{trust.RoleVerifier} },
		func(k *trust.Key) { k.NotAfter = testTime },
	} {
		_, _, err := OpenAnswer(answered(t, l.c, a, nil), &sent, raw, func(string) (trust.Key, bool) {
			k := l.c.Key("c", nil, trust.RoleNode)
			edit(&k)
			return k, true
		}, now)
		wants(t, err, CheckSignature, verdict.ReasonBadPARSignature)
	}
	// The right answer to other bytes of the same envelope.
	again, err := sent.Sign(l.b, rand.Reader) // ECDSA signs differently each time
	must(t, again, err)
	if bytes.Equal(again, raw) {
		t.Fatal("the two messages are equal")
	}
	_, _, err = OpenAnswer(answered(t, l.c, a, nil), &sent, again, knows(l.c), now)
	wants(t, err, CheckSubject, verdict.ReasonPARSubject)
	good := answered(t, l.c, a, nil)
	_, _, err = OpenAnswer(good, nil, raw, knows(l.c), now)
	wants(t, err, CheckArguments, "")
	_, _, err = OpenAnswer(good, &sent, nil, knows(l.c), now)
	wants(t, err, CheckArguments, "")
	_, _, err = OpenAnswer(good, &sent, raw, knows(l.c), time.Time{})
	wants(t, err, CheckArguments, "")
	_, _, err = OpenAnswer(good, &sent, raw, nil, now)
	wants(t, err, CheckArguments, "")
}

func TestAnswerEntriesAndStatementAgree(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	sent := l.envelope()
	raw, err := sent.Sign(l.b, rand.Reader)
	must(t, raw, err)
	a := l.answer(sent, raw)
	st, err := a.statement()
	must(t, st, err)
	statement := func(old, new string) func([]evidence.Entry) []evidence.Entry {
		return func(in []evidence.Entry) []evidence.Entry {
			again := bytes.Replace(st, []byte(old), []byte(new), 1)
			if bytes.Equal(again, st) {
				t.Fatal("nothing replaced")
			}
			return append(in[:len(in)-1], entry(entryStatement, typeAnswer, again, 0))
		}
	}
	for _, c := range []struct {
		name, check string
		edit        func([]evidence.Entry) []evidence.Entry
	}{
		{"evidence in an answer", CheckEntries, func(in []evidence.Entry) []evidence.Entry {
			return append(in, entry("evidence/0", typeEvidence, []byte("x"), evidence.IndEvidence))
		}},
		{"result missing", CheckEntries, func(in []evidence.Entry) []evidence.Entry { return in[1:] }},
		{"no statement", CheckMessage, func(in []evidence.Entry) []evidence.Entry { return in[:len(in)-1] }},
		{"label missing", CheckEntries, statement(`,"nic"]`, `]`)},
		{"unknown member", CheckStatement, statement(`{"id"`, `{"x":1,"id"`)},
		{"duplicate member", CheckStatement, statement(`"session":"session-1"`, `"session":"x","session":"session-1"`)},
		{"null list", CheckStatement, statement(`"failures":[`, `"failures":null,"x":[`)},
		{"digest too long", CheckStatement, statement(`"digest":"`, `"digest":"00`)},
		{"white space", CheckStatement, statement(`"via":`, `"via": `)},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := OpenAnswer(answered(t, l.c, a, c.edit), &sent, raw, knows(l.c), testTime)
			wants(t, err, c.check, verdict.ReasonBadPAR)
		})
	}
}

// An answer that its own signer can see to be wrong is not signed.
func TestAnswerSignChecks(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	a := l.answer(l.envelope(), []byte("x"))
	a.Digest = sha256.Sum256(nil)
	a.Failures[0].Code = "tired"
	_, err := a.Sign(l.c, rand.Reader)
	wants(t, err, CheckFailures, verdict.ReasonMalfunction)
}

func TestNoVerdict(t *testing.T) {
	for code, want := range map[string]bool{
		verdict.ReasonTimeout: true, verdict.ReasonNoVerifier: true, verdict.ReasonPathDeviation: true, verdict.ReasonTooLarge: true,
		verdict.ReasonMalformed: true, verdict.ReasonUnsupported: true, verdict.ReasonUnexpected: true,
		"": false, "tired": false, verdict.ReasonDebug: false, verdict.ReasonNonceMismatch: false, verdict.ReasonExtraRoots: false,
	} {
		if NoVerdict(code) != want {
			t.Errorf("%q: %v", code, !want)
		}
	}
}
