// SPDX-License-Identifier: Apache-2.0

// Package lru is the bounded cache of verified things that schemes share: keyed
// by the SHA-256 of exactly the bytes that were verified. Begin with New.
//
// What depends on time must not go in: store validity windows and compare them
// at every use.
package lru

import (
	"container/list"
	"sync"
)

// Key is the SHA-256 of what an entry was made from.
type Key = [32]byte

// Cache forgets what was not used for longest. It is safe for concurrent use;
// its values must not be changed once they are in.
type Cache[V any] struct {
	mu    sync.Mutex
	most  int
	order *list.List // of *entry[V], the latest first
	byKey map[Key]*list.Element
}

type entry[V any] struct {
	key   Key
	value V
}

// New makes a cache for at most the given number of entries, at least one.
func New[V any](most int) *Cache[V] {
	return &Cache[V]{most: max(most, 1), order: list.New(), byKey: map[Key]*list.Element{}}
}

// Get finds an entry and marks it as used.
func (c *Cache[V]) Get(k Key) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry[V]).value, true
}

// Put adds an entry, or replaces the one with the same key.
func (c *Cache[V]) Put(k Key, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[k]; ok {
		e.Value = &entry[V]{k, v}
		c.order.MoveToFront(e)
		return
	}
	c.byKey[k] = c.order.PushFront(&entry[V]{k, v})
	if c.order.Len() > c.most {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.byKey, last.Value.(*entry[V]).key)
	}
}

// Len is the number of entries.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}
