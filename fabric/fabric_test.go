// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testScheme = "test-scheme"

var leafType = evidence.MediaType{Base: "application/vnd.assize.test"}

// serve starts an embedded server that ends with the test.
func newServer(t testing.TB, o embed.Options) *embed.Server {
	t.Helper()
	s, err := embed.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shutdown(t, s) })
	return s
}

func shutdown(t testing.TB, s *embed.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}

func newBusOn(t testing.TB, s *embed.Server, change ...func(*Config)) *Bus {
	t.Helper()
	c := Config{Name: "test/" + t.Name(), InProcess: s.Provider()}
	for _, f := range change {
		f(&c)
	}
	return newTestBus(t, c)
}

func newTestBus(t testing.TB, c Config) *Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	b, err := Connect(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}

// appraiser is an Appraiser made of a function, which counts its calls.
type appraiser struct {
	calls atomic.Int64
	f     func(ctx context.Context, r verifiers.Request) ([]byte, error)
}

func (a *appraiser) Appraise(ctx context.Context, r verifiers.Request) ([]byte, verdict.Tier, error) {
	a.calls.Add(1)
	out, err := a.f(ctx, r)
	return out, verdict.TierAffirming, err
}

// says answers every request with a text.
func says(text string) *appraiser {
	return &appraiser{f: func(context.Context, verifiers.Request) ([]byte, error) { return []byte(text), nil }}
}

// sleeps answers after a while, or gives up with its context.
func sleeps(d time.Duration, text string) *appraiser {
	return &appraiser{f: func(ctx context.Context, _ verifiers.Request) ([]byte, error) {
		if err := sleep(ctx, d); err != nil {
			return nil, &verifiers.Refusal{Code: 504, Text: "out of budget"}
		}
		return []byte(text), nil
	}}
}

// refuses answers every request with a code.
func refuses(code int) *appraiser {
	return &appraiser{f: func(context.Context, verifiers.Request) ([]byte, error) {
		return nil, &verifiers.Refusal{Code: code, Text: "the secret policy says no"}
	}}
}

func serviceOn(t testing.TB, b *Bus, a Appraiser, change ...func(*ServiceOptions)) *Service {
	t.Helper()
	o := ServiceOptions{
		Scheme: verifiers.Scheme{Name: testScheme, Version: "1.2.3", Accepts: []evidence.MediaType{leafType}, MaxEvidence: 1 << 20, NonceSize: 32},
		KID:    "kid-1", Identity: verdict.Identity{Developer: "https://example.com", Build: "b1"},
	}
	for _, f := range change {
		f(&o)
	}
	s, err := b.Serve(a, o)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, s)
	return s
}

// stopAtEnd stops a service when the test ends.
func stopAtEnd(t testing.TB, s interface{ Stop(context.Context) error }) {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func newRequest(size int) verifiers.Request {
	return verifiers.Request{
		ID: newID(), Session: "s-1", Label: "gpu/0", Scheme: testScheme, MediaType: leafType,
		Evidence: bytes.Repeat([]byte{0xa5}, size), Nonce: bytes.Repeat([]byte{7}, 32), NonceRule: "same",
	}
}

// newCall accepts the answer "good" and nothing else.
func newCall(sites ...string) verifiers.Call {
	c := verifiers.Call{Request: newRequest(64), Verify: func(token []byte) (verdict.Partial, error) {
		if string(token) != "good" {
			return verdict.Partial{}, &verdict.IntakeError{Code: verdict.ReasonBadPARSignature, Detail: "forged"}
		}
		return verdict.Partial{}, nil
	}}
	for _, s := range sites {
		c.Candidates = append(c.Candidates, verifiers.Candidate{Site: s})
	}
	return c
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func wantReason(t testing.TB, err error, reason string) {
	t.Helper()
	var f *verifiers.Failure
	if !errors.As(err, &f) || f.Reason != reason {
		t.Fatalf("got %v, want a failure with reason %q", err, reason)
	}
}

// fastest is the shortest of five runs: a loaded machine may be slow once.
func fastest(t testing.TB, run func()) {
	t.Helper()
	best := time.Hour
	for range 5 {
		start := time.Now()
		run()
		best = min(best, time.Since(start))
	}
	if best > time.Second { // an answer, not the end of a budget
		t.Errorf("took %v", best)
	}
	t.Logf("took %v", best)
}

// tampering is one change of a request and the code that it must lead to.
type tampering struct {
	change func(m *nats.Msg)
	want   Code
}

// tamper sends fresh requests with one change each. Only an untouched one,
// with code zero, may reach the handler.
func tamper(t *testing.T, b *Bus, calls *atomic.Int64, fresh func() *nats.Msg, cases map[string]tampering) {
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, before := fresh(), calls.Load()
			tc.change(m)
			code, _ := exchange(t, b, m)
			if code != tc.want {
				t.Errorf("got %d, want %d", code, tc.want)
			}
			if reached := calls.Load() != before; reached != (tc.want == 0) {
				t.Errorf("reached the handler: %v", reached)
			}
		})
	}
}

func digestOf(b []byte) [sha256.Size]byte { return sha256.Sum256(b) }

// logBook keeps log records for tests.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBook) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
