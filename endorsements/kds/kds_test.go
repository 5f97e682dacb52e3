// SPDX-License-Identifier: Apache-2.0

package kds_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/attester/amdsnp"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/kds"
	"github.com/assize/assize/internal/vectors"
)

// service answers one path with one body.
type service struct {
	asks   []string
	body   []byte
	code   int
	header http.Header
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asks = append(s.asks, r.URL.RequestURI())
	for k, v := range s.header {
		w.Header()[k] = v
	}
	if s.code != 0 {
		w.WriteHeader(s.code)
	}
	_, _ = w.Write(s.body)
}

func start(t *testing.T) (*service, *kds.Client) {
	t.Helper()
	s := new(service)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	c, err := kds.New(kds.Options{URL: srv.URL, Client: &http.Client{Timeout: 5 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func der(t *testing.T, raw []byte) []byte {
	t.Helper()
	if b, _ := pem.Decode(raw); b != nil {
		return b.Bytes
	}
	return raw
}

// item reads what a report of the chip would ask for.
func item(product string, report []byte) endorsements.Item {
	size := 64
	if product == "Turin" {
		size = 8
	}
	i := endorsements.Item{Kind: endorsements.ItemVCEK, Product: product, ChipID: fmt.Sprintf("%x", report[0x1a0:0x1a0+size])}
	for n := range 8 {
		i.TCB |= uint64(report[0x180+n]) << (8 * n)
	}
	return i
}

// The certificates of real reports, asked for by what is in the reports.
func TestFetchVCEK(t *testing.T) {
	for _, c := range []struct{ product, report, vcek, query string }{
		{"Milan", "snp/microsoft/milan_attestation_report.bin", "snp/microsoft/milan_vcek.pem", "blSPL=4&snpSPL=24&teeSPL=0&ucodeSPL=219"},
		{"Turin", "snp/microsoft/turin_attestation_report.bin", "snp/microsoft/turin_vcek.pem", "blSPL=1&fmcSPL=1&snpSPL=4&teeSPL=1&ucodeSPL=81"},
		{"Milan", "snp/trustee/test-report.bin", "snp/trustee/test-vcek.der", "blSPL=3&snpSPL=8&teeSPL=0&ucodeSPL=115"},
	} {
		s, client := start(t)
		s.body = der(t, vectors.Read(t, c.vcek))
		i := item(c.product, vectors.Read(t, c.report))
		raw, err := client.Fetch(t.Context(), i)
		if err != nil || !bytes.Equal(raw, s.body) {
			t.Errorf("%s: %v", c.vcek, err)
		}
		if want := "/vcek/v1/" + c.product + "/" + i.ChipID + "?" + c.query; len(s.asks) != 1 || s.asks[0] != want {
			t.Errorf("asked %q, expected %s", s.asks, want)
		}
	}
}

func TestFetchCRL(t *testing.T) {
	now := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	d, err := amdsnp.New(amdsnp.Options{Vendor: amdsnp.NewVendor(pki.NewSeed("kds"), now), Device: pki.NewSeed("d"), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	files, err := d.Endorsements()
	if err != nil {
		t.Fatal(err)
	}
	var crl []byte
	for name, raw := range files {
		if strings.Contains(name, "crl") {
			crl = der(t, raw)
		}
	}
	s, c := start(t)
	s.body = crl
	raw, err := c.Fetch(t.Context(), endorsements.Item{Kind: endorsements.ItemAMDCRL, Product: "Genoa"})
	if err != nil || !bytes.Equal(raw, crl) || s.asks[0] != "/vcek/v1/Genoa/crl" {
		t.Errorf("%v %q", err, s.asks)
	}
	if _, err := c.Fetch(t.Context(), endorsements.Item{Kind: endorsements.ItemAMDCRL, Product: "Milan"}); err == nil {
		t.Error("the list of another product")
	}
}

func TestHostileAnswers(t *testing.T) {
	good := der(t, vectors.Read(t, "snp/microsoft/milan_vcek.pem"))
	i := item("Milan", vectors.Read(t, "snp/microsoft/milan_attestation_report.bin"))
	otherTCB, otherChip, otherLine := i, i, i
	otherTCB.TCB--
	otherChip.ChipID = "00" + i.ChipID[2:]
	otherLine.Product = "Genoa"
	for name, c := range map[string]struct {
		item   endorsements.Item
		body   []byte
		code   int
		header http.Header
	}{
		"another TCB":     {otherTCB, good, 0, nil},
		"another chip":    {otherChip, good, 0, nil},
		"another line":    {otherLine, good, 0, nil},
		"VLEK":            {i, der(t, vectors.Read(t, "snp/trustee/test-vlek.der")), 0, nil},
		"ASK":             {i, der(t, vectors.Read(t, "snp/microsoft/milan_ask.pem")), 0, nil},
		"PEM":             {i, vectors.Read(t, "snp/microsoft/milan_vcek.pem"), 0, nil},
		"data behind":     {i, append(bytes.Clone(good), 0), 0, nil},
		"too large":       {i, append(bytes.Clone(good), make([]byte, 16<<10)...), 0, nil},
		"cut":             {i, good[:len(good)-1], 0, nil},
		"empty":           {i, nil, 0, nil},
		"a page":          {i, []byte("<html>"), 0, nil},
		"typed as a page": {i, good, 0, http.Header{"Content-Type": {"text/html"}}},
		"redirect":        {i, good, http.StatusFound, http.Header{"Location": {"http://127.0.0.1:1/"}}},
		"not found":       {i, good, http.StatusNotFound, nil},
	} {
		s, client := start(t)
		s.body, s.code, s.header = c.body, c.code, c.header
		raw, err := client.Fetch(t.Context(), c.item)
		var fe *endorsements.FetchError
		if raw != nil || !errors.As(err, &fe) || len(s.asks) != 1 {
			t.Errorf("%s: %v, %q", name, err, s.asks)
		}
		if fe != nil && (fe.Temporary() || fe.Unknown() != (c.code == http.StatusNotFound)) {
			t.Errorf("%s: temporary %t, unknown %t", name, fe.Temporary(), fe.Unknown())
		}
	}
	s, client := start(t)
	for _, bad := range []endorsements.Item{{}, {Kind: endorsements.ItemRootCRL}, {Kind: endorsements.ItemAMDCRL, Product: "Milan/../.."}, {Kind: endorsements.ItemVCEK, Product: "Milan", ChipID: "../x"}} {
		if _, err := client.Fetch(t.Context(), bad); !errors.Is(err, endorsements.ErrNeed) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	if len(s.asks) != 0 {
		t.Errorf("asked %q", s.asks)
	}
}

func TestTooManyRequests(t *testing.T) {
	s, client := start(t)
	s.code, s.header = http.StatusTooManyRequests, http.Header{"Retry-After": {"10"}}
	_, err := client.Fetch(t.Context(), endorsements.Item{Kind: endorsements.ItemAMDCRL, Product: "Milan"})
	var fe *endorsements.FetchError
	if !errors.As(err, &fe) || !fe.Temporary() || fe.RetryAfter != 10*time.Second {
		t.Error(err)
	}
}
