// SPDX-License-Identifier: Apache-2.0

// Package pcs gets collateral from Intel's Provisioning Certification Service,
// API version 4, or from a caching service (PCCS) with the same API. Begin with
// New.
//
//	c, err := pcs.New(pcs.Options{URL: pcs.Intel, Client: httpClient})
//	raw, err := c.Fetch(ctx, endorsements.Item{Kind: endorsements.ItemTDXTCB, FMSPC: "50806f000000"})
//	bundle, err := endorsements.Parse("pcs", raw)
//
// What Fetch returns is a file in the form that endorsements.Load reads: one part
// of a set, with the chain that the service sends in a header. Only form is
// checked, and that the answer is about what was asked; signatures are for those
// who use it. Nothing is tried twice, no redirect is followed.
package pcs

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/internal/web"
)

const (
	// Intel is the URL of Intel's own service.
	Intel = "https://api.trustedservices.intel.com"
	// IntelRootCRL is where the root certificate says that its revocation list is.
	IntelRootCRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
)

// Bounds of an answer, in bytes, far above what Intel publishes.
const (
	maxJSON  = 1 << 20
	maxCRL   = 1 << 20
	maxChain = 16 << 10
	// maxCertificates is how many certificates a chain may have.
	maxCertificates = 4
)

// Options say which service.
type Options struct {
	// URL is that of the service: https, or http on a loopback address. What the
	// API defines begins below it.
	URL string
	// RootCRL is the URL of the revocation list of the root CA, which Intel's
	// service does not have. Empty: Intel's place for Intel's service, and the
	// path of a PCCS for every other one.
	RootCRL string
	// Client makes the requests; its time-out bounds them.
	Client *http.Client
	// Update is "standard", "early" or "" (what the service takes for granted):
	// whether TCB recoveries count when they are announced or when they have to be
	// in place.
	Update string
	// EvaluationNumber asks for the documents of one TCB recovery; 0 for none. It
	// excludes Update.
	EvaluationNumber uint32
}

// Client asks one service. It is safe for concurrent use.
type Client struct {
	o             Options
	api, rootCRL  *web.Client
	rootPath      string
	update        url.Values
	chainHeaders  map[endorsements.ItemKind][]string
	documentPaths map[endorsements.ItemKind]string
}

// New checks the options.
func New(o Options) (*Client, error) {
	c := &Client{o: o, update: url.Values{}}
	switch {
	case o.Update != "" && o.Update != "standard" && o.Update != "early":
		return nil, fmt.Errorf("pcs: update %q, expected standard or early", o.Update)
	case o.Update != "" && o.EvaluationNumber != 0:
		return nil, errors.New("pcs: update and evaluation number exclude each other")
	case o.Update != "":
		c.update.Set("update", o.Update)
	case o.EvaluationNumber != 0:
		c.update.Set("tcbEvaluationDataNumber", strconv.FormatUint(uint64(o.EvaluationNumber), 10))
	}
	var err error
	if c.api, err = web.New("pcs", o.URL, o.Client); err != nil {
		return nil, err
	}
	c.rootCRL = c.api
	switch {
	case o.RootCRL != "":
		c.rootCRL, err = web.New("pcs", o.RootCRL, o.Client)
	case strings.TrimSuffix(o.URL, "/") == Intel:
		c.rootCRL, err = web.New("pcs", IntelRootCRL, o.Client)
	default:
		c.rootPath = "/sgx/certification/v4/rootcacrl"
	}
	if err != nil {
		return nil, err
	}
	// A PCCS, and earlier versions of the API, say SGX- in front.
	tcb := []string{"TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"}
	qe := []string{"SGX-Enclave-Identity-Issuer-Chain", "Enclave-Identity-Issuer-Chain"}
	c.chainHeaders = map[endorsements.ItemKind][]string{
		endorsements.ItemTDXTCB: tcb, endorsements.ItemSGXTCB: tcb, endorsements.ItemTDXQE: qe, endorsements.ItemSGXQE: qe,
		endorsements.ItemPCKCRL: {"SGX-PCK-CRL-Issuer-Chain"},
	}
	c.documentPaths = map[endorsements.ItemKind]string{
		endorsements.ItemTDXTCB: "/tdx/certification/v4/tcb", endorsements.ItemSGXTCB: "/sgx/certification/v4/tcb",
		endorsements.ItemTDXQE: "/tdx/certification/v4/qe/identity", endorsements.ItemSGXQE: "/sgx/certification/v4/qe/identity",
	}
	return c, nil
}

// Fetch gets one document, as a file. Errors are *endorsements.FetchError, or
// endorsements.ErrNeed for an item that is not Intel's.
func (c *Client) Fetch(ctx context.Context, i endorsements.Item) ([]byte, error) {
	var set endorsements.IntelCollateral
	err := i.Check()
	if err != nil {
		return nil, err
	}
	switch i.Kind {
	case endorsements.ItemTDXTCB, endorsements.ItemSGXTCB, endorsements.ItemTDXQE, endorsements.ItemSGXQE:
		set, err = c.document(ctx, i)
	case endorsements.ItemPCKCRL:
		set, err = c.pckCRL(ctx, i)
	case endorsements.ItemRootCRL:
		set.RootCACRL, _, err = c.list(ctx, c.rootCRL, c.rootPath, nil)
	default:
		return nil, fmt.Errorf("pcs: %w: %s", endorsements.ErrNeed, i)
	}
	if err != nil {
		return nil, err
	}
	raw, err := set.Encode()
	if err != nil {
		return nil, c.api.Refuse("%w", err)
	}
	if err := c.about(i, raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// about compares what the answer is with what was asked for.
func (c *Client) about(i endorsements.Item, raw []byte) error {
	b, err := endorsements.Parse("answer", raw)
	if err != nil {
		return c.api.Refuse("%w", err)
	}
	for s := range b.Statements() {
		if s.Item == i {
			return nil
		}
		return c.api.Refuse("asked for %s, the answer is %s", i, s.Item)
	}
	return c.api.Refuse("asked for %s, the answer is not one", i)
}

// document gets TCB info or a QE identity.
func (c *Client) document(ctx context.Context, i endorsements.Item) (set endorsements.IntelCollateral, err error) {
	query := url.Values{}
	if i.FMSPC != "" {
		query.Set("fmspc", i.FMSPC)
	}
	for k, v := range c.update {
		query[k] = v
	}
	body, header, err := c.api.Get(ctx, web.Request{
		Path: c.documentPaths[i.Kind], Query: query, Accept: "application/json", Types: []string{"application/json"}, Limit: maxJSON,
	})
	if err != nil {
		return set, err
	}
	if set, err = endorsements.ParseResponse("answer", body); err != nil {
		return set, c.api.Refuse("%s: %w", i.Kind, err)
	}
	chain, err := c.chain(header, i.Kind)
	if set.TCBInfo != nil {
		set.TCBInfoIssuerChain = chain
	} else {
		set.QEIdentityChain = chain
	}
	return set, err
}

func (c *Client) pckCRL(ctx context.Context, i endorsements.Item) (set endorsements.IntelCollateral, err error) {
	var header http.Header
	query := url.Values{"ca": {i.CA}, "encoding": {"der"}}
	if set.PCKCRL, header, err = c.list(ctx, c.api, "/sgx/certification/v4/pckcrl", query); err != nil {
		return set, err
	}
	set.PCKCRLIssuerChain, err = c.chain(header, i.Kind)
	return set, err
}

// list gets a revocation list. Services answer with DER, with PEM, and PCCS with
// DER in hexadecimal.
func (c *Client) list(ctx context.Context, from *web.Client, path string, query url.Values) ([]byte, http.Header, error) {
	body, header, err := from.Get(ctx, web.Request{Path: path, Query: query, Accept: "application/pkix-crl, */*;q=0.5", Limit: maxCRL})
	if err != nil {
		return nil, nil, err
	}
	der := body
	if block, rest := pem.Decode(body); block != nil {
		if block.Type != "X509 CRL" || len(bytes.TrimSpace(rest)) > 0 {
			return nil, nil, from.Refuse("the answer is PEM and not one revocation list")
		}
		der = block.Bytes
	} else if b, err := hex.DecodeString(string(bytes.TrimSpace(body))); err == nil {
		der = b
	}
	l, err := endorsements.ParseRevocationList(der)
	if err != nil {
		return nil, nil, from.Refuse("revocation list: %w", err)
	}
	return l.Raw, header, nil
}

// chain reads the header with the issuer chain: PEM, escaped as in a URL.
func (c *Client) chain(h http.Header, kind endorsements.ItemKind) ([]byte, error) {
	var values []string
	for _, name := range c.chainHeaders[kind] {
		values = append(values, h.Values(name)...)
	}
	if len(values) != 1 || values[0] == "" {
		return nil, c.api.Refuse("%s: %d headers with an issuer chain, expected 1", kind, len(values))
	}
	if len(values[0]) > maxChain {
		return nil, c.api.Refuse("%s: issuer chain of %d bytes, at most %d", kind, len(values[0]), maxChain)
	}
	// Not QueryUnescape: a plus is one of base64.
	text, err := url.PathUnescape(values[0])
	if err != nil {
		return nil, c.api.Refuse("%s: issuer chain: %w", kind, err)
	}
	rest := []byte(text)
	for n := 0; len(bytes.TrimSpace(rest)) > 0; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" || n >= maxCertificates {
			return nil, c.api.Refuse("%s: issuer chain is not up to %d PEM certificates", kind, maxCertificates)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, c.api.Refuse("%s: issuer chain: %w", kind, err)
		}
	}
	return []byte(text), nil
}
