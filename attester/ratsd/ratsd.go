// SPDX-License-Identifier: Apache-2.0

// Package ratsd offers the HTTP API of Veraison's composite attester daemon
// (veraison/ratsd) for a simulated machine, so that real clients of the daemon
// can talk to it. Begin with New.
//
//	POST /ratsd/chares        evidence for a challenge
//	GET  /ratsd/subattesters  the parts of the machine
package ratsd

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/assize/assize/attester"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/trust"
)

const (
	requestType = "application/vnd.veraison.chares+json"
	problemType = "tag:github.com,2024:veraison/ratsd:error:"
	maxRequest  = 64 << 10
	maxDepth    = 3
)

// Machine answers challenges; *attester.Machine does.
type Machine interface {
	Ratsd(nonce []byte, f attester.Format, selection []string) ([]byte, time.Duration, error)
	RatsdAttesters() []string
}

type server struct{ machine Machine }

// New is the handler for one machine, without authentication.
func New(m Machine) http.Handler {
	s := server{m}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /ratsd/chares", s.challenge)
	mux.HandleFunc("GET /ratsd/subattesters", s.inventory)
	return mux
}

// challenge answers POST /ratsd/chares.
func (s server) challenge(w http.ResponseWriter, r *http.Request) {
	format, media, ok := accepted(r.Header.Values("Accept"))
	if !ok {
		problem(w, http.StatusNotAcceptable, "", "not acceptable", "supported: "+attester.RatsdJSONType+" and "+attester.RatsdV2Type)
		return
	}
	// The daemon compares the type as a text: a parameter makes it another.
	if ct := r.Header.Get("Content-Type"); ct != requestType {
		invalid(w, fmt.Sprintf("content type is %.64q, want %q", ct, requestType))
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		invalid(w, "the request cannot be read or is larger than 64 KiB")
		return
	}
	nonce, selection, err := s.request(raw)
	if err != nil {
		invalid(w, err.Error())
		return
	}
	out, delay, err := s.machine.Ratsd(nonce, format, selection)
	if err != nil {
		problem(w, http.StatusInternalServerError, "", "sub-attester failed", err.Error())
		return
	}
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(out) // a client that went away needs no answer
}

// request reads the body: nonce, selection, and options by sub-attester.
func (s server) request(raw []byte) (nonce []byte, selection []string, err error) {
	m, err := trust.ParseObject(raw, maxDepth)
	if err != nil {
		return nil, nil, errors.New("the request is not a JSON object")
	}
	known := map[string]bool{}
	for _, name := range s.machine.RatsdAttesters() {
		known[name] = true
	}
	for name, v := range m {
		switch {
		case name == "nonce":
			text, _ := v.(string)
			nonce, err = base64.RawURLEncoding.Strict().DecodeString(text)
			if err != nil || len(nonce) < limits.NonceMin || len(nonce) > limits.NonceMax {
				return nil, nil, fmt.Errorf("nonce is not base64url without padding of %d to %d bytes", limits.NonceMin, limits.NonceMax)
			}
		case name == "attester-selection":
			if selection, err = names(v, known); err != nil {
				return nil, nil, err
			}
		case known[name]:
			if err := options(name, v); err != nil {
				return nil, nil, err
			}
		default:
			return nil, nil, fmt.Errorf("no sub-attester %.64q", name)
		}
	}
	if nonce == nil {
		return nil, nil, errors.New("nonce is missing")
	}
	return nonce, selection, nil
}

func names(v any, known map[string]bool) ([]string, error) {
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("attester-selection is not a list of names")
	}
	var out []string
	for _, item := range list {
		name, _ := item.(string)
		if !known[name] {
			return nil, fmt.Errorf("no sub-attester %.64q", name)
		}
		out = append(out, name)
	}
	return out, nil
}

// options checks the member of one sub-attester: texts by name. A simulated
// machine has one format for each part, and no options.
func options(name string, v any) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("options of %s are not an object", name)
	}
	for key, value := range m {
		if _, ok := value.(string); !ok {
			return fmt.Errorf("option %.64q of %s is not a text", key, name)
		}
		if key != "content-type" {
			return fmt.Errorf("%s has no option %.64q", name, key)
		}
	}
	return nil
}

// accepted chooses the format by the Accept header, in its order.
func accepted(headers []string) (attester.Format, string, bool) {
	empty := true
	for _, part := range split(strings.Join(headers, ",")) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		empty = false
		base, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch {
		case base == "*/*" || same(base, params, attester.RatsdJSONType, "eat_profile"):
			return attester.RatsdJSON, attester.RatsdJSONType, true
		case same(base, params, attester.RatsdV2Type, "cmwct"):
			return attester.RatsdV2, attester.RatsdV2Type, true
		}
	}
	return attester.RatsdJSON, attester.RatsdJSONType, empty
}

func same(base string, params map[string]string, want, param string) bool {
	wantBase, wantParams, err := mime.ParseMediaType(want)
	return err == nil && base == wantBase && params[param] == wantParams[param]
}

// split cuts at commas outside of quotes: profiles have commas in them.
func split(header string) []string {
	quoted := false
	return strings.FieldsFunc(header, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return r == ',' && !quoted
	})
}

// inventory answers GET /ratsd/subattesters.
func (s server) inventory(w http.ResponseWriter, _ *http.Request) {
	type option struct {
		Name string `json:"name"`
		Type string `json:"data-type"`
	}
	type sub struct {
		Name    string   `json:"name"`
		Options []option `json:"options"`
	}
	out := []sub{}
	for _, name := range s.machine.RatsdAttesters() {
		out = append(out, sub{name, []option{{"content-type", "string"}}})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // a client that went away needs no answer
}

func invalid(w http.ResponseWriter, detail string) {
	problem(w, http.StatusBadRequest, problemType+"invalidrequest", "invalid request", detail)
}

func problem(w http.ResponseWriter, status int, typ, title, detail string) {
	if typ == "" {
		typ = "about:blank"
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"type": typ, "title": title, "status": status, "detail": detail})
}
