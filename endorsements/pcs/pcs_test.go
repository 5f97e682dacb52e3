// SPDX-License-Identifier: Apache-2.0

package pcs_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/pcs"
	"github.com/assize/assize/internal/vectors"
)

// recorded answers as Intel's service did for a recorded set.
type recorded struct {
	set  endorsements.IntelCollateral
	asks []string
	// change alters an answer before it is sent.
	change func(path string, h http.Header, body []byte) []byte
	// code is the status, 0 for 200.
	code int
}

func record(tb testing.TB, name string) *recorded {
	tb.Helper()
	b, err := endorsements.Parse(name, vectors.Read(tb, name))
	if err != nil {
		tb.Fatal(err)
	}
	for s := range b.AllIntelTDX() {
		return &recorded{set: s}
	}
	tb.Fatal("no set")
	return nil
}

func (r *recorded) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.asks = append(r.asks, req.URL.RequestURI())
	body, h := []byte(nil), w.Header()
	signed := func(header, member string, value []byte, signature string, chain []byte) {
		h.Set("Content-Type", "application/json")
		h.Set(header, url.PathEscape(string(chain)))
		body = fmt.Appendf(nil, `{%q:%s,"signature":%q}`, member, value, signature)
	}
	s := r.set
	switch req.URL.Path {
	case "/tdx/certification/v4/tcb", "/sgx/certification/v4/tcb":
		signed("TCB-Info-Issuer-Chain", "tcbInfo", s.TCBInfo, s.TCBInfoSignature, s.TCBInfoIssuerChain)
	case "/tdx/certification/v4/qe/identity", "/sgx/certification/v4/qe/identity":
		signed("SGX-Enclave-Identity-Issuer-Chain", "enclaveIdentity", s.QEIdentity, s.QEIdentitySignature, s.QEIdentityChain)
	case "/sgx/certification/v4/pckcrl":
		h.Set("Content-Type", "application/pkix-crl")
		h.Set("SGX-PCK-CRL-Issuer-Chain", url.PathEscape(string(s.PCKCRLIssuerChain)))
		body = s.PCKCRL
	case "/sgx/certification/v4/rootcacrl":
		body = []byte(hex.EncodeToString(s.RootCACRL)) // as a PCCS has it
	case "/IntelSGXRootCA.der":
		body = s.RootCACRL
	default:
		http.NotFound(w, req)
		return
	}
	if r.change != nil {
		body = r.change(req.URL.Path, h, body)
	}
	if r.code != 0 {
		w.WriteHeader(r.code)
	}
	_, _ = w.Write(body)
}

func serve(tb testing.TB, h http.Handler) string {
	tb.Helper()
	s := httptest.NewServer(h)
	tb.Cleanup(s.Close)
	return s.URL
}

func client(tb testing.TB, o pcs.Options) *pcs.Client {
	tb.Helper()
	if o.Client == nil {
		o.Client = &http.Client{Timeout: 5 * time.Second}
	}
	c, err := pcs.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func items(fmspc, tee, ca string) []endorsements.Item {
	tcb, qe := endorsements.ItemTDXTCB, endorsements.ItemTDXQE
	if tee == "sgx" {
		tcb, qe = endorsements.ItemSGXTCB, endorsements.ItemSGXQE
	}
	return []endorsements.Item{
		{Kind: tcb, FMSPC: fmspc}, {Kind: qe}, {Kind: endorsements.ItemPCKCRL, CA: ca}, {Kind: endorsements.ItemRootCRL},
	}
}

const tdxSet = "tdx/dcap-qvl/tdx_quote_collateral.json"

// Every document comes back byte for byte, in the form of a file.
func TestFetch(t *testing.T) {
	for name, want := range map[string][]endorsements.Item{
		tdxSet:                                   items("b0c06f000000", "tdx", "platform"),
		"sgx/dcap-qvl/sgx_quote_collateral.json": items("00a067110000", "sgx", "processor"),
	} {
		r := record(t, name)
		base := serve(t, r)
		c := client(t, pcs.Options{URL: base + "/"})
		for _, i := range want {
			raw, err := c.Fetch(t.Context(), i)
			if err != nil {
				t.Fatalf("%s: %v", i, err)
			}
			b, err := endorsements.Parse("f", raw)
			if err != nil {
				t.Fatal(err)
			}
			for s := range b.AllIntelTDX() {
				w := r.set
				got := string(s.TCBInfo) + s.TCBInfoSignature + string(s.QEIdentity) + s.QEIdentitySignature + string(s.PCKCRL) + string(s.RootCACRL)
				whole := map[endorsements.ItemKind]string{
					want[0].Kind: string(w.TCBInfo) + w.TCBInfoSignature, want[1].Kind: string(w.QEIdentity) + w.QEIdentitySignature,
					want[2].Kind: string(w.PCKCRL), want[3].Kind: string(w.RootCACRL),
				}
				chain := string(s.TCBInfoIssuerChain) + string(s.QEIdentityChain) + string(s.PCKCRLIssuerChain)
				chains := map[endorsements.ItemKind]string{want[0].Kind: string(w.TCBInfoIssuerChain), want[1].Kind: string(w.QEIdentityChain), want[2].Kind: string(w.PCKCRLIssuerChain)}
				if got != whole[i.Kind] || chain != chains[i.Kind] {
					t.Errorf("%s changed on the way", i)
				}
			}
		}
	}
}

func TestAddresses(t *testing.T) {
	r := record(t, tdxSet)
	base := serve(t, http.StripPrefix("/pccs", r))
	all := items("b0c06f000000", "tdx", "platform")
	for _, i := range all {
		for _, o := range []pcs.Options{{}, {Update: "early"}, {EvaluationNumber: 17}, {RootCRL: base + "/pccs/IntelSGXRootCA.der"}} {
			o.URL = base + "/pccs"
			if _, err := client(t, o).Fetch(t.Context(), i); err != nil {
				t.Errorf("%s: %v", i, err)
			}
		}
	}
	want := `/tdx/certification/v4/tcb?fmspc=b0c06f000000
/tdx/certification/v4/tcb?fmspc=b0c06f000000&update=early
/tdx/certification/v4/tcb?fmspc=b0c06f000000&tcbEvaluationDataNumber=17
/tdx/certification/v4/tcb?fmspc=b0c06f000000
/tdx/certification/v4/qe/identity
/tdx/certification/v4/qe/identity?update=early
/tdx/certification/v4/qe/identity?tcbEvaluationDataNumber=17
/tdx/certification/v4/qe/identity
/sgx/certification/v4/pckcrl?ca=platform&encoding=der
/sgx/certification/v4/pckcrl?ca=platform&encoding=der
/sgx/certification/v4/pckcrl?ca=platform&encoding=der
/sgx/certification/v4/pckcrl?ca=platform&encoding=der
/sgx/certification/v4/rootcacrl
/sgx/certification/v4/rootcacrl
/sgx/certification/v4/rootcacrl
/IntelSGXRootCA.der`
	if got := strings.Join(r.asks, "\n"); got != want {
		t.Errorf("%s", got)
	}
}

// What a service may send as a revocation list.
func TestListForms(t *testing.T) {
	r := record(t, tdxSet)
	c := client(t, pcs.Options{URL: serve(t, r)})
	crl := endorsements.Item{Kind: endorsements.ItemPCKCRL, CA: "platform"}
	for name, f := range map[string]func([]byte) []byte{
		"PEM": func(b []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: b}) },
		"hex": func(b []byte) []byte { return []byte(hex.EncodeToString(b) + "\n") },
		"DER": func(b []byte) []byte { return b },
	} {
		r.change = func(_ string, _ http.Header, b []byte) []byte { return f(b) }
		if _, err := c.Fetch(t.Context(), crl); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Nothing that is not the answer is one, and no answer makes another request.
func TestHostileAnswers(t *testing.T) {
	r := record(t, tdxSet)
	other := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody else was asked") }))
	base := serve(t, r)
	tcb := endorsements.Item{Kind: endorsements.ItemTDXTCB, FMSPC: "b0c06f000000"}
	crl := endorsements.Item{Kind: endorsements.ItemPCKCRL, CA: "platform"}
	header := func(name, value string) func(string, http.Header, []byte) []byte {
		return func(_ string, h http.Header, b []byte) []byte { h.Set(name, value); return b }
	}
	body := func(f func(string) string) func(string, http.Header, []byte) []byte {
		return func(_ string, _ http.Header, b []byte) []byte { return []byte(f(string(b))) }
	}
	chain := "TCB-Info-Issuer-Chain"
	escaped := url.PathEscape(string(r.set.TCBInfoIssuerChain))
	for name, c := range map[string]struct {
		item   endorsements.Item
		code   int
		change func(string, http.Header, []byte) []byte
	}{
		"redirect":             {tcb, http.StatusFound, header("Location", other)},
		"redirect for good":    {tcb, http.StatusPermanentRedirect, header("Location", other+"/tdx/certification/v4/tcb")},
		"too large":            {tcb, 0, body(func(b string) string { return b + strings.Repeat(" ", 1<<20) })},
		"CRL too large":        {crl, 0, body(func(b string) string { return b + strings.Repeat(" ", 1<<20) })},
		"empty":                {tcb, 0, body(func(string) string { return "" })},
		"wrong type":           {tcb, 0, header("Content-Type", "text/plain")},
		"a page":               {crl, 0, header("Content-Type", "text/html; charset=utf-8")},
		"no type at all":       {tcb, 0, header("Content-Type", "???")},
		"duplicate member":     {tcb, 0, body(func(b string) string { return `{"signature":"00",` + b[1:] })},
		"duplicate TCB info":   {tcb, 0, body(func(b string) string { return `{"tcbInfo":{},` + b[1:] })},
		"data behind":          {tcb, 0, body(func(b string) string { return b + "{}" })},
		"cut":                  {tcb, 0, body(func(b string) string { return b[:len(b)/2] })},
		"not JSON":             {tcb, 0, body(func(string) string { return "tcbInfo" })},
		"an identity":          {tcb, 0, body(func(b string) string { return strings.Replace(b, "tcbInfo", "enclaveIdentity", 1) })},
		"of SGX":               {tcb, 0, body(func(b string) string { return strings.Replace(b, `"id":"TDX"`, `"id":"SGX"`, 1) })},
		"another platform":     {endorsements.Item{Kind: endorsements.ItemTDXTCB, FMSPC: "b0c06f000001"}, 0, nil},
		"another CA":           {endorsements.Item{Kind: endorsements.ItemPCKCRL, CA: "processor"}, 0, nil},
		"not a list":           {crl, 0, body(func(string) string { return "0000" })},
		"two lists":            {crl, 0, body(func(b string) string { return b + b })},
		"a certificate":        {crl, 0, func(string, http.Header, []byte) []byte { return r.set.PCKCRLIssuerChain }},
		"no chain":             {tcb, 0, func(_ string, h http.Header, b []byte) []byte { h.Del(chain); return b }},
		"chain empty":          {tcb, 0, header(chain, "")},
		"chain garbage":        {tcb, 0, header(chain, "garbage")},
		"chain escaped wrong":  {tcb, 0, header(chain, escaped+"%zz")},
		"chain and more":       {tcb, 0, header(chain, escaped+"more")},
		"chain with a key":     {tcb, 0, header(chain, url.PathEscape(strings.ReplaceAll(string(r.set.TCBInfoIssuerChain), "CERTIFICATE", "PRIVATE KEY")))},
		"chain of nothing":     {tcb, 0, header(chain, "%20%0A")},
		"chain broken inside":  {tcb, 0, header(chain, strings.Replace(escaped, "MII", "MIX", 1))},
		"chain too long":       {tcb, 0, header(chain, strings.Repeat(escaped, 8))},
		"chain with a tail":    {tcb, 0, header(chain, escaped+strings.Repeat("%20", 5000))},
		"chain of many":        {tcb, 0, header(chain, strings.Repeat(escaped, 3))},
		"chain twice":          {tcb, 0, func(_ string, h http.Header, b []byte) []byte { h.Add(chain, escaped); return b }},
		"chain of both names":  {tcb, 0, header("SGX-TCB-Info-Issuer-Chain", escaped)},
		"CRL without a chain":  {crl, 0, func(_ string, h http.Header, b []byte) []byte { h.Del("SGX-PCK-CRL-Issuer-Chain"); return b }},
		"not found":            {tcb, http.StatusNotFound, nil},
		"a body with an error": {tcb, http.StatusInternalServerError, nil},
		"no content":           {tcb, http.StatusAccepted, nil},
	} {
		r.change, r.code, r.asks = c.change, c.code, nil
		raw, err := client(t, pcs.Options{URL: base}).Fetch(t.Context(), c.item)
		var fe *endorsements.FetchError
		if err == nil || !errors.As(err, &fe) || raw != nil {
			t.Errorf("%s: %d bytes, %v", name, len(raw), err)
		}
		if strings.HasSuffix(name, "too large") && !strings.Contains(fmt.Sprint(err), "more than 1048576 bytes") {
			t.Errorf("%s: %v", name, err)
		}
		if len(r.asks) != 1 {
			t.Errorf("%s: asked %d times", name, len(r.asks))
		}
		if c.code != 0 && fe != nil && fe.Status != c.code {
			t.Errorf("%s: status %d", name, fe.Status)
		}
	}
	r.change, r.code = nil, 0
	if _, err := client(t, pcs.Options{URL: base}).Fetch(t.Context(), tcb); err != nil {
		t.Errorf("the answer itself: %v", err)
	}
}

func TestSlowService(t *testing.T) {
	stop := make(chan struct{})
	base := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{"))
		w.(http.Flusher).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(stop) })
	tcb := endorsements.Item{Kind: endorsements.ItemTDXTCB, FMSPC: "b0c06f000000"}
	for name, c := range map[string]*pcs.Client{
		"time-out of the client": client(t, pcs.Options{URL: base, Client: &http.Client{Timeout: 50 * time.Millisecond}}),
		"end of the context":     client(t, pcs.Options{URL: base}),
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := c.Fetch(ctx, tcb)
		cancel()
		var fe *endorsements.FetchError
		if !errors.As(err, &fe) || !fe.Temporary() || fe.Status != 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	r := record(t, tdxSet)
	c := client(t, pcs.Options{URL: serve(t, r)})
	r.code = http.StatusTooManyRequests
	for value, want := range map[string]time.Duration{"7": 7 * time.Second, "": 0, "-1": 0, "soon": 0, "99999": time.Hour} {
		r.change = func(_ string, h http.Header, b []byte) []byte { h.Set("Retry-After", value); return b }
		_, err := c.Fetch(t.Context(), endorsements.Item{Kind: endorsements.ItemTDXQE})
		var fe *endorsements.FetchError
		if !errors.As(err, &fe) || !fe.Temporary() || fe.RetryAfter != want {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]pcs.Options{
		"no client": {URL: pcs.Intel}, "no URL": {Client: http.DefaultClient}, "plain": {URL: "http://pccs.example", Client: http.DefaultClient},
		"a file": {URL: "file:///etc/passwd", Client: http.DefaultClient}, "a user": {URL: "https://u:p@pccs.example", Client: http.DefaultClient},
		"a query":  {URL: "https://pccs.example?x=1", Client: http.DefaultClient},
		"update":   {URL: pcs.Intel, Update: "late", Client: http.DefaultClient},
		"both":     {URL: pcs.Intel, Update: "early", EvaluationNumber: 1, Client: http.DefaultClient},
		"root CRL": {URL: pcs.Intel, RootCRL: "http://x.example/r.der", Client: http.DefaultClient},
	} {
		if _, err := pcs.New(o); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	c := client(t, pcs.Options{URL: pcs.Intel})
	for _, i := range []endorsements.Item{{}, {Kind: endorsements.ItemAMDCRL, Product: "Milan"}, {Kind: endorsements.ItemTDXTCB, FMSPC: "x"}, {Kind: endorsements.ItemPCKCRL, CA: "a&b=c"}} {
		if _, err := c.Fetch(t.Context(), i); !errors.Is(err, endorsements.ErrNeed) {
			t.Errorf("%s: %v", i, err)
		}
	}
}

// Over TLS only a service with a certificate that the client's roots know counts.
func TestTLS(t *testing.T) {
	r := record(t, tdxSet)
	s := httptest.NewTLSServer(r)
	defer s.Close()
	qe := endorsements.Item{Kind: endorsements.ItemTDXQE}
	if _, err := client(t, pcs.Options{URL: s.URL}).Fetch(t.Context(), qe); err == nil || len(r.asks) != 0 {
		t.Errorf("an unknown service answered: %v", err)
	}
	if _, err := client(t, pcs.Options{URL: s.URL, Client: s.Client()}).Fetch(t.Context(), qe); err != nil {
		t.Error(err)
	}
}

// canned is a transport that gives one answer.
type canned struct {
	body   []byte
	header string
}

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	h := http.Header{"Content-Type": {"application/json"}, "Tcb-Info-Issuer-Chain": {c.header}, "Sgx-Pck-Crl-Issuer-Chain": {c.header}}
	return &http.Response{StatusCode: http.StatusOK, Header: h, Body: io.NopCloser(bytes.NewReader(c.body))}, nil
}

// FuzzFetch: whatever a service answers, what comes back is one document that was
// asked for, in a form that is read again.
func FuzzFetch(f *testing.F) {
	s := record(f, tdxSet).set
	f.Add(fmt.Appendf(nil, `{"tcbInfo":%s,"signature":%q}`, s.TCBInfo, s.TCBInfoSignature), url.PathEscape(string(s.TCBInfoIssuerChain)))
	f.Add(s.PCKCRL, url.PathEscape(string(s.PCKCRLIssuerChain)))
	f.Add([]byte(hex.EncodeToString(s.RootCACRL)), "")
	f.Fuzz(func(t *testing.T, body []byte, header string) {
		c, err := pcs.New(pcs.Options{URL: "https://pccs.example", Client: &http.Client{Transport: canned{body, header}}})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items("b0c06f000000", "tdx", "platform") {
			raw, err := c.Fetch(t.Context(), i)
			if err != nil {
				continue
			}
			b, err := endorsements.Parse("f", raw)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for st := range b.Statements() {
				if n++; st.Item != i || n > 1 {
					t.Fatalf("%s for %s", st.Item, i)
				}
			}
		}
	})
}
