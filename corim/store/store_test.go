// SPDX-License-Identifier: Apache-2.0

package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
	"go.uber.org/goleak"

	"github.com/assize/assize/corim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// clock is a time of day that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// memory is a Bucket in memory. It says something only when it is told to.
type memory struct {
	clock *clock

	mu      sync.Mutex
	entries map[string]Entry
	n       int
	say     chan struct{}
	quiet   bool  // it does not confirm
	fails   error // of Put, Delete and Watch
}

func newMemory(c *clock) *memory {
	return &memory{clock: c, entries: map[string]Entry{}, say: make(chan struct{}, 1)}
}

func (m *memory) change(f func()) {
	m.mu.Lock()
	f()
	m.mu.Unlock()
	select {
	case m.say <- struct{}{}:
	default:
	}
}

func (m *memory) put(key string, raw []byte) {
	m.change(func() {
		m.n++
		m.entries[key] = Entry{Key: key, Raw: raw, Added: testTime.Add(time.Duration(m.n) * time.Millisecond)}
	})
}

func (m *memory) Put(_ context.Context, d Digest, raw []byte) error {
	m.mu.Lock()
	err, have := m.fails, m.entries[d.String()].Raw != nil
	m.mu.Unlock()
	if err == nil && !have {
		m.put(d.String(), raw)
	}
	return err
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	err := m.fails
	m.mu.Unlock()
	if err == nil {
		m.change(func() { delete(m.entries, key) })
	}
	return err
}

func (m *memory) Watch(ctx context.Context, w Watcher) error {
	w.Reset()
	told := map[string]Entry{}
	for {
		m.mu.Lock()
		if m.fails != nil {
			m.mu.Unlock()
			return m.fails
		}
		for key := range told {
			if _, have := m.entries[key]; !have {
				w.Delete(key)
				delete(told, key)
			}
		}
		for _, e := range slices.SortedFunc(maps.Values(m.entries), func(a, b Entry) int { return cmp.Or(a.Added.Compare(b.Added), cmp.Compare(a.Key, b.Key)) }) {
			if !told[e.Key].Added.Equal(e.Added) {
				w.Put(e)
				told[e.Key] = e
			}
		}
		if !m.quiet {
			w.Confirm(m.clock.time())
		}
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-m.say:
		}
	}
}

func nic(model string) corim.Environment {
	return corim.Environment{Class: corim.Class{Vendor: "ACME", Model: model}}
}

func digests(b byte) corim.Values {
	return corim.Values{Digests: []corim.Digest{{Alg: corim.SHA384, Value: bytes.Repeat([]byte{b}, 48)}}}
}

// document is an unsigned document with one reference value.
func document(t testing.TB, id string, value byte, change func(*corim.Document, *corim.Comid)) []byte {
	t.Helper()
	m := &corim.Comid{
		Identity:  corim.TagIdentity{ID: corim.ID{Text: id + "-tag"}},
		Reference: []corim.ValueTriple{{Environment: nic(id), Measurements: []corim.Measurement{{Key: corim.NumberKey(1), Value: digests(value)}}}},
	}
	d := &corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: m}}}
	if change != nil {
		change(d, m)
	}
	raw, err := corim.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func sign(t testing.TB, payload []byte, key ed25519.PrivateKey) []byte {
	t.Helper()
	meta, err := cbor.Marshal(map[int]any{0: map[int]any{0: "ACME signer"}})
	if err != nil {
		t.Fatal(err)
	}
	m := cose.NewSign1Message()
	m.Payload = payload
	m.Headers.Protected.SetAlgorithm(cose.AlgorithmEdDSA)
	m.Headers.Protected[cose.HeaderLabelContentType] = corim.MediaTypeUnsigned
	m.Headers.Protected[int64(8)] = meta
	m.Headers.Protected[cose.HeaderLabelKeyID] = []byte("key-1")
	s, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Sign(rand.Reader, nil, s); err != nil {
		t.Fatal(err)
	}
	raw, err := m.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func matched(x *corim.Index, model string, value byte, at time.Time) corim.State {
	return x.Match(corim.Query{
		Environments: []corim.Environment{nic(model)}, Measurements: []corim.Measurement{{Key: corim.NumberKey(1), Value: digests(value)}}, Time: at,
	}).Worst()
}

// running is a store that follows a bucket until the test ends.
func running(t testing.TB, b Bucket, c *clock, change func(*Options)) *Store {
	t.Helper()
	o := Options{Bucket: b, Clock: c.time, Unsigned: true}
	if change != nil {
		change(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	return s
}

func ready(t testing.TB, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func add(t testing.TB, s *Store, raw []byte) Info {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	in, err := s.Add(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Await(ctx, Digest(sha256.Sum256(raw))); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestAddListGetRemove(t *testing.T) {
	c := &clock{now: testTime}
	s := running(t, newMemory(c), c, nil)
	ready(t, s)
	empty, err := s.Snapshot(c.time())
	if err != nil || len(empty.Documents()) != 0 {
		t.Fatal(empty, err)
	}
	a, b := document(t, "A", 1, nil), document(t, "B", 2, nil)
	in := add(t, s, a)
	add(t, s, b)
	add(t, s, a) // once more
	x, err := s.Snapshot(c.time())
	if err != nil {
		t.Fatal(err)
	}
	if matched(x, "A", 1, testTime) != corim.Matched || matched(x, "B", 1, testTime) != corim.Mismatched || matched(empty, "A", 1, testTime) != corim.Unknown {
		t.Error("the index is not that of the documents, or the old one has changed")
	}
	st := s.State(c.time())
	if !st.Ready || st.Stale || st.Revision != x.Revision() || len(st.Documents) != 2 || st.Documents[0].Key != in.Key || st.Documents[0].Status(testTime) != Active || st.Bytes != int64(len(a)+len(b)) {
		t.Errorf("%+v", st)
	}
	if got, raw, err := s.Get(in.Key); err != nil || !bytes.Equal(raw, a) || got.Document.ID.Text != "A" {
		t.Errorf("%v %v", got, err)
	}
	if _, _, err := s.Get("nothing"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := s.Remove(context.Background(), "nothing"); !errors.Is(err, ErrUnknown) {
		t.Error(err)
	}
	if err := s.Remove(context.Background(), in.Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a removed document still counts", func() bool {
		x, err := s.Snapshot(c.time())
		return err == nil && len(x.Documents()) == 1 && matched(x, "A", 1, testTime) == corim.Unknown
	})
}

// A bad document changes nothing and says what is wrong with it.
func TestAddRefuses(t *testing.T) {
	c := &clock{now: testTime}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, stranger, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := corim.NewTrust([]corim.Authority{{
		Name: "ACME", Keys: []corim.SigningKey{{ID: []byte("key-1"), Public: pub}}, Profiles: []string{corim.NoProfile},
		Scopes: []corim.Environment{{Class: corim.Class{Vendor: "ACME"}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := newMemory(c)
	s := running(t, m, c, func(o *Options) { o.Trust, o.Unsigned, o.Documents = trust, false, 1 })
	ready(t, s)
	good := document(t, "A", 1, nil)
	past := func(d *corim.Document, _ *corim.Comid) { d.Validity.NotAfter = testTime.Add(-time.Hour) }
	foreign := func(_ *corim.Document, m *corim.Comid) { m.Reference[0].Environment.Class.Vendor = "Other" }
	for name, v := range map[string]struct {
		raw  []byte
		want error
	}{
		"unsigned":       {good, corim.ErrUnsigned},
		"by a stranger":  {sign(t, good, stranger), corim.ErrSignature},
		"expired":        {sign(t, document(t, "A", 1, past), key), corim.ErrPeriod},
		"out of scope":   {sign(t, document(t, "A", 1, foreign), key), corim.ErrScope},
		"too large":      {make([]byte, 17<<20), ErrTooLarge},
		"no CoRIM":       {[]byte("no"), nil},
		"nothing":        {nil, nil},
		"bytes after it": {append(sign(t, good, key), 0), nil},
	} {
		_, err := s.Add(context.Background(), v.raw)
		if err == nil || v.want != nil && !errors.Is(err, v.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(m.entries) != 0 {
		t.Error("something was written")
	}
	add(t, s, sign(t, good, key))
	if _, err := s.Add(context.Background(), sign(t, document(t, "B", 1, nil), key)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	m.change(func() { m.fails = errors.New("no disk") })
	if _, err := s.Add(context.Background(), sign(t, good, key)); err == nil {
		t.Error("a document that was not written is acknowledged")
	}
}

// What is bad in the bucket is named and does not count; the rest does, unless
// the policy says otherwise.
func TestBadInTheBucket(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		c := &clock{now: testTime}
		m := newMemory(c)
		good, other := document(t, "A", 1, nil), document(t, "B", 1, nil)
		m.put(Digest(sha256.Sum256(good)).String(), good)
		m.put(Digest(sha256.Sum256([]byte("x"))).String(), other) // under another's name
		m.put("readme", other)
		m.put(Digest(sha256.Sum256([]byte("no"))).String(), []byte("no"))
		m.change(func() {
			m.entries["unread"] = Entry{Key: "unread", Added: testTime.Add(time.Hour), Fault: errors.New("disk says no")}
		})
		s := running(t, m, c, func(o *Options) { o.RefuseBad = refuse })
		ready(t, s)
		st := s.State(c.time())
		if st.Bad != 4 || len(st.Documents) != 5 {
			t.Fatalf("%+v", st)
		}
		for i, want := range []error{nil, ErrName, ErrName} {
			if got := st.Documents[i].Reason(); !errors.Is(got, want) {
				t.Errorf("%d: %v", i, got)
			}
		}
		x, err := s.Snapshot(c.time())
		if refuse {
			if !errors.Is(err, ErrBad) || x != nil {
				t.Error(x, err)
			}
			continue
		}
		if err != nil || len(x.Documents()) != 1 || matched(x, "A", 1, testTime) != corim.Matched || matched(x, "B", 1, testTime) != corim.Unknown {
			t.Error(x, err)
		}
		// It can be taken away.
		if err := s.Remove(context.Background(), "readme"); err != nil {
			t.Error(err)
		}
		eventually(t, "a bad entry stays", func() bool { return s.State(c.time()).Bad == 3 })
	}
}

// Of documents that close a circle the one that came last does not count.
func TestCircle(t *testing.T) {
	c := &clock{now: testTime}
	m := newMemory(c)
	part := func(id, domain, member string) []byte {
		return document(t, id, 1, func(_ *corim.Document, m *corim.Comid) {
			m.Membership = []corim.DomainTriple{{Domain: nic(domain), Members: []corim.Environment{nic(member)}}}
		})
	}
	s := running(t, m, c, nil)
	ready(t, s)
	add(t, s, part("1", "a", "b"))
	add(t, s, part("2", "b", "c"))
	last := part("3", "c", "a")
	var circle *corim.CycleError
	if _, err := s.Add(context.Background(), last); !errors.As(err, &circle) || len(m.entries) != 2 {
		t.Errorf("%v", err)
	}
	m.put(Digest(sha256.Sum256(last)).String(), last) // past Add
	add(t, s, part("4", "x", "y"))
	st := s.State(c.time())
	if st.Bad != 1 || !errors.As(st.Documents[2].Reason(), &circle) || st.Documents[2].Status(testTime) != Bad {
		t.Fatalf("%+v", st)
	}
	x, err := s.Snapshot(c.time())
	if err != nil || len(x.Documents()) != 3 || matched(x, "3", 1, testTime) != corim.Unknown || matched(x, "4", 1, testTime) != corim.Matched {
		t.Error(err)
	}
	if err := s.Remove(context.Background(), st.Documents[0].Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing closes a circle any more", func() bool {
		x, err := s.Snapshot(c.time())
		return err == nil && matched(x, "3", 1, testTime) == corim.Matched
	})
}

func TestLimits(t *testing.T) {
	c := &clock{now: testTime}
	size := len(document(t, "D0", 1, nil))
	for name, limit := range map[string]func(*Options){
		"documents": func(o *Options) { o.Documents = 3 },
		"bytes":     func(o *Options) { o.Bytes = int64(3*size + size/2) },
	} {
		m := newMemory(c) // it wakes one reader
		var keys []string
		for i := range 5 {
			raw := document(t, fmt.Sprint("D", i), 1, nil)
			keys = append(keys, Digest(sha256.Sum256(raw)).String())
			m.put(keys[i], raw)
		}
		s := running(t, m, c, limit)
		ready(t, s)
		eventually(t, name+": not three count", func() bool {
			st := s.State(c.time())
			return len(st.Documents) == 5 && st.Bad == 2 && errors.Is(st.Documents[3].Reason(), ErrFull) && errors.Is(st.Documents[4].Reason(), ErrFull)
		})
		if _, _, err := s.Get(keys[4]); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		if name != "documents" {
			continue
		}
		if err := s.Remove(context.Background(), keys[0]); err != nil {
			t.Fatal(err)
		}
		eventually(t, "nothing moves up", func() bool {
			x, err := s.Snapshot(c.time())
			return err == nil && len(x.Documents()) == 3 && matched(x, "D3", 1, testTime) == corim.Matched
		})
	}
}

func testKey() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
}
