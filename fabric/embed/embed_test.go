// SPDX-License-Identifier: Apache-2.0

package embed

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, p *Provider, opts ...nats.Option) *nats.Conn {
	t.Helper()
	opts = append([]nats.Option{
		nats.InProcessServer(p), nats.Nkey(p.NKey(), p.SignNonce),
		nats.ReconnectWait(5 * time.Millisecond), nats.ReconnectJitter(0, 0), nats.MaxReconnects(-1),
	}, opts...)
	nc, err := nats.Connect("", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func TestRequestReplyWithoutListener(t *testing.T) {
	s := start(t, Options{Name: "t"})
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	nc := connect(t, s.Provider())
	if _, err := nc.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
		t.Fatal(err)
	}
	m, err := nc.Request("echo", []byte("x"), time.Second)
	if err != nil || string(m.Data) != "x" {
		t.Fatalf("got %v, %v", m, err)
	}
	if s.srv.Addr() != nil {
		t.Errorf("there is a listener: %v", s.srv.Addr())
	}
	if _, err := nc.JetStream(); err != nil {
		t.Fatal(err)
	}
	if s.srv.JetStreamEnabled() {
		t.Error("JetStream runs although nobody asked for it")
	}
	if got := nc.MaxPayload(); got != 1<<20 {
		t.Errorf("max payload %d", got)
	}
}

func TestInProcessNeedsKey(t *testing.T) {
	s := start(t, Options{})
	other, err := newProvider()
	if err != nil {
		t.Fatal(err)
	}
	// Each refusal takes as long as the write deadline of the server: a pipe
	// has no buffer for the last words.
	var wg sync.WaitGroup
	for name, login := range map[string]nats.Option{
		"no key":      func(*nats.Options) error { return nil },
		"foreign key": nats.Nkey(other.NKey(), other.SignNonce),
		"stolen name": nats.Nkey(s.Provider().NKey(), other.SignNonce),
	} {
		wg.Go(func() {
			if nc, err := nats.Connect("", nats.InProcessServer(s.Provider()), login); err == nil {
				nc.Close()
				t.Errorf("connected with %s", name)
			}
		})
	}
	wg.Wait()
}

func TestJetStreamWantsStoreDir(t *testing.T) {
	if _, err := Start(Options{JetStream: true}); err == nil || !strings.Contains(err.Error(), "store directory") {
		t.Fatalf("got %v", err)
	}
}

func TestStoreThatCannotBeUsedIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Options{JetStream: true, StoreDir: file}); err == nil {
		t.Fatal("started on a store directory that is a file")
	}
}

func TestRestartKeepsClientsAndStore(t *testing.T) {
	dir := t.TempDir()
	s, err := Start(Options{JetStream: true, StoreDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Provider()
	nc := connect(t, p)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "B", Storage: jetstream.FileStorage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := p.InProcessConn(); !errors.Is(err, ErrNoServer) {
		t.Fatalf("got %v", err)
	}
	if err := s.Ready(t.Context()); err == nil {
		t.Fatal("a stopped server says it is ready")
	}
	start(t, Options{JetStream: true, StoreDir: dir, Provider: p})
	for end := time.Now().Add(5 * time.Second); !nc.IsConnected() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	e, err := kv.Get(t.Context(), "k")
	if err != nil || string(e.Value()) != "v" {
		t.Fatalf("got %v, %v", e, err)
	}
}

func TestMemoryRefusesFiles(t *testing.T) {
	s := start(t, Options{JetStream: true, Memory: true, StoreDir: t.TempDir()})
	js, err := jetstream.New(connect(t, s.Provider()))
	if err != nil {
		t.Fatal(err)
	}
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "F", Subjects: []string{"f"}, Storage: jetstream.FileStorage, MaxBytes: 1 << 10}); err == nil {
		t.Error("a file stream was made")
	}
}

func TestConfigFileIsHardened(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "nats.conf")
	text := "server_name: site\nport: 4333\nmax_payload: 8MB\naccounts { LEAD { } }\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, Options{ConfigFile: conf, Account: "LEAD"})
	if s.srv.Name() != "site" || s.srv.Addr() != nil {
		t.Errorf("name %q, listener %v", s.srv.Name(), s.srv.Addr())
	}
	if nc := connect(t, s.Provider()); nc.MaxPayload() != 1<<20 {
		t.Errorf("max payload %d", nc.MaxPayload())
	}
	if _, err := Start(Options{ConfigFile: conf, Account: "NONE"}); err == nil {
		t.Error("started with an account that does not exist")
	}
}

func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conf := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(conf, []byte("http: \""+l.Addr().String()+"\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(Options{ConfigFile: conf}); err == nil {
		t.Fatal("started although the monitoring port is taken")
	}
}

// An idle server must cost nothing that can be measured.
func TestIdleCost(t *testing.T) {
	if testing.Short() {
		t.Skip("takes two seconds")
	}
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	s := start(t, Options{})
	connect(t, s.Provider())
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	if n := runtime.NumGoroutine() - goroutines; n > 30 {
		t.Errorf("%d goroutines more", n)
	}
	time.Sleep(200 * time.Millisecond)
	c0 := cpu(t)
	time.Sleep(2 * time.Second)
	if used := cpu(t) - c0; used > 100*time.Millisecond {
		t.Errorf("idle for two seconds used %v of CPU", used)
	}
}

func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
