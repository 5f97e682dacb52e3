// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/internal/limits"
)

// drawer is a store.Bucket in memory.
type drawer struct {
	mu      sync.Mutex
	entries map[string][]byte
	fails   error
	changed chan struct{}
}

func (d *drawer) set(key string, raw []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fails != nil {
		return d.fails
	}
	if raw == nil {
		delete(d.entries, key)
	} else {
		d.entries[key] = raw
	}
	d.changed <- struct{}{}
	return nil
}

func (d *drawer) Put(_ context.Context, id store.Digest, raw []byte) error {
	return d.set(id.String(), raw)
}
func (d *drawer) Delete(_ context.Context, key string) error { return d.set(key, nil) }

func (d *drawer) Watch(ctx context.Context, w store.Watcher) error {
	for {
		w.Reset()
		d.mu.Lock()
		for key, raw := range d.entries {
			w.Put(store.Entry{Key: key, Raw: raw})
		}
		d.mu.Unlock()
		w.Confirm(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-d.changed:
		}
	}
}

func corimDocument(t *testing.T, id string, change func(*corim.Document)) []byte {
	t.Helper()
	d := &corim.Document{ID: corim.ID{Text: id}, Tags: []corim.Tag{{Number: corim.TagComid, Comid: &corim.Comid{
		Identity: corim.TagIdentity{ID: corim.ID{Text: id}},
		Reference: []corim.ValueTriple{{
			Environment:  corim.Environment{Class: corim.Class{Vendor: "ACME", Model: id}},
			Measurements: []corim.Measurement{{Key: corim.NumberKey(1), Value: corim.Values{Digests: []corim.Digest{{Alg: corim.SHA256, Value: make([]byte, 32)}}}}},
		}},
	}}}}
	if change != nil {
		change(d)
	}
	raw, err := corim.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// corimHandler is a handler with a store that has had its first look.
func corimHandler(t *testing.T, d *drawer, writes bool, documents int) (http.Handler, *store.Store) {
	t.Helper()
	s, err := store.New(store.Options{Bucket: d, Clock: time.Now, Unsigned: true, Documents: documents})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	t.Cleanup(func() { cancel(); <-ended })
	if err := s.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return handler(t, lead(warning), func(o *Options) { o.Corims, o.CorimWrites = s, writes }), s
}

func call(h http.Handler, method, target string, body []byte, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, bytes.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// Every answer is one that the document has, and every answer that it has comes.
func TestCorimsAndDocumentAgree(t *testing.T) {
	spec := openapi(t)
	d := &drawer{entries: map[string][]byte{"garbage": []byte("no")}, changed: make(chan struct{}, 100)}
	open, _ := corimHandler(t, d, true, 3)
	closed, _ := corimHandler(t, &drawer{entries: map[string][]byte{}, changed: make(chan struct{}, 100)}, false, 3)
	seen := map[string]bool{}
	ask := func(want int, h http.Handler, method, path string, body []byte, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		template := path
		if strings.Count(path, "/") > 2 {
			template = "/v1/corims/{id}"
		}
		w := call(h, method, path, body, header...)
		if w.Code != want {
			t.Errorf("%s %s: %d, want %d: %s", method, path, w.Code, want, w.Body)
		}
		seen[fmt.Sprint(strings.ToLower(method), " ", template, " ", w.Code)] = true
		if w.Code != http.StatusNoContent {
			body := w.Body.Bytes()
			spec.declared(t, method, template, w)
			w.Body = bytes.NewBuffer(body)
		}
		return w
	}
	const unsigned, signed, ct = "application/rim+cbor", "application/rim+cose", "Content-Type"
	raw := corimDocument(t, "A", func(d *corim.Document) { d.Profile = corim.ProfileAssize })
	profile := `; profile="` + corim.ProfileAssize + `"`

	for _, h := range []http.Handler{closed} {
		ask(403, h, "POST", "/v1/corims", raw, ct, unsigned)
		ask(403, h, "DELETE", "/v1/corims/x", nil)
		ask(200, h, "GET", "/v1/corims", nil)
	}
	ask(403, open, "POST", "/v1/corims", raw, ct, unsigned, "Origin", "http://127.0.0.1:8080")
	ask(403, open, "DELETE", "/v1/corims/garbage", nil, "Origin", "null")

	w := ask(201, open, "POST", "/v1/corims", raw, ct, typeVeraison+profile)
	id := store.Digest(sha256.Sum256(raw)).String()
	var in Corim
	if err := json.Unmarshal(w.Body.Bytes(), &in); err != nil || in.ID != id || in.Status != store.Active || in.Document != "A" || w.Header().Get("Location") != "/v1/corims/"+id {
		t.Errorf("%v %+v %v", err, in, w.Header())
	}
	ask(201, open, "POST", "/v1/corims", raw, ct, unsigned) // once more
	got := ask(200, open, "GET", "/v1/corims/"+id, nil)
	if !bytes.Equal(got.Body.Bytes(), raw) || got.Header().Get(ct) != unsigned+profile {
		t.Errorf("not the document: %v", got.Header())
	}
	ask(200, open, "GET", "/v1/corims/"+id, nil, "Accept", "application/json")
	for accept, want := range map[string]string{
		"application/json;q=0.9, text/html": typeJSON, "application/json, */*;q=0.1": typeJSON, "*/*": unsigned + profile, "application/json;q=0.5, application/rim+cbor": unsigned + profile,
	} {
		if got := ask(200, open, "GET", "/v1/corims/"+id, nil, "Accept", accept); got.Header().Get(ct) != want {
			t.Errorf("Accept %s: %s", accept, got.Header().Get(ct))
		}
	}
	ask(200, open, "GET", "/v1/corims/garbage", nil)
	ask(404, open, "GET", "/v1/corims/nothing", nil)
	ask(404, open, "DELETE", "/v1/corims/nothing", nil)
	var list CorimList
	if err := json.Unmarshal(ask(200, open, "GET", "/v1/corims", nil).Body.Bytes(), &list); err != nil || len(list.Corims) != 2 || list.Stale || len(list.Revision) != 64 {
		t.Errorf("%v %+v", err, list)
	}

	malformed := problemOf(t, ask(400, open, "POST", "/v1/corims", []byte("no"), ct, unsigned))
	if malformed.Offset == nil {
		t.Error("no offset")
	}
	ask(413, open, "POST", "/v1/corims", make([]byte, limits.CorimDocument+1), ct, unsigned)
	for _, ct := range []string{"", "application/json", signed, unsigned + `; profile="other"`} {
		ask(415, open, "POST", "/v1/corims", raw, "Content-Type", ct)
	}
	ask(422, open, "POST", "/v1/corims", corimDocument(t, "A", func(d *corim.Document) { d.Validity.NotAfter = time.Unix(1, 0) }), ct, unsigned)
	ask(422, open, "POST", "/v1/corims", corimDocument(t, "A", func(d *corim.Document) { d.Profile = "tag:unknown" }), ct, unsigned)
	ask(201, open, "POST", "/v1/corims", corimDocument(t, "B", nil), ct, unsigned)
	ask(507, open, "POST", "/v1/corims", corimDocument(t, "C", nil), ct, unsigned)
	ask(204, open, "DELETE", "/v1/corims/garbage", nil)
	d.mu.Lock()
	d.fails = errors.New("no server")
	d.mu.Unlock()
	ask(503, open, "POST", "/v1/corims", raw, ct, unsigned)
	ask(503, open, "DELETE", "/v1/corims/"+id, nil)

	idle, err := store.New(store.Options{Bucket: d, Clock: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	unready := handler(t, lead(warning), func(o *Options) { o.Corims, o.CorimWrites = idle, true })
	ask(503, unready, "GET", "/v1/corims", nil)
	ask(503, unready, "GET", "/v1/corims/"+id, nil)

	full, _ := corimHandler(t, &drawer{entries: map[string][]byte{"x": []byte("1"), "y": []byte("2")}, changed: make(chan struct{}, 9)}, true, 1)
	ask(507, full, "GET", "/v1/corims/y", nil)
	ask(200, full, "GET", "/v1/corims/y", nil, "Accept", "application/json")
	busy(t, ask, raw)
	for path, ops := range spec.Paths {
		if !strings.HasPrefix(path, "/v1/corims") {
			continue
		}
		for method, op := range ops {
			for status := range op.Responses {
				if !seen[method+" "+path+" "+status] && status != "413" {
					t.Errorf("%s %s: the document has status %s, which nothing provokes", method, path, status)
				}
			}
		}
	}
}

// slowly is a store in which adding takes until the test says so.
type slowly struct {
	Corims
	in, leave chan struct{}
}

func (s slowly) Add(context.Context, []byte) (store.Info, error) {
	s.in <- struct{}{}
	<-s.leave
	return store.Info{}, errors.New("enough")
}

func busy(t *testing.T, ask func(int, http.Handler, string, string, []byte, ...string) *httptest.ResponseRecorder, raw []byte) {
	t.Helper()
	s := slowly{in: make(chan struct{}), leave: make(chan struct{})}
	h := handler(t, lead(warning), func(o *Options) { o.Corims, o.CorimWrites = s, true })
	var waiting sync.WaitGroup
	for range corimUploads {
		waiting.Go(func() { call(h, "POST", "/v1/corims", raw, "Content-Type", "application/rim+cbor") })
		<-s.in
	}
	ask(429, h, "POST", "/v1/corims", raw, "Content-Type", "application/rim+cbor")
	close(s.leave)
	waiting.Wait()
}

// Without a store there are no such resources.
func TestNoCorims(t *testing.T) {
	h := handler(t, lead(warning), nil)
	for _, method := range []string{"GET", "POST"} {
		if w := call(h, method, "/v1/corims", nil); w.Code != 404 {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}
