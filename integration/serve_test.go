// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Without any configuration the service answers, with JetStream behind its
// nonces and no port but its own.
func TestServeWithoutConfiguration(t *testing.T) {
	state := t.TempDir()
	p, url := serve(t, state)
	for _, path := range []string{"/healthz", "/readyz", "/.well-known/jwks.json", "/v1/verifiers"} {
		if code, raw := get(t, url+path); code != 200 {
			t.Errorf("%s: %d %s", path, code, raw)
		}
	}
	start := time.Now()
	v := appraise(t, url+"/v1/appraise")
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
	if v.Verdict.Tier != "warning" || v.Components["cpu"]["tier"] != "warning" || v.Components["gpu/0"]["tier"] != "warning" {
		t.Errorf("%+v", v)
	}
	if code, raw := get(t, url+"/metrics"); code != 200 || !strings.Contains(string(raw), `assize_component_duration_seconds_count{`) || !strings.Contains(string(raw), `scheme="intel-tdx"`) {
		t.Errorf("metrics: %d %s", code, raw)
	}
	nonce := url + "/v1/appraise?nonce=00112233445566778899aabbccddeeff"
	if v := appraise(t, nonce); v.Verdict.Tier != "contraindicated" || v.Components["cpu"]["freshness"] != "mismatch" {
		t.Errorf("a recording answers a new challenge: %+v", v.Verdict)
	}
	if code, raw := do(t, http.MethodPost, nonce, "", composite(t)); code != 409 {
		t.Errorf("a nonce is used twice: %d %s", code, raw)
	}
	p.stop(t)
	_, url = serve(t, state)
	nonce = url + "/v1/appraise?nonce=00112233445566778899aabbccddeeff"
	if code, raw := do(t, http.MethodPost, nonce, "", composite(t)); code != 409 {
		t.Errorf("a restart forgets used nonces: %d %s", code, raw)
	}
}

// What the service signs passes the relying party's check, and nothing else.
func TestServedBundleVerifies(t *testing.T) {
	state := t.TempDir()
	_, url := serve(t, state)
	code, bundle := do(t, http.MethodPost, url+"/v1/appraise", "application/cmw+json", composite(t))
	if code != 200 {
		t.Fatalf("%d %s", code, bundle)
	}
	_, jwks := get(t, url+"/.well-known/jwks.json")
	dir := t.TempDir()
	for name, raw := range map[string][]byte{"bundle.json": bundle, "jwks.json": jwks} {
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	verify := func() (int, string) {
		return status(t, "verdict", "verify", filepath.Join(dir, "bundle.json"), "--trust", filepath.Join(dir, "jwks.json"))
	}
	if code, out := verify(); code != 3 {
		t.Fatalf("exit %d: %s", code, out)
	}
	for i := len(bundle) / 10; i < len(bundle); i += len(bundle) / 10 {
		bad := append([]byte(nil), bundle...)
		bad[i] ^= 1
		if err := os.WriteFile(filepath.Join(dir, "bundle.json"), bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := verify(); code != 1 {
			t.Errorf("byte %d changed: exit %d: %s", i, code, out)
		}
	}
}

// A lead and a verifier in two processes on an external NATS give the same
// component results, byte for byte, as one process with the same keys.
func TestTwoProcesses(t *testing.T) {
	keys, leadState := t.TempDir(), t.TempDir()
	jwks := filepath.Join(leadState, "verifiers.json")
	if err := os.WriteFile(jwks, output(t, keys, "keys", "jwks", "--only", "intel-tdx,nvidia-gpu"), 0o600); err != nil {
		t.Fatal(err)
	}
	nats := natsServer(t)
	verifier, _ := start(t, `msg=serving`, keys, "verifier", "--schemes", "intel-tdx,nvidia-gpu", "--nats", nats)
	_, lead := serve(t, leadState, "--config", leadConfig(t, nats, jwks))
	_, single := serve(t, keys)

	apart, together := appraise(t, lead+"/v1/appraise"), appraise(t, single+"/v1/appraise")
	if a, b := components(t, apart), components(t, together); a != b {
		t.Errorf("two processes:\n%s\none process:\n%s", a, b)
	}
	if code, raw := get(t, lead+"/v1/verifiers"); code != 200 || strings.Count(string(raw), `"trusted": true`) != 2 {
		t.Errorf("verifiers: %d %s", code, raw)
	}

	verifier.kill(t)
	begin := time.Now()
	down := appraise(t, lead+"/v1/appraise")
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("a dead verifier costs %s", took)
	}
	for label, c := range down.Components {
		if c["tier"] != "none" || reasons(c) != "unreachable" {
			t.Errorf("%s: %v %s", label, c["tier"], reasons(c))
		}
	}
	if down.Verdict.Tier != "none" {
		t.Errorf("verdict %s", down.Verdict.Tier)
	}
	// Another verifier of the same schemes, with keys that the lead does not
	// hold, cannot take its place.
	start(t, `msg=serving`, t.TempDir(), "verifier", "--nats", nats)
	for label, c := range appraise(t, lead+"/v1/appraise").Components {
		if code := reasons(c); c["tier"] != "none" || (code != "bad-par-signature" && code != "no-verifier") {
			t.Errorf("%s by a stranger: %v %s", label, c["tier"], code)
		}
	}
}

func leadConfig(t *testing.T, nats, jwks string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lead.yaml")
	text := fmt.Sprintf("schemes: [none]\ntrust: [%q]\nfabric:\n  mode: external\n  urls: [%q]\n", jwks, nats)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// components renders component results without the time they took.
func components(t *testing.T, v verdictJSON) string {
	t.Helper()
	for _, c := range v.Components {
		if _, ok := c["duration_us"]; !ok {
			t.Error("duration_us is missing")
		}
		delete(c, "duration_us")
	}
	raw, err := json.MarshalIndent(v.Components, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
