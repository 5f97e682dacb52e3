// SPDX-License-Identifier: Apache-2.0

package inteltdx

import (
	"container/list"
	"sync"
)

// cache is a bounded map from SHA-256 digests to results that depend on the
// digested bytes alone, with the least recently used entry leaving first. It
// is safe for concurrent use. A result that depends on time must not go in:
// validity windows are stored, and compared at every use.
type cache[V any] struct {
	mu    sync.Mutex
	max   int
	order *list.List // front is most recent; elements hold *cacheEntry[V]
	items map[[32]byte]*list.Element
}

type cacheEntry[V any] struct {
	key   [32]byte
	value V
}

func newCache[V any](max int) *cache[V] {
	return &cache[V]{max: max, order: list.New(), items: make(map[[32]byte]*list.Element, max)}
}

func (c *cache[V]) get(key [32]byte) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[key]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cacheEntry[V]).value, true
}

func (c *cache[V]) put(key [32]byte, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[key]; ok {
		e.Value.(*cacheEntry[V]).value = v
		c.order.MoveToFront(e)
		return
	}
	if c.order.Len() >= c.max {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.items, last.Value.(*cacheEntry[V]).key)
	}
	c.items[key] = c.order.PushFront(&cacheEntry[V]{key: key, value: v})
}
