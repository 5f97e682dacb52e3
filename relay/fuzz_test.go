// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/trust"
)

// fixedLab has the same keys in every process, as a corpus needs them.
func fixedLab(tb testing.TB) *lab {
	tb.Helper()
	l := &lab{}
	for i, s := range []**trust.Signer{&l.a, &l.b, &l.c, &l.d} {
		var err error
		if *s, err = trust.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))); err != nil {
			tb.Fatal(err)
		}
	}
	return l
}

// payloadOf is what a message signs.
func payloadOf(tb testing.TB, raw []byte, find func(string) (trust.Key, bool)) []byte {
	tb.Helper()
	tree, err := evidence.Parse(raw, evidence.Options{MediaType: evidence.TypeCMWCOSE, Keys: finder{find, testTime}})
	if err != nil {
		tb.Fatal(err)
	}
	return tree.Root().Content().Raw()
}

// signedAgain puts a changed payload under a good signature, so that the
// fuzzer gets behind it.
func signedAgain(s *trust.Signer, payload []byte) []byte {
	raw, err := evidence.SignCOSE(rand.Reader, payload, s.Handle(), evidence.SignOptions{KID: []byte(s.KID())})
	if err != nil {
		return nil
	}
	return raw
}

func typed(t *testing.T, err error) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Code == "" || e.Check == "" {
		t.Fatalf("untyped error %v", err)
	}
}

func FuzzOpenEnvelope(f *testing.F) {
	l := fixedLab(f)
	for _, edit := range []func(*Envelope){
		func(*Envelope) {},
		func(e *Envelope) { e.Evidence, e.Commit, e.Partials, e.Nonce = nil, nil, nil, nil },
	} {
		e := l.envelope()
		edit(&e)
		raw, err := e.Sign(l.b, rand.Reader)
		f.Add(must(f, raw, err))
		f.Add(payloadOf(f, raw, knows(l.b)))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, raw := range [][]byte{b, signedAgain(l.b, b)} {
			e, kid, err := OpenEnvelope(raw, knows(l.b), l.expect())
			if err != nil {
				typed(t, err)
				continue
			}
			again, err := e.Sign(l.b, rand.Reader)
			if err != nil || kid != l.b.KID() {
				t.Fatalf("opens but cannot be signed: %v", err)
			}
			if _, _, err := OpenEnvelope(again, knows(l.b), l.expect()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzOpenAnswer(f *testing.F) {
	l := fixedLab(f)
	sent := l.envelope()
	sentRaw, err := sent.Sign(l.b, rand.Reader)
	must(f, sentRaw, err)
	raw, err := l.answer(sent, sentRaw).Sign(l.c, rand.Reader)
	f.Add(must(f, raw, err))
	f.Add(payloadOf(f, raw, knows(l.c)))
	now := testTime.Add(3 * time.Second)
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, raw := range [][]byte{b, signedAgain(l.c, b)} {
			a, kid, err := OpenAnswer(raw, &sent, sentRaw, knows(l.c), now)
			if err != nil {
				typed(t, err)
				continue
			}
			if len(a.Partials) < len(sent.Partials) || len(a.Partials)-len(sent.Partials)+len(a.Failures) < len(sent.Components) {
				t.Fatalf("results are missing: %+v", a)
			}
			again, err := a.Sign(l.c, rand.Reader)
			if err != nil || kid != l.c.KID() {
				t.Fatalf("opens but cannot be signed: %v", err)
			}
			if _, _, err := OpenAnswer(again, &sent, sentRaw, knows(l.c), now); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzStatement changes the JSON alone. What is read is written as it was.
func FuzzStatement(f *testing.F) {
	l := fixedLab(f)
	e := l.envelope()
	e.Evidence, e.Partials = nil, nil
	for i := range e.Components {
		e.Components[i].Evidence, e.Components[i].Sealed, e.Components[i].For = nil, "", ""
	}
	st, err := e.statement()
	f.Add(must(f, st, err))
	a := l.answer(e, []byte("x"))
	a.Partials = nil
	st, err = a.statement()
	f.Add(must(f, st, err))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, err := readEnvelope(b, &message{}); err == nil {
			again, encodeErr := e.statement()
			if encodeErr != nil || !bytes.Equal(again, b) {
				t.Fatalf("%s is read as %s", b, again)
			}
			if err := e.check(); err == nil && len(e.Via) > MaxHops {
				t.Fatal("too many hops")
			}
		}
		if a, err := readAnswer(b, &message{}); err == nil {
			again, encodeErr := a.statement()
			if encodeErr != nil || !bytes.Equal(again, b) {
				t.Fatalf("%s is read as %s", b, again)
			}
		}
	})
}
