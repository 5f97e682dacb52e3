// SPDX-License-Identifier: Apache-2.0

package store

import (
	"fmt"
	"time"

	"github.com/assize/assize/corim"
)

// Status is what a document is worth.
type Status string

// The values of Status.
const (
	// Active: it counts.
	Active Status = "active"
	// Pending: it will count when its time comes.
	Pending Status = "pending"
	// Expired: its time is over. It matches nothing.
	Expired Status = "expired"
	// Bad: it does not count, and Reason says why.
	Bad Status = "bad"
)

// Info describes an entry of the store.
type Info struct {
	// Key is its name: the SHA-256 of the document in hexadecimal digits, unless
	// somebody has put something else there.
	Key string
	// Bytes is its size, Added when it came.
	Bytes int64
	Added time.Time
	// Document is the document, nil if it is not authentic.
	Document *corim.Document

	pending bool
	fault   error
}

func (it *item) info() Info {
	return Info{Key: it.key, Bytes: it.size, Added: it.added, Document: it.doc, pending: it.pending, fault: it.fault}
}

// Status is what the document is worth at t.
func (i Info) Status(t time.Time) Status {
	switch {
	case i.fault != nil:
		return Bad
	case i.Document.Window().Contains(t) && !i.pending:
		return Active
	case i.pending || t.Before(i.Document.Window().NotBefore):
		return Pending
	}
	return Expired
}

func (it *item) status(t time.Time) Status { return it.info().Status(t) }

// Reason is why the document is Bad, nil otherwise.
func (i Info) Reason() error { return i.fault }

// State is what a store has at one moment.
type State struct {
	// Ready: there is a set. Everything below is zero without one.
	Ready bool
	// Revision is that of the index, corim.Index.Revision.
	Revision string
	// Documents are all entries as they came, Bad ones among them.
	Documents []Info
	// Bytes is the size of those that are not left out.
	Bytes int64
	// Bad is how many do not count.
	Bad int
	// Confirmed is when the set was last known to be what the bucket has, Age how
	// long ago that is; Stale: longer than it may be.
	Confirmed time.Time
	Age       time.Duration
	Stale     bool
	// Conflicts are those of the index.
	Conflicts []string
	// Fault is why the bucket cannot be read for now, nil otherwise.
	Fault error
}

// State describes the set in use at now. The list must not be changed.
func (s *Store) State(now time.Time) State {
	s.mu.Lock()
	out := State{Fault: s.fault}
	s.mu.Unlock()
	st := s.current.Load()
	if st == nil {
		return out
	}
	out.Ready, out.Revision, out.Documents, out.Bytes, out.Bad = true, st.index.Revision(), st.list, st.bytes, st.bad
	out.Conflicts, out.Confirmed, out.Age = st.index.Conflicts(), st.confirmed, max(now.Sub(st.confirmed), 0)
	out.Stale = out.Age > s.o.StaleAfter
	return out
}

// Get is an entry of the set in use with its bytes, as they were received. The
// bytes must not be changed. The error wraps ErrUnknown or ErrNotReady, or says
// why there are no bytes.
func (s *Store) Get(key string) (Info, []byte, error) {
	st := s.current.Load()
	if st == nil {
		return Info{}, nil, s.unready()
	}
	it := st.at[key]
	if it == nil {
		return Info{}, nil, fmt.Errorf("corim/store: %.80q: %w", key, ErrUnknown)
	}
	for _, in := range st.list {
		if in.Key != key {
			continue
		}
		if it.raw == nil {
			return in, nil, in.fault
		}
		return in, it.raw, nil
	}
	return Info{}, nil, fmt.Errorf("corim/store: %.80q: %w", key, ErrUnknown)
}
