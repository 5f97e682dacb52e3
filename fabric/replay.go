// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"container/list"
	"context"
	"crypto/sha256"
	"sync"
	"time"
)

// Bounds of the idempotency cache of one service.
const (
	replayEntries = 4096
	replayBytes   = 16 << 20
)

// replays makes a service idempotent: an id that is in progress gathers the
// callers who ask again, one that is done gives the same bytes again, and one
// that comes back with other content is a conflict.
type replays struct {
	keep time.Duration

	mu    sync.Mutex
	byID  map[string]*entry
	done  *list.List // *entry in the order of completion
	bytes int
}

type entry struct {
	id      string
	digest  [sha256.Size]byte
	cancel  context.CancelCauseFunc // while in progress
	waiters []waiter                // while in progress
	reply   []byte                  // when done
	expires time.Time               // when done
	at      *list.Element           // when done
}

func newReplays(keep time.Duration) *replays {
	return &replays{keep: keep, byID: map[string]*entry{}, done: list.New()}
}

// begun is what begin found.
type begun int

const (
	begunNew      begun = iota // the caller must do the work and call finish
	begunJoined                // somebody does it, and will answer this request
	begunDone                  // reply is the earlier answer
	begunConflict              // same id, other digest
	begunFull                  // asked too often while in progress
)

// begin claims an id for one request.
func (r *replays) begin(id string, digest [sha256.Size]byte, now time.Time, w waiter, cancel context.CancelCauseFunc) (begun, []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(now)
	e := r.byID[id]
	switch {
	case e == nil:
		r.byID[id] = &entry{id: id, digest: digest, cancel: cancel, waiters: []waiter{w}}
		return begunNew, nil
	case e.digest != digest:
		return begunConflict, nil
	case e.reply != nil:
		return begunDone, e.reply
	case len(e.waiters) >= maxWaiters:
		return begunFull, nil
	}
	e.waiters = append(e.waiters, w)
	return begunJoined, nil
}

// maxWaiters bounds how often one id can be asked while it is in progress; a
// lead has at most two attempts in flight.
const maxWaiters = 16

// finish ends the work on an id and returns everybody who waits for it. Only a
// reply is remembered; without one (nil) the id may be tried again.
func (r *replays) finish(id string, reply []byte, now time.Time) []waiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.byID[id]
	waiters := e.waiters
	e.waiters, e.cancel = nil, nil
	if len(reply) == 0 || len(reply) > replayBytes/16 {
		delete(r.byID, id)
		return waiters
	}
	e.reply, e.expires = reply, now.Add(r.keep)
	e.at = r.done.PushBack(e)
	r.bytes += len(reply)
	for r.done.Len() > replayEntries || r.bytes > replayBytes {
		r.drop(r.done.Front())
	}
	return waiters
}

// cancel ends the work on an id, if there is any.
func (r *replays) cancel(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.byID[id]
	if e == nil || e.cancel == nil {
		return false
	}
	e.cancel(errCancelled)
	return true
}

// expire wants r.mu. Entries expire in the order in which they were done.
func (r *replays) expire(now time.Time) {
	for at := r.done.Front(); at != nil && now.After(at.Value.(*entry).expires); at = r.done.Front() {
		r.drop(at)
	}
}

func (r *replays) drop(at *list.Element) {
	e := r.done.Remove(at).(*entry)
	r.bytes -= len(e.reply)
	delete(r.byID, e.id)
}
