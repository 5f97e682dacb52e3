// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"regexp"
	"sync"

	"github.com/nats-io/nats.go"
)

// Causes for which a request in flight is given up before its deadline.
var (
	errDisconnected = errors.New("fabric: disconnected")
	errDenied       = errors.New("fabric: permission denied")
)

// link watches the request connection: an answer to a request that was sent on
// a connection which broke, or that the server refused to publish, can never
// come, yet the client library would wait for the whole deadline.
type link struct {
	nc     *nats.Conn
	events chan nats.Status
	done   chan struct{}

	mu      sync.Mutex
	flights map[*flight]struct{}
	up      chan struct{} // closed while the connection is up
	isUp    bool
}

// flight is one request that waits for its answer.
type flight struct {
	subject string
	cancel  context.CancelCauseFunc
}

func newLink(nc *nats.Conn) *link {
	l := &link{
		nc:      nc,
		events:  nc.StatusChanged(nats.CONNECTED, nats.RECONNECTING, nats.DISCONNECTED, nats.CLOSED),
		done:    make(chan struct{}),
		flights: map[*flight]struct{}{},
		up:      make(chan struct{}),
	}
	if nc.IsConnected() {
		l.isUp = true
		close(l.up)
	}
	go l.watch()
	return l
}

func (l *link) watch() {
	defer close(l.done)
	for st := range l.events {
		l.mu.Lock()
		if st != nats.CONNECTED {
			l.fail(func(*flight) bool { return true }, errDisconnected)
			l.setUp(false)
		}
		// The state now, not the state of the event: it may have changed twice.
		l.setUp(l.nc.IsConnected())
		l.mu.Unlock()
	}
}

// stop ends the watcher.
func (l *link) stop() {
	l.nc.RemoveStatusListener(l.events)
	<-l.done
}

// setUp wants l.mu.
func (l *link) setUp(up bool) {
	if up == l.isUp {
		return
	}
	l.isUp = up
	if up {
		close(l.up)
		return
	}
	l.up = make(chan struct{})
}

// fail wants l.mu.
func (l *link) fail(which func(*flight) bool, cause error) {
	for f := range l.flights {
		if which(f) {
			f.cancel(cause)
		}
	}
}

// enter registers a request for the time of its flight. The returned context
// ends with errDisconnected or errDenied as its cause; leave must be called.
func (l *link) enter(ctx context.Context, subject string) (_ context.Context, leave func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	f := &flight{subject: subject, cancel: cancel}
	l.mu.Lock()
	l.flights[f] = struct{}{}
	if !l.isUp {
		cancel(errDisconnected)
	}
	l.mu.Unlock()
	return ctx, func() {
		l.mu.Lock()
		delete(l.flights, f)
		l.mu.Unlock()
		cancel(nil)
	}
}

// wait returns when the connection is up, or the context's error.
func (l *link) wait(ctx context.Context) error {
	l.mu.Lock()
	up := l.up
	l.mu.Unlock()
	select {
	case <-up:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	deniedPublish   = regexp.MustCompile(`(?i)permissions violation for publish to "([^"]+)"`)
	deniedSubscribe = regexp.MustCompile(`(?i)permissions violation for subscription to "`)
)

// asyncError fails the flights that a permission error is about: those of one
// subject, or all of them when the reply inbox itself is denied.
func (l *link) asyncError(err error) {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := deniedPublish.FindStringSubmatch(err.Error()); m != nil {
		l.fail(func(f *flight) bool { return f.subject == m[1] }, errDenied)
	} else if deniedSubscribe.MatchString(err.Error()) {
		l.fail(func(*flight) bool { return true }, errDenied)
	}
}
