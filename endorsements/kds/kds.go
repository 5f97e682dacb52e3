// SPDX-License-Identifier: Apache-2.0

// Package kds gets certificates of endorsement keys and revocation lists from
// AMD's Key Distribution Service (AMD 57230). Begin with New.
//
//	c, err := kds.New(kds.Options{URL: kds.AMD, Client: httpClient})
//	der, err := c.Fetch(ctx, endorsements.Item{Kind: endorsements.ItemAMDCRL, Product: "Milan"})
//
// The service answers about one request in ten seconds; who calls Fetch keeps to
// that. Certificate chains are not fetched, since schemes pin them. Only form is
// checked, and that the answer is about what was asked. Nothing is tried twice, no
// redirect is followed.
package kds

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/internal/web"
)

// AMD is the URL of AMD's service.
const AMD = "https://kdsintf.amd.com"

// Bounds of an answer in bytes.
const (
	maxCertificate = 16 << 10
	maxCRL         = 1 << 20
)

// Options say which service.
type Options struct {
	// URL is that of the service: https, or http on a loopback address.
	URL string
	// Client makes the requests; its time-out bounds them.
	Client *http.Client
}

// Client asks one service. It is safe for concurrent use.
type Client struct{ web *web.Client }

// New checks the options.
func New(o Options) (*Client, error) {
	w, err := web.New("kds", o.URL, o.Client)
	if err != nil {
		return nil, err
	}
	return &Client{w}, nil
}

// Fetch gets one document in DER. Errors are *endorsements.FetchError, or
// endorsements.ErrNeed for an item that is not AMD's.
func (c *Client) Fetch(ctx context.Context, i endorsements.Item) ([]byte, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	r := web.Request{Accept: "*/*", Limit: maxCRL}
	switch i.Kind {
	case endorsements.ItemVCEK:
		r.Path = "/vcek/v1/" + i.Product + "/" + i.ChipID
		r.Query, r.Limit = levels(i), maxCertificate
	case endorsements.ItemAMDCRL:
		r.Path = "/vcek/v1/" + i.Product + "/crl"
	default:
		return nil, fmt.Errorf("kds: %w: %s", endorsements.ErrNeed, i)
	}
	raw, _, err := c.web.Get(ctx, r)
	if err != nil {
		return nil, err
	}
	if i.Kind == endorsements.ItemVCEK {
		_, err = x509.ParseCertificate(raw)
	} else {
		_, err = endorsements.ParseRevocationList(raw)
	}
	if err != nil {
		return nil, c.web.Refuse("%s: %w", i.Kind, err)
	}
	b, err := endorsements.Parse("answer", raw)
	if err != nil {
		return nil, c.web.Refuse("%w", err)
	}
	for s := range b.Statements() {
		if s.Item == i {
			return raw, nil
		}
		return nil, c.web.Refuse("asked for %s, the answer is %s", i, s.Item)
	}
	return nil, c.web.Refuse("asked for %s, the answer is not one", i)
}

// levels are the parameters of a request for a certificate, in decimal: on Turin
// the FMC comes first and the others move up (AMD 56860, TCB_VERSION).
func levels(i endorsements.Item) url.Values {
	at := map[string]int{"blSPL": 0, "teeSPL": 1, "snpSPL": 6, "ucodeSPL": 7}
	if i.Product == "Turin" {
		at = map[string]int{"fmcSPL": 0, "blSPL": 1, "teeSPL": 2, "snpSPL": 3, "ucodeSPL": 7}
	}
	out := url.Values{}
	for name, n := range at {
		out.Set(name, strconv.Itoa(int(byte(i.TCB>>(8*n)))))
	}
	return out
}
