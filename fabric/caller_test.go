// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
)

// at gives every verifier its own site on one server.
func at(site string) func(*Config) { return func(c *Config) { c.Site = site } }

func TestRoundTrip(t *testing.T) {
	s := newServer(t, embed.Options{})
	var got verifiers.Request
	a := &appraiser{f: func(_ context.Context, r verifiers.Request) ([]byte, error) { got = r; return []byte("good"), nil }}
	serviceOn(t, newBusOn(t, s, at("lab")), a)
	lead := newBusOn(t, s)
	for _, site := range []string{AnySite, "lab"} {
		call := newCall(site)
		if _, err := lead.Caller(CallerOptions{}).Appraise(within(t, 2*time.Second), call); err != nil {
			t.Fatalf("%s: %v", site, err)
		}
		if got.ID != call.Request.ID || string(got.Evidence) != string(call.Request.Evidence) || string(got.Nonce) != string(call.Request.Nonce) {
			t.Errorf("%s: the verifier saw another request", site)
		}
	}
}

func TestNoResponderIsReportedAtOnce(t *testing.T) {
	lead := newBusOn(t, newServer(t, embed.Options{}))
	c := lead.Caller(CallerOptions{})
	_, _ = c.Appraise(within(t, time.Second), newCall(AnySite)) // warm up
	fastest(t, func() {
		_, err := c.Appraise(within(t, 2*time.Second), newCall(AnySite, "a", "b"))
		wantReason(t, err, verdict.ReasonUnreachable)
	})
}

func TestStartupGrace(t *testing.T) {
	s := newServer(t, embed.Options{})
	lead, verifier := newBusOn(t, s), newBusOn(t, s)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_, err := lead.Caller(CallerOptions{StartupGrace: time.Second}).Appraise(ctx, newCall(AnySite))
		done <- err
	}()
	time.Sleep(5 * time.Millisecond)
	serviceOn(t, verifier, says("good"))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWithoutDeadline(t *testing.T) {
	lead := newBusOn(t, newServer(t, embed.Options{}))
	if _, err := lead.Caller(CallerOptions{}).Appraise(context.Background(), newCall(AnySite)); !errors.Is(err, ErrNoDeadline) {
		t.Fatalf("got %v", err)
	}
}

func TestNoCandidate(t *testing.T) {
	lead := newBusOn(t, newServer(t, embed.Options{}))
	_, err := lead.Caller(CallerOptions{}).Appraise(within(t, time.Second), newCall())
	wantReason(t, err, verdict.ReasonNoVerifier)
	if _, err := lead.Caller(CallerOptions{}).Appraise(within(t, time.Second), newCall("a.>")); err == nil {
		t.Error("a wildcard was accepted as a site")
	}
}

func TestOversizeIsRefusedHere(t *testing.T) {
	s := newServer(t, embed.Options{})
	a := says("good")
	serviceOn(t, newBusOn(t, s), a)
	call := newCall(AnySite)
	call.Request.Evidence = make([]byte, limits.FabricPayload-limits.FabricHeaderReserve)
	_, err := newBusOn(t, s).Caller(CallerOptions{}).Appraise(within(t, time.Second), call)
	wantReason(t, err, verdict.ReasonTooLarge)
	if a.calls.Load() != 0 {
		t.Error("it was sent")
	}
	call.Request.Evidence = call.Request.Evidence[:limits.FabricPayload-limits.FabricHeaderReserve-1024]
	if _, err := newBusOn(t, s).Caller(CallerOptions{}).Appraise(within(t, 2*time.Second), call); err != nil {
		t.Errorf("the largest allowed request: %v", err)
	}
}

func TestSilentResponder(t *testing.T) {
	s := newServer(t, embed.Options{})
	lead := newBusOn(t, s)
	if _, err := lead.bulk.Subscribe(lead.subj.appraise(testScheme, "mute"), func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := lead.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := lead.Caller(CallerOptions{}).Appraise(within(t, 100*time.Millisecond), newCall("mute", "lab"))
	wantReason(t, err, verdict.ReasonTimeout)
	if d := time.Since(start); d < 90*time.Millisecond || d > 5*time.Second {
		t.Errorf("gave up after %v", d)
	}
	serviceOn(t, newBusOn(t, s, at("lab")), says("good"))
	start = time.Now()
	_, err = lead.Caller(CallerOptions{Hedge: 20 * time.Millisecond}).Appraise(within(t, 5*time.Second), newCall("mute", "lab"))
	if d := time.Since(start); err != nil || d > 2*time.Second {
		t.Errorf("with a hedge: %v after %v", err, d)
	}
}

func TestHedgesAreBounded(t *testing.T) {
	h := hedgeBudget{tokens: hedgeBurst}
	spent := 0
	for range 1000 {
		h.earn()
		if h.spend() {
			spent++
		}
	}
	if spent < 50 || spent > 61 {
		t.Errorf("%d of 1000 requests were hedged", spent)
	}
}

func TestNextCandidate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		first  *appraiser
		reason string // when there is no second candidate
		next   bool   // a second candidate is asked
	}{
		{"busy", refuses(503), verdict.ReasonBusy, true},
		{"throttled", refuses(429), verdict.ReasonBusy, true},
		{"budget", refuses(504), verdict.ReasonTimeout, true},
		{"internal", refuses(500), verdict.ReasonMalfunction, true},
		{"too large", refuses(413), verdict.ReasonRefused, true},
		{"media type", refuses(415), verdict.ReasonRefused, true},
		{"forged", says("forged"), verdict.ReasonBadPARSignature, true},
		{"malformed", refuses(400), verdict.ReasonRefused, false},
		{"unauthorized", refuses(401), verdict.ReasonRefused, false},
		{"forbidden", refuses(403), verdict.ReasonRefused, false},
		{"conflict", refuses(409), verdict.ReasonRefused, false},
		{"unknown code", refuses(418), verdict.ReasonMalfunction, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t, embed.Options{})
			lead, second := newBusOn(t, s), says("good")
			serviceOn(t, newBusOn(t, s, at("one")), tc.first)
			serviceOn(t, newBusOn(t, s, at("two")), second)
			c := lead.Caller(CallerOptions{})
			_, err := c.Appraise(within(t, 2*time.Second), newCall("one"))
			wantReason(t, err, tc.reason)
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the verifier's words got out: %v", err)
			}
			_, err = c.Appraise(within(t, 2*time.Second), newCall("one", "two"))
			if asked := second.calls.Load() == 1; asked != tc.next || (err == nil) != tc.next {
				t.Errorf("second candidate asked: %v, error %v", asked, err)
			}
		})
	}
}

func TestInternalErrorsStopAfterTwo(t *testing.T) {
	s := newServer(t, embed.Options{})
	third := says("good")
	serviceOn(t, newBusOn(t, s, at("one")), refuses(500))
	serviceOn(t, newBusOn(t, s, at("two")), refuses(500))
	serviceOn(t, newBusOn(t, s, at("three")), third)
	_, err := newBusOn(t, s).Caller(CallerOptions{}).Appraise(within(t, time.Second), newCall("one", "two", "three"))
	wantReason(t, err, verdict.ReasonMalfunction)
	if third.calls.Load() != 0 {
		t.Error("a request that breaks verifiers went on to a third")
	}
}

func TestMostTellingReasonWins(t *testing.T) {
	s := newServer(t, embed.Options{})
	book := &logBook{}
	serviceOn(t, newBusOn(t, s, at("forger")), says("forged"))
	serviceOn(t, newBusOn(t, s, at("busy")), refuses(503))
	lead := newBusOn(t, s, func(c *Config) { c.Logger = book.logger() })
	_, err := lead.Caller(CallerOptions{}).Appraise(within(t, 2*time.Second), newCall("nobody", "forger", "busy"))
	wantReason(t, err, verdict.ReasonBadPARSignature)
	if !strings.Contains(book.String(), "answer does not verify") || !strings.Contains(book.String(), "security=true") {
		t.Errorf("no security event in the log:\n%s", book)
	}
}

func TestBusyIsRetriedOnce(t *testing.T) {
	s := newServer(t, embed.Options{})
	var n atomic.Int64
	a := &appraiser{f: func(context.Context, verifiers.Request) ([]byte, error) {
		if n.Add(1) == 1 {
			return nil, &verifiers.Refusal{Code: 503}
		}
		return []byte("good"), nil
	}}
	serviceOn(t, newBusOn(t, s), a)
	if _, err := newBusOn(t, s).Caller(CallerOptions{}).Appraise(within(t, 2*time.Second), newCall(AnySite)); err != nil {
		t.Fatal(err)
	}
	if a.calls.Load() != 2 {
		t.Errorf("%d calls", a.calls.Load())
	}
}

func TestLoserIsCancelled(t *testing.T) {
	s := newServer(t, embed.Options{})
	ended := make(chan error, 1)
	slow := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	}}
	serviceOn(t, newBusOn(t, s, at("slow")), slow)
	serviceOn(t, newBusOn(t, s, at("fast")), says("good"))
	c := newBusOn(t, s).Caller(CallerOptions{Hedge: 10 * time.Millisecond})
	if _, err := c.Appraise(within(t, 10*time.Second), newCall("slow", "fast")); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, errCancelled) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(2 * time.Second):
		t.Fatal("the slow verifier still works")
	}
}

func TestCallerGivesUp(t *testing.T) {
	s := newServer(t, embed.Options{})
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	slow := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		cancel() // the caller's: a request that is not there yet cannot be cancelled
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	}}
	serviceOn(t, newBusOn(t, s), slow)
	_, err := newBusOn(t, s).Caller(CallerOptions{}).Appraise(ctx, newCall(AnySite))
	wantReason(t, err, verdict.ReasonCancelled)
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		t.Fatal("the verifier was not told")
	}
}

func TestServerRestartWithRequestInFlight(t *testing.T) {
	s, err := embed.Start(embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fail := true
	t.Cleanup(func() {
		if fail {
			shutdown(t, s)
		}
	})
	arrived := make(chan struct{}, 4)
	var once sync.Once
	a := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		first := false
		once.Do(func() { first = true })
		arrived <- struct{}{}
		if first {
			_ = sleep(ctx, 300*time.Millisecond)
		}
		return []byte("good"), nil
	}}
	serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := lead.Caller(CallerOptions{Reconnect: 5 * time.Second}).Appraise(ctx, newCall(AnySite))
		done <- err
	}()
	<-arrived
	start := time.Now()
	shutdown(t, s)
	fail = false
	newServer(t, embed.Options{Provider: s.Provider()})
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no answer after a restart")
	}
	if d := time.Since(start); d > 8*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestServerGoneWithRequestInFlight(t *testing.T) {
	s, err := embed.Start(embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{}, 1)
	a := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		arrived <- struct{}{}
		_ = sleep(ctx, 200*time.Millisecond)
		return []byte("good"), nil
	}}
	serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := lead.Caller(CallerOptions{Reconnect: 50 * time.Millisecond}).Appraise(ctx, newCall(AnySite))
		done <- err
	}()
	<-arrived
	shutdown(t, s)
	select {
	case err := <-done:
		wantReason(t, err, verdict.ReasonUnreachable)
	case <-time.After(5 * time.Second):
		t.Fatal("waits for an answer that cannot come")
	}
	if err := lead.Ready(within(t, time.Second)); err == nil {
		t.Error("ready without a server")
	}
}

func BenchmarkRoundTrip8kB(b *testing.B) {
	s := newServer(b, embed.Options{})
	serviceOn(b, newBusOn(b, s), says("good"))
	c := newBusOn(b, s).Caller(CallerOptions{})
	ctx := within(b, time.Minute)
	call := newCall(AnySite)
	call.Request = newRequest(8 << 10)
	b.ReportAllocs()
	b.SetBytes(8 << 10)
	for b.Loop() {
		call.Request.ID = newID()
		if _, err := c.Appraise(ctx, call); err != nil {
			b.Fatal(err)
		}
	}
}

// A request that could not be sent must not reach a verifier later, when
// nobody waits for its answer any more.
func TestNothingIsReplayed(t *testing.T) {
	s, err := embed.Start(embed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a := says("good")
	serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	shutdown(t, s)
	// Past the caller, which would not even try: straight to the connection.
	m := rawRequest(t, lead, newRequest(64))
	if _, err := lead.requests.RequestMsgWithContext(within(t, 50*time.Millisecond), m); err == nil {
		t.Fatal("an answer without a server")
	}
	_, err = lead.Caller(CallerOptions{Reconnect: time.Millisecond}).Appraise(within(t, time.Second), newCall(AnySite))
	wantReason(t, err, verdict.ReasonUnreachable)
	newServer(t, embed.Options{Provider: s.Provider()})
	eventually(t, "the service is back", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := lead.Caller(CallerOptions{}).Appraise(ctx, newCall(AnySite))
		return err == nil
	})
	if n := a.calls.Load(); n != 1 {
		t.Errorf("%d requests arrived, one was sent", n)
	}
}
