// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/assize/assize/schemas"
)

const full = `
state_dir: /var/lib/assize
listen: 127.0.0.1:9000
schemes: [intel-tdx, nvidia-gpu]
topology: lead(cpu, gpu/*)
endorsements: /etc/assize/endorsements
trust: [/etc/assize/vendor.json]
attesters: [/etc/assize/attesters.json]
budget: 5s
fabric:
  mode: external
  urls: [nats://127.0.0.1:4222]
  creds: /etc/assize/lead.creds
  tls: {ca: ca.pem, cert: cert.pem, key: key.pem}
  tenant: local
  site: here
  inbox_prefix: _INBOX_lead
  nonces: jetstream
limits: {composite_bytes: 1000000, leaf_bytes: 100000, depth: 4, leaves: 16, in_flight: 8}
identity: {developer: https://example.com, build: v1}
telemetry: {service_name: assize-lead}
`

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFileAndSchemaAgree(t *testing.T) {
	c, err := Load(file(t, full), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Budget != 5*time.Second || c.Fabric.TLS.CA != "ca.pem" || c.Limits.Leaves != 16 || len(c.Schemes) != 2 || c.Attesters[0] != "/etc/assize/attesters.json" {
		t.Errorf("%+v", c)
	}
	var doc map[string]any
	if err := yaml.Unmarshal([]byte(full), &doc); err != nil {
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
}

func TestNoFileWorks(t *testing.T) {
	c, err := Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || c.Fabric.Mode != "embedded" || c.Fabric.Nonces != "jetstream" || c.Topology != "lead" {
		t.Errorf("%+v", c)
	}
	if _, err := Load(file(t, "# only a comment\n"), nil); err != nil {
		t.Error(err)
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, want := range map[string]string{
		"listen: x\nfrob: 1\n":                   "2:1: unknown key \"frob\"",
		"fabric:\n  mode: embedded\n  frob: 1\n": "3:3: unknown key \"fabric.frob\"",
		"listen: a\nlisten: b\n":                 "2:1: key \"listen\" stands here twice",
		"fabric: [1]\n":                          "1:9: fabric must be a mapping",
		"listen: a\n---\nfrob: 1\n":              "2:1: a second document",
		"{listen: a} frob: 1\n":                  "did not find",
		"- 1\n":                                  "the document must be a mapping",
		"budget: soon\n":                         "line 1",
		"budget: 1ms\n":                          "budget",
		"fabric: {mode: other}\n":                "fabric.mode",
		"fabric: {mode: external}\n":             "fabric.urls",
		"fabric: {urls: [nats://x]}\n":           "fabric.mode is embedded",
		"fabric: {nonces: maybe}\n":              "fabric.nonces",
		"limits: {depth: -1}\n":                  "negative",
		"fabric: {creds: x}\n":                   "embedded",
		"fabric: {mode: external, urls: [x], creds: a, nkey: b}\n": "creds and nkey",
		"fabric: {mode: external, urls: [x], tls: {cert: a}}\n":    "cert and key",
	} {
		_, err := Load(file(t, text), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a missing file is no error")
	}
	if _, err := Load(file(t, strings.Repeat("# x\n", maxFile/4+1)), nil); err == nil {
		t.Error("a file beyond the limit was read")
	}
}

func TestEnvironment(t *testing.T) {
	c, err := Load(file(t, full), []string{
		"ASSIZE_LISTEN=127.0.0.1:1", "ASSIZE_FABRIC_URLS=nats://a, nats://b", "ASSIZE_BUDGET=7s", "ASSIZE_LIMITS_DEPTH=3",
		"ASSIZE_FABRIC_TLS_CA=other.pem", "ASSIZE_CONFIG=ignored", "PATH=/bin",
	})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:1" || len(c.Fabric.URLs) != 2 || c.Fabric.URLs[1] != "nats://b" || c.Budget != 7*time.Second || c.Limits.Depth != 3 || c.Fabric.TLS.CA != "other.pem" {
		t.Errorf("%+v", c)
	}
	c, err = Load("", []string{`ASSIZE_REQUIREMENTS=["gpu/{a,b}", c]`, "ASSIZE_TRUST=[]"})
	if err != nil || len(c.Requirements) != 2 || c.Requirements[0] != "gpu/{a,b}" || len(c.Trust) != 0 {
		t.Errorf("%q %v", c.Requirements, err)
	}
	for _, bad := range []string{"ASSIZE_TRUST=[a", "ASSIZE_TRUST=[[a]]", "ASSIZE_TRUST=[a] b", "ASSIZE_FROB=1", "ASSIZE_BUDGET=x", "ASSIZE_LIMITS_DEPTH=x", "ASSIZE_FABRIC=x"} {
		if _, err := Load("", []string{bad}); err == nil {
			t.Errorf("%s is no error", bad)
		}
	}
}
