// SPDX-License-Identifier: Apache-2.0

package coserv

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/coserv"
	"github.com/assize/assize/internal/limits"
)

var now = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func authority(name string, n byte) corim.Authority {
	return corim.Authority{
		Name: name, Keys: []corim.SigningKey{{ID: []byte(name), Public: key(n).Public()}},
		Profiles: []string{corim.NoProfile}, Scopes: []corim.Environment{{Class: corim.Class{Vendor: "ACME"}}},
	}
}

func document(t *testing.T, model string, n byte) []byte {
	t.Helper()
	raw, err := corim.Encode(&corim.Document{
		ID: corim.ID{Text: model}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
			Identity: corim.TagIdentity{ID: corim.ID{Text: model}}, Reference: []corim.ValueTriple{{
				Environment:  corim.Environment{Class: corim.Class{Vendor: "ACME", Model: model}},
				Measurements: []corim.Measurement{{Value: corim.Values{SVN: &corim.SVN{Value: 1}}}},
			}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := corim.Sign(nil, raw, corim.Signer{Key: key(n), KeyID: []byte("vendor"), Name: "vendor"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func trusting(t *testing.T) *corim.Trust {
	t.Helper()
	trust, err := corim.NewTrust([]corim.Authority{authority("vendor", 1)})
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// service answers queries; change spoils what it does.
type service struct {
	index     *corim.Index
	discovery coserv.Discovery
	now       time.Time
	requests  int
	change    func(w http.ResponseWriter, m *coserv.Message) (done bool)
}

func newService(t *testing.T) *service {
	t.Helper()
	d, err := corim.Load(document(t, "NIC", 1), corim.Options{Trust: trusting(t), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	x, err := corim.NewIndex(d)
	if err != nil {
		t.Fatal(err)
	}
	return &service{index: x, now: now, discovery: coserv.Discovery{
		Version: "1.0.0", Endpoints: map[string]string{coserv.Endpoint: "/other/{query}"},
		Capabilities: []coserv.Capability{{MediaType: coserv.MediaType(coserv.TypeSigned, coserv.PlainProfile), Artifacts: []string{"source"}}},
	}}
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == coserv.DiscoveryPath {
		body, err := s.discovery.EncodeJSON()
		if err != nil {
			w.WriteHeader(500)
			return
		}
		w.Header().Set("Content-Type", coserv.TypeDiscoveryJSON)
		_, _ = w.Write(body)
		return
	}
	s.requests++
	q, err := coserv.ParseBase64URL(strings.TrimPrefix(r.URL.Path, "/other/"), coserv.ParseOptions{})
	if err != nil {
		w.WriteHeader(400)
		return
	}
	m, err := coserv.Answer(s.index, q.Profile, q.Query, coserv.AnswerOptions{Now: s.now, Lifetime: time.Hour})
	if err != nil {
		w.WriteHeader(500)
		return
	}
	if s.change != nil && s.change(w, m) {
		return
	}
	body, err := coserv.Sign(nil, m, key(2), []byte("service"))
	if err != nil {
		w.WriteHeader(500)
		return
	}
	w.Header().Set("Content-Type", coserv.MediaType(coserv.TypeSigned, q.Profile))
	_, _ = w.Write(body)
}

// client asks s; change adapts the options.
func (s *service) client(t *testing.T, change func(*Options)) *Client {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	o := Options{
		URL: srv.URL, Client: srv.Client(), Now: func() time.Time { return s.now }, Service: authority("service", 2), Trust: trusting(t),
	}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func query(r coserv.ResultType) coserv.Query {
	return coserv.Query{
		Artifacts: coserv.ReferenceValues, Results: r,
		Environments: coserv.Environments{Classes: []coserv.ClassSelector{{Class: corim.Class{Vendor: "ACME"}}}},
	}
}

func TestFetch(t *testing.T) {
	s := newService(t)
	c := s.client(t, nil)
	for name, x := range map[string]struct {
		query coserv.Query
		by    string
	}{
		"collected":      {query(coserv.Collected), "service"},
		"sources":        {query(coserv.SourceArtifacts), "vendor"},
		"both":           {query(coserv.Both), "vendor"},
		"by identifiers": {coserv.Query{RIMs: []coserv.RIM{{Kind: coserv.Corim, ID: corim.ID{Text: "NIC"}}}}, "vendor"},
	} {
		r, err := c.Fetch(t.Context(), coserv.PlainProfile, x.query)
		if err != nil || len(r.Documents) != 1 || len(r.Refused) != 0 {
			t.Errorf("%s: %+v, %v", name, r, err)
			continue
		}
		if by := r.Documents[0].Authority.Name; by != x.by {
			t.Errorf("%s: in the name of %q, want %q", name, by, x.by)
		}
		index, err := corim.NewIndex(r.Documents...)
		if err != nil {
			t.Fatal(err)
		}
		m := index.Match(corim.Query{
			Environments: []corim.Environment{{Class: corim.Class{Vendor: "ACME", Model: "NIC"}}}, Time: now,
			Measurements: []corim.Measurement{{Value: corim.Values{SVN: &corim.SVN{Value: 1}}}},
		})
		if m.Worst() != corim.Matched {
			t.Errorf("%s: %s", name, m.Worst())
		}
	}
	nothing := query(coserv.SourceArtifacts)
	nothing.Environments.Classes[0].Class.Vendor = "Nobody"
	if r, err := c.Fetch(t.Context(), coserv.PlainProfile, nothing); err != nil || len(r.Documents) != 0 {
		t.Errorf("nothing: %+v, %v", r, err)
	}
}

func TestKeptUntilExpiry(t *testing.T) {
	s := newService(t)
	c := s.client(t, nil)
	for _, x := range []struct {
		after    time.Duration
		requests int
	}{{0, 1}, {time.Minute, 1}, {time.Hour, 1}, {time.Hour + time.Second, 2}} {
		s.now = now.Add(x.after)
		if _, err := c.Fetch(t.Context(), coserv.PlainProfile, query(coserv.Collected)); err != nil || s.requests != x.requests {
			t.Errorf("after %s: %d requests, want %d, %v", x.after, s.requests, x.requests, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	plain := coserv.MediaType(coserv.TypeSigned, coserv.PlainProfile)
	send := func(w http.ResponseWriter, media string, m *coserv.Message, n byte) bool {
		body, err := coserv.Sign(nil, m, key(n), []byte("service"))
		w.Header().Set("Content-Type", media)
		_, _ = w.Write(body)
		return err == nil
	}
	for name, x := range map[string]struct {
		change func(w http.ResponseWriter, m *coserv.Message) bool
		want   error
	}{
		"wrong key": {func(w http.ResponseWriter, m *coserv.Message) bool { return send(w, plain, m, 3) }, coserv.ErrSignature},
		"unsigned": {func(w http.ResponseWriter, m *coserv.Message) bool {
			body, err := m.Encode()
			w.Header().Set("Content-Type", coserv.MediaType(coserv.TypeUnsigned, coserv.PlainProfile))
			_, _ = w.Write(body)
			return err == nil
		}, coserv.ErrUnsigned},
		"expired": {func(w http.ResponseWriter, m *coserv.Message) bool {
			m.Results.Expiry = now.Add(-time.Second)
			return send(w, plain, m, 2)
		}, coserv.ErrExpired},
		"another query": {func(w http.ResponseWriter, m *coserv.Message) bool {
			m.Query.Environments.Classes[0].Class.Model = "NIC"
			return send(w, plain, m, 2)
		}, coserv.ErrAnswer},
		"another profile": {func(w http.ResponseWriter, m *coserv.Message) bool {
			m.Profile = corim.ProfileAssize
			return send(w, plain, m, 2)
		}, coserv.ErrAnswer},
		"profile of the media type": {func(w http.ResponseWriter, m *coserv.Message) bool {
			return send(w, coserv.MediaType(coserv.TypeSigned, corim.ProfilePSA), m, 2)
		}, coserv.ErrAnswer},
		"beyond the scope": {func(w http.ResponseWriter, m *coserv.Message) bool {
			m.Results.Reference[0].Triple.Environment.Class.Vendor = "Other"
			return send(w, plain, m, 2)
		}, corim.ErrScope},
		"too large": {func(w http.ResponseWriter, _ *coserv.Message) bool {
			w.Header().Set("Content-Type", plain)
			_, _ = w.Write(make([]byte, limits.CoservResult+1))
			return true
		}, coserv.ErrLimit},
		"media type": {func(w http.ResponseWriter, m *coserv.Message) bool { return send(w, "text/html", m, 2) }, nil},
	} {
		s := newService(t)
		s.change = x.change
		_, err := s.client(t, nil).Fetch(t.Context(), coserv.PlainProfile, query(coserv.Collected))
		if err == nil || x.want != nil && !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

func TestStatus(t *testing.T) {
	s := newService(t)
	s.change = func(w http.ResponseWriter, _ *coserv.Message) bool {
		body, err := coserv.Problem{Title: "Too many", Detail: "later"}.Encode()
		w.Header().Set("Content-Type", coserv.TypeProblem)
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(429)
		_, _ = w.Write(body)
		return err == nil
	}
	_, err := s.client(t, nil).Fetch(t.Context(), coserv.PlainProfile, query(coserv.Collected))
	var status *StatusError
	if !errors.As(err, &status) || status.Status != 429 || status.RetryAfter != 2*time.Minute || status.Problem.Detail != "later" {
		t.Errorf("%v", err)
	}
	if s.requests != 1 {
		t.Errorf("asked %d times", s.requests)
	}
}

// TestRedirectsAreNotFollowed: the service has all results under another path,
// too, and sends there.
func TestRedirectsAreNotFollowed(t *testing.T) {
	s := newService(t)
	moved := false
	s.change = func(w http.ResponseWriter, m *coserv.Message) bool {
		if moved {
			return false
		}
		moved = true
		path, err := coserv.Message{Profile: m.Profile, Query: m.Query}.Base64URL()
		w.Header().Set("Location", "/other/"+path)
		w.WriteHeader(http.StatusFound)
		return err == nil
	}
	_, err := s.client(t, nil).Fetch(t.Context(), coserv.PlainProfile, query(coserv.Collected))
	var status *StatusError
	if !errors.As(err, &status) || status.Status != http.StatusFound || s.requests != 1 {
		t.Errorf("%v after %d requests", err, s.requests)
	}
}

func TestDocumentsOfOthersAreRefused(t *testing.T) {
	s := newService(t)
	s.change = func(_ http.ResponseWriter, m *coserv.Message) bool {
		m.Results.Sources = append(m.Results.Sources,
			coserv.Record{MediaType: corim.MediaTypeSigned, Value: document(t, "GPU", 9)},
			coserv.Record{MediaType: "application/swid+xml", Value: []byte("<x/>")})
		return false
	}
	r, err := s.client(t, nil).Fetch(t.Context(), coserv.PlainProfile, query(coserv.SourceArtifacts))
	if err != nil || len(r.Documents) != 1 || len(r.Refused) != 2 || r.Refused[0].Name != "1" || !errors.Is(r.Refused[0].Err, corim.ErrSignature) {
		t.Errorf("%+v, %v", r, err)
	}
	r, err = s.client(t, func(o *Options) { o.Trust = nil }).Fetch(t.Context(), coserv.PlainProfile, query(coserv.SourceArtifacts))
	if err != nil || len(r.Documents) != 0 {
		t.Errorf("without authorities: %+v, %v", r, err)
	}
}

func TestUnsignedByOption(t *testing.T) {
	s := newService(t)
	s.change = func(w http.ResponseWriter, m *coserv.Message) bool {
		body, err := m.Encode()
		w.Header().Set("Content-Type", coserv.MediaType(coserv.TypeUnsigned, m.Profile))
		_, _ = w.Write(body)
		return err == nil
	}
	c := s.client(t, func(o *Options) { o.Unsigned = true })
	if r, err := c.Fetch(t.Context(), coserv.PlainProfile, query(coserv.Collected)); err != nil || len(r.Documents) != 0 {
		t.Errorf("what nobody stands for: %+v, %v", r, err)
	}
	if r, err := c.Fetch(t.Context(), coserv.PlainProfile, query(coserv.SourceArtifacts)); err != nil || len(r.Documents) != 1 {
		t.Errorf("documents with their own signatures: %+v, %v", r, err)
	}
}

func TestOptions(t *testing.T) {
	s := newService(t)
	good := Options{URL: "https://x.example", Client: http.DefaultClient, Now: func() time.Time { return now }, Service: authority("service", 2)}
	for name, change := range map[string]func(*Options){
		"no scheme":          func(o *Options) { o.URL = "x.example" },
		"file":               func(o *Options) { o.URL = "file:///x" },
		"path":               func(o *Options) { o.URL = "https://x.example/y" },
		"password":           func(o *Options) { o.URL = "https://a:b@x.example" },
		"no client":          func(o *Options) { o.Client = nil },
		"no keys":            func(o *Options) { o.Service.Keys = nil },
		"no profiles":        func(o *Options) { o.Service.Profiles = nil },
		"unsigned over http": func(o *Options) { o.URL, o.Unsigned = "http://x.example", true },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	c := s.client(t, func(o *Options) { o.Service.Validity = corim.Period{NotAfter: now.Add(-time.Hour)} })
	if _, err := c.Fetch(context.Background(), coserv.PlainProfile, query(coserv.SourceArtifacts)); !errors.Is(err, corim.ErrPeriod) {
		t.Errorf("service whose time is over: %v", err)
	}
	for _, endpoint := range []string{"//evil.example/{query}", "https://evil.example/{query}", ""} {
		s := newService(t)
		s.discovery.Endpoints = map[string]string{coserv.Endpoint: endpoint}
		if endpoint == "" {
			s.discovery.Endpoints = map[string]string{"other": "/x"}
		}
		if _, err := s.client(t, nil).Fetch(t.Context(), coserv.PlainProfile, query(coserv.SourceArtifacts)); err == nil || !strings.Contains(err.Error(), "on its own host") {
			t.Errorf("endpoint %q is followed", endpoint)
		}
	}
}

// Who has little time does not wait for the request of somebody else.
func TestDiscoverKeepsToItsOwnTime(t *testing.T) {
	asked, end := make(chan struct{}, 2), make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-end
	}))
	t.Cleanup(srv.Close)
	c, err := New(Options{URL: srv.URL, Client: srv.Client(), Now: func() time.Time { return now }, Service: authority("service", 2), Trust: trusting(t)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = c.Discover(t.Context()) // it comes to nothing
	}()
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if _, err := c.Discover(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 3*time.Second {
		t.Errorf("%v after %s", err, time.Since(begun))
	}
	close(end)
	<-done
}
