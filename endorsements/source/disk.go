// SPDX-License-Identifier: Apache-2.0

package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/assize/assize/endorsements"
)

const (
	// maxFile is the largest file of the cache in bytes, far above any document.
	maxFile = 2 << 20
	// maxListed is how many entries of the folder are looked at.
	maxListed = 16384

	folderMode, fileMode = 0o700, 0o600
	temporary            = ".tmp"
)

// disk is the cache folder. A file is named after the item, and after the SHA-256
// of its content, so that a file that is not what was written is found out; that
// guards against accidents. Against somebody who writes into the folder the
// signatures of the documents do.
type disk struct {
	mu   sync.Mutex
	root *os.Root
}

// open reads the folder.
func (s *Source) open() error {
	if err := os.MkdirAll(s.o.Dir, folderMode); err != nil {
		return fmt.Errorf("source: cache: %w", err)
	}
	root, err := os.OpenRoot(s.o.Dir)
	if err != nil {
		return fmt.Errorf("source: cache: %w", err)
	}
	s.disk = &disk{root: root}
	names, err := s.disk.list()
	if err != nil {
		_ = root.Close() // the first error says more
		return fmt.Errorf("source: cache: %w", err)
	}
	for _, f := range names {
		s.load(f)
	}
	s.evict()
	return nil
}

// file is one of ours, by its name.
type file struct {
	name, item string
	digest     string
	when       time.Time
}

// list are our files, the oldest first.
func (d *disk) list() ([]file, error) {
	dir, err := d.root.Open(".")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	entries, err := dir.ReadDir(maxListed)
	if err != nil && err != io.EOF {
		return nil, err
	}
	var out []file
	for _, e := range entries {
		if whole, left := strings.CutSuffix(e.Name(), temporary); left {
			if _, ours := parseName(whole); ours {
				d.remove(e.Name()) // of a process that did not get to the end
			}
			continue
		}
		f, ok := parseName(e.Name())
		info, err := e.Info()
		if !ok || err != nil || !e.Type().IsRegular() {
			continue
		}
		f.when = info.ModTime()
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b file) int {
		if c := a.when.Compare(b.when); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return out, nil
}

// parseName splits ITEM.SHA256.json and ITEM.SHA256.der. An item may have dots.
func parseName(name string) (file, bool) {
	parts := strings.Split(name, ".")
	last := len(parts) - 1
	if last < 2 || parts[last] != "json" && parts[last] != "der" || !strings.Contains(parts[0], "-") {
		return file{}, false
	}
	if b, err := hex.DecodeString(parts[last-1]); err != nil || len(b) != sha256.Size {
		return file{}, false
	}
	return file{name: name, item: strings.Join(parts[:last-1], "."), digest: parts[last-1]}, true
}

// load takes one file, or removes it if it is not what its name says.
func (s *Source) load(f file) {
	raw, err := s.disk.read(f)
	var i endorsements.Item
	var e *entry
	if err == nil {
		i, err = itemOf(f.item, raw)
	}
	if err == nil {
		e, err = s.read(i, f.item, raw)
	}
	if err != nil {
		s.disk.remove(f.name)
		if s.o.Report != nil {
			s.o.Report(i, fmt.Errorf("source: file %s of the cache is not used: %w", f.name, err))
		}
		return
	}
	e.file = f.name
	when := f.when
	if now := s.o.Now(); when.After(now) {
		when = now
	}
	e.again = s.again(i, e, when)
	e, _ = s.succeed(i, s.kept[i], e)
	s.uses++
	e.used = s.uses
	s.kept[i] = e
}

// itemOf finds the item that a document answers, by what it says.
func itemOf(name string, raw []byte) (endorsements.Item, error) {
	doc, err := endorsements.Parse(name, raw)
	if err != nil {
		return endorsements.Item{}, err
	}
	for st := range doc.Statements() {
		if st.Item.String() == name {
			return st.Item, nil
		}
	}
	return endorsements.Item{}, fmt.Errorf("the document is not %s", name)
}

func (d *disk) read(f file) ([]byte, error) {
	in, err := d.root.Open(f.name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	raw, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	if len(raw) > maxFile || hex.EncodeToString(sum[:]) != f.digest {
		return nil, fmt.Errorf("the content has another digest")
	}
	return raw, nil
}

// put writes a document and returns the name of the file, "" if that failed.
func (d *disk) put(i endorsements.Item, raw []byte) (string, error) {
	sum := sha256.Sum256(raw)
	ext := ".der"
	if len(raw) > 0 && raw[0] == '{' {
		ext = ".json"
	}
	name := i.String() + "." + hex.EncodeToString(sum[:]) + ext
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.write(name+temporary, raw); err != nil {
		return "", err
	}
	if err := d.root.Rename(name+temporary, name); err != nil {
		return "", err
	}
	return name, nil
}

// write makes a whole file or none. A file that a process which is gone has left
// behind is replaced.
func (d *disk) write(name string, raw []byte) (err error) {
	out, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fs.FileMode(fileMode))
	if err != nil {
		return err
	}
	_, err = out.Write(raw)
	if err == nil {
		err = out.Sync()
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err != nil {
		_ = d.root.Remove(name) // the first error says more
	}
	return err
}

// remove drops a file of ours; whether it was there does not matter.
func (d *disk) remove(name string) { _ = d.root.Remove(name) }
