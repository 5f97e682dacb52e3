// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/assize/assize/attester/nvidia"
	"github.com/assize/assize/attester/pki"
	"github.com/assize/assize/internal/vectors"
	"github.com/assize/assize/trust"
)

// serviceKey is that of the stand-in services, which nothing may print.
const serviceKey = "nvapi-not-for-anybody"

// nvidiaServices stand in for NVIDIA's RIM and OCSP services.
type nvidiaServices struct {
	t         *testing.T
	mu        sync.Mutex
	manifests map[string][]byte // replies, by identifier
	status    []*nvidia.OCSPService
	rims      []string
	asked     int // about certificates
	keyless   int // requests without the key
}

func (s *nvidiaServices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+serviceKey {
		s.keyless++
	}
	if id, ok := strings.CutPrefix(r.URL.Path, "/v1/rim/"); ok {
		s.rims = append(s.rims, id)
		raw, ok := s.manifests[id]
		if !ok {
			http.Error(w, `{"errorCode":"RIM_NOT_FOUND"}`, http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(raw)
		return
	}
	s.asked++
	request, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	answer := []byte{0x30, 3, 0x0a, 1, 6} // unauthorized
	for _, service := range s.status {
		raw, err := service.Answer(request, time.Now())
		if err != nil {
			s.t.Error(err)
		}
		if len(raw) > len(answer) {
			answer = raw
		}
	}
	_, _ = w.Write(answer)
}

// takes are the manifests and the number of certificates that were asked for since
// the last call.
func (s *nvidiaServices) takes() (rims []string, asked int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rims, asked = s.rims, s.asked
	s.rims, s.asked = nil, 0
	slices.Sort(rims)
	return rims, asked
}

func rimReply(t *testing.T, id string, raw []byte) []byte {
	t.Helper()
	out, err := json.Marshal(map[string]string{"id": id, "rim": base64.StdEncoding.EncodeToString(raw), "rim_format": "TCG", "request_id": "1"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// start serves and writes a configuration that names the services.
func (s *nvidiaServices) start() (config string, stop func()) {
	srv := httptest.NewServer(s)
	s.t.Cleanup(srv.Close)
	key := write(s.t, "service-key", []byte(serviceKey+"\n"))
	text := fmt.Sprintf("endorsements_online: {intel: none, amd: none, nvidia: {rim_url: %q, ocsp_url: %q, service_key_file: %s, interval: 1ms}}\n", srv.URL, srv.URL, key)
	return write(s.t, "config.yaml", []byte(text)), srv.Close
}

// onlineGPU is a simulated GPU with its services, evidence and roots.
func onlineGPU(t *testing.T) (s *nvidiaServices, evidence, nonce, roots string) {
	t.Helper()
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := d.Manifests()
	if err != nil {
		t.Fatal(err)
	}
	signer, err := d.RIMSigner()
	if err != nil {
		t.Fatal(err)
	}
	s = &nvidiaServices{t: t, manifests: map[string][]byte{}, status: []*nvidia.OCSPService{d.OCSPService(nil), signer.OCSPService(nil)}}
	for _, m := range manifests {
		s.manifests[m.ID] = rimReply(t, m.ID, m.Raw)
	}
	challenge := bytes.Repeat([]byte{7}, 32)
	raw, err := d.Evidence(challenge)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := d.Roots()
	if err != nil {
		t.Fatal(err)
	}
	file, err := trust.EncodeRoots("test", map[string][]*x509.Certificate{"nvidia-gpu": certs}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s, write(t, "evidence.cmw", one(t, typeNVIDIA, nvidia.Array(raw))), hex.EncodeToString(challenge), write(t, "trust.json", file)
}

// With --online a GPU is as good as with a folder of manifests and responses, and
// stays so without the services; without it nothing is asked.
func TestOnlineNVIDIA(t *testing.T) {
	s, evidence, nonce, roots := onlineGPU(t)
	config, stop := s.start()
	state := t.TempDir()
	args := []string{"appraise", evidence, "--component-nonce", "part=" + nonce, "--trust", roots, "--config", config, "-o", "json", "--log-level", "debug"}
	claims := func(o outcome) string {
		t.Helper()
		if strings.Contains(o.out+o.err, serviceKey) {
			t.Error("the service key is printed")
		}
		for _, c := range parse(t, o).Components {
			v := c.TrustVector
			return fmt.Sprint("hardware ", v["hardware"], ", configuration ", v["configuration"], ", executables ", v["executables"])
		}
		t.Fatal("no component")
		return ""
	}
	const whole = "hardware 2, configuration 3, executables 3"
	if got := claims(assize(t, state, args...)); got == whole || strings.HasPrefix(got, "hardware 2,") {
		t.Errorf("without --online: %s", got)
	}
	if rims, asked := s.takes(); len(rims)+asked != 0 {
		t.Errorf("asked without --online: %q, %d", rims, asked)
	}
	o := assize(t, state, append(args, "--online")...)
	rims, asked := s.takes()
	if got := claims(o); got != whole || len(rims) != len(s.manifests) || asked != 6 || s.keyless != 0 {
		t.Fatalf("with --online: %s; asked for %q and %d certificates, %d times without key: %s", got, rims, asked, s.keyless, o.out)
	}
	stop()
	if got := claims(assize(t, state, append(args, "--online")...)); got != whole {
		t.Errorf("from the cache: %s", got)
	}
	// The cache is a folder like any other.
	if got := claims(assize(t, t.TempDir(), append(args, "--endorsements", filepath.Join(state, "endorsements"))...)); got != whole {
		t.Errorf("the cache as a folder: %s", got)
	}
	// Without the services it costs the claims and nothing else.
	o = assize(t, t.TempDir(), append(args, "--online")...)
	if got := claims(o); got == whole || parse(t, o).Components["part/0"].Tier == "contraindicated" || !strings.Contains(o.err, "collateral is missing") {
		t.Errorf("no service: %s %s", got, o.err)
	}
}

// A device that the service says is revoked is not affirming.
func TestOnlineNVIDIARevoked(t *testing.T) {
	s, evidence, nonce, roots := onlineGPU(t)
	d, err := nvidia.NewGPU(nvidia.Options{Vendor: pki.NewSeed("v"), Device: pki.NewSeed("d"), Now: time.Now(), Revoked: true})
	if err != nil {
		t.Fatal(err)
	}
	s.status[0] = d.OCSPService(nil)
	config, _ := s.start()
	o := assize(t, t.TempDir(), "appraise", evidence, "--component-nonce", "part="+nonce, "--trust", roots, "--config", config, "--online", "-o", "json")
	for _, c := range parse(t, o).Components {
		if c.Tier != "contraindicated" || c.TrustVector["hardware"] < 96 {
			t.Errorf("%s, %v", c.Tier, c.TrustVector)
		}
	}
}

// Fetch gets what evidence needs, or what is named, with the status of the signers;
// list and verify say what is there.
func TestEndorsementsOfNVIDIA(t *testing.T) {
	s, evidence, _, roots := onlineGPU(t)
	config, _ := s.start()
	dir := t.TempDir()
	o := assize(t, t.TempDir(), "endorsements", "fetch", evidence, "--config", config, "--trust", roots, "-o", dir)
	rims, asked := s.takes()
	if o.code != 0 || len(rims) != len(s.manifests) || asked != 6 || strings.Count(o.out, "says good") != 6 || !strings.Contains(o.out, fmt.Sprint(len(rims)+6, " documents")) {
		t.Fatalf("%d %s %s; asked for %q, %d", o.code, o.out, o.err, rims, asked)
	}
	if o = assize(t, t.TempDir(), "endorsements", "fetch", evidence, "--config", config, "--trust", roots, "-o", dir); o.code != 0 {
		t.Errorf("again: %d %s", o.code, o.err)
	}
	if rims, asked = s.takes(); len(rims)+asked != 0 {
		t.Errorf("asked again for %q, %d", rims, asked)
	}
	o = assize(t, t.TempDir(), "endorsements", "verify", dir, "--trust", roots)
	if o.code != 0 || strings.Count(o.out, "signature not checked: issuer not in the bundle") != 2 || strings.Count(o.out, "CoRIM signing Root CA") != 5 || !strings.Contains(o.out, "the signatures of 2 not checked") {
		t.Errorf("verify: %d %s %s", o.code, o.out, o.err)
	}
	if o = assize(t, t.TempDir(), "endorsements", "verify", dir); o.code != exitFailed {
		t.Errorf("verify without the roots: %d %s", o.code, o.out)
	}
	// A response of a day does not hold in two.
	if o = assize(t, t.TempDir(), "endorsements", "verify", dir, "--trust", roots, "--at", time.Now().AddDate(0, 0, 2).Format(time.RFC3339)); o.code != exitFailed || strings.Count(o.out, ", ended") != 6 {
		t.Errorf("verify in two days: %d %s", o.code, o.out)
	}
	o = assize(t, t.TempDir(), "endorsements", "list", dir, "-o", "json")
	var lines []endorsementLine
	if err := json.Unmarshal([]byte(o.out), &lines); err != nil || len(lines) != len(s.manifests)+6 {
		t.Errorf("list: %s %v", o.out, err)
	}
}

// By identifier: as tools print them, and what the service does not have, or what is
// no identifier, is said.
func TestEndorsementsFetchRIM(t *testing.T) {
	const id = "NV_GPU_DRIVER_GH100_550.144.03"
	s := &nvidiaServices{t: t, manifests: map[string][]byte{
		id:                              rimReply(t, id, vectors.Read(t, "nvidia/attestation-sdk/testdata/"+id+".xml")),
		"NV_GPU_DRIVER_GH100_550.90.07": rimReply(t, "NV_GPU_DRIVER_GH100_550.90.07", vectors.Read(t, "nvidia/attestation-sdk/testdata/"+id+".xml")),
	}}
	config, _ := s.start()
	for _, c := range []struct {
		id, out, err string
		code, asked  int
	}{
		// Nobody stands in for NVIDIA's responders, so the manifest comes without status.
		{strings.ToLower(id), "nvidia-rim-" + id, "status 6", exitFailed, 3},
		{"NV_GPU_DRIVER_GH100_1.2.3", "0 documents", "404", exitFailed, 0},
		{"NV_GPU_DRIVER_GH100_550.90.07", "0 documents", "GH100_550.90.07", exitFailed, 0}, // of another version
		{"../ids", "", "not an identifier", exitUsage, 0},
	} {
		dir := t.TempDir()
		o := assize(t, t.TempDir(), "endorsements", "fetch", "--rim", c.id, "--config", config, "-o", dir, "--timeout", "5s")
		rims, asked := s.takes()
		if o.code != c.code || !strings.Contains(o.out, c.out) || !strings.Contains(o.err, c.err) || strings.Contains(o.err, serviceKey) || asked != c.asked {
			t.Errorf("%s: %d %s %s; asked for %q, %d", c.id, o.code, o.out, o.err, rims, asked)
		}
	}
}

// A key that cannot be read, or is none, is an error before anything is asked.
func TestOnlineServiceKey(t *testing.T) {
	for text, want := range map[string]string{
		"service_key_file: /nowhere/key":                                     "service_key_file",
		"service_key_file: " + write(t, "empty", []byte(" \n")):              "is empty",
		"service_key_file: " + write(t, "lines", []byte(serviceKey+"\n\nx")): "a header cannot have",
		"rim_url: http://rim.example":                                        "neither https nor a loopback address",
		"ocsp_url: http://ocsp.ndis.nvidia.com":                              "neither https nor a loopback address",
	} {
		file := write(t, "c.yaml", []byte("endorsements_online: {nvidia: {"+text+"}}\n"))
		o := assize(t, t.TempDir(), "endorsements", "fetch", "--rim", "NV_X", "--config", file)
		if o.code != exitFailed || !strings.Contains(o.err, want) || strings.Contains(o.err, serviceKey) {
			t.Errorf("%q: %d %s", text, o.code, o.err)
		}
	}
}
