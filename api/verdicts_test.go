// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

// keeping is a handler that keeps verdicts, with a clock that the test moves.
func keeping(t *testing.T, v Verdicts, change func(*Options)) (http.Handler, *time.Time) {
	t.Helper()
	now := time.Unix(1750000000, 0)
	v.Clock = func() time.Time { return now }
	if v.Random == nil {
		v.Random = rand.Reader
	}
	return handler(t, newSigner(t, "intel-tdx", "nvidia-gpu"), func(o *Options) {
		o.Verdicts = &v
		if change != nil {
			change(o)
		}
	}), &now
}

// kept makes a verdict and says where it is.
func kept(t *testing.T, h http.Handler, body string) string {
	t.Helper()
	w := post(h, "/v1/appraise", "application/cmw+json", "", body)
	if w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	return w.Header().Get("Location")
}

func status(h http.Handler, path string) int { return call(h, "GET", path, nil).Code }

// A verdict can be had again in every form in which the first answer could be.
func TestVerdictAgain(t *testing.T) {
	spec := openapi(t)
	h, _ := keeping(t, Verdicts{}, nil)
	place := kept(t, h, `{"a":1}`)
	id, ok := strings.CutPrefix(place, "/v1/verdicts/")
	if !ok || len(id) != 32 {
		t.Fatalf("Location %q", place)
	}
	if other := kept(t, h, `{"a":1}`); other == place {
		t.Error("two verdicts at one place")
	}
	for _, accept := range []string{"", typeJSON, typeEAR, p04, cwt, typeCMW} {
		header := []string{"Accept", accept}
		if accept == "" {
			header = nil
		}
		first := post(h, "/v1/appraise", "application/cmw+json", accept, `{"a":1}`)
		again := call(h, "GET", place, nil, header...)
		if again.Code != 200 || again.Header().Get("Content-Type") != first.Header().Get("Content-Type") || !bytes.Equal(again.Body.Bytes(), first.Body.Bytes()) {
			t.Errorf("Accept %q: %d %s, first %s", accept, again.Code, again.Body, first.Body)
		}
		if again.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("caches may keep it: %v", again.Header())
		}
		spec.declared(t, "GET", "/v1/verdicts/{id}", again)
	}
	for accept, want := range map[string]int{"text/html": 406, typeResults: 406, gpu: 200, "text/html;q=1, application/json;q=0.1": 200, "application/json;q=0": 406} {
		w := call(h, "GET", place, nil, "Accept", accept)
		if w.Code != want {
			t.Errorf("Accept %s: %d", accept, w.Code)
		}
		spec.declared(t, "GET", "/v1/verdicts/{id}", w)
	}
	for _, wrong := range []string{"x", strings.ToUpper(id), id[:31], id + "0", strings.Repeat("0", 32), "..", "%2e%2e%2f"} {
		if w := call(h, "GET", "/v1/verdicts/"+wrong, nil); w.Code == 200 || strings.Contains(w.Body.String(), "tier") {
			t.Errorf("%s: %d %s", wrong, w.Code, w.Body)
		}
	}
	w := call(h, "GET", "/v1/verdicts/"+strings.Repeat("0", 32), nil)
	spec.declared(t, "GET", "/v1/verdicts/{id}", w)
	if w.Code != 404 {
		t.Errorf("unknown: %d", w.Code)
	}
}

// Age, number and size are bounded, and the oldest go first.
func TestVerdictsAreForgotten(t *testing.T) {
	h, now := keeping(t, Verdicts{Keep: 2, MaxAge: time.Minute}, nil)
	first, second := kept(t, h, "{}"), kept(t, h, "{}")
	if status(h, first) != 200 || status(h, second) != 200 {
		t.Error("not kept")
	}
	third := kept(t, h, "{}")
	if status(h, first) != 404 || status(h, second) != 200 || status(h, third) != 200 {
		t.Error("more than two, or the wrong one is gone")
	}
	*now = now.Add(time.Minute - 1)
	if status(h, third) != 200 {
		t.Error("gone too early")
	}
	*now = now.Add(1)
	if status(h, second) != 404 || status(h, third) != 404 {
		t.Error("older than max_age")
	}
	h, _ = keeping(t, Verdicts{Bytes: 100_000}, nil)
	first = kept(t, h, strings.Repeat(" ", 100))
	second = kept(t, h, strings.Repeat(" ", 1000))
	if status(h, first) != 200 || status(h, second) != 200 {
		t.Error("two that fit")
	}
	third = kept(t, h, strings.Repeat(" ", 83_000))
	if status(h, first) != 404 || status(h, second) != 404 || status(h, third) != 200 {
		t.Error("more bytes than there may be")
	}
	if place := kept(t, h, strings.Repeat(" ", 100_000)); place != "" || status(h, third) != 200 {
		t.Errorf("too large, and kept at %q or in the place of others", place)
	}
}

// A verdict that cannot be kept is answered all the same; nothing guesses.
func TestVerdictsWithoutRandomness(t *testing.T) {
	for name, random := range map[string]io.Reader{"none": strings.NewReader(""), "short": strings.NewReader("fifteen bytes..")} {
		h, _ := keeping(t, Verdicts{Random: random}, nil)
		if place := kept(t, h, "{}"); place != "" {
			t.Errorf("%s: %s", name, place)
		}
	}
	h, _ := keeping(t, Verdicts{Random: strings.NewReader(strings.Repeat("sixteen bytes...", 2))}, nil)
	if place := kept(t, h, "{}"); status(h, place) != 200 {
		t.Error(place)
	}
	if place := kept(t, h, "{}"); place != "" {
		t.Errorf("the same identifier twice: %s", place)
	}
	if h := handler(t, lead(warning), nil); kept(t, h, "{}") != "" || status(h, "/v1/verdicts/"+strings.Repeat("0", 32)) != 404 {
		t.Error("kept though nobody asked for it")
	}
	o := Options{Appraiser: lead(warning), JWKS: func() ([]byte, error) { return nil, nil }, Ready: func(context.Context) error { return nil }}
	o.Logger = slog.New(slog.DiscardHandler)
	for _, v := range []Verdicts{{Random: rand.Reader}, {Clock: time.Now}} {
		o.Verdicts = &v
		if _, err := New(o); err == nil {
			t.Error("neither randomness nor clock may be missing")
		}
	}
}

// No verdict, no place: an appraisal that failed leaves nothing behind.
func TestNoVerdictNoPlace(t *testing.T) {
	fail := true
	h, _ := keeping(t, Verdicts{}, func(o *Options) {
		o.Appraiser = lead(func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
			if fail {
				return nil, orchestrator.ErrNonceSpent
			}
			return warning(ctx, r)
		})
		o.Parallel = true
	})
	if w := post(h, "/v1/appraise", "application/cmw+json", "", "{}"); w.Code != 409 || w.Header().Get("Location") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	fail = false
	w := post(h, "/v1/appraise", "application/cmw+json", typeResults, "{}") // a verdict without results
	place := w.Header().Get("Location")
	if w.Code != 503 || status(h, place) != 200 {
		t.Errorf("%d %q", w.Code, place)
	}
	again := call(h, "GET", place, nil, "Accept", typeResults)
	openapi(t).declared(t, "GET", "/v1/verdicts/{id}", again)
	if again.Code != 503 {
		t.Errorf("%d", again.Code)
	}
}

func TestVerdictsAtOnce(t *testing.T) {
	h, _ := keeping(t, Verdicts{Keep: 8}, nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 20 {
				if place := post(h, "/v1/appraise", "application/cmw+json", "", "{}").Header().Get("Location"); place != "" {
					call(h, "GET", place, nil, "Accept", cwt)
				}
			}
		})
	}
	all.Wait()
}

// slow is a client that takes its answer when it likes.
type slow struct {
	*httptest.ResponseRecorder
	asked, take chan struct{}
}

func (s slow) Write(b []byte) (int, error) {
	s.asked <- struct{}{}
	<-s.take
	return s.ResponseRecorder.Write(b)
}

// Answers of kept verdicts are bounded, and take no place of an appraisal.
func TestVerdictsAtOnceAreBounded(t *testing.T) {
	spec := openapi(t)
	h, _ := keeping(t, Verdicts{}, func(o *Options) { o.InFlight = 1 })
	place := kept(t, h, "{}")
	asked, take := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for range readsPerSlot {
		all.Go(func() {
			h.ServeHTTP(slow{httptest.NewRecorder(), asked, take}, httptest.NewRequest(http.MethodGet, place, nil))
		})
		<-asked
	}
	w := call(h, "GET", place, nil)
	spec.declared(t, "GET", "/v1/verdicts/{id}", w)
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") == "" {
		t.Errorf("one more is answered with: %d", w.Code)
	}
	if kept(t, h, "{}") == "" {
		t.Error("who reads keeps others from being appraised")
	}
	close(take)
	all.Wait()
	if status(h, place) != 200 {
		t.Error("the places are not given back")
	}
}

// named is a Topologies in memory.
type named struct {
	mu    sync.Mutex
	all   map[string]topologies.Expr
	fails error
}

func (n *named) Get(name string) (topologies.Expr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e, ok := n.all[name]
	if !ok && n.fails == nil {
		return e, ErrNoTopology
	}
	return e, n.fails
}

func (n *named) Put(_ context.Context, name string, e topologies.Expr) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fails != nil {
		return false, n.fails
	}
	_, had := n.all[name]
	n.all[name] = e
	return !had, nil
}

func (n *named) Lint(text string, yaml bool) []topologies.Problem {
	if yaml {
		return topologies.LintYAML([]byte(text), topologies.LintInput{})
	}
	return topologies.Lint(text, topologies.LintInput{})
}

// Every answer is one that the document has, and every answer that it has comes.
func TestTopologiesAndDocumentAgree(t *testing.T) {
	spec := openapi(t)
	store := &named{all: map[string]topologies.Expr{}}
	with := func(s *named, writes bool) http.Handler {
		return handler(t, lead(warning), func(o *Options) { o.Topologies, o.TopologyWrites = s, writes })
	}
	open, closed := with(store, true), with(store, false)
	seen := map[string]bool{}
	ask := func(want int, h http.Handler, method, name, body string, header ...string) string {
		t.Helper()
		w := call(h, method, "/v1/topologies/"+name, []byte(body), header...)
		text := w.Body.String()
		if w.Code != want {
			t.Errorf("%s %s %q: %d, want %d: %s", method, name, body, w.Code, want, text)
		}
		seen[fmt.Sprint(strings.ToLower(method), " ", w.Code)] = true
		spec.declared(t, method, "/v1/topologies/{name}", w)
		return text
	}
	const ct, text = "Content-Type", "text/plain; charset=utf-8"
	ask(403, closed, "PUT", "a", "lead(cpu)", ct, text)
	ask(403, open, "PUT", "a", "lead(cpu)", ct, text, "Origin", "http://127.0.0.1:8080")
	ask(404, open, "GET", "a", "")
	ask(201, open, "PUT", "a", "lead( cpu,gpu/* )", ct, text)
	if got := ask(200, open, "GET", "a", "", "Accept", "text/plain"); got != "lead(cpu, gpu/*)\n" {
		t.Errorf("%q", got)
	}
	described := ask(200, closed, "GET", "a", "")
	if !strings.Contains(described, `"topology": "lead(cpu, gpu/*)"`) {
		t.Errorf("%s", described)
	}
	ask(200, open, "PUT", "a", described, ct, typeJSON) // as it was answered
	ask(200, open, "PUT", "a", "lead: [cpu]", ct, typeYAML)
	ask(406, open, "GET", "a", "", "Accept", "image/png")
	for _, body := range []string{"", "[]", "{}", `{"topology":1}`, `{"topology":"lead","x":1}`, `{"topology":"lead","topology":"lead(cpu)"}`, `{"topology":"lead"} x`, `{"topology":null}`} {
		ask(400, open, "PUT", "a", body, ct, typeJSON)
	}
	for _, c := range []struct{ body, ct string }{
		{"lead(", text}, {"", text}, {"lead(cpu, cpu)", text}, {"parallel(quorum 3: gpu/0@a, gpu/0@b)", text}, {"lead: [", typeYAML}, {`{"topology":"lead(cpu, cpu)"}`, typeJSON},
		{strings.Repeat(" ", topologies.MaxText+1), text},
	} {
		if p := ask(422, open, "PUT", "a", c.body, ct, c.ct); !strings.Contains(p, `"offset"`) {
			t.Errorf("%q: no offset: %s", c.body, p)
		}
	}
	if got := ask(200, open, "GET", "a", "", "Accept", "text/plain"); got != "lead(cpu)\n" {
		t.Errorf("a refused expression changed it: %q", got)
	}
	ask(413, open, "PUT", "a", strings.Repeat(" ", topologies.MaxYAML+1), ct, typeYAML)
	for _, ct := range []string{"", "text/html", "application/cbor", "/"} {
		ask(415, open, "PUT", "a", "lead", "Content-Type", ct)
	}
	for err, want := range map[error]int{ErrTopologyName: 400, ErrTopologyFixed: 403, ErrTopologiesFull: 507, errors.New("secret"): 503} {
		if p := ask(want, with(&named{fails: err}, true), "PUT", "a", "lead", ct, text); strings.Contains(p, "secret") {
			t.Error(p)
		}
	}
	ask(503, with(&named{fails: errors.New("secret")}, true), "GET", "a", "")
	for method, op := range spec.Paths["/v1/topologies/{name}"] {
		for status := range op.Responses {
			if !seen[method+" "+status] {
				t.Errorf("%s: the document has status %s, which nothing provokes", method, status)
			}
		}
	}
	if w := call(handler(t, lead(warning), nil), "GET", "/v1/topologies/a", nil); w.Code != 404 {
		t.Errorf("without a store: %d", w.Code)
	}
}

// Clients choose among names; an expression of their own is none.
func TestTopologyOfARequest(t *testing.T) {
	e, err := topologies.Parse("parallel(cpu, gpu/0)")
	if err != nil {
		t.Fatal(err)
	}
	store := &named{all: map[string]topologies.Expr{"wide": e}}
	var got *topologies.Expr
	h := handler(t, lead(func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
		got = r.Topology
		return warning(ctx, r)
	}), func(o *Options) { o.Topologies = store })
	ask := func(query, accept string) (int, string) {
		got = nil
		w := post(h, "/v1/appraise"+query, "application/cmw+json", accept, "{}")
		if w.Code == 200 {
			return 200, ""
		}
		return w.Code, problemOf(t, w).Code
	}
	if code, _ := ask("", ""); code != 200 || got != nil {
		t.Errorf("%d %v", code, got)
	}
	if code, _ := ask("?topology=wide&nonce=0011223344556677", ""); code != 200 || got == nil || got.String() != e.String() {
		t.Errorf("%d %v", code, got)
	}
	// The bare results are on offer for what is parallel, and only there.
	if _, why := ask("?topology=wide", typeResults); why != "no-results" {
		t.Error(why)
	}
	if code, _ := ask("", typeResults); code != 406 {
		t.Error(code)
	}
	for query, want := range map[string]string{
		"?topology=none": "unknown-topology", "?topology=": "unknown-topology", "?topology=lead(cpu)": "unknown-topology",
		"?topology=wide&topology=wide": "bad-query", "?Topology=wide": "bad-query",
	} {
		if _, why := ask(query, ""); why != want || got != nil {
			t.Errorf("%s: %s, want %s", query, why, want)
		}
	}
	store.fails = errors.New("secret")
	if code, why := ask("?topology=gone", ""); code != 503 || why != "topology-store" {
		t.Errorf("%d %s", code, why)
	}
	h = handler(t, lead(warning), nil)
	if code, _ := ask("?topology=wide", ""); code != 400 {
		t.Errorf("without a store: %d", code)
	}
}
