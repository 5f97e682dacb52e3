// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/internal/limits"
)

// DefaultCorimBucket is the key-value bucket of reference-value documents.
const DefaultCorimBucket = "ATT_CORIM"

// MaxCorim is the largest document in bytes that fits into a message, and so
// into the bucket.
const MaxCorim = limits.FabricPayload - limits.FabricHeaderReserve

const (
	// corimPoll is the time between two questions whether there is anything new,
	// beside the announcements that every change makes.
	corimPoll = 10 * time.Second
	// corimAttempt bounds one exchange with the server, corimRetry is the time
	// until the next, and corimPatience bounds a change without a deadline.
	corimAttempt  = 2 * time.Second
	corimRetry    = 200 * time.Millisecond
	corimPatience = 15 * time.Second
	// corimBehind is how long the servers may say that the bucket is older than
	// what they have shown; after that it was put back to an older state.
	corimBehind = 15 * time.Second
)

// CorimOptions configure a CorimBucket.
type CorimOptions struct {
	// Bucket, default DefaultCorimBucket.
	Bucket string
	// Replicas in a cluster; default 1.
	Replicas int
	// Poll is the time between two confirmations; default 10 s.
	Poll time.Duration
}

// CorimBucket keeps documents in a key-value bucket on disk: the key is the
// SHA-256 of the document, the value the document. It is a store.Bucket.
//
// It reads from the leader of the stream, in the order of the stream, and so
// knows when it has everything: what a replica that lags, or a consumer that
// stopped without a word, would say does not matter. Announcements only say when
// to look.
type CorimBucket struct {
	nc *nats.Conn
	js jetstream.JetStream
	o  CorimOptions

	mu     sync.Mutex
	stream jetstream.Stream // nil until the bucket was found or made
	own    chan struct{}    // after a change of our own
}

var _ store.Bucket = (*CorimBucket)(nil)

// Corims gives the bucket, which is found or made when it is first used. One
// that exists and could lose documents is an error of that use.
func (b *Bus) Corims(o CorimOptions) (*CorimBucket, error) {
	if o.Bucket == "" {
		o.Bucket = DefaultCorimBucket
	}
	if o.Poll <= 0 {
		o.Poll = corimPoll
	}
	js, err := jetstream.New(b.bulk)
	if err != nil {
		return nil, fmt.Errorf("fabric: corim: %w", err)
	}
	return &CorimBucket{nc: b.bulk, js: js, o: o, own: make(chan struct{}, 1)}, nil
}

func (c *CorimBucket) streamName() string { return "KV_" + c.o.Bucket }
func (c *CorimBucket) subject(key string) string {
	return "$KV." + c.o.Bucket + "." + key
}

// open finds the bucket or makes it.
func (c *CorimBucket) open(ctx context.Context) (jetstream.Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stream != nil {
		return c.stream, nil
	}
	ctx, cancel := context.WithTimeout(ctx, corimAttempt)
	defer cancel()
	// Looking first: not everybody who may read may make buckets.
	_, err := c.js.KeyValue(ctx, c.o.Bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		_, err = c.js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: c.o.Bucket, Description: "reference values (CoRIM)", History: 1, Storage: jetstream.FileStorage,
			Replicas: max(c.o.Replicas, 1), MaxValueSize: limits.FabricPayload,
		})
		if errors.Is(err, jetstream.ErrBucketExists) { // somebody was faster
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("fabric: corim: bucket %s: %w", c.o.Bucket, err)
	}
	stream, err := c.js.Stream(ctx, c.streamName())
	if err != nil {
		return nil, fmt.Errorf("fabric: corim: bucket %s: %w", c.o.Bucket, err)
	}
	if err := fitForCorims(stream.CachedInfo().Config, c.o); err != nil {
		return nil, fmt.Errorf("fabric: corim: bucket %s is not fit: %w", c.o.Bucket, err)
	}
	c.stream = stream
	return stream, nil
}

// forget has the bucket opened again with its next use.
func (c *CorimBucket) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream = nil
}

// fitForCorims refuses a bucket that could lose documents or change them.
func fitForCorims(have jetstream.StreamConfig, o CorimOptions) error {
	switch {
	case have.Storage != jetstream.FileStorage:
		return errors.New("it is in memory, not on disk")
	case have.MaxAge > 0:
		return fmt.Errorf("it keeps documents for %s", have.MaxAge)
	case have.MaxMsgsPerSubject != 1:
		return fmt.Errorf("it keeps %d versions, not 1", have.MaxMsgsPerSubject)
	case have.Discard != jetstream.DiscardNew:
		return errors.New("it drops documents to make room for others")
	case have.Replicas < o.Replicas:
		return fmt.Errorf("it has %d replicas, not %d", have.Replicas, o.Replicas)
	case have.Mirror != nil || len(have.Sources) > 0:
		return errors.New("it is a copy of another one")
	}
	return nil
}

// Put implements store.Bucket. It returns nil when the leader has the document,
// and in a cluster most of its replicas; whether that is on disk is what the
// servers' sync_interval says (always, for the embedded server).
func (c *CorimBucket) Put(ctx context.Context, d store.Digest, raw []byte) error {
	if len(raw) > MaxCorim {
		return fmt.Errorf("fabric: corim: %d bytes do not fit into a message (at most %d), split the document or keep documents in a folder: %w",
			len(raw), MaxCorim, store.ErrTooLarge)
	}
	return c.change(ctx, d.String(), func(m *corimMessage) bool { return m != nil && !m.removed() && string(m.Data) == string(raw) },
		&nats.Msg{Subject: c.subject(d.String()), Data: raw})
}

// Delete implements store.Bucket.
func (c *CorimBucket) Delete(ctx context.Context, key string) error {
	if key == "" || strings.ContainsAny(key, "*> \t\r\n") {
		return fmt.Errorf("fabric: corim: %.80q is not a key", key)
	}
	msg := nats.NewMsg(c.subject(key))
	msg.Header.Set("KV-Operation", "DEL")
	return c.change(ctx, key, func(m *corimMessage) bool { return m == nil || m.removed() }, msg)
}

// change writes msg until the leader says that it, or the same by somebody else,
// is there. An answer that is lost is asked for again.
func (c *CorimBucket) change(ctx context.Context, key string, done func(*corimMessage) bool, msg *nats.Msg) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, corimPatience)
		defer cancel()
	}
	for {
		finished, err := c.try(ctx, key, done, msg)
		if finished {
			select {
			case c.own <- struct{}{}:
			default:
			}
			return nil
		}
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			c.forget()
		}
		var refused *jetstream.APIError
		if errors.As(err, &refused) && refused.Code == 400 && !wrongSequence(refused) {
			return fmt.Errorf("fabric: corim: %w", err) // such as a full account
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("fabric: corim: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(corimRetry / 10):
		}
	}
}

func wrongSequence(e *jetstream.APIError) bool {
	return e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || e.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

func (c *CorimBucket) try(ctx context.Context, key string, done func(*corimMessage) bool, msg *nats.Msg) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, corimAttempt)
	defer cancel()
	if _, err := c.open(ctx); err != nil {
		return false, err
	}
	last, err := c.get(ctx, map[string]any{"last_by_subj": c.subject(key)})
	if err != nil || done(last) {
		return err == nil, err
	}
	var after uint64
	if last != nil {
		after = last.Sequence
	}
	_, err = c.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(after), jetstream.WithRetryAttempts(0))
	return err == nil, err
}
