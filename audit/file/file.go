// SPDX-License-Identifier: Apache-2.0

// Package file keeps an audit log as files of JSON lines in one folder. A file
// has the number of its first record as its name, so that the files in the
// order of their names are the log. Lines are only ever added; when a file is
// large enough, the next one goes on with the chain.
//
// One process at a time writes to a folder. What a process that died has left
// unfinished at the end is cut off when the next one begins, which says so in
// its first record.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/assize/assize/audit"
)

// Sync says when records are forced to the disk. Without it they survive the
// end of the process, but the newest not that of the machine.
type Sync string

// Times to sync.
const (
	SyncNever      Sync = "never"
	SyncCheckpoint Sync = "checkpoint"
	SyncAlways     Sync = "always"
)

const (
	// DefaultRotate is the size in bytes from which a new file is begun.
	DefaultRotate = 64 << 20
	extension     = ".jsonl"
	lockName      = "lock"
)

// ErrInUse says that another process writes to the folder.
var ErrInUse = errors.New("audit/file: another process writes to this log")

// Options configure a Store.
type Options struct {
	// Dir is made with mode 0700 if it is not there.
	Dir string
	// Rotate is the size in bytes from which a new file is begun, zero for
	// DefaultRotate.
	Rotate int64
	// Keep is how many files are kept; the oldest go when a new one is begun.
	// Zero keeps all. A log without its beginning can only be checked as a part.
	Keep int
	// Sync is SyncNever when empty.
	Sync Sync
}

// Store is an audit.Store in a folder.
type Store struct {
	o    Options
	lock *os.File

	mu   sync.Mutex
	f    *os.File
	size int64 // of f, all of it whole lines
	seq  uint64
	head []byte // the newest record
	torn int
	// broken is why f cannot be added to any more.
	broken error
	buf    []byte
}

// Open takes the folder for this process and looks for the end of the log.
func Open(o Options) (*Store, error) {
	if o.Rotate <= 0 {
		o.Rotate = DefaultRotate
	}
	switch o.Sync {
	case "":
		o.Sync = SyncNever
	case SyncNever, SyncCheckpoint, SyncAlways:
	default:
		return nil, fmt.Errorf("audit/file: sync %q, want never, checkpoint or always", o.Sync)
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("audit/file: %w", err)
	}
	if info, err := os.Stat(o.Dir); err != nil || info.Mode().Perm()&0o022 != 0 {
		return nil, errors.Join(err, fmt.Errorf("audit/file: %s can be written to by others, want 0700", o.Dir))
	}
	s := &Store{o: o}
	var err error
	if s.lock, err = takeLock(filepath.Join(o.Dir, lockName)); err != nil {
		return nil, err
	}
	if err := s.resume(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

// Close releases the folder, with everything on the disk.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.f != nil {
		errs = append(errs, s.f.Sync(), s.f.Close())
		s.f = nil
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
		s.lock = nil
	}
	s.broken = errors.New("audit/file: closed")
	return errors.Join(errs...)
}

// files are the names of the files of a log in their order.
func files(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("audit/file: %w", err)
	}
	var out []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), extension) && e.Type().IsRegular() {
			out = append(out, e.Name())
		}
	}
	slices.Sort(out)
	return out, nil
}

func nameOf(seq uint64) string { return fmt.Sprintf("%020d%s", seq, extension) }

// resume opens the last file and cuts off what is no whole line. A file of
// which nothing is left is removed: its predecessor has the end.
func (s *Store) resume() error {
	names, err := files(s.o.Dir)
	if err != nil {
		return err
	}
	for i := len(names) - 1; i >= 0; i-- {
		path := filepath.Join(s.o.Dir, names[i])
		if err := s.open(path); err != nil {
			return err
		}
		if s.size > 0 {
			return nil
		}
		if err := errors.Join(s.f.Close(), os.Remove(path)); err != nil {
			return fmt.Errorf("audit/file: %w", err)
		}
		s.f = nil
	}
	return nil
}

func (s *Store) open(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("audit/file: %w", err)
	}
	s.f = f
	if err := s.findEnd(); err != nil {
		s.f = nil
		return errors.Join(err, f.Close())
	}
	return nil
}

// findEnd finds the last whole line of the file and cuts off what is behind it.
func (s *Store) findEnd() error {
	info, err := s.f.Stat()
	if err != nil {
		return fmt.Errorf("audit/file: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("audit/file: %s can be read by others (mode %o), want 0600", s.f.Name(), info.Mode().Perm())
	}
	// A torn line and a whole one fit into twice the length of a record.
	from := max(0, info.Size()-2*(audit.MaxRecord+1))
	tail := make([]byte, info.Size()-from)
	if _, err := s.f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("audit/file: %w", err)
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if end == 0 && from > 0 {
		return fmt.Errorf("audit/file: the end of %s is no record", s.f.Name())
	}
	if cut := len(tail) - end; cut > 0 {
		if err := s.f.Truncate(from + int64(end)); err != nil {
			return fmt.Errorf("audit/file: %w", err)
		}
		s.torn += cut
	}
	s.size = from + int64(end)
	if end == 0 {
		return nil
	}
	line := tail[:end-1]
	s.head = bytes.Clone(line[bytes.LastIndexByte(line, '\n')+1:])
	r, err := audit.Decode(s.head)
	if err != nil {
		return fmt.Errorf("audit/file: %s: the last record is damaged, move the log away to begin another: %w", s.f.Name(), err)
	}
	s.seq = r.Seq
	return nil
}

// Last implements audit.Store.
func (s *Store) Last(context.Context) (audit.Tail, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := audit.Tail{Torn: s.torn}
	s.torn = 0 // said once
	if s.head != nil {
		t.Record = bytes.Clone(s.head)
	}
	return t, nil
}

// Append implements audit.Store. A line is in the file as a whole or not at all.
func (s *Store) Append(_ context.Context, e audit.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.broken != nil:
		return s.broken
	case e.Seq != s.seq+1:
		return fmt.Errorf("%w: record %d would follow record %d", audit.ErrConflict, e.Seq, s.seq)
	case bytes.IndexByte(e.Bytes, '\n') >= 0:
		return errors.New("audit/file: a record has no line feeds")
	}
	if s.f == nil || s.size >= s.o.Rotate {
		if err := s.rotate(e.Seq); err != nil {
			return err
		}
	}
	s.buf = append(append(s.buf[:0], e.Bytes...), '\n')
	if _, err := s.f.Write(s.buf); err != nil {
		if cut := s.f.Truncate(s.size); cut != nil {
			s.broken = fmt.Errorf("audit/file: %s has an unfinished record that cannot be cut off: %w", s.f.Name(), cut)
		}
		return fmt.Errorf("audit/file: %w", err)
	}
	s.size += int64(len(s.buf))
	s.seq, s.head = e.Seq, append(s.head[:0], e.Bytes...)
	if s.o.Sync == SyncAlways || s.o.Sync == SyncCheckpoint && e.Checkpoint {
		if err := s.f.Sync(); err != nil {
			return fmt.Errorf("audit/file: %w", err)
		}
	}
	return nil
}

// rotate begins the file whose first record is seq.
func (s *Store) rotate(seq uint64) error {
	f, err := os.OpenFile(filepath.Join(s.o.Dir, nameOf(seq)), os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("audit/file: %w", err)
	}
	if s.f != nil {
		if err := errors.Join(s.f.Sync(), s.f.Close()); err != nil {
			return errors.Join(fmt.Errorf("audit/file: %w", err), f.Close(), os.Remove(f.Name()))
		}
	}
	s.f, s.size = f, 0
	return s.letGo()
}

// letGo removes the oldest files beyond those to keep.
func (s *Store) letGo() error {
	if s.o.Keep <= 0 {
		return nil
	}
	names, err := files(s.o.Dir)
	if err != nil {
		return err
	}
	for _, name := range names[:max(0, len(names)-s.o.Keep)] {
		if err := os.Remove(filepath.Join(s.o.Dir, name)); err != nil {
			return fmt.Errorf("audit/file: %w", err)
		}
	}
	return nil
}

// Reader reads the log in a folder from its beginning, or one file of it. It
// needs no lock: lines appear whole.
func Reader(path string) (io.ReadCloser, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("audit/file: %w", err)
	}
	if !info.IsDir() {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("audit/file: %w", err)
		}
		return f, nil
	}
	names, err := files(path)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("audit/file: %s has no file of a log: %w", path, fs.ErrNotExist)
	}
	for i := range names {
		names[i] = filepath.Join(path, names[i])
	}
	return &chain{names: names}, nil
}

// chain reads files one after the other.
type chain struct {
	names []string
	f     *os.File
}

// Read implements io.Reader.
func (c *chain) Read(p []byte) (int, error) {
	for {
		if c.f == nil {
			if len(c.names) == 0 {
				return 0, io.EOF
			}
			var err error
			if c.f, err = os.Open(c.names[0]); err != nil {
				return 0, fmt.Errorf("audit/file: %w", err)
			}
			c.names = c.names[1:]
		}
		n, err := c.f.Read(p)
		if n > 0 || err != io.EOF {
			return n, err
		}
		if err := c.Close(); err != nil {
			return 0, err
		}
	}
}

// Close implements io.Closer.
func (c *chain) Close() error {
	if c.f == nil {
		return nil
	}
	f := c.f
	c.f = nil
	return f.Close()
}
