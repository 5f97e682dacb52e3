// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/assize/assize/verifiers/remote/nras/nrastest"
)

// A process that has NVIDIA's service appraise its GPUs says so in their results;
// all else is as it was.
func TestNRAS(t *testing.T) {
	s, state, file := nrastest.New(t, rand.Reader, time.Now), t.TempDir(), sample(t)
	key := write(t, "key", []byte("secret-service-key\n"))
	text := "nras: {schemes: [nvidia-gpu], url: '" + s.URL + "', service_key_file: '" + key + "', api_version: v4}\n"
	config := write(t, "nras.yaml", []byte(text))
	appraise := func(more ...string) outcome {
		return assize(t, state, append([]string{"appraise", file, "--config", config, "--component-nonce", gpuNonce(), "-o", "json"}, more...)...)
	}
	o := appraise()
	if o.code != exitWarning || !strings.Contains(o.out, `nvidia-nras/v4`) || !strings.Contains(o.out, `"nvidia-gpu-nras"`) {
		t.Fatalf("exit %d %s %s", o.code, o.out, o.err)
	}
	asked := s.Asked()
	if len(asked) != 1 || asked[0].URL.Path != "/v4/attest/gpu" || asked[0].Header.Get("Authorization") != "Bearer secret-service-key" {
		t.Errorf("%d requests", len(asked))
	}
	if n := strings.Count(o.out, "nvidia-nras/v4"); n != 1 {
		t.Errorf("%d components are marked as the service's", n)
	}
	s.Device["measres"] = "fail"
	if o := appraise(); o.code != 4 || !strings.Contains(o.out, "measurement-mismatch") {
		t.Errorf("exit %d %s", o.code, o.err)
	}
	s.Answer = func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) }
	if o := appraise(); o.code != exitNone || strings.Contains(o.out+o.err, "secret-service") || !strings.Contains(o.err, "401") {
		t.Errorf("exit %d %s", o.code, o.err)
	}
	native := write(t, "native.yaml", []byte(assize(t, state, "schemes", "policy", "nvidia-gpu").out))
	if o := appraise("--evidence-policy", native); len(assize(t, state, "schemes", "policy", "nvidia-gpu").out) > 0 && (o.code != exitFailed || !strings.Contains(o.err, "nothing here is appraised under the policy")) {
		t.Errorf("the policy of the native scheme: exit %d %s", o.code, o.err)
	}
	own := assize(t, state, "schemes", "policy", "nvidia-gpu-nras")
	if own.code != 0 || !strings.Contains(own.out, "overall-negative") {
		t.Fatalf("exit %d %s", own.code, own.err)
	}
	edited := write(t, "own.yaml", []byte(own.out))
	if o := assize(t, state, "schemes", "check", edited); o.code != 0 || !strings.HasPrefix(o.out, "nvidia-gpu-nras:sha-256:") {
		t.Errorf("exit %d %s %s", o.code, o.out, o.err)
	}
	s.Answer, s.Device["measres"] = nil, "success"
	if o := appraise("--evidence-policy", edited); o.code != exitWarning || !strings.Contains(o.out, "nvidia-gpu-nras:sha-256:") {
		t.Errorf("exit %d %s", o.code, o.err)
	}
	if o := assize(t, state, "appraise", file, "--component-nonce", gpuNonce(), "--evidence-policy", edited); o.code != exitFailed {
		t.Errorf("a policy of the backend without it: exit %d", o.code)
	}
	for _, bad := range []string{"schemes: [intel-tdx]", "schemes: [nvidia-gpu], url: 'http://nras.example'", "schemes: [nvidia-gpu], service_key_file: /nonexistent"} {
		if o := assize(t, state, "appraise", file, "--config", write(t, "bad.yaml", []byte("nras: {"+bad+"}\n"))); o.code != exitFailed {
			t.Errorf("%s: exit %d %s", bad, o.code, o.err)
		}
	}
}
