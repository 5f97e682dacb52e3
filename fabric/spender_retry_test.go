// SPDX-License-Identifier: Apache-2.0

package fabric

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// faultyStore is a bucket whose first answers are lost: before is what happens
// to a try before it reaches the bucket, after to its answer.
type faultyStore struct {
	jetstream.KeyValue
	tries         int
	before, after func(try int) error
}

func (f *faultyStore) Create(ctx context.Context, key string, value []byte, o ...jetstream.KVCreateOpt) (uint64, error) {
	f.tries++
	if f.before != nil {
		if err := f.before(f.tries); err != nil {
			return 0, err
		}
	}
	n, err := f.KeyValue.Create(ctx, key, value, o...)
	if f.after != nil {
		if lost := f.after(f.tries); lost != nil {
			return 0, lost
		}
	}
	return n, err
}

// firstTry fails with err, later ones do not.
func firstTry(err error) func(int) error {
	return func(try int) error {
		if try == 1 {
			return err
		}
		return nil
	}
}

// A spender whose store does not answer at first tries again, and does not take
// its own key, whose acknowledgement was lost, for somebody else's, nor somebody
// else's for its own.
func TestSpendAgain(t *testing.T) {
	b := newBusOn(t, memoryServer(t))
	other := spenderOn(t, b, SpenderOptions{})
	nonce := func(c byte) []byte { return bytes.Repeat([]byte{c}, 32) }
	refused := &jetstream.APIError{Code: 400, Description: "no"}
	for i, c := range []struct {
		name          string
		before, after func(int) error
		want          error
		tries         int
	}{
		{"no leader", firstTry(jetstream.ErrNoStreamResponse), nil, nil, 2},
		{"reconnecting", firstTry(nats.ErrReconnectBufExceeded), nil, nil, 2},
		{"unavailable", firstTry(&jetstream.APIError{Code: 503}), nil, nil, 2},
		{"the answer is lost", nil, firstTry(context.DeadlineExceeded), nil, 2},
		{"all answers but the last are lost", nil, func(try int) error {
			if try < 4 {
				return nats.ErrTimeout
			}
			return nil
		}, nil, 4},
		{"a refusal does not pass", nil, firstTry(refused), refused, 1},
	} {
		s := spenderOn(t, b, SpenderOptions{})
		f := &faultyStore{KeyValue: s.kv, before: c.before, after: c.after}
		s.kv = f
		if err := s.Spend(within(t, 10*time.Second), nonce(byte(i)), 0); !errors.Is(err, c.want) || f.tries != c.tries {
			t.Errorf("%s: %v after %d tries, want %v after %d", c.name, err, f.tries, c.want, c.tries)
		}
		if err := s.Spend(within(t, 10*time.Second), nonce(byte(i)), 0); !errors.Is(err, ErrSpent) {
			t.Errorf("%s: again: %v", c.name, err)
		}
		if err := other.Spend(t.Context(), nonce(byte(i)), 0); !errors.Is(err, ErrSpent) {
			t.Errorf("%s: elsewhere: %v", c.name, err)
		}
	}
}

// Between the tries of one, another spends the nonce: it is the other's.
func TestSpendAgainAfterAnother(t *testing.T) {
	b := newBusOn(t, memoryServer(t))
	s, other := spenderOn(t, b, SpenderOptions{}), spenderOn(t, b, SpenderOptions{})
	nonce := bytes.Repeat([]byte{5}, 32)
	f := &faultyStore{KeyValue: s.kv, before: func(try int) error {
		if try > 1 {
			return nil
		}
		if err := other.Spend(t.Context(), nonce, 0); err != nil {
			t.Error(err)
		}
		return nats.ErrNoResponders
	}}
	s.kv = f
	if err := s.Spend(within(t, 10*time.Second), nonce, 0); !errors.Is(err, ErrSpent) || f.tries != 2 {
		t.Errorf("%v after %d tries", err, f.tries)
	}
}

// A key that is said to exist and cannot be read is nobody's: the caller hears
// neither that the nonce is its own nor that it was spent.
func TestSpendAgainUnread(t *testing.T) {
	b := newBusOn(t, memoryServer(t))
	s := spenderOn(t, b, SpenderOptions{})
	s.kv = &faultyStore{KeyValue: s.kv, before: func(try int) error {
		if try == 1 {
			return nats.ErrTimeout
		}
		return jetstream.ErrKeyExists
	}}
	if err := s.Spend(within(t, time.Second), bytes.Repeat([]byte{6}, 32), 0); err == nil || errors.Is(err, ErrSpent) {
		t.Errorf("an unread key: %v", err)
	}
}

// A store that stays away is given up while the caller has time left.
func TestSpendGivesUp(t *testing.T) {
	b := newBusOn(t, memoryServer(t))
	s := spenderOn(t, b, SpenderOptions{})
	f := &faultyStore{KeyValue: s.kv, before: func(int) error { return jetstream.ErrNoStreamResponse }}
	s.kv = f
	ctx, began := within(t, 800*time.Millisecond), time.Now()
	err := s.Spend(ctx, bytes.Repeat([]byte{7}, 32), 0)
	if !errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, ErrSpent) || ctx.Err() != nil || f.tries < 2 {
		t.Errorf("%v after %s and %d tries; the caller: %v", err, time.Since(began), f.tries, ctx.Err())
	}
	bounded, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if d := spendTime(bounded); d != spendPatience {
		t.Errorf("of an hour: %s", d)
	}
	if d := spendTime(context.Background()); d != dialTimeout {
		t.Errorf("without a deadline: %s", d)
	}
}

// A connection that hangs does not hold up the caller, and what it does later
// is not told to anybody.
func TestSpendLeavesAHangingConnection(t *testing.T) {
	b := newBusOn(t, memoryServer(t))
	s := spenderOn(t, b, SpenderOptions{})
	hang := make(chan struct{})
	s.kv = &faultyStore{KeyValue: s.kv, before: func(int) error { <-hang; return nil }}
	ctx, began := within(t, 400*time.Millisecond), time.Now()
	err := s.Spend(ctx, bytes.Repeat([]byte{8}, 32), 0)
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrSpent) || ctx.Err() != nil {
		t.Errorf("%v after %s; the caller: %v", err, time.Since(began), ctx.Err())
	}
	close(hang)
	s.mu.Lock() // until the attempt has ended
	defer s.mu.Unlock()
}

// A server that takes connections and then says nothing, as a frozen one does,
// does not hold up the caller either: the client library waits for it with all
// other users of the connection locked out.
func TestSpendLeavesASilentServer(t *testing.T) {
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, JetStream: true, StoreDir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(5 * time.Second) {
		t.Fatal("the server does not come up")
	}
	address := srv.Addr().String()
	b := newTestBus(t, Config{Name: "test/" + t.Name(), URLs: []string{"nats://" + address}})
	s := spenderOn(t, b, SpenderOptions{})
	srv.Shutdown()
	srv.WaitForShutdown()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	taken, done := make(chan net.Conn, 64), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			taken <- c
		}
	}()
	var open []net.Conn
	t.Cleanup(func() {
		l.Close()
		<-done
		close(taken)
		for c := range taken {
			open = append(open, c)
		}
		for _, c := range open {
			c.Close()
		}
	})
	for range 3 { // the connections of a bus
		open = append(open, <-taken)
	}
	ctx := within(t, 400*time.Millisecond)
	if err := s.Spend(ctx, bytes.Repeat([]byte{9}, 32), 0); err == nil || errors.Is(err, ErrSpent) || ctx.Err() != nil {
		t.Errorf("%v; the caller: %v", err, ctx.Err())
	}
}

func TestLeaving(t *testing.T) {
	failed := &jetstream.APIError{Code: 500, ErrorCode: storeFailed, Description: "error creating store for stream"}
	for err, want := range map[error]bool{
		error(failed): true, fmt.Errorf("fabric: spender: %w", failed): true, error(&jetstream.APIError{Code: 500, ErrorCode: 10023}): false, ErrSpent: false,
	} {
		if leaving(err) != want {
			t.Errorf("%v: %t", err, !want)
		}
	}
	if leaving(nil) {
		t.Error("no error is one")
	}
}
