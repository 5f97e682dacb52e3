// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/schemas"
)

func TestNRAS(t *testing.T) {
	state := "ASSIZE_STATE_DIR=" + t.TempDir()
	c, err := Load("", []string{state})
	if n := c.NRAS; err != nil || len(n.Schemes) != 0 || n.URL != "https://nras.attestation.nvidia.com" || n.Issuer != n.URL || n.APIVersion != "v3" || n.Timeout != 8*time.Second {
		t.Errorf("%+v, %v", n, err)
	}
	const text = `nras: {schemes: [nvidia-gpu, nvidia-nvswitch], url: "https://nras.example/x", issuer: i, jwks_url: "https://k.example", api_version: v4,
  service_key_file: k, allow_hold: true, ca: ca.pem, interval: 1s, concurrent: 2, timeout: 5s}`
	if c, err = Load(file(t, text), []string{state}); err != nil || c.NRAS.Issuer != "i" || c.NRAS.Concurrent != 2 || !c.NRAS.AllowHold {
		t.Errorf("%+v, %v", c.NRAS, err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := schemas.Load(schemas.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.ValidateJSON(raw); err != nil {
		t.Errorf("the schema refuses what the program takes: %v", err)
	}
	if c, err = Load("", []string{state, "ASSIZE_NRAS_SCHEMES=nvidia-gpu", "ASSIZE_NRAS_URL=http://127.0.0.1:1"}); err != nil || c.NRAS.Issuer != "http://127.0.0.1:1" || len(c.NRAS.Schemes) != 1 {
		t.Errorf("%+v, %v", c.NRAS, err)
	}
	for _, bad := range []string{
		"NRAS_SCHEMES=x,x", "NRAS_SCHEMES=X Y", "NRAS_URL=ftp://x", "NRAS_URL=https://u:p@x", "NRAS_URL=nras.example", "NRAS_JWKS_URL=none", "NRAS_API_VERSION=v2",
		"NRAS_INTERVAL=-1s", "NRAS_INTERVAL=2h", "NRAS_CONCURRENT=-1", "NRAS_CONCURRENT=257", "NRAS_TIMEOUT=1ms", "NRAS_TIMEOUT=2m",
	} {
		if _, err := Load("", []string{state, "ASSIZE_" + bad}); err == nil {
			t.Errorf("%s is accepted", bad)
		}
	}
	if _, err := Load("", []string{state, "ASSIZE_SCHEMES=intel-tdx", "ASSIZE_NRAS_SCHEMES=nvidia-gpu"}); err == nil {
		t.Error("a scheme that the process does not serve")
	}
}
