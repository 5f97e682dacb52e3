// SPDX-License-Identifier: Apache-2.0

package nvidiagpu

import (
	"container/list"
	"sync"
)

// digest is a SHA-256.
type digest = [32]byte

// lru is a bounded map that forgets what was not used for longest. What gets in
// was verified, but not to be fresh: who has old reports of many devices can
// push others out. All that is lost then is time.
type lru[V any] struct {
	mu    sync.Mutex
	most  int
	order *list.List // of *entry[V], the latest first
	byKey map[digest]*list.Element
}

type entry[V any] struct {
	key   digest
	value V
}

func newLRU[V any](most int) *lru[V] {
	return &lru[V]{most: most, order: list.New(), byKey: map[digest]*list.Element{}}
}

func (c *lru[V]) get(k digest) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byKey[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*entry[V]).value, true
}

func (c *lru[V]) put(k digest, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.byKey[k]; ok {
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
