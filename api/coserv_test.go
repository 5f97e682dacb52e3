// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/coserv"
	"github.com/assize/assize/internal/limits"
)

var coservNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// library is documents for a test.
type library struct {
	index *corim.Index
	err   error
	block chan struct{}
}

func (l *library) Snapshot(time.Time) (*corim.Index, error) {
	if l.block != nil {
		l.block <- struct{}{}
		<-l.block
	}
	return l.index, l.err
}

// references are documents of ACME with reference values for a class.
func references(t *testing.T, key *ecdsa.PrivateKey) *corim.Index {
	t.Helper()
	var docs []*corim.Document
	trust, err := corim.NewTrust([]corim.Authority{{
		Name: "ACME", Keys: []corim.SigningKey{{ID: []byte("acme"), Public: key.Public()}},
		Profiles: []string{corim.NoProfile}, Scopes: []corim.Environment{{}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"NIC", "GPU"} {
		raw, err := corim.Encode(&corim.Document{
			ID: corim.ID{Text: model}, Validity: corim.Period{NotAfter: coservNow.Add(30 * time.Minute)},
			Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
				Identity: corim.TagIdentity{ID: corim.ID{Text: model}},
				Reference: []corim.ValueTriple{{
					Environment:  corim.Environment{Class: corim.Class{Vendor: "ACME", Model: model}},
					Measurements: []corim.Measurement{{Key: corim.TextKey("fw"), Value: corim.Values{SVN: &corim.SVN{Value: 1}}}},
				}},
			}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err = corim.Sign(rand.Reader, raw, corim.Signer{Key: key, KeyID: []byte("acme"), Name: "ACME"}); err != nil {
			t.Fatal(err)
		}
		d, err := corim.Load(raw, corim.Options{Trust: trust, Now: coservNow})
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, d)
	}
	x, err := corim.NewIndex(docs...)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

type coservTest struct {
	o    Options
	key  *ecdsa.PrivateKey
	lib  *library
	now  time.Time
	spec spec
}

func newCoservTest(t *testing.T) *coservTest {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &coservTest{key: key, lib: &library{index: references(t, key)}, now: coservNow, spec: openapi(t)}
	c.o = Options{
		Appraiser: lead(warning), JWKS: func() ([]byte, error) { return nil, nil }, Ready: func(context.Context) error { return nil },
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		CoSERV: &CoSERV{
			References: c.lib, Key: key, KID: "service", Random: rand.Reader, Lifetime: time.Hour, Now: func() time.Time { return c.now }, Version: "1.0.0",
		},
	}
	return c
}

func (c *coservTest) handler(t *testing.T) http.Handler {
	t.Helper()
	h, err := New(c.o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (c *coservTest) get(t *testing.T, h http.Handler, path, accept string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func coservQuery(vendor string) coserv.Query {
	return coserv.Query{
		Artifacts: coserv.ReferenceValues, Results: coserv.Both,
		Environments: coserv.Environments{Classes: []coserv.ClassSelector{{Class: corim.Class{Vendor: vendor}}}},
	}
}

func coservPath(t *testing.T, profile string, q coserv.Query) string {
	t.Helper()
	s, err := coserv.Message{Profile: profile, Query: q}.Base64URL()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(coserv.EndpointPath, coserv.QueryVariable, s, 1)
}

func (c *coservTest) open(w *httptest.ResponseRecorder, q coserv.Query) (*coserv.Opened, error) {
	return coserv.Open(w.Body.Bytes(), coserv.OpenOptions{
		Profile: coserv.PlainProfile, Query: q, Now: c.now, Keys: []corim.SigningKey{{ID: []byte("service"), Public: c.key.Public()}},
	})
}

func TestCoservAnswers(t *testing.T) {
	c := newCoservTest(t)
	h := c.handler(t)
	signed := coserv.MediaType(coserv.TypeSigned, coserv.PlainProfile)
	for vendor, want := range map[string]int{"ACME": 2, "Nobody": 0} {
		q := coservQuery(vendor)
		w := c.get(t, h, coservPath(t, coserv.PlainProfile, q), signed)
		if w.Code != 200 || w.Header().Get("Content-Type") != signed {
			t.Fatalf("%d %v", w.Code, w.Header())
		}
		o, err := c.open(w, q)
		if err != nil || len(o.Results.Reference) != want || len(o.Results.Sources) != want {
			t.Errorf("%s: %+v, %v", vendor, o, err)
		}
	}
	if w := c.get(t, h, coservPath(t, coserv.PlainProfile, coservQuery("ACME")), ""); w.Code != 200 {
		t.Errorf("without Accept: %d", w.Code)
	}
}

// TestCoservCaching: nobody may keep a result for longer than it holds.
func TestCoservCaching(t *testing.T) {
	c := newCoservTest(t)
	h := c.handler(t)
	q := coservQuery("ACME")
	path := coservPath(t, coserv.PlainProfile, q)
	etag := ""
	for _, minutes := range []time.Duration{0, 10, 20, 25} {
		c.now = coservNow.Add(minutes * time.Minute)
		w := c.get(t, h, path, "")
		o, err := c.open(w, q)
		if err != nil {
			t.Fatal(err)
		}
		age, err := strconv.Atoi(strings.TrimPrefix(w.Header().Get("Cache-Control"), "max-age="))
		if err != nil || c.now.Add(time.Duration(age)*time.Second).After(o.Results.Expiry) || age == 0 {
			t.Errorf("after %d minutes: %q, and the result expires %s", minutes, w.Header().Get("Cache-Control"), o.Results.Expiry)
		}
		if got := w.Header().Get("ETag"); minutes == 10 && got != etag {
			t.Error("the same question has another answer soon after")
		} else if etag = got; etag == "" {
			t.Error("no entity tag")
		}
	}
	w := c.get(t, h, path, "", "If-None-Match", `"x", `+etag)
	if w.Code != http.StatusNotModified || w.Body.Len() != 0 {
		t.Errorf("with the entity tag: %d", w.Code)
	}
	if w := c.get(t, h, path, "", "If-None-Match", `"x"`); w.Code != 200 {
		t.Errorf("with another entity tag: %d", w.Code)
	}
	// New documents are seen at once.
	empty, err := corim.NewIndex()
	if err != nil {
		t.Fatal(err)
	}
	c.lib.index = empty
	if o, err := c.open(c.get(t, h, path, ""), q); err != nil || len(o.Results.Reference) != 0 {
		t.Errorf("documents that were taken away: %+v, %v", o, err)
	}
}

func TestCoservRefusals(t *testing.T) {
	c := newCoservTest(t)
	q := coservQuery("ACME")
	path := coservPath(t, coserv.PlainProfile, q)
	other := coserv.MediaType(coserv.TypeSigned, corim.ProfilePSA)
	seen := map[int]bool{200: true, 304: true}
	for name, x := range map[string]struct {
		path, accept string
		want         int
	}{
		"no base64":             {strings.Replace(coserv.EndpointPath, coserv.QueryVariable, "a+b", 1), "", 400},
		"no CBOR":               {strings.Replace(coserv.EndpointPath, coserv.QueryVariable, "AAAA", 1), "", 400},
		"too long":              {strings.Replace(coserv.EndpointPath, coserv.QueryVariable, strings.Repeat("A", 2*limits.CoservQuery), 1), "", 400},
		"parameters":            {path + "?x=1", "", 400},
		"unknown profile":       {coservPath(t, "tag:nobody,2026:x", q), "", 406},
		"profile of no query":   {path, other, 406},
		"unsigned":              {path, coserv.MediaType(coserv.TypeUnsigned, coserv.PlainProfile), 406},
		"another type":          {path, "text/html", 406},
		"not wanted":            {path, coserv.TypeSigned + ";q=0", 406},
		"one of several ranges": {path, other + ", " + coserv.MediaType(coserv.TypeSigned, coserv.PlainProfile), 200},
		"any":                   {path, "*/*", 200},
	} {
		w := c.get(t, c.handler(t), x.path, x.accept)
		if w.Code != x.want {
			t.Errorf("%s: %d, want %d", name, w.Code, x.want)
			continue
		}
		seen[w.Code] = true
		if w.Code != 200 {
			c.refused(t, w)
		}
	}
	c.lib.err = errors.New("secret")
	w := c.get(t, c.handler(t), path, "")
	seen[w.Code] = true
	if p := c.refused(t, w); w.Code != 503 || strings.Contains(p.Detail, "secret") {
		t.Errorf("%d %+v", w.Code, p)
	}
	c.lib.err = nil
	c.o.CoSERV.Random, c.o.CoSERV.Key = nil, nil
	if _, err := New(c.o); err == nil {
		t.Error("a service without a key")
	}
	seen[500], seen[429] = true, true // below, and TestCoservIsBounded
	for status := range c.spec.Paths[coserv.EndpointPath]["get"].Responses {
		if n, err := strconv.Atoi(status); err != nil || !seen[n] {
			t.Errorf("the document has status %s, which nothing provokes", status)
		}
	}
}

// refused reads a problem and checks that the OpenAPI document has it.
func (c *coservTest) refused(t *testing.T, w *httptest.ResponseRecorder) coserv.Problem {
	t.Helper()
	if w.Header().Get("Content-Type") != coserv.TypeProblem || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d with %v", w.Code, w.Header())
	}
	p, err := coserv.ParseProblem(w.Body.Bytes())
	if err != nil || p.Title == "" || p.Detail == "" {
		t.Errorf("%d: %+v, %v", w.Code, p, err)
	}
	c.spec.declared(t, http.MethodGet, coserv.EndpointPath, w)
	return p
}

// lame cannot sign.
type lame struct{ *ecdsa.PrivateKey }

func (lame) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("secret")
}

func TestCoservSignatureFails(t *testing.T) {
	c := newCoservTest(t)
	c.o.CoSERV.Key = lame{c.key}
	w := c.get(t, c.handler(t), coservPath(t, coserv.PlainProfile, coservQuery("ACME")), "")
	if p := c.refused(t, w); w.Code != 500 || strings.Contains(p.Detail, "secret") {
		t.Errorf("%d %+v", w.Code, p)
	}
}

func TestCoservUnsigned(t *testing.T) {
	c := newCoservTest(t)
	c.o.CoSERV.Unsigned = true
	q := coservQuery("ACME")
	media := coserv.MediaType(coserv.TypeUnsigned, coserv.PlainProfile)
	w := c.get(t, c.handler(t), coservPath(t, coserv.PlainProfile, q), media)
	if w.Code != 200 || w.Header().Get("Content-Type") != media {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
	if _, err := c.open(w, q); !errors.Is(err, coserv.ErrUnsigned) {
		t.Errorf("%v", err)
	}
	if m, err := coserv.Parse(w.Body.Bytes(), coserv.ParseOptions{}); err != nil || len(m.Results.Reference) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
	if w := c.get(t, c.handler(t), coservPath(t, coserv.PlainProfile, q), "*/*"); !strings.HasPrefix(w.Header().Get("Content-Type"), coserv.TypeSigned) {
		t.Errorf("who does not care gets %s", w.Header().Get("Content-Type"))
	}
}

func TestCoservIsBounded(t *testing.T) {
	c := newCoservTest(t)
	c.o.InFlight = 1
	c.lib.block = make(chan struct{})
	h := c.handler(t)
	path := coservPath(t, coserv.PlainProfile, coservQuery("ACME"))
	done := make(chan int)
	go func() { done <- c.get(t, h, path, "").Code }()
	<-c.lib.block
	w := c.get(t, h, path, "")
	if c.refused(t, w); w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	c.lib.block <- struct{}{}
	if code := <-done; code != 200 {
		t.Errorf("the first: %d", code)
	}
}

func TestCoservDiscovery(t *testing.T) {
	c := newCoservTest(t)
	h := c.handler(t)
	for accept, media := range map[string]string{
		"": coserv.TypeDiscoveryJSON, "*/*": coserv.TypeDiscoveryJSON,
		coserv.TypeDiscoveryJSON: coserv.TypeDiscoveryJSON, coserv.TypeDiscoveryCBOR: coserv.TypeDiscoveryCBOR,
	} {
		w := c.get(t, h, coserv.DiscoveryPath, accept)
		if w.Code != 200 || w.Header().Get("Content-Type") != media {
			t.Fatalf("%q: %d %v", accept, w.Code, w.Header())
		}
		c.spec.declared(t, http.MethodGet, coserv.DiscoveryPath, w)
		d, err := coserv.ParseDiscovery(media, w.Body.Bytes())
		if err != nil || len(d.Keys) != 1 || !c.key.PublicKey.Equal(d.Keys[0].Public) || d.Endpoints[coserv.Endpoint] != coserv.EndpointPath ||
			len(d.Capabilities) != 1 || d.Capabilities[0].MediaType != coserv.MediaType(coserv.TypeSigned, coserv.PlainProfile) {
			t.Errorf("%q: %+v, %v", accept, d, err)
		}
	}
	if w := c.get(t, h, coserv.DiscoveryPath, "application/json"); w.Code != 406 {
		t.Errorf("another type: %d", w.Code)
	}
	c.o.CoSERV = nil
	if w := c.get(t, c.handler(t), coserv.DiscoveryPath, ""); w.Code != 404 {
		t.Errorf("service that is off: %d", w.Code)
	}
}
