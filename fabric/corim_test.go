// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/fabric/embed"
)

func corimServer(t *testing.T, dir string, p *embed.Provider) *embed.Server {
	t.Helper()
	s, err := embed.Start(embed.Options{JetStream: true, StoreDir: dir, Provider: p})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func corimBucket(t *testing.T, b *Bus) *CorimBucket {
	t.Helper()
	c, err := b.Corims(CorimOptions{Poll: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func corimStore(t *testing.T, b store.Bucket, change func(*store.Options)) *store.Store {
	t.Helper()
	o := store.Options{Bucket: b, Clock: time.Now, Unsigned: true}
	if change != nil {
		change(&o)
	}
	s, err := store.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	wait, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if err := s.Ready(wait); err != nil {
		t.Fatal(err)
	}
	return s
}

func corimDocument(t *testing.T, id string, more int) []byte {
	t.Helper()
	var m []corim.Measurement
	for i := range 1 + more {
		m = append(m, corim.Measurement{Key: corim.NumberKey(uint64(i)), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA256, Value: make([]byte, 32)}}}})
	}
	raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
		Identity:  corim.TagIdentity{ID: corim.ID{Text: id}},
		Reference: []corim.ValueTriple{{Environment: corim.Environment{Class: corim.Class{Vendor: "ACME", Model: id}}, Measurements: m}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func counts(s *store.Store, want int) func() bool {
	return func() bool {
		x, err := s.Snapshot(time.Now())
		return err == nil && len(x.Documents()) == want
	}
}

func shortly(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

// Writers on several connections, readers on others: all have the same set, and
// a reader that starts later finds it.
func TestCorimBucket(t *testing.T) {
	srv := corimServer(t, t.TempDir(), nil)
	defer shutdown(t, srv)
	ctx := context.Background()
	one, two := corimStore(t, corimBucket(t, newBusOn(t, srv)), nil), corimStore(t, corimBucket(t, newBusOn(t, srv)), nil)
	var writers sync.WaitGroup
	for i, s := range []*store.Store{one, two} {
		writers.Go(func() {
			for j := range 20 {
				id := fmt.Sprint(j)
				if j%2 == 0 {
					id += fmt.Sprint("-", i)
				}
				if _, err := s.Add(ctx, corimDocument(t, id, 0)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	three := corimStore(t, corimBucket(t, newBusOn(t, srv)), nil)
	for name, s := range map[string]*store.Store{"one": one, "two": two, "three": three} {
		shortly(t, name+" has not all documents", counts(s, 30))
	}
	list := one.State(time.Now()).Documents
	if a, b := two.State(time.Now()), three.State(time.Now()); a.Revision != b.Revision || a.Documents[7].Key != list[7].Key || b.Documents[7].Key != list[7].Key {
		t.Error("not the same documents in the same order")
	}
	for range 2 { // the second time there is nothing left to remove
		if err := corimBucket(t, newBusOn(t, srv)).Delete(ctx, list[3].Key); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range []*store.Store{one, two, three} {
		shortly(t, "a removed document counts", counts(s, 29))
	}
	_, raw, err := one.Get(list[4].Key)
	if err != nil || store.Digest(sha256.Sum256(raw)).String() != list[4].Key {
		t.Error("not the document as it was received", err)
	}
	// The removed document can come again.
	again := corimDocument(t, "1", 0)
	if list[3].Document != nil {
		again = list[3].Document.Raw
	}
	if _, err := two.Add(ctx, again); err != nil {
		t.Fatal(err)
	}
	shortly(t, "a document that came again does not count", counts(three, 30))
}

// The largest document fits, and one that does not is refused before anything is
// written.
func TestCorimSize(t *testing.T) {
	srv := corimServer(t, t.TempDir(), nil)
	defer shutdown(t, srv)
	b := newBusOn(t, srv)
	s := corimStore(t, corimBucket(t, b), nil)
	each := len(corimDocument(t, "A", 2000)) - len(corimDocument(t, "A", 1999))
	large := corimDocument(t, "A", MaxCorim/each-20)
	if len(large) < MaxCorim-30*each || len(large) > MaxCorim {
		t.Fatal(len(large))
	}
	if _, err := s.Add(context.Background(), large); err != nil {
		t.Fatal(err)
	}
	shortly(t, "the largest document does not arrive", counts(s, 1))
	if _, err := s.Add(context.Background(), corimDocument(t, "B", MaxCorim/each+20)); !errors.Is(err, store.ErrTooLarge) {
		t.Error(err)
	}
}

// The server goes: what was read stays, then becomes stale and is refused; it
// comes back: everything acknowledged is there, and changes arrive.
func TestCorimServerLoss(t *testing.T) {
	dir := t.TempDir()
	srv := corimServer(t, dir, nil)
	b := newBusOn(t, srv)
	defer func() { shutdown(t, srv) }()
	stale := 600 * time.Millisecond
	s := corimStore(t, corimBucket(t, b), func(o *store.Options) { o.StaleAfter = stale })
	warned := corimStore(t, corimBucket(t, b), func(o *store.Options) { o.StaleAfter, o.WarnStale = stale, true })
	for i := range 5 {
		if _, err := s.Add(context.Background(), corimDocument(t, fmt.Sprint(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	shortly(t, "not all documents", counts(s, 5))
	shortly(t, "not all documents", counts(warned, 5))
	shutdown(t, srv)
	if !counts(s, 5)() {
		t.Error("the index went with the server")
	}
	short, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	if _, err := s.Add(short, corimDocument(t, "lost", 0)); err == nil {
		t.Error("acknowledged without a server")
	}
	cancel()
	shortly(t, "it does not become stale", func() bool {
		_, err := s.Snapshot(time.Now())
		st := s.State(time.Now())
		return errors.Is(err, store.ErrStale) && st.Stale && st.Fault != nil
	})
	shortly(t, "staleness does not show", func() bool { return warned.State(time.Now()).Stale })
	if !counts(warned, 5)() {
		t.Error("the old index is not given out")
	}
	srv = corimServer(t, dir, srv.Provider())
	for _, s := range []*store.Store{s, warned} {
		shortly(t, "the documents do not come back", func() bool { return counts(s, 5)() && !s.State(time.Now()).Stale })
	}
	if _, err := s.Add(context.Background(), corimDocument(t, "after", 0)); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*store.Store{s, warned, corimStore(t, corimBucket(t, newBusOn(t, srv)), nil)} {
		shortly(t, "not the new document", counts(s, 6))
	}
}

// What is done to the bucket behind our back is noticed: garbage is quarantined
// and overwritten, entries that vanish without a trace vanish here, and a bucket
// that was deleted and made again is read again.
func TestCorimTamperedBucket(t *testing.T) {
	srv := corimServer(t, t.TempDir(), nil)
	defer shutdown(t, srv)
	b := newBusOn(t, srv)
	ctx := context.Background()
	js, err := jetstream.New(b.bulk)
	if err != nil {
		t.Fatal(err)
	}
	s := corimStore(t, corimBucket(t, b), nil)
	raw := corimDocument(t, "A", 0)
	key := store.Digest(sha256.Sum256(raw)).String()
	kv, err := js.KeyValue(ctx, DefaultCorimBucket)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{key, "strange.key"} {
		if _, err := kv.Put(ctx, k, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
	}
	shortly(t, "garbage is not listed", func() bool { return s.State(time.Now()).Bad == 2 })
	if _, err := s.Add(ctx, raw); err != nil {
		t.Fatal(err)
	}
	shortly(t, "garbage keeps a document out", counts(s, 1))
	if _, err := s.Add(ctx, corimDocument(t, "B", 0)); err != nil {
		t.Fatal(err)
	}
	if err := s.Remove(ctx, "strange.key"); err != nil {
		t.Fatal(err)
	}
	shortly(t, "garbage stays", func() bool { return s.State(time.Now()).Bad == 0 && counts(s, 2)() })
	stream, err := js.Stream(ctx, "KV_"+DefaultCorimBucket)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+DefaultCorimBucket+"."+key)); err != nil {
		t.Fatal(err)
	}
	shortly(t, "an entry that vanished still counts", counts(s, 1))
	if err := js.DeleteKeyValue(ctx, DefaultCorimBucket); err != nil {
		t.Fatal(err)
	}
	shortly(t, "a bucket that was deleted still counts", counts(s, 0))
	if _, err := s.Add(ctx, raw); err != nil {
		t.Fatal(err)
	}
	shortly(t, "the new bucket is not read", counts(s, 1))
	if x, err := s.Snapshot(time.Now()); err != nil || !bytes.Equal(x.Documents()[0].Raw, raw) {
		t.Error(err)
	}
}

// A bucket that could lose documents is not used.
func TestCorimBucketFit(t *testing.T) {
	srv := corimServer(t, t.TempDir(), nil)
	defer shutdown(t, srv)
	b := newBusOn(t, srv)
	js, err := jetstream.New(b.bulk)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]jetstream.KeyValueConfig{
		"memory": {Storage: jetstream.MemoryStorage}, "expires": {TTL: time.Hour}, "history": {History: 5},
	} {
		cfg.Bucket = name
		if _, err := js.CreateKeyValue(context.Background(), cfg); err != nil {
			t.Fatal(err)
		}
		c, err := b.Corims(CorimOptions{Bucket: name})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.open(context.Background()); err == nil {
			t.Errorf("%s: the bucket is used", name)
		}
	}
	c, err := b.Corims(CorimOptions{Bucket: "replicas"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	more, err := b.Corims(CorimOptions{Bucket: "replicas", Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := more.open(context.Background()); err == nil {
		t.Error("one replica passes for three")
	}
	for _, key := range []string{"", "a b", "*", ">"} {
		if err := c.Delete(context.Background(), key); err == nil {
			t.Errorf("%q was removed", key)
		}
	}
}

// A server without JetStream is no store, and says so.
func TestCorimNoJetStream(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	c := corimBucket(t, b)
	s, err := store.New(store.Options{Bucket: c, Clock: time.Now, Unsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	shortly(t, "no fault", func() bool { return s.State(time.Now()).Fault != nil })
	if _, err := s.Snapshot(time.Now()); !errors.Is(err, store.ErrNotReady) {
		t.Error(err)
	}
	cancel()
	<-ended
}

// The first set is all that the bucket has, also for a reader that comes when
// there is much in it and more arrives.
func TestCorimFirstSet(t *testing.T) {
	srv := corimServer(t, t.TempDir(), nil)
	defer shutdown(t, srv)
	const before = 200
	writer := corimBucket(t, newBusOn(t, srv))
	put := func(i int) {
		t.Helper()
		raw := corimDocument(t, fmt.Sprint(i), 0)
		if err := writer.Put(context.Background(), sha256.Sum256(raw), raw); err != nil {
			t.Error(err)
		}
	}
	for i := range before {
		put(i)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var more sync.WaitGroup
	more.Go(func() {
		for i := before; ctx.Err() == nil && i < 5*before; i++ {
			put(i)
		}
	})
	for range 5 {
		s := corimStore(t, corimBucket(t, newBusOn(t, srv)), nil)
		x, err := s.Snapshot(time.Now())
		if err != nil || len(x.Documents()) < before {
			t.Errorf("a first set of %d documents, of at least %d: %v", len(x.Documents()), before, err)
		}
	}
	cancel()
	more.Wait()
}
