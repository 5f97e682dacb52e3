// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/schemas"
	"github.com/assize/assize/verdict"
)

// spec is the OpenAPI document with what tests ask of it.
type spec struct {
	Paths      map[string]map[string]operation
	Components struct {
		Responses map[string]response
	}
	problem *jsonschema.Schema
}

type operation struct {
	Responses map[string]response
	// Optional are resources that are not there by default; they have tests of
	// their own.
	Optional bool `yaml:"x-optional"`
}

type response struct {
	Ref     string `yaml:"$ref"`
	Content map[string]any
}

func openapi(t *testing.T) spec {
	t.Helper()
	raw, err := schemas.Read("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var s spec
	if err := yaml.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	var doc any
	if err := yaml.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	asJSON, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	if doc, err = jsonschema.UnmarshalJSON(bytes.NewReader(asJSON)); err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	if s.problem, err = c.Compile("openapi.json#/components/schemas/Problem"); err != nil {
		t.Fatal(err)
	}
	return s
}

// declared fails when a response is not one of the document's.
func (s spec) declared(t *testing.T, method, path string, w *httptest.ResponseRecorder) {
	t.Helper()
	op, ok := s.Paths[path][strings.ToLower(method)]
	if !ok {
		t.Fatalf("%s %s is not in the document", method, path)
	}
	res, ok := op.Responses[fmt.Sprint(w.Code)]
	if !ok {
		t.Fatalf("%s %s: status %d is not in the document", method, path, w.Code)
	}
	if name, isRef := strings.CutPrefix(res.Ref, "#/components/responses/"); isRef {
		res = s.Components.Responses[name]
	}
	base, _, err := mime.ParseMediaType(w.Header().Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := res.Content[base]; !ok {
		t.Fatalf("%s %s: %d as %s is not in the document", method, path, w.Code, base)
	}
	if base != "application/problem+json" {
		return
	}
	body, err := jsonschema.UnmarshalJSON(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.problem.Validate(body); err != nil {
		t.Errorf("%s %s: %v", method, path, err)
	}
}

// TestServerAndDocumentAgree calls every operation and provokes every error.
func TestServerAndDocumentAgree(t *testing.T) {
	s := openapi(t)
	var fail error
	o := Options{
		Appraiser: lead(func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
			if fail != nil {
				return nil, fail
			}
			return warning(ctx, r)
		}),
		JWKS: func() ([]byte, error) { return []byte(`{"keys":[]}`), nil }, MaxBody: 16,
		Ready: func(context.Context) error { return fail }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprint(w, "x 1\n")
		}),
	}
	h, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	for path, ops := range s.Paths {
		if strings.HasPrefix(path, "/v1/corims") { // TestCorimsAndDocumentAgree
			continue
		}
		for method, op := range ops {
			if op.Optional {
				continue
			}
			r := httptest.NewRequest(strings.ToUpper(method), path, strings.NewReader("{}"))
			r.Header.Set("Content-Type", "application/cmw+json")
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != 200 {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
			s.declared(t, strings.ToUpper(method), path, w)
		}
	}
	seen := map[int]bool{200: true}
	provoke := func(target, ct, accept, body string, err error) {
		t.Helper()
		fail = err
		w := post(h, target, ct, accept, body)
		seen[w.Code] = true
		s.declared(t, http.MethodPost, "/v1/appraise", w)
	}
	const at, cmw = "/v1/appraise", "application/cmw+json"
	for _, accept := range []string{typeJSON, typeEAR, typeCMW, "text/html"} {
		provoke(at, cmw, accept, "{}", nil)
	}
	provoke(at, "text/plain", "", "{}", nil)
	provoke(at, cmw, "", strings.Repeat(" ", 17), nil)
	provoke(at+"?nonce=0", cmw, "", "{}", nil)
	for _, err := range []error{
		&evidence.Error{Rule: "CMW-01", Detail: "x", Label: "a", Offset: 1}, &evidence.Error{Rule: "signature-untrusted", Detail: "x", Offset: -1}, orchestrator.ErrNonceSpent, orchestrator.ErrNonceStore,
		orchestrator.ErrRequest, orchestrator.ErrTopology, errors.New("x"),
	} {
		provoke(at, cmw, "", "{}", err)
	}
	o.InFlight, fail = 1, nil
	busy, leave := make(chan struct{}), make(chan struct{})
	o.Appraiser = lead(func(ctx context.Context, r orchestrator.Request) (*verdict.Result, error) {
		close(busy)
		<-leave
		return warning(ctx, r)
	})
	h, err = New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); post(h, at, cmw, "", "{}") }()
	<-busy
	provoke(at, cmw, "", "{}", nil)
	close(leave)
	<-done
	for status := range s.Paths[at]["post"].Responses {
		var code int
		if _, err := fmt.Sscan(status, &code); err != nil || !seen[code] {
			t.Errorf("the document has status %s, which nothing provokes", status)
		}
	}
}
