// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/assize/assize/relay"
	"github.com/assize/assize/verifiers"
)

// How long a failed introduction is not tried again: doubled by each failure in
// a row.
const (
	firstBackOff = time.Second
	lastBackOff  = time.Minute
)

// maxFlights is how many nodes introduce themselves at a time.
const maxFlights = 16

// acquaintances remembers which nodes have introduced themselves, by name and
// set of keys, and which could not. There is one introduction in flight per
// node, which everybody waits for who needs it. The zero value is not usable.
type acquaintances struct {
	clock  func() time.Time
	flying chan struct{}

	mu     sync.Mutex
	byName map[string]*acquaintance // no more than there are nodes
}

// acquaintance is what is remembered of one node.
type acquaintance struct {
	flight *flight
	// mark is of the keys that were spoken for, from since to until.
	mark         [sha256.Size]byte
	since, until time.Time
	// failures in a row; the last, at failed, keeps others off until retry.
	failures      int
	failed, retry time.Time
	why           string
}

// flight is one introduction under way; err is there when done is closed.
type flight struct {
	done chan struct{}
	err  error
}

func newAcquaintances(clock func() time.Time) *acquaintances {
	return &acquaintances{clock: clock, flying: make(chan struct{}, maxFlights), byName: map[string]*acquaintance{}}
}

// wait returns nil when a node with these keys is known, at once or after the
// introduction, which meet makes; or the failure of that, which is remembered
// as well. The context ends the waiting and not the introduction.
func (s *acquaintances) wait(ctx context.Context, name string, mark [sha256.Size]byte, meet func() (time.Time, error)) error {
	s.mu.Lock()
	now := s.clock() // under the lock: not before what is remembered
	a := s.byName[name]
	if a == nil {
		a = &acquaintance{}
		s.byName[name] = a
	}
	switch {
	case a.known(mark, now):
		s.mu.Unlock()
		return nil
	case a.flight == nil && a.keptOff(now):
		why := a.why
		s.mu.Unlock()
		return notAttested(name, why+" a moment ago")
	case a.flight == nil:
		a.flight = &flight{done: make(chan struct{})}
		go s.fly(name, mark, a, meet)
	}
	f := a.flight
	s.mu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
		return notAttested(name, "it did not introduce itself in time")
	}
}

// known: a clock that was set back makes nobody known for longer.
func (a *acquaintance) known(mark [sha256.Size]byte, now time.Time) bool {
	return a.mark == mark && !now.Before(a.since) && now.Before(a.until)
}

// keptOff: nor does it keep anybody off for longer.
func (a *acquaintance) keptOff(now time.Time) bool {
	return a.failures > 0 && !now.Before(a.failed) && now.Before(a.retry)
}

// fly makes one introduction and remembers how it ended.
func (s *acquaintances) fly(name string, mark [sha256.Size]byte, a *acquaintance, meet func() (time.Time, error)) {
	s.flying <- struct{}{}
	since := s.clock()
	until, err := meet()
	<-s.flying
	s.mu.Lock()
	defer s.mu.Unlock()
	f := a.flight
	a.flight = nil
	if err != nil {
		why := cause(err)
		now := s.clock()
		a.until = time.Time{}
		a.why, a.failed, a.retry = why, now, now.Add(min(firstBackOff<<min(a.failures, 6), lastBackOff))
		a.failures++
		f.err = notAttested(name, why)
	} else {
		a.failures, a.mark, a.since, a.until = 0, mark, since, until
	}
	close(f.done)
}

// cause says why a node is not attested in words that give away neither what is
// required nor what its evidence says: others get to read them (MV-49).
func cause(err error) string {
	var e *relay.Error
	var f *verifiers.Failure
	switch {
	case errors.Is(err, errNoIntroduction) && errors.As(err, &f):
		return "it did not introduce itself (" + f.Reason + ")"
	case errors.Is(err, errNoIntroduction):
		return "it did not introduce itself"
	case errors.As(err, &e):
		return "its answer is not one (" + e.Check + ")"
	case errors.Is(err, errNotVouched):
		return "its evidence does not speak for all of its keys"
	case errors.Is(err, errEvidence):
		return "its evidence is not good enough"
	}
	return "its introduction failed"
}
