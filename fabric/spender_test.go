// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/internal/limits"
	"github.com/nats-io/nats.go/jetstream"
)

func memoryServer(t testing.TB) *embed.Server {
	return newServer(t, embed.Options{JetStream: true, Memory: true, StoreDir: t.TempDir()})
}

func spenderOn(t testing.TB, b *Bus, o SpenderOptions) *Spender {
	t.Helper()
	s, err := b.Spender(within(t, 5*time.Second), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpendOnce(t *testing.T) {
	srv := memoryServer(t)
	spenders := []*Spender{spenderOn(t, newBusOn(t, srv), SpenderOptions{}), spenderOn(t, newBusOn(t, srv), SpenderOptions{})}
	nonce := bytes.Repeat([]byte{9}, 32)
	var won, spent atomic.Int64
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			switch err := spenders[i%2].Spend(context.Background(), nonce, time.Minute); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrSpent):
				spent.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || spent.Load() != 63 {
		t.Errorf("%d won, %d were told", won.Load(), spent.Load())
	}
	other := bytes.Repeat([]byte{8}, 32)
	if err := spenders[0].Spend(t.Context(), other, 0); err != nil {
		t.Errorf("another nonce: %v", err)
	}
}

func TestSpenderRemembersAcrossRestart(t *testing.T) {
	o := embed.Options{JetStream: true, StoreDir: t.TempDir()}
	srv, err := embed.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	b := newBusOn(t, srv)
	s := spenderOn(t, b, SpenderOptions{File: true})
	nonce := bytes.Repeat([]byte{1}, 8)
	if err := s.Spend(t.Context(), nonce, time.Minute); err != nil {
		t.Fatal(err)
	}
	shutdown(t, srv)
	if err := s.Spend(within(t, 200*time.Millisecond), bytes.Repeat([]byte{2}, 8), time.Minute); err == nil || errors.Is(err, ErrSpent) {
		t.Errorf("without a store: %v", err)
	}
	o.Provider = srv.Provider()
	newServer(t, o)
	eventually(t, "reconnected", func() bool { return b.Ready(context.Background()) == nil })
	if err := s.Spend(t.Context(), nonce, time.Minute); !errors.Is(err, ErrSpent) {
		t.Errorf("after a restart: %v", err)
	}
	if err := spenderOn(t, newBusOn(t, srv), SpenderOptions{File: true}).Spend(t.Context(), nonce, time.Minute); !errors.Is(err, ErrSpent) {
		t.Errorf("opened again: %v", err)
	}
}

func TestSpenderWithoutJetStream(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	if _, err := b.Spender(within(t, time.Second), SpenderOptions{}); err == nil {
		t.Fatal("a spender without a store")
	}
}

func TestSpendChecksItsArguments(t *testing.T) {
	s := spenderOn(t, newBusOn(t, memoryServer(t)), SpenderOptions{})
	for _, n := range []int{0, limits.NonceMin - 1, limits.NonceMax + 1} {
		if err := s.Spend(t.Context(), make([]byte, n), time.Minute); err == nil {
			t.Errorf("%d bytes were spent", n)
		}
	}
	if err := s.Spend(t.Context(), make([]byte, 32), -time.Second); err == nil {
		t.Error("a nonce of the past was spent")
	}
}

// A key must live at least as long as its nonce could be accepted, in whole
// seconds, and its expiry must really be set.
func TestKeyOutlivesNonce(t *testing.T) {
	for _, ttl := range []time.Duration{1, time.Millisecond, time.Second, 1500 * time.Millisecond, limits.Session} {
		got := keyTTL(ttl)
		if got < ttl+limits.ClockSkew || got%time.Second != 0 || got > ttl+limits.ClockSkew+time.Second {
			t.Errorf("%v: %v", ttl, got)
		}
	}
	b := newBusOn(t, memoryServer(t))
	s := spenderOn(t, b, SpenderOptions{})
	if err := s.Spend(t.Context(), make([]byte, 32), 1500*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(b.bulk)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "KV_"+DefaultSpentBucket)
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.GetMsg(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("Nats-TTL"); got != "1m2s" {
		t.Errorf("time to live on the wire: %q", got)
	}
	if bytes.Contains([]byte(m.Subject), []byte("AAAAAAAA")) {
		t.Errorf("the nonce is in the key: %s", m.Subject)
	}
}

func TestUnfitBucketIsRefused(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	b := newBusOn(t, srv)
	js, err := jetstream.New(b.bulk)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]jetstream.KeyValueConfig{
		"NOTTL":  {Storage: jetstream.FileStorage},
		"SHORT":  {Storage: jetstream.FileStorage, LimitMarkerTTL: time.Second, TTL: 10 * time.Second},
		"MEMORY": {Storage: jetstream.MemoryStorage, LimitMarkerTTL: time.Second},
	} {
		cfg.Bucket = name
		if _, err := js.CreateKeyValue(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Spender(within(t, 2*time.Second), SpenderOptions{Bucket: name, File: true}); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func buckets(t *testing.T, s *Spender) int {
	t.Helper()
	n := 0
	for range s.js.KeyValueStoreNames(t.Context()).Name() {
		n++
	}
	return n
}

// An exclusive bucket exists only while it has a key: the clock that a NATS
// server keeps for a stream is all that an idle service would do.
func TestExclusiveBucketGoesWhenEmpty(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()}))
	s := spenderOn(t, b, SpenderOptions{File: true, Exclusive: true})
	t.Cleanup(s.Close)
	if n := buckets(t, s); n != 0 {
		t.Fatalf("%d buckets before the first nonce", n)
	}
	nonce := bytes.Repeat([]byte{3}, 16)
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			if err := s.Spend(context.Background(), nonce, time.Minute); err == nil {
				won.Add(1)
			} else if !errors.Is(err, ErrSpent) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d won", won.Load())
	}
	look := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sweep(t.Context())
	}
	look()
	if err := s.Spend(t.Context(), nonce, time.Minute); !errors.Is(err, ErrSpent) || buckets(t, s) != 1 {
		t.Fatalf("a bucket with a key in it was removed: %v", err)
	}
	// Stands for the expiry of the key; another one really expires.
	stream, err := s.js.Stream(t.Context(), "KV_"+DefaultSpentBucket)
	if err == nil {
		err = stream.Purge(t.Context())
	}
	if err == nil {
		_, err = s.kv.Create(t.Context(), keyOf(nonce), nil, jetstream.KeyTTL(time.Second))
	}
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the bucket is removed", func() bool { look(); return buckets(t, s) == 0 })
	if err := s.Spend(t.Context(), nonce, time.Minute); err != nil {
		t.Errorf("after the key expired: %v", err)
	}
	again := spenderOn(t, b, SpenderOptions{File: true, Exclusive: true})
	t.Cleanup(again.Close)
	if err := again.Spend(t.Context(), nonce, time.Minute); !errors.Is(err, ErrSpent) {
		t.Errorf("a bucket that was there at the start: %v", err)
	}
}

// While it is not known whether the bucket was removed no nonce is accepted.
func TestSpenderInDoubtAcceptsNothing(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	s := spenderOn(t, newBusOn(t, srv), SpenderOptions{File: true, Exclusive: true})
	t.Cleanup(s.Close)
	s.mu.Lock()
	s.doubt = true
	s.mu.Unlock()
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Spend(short, make([]byte, 16), time.Minute); err == nil || errors.Is(err, ErrSpent) || s.kv != nil {
		t.Errorf("spent without a store: %v", err)
	}
	if err := s.Spend(t.Context(), make([]byte, 16), time.Minute); err != nil || s.doubt {
		t.Errorf("the doubt is not cleared: %v", err)
	}
	s.Close()
	s.mu.Lock()
	s.kv = nil
	s.mu.Unlock()
	if err := s.Spend(t.Context(), make([]byte, 16), time.Minute); err == nil {
		t.Error("a closed spender made a new bucket")
	}
}
