// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/fabric/embed"
	"github.com/assize/assize/trust"
)

func auditStream(t testing.TB, b *Bus, o AuditOptions) *AuditStream {
	t.Helper()
	if o.Log == "" {
		o.Log = "lead"
	}
	s, err := b.Audit(within(t, 5*time.Second), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func auditSigner(t testing.TB) *trust.Signer {
	t.Helper()
	s, err := trust.GenerateSigner(trust.ES256, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func auditLog(t testing.TB, st audit.Store, s *trust.Signer) *audit.Log {
	t.Helper()
	l, err := audit.Open(within(t, 5*time.Second), audit.Options{Store: st, Signer: s, Clock: time.Now, Rand: rand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func auditEvent() audit.Event {
	return audit.Event{Kind: audit.KindVerdict, Session: "s", Tier: "warning", Verdict: audit.Sum([]byte("v"))}
}

func checkAudit(t testing.TB, st *AuditStream, signers ...*trust.Signer) audit.Report {
	t.Helper()
	var keys []trust.Key
	for _, s := range signers {
		keys = append(keys, s.Key("lead", nil, trust.RoleLead))
	}
	set, err := trust.NewAnchors(keys...)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := st.Export(within(t, 5*time.Second), &b); err != nil {
		t.Fatal(err)
	}
	rep, err := audit.Check(&b, set, audit.CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return rep
}

func TestAuditStreamAcrossRestart(t *testing.T) {
	o := embed.Options{JetStream: true, StoreDir: t.TempDir()}
	srv, err := embed.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	b := newBusOn(t, srv)
	st, s := auditStream(t, b, AuditOptions{}), auditSigner(t)
	l := auditLog(t, st, s)
	record := func(want bool) {
		t.Helper()
		if err := l.Record(within(t, 3*time.Second), auditEvent()); (err == nil) != want {
			t.Errorf("recorded: %v", err)
		}
	}
	record(true)
	shutdown(t, srv)
	record(false)
	o.Provider = srv.Provider()
	newServer(t, o)
	eventually(t, "reconnected", func() bool { return b.Ready(context.Background()) == nil })
	record(true)
	if err := l.Close(within(t, time.Second)); err != nil {
		t.Error(err)
	}
	again := auditStream(t, newBusOn(t, srv), AuditOptions{})
	if err := auditLog(t, again, s).Close(within(t, time.Second)); err != nil {
		t.Error(err)
	}
	rep := checkAudit(t, again, s)
	if rep.Kinds[audit.KindVerdict] != 2 || rep.Kinds[audit.KindStarted] != 2 || !rep.Closed {
		t.Errorf("%+v", rep)
	}
}

// A record whose acknowledgement was lost is sent again and is there once.
func TestAuditLostAnswer(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	b := newBusOn(t, srv)
	st, s := auditStream(t, b, AuditOptions{}), auditSigner(t)
	l := auditLog(t, lossy{st}, s)
	for range 3 {
		if err := l.Record(within(t, 3*time.Second), auditEvent()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(within(t, time.Second)); err != nil {
		t.Error(err)
	}
	if rep := checkAudit(t, st, s); rep.Kinds[audit.KindVerdict] != 3 || rep.Records != 7 {
		t.Errorf("%+v", rep)
	}
}

// lossy has every record reach the server once before it is sent.
type lossy struct{ *AuditStream }

func (l lossy) Append(ctx context.Context, e audit.Entry) error {
	_, err := l.js.PublishMsg(ctx, &nats.Msg{Subject: l.subject, Data: e.Bytes}, jetstream.WithMsgID(string(e.ID)), jetstream.WithExpectLastSequencePerSubject(l.last))
	if err != nil {
		return err
	}
	return l.AuditStream.Append(ctx, e)
}

// Two nodes with one log make one chain; another log beside is another chain.
func TestAuditTwoWriters(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	first, second, other := auditStream(t, newBusOn(t, srv), AuditOptions{}), auditStream(t, newBusOn(t, srv), AuditOptions{}),
		auditStream(t, newBusOn(t, srv), AuditOptions{Log: "other"})
	s := auditSigner(t)
	var wg sync.WaitGroup
	for _, st := range []*AuditStream{first, second, other} {
		l := auditLog(t, st, s)
		wg.Go(func() {
			for done := 0; done < 10; {
				if l.Record(context.Background(), auditEvent()) == nil {
					done++
				}
			}
		})
	}
	wg.Wait()
	for st, want := range map[*AuditStream]int{first: 20, other: 10} {
		if err := auditLog(t, st, s).Checkpoint(within(t, time.Second)); err != nil {
			t.Error(err)
		}
		if rep := checkAudit(t, st, s); rep.Kinds[audit.KindVerdict] != want {
			t.Errorf("%s: %+v", st.subject, rep)
		}
	}
}

// The stream neither deletes nor purges, and does not make room.
func TestAuditStreamKeepsRecords(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	st, s := auditStream(t, newBusOn(t, srv), AuditOptions{MaxBytes: 4000}), auditSigner(t)
	l := auditLog(t, st, s)
	if err := st.stream.Purge(t.Context()); err == nil {
		t.Error("purged")
	}
	if err := st.stream.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("deleted")
	}
	var err error
	for n := 0; n < 100 && err == nil; n++ {
		err = l.Record(within(t, time.Second), auditEvent())
	}
	if err == nil {
		t.Error("a full stream takes records")
	}
	if rep := checkAudit(t, st, s); rep.First != 1 {
		t.Errorf("%+v", rep)
	}
}

func TestAuditRefusesUnfitStreams(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	b := newBusOn(t, srv)
	js, err := jetstream.New(b.bulk)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"memory": func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "delete": func(c *jetstream.StreamConfig) { c.DenyDelete = false },
		"purge": func(c *jetstream.StreamConfig) { c.DenyPurge = false }, "discard": func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"per subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 1 }, "age": func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"subject": func(c *jetstream.StreamConfig) { c.Subjects = []string{"att.v1.local.audit.lead"} },
	} {
		cfg := auditConfig(AuditOptions{Stream: DefaultAuditStream})
		change(&cfg)
		// The folder of the stream before may still be on its way out.
		_, err := js.CreateStream(within(t, time.Second), cfg)
		for began := time.Now(); err != nil && time.Since(began) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
			_, err = js.CreateStream(within(t, time.Second), cfg)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := b.Audit(within(t, time.Second), AuditOptions{Log: "lead"}); err == nil {
			t.Errorf("%s: used", name)
		}
		if err := js.DeleteStream(within(t, time.Second), DefaultAuditStream); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Audit(within(t, time.Second), AuditOptions{Log: "a.b"}); err == nil {
		t.Error("a log with two tokens")
	}
	for began := time.Now(); time.Since(began) < 5*time.Second; time.Sleep(10 * time.Millisecond) { // as above
		if _, err := b.Audit(within(t, time.Second), AuditOptions{Log: "lead"}); err == nil {
			break
		}
	}
	auditStream(t, b, AuditOptions{}) // and what it makes itself is fit
	auditStream(t, b, AuditOptions{})
}

func TestAuditWithoutJetStream(t *testing.T) {
	b := newBusOn(t, newServer(t, embed.Options{}))
	if _, err := b.Audit(within(t, time.Second), AuditOptions{Log: "lead"}); err == nil {
		t.Error("a log without a store")
	}
}

// A gap is refused before anything is sent.
func TestAuditAppendKeepsTheOrder(t *testing.T) {
	srv := newServer(t, embed.Options{JetStream: true, StoreDir: t.TempDir()})
	st := auditStream(t, newBusOn(t, srv), AuditOptions{})
	if err := st.Append(within(t, time.Second), audit.Entry{Seq: 2, ID: audit.Sum([]byte("{}")), Bytes: []byte("{}")}); !errors.Is(err, audit.ErrConflict) {
		t.Errorf("%v", err)
	}
	if err := st.Export(within(t, time.Second), &bytes.Buffer{}); err != nil {
		t.Errorf("an empty log: %v", err)
	}
}
