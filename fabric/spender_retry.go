// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Waiting for a store that does not answer. The servers of a cluster elect a
// new leader of a stream four to nine seconds after they lost it.
const (
	spendPatience = 10 * time.Second
	spendAttempt  = time.Second
	spendPause    = 100 * time.Millisecond
	spendGrace    = 50 * time.Millisecond
)

// spendTime is how long a spender tries: it leaves a quarter of the time for
// what the nonce is spent for.
func spendTime(ctx context.Context) time.Duration {
	d, ok := ctx.Deadline()
	if !ok {
		return dialTimeout
	}
	return min(time.Until(d)*3/4, spendPatience)
}

// inTime waits for what came of an attempt, and a little longer than ctx. The
// client library does not look at a context while it shakes hands with a server
// that does not answer; what then still happens to the nonce is as unknown as
// after a lost answer.
func inTime(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	case <-time.After(spendGrace):
		return fmt.Errorf("fabric: spend: %w", ctx.Err())
	}
}

// spend creates a key, and tries again while nobody can say whether it was
// created. The value is a random mark, by which a later attempt knows the key
// of an earlier one whose answer was lost from that of somebody else.
func spend(ctx context.Context, kv jetstream.KeyValue, key string, ttl time.Duration) error {
	mark := rand.Text()
	for first := true; ; first = false {
		err := spendOnce(ctx, kv, key, mark, ttl, first)
		if err == nil || errors.Is(err, ErrSpent) {
			return err
		}
		if !passing(err) || ctx.Err() != nil {
			return fmt.Errorf("fabric: spend: %w", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("fabric: spend: %w", err)
		case <-time.After(jitter(spendPause)):
		}
	}
}

// spendOnce is one attempt.
func spendOnce(ctx context.Context, kv jetstream.KeyValue, key, mark string, ttl time.Duration, first bool) error {
	ctx, cancel := context.WithTimeout(ctx, spendAttempt)
	defer cancel()
	_, err := kv.Create(ctx, key, []byte(mark), jetstream.KeyTTL(ttl))
	switch {
	case !errors.Is(err, jetstream.ErrKeyExists):
		return err
	case first:
		return ErrSpent
	}
	// The server also says so of a key that it has not stored yet and may
	// still lose: only what is there to be read counts.
	e, err := kv.Get(ctx, key)
	switch {
	case err != nil:
		return err
	case string(e.Value()) != mark:
		return ErrSpent
	}
	return nil
}

// leaving says that a bucket cannot be made because the files of the one before
// are still being removed.
func leaving(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == storeFailed
}

// storeFailed is the server's code for a stream whose store cannot be made.
const storeFailed jetstream.ErrorCode = 10049

// passing says of an error that it can go by itself: the connection is being
// made again, the stream has no leader, an answer was lost.
func passing(err error) bool {
	for _, e := range []error{
		nats.ErrNoResponders, nats.ErrTimeout, nats.ErrDisconnected, nats.ErrConnectionReconnecting, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, jetstream.ErrKeyNotFound, context.DeadlineExceeded,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == 503
}
