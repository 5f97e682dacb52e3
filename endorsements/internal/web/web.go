// SPDX-License-Identifier: Apache-2.0

// Package web is the one way in which fetchers of collateral make requests: GET,
// or POST for what asks with a body, to the service that was configured and nobody else, no redirect followed, every
// answer bounded, nothing tried twice. Begin with New.
package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assize/assize/endorsements"
)

const (
	// maxRetryAfter is the longest time that a service can ask to be left alone.
	maxRetryAfter = time.Hour
	// maxDrain is how much of an answer that is not used is read, so that the
	// connection can be.
	maxDrain = 4 << 10
)

// Client makes requests to one service. It is safe for concurrent use.
type Client struct {
	name string
	base *url.URL
	http *http.Client
}

// New makes a client for a service, whose URL is https, or http on a loopback
// address, without query and user; it may have a path, below which that of the
// service begins. name begins errors. The time-out of the HTTP client, if it has
// one, holds for a request.
func New(name, base string, client *http.Client) (*Client, error) {
	if client == nil {
		return nil, fmt.Errorf("%s: no HTTP client", name)
	}
	u, err := url.Parse(base)
	if err != nil { // which repeats the text, and there might be a password in it
		return nil, fmt.Errorf("%s: the URL of the service is none", name)
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("%s: %q is not an http or https URL", name, u.Redacted())
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("%s: URL %q has a query, a fragment or a user", name, u.Redacted())
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("%s: %q is neither https nor a loopback address", name, u.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	return &Client{name: name, base: u, http: &own}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Request says what to get and what may come back.
type Request struct {
	// Path is below that of the service; "" for exactly the URL of the service.
	Path  string
	Query url.Values
	// Accept is what is asked for.
	Accept string
	// Types are the media types of an answer, without parameters; nil for any but
	// text/html. An answer without a type is accepted: its form decides.
	Types []string
	// Limit is the size of the largest answer in bytes.
	Limit int64
	// Body, if there is one, is posted as ContentType.
	Body        []byte
	ContentType string
	// Bearer is a secret for the header Authorization, "" for none. It is in no
	// error.
	Bearer string
}

// Get makes a request: with a body it is a POST. Errors are
// *endorsements.FetchError.
func (c *Client) Get(ctx context.Context, r Request) (body []byte, header http.Header, err error) {
	fail := func(status int, format string, args ...any) error {
		return &endorsements.FetchError{Status: status, Err: fmt.Errorf(c.name+": "+format, args...)}
	}
	target := *c.base
	target.Path += r.Path
	target.RawQuery = r.Query.Encode()
	req, err := r.http(ctx, target.String())
	if err != nil {
		return nil, nil, fail(0, "%w", err)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, nil, fail(0, "%w", err)
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is given up
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, maxDrain) // only to keep the connection
		e := &endorsements.FetchError{Status: res.StatusCode, RetryAfter: retryAfter(res.Header)}
		e.Err = fmt.Errorf("%s: %s answers %d %s", c.name, c.base.Host, res.StatusCode, http.StatusText(res.StatusCode))
		return nil, nil, e
	}
	if t := res.Header.Get("Content-Type"); !accepted(t, r.Types) {
		return nil, nil, fail(res.StatusCode, "%s answers with %.64q", c.base.Host, t)
	}
	body, err = io.ReadAll(io.LimitReader(res.Body, r.Limit+1))
	switch {
	case err != nil:
		return nil, nil, fail(0, "%w", err)
	case int64(len(body)) > r.Limit:
		return nil, nil, fail(res.StatusCode, "answer of more than %d bytes", r.Limit)
	case len(body) == 0:
		return nil, nil, fail(res.StatusCode, "empty answer")
	}
	return body, res.Header, nil
}

// http is the request to a URL.
func (r Request) http(ctx context.Context, target string) (*http.Request, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if r.Body != nil {
		method, body = http.MethodPost, bytes.NewReader(r.Body)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", r.Accept)
	if r.Body != nil {
		req.Header.Set("Content-Type", r.ContentType)
		req.GetBody = nil // nothing is sent twice
	}
	if r.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+r.Bearer)
	}
	return req, nil
}

// Refuse is an answer of the right size and type that is not what was asked for.
func (c *Client) Refuse(format string, args ...any) error {
	return &endorsements.FetchError{Status: http.StatusOK, Err: fmt.Errorf(c.name+": "+format, args...)}
}

func accepted(contentType string, types []string) bool {
	if contentType == "" {
		return true
	}
	base, _, err := mime.ParseMediaType(contentType)
	if err != nil || base == "text/html" {
		return false
	}
	return types == nil || slices.Contains(types, base)
}

// retryAfter reads the header in seconds (RFC 9110, 10.2.3). The services here
// send no dates.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}
