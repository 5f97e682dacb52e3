// SPDX-License-Identifier: Apache-2.0

package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/internal/limits"
)

// Errors, for errors.Is.
var (
	// ErrNotReady: the first set of documents is not complete yet.
	ErrNotReady = errors.New("the documents have not been read yet")
	// ErrStale: nobody has confirmed for too long that the documents are current.
	ErrStale = errors.New("reference values may be out of date")
	// ErrBad: there are documents that do not count, and the policy wants none.
	ErrBad = errors.New("documents that do not count are in the store")
	// ErrUnknown: there is no document of that digest.
	ErrUnknown = errors.New("no such document")
	// ErrTooLarge: the bucket does not take documents of that size.
	ErrTooLarge = errors.New("document is too large for this store")
	// ErrFull: the store has as many documents, or bytes, as it may.
	ErrFull = errors.New("the store is full")
	// ErrName: what stands under a name is not what the name says.
	ErrName = errors.New("name is not the SHA-256 of the document")
)

// Defaults of Options.
const (
	// DefaultDocuments is how many documents count, DefaultBytes how many bytes
	// they have together; parsed they take several times as much memory.
	DefaultDocuments = 4096
	DefaultBytes     = 64 << 20
	// DefaultStaleAfter is how long a set counts as current.
	DefaultStaleAfter = time.Minute
)

// Digest is the SHA-256 of a document, its name in the store.
type Digest [sha256.Size]byte

// String is the name: 64 lower-case hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads a name.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != len(d) || hex.EncodeToString(raw) != s {
		return d, fmt.Errorf("corim/store: %.80q: %w", s, ErrName)
	}
	copy(d[:], raw)
	return d, nil
}

// Entry is something in a bucket.
type Entry struct {
	// Key is the name it has there: that of its Digest, if it is a document.
	Key string
	// Raw is the content. The store keeps it; nobody may change it any more.
	Raw []byte
	// Added is when it came; it is the same for all who read the bucket.
	Added time.Time
	// Fault is why there is no Raw, nil otherwise.
	Fault error
}

// Watcher is told what a bucket has. Calls come from one goroutine, and return
// soon: nothing is verified in them.
type Watcher interface {
	// Reset: what was said before does not hold; all entries follow.
	Reset()
	// Put adds or replaces an entry, Delete removes one.
	Put(Entry)
	Delete(key string)
	// Confirm: with all that was said until now the set is what the bucket had
	// at a moment not before at. Only now does it count.
	Confirm(at time.Time)
	// Fault: the bucket cannot be reached or read for now.
	Fault(error)
}

// Bucket is where documents are. It is safe for concurrent use.
type Bucket interface {
	// Watch tells w about the whole set, beginning with Reset, and then about
	// every change, until the context ends or it has to begin again.
	Watch(ctx context.Context, w Watcher) error
	// Put keeps a document. When it returns nil the document is on disk, wherever
	// the bucket says it is; one that is there already is fine. An error that
	// wraps ErrTooLarge means that nothing was tried.
	Put(ctx context.Context, d Digest, raw []byte) error
	// Delete removes a document for good; one that is not there is fine.
	Delete(ctx context.Context, key string) error
}

// Options configure a Store. Bucket and Clock are mandatory.
type Options struct {
	Bucket Bucket
	// Trust, Unsigned and Profiles are as in corim.Options.
	Trust    *corim.Trust
	Unsigned bool
	Profiles []corim.Profile
	// Clock is the time of day.
	Clock func() time.Time
	// StaleAfter is how long after it was confirmed a set counts as current;
	// default DefaultStaleAfter.
	StaleAfter time.Duration
	// WarnStale gives out an index that is not current any more.
	WarnStale bool
	// RefuseBad gives out nothing while there is a document that does not count.
	RefuseBad bool
	// Documents and Bytes bound what counts; default DefaultDocuments and
	// DefaultBytes.
	Documents int
	Bytes     int64
	// Notify, if set, is called after every change of the set in use.
	Notify func()
}

// Store is the documents of one bucket. It is safe for concurrent use.
type Store struct {
	o       Options
	current atomic.Pointer[state] // nil until the first set is complete

	mu sync.Mutex
	// set is what the bucket had when it last confirmed; changes (nil for a
	// removed entry) and reset are what came since then.
	set     map[string]*item
	changes map[string]*item
	reset   bool
	pending int64 // bytes of changes
	// confirmed belongs to set. dirty: set is not in use yet.
	confirmed       time.Time
	dirty, building bool
	fault           error
	restart         context.CancelFunc // of the Watch that runs
	published       chan struct{}      // closed with the next change of current
	kick            chan struct{}
}

// New returns a store that knows nothing until Run runs.
func New(o Options) (*Store, error) {
	if o.Bucket == nil || o.Clock == nil {
		return nil, errors.New("corim/store: neither bucket nor clock may be missing")
	}
	if o.StaleAfter < 0 || o.Documents < 0 || o.Bytes < 0 {
		return nil, errors.New("corim/store: a limit is negative")
	}
	if o.StaleAfter == 0 {
		o.StaleAfter = DefaultStaleAfter
	}
	if o.Documents == 0 {
		o.Documents = DefaultDocuments
	}
	if o.Bytes == 0 {
		o.Bytes = DefaultBytes
	}
	return &Store{
		o: o, set: map[string]*item{}, changes: map[string]*item{}, published: make(chan struct{}), kick: make(chan struct{}, 1),
	}, nil
}

// Waits between two attempts to watch the bucket.
const (
	retryFirst = 50 * time.Millisecond
	retryLast  = 2 * time.Second
)

// Run follows the bucket until the context ends. It is called once.
func (s *Store) Run(ctx context.Context) {
	var done sync.WaitGroup
	done.Go(func() { s.build(ctx) })
	wait := retryFirst
	for ctx.Err() == nil {
		watch, cancel := context.WithCancel(ctx)
		s.mu.Lock()
		s.restart = cancel
		s.mu.Unlock()
		from := s.lastConfirmed()
		err := s.o.Bucket.Watch(watch, s)
		again := watch.Err() != nil // we wanted it
		cancel()
		if err != nil && !again {
			s.Fault(err)
		}
		if s.lastConfirmed().After(from) {
			wait = retryFirst
		}
		if again {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, retryLast)
	}
	done.Wait()
}

func (s *Store) lastConfirmed() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.confirmed
}

// Ready waits until the first set is complete.
func (s *Store) Ready(ctx context.Context) error {
	return s.until(ctx, func(*state) bool { return true })
}

// Await waits until the set in use has the document.
func (s *Store) Await(ctx context.Context, d Digest) error {
	return s.until(ctx, func(st *state) bool { _, ok := st.at[d.String()]; return ok })
}

func (s *Store) until(ctx context.Context, enough func(*state) bool) error {
	for {
		s.mu.Lock()
		next, fault := s.published, s.fault
		s.mu.Unlock()
		if st := s.current.Load(); st != nil && enough(st) {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			if s.current.Load() != nil {
				return fmt.Errorf("corim/store: %w", context.Cause(ctx))
			}
			return notReady(fault)
		}
	}
}

func (s *Store) unready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return notReady(s.fault)
}

func notReady(fault error) error {
	if fault != nil {
		return fmt.Errorf("corim/store: %w: %w", ErrNotReady, fault)
	}
	return fmt.Errorf("corim/store: %w", ErrNotReady)
}

// Snapshot is the index for an appraisal at now, the time of day. It does not
// wait. The error wraps ErrNotReady, ErrStale or ErrBad; an index is never given
// with one.
func (s *Store) Snapshot(now time.Time) (*corim.Index, error) {
	st := s.current.Load()
	if st == nil {
		return nil, s.unready()
	}
	if st.due(now) {
		s.wake()
	}
	if age := now.Sub(st.confirmed); age > s.o.StaleAfter && !s.o.WarnStale {
		return nil, fmt.Errorf("corim/store: confirmed %s ago, at most %s: %w", age.Round(time.Millisecond), s.o.StaleAfter, ErrStale)
	}
	if s.o.RefuseBad && st.bad > 0 {
		return nil, fmt.Errorf("corim/store: %d: %w", st.bad, ErrBad)
	}
	return st.index, nil
}

// Check verifies a document as Add does, and writes nothing.
func (s *Store) Check(raw []byte) (Info, error) {
	it, err := s.checked(raw)
	if err != nil {
		return Info{}, err
	}
	return it.info(), nil
}

// Add verifies a document, writes it to the bucket and returns when it is there.
// A document that is bad or has expired changes nothing; the error says what is
// wrong with it, as that of corim.Load. One that is there already is fine. The
// set in use has it soon after: see Await.
func (s *Store) Add(ctx context.Context, raw []byte) (Info, error) {
	it, err := s.checked(raw)
	if err != nil {
		return Info{}, err
	}
	if err := s.fits(it); err != nil {
		return Info{}, err
	}
	d, err := ParseDigest(it.key)
	if err != nil {
		return Info{}, err
	}
	if err := s.o.Bucket.Put(ctx, d, it.raw); err != nil {
		return Info{}, fmt.Errorf("corim/store: %s: %w", it.doc.ID, err)
	}
	return it.info(), nil
}

// checked is a document that counts, now or later.
func (s *Store) checked(raw []byte) (*item, error) {
	if len(raw) > limits.CorimDocument {
		return nil, fmt.Errorf("corim/store: document of %d bytes, at most %d: %w", len(raw), limits.CorimDocument, ErrTooLarge)
	}
	now := s.o.Clock()
	it := &item{key: Digest(sha256.Sum256(raw)).String(), raw: append([]byte(nil), raw...), size: int64(len(raw)), added: now}
	s.evaluate(it, now)
	if it.fault != nil {
		return nil, it.fault
	}
	if it.status(now) == Expired {
		return nil, fmt.Errorf("corim/store: %s: held %s: %w", it.doc.ID, it.doc.Window(), corim.ErrPeriod)
	}
	return it, nil
}

// fits says why a document cannot be added to those that there are.
func (s *Store) fits(it *item) error {
	st := s.current.Load()
	if st == nil {
		return s.unready()
	}
	if _, have := st.at[it.key]; have {
		return nil
	}
	if len(st.list) >= s.o.Documents || st.bytes+it.size > s.o.Bytes {
		return fmt.Errorf("corim/store: %d documents of %d bytes, at most %d of %d: %w", len(st.list), st.bytes, s.o.Documents, s.o.Bytes, ErrFull)
	}
	if !domains(it.doc) {
		return nil
	}
	_, err := corim.NewIndex(append(st.index.Documents(), it.doc)...)
	return err
}

// domains tells whether a document could close a circle with others.
func domains(d *corim.Document) bool {
	for _, t := range d.Tags {
		if t.Comid != nil && len(t.Comid.Membership)+len(t.Comid.Dependency) > 0 {
			return true
		}
	}
	return false
}

// Remove deletes what has this name in the bucket, a document or something bad.
func (s *Store) Remove(ctx context.Context, key string) error {
	st := s.current.Load()
	if st == nil {
		return s.unready()
	}
	if _, have := st.at[key]; !have {
		return fmt.Errorf("corim/store: %.80q: %w", key, ErrUnknown)
	}
	if err := s.o.Bucket.Delete(ctx, key); err != nil {
		return fmt.Errorf("corim/store: %w", err)
	}
	return nil
}
