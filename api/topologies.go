// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/assize/assize/internal/strictjson"
	"github.com/assize/assize/topologies"
)

// Errors of Topologies.
var (
	// ErrNoTopology: there is none of this name.
	ErrNoTopology = errors.New("no such topology")
	// ErrTopologyName: a name is [a-z0-9-]{1,32}.
	ErrTopologyName = errors.New("the name of a topology is [a-z0-9-]{1,32}")
	// ErrTopologyFixed: the name is not for clients to give.
	ErrTopologyFixed = errors.New("this name is not changed over HTTP")
	// ErrTopologiesFull: no more of them are kept.
	ErrTopologiesFull = errors.New("no more topologies are kept")
)

// Topologies are the named ones behind /v1/topologies/{name}. An implementation is
// safe for concurrent use.
type Topologies interface {
	// Get gives the expression of a name, or ErrNoTopology.
	Get(name string) (topologies.Expr, error)
	// Put keeps an expression under a name and says whether the name is new. Errors
	// that are none of the above mean that nothing can be kept now.
	Put(ctx context.Context, name string, e topologies.Expr) (created bool, err error)
	// Lint gives the problems of an expression on this node.
	Lint(text string, yaml bool) []topologies.Problem
}

// Topology describes a named topology in an answer.
type Topology struct {
	Name string `json:"name"`
	// Topology is the expression in its canonical text.
	Topology string `json:"topology"`
	// Problems are warnings of the linter; it has no errors.
	Problems []topologies.Problem `json:"problems"`
}

// Forms of a topology.
const (
	typeText = "text/plain"
	typeYAML = "application/yaml" // RFC 9512
)

func (s *server) topologies(mux *http.ServeMux) {
	if s.o.Topologies == nil {
		return
	}
	mux.HandleFunc("GET /v1/topologies/{name}", s.getTopology)
	mux.HandleFunc("PUT /v1/topologies/{name}", s.writing(s.o.TopologyWrites, "topologies", "topologies.http_writes", s.putTopology))
}

func (s *server) getTopology(w http.ResponseWriter, r *http.Request) {
	offered := []form{{base: typeJSON}, {base: typeText}}
	forms := negotiate(r.Header.Values("Accept"), offered)
	if len(forms) == 0 {
		s.problem(w, r, problem{Status: http.StatusNotAcceptable, Code: "not-acceptable", Detail: "a topology is available as " + available(offered)})
		return
	}
	name := r.PathValue("name")
	e, err := s.o.Topologies.Get(name)
	if err != nil {
		s.problem(w, r, s.explainTopology(r, err))
		return
	}
	if forms[0].base == typeText {
		w.Header().Set("Content-Type", typeText+"; charset=utf-8")
		s.write(w, r, http.StatusOK, []byte(e.String()+"\n"))
		return
	}
	s.json(w, r, s.describeTopology(name, e))
}

func (s *server) describeTopology(name string, e topologies.Expr) Topology {
	text := e.String()
	return Topology{Name: name, Topology: text, Problems: append([]topologies.Problem{}, s.o.Topologies.Lint(text, false)...)}
}

// putTopology keeps an expression in which the linter finds no error.
func (s *server) putTopology(w http.ResponseWriter, r *http.Request) {
	e, p := s.readTopology(w, r)
	if p != nil {
		s.problem(w, r, *p)
		return
	}
	name := r.PathValue("name")
	created, err := s.o.Topologies.Put(r.Context(), name, e)
	if err != nil {
		s.problem(w, r, s.explainTopology(r, err))
		return
	}
	s.o.Logger.InfoContext(r.Context(), "topology kept", "name", name, "topology", e.String(), "client", client(r))
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/v1/topologies/"+name)
	}
	s.jsonAs(w, r, status, s.describeTopology(name, e))
}

// readTopology reads an expression in its text or YAML form, or as the JSON in
// which it is answered.
func (s *server) readTopology(w http.ResponseWriter, r *http.Request) (e topologies.Expr, _ *problem) {
	base, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || len(r.Header.Values("Content-Type")) != 1 || base != typeText && base != typeYAML && base != typeJSON {
		return e, &problem{Status: http.StatusUnsupportedMediaType, Code: "media-type", Detail: "a topology is text/plain, application/yaml or application/json"}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, topologies.MaxYAML))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return e, &problem{Status: http.StatusRequestEntityTooLarge, Code: "too-large", Detail: fmt.Sprintf("a topology has at most %d bytes", topologies.MaxYAML)}
	case err != nil:
		return e, &problem{Status: http.StatusBadRequest, Code: "unreadable", Detail: "the body ended early"}
	}
	text := string(raw)
	if base == typeJSON {
		if text, err = topologyText(raw); err != nil {
			return e, &problem{Status: http.StatusBadRequest, Code: "malformed-topology", Detail: err.Error()}
		}
	}
	for _, p := range s.o.Topologies.Lint(text, base == typeYAML) {
		if p.Severity == topologies.SeverityError {
			offset := int64(p.Offset)
			return e, &problem{Status: http.StatusUnprocessableEntity, Code: "topology", Detail: fmt.Sprintf("%d:%d: %s [%s]", p.Line, p.Column, p.Detail, p.Code), Offset: &offset}
		}
	}
	if base == typeYAML {
		e, err = topologies.ParseYAML(raw)
	} else {
		e, err = topologies.Parse(text)
	}
	if err != nil { // the linter would have said so
		return e, &problem{Status: http.StatusUnprocessableEntity, Code: "topology", Detail: err.Error()}
	}
	return e, nil
}

// topologyText takes the expression out of {"topology": "…"}; the members that an
// answer has beside it may be there.
func topologyText(raw []byte) (string, error) {
	members, err := strictjson.Members(raw)
	if err != nil {
		return "", fmt.Errorf("the body: %w", err)
	}
	for name := range members {
		if name != "topology" && name != "name" && name != "problems" {
			return "", fmt.Errorf("the body has the member %.40q, want topology", name)
		}
	}
	var text *string
	if err := json.Unmarshal(members["topology"], &text); err != nil || text == nil {
		return "", errors.New("the body has no text in the member topology")
	}
	return *text, nil
}

// explainTopology maps an error of the store to a problem.
func (s *server) explainTopology(r *http.Request, err error) problem {
	switch {
	case errors.Is(err, ErrNoTopology):
		return problem{Status: http.StatusNotFound, Code: "not-found", Detail: ErrNoTopology.Error()}
	case errors.Is(err, ErrTopologyName):
		return problem{Status: http.StatusBadRequest, Code: "bad-name", Detail: ErrTopologyName.Error()}
	case errors.Is(err, ErrTopologyFixed):
		return problem{Status: http.StatusForbidden, Code: "fixed", Detail: ErrTopologyFixed.Error()}
	case errors.Is(err, ErrTopologiesFull):
		return problem{Status: http.StatusInsufficientStorage, Code: "store-full", Detail: ErrTopologiesFull.Error()}
	}
	s.o.Logger.ErrorContext(r.Context(), "store of topologies", "error", err)
	return problem{Status: http.StatusServiceUnavailable, Code: "topology-store", Detail: "the store of topologies cannot be used now"}
}

// chosen is the topology that a request names, nil for none. Clients choose among
// those that somebody who may has kept: an expression of their own could leave out
// what this node demands.
func (s *server) chosen(r *http.Request, query url.Values) (*topologies.Expr, *problem) {
	names, given := query["topology"]
	if !given {
		return nil, nil
	}
	if len(names) != 1 || s.o.Topologies == nil {
		return nil, &problem{Status: http.StatusBadRequest, Code: "bad-query", Detail: "topology is given more than once, or this server has none to choose from"}
	}
	e, err := s.o.Topologies.Get(names[0])
	switch {
	case errors.Is(err, ErrNoTopology) || errors.Is(err, ErrTopologyName):
		return nil, &problem{Status: http.StatusUnprocessableEntity, Code: "unknown-topology", Detail: "topology is no name of /v1/topologies"}
	case err != nil:
		p := s.explainTopology(r, err)
		return nil, &p
	}
	return &e, nil
}
