// SPDX-License-Identifier: Apache-2.0

package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/trust"
)

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func newSigner(tb testing.TB) *trust.Signer {
	tb.Helper()
	s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	must(tb, err)
	return s
}

// begin opens folder and log.
func begin(tb testing.TB, o Options, s *trust.Signer) (*Store, *audit.Log) {
	tb.Helper()
	st, err := Open(o)
	must(tb, err)
	l, err := audit.Open(context.Background(), audit.Options{Store: st, Signer: s, Node: "n1", Clock: time.Now, Rand: rand.Reader, Every: 10})
	must(tb, err)
	return st, l
}

func add(tb testing.TB, l *audit.Log, n int) {
	tb.Helper()
	for i := range n {
		must(tb, l.Record(context.Background(), audit.Event{Kind: audit.KindVerdict, Session: fmt.Sprint("s", i), Tier: "warning", Verdict: audit.Sum([]byte{byte(i)})}))
	}
}

func check(tb testing.TB, path string, s *trust.Signer, o audit.CheckOptions) (audit.Report, error) {
	tb.Helper()
	keys, err := trust.NewAnchors(s.Key("lead", nil, trust.RoleLead))
	must(tb, err)
	r, err := Reader(path)
	must(tb, err)
	defer r.Close()
	return audit.Check(r, keys, o)
}

// One chain goes on across files and restarts, and nobody else reads it.
func TestRotationAndRestart(t *testing.T) {
	dir, s := filepath.Join(t.TempDir(), "audit"), newSigner(t)
	for range 3 {
		st, l := begin(t, Options{Dir: dir, Rotate: 2000, Sync: SyncAlways}, s)
		add(t, l, 15)
		must(t, l.Close(t.Context()))
		must(t, st.Close())
	}
	names, err := files(dir)
	must(t, err)
	if len(names) < 5 || names[0] != nameOf(1) {
		t.Errorf("%d files: %q", len(names), names)
	}
	for _, n := range append(names, lockName) {
		if info, err := os.Stat(filepath.Join(dir, n)); err != nil || info.Mode().Perm() != 0o600 || info.Size() > 4000 {
			t.Errorf("%s: %v, %v", n, info.Mode(), err)
		}
	}
	rep, err := check(t, dir, s, audit.CheckOptions{})
	must(t, err)
	if rep.Kinds[audit.KindVerdict] != 45 || rep.Kinds[audit.KindStarted] != 3 || !rep.Closed {
		t.Errorf("%+v", rep)
	}
	// A file that is missing, or there twice, shows.
	must(t, os.Rename(filepath.Join(dir, names[2]), filepath.Join(dir, "kept")))
	if _, err := check(t, dir, s, audit.CheckOptions{}); err == nil {
		t.Error("a file less passes")
	}
	must(t, os.Rename(filepath.Join(dir, "kept"), filepath.Join(dir, names[2])))
	again, err := os.ReadFile(filepath.Join(dir, names[1]))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, nameOf(1<<40)), again, 0o600))
	if _, err := check(t, dir, s, audit.CheckOptions{}); err == nil {
		t.Error("a file that is there twice passes")
	}
}

func TestOldFilesGo(t *testing.T) {
	dir, s := t.TempDir(), newSigner(t)
	must(t, os.Chmod(dir, 0o700))
	st, l := begin(t, Options{Dir: dir, Rotate: 2000, Keep: 2}, s)
	add(t, l, 60)
	must(t, l.Close(t.Context()))
	must(t, st.Close())
	if names, err := files(dir); err != nil || len(names) != 2 {
		t.Errorf("%q, %v", names, err)
	}
	if _, err := check(t, dir, s, audit.CheckOptions{}); err == nil {
		t.Error("a log without its beginning passes as a whole one")
	}
	_, err := check(t, dir, s, audit.CheckOptions{Part: true})
	must(t, err)
}

// A process that died in the middle of a line leaves nothing that is read, and
// the next one says so; the end of the file is found for every length.
func TestTornLine(t *testing.T) {
	s := newSigner(t)
	for _, cut := range []int{1, 20, 300} {
		dir := filepath.Join(t.TempDir(), "audit")
		st, l := begin(t, Options{Dir: dir}, s)
		add(t, l, 5)
		must(t, st.Close()) // without an end of the log, as if it was killed
		path := filepath.Join(dir, nameOf(1))
		raw, err := os.ReadFile(path)
		must(t, err)
		torn := raw[:len(raw)-cut]
		must(t, os.WriteFile(path, torn, 0o600))
		left := len(torn) - bytes.LastIndexByte(torn, '\n') - 1
		if _, err := check(t, dir, s, audit.CheckOptions{}); err == nil {
			t.Error("a torn line passes")
		}
		st, l = begin(t, Options{Dir: dir}, s)
		add(t, l, 1)
		must(t, l.Close(t.Context()))
		must(t, st.Close())
		rep, err := check(t, dir, s, audit.CheckOptions{})
		must(t, err)
		if rep.Torn != left || left == 0 {
			t.Errorf("cut %d: %d bytes noted, %d were there", cut, rep.Torn, left)
		}
	}
}

// A file in which nothing but a torn line is goes, and the one before it has
// the end.
func TestTornFirstLineOfAFile(t *testing.T) {
	dir, s := filepath.Join(t.TempDir(), "audit"), newSigner(t)
	st, l := begin(t, Options{Dir: dir}, s)
	add(t, l, 5)
	must(t, st.Close())
	must(t, os.WriteFile(filepath.Join(dir, nameOf(8)), []byte(`{"v":1,"log"`), 0o600))
	st, l = begin(t, Options{Dir: dir}, s)
	must(t, l.Close(t.Context()))
	must(t, st.Close())
	rep, err := check(t, dir, s, audit.CheckOptions{})
	must(t, err)
	if rep.Torn != 12 || rep.Records != 11 {
		t.Errorf("%+v", rep)
	}
}

func TestOneWriter(t *testing.T) {
	dir, s := filepath.Join(t.TempDir(), "audit"), newSigner(t)
	st, _ := begin(t, Options{Dir: dir}, s)
	if _, err := Open(Options{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second writer: %v", err)
	}
	must(t, st.Close())
	st, err := Open(Options{Dir: dir})
	must(t, err)
	must(t, st.Close())
	if err := st.Append(t.Context(), audit.Entry{Seq: 1}); err == nil {
		t.Error("a closed store takes records")
	}
}

func TestWhatIsRefused(t *testing.T) {
	s := newSigner(t)
	for name, prepare := range map[string]func(dir string){
		"folder of others": func(dir string) { must(t, os.Chmod(dir, 0o777)) },
		"readable file":    func(dir string) { must(t, os.Chmod(filepath.Join(dir, nameOf(1)), 0o644)) },
		"damaged end": func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, nameOf(1)), []byte("{}\n"), 0o600))
		},
		"no lines at all": func(dir string) {
			must(t, os.WriteFile(filepath.Join(dir, nameOf(1)), bytes.Repeat([]byte("x"), 3*audit.MaxRecord), 0o600))
		},
	} {
		dir := filepath.Join(t.TempDir(), "audit")
		st, _ := begin(t, Options{Dir: dir}, s)
		must(t, st.Close())
		prepare(dir)
		if st, err := Open(Options{Dir: dir}); err == nil {
			t.Errorf("%s: opened", name)
			must(t, st.Close())
		}
		must(t, os.Chmod(dir, 0o700))
	}
	if _, err := Open(Options{Dir: t.TempDir(), Sync: "sometimes"}); err == nil {
		t.Error("sync: sometimes")
	}
}

func TestAppendKeepsTheOrder(t *testing.T) {
	st, err := Open(Options{Dir: filepath.Join(t.TempDir(), "audit")})
	must(t, err)
	defer st.Close()
	if err := st.Append(t.Context(), audit.Entry{Seq: 2, Bytes: []byte("{}")}); !errors.Is(err, audit.ErrConflict) {
		t.Errorf("a gap: %v", err)
	}
	if err := st.Append(t.Context(), audit.Entry{Seq: 1, Bytes: []byte("{\n}")}); err == nil {
		t.Error("a record of two lines")
	}
}

// A write that fails leaves whole lines behind.
func TestFailedWrite(t *testing.T) {
	dir, s := filepath.Join(t.TempDir(), "audit"), newSigner(t)
	st, l := begin(t, Options{Dir: dir}, s)
	add(t, l, 2)
	must(t, st.f.Close()) // every write and truncation fails now
	if err := l.Record(t.Context(), audit.Event{Kind: audit.KindNoVerdict}); err == nil {
		t.Error("recorded in a closed file")
	}
	if err := l.Record(t.Context(), audit.Event{Kind: audit.KindNoVerdict}); err == nil {
		t.Error("and again")
	}
	_ = st.Close()
	if _, err := check(t, dir, s, audit.CheckOptions{}); err != nil {
		t.Error(err)
	}
}

func TestReader(t *testing.T) {
	dir := t.TempDir()
	if _, err := Reader(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := Reader(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there")
	}
	for i, text := range []string{"a\n", "", "b\n"} {
		must(t, os.WriteFile(filepath.Join(dir, nameOf(uint64(i+1))), []byte(text), 0o600))
	}
	must(t, os.WriteFile(filepath.Join(dir, "other"), []byte("c"), 0o600))
	r, err := Reader(dir)
	must(t, err)
	raw, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	if string(raw) != "a\nb\n" {
		t.Errorf("%q", raw)
	}
}

// What an appraisal pays: one record with two components.
func BenchmarkRecordInFile(b *testing.B) {
	for _, sync := range []Sync{SyncNever, SyncAlways} {
		b.Run(string(sync), func(b *testing.B) {
			st, err := Open(Options{Dir: filepath.Join(b.TempDir(), "audit"), Sync: sync})
			must(b, err)
			defer st.Close()
			l, err := audit.Open(b.Context(), audit.Options{Store: st, Signer: newSigner(b), Clock: time.Now, Rand: rand.Reader})
			must(b, err)
			d := audit.Sum([]byte("x"))
			c := audit.Component{Label: "gpu/0", Scheme: "nvidia-gpu", At: []string{"any"}, Request: "0123456789abcdef0123456789abcdef", Evidence: d, Tier: "warning",
				Reasons: []string{"no-reference-values"}, Partials: []audit.Partial{{KID: string(d), Digest: d}}, Duration: 812}
			e := audit.Event{Kind: audit.KindVerdict, Session: "0123456789abcdef0123456789abcdef", Composite: d, Nonce: d, Topology: "lead(cpu, gpu/0)", Plan: d,
				Components: []audit.Component{c, c}, Tier: "warning", Reasons: []string{"component-tier"}, Verdict: d, Duration: 1234}
			b.ReportAllocs()
			for b.Loop() {
				must(b, l.Record(b.Context(), e))
			}
		})
	}
}
