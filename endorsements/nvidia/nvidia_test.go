// SPDX-License-Identifier: Apache-2.0

package nvidia_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	sim "github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/endorsements"
	"github.com/assize/assize/endorsements/nvidia"
	"github.com/assize/assize/internal/vectors"
)

const (
	driverID = "NV_GPU_DRIVER_GH100_550.144.03"
	key      = "nvapi-secret-service-key"
)

var (
	now  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	item = endorsements.Item{Kind: endorsements.ItemNVRIM, RIM: driverID}
)

// service answers every request with one function.
type service struct {
	mu     sync.Mutex
	asks   []*http.Request
	bodies [][]byte
	answer func(w http.ResponseWriter, path string, body []byte)
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asks, s.bodies = append(s.asks, r), append(s.bodies, body)
	s.answer(w, r.URL.RequestURI(), body)
}

// start makes a service for both, and a client with a key.
func start(t *testing.T) (*service, *nvidia.Client) {
	t.Helper()
	s := new(service)
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, client(t, srv.URL, pki.NewSeed("nonces").Reader())
}

func client(t *testing.T, url string, random io.Reader) *nvidia.Client {
	t.Helper()
	c, err := nvidia.New(nvidia.Options{RIM: url, OCSP: url + "/ocsp", Key: key, Client: &http.Client{Timeout: 5 * time.Second}, Random: random})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func driver(t *testing.T) []byte {
	return vectors.Read(t, "nvidia/attestation-sdk/testdata/"+driverID+".xml")
}

// reply is what the RIM service answers.
func reply(t *testing.T, change map[string]any) []byte {
	t.Helper()
	doc := driver(t)
	sum := sha256.Sum256(doc)
	members := map[string]any{
		"id": driverID, "rim": base64.StdEncoding.EncodeToString(doc), "sha256": hex.EncodeToString(sum[:]), "rim_format": "TCG",
		"last_updated": "2025-01-21T20:23:11.000Z", "request_id": fmt.Sprint(time.Now().UnixNano()),
	}
	for k, v := range change {
		members[k] = v
	}
	raw, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func answering(contentType string, raw []byte) func(http.ResponseWriter, string, []byte) {
	return func(w http.ResponseWriter, _ string, _ []byte) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(raw)
	}
}

// A recorded manifest is asked for by its identifier and comes as a file that says
// which one it is.
func TestManifest(t *testing.T) {
	s, c := start(t)
	var files [][]byte
	for range 2 {
		s.answer = answering("application/json; charset=utf-8", reply(t, nil))
		raw, err := c.Fetch(t.Context(), item)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, raw)
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("the same manifest is two files")
	}
	b, err := endorsements.Parse("f", files[0])
	if err != nil {
		t.Fatal(err)
	}
	if m := b.Manifests(); len(m) != 1 || m[0].ID != driverID || !bytes.Equal(m[0].Raw, driver(t)) {
		t.Errorf("%d manifests", len(m))
	}
	r := s.asks[0]
	if r.Method != http.MethodGet || r.URL.RequestURI() != "/v1/rim/"+driverID || r.Header.Get("Authorization") != "Bearer "+key || len(s.asks) != 2 {
		t.Errorf("%s %s %q", r.Method, r.URL, r.Header)
	}
}

// A mirror may hand out the document itself; who answers with a CoRIM says so.
func TestManifestAsItIs(t *testing.T) {
	d, err := sim.NewGPU(sim.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now, Arch: sim.Blackwell})
	if err != nil {
		t.Fatal(err)
	}
	all, err := d.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	s, c := start(t)
	for _, m := range all {
		types, format := []string{"application/json"}, "TCG"
		if m.CoRIM {
			types, format = append(types, "application/rim+cose", "application/rim+cbor"), "CORIM"
		}
		for _, mediaType := range types {
			raw := m.Raw
			if mediaType == "application/json" {
				raw = reply(t, map[string]any{"id": m.ID, "rim": base64.StdEncoding.EncodeToString(m.Raw), "rim_format": format, "sha256": ""})
			}
			s.answer = answering(mediaType, raw)
			got, err := c.Fetch(t.Context(), endorsements.Item{Kind: endorsements.ItemNVRIM, RIM: m.ID})
			if err != nil {
				t.Errorf("%s %s: %v", m.ID, mediaType, err)
				continue
			}
			if b, err := endorsements.Parse("f", got); err != nil || len(b.Manifests()) != 1 || b.Manifests()[0].ID != m.ID {
				t.Errorf("%s %s: %v", m.ID, mediaType, err)
			}
		}
	}
}

// No answer that is not the manifest that was asked for comes out, and no error has
// the key in it.
func TestHostileManifests(t *testing.T) {
	s, c := start(t)
	for name, a := range map[string]struct {
		code      int
		mediaType string
		raw       []byte
		want      string
	}{
		"other id":      {200, "application/json", reply(t, map[string]any{"id": "NV_GPU_DRIVER_GH100_550.90.07"}), "asked for " + driverID},
		"other digest":  {200, "application/json", reply(t, map[string]any{"sha256": strings.Repeat("00", 32)}), "has another"},
		"not a reply":   {200, "application/json", []byte(`{}`), "not an identifier"},
		"list":          {200, "application/json", []byte(`[]`), ""},
		"unsigned":      {200, "application/rim+cbor", []byte{0xd9, 0x01, 0xf5, 0xa0}, "neither a SWID tag nor a signed CoRIM"},
		"a page":        {200, "text/html", reply(t, nil), "answers with"},
		"other type":    {200, "application/xml", driver(t), "answers with"},
		"empty":         {200, "application/json", nil, "empty"},
		"oversize":      {200, "application/json", make([]byte, 2<<20+1), "more than"},
		"not found":     {404, "application/json", []byte(`{"errorCode":"RIM_NOT_FOUND"}`), "404"},
		"no permission": {403, "application/json", []byte(`{}`), "403"},
		"busy":          {503, "text/plain", []byte(key), "503"},
	} {
		s.answer = func(w http.ResponseWriter, _ string, _ []byte) {
			w.Header().Set("Content-Type", a.mediaType)
			w.WriteHeader(a.code)
			_, _ = w.Write(a.raw)
		}
		before := len(s.asks)
		raw, err := c.Fetch(t.Context(), item)
		var fe *endorsements.FetchError
		if raw != nil || !errors.As(err, &fe) || !strings.Contains(err.Error(), a.want) || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %d bytes, %v", name, len(raw), err)
			continue
		}
		if fe.Unknown() != (a.code == 404) || fe.Temporary() != (a.code == 503) || len(s.asks) != before+1 {
			t.Errorf("%s: %+v after %d requests", name, fe, len(s.asks)-before)
		}
	}
}

// Nobody but the configured service sees a request, or the key.
func TestNoRedirect(t *testing.T) {
	elsewhere, _ := start(t)
	elsewhere.answer = answering("application/json", reply(t, nil))
	other := httptest.NewServer(elsewhere)
	defer other.Close()
	s, c := start(t)
	s.answer = func(w http.ResponseWriter, path string, _ []byte) {
		w.Header().Set("Location", other.URL+path)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	for _, i := range []endorsements.Item{item, statusItem(t, gpu(t, 0), 1)} {
		if raw, err := c.Fetch(t.Context(), i); err == nil || raw != nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", i.Kind, err)
		}
	}
	if len(elsewhere.asks) != 0 || len(s.asks) != 2 {
		t.Errorf("%d requests, %d elsewhere", len(s.asks), len(elsewhere.asks))
	}
}

// gpu is a simulated device; fault is that of the answers about certificate 1.
func gpu(t *testing.T, position int) *sim.Device {
	t.Helper()
	d, err := sim.NewGPU(sim.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: now, Position: position})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func statusItem(t *testing.T, d *sim.Device, position int) endorsements.Item {
	t.Helper()
	n, err := endorsements.OCSPNeed(d.Chain()[position], d.Chain()[position+1])
	if err != nil {
		t.Fatal(err)
	}
	items, err := n.Items()
	if err != nil {
		t.Fatal(err)
	}
	return items[0]
}

// responder answers requests as the simulated service does.
func responder(t *testing.T, s *sim.OCSPService) func(http.ResponseWriter, string, []byte) {
	return func(w http.ResponseWriter, _ string, body []byte) {
		raw, err := s.Answer(body, now)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = w.Write(raw)
	}
}

// The status of every certificate is asked for by digest, with a nonce of its own.
func TestStatus(t *testing.T) {
	d := gpu(t, 0)
	s, c := start(t)
	s.answer = responder(t, d.OCSPService(nil))
	nonces := map[string]bool{}
	for position := 1; position <= 3; position++ {
		i := statusItem(t, d, position)
		raw, err := c.Fetch(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		b, err := endorsements.Parse("f", raw)
		if err != nil || len(b.OCSPResponses()) != 1 {
			t.Fatal(err)
		}
		for st := range b.Statements() {
			if st.Item != i || !st.From.Equal(now) {
				t.Errorf("%+v", st)
			}
		}
		a, err := endorsements.ParseOCSP(raw)
		if err != nil || len(a.Nonce) != 32 || nonces[string(a.Nonce)] || a.Status != endorsements.StatusGood {
			t.Errorf("%+v %v", a, err)
		}
		nonces[string(a.Nonce)] = true
	}
	r := s.asks[0]
	if r.Method != http.MethodPost || r.URL.Path != "/ocsp" || r.Header.Get("Content-Type") != "application/ocsp-request" || r.Header.Get("Authorization") != "Bearer "+key {
		t.Errorf("%s %s %q", r.Method, r.URL, r.Header)
	}
}

// A response that was made before, for somebody else, or about something else is
// refused; what the responder refuses is no answer.
func TestHostileStatus(t *testing.T) {
	d := gpu(t, 0)
	i := statusItem(t, d, 1)
	for fault, a := range map[sim.OCSPFault]struct {
		want               string
		temporary, unknown bool
	}{
		sim.OCSPOtherNonce:       {"does not repeat the nonce", false, false},
		sim.OCSPNoNonce:          {"does not repeat the nonce", false, false},
		sim.OCSPOtherCertificate: {"the answer is about", false, false},
		sim.OCSPRefused:          {"status 6", false, true},
	} {
		s, c := start(t)
		s.answer = responder(t, d.OCSPService(map[int]sim.OCSPFault{1: fault}))
		raw, err := c.Fetch(t.Context(), i)
		var fe *endorsements.FetchError
		if raw != nil || !errors.As(err, &fe) || !strings.Contains(err.Error(), a.want) || fe.Temporary() != a.temporary || fe.Unknown() != a.unknown || strings.Contains(err.Error(), key) {
			t.Errorf("fault %d: %v", fault, err)
		}
	}
	s, c := start(t)
	for name, a := range map[string]struct {
		mediaType string
		raw       []byte
		temporary bool
	}{
		"try later":     {"application/ocsp-response", []byte{0x30, 3, 0x0a, 1, 3}, true},
		"internal":      {"application/ocsp-response", []byte{0x30, 3, 0x0a, 1, 2}, true},
		"sign":          {"application/ocsp-response", []byte{0x30, 3, 0x0a, 1, 5}, false},
		"nothing":       {"application/ocsp-response", []byte{0x30, 0}, false},
		"a certificate": {"application/ocsp-response", d.Chain()[1].Raw, false},
		"a page":        {"text/html", []byte("<p>"), false},
		"oversize":      {"application/ocsp-response", make([]byte, 32<<10+1), false},
	} {
		s.answer = answering(a.mediaType, a.raw)
		raw, err := c.Fetch(t.Context(), i)
		var fe *endorsements.FetchError
		if raw != nil || !errors.As(err, &fe) || fe.Temporary() != a.temporary {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A response that was recorded cannot be played again: the next request has another
// nonce.
func TestReplayedStatus(t *testing.T) {
	d := gpu(t, 0)
	i := statusItem(t, d, 1)
	s, c := start(t)
	s.answer = responder(t, d.OCSPService(nil))
	raw, err := c.Fetch(t.Context(), i)
	if err != nil {
		t.Fatal(err)
	}
	s.answer = answering("application/ocsp-response", raw)
	if _, err := c.Fetch(t.Context(), i); err == nil || !strings.Contains(err.Error(), "nonce") {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	ok := nvidia.Options{RIM: "https://rim.example", OCSP: "https://ocsp.example", Client: http.DefaultClient, Random: bytes.NewReader(nil)}
	if _, err := nvidia.New(ok); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(*nvidia.Options){
		"plain RIM":         func(o *nvidia.Options) { o.RIM = "http://rim.example" },
		"plain OCSP":        func(o *nvidia.Options) { o.OCSP = "http://ocsp.ndis.nvidia.com" },
		"user":              func(o *nvidia.Options) { o.RIM = "https://u:p@rim.example" },
		"URL that is none":  func(o *nvidia.Options) { o.RIM = "https://u:" + key + "@rim.example:port" },
		"query":             func(o *nvidia.Options) { o.RIM = "https://rim.example?a=b" },
		"nobody":            func(o *nvidia.Options) { o.RIM, o.OCSP = "", "" },
		"no client":         func(o *nvidia.Options) { o.Client = nil },
		"no randomness":     func(o *nvidia.Options) { o.Random = nil },
		"key with a line":   func(o *nvidia.Options) { o.Key = key + "\r\nX: y" },
		"key with a space":  func(o *nvidia.Options) { o.Key = key + " " },
		"key too long":      func(o *nvidia.Options) { o.Key = strings.Repeat("k", nvidia.MaxKey+1) },
		"key not in ASCII":  func(o *nvidia.Options) { o.Key = key + "é" },
		"neither URL a URL": func(o *nvidia.Options) { o.OCSP = "ocsp.ndis.nvidia.com" },
	} {
		o := ok
		set(&o)
		if _, err := nvidia.New(o); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Items of others, and such as are out of form, are not asked for.
func TestForeignItems(t *testing.T) {
	s, c := start(t)
	s.answer = answering("application/json", reply(t, nil))
	for _, i := range []endorsements.Item{
		{Kind: endorsements.ItemAMDCRL, Product: "Milan"}, {Kind: endorsements.ItemNVRIM, RIM: "../ids"}, {Kind: endorsements.ItemNVRIM},
		{Kind: endorsements.ItemNVOCSP, IssuerName: "00", IssuerKey: "00", Serial: "01"},
	} {
		if _, err := c.Fetch(t.Context(), i); !errors.Is(err, endorsements.ErrNeed) {
			t.Errorf("%+v: %v", i, err)
		}
	}
	half, err := nvidia.New(nvidia.Options{RIM: "https://rim.example", Client: http.DefaultClient})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Fetch(t.Context(), statusItem(t, gpu(t, 0), 1)); !errors.Is(err, nvidia.ErrNobody) {
		t.Error(err)
	}
	if len(s.asks) != 0 {
		t.Errorf("%d requests", len(s.asks))
	}
}

// Without randomness there is no request, and a server that is silent is an error
// without the key.
func TestNoAnswer(t *testing.T) {
	s, _ := start(t)
	srv := httptest.NewServer(s)
	c := client(t, srv.URL, bytes.NewReader(make([]byte, 31)))
	if _, err := c.Fetch(t.Context(), statusItem(t, gpu(t, 0), 1)); err == nil || !strings.Contains(err.Error(), "nonce") || len(s.asks) != 0 {
		t.Error(err)
	}
	srv.Close()
	var fe *endorsements.FetchError
	if _, err := c.Fetch(t.Context(), item); !errors.As(err, &fe) || !fe.Temporary() || strings.Contains(err.Error(), key) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Fetch(ctx, item); err == nil {
		t.Error("no error after the end")
	}
}
