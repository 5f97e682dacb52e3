// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/coserv"
	"github.com/assize/assize/internal/lru"
)

// References gives the documents that hold at a time, prepared for matching.
type References interface {
	Snapshot(now time.Time) (*corim.Index, error)
}

// CoSERV hands out reference values, endorsements and trust anchors
// (draft-ietf-rats-coserv):
//
//	GET /endorsement-distribution/v1/coserv/{query}  a signed result
//	GET /.well-known/coserv-configuration            what there is
//
// Errors of these two are application/concise-problem-details+cbor (RFC 9290), as the
// draft wants. All fields but Unsigned are mandatory.
type CoSERV struct {
	References References
	// Key signs results, Random is for the signature, KID names the key.
	Key    crypto.Signer
	KID    string
	Random io.Reader
	// Lifetime is how long a result may be used, from a second to a year.
	Lifetime time.Duration
	// Now is the clock.
	Now func() time.Time
	// Unsigned hands out results without a signature too, to those who ask for
	// them. The draft allows that over a secure channel without intermediaries.
	Unsigned bool
	// Version is the semantic version of the service.
	Version string
}

const (
	maxLifetime = 366 * 24 * time.Hour
	// keptAnswers and keptAnswer bound the signed answers that are kept: their
	// number, and the bytes of each.
	keptAnswers = 256
	keptAnswer  = 64 << 10
	// discoveryAge is how long the discovery document may be cached, in seconds.
	discoveryAge = "60"
)

// distribution is the running service.
type distribution struct {
	CoSERV
	server *server
	slots  chan struct{}
	kept   *lru.Cache[*signedAnswer]
}

// signedAnswer is a result as it goes out. It serves again until the time given
// by until, so that most of its lifetime is still ahead of who gets it.
type signedAnswer struct {
	body          []byte
	etag          string
	until, expiry time.Time
}

func (s *server) distribution(o CoSERV) (*distribution, error) {
	if o.References == nil || o.Key == nil || o.KID == "" || o.Random == nil || o.Now == nil || o.Version == "" {
		return nil, errors.New("api: incomplete options of CoSERV")
	}
	if o.Lifetime < time.Second || o.Lifetime > maxLifetime {
		return nil, fmt.Errorf("api: CoSERV results that live for %s, want 1s to %s", o.Lifetime, maxLifetime)
	}
	if _, err := coserv.Algorithm(o.Key.Public()); err != nil {
		return nil, fmt.Errorf("api: %w", err)
	}
	return &distribution{CoSERV: o, server: s, slots: make(chan struct{}, s.o.InFlight), kept: lru.New[*signedAnswer](keptAnswers)}, nil
}

// register adds the two resources.
func (d *distribution) register(mux *http.ServeMux) {
	mux.HandleFunc("GET "+coserv.EndpointPath, d.query)
	mux.HandleFunc("GET "+coserv.DiscoveryPath, d.discover)
}

// query answers one query.
func (d *distribution) query(w http.ResponseWriter, r *http.Request) {
	if r.URL.RawQuery != "" {
		d.problem(w, r, http.StatusBadRequest, "Query validation failed", "the query is the last part of the path, and there are no parameters")
		return
	}
	m, err := coserv.ParseBase64URL(r.PathValue("query"), coserv.ParseOptions{})
	if err != nil {
		d.problem(w, r, http.StatusBadRequest, "Query validation failed", err.Error())
		return
	}
	form, ok := d.negotiate(r.Header.Values("Accept"), m.Profile)
	if !ok {
		d.problem(w, r, http.StatusNotAcceptable, "Unsupported profile or media type",
			"results for this query are available as "+coserv.MediaType(coserv.TypeSigned, m.Profile))
		return
	}
	select {
	case d.slots <- struct{}{}:
		defer func() { <-d.slots }()
	default:
		w.Header().Set("Retry-After", "1")
		d.problem(w, r, http.StatusTooManyRequests, "Too many requests", "too many queries are being answered")
		return
	}
	now := d.Now()
	a, err := d.answer(m, form, now)
	if err != nil {
		d.explain(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "max-age="+strconv.FormatInt(max(0, int64(a.expiry.Sub(now)/time.Second)), 10))
	h.Set("ETag", a.etag)
	h.Set("Vary", "Accept")
	if matches(r.Header.Values("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", coserv.MediaType(form, m.Profile))
	d.server.write(w, r, http.StatusOK, a.body)
}

// errSnapshot is for documents that cannot be had now.
var errSnapshot = errors.New("api: reference values are not available")

// answer makes an answer, or finds one that was made for the same query from the
// same documents not long ago.
func (d *distribution) answer(m *coserv.Message, form string, now time.Time) (*signedAnswer, error) {
	x, err := d.References.Snapshot(now)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSnapshot, err)
	}
	raw, err := m.Encode()
	if err != nil {
		return nil, err
	}
	key := lru.Key(sha256.Sum256(append([]byte(form+"\x00"+x.Revision()+"\x00"), raw...)))
	if a, ok := d.kept.Get(key); ok && now.Before(a.until) && !now.Before(a.until.Add(-d.Lifetime)) {
		return a, nil
	}
	result, err := coserv.Answer(x, m.Profile, m.Query, coserv.AnswerOptions{Now: now, Lifetime: d.Lifetime})
	if err != nil {
		return nil, err
	}
	a := &signedAnswer{expiry: result.Results.Expiry}
	a.until = now.Add(a.expiry.Sub(now) / 2)
	if form == coserv.TypeUnsigned {
		a.body, err = result.Encode()
	} else {
		a.body, err = coserv.Sign(d.Random, result, d.Key, []byte(d.KID))
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(a.body)
	a.etag = `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
	if len(a.body) <= keptAnswer {
		d.kept.Put(key, a)
	}
	return a, nil
}

// explain maps errors to the statuses of the draft.
func (d *distribution) explain(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, coserv.ErrProfile):
		d.problem(w, r, http.StatusNotAcceptable, "Unsupported profile", err.Error())
	case errors.Is(err, coserv.ErrLimit):
		d.problem(w, r, http.StatusBadRequest, "Query selects too much", err.Error())
	case errors.Is(err, coserv.ErrSeries):
		d.problem(w, r, http.StatusBadRequest, "Result cannot be collected", err.Error())
	case errors.Is(err, errSnapshot):
		d.server.o.Logger.ErrorContext(r.Context(), "reference values cannot be had", "error", err)
		d.problem(w, r, http.StatusServiceUnavailable, "Not available", "reference values are not available now")
	default:
		d.server.o.Logger.ErrorContext(r.Context(), "CoSERV query failed", "error", err)
		d.problem(w, r, http.StatusInternalServerError, "Internal error", "internal error")
	}
}

func (d *distribution) problem(w http.ResponseWriter, r *http.Request, status int, title, detail string) {
	body, err := coserv.Problem{Title: title, Detail: detail}.Encode()
	if err != nil { // two texts
		body = []byte{0xa0}
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", coserv.TypeProblem)
	d.server.write(w, r, status, body)
}

// discover says what there is: the profiles of documents that are in force.
func (d *distribution) discover(w http.ResponseWriter, r *http.Request) {
	form := coserv.TypeDiscoveryJSON
	if accept := r.Header.Values("Accept"); len(accept) > 0 {
		inJSON, inCBOR := quality(coserv.TypeDiscoveryJSON, accept), quality(coserv.TypeDiscoveryCBOR, accept)
		if inJSON == 0 && inCBOR == 0 {
			d.problem(w, r, http.StatusNotAcceptable, "Not acceptable", "available as "+coserv.TypeDiscoveryJSON+" and "+coserv.TypeDiscoveryCBOR)
			return
		}
		if inCBOR > inJSON {
			form = coserv.TypeDiscoveryCBOR
		}
	}
	now := d.Now()
	x, err := d.References.Snapshot(now)
	if err != nil {
		d.explain(w, r, fmt.Errorf("%w: %w", errSnapshot, err))
		return
	}
	doc := d.discovery(coserv.Profiles(x, now))
	body, err := doc.EncodeJSON()
	if form == coserv.TypeDiscoveryCBOR {
		body, err = doc.EncodeCBOR()
	}
	if err != nil {
		d.explain(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "max-age="+discoveryAge)
	w.Header().Set("Vary", "Accept")
	w.Header().Set("Content-Type", form)
	d.server.write(w, r, http.StatusOK, body)
}

func (d *distribution) discovery(profiles []string) coserv.Discovery {
	if len(profiles) == 0 { // the list may not be empty
		profiles = []string{coserv.PlainProfile}
	}
	out := coserv.Discovery{
		Version: d.Version, Endpoints: map[string]string{coserv.Endpoint: coserv.EndpointPath},
		Keys: []corim.SigningKey{{ID: []byte(d.KID), Public: d.Key.Public()}},
	}
	for _, p := range profiles {
		for _, form := range d.forms() {
			out.Capabilities = append(out.Capabilities, coserv.Capability{
				MediaType: coserv.MediaType(form, p), Artifacts: []string{"source", "collected", "rims"},
			})
		}
	}
	return out
}

func (d *distribution) forms() []string {
	if d.Unsigned {
		return []string{coserv.TypeSigned, coserv.TypeUnsigned}
	}
	return []string{coserv.TypeSigned}
}

// negotiate picks the form of a result. A range with another profile than that
// of the query accepts nothing.
func (d *distribution) negotiate(accept []string, profile string) (string, bool) {
	if len(accept) == 0 {
		return coserv.TypeSigned, true
	}
	var ranges []string
	for _, item := range split(accept) {
		base, params, err := mime.ParseMediaType(item)
		if p, ok := params["profile"]; err != nil || ok && p != profile {
			continue
		}
		if q, ok := params["q"]; ok {
			base += ";q=" + q
		}
		ranges = append(ranges, base)
	}
	best, bestQ := "", 0.0
	for _, form := range d.forms() {
		if q := quality(form, ranges); q > bestQ {
			best, bestQ = form, q
		}
	}
	return best, best != ""
}

// split splits lists at the commas outside of quotes: a profile usually has one.
func split(headers []string) []string {
	var out []string
	for _, h := range headers {
		from, quoted := 0, false
		for i := 0; i <= len(h); i++ {
			switch {
			case i == len(h) || h[i] == ',' && !quoted:
				out = append(out, strings.TrimSpace(h[from:i]))
				from = i + 1
			case h[i] == '\\' && quoted:
				i++
			case h[i] == '"':
				quoted = !quoted
			}
		}
	}
	return out
}

// matches tells whether If-None-Match has the entity tag.
func matches(headers []string, etag string) bool {
	for _, tag := range split(headers) {
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
