// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
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

// spentValue is the largest entry in bytes. Values are empty, but the server
// counts the headers too.
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
}

// Spender uses each nonce once, in all processes that share the bucket. It
// only ever creates keys, never deletes or overwrites one: a nonce whose key
// is gone could be spent again.
type Spender struct {
	kv  jetstream.KeyValue
	ttl time.Duration
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
	cfg := jetstream.KeyValueConfig{
		Bucket: o.Bucket, Description: "spent nonces", History: 1, LimitMarkerTTL: spentMarker,
		Storage: jetstream.MemoryStorage, Replicas: max(o.Replicas, 1), MaxValueSize: spentValue,
	}
	if o.File {
		cfg.Storage = jetstream.FileStorage
	}
	kv, err := js.CreateKeyValue(ctx, cfg)
	if errors.Is(err, jetstream.ErrBucketExists) {
		kv, err = js.KeyValue(ctx, o.Bucket)
	}
	if err != nil {
		return nil, fmt.Errorf("fabric: spender: bucket %s: %w", o.Bucket, err)
	}
	s := &Spender{kv: kv, ttl: o.TTL}
	if err := s.check(ctx, o); err != nil {
		return nil, err
	}
	return s, nil
}

// check refuses a bucket that somebody made for another purpose.
func (s *Spender) check(ctx context.Context, o SpenderOptions) error {
	st, err := s.kv.Status(ctx)
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
func (s *Spender) Spend(ctx context.Context, nonce []byte, ttl time.Duration) error {
	if len(nonce) < limits.NonceMin || len(nonce) > limits.NonceMax {
		return fmt.Errorf("fabric: a nonce has %d..%d bytes, not %d", limits.NonceMin, limits.NonceMax, len(nonce))
	}
	if ttl < 0 {
		return fmt.Errorf("fabric: a nonce that lives %s cannot be spent", ttl)
	}
	if ttl == 0 {
		ttl = s.ttl
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	sum := sha256.Sum256(nonce)
	key := base64.RawURLEncoding.EncodeToString(sum[:])
	_, err := s.kv.Create(ctx, key, nil, jetstream.KeyTTL(keyTTL(ttl)))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrKeyExists):
		return ErrSpent
	}
	return fmt.Errorf("fabric: spend: %w", err)
}

// keyTTL adds the clock skew and rounds up: the server keeps whole seconds and
// rounds down.
func keyTTL(ttl time.Duration) time.Duration {
	return (ttl + limits.ClockSkew + time.Second - 1).Truncate(time.Second)
}
