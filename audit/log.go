// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// DefaultEvery is how many records there are between two checkpoints.
	DefaultEvery = 256
	// MaxOpen is how many records there may be in a row without a checkpoint.
	MaxOpen = 1024
)

// ErrConflict says that the log goes on elsewhere than where the writer
// thought: somebody else writes to it as well.
var ErrConflict = errors.New("audit: somebody else has added to the log")

// Entry is a record on its way into a store.
type Entry struct {
	Seq uint64
	// ID is the digest of Bytes.
	ID Digest
	// Bytes is the record, without line feed; it must not be changed.
	Bytes []byte
	// Checkpoint says that this is a good moment to make everything durable.
	Checkpoint bool
}

// Tail is the end of a log.
type Tail struct {
	// Record is the newest record, nil where there is none.
	Record []byte
	// Torn is how many bytes of a record that was never finished were cut off.
	Torn int
}

// Store keeps the records of one log in their order.
type Store interface {
	// Last gives the end of the log as it is now.
	Last(ctx context.Context) (Tail, error)
	// Append adds a record behind that of Seq-1. ErrConflict (wrapped) means
	// that this is not the end and that nothing was added; with any other error
	// nobody knows. The record is as durable as the store promises.
	Append(ctx context.Context, e Entry) error
}

// Options configure a Log. All but Node, Every and Checkpointed are mandatory.
type Options struct {
	Store  Store
	Signer Signer
	// Node is the name of the node that writes.
	Node  string
	Clock func() time.Time
	// Rand gives the id of a new log.
	Rand io.Reader
	// Every is the number of records after which a checkpoint follows by itself,
	// at most MaxOpen; zero is DefaultEvery.
	Every int
	// Checkpointed is told every checkpoint, so that it can be kept in another
	// place. It must not call the log.
	Checkpointed func(token string)
}

// Log writes the records of one node. It is safe for concurrent use.
type Log struct {
	o Options

	mu   sync.Mutex
	id   string
	seq  uint64
	head Digest
	last time.Time
	// open is the number of records since the last checkpoint.
	open int
	// doubt: what was written last may be in the store or not.
	doubt  bool
	closed bool
}

// Open continues the log in the store, or begins one if there is none, with a
// record that says so and a checkpoint.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.Store == nil || o.Signer == nil || o.Clock == nil || o.Rand == nil {
		return nil, errors.New("audit: incomplete options")
	}
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Every < 1 || o.Every > MaxOpen {
		return nil, fmt.Errorf("audit: a checkpoint after every %d records, want 1 to %d", o.Every, MaxOpen)
	}
	l := &Log{o: o, head: none}
	torn, err := l.resync(ctx)
	if err != nil {
		return nil, err
	}
	if l.seq == 0 {
		var id [16]byte
		if _, err := io.ReadFull(o.Rand, id[:]); err != nil {
			return nil, fmt.Errorf("audit: no randomness: %w", err)
		}
		l.id = hex.EncodeToString(id[:])
	}
	if err := l.append(ctx, Event{Kind: KindStarted, Torn: torn}); err != nil {
		return nil, err
	}
	return l, l.sign(ctx)
}

// resync takes the end of the store for the end of the log.
func (l *Log) resync(ctx context.Context) (torn int, err error) {
	tail, err := l.o.Store.Last(ctx)
	if err != nil {
		return 0, fmt.Errorf("audit: the end of the log cannot be read: %w", err)
	}
	if tail.Record == nil {
		if l.seq > 0 {
			return 0, errors.New("audit: the log is gone from its store")
		}
		return tail.Torn, nil
	}
	r, err := Decode(tail.Record)
	if err != nil {
		return 0, fmt.Errorf("audit: the last record of the log is damaged, move the log away to begin another: %w", err)
	}
	at, err := r.At()
	if err != nil {
		return 0, err
	}
	if l.seq > 0 && l.id == r.Log && r.Seq < l.seq {
		return 0, fmt.Errorf("audit: the log ends with record %d, but %d had been written", r.Seq, l.seq)
	}
	if l.seq > 0 && l.id != r.Log {
		return 0, errors.New("audit: another log is in the store")
	}
	if r.Seq == l.seq && Sum(tail.Record) != l.head {
		return 0, fmt.Errorf("audit: record %d is not what was written", r.Seq)
	}
	l.open += int(r.Seq - l.seq)
	if r.Kind == KindCheckpoint {
		l.open = 0
	}
	l.id, l.seq, l.head, l.last, l.doubt = r.Log, r.Seq, Sum(tail.Record), at, false
	return tail.Torn, nil
}

// Record adds an event, and a checkpoint when it is time for one. With an error
// the event may be in the log or not. The event's lists and texts may be
// changed to make them valid UTF-8.
func (l *Log) Record(ctx context.Context, e Event) error {
	if e.Kind == KindCheckpoint {
		return errors.New("audit: a checkpoint is no event")
	}
	e.clean()
	if err := e.check(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("audit: the log is closed")
	}
	if err := l.append(ctx, e); err != nil {
		return err
	}
	if l.open >= l.o.Every {
		return l.sign(ctx)
	}
	return nil
}

// Checkpoint signs what was added since the last one; nothing, if nothing was.
func (l *Log) Checkpoint(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.open == 0 && !l.doubt {
		return nil
	}
	return l.sign(ctx)
}

// Close ends the log with a record that says so and a checkpoint. The store
// stays open.
func (l *Log) Close(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if err := l.append(ctx, Event{Kind: KindStopped}); err != nil {
		return err
	}
	return l.sign(ctx)
}

// ID is the random id of the log.
func (l *Log) ID() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.id
}

// Open is the number of records that no checkpoint covers yet.
func (l *Log) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open
}

// sign adds a checkpoint. The caller holds mu.
func (l *Log) sign(ctx context.Context) error {
	if err := l.append(ctx, Event{Kind: KindCheckpoint}); err != nil {
		return err
	}
	l.open = 0
	return nil
}

// attempts is how often a record is put behind the end of a log to which
// others write too.
const attempts = 8

// append adds one record. The caller holds mu.
func (l *Log) append(ctx context.Context, e Event) error {
	var err error
	for range attempts {
		if l.doubt {
			if _, err := l.resync(ctx); err != nil {
				return err
			}
		}
		var r *Record
		var raw []byte
		if r, raw, err = l.next(e); err != nil {
			return err
		}
		id := Sum(raw)
		err = l.o.Store.Append(ctx, Entry{Seq: r.Seq, ID: id, Bytes: raw, Checkpoint: e.Kind == KindCheckpoint})
		if err == nil {
			l.seq, l.head = r.Seq, id
			l.open++
			if e.Kind == KindCheckpoint && l.o.Checkpointed != nil {
				l.o.Checkpointed(r.Checkpoint)
			}
			return nil
		}
		l.doubt = true
		if !errors.Is(err, ErrConflict) {
			break
		}
	}
	return fmt.Errorf("audit: record not written: %w", err)
}

// next is the record that follows the end of the log as we know it.
func (l *Log) next(e Event) (*Record, []byte, error) {
	// A clock that was set back does not make the log go back.
	if now := l.o.Clock().UTC().Truncate(time.Microsecond); now.After(l.last) {
		l.last = now
	}
	r := &Record{
		Version: Version, Log: l.id, Seq: l.seq + 1, Previous: l.head, Time: l.last.UTC().Format(timeForm),
		Node: l.o.Node, KID: l.o.Signer.KID(), Event: e,
	}
	if e.Kind == KindCheckpoint {
		var err error
		r.Checkpoint, err = Checkpoint{Log: l.id, Seq: l.seq, Head: l.head, Time: r.Time, Node: r.Node}.sign(l.o.Signer)
		if err != nil {
			return nil, nil, err
		}
	}
	raw, err := r.encode()
	return r, raw, err
}
