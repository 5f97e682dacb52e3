// SPDX-License-Identifier: Apache-2.0

package nras

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/assize/assize/trust"
)

// DefaultURL is NVIDIA's service.
const DefaultURL = "https://nras.attestation.nvidia.com"

const (
	keySetPath = "/.well-known/jwks.json"
	// maxRetryAfter is the longest time for which the service is left alone.
	maxRetryAfter = time.Hour
	// defaultRetryAfter is how long it is when it says "too many" and no time.
	defaultRetryAfter = time.Second
	maxServiceKey     = 8 << 10
	maxDrain          = 4 << 10
)

// ErrUnavailable says that the service did not answer, or may not be asked now;
// errRefused besides, that it will not answer later either: somebody has to change
// something.
var (
	ErrUnavailable = errors.New("nras: no answer from the service")
	errRefused     = errors.New("nobody who appraises devices, or not such requests")
)

// ClientOptions configure a Client.
type ClientOptions struct {
	// URL of the service, https, or http on a loopback address; it may have a path.
	URL string
	// KeySet is the URL of its JWK Set; "" for the place below URL.
	KeySet string
	// Version is the first part of the path: "v3" or "v4"; "" for v3.
	Version string
	// ServiceKey is sent as a bearer token, "" for none. It is in no error.
	ServiceKey string
	// AllowHold asks the service to let certificates on hold pass, of which it
	// then warns.
	AllowHold bool
	// HTTP is the client to use; redirects are not followed and cookies not kept.
	HTTP *http.Client
	// Now is the clock of rates and of the key cache.
	Now func() time.Time
	// Interval is the time between two requests on average, Burst how many may
	// come at once; zero means 100 ms and 8.
	Interval time.Duration
	Burst    int
	// Concurrent is how many requests are under way at a time; zero means 8.
	Concurrent int
	// Timeout is the longest time for one request; zero means 10 s.
	Timeout time.Duration
	// KeyInterval is the time between two fetches of the key set, KeyAge how long
	// a set counts; zero means 30 s and 1 h.
	KeyInterval, KeyAge time.Duration
}

// Client asks one service. It is safe for concurrent use.
type Client struct {
	o      ClientOptions
	base   *url.URL
	keySet *url.URL
	http   *http.Client
	rate   *rate.Limiter
	places chan struct{}
	keys   *keyCache

	mu    sync.Mutex
	after time.Time // before which the service wants to be left alone
}

// NewClient checks the options. Nothing is asked yet.
func NewClient(o ClientOptions) (*Client, error) {
	if o.HTTP == nil || o.Now == nil {
		return nil, errors.New("nras: a client wants an HTTP client and a clock")
	}
	o.defaults()
	if o.Version != "v3" && o.Version != "v4" {
		return nil, fmt.Errorf("nras: API version %.16q, expected v3 or v4", o.Version)
	}
	if o.Interval < 0 || o.Burst < 0 || o.Concurrent < 0 || o.Timeout < 0 || o.KeyInterval < 0 || o.KeyAge < 0 {
		return nil, errors.New("nras: a negative bound")
	}
	if err := checkServiceKey(o.ServiceKey); err != nil {
		return nil, err
	}
	c := &Client{o: o, rate: rate.NewLimiter(rate.Every(o.Interval), o.Burst), places: make(chan struct{}, o.Concurrent)}
	var err error
	if c.base, err = serviceURL(o.URL); err != nil {
		return nil, err
	}
	if c.keySet, err = serviceURL(o.KeySet); err != nil {
		return nil, err
	}
	own := *o.HTTP
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	own.Jar = nil
	c.http = &own
	c.keys = &keyCache{fetch: c.fetchKeys, now: o.Now, interval: o.KeyInterval, age: o.KeyAge, timeout: o.Timeout}
	return c, nil
}

func (o *ClientOptions) defaults() {
	if o.KeySet == "" {
		o.KeySet = strings.TrimSuffix(o.URL, "/") + keySetPath
	}
	if o.Version == "" {
		o.Version = "v3"
	}
	for _, d := range []struct {
		to *time.Duration
		or time.Duration
	}{{&o.Interval, 100 * time.Millisecond}, {&o.Timeout, 10 * time.Second}, {&o.KeyInterval, 30 * time.Second}, {&o.KeyAge, time.Hour}} {
		if *d.to == 0 {
			*d.to = d.or
		}
	}
	for _, n := range []*int{&o.Burst, &o.Concurrent} {
		if *n == 0 {
			*n = 8
		}
	}
}

// checkServiceKey: what is no token68 (RFC 9110) is not sent, and not shown.
func checkServiceKey(key string) error {
	if len(key) > maxServiceKey {
		return fmt.Errorf("nras: service key of %d bytes, at most %d", len(key), maxServiceKey)
	}
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c > '~' {
			return fmt.Errorf("nras: the service key has a byte at %d that no key has", i)
		}
	}
	return nil
}

// serviceURL accepts https, and http on a loopback address.
func serviceURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, errors.New("nras: the URL of the service cannot be read") // it may have a password in it
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, fmt.Errorf("nras: %q is not an http or https URL", u.Redacted())
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("nras: URL %q has a query, a fragment or a user", u.Redacted())
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, fmt.Errorf("nras: %q is neither https nor a loopback address", u.Redacted())
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	return u, nil
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// Close ends connections that nobody uses. The client can go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Attest implements Service. Errors wrap ErrUnavailable and name the status.
func (c *Client) Attest(ctx context.Context, r Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	leave, err := c.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	target := *c.base
	target.Path += "/" + c.o.Version + "/attest/" + r.Device
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	req.Header.Set("Content-Type", "application/json")
	if c.o.ServiceKey != "" {
		req.Header.Set("Authorization", "Bearer "+c.o.ServiceKey)
	}
	if c.o.AllowHold {
		req.Header.Set("X-NVIDIA-OCSP-ALLOW-CERT-HOLD", "true")
	}
	return c.do(req, MaxReply)
}

// Key implements Service.
func (c *Client) Key(ctx context.Context, kid string) (trust.Key, error) { return c.keys.get(ctx, kid) }

// fetchKeys gets the key set. The service key is not for it.
func (c *Client) fetchKeys(ctx context.Context) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.keySet.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return c.do(req, MaxKeySet)
}

// enter waits for a place and for the rate, as long as the context allows it, and
// does not wait at all where it could not be in time.
func (c *Client) enter(ctx context.Context) (leave func(), err error) {
	select {
	case c.places <- struct{}{}:
		leave = func() { <-c.places }
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %d requests are under way: %w", ErrUnavailable, c.o.Concurrent, ctx.Err())
	}
	if err = c.pace(ctx); err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

func (c *Client) pace(ctx context.Context) error {
	now := c.o.Now()
	if wait := c.held(now); wait > 0 {
		return fmt.Errorf("%w: it wants to be left alone for another %s", ErrUnavailable, wait.Round(time.Second))
	}
	r := c.rate.ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if end, ok := ctx.Deadline(); wait > c.o.Timeout || ok && wait > 0 && now.Add(wait).After(end) {
		r.CancelAt(now)
		return fmt.Errorf("%w: too many requests for one in %s", ErrUnavailable, c.o.Interval)
	}
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		r.CancelAt(c.o.Now())
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

func (c *Client) held(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.after.Sub(now)
}

func (c *Client) hold(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := c.o.Now().Add(d); until.After(c.after) {
		c.after = until
	}
}

// do makes a request and reads a bounded answer of JSON.
func (c *Client) do(req *http.Request, limit int64) ([]byte, error) {
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer func() { _ = res.Body.Close() }() // it was read, or is given up
	if res.StatusCode != http.StatusOK {
		_, _ = io.CopyN(io.Discard, res.Body, maxDrain) // only to keep the connection
		return nil, c.refused(req, res)
	}
	if t := res.Header.Get("Content-Type"); t != "" {
		if base, _, err := mime.ParseMediaType(t); err != nil || base == "text/html" {
			return nil, fmt.Errorf("%w: %s answers with %.64q: %w", ErrUnavailable, req.URL.Host, t, errRefused)
		}
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%w: answer of more than %d bytes: %w", ErrUnavailable, limit, errRefused)
	}
	return body, nil
}

// refused is the error for a status other than 200. What the body says is signed
// by nobody, so it counts for nothing.
func (c *Client) refused(req *http.Request, res *http.Response) error {
	after := retryAfter(res.Header)
	why := ""
	switch {
	case res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
		if why = ": it wants a service key"; c.o.ServiceKey != "" {
			why = ": it does not accept the service key"
		}
	case res.StatusCode == http.StatusTooManyRequests && after == 0:
		after = defaultRetryAfter
	case res.StatusCode/100 == 3:
		why = ": redirects are not followed"
	}
	if after > 0 && (res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= http.StatusInternalServerError) {
		c.hold(after)
		why = fmt.Sprintf(": it wants to be left alone for %s", after)
	}
	err := fmt.Errorf("%w: %s answers %d %s%s", ErrUnavailable, req.URL.Host, res.StatusCode, http.StatusText(res.StatusCode), why)
	if c := res.StatusCode; c < http.StatusInternalServerError && c != http.StatusRequestTimeout && c != http.StatusTooManyRequests {
		return fmt.Errorf("%w: %w", err, errRefused)
	}
	return err
}

// retryAfter reads the header in seconds (RFC 9110, 10.2.3); a date counts as
// none.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.ParseUint(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}
