// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/trust"
)

// memory is a Store that several logs may share.
type memory struct {
	mu    sync.Mutex
	lines [][]byte
	torn  int
	// fail is asked before a record is taken, and lost after it.
	fail, lost func(Entry) error
}

func (m *memory) Last(context.Context) (Tail, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := Tail{Torn: m.torn}
	m.torn = 0
	if len(m.lines) > 0 {
		t.Record = m.lines[len(m.lines)-1]
	}
	return t, nil
}

func (m *memory) Append(_ context.Context, e Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		if err := m.fail(e); err != nil {
			return err
		}
	}
	if uint64(len(m.lines))+1 != e.Seq {
		return fmt.Errorf("%w: test", ErrConflict)
	}
	if e.ID != Sum(e.Bytes) {
		return errors.New("the id is not that of the bytes")
	}
	m.lines = append(m.lines, bytes.Clone(e.Bytes))
	if m.lost != nil {
		return m.lost(e)
	}
	return nil
}

// text is the log as a file.
func (m *memory) text() []byte {
	var b bytes.Buffer
	for _, l := range m.lines {
		b.Write(l)
		b.WriteByte('\n')
	}
	return b.Bytes()
}

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

func keysOf(tb testing.TB, signers ...*trust.Signer) *trust.Anchors {
	tb.Helper()
	var keys []trust.Key
	for _, s := range signers {
		keys = append(keys, s.Key("lead", nil, trust.RoleLead))
	}
	a, err := trust.NewAnchors(keys...)
	must(tb, err)
	return a
}

// ticking is a clock that goes on by a second every time.
func ticking() func() time.Time {
	t := time.Date(2026, 3, 1, 0, 0, 0, 123456789, time.UTC)
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		t = t.Add(time.Second)
		return t
	}
}

func options(m *memory, s Signer) Options {
	return Options{Store: m, Signer: s, Node: "n1", Clock: ticking(), Rand: rand.Reader}
}

func open(tb testing.TB, o Options) *Log {
	tb.Helper()
	l, err := Open(context.Background(), o)
	must(tb, err)
	return l
}

// event is one with everything in it.
func event(n int) Event {
	d := func(s string) Digest { return Sum(fmt.Append(nil, s, n)) }
	return Event{
		Kind: KindVerdict, Session: fmt.Sprintf("session-%d", n), Composite: d("composite"), Nonce: d("nonce"), Topology: "lead(a, b@n2)", Plan: d("plan"),
		Handed: []Relay{{Node: "n2", KID: "k2", ID: "e", Expr: "lead(b)", Via: []string{"k1"}, Path: []string{"n1"}, Envelope: d("envelope"), Answer: d("answer")}},
		Components: []Component{
			{Label: "a", Scheme: "cpu", At: []string{"any"}, Request: "r1", Evidence: d("a"), Tier: "affirming", Partials: []Partial{{"k3", d("par a")}}, Duration: 812},
			{Label: "b", Scheme: "dev", Relay: "n2", At: []string{"n2"}, Request: "r2", Evidence: d("b"), Tier: "none", Reasons: []string{"timeout"}, Duration: 2000},
		},
		Tier: "none", Reasons: []string{"component-tier"}, Verdict: d("verdict"), Duration: 2100,
	}
}

func TestLogIsOneChainAcrossRestarts(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	var kept []string
	o := options(m, s)
	o.Every, o.Checkpointed = 3, func(token string) { kept = append(kept, token) }
	for range 2 {
		l := open(t, o)
		for n := range 4 {
			must(t, l.Record(t.Context(), event(n)))
		}
		must(t, l.Close(t.Context()))
		if l.Record(t.Context(), event(9)) == nil {
			t.Error("a closed log takes records")
		}
	}
	rep, err := Check(bytes.NewReader(m.text()), keysOf(t, s), CheckOptions{Kept: kept})
	must(t, err)
	// Each time: started, checkpoint, three events, checkpoint, an event, stopped, checkpoint.
	if rep.Records != 18 || rep.Checkpoints != 6 || rep.Covered != 17 || rep.Open != 0 || !rep.Closed || rep.Kinds[KindVerdict] != 8 || rep.Kinds[KindStarted] != 2 {
		t.Errorf("%+v", rep)
	}
	if len(kept) != 6 || rep.Newest != kept[5] || rep.Head != Sum(m.lines[17]) {
		t.Errorf("%d kept, newest %q, head %s", len(kept), rep.Newest, rep.Head)
	}
	cp, kid, err := ReadCheckpoint([]byte(kept[5]), keysOf(t, s))
	must(t, err)
	if cp.Seq != 17 || cp.Log != rep.Log || cp.Head != Sum(m.lines[16]) || kid != s.KID() || cp.Node != "n1" {
		t.Errorf("%+v by %s", cp, kid)
	}
}

func TestCheckpointOnDemand(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	l := open(t, options(m, s))
	must(t, l.Checkpoint(t.Context()))
	if len(m.lines) != 2 {
		t.Errorf("%d records: a checkpoint was added where nothing was new", len(m.lines))
	}
	must(t, l.Record(t.Context(), event(1)))
	if l.Open() != 1 {
		t.Errorf("%d open", l.Open())
	}
	must(t, l.Checkpoint(t.Context()))
	if len(m.lines) != 4 || l.Open() != 0 {
		t.Errorf("%d records, %d open", len(m.lines), l.Open())
	}
}

func TestTornEndIsNoted(t *testing.T) {
	m, s := &memory{torn: 77}, newSigner(t)
	open(t, options(m, s))
	rep, err := Check(bytes.NewReader(m.text()), keysOf(t, s), CheckOptions{})
	must(t, err)
	if rep.Torn != 77 {
		t.Errorf("%d bytes", rep.Torn)
	}
}

// Two writers make one chain without a gap.
func TestTwoWriters(t *testing.T) {
	m, s1, s2 := &memory{}, newSigner(t), newSigner(t)
	logs := []*Log{open(t, options(m, s1)), open(t, options(m, s2))}
	var wg sync.WaitGroup
	for _, l := range logs {
		wg.Go(func() {
			for n := range 20 {
				// With eight attempts against one other writer nobody starves for long.
				for l.Record(context.Background(), event(n)) != nil {
				}
			}
		})
	}
	wg.Wait()
	for _, l := range logs {
		must(t, l.Close(t.Context()))
	}
	rep, err := Check(bytes.NewReader(m.text()), keysOf(t, s1, s2), CheckOptions{})
	must(t, err)
	if rep.Kinds[KindVerdict] != 40 || len(rep.Signers) != 2 {
		t.Errorf("%+v", rep)
	}
}

// A store whose answer is lost has the record once, and the chain goes on.
func TestLostAnswer(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	l := open(t, options(m, s))
	for _, reached := range []bool{true, false} {
		fault := func(Entry) error { return errors.New("lost") }
		if m.fail, m.lost = fault, nil; reached {
			m.fail, m.lost = nil, fault
		}
		if err := l.Record(t.Context(), event(1)); err == nil {
			t.Error("an event counts as recorded that may not be")
		}
		m.fail, m.lost = nil, nil
		must(t, l.Record(t.Context(), event(2)))
	}
	must(t, l.Close(t.Context()))
	rep, err := Check(bytes.NewReader(m.text()), keysOf(t, s), CheckOptions{})
	must(t, err)
	if rep.Kinds[KindVerdict] != 3 {
		t.Errorf("%+v", rep.Kinds)
	}
}

// A store that went back, or has something else, is not continued.
func TestStoreThatChangesUnderTheLog(t *testing.T) {
	for name, change := range map[string]func(m, other *memory){
		"shorter": func(m, _ *memory) { m.lines = m.lines[:3] },
		"empty":   func(m, _ *memory) { m.lines = nil },
		"other":   func(m, other *memory) { m.lines = other.lines },
		"edited": func(m, _ *memory) {
			i := len(m.lines) - 1
			m.lines[i] = bytes.Replace(m.lines[i], []byte(`"tier":"none"`), []byte(`"tier":"warning"`), 1)
		},
		"damaged": func(m, _ *memory) { m.lines[len(m.lines)-1] = []byte("{}") },
	} {
		m, other, s := &memory{}, &memory{}, newSigner(t)
		l, second := open(t, options(m, s)), open(t, options(other, s))
		for n := range 5 {
			must(t, l.Record(t.Context(), event(n)))
			must(t, second.Record(t.Context(), event(n)))
		}
		m.fail = func(Entry) error { return errors.New("down") }
		_ = l.Record(t.Context(), event(9))
		m.fail = nil
		change(m, other)
		if err := l.Record(t.Context(), event(9)); err == nil {
			t.Errorf("%s: it goes on", name)
		}
	}
}

func TestClockThatGoesBack(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	o := options(m, s)
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	o.Clock = func() time.Time { now = now.Add(-time.Hour); return now }
	l := open(t, o)
	must(t, l.Record(t.Context(), event(1)))
	must(t, l.Close(t.Context()))
	_, err := Check(bytes.NewReader(m.text()), keysOf(t, s), CheckOptions{})
	must(t, err)
}

func TestRecordRefuses(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	l := open(t, options(m, s))
	for name, e := range map[string]Event{
		"no kind":      {},
		"checkpoint":   {Kind: KindCheckpoint},
		"tier":         {Kind: KindVerdict, Tier: "good"},
		"digest":       {Kind: KindVerdict, Composite: "00"},
		"upper case":   {Kind: KindVerdict, Composite: Digest(strings.Repeat("A", 64))},
		"no tier":      {Kind: KindVerdict, Components: []Component{{Label: "a"}}},
		"no token":     {Kind: KindVerdict, Components: []Component{{Label: "a", Tier: "none", Partials: []Partial{{KID: "k"}}}}},
		"relay digest": {Kind: KindRelayRefused, Received: &Relay{Envelope: "x"}},
	} {
		if err := l.Record(t.Context(), e); err == nil {
			t.Errorf("%s is recorded", name)
		}
	}
	if len(m.lines) != 2 {
		t.Errorf("%d records", len(m.lines))
	}
	must(t, l.Record(t.Context(), Event{Kind: KindRequestRefused, Error: "bad \xff text"}))
	if _, err := Decode(m.lines[2]); err != nil {
		t.Error(err)
	}
}

// Nothing that somebody submits is too long to be recorded.
func TestLongRecordsAreShortened(t *testing.T) {
	m, s := &memory{}, newSigner(t)
	l := open(t, options(m, s))
	long := func(components, label int) Event {
		e := event(1)
		e.Topology = strings.Repeat("x", 200<<10)
		c := e.Components[0]
		for range 30 {
			c.Reasons = append(c.Reasons, "some-reason-code-of-a-length")
			c.Partials = append(c.Partials, Partial{KID: strings.Repeat("k", 255), Digest: e.Verdict})
			c.At = append(c.At, "a-site-with-a-name-of-thirty-two")
		}
		e.Components = nil
		for i := range components {
			c.Label = strings.Repeat("\x01", label) + fmt.Sprint(i)
			e.Components = append(e.Components, c)
		}
		return e
	}
	for _, x := range []struct {
		e    Event
		left int
	}{{long(256, 2000), 256}, {long(4096, 100), 0}} {
		must(t, l.Record(t.Context(), x.e))
		r, err := Decode(m.lines[len(m.lines)-1])
		must(t, err)
		if !r.Shortened || r.Topology != "" || r.Verdict != x.e.Verdict || len(r.Components) != x.left || x.e.Shortened || len(x.e.Components[0].Partials) != 31 {
			t.Errorf("%d components, %d bytes", len(r.Components), len(m.lines[len(m.lines)-1]))
		}
		if x.left > 0 && !strings.HasPrefix(r.Components[0].Label, "sha256:") {
			t.Errorf("label %.20q", r.Components[0].Label)
		}
	}
	must(t, l.Record(t.Context(), event(1)))
	if r, err := Decode(m.lines[len(m.lines)-1]); err != nil || r.Shortened {
		t.Errorf("a short one: %v", err)
	}
}

func TestOpenChecksItsOptions(t *testing.T) {
	good := options(&memory{}, newSigner(t))
	for name, change := range map[string]func(*Options){
		"store": func(o *Options) { o.Store = nil }, "signer": func(o *Options) { o.Signer = nil }, "clock": func(o *Options) { o.Clock = nil },
		"rand": func(o *Options) { o.Rand = nil }, "every": func(o *Options) { o.Every = MaxOpen + 1 }, "no randomness": func(o *Options) { o.Rand = strings.NewReader("short") },
		"damaged end": func(o *Options) { o.Store = &memory{lines: [][]byte{[]byte("{}")}} },
	} {
		o := good
		change(&o)
		if _, err := Open(t.Context(), o); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func BenchmarkRecord(b *testing.B) {
	m, s := discard{}, newSigner(b)
	l, err := Open(b.Context(), Options{Store: &m, Signer: s, Node: "n1", Clock: time.Now, Rand: rand.Reader})
	must(b, err)
	e := event(1)
	b.ReportAllocs()
	for b.Loop() {
		must(b, l.Record(b.Context(), e))
	}
}

// discard is a store that only counts.
type discard struct{}

func (*discard) Last(context.Context) (Tail, error)  { return Tail{}, nil }
func (*discard) Append(context.Context, Entry) error { return nil }
