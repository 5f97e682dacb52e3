// SPDX-License-Identifier: Apache-2.0

// Package coserv fetches reference values, endorsements and trust anchors from a
// CoSERV service (draft-ietf-rats-coserv over HTTP). Begin with New.
//
//	c, err := coserv.New(coserv.Options{
//		URL: "https://endorsements.example", Client: httpClient, Now: clock,
//		Service: corim.Authority{Name: "example service", Keys: keys, Profiles: profiles, Scopes: scopes},
//		Trust: trust,
//	})
//	r, err := c.Fetch(ctx, profile, query)
//	index, err := corim.NewIndex(r.Documents...)
//
// Whom to believe depends on the query. The documents of source artifacts, and
// those by identifier, are loaded with Options.Trust: their own signatures count,
// and the service is only believed to have left nothing out. Collected statements
// become one document in the name of Options.Service, within its profiles and
// scopes. The keys of the service come from the caller; those that it publishes
// itself are never used.
//
// Results are kept until they expire. Nothing is tried twice: a *StatusError
// says when the service wants to be asked again.
package coserv

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/assize/assize/corim"
	"github.com/assize/assize/corim/coserv"
	"github.com/assize/assize/internal/limits"
	"github.com/assize/assize/internal/lru"
)

// Options say which service, and whom to believe.
type Options struct {
	// URL is that of the service, without path: https, or http for a service that
	// signs, or on a loopback address.
	URL string
	// Client makes the requests; its time-out bounds them. Redirects are not
	// followed.
	Client *http.Client
	// Now is the clock.
	Now func() time.Time
	// Service is as whom the service is believed. Its keys verify results, its
	// profiles, scopes and validity bound what collected statements may say.
	Service corim.Authority
	// Trust is for documents that the service passes on; nil makes none of them.
	Trust *corim.Trust
	// Unsigned accepts results without a signature, over https or loopback. There
	// are no documents of what such a result has collected.
	Unsigned bool
	// LabelTwo accepts the content type in label 2 (decision D-33).
	LabelTwo bool
}

const (
	keptResults  = 64
	keptResult   = 1 << 20 // bytes
	maxDiscovery = 1 << 20
	maxProblem   = 64 << 10
	// maxRetryAfter is the longest time that a service can ask to be left alone.
	maxRetryAfter = time.Hour
)

// Client asks one service. It is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
	kept *lru.Cache[*Result]

	mu        sync.Mutex
	discovery *coserv.Discovery
}

// Result is what a service answered, verified.
type Result struct {
	// Opened is the result as a whole.
	*coserv.Opened
	// Documents can be given to corim.NewIndex.
	Documents []*corim.Document
	// Refused says of which documents nothing could be made.
	Refused []Refusal
}

// Refusal is a document that was passed on and is not believed.
type Refusal struct {
	// Name is the number of the source artifact, from 0, or its identifier.
	Name, MediaType string
	Err             error
}

// StatusError is an answer other than 200.
type StatusError struct {
	// Status is that of HTTP.
	Status int
	// Problem is what the service says about it; empty if it says nothing.
	Problem coserv.Problem
	// RetryAfter is how long to wait, 0 if the service does not say.
	RetryAfter time.Duration
}

// Error implements error.
func (e *StatusError) Error() string {
	s := fmt.Sprintf("coserv: the service answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Problem.Title != "" {
		s += fmt.Sprintf(": %s: %s", e.Problem.Title, e.Problem.Detail)
	}
	return s
}

// New checks the options.
func New(o Options) (*Client, error) {
	if o.Client == nil || o.Now == nil {
		return nil, errors.New("coserv: incomplete options")
	}
	base, err := url.Parse(o.URL)
	if err != nil {
		return nil, fmt.Errorf("coserv: URL of the service: %w", err)
	}
	switch {
	case base.Scheme != "https" && base.Scheme != "http" || base.Host == "":
		return nil, fmt.Errorf("coserv: %q is not an http or https URL", o.URL)
	case base.Path != "" && base.Path != "/" || base.RawQuery != "" || base.Fragment != "" || base.User != nil:
		return nil, fmt.Errorf("coserv: URL of the service %q has more than a host", base.Redacted())
	case o.Unsigned && base.Scheme == "http" && !loopback(base.Hostname()):
		return nil, errors.New("coserv: unsigned results want https")
	}
	// The rules for authorities, the keys of this one among them.
	if _, err := corim.NewTrust([]corim.Authority{o.Service}); err != nil {
		return nil, fmt.Errorf("coserv: service: %w", err)
	}
	if len(o.Service.Keys) == 0 {
		return nil, fmt.Errorf("coserv: service %q without keys", o.Service.Name)
	}
	own := *o.Client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{o: o, base: base, http: &own, kept: lru.New[*Result](keptResults)}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Discover reads what the service says about itself, once.
func (c *Client) Discover(ctx context.Context) (*coserv.Discovery, error) {
	c.mu.Lock()
	known := c.discovery
	c.mu.Unlock() // nobody waits for the request of somebody else beyond his own time
	if known != nil {
		return known, nil
	}
	body, media, err := c.get(ctx, coserv.DiscoveryPath, coserv.TypeDiscoveryJSON, maxDiscovery)
	if err != nil {
		return nil, err
	}
	d, err := coserv.ParseDiscovery(media, body)
	if err != nil {
		return nil, err
	}
	if p := d.Endpoints[coserv.Endpoint]; !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") {
		return nil, fmt.Errorf("coserv: the service has no endpoint %s on its own host, but %q", coserv.Endpoint, p)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.discovery = d
	return d, nil
}

// Fetch asks for artifacts, or returns what was answered before if it still
// holds. A result that says nothing is one without documents and no error.
func (c *Client) Fetch(ctx context.Context, profile string, q coserv.Query) (*Result, error) {
	now := c.o.Now()
	if !c.o.Service.Validity.Contains(now) {
		return nil, fmt.Errorf("coserv: service %q: %w", c.o.Service.Name, corim.ErrPeriod)
	}
	query, err := coserv.Message{Profile: profile, Query: q}.Base64URL()
	if err != nil {
		return nil, err
	}
	key := lru.Key(sha256.Sum256([]byte(query)))
	if r, ok := c.kept.Get(key); ok && !now.After(r.Results.Expiry) {
		return r, nil
	}
	body, err := c.ask(ctx, profile, query)
	if err != nil {
		return nil, err
	}
	now = c.o.Now() // the answer may have taken its time
	opened, err := coserv.Open(body, coserv.OpenOptions{
		Profile: profile, Query: q, Keys: c.o.Service.Keys, Now: now, Unsigned: c.o.Unsigned, LabelTwo: c.o.LabelTwo,
	})
	if err != nil {
		return nil, err
	}
	r := &Result{Opened: opened}
	if err := c.documents(r, now); err != nil {
		return nil, err
	}
	if len(body) <= keptResult {
		c.kept.Put(key, r)
	}
	return r, nil
}

// ask sends a query to the endpoint.
func (c *Client) ask(ctx context.Context, profile, query string) ([]byte, error) {
	d, err := c.Discover(ctx)
	if err != nil {
		return nil, err
	}
	accept := coserv.MediaType(coserv.TypeSigned, profile)
	if c.o.Unsigned {
		accept += ", " + coserv.MediaType(coserv.TypeUnsigned, profile) + ";q=0.5"
	}
	path := strings.TrimSuffix(d.Endpoints[coserv.Endpoint], coserv.QueryVariable) + query
	body, media, err := c.get(ctx, path, accept, limits.CoservResult)
	if err != nil {
		return nil, err
	}
	base, got, err := coserv.ParseMediaType(media)
	switch {
	case err != nil:
		return nil, err
	case base != coserv.TypeSigned && base != coserv.TypeUnsigned:
		return nil, fmt.Errorf("coserv: the service answers with %q", base)
	case got != "" && got != profile:
		return nil, fmt.Errorf("coserv: the service answers with profile %q: %w", got, coserv.ErrAnswer)
	}
	return body, nil
}

// get makes a request. path is of the host alone.
func (c *Client) get(ctx context.Context, path, accept string, most int64) (body []byte, mediaType string, err error) {
	target := url.URL{Scheme: c.base.Scheme, Host: c.base.Host, Path: path}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, "", fmt.Errorf("coserv: %w", err)
	}
	req.Header.Set("Accept", accept)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("coserv: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is given up
	if res.StatusCode != http.StatusOK {
		return nil, "", statusError(res)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, most+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("coserv: %w", err)
	case int64(len(body)) > most:
		return nil, "", fmt.Errorf("coserv: answer of more than %d bytes: %w", most, coserv.ErrLimit)
	}
	return body, res.Header.Get("Content-Type"), nil
}

func statusError(res *http.Response) error {
	out := &StatusError{Status: res.StatusCode}
	if n, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 32); err == nil {
		out.RetryAfter = min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if base, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || base != coserv.TypeProblem {
		return out
	}
	if body, err := io.ReadAll(io.LimitReader(res.Body, maxProblem)); err == nil {
		if p, err := coserv.ParseProblem(body); err == nil {
			out.Problem = p
		}
	}
	return out
}

// documents makes documents of a result.
func (c *Client) documents(r *Result, now time.Time) error {
	if !r.Query.ByRIM() && r.Query.Results == coserv.Collected {
		if r.Key == nil {
			return nil
		}
		d, err := r.Document(c.o.Service, now)
		if err == nil && d != nil {
			r.Documents = append(r.Documents, d)
		}
		return err
	}
	if c.o.Trust == nil {
		return nil
	}
	for i, rec := range r.Results.Sources {
		c.load(r, strconv.Itoa(i), rec, now)
	}
	for _, n := range r.Results.RIMs {
		c.load(r, n.Name, n.Record, now)
	}
	return nil
}

// load believes one document, or says why not.
func (c *Client) load(r *Result, name string, rec coserv.Record, now time.Time) {
	base, _, err := mime.ParseMediaType(rec.MediaType)
	if err == nil && base != corim.MediaTypeSigned {
		err = fmt.Errorf("coserv: %q is not %s", rec.MediaType, corim.MediaTypeSigned)
	}
	var d *corim.Document
	if err == nil {
		d, err = corim.Load(rec.Value, corim.Options{Trust: c.o.Trust, Now: now})
	}
	if err != nil {
		r.Refused = append(r.Refused, Refusal{Name: name, MediaType: rec.MediaType, Err: err})
		return
	}
	r.Documents = append(r.Documents, d)
}
