// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/assize/assize/corim"
)

// item is an entry of the bucket and what became of it. What is below the line
// belongs to whoever builds.
type item struct {
	key   string
	raw   []byte // nil if fault says why
	size  int64
	added time.Time
	// left: raw was dropped because the store is full.
	left bool

	// doc is set if the document is authentic. It is in the index unless pending
	// or fault is set.
	doc     *corim.Document
	pending bool
	fault   error
	// judged: it was looked at; again is when it has to be looked at next, zero
	// for never.
	judged bool
	again  time.Time
}

// Reset implements Watcher.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reset, s.changes, s.pending = true, map[string]*item{}, 0
}

// Put implements Watcher.
func (s *Store) Put(e Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// What is known already keeps its verification.
	if old := s.set[e.Key]; old != nil && !old.left && e.Fault == nil && old.raw != nil && bytes.Equal(old.raw, e.Raw) && old.added.Equal(e.Added) {
		s.changes[e.Key] = old
		return
	}
	it := &item{key: e.Key, raw: e.Raw, size: int64(len(e.Raw)), added: e.Added, fault: e.Fault, judged: e.Fault != nil}
	if s.pending+it.size > s.o.Bytes { // not even until Confirm
		it.raw, it.left = nil, true
	} else {
		s.pending += it.size
	}
	s.changes[e.Key] = it
}

// Delete implements Watcher.
func (s *Store) Delete(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changes[key] = nil
}

// Fault implements Watcher.
func (s *Store) Fault(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = err
}

// Confirm implements Watcher.
func (s *Store) Confirm(at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.confirmed = nil, at
	if s.merge() {
		s.dirty = true
	}
	st := s.current.Load()
	switch {
	case s.dirty || st == nil:
		s.dirty = true
		s.wake()
	case s.building: // which takes s.confirmed when it is done
	default:
		next := *st
		next.confirmed = at
		s.current.Store(&next)
	}
}

// merge makes the set what it is with the changes, and tells whether that is
// another one. The caller holds mu.
func (s *Store) merge() bool {
	if !s.reset && len(s.changes) == 0 {
		return false
	}
	next := map[string]*item{}
	if !s.reset {
		next = maps.Clone(s.set)
	}
	for key, it := range s.changes {
		if it == nil {
			delete(next, key)
		} else {
			next[key] = it
		}
	}
	s.reset, s.changes, s.pending = false, map[string]*item{}, 0
	if maps.Equal(next, s.set) {
		return false
	}
	fewer := len(next) < len(s.set)
	s.bound(next)
	s.set = next
	// There may be room for what was left out; its bytes have to come again.
	if fewer && s.restart != nil && s.room(next) {
		s.restart()
	}
	return true
}

// bound leaves out what came when the store was full.
func (s *Store) bound(set map[string]*item) {
	var sum int64
	n := 0
	for _, it := range inOrder(set) {
		switch {
		case it.left:
		case n >= s.o.Documents || sum+it.size > s.o.Bytes:
			// Another item, because who builds may be looking at this one.
			set[it.key] = &item{key: it.key, size: it.size, added: it.added, left: true}
		default:
			n, sum = n+1, sum+it.size
		}
	}
}

// room tells whether something that was left out would fit.
func (s *Store) room(set map[string]*item) bool {
	var sum int64
	left, n := false, 0
	for _, it := range set {
		if it.left {
			left = true
			continue
		}
		n, sum = n+1, sum+it.size
	}
	return left && n < s.o.Documents && sum < s.o.Bytes
}

// inOrder are the items as they came; those of one moment by name.
func inOrder(set map[string]*item) []*item {
	return slices.SortedFunc(maps.Values(set), func(a, b *item) int {
		return cmp.Or(a.added.Compare(b.added), cmp.Compare(a.key, b.key))
	})
}

// wake has the set looked at.
func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
