// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/assize/assize/trust"
)

// keyCache keeps the keys of the service. A key id that is not in it has the set
// fetched again, at most once in an interval whoever asks: tokens name their key
// before anybody has verified them. A set counts for a while only, so that a key
// that the service withdrew is forgotten.
type keyCache struct {
	fetch    func(context.Context) ([]byte, error)
	now      func() time.Time
	interval time.Duration // between two fetches
	age      time.Duration // for which a set counts
	timeout  time.Duration // of one fetch

	mu      sync.Mutex
	keys    map[string]trust.Key
	fetched time.Time // when keys were asked for; zero without keys
	tried   time.Time
	failure error // of the last fetch
	flight  *flight
}

// flight is one fetch, for all who wait for it.
type flight struct{ done chan struct{} }

// get finds a key, fetching the set if that may help. The context bounds the
// wait only: what one caller gives up may serve another.
func (c *keyCache) get(ctx context.Context, kid string) (trust.Key, error) {
	for waited := false; ; waited = true {
		c.mu.Lock()
		now := c.now()
		key, ok := c.current(kid, now)
		if ok || waited {
			err := c.failure
			c.mu.Unlock()
			if ok {
				return key, nil
			}
			return trust.Key{}, unknownKey(kid, err)
		}
		f := c.start(ctx, now)
		c.mu.Unlock()
		if f == nil {
			return trust.Key{}, unknownKey(kid, fmt.Errorf("nras: the key set was asked for less than %s ago", c.interval))
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return trust.Key{}, ctx.Err()
		}
	}
}

func unknownKey(kid string, why error) error {
	if why == nil {
		return fmt.Errorf("nras: the service has no key %.64q", kid)
	}
	return fmt.Errorf("nras: no key %.64q: %w", kid, why)
}

func (c *keyCache) current(kid string, now time.Time) (trust.Key, bool) {
	if c.fetched.IsZero() || now.Sub(c.fetched) > c.age || now.Before(c.fetched) {
		return trust.Key{}, false
	}
	k, ok := c.keys[kid]
	return k, ok
}

// start begins a fetch, or returns the one that is under way; nil if it is too
// early for another. The caller holds the lock.
func (c *keyCache) start(ctx context.Context, now time.Time) *flight {
	if c.flight != nil {
		return c.flight
	}
	if !c.tried.IsZero() && now.Sub(c.tried) < c.interval && !now.Before(c.tried) {
		return nil
	}
	f := &flight{done: make(chan struct{})}
	c.flight, c.tried = f, now
	go c.run(context.WithoutCancel(ctx), f, now)
	return f
}

func (c *keyCache) run(ctx context.Context, f *flight, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	raw, err := c.fetch(ctx)
	var keys map[string]trust.Key
	if err == nil {
		keys, err = ParseKeys(raw)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure = err; err == nil {
		c.keys, c.fetched = keys, now
	}
	c.flight = nil
	close(f.done)
}
