// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"sync"
	"testing"
)

func key(n byte) Key { return Key{n} }

func TestForgetsTheLeastRecentlyUsed(t *testing.T) {
	c := New[string](2)
	c.Put(key(1), "a")
	c.Put(key(2), "b")
	if v, ok := c.Get(key(1)); !ok || v != "a" { // now 2 is the older one
		t.Fatalf("%q %t", v, ok)
	}
	c.Put(key(3), "c")
	if _, ok := c.Get(key(2)); ok {
		t.Error("the wrong entry stayed")
	}
	if _, ok := c.Get(key(1)); !ok || c.Len() != 2 {
		t.Errorf("an entry in use was forgotten, %d left", c.Len())
	}
	c.Put(key(1), "x")
	if v, _ := c.Get(key(1)); v != "x" || c.Len() != 2 {
		t.Errorf("replaced by %q, %d entries", v, c.Len())
	}
}

func TestAtLeastOne(t *testing.T) {
	c := New[int](0)
	c.Put(key(1), 1)
	if _, ok := c.Get(key(1)); !ok {
		t.Error("nothing fits")
	}
}

func TestConcurrent(t *testing.T) {
	c := New[int](4)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				k := key(byte(i % 8))
				if v, ok := c.Get(k); ok && v != i%8 {
					t.Errorf("goroutine %d: %d under %d", g, v, i%8)
				}
				c.Put(k, i%8)
			}
		})
	}
	wg.Wait()
	if c.Len() > 4 {
		t.Errorf("%d entries", c.Len())
	}
}
