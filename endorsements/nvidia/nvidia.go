// SPDX-License-Identifier: Apache-2.0

// Package nvidia gets reference integrity manifests (RIMs) from NVIDIA's RIM
// service, and the status of certificates from its OCSP service (RFC 6960). Begin
// with New.
//
//	c, err := nvidia.New(nvidia.Options{RIM: nvidia.RIMService, OCSP: nvidia.OCSPService, Client: httpClient, Random: rand.Reader})
//	raw, err := c.Fetch(ctx, endorsements.Item{Kind: endorsements.ItemNVRIM, RIM: "NV_GPU_DRIVER_GH100_550.144.03"})
//	bundle, err := endorsements.Parse("rim", raw)
//
// What Fetch returns is a file in the form that endorsements.Load reads: a reply
// of the RIM service with what is needed of it, or an OCSP response. Only form is
// checked, and that the answer is about what was asked; signatures are for those
// who use it. An OCSP response has to repeat the nonce of its request, so none is
// from before. Nothing is tried twice, no redirect is followed, and the service
// key is in no error.
//
// NVIDIA's services answer without a key; commercial use needs an agreement with
// NVIDIA, which hands out keys. The key is sent to the configured services and to
// nobody else.
package nvidia

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/internal/web"
)

const (
	// RIMService is the URL of NVIDIA's RIM service.
	RIMService = "https://rim.attestation.nvidia.com"
	// OCSPService is the URL of NVIDIA's OCSP service.
	OCSPService = "https://ocsp.ndis.nvidia.com"
	// MaxKey is the length of the longest service key in bytes.
	MaxKey = 4096
)

// Bounds of an answer in bytes, far above what NVIDIA publishes.
const (
	maxReply = 2 << 20
	maxOCSP  = 32 << 10
)

// Media types of answers.
const (
	typeJSON         = "application/json"
	typeRIMCBOR      = "application/rim+cbor"
	typeRIMCOSE      = "application/rim+cose"
	typeOCSPRequest  = "application/ocsp-request"
	typeOCSPResponse = "application/ocsp-response"
)

// Options say which services. One of them may be left out: then Fetch has nobody
// to ask for its documents.
type Options struct {
	// RIM and OCSP are the URLs of the services: https, or http on a loopback
	// address. What the API of the RIM service defines begins below it.
	RIM, OCSP string
	// Key is the service key, sent to both as bearer token; "" for none.
	Key string
	// Client makes the requests; its time-out bounds them.
	Client *http.Client
	// Random is where nonces come from. It is read by one request at a time.
	Random io.Reader
}

// Client asks the services. It is safe for concurrent use.
type Client struct {
	rim, ocsp *web.Client // nil for none
	key       string
	random    chan io.Reader // holds it while nobody reads
}

// ErrNobody is in the error about a document for which no service is configured.
var ErrNobody = errors.New("no service for it is configured")

// New checks the options.
func New(o Options) (*Client, error) {
	c := &Client{key: o.Key, random: make(chan io.Reader, 1)}
	if o.RIM == "" && o.OCSP == "" {
		return nil, errors.New("nvidia: neither a RIM service nor an OCSP service")
	}
	if o.OCSP != "" && o.Random == nil {
		return nil, errors.New("nvidia: no source of nonces")
	}
	if len(o.Key) > MaxKey || strings.ContainsFunc(o.Key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, fmt.Errorf("nvidia: the service key has a character that a header cannot have, or more than %d", MaxKey)
	}
	c.random <- o.Random
	for _, s := range []struct {
		url string
		to  **web.Client
	}{{o.RIM, &c.rim}, {o.OCSP, &c.ocsp}} {
		if s.url == "" {
			continue
		}
		w, err := web.New("nvidia", s.url, o.Client)
		if err != nil {
			return nil, err
		}
		*s.to = w
	}
	return c, nil
}

// Fetch gets one document. Errors are *endorsements.FetchError, or
// endorsements.ErrNeed for an item that is not NVIDIA's, or ErrNobody.
func (c *Client) Fetch(ctx context.Context, i endorsements.Item) ([]byte, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	switch {
	case i.Vendor() != endorsements.VendorNVIDIA:
		return nil, fmt.Errorf("nvidia: %w: %s", endorsements.ErrNeed, i)
	case i.Kind == endorsements.ItemNVRIM && c.rim != nil:
		return c.manifest(ctx, i)
	case i.Kind == endorsements.ItemNVOCSP && c.ocsp != nil:
		return c.status(ctx, i)
	}
	return nil, fmt.Errorf("nvidia: %s: %w", i, ErrNobody)
}

// manifest asks the RIM service.
func (c *Client) manifest(ctx context.Context, i endorsements.Item) ([]byte, error) {
	raw, header, err := c.rim.Get(ctx, web.Request{
		// The identifier has no character that means anything in a path.
		Path: "/v1/rim/" + i.RIM, Accept: strings.Join([]string{typeJSON, typeRIMCOSE}, ", "),
		Types: []string{typeJSON, typeRIMCBOR, typeRIMCOSE}, Limit: maxReply, Bearer: c.key,
	})
	if err != nil {
		return nil, err
	}
	var m endorsements.Manifest
	switch t, _, _ := mime.ParseMediaType(header.Get("Content-Type")); t {
	case typeRIMCBOR, typeRIMCOSE:
		m, err = endorsements.ParseManifest("answer", i.RIM, raw)
	default:
		m, err = endorsements.ParseReply("answer", raw)
	}
	switch {
	case err != nil:
		return nil, c.rim.Refuse("%s: %w", i, err)
	case m.ID != i.RIM:
		return nil, c.rim.Refuse("asked for %s, the answer is %s", i.RIM, m.ID)
	}
	// Without what changes with every request, the same manifest is the same file.
	out, err := m.EncodeReply()
	if err != nil {
		return nil, c.rim.Refuse("%s: %w", i, err)
	}
	return out, nil
}

// status asks the OCSP service.
func (c *Client) status(ctx context.Context, i endorsements.Item) ([]byte, error) {
	nonce, err := c.nonce()
	if err != nil {
		return nil, err
	}
	request, err := encodeRequest(i, nonce)
	if err != nil {
		return nil, err
	}
	raw, _, err := c.ocsp.Get(ctx, web.Request{
		Body: request, ContentType: typeOCSPRequest, Accept: typeOCSPResponse, Types: []string{typeOCSPResponse}, Limit: maxOCSP, Bearer: c.key,
	})
	if err != nil {
		return nil, err
	}
	a, err := endorsements.ParseOCSP(raw)
	var refused *endorsements.OCSPError
	switch {
	case errors.As(err, &refused):
		return nil, &endorsements.FetchError{Status: meaning(refused.Status), Err: fmt.Errorf("nvidia: %w", err)}
	case err != nil:
		return nil, c.ocsp.Refuse("%w", err)
	case a.Item != i:
		return nil, c.ocsp.Refuse("asked about %s, the answer is about %s", i, a.Item)
	case subtle.ConstantTimeCompare(a.Nonce, nonce) != 1:
		return nil, c.ocsp.Refuse("the answer about serial number %s does not repeat the nonce", i.Serial)
	}
	return raw, nil
}

// nonce is a fresh one.
func (c *Client) nonce() ([]byte, error) {
	random := <-c.random
	defer func() { c.random <- random }()
	out := make([]byte, nonceSize)
	if _, err := io.ReadFull(random, out); err != nil {
		return nil, fmt.Errorf("nvidia: nonce: %w", err)
	}
	return out, nil
}

// meaning is the status of HTTP that says what a refusal of the responder does
// (RFC 6960, section 4.2.1).
func meaning(status int) int {
	switch status {
	case 2, 3: // internal error, try later
		return http.StatusServiceUnavailable
	case 6: // unauthorized: the responder knows nothing of the issuer
		return http.StatusNotFound
	case 5: // the request should have been signed
		return http.StatusForbidden
	}
	return http.StatusBadRequest
}
