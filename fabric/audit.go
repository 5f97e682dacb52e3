// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assize/assize/audit"
	"github.com/assize/assize/internal/limits"
)

// DefaultAuditStream is the stream of audit records.
const DefaultAuditStream = "ATT_AUDIT"

// auditWindow is how long the server knows the id of a record that it has: as
// long as somebody might send it again.
const auditWindow = 10 * time.Minute

// auditAttempt bounds one exchange with the server about a record, so that a
// lost answer leaves time for another.
const auditAttempt = 500 * time.Millisecond

var auditToken = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// AuditOptions configure an AuditStream.
type AuditOptions struct {
	// Stream, default DefaultAuditStream. It takes the logs of all tenants of
	// the account.
	Stream string
	// Log names the log of this node, [A-Za-z0-9_-]{1,64}: the last token of its
	// subject. Nodes with the same name write one chain.
	Log string
	// Replicas in a cluster; default 1.
	Replicas int
	// MaxAge is how long records are kept, zero for ever. MaxBytes is the largest
	// size of the stream, zero for what the account allows. A full stream takes
	// nothing more; it never drops a record to make room for another.
	MaxAge   time.Duration
	MaxBytes int64
}

// AuditStream keeps an audit log in JetStream, on disk, in a stream that refuses
// to delete or purge records. It is an audit.Store. Whoever may change streams
// of the account can still remove records; the chain shows that (package audit).
type AuditStream struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string

	// last is the position of our newest record in the stream, of which a log
	// has every sequence number, others in between.
	last uint64
	seq  uint64
}

var _ audit.Store = (*AuditStream)(nil)

// Audit opens the stream, or creates it. One that exists and could lose records
// is an error. The result is for one audit.Log, which calls it once at a time.
func (b *Bus) Audit(ctx context.Context, o AuditOptions) (*AuditStream, error) {
	if o.Stream == "" {
		o.Stream = DefaultAuditStream
	}
	if !auditToken.MatchString(o.Log) {
		return nil, fmt.Errorf("fabric: %q is not the name of an audit log ([A-Za-z0-9_-]{1,64})", o.Log)
	}
	js, err := jetstream.New(b.bulk)
	if err != nil {
		return nil, fmt.Errorf("fabric: audit: %w", err)
	}
	cfg := auditConfig(o)
	s := &AuditStream{js: js, subject: fmt.Sprintf("att.v1.%s.audit.%s", b.cfg.Tenant, o.Log)}
	s.stream, err = js.CreateStream(ctx, cfg)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		s.stream, err = js.Stream(ctx, o.Stream)
	}
	if err != nil {
		return nil, fmt.Errorf("fabric: audit: stream %s: %w", o.Stream, err)
	}
	if err := fitForAudit(s.stream.CachedInfo().Config, cfg); err != nil {
		return nil, fmt.Errorf("fabric: audit: stream %s is not fit: %w", o.Stream, err)
	}
	return s, nil
}

func auditConfig(o AuditOptions) jetstream.StreamConfig {
	cfg := jetstream.StreamConfig{
		Name: o.Stream, Description: "audit records", Subjects: []string{"att.v1.*.audit.*"},
		Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage,
		Replicas: max(o.Replicas, 1), MaxAge: o.MaxAge, MaxBytes: o.MaxBytes, MaxMsgs: -1, MaxMsgsPerSubject: -1,
		MaxMsgSize: limits.FabricPayload, Duplicates: auditWindow, DenyDelete: true, DenyPurge: true,
	}
	if o.MaxAge > 0 {
		cfg.Duplicates = min(auditWindow, o.MaxAge)
	}
	if o.MaxBytes <= 0 {
		cfg.MaxBytes = -1
	}
	return cfg
}

// fitForAudit refuses a stream that forgets more than it should.
func fitForAudit(have, want jetstream.StreamConfig) error {
	switch {
	case len(have.Subjects) != 1 || have.Subjects[0] != want.Subjects[0]:
		return fmt.Errorf("it is for %v", have.Subjects)
	case have.Storage != jetstream.FileStorage:
		return errors.New("it is in memory, not on disk")
	case !have.DenyDelete || !have.DenyPurge:
		return errors.New("records can be deleted or purged")
	case have.Retention != jetstream.LimitsPolicy || have.Discard != jetstream.DiscardNew:
		return errors.New("it drops records to make room for others")
	case have.MaxMsgsPerSubject > 0:
		return fmt.Errorf("it keeps %d records of a log", have.MaxMsgsPerSubject)
	case have.MaxAge > 0 && (want.MaxAge == 0 || have.MaxAge < want.MaxAge):
		return fmt.Errorf("it keeps records for %s", have.MaxAge)
	}
	return nil
}

// Last implements audit.Store.
func (s *AuditStream) Last(ctx context.Context) (audit.Tail, error) {
	m, err := s.newest(ctx)
	if err != nil || m == nil {
		s.last, s.seq = 0, 0
		return audit.Tail{}, err
	}
	r, err := audit.Decode(m.Data)
	if err != nil {
		return audit.Tail{}, fmt.Errorf("fabric: audit: %w", err)
	}
	s.last, s.seq = m.Sequence, r.Seq
	return audit.Tail{Record: m.Data}, nil
}

// newest is the last record of the log, nil if there is none. The leader of the
// stream answers.
func (s *AuditStream) newest(ctx context.Context) (*jetstream.RawStreamMsg, error) {
	m, err := s.stream.GetLastMsgForSubject(ctx, s.subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("fabric: audit: %w", err)
	}
	return m, nil
}

// Append implements audit.Store. The server takes a record only behind the one
// that it was written behind. Where its answer is lost, the record is sent
// again, and found there if it had arrived.
func (s *AuditStream) Append(ctx context.Context, e audit.Entry) error {
	if e.Seq != s.seq+1 {
		return fmt.Errorf("%w: record %d would follow record %d", audit.ErrConflict, e.Seq, s.seq)
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, dialTimeout)
		defer cancel()
	}
	for {
		err := s.publish(ctx, e)
		switch {
		case err == nil:
			s.seq = e.Seq
			return nil
		case errors.Is(err, audit.ErrConflict) || ctx.Err() != nil || !lostAnswer(err):
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(auditAttempt / 20):
		}
	}
}

// publish sends a record once and looks what became of it.
func (s *AuditStream) publish(ctx context.Context, e audit.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, auditAttempt)
	defer cancel()
	msg := &nats.Msg{Subject: s.subject, Data: e.Bytes}
	ack, err := s.js.PublishMsg(ctx, msg, jetstream.WithMsgID(string(e.ID)), jetstream.WithExpectLastSequencePerSubject(s.last),
		jetstream.WithRetryAttempts(0))
	if err == nil {
		s.last = ack.Sequence
		return nil
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) || api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequence && api.ErrorCode != jetstream.JSErrCodeStreamWrongLastSequenceConstant {
		return fmt.Errorf("fabric: audit: %w", err)
	}
	// The server compares places before it compares ids, so our own record that
	// has arrived already looks like somebody else's.
	m, err := s.newest(ctx)
	if err != nil {
		return err
	}
	if m == nil || m.Header.Get(jetstream.MsgIDHeader) != string(e.ID) {
		return fmt.Errorf("%w: %s has other records behind record %d", audit.ErrConflict, s.subject, e.Seq-1)
	}
	s.last = m.Sequence
	return nil
}

// lostAnswer reports whether nobody knows what became of a message. What the
// server has refused is no such error.
func lostAnswer(err error) bool {
	var api *jetstream.APIError
	return !errors.As(err, &api)
}

// Export writes the records of the log as lines, from the oldest that is kept.
func (s *AuditStream) Export(ctx context.Context, w io.Writer) error {
	newest, err := s.newest(ctx)
	if err != nil || newest == nil {
		return err
	}
	c, err := s.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{s.subject}})
	if err != nil {
		return fmt.Errorf("fabric: audit: %w", err)
	}
	it, err := c.Messages()
	if err != nil {
		return fmt.Errorf("fabric: audit: %w", err)
	}
	defer it.Stop()
	for at := uint64(0); at < newest.Sequence; {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("fabric: audit: %w", err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("fabric: audit: %w", err)
		}
		at = meta.Sequence.Stream
		if _, err := w.Write(append(m.Data(), '\n')); err != nil {
			return err
		}
	}
	return nil
}
