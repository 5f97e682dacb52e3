// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/assize/assize/corim/store"
)

// corimMessage is a message of the stream as its leader gives it.
type corimMessage struct {
	Subject  string    `json:"subject"`
	Sequence uint64    `json:"seq"`
	Header   []byte    `json:"hdrs"`
	Data     []byte    `json:"data"`
	Time     time.Time `json:"time"`
}

// removed tells whether the message says that there is nothing. Only messages
// without a document have headers that say so.
func (m *corimMessage) removed() bool {
	if len(m.Header) == 0 {
		return false
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	return err == nil && (h.Get("KV-Operation") != "" || h.Get("Nats-Marker-Reason") != "")
}

// get asks the leader of the stream for one message; nil if there is none. The
// other way to read messages is answered by any replica.
func (c *CorimBucket) get(ctx context.Context, query map[string]any) (*corimMessage, error) {
	body, err := json.Marshal(query)
	if err != nil {
		return nil, fmt.Errorf("fabric: corim: %w", err)
	}
	res, err := c.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+c.streamName(), body)
	if err != nil {
		return nil, fmt.Errorf("fabric: corim: bucket %s: %w", c.o.Bucket, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message *corimMessage       `json:"message"`
	}
	if err := json.Unmarshal(res.Data, &answer); err != nil {
		return nil, fmt.Errorf("fabric: corim: bucket %s: %w", c.o.Bucket, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case answer.Error != nil:
		return nil, fmt.Errorf("fabric: corim: bucket %s: %w", c.o.Bucket, answer.Error)
	case answer.Message == nil || answer.Message.Sequence == 0:
		return nil, fmt.Errorf("fabric: corim: bucket %s: the server answers without a message", c.o.Bucket)
	}
	return answer.Message, nil
}

// errCorimAgain: what was read before does not hold any more.
var errCorimAgain = errors.New("fabric: corim: the bucket is another one than before")

// corimReader is how far a stream was read.
type corimReader struct {
	bucket  *CorimBucket
	w       store.Watcher
	created time.Time
	seen    uint64              // sequence number of the last message
	keys    map[string]struct{} // that have a message, a removal or a document
	behind  time.Time           // since when the server has less than was seen; zero if it has not
}

// Watch implements store.Bucket.
func (c *CorimBucket) Watch(ctx context.Context, w store.Watcher) error {
	hints := make(chan struct{}, 1)
	sub, err := c.nc.Subscribe(c.subject(">"), func(*nats.Msg) {
		select {
		case hints <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return fmt.Errorf("fabric: corim: %w", err)
	}
	connected := c.nc.StatusChanged(nats.CONNECTED)
	defer c.nc.RemoveStatusListener(connected)
	defer func() { _ = sub.Unsubscribe() }() // fails only if the connection is closed
	r := &corimReader{bucket: c, w: w, keys: map[string]struct{}{}}
	w.Reset()
	for ctx.Err() == nil {
		at := time.Now()
		err := r.read(ctx)
		wait := c.o.Poll
		switch {
		case errors.Is(err, errCorimAgain):
			return err
		case err != nil:
			w.Fault(err)
			wait = corimRetry
		default:
			w.Confirm(at)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-hints:
		case <-c.own:
		case <-connected:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

// read tells what has come since the last time, up to an end that the bucket had
// while it was read, so that it returns however much is being written.
//
// A message that is missing was replaced by a later one. Where that has happened
// the end has to be one that was asked for afterwards, or what has replaced it
// might not be among what was read.
func (r *corimReader) read(ctx context.Context) error {
	info, err := r.info(ctx)
	if err != nil {
		return err
	}
	from := r.seen
	for {
		gap, err := r.upTo(ctx, info)
		if err != nil {
			return err
		}
		if !gap {
			break
		}
		if info, err = r.info(ctx); err != nil {
			return err
		}
	}
	// Entries can be taken out of a stream without a message that says so.
	if r.seen == from && info.State.Msgs != uint64(len(r.keys)) {
		return r.differs(info)
	}
	return nil
}

func (r *corimReader) differs(info *jetstream.StreamInfo) error {
	return fmt.Errorf("%w: it has %d entries, and %d were read", errCorimAgain, info.State.Msgs, len(r.keys))
}

// upTo reads up to the end of the stream as it was, and tells whether messages
// were missing on the way.
func (r *corimReader) upTo(ctx context.Context, info *jetstream.StreamInfo) (gap bool, err error) {
	for r.seen < info.State.LastSeq {
		m, err := r.next(ctx)
		switch {
		case err != nil:
			return false, err
		case m == nil && info.State.Msgs != uint64(len(r.keys)):
			return false, r.differs(info)
		case m == nil: // the end was taken out
			return false, nil
		}
		gap = gap || m.Sequence != r.seen+1
		r.tell(m)
	}
	return gap, nil
}

// info checks that the stream is the one that was read until now.
func (r *corimReader) info(ctx context.Context) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, corimAttempt)
	defer cancel()
	stream, err := r.bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	info, err := stream.Info(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		r.bucket.forget()
		if r.created.IsZero() {
			return nil, fmt.Errorf("fabric: corim: %w", err)
		}
		return nil, fmt.Errorf("%w: %w", errCorimAgain, err)
	case err != nil:
		return nil, fmt.Errorf("fabric: corim: bucket %s: %w", r.bucket.o.Bucket, err)
	case r.created.IsZero():
		r.created = info.Created
	case !info.Created.Equal(r.created):
		r.bucket.forget()
		return nil, errCorimAgain
	}
	if info.State.LastSeq >= r.seen {
		r.behind = time.Time{}
		return info, nil
	}
	// A new leader may need a moment. A bucket that stays behind was put back.
	if r.behind.IsZero() {
		r.behind = time.Now()
	}
	if time.Since(r.behind) > corimBehind {
		return nil, fmt.Errorf("%w: it ends at %d, and %d was read", errCorimAgain, info.State.LastSeq, r.seen)
	}
	return nil, fmt.Errorf("fabric: corim: bucket %s ends at %d, and %d was read: waiting for the server", r.bucket.o.Bucket, info.State.LastSeq, r.seen)
}

func (r *corimReader) next(ctx context.Context) (*corimMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, corimAttempt)
	defer cancel()
	return r.bucket.get(ctx, map[string]any{"seq": r.seen + 1, "next_by_subj": r.bucket.subject(">")})
}

func (r *corimReader) tell(m *corimMessage) {
	r.seen = m.Sequence
	key, ok := strings.CutPrefix(m.Subject, r.bucket.subject(""))
	if !ok {
		return
	}
	r.keys[key] = struct{}{}
	if m.removed() {
		r.w.Delete(key)
		return
	}
	r.w.Put(store.Entry{Key: key, Raw: m.Data, Added: m.Time})
}
