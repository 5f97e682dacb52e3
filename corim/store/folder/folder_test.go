// SPDX-License-Identifier: Apache-2.0

package folder

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/internal/limits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Bucket {
	t.Helper()
	b, err := Open(Options{Dir: dir, Clock: time.Now, Poll: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func follow(t *testing.T, b *Bucket) *store.Store {
	t.Helper()
	s, err := store.New(store.Options{Bucket: b, Clock: time.Now, Unsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	wait, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if err := s.Ready(wait); err != nil {
		t.Fatal(err)
	}
	return s
}

func document(t *testing.T, id string) []byte {
	t.Helper()
	raw, err := corim.Encode(&corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
		Identity: corim.TagIdentity{ID: corim.ID{Text: id}},
		Reference: []corim.ValueTriple{{
			Environment:  corim.Environment{Class: corim.Class{Vendor: "ACME", Model: id}},
			Measurements: []corim.Measurement{{Key: corim.NumberKey(1), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA256, Value: make([]byte, 32)}}}}},
		}},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func count(s *store.Store) (documents, bad int) {
	st := s.State(time.Now())
	return len(st.Documents), st.Bad
}

// Two processes write to one folder and a third reads it; a restart finds all.
func TestWritersAndRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "corim")
	one, two, reader := follow(t, open(t, dir)), follow(t, open(t, dir)), follow(t, open(t, dir))
	var writers sync.WaitGroup
	for i, s := range []*store.Store{one, two} {
		for j := range 2 {
			writers.Go(func() {
				for k := range 10 {
					id := fmt.Sprint(j, k) // the same from both
					if k%2 == 0 {
						id += fmt.Sprint(i)
					}
					if _, err := s.Add(context.Background(), document(t, id)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	writers.Wait()
	for name, s := range map[string]*store.Store{"one": one, "two": two, "reader": reader, "restarted": follow(t, open(t, dir))} {
		eventually(t, name+" has not all documents", func() bool { n, bad := count(s); return n == 30 && bad == 0 })
	}
	first := one.State(time.Now())
	if err := two.Remove(context.Background(), first.Documents[0].Key); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the removal is not seen", func() bool { n, _ := count(reader); return n == 29 })
	info, err := os.Stat(filepath.Join(dir, first.Documents[1].Key+extension))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// What else is in the folder is named, and counts for nothing.
func TestStrangeFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	raw := document(t, "A")
	good := store.Digest(sha256.Sum256(raw)).String()
	put := func(name string, raw []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(good+extension, raw)
	put("plain.cbor", document(t, "B"))
	put(store.Digest{1}.String()+extension, document(t, "C"))
	put(".hidden", nil)
	put(unready+"1", []byte("half"))
	put("huge.corim", nil)
	if err := os.Truncate(filepath.Join(dir, "huge.corim"), limits.CorimDocument+1); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, good+extension), filepath.Join(dir, "link.corim")); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * leftover)
	put(unready+"2", []byte("half"))
	if err := os.Chtimes(filepath.Join(dir, unready+"2"), old, old); err != nil {
		t.Fatal(err)
	}
	s := follow(t, open(t, dir))
	st := s.State(time.Now())
	if n, bad := count(s); n != 5 || bad != 4 {
		t.Fatalf("%d %d %+v", n, bad, st.Documents)
	}
	for _, in := range st.Documents {
		if (in.Key == good) != (in.Reason() == nil) {
			t.Errorf("%s: %v", in.Key, in.Reason())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, unready+"2")); !errors.Is(err, os.ErrNotExist) {
		t.Error("what a dead writer left stays for ever")
	}
	if err := s.Remove(context.Background(), "plain.cbor"); err != nil {
		t.Error(err)
	}
	put(good+extension, document(t, "D")) // changed in place
	eventually(t, "a document that was changed in its place counts", func() bool {
		x, err := s.Snapshot(time.Now())
		_, bad := count(s)
		return err == nil && len(x.Documents()) == 0 && bad == 4
	})
	for _, key := range []string{"../x", ".hidden", "a/b"} {
		if err := open(t, dir).Delete(context.Background(), key); err == nil {
			t.Errorf("%q was removed", key)
		}
	}
}

// A folder that others can write to, or that is gone, confirms nothing.
func TestFolderOfOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "corim")
	s := follow(t, open(t, dir))
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Dir: dir, Clock: time.Now}); err == nil {
		t.Error("a folder that others can write to is taken")
	}
	eventually(t, "no fault", func() bool { return s.State(time.Now()).Fault != nil })
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Add(context.Background(), document(t, "A")); err == nil {
		t.Error("acknowledged without a folder")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the folder is not found again", func() bool { return s.State(time.Now()).Fault == nil })
}
