// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verdict"
	"github.com/nats-io/nats.go"
)

const testNode = "node-b"

// relayFunc is a RelayHandler made of a function, which counts its calls.
type relayFunc struct {
	calls atomic.Int64
	f     func(ctx context.Context, message []byte) ([]byte, error)
}

func (h *relayFunc) HandleRelay(ctx context.Context, message []byte) ([]byte, error) {
	h.calls.Add(1)
	return h.f(ctx, message)
}

func handles(f func(ctx context.Context, message []byte) ([]byte, error)) *relayFunc {
	return &relayFunc{f: f}
}

// echoes answers with the message.
func echoes() *relayFunc {
	return handles(func(_ context.Context, m []byte) ([]byte, error) { return m, nil })
}

// holds waits for the end of its context and reports the cause.
func holds(started chan<- struct{}, ended chan<- error) *relayFunc {
	return handles(func(ctx context.Context, _ []byte) ([]byte, error) {
		started <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	})
}

func nodeOn(t testing.TB, b *Bus, h RelayHandler, change ...func(*RelayOptions)) *RelayService {
	t.Helper()
	o := RelayOptions{Node: testNode, Developer: "https://example.com", Build: "b1", KID: "kid-1"}
	for _, f := range change {
		f(&o)
	}
	s, err := b.ServeRelay(h, o)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, s)
	return s
}

// rawRelay renders a message as a sender would, for tests that tamper with it.
func rawRelay(b *Bus, id, message string) *nats.Msg {
	body := []byte(message)
	return &nats.Msg{Subject: b.subj.cascade(testNode), Header: baseHeaders(id, relayScheme, RelayType, digestOf(body)), Data: body}
}

func TestServeRelayOptions(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	for _, node := range []string{"", "a.b", "*", ">", "Node", "a b", strings.Repeat("x", 33)} {
		if _, err := b.ServeRelay(echoes(), RelayOptions{Node: node}); err == nil {
			t.Errorf("node %q was accepted", node)
		}
	}
	if _, err := b.ServeRelay(nil, RelayOptions{Node: testNode}); err == nil {
		t.Error("no handler was accepted")
	}
}

func TestTamperedRelay(t *testing.T) {
	s := newServer(t, embed.Options{})
	h := echoes()
	nodeOn(t, newBusOn(t, s), h, func(o *RelayOptions) { o.MaxMessage = 16 })
	b := newBusOn(t, s)
	other := digestOf([]byte("other"))
	fresh := func() *nats.Msg { return rawRelay(b, newID(), "message") }
	tamper(t, b, &h.calls, fresh, map[string]tampering{
		"untouched":      {func(*nats.Msg) {}, 0},
		"other body":     {func(m *nats.Msg) { m.Data = []byte("other") }, 400},
		"other digest":   {func(m *nats.Msg) { m.Header[HeaderDigest] = []string{fmt.Sprintf("%x", other)} }, 400},
		"upper digest":   {func(m *nats.Msg) { m.Header[HeaderDigest][0] = strings.ToUpper(m.Header[HeaderDigest][0]) }, 400},
		"no digest":      {func(m *nats.Msg) { delete(m.Header, HeaderDigest) }, 400},
		"truncated":      {func(m *nats.Msg) { m.Data = m.Data[:1] }, 400},
		"empty":          {func(m *nats.Msg) { setBody(m, nil) }, 400},
		"no headers":     {func(m *nats.Msg) { m.Header = nil }, 400},
		"malformed id":   {func(m *nats.Msg) { m.Header[HeaderRequest] = []string{"x"} }, 400},
		"two ids":        {func(m *nats.Msg) { m.Header[HeaderRequest] = append(m.Header[HeaderRequest], newID()) }, 400},
		"bad timeout":    {func(m *nats.Msg) { m.Header[HeaderTimeout] = []string{"0"} }, 400},
		"foreign scheme": {func(m *nats.Msg) { m.Header[HeaderScheme] = []string{testScheme} }, 400},
		"appraisal type": {func(m *nats.Msg) { m.Header[HeaderContentType] = []string{ContentType} }, 400},
		"sealed":         {func(m *nats.Msg) { m.Header[HeaderSeal] = []string{"x25519;k"} }, 401},
		"too large":      {func(m *nats.Msg) { setBody(m, make([]byte, 17)) }, 413},
		"just fits":      {func(m *nats.Msg) { setBody(m, make([]byte, 16)) }, 0},
	})
}

func TestRelayIsIdempotent(t *testing.T) {
	s := newServer(t, embed.Options{})
	var n atomic.Int64
	h := handles(func(context.Context, []byte) ([]byte, error) {
		return fmt.Appendf(nil, "answer %d", n.Add(1)), nil
	})
	nodeOn(t, newBusOn(t, s), h)
	c, id := newBusOn(t, s).RelayCaller(RelayCallerOptions{}), newID()
	first, err := c.Relay(within(t, 5*time.Second), testNode, id, []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Relay(within(t, 5*time.Second), testNode, id, []byte("message"))
	if err != nil || !bytes.Equal(first, again) || h.calls.Load() != 1 {
		t.Errorf("%q, then %q, %v after %d calls", first, again, err, h.calls.Load())
	}
	_, err = c.Relay(within(t, 5*time.Second), testNode, id, []byte("other message"))
	wantReason(t, err, verdict.ReasonRefused)
	if code, _ := exchange(t, c.bus, rawRelay(c.bus, id, "other message")); code != CodeConflict {
		t.Errorf("same id, other message: %d", code)
	}
	if h.calls.Load() != 1 {
		t.Error("the conflicting message was handled")
	}
}

func TestRelayRefusals(t *testing.T) {
	secret := errors.New("the secret policy says no")
	for _, tc := range []struct {
		name   string
		err    error
		code   Code
		reason string
	}{
		{"malformed", RelayRefusal{Code: CodeMalformed, Err: secret}, 400, verdict.ReasonRefused},
		{"forbidden", RelayRefusal{Code: CodeForbidden, Err: secret}, 403, verdict.ReasonRefused},
		{"wrapped", fmt.Errorf("%w: %w", RelayRefusal{Code: CodeForbidden}, secret), 403, verdict.ReasonRefused},
		{"media type", RelayRefusal{Code: CodeMediaType, Err: secret}, 415, verdict.ReasonRefused},
		{"budget", RelayRefusal{Code: CodeBudget, Err: secret}, 504, verdict.ReasonTimeout},
		{"throttled", RelayRefusal{Code: CodeThrottled, Err: secret}, 429, verdict.ReasonBusy},
		{"unknown code", RelayRefusal{Code: 418, Err: secret}, 500, verdict.ReasonMalfunction},
		{"no code", RelayRefusal{Err: secret}, 500, verdict.ReasonMalfunction},
		{"other error", secret, 500, verdict.ReasonMalfunction},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, book := newServer(t, embed.Options{}), &logBook{}
			h := handles(func(context.Context, []byte) ([]byte, error) { return []byte("not an answer"), tc.err })
			nodeOn(t, newBusOn(t, s, func(c *Config) { c.Logger = book.logger() }), h)
			b := newBusOn(t, s)
			code, m := exchange(t, b, rawRelay(b, newID(), "message"))
			if code != tc.code || len(m.Data) != 0 || strings.Contains(fmt.Sprint(m.Header), "secret") {
				t.Errorf("got %d %v %q, want %d", code, m.Header, m.Data, tc.code)
			}
			_, err := b.RelayCaller(RelayCallerOptions{}).Relay(within(t, 5*time.Second), testNode, newID(), []byte("message"))
			wantReason(t, err, tc.reason)
			if tc.name != "no code" && !strings.Contains(book.String(), "secret") {
				t.Error("the cause is not in the node's log")
			}
		})
	}
}

func TestRelayPanic(t *testing.T) {
	s, book := newServer(t, embed.Options{}), &logBook{}
	h := handles(func(context.Context, []byte) ([]byte, error) { panic("boom") })
	nodeOn(t, newBusOn(t, s, func(c *Config) { c.Logger = book.logger() }), h, func(o *RelayOptions) { o.Workers = 1 })
	c := newBusOn(t, s).RelayCaller(RelayCallerOptions{})
	for range 3 { // the only worker lives on
		_, err := c.Relay(within(t, 5*time.Second), testNode, newID(), []byte("message"))
		wantReason(t, err, verdict.ReasonMalfunction)
		if strings.Contains(err.Error(), "boom") {
			t.Error("the panic got out")
		}
	}
	if !strings.Contains(book.String(), "boom") {
		t.Error("the panic is not in the log")
	}
}

func TestRelayAnswerThatCannotTravel(t *testing.T) {
	s := newServer(t, embed.Options{})
	for _, size := range []int{0, maxBody + 1} {
		node := "node-" + strconv.Itoa(size)
		h := handles(func(context.Context, []byte) ([]byte, error) { return make([]byte, size), nil })
		nodeOn(t, newBusOn(t, s), h, func(o *RelayOptions) { o.Node = node })
		_, err := newBusOn(t, s).RelayCaller(RelayCallerOptions{}).Relay(within(t, 5*time.Second), node, newID(), []byte("message"))
		wantReason(t, err, verdict.ReasonMalfunction)
	}
}

func TestFullNodeAnswersAtOnce(t *testing.T) {
	s := newServer(t, embed.Options{})
	release := make(chan struct{})
	h := handles(func(ctx context.Context, m []byte) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return m, nil
	})
	svc := nodeOn(t, newBusOn(t, s), h, func(o *RelayOptions) { o.Workers, o.Queue = 1, 1 })
	b := newBusOn(t, s)
	c := b.RelayCaller(RelayCallerOptions{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if _, err := c.Relay(ctx, testNode, newID(), []byte("message")); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, "the node is full", func() bool { return svc.Stats().Admitted == 2 })
	code, m := exchange(t, b, rawRelay(b, newID(), "message"))
	if _, hint := answerCode(m.Header); code != CodeBusy || hint <= 0 {
		t.Errorf("got %d, hint %v", code, hint)
	}
	start := time.Now()
	_, err := c.Relay(within(t, 20*time.Second), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonBusy)
	if d := time.Since(start); d > 3*time.Second { // the node is held for much longer
		t.Errorf("took %v", d)
	}
	close(release)
	wg.Wait()
	if _, err := c.Relay(within(t, 5*time.Second), testNode, newID(), []byte("message")); err != nil {
		t.Errorf("the places were not given back: %v", err)
	}
}

func TestRelayBudget(t *testing.T) {
	// The other limit is always far beyond the one that must end the work.
	for header, budget := range map[string]time.Duration{"20": 30 * time.Second, "3600000": 80 * time.Millisecond, "": 80 * time.Millisecond} {
		s := newServer(t, embed.Options{})
		started, ended := make(chan struct{}, 1), make(chan error, 1)
		nodeOn(t, newBusOn(t, s), holds(started, ended), func(o *RelayOptions) { o.Budget = budget })
		b := newBusOn(t, s)
		m := rawRelay(b, newID(), "message")
		if header != "" {
			m.Header[HeaderTimeout] = []string{header}
		}
		if code, _ := exchange(t, b, m); code != CodeBudget {
			t.Errorf("budget %s, header %q: %d", budget, header, code)
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the handler's context ended with %v", err)
		}
	}
}

func TestRelayDrainLosesNothing(t *testing.T) {
	s := newServer(t, embed.Options{})
	node := newBusOn(t, s)
	release := make(chan struct{})
	h := handles(func(_ context.Context, m []byte) ([]byte, error) {
		<-release
		return m, nil
	})
	svc := nodeOn(t, node, h, func(o *RelayOptions) { o.Workers = 2 })
	c := newBusOn(t, s).RelayCaller(RelayCallerOptions{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if out, err := c.Relay(ctx, testNode, newID(), []byte("message")); err != nil || string(out) != "message" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
	eventually(t, "all are in", func() bool { return svc.Stats().Admitted == 8 })
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	if err := svc.Stop(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	if got := svc.Stats(); got.Admitted != 0 || got.State != "draining" {
		t.Errorf("after stop: %+v", got)
	}
	if err := node.Close(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	_, err := c.Relay(within(t, 5*time.Second), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonUnreachable)
}

func TestStopCutsRelayThatDoesNotEnd(t *testing.T) {
	s := newServer(t, embed.Options{})
	started, ended := make(chan struct{}, 1), make(chan error, 1)
	svc := nodeOn(t, newBusOn(t, s), holds(started, ended))
	stopped := make(chan error, 1)
	go func() {
		<-started
		stopped <- svc.Stop(within(t, 20*time.Millisecond))
	}()
	_, err := newBusOn(t, s).RelayCaller(RelayCallerOptions{}).Relay(within(t, 20*time.Second), testNode, newID(), []byte("message"))
	wantReason(t, err, verdict.ReasonTimeout)
	if err := <-ended; !errors.Is(err, errCancelled) {
		t.Errorf("ended with %v", err)
	}
	if <-stopped == nil {
		t.Error("stop hides that work was cut")
	}
}

func TestDirectorySeesNodes(t *testing.T) {
	s := newServer(t, embed.Options{})
	d := directoryOn(t, newBusOn(t, s))
	serviceOn(t, newBusOn(t, s), says("good"))
	svc := nodeOn(t, newBusOn(t, s, at("lab")), echoes(), func(o *RelayOptions) { o.MaxMessage = 4096 })
	eventually(t, "both are known", func() bool { return len(d.Nodes()) == 1 && len(d.Instances()) == 1 })
	want := Instance{
		Scheme: relayScheme, ID: svc.ID(), Version: relayVersion, Name: "att_node", Node: testNode, Site: "lab",
		Developer: "https://example.com", Build: "b1", KID: "kid-1", MaxBytes: 4096, Budget: DefaultBudget,
	}
	if got := d.Nodes()[0]; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	if got := d.Instances()[0]; got.Scheme != testScheme {
		t.Errorf("a node is listed as a verifier: %+v", got)
	}
	if got := d.Candidates(relayScheme, nil); len(got) != 1 || got[0].Why != "no instance is known yet" {
		t.Errorf("a node is a candidate for a component: %+v", got)
	}
	if err := svc.Stop(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event removes the node", func() bool { return len(d.Nodes()) == 0 })
}

func TestNodeInformationIsChecked(t *testing.T) {
	const info = `{"name":"att_node","id":"x","version":"1.0.0","metadata":{"att.wire":"1","att.kind":"node","att.node":"b"},` +
		`"endpoints":[{"name":"cascade","metadata":{"max-bytes":"10","budget-ms":"5"}}]}`
	if in, err := parseInfo([]byte(info)); err != nil || in.Node != "b" || in.MaxBytes != 10 {
		t.Fatalf("%+v, %v", in, err)
	}
	for what, with := range map[string]string{
		`"att.node":"b"`:    `"att.node":"b.>"`,
		`"att.kind":"node"`: `"att.kind":"other"`,
		`"att.wire":"1"`:    `"att.wire":"2"`,
		`"cascade"`:         `"appraise"`,
		`"5"`:               `"-5"`,
	} {
		if in, err := parseInfo([]byte(strings.Replace(info, what, with, 1))); err == nil {
			t.Errorf("%s: accepted %+v", with, in)
		}
	}
}
