// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/assize/assize/internal/limits"
	"github.com/nats-io/nats.go/jetstream"
)

// DefaultSpentBucket is the key-value bucket of spent nonces.
const DefaultSpentBucket = "ATT_SPENT"

// ErrSpent says that a nonce was used before.
var ErrSpent = errors.New("fabric: nonce was already spent")

// spentMarker is how long the bucket keeps the marker of an expired key; the
// server wants at least a second before it accepts times to live at all.
const spentMarker = time.Second

// spentValue is the largest entry in bytes. A value is a mark of 26, but the
// server counts the headers too.
const spentValue = 1 << 10

// SpenderOptions configure a Spender.
type SpenderOptions struct {
	// Bucket, default DefaultSpentBucket.
	Bucket string
	// TTL is how long a nonce stays spent when Spend is not told; default
	// limits.Session. limits.ClockSkew is always added.
	TTL time.Duration
	// File keeps the bucket on disk, so that a restart remembers; otherwise it
	// is in the server's memory, and nonces must not outlive the server.
	File bool
	// Replicas in a cluster; default 1.
	Replicas int
	// Exclusive says that no other process uses the bucket. It then exists only
	// while it has a key in it, because a NATS server keeps a clock running for
	// every stream: a service that nobody asks anything is then really idle.
	Exclusive bool
}

// Spender uses each nonce once, in all processes that share the bucket. It
// only ever creates keys, never deletes or overwrites one: a nonce whose key
// is gone could be spent again. A bucket goes only when its last key has
// expired.
type Spender struct {
	js jetstream.JetStream
	o  SpenderOptions

	// mu is held for reading while a key is created, and for writing while the
	// bucket is: it is never removed under a key.
	mu sync.RWMutex
	kv jetstream.KeyValue // nil while an exclusive bucket does not exist
	// retire is the next look whether an exclusive bucket is empty.
	retire *time.Timer
	doubt  bool // whether the bucket was removed is not known
	closed bool
}

// Spender opens the bucket, or creates it. A bucket that exists with other
// properties is an error when these would let a nonce be spent twice: keys
// that expire early, no per-key time to live, or a store in memory where a
// file is wanted.
func (b *Bus) Spender(ctx context.Context, o SpenderOptions) (*Spender, error) {
	if o.Bucket == "" {
		o.Bucket = DefaultSpentBucket
	}
	if o.TTL <= 0 {
		o.TTL = limits.Session
	}
	js, err := jetstream.New(b.bulk)
	if err != nil {
		return nil, fmt.Errorf("fabric: spender: %w", err)
	}
	s := &Spender{js: js, o: o}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if o.Exclusive {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sweep(ctx)
	}
	return s, nil
}

// open creates the bucket or finds it.
func (s *Spender) open(ctx context.Context) error {
	cfg := jetstream.KeyValueConfig{
		Bucket: s.o.Bucket, Description: "spent nonces", History: 1, LimitMarkerTTL: spentMarker,
		Storage: jetstream.MemoryStorage, Replicas: max(s.o.Replicas, 1), MaxValueSize: spentValue,
	}
	if s.o.File {
		cfg.Storage = jetstream.FileStorage
	}
	kv, err := s.js.CreateKeyValue(ctx, cfg)
	if errors.Is(err, jetstream.ErrBucketExists) {
		kv, err = s.js.KeyValue(ctx, s.o.Bucket)
	}
	if err != nil {
		return fmt.Errorf("fabric: spender: bucket %s: %w", s.o.Bucket, err)
	}
	if err := check(ctx, kv, s.o); err != nil {
		return err
	}
	s.kv = kv
	return nil
}

// check refuses a bucket that somebody made for another purpose.
func check(ctx context.Context, kv jetstream.KeyValue, o SpenderOptions) error {
	st, err := kv.Status(ctx)
	if err != nil {
		return fmt.Errorf("fabric: spender: bucket %s: %w", o.Bucket, err)
	}
	switch cfg := st.Config(); {
	case st.LimitMarkerTTL() < spentMarker:
		err = errors.New("keys have no time to live of their own")
	case st.TTL() > 0 && st.TTL() < o.TTL+limits.ClockSkew:
		err = fmt.Errorf("keys expire after %s, before the nonce does", st.TTL())
	case o.File && cfg.Storage != jetstream.FileStorage:
		err = errors.New("it is in memory, not on disk")
	}
	if err != nil {
		return fmt.Errorf("fabric: spender: bucket %s is not fit: %w", o.Bucket, err)
	}
	return nil
}

// Spend uses a nonce. It returns nil once per nonce, and ErrSpent ever after
// until ttl and the clock skew have passed; zero means the default. Any other
// error means that nobody knows, and the nonce must be treated as spent.
//
// While the store does not answer, as when its leader was lost, Spend tries
// again for three quarters of the time that ctx leaves, at most 10 s, so that
// the caller still has some when the nonce is spent.
func (s *Spender) Spend(ctx context.Context, nonce []byte, ttl time.Duration) error {
	if len(nonce) < limits.NonceMin || len(nonce) > limits.NonceMax {
		return fmt.Errorf("fabric: a nonce has %d..%d bytes, not %d", limits.NonceMin, limits.NonceMax, len(nonce))
	}
	if ttl < 0 {
		return fmt.Errorf("fabric: a nonce that lives %s cannot be spent", ttl)
	}
	if ttl == 0 {
		ttl = s.o.TTL
	}
	ctx, cancel := context.WithTimeout(ctx, spendTime(ctx))
	defer cancel()
	err := s.ready(ctx)
	for leaving(err) && ctx.Err() == nil {
		time.Sleep(jitter(spendPause / 10))
		err = s.ready(ctx)
	}
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer s.mu.RUnlock()
		done <- spend(ctx, s.kv, keyOf(nonce), keyTTL(ttl))
	}()
	return inTime(ctx, done)
}

// ready makes sure that there is a bucket and returns with mu held for reading,
// or with an error and without it.
func (s *Spender) ready(ctx context.Context) error {
	for {
		s.mu.RLock()
		if s.kv != nil {
			return nil
		}
		s.mu.RUnlock()
		s.mu.Lock()
		var err error
		switch {
		case s.closed:
			err = errors.New("fabric: spender is closed")
		case s.kv == nil:
			if s.doubt {
				err = s.remove(ctx)
			}
			if err == nil {
				err = s.open(ctx)
			}
			if err == nil {
				s.schedule(retireEvery)
			}
		}
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// keyOf keeps nonces out of the store: a key is the SHA-256 of one.
func keyOf(nonce []byte) string {
	sum := sha256.Sum256(nonce)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// keyTTL adds the clock skew and rounds up: the server keeps whole seconds and
// rounds down.
func keyTTL(ttl time.Duration) time.Duration {
	return (ttl + limits.ClockSkew + time.Second - 1).Truncate(time.Second)
}

// retireEvery is the time between two looks whether a bucket is empty.
const retireEvery = 30 * time.Second

// schedule has the bucket looked at again after d. The caller holds mu.
func (s *Spender) schedule(d time.Duration) {
	if !s.o.Exclusive || s.closed {
		return
	}
	if s.retire != nil {
		s.retire.Stop() // one at a time
	}
	s.retire = time.AfterFunc(d, func() {
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.closed {
			s.sweep(ctx)
		}
	})
}

// sweep removes a bucket without keys, or schedules the next look. The caller
// holds mu for writing, so that no key comes in between.
func (s *Spender) sweep(ctx context.Context) {
	if s.kv != nil {
		st, err := s.kv.Status(ctx)
		if err != nil || st.Values() > 0 {
			s.schedule(retireEvery)
			return
		}
	}
	s.kv, s.doubt = nil, true
	if s.remove(ctx) != nil {
		s.schedule(retireEvery)
	}
}

// remove deletes the bucket. While nobody knows whether that was done, no key
// may be created: the removal could come after it. The caller holds mu.
func (s *Spender) remove(ctx context.Context) error {
	if err := s.js.DeleteKeyValue(ctx, s.o.Bucket); err != nil && !errors.Is(err, jetstream.ErrBucketNotFound) {
		return fmt.Errorf("fabric: spender: bucket %s: %w", s.o.Bucket, err)
	}
	s.doubt = false
	return nil
}

// Close ends the looking after an exclusive bucket. What is in it stays.
func (s *Spender) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.retire != nil {
		s.retire.Stop()
	}
}
