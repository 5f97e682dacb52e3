// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/store"
	"github.com/assize/assize/internal/limits"
)

// typeVeraison is what clients of Veraison's provisioning interface call an
// unsigned document.
const typeVeraison = "application/corim-unsigned+cbor"

const (
	// corimUploads bounds how many documents are read at once, and with them the
	// memory that they take.
	corimUploads = 4
	// corimSettle is how long an answer waits for the set in use to have the
	// document.
	corimSettle = 2 * time.Second
	// corimTime bounds one change.
	corimTime = 15 * time.Second
)

// Corims is the store behind /v1/corims; *store.Store is one.
type Corims interface {
	State(now time.Time) store.State
	Get(key string) (store.Info, []byte, error)
	Add(ctx context.Context, raw []byte) (store.Info, error)
	Await(ctx context.Context, d store.Digest) error
	Remove(ctx context.Context, key string) error
}

// Corim describes one entry of the store.
type Corim struct {
	// ID is the SHA-256 of the document in hexadecimal digits, or the name of
	// something that is no document.
	ID     string       `json:"id"`
	Status store.Status `json:"status"`
	// Document is the identifier in the document, Profile its profile, Authority
	// who has signed it; absent if it is not authentic, or has none.
	Document  string     `json:"document,omitempty"`
	Profile   string     `json:"profile,omitempty"`
	Authority string     `json:"authority,omitempty"`
	NotBefore *time.Time `json:"not_before,omitempty"`
	NotAfter  *time.Time `json:"not_after,omitempty"`
	Bytes     int64      `json:"bytes"`
	Added     time.Time  `json:"added"`
	// Reason is why it does not count.
	Reason string `json:"reason,omitempty"`
}

// CorimList describes the set in use.
type CorimList struct {
	Revision  string    `json:"revision"`
	Confirmed time.Time `json:"confirmed"`
	Stale     bool      `json:"stale"`
	Corims    []Corim   `json:"corims"`
	Conflicts []string  `json:"conflicts,omitempty"`
}

// DescribeCorim describes an entry at a time.
func DescribeCorim(in store.Info, now time.Time) Corim {
	out := Corim{ID: in.Key, Status: in.Status(now), Bytes: in.Bytes, Added: in.Added.UTC()}
	if err := in.Reason(); err != nil {
		out.Reason = err.Error()
	}
	d := in.Document
	if d == nil {
		return out
	}
	out.Document, out.Profile = d.ID.String(), d.Profile
	if d.Authority != nil {
		out.Authority = d.Authority.Name
	}
	window := d.Window()
	for _, end := range []struct {
		from time.Time
		to   **time.Time
	}{{window.NotBefore, &out.NotBefore}, {window.NotAfter, &out.NotAfter}} {
		if !end.from.IsZero() {
			t := end.from.UTC()
			*end.to = &t
		}
	}
	return out
}

// DescribeCorims describes a set.
func DescribeCorims(st store.State, now time.Time) CorimList {
	out := CorimList{Revision: st.Revision, Confirmed: st.Confirmed.UTC(), Stale: st.Stale, Corims: []Corim{}, Conflicts: st.Conflicts}
	for _, in := range st.Documents {
		out.Corims = append(out.Corims, DescribeCorim(in, now))
	}
	return out
}

// corims registers the resources.
func (s *server) corims(mux *http.ServeMux) {
	if s.o.Corims == nil {
		return
	}
	slots := make(chan struct{}, corimUploads)
	mux.HandleFunc("GET /v1/corims", s.listCorims)
	mux.HandleFunc("GET /v1/corims/{id}", s.getCorim)
	mux.HandleFunc("POST /v1/corims", s.writing(s.o.CorimWrites, "reference values", "corim.http_writes", func(w http.ResponseWriter, r *http.Request) {
		select {
		case slots <- struct{}{}:
			s.addCorim(w, r, func() { <-slots })
		default:
			w.Header().Set("Retry-After", "1")
			s.problem(w, r, problem{Status: http.StatusTooManyRequests, Code: "busy", Detail: "too many documents are being added"})
		}
	}))
	mux.HandleFunc("DELETE /v1/corims/{id}", s.writing(s.o.CorimWrites, "reference values", "corim.http_writes", s.removeCorim))
}

// writing refuses writes that are not configured, and those of web pages: a
// browser can be made to reach a loopback address for a page of somebody else,
// and says so with Origin.
func (s *server) writing(on bool, what, key string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !on:
			s.problem(w, r, problem{Status: http.StatusForbidden, Code: "writes-off", Detail: what + " are not changed over HTTP here (" + key + ")"})
		case len(r.Header.Values("Origin")) > 0:
			s.problem(w, r, problem{Status: http.StatusForbidden, Code: "browser", Detail: what + " are not changed by web pages"})
		default:
			next(w, r)
		}
	}
}

func (s *server) listCorims(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	st := s.o.Corims.State(now)
	if !st.Ready {
		s.problem(w, r, s.explainCorim(r, store.ErrNotReady))
		return
	}
	s.json(w, r, DescribeCorims(st, now))
}

// getCorim answers with the document as it was received, or, where that is asked
// for, with its description.
func (s *server) getCorim(w http.ResponseWriter, r *http.Request) {
	in, raw, err := s.o.Corims.Get(r.PathValue("id"))
	ct := "application/octet-stream" // it may be anything
	if d := in.Document; d != nil {
		ct = mediaType(d)
	}
	base, _, _ := strings.Cut(ct, ";")
	accept := r.Header.Values("Accept")
	describe := quality(typeJSON, accept) > quality(base, accept)
	if errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrNotReady) || err != nil && !describe {
		s.problem(w, r, s.explainCorim(r, err))
		return
	}
	if describe {
		s.json(w, r, DescribeCorim(in, time.Now()))
		return
	}
	w.Header().Set("Content-Type", ct)
	s.write(w, r, http.StatusOK, raw)
}

// mediaType is that of a document, with its profile.
func mediaType(d *corim.Document) string {
	base := corim.MediaTypeUnsigned
	if d.Signature != nil {
		base = corim.MediaTypeSigned
	}
	if d.Profile == "" {
		return base
	}
	return mime.FormatMediaType(base, map[string]string{"profile": d.Profile})
}

// addCorim reads a document and adds it; leave is called when its bytes are no
// longer needed here.
func (s *server) addCorim(w http.ResponseWriter, r *http.Request, leave func()) {
	ctx, cancel := context.WithTimeout(r.Context(), corimTime)
	defer cancel()
	in, p := s.keepCorim(ctx, w, r)
	leave()
	if p != nil {
		s.problem(w, r, *p)
		return
	}
	if d, err := store.ParseDigest(in.Key); err == nil {
		settle, stop := context.WithTimeout(ctx, corimSettle)
		if err := s.o.Corims.Await(settle, d); err != nil { // it is kept all the same
			s.o.Logger.InfoContext(r.Context(), "a document that was added is not in use yet", "id", in.Key, "error", err)
		}
		stop()
	}
	s.o.Logger.InfoContext(r.Context(), "reference values added", "id", in.Key, "document", in.Document.ID.String(), "client", client(r))
	w.Header().Set("Location", "/v1/corims/"+in.Key)
	s.jsonAs(w, r, http.StatusCreated, DescribeCorim(in, time.Now()))
}

func (s *server) keepCorim(ctx context.Context, w http.ResponseWriter, r *http.Request) (store.Info, *problem) {
	raw, p := s.readCorim(w, r)
	if p != nil {
		return store.Info{}, p
	}
	in, err := s.o.Corims.Add(ctx, raw)
	if err != nil {
		p := s.explainCorim(r, err)
		return in, &p
	}
	return in, nil
}

// client names who has changed something: the certificate, if there is one.
func client(r *http.Request) string {
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.String()
	}
	return r.RemoteAddr
}

// readCorim reads a document and checks that it is what its media type says.
func (s *server) readCorim(w http.ResponseWriter, r *http.Request) ([]byte, *problem) {
	unsupported := &problem{Status: http.StatusUnsupportedMediaType, Code: "media-type", Detail: "a document is application/rim+cose, application/rim+cbor or application/corim-unsigned+cbor"}
	if len(r.Header.Values("Content-Type")) != 1 {
		return nil, unsupported
	}
	base, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || base != corim.MediaTypeSigned && base != corim.MediaTypeUnsigned && base != typeVeraison {
		return nil, unsupported
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limits.CorimDocument))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, &problem{Status: http.StatusRequestEntityTooLarge, Code: "too-large", Detail: fmt.Sprintf("a document has at most %d bytes", limits.CorimDocument)}
	case err != nil:
		return nil, &problem{Status: http.StatusBadRequest, Code: "unreadable", Detail: "the body ended early"}
	}
	d, err := corim.Parse(raw)
	if err != nil {
		p := s.explainCorim(r, err)
		return nil, &p
	}
	if (d.Signature != nil) != (base == corim.MediaTypeSigned) {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Code: "media-type", Detail: "the media type says whether the document is signed, and it is otherwise"}
	}
	if profile, given := params["profile"]; given && profile != d.Profile {
		return nil, &problem{Status: http.StatusUnsupportedMediaType, Code: "media-type", Detail: fmt.Sprintf("the document has the profile %q", d.Profile)}
	}
	return raw, nil
}

func (s *server) removeCorim(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), corimTime)
	defer cancel()
	if err := s.o.Corims.Remove(ctx, r.PathValue("id")); err != nil {
		s.problem(w, r, s.explainCorim(r, err))
		return
	}
	s.o.Logger.InfoContext(r.Context(), "reference values removed", "id", r.PathValue("id"), "client", client(r))
	w.WriteHeader(http.StatusNoContent)
}

// explainCorim maps an error of the store to a problem. Whoever may write is
// known, so it says what is wrong with a document.
func (s *server) explainCorim(r *http.Request, err error) problem {
	var syntax *corim.SyntaxError
	var circle *corim.CycleError
	switch {
	case errors.Is(err, store.ErrUnknown):
		return problem{Status: http.StatusNotFound, Code: "not-found", Detail: "no such document"}
	case errors.As(err, &syntax):
		offset := int64(syntax.Offset)
		return problem{Status: http.StatusBadRequest, Code: "malformed-corim", Detail: err.Error(), Offset: &offset}
	case errors.Is(err, store.ErrTooLarge), errors.Is(err, corim.ErrLimit):
		return problem{Status: http.StatusRequestEntityTooLarge, Code: "too-large", Detail: err.Error()}
	case errors.Is(err, store.ErrFull):
		return problem{Status: http.StatusInsufficientStorage, Code: "store-full", Detail: err.Error()}
	case errors.As(err, &circle):
		return problem{Status: http.StatusUnprocessableEntity, Code: "corim-refused", Detail: err.Error()}
	}
	for _, refused := range []error{
		corim.ErrUnsigned, corim.ErrUntrusted, corim.ErrSignature, corim.ErrScope, corim.ErrPeriod, corim.ErrProfile, corim.ErrRule, store.ErrName,
	} {
		if errors.Is(err, refused) {
			return problem{Status: http.StatusUnprocessableEntity, Code: "corim-refused", Detail: err.Error()}
		}
	}
	s.o.Logger.ErrorContext(r.Context(), "store of reference values", "error", err)
	return problem{Status: http.StatusServiceUnavailable, Code: "corim-store", Detail: "the store of reference values cannot be used now"}
}
