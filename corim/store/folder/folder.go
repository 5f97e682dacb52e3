// SPDX-License-Identifier: Apache-2.0

// Package folder is a store.Bucket in a folder: one file for each document, named
// after its SHA-256 with the ending ".corim". Begin with Open.
//
// Several processes may use one folder, such as a service and the command that
// adds documents: a file appears as a whole, under its last name, after its bytes
// are on the disk, and is never changed. Every other file in the folder is
// reported as what it is, and so listed as bad; names that begin with a dot are
// left alone.
package folder

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/internal/durable"
	"github.com/assize/assize/internal/limits"
)

const (
	extension = ".corim"
	unready   = ".new-"
	// DefaultPoll is the time between two looks at the folder.
	DefaultPoll = 2 * time.Second
	// settle is how old the time of a folder has to be to tell that nothing has
	// changed since: two changes can have the same time.
	settle = time.Second
	// rescan is the number of looks after which all files are looked at, whatever
	// the time of the folder says.
	rescan = 10
	// leftover is the age of unfinished files that nobody is writing any more.
	leftover = time.Hour
)

// Options configure a Bucket. Dir and Clock are mandatory.
type Options struct {
	// Dir is made with mode 0700 if it is not there. Nobody else may be able to
	// write to it.
	Dir string
	// Clock is the time of day.
	Clock func() time.Time
	// Poll is the time between two looks; default DefaultPoll. What this Bucket
	// changes itself it sees at once.
	Poll time.Duration
}

// Bucket is a store.Bucket. It is safe for concurrent use.
type Bucket struct {
	o    Options
	kick chan struct{}
}

var _ store.Bucket = (*Bucket)(nil)

// Open makes the folder, or finds it, and removes what writers that died have
// left unfinished.
func Open(o Options) (*Bucket, error) {
	if o.Dir == "" || o.Clock == nil {
		return nil, errors.New("corim/store/folder: neither folder nor clock may be missing")
	}
	if o.Poll <= 0 {
		o.Poll = DefaultPoll
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("corim/store/folder: %w", err)
	}
	b := &Bucket{o: o, kick: make(chan struct{}, 1)}
	entries, err := b.list()
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && strings.HasPrefix(e.Name(), unready) && o.Clock().Sub(info.ModTime()) > leftover {
			err = os.Remove(b.path(e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("corim/store/folder: %w", err)
		}
	}
	return b, nil
}

func (b *Bucket) path(name string) string { return filepath.Join(b.o.Dir, name) }

// list reads a folder that nobody else can write to.
func (b *Bucket) list() ([]fs.DirEntry, error) {
	if info, err := os.Stat(b.o.Dir); err != nil || info.Mode().Perm()&0o022 != 0 {
		return nil, errors.Join(err, fmt.Errorf("corim/store/folder: %s can be written to by others, want 0700", b.o.Dir))
	}
	entries, err := os.ReadDir(b.o.Dir)
	if err != nil {
		return nil, fmt.Errorf("corim/store/folder: %w", err)
	}
	return entries, nil
}

// Put implements store.Bucket. The file and its name are on the disk when it
// returns.
func (b *Bucket) Put(_ context.Context, d store.Digest, raw []byte) error {
	if len(raw) > limits.CorimDocument {
		return fmt.Errorf("corim/store/folder: %d bytes, at most %d: %w", len(raw), limits.CorimDocument, store.ErrTooLarge)
	}
	path := b.path(d.String() + extension)
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, raw) {
		return b.sync() // whoever wrote it may not have come that far
	}
	if err := durable.Replace(path, unready, raw); err != nil {
		return fmt.Errorf("corim/store/folder: %w", err)
	}
	return b.sync()
}

// sync brings the names to the disk, and has the folder looked at.
func (b *Bucket) sync() error {
	if err := durable.SyncFolder(b.o.Dir); err != nil {
		return fmt.Errorf("corim/store/folder: %w", err)
	}
	select {
	case b.kick <- struct{}{}:
	default:
	}
	return nil
}

// Delete implements store.Bucket.
func (b *Bucket) Delete(_ context.Context, key string) error {
	name := key
	if _, err := store.ParseDigest(key); err == nil {
		name += extension
	}
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
		return fmt.Errorf("corim/store/folder: %.80q is not a file of the store", key)
	}
	if err := os.Remove(b.path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("corim/store/folder: %w", err)
	}
	return b.sync()
}

// seen is what a look at the folder has found.
type seen struct {
	folder time.Time // when it was changed last
	at     time.Time // when we looked
	files  map[string]file
	looks  int // without looking at the files
}

type file struct {
	size int64
	time time.Time
	// read is not set while the file could not be read.
	read bool
}

// Watch implements store.Bucket.
func (b *Bucket) Watch(ctx context.Context, w store.Watcher) error {
	s := &seen{files: map[string]file{}}
	w.Reset()
	tick := time.NewTicker(b.o.Poll)
	defer tick.Stop()
	for {
		if err := b.look(s, w); err != nil {
			w.Fault(err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-b.kick:
			s.at = time.Time{} // look whatever its time says
		case <-tick.C:
		}
	}
}

// look tells w what has changed since the last look.
func (b *Bucket) look(s *seen, w store.Watcher) error {
	now := b.o.Clock()
	info, err := os.Stat(b.o.Dir)
	if err != nil {
		return fmt.Errorf("corim/store/folder: %w", err)
	}
	if !s.at.IsZero() && info.ModTime().Equal(s.folder) && s.at.Sub(s.folder) > settle && s.looks < rescan {
		s.looks++
		w.Confirm(now)
		return nil
	}
	entries, err := b.list()
	if err != nil {
		return err
	}
	there, order, err := found(entries)
	if err != nil {
		return err
	}
	for name := range s.files {
		if _, have := there[name]; !have {
			w.Delete(keyOf(name))
			delete(s.files, name)
		}
	}
	for _, name := range order {
		f := there[name]
		if s.files[name] == (file{f.size, f.time, true}) {
			continue
		}
		e := b.entry(name, f)
		if errors.Is(e.Fault, fs.ErrNotExist) { // removed just now
			continue
		}
		f.read = e.Fault == nil || errors.Is(e.Fault, store.ErrTooLarge)
		s.files[name] = f
		w.Put(e)
	}
	s.folder, s.at, s.looks = info.ModTime(), now, 0
	w.Confirm(now)
	return nil
}

// found are the files of the folder and their names, the oldest first.
func found(entries []fs.DirEntry) (map[string]file, []string, error) {
	there := map[string]file{}
	var order []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.IsDir() {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) { // removed just now
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("corim/store/folder: %w", err)
		}
		there[e.Name()] = file{size: info.Size(), time: info.ModTime()}
		order = append(order, e.Name())
	}
	slices.SortFunc(order, func(x, y string) int { return cmp.Or(there[x].time.Compare(there[y].time), cmp.Compare(x, y)) })
	return there, order, nil
}

// keyOf is the digest in the name of a file, or the whole name.
func keyOf(name string) string {
	if stem, ok := strings.CutSuffix(name, extension); ok {
		if _, err := store.ParseDigest(stem); err == nil {
			return stem
		}
	}
	return name
}

func (b *Bucket) entry(name string, f file) store.Entry {
	e := store.Entry{Key: keyOf(name), Added: f.time}
	if f.size > limits.CorimDocument {
		e.Fault = fmt.Errorf("corim/store/folder: %s has %d bytes, at most %d: %w", name, f.size, limits.CorimDocument, store.ErrTooLarge)
		return e
	}
	e.Raw, e.Fault = b.read(name)
	return e
}

func (b *Bucket) read(name string) ([]byte, error) {
	info, err := os.Lstat(b.path(name))
	if err != nil {
		return nil, fmt.Errorf("corim/store/folder: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("corim/store/folder: %s is not a regular file", name)
	}
	f, err := os.Open(b.path(name))
	if err != nil {
		return nil, fmt.Errorf("corim/store/folder: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, limits.CorimDocument+1))
	if err != nil {
		return nil, fmt.Errorf("corim/store/folder: %w", err)
	}
	if len(raw) > limits.CorimDocument {
		return nil, fmt.Errorf("corim/store/folder: %s has more than %d bytes: %w", name, limits.CorimDocument, store.ErrTooLarge)
	}
	return raw, nil
}
