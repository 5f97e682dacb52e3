// SPDX-License-Identifier: Apache-2.0

// Package api is the HTTP front door. It translates requests and verdicts and
// decides nothing. Begin with New, which returns an http.Handler for
//
//	POST /v1/appraise            composite evidence in, one verdict out
//	GET  /v1/verdicts/{id}       the same verdict again, while it is kept
//	GET  /v1/topologies/{name}   named topologies, where there is a store;
//	PUT                          and their changes, where they are configured
//	GET  /v1/verifiers           who can appraise what
//	GET  /v1/corims, /v1/corims/{id}  reference values, where there is a store;
//	POST, DELETE                 and their changes, where they are configured
//	GET  /.well-known/jwks.json  keys with which results are signed
//	GET  /healthz, /readyz       liveness and readiness
//	GET  /metrics                Prometheus, when there is a handler for it
//
// and, with Options.CoSERV, the resources that CoSERV lists.
//
// Errors are application/problem+json (RFC 9457) with code, and with label and
// offset where a message is malformed.
package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/assize/assize/evidence"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/orchestrator"
	"github.com/assize/assize/topologies"
	"github.com/assize/assize/verdict"
)

// Appraiser is what the front door stands in front of.
type Appraiser interface {
	Appraise(ctx context.Context, r orchestrator.Request) (*verdict.Result, error)
}

// FormatSigner is an Appraiser that signs its verdicts in other formats than that
// in which they come. Without it these formats are not on offer.
type FormatSigner interface {
	Sign(r *verdict.Result, f verdict.Format) ([]byte, error)
}

// Verifier describes one component verifier for GET /v1/verifiers.
type Verifier struct {
	Scheme    string   `json:"scheme"`
	Developer string   `json:"developer"`
	Build     string   `json:"build"`
	KID       string   `json:"kid"`
	Site      string   `json:"site"`
	Accepts   []string `json:"accepts"`
	// Trusted says whether the lead holds this key for this scheme.
	Trusted bool `json:"trusted"`
}

// Options configure the handler. Appraiser, JWKS, Ready and Logger are
// mandatory.
type Options struct {
	Appraiser Appraiser
	JWKS      func() ([]byte, error)
	Ready     func(context.Context) error
	Verifiers func() []Verifier
	Metrics   http.Handler
	// CoSERV hands out reference values; nil does not.
	CoSERV *CoSERV
	// Parallel says that the topology is parallel at the top: then whoever asks
	// can have the bare results and combine them (verdict.ResultsType).
	Parallel bool
	Logger   *slog.Logger
	// Corims are the reference values, nil for none. CorimWrites lets clients
	// change them: whoever sets it has made sure who can reach the handler.
	Corims      Corims
	CorimWrites bool
	// Verdicts are kept for GET /v1/verdicts/{id}; nil for none.
	Verdicts *Verdicts
	// Topologies are those that a request can name, nil for none. TopologyWrites is as
	// CorimWrites.
	Topologies     Topologies
	TopologyWrites bool
	// MaxBody is the largest composite in bytes, InFlight the number of
	// appraisals at once, Budget the longest time for one.
	MaxBody  int64
	InFlight int
	Budget   time.Duration
}

type server struct {
	o       Options
	slots   chan struct{} // appraisals
	uploads chan struct{} // bodies being read
	// sign makes further formats, nil where nobody can.
	sign   func(*verdict.Result, verdict.Format) ([]byte, error)
	memory *memory // verdicts of late, nil for none
}

// New returns the handler.
func New(o Options) (http.Handler, error) {
	if o.Appraiser == nil || o.JWKS == nil || o.Ready == nil || o.Logger == nil {
		return nil, errors.New("api: incomplete options")
	}
	if o.MaxBody <= 0 {
		o.MaxBody = int64(limits.Default().Composite)
	}
	if o.InFlight <= 0 {
		o.InFlight = 64
	}
	if o.Budget <= 0 {
		o.Budget = 10 * time.Second
	}
	s := &server{o: o, slots: make(chan struct{}, o.InFlight), uploads: make(chan struct{}, uploadsPerSlot*o.InFlight)}
	if f, ok := o.Appraiser.(FormatSigner); ok {
		s.sign = f.Sign
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/appraise", s.appraise)
	mux.HandleFunc("GET /v1/verifiers", s.verifiers)
	mux.HandleFunc("GET /.well-known/jwks.json", s.jwks)
	s.corims(mux)
	s.topologies(mux)
	if o.Verdicts != nil {
		var err error
		if s.memory, err = newMemory(*o.Verdicts, readsPerSlot*o.InFlight); err != nil {
			return nil, err
		}
		mux.HandleFunc("GET /v1/verdicts/{id}", s.getVerdict)
	}
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	if o.CoSERV != nil {
		d, err := s.distribution(*o.CoSERV)
		if err != nil {
			return nil, err
		}
		d.register(mux)
	}
	return s.guard(mux), nil
}

// guard answers what the mux does not know in our own error format, and keeps
// a panicking handler from showing anything but a 500.
func (s *server) guard(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				s.o.Logger.ErrorContext(r.Context(), "handler panicked", "panic", p)
				s.problem(w, r, problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "internal error"})
			}
		}()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		if path.Clean(r.URL.Path) != r.URL.Path { // the mux would redirect, and a resource has one spelling
			s.problem(w, r, problem{Status: http.StatusNotFound, Code: "not-found", Detail: "no such resource"})
			return
		}
		if _, pattern := mux.Handler(r); pattern == "" {
			s.unknown(mux, w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// methods are those that resources have, in the order of Allow.
var methods = [...]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete}

// unknown tells a wrong method from a wrong path, and answers OPTIONS.
func (s *server) unknown(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range methods {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := mux.Handler(other); pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		s.problem(w, r, problem{Status: http.StatusNotFound, Code: "not-found", Detail: "no such resource"})
		return
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	if r.Method == http.MethodOptions {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	s.problem(w, r, problem{Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Detail: "this resource wants " + list})
}

func (s *server) appraise(w http.ResponseWriter, r *http.Request) {
	query, topology, p := s.query(r)
	if p != nil {
		s.problem(w, r, *p)
		return
	}
	parallel := s.o.Parallel
	if topology != nil {
		parallel = topology.Head == topologies.Parallel
	}
	forms, ok := s.wanted(w, r, parallel)
	if !ok {
		return
	}
	req, ok := s.upload(w, r, query)
	if !ok {
		return
	}
	req.Topology = topology
	// Only now: a slow upload must not hold the place of an appraisal.
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.busy(w, r)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.o.Budget)
	defer cancel()
	res, err := s.o.Appraiser.Appraise(ctx, *req)
	if err != nil {
		s.problem(w, r, s.explain(r, err))
		return
	}
	a := answered{res, req, parallel}
	s.remember(w, r, a)
	s.answer(w, r, forms, a)
}

// query reads the parameters of an appraisal, and looks up the topology that is
// named among them.
func (s *server) query(r *http.Request) (url.Values, *topologies.Expr, *problem) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, nil, &problem{Status: http.StatusBadRequest, Code: "bad-query", Detail: "the query is malformed"}
	}
	for name := range query {
		if name != "nonce" && name != "topology" { // a misspelt nonce must not be no nonce
			return nil, nil, &problem{Status: http.StatusBadRequest, Code: "bad-query", Detail: "the query parameters are nonce and topology"}
		}
	}
	topology, p := s.chosen(r, query)
	return query, topology, p
}

// wanted gives the forms that a client takes a verdict in, or says that there are
// none.
func (s *server) wanted(w http.ResponseWriter, r *http.Request, parallel bool) ([]form, bool) {
	offered := s.forms(parallel)
	forms := negotiate(r.Header.Values("Accept"), offered)
	if len(forms) == 0 {
		s.problem(w, r, problem{Status: http.StatusNotAcceptable, Code: "not-acceptable", Detail: "a verdict is available as " + available(offered)})
	}
	return forms, len(forms) > 0
}

// uploadsPerSlot bounds how many bodies are read at once, and with them the
// memory that they take.
const uploadsPerSlot = 4

// upload reads a request while there is room for its body.
func (s *server) upload(w http.ResponseWriter, r *http.Request, query url.Values) (*orchestrator.Request, bool) {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	default:
		s.busy(w, r)
		return nil, false
	}
	req, p := s.read(w, r, query)
	if p != nil {
		s.problem(w, r, *p)
		return nil, false
	}
	return req, true
}

func (s *server) busy(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "1")
	s.problem(w, r, problem{Status: http.StatusTooManyRequests, Code: "busy", Detail: "too many appraisals are running"})
}

// read takes nonce, media type and body from a request.
func (s *server) read(w http.ResponseWriter, r *http.Request, query url.Values) (*orchestrator.Request, *problem) {
	nonce, err := ParseNonce(query)
	if err != nil {
		return nil, &problem{Status: http.StatusBadRequest, Code: "bad-nonce", Detail: err.Error()}
	}
	ct := r.Header.Get("Content-Type")
	if ct == "" || len(r.Header.Values("Content-Type")) > 1 {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Code: "no-media-type", Detail: "one Content-Type is required"}
	}
	if !Accepted(ct) {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Code: "media-type", Detail: "not a media type of composite evidence"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.o.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{Status: http.StatusRequestEntityTooLarge, Code: "too-large", Detail: "the composite is larger than this server takes"}
	case err != nil:
		return nil, &problem{Status: http.StatusBadRequest, Code: "unreadable", Detail: "the body ended early"}
	}
	return &orchestrator.Request{Evidence: body, MediaType: ct, Nonce: nonce}, nil
}

// explain maps an orchestrator error to a problem without telling policy.
func (s *server) explain(r *http.Request, err error) problem {
	var malformed *evidence.Error
	switch {
	case errors.As(err, &malformed):
		p := problem{Status: http.StatusBadRequest, Code: "malformed-evidence", Detail: malformed.Detail, Rule: malformed.Rule}
		if malformed.Offset >= 0 { // otherwise it is about no place
			p.Offset = &malformed.Offset
		}
		label := string(malformed.Label)
		p.Label = &label
		return p
	case errors.Is(err, orchestrator.ErrNonceSpent):
		return problem{Status: http.StatusConflict, Code: "nonce-spent", Detail: "this nonce has been used before"}
	case errors.Is(err, orchestrator.ErrNonceSize):
		return problem{Status: http.StatusBadRequest, Code: "bad-nonce", Detail: "a nonce has 8 to 64 bytes"}
	case errors.Is(err, orchestrator.ErrNonceStore):
		s.o.Logger.ErrorContext(r.Context(), "nonce store unavailable", "error", err)
		return problem{Status: http.StatusServiceUnavailable, Code: "nonce-store", Detail: "single use of nonces cannot be guaranteed now"}
	case errors.Is(err, orchestrator.ErrAudit):
		s.o.Logger.ErrorContext(r.Context(), "audit records cannot be written", "error", err)
		return problem{Status: http.StatusServiceUnavailable, Code: "audit", Detail: "there is no verdict without a record of it, and none can be written now"}
	case errors.Is(err, orchestrator.ErrRequest):
		return problem{Status: http.StatusBadRequest, Code: "bad-request", Detail: err.Error()}
	case errors.Is(err, orchestrator.ErrTopology):
		return problem{Status: http.StatusUnprocessableEntity, Code: "topology", Detail: err.Error()}
	}
	s.o.Logger.ErrorContext(r.Context(), "appraisal failed", "error", err)
	return problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "internal error"}
}

// answer writes the verdict in the first of the forms in which it can be had.
func (s *server) answer(w http.ResponseWriter, r *http.Request, forms []form, a answered) {
	var unfit *verdict.FormatError
	for _, f := range forms {
		body, err := s.encode(f, a.res, a.req)
		switch {
		case errors.As(err, &unfit):
			continue
		case errors.Is(err, errNoResults):
			s.problem(w, r, problem{Status: http.StatusServiceUnavailable, Code: "no-results", Detail: "no verifier gave a result, or more did than one answer can have"})
			return
		case err != nil:
			s.o.Logger.ErrorContext(r.Context(), "verdict cannot be encoded", "error", err)
			s.problem(w, r, problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "internal error"})
			return
		}
		w.Header().Set("Content-Type", f.String())
		s.write(w, r, http.StatusOK, body)
		return
	}
	s.problem(w, r, problem{Status: http.StatusNotAcceptable, Code: "not-acceptable",
		Detail: "there is no verdict on this machine as " + forms[0].String() + ": " + unfit.Detail})
}

// errNoResults: a collection without results could not be told from one that
// somebody has emptied.
var errNoResults = errors.New("no results")

// encode makes the body of an answer.
func (s *server) encode(f form, res *verdict.Result, req *orchestrator.Request) ([]byte, error) {
	switch {
	case f.format != "" && f.format != verdict.FormatP23JWT:
		return s.sign(res, f.format)
	case f.base == typeEAR:
		return res.Token, nil
	case f.base == typeCMW:
		return verdict.EncodeBundle(verdict.Bundle{Verdict: res.Token, Evidence: req.Evidence, EvidenceType: req.MediaType})
	case f.base == typeResults:
		body, err := verdict.EncodeResults(res, true)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoResults, err)
		}
		return body, nil
	}
	body, err := json.MarshalIndent(res.Document(), "", "  ")
	return append(body, '\n'), err
}

func (s *server) write(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		s.o.Logger.DebugContext(r.Context(), "client went away", "error", err)
	}
}

func (s *server) json(w http.ResponseWriter, r *http.Request, v any) {
	s.jsonAs(w, r, http.StatusOK, v)
}

func (s *server) jsonAs(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		s.problem(w, r, problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "internal error"})
		return
	}
	w.Header().Set("Content-Type", typeJSON)
	s.write(w, r, status, append(body, '\n'))
}

func (s *server) verifiers(w http.ResponseWriter, r *http.Request) {
	list := []Verifier{}
	if s.o.Verifiers != nil {
		list = append(list, s.o.Verifiers()...)
	}
	s.json(w, r, map[string]any{"verifiers": list})
}

func (s *server) jwks(w http.ResponseWriter, r *http.Request) {
	body, err := s.o.JWKS()
	if err != nil {
		s.problem(w, r, problem{Status: http.StatusInternalServerError, Code: "internal", Detail: "internal error"})
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	s.write(w, r, http.StatusOK, body)
}

func (s *server) healthz(w http.ResponseWriter, r *http.Request) {
	s.json(w, r, map[string]string{"status": "ok"})
}

func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.o.Ready(ctx); err != nil {
		s.o.Logger.WarnContext(r.Context(), "not ready", "error", err)
		s.problem(w, r, problem{Status: http.StatusServiceUnavailable, Code: "not-ready", Detail: "the node is not ready"})
		return
	}
	s.json(w, r, map[string]string{"status": "ready"})
}
