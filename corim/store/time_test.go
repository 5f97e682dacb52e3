// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/corim"
)

// Validity is looked at again as time passes, and a restart makes no difference.
func TestValidity(t *testing.T) {
	c := &clock{now: testTime}
	m := newMemory(c)
	from, to := testTime.Add(time.Hour), testTime.Add(2*time.Hour)
	tag := func(version uint64, p corim.Period) func(*corim.Document, *corim.Comid) {
		return func(d *corim.Document, m *corim.Comid) {
			d.Validity = p
			m.Identity = corim.TagIdentity{ID: corim.ID{Text: "tag"}, Version: version}
		}
	}
	first := running(t, m, c, nil)
	ready(t, first)
	add(t, first, document(t, "A", 1, tag(1, corim.Period{})))
	add(t, first, document(t, "A", 2, tag(2, corim.Period{NotBefore: from, NotAfter: to})))
	for _, v := range []struct {
		at       time.Time
		one, two corim.State
		status   Status
	}{
		{testTime, corim.Matched, corim.Mismatched, Pending},
		{from.Add(-time.Second), corim.Matched, corim.Mismatched, Pending},
		{from, corim.Mismatched, corim.Matched, Active},
		{to, corim.Mismatched, corim.Matched, Active},
		// What was replaced does not come back when its successor expires.
		{to.Add(time.Second), corim.Unknown, corim.Unknown, Expired},
	} {
		c.set(v.at)
		m.change(func() {}) // have it confirmed
		restarted := running(t, m, c, nil)
		for name, s := range map[string]*Store{"running": first, "restarted": restarted} {
			ready(t, s)
			eventually(t, fmt.Sprint(name, " at ", v.at), func() bool {
				m.change(func() {})
				x, err := s.Snapshot(c.time())
				return err == nil && matched(x, "A", 1, v.at) == v.one && matched(x, "A", 2, v.at) == v.two &&
					s.State(v.at).Documents[1].Status(v.at) == v.status
			})
		}
	}
}

// The validity of an authority is not seen in the document, and counts all the
// same.
func TestAuthorityLater(t *testing.T) {
	c := &clock{now: testTime}
	m := newMemory(c)
	raw := sign(t, document(t, "A", 1, nil), testKey())
	m.put(Digest(sha256.Sum256(raw)).String(), raw)
	trust, err := corim.NewTrust([]corim.Authority{{
		Name: "ACME", Keys: []corim.SigningKey{{ID: []byte("key-1"), Public: testKey().Public()}}, Profiles: []string{corim.NoProfile},
		Scopes: []corim.Environment{{}}, Validity: corim.Period{NotBefore: testTime.Add(time.Hour)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	s := running(t, m, c, func(o *Options) { o.Trust, o.Unsigned = trust, false })
	ready(t, s)
	if st := s.State(testTime); st.Bad != 1 || !errors.Is(st.Documents[0].Reason(), corim.ErrPeriod) {
		t.Fatalf("%+v", st)
	}
	c.set(testTime.Add(time.Hour + retryAfter))
	eventually(t, "the document does not count when its authority does", func() bool {
		m.change(func() {})
		x, err := s.Snapshot(c.time())
		return err == nil && matched(x, "A", 1, c.time()) == corim.Matched
	})
}

func TestStale(t *testing.T) {
	for _, warn := range []bool{false, true} {
		c := &clock{now: testTime}
		m := newMemory(c)
		s := running(t, m, c, func(o *Options) { o.StaleAfter, o.WarnStale = time.Minute, warn })
		ready(t, s)
		add(t, s, document(t, "A", 1, nil))
		m.change(func() { m.quiet = true })
		edge, late := testTime.Add(time.Minute), testTime.Add(time.Minute+1)
		if _, err := s.Snapshot(edge); err != nil || s.State(edge).Stale {
			t.Error(err)
		}
		c.set(late)
		// What comes without being confirmed does not count.
		raw := document(t, "B", 1, nil)
		m.put(Digest(sha256.Sum256(raw)).String(), raw)
		time.Sleep(20 * time.Millisecond)
		x, err := s.Snapshot(late)
		if !s.State(late).Stale || s.State(late).Age <= time.Minute {
			t.Error("staleness does not show")
		}
		if warn && (err != nil || len(x.Documents()) != 1) || !warn && (x != nil || !errors.Is(err, ErrStale)) {
			t.Error(x, err)
		}
		m.change(func() { m.quiet = false })
		eventually(t, "it stays stale", func() bool {
			x, err := s.Snapshot(late)
			return err == nil && len(x.Documents()) == 2 && !s.State(late).Stale
		})
	}
}

func TestNotReady(t *testing.T) {
	c := &clock{now: testTime}
	m := newMemory(c)
	m.fails = errors.New("unreachable")
	s := running(t, m, c, nil)
	eventually(t, "no fault", func() bool { return s.State(testTime).Fault != nil })
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, snapshot := s.Snapshot(testTime)
	_, added := s.Add(ctx, document(t, "A", 1, nil))
	_, _, got := s.Get("x")
	for name, err := range map[string]error{"snapshot": snapshot, "add": added, "ready": s.Ready(ctx), "remove": s.Remove(ctx, "x"), "get": got} {
		if !errors.Is(err, ErrNotReady) || !errors.Is(err, m.fails) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m.change(func() { m.fails = nil })
	ready(t, s)
}

// Writers, readers and a bucket that begins again and again at once: every set
// is that of its revision, and nothing that was acknowledged is missing later.
func TestConcurrent(t *testing.T) {
	c := &clock{now: testTime}
	m := newMemory(c)
	s := running(t, m, c, nil)
	ready(t, s)
	const writers, each = 4, 25
	var acknowledged sync.Map
	var writing, reading sync.WaitGroup
	var stop atomic.Bool
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				raw := document(t, fmt.Sprintf("%d-%d", w, i), 1, nil)
				in, err := s.Add(context.Background(), raw)
				if err != nil {
					t.Error(err)
					continue
				}
				acknowledged.Store(in.Key, true)
			}
		})
	}
	reading.Go(func() {
		for !stop.Load() {
			s.mu.Lock()
			s.restart()
			s.mu.Unlock()
			time.Sleep(5 * time.Millisecond)
		}
	})
	for range 2 {
		reading.Go(func() {
			size := 0
			for !stop.Load() {
				x, err := s.Snapshot(testTime)
				if err != nil {
					t.Error(err)
					return
				}
				docs := x.Documents()
				if len(docs) < size {
					t.Errorf("%d documents after %d", len(docs), size)
				}
				size = len(docs)
				if again, err := corim.NewIndex(docs...); err != nil || again.Revision() != x.Revision() {
					t.Errorf("revision %s of other documents: %v", x.Revision(), err)
				}
			}
		})
	}
	writing.Wait()
	eventually(t, "documents are missing", func() bool { x, err := s.Snapshot(testTime); return err == nil && len(x.Documents()) == writers*each })
	stop.Store(true)
	reading.Wait()
	for _, in := range s.State(testTime).Documents {
		acknowledged.Delete(in.Key)
	}
	acknowledged.Range(func(key, _ any) bool { t.Errorf("%s is lost", key); return true })
}

func BenchmarkSnapshot(b *testing.B) {
	c := &clock{now: testTime}
	m := newMemory(c)
	for i := range 1000 {
		raw := document(b, fmt.Sprint(i), 1, nil)
		m.put(Digest(sha256.Sum256(raw)).String(), raw)
	}
	s := running(b, m, c, nil)
	ready(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Snapshot(testTime); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRebuild is what one more document costs among 1000.
func BenchmarkRebuild(b *testing.B) {
	c := &clock{now: testTime}
	m := newMemory(c)
	for i := range 1000 {
		raw := document(b, fmt.Sprint(i), 1, nil)
		m.put(Digest(sha256.Sum256(raw)).String(), raw)
	}
	s := running(b, m, c, nil)
	ready(b, s)
	set := s.current.Load().at
	b.ReportAllocs()
	for b.Loop() {
		s.assemble(set, testTime)
	}
}

// A reader that is slow is not asked for every document: what comes meanwhile is
// taken in at once, and nothing is lost.
func TestSlowReader(t *testing.T) {
	c := &clock{now: testTime}
	m := newMemory(c)
	var sets atomic.Int64
	s := running(t, m, c, func(o *Options) { o.Notify = func() { sets.Add(1); time.Sleep(50 * time.Millisecond) } })
	ready(t, s)
	const documents = 200
	begun := time.Now()
	for i := range documents {
		if _, err := s.Add(context.Background(), document(t, fmt.Sprint(i), 1, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("writers wait for readers: %s", took)
	}
	eventually(t, "documents are missing", func() bool { x, err := s.Snapshot(testTime); return err == nil && len(x.Documents()) == documents })
	if n := sets.Load(); n > documents/4 {
		t.Errorf("%d sets were built for %d documents", n, documents)
	}
}
