// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sort"
	"time"

	"github.com/assize/assize/corim"
)

// state is a set in use. It is immutable.
type state struct {
	index     *corim.Index
	list      []Info // as they came
	at        map[string]*item
	confirmed time.Time
	bytes     int64
	bad       int
	again     time.Time // when something has to be looked at again, zero for never
}

func (st *state) due(now time.Time) bool { return !st.again.IsZero() && !now.Before(st.again) }

// buildShare is the part of the time that building may take, 1 in buildShare,
// while documents come faster than that; buildPause is the longest pause.
const (
	buildShare = 4
	buildPause = time.Second
)

// build puts sets into use until the context ends.
func (s *Store) build(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.kick:
		}
		from := s.o.Clock()
		if !s.step(from) {
			continue
		}
		pause := min(max(s.o.Clock().Sub(from), 0)*(buildShare-1), buildPause)
		if pause < time.Millisecond {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// step builds one set, if there is a new one or something has become due.
func (s *Store) step(now time.Time) bool {
	s.mu.Lock()
	old := s.current.Load()
	if !s.dirty && (old == nil || !old.due(now)) {
		s.mu.Unlock()
		return false
	}
	set, confirmed := s.set, s.confirmed // merge replaces the map, it never changes it
	s.dirty, s.building = false, true
	s.mu.Unlock()

	next := s.assemble(set, now)

	s.mu.Lock()
	s.building = false
	next.confirmed = confirmed
	if !s.dirty { // it was confirmed again meanwhile
		next.confirmed = s.confirmed
	}
	s.current.Store(next)
	close(s.published)
	s.published = make(chan struct{})
	s.mu.Unlock()
	if s.o.Notify != nil {
		s.o.Notify()
	}
	return true
}

// assemble makes a set one that can be used.
func (s *Store) assemble(set map[string]*item, now time.Time) *state {
	st := &state{at: set}
	items := inOrder(set)
	var use []*item
	for _, it := range items {
		if !it.judged || !it.again.IsZero() && !now.Before(it.again) {
			s.evaluate(it, now)
		}
		if it.fault == nil && !it.pending {
			use = append(use, it)
		}
	}
	var circular map[*item]error
	st.index, circular = index(use)
	for _, it := range items {
		in := it.info()
		if err := circular[it]; err != nil {
			in.fault = err
		}
		if in.fault != nil {
			st.bad++
		}
		if !it.again.IsZero() && (st.again.IsZero() || it.again.Before(st.again)) {
			st.again = it.again
		}
		if !it.left {
			st.bytes += it.size
		}
		st.list = append(st.list, in)
	}
	return st
}

// index makes an index of all documents but those that close a circle.
func index(use []*item) (*corim.Index, map[*item]error) {
	circular := map[*item]error{}
	for {
		x, err := corim.NewIndex(documents(use)...)
		if err == nil {
			return x, circular
		}
		// The first n documents make an index, and those with the next one do not.
		n := sort.Search(len(use)-1, func(n int) bool {
			_, err := corim.NewIndex(documents(use[:n+1])...)
			return err != nil
		})
		_, err = corim.NewIndex(documents(use[:n+1])...)
		circular[use[n]] = err
		use = append(use[:n:n], use[n+1:]...)
	}
}

func documents(items []*item) []*corim.Document {
	out := make([]*corim.Document, len(items))
	for i, it := range items {
		out[i] = it.doc
	}
	return out
}

// retryAfter is when a document is looked at again that something without a
// known end keeps out, such as the validity of an authority.
const retryAfter = time.Minute

// evaluate decides what an item is worth at now. It always sets judged.
func (s *Store) evaluate(it *item, now time.Time) {
	it.judged, it.doc, it.pending, it.again = true, nil, false, time.Time{}
	switch {
	case it.left:
		it.fault = fmt.Errorf("corim/store: at most %d documents of %d bytes count: %w", s.o.Documents, s.o.Bytes, ErrFull)
		return
	case it.raw == nil && it.fault != nil:
		return // the bucket could not read it
	}
	it.fault = nil
	if d := Digest(sha256.Sum256(it.raw)); d.String() != it.key {
		it.fault = fmt.Errorf("corim/store: %.80q is not %s: %w", it.key, d, ErrName)
		return
	}
	o := corim.Options{Trust: s.o.Trust, Now: now, Unsigned: s.o.Unsigned, Profiles: s.o.Profiles}
	if it.doc, it.fault = corim.Load(it.raw, o); it.fault == nil {
		return
	}
	if !errors.Is(it.fault, corim.ErrPeriod) && !errors.Is(it.fault, corim.ErrUntrusted) {
		return
	}
	s.elsewhen(it, o)
}

// elsewhen looks whether a document that does not hold now does at another time.
func (s *Store) elsewhen(it *item, o corim.Options) {
	d, err := corim.Parse(it.raw)
	if err != nil {
		return
	}
	now := o.Now
	window := stated(d)
	switch {
	case window == (corim.Period{}):
		if errors.Is(it.fault, corim.ErrPeriod) { // of the authority
			it.again = now.Add(retryAfter)
		}
		return
	case !window.NotBefore.IsZero() && now.Before(window.NotBefore):
		o.Now = window.NotBefore
	case !window.NotAfter.IsZero() && now.After(window.NotAfter):
		o.Now = window.NotAfter
	default: // something holds that the document does not show
		it.again = now.Add(retryAfter)
		return
	}
	doc, err := corim.Load(it.raw, o)
	if err != nil {
		it.again = now.Add(retryAfter)
		return
	}
	it.doc, it.fault = doc, nil
	if o.Now.After(now) {
		it.pending, it.again = true, doc.Window().NotBefore
	}
}

// stated is when a document holds by what it says itself.
func stated(d *corim.Document) corim.Period {
	out := d.Validity
	and := func(from, to time.Time) {
		if from.After(out.NotBefore) {
			out.NotBefore = from
		}
		if !to.IsZero() && (out.NotAfter.IsZero() || to.Before(out.NotAfter)) {
			out.NotAfter = to
		}
	}
	if d.Signature != nil {
		and(d.Signature.Validity.NotBefore, d.Signature.Validity.NotAfter)
		for _, c := range d.Signature.Chain {
			and(c.NotBefore, c.NotAfter)
		}
	}
	return out
}
