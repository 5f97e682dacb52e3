// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
)

// rawRequest renders a request as a lead would, for tests that tamper with it.
func rawRequest(t testing.TB, b *Bus, r verifiers.Request) *nats.Msg {
	t.Helper()
	body, err := verifiers.EncodeRequest(r)
	if err != nil {
		t.Fatal(err)
	}
	return &nats.Msg{Subject: b.subj.appraise(testScheme, AnySite), Header: requestHeaders(r, ContentType, digestOf(body)), Data: body}
}

func exchange(t testing.TB, b *Bus, m *nats.Msg) (Code, *nats.Msg) {
	t.Helper()
	out, err := b.requests.RequestMsgWithContext(within(t, 5*time.Second), m)
	if err != nil {
		t.Fatal(err)
	}
	code, _ := answerCode(out.Header)
	return code, out
}

func TestTamperedRequest(t *testing.T) {
	s := newServer(t, embed.Options{})
	a := says("good")
	serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	other, err := verifiers.EncodeRequest(newRequest(65))
	if err != nil {
		t.Fatal(err)
	}
	fresh := func() *nats.Msg { return rawRequest(t, lead, newRequest(64)) }
	tamper(t, lead, &a.calls, fresh, map[string]tampering{
		"untouched":          {func(*nats.Msg) {}, 0},
		"other body":         {func(m *nats.Msg) { m.Data = other }, 400},
		"truncated body":     {func(m *nats.Msg) { m.Data = m.Data[:len(m.Data)-1] }, 400},
		"empty body":         {func(m *nats.Msg) { m.Data = nil }, 400},
		"garbage with sum":   {func(m *nats.Msg) { setBody(m, []byte("garbage")) }, 400},
		"other id":           {func(m *nats.Msg) { m.Header[HeaderRequest] = []string{newID()} }, 400},
		"other scheme":       {func(m *nats.Msg) { m.Header[HeaderScheme] = []string{"other"} }, 400},
		"other session":      {func(m *nats.Msg) { m.Header[HeaderSession] = []string{"s-2"} }, 400},
		"other content type": {func(m *nats.Msg) { m.Header[HeaderContentType] = []string{"application/cmw+json"} }, 400},
		"no digest":          {func(m *nats.Msg) { delete(m.Header, HeaderDigest) }, 400},
		"no content type":    {func(m *nats.Msg) { delete(m.Header, HeaderContentType) }, 400},
		"no headers":         {func(m *nats.Msg) { m.Header = nil }, 400},
		"two ids":            {func(m *nats.Msg) { m.Header[HeaderRequest] = append(m.Header[HeaderRequest], newID()) }, 400},
		"bad timeout":        {func(m *nats.Msg) { m.Header[HeaderTimeout] = []string{"-5"} }, 400},
		"bad attempt":        {func(m *nats.Msg) { m.Header[HeaderAttempt] = []string{"0"} }, 400},
		"sealed":             {func(m *nats.Msg) { m.Header[HeaderSeal] = []string{"x25519;k"} }, 401},
		"foreign scheme": {func(m *nats.Msg) {
			r := newRequest(3)
			r.Scheme = "other"
			*m = nats.Msg{Subject: m.Subject, Header: rawRequest(t, lead, r).Header, Data: rawRequest(t, lead, r).Data}
		}, 415},
	})
}

func setBody(m *nats.Msg, body []byte) {
	sum := digestOf(body)
	m.Data, m.Header[HeaderDigest] = body, []string{hex.EncodeToString(sum[:])}
}

func TestIdempotency(t *testing.T) {
	s := newServer(t, embed.Options{})
	n := 0
	a := &appraiser{f: func(context.Context, verifiers.Request) ([]byte, error) {
		n++
		return fmt.Appendf(nil, "answer %d", n), nil
	}}
	serviceOn(t, newBusOn(t, s), a, func(o *ServiceOptions) { o.Workers = 1 })
	lead := newBusOn(t, s)
	r := newRequest(64)
	_, first := exchange(t, lead, rawRequest(t, lead, r))
	_, again := exchange(t, lead, rawRequest(t, lead, r))
	if !bytes.Equal(first.Data, again.Data) || a.calls.Load() != 1 {
		t.Errorf("%q, then %q after %d calls", first.Data, again.Data, a.calls.Load())
	}
	r.Evidence = []byte("other content")
	if code, _ := exchange(t, lead, rawRequest(t, lead, r)); code != CodeConflict {
		t.Errorf("same id, other content: %d", code)
	}
	if a.calls.Load() != 1 {
		t.Error("the conflicting request was appraised")
	}
}

func TestDuplicateInProgressIsDoneOnce(t *testing.T) {
	s := newServer(t, embed.Options{})
	a := sleeps(50*time.Millisecond, "good")
	serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	r := newRequest(64)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if code, m := exchange(t, lead, rawRequest(t, lead, r)); code != 0 || string(m.Data) != "good" {
				t.Errorf("%d %q", code, m.Data)
			}
		})
	}
	wg.Wait()
	if a.calls.Load() != 1 {
		t.Errorf("%d calls", a.calls.Load())
	}
}

func TestFailureIsNotRemembered(t *testing.T) {
	s := newServer(t, embed.Options{})
	serviceOn(t, newBusOn(t, s), refuses(500))
	lead := newBusOn(t, s)
	r := newRequest(64)
	for range 2 {
		if code, _ := exchange(t, lead, rawRequest(t, lead, r)); code != CodeInternal {
			t.Fatalf("got %d", code)
		}
	}
}

func TestReplayCacheIsBounded(t *testing.T) {
	c := newReplays(time.Minute)
	now := time.Unix(0, 0)
	for i := range replayEntries + 10 {
		id := strconv.Itoa(i)
		if got, _ := c.begin(id, digestOf(nil), now, waiter{}, nil); got != begunNew {
			t.Fatal(got)
		}
		c.finish(id, make([]byte, 8<<10), now)
	}
	if c.bytes > replayBytes || len(c.byID) > replayEntries || len(c.byID) != c.done.Len() {
		t.Errorf("%d bytes in %d entries", c.bytes, len(c.byID))
	}
	newest := strconv.Itoa(replayEntries + 9)
	if got, _ := c.begin(newest, digestOf(nil), now, waiter{}, nil); got != begunDone {
		t.Error("the newest entry was dropped")
	}
	if got, _ := c.begin(newest, digestOf(nil), now.Add(2*time.Minute), waiter{}, nil); got != begunNew {
		t.Error("an old answer was kept")
	}
	if c.bytes != 0 || c.done.Len() != 0 {
		t.Errorf("%d bytes left", c.bytes)
	}
}

func TestPanicIsAnInternalError(t *testing.T) {
	s := newServer(t, embed.Options{})
	book := &logBook{}
	a := &appraiser{f: func(context.Context, verifiers.Request) ([]byte, error) { panic("boom") }}
	serviceOn(t, newBusOn(t, s, func(c *Config) { c.Logger = book.logger() }), a, func(o *ServiceOptions) { o.Workers = 1 })
	lead := newBusOn(t, s)
	for range 3 { // the only worker lives on
		code, m := exchange(t, lead, rawRequest(t, lead, newRequest(64)))
		if code != CodeInternal || strings.Contains(fmt.Sprint(m.Header), "boom") {
			t.Errorf("got %d %v", code, m.Header)
		}
	}
	if !strings.Contains(book.String(), "boom") {
		t.Error("the panic is not in the log")
	}
}

func TestResultThatCannotTravel(t *testing.T) {
	s := newServer(t, embed.Options{})
	serviceOn(t, newBusOn(t, s), says(strings.Repeat("x", 1<<20)))
	lead := newBusOn(t, s)
	if code, _ := exchange(t, lead, rawRequest(t, lead, newRequest(64))); code != CodeInternal {
		t.Errorf("got %d", code)
	}
}

func TestFullPoolAnswersAtOnce(t *testing.T) {
	s := newServer(t, embed.Options{})
	release := make(chan struct{})
	a := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return []byte("good"), nil
	}}
	svc := serviceOn(t, newBusOn(t, s), a, func(o *ServiceOptions) { o.Workers, o.Queue = 2, -1 })
	lead := newBusOn(t, s)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { exchange(t, lead, rawRequest(t, lead, newRequest(64))) })
	}
	for end := time.Now().Add(2 * time.Second); svc.Stats().Admitted < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	best := time.Hour
	for range 5 {
		start := time.Now()
		code, m := exchange(t, lead, rawRequest(t, lead, newRequest(64)))
		best = min(best, time.Since(start))
		if _, hint := answerCode(m.Header); code != CodeBusy || hint <= 0 {
			t.Errorf("got %d, hint %v", code, hint)
		}
	}
	if best > time.Second { // the pool is held for much longer
		t.Errorf("took %v", best)
	}
	t.Logf("refused in %v", best)
	close(release)
	wg.Wait()
	if code, _ := exchange(t, lead, rawRequest(t, lead, newRequest(64))); code != 0 {
		t.Errorf("the places were not given back: %d", code)
	}
}

// A composite has more components than a small machine has workers; they must
// wait, not fail.
func TestQueueTakesAWholeComposite(t *testing.T) {
	s := newServer(t, embed.Options{})
	serviceOn(t, newBusOn(t, s), sleeps(time.Millisecond, "good"), func(o *ServiceOptions) { o.Workers = 2 })
	c := newBusOn(t, s).Caller(CallerOptions{})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			if _, err := c.Appraise(ctx, newCall(AnySite)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestBudgetIsHonoured(t *testing.T) {
	// In each case the other limit is far beyond the bound, so that the one that
	// is named is what ended the request.
	for _, tc := range []struct {
		header string
		budget time.Duration
	}{{"20", 30 * time.Second}, {"3600000", 80 * time.Millisecond}, {"", 80 * time.Millisecond}} {
		s := newServer(t, embed.Options{})
		serviceOn(t, newBusOn(t, s), sleeps(10*time.Second, "good"), func(o *ServiceOptions) { o.Workers = 1; o.Budget = tc.budget })
		lead := newBusOn(t, s)
		m := rawRequest(t, lead, newRequest(64))
		if tc.header != "" {
			m.Header[HeaderTimeout] = []string{tc.header}
		}
		start := time.Now()
		code, _ := exchange(t, lead, m)
		if d := time.Since(start); code != CodeBudget || d > 3*time.Second {
			t.Errorf("budget %s, header %q: %d after %v", tc.budget, tc.header, code, d)
		}
	}
}

func TestCancelById(t *testing.T) {
	s := newServer(t, embed.Options{})
	started := make(chan struct{}, 1)
	a := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		started <- struct{}{}
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), errCancelled) {
			return nil, errors.New("not cancelled")
		}
		return nil, &verifiers.Refusal{Code: 504}
	}}
	serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	r := newRequest(64)
	done := make(chan Code, 1)
	go func() {
		code, _ := exchange(t, lead, rawRequest(t, lead, r))
		done <- code
	}()
	<-started
	for _, id := range []string{"", newID(), "\x00", r.ID} { // only the last one is somebody's
		if err := lead.requests.Publish(lead.subj.cancel(testScheme, AnySite), []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case code := <-done:
		if code != CodeBudget {
			t.Errorf("got %d", code)
		}
	case <-time.After(3 * time.Second):
		t.Fatal("cancel did not reach the appraiser")
	}
}

func TestDrainLosesNothing(t *testing.T) {
	s := newServer(t, embed.Options{})
	verifier := newBusOn(t, s)
	svc := serviceOn(t, verifier, sleeps(20*time.Millisecond, "good"), func(o *ServiceOptions) { o.Workers = 2 })
	lead := newBusOn(t, s)
	answers := make(chan string, 64)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			code, m := exchange(t, lead, rawRequest(t, lead, newRequest(64)))
			answers <- strconv.Itoa(int(code)) + string(m.Data)
		})
	}
	for end := time.Now().Add(2 * time.Second); svc.Stats().Admitted < 16 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if err := svc.Stop(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := svc.Stop(within(t, 5*time.Second)); err != nil {
		t.Errorf("second stop: %v", err)
	}
	if got := svc.Stats(); got.Admitted != 0 || got.State != "draining" {
		t.Errorf("after stop: %+v", got)
	}
	if err := verifier.Close(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	for range 16 {
		if got := <-answers; got != "0good" {
			t.Errorf("answer %q", got)
		}
	}
	_, err := lead.Caller(CallerOptions{}).Appraise(within(t, time.Second), newCall(AnySite))
	wantReason(t, err, verdict.ReasonUnreachable)
}

// Under load, every request gets an answer while verifiers come and go.
func TestRollingRestartUnderLoad(t *testing.T) {
	s := newServer(t, embed.Options{})
	serviceOn(t, newBusOn(t, s, at("other")), sleeps(time.Millisecond, "good"))
	c := newBusOn(t, s).Caller(CallerOptions{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
				if _, err := c.Appraise(ctx, newCall(AnySite, "other")); err != nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	for range 5 {
		b := newBusOn(t, s)
		svc := serviceOn(t, b, sleeps(time.Millisecond, "good"))
		time.Sleep(20 * time.Millisecond)
		if err := svc.Stop(within(t, 5*time.Second)); err != nil {
			t.Error(err)
		}
		if err := b.Close(within(t, 5*time.Second)); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	wg.Wait()
}

func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	s := newServer(t, embed.Options{})
	started := make(chan struct{}, 1)
	a := &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		started <- struct{}{}
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	svc := serviceOn(t, newBusOn(t, s), a)
	lead := newBusOn(t, s)
	done := make(chan Code, 1)
	go func() {
		code, _ := exchange(t, lead, rawRequest(t, lead, newRequest(64)))
		done <- code
	}()
	<-started
	if err := svc.Stop(within(t, 20*time.Millisecond)); err == nil {
		t.Error("stop hides that work was cut")
	}
	if code := <-done; code != CodeBudget {
		t.Errorf("got %d", code)
	}
}

func TestErrorTextsAreFixed(t *testing.T) {
	s := newServer(t, embed.Options{})
	serviceOn(t, newBusOn(t, s), refuses(403))
	lead := newBusOn(t, s)
	code, m := exchange(t, lead, rawRequest(t, lead, newRequest(64)))
	if code != CodeForbidden || strings.Contains(fmt.Sprint(m.Header), "secret") || len(m.Data) != 0 {
		t.Errorf("got %d %v %q", code, m.Header, m.Data)
	}
}
