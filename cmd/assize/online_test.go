// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/cmd/assize/internal/config"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/orchestrator"
)

// services stands in for those of Intel and AMD: it has the collateral of folders,
// in the form in which the services hand it out.
type services struct {
	mu    sync.Mutex
	set   map[string]endorsements.IntelCollateral // by the path that it answers
	amd   map[string][]byte
	asked []string
}

func (s *services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, r.URL.RequestURI())
	c, ok := s.set[r.URL.RequestURI()]
	if raw, has := s.amd[r.URL.Path]; has {
		_, _ = w.Write(raw)
		return
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	switch {
	case c.TCBInfo != nil:
		h.Set("Content-Type", "application/json")
		h.Set("TCB-Info-Issuer-Chain", url.PathEscape(string(c.TCBInfoIssuerChain)))
		fmt.Fprintf(w, `{"tcbInfo":%s,"signature":%q}`, c.TCBInfo, c.TCBInfoSignature)
	case c.QEIdentity != nil:
		h.Set("Content-Type", "application/json")
		h.Set("SGX-Enclave-Identity-Issuer-Chain", url.PathEscape(string(c.QEIdentityChain)))
		fmt.Fprintf(w, `{"enclaveIdentity":%s,"signature":%q}`, c.QEIdentity, c.QEIdentitySignature)
	case c.PCKCRL != nil:
		h.Set("SGX-PCK-CRL-Issuer-Chain", url.PathEscape(string(c.PCKCRLIssuerChain)))
		_, _ = w.Write(c.PCKCRL)
	default:
		fmt.Fprintf(w, "%x", c.RootCACRL)
	}
}

// requests are the paths since the last call.
func (s *services) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	return out
}

// serveFolder starts services with what a folder holds, and writes a configuration
// that names them.
func serveFolder(t *testing.T, dir string) (s *services, stop func(), config string) {
	t.Helper()
	b, _, err := endorsements.LoadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	s = &services{set: map[string]endorsements.IntelCollateral{}, amd: map[string][]byte{}}
	for c := range b.AllIntelTDX() {
		tee := "tdx"
		if strings.Contains(string(c.TCBInfo), `"id":"SGX"`) {
			tee = "sgx"
		}
		s.set["/"+tee+"/certification/v4/tcb?fmspc="+c.FMSPC] = endorsements.IntelCollateral{TCBInfo: c.TCBInfo, TCBInfoSignature: c.TCBInfoSignature, TCBInfoIssuerChain: c.TCBInfoIssuerChain}
		s.set["/"+tee+"/certification/v4/qe/identity"] = endorsements.IntelCollateral{QEIdentity: c.QEIdentity, QEIdentitySignature: c.QEIdentitySignature, QEIdentityChain: c.QEIdentityChain}
		s.set["/sgx/certification/v4/pckcrl?ca=platform&encoding=der"] = endorsements.IntelCollateral{PCKCRL: c.PCKCRL, PCKCRLIssuerChain: c.PCKCRLIssuerChain}
		s.set["/sgx/certification/v4/rootcacrl"] = endorsements.IntelCollateral{RootCACRL: c.RootCACRL}
	}
	for st := range b.Statements() {
		switch i := st.Item; i.Kind {
		case endorsements.ItemVCEK:
			for c := range b.Certificates() {
				if c.Digest == st.Digest {
					s.amd["/vcek/v1/"+i.Product+"/"+i.ChipID] = c.Raw
				}
			}
		case endorsements.ItemAMDCRL:
			for l := range b.RevocationLists() {
				if l.Digest == st.Digest {
					s.amd["/vcek/v1/"+i.Product+"/crl"] = l.Raw
				}
			}
		}
	}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	config = write(t, "config.yaml", fmt.Appendf(nil, "endorsements_online: {intel: %q, amd: %q, intel_interval: 1ms, amd_interval: 1ms, nvidia: {rim_url: none, ocsp_url: none}}\n", srv.URL, srv.URL))
	return s, srv.Close, config
}

// simulatedFolder writes a machine and returns its folder.
func simulatedFolder(t *testing.T, args ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "m")
	if o := assize(t, t.TempDir(), append([]string{"simulate", "--nonce", simNonce, "-o", dir}, args...)...); o.code != 0 {
		t.Fatal(o.err)
	}
	return dir
}

// Only --online fetches; with it a simulated machine is as good as with the folder,
// and stays so without the services.
func TestOnline(t *testing.T) {
	dir, state := simulatedFolder(t, "--machine", "cpu"), t.TempDir()
	s, stop, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	args := []string{
		"appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"),
		"--corim", filepath.Join(dir, "reference-values"), "--corim-trust", filepath.Join(dir, "corim-trust.json"), "-o", "json", "--config", config,
	}
	hardware := func(o outcome) int {
		t.Helper()
		var d document
		if err := json.Unmarshal([]byte(o.out), &d); err != nil {
			t.Fatalf("%v: %s %s", err, o.out, o.err)
		}
		return d.Components["cpu"].TrustVector["hardware"]
	}
	o := assize(t, state, args...)
	if o.code != exitWarning || !strings.Contains(o.out, "no-collateral") || len(s.requests()) != 0 {
		t.Fatalf("without --online: %d %s %s", o.code, o.out, o.err)
	}
	o = assize(t, state, append(args, "--online")...)
	if got := s.requests(); o.code != exitAffirming || hardware(o) != 2 || len(got) != 4 {
		t.Fatalf("with --online: %d %s %s; asked %q", o.code, o.out, o.err, got)
	}
	if o = assize(t, state, append(args, "--online")...); o.code != exitAffirming || len(s.requests()) != 0 {
		t.Errorf("asked again: %d %s", o.code, o.err)
	}
	stop()
	if o = assize(t, state, append(args, "--online")...); o.code != exitAffirming || hardware(o) != 2 {
		t.Errorf("from the cache: %d %s %s", o.code, o.out, o.err)
	}
	// What was fetched is not there for a process that may not fetch …
	if o = assize(t, state, args...); o.code != exitWarning {
		t.Errorf("without --online: %d", o.code)
	}
	// … unless its folder is named.
	if o = assize(t, state, append(args, "--endorsements", filepath.Join(state, "endorsements"))...); o.code != exitAffirming {
		t.Errorf("the cache as a folder: %d %s %s", o.code, o.out, o.err)
	}
	// A service that is down costs the claim and nothing else.
	if o = assize(t, t.TempDir(), append(args, "--online")...); o.code != exitWarning || !strings.Contains(o.out, "no-collateral") || !strings.Contains(o.err, "collateral is missing") {
		t.Errorf("no service: %d %s %s", o.code, o.out, o.err)
	}
}

// A service fetches while it appraises: whoever comes first waits for all, and each
// document is fetched once.
func TestServeOnline(t *testing.T) {
	dir := simulatedFolder(t, "--machine", "cpu")
	srv, _, file := serveFolder(t, filepath.Join(dir, "endorsements"))
	c, err := config.Load(file, []string{
		"ASSIZE_STATE_DIR=" + t.TempDir(), "ASSIZE_ENDORSEMENTS_ONLINE_ENABLED=true", "ASSIZE_FABRIC_NONCES=off", "ASSIZE_CORIM_STORE=off",
	})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := start(t.Context(), c, slog.New(slog.NewTextHandler(&log, nil)), role{name: "serve", lead: true}, filepath.Join(dir, "trust.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	raw, err := os.ReadFile(filepath.Join(dir, "evidence.cmw"))
	if err != nil {
		t.Fatal(err)
	}
	nonce, err := hex.DecodeString(simNonce)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			res, err := s.lead.Appraise(t.Context(), orchestrator.Request{Evidence: raw, Nonce: nonce})
			if err != nil {
				t.Error(err)
				return
			}
			if doc, err := json.Marshal(res.Document()); err != nil || !strings.Contains(string(doc), `"hardware":2`) {
				t.Errorf("%s %v", doc, err)
			}
		})
	}
	wg.Wait()
	if got := srv.requests(); len(got) != 4 {
		t.Errorf("asked %q", got)
	}
}

// A caching service of one's own has a certificate of one's own.
func TestOnlineTLS(t *testing.T) {
	dir := simulatedFolder(t, "--machine", "cpu")
	plain, _, _ := serveFolder(t, filepath.Join(dir, "endorsements"))
	srv := httptest.NewUnstartedServer(plain)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	srv.StartTLS()
	defer srv.Close()
	ca := write(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	for text, want := range map[string]int{"": exitFailed, ", ca: " + ca: exitAffirming} {
		file := write(t, "c.yaml", fmt.Appendf(nil, "endorsements_online: {intel: %q%s}\n", srv.URL, text))
		o := assize(t, t.TempDir(), "endorsements", "fetch", "--fmspc", "a5512e000000", "--timeout", "2s", "--config", file, "--trust", filepath.Join(dir, "trust.json"))
		if o.code != want {
			t.Errorf("%q: %d %s %s", text, o.code, o.out, o.err)
		}
	}
}

// An enclave has collateral of its own.
func TestOnlineSGX(t *testing.T) {
	dir := simulatedFolder(t, "--machine", write(t, "sgx.yaml", []byte("name: sgx\ncpu: {kind: intel-sgx}\n")))
	s, _, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	o := assize(t, t.TempDir(), "appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"),
		"--corim", filepath.Join(dir, "reference-values"), "--corim-trust", filepath.Join(dir, "corim-trust.json"), "--online", "--config", config)
	got := s.requests()
	if o.code != exitAffirming || len(got) != 4 || !strings.Contains(strings.Join(got, " "), "/sgx/certification/v4/tcb?fmspc=") {
		t.Errorf("%d %s %s; asked %q", o.code, o.out, o.err, got)
	}
}

// A report of an SNP guest that comes without certificates: the endorsement key and
// the revocation list come from AMD's service, the simulated intermediate from the
// folder.
func TestOnlineAMD(t *testing.T) {
	dir := simulatedFolder(t, "--machine", write(t, "snp.yaml", []byte("name: snp\ncpu: {kind: amd-snp}\n")))
	s, stop, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	raw, err := os.ReadFile(filepath.Join(dir, "evidence.cmw"))
	if err != nil {
		t.Fatal(err)
	}
	var composite map[string]any
	if err := json.Unmarshal(raw, &composite); err != nil {
		t.Fatal(err)
	}
	const report = 1184 // bytes, before the certificates
	record := composite["cpu"].([]any)
	leaf, err := base64.RawURLEncoding.DecodeString(record[1].(string))
	if err != nil || len(leaf) <= report {
		t.Fatal(len(leaf), err)
	}
	record[1] = b64(leaf[:report])
	if raw, err = json.Marshal(composite); err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	chain, err := os.ReadFile(filepath.Join(dir, "endorsements", "amd-snp-genoa-cert-chain.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "chain.pem"), chain, 0o600); err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	args := []string{
		"appraise", write(t, "bare.cmw", raw), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "--endorsements", folder,
		"--corim", filepath.Join(dir, "reference-values"), "--corim-trust", filepath.Join(dir, "corim-trust.json"), "--config", config,
	}
	if o := assize(t, state, args...); o.code == exitAffirming || len(s.requests()) != 0 {
		t.Fatalf("without --online: %d %s", o.code, o.out)
	}
	o := assize(t, state, append(args, "--online")...)
	if got := s.requests(); o.code != exitAffirming || len(got) != 2 || !strings.Contains(o.out, "hardware 2") {
		t.Fatalf("with --online: %d %s %s; asked %q", o.code, o.out, o.err, got)
	}
	stop()
	if o := assize(t, state, append(args, "--online")...); o.code != exitAffirming {
		t.Errorf("from the cache: %d %s %s", o.code, o.out, o.err)
	}
}

// A cache that somebody has written into is as good as the signatures in it.
func TestOnlineForgedCache(t *testing.T) {
	dir, state := simulatedFolder(t, "--machine", "cpu", "--fault", "cpu:outdated-tcb"), t.TempDir()
	_, stop, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	args := []string{
		"appraise", filepath.Join(dir, "evidence.cmw"), "--nonce", simNonce, "--trust", filepath.Join(dir, "trust.json"), "--online", "--config", config,
	}
	if o := assize(t, state, args...); o.code != exitWarning || !strings.Contains(o.out, "OutOfDate") {
		t.Fatalf("%d %s %s", o.code, o.out, o.err)
	}
	stop()
	cache := filepath.Join(state, "endorsements")
	entries, err := os.ReadDir(cache)
	if err != nil || len(entries) != 4 {
		t.Fatal(entries, err)
	}
	for _, e := range entries {
		raw, err := os.ReadFile(filepath.Join(cache, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		raw = []byte(strings.ReplaceAll(string(raw), "OutOfDate", "UpToDate"))
		if err := os.WriteFile(filepath.Join(cache, e.Name()), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if o := assize(t, state, append(args, "--endorsements", cache)...); o.code != exitWarning || strings.Contains(o.out, "hardware 2") || !strings.Contains(o.out, "signature does not hold") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
}

// Responses of the services that lie in a folder as they came are as good as a set.
func TestLooseResponses(t *testing.T) {
	raw := vectors.Read(t, "tdx/dcap-qvl/tdx_quote_collateral.json")
	b, err := endorsements.Parse("set", raw)
	if err != nil {
		t.Fatal(err)
	}
	dir, state := t.TempDir(), t.TempDir()
	put := func(name string, raw []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for c := range b.AllIntelTDX() {
		put("tcb.json", fmt.Appendf(nil, `{"tcbInfo":%s,"signature":%q}`, c.TCBInfo, c.TCBInfoSignature))
		put("qe.json", fmt.Appendf(nil, `{"enclaveIdentity":%s,"signature":%q}`, c.QEIdentity, c.QEIdentitySignature))
		put("signing.pem", c.TCBInfoIssuerChain)
		put("pck.pem", c.PCKCRLIssuerChain)
		put("pck.crl", c.PCKCRL)
		put("root.crl", c.RootCACRL)
	}
	set := filepath.Join(t.TempDir())
	if err := os.WriteFile(filepath.Join(set, "set.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	vector := func(folder string) string {
		o := assize(t, state, "appraise", quoteLeaf(t), "--at", "2025-07-01T00:00:00Z", "--endorsements", folder, "-o", "json")
		var d document
		if err := json.Unmarshal([]byte(o.out), &d); err != nil {
			t.Fatalf("%v: %s %s", err, o.out, o.err)
		}
		// Results name the file that they rest on.
		return regexp.MustCompile(`collateral:\S+`).ReplaceAllString(fmt.Sprint(d.Components, o.code), "collateral")
	}
	if loose, whole := vector(dir), vector(set); loose != whole || !strings.Contains(whole, "hardware:2") {
		t.Errorf("loose %s\nset %s", loose, whole)
	}
	if missing := vector(t.TempDir()); strings.Contains(missing, "hardware:2") {
		t.Errorf("without collateral: %s", missing)
	}
}

// quoteLeaf is a recorded quote as a composite of one component.
func quoteLeaf(t *testing.T) string {
	t.Helper()
	return write(t, "quote.cmw", fmt.Appendf(nil, `{"cpu":["application/vnd.assize.tdx-quote",%q,4]}`, b64(vectors.Read(t, "tdx/dcap-qvl/tdx_quote"))))
}

func TestOnlineUsage(t *testing.T) {
	dir := simulatedFolder(t, "--machine", "cpu")
	file := filepath.Join(dir, "evidence.cmw")
	for name, text := range map[string]string{
		"nobody to ask": "endorsements_online: {intel: none, amd: none, nvidia: {rim_url: none, ocsp_url: none}}",
		"no TLS":        "endorsements_online: {intel: 'http://pccs.example'}",
		"no CA":         "endorsements_online: {ca: /no/such/file}",
		"not a CA":      "endorsements_online: {ca: " + file + "}",
		"not a folder":  "endorsements_online: {cache: " + file + "}",
	} {
		if o := assize(t, t.TempDir(), "appraise", file, "--nonce", simNonce, "--online", "--config", write(t, "c.yaml", []byte(text))); o.code != exitFailed {
			t.Errorf("%s: %d %s", name, o.code, o.err)
		}
		if o := assize(t, t.TempDir(), "appraise", file, "--nonce", simNonce, "--config", write(t, "c.yaml", []byte(text))); o.code == exitFailed {
			t.Errorf("%s, and not --online: %d %s", name, o.code, o.err)
		}
	}
}

func TestEndorsementsCommands(t *testing.T) {
	dir, state, out := simulatedFolder(t, "--machine", "cpu"), t.TempDir(), filepath.Join(t.TempDir(), "out")
	s, _, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	evidenceFile, roots := filepath.Join(dir, "evidence.cmw"), filepath.Join(dir, "trust.json")
	// Without the roots of the machine nothing of it is kept.
	if o := assize(t, state, "endorsements", "fetch", evidenceFile, "-o", out, "--config", config); o.code != exitFailed || !strings.Contains(o.err, "not Intel's") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	o := assize(t, state, "endorsements", "fetch", evidenceFile, "-o", out, "--config", config, "--trust", roots)
	if o.code != 0 || !strings.Contains(o.out, "4 documents") || !strings.Contains(o.out, "intel-tdx-tcb-") {
		t.Fatalf("%d %s %s", o.code, o.out, o.err)
	}
	s.requests()
	if o = assize(t, state, "endorsements", "fetch", evidenceFile, "-o", out, "--config", config, "--trust", roots); o.code != 0 || len(s.requests()) != 0 {
		t.Errorf("fetched again: %d %s", o.code, o.err)
	}
	if o = assize(t, state, "endorsements", "list", out); o.code != 0 || strings.Count(o.out, "valid, ") != 4 || strings.Contains(o.out, "signed") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	if o = assize(t, state, "endorsements", "verify", out, "--trust", roots, "-o", "json"); o.code != 0 || strings.Count(o.out, `"root":`) != 4 {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	if o = assize(t, state, "endorsements", "verify", out); o.code != exitFailed || !strings.Contains(o.err, "4 of 4") {
		t.Errorf("without roots: %d %s %s", o.code, o.out, o.err)
	}
	later := time.Now().AddDate(0, 0, 25).UTC().Format(time.RFC3339)
	if o = assize(t, state, "endorsements", "verify", out, "--trust", roots, "--at", later); o.code != exitFailed || !strings.Contains(o.err, "3 of 4") || strings.Count(o.out, "ended") != 3 {
		t.Errorf("later: %d %s %s", o.code, o.out, o.err)
	}
	if o = assize(t, state, "endorsements", "list", out, "--at", "2020-01-01T00:00:00Z"); o.code != 0 || strings.Count(o.out, "not-yet") != 4 {
		t.Errorf("before: %d %s", o.code, o.out)
	}
	if o = assize(t, state, "endorsements", "list", dir); o.code != 0 || !strings.Contains(o.err, "not used") {
		t.Errorf("a folder with more in it: %d %s", o.code, o.err)
	}
	for _, args := range [][]string{
		{}, {"fetch"}, {"fetch", "--fmspc", "x"}, {"fetch", "--fmspc", "50806f000000", "--tee", "snp"}, {"fetch", "--chip-id", "00"}, {"fetch", "--product", "Naples"},
		{"fetch", "--product", "Milan", "--chip-id", "00"}, {"fetch", "--product", "Milan", "--chip-id", strings.Repeat("ab", 64), "--tcb", "1"}, {"list"}, {"verify", "a", "b"},
		{"list", out, "-o", "xml"}, {"verify", out, "--at", "now"}, {"verify", out, "--trust", ""}, {"unknown"},
	} {
		if o := assize(t, state, append([]string{"endorsements"}, args...)...); o.code != exitUsage {
			t.Errorf("%q: %d %s", args, o.code, o.err)
		}
	}
	if o = assize(t, state, "endorsements", "list", filepath.Join(out, "no-such")); o.code != exitFailed {
		t.Errorf("no folder: %d", o.code)
	}
}

// What the flags name is fetched without evidence.
func TestEndorsementsFetchByName(t *testing.T) {
	dir := simulatedFolder(t, "--machine", "cpu")
	s, _, config := serveFolder(t, filepath.Join(dir, "endorsements"))
	o := assize(t, t.TempDir(), "endorsements", "fetch", "--fmspc", "a5512e000000", "--config", config, "--trust", filepath.Join(dir, "trust.json"))
	if o.code != 0 || !strings.Contains(o.out, "4 documents") || len(s.requests()) != 4 {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	o = assize(t, t.TempDir(), "endorsements", "fetch", "--product", "Milan", "--chip-id", strings.Repeat("ab", 64), "--tcb", "db18000000000004", "--config", config)
	got := s.requests()
	if o.code != exitFailed || len(got) != 2 {
		t.Errorf("%d %q %s", o.code, got, o.err)
	}
	for _, uri := range got {
		if uri != "/vcek/v1/Milan/crl" && uri != "/vcek/v1/Milan/"+strings.Repeat("ab", 64)+"?blSPL=4&snpSPL=24&teeSPL=0&ucodeSPL=219" {
			t.Errorf("asked %s", uri)
		}
	}
}
