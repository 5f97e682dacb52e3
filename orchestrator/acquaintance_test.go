// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
)

// calendar is a clock that a test turns.
type calendar struct{ at atomic.Int64 }

func (c *calendar) now() time.Time       { return time.Unix(1_800_000_000, c.at.Load()) }
func (c *calendar) pass(d time.Duration) { c.at.Add(int64(d)) }

// visits counts introductions, which all end the same way.
type visits struct {
	s     *acquaintances
	clock *calendar
	n     atomic.Int64
	err   error
}

func newVisits() *visits {
	c := &calendar{}
	return &visits{s: newAcquaintances(c.now), clock: c}
}

func (v *visits) wait(mark byte) error {
	return v.s.wait(context.Background(), "n1", [32]byte{mark}, func() (time.Time, error) {
		v.n.Add(1)
		return v.clock.now().Add(time.Minute), v.err
	})
}

func (v *visits) want(t *testing.T, what string, n int64, known bool) {
	t.Helper()
	err := v.wait(1)
	var f *verifiers.Failure
	if (err == nil) != known || err != nil && (!errors.As(err, &f) || f.Reason != verdict.ReasonPeerNotAttested) {
		t.Errorf("%s: %v", what, err)
	}
	if got := v.n.Load(); got != n {
		t.Errorf("%s: %d introductions, want %d", what, got, n)
	}
}

func TestKnownNodeIsNotAskedAgain(t *testing.T) {
	v := newVisits()
	v.want(t, "first", 1, true)
	v.clock.pass(time.Minute - 1)
	v.want(t, "within the time", 1, true)
	v.clock.pass(1)
	v.want(t, "after it", 2, true)
	if err := v.wait(2); err != nil || v.n.Load() != 3 {
		t.Errorf("with other keys: %v after %d", err, v.n.Load())
	}
	v.want(t, "with the keys of before", 4, true)
	v.clock.pass(-time.Second)
	v.want(t, "clock set back", 5, true)
	v.clock.pass(time.Hour)
	v.err = errors.New("no")
	v.want(t, "who was known once", 6, false)
	v.want(t, "is not known any more", 6, false)
}

func TestFailureIsRememberedForAWhile(t *testing.T) {
	v := newVisits()
	v.err = errors.New("no")
	v.want(t, "first", 1, false)
	n := int64(1)
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		v.want(t, "at once", n, false)
		v.clock.pass(wait*time.Second - 1)
		v.want(t, "too early", n, false)
		v.clock.pass(1)
		n++
		v.want(t, "in time", n, false)
	}
	v.clock.pass(-time.Hour)
	v.want(t, "clock set back", n+1, false)
	v.clock.pass(time.Minute)
	v.err = nil
	v.want(t, "it is there again", n+2, true)
	v.err = errors.New("no")
	v.clock.pass(time.Minute)
	v.want(t, "and gone", n+3, false)
	v.clock.pass(time.Second)
	v.want(t, "the count begins anew", n+4, false)
}

// Everybody waits for the one introduction, and nobody longer than it may.
func TestOneIntroductionAtATime(t *testing.T) {
	s := newAcquaintances(time.Now)
	var n atomic.Int64
	hold := make(chan struct{})
	wait := func(ctx context.Context) error {
		return s.wait(ctx, "n1", [32]byte{1}, func() (time.Time, error) {
			n.Add(1)
			<-hold
			return time.Now().Add(time.Minute), nil
		})
	}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() { check(t, wait(context.Background())) })
	}
	short, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if err := wait(short); err == nil || !strings.Contains(err.Error(), "in time") {
		t.Errorf("%v", err)
	}
	close(hold)
	wg.Wait()
	if n.Load() != 1 {
		t.Errorf("%d introductions", n.Load())
	}
}

func TestIntroductionsInFlightAreBounded(t *testing.T) {
	s := newAcquaintances(time.Now)
	var now, most atomic.Int64
	var wg sync.WaitGroup
	for i := range 4 * maxFlights {
		wg.Go(func() {
			_ = s.wait(context.Background(), strings.Repeat("n", i+1), [32]byte{}, func() (time.Time, error) {
				if k := now.Add(1); k > most.Load() {
					most.Store(k)
				}
				time.Sleep(2 * time.Millisecond)
				now.Add(-1)
				return time.Now().Add(time.Minute), nil
			})
		})
	}
	wg.Wait()
	if most.Load() > maxFlights {
		t.Errorf("%d at a time", most.Load())
	}
}
