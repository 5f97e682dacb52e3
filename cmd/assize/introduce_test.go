// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/attester/ratsd"
	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
)

func TestAgentSpeaksRatsd(t *testing.T) {
	d, _ := attester.BuiltIn("cpu-gpu")
	m, err := attester.New(attester.Options{Machine: d, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(ratsd.New(m))
	defer srv.Close()
	for _, address := range []string{srv.URL, srv.URL + "/", srv.URL + "/ratsd/chares"} {
		a, err := newAgent(address)
		if err != nil {
			t.Fatal(err)
		}
		raw, mediaType, err := a.Attest(context.Background(), make([]byte, 32))
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		tree, err := evidence.Parse(raw, evidence.Options{MediaType: mediaType, Limits: limits.Default()})
		if err != nil || len(tree.Leaves()) < 2 {
			t.Errorf("%s: %v", mediaType, err)
		}
	}
}

func TestAgentIsNotBelieved(t *testing.T) {
	most := limits.Default().Leaf
	for name, h := range map[string]http.HandlerFunc{
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			_, _ = w.Write([]byte("x"))
		},
		"elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/other", http.StatusTemporaryRedirect)
		},
		"nothing":     func(http.ResponseWriter, *http.Request) {},
		"too much":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, most+1)) },
		"not in time": func(http.ResponseWriter, *http.Request) { time.Sleep(400 * time.Millisecond) },
	} {
		srv := httptest.NewServer(h)
		a, err := newAgent(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		if _, _, err := a.Attest(ctx, make([]byte, 32)); err == nil {
			t.Errorf("%s is evidence", name)
		}
		cancel()
		srv.Close()
	}
	if a, err := newAgent("http://127.0.0.1:1/x"); err != nil || !strings.HasSuffix(a.url, "/x") {
		t.Error("the path is not kept")
	}
}
