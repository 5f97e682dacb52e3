// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

type introduceFunc func(ctx context.Context, message []byte) ([]byte, error)

func (f introduceFunc) HandleIntroduction(ctx context.Context, message []byte) ([]byte, error) {
	return f(ctx, message)
}

func introduces(t testing.TB, b *Bus, h introduceFunc) *IntroductionService {
	t.Helper()
	svc, err := b.ServeIntroductions(h, IntroductionOptions{Node: testNode, KID: "kid-1", Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = svc.Stop(context.Background()) })
	return svc
}

func TestIntroductionTravels(t *testing.T) {
	s := newServer(t, embed.Options{})
	var calls atomic.Int64
	introduces(t, newBusOn(t, s), func(ctx context.Context, m []byte) ([]byte, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		calls.Add(1)
		return append([]byte("signed "), m...), nil
	})
	c := newBusOn(t, s).IntroductionCaller()
	id := newID()
	for range 2 { // the same question gets the same answer
		out, err := c.Introduce(within(t, 5*time.Second), testNode, id, []byte("who are you"))
		if err != nil || string(out) != "signed who are you" {
			t.Fatalf("%q, %v", out, err)
		}
	}
	if calls.Load() != 1 {
		t.Errorf("handled %d times", calls.Load())
	}
	_, err := c.Introduce(within(t, 5*time.Second), testNode, id, []byte("something else"))
	wantReason(t, err, verdict.ReasonRefused)
	_, err = c.Introduce(within(t, 5*time.Second), "node-z", newID(), []byte("m"))
	wantReason(t, err, verdict.ReasonUnreachable)
}

// A relay is not taken for an introduction, nor is a node that introduces
// itself taken for one that takes relays.
func TestIntroductionIsNoRelay(t *testing.T) {
	s := newServer(t, embed.Options{})
	b := newBusOn(t, s)
	introduces(t, b, func(context.Context, []byte) ([]byte, error) { return []byte("x"), nil })
	caller := newBusOn(t, s)
	_, err := caller.RelayCaller(RelayCallerOptions{Reconnect: -1}).Relay(within(t, time.Second), testNode, newID(), []byte("m"))
	wantReason(t, err, verdict.ReasonUnreachable)
	for name, scheme := range map[string]string{"a relay": relayScheme, "an appraisal": "gpu"} {
		body := []byte("m")
		h := baseHeaders(newID(), scheme, RelayType, sha256.Sum256(body))
		m, err := caller.requests.RequestMsgWithContext(within(t, time.Second), &nats.Msg{Subject: b.subj.introduce(testNode), Header: h, Data: body})
		if err != nil {
			t.Fatal(err)
		}
		if code, _ := answerCode(m.Header); code != CodeMalformed {
			t.Errorf("%s: %d", name, code)
		}
	}
	d, err := caller.Directory(DirectoryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Stop()
	if err := d.Refresh(within(t, 5*time.Second)); err == nil && len(d.Instances()) != 0 {
		t.Errorf("%+v", d.Instances())
	}
}

func TestIntroductionFailures(t *testing.T) {
	s := newServer(t, embed.Options{})
	for name, c := range map[string]struct {
		f    introduceFunc
		want string
	}{
		"refused": {func(context.Context, []byte) ([]byte, error) { return nil, RelayRefusal{Code: CodeForbidden} }, verdict.ReasonRefused},
		"broken":  {func(context.Context, []byte) ([]byte, error) { return nil, errors.New("the agent is away") }, verdict.ReasonMalfunction},
		"panic":   {func(context.Context, []byte) ([]byte, error) { panic("as asked") }, verdict.ReasonMalfunction},
		"empty":   {func(context.Context, []byte) ([]byte, error) { return nil, nil }, verdict.ReasonMalfunction},
		"silent":  {func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }, verdict.ReasonTimeout},
	} {
		b := newBusOn(t, s)
		svc := introduces(t, b, c.f)
		_, err := newBusOn(t, s).IntroductionCaller().Introduce(within(t, 300*time.Millisecond), testNode, newID(), []byte("m"))
		var f *verifiers.Failure
		if !errors.As(err, &f) || f.Reason != c.want {
			t.Errorf("%s: %v", name, err)
		}
		if err := svc.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestMalformedIntroduction(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	c := b.IntroductionCaller()
	if _, err := c.Introduce(context.Background(), testNode, newID(), []byte("m")); !errors.Is(err, ErrNoDeadline) {
		t.Errorf("without a deadline: %v", err)
	}
	for name, call := range map[string]struct {
		node, id string
		size     int
	}{
		"node": {"*", newID(), 1}, "tokens": {"a.b", newID(), 1}, "id": {testNode, "1", 1}, "nothing": {testNode, newID(), 0},
		"too large": {testNode, newID(), maxIntroduction + 1},
	} {
		var f *verifiers.Failure
		if _, err := c.Introduce(within(t, time.Second), call.node, call.id, make([]byte, call.size)); err == nil || errors.As(err, &f) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, bad := range []IntroductionOptions{{}, {Node: "A"}} {
		if _, err := b.ServeIntroductions(introduceFunc(nil), bad); err == nil {
			t.Error("served")
		}
	}
	if _, err := b.ServeIntroductions(nil, IntroductionOptions{Node: testNode}); err == nil {
		t.Error("served by nobody")
	}
	// A question that is too large is refused before it is read.
	introduces(t, b, func(context.Context, []byte) ([]byte, error) { return []byte("x"), nil })
	body := make([]byte, maxIntroduction+1)
	m, err := b.requests.RequestMsgWithContext(within(t, time.Second), &nats.Msg{
		Subject: b.subj.introduce(testNode), Header: baseHeaders(newID(), introduceScheme, RelayType, sha256.Sum256(body)), Data: body,
	})
	if err != nil {
		t.Fatal(err)
	}
	if code, _ := answerCode(m.Header); code != CodeTooLarge {
		t.Errorf("%d", code)
	}
}
