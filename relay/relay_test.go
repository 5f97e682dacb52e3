// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
)

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 250e6, time.UTC)

// lab is a chain of nodes: a asks b, b asks c; d is known, and nobody asked it.
type lab struct{ a, b, c, d *trust.Signer }

func newLab(tb testing.TB, alg string) *lab {
	tb.Helper()
	l := &lab{}
	for _, s := range []**trust.Signer{&l.a, &l.b, &l.c, &l.d} {
		var err error
		if *s, err = trust.GenerateSigner(alg, rand.Reader); err != nil {
			tb.Fatal(err)
		}
	}
	return l
}

// knows finds the keys of some nodes.
func knows(signers ...*trust.Signer) func(string) (trust.Key, bool) {
	return func(kid string) (trust.Key, bool) {
		for _, s := range signers {
			if s.KID() == kid {
				return s.Key("node", nil, trust.RoleNode), true
			}
		}
		return trust.Key{}, false
	}
}

func testID(fill string) string { return strings.Repeat(fill, 16) }

// envelope is one from b to c with three components and two earlier results.
func (l *lab) envelope() Envelope {
	composite := []byte("a composite, byte for byte")
	sealedOf := sha256.Sum256([]byte("plain switch evidence"))
	return Envelope{
		ID: testID("0a"), Session: "session-1", To: "vendor-c",
		Expr: `cascade(gpu/0, "a&<b>", parallel(quorum 2: nic@x, nic@y, nic@z))`,
		Via:  []string{l.a.KID(), l.b.KID()}, Path: []string{"", "vendor-b"},
		Issued: testTime, Deadline: testTime.Add(100 * time.Second), VerificationTime: testTime.Add(-time.Hour + 7),
		Composite: sha256.Sum256(composite), Nonce: bytes.Repeat([]byte{0xa5}, 32), Evidence: composite,
		Commit: &evidence.Commitment{
			Leaves: map[evidence.Path]evidence.LeafDigest{"gpu": sha512.Sum384([]byte("gpu")), "#7/nic": sha512.Sum384([]byte("nic"))},
			Signer: l.d.KID(),
		},
		Components: []Component{
			{
				Label: "gpu/0", Leaf: "gpu", Scheme: "nvidia-gpu", MediaType: "application/vnd.example+json", Class: verdict.ClassDevice,
				Request: testID("01"), Nonce: bytes.Repeat([]byte{0xa5}, 32), NonceRule: "shake256/32", Required: true,
				Digest: sha256.Sum256([]byte("gpu evidence")), Evidence: []byte("gpu evidence"),
			},
			{Label: "nic", Leaf: "nic", MediaType: "cf:4711", Request: testID("02"), Sources: 3, Digest: sha256.Sum256([]byte("nic"))},
			{
				Label: "switch", Leaf: "switch", Scheme: "nvidia-nvswitch", MediaType: `application/vnd.example; v="2"`, Request: testID("03"),
				Required: true, Digest: sealedOf, Evidence: []byte("sealed bytes"), Sealed: "seal-key-1", For: "vendor-d",
			},
		},
		Partials: []Partial{{"cpu", []byte("aa.bb.cc")}, {"a~1b", []byte("dd.ee.ff")}},
	}
}

func (l *lab) expect() Expect {
	return Expect{To: "vendor-c", KID: l.c.KID(), Now: testTime.Add(time.Second)}
}

func must(tb testing.TB, raw []byte, err error) []byte {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

// answer is a good one of c to b, who has asked d about the switch.
func (l *lab) answer(sent Envelope, sentRaw []byte) Answer {
	return Answer{
		ID: sent.ID, Session: sent.Session, Digest: sha256.Sum256(sentRaw),
		Via: []string{l.a.KID(), l.b.KID(), l.c.KID(), l.d.KID()}, Issued: testTime.Add(2 * time.Second),
		Partials: append(append([]Partial{}, sent.Partials...),
			Partial{"nic", []byte("n1.n1.n1")}, Partial{"gpu/0", []byte("g.g.g")}, Partial{"nic", []byte("n2.n2.n2")}),
		Failures: []Failure{{"switch", verdict.ReasonTimeout, "no answer"}, {"nic", verdict.ReasonBusy, ""}},
	}
}

// wants requires a typed error with a code that means no verdict.
func wants(t *testing.T, err error, check, code string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want a typed error of %s", err, check)
	}
	if e.Check != check || code != "" && e.Code != code {
		t.Errorf("got %v, want %s with code %s", err, check, code)
	}
	if verdict.ReasonCeiling(e.Code) != verdict.TierNone {
		t.Errorf("code %q does not mean no verdict", e.Code)
	}
}

func TestRoundTrip(t *testing.T) {
	for _, alg := range []string{trust.ES256, trust.ES384, trust.EdDSA} {
		l := newLab(t, alg)
		e := l.envelope()
		sent, err := e.Sign(l.b, rand.Reader)
		raw := must(t, sent, err)
		got, kid, err := OpenEnvelope(raw, knows(l.b), l.expect())
		if err != nil {
			t.Fatal(err)
		}
		if kid != l.b.KID() || !reflect.DeepEqual(*got, e) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", alg, *got, e)
		}
		a := l.answer(e, raw)
		reply, err := a.Sign(l.c, rand.Reader)
		must(t, reply, err)
		back, kid, err := OpenAnswer(reply, &e, raw, knows(l.c), testTime.Add(3*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		if kid != l.c.KID() || !reflect.DeepEqual(*back, a) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", alg, *back, a)
		}
	}
}

// The smallest messages: no nonce, nothing exposed, nothing done so far.
func TestRoundTripOfTheLeast(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	e := Envelope{
		ID: testID("0a"), Session: "s", To: "c", Expr: "lead", Via: []string{l.b.KID()}, Path: []string{""},
		Issued: testTime, Deadline: testTime.Add(time.Second), Composite: [32]byte{1},
		Components: []Component{{Label: "x", MediaType: "a/b", Request: testID("01"), Digest: [32]byte{2}}},
	}
	sent, err := e.Sign(l.b, rand.Reader)
	raw := must(t, sent, err)
	got, _, err := OpenEnvelope(raw, knows(l.b), Expect{To: "c", KID: l.c.KID(), Now: testTime})
	if err != nil || !reflect.DeepEqual(*got, e) {
		t.Errorf("%+v, %v", got, err)
	}
	a := Answer{
		ID: e.ID, Session: "s", Digest: sha256.Sum256(raw), Via: []string{l.b.KID(), l.c.KID()}, Issued: testTime,
		Failures: []Failure{{"x", verdict.ReasonNoVerifier, ""}},
	}
	reply, err := a.Sign(l.c, rand.Reader)
	must(t, reply, err)
	back, _, err := OpenAnswer(reply, &e, raw, knows(l.c), testTime)
	if err != nil || !reflect.DeepEqual(*back, a) {
		t.Errorf("%+v, %v", back, err)
	}
}

// Issue and deadline lose what is below a millisecond, and nothing else does.
func TestTimesAreCutToMilliseconds(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	e.Issued, e.Deadline = e.Issued.Add(999), e.Deadline.Add(1999).In(time.FixedZone("", 3600))
	sent, err := e.Sign(l.b, rand.Reader)
	got, _, err := OpenEnvelope(must(t, sent, err), knows(l.b), l.expect())
	if err != nil || !got.Issued.Equal(testTime) || !got.Deadline.Equal(testTime.Add(100*time.Second)) {
		t.Errorf("%v", err)
	}
}

// Evidence that is itself a CMW, even a signed one that nobody trusts, is bytes
// here: sealed evidence is neither descended into nor held against the digest
// of the plain bytes.
func TestSealedEvidenceStaysOpaque(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	inner, err := evidence.EncodeCBOR(evidence.Collection("", evidence.Entry{
		Label: "x", Item: evidence.Record(evidence.MediaType{Base: "a/b"}, []byte("v"), 0),
	}))
	must(t, inner, err)
	signed, err := evidence.SignCOSE(rand.Reader, inner, l.d.Handle(), evidence.SignOptions{})
	must(t, signed, err)
	for _, bytesOf := range [][]byte{inner, signed, {0xff}, []byte("d2 84"), bytes.Repeat([]byte{0x9f}, 4096)} {
		e := l.envelope()
		e.Components[2].Evidence = bytesOf
		e.Components[0].Evidence, e.Components[0].Digest = bytesOf, sha256.Sum256(bytesOf)
		e.Evidence, e.Composite = bytesOf, sha256.Sum256(bytesOf)
		sent, err := e.Sign(l.b, rand.Reader)
		got, _, err := OpenEnvelope(must(t, sent, err), knows(l.b), l.expect())
		if err != nil {
			t.Fatal(err)
		}
		c := got.Components[2]
		if !bytes.Equal(c.Evidence, bytesOf) || c.Sealed != "seal-key-1" || c.For != "vendor-d" || c.Digest == sha256.Sum256(bytesOf) {
			t.Errorf("%+v", c)
		}
		if !bytes.Equal(got.Evidence, bytesOf) || !bytes.Equal(got.Components[0].Evidence, bytesOf) {
			t.Error("plain evidence was changed")
		}
	}
}

func TestDamagedMessagesDoNotOpen(t *testing.T) {
	l := newLab(t, trust.ES256)
	e := l.envelope()
	sent, err := e.Sign(l.b, rand.Reader)
	raw := must(t, sent, err)
	reply, err := l.answer(e, raw).Sign(l.c, rand.Reader)
	must(t, reply, err)
	for name, m := range map[string]struct {
		raw  []byte
		open func([]byte) error
	}{
		"envelope": {raw, func(b []byte) error { _, _, err := OpenEnvelope(b, knows(l.b), l.expect()); return err }},
		"answer": {reply, func(b []byte) error {
			_, _, err := OpenAnswer(b, &e, raw, knows(l.c), testTime.Add(3*time.Second))
			return err
		}},
	} {
		if err := m.open(m.raw); err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(m.raw); n += 7 {
			if m.open(m.raw[:n:n]) == nil {
				t.Errorf("%s: opens with %d of %d bytes", name, n, len(m.raw))
			}
		}
		for i := 0; i < len(m.raw); i += 5 {
			for _, mask := range []byte{0x01, 0x20, 0x80, 0xff} {
				b := bytes.Clone(m.raw)
				b[i] ^= mask
				if m.open(b) == nil {
					t.Errorf("%s: opens with byte %d changed by %#x", name, i, mask)
				}
			}
		}
		if m.open(append(bytes.Clone(m.raw), 0)) == nil {
			t.Errorf("%s: opens with a byte behind it", name)
		}
	}
}

// One kind of message does not pass for the other.
func TestMessagesAreNotConfused(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	sent, err := e.Sign(l.b, rand.Reader)
	raw := must(t, sent, err)
	reply, err := l.answer(e, raw).Sign(l.c, rand.Reader)
	must(t, reply, err)
	_, _, err = OpenEnvelope(reply, knows(l.b, l.c), l.expect())
	wants(t, err, CheckMessage, verdict.ReasonRefused)
	_, _, err = OpenAnswer(raw, &e, raw, knows(l.b, l.c), testTime)
	wants(t, err, CheckMessage, verdict.ReasonBadPAR)
	// A good statement in a collection of another type.
	least := e
	least.Evidence, least.Partials, least.Components = nil, nil, e.Components[1:2]
	st, err := least.statement()
	must(t, st, err)
	for kind, opens := range map[string]bool{EnvelopeType: true, AnswerType: false, evidence.BoundCollection: false, "": false} {
		raw, err := sign(l.b, rand.Reader, kind, []evidence.Entry{entry(entryStatement, typeEnvelope, st, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := OpenEnvelope(raw, knows(l.b), l.expect()); (err == nil) != opens {
			t.Errorf("collection type %q: %v", kind, err)
		}
	}
}

func TestLargeMessages(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	e.Evidence = bytes.Repeat([]byte{1}, limits.Default().Leaf)
	e.Composite = sha256.Sum256(e.Evidence)
	sent, err := e.Sign(l.b, rand.Reader)
	if _, _, err := OpenEnvelope(must(t, sent, err), knows(l.b), l.expect()); err != nil {
		t.Error(err)
	}
	e.Evidence = append(e.Evidence, 1)
	e.Composite = sha256.Sum256(e.Evidence)
	_, err = e.Sign(l.b, rand.Reader)
	wants(t, err, CheckMessage, verdict.ReasonMalfunction)

	e = l.envelope()
	for i := len(e.Partials); i < 255; i++ {
		e.Partials = append(e.Partials, Partial{"cpu", []byte("a.b." + strings.Repeat("c", i))})
	}
	_, err = e.Sign(l.b, rand.Reader)
	wants(t, err, CheckMessage, verdict.ReasonMalfunction)
}

func TestSignWantsASigner(t *testing.T) {
	l := newLab(t, trust.EdDSA)
	e := l.envelope()
	_, err := e.Sign(nil, rand.Reader)
	wants(t, err, CheckSender, verdict.ReasonMalfunction)
	_, err = e.Sign(l.b, nil)
	wants(t, err, CheckArguments, verdict.ReasonMalfunction)
	_, err = e.Sign(l.a, rand.Reader)
	wants(t, err, CheckSender, verdict.ReasonMalfunction)
	a := l.answer(e, []byte("x"))
	_, err = a.Sign(l.a, rand.Reader) // the entry node answers nobody
	wants(t, err, CheckSender, verdict.ReasonMalfunction)
	a.Via = a.Via[:3]
	_, err = a.Sign(l.d, rand.Reader)
	wants(t, err, CheckSender, verdict.ReasonMalfunction)
}
