// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lead is an Appraiser whose answer the test chooses.
type lead func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error)

func (f lead) Appraise(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
	return f(ctx, r)
}

func handler(t *testing.T, a Appraiser, change func(*Options)) http.Handler {
	t.Helper()
	o := Options{
		Appraiser: a, JWKS: func() ([]byte, error) { return []byte(`{"keys":[]}`), nil },
		Ready: func(context.Context) error { return nil }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	if change != nil {
		change(&o)
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func warning(context.Context, orchestrator.Request) (*verdict.Result, error) {
	return &verdict.Result{Outcome: verdict.Outcome{Tier: verdict.TierWarning}, Token: []byte("a.b.c"), Topology: "lead(cpu)", Time: time.Unix(1750000000, 0)}, nil
}

func post(h http.Handler, target, contentType, accept, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func problemOf(t *testing.T, w *httptest.ResponseRecorder) problem {
	t.Helper()
	if ct := w.Header().Get("Content-Type"); ct != "application/problem+json" {
		t.Fatalf("status %d with Content-Type %q: %s", w.Code, ct, w.Body)
	}
	var p problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != w.Code || p.Code == "" || p.Detail == "" || p.Title == "" {
		t.Errorf("incomplete problem: %s", w.Body)
	}
	return p
}

func TestForms(t *testing.T) {
	h := handler(t, lead(warning), nil)
	for _, c := range []struct{ accept, contentType, contains string }{
		{"", "application/json", `"tier": "warning"`},
		{"*/*", "application/json", `"tier": "warning"`},
		{"application/eat+jwt", verdict.ResultMediaType().String(), "a.b.c"},
		{"application/json;q=0.5, application/eat+jwt", verdict.ResultMediaType().String(), "a.b.c"},
		{"application/*;q=0.2, application/cmw+json", "application/cmw+json", verdict.BundleType},
		{"application/json;q=0, */*", verdict.ResultMediaType().String(), "a.b.c"},
	} {
		w := post(h, "/v1/appraise", "application/cmw+json", c.accept, "{}")
		if w.Code != 200 || w.Header().Get("Content-Type") != c.contentType || !strings.Contains(w.Body.String(), c.contains) {
			t.Errorf("Accept %q: %d %q %.80s", c.accept, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
	}
	for _, accept := range []string{"text/html", "application/eat+cwt", "application/json;q=0"} {
		if w := post(h, "/v1/appraise", "application/cmw+json", accept, "{}"); w.Code != 406 {
			t.Errorf("Accept %q: %d", accept, w.Code)
		}
	}
}

func TestRequestReachesTheLead(t *testing.T) {
	var got orchestrator.Request
	h := handler(t, lead(func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		got = r
		return warning(ctx, r)
	}), nil)
	w := post(h, "/v1/appraise?nonce="+url.QueryEscape("AAECAwQFBgcICQ=="), "application/cmw+cbor", "", "body")
	if w.Code != 200 || string(got.Evidence) != "body" || got.MediaType != "application/cmw+cbor" || len(got.Nonce) != 10 {
		t.Fatalf("%d %+v", w.Code, got)
	}
	if !got.Time.IsZero() || got.Given != nil {
		t.Error("verification time and component nonces are not a client's to choose")
	}
}

func TestRefusals(t *testing.T) {
	h := handler(t, lead(warning), func(o *Options) { o.MaxBody = 16 })
	for _, c := range []struct {
		name, target, contentType, body, code string
		status                                int
	}{
		{"no media type", "/v1/appraise", "", "{}", "no-media-type", 415},
		{"foreign media type", "/v1/appraise", "text/plain", "{}", "media-type", 415},
		{"malformed media type", "/v1/appraise", "cmw", "{}", "media-type", 415},
		{"foreign EAT", "/v1/appraise", `application/eat+cwt; eat_profile="tag:x"`, "{}", "media-type", 415},
		{"too large", "/v1/appraise", "application/cmw+json", strings.Repeat(" ", 17), "too-large", 413},
		{"two nonces", "/v1/appraise?nonce=AAAAAAAAAAAAAAAA&nonce=AAAAAAAAAAAAAAAA", "application/cmw+json", "{}", "bad-nonce", 400},
		{"short nonce", "/v1/appraise?nonce=0011", "application/cmw+json", "{}", "bad-nonce", 400},
		{"misspelt nonce", "/v1/appraise?Nonce=0011223344556677", "application/cmw+json", "{}", "bad-query", 400},
		{"malformed query", "/v1/appraise?nonce=%zz", "application/cmw+json", "{}", "bad-query", 400},
		{"semicolon", "/v1/appraise?a;nonce=0011223344556677", "application/cmw+json", "{}", "bad-query", 400},
		{"empty nonce", "/v1/appraise?nonce=", "application/cmw+json", "{}", "bad-nonce", 400},
		{"no resource", "/v1/nothing", "application/cmw+json", "{}", "not-found", 404},
		{"wrong method", "/healthz", "application/cmw+json", "{}", "method-not-allowed", 405},
	} {
		w := post(h, c.target, c.contentType, "", c.body)
		if p := problemOf(t, w); w.Code != c.status || p.Code != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.name, w.Code, p.Code, c.status, c.code)
		}
	}
}

func TestErrorsOfTheLead(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{&evidence.Error{Rule: "CMW-19", Detail: "duplicate label", Label: "gpu", Offset: 17}, 400, "malformed-evidence"},
		{orchestrator.ErrNonceSpent, 409, "nonce-spent"},
		{fmt.Errorf("%w: down", orchestrator.ErrNonceStore), 503, "nonce-store"},
		{fmt.Errorf("%w: full", orchestrator.ErrAudit), 503, "audit"},
		{orchestrator.ErrNonceSize, 400, "bad-nonce"},
		{fmt.Errorf("%w: x", orchestrator.ErrRequest), 400, "bad-request"},
		{fmt.Errorf("%w: x", orchestrator.ErrTopology), 422, "topology"},
		{errors.New("secret inner detail"), 500, "internal"},
	} {
		h := handler(t, lead(func(context.Context, orchestrator.Request) (*verdict.Result, error) { return nil, c.err }), nil)
		w := post(h, "/v1/appraise", "application/cmw+json", "", "{}")
		p := problemOf(t, w)
		if w.Code != c.status || p.Code != c.code {
			t.Errorf("%v: %d %s", c.err, w.Code, p.Code)
		}
		if c.code == "malformed-evidence" && (p.Label == nil || *p.Label != "gpu" || p.Offset == nil || *p.Offset != 17 || p.Rule != "CMW-19") {
			t.Errorf("the place of the fault is missing: %s", w.Body)
		}
	}
}

// What went wrong inside never reaches a client.
func TestProblemsDoNotLeak(t *testing.T) {
	for name, err := range map[string]error{
		"internal": errors.New("secret inner detail"),
		"store":    fmt.Errorf("%w: secret inner detail", orchestrator.ErrNonceStore),
	} {
		h := handler(t, lead(func(context.Context, orchestrator.Request) (*verdict.Result, error) { return nil, err }), nil)
		if w := post(h, "/v1/appraise", "application/cmw+json", "", "{}"); strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %s", name, w.Body)
		}
	}
	h := handler(t, lead(warning), func(o *Options) { o.Ready = func(context.Context) error { return errors.New("secret inner detail") } })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if w.Code != 503 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("readyz: %d %s", w.Code, w.Body)
	}
}

func TestPanicIsA500(t *testing.T) {
	h := handler(t, lead(func(context.Context, orchestrator.Request) (*verdict.Result, error) { panic("boom") }), nil)
	if w := post(h, "/v1/appraise", "application/cmw+json", "", "{}"); problemOf(t, w).Code != "internal" || w.Code != 500 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestAdmission(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	h := handler(t, lead(func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
		close(entered)
		<-leave
		return warning(ctx, r)
	}), func(o *Options) { o.InFlight = 1 })
	done := make(chan int)
	go func() { done <- post(h, "/v1/appraise", "application/cmw+json", "", "{}").Code }()
	<-entered
	w := post(h, "/v1/appraise", "application/cmw+json", "", "{}")
	if w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("the second of one: %d", w.Code)
	}
	close(leave)
	if code := <-done; code != 200 {
		t.Errorf("the first: %d", code)
	}
}

func TestGets(t *testing.T) {
	h := handler(t, lead(warning), func(o *Options) {
		o.Verifiers = func() []Verifier { return []Verifier{{Scheme: "intel-tdx", KID: "k", Trusted: true}} }
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "metrics here") })
	})
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ready", "/v1/verifiers": "intel-tdx", "/.well-known/jwks.json": "keys", "/metrics": "metrics here",
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestDecodeNonce(t *testing.T) {
	for in, want := range map[string]string{
		"0001020304050607":   "0001020304050607",
		"0001020304050607AB": "0001020304050607ab",
		"+/+/+/+/+/+/":       "fbffbffbffbffbffbf",
		"-_-_-_-_-_-_":       "fbffbffbffbffbffbf",
		" / / / / / /":       "fbffbffbffbffbffbf",
		"AAECAwQFBgcICQ==":   "00010203040506070809",
		"AAECAwQFBgcICQ":     "00010203040506070809",
	} {
		got, err := DecodeNonce(in)
		if err != nil || fmt.Sprintf("%x", got) != want {
			t.Errorf("%q: %x, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "00", "AAECAwQFBgcICR==", "zz zz", strings.Repeat("00", 65), "AAEC\nAwQFBgcICQ=="} {
		if got, err := DecodeNonce(in); err == nil {
			t.Errorf("%q gives %x", in, got)
		}
	}
}

func TestNewWantsEverything(t *testing.T) {
	if _, err := New(Options{}); err == nil {
		t.Fatal("no error")
	}
}

// Slow uploads do not keep others from being appraised.
func TestUploadsHoldNoSlot(t *testing.T) {
	h := handler(t, lead(warning), func(o *Options) { o.InFlight = 1 })
	body, feed := io.Pipe()
	done := make(chan int)
	go func() {
		r := httptest.NewRequest(http.MethodPost, "/v1/appraise", body)
		r.Header.Set("Content-Type", "application/cmw+json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		done <- w.Code
	}()
	if _, err := feed.Write([]byte("{")); err != nil { // it is being read now
		t.Fatal(err)
	}
	if w := post(h, "/v1/appraise", "application/cmw+json", "", "{}"); w.Code != 200 {
		t.Errorf("beside a slow upload: %d", w.Code)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != 200 {
		t.Errorf("the upload itself: %d", code)
	}
}

// Wrong methods are told what there is, OPTIONS as well, and no path has a second
// spelling.
func TestMethodsAndPaths(t *testing.T) {
	h := handler(t, lead(warning), func(o *Options) { o.Topologies = &named{} })
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"HEAD", "/healthz", 200, ""},
		{"OPTIONS", "/v1/appraise", 204, "POST"},
		{"OPTIONS", "/v1/topologies/x", 204, "GET, HEAD, PUT"},
		{"OPTIONS", "/nothing", 404, ""},
		{"DELETE", "/v1/topologies/x", 405, "GET, HEAD, PUT"},
		{"GET", "/v1/appraise", 405, "POST"},
		{"PATCH", "/readyz", 405, "GET, HEAD"},
		{"POST", "/v1/appraise/", 404, ""},
		{"GET", "/healthz/", 404, ""},
		{"POST", "//v1/appraise", 404, ""},
		{"POST", "/v1/../v1/appraise", 404, ""},
		{"GET", "/v1/topologies/", 404, ""},
		{"GET", "/v1/topologies/a/b", 404, ""},
		{"GET", "/", 404, ""},
	} {
		w := call(h, c.method, c.path, nil)
		if w.Code != c.status || w.Header().Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q", c.method, c.path, w.Code, w.Header().Get("Allow"))
		}
		if w.Code >= 400 {
			problemOf(t, w)
		}
	}
}
