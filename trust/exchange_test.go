// SPDX-License-Identifier: Apache-2.0

package trust

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sealedRequest(tb testing.TB, k SealKey, info SealInfo, plain []byte) ([]byte, *Exchange) {
	tb.Helper()
	out, x, err := k.SealRequest(info, plain)
	if err != nil {
		tb.Fatal(err)
	}
	return out, x
}

func opened(tb testing.TB, p *SealPrivate, info SealInfo, sealed []byte) *Exchange {
	tb.Helper()
	_, x, err := p.OpenRequest(info, sealed)
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

func answer(tb testing.TB, x *Exchange, plain string) []byte {
	tb.Helper()
	out, err := x.SealAnswer(rand.Reader, []byte(plain))
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// refusedRequest fails unless p refuses to open and says only that.
func refusedRequest(t *testing.T, what string, p *SealPrivate, info SealInfo, message []byte) {
	t.Helper()
	if plain, x, err := p.OpenRequest(info, message); !errors.Is(err, ErrOpen) || plain != nil || x != nil {
		t.Errorf("%s: opened %.20q, error %v", what, plain, err)
	}
}

func refusedAnswer(t *testing.T, what string, x *Exchange, message []byte) {
	t.Helper()
	if plain, err := x.OpenAnswer(message); !errors.Is(err, ErrOpen) || plain != nil {
		t.Errorf("%s: opened %.20q, error %v", what, plain, err)
	}
}

func TestExchange(t *testing.T) {
	plain := []byte("request with evidence")
	for _, suite := range suites {
		t.Run(string(suite), func(t *testing.T) {
			p, other := sealPrivate(t, suite), sealPrivate(t, suite)
			k := p.Public(time.Time{})
			sealed, asker := sealedRequest(t, k, sealInfo(), plain)
			got, responder, err := p.OpenRequest(sealInfo(), sealed)
			if err != nil || !bytes.Equal(got, plain) {
				t.Fatalf("%q, %v", got, err)
			}
			if len(sealed)-len(plain) != suite.Overhead() {
				t.Errorf("overhead %d, want %d", len(sealed)-len(plain), suite.Overhead())
			}
			reply := answer(t, responder, "result")
			if back, err := asker.OpenAnswer(reply); err != nil || string(back) != "result" {
				t.Fatalf("%q, %v", back, err)
			}
			if len(reply) != len("result")+AnswerOverhead || bytes.Contains(reply, []byte("result")) {
				t.Errorf("answer %x", reply)
			}
			if bytes.Equal(reply, answer(t, responder, "result")) {
				t.Error("answering twice gives the same bytes")
			}
			refusedRequest(t, "other key", other, sealInfo(), sealed)
			refusedRequest(t, "extended", p, sealInfo(), append(bytes.Clone(sealed), 0))
			refusedRequest(t, "nothing", p, sealInfo(), nil)
			for n := 0; n < len(sealed); n += 7 {
				refusedRequest(t, "truncated", p, sealInfo(), sealed[:n])
				bad := bytes.Clone(sealed)
				bad[n] ^= 1 << (n % 8)
				refusedRequest(t, "flipped", p, sealInfo(), bad)
			}
			for i := range reply {
				bad := bytes.Clone(reply)
				bad[i] ^= 1 << (i % 8)
				refusedAnswer(t, "flipped answer", asker, bad)
				refusedAnswer(t, "truncated answer", asker, reply[:i])
			}
			refusedAnswer(t, "not sealed", asker, []byte("a result in the clear, long enough to be one"))
		})
	}
}

// An answer belongs to one sealed request in these bytes, even where the same
// was asked of the same node in the same context.
func TestAnswerBelongsToItsRequest(t *testing.T) {
	p := sealPrivate(t, SuiteX25519)
	k := p.Public(time.Time{})
	one, asker := sealedRequest(t, k, sealInfo(), []byte("x"))
	two, second := sealedRequest(t, k, sealInfo(), []byte("x"))
	refusedAnswer(t, "other request", asker, answer(t, opened(t, p, sealInfo(), two), "result"))
	refusedAnswer(t, "the asker's other exchange", second, answer(t, opened(t, p, sealInfo(), one), "result"))
	// The digest counts beside the key, which alone would open it.
	moved := *opened(t, p, sealInfo(), one)
	moved.request[0] ^= 1
	refusedAnswer(t, "other digest", asker, answer(t, &moved, "result"))
	refusedAnswer(t, "no exchange", nil, answer(t, asker, "result"))
}

// What is sealed for a component and what is sealed for an exchange never open
// as one another, though key and context are the same.
func TestExchangeIsNotAComponent(t *testing.T) {
	for _, suite := range suites {
		p := sealPrivate(t, suite)
		k := p.Public(time.Time{})
		refusedRequest(t, "component as request", p, sealInfo(), sealed(t, k, sealInfo(), []byte("x")))
		request, _ := sealedRequest(t, k, sealInfo(), []byte("x"))
		refused(t, "request as component", p, sealInfo(), request)
	}
}

// Every member of the context counts, also one that is added later.
func TestExchangeBindsEveryMember(t *testing.T) {
	p := sealPrivate(t, SuiteX25519)
	message, _ := sealedRequest(t, p.Public(time.Time{}), sealInfo(), []byte("x"))
	kind := reflect.TypeFor[SealInfo]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		info := sealInfo()
		switch f := reflect.ValueOf(&info).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString(f.String() + "x")
		case reflect.Slice:
			f.Index(0).SetUint(9)
		case reflect.Array:
			f.Index(31).SetUint(f.Index(31).Uint() ^ 1)
		default:
			t.Fatalf("%s: no case for %s", name, f.Kind())
		}
		refusedRequest(t, name, p, info, message)
		info = sealInfo()
		reflect.ValueOf(&info).Elem().Field(i).SetZero()
		refusedRequest(t, name+" empty", p, info, message)
	}
}

func TestExchangeRefuses(t *testing.T) {
	p, other := sealPrivate(t, SuiteX25519), sealPrivate(t, SuiteX25519)
	good := p.Public(time.Time{})
	foreign := good
	foreign.KID = other.KID()
	for name, seal := range map[string]func() error{
		"nothing":       func() error { _, _, err := good.SealRequest(sealInfo(), nil); return err },
		"too large":     func() error { _, _, err := good.SealRequest(sealInfo(), make([]byte, MaxSealed+1)); return err },
		"no key":        func() error { _, _, err := SealKey{}.SealRequest(sealInfo(), []byte("x")); return err },
		"kid of other":  func() error { _, _, err := foreign.SealRequest(sealInfo(), []byte("x")); return err },
		"small order":   func() error { _, _, err := smallOrder(SuiteX25519).SealRequest(sealInfo(), []byte("x")); return err },
		"no recipient":  func() error { _, _, err := good.SealRequest(SealInfo{Request: "r"}, []byte("x")); return err },
		"no request id": func() error { _, _, err := good.SealRequest(SealInfo{To: "n"}, []byte("x")); return err },
		"long label": func() error {
			i := sealInfo()
			i.Label = strings.Repeat("x", maxSealField+1)
			_, _, err := good.SealRequest(i, []byte("x"))
			return err
		},
	} {
		if seal() == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	if _, _, err := p.OpenRequest(sealInfo(), make([]byte, MaxSealed+SuiteX25519.Overhead()+1)); !errors.Is(err, ErrOpen) || err == ErrOpen {
		t.Errorf("too large: %v", err)
	}
	_, x := sealedRequest(t, good, sealInfo(), []byte("x"))
	for name, c := range map[string]struct {
		x      *Exchange
		random io.Reader
		plain  []byte
	}{
		"no exchange":   {nil, rand.Reader, []byte("x")},
		"no randomness": {x, nil, []byte("x")},
		"too little":    {x, bytes.NewReader(make([]byte, replyNonce-1)), []byte("x")},
		"nothing":       {x, rand.Reader, nil},
		"too large":     {x, rand.Reader, make([]byte, MaxSealed+1)},
	} {
		if _, err := c.x.SealAnswer(c.random, c.plain); err == nil {
			t.Errorf("%s: sealed", name)
		}
	}
	if _, err := x.OpenAnswer(make([]byte, MaxSealed+AnswerOverhead+1)); !errors.Is(err, ErrOpen) || err == ErrOpen {
		t.Errorf("too large an answer: %v", err)
	}
}

func FuzzOpenRequest(f *testing.F) {
	plain := []byte("request")
	var keys []*SealPrivate
	for i, suite := range suites {
		p, err := GenerateSealPrivate(suite, bytes.NewReader(bytes.Repeat([]byte{byte(i + 1)}, 32)))
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, p)
		message, _ := sealedRequest(f, p.Public(time.Time{}), sealInfo(), plain)
		f.Add(message, sealInfo().To)
		f.Add(sealed(f, p.Public(time.Time{}), sealInfo(), plain), sealInfo().To)
		f.Add(message[:suite.Overhead()], "other")
	}
	f.Fuzz(func(t *testing.T, message []byte, to string) {
		info := sealInfo()
		info.To = to
		for _, p := range keys {
			got, x, err := p.OpenRequest(info, message)
			if (err == nil) != (got != nil) || (err == nil) != (x != nil) || err != nil && !errors.Is(err, ErrOpen) {
				t.Fatalf("%q, %v", got, err)
			}
			if err == nil && (!bytes.Equal(got, plain) || to != sealInfo().To) {
				t.Fatalf("opened %q for %q", got, to)
			}
		}
	})
}

func FuzzOpenAnswer(f *testing.F) {
	p := sealPrivate(f, SuiteX25519)
	request, asker := sealedRequest(f, p.Public(time.Time{}), sealInfo(), []byte("x"))
	f.Add(answer(f, opened(f, p, sealInfo(), request), "result"))
	f.Add([]byte("result"))
	f.Fuzz(func(t *testing.T, message []byte) {
		got, err := asker.OpenAnswer(message)
		if (err == nil) != (got != nil) || err != nil && !errors.Is(err, ErrOpen) {
			t.Fatalf("%q, %v", got, err)
		}
		if err == nil && string(got) != "result" {
			t.Fatalf("opened %q", got)
		}
	})
}

// A whole exchange: what sealing costs both sides of one request together.
func BenchmarkExchange(b *testing.B) {
	for _, suite := range suites {
		p := sealPrivate(b, suite)
		k := p.Public(time.Time{})
		for _, size := range []int{16 << 10, 256 << 10} {
			plain, result := make([]byte, size), make([]byte, 4<<10)
			b.Run(fmt.Sprintf("%s/%dKiB", suite, size>>10), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					sealed, asker, err := k.SealRequest(sealInfo(), plain)
					if err != nil {
						b.Fatal(err)
					}
					_, x, err := p.OpenRequest(sealInfo(), sealed)
					if err != nil {
						b.Fatal(err)
					}
					reply, err := x.SealAnswer(rand.Reader, result)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := asker.OpenAnswer(reply); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
