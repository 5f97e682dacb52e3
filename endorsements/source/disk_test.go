// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/check"
	"github.com/assize/assize/endorsements/source"
)

func names(tb testing.TB, dir string) []string {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// What was fetched is there after a restart without a network, and the folder is
// one that can be given with --endorsements.
func TestRestartOffline(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		dir := filepath.Join(t.TempDir(), "cache")
		s := open(t, &vendor{have: files}, func(o *source.Options) { o.Dir = dir })
		b, err := s.Ensure(t.Context(), []endorsements.Need{need})
		if err != nil || len(names(t, dir)) != 4 {
			t.Fatalf("%q, %v", names(t, dir), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = open(t, nil, func(o *source.Options) { o.Dir = dir })
		again, err := s.Ensure(t.Context(), []endorsements.Need{need})
		if err != nil || have(again) != 4 || digests(again) != digests(b) {
			t.Errorf("%d documents after a restart, %v", have(again), err)
		}
		// Whatever time the files have, what is in them is asked for again in a day.
		for _, file := range names(t, dir) {
			if err := os.Chtimes(filepath.Join(dir, file), time.Time{}, time.Now().AddDate(50, 0, 0)); err != nil {
				t.Fatal(err)
			}
		}
		v := &vendor{have: files}
		s = open(t, v, func(o *source.Options) { o.Dir = dir })
		for n, want := range []int{0, 4} {
			if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
			if got := v.takes(); got != want {
				t.Errorf("after %d days asked %d times", n, got)
			}
			time.Sleep(24 * time.Hour)
		}
		folder, warnings, err := endorsements.LoadDir(dir)
		if err != nil || len(warnings) != 0 || digests(folder) != digests(b) {
			t.Errorf("as a folder: %v %v", warnings, err)
		}
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%v %v", info.Mode(), err)
		}
	})
}

func digests(b *endorsements.Bundle) string {
	var out []string
	for st := range b.Statements() {
		out = append(out, fmt.Sprintf("%s %x", st.Item, st.Digest))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// A file that is not what was written is not used; one that somebody wrote with
// the right digest is only as good as its signature; files of others stay.
func TestCacheOnDiskIsNotTrusted(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		d, _ := machine(t, time.Now())
		honest, err := check.New(d.Root())
		if err != nil {
			t.Fatal(err)
		}
		for name, spoil := range map[string]func(dir, file string) error{
			"a changed byte": func(dir, file string) error {
				raw, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					return err
				}
				raw[len(raw)/2] ^= 1
				return os.WriteFile(filepath.Join(dir, file), raw, 0o600)
			},
			"cut": func(dir, file string) error { return os.Truncate(filepath.Join(dir, file), 100) },
			"of another item": func(dir, file string) error {
				return os.Rename(filepath.Join(dir, file), filepath.Join(dir, strings.Replace(file, fmspc, "a5512e000001", 1)))
			},
			"written anew": func(dir, file string) error {
				if err := os.Remove(filepath.Join(dir, file)); err != nil {
					return err
				}
				return forge(dir, files[endorsements.ItemTDXTCB])
			},
			"half written": func(dir, file string) error {
				return os.Rename(filepath.Join(dir, file), filepath.Join(dir, file+".tmp"))
			},
			"a link": func(dir, file string) error {
				if err := os.Rename(filepath.Join(dir, file), filepath.Join(dir, "..", "elsewhere")); err != nil {
					return err
				}
				return os.Symlink(filepath.Join(dir, "..", "elsewhere"), filepath.Join(dir, file))
			},
		} {
			dir := filepath.Join(t.TempDir(), "cache")
			v := &vendor{have: files}
			s := open(t, v, func(o *source.Options) { o.Dir, o.Check = dir, honest.Document })
			if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, file := range names(t, dir) {
				if strings.HasPrefix(file, "intel-tdx-tcb") {
					if err := spoil(dir, file); err != nil {
						t.Fatal(err)
					}
				}
			}
			v.takes()
			s = open(t, v, func(o *source.Options) { o.Dir, o.Check = dir, honest.Document })
			if have(s.Bundle()) != 3 {
				t.Errorf("%s: %d documents", name, have(s.Bundle()))
			}
			if b, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil || have(b) != 4 || v.takes() != 1 {
				t.Errorf("%s: not fetched again: %v", name, err)
			}
			if !slices.Contains(names(t, dir), "notes.txt") {
				t.Errorf("%s: a file of somebody else is gone", name)
			}
		}
	})
}

// Without a check, which not everybody has, the digest in the name tells a file
// that has changed.
func TestCacheFilesHaveDigests(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		dir := t.TempDir()
		s := open(t, &vendor{have: files}, func(o *source.Options) { o.Dir = dir })
		if _, err := s.Ensure(t.Context(), []endorsements.Need{need}); err != nil {
			t.Fatal(err)
		}
		for _, file := range names(t, dir) {
			raw, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, file), append(raw, '\n'), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if s = open(t, nil, func(o *source.Options) { o.Dir = dir }); have(s.Bundle()) != 0 || len(names(t, dir)) != 0 {
			t.Errorf("%d documents, %q", have(s.Bundle()), names(t, dir))
		}
	})
}

// The bound on what is kept holds in memory and on disk, and what was used last
// stays.
func TestEviction(t *testing.T) {
	at(t, func(t *testing.T, files map[endorsements.ItemKind][]byte) {
		dir := t.TempDir()
		v := &vendor{have: files}
		s := open(t, v, func(o *source.Options) { o.Dir, o.MaxItems = dir, 3 })
		b, err := s.Ensure(t.Context(), []endorsements.Need{need})
		if err != nil || have(b) != 3 || len(names(t, dir)) != 3 {
			t.Errorf("%d documents, %q, %v", have(b), names(t, dir), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if s = open(t, v, func(o *source.Options) { o.Dir, o.MaxItems = dir, 2 }); have(s.Bundle()) != 2 || len(names(t, dir)) != 2 {
			t.Errorf("%d documents after a restart", have(s.Bundle()))
		}
	})
}

// forge writes TCB info that says something else than what was signed, under a name
// that fits its content, as whoever may write into the folder can.
func forge(dir string, tcb []byte) error {
	raw := bytes.Replace(tcb, []byte(`OutOfDate`), []byte(`UpToDate`), 1)
	if bytes.Equal(raw, tcb) {
		return fmt.Errorf("nothing to change")
	}
	return putTCB(dir, raw)
}

// putTCB puts TCB info into the folder as a source does.
func putTCB(dir string, raw []byte) error {
	return os.WriteFile(filepath.Join(dir, fmt.Sprintf("intel-tdx-tcb-%s.%x.json", fmspc, sha256.Sum256(raw))), raw, 0o600)
}
