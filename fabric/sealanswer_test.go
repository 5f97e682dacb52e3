// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/trust"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
)

// impostor answers at the node's site without its keys.
func impostor(t *testing.T, b *Bus, subject string, answer func(*nats.Msg) []byte) {
	t.Helper()
	sub, err := b.services.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(answer(m)) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := b.services.Flush(); err != nil {
		t.Fatal(err)
	}
}

// An answer to a sealed request counts only if it is sealed to that request.
func TestAnswersToSealedRequests(t *testing.T) {
	a := newAlliance(t)
	good := []byte("good")
	sealedTo := func(kind, id string, m *nats.Msg) []byte {
		var h requestHeader
		var err error
		if kind == "relay" {
			h, err = parseHeaderFor(m.Header, RelayType)
		} else {
			h, err = parseHeader(m.Header)
		}
		if err != nil {
			t.Error(err)
			return nil
		}
		if id != "" {
			h.request = id
		}
		_, _, x, code := unsealer{testNode, []*trust.SealPrivate{a.seal}}.open(h, m.Data)
		if code != 0 {
			t.Error(code)
			return nil
		}
		out, err := x.SealAnswer(rand.Reader, good)
		if err != nil {
			t.Error(err)
		}
		return out
	}
	var earlier []byte // the answer to another request
	for _, tc := range []struct {
		name   string
		answer func(kind string, m *nats.Msg) []byte
		ok     bool
	}{
		{"sealed", func(kind string, m *nats.Msg) []byte { earlier = sealedTo(kind, "", m); return earlier }, true},
		{"of another request", func(string, *nats.Msg) []byte { return earlier }, false},
		{"in the clear", func(string, *nats.Msg) []byte { return good }, false},
		{"long, in the clear", func(string, *nats.Msg) []byte { return bytes.Repeat(good, 100) }, false},
		{"altered", func(kind string, m *nats.Msg) []byte {
			out := sealedTo(kind, "", m)
			out[len(out)-1] ^= 1
			return out
		}, false},
	} {
		for _, kind := range []string{"appraise", "relay"} {
			if tc.name == "of another request" && kind == "relay" {
				continue // earlier is the answer to a relay by then
			}
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				book, b := &logBook{}, newBusOn(t, a.server)
				lead := newBusOn(t, a.server, func(c *Config) { c.Logger = book.logger() })
				subject := b.subj.appraise(testScheme, testNode)
				if kind == "relay" {
					subject = b.subj.cascade(testNode)
				}
				impostor(t, b, subject, func(m *nats.Msg) []byte { return tc.answer(kind, m) })
				var err error
				if kind == "relay" {
					_, err = lead.RelayCaller(RelayCallerOptions{Protection: a.protection(t)}).Relay(within(t, 5*time.Second), testNode, newID(), []byte("m"))
				} else {
					_, err = lead.Caller(CallerOptions{Protection: a.protection(t)}).Appraise(within(t, 5*time.Second), newCall(testNode))
				}
				if tc.ok {
					if err != nil {
						t.Error(err)
					}
					return
				}
				wantReason(t, err, verdict.ReasonBadPAR)
				if !strings.Contains(book.String(), "security=true") {
					t.Error("not logged as a matter of security")
				}
			})
		}
	}
}

// The same request is appraised once, whether it is sealed again or not, and
// everybody who asked gets an answer that they can open.
func TestSealedRequestsAreIdempotent(t *testing.T) {
	a := newAlliance(t)
	var n atomic.Int64
	ap := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return nil, err
		}
		return fmt.Appendf(nil, "answer %d", n.Add(1)), nil
	}}
	a.guarded(t, ap)
	b := newBusOn(t, a.server)
	r := newRequest(64)
	plain, clear := a.letterOf(t, b, a.protection(t), r, false)
	seal := func() (*nats.Msg, parcel) {
		p, err := clear.sealed(a.seal.Public(time.Time{}), testNode)
		if err != nil {
			t.Fatal(err)
		}
		return &nats.Msg{Subject: plain.Subject, Header: p.header, Data: p.body}, p
	}
	ask := func(m *nats.Msg, p parcel) {
		out, err := b.requests.RequestMsgWithContext(within(t, 5*time.Second), &nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Data})
		if err != nil {
			t.Error(err)
			return
		}
		answer, err := p.answer(out.Data)
		if err != nil || string(answer) != "answer 1" {
			t.Errorf("%q %v %v", answer, out.Header, err)
		}
		if p.exchange != nil && bytes.Contains(out.Data, []byte("answer")) {
			t.Error("the answer to a sealed request is in the clear")
		}
	}
	one, p1 := seal()
	two, p2 := seal()
	var wg sync.WaitGroup
	for _, m := range []struct {
		m *nats.Msg
		p parcel
	}{{one, p1}, {two, p2}, {one, p1}, {plain, clear}} {
		wg.Go(func() { ask(m.m, m.p) })
	}
	wg.Wait()
	ask(two, p2)
	ask(one, p1)
	if ap.calls.Load() != 1 {
		t.Errorf("%d appraisals", ap.calls.Load())
	}
	r.Evidence = []byte("other content")
	if m, _ := a.letterOf(t, b, a.protection(t), r, true); true {
		if code, _ := exchange(t, b, m); code != CodeConflict {
			t.Errorf("same id, other content: %d", code)
		}
	}
}

// A busy verifier is asked once more with the same sealed bytes.
func TestSealedRequestIsRetried(t *testing.T) {
	a := newAlliance(t)
	var n atomic.Int64
	a.guarded(t, &appraiser{f: func(context.Context, verifiers.Request) ([]byte, error) {
		if n.Add(1) == 1 {
			return nil, &verifiers.Refusal{Code: 503, Text: "busy"}
		}
		return []byte("good"), nil
	}})
	if _, err := a.caller(t).Appraise(within(t, 5*time.Second), newCall(testNode)); err != nil || n.Load() != 2 {
		t.Errorf("%v after %d calls", err, n.Load())
	}
}

// Where sealing is required, who has no key is sent nothing at all.
func TestNothingIsSentWithoutAKey(t *testing.T) {
	a := newAlliance(t)
	always := func(o *verifiers.ProtectionOptions) { o.Default.Seal = verifiers.SealAlways }
	keyless := func(o *verifiers.ProtectionOptions) { always(o); o.Peers = nodesOf(t, testNode, a.verifier, nil) }
	ap := says("good")
	a.guarded(t, ap)
	h := echoes()
	nodeOn(t, newBusOn(t, a.server), h)
	tap := listen(t, newBusOn(t, a.server))
	_, err := a.caller(t, keyless).Appraise(within(t, time.Second), newCall(testNode, AnySite))
	wantReason(t, err, verdict.ReasonRefused)
	_, err = newBusOn(t, a.server).RelayCaller(RelayCallerOptions{Protection: a.protection(t, keyless)}).
		Relay(within(t, time.Second), testNode, newID(), []byte("m"))
	wantReason(t, err, verdict.ReasonRefused)
	var f *verifiers.Failure
	if errors.As(err, &f) && !strings.Contains(f.Detail, testNode) {
		t.Errorf("the reason does not name the node: %q", f.Detail)
	}
	if n, heard := tap.heard(t); n != 0 || ap.calls.Load() != 0 || h.calls.Load() != 0 {
		t.Errorf("%d messages: %q", n, heard)
	}
	// Those with a key are asked, and they only.
	if _, err := a.caller(t, always).Appraise(within(t, 5*time.Second), newCall(AnySite, testNode)); err != nil {
		t.Error(err)
	}
	if _, heard := tap.heard(t); bytes.Contains(heard, []byte("appraise."+testScheme+"."+AnySite)) {
		t.Error("a candidate without a key was asked")
	}
}

// Neither side falls back to the clear.
func TestSealIsNotGivenUp(t *testing.T) {
	a := newAlliance(t)
	ap := says("good")
	a.guarded(t, ap, func(o *ServiceOptions) { o.Seal = []*trust.SealPrivate{sealPrivate(t)} })
	tap := listen(t, newBusOn(t, a.server))
	_, err := a.caller(t).Appraise(within(t, 5*time.Second), newCall(testNode))
	wantReason(t, err, verdict.ReasonRefused)
	if _, heard := tap.heard(t); ap.calls.Load() != 0 || bytes.Contains(heard, []byte(leafType.Base)) {
		t.Errorf("%d calls, heard %q", ap.calls.Load(), heard)
	}
}

// A verifier that knows no node answers a lead that signs.
func TestSignedRequestToUnguardedVerifier(t *testing.T) {
	a := newAlliance(t)
	serviceOn(t, newBusOn(t, a.server, at("lab")), says("good"))
	for _, site := range []string{"lab", AnySite} {
		if _, err := a.caller(t).Appraise(within(t, 5*time.Second), newCall(site)); err != nil {
			t.Errorf("%s: %v", site, err)
		}
	}
}

func TestSealWantsANode(t *testing.T) {
	a := newAlliance(t)
	b := newBusOn(t, a.server)
	_, err := b.Serve(says("good"), ServiceOptions{Scheme: verifiers.Scheme{Name: testScheme, Version: "1.2.3"}, Seal: []*trust.SealPrivate{a.seal}})
	if err == nil {
		t.Error("a key for nobody in particular")
	}
}

// What it costs to sign and seal a whole round trip.
func BenchmarkProtectedRoundTrip8kB(b *testing.B) {
	a := newAlliance(b)
	a.guarded(b, says("good"))
	open := newBusOn(b, a.server, at("lab"))
	serviceOn(b, open, says("good"))
	for _, tc := range []struct {
		name, site string
		c          *Caller
	}{
		{"plain", "lab", newBusOn(b, a.server).Caller(CallerOptions{})},
		{"signed", testNode, a.caller(b, func(o *verifiers.ProtectionOptions) { o.Peers = nil })},
		{"signed+sealed", testNode, a.caller(b)},
	} {
		b.Run(tc.name, func(b *testing.B) {
			call := newCall(tc.site)
			call.Request = newRequest(8 << 10)
			ctx := within(b, time.Minute)
			b.ReportAllocs()
			for b.Loop() {
				call.Request.ID = newID()
				if _, err := tc.c.Appraise(ctx, call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
