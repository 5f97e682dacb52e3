// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/assize/assize/verdict"
	"github.com/assize/assize/verifiers"
	"github.com/assize/assize/verifiers/appraisal"
	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

func policies(name string, p *appraisal.Policy) map[string]*appraisal.Policy {
	return map[string]*appraisal.Policy{name: p}
}

// ticking is a clock that a test moves.
type ticking struct{ ns atomic.Int64 }

func (c *ticking) now() time.Time       { return at.Add(time.Duration(c.ns.Load())) }
func (c *ticking) pass(d time.Duration) { c.ns.Add(int64(d)) }
func (c *ticking) in(o *ClientOptions)  { o.Now = c.now }
func client(tb testing.TB, o ClientOptions) *Client {
	tb.Helper()
	if o.HTTP == nil {
		o.HTTP = http.DefaultClient
	}
	if o.Now == nil {
		o.Now = clock
	}
	c, err := NewClient(o)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// A key that the service begins to use is found, one that it withdrew forgotten.
func TestRotation(t *testing.T) {
	s, c := nrastest.New(t, rand.Reader, clock), &ticking{}
	v := verifierOf(t, s, "nvidia-gpu", "HOPPER", c.in)
	leaf := gpu(t, nil)
	ask := func() error { _, err := v.Appraise(t.Context(), input(leaf)); return err }
	for range 3 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.KeysAsked(); n != 1 {
		t.Errorf("keys were fetched %d times", n)
	}
	old := s.Published[0]
	s.Rotate("kid-1")
	if err := ask(); !errors.Is(err, ErrReply) { // too early to ask again
		t.Error(err)
	}
	c.pass(30 * time.Second)
	if err := ask(); err != nil || s.KeysAsked() != 2 {
		t.Errorf("%v, %d", err, s.KeysAsked())
	}
	s.Signing = &old
	if err := ask(); !errors.Is(err, ErrReply) {
		t.Errorf("a withdrawn key: %v", err)
	}
	s.Signing = nil
	s.Published = nil // and a key that is no longer there is forgotten after a while
	k := s.Key("kid-1")
	s.Published = []nrastest.Key{k}
	c.pass(time.Hour + time.Second)
	s.Edit = func(overall, device nrastest.Claims) {
		for _, m := range []nrastest.Claims{overall, device} {
			m["iat"], m["nbf"], m["exp"] = c.now().Unix(), c.now().Unix(), c.now().Unix()+10
		}
	}
	in := input(leaf)
	in.Time = c.now()
	if _, err := v.Appraise(t.Context(), in); err != nil || s.KeysAsked() != 3 {
		t.Errorf("%v, %d", err, s.KeysAsked())
	}
}

// A storm of key ids that nobody has is one fetch, and so are many callers at once.
func TestKeyStorm(t *testing.T) {
	s, c := nrastest.New(t, rand.Reader, clock), &ticking{}
	cl := client(t, ClientOptions{URL: s.URL, Now: c.now})
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			if _, err := cl.Key(t.Context(), fmt.Sprint("unknown-", i)); err == nil {
				t.Error("found")
			}
		})
	}
	wg.Wait()
	if n := s.KeysAsked(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	if _, err := cl.Key(t.Context(), "kid-0"); err != nil {
		t.Error(err)
	}
	c.pass(29 * time.Second)
	_, _ = cl.Key(t.Context(), "unknown")
	if n := s.KeysAsked(); n != 1 {
		t.Errorf("%d fetches", n)
	}
	c.pass(time.Second)
	_, _ = cl.Key(t.Context(), "unknown")
	if n := s.KeysAsked(); n != 2 {
		t.Errorf("%d fetches", n)
	}
	// A key set that cannot be had does not make the keys forgotten that are there,
	// until they are too old.
	s.Set(func(s *nrastest.Service) { s.Published = []nrastest.Key{s.Published[0], s.Published[0]} })
	c.pass(time.Minute)
	if _, err := cl.Key(t.Context(), "unknown"); err == nil || !strings.Contains(err.Error(), "two keys") {
		t.Error(err)
	}
	if _, err := cl.Key(t.Context(), "kid-0"); err != nil {
		t.Error(err)
	}
	c.pass(time.Hour)
	if _, err := cl.Key(t.Context(), "kid-0"); err == nil {
		t.Error("an old key counts")
	}
}

// One caller that gives up does not take the others with it.
func TestKeyWait(t *testing.T) {
	release := make(chan struct{})
	s := nrastest.New(t, rand.Reader, clock)
	set := s.KeySet()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { <-release; _, _ = w.Write(set) }))
	defer srv.Close()
	cl := client(t, ClientOptions{URL: srv.URL})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := cl.Key(ctx, "kid-0"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(release)
	if _, err := cl.Key(t.Context(), "kid-0"); err != nil {
		t.Error(err)
	}
}

// What is not 200, not JSON, too large or too late gives no verdict.
func TestAnswers(t *testing.T) {
	leaf := gpu(t, nil)
	for name, h := range map[string]http.HandlerFunc{
		"400": status(400, ""), "401": status(401, ""), "403": status(403, ""), "404": status(404, ""), "408": status(408, ""), "429": status(429, "7"), "500": status(500, ""),
		"502": status(502, ""), "503": status(503, "7"), "204": status(204, ""), "redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/v3/attest/gpu", http.StatusTemporaryRedirect)
		},
		"empty": func(http.ResponseWriter, *http.Request) {},
		"page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("{}"))
		},
		"object":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
		"endless": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte(" "), MaxReply+1)) },
		"cut": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("["))
		},
		"closed": func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_ = c.Close()
			}
		},
		"late": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Second):
			}
		},
	} {
		s := nrastest.New(t, rand.Reader, clock)
		s.Answer = h
		v := verifierOf(t, s, "nvidia-gpu", "HOPPER", func(o *ClientOptions) { o.Timeout, o.ServiceKey = 300*time.Millisecond, "secret-key" })
		a, err := v.Appraise(t.Context(), input(leaf))
		later := slices.Contains([]string{"408", "429", "500", "502", "503", "cut", "closed", "late"}, name) // as who answers now says nothing of then
		if errors.Is(err, verifiers.ErrUnavailable) != later || errors.Is(err, verifiers.ErrMalfunction) == later || a.Vector != (verdict.Vector{}) || len(a.Reasons) != 0 {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if errors.Is(err, context.DeadlineExceeded) != (name == "late") { // which a node reports as a timeout
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the service key is in the error: %v", name, err)
		}
		if n := len(s.Asked()); n != 1 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}

// Nothing beyond the limit is kept, for whatever reader.
func TestAnswerLimit(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	for more, ok := range map[int]bool{0: true, 1: false} {
		s.Set(func(s *nrastest.Service) {
			s.Answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bytes.Repeat([]byte("x"), MaxReply+more)) }
		})
		if raw, err := client(t, ClientOptions{URL: s.URL}).Attest(t.Context(), Request{Device: "gpu"}); (err == nil) != ok || !ok && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d bytes more than the limit: %d, %v", more, len(raw), err)
		}
	}
}

func status(code int, after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(code)
	}
}

// A service that wants to be left alone is, and nobody else is asked meanwhile.
func TestRetryAfter(t *testing.T) {
	s, c := nrastest.New(t, rand.Reader, clock), &ticking{}
	cl := client(t, ClientOptions{URL: s.URL, Now: c.now})
	for _, after := range []string{"7", "99999999"} {
		s.Set(func(s *nrastest.Service) { s.Answer = status(429, after) })
		before := len(s.Asked())
		for range 3 {
			if _, err := cl.Attest(t.Context(), Request{Device: "gpu"}); !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		}
		if n := len(s.Asked()) - before; n != 1 {
			t.Errorf("%s: %d requests", after, n)
		}
		c.pass(6 * time.Second)
		_, _ = cl.Attest(t.Context(), Request{Device: "gpu"})
		if n := len(s.Asked()) - before; n != 1 {
			t.Errorf("%s: %d requests before the time", after, n)
		}
		c.pass(time.Hour)
		_, _ = cl.Attest(t.Context(), Request{Device: "gpu"})
		if n := len(s.Asked()) - before; n != 2 {
			t.Errorf("%s: %d requests", after, n)
		}
		c.pass(2 * time.Hour)
	}
}

func TestRate(t *testing.T) {
	s, c := nrastest.New(t, rand.Reader, clock), &ticking{}
	s.Answer = status(200, "")
	cl := client(t, ClientOptions{URL: s.URL, Now: c.now, Interval: time.Hour, Burst: 2})
	for i := range 4 {
		if _, err := cl.Attest(t.Context(), Request{Device: "gpu"}); (err != nil) != (i >= 2) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	c.pass(time.Hour)
	if _, err := cl.Attest(t.Context(), Request{Device: "gpu"}); err != nil || len(s.Asked()) != 3 {
		t.Error(err, len(s.Asked()))
	}
	quick := client(t, ClientOptions{URL: s.URL, Now: c.now, Interval: 20 * time.Millisecond, Burst: 1})
	for range 3 { // those that would be in time wait
		if _, err := quick.Attest(t.Context(), Request{Device: "gpu"}); err != nil {
			t.Error(err)
		}
	}
}

func TestConcurrency(t *testing.T) {
	var under, most atomic.Int64
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		<-release
	}))
	defer srv.Close()
	cl := client(t, ClientOptions{URL: srv.URL, Concurrent: 2, Burst: 100})
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { _, _ = cl.Attest(t.Context(), Request{Device: "gpu"}) })
	}
	time.Sleep(50 * time.Millisecond)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := cl.Attest(ctx, Request{Device: "gpu"}); !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "under way") {
		t.Error(err)
	}
	close(release)
	wg.Wait()
	if n := most.Load(); n != 2 {
		t.Errorf("%d requests at once", n)
	}
}

func TestHeaders(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	s.Answer = status(200, "")
	for _, c := range []struct {
		o              ClientOptions
		auth, hold, at string
	}{
		{ClientOptions{}, "", "", "/v3/attest/gpu"},
		{ClientOptions{ServiceKey: "k-1.2_3", AllowHold: true, Version: "v4"}, "Bearer k-1.2_3", "true", "/v4/attest/gpu"},
	} {
		c.o.URL = s.URL
		if _, err := client(t, c.o).Attest(t.Context(), Request{Device: "gpu", Body: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
		all := s.Asked()
		r := all[len(all)-1]
		if r.Header.Get("Authorization") != c.auth || r.Header.Get("X-NVIDIA-OCSP-ALLOW-CERT-HOLD") != c.hold || r.URL.Path != c.at || r.Method != http.MethodPost {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
	}
	// The key set is fetched without the service key.
	var seen http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer srv.Close()
	_, _ = client(t, ClientOptions{URL: s.URL, KeySet: srv.URL + "/keys", ServiceKey: "k"}).Key(t.Context(), "x")
	if seen == nil || seen.Get("Authorization") != "" {
		t.Errorf("%v", seen)
	}
}

func TestClientOptions(t *testing.T) {
	for name, o := range map[string]ClientOptions{
		"http": {URL: "http://nras.example"}, "ftp": {URL: "ftp://127.0.0.1"}, "no host": {URL: "https://"}, "nothing": {}, "password": {URL: "https://u:secret@nras.example"},
		"query": {URL: "https://nras.example?x=y"}, "unreadable": {URL: "https://u:secret@[::1"}, "key set": {URL: "https://nras.example", KeySet: "http://nras.example"},
		"version": {URL: "https://nras.example", Version: "v1"}, "path in version": {URL: "https://nras.example", Version: "../v3"},
		"service key": {URL: "https://nras.example", ServiceKey: "secret\r\nX: y"}, "long key": {URL: "https://nras.example", ServiceKey: strings.Repeat("s", 9<<10)},
		"rate": {URL: "https://nras.example", Interval: -1},
	} {
		o.HTTP, o.Now = http.DefaultClient, clock
		if _, err := NewClient(o); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewClient(ClientOptions{URL: DefaultURL}); err == nil {
		t.Error("without HTTP client and clock")
	}
	for _, url := range []string{DefaultURL, "http://localhost:1/x/", "http://[::1]:1", "http://127.0.0.1"} {
		if _, err := NewClient(ClientOptions{URL: url, HTTP: http.DefaultClient, Now: clock}); err != nil {
			t.Error(err)
		}
	}
}

func TestParseKeys(t *testing.T) {
	s := nrastest.New(t, rand.Reader, clock)
	good := nrastest.JWK(s.Published[0])
	with := func(name string, v any) map[string]any {
		m := map[string]any{}
		for k, v := range good {
			m[k] = v
		}
		if m[name] = v; v == nil {
			delete(m, name)
		}
		return m
	}
	certificate := func(k nrastest.Key) string {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "x"}, NotBefore: at, NotAfter: at.AddDate(1, 0, 0)}
		der, err := x509.CreateCertificate(rand.Reader, c, c, &k.Private.PublicKey, k.Private)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(der)
	}
	set := func(keys ...any) []byte {
		raw, err := json.Marshal(map[string]any{"keys": keys})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for name, c := range map[string]struct {
		raw  []byte
		want int // -1 for an error
	}{
		"one": {set(good), 1}, "none": {[]byte(`{"keys":[]}`), 0}, "no alg": {set(with("alg", nil)), 1}, "certified": {set(with("x5c", []any{certificate(s.Published[0])})), 1},
		"unknown member": {set(with("x5t#S256", "x")), 1}, "beside others": {set(map[string]any{"kty": "RSA", "kid": "r"}, good, with("crv", "P-256"), with("use", "enc"), with("alg", "ES256")), 1},
		"twice": {set(good, good), -1}, "another certificate": {set(with("x5c", []any{certificate(s.Key("x"))})), -1}, "no certificate": {set(with("x5c", []any{"AA=="})), -1},
		"empty x5c": {set(with("x5c", []any{})), -1}, "x5c text": {set(with("x5c", "x")), -1}, "private": {set(with("d", "AA")), -1}, "no kid": {set(with("kid", nil)), -1},
		"long kid": {set(with("kid", strings.Repeat("k", 256))), -1}, "no x": {set(with("x", nil)), -1}, "not on the curve": {set(with("y", good["x"])), -1}, "short": {set(with("x", "AA")), -1},
		"no list": {[]byte(`{"keys":{}}`), -1}, "no keys": {[]byte(`{}`), -1}, "no JSON": {[]byte("x"), -1}, "key no object": {set("x"), -1}, "two lists": {[]byte(`{"keys":[],"keys":[]}`), -1},
		"many": {set(make([]any, MaxKeys+1)...), -1}, "large": {append(set(good), bytes.Repeat([]byte(" "), MaxKeySet)...), -1},
	} {
		keys, err := ParseKeys(c.raw)
		if (err != nil) != (c.want < 0) || err == nil && len(keys) != c.want {
			t.Errorf("%s: %v, %v", name, keys, err)
		}
	}
}
